//! A list's signature, checked once for each key: it is over the whole list, and to hash a million entries takes longer than
//! to validate a path.
//!
//! rustls-webpki checks a list at each validation, and looks for the serial number in a tree that takes some hundred bytes an
//! entry. So it is given the list without its entries, with the same signature; and when it asks whether that signature is
//! right, it is answered for the whole list. Which key has to have signed, with which algorithm, is still its own decision.

use super::Crl;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::sync::{Mutex, PoisonError};

/// Of how many keys a list remembers whether they signed it. There are two while an authority changes its key.
const KEYS: usize = 8;

/// Under which keys a list's signature was checked, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<Vec<Answer>>);

#[derive(Debug)]
struct Answer {
    algorithm: (AlgorithmIdentifier, AlgorithmIdentifier),
    key: Box<[u8]>,
    outcome: Result<(), InvalidSignature>,
}

/// A signature algorithm that knows these lists: their signatures are over what they were read from.
#[derive(Debug)]
pub(in crate::pki) struct WithLists<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    lists: &'a [&'a Crl],
}

impl<'a> WithLists<'a> {
    pub(in crate::pki) fn new(
        algorithm: &'static dyn SignatureVerificationAlgorithm,
        lists: &'a [&'a Crl],
    ) -> Self {
        Self { algorithm, lists }
    }
}

impl SignatureVerificationAlgorithm for WithLists<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let is_of = |list: &&&Crl| message == &*list.bare_signed && signature == list.signature();
        match self.lists.iter().find(is_of) {
            Some(list) => list.check_signature(self.algorithm, key),
            None => self.algorithm.verify_signature(key, message, signature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

impl Crl {
    /// Whether the whole list is signed with a key (the content of an SPKI's bit string), by an algorithm that is its own.
    fn check_signature(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        key: &[u8],
    ) -> Result<(), InvalidSignature> {
        let ids = (algorithm.public_key_alg_id(), algorithm.signature_alg_id());
        let is_same = |answer: &&Answer| answer.algorithm == ids && *answer.key == *key;
        let answers = || self.checked.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers().iter().find(is_same) {
            return answer.outcome;
        }
        // Without the lock: two threads may both do it, and neither waits for the other.
        let outcome =
            algorithm.verify_signature(key, &self.der[self.layout.signed.clone()], self.signature());
        let mut answers = answers();
        if answers.len() >= KEYS {
            answers.remove(0);
        }
        answers.push(Answer { algorithm: ids, key: key.into(), outcome });
        outcome
    }

    /// Has the signature checked now, under a key that will probably be asked for. What comes of it is said when it is.
    pub(in crate::pki) fn prepare(
        &self,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
        spki: &[u8],
    ) {
        let Some((key_algorithm, key)) = super::entries::key_of(spki) else { return };
        let fits = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
            algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.signature_alg_id().as_ref() == &self.der[self.layout.algorithm.clone()]
        };
        if let Some(algorithm) = algorithms.iter().find(fits) {
            let _ = self.check_signature(*algorithm, key);
        }
    }

    fn signature(&self) -> &[u8] {
        &self.der[self.layout.signature.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, PublicKeyData,
    };
    use std::sync::atomic::{AtomicUsize, Ordering};
    use time::OffsetDateTime;

    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counted {
        fn verify_signature(
            &self,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            webpki::ring::ECDSA_P256_SHA256.verify_signature(key, message, signature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            webpki::ring::ECDSA_P256_SHA256.public_key_alg_id()
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            webpki::ring::ECDSA_P256_SHA256.signature_alg_id()
        }
    }

    #[test]
    fn a_list_is_hashed_once_for_each_key_and_remembers_few() {
        static COUNTED: Counted = Counted(AtomicUsize::new(0));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let list = CertificateRevocationListParams {
            this_update: OffsetDateTime::UNIX_EPOCH,
            next_update: OffsetDateTime::UNIX_EPOCH + time::Duration::DAY,
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap();
        let list = Crl::parse(list.der()).unwrap();
        list.prepare(&[&COUNTED], &key.subject_public_key_info());
        let lists = [&list];
        let with = WithLists::new(&COUNTED, &lists);
        let asked = |key: &[u8]| with.verify_signature(key, &list.bare_signed, list.signature()).is_ok();
        assert!(asked(key.der_bytes()) && asked(key.der_bytes()));
        assert_eq!(COUNTED.0.load(Ordering::Relaxed), 1);

        let others: Vec<KeyPair> = (0..KEYS).map(|_| KeyPair::generate().unwrap()).collect();
        for other in others.iter().chain(&others) {
            assert!(!asked(other.der_bytes()));
        }
        assert_eq!(COUNTED.0.load(Ordering::Relaxed), 1 + KEYS, "a refusal is remembered too");
        assert_eq!(list.checked.0.lock().unwrap().len(), KEYS);
        assert!(asked(key.der_bytes()), "forgotten, and asked again");
        // Of what is not this list, nothing is known.
        assert!(with.verify_signature(key.der_bytes(), b"other", list.signature()).is_err());
        assert!(with.verify_signature(key.der_bytes(), &list.bare_signed, &[]).is_err());
    }
}
