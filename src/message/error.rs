//! Why bytes are no message.

use crate::json::JsonError;
use crate::reason::ReasonCode;
use crate::topic::TopicError;

/// Why bytes are no message: the thing, what was expected of it, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// More bytes than the limit.
    #[error("body has {found} bytes, the limit is {limit}")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// What was found, in bytes.
        found: usize,
    },
    /// A field of the wrong type or form.
    #[error("field `{field}` is {found}, expected {expected}")]
    FieldInvalid {
        /// The field's name.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// A field that has to be there.
    #[error("field `{field}` is missing")]
    FieldMissing {
        /// The field's name.
        field: &'static str,
    },
    /// Not two frames.
    #[error("message has {found} frames, expected 2")]
    FrameCount {
        /// How many there are.
        found: usize,
    },
    /// The body is not strict JSON.
    #[error("body is not JSON: {0}")]
    Json(#[from] JsonError),
    /// A legacy message with another `crypto` than `x509`.
    #[error("legacy message has crypto {found}, only \"x509\" can be verified")]
    LegacyCrypto {
        /// What it names, shortened.
        found: String,
    },
    /// A legacy field that is not base64.
    #[error("legacy field `{field}` is not base64")]
    LegacyBase64 {
        /// The field's name.
        field: &'static str,
    },
    /// An algorithm that this program does not know.
    #[error("proof has algorithm {found}, known are 1 to 4")]
    ProofAlgorithm {
        /// What was found.
        found: u8,
    },
    /// More certificates than the limit.
    #[error("proof carries {found} certificates, the limit is {limit}")]
    ProofChainTooLong {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// Not the binary form, or not its base64url form at the end of the body.
    #[error("proof is malformed: {0}")]
    ProofMalformed(&'static str),
    /// There is none: the message is not signed.
    #[error("message has no proof: it is not signed")]
    ProofMissing,
    /// The audit path is not as long as the tree's size and the leaf's index make it.
    #[error("audit path has {found} hashes, leaf {index} in a tree of {size} has {expected}")]
    ProofPathMismatch {
        /// The number of messages in the batch.
        size: u32,
        /// The message's place in it, from 0.
        index: u32,
        /// The hashes that such a path has.
        expected: usize,
        /// The hashes that were found.
        found: usize,
    },
    /// More hashes than the limit.
    #[error("audit path has {found} hashes, the limit is {limit}")]
    ProofPathTooLong {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// More bytes than the limit.
    #[error("proof has {found} bytes, the limit is {limit}")]
    ProofTooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// What was found, in bytes.
        found: usize,
    },
    /// A version of the proof that this program does not know.
    #[error("proof has version {found}, known is 1")]
    ProofVersion {
        /// What was found.
        found: u8,
    },
    /// The topic is not well-formed.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The frame's topic is not the signed one.
    #[error("frame has topic `{frame}`, signed is `{signed}`")]
    TopicMismatch {
        /// The topic of the first frame.
        frame: String,
        /// The topic in the body.
        signed: String,
    },
    /// A version of the envelope that this program does not know.
    #[error("envelope has v {found}, known is 2")]
    Version {
        /// What was found, shortened.
        found: String,
    },
}

impl MessageError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::BodyTooLarge { .. } => ReasonCode::BodyTooLarge,
            Self::FieldInvalid { .. } => ReasonCode::EnvelopeFieldInvalid,
            Self::FieldMissing { .. } => ReasonCode::EnvelopeFieldMissing,
            Self::FrameCount { .. } => ReasonCode::FrameCount,
            Self::Json(error) => error.code(),
            Self::LegacyBase64 { .. } => ReasonCode::LegacySignatureMalformed,
            Self::LegacyCrypto { .. } => ReasonCode::LegacyCryptoUnsupported,
            Self::ProofAlgorithm { .. } => ReasonCode::ProofAlgorithmUnknown,
            Self::ProofChainTooLong { .. } => ReasonCode::ProofChainTooLong,
            Self::ProofMalformed(_) => ReasonCode::ProofMalformed,
            Self::ProofMissing => ReasonCode::ProofMissing,
            Self::ProofPathMismatch { .. } => ReasonCode::ProofPathMismatch,
            Self::ProofPathTooLong { .. } => ReasonCode::ProofPathTooLong,
            Self::ProofTooLarge { .. } => ReasonCode::ProofTooLarge,
            Self::ProofVersion { .. } => ReasonCode::ProofVersionUnsupported,
            Self::Topic(error) => error.into(),
            Self::TopicMismatch { .. } => ReasonCode::TopicMismatch,
            Self::Version { .. } => ReasonCode::EnvelopeVersionUnsupported,
        }
    }
}
