//! Why a message was refused: one stable code a reason.
//!
//! The errors of each layer carry the details (the thing, the expected, the found); each maps to one code here. Codes
//! are what logs, counters, `--json` and tests go by: a code is never renamed and never reused.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// The stable code of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ReasonCode {
            /// Every code, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as text: lower case and hyphens.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

reasons! {
    /// The body has more bytes than the limit.
    BodyTooLarge = "body-too-large",
    /// A certificate uses an algorithm or a key size that is not accepted.
    CertificateAlgorithm = "certificate-algorithm",
    /// A path length, name constraint or basic constraint forbids this chain.
    CertificateConstraint = "certificate-constraint",
    /// A critical extension that is not understood.
    CertificateCriticalExtension = "certificate-critical-extension",
    /// The leaf's last day has passed.
    CertificateExpired = "certificate-expired",
    /// The leaf is an authority's certificate, or is itself a trust anchor.
    CertificateIsAuthority = "certificate-is-authority",
    /// The key usage extension does not allow what the certificate was used for.
    CertificateKeyUsage = "certificate-key-usage",
    /// Not a certificate of X.509 version 3 in DER, or one with a defect.
    CertificateMalformed = "certificate-malformed",
    /// The leaf's first day has not come.
    CertificateNotYetValid = "certificate-not-yet-valid",
    /// The extended key usage is not the one that is required.
    CertificatePurpose = "certificate-purpose",
    /// Its issuer's revocation list names the certificate.
    CertificateRevoked = "certificate-revoked",
    /// The serial number is zero, negative or over 20 bytes (RFC 5280, 4.1.2.2).
    CertificateSerial = "certificate-serial",
    /// A signature within the chain does not verify.
    CertificateSignature = "certificate-signature",
    /// No path leads to a trust anchor.
    CertificateUnknownIssuer = "certificate-unknown-issuer",
    /// A revocation list that is not X.509 version 2 in DER, or is of a kind not accepted (delta, indirect).
    CrlMalformed = "crl-malformed",
    /// There is no revocation list from an issuer of the chain.
    CrlMissing = "crl-missing",
    /// A revocation list is dated in the future.
    CrlNotYetValid = "crl-not-yet-valid",
    /// A revocation list is not signed by the issuer it names, or that one may not sign lists.
    CrlSignature = "crl-signature",
    /// A revocation list is past its next update.
    CrlStale = "crl-stale",
    /// A field of the envelope has the wrong type or form.
    EnvelopeFieldInvalid = "envelope-field-invalid",
    /// A field of the envelope is not there.
    EnvelopeFieldMissing = "envelope-field-missing",
    /// The envelope's version is not 2.
    EnvelopeVersionUnsupported = "envelope-version-unsupported",
    /// Not two frames.
    FrameCount = "frame-count",
    /// The timestamp is further ahead than the window allows.
    FromTheFuture = "from-the-future",
    /// The certificate has two identities.
    IdentityAmbiguous = "identity-ambiguous",
    /// The certificate's identity is not well-formed.
    IdentityMalformed = "identity-malformed",
    /// The certificate has no identity.
    IdentityMissing = "identity-missing",
    /// An issuer in the chain, or its trust anchor, has expired.
    IssuerExpired = "issuer-expired",
    /// An issuer in the chain may not sign certificates.
    IssuerNotAuthority = "issuer-not-authority",
    /// An issuer in the chain is not valid yet.
    IssuerNotYetValid = "issuer-not-yet-valid",
    /// An issuer in the chain was revoked.
    IssuerRevoked = "issuer-revoked",
    /// An object has the same key twice.
    JsonDuplicateKey = "json-duplicate-key",
    /// A string has half of a surrogate pair.
    JsonLoneSurrogate = "json-lone-surrogate",
    /// Not JSON (RFC 8259), or not one object.
    JsonMalformed = "json-malformed",
    /// Not UTF-8.
    JsonNotUtf8 = "json-not-utf8",
    /// A number that has no finite value (`1e400`, `NaN`).
    JsonNumberOutOfRange = "json-number-out-of-range",
    /// A number of more characters than the limit.
    JsonNumberTooLong = "json-number-too-long",
    /// More levels of arrays and objects than the limit.
    JsonTooDeep = "json-too-deep",
    /// A legacy message's `crypto` names something other than `x509`.
    LegacyCryptoUnsupported = "legacy-crypto-unsupported",
    /// A legacy message, where the configuration accepts none.
    LegacyNotAccepted = "legacy-not-accepted",
    /// A legacy message's signature or certificate field is not base64 of the right thing.
    LegacySignatureMalformed = "legacy-signature-malformed",
    /// A `deny` rule names the signer.
    PolicyDenied = "policy-denied",
    /// The topic is another's: an `exclusive` rule does not name the signer.
    PolicyExclusive = "policy-exclusive",
    /// No rule allows it.
    PolicyUnlisted = "policy-unlisted",
    /// The proof's algorithm is not known.
    ProofAlgorithmUnknown = "proof-algorithm-unknown",
    /// The proof carries more certificates than the limit.
    ProofChainTooLong = "proof-chain-too-long",
    /// The proof is not base64url without padding, or not of its binary form.
    ProofMalformed = "proof-malformed",
    /// There is no proof: the message is not signed.
    ProofMissing = "proof-missing",
    /// The audit path does not fit the tree's size and the leaf's index.
    ProofPathMismatch = "proof-path-mismatch",
    /// The audit path has more hashes than the limit.
    ProofPathTooLong = "proof-path-too-long",
    /// The proof has more bytes than the limit.
    ProofTooLarge = "proof-too-large",
    /// The proof's version is not known.
    ProofVersionUnsupported = "proof-version-unsupported",
    /// The signer's message with this `msg_id` was delivered already.
    ReplayedMsgId = "replayed-msg-id",
    /// The stream's message with this `seq` was delivered already.
    ReplayedSeq = "replayed-seq",
    /// The `seq` is further behind the stream's newest than is remembered.
    SeqTooOld = "seq-too-old",
    /// The certificate's key is not one for the proof's algorithm.
    SignatureAlgorithmMismatch = "signature-algorithm-mismatch",
    /// The signature does not verify: something was changed, or somebody else signed.
    SignatureInvalid = "signature-invalid",
    /// The timestamp is further back than the window allows.
    TooOld = "too-old",
    /// More streams, or more messages within the window, than are remembered for one signer.
    TooManyRemembered = "too-many-remembered",
    /// The topic is not a well-formed topic.
    TopicMalformed = "topic-malformed",
    /// The topic of the frame is not the one that was signed.
    TopicMismatch = "topic-mismatch",
    /// The topic has more bytes than the limit.
    TopicTooLong = "topic-too-long",
    /// The topic has more fields than the limit.
    TopicTooManyFields = "topic-too-many-fields",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&crate::topic::TopicError> for ReasonCode {
    fn from(error: &crate::topic::TopicError) -> Self {
        use crate::topic::TopicError as E;
        match error {
            E::Character { .. } | E::EmptyField { .. } => Self::TopicMalformed,
            E::TooLong { .. } => Self::TopicTooLong,
            E::TooManyFields { .. } => Self::TopicTooManyFields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_plain() {
        let codes: BTreeSet<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), ReasonCode::ALL.len());
        assert!(
            codes
                .iter()
                .all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
        );
    }
}
