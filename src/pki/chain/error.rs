//! What can be wrong with a chain: each error names the certificate or list (with its file, if that is known), what was
//! expected and what was found.

use crate::pki::certificate::{CertificateError, IdentityFault};
use crate::pki::crl::CrlError;
use crate::pki::public_key::{KeyError, KeyKind};
use crate::reason::ReasonCode;
use crate::time::Timestamp;

/// Why a leaf was not accepted. `leaf` and `issuer` are names as certificates have them, with the file if it is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A signature within the chain is by an algorithm that is not accepted (SHA-1, say).
    #[error("certificate {name} is signed with an algorithm that is not accepted ({algorithm})")]
    Algorithm {
        /// The certificate.
        name: String,
        /// The OID of its signature algorithm.
        algorithm: String,
    },
    /// An authority's key is of a kind or size that is not accepted.
    #[error("issuer {issuer} has a key that is not accepted: {key}")]
    AuthorityKey {
        /// The issuer.
        issuer: String,
        /// Its key.
        key: KeyKind,
    },
    /// A certificate is not acceptable in itself.
    #[error("{role} certificate{}: {fault}", spaced(name))]
    Certificate {
        /// `leaf`, `issuer`, or both where it is not known which.
        role: &'static str,
        /// Its file, if that is known.
        name: String,
        /// What is wrong with it.
        fault: CertificateError,
    },
    /// A path length, a name constraint, or a limit on the size of a path.
    #[error("the chain of {leaf} breaks a constraint: {detail}")]
    Constraint {
        /// The leaf.
        leaf: String,
        /// Which constraint, whose, and how.
        detail: String,
    },
    /// A critical extension that is not understood.
    #[error("certificate {name} has the critical extension {oid}, which is not understood")]
    CriticalExtension {
        /// The certificate.
        name: String,
        /// The extension.
        oid: String,
    },
    /// A revocation list is not acceptable in itself.
    #[error("revocation list{}: {fault}", spaced(list))]
    Crl {
        /// Its file, if that is known.
        list: String,
        /// What is wrong with it.
        fault: CrlError,
    },
    /// There is no list from an issuer of the chain.
    #[error("no revocation list from {issuer}, so {subject} may have been revoked")]
    CrlMissing {
        /// Whose certificate could not be checked.
        subject: String,
        /// From whom a list is missing.
        issuer: String,
    },
    /// A list is dated in the future.
    #[error("revocation list {list} of {issuer} is from the future: issued {this_update}, and it is {at}")]
    CrlNotYetValid {
        /// Its file.
        list: String,
        /// Who issued it.
        issuer: String,
        /// When.
        this_update: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// A list is not signed by the issuer it names, or that one may not sign lists.
    #[error("revocation list {list} is not one of {issuer}: {detail}")]
    CrlSignature {
        /// Its file.
        list: String,
        /// Whom it names.
        issuer: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// A list is past its next update.
    #[error("revocation list {list} of {issuer} is stale: the next was due {next_update}, and it is {at}")]
    CrlStale {
        /// Its file.
        list: String,
        /// Who issued it.
        issuer: String,
        /// When the next was due.
        next_update: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// The leaf's last second has passed.
    #[error("certificate {leaf} expired: valid until {not_after}, and it is {at}")]
    Expired {
        /// The leaf.
        leaf: String,
        /// Its last second.
        not_after: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// The leaf has no identity, or not one.
    #[error("certificate {leaf}: {fault}")]
    Identity {
        /// The leaf.
        leaf: String,
        /// What is wrong.
        fault: IdentityFault,
    },
    /// An issuer's, or the trust anchor's, last second has passed.
    #[error("issuer {issuer} expired: valid until {not_after}, and it is {at}")]
    IssuerExpired {
        /// The issuer.
        issuer: String,
        /// Its last second.
        not_after: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// An issuer may not sign certificates.
    #[error("issuer {issuer} is not an authority: {detail}")]
    IssuerNotAuthority {
        /// The issuer.
        issuer: String,
        /// What it lacks.
        detail: &'static str,
    },
    /// An issuer's, or the trust anchor's, first second has not come.
    #[error("issuer {issuer} is not valid yet: valid from {not_before}, and it is {at}")]
    IssuerNotYetValid {
        /// The issuer.
        issuer: String,
        /// Its first second.
        not_before: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// An issuer was revoked.
    #[error("issuer {issuer} (serial {serial}) was revoked on {date}: {reason}, says {list}")]
    IssuerRevoked {
        /// The issuer.
        issuer: String,
        /// Its serial number, in hexadecimal.
        serial: String,
        /// When.
        date: Timestamp,
        /// The reason's name in RFC 5280.
        reason: &'static str,
        /// The list's file.
        list: String,
    },
    /// The leaf's key is of a kind or size that is not accepted.
    #[error("certificate {leaf}: {fault}")]
    Key {
        /// The leaf.
        leaf: String,
        /// What is wrong.
        fault: KeyError,
    },
    /// The leaf's key usage does not allow signing messages.
    #[error("certificate {leaf} allows {found}, expected digitalSignature")]
    KeyUsage {
        /// The leaf.
        leaf: String,
        /// Its key usages.
        found: String,
    },
    /// The leaf is an authority's certificate, or a trust anchor.
    #[error("certificate {leaf} is {found}, expected a leaf")]
    LeafIsAuthority {
        /// The leaf.
        leaf: String,
        /// What it is.
        found: &'static str,
    },
    /// The leaf's first second has not come.
    #[error("certificate {leaf} is not valid yet: valid from {not_before}, and it is {at}")]
    NotYetValid {
        /// The leaf.
        leaf: String,
        /// Its first second.
        not_before: Timestamp,
        /// The time of validation.
        at: Timestamp,
    },
    /// The leaf, or an issuer above it, is not for the purpose.
    #[error("certificate {name} is for {found}, expected {expected}")]
    Purpose {
        /// The certificate.
        name: String,
        /// The purpose that was asked for.
        expected: String,
        /// Its extended key usages.
        found: String,
    },
    /// The leaf was revoked.
    #[error("certificate {leaf} (serial {serial}) was revoked on {date}: {reason}, says {list}")]
    Revoked {
        /// The leaf.
        leaf: String,
        /// Its serial number, in hexadecimal.
        serial: String,
        /// When.
        date: Timestamp,
        /// The reason's name in RFC 5280.
        reason: &'static str,
        /// The list's file.
        list: String,
    },
    /// A certificate's signature does not verify under its issuer's key.
    #[error("the signature of certificate {subject} does not verify under the key of {issuer}")]
    Signature {
        /// Whose certificate it is.
        subject: String,
        /// Who should have signed it.
        issuer: String,
    },
    /// No path leads to a trust anchor.
    #[error("certificate {subject} was issued by {issuer}, which is neither a trust anchor nor leads to one")]
    UnknownIssuer {
        /// Where the search ended.
        subject: String,
        /// Who issued that.
        issuer: String,
    },
}

impl ChainError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Algorithm { .. } | Self::AuthorityKey { .. } => ReasonCode::CertificateAlgorithm,
            Self::Certificate { fault, .. } => fault.code(),
            Self::Constraint { .. } => ReasonCode::CertificateConstraint,
            Self::CriticalExtension { .. } => ReasonCode::CertificateCriticalExtension,
            Self::Crl { fault, .. } => fault.code(),
            Self::CrlMissing { .. } => ReasonCode::CrlMissing,
            Self::CrlNotYetValid { .. } => ReasonCode::CrlNotYetValid,
            Self::CrlSignature { .. } => ReasonCode::CrlSignature,
            Self::CrlStale { .. } => ReasonCode::CrlStale,
            Self::Expired { .. } => ReasonCode::CertificateExpired,
            Self::Identity { fault, .. } => fault.code(),
            Self::IssuerExpired { .. } => ReasonCode::IssuerExpired,
            Self::IssuerNotAuthority { .. } => ReasonCode::IssuerNotAuthority,
            Self::IssuerNotYetValid { .. } => ReasonCode::IssuerNotYetValid,
            Self::IssuerRevoked { .. } => ReasonCode::IssuerRevoked,
            Self::Key { fault, .. } => fault.code(),
            Self::KeyUsage { .. } => ReasonCode::CertificateKeyUsage,
            Self::LeafIsAuthority { .. } => ReasonCode::CertificateIsAuthority,
            Self::NotYetValid { .. } => ReasonCode::CertificateNotYetValid,
            Self::Purpose { .. } => ReasonCode::CertificatePurpose,
            Self::Revoked { .. } => ReasonCode::CertificateRevoked,
            Self::Signature { .. } => ReasonCode::CertificateSignature,
            Self::UnknownIssuer { .. } => ReasonCode::CertificateUnknownIssuer,
        }
    }
}

/// Why a trust store could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// One authority (a name and a key) under two identity rules: which one holds could not be known.
    #[error("{first} and {second} are the same authority, with two different identity rules")]
    AnchorRules {
        /// The file of one.
        first: String,
        /// The file of the other.
        second: String,
    },
    /// Something is wrong with an anchor, an intermediate or a list, whatever leaf is validated.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Two different lists of one issuer with the same number and date.
    #[error("{first} and {second} are different revocation lists of {issuer} with the same number and date")]
    CrlConflict {
        /// The issuer.
        issuer: String,
        /// The file of one.
        first: String,
        /// The file of the other.
        second: String,
    },
    /// A list was given, but revocation is not to be checked.
    #[error("revocation list {list} was given, but revocation is not to be checked")]
    CrlNotChecked {
        /// Its file.
        list: String,
    },
    /// Nothing is trusted.
    #[error("there is no trust anchor")]
    NoAnchors,
}

fn spaced(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {name}") }
}
