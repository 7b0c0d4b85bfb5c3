//! What can go wrong with an authority.

use crate::identity::IdentityError;
use crate::pki::certificate::CertificateError;
use crate::pki::chain::{ChainError, TrustError};
use crate::pki::crl::CrlError;
use crate::pki::key::PrivateKeyError;
use crate::pki::request::RequestError;
use crate::pki::serial::{Serial, SerialError};
use crate::time::{TimeError, Timestamp};

/// Why an authority cannot be made, loaded or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// `SERVICE-HOST` is longer than a common name may be (RFC 5280, appendix A.1).
    #[error("`{name}` has {found} characters, a common name has at most {}", super::MAX_COMMON_NAME)]
    CommonName {
        /// The name.
        name: String,
        /// Its length, in characters.
        found: usize,
    },
    /// A revocation list cannot be read.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The encoder refused.
    #[error("encoding or signing failed: {0}")]
    Encode(#[from] rcgen::Error),
    /// What was issued names somebody else.
    #[error("the new certificate names {found}, expected {expected}")]
    Identity {
        /// Whom it names.
        found: String,
        /// Whom it should name.
        expected: String,
    },
    /// The key signs nothing.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The key belongs to another certificate.
    #[error("the private key is not that of `{issuer}`")]
    KeyMismatch {
        /// The certificate's subject.
        issuer: String,
    },
    /// The key usage extension is missing, or does not allow what an authority does.
    #[error("`{issuer}` may not issue: its key usage does not have {missing}")]
    KeyUsage {
        /// The certificate's subject.
        issuer: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// The issuer's name would be written in another way, so that nobody could chain to it.
    #[error("`{issuer}` cannot issue here: {fault} in its name")]
    Name {
        /// The certificate's subject.
        issuer: String,
        /// What is wrong with its name.
        fault: NameFault,
    },
    /// The name is none that this code gives, so that nobody could chain to it.
    #[error("`{issuer}` cannot be vouched for: its name is none that is given here")]
    NameChanged {
        /// The certificate's subject.
        issuer: String,
    },
    /// The certificate is not an authority's.
    #[error("`{issuer}` is no authority: its basic constraints do not say CA:TRUE")]
    NotAuthority {
        /// The certificate's subject.
        issuer: String,
    },
    /// A list that was just signed does not name what it was to name.
    #[error("the new revocation list does not name {serial}")]
    NotOnList {
        /// The serial number that is missing.
        serial: Serial,
    },
    /// The authority has expired, or its time has not come.
    #[error("`{issuer}` is valid from {from} until {until}, and it is {at}")]
    NotValidNow {
        /// The certificate's subject.
        issuer: String,
        /// The first second of its validity.
        from: Timestamp,
        /// The last second of its validity.
        until: Timestamp,
        /// The time of issuing.
        at: Timestamp,
    },
    /// The authority may have no other authority below it.
    #[error("`{issuer}` may issue to services only: its path length is 0")]
    PathLength {
        /// The certificate's subject.
        issuer: String,
    },
    /// What was made would not be accepted. It was thrown away.
    #[error("what was issued does not validate: {0}")]
    Refused(#[from] ChainError),
    /// A request cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A serial number that is none.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// A trust domain, environment, service or host that no identity can have.
    #[error(transparent)]
    SpiffeId(#[from] IdentityError),
    /// A date that cannot be written.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// What was made could not be a trust anchor or be used with one. It was thrown away.
    #[error("what was issued cannot be trusted: {0}")]
    Trust(#[from] TrustError),
    /// No such reason.
    #[error("`{found}` is no reason for a revocation; {} are", names())]
    UnknownReason {
        /// What was found.
        found: String,
    },
}

/// Why an issuer's name cannot be kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// No name at all.
    #[error("nothing")]
    Empty,
    /// Several attributes in one RDN.
    #[error("several attributes in one part")]
    MultiValued,
    /// The same attribute in two RDNs: only one of them would be kept.
    #[error("the attribute {oid} twice")]
    Repeated {
        /// Which attribute.
        oid: String,
    },
}

fn names() -> String {
    super::RevocationReason::ALL.map(super::RevocationReason::as_str).join(", ")
}
