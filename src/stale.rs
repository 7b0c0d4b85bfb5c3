//! Why a message that is authentic is not new. A module of its own, since both [`freshness`](crate::freshness), which finds it,
//! and [`verify`](crate::verify), whose reasons it is one of, speak of it.

use crate::message::id::{MessageId, StreamId};
use crate::reason::ReasonCode;
use crate::time::Timestamp;

/// How far behind a stream's newest `seq` another may be and still be told apart from a replay.
pub const SEQ_WINDOW: u64 = 1024;

/// Why a verified message is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Ahead of the window.
    #[error("timestamp {timestamp} is {ahead} s ahead of {now}, the limit is {limit} s")]
    FromTheFuture {
        /// The message's.
        timestamp: Timestamp,
        /// The receiver's.
        now: Timestamp,
        /// Seconds between them.
        ahead: i64,
        /// The limit, in seconds.
        limit: i64,
    },
    /// Seen already.
    #[error("msg_id {msg_id} was delivered already")]
    ReplayedMsgId {
        /// The message's.
        msg_id: MessageId,
    },
    /// Seen already.
    #[error("seq {seq} of stream {stream} was delivered already")]
    ReplayedSeq {
        /// The message's.
        stream: StreamId,
        /// The message's.
        seq: u64,
    },
    /// Too far behind the newest to tell whether it was seen.
    #[error("seq {seq} of stream {stream} is {} behind its newest, {SEQ_WINDOW} are remembered", newest - seq)]
    SeqTooOld {
        /// The message's.
        stream: StreamId,
        /// The message's.
        seq: u64,
        /// The newest of its stream.
        newest: u64,
    },
    /// Within the window, and before what was forgotten when the receiver's clock stood later.
    #[error(
        "timestamp {timestamp} is before {forgotten}, up to which everything was forgotten while the clock stood later"
    )]
    Forgotten {
        /// The message's.
        timestamp: Timestamp,
        /// The time before which nothing is remembered.
        forgotten: Timestamp,
    },
    /// Behind the window.
    #[error("timestamp {timestamp} is {behind} s behind {now}, the limit is {limit} s")]
    TooOld {
        /// The message's.
        timestamp: Timestamp,
        /// The receiver's.
        now: Timestamp,
        /// Seconds between them.
        behind: i64,
        /// The limit, in seconds.
        limit: i64,
    },
    /// The signer has published more than is remembered: what is not newer than this cannot be told from a replay.
    #[error(
        "timestamp {timestamp} is not after {floor}, up to which this signer's messages had to be forgotten"
    )]
    TooManyRemembered {
        /// The message's.
        timestamp: Timestamp,
        /// The newest that was forgotten.
        floor: Timestamp,
    },
}

impl Stale {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::FromTheFuture { .. } => ReasonCode::FromTheFuture,
            Self::ReplayedMsgId { .. } => ReasonCode::ReplayedMsgId,
            Self::ReplayedSeq { .. } => ReasonCode::ReplayedSeq,
            Self::SeqTooOld { .. } => ReasonCode::SeqTooOld,
            Self::TooManyRemembered { .. } => ReasonCode::TooManyRemembered,
            Self::Forgotten { .. } | Self::TooOld { .. } => ReasonCode::TooOld,
        }
    }
}
