//! A policy that an operator signed: a detached signature over the exact bytes of its files.
//!
//! This file owns the proof of it. A [`SignedPolicy`] has private fields and is made at the end of [`read_signed`] alone, by a
//! certificate that the trust store accepts for [`Purpose::ConfigSigning`], which no service's certificate has, and that names one
//! of the operators who may sign. The signature is checked before the policy is parsed. `docs/policy.md` has the format.

mod text;

#[cfg(test)]
mod tests;

pub use text::{DetachedSignature, MAX_FILES, MAX_SIGNATURE_BYTES, SignatureFault, Statement};

use super::{Policy, PolicyErrors, PublisherPattern, Source};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::merkle;
use crate::pki::algorithm::Algorithm;
use crate::pki::certificate::Certificate;
use crate::pki::chain::{ChainError, Purpose, TrustStore};
use crate::pki::key::{PrivateKeyError, SigningKey};
use crate::pki::public_key::{self, SignatureChecked};
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;

/// How far before its making a signature begins, in seconds: for clocks that are a little behind.
pub const BACKDATE_SECONDS: i64 = 60;

/// A policy, and the operator's word for it. Only [`read_signed`] makes one.
#[derive(Debug)]
pub struct SignedPolicy {
    policy: Policy,
    endorsement: Endorsement,
    signature: DetachedSignature,
}

/// Who signed a policy, and for how long that holds.
///
/// It prints as `signed by IDENTITY, serial SERIAL, until TIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    signer: Identity,
    certificate: [u8; 32],
    serial: u64,
    from: Timestamp,
    until: Timestamp,
}

/// Whose signatures count.
#[derive(Clone, Copy, Debug)]
pub struct Requirement<'r> {
    /// The authorities, and what they revoked.
    pub trust: &'r TrustStore,
    /// The operators who may sign: not one, where it is empty.
    pub signers: &'r [PublisherPattern],
}

/// Why a signed policy is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedPolicyError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The policy, whose signature is good.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature algorithm that is not known.
    #[error("signature algorithm {found} is not known")]
    Algorithm {
        /// Its number.
        found: u8,
    },
    /// The certificate beside the signature is not the one that the signature names.
    #[error(
        "the certificate is not the one that was signed with: its SHA-256 is {found}, expected {expected}"
    )]
    Certificate {
        /// SHA-256 of the certificate.
        found: String,
        /// What the signature names.
        expected: String,
    },
    /// The signer's certificate is not accepted, or is not an operator's.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Its end has come.
    #[error("the signature expired at {until}, and it is {at}")]
    Expired {
        /// Its end.
        until: Timestamp,
        /// The time as of which it was judged.
        at: Timestamp,
    },
    /// It is over other bytes.
    #[error("the signature is over other bytes than {}", .files.join(", "))]
    Files {
        /// The policy's files.
        files: Vec<String>,
    },
    /// The file is no signature.
    #[error(transparent)]
    Malformed(#[from] SignatureFault),
    /// Its beginning has not come.
    #[error("the signature holds from {from} on, and it is {at}")]
    NotYetValid {
        /// Its beginning.
        from: Timestamp,
        /// The time as of which it was judged.
        at: Timestamp,
    },
    /// It is to hold for longer than the certificate that it was made with.
    #[error("the signature is to hold until {until}, and the certificate of {signer} ends at {not_after}")]
    OutlivesCertificate {
        /// Who signed.
        signer: Identity,
        /// Its end.
        until: Timestamp,
        /// The certificate's last second.
        not_after: Timestamp,
    },
    /// The policy's serial is not the one that was signed.
    #[error("serial {signed} was signed, and the policy's is {found}")]
    Serial {
        /// The policy's.
        found: u64,
        /// The signature's.
        signed: u64,
    },
    /// It does not fit the statement and the certificate's key.
    #[error(transparent)]
    Signature(#[from] public_key::SignatureError),
    /// An operator, but none of those who may sign.
    #[error("{found} may not sign this policy; {} may", listed(.signers))]
    Signer {
        /// Who signed.
        found: Identity,
        /// Who may.
        signers: Vec<PublisherPattern>,
    },
}

/// Reads a policy that is signed, as of `at`: `signature` is the signature's file, `sources` are all of the policy's.
///
/// # Errors
/// [`SignedPolicyError`]: the signature's first, and the policy's only where the signature is good.
pub fn read_signed(
    signature: &[u8],
    sources: &[Source<'_>],
    by: Requirement<'_>,
    limits: &Limits,
    at: Timestamp,
) -> Result<SignedPolicy, SignedPolicyError> {
    let detached = DetachedSignature::parse(signature, limits).map_err(SignatureError::from)?;
    let endorsement = detached.check(sources, by, at)?;
    let policy = Policy::parse_files(sources, limits)?;
    let (found, signed) = (policy.edition().serial, endorsement.serial);
    if found != signed {
        return Err(SignatureError::Serial { found, signed }.into());
    }
    Ok(SignedPolicy { policy, endorsement, signature: detached })
}

impl SignatureError {
    /// Its stable code: that of the chain or the cryptographic signature, where it is about them.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Algorithm { .. } => "policy-signature-algorithm",
            Self::Certificate { .. } => "policy-signature-certificate",
            Self::Chain(error) => error.code().as_str(),
            Self::Expired { .. } => "policy-signature-expired",
            Self::Files { .. } => "policy-signature-files",
            Self::Malformed(fault) => fault.code(),
            Self::NotYetValid { .. } => "policy-signature-not-yet-valid",
            Self::OutlivesCertificate { .. } => "policy-signature-outlives-certificate",
            Self::Serial { .. } => "policy-signature-serial",
            Self::Signature(error) => error.code().as_str(),
            Self::Signer { .. } => "policy-signature-signer",
        }
    }
}

impl SignedPolicy {
    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who signed it.
    pub fn endorsement(&self) -> &Endorsement {
        &self.endorsement
    }

    /// Takes it apart; the signature is what can be checked again later.
    pub fn into_parts(self) -> (Policy, Endorsement, DetachedSignature) {
        (self.policy, self.endorsement, self.signature)
    }
}

impl Endorsement {
    /// The operator.
    pub fn signer(&self) -> &Identity {
        &self.signer
    }

    /// SHA-256 of the operator's certificate in DER.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.certificate
    }

    /// The serial that was signed, which is the policy's.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The first second at which the signature holds.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The first second at which it does not any more.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

impl fmt::Display for Endorsement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signer, serial, until, .. } = self;
        write!(f, "signed by {signer}, serial {serial}, until {until}")
    }
}

impl DetachedSignature {
    /// Whether it is a good signature over these bytes, as of `at`. What it says of the serial is compared when the policy is read.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check(
        &self,
        sources: &[Source<'_>],
        by: Requirement<'_>,
        at: Timestamp,
    ) -> Result<Endorsement, SignatureError> {
        self.check_digests(&digests(sources), || names(sources), by, at)
    }

    /// As [`DetachedSignature::check`], of files of which the SHA-256 is known. (It does not bear on the order of the files.)
    ///
    /// # Errors
    /// [`SignatureError`]; where the digests differ, `names` says of which files they are.
    pub fn check_digests(
        &self,
        digests: &[[u8; 32]],
        names: impl FnOnce() -> Vec<String>,
        by: Requirement<'_>,
        at: Timestamp,
    ) -> Result<Endorsement, SignatureError> {
        let Statement { from, until, files, certificate, algorithm, .. } = self.statement();
        let (from, until) = (*from, *until);
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        if digests != *files {
            return Err(SignatureError::Files { files: names() });
        }
        if at < from {
            return Err(SignatureError::NotYetValid { from, at });
        }
        if at >= until {
            return Err(SignatureError::Expired { until, at });
        }
        // The parser has seen to it that there is one.
        let (leaf, intermediates) = self.certificates().split_first().unzip();
        let leaf = leaf.map_or(&[][..], AsRef::as_ref);
        let found = merkle::sha256(&[leaf]);
        if found != *certificate {
            let (found, expected) = (text::hex(&found), text::hex(certificate));
            return Err(SignatureError::Certificate { found, expected });
        }
        let intermediates: Vec<&[u8]> = intermediates.unwrap_or_default().iter().map(AsRef::as_ref).collect();
        let leaf = by.trust.validate(leaf, &intermediates, &Purpose::ConfigSigning, at)?;
        let algorithm =
            Algorithm::from_id(*algorithm).ok_or(SignatureError::Algorithm { found: *algorithm })?;
        let checked = leaf.public_key().verify(algorithm, self.signed_bytes(), self.signature())?;
        let signer = leaf.identity().clone();
        if !by.signers.iter().any(|pattern| pattern.names(&signer)) {
            let signers = by.signers.to_vec();
            return Err(SignatureError::Signer { found: signer, signers });
        }
        let not_after = leaf.certificate().not_after();
        if until > not_after {
            return Err(SignatureError::OutlivesCertificate { signer, until, not_after });
        }
        Ok(Endorsement::new(signer, found, self.statement(), checked))
    }
}

impl Endorsement {
    /// Takes the checked signature away: without one there is nothing endorsed.
    fn new(signer: Identity, certificate: [u8; 32], statement: &Statement, _: SignatureChecked) -> Self {
        let Statement { serial, from, until, .. } = *statement;
        Self { signer, certificate, serial, from, until }
    }
}

/// An operator's key and certificate.
#[derive(Debug)]
pub struct PolicySigner {
    key: Arc<dyn SigningKey>,
    /// The operator's, then its issuers.
    certificates: Vec<Certificate>,
}

/// Why no policy was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicySignError {
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The certificate is for another key.
    #[error("the certificate `{certificate}` is not for this private key")]
    KeyMismatch {
        /// The certificate's subject.
        certificate: String,
    },
    /// No certificate was given.
    #[error("there is no certificate to sign with")]
    NoCertificate,
    /// More files than a signature can be over.
    #[error("a signature is over at most {MAX_FILES} files, not {found}")]
    TooManyFiles {
        /// What was found.
        found: usize,
    },
    /// It would end before it begins.
    #[error("a signature until {until} would hold for no time, as it is {now}")]
    Until {
        /// The end that was asked for.
        until: Timestamp,
        /// The time of signing.
        now: Timestamp,
    },
    /// It would hold for longer than the certificate.
    #[error("a signature until {until} would outlive its certificate, which ends at {not_after}")]
    OutlivesCertificate {
        /// The end that was asked for.
        until: Timestamp,
        /// The certificate's last second.
        not_after: Timestamp,
    },
}

impl PolicySigner {
    /// With an operator's key and certificate, and the intermediates that verifiers may not have.
    ///
    /// # Errors
    /// [`PolicySignError`], if there is no certificate, or the first is not for the key. Whether it is an operator's is for those to
    /// say who verify.
    pub fn new(key: Arc<dyn SigningKey>, certificates: Vec<Certificate>) -> Result<Self, PolicySignError> {
        let leaf = certificates.first().ok_or(PolicySignError::NoCertificate)?;
        if leaf.spki_der() != key.public_spki() {
            return Err(PolicySignError::KeyMismatch { certificate: leaf.subject().to_owned() });
        }
        Ok(Self { key, certificates })
    }

    /// The operator's certificate.
    pub fn certificate(&self) -> &Certificate {
        // There is one: `new` saw to it.
        &self.certificates[0]
    }

    /// Signs the files of a policy, which was read from the same bytes. The signature holds from a minute before `now`, and until
    /// `until`; until the certificate ends, where that is `None`.
    ///
    /// # Errors
    /// [`PolicySignError`].
    pub fn sign(
        &self,
        policy: &Policy,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<DetachedSignature, PolicySignError> {
        let mut files: Vec<[u8; 32]> = policy.files().iter().map(|file| file.sha256).collect();
        files.sort_unstable();
        if files.len() > MAX_FILES {
            return Err(PolicySignError::TooManyFiles { found: files.len() });
        }
        let leaf = self.certificate();
        let (from, not_after) =
            (now.plus_seconds(-BACKDATE_SECONDS).max(leaf.not_before()), leaf.not_after());
        let until = until.unwrap_or(not_after);
        if until <= now {
            return Err(PolicySignError::Until { until, now });
        }
        if until > not_after {
            return Err(PolicySignError::OutlivesCertificate { until, not_after });
        }
        let (serial, algorithm) = (policy.edition().serial, self.key.algorithm().id());
        let statement = Statement { serial, from, until, files, certificate: leaf.sha256(), algorithm };
        let signature = self.key.sign(statement.to_text().as_bytes())?.into();
        let certificates = self.certificates.iter().map(|c| c.der().clone()).collect();
        Ok(DetachedSignature::new(statement, certificates, signature))
    }
}

fn digests(sources: &[Source<'_>]) -> Vec<[u8; 32]> {
    sources.iter().map(|source| merkle::sha256(&[source.bytes])).collect()
}

fn names(sources: &[Source<'_>]) -> Vec<String> {
    sources.iter().map(|source| source.file.to_owned()).collect()
}

fn listed(signers: &[PublisherPattern]) -> String {
    if signers.is_empty() {
        return "nobody".to_owned();
    }
    signers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
