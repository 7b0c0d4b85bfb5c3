//! The chains of Python fedmsg: one root, no intermediates, RSA of 1024 bits, SHA-1.
//!
//! What is tolerated here is tolerated nowhere else: no other module can reach the weak algorithms. Nothing comes here
//! unless the configuration names a legacy authority and accepts it (`docs/threats.md`).
//!
//! The trust anchor is a name and a key (RFC 5280, section 6.1.1 (d)); its dates are not part of a path. That matters
//! here: Fedora's authority was re-issued in 2022 with the same name and key, and signs certificates and messages of
//! 2014 and 2017. So the anchor's `notBefore` and `notAfter` are not looked at, while the leaf's dates and the list's
//! are, as of the time that is given.

use super::certificate::{Certificate, IdentityRule, KeyUsage, magnitude, parser_message, sha256};
use super::chain::{ChainError, RevocationPolicy};
use super::crl::{CrlAge, CrlError, Revocation};
use super::pem::{self, PemError};
use super::printable;
use super::public_key::{KeyError, KeyKind, SignatureChecked, SignatureError};
use crate::identity::Identity;
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RsaParameters, UnparsedPublicKey,
};
use std::collections::HashMap;
use std::fmt;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

const SHA1_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.5);
const SHA256_WITH_RSA: Oid<'static> = oid!(1.2.840.113549.1.1.11);
/// The fewest bits of an RSA modulus that ring checks at all.
const MINIMUM_BITS: usize = 1024;

/// Whether a legacy authority's revocation list is checked. A choice that is stated, never a default.
#[derive(Clone, Copy, Debug)]
pub enum LegacyRevocation<'a> {
    /// Checked against this list, in PEM: version 1 or 2.
    Crl {
        /// Its file, for errors.
        label: &'a str,
        /// The list.
        pem: &'a [u8],
    },
    /// Not checked.
    NotChecked,
}

/// The authority of Python fedmsg's messages.
pub struct LegacyAuthority {
    label: String,
    certificate: Certificate,
    key: Box<[u8]>,
    list: Option<LegacyCrl>,
}

/// A leaf that a legacy authority vouches for. Its key checks SHA-1 signatures, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyLeaf {
    identity: Identity,
    certificate: Certificate,
    key: Box<[u8]>,
    revocation: RevocationPolicy,
}

/// Why a legacy authority cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// Something is wrong with the authority or its list.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A file does not hold what it should.
    #[error("{label}: {fault}")]
    Pem {
        /// The file.
        label: String,
        /// What is wrong with it.
        fault: PemError,
    },
}

impl LegacyError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Chain(fault) => fault.code(),
            Self::Pem { fault, .. } => fault.code(),
        }
    }
}

struct LegacyCrl {
    label: String,
    issuer: String,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    revoked: HashMap<Box<[u8]>, Revocation>,
    sha256: [u8; 32],
}

/// Whose list this is (a name in DER), how new it is, and SHA-256 over it: to tell it from others before anything in it is
/// believed. `None` if it is no list. A list of version 1 has no number, and is older than any that has one.
pub fn list_age(pem: &[u8]) -> Option<(Vec<u8>, CrlAge, [u8; 32])> {
    let ders = pem::crl_ders(pem).ok()?;
    let [der] = ders.as_slice() else { return None };
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    let this_update = Timestamp::from_unix(list.last_update().timestamp()).ok()?;
    let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
    let age = CrlAge::new(magnitude(&number), this_update);
    Some((list.issuer().as_raw().to_vec(), age, sha256(der)))
}

impl LegacyAuthority {
    /// Takes the authority's one certificate in PEM, under a label such as its file's name, and its list. The list's
    /// signature is checked now; its dates when a leaf is.
    ///
    /// # Errors
    /// [`LegacyError`], if the certificate is not an RSA authority's, or the list is not one of it.
    pub fn new(label: &str, ca_pem: &[u8], revocation: LegacyRevocation<'_>) -> Result<Self, LegacyError> {
        let pem_fault = |label: &str, fault| LegacyError::Pem { label: label.to_owned(), fault };
        let certificate = pem::certificate(ca_pem).map_err(|fault| pem_fault(label, fault))?;
        let issuer = || format!("`{}` ({label})", certificate.subject());
        if !certificate.is_authority() {
            let detail = "its basic constraints do not say CA:TRUE";
            return Err(ChainError::IssuerNotAuthority { issuer: issuer(), detail }.into());
        }
        if certificate.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            let detail = "its key usage does not have keyCertSign";
            return Err(ChainError::IssuerNotAuthority { issuer: issuer(), detail }.into());
        }
        if let Some(oid) = certificate.unknown_critical() {
            return Err(ChainError::CriticalExtension { name: issuer(), oid: oid.to_owned() }.into());
        }
        let key = rsa_key(&certificate).ok_or_else(|| ChainError::AuthorityKey {
            issuer: issuer(),
            key: certificate.key_kind().clone(),
        })?;
        let list = match revocation {
            LegacyRevocation::NotChecked => None,
            LegacyRevocation::Crl { label, pem } => {
                let fault_of = |fault| pem_fault(label, fault);
                let ders = pem::crl_ders(pem).map_err(fault_of)?;
                let [der] = ders.as_slice() else {
                    return Err(fault_of(PemError::Count { expected: pem::CRL, found: ders.len() }));
                };
                Some(LegacyCrl::read(label, der, &certificate, &key)?)
            }
        };
        Ok(Self { label: label.to_owned(), certificate, key, list })
    }

    /// Validates a leaf in PEM: exactly one certificate, directly under this authority. Its identity is its common name.
    ///
    /// # Errors
    /// A [`ChainError`] that names what was refused, what was expected and what was found.
    pub fn validate(&self, leaf_pem: &[u8], at: Timestamp) -> Result<LegacyLeaf, ChainError> {
        let leaf = pem::certificate(leaf_pem).map_err(|fault| ChainError::Certificate {
            role: "leaf",
            name: String::new(),
            fault: fault.into_certificate_error(),
        })?;
        let name = format!("`{}`", leaf.subject());
        self.check_form(&leaf, &name)?;
        self.check_signature(&leaf, &name)?;
        check_dates(&leaf, &name, at)?;
        if let Some(list) = &self.list {
            list.check(&leaf, &name, at)?;
        }
        let identity = leaf
            .identity(IdentityRule::CommonName)
            .map_err(|fault| ChainError::Identity { leaf: name.clone(), fault })?;
        let key =
            rsa_key(&leaf).ok_or_else(|| ChainError::Key { leaf: name, fault: leaf_key_fault(&leaf) })?;
        let revocation = self.revocation();
        Ok(LegacyLeaf { identity, certificate: leaf, key, revocation })
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether revocation is checked.
    pub fn revocation(&self) -> RevocationPolicy {
        match self.list {
            Some(_) => RevocationPolicy::Required,
            None => RevocationPolicy::NotChecked,
        }
    }

    /// SHA-256 over all that is trusted here: two authorities with the same digest decide alike.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = b"legacy".to_vec();
        bytes.extend(self.certificate.sha256());
        bytes.extend(self.list.iter().flat_map(|list| list.sha256));
        sha256(&bytes)
    }

    fn check_form(&self, leaf: &Certificate, name: &str) -> Result<(), ChainError> {
        let leaf_name = || name.to_owned();
        if leaf.is_authority() || leaf.der() == self.certificate.der() {
            let found = "an authority's (CA:TRUE)";
            return Err(ChainError::LeafIsAuthority { leaf: leaf_name(), found });
        }
        if let Some(oid) = leaf.unknown_critical() {
            return Err(ChainError::CriticalExtension { name: leaf_name(), oid: oid.to_owned() });
        }
        // RFC 5280, section 4.2.1.3: no extension allows everything. Old certificates may do without.
        match leaf.key_usage() {
            Some(usage) if !KeyUsage::digital_signature(usage) => {
                Err(ChainError::KeyUsage { leaf: leaf_name(), found: usage.to_string() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_signature(&self, leaf: &Certificate, name: &str) -> Result<(), ChainError> {
        if leaf.issuer_der() != self.certificate.subject_der() {
            let (subject, issuer) = (name.to_owned(), format!("`{}`", leaf.issuer()));
            return Err(ChainError::UnknownIssuer { subject, issuer });
        }
        let x509 = leaf.x509().map_err(|fault| ChainError::Certificate {
            role: "leaf",
            name: name.to_owned(),
            fault,
        })?;
        let algorithm = &x509.signature_algorithm.algorithm;
        let parameters = rsa_parameters(algorithm).ok_or_else(|| ChainError::Algorithm {
            name: name.to_owned(),
            algorithm: algorithm.to_id_string(),
        })?;
        UnparsedPublicKey::new(parameters, &self.key)
            .verify(x509.tbs_certificate.as_ref(), &x509.signature_value.data)
            .map_err(|_| ChainError::Signature {
                subject: name.to_owned(),
                issuer: format!("`{}` ({})", self.certificate.subject(), self.label),
            })
    }
}

impl LegacyLeaf {
    /// Who it is: `cn:NAME`.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether revocation was checked.
    pub fn revocation(&self) -> RevocationPolicy {
        self.revocation
    }

    /// Checks a legacy signature: RSASSA-PKCS1-v1_5 with SHA-1 (RFC 8017, section 8.2).
    ///
    /// # Errors
    /// [`SignatureError::Invalid`] if it does not fit.
    pub fn verify_sha1(&self, message: &[u8], signature: &[u8]) -> Result<SignatureChecked, SignatureError> {
        UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, &self.key)
            .verify(message, signature)
            .map(|()| SignatureChecked::by_legacy_check())
            .map_err(|_| SignatureError::Invalid)
    }
}

impl LegacyCrl {
    /// Reads a list of version 1 or 2 (RFC 5280, section 5; version 1 is X.509 of 1988) and checks its signature.
    fn read(label: &str, der: &[u8], ca: &Certificate, key: &[u8]) -> Result<Self, ChainError> {
        let refused = |fault| ChainError::Crl { list: label.to_owned(), fault };
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| refused(CrlError::Malformed(parser_message(error))))?;
        if !rest.is_empty() {
            return Err(refused(CrlError::TrailingBytes { found: rest.len() }));
        }
        let found = list.version().map_or(1, |version| version.0.saturating_add(1));
        if !(1..=2).contains(&found) {
            return Err(refused(CrlError::Version { found }));
        }
        let entry_extensions = list.iter_revoked_certificates().flat_map(|entry| entry.extensions());
        // Delta and indirect lists say so in critical extensions.
        if list.extensions().iter().chain(entry_extensions).any(|extension| extension.critical) {
            return Err(refused(CrlError::UnknownCritical));
        }
        let unsigned = |detail| {
            let issuer = printable(&list.issuer().to_string());
            Err(ChainError::CrlSignature { list: label.to_owned(), issuer, detail })
        };
        if list.issuer().as_raw() != ca.subject_der() {
            return unsigned("it names another issuer than the legacy authority");
        }
        if ca.key_usage().is_some_and(|usage| !usage.crl_sign()) {
            return unsigned("the issuer's key usage does not have cRLSign");
        }
        let algorithm = &list.signature_algorithm;
        let parameters =
            rsa_parameters(&algorithm.algorithm).filter(|_| list.tbs_cert_list.signature == *algorithm);
        let Some(parameters) = parameters else {
            return unsigned("its signature algorithm is not RSA with SHA-1 or SHA-256");
        };
        if UnparsedPublicKey::new(parameters, key)
            .verify(list.tbs_cert_list.as_ref(), &list.signature_value.data)
            .is_err()
        {
            return unsigned("its signature does not verify under the issuer's key");
        }
        let time = |seconds| {
            Timestamp::from_unix(seconds).map_err(|error| refused(CrlError::Malformed(error.to_string())))
        };
        let mut revoked = HashMap::new();
        for entry in list.iter_revoked_certificates() {
            let date = time(entry.revocation_date.timestamp())?;
            let reason = entry.reason_code().map(|(_, code)| code.0);
            let since = entry.invalidity_date().map(|(_, since)| time(since.timestamp()));
            let revocation = Revocation { date, reason, invalidity_date: since.transpose()? };
            revoked.insert(magnitude(entry.raw_serial()).into(), revocation);
        }
        Ok(Self {
            label: label.to_owned(),
            issuer: printable(&list.issuer().to_string()),
            this_update: time(list.last_update().timestamp())?,
            next_update: list.next_update().map(|update| time(update.timestamp())).transpose()?,
            revoked,
            sha256: sha256(der),
        })
    }

    fn check(&self, leaf: &Certificate, name: &str, at: Timestamp) -> Result<(), ChainError> {
        let (list, issuer, this_update) = (self.label.clone(), self.issuer.clone(), self.this_update);
        if at < this_update {
            return Err(ChainError::CrlNotYetValid { list, issuer, this_update, at });
        }
        if let Some(next_update) = self.next_update.filter(|next_update| at >= *next_update) {
            return Err(ChainError::CrlStale { list, issuer, next_update, at });
        }
        let Some(entry) = self.revoked.get(magnitude(leaf.serial())) else { return Ok(()) };
        let (leaf, serial) = (name.to_owned(), leaf.serial_hex());
        Err(ChainError::Revoked { leaf, serial, date: entry.date, reason: entry.reason_name(), list })
    }
}

fn check_dates(leaf: &Certificate, name: &str, at: Timestamp) -> Result<(), ChainError> {
    let (leaf_name, not_before, not_after) = (name.to_owned(), leaf.not_before(), leaf.not_after());
    if at < not_before {
        return Err(ChainError::NotYetValid { leaf: leaf_name, not_before, at });
    }
    if at > not_after {
        return Err(ChainError::Expired { leaf: leaf_name, not_after, at });
    }
    Ok(())
}

/// The `RSAPublicKey` of a certificate, if it has one of a size that ring takes.
fn rsa_key(certificate: &Certificate) -> Option<Box<[u8]>> {
    match certificate.key_kind() {
        KeyKind::Rsa { bits } if *bits >= MINIMUM_BITS => {
            Some(certificate.x509().ok()?.public_key().subject_public_key.data.as_ref().into())
        }
        KeyKind::Rsa { .. } | KeyKind::Ed25519 | KeyKind::Other(_) | KeyKind::P256 | KeyKind::P384 => None,
    }
}

fn leaf_key_fault(leaf: &Certificate) -> KeyError {
    if let KeyKind::Rsa { bits } = leaf.key_kind() {
        KeyError::RsaSize { found: *bits }
    } else {
        KeyError::Unsupported(leaf.key_kind().clone())
    }
}

fn rsa_parameters(algorithm: &Oid<'_>) -> Option<&'static RsaParameters> {
    if *algorithm == SHA1_WITH_RSA {
        Some(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY)
    } else if *algorithm == SHA256_WITH_RSA {
        Some(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
    } else {
        None
    }
}

impl fmt::Debug for LegacyAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyAuthority({}, revocation {:?})", self.certificate.subject(), self.revocation())
    }
}

impl fmt::Debug for LegacyLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyLeaf({})", self.identity)
    }
}
