//! What a publisher has published, kept so that whoever missed it can ask for it.
//!
//! An outbox holds one stream: its messages by `seq`, from 1, without holes. It is bounded by age and by bytes; what falls
//! out is always the oldest, and is written down as a range, so that whoever asks for it is told that it is gone.
//! [`SqliteOutbox`] outlives the process and the power; [`MemoryOutbox`] does not, and its stream ends with it.
//!
//! One thread writes; any number of readers ([`Outbox::reader`]) look on from other threads meanwhile.

mod dropped;
mod error;
mod memory;
mod sqlite;

#[cfg(test)]
mod tests;

pub use dropped::{Dropped, MAX_DROPPED_RANGES};
pub use error::OutboxError;
pub use memory::MemoryOutbox;
pub use sqlite::{SqliteOutbox, SqliteOutboxReader};

use crate::config::Durability;
use crate::message::id::{MessageId, StreamId};
use crate::message::{RawMessage, Stamp};
use crate::sign::Signed;
use crate::time::Timestamp;
use bytes::Bytes;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A message as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the stream.
    pub seq: u64,
    /// When it was published.
    pub timestamp: Timestamp,
    /// Its name.
    pub msg_id: MessageId,
    /// The first frame.
    pub topic: Bytes,
    /// The second frame.
    pub body: Bytes,
}

/// How long and how much an outbox keeps. The messages of the last [`Outbox::append`] stay whatever they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What was published longer ago than this falls out.
    pub age: Duration,
    /// Bytes of all messages together, each counted with [`Kept::OVERHEAD_BYTES`] more than its frames have.
    pub bytes: u64,
}

/// Which messages of its stream an outbox has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The stream.
    pub stream: StreamId,
    /// The first that it still has; one more than `newest` if it has none.
    pub oldest: u64,
    /// The last that was published; 0 before the first.
    pub newest: u64,
}

/// How many messages fell out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FellOut {
    /// Older than [`Retention::age`].
    pub too_old: u64,
    /// To keep to [`Retention::bytes`], before their age.
    pub over_bytes: u64,
}

/// Where publishing keeps its messages.
pub trait Outbox: fmt::Debug + Send {
    /// Which messages it has.
    fn extent(&self) -> Extent;

    /// What its promise is worth.
    fn durability(&self) -> Durability;

    /// Keeps a batch, all of it or nothing, and lets the oldest fall out. When this returns, [`Durability::Disk`] means
    /// that the batch outlives a loss of power.
    ///
    /// # Errors
    /// [`OutboxError`]; none of the batch is kept then, and its numbers are free. [`OutboxError::Order`] if the batch does not
    /// go on where the last one ended.
    fn append(&mut self, batch: &[Kept], now: Timestamp) -> Result<FellOut, OutboxError>;

    /// Lets the too old fall out. [`Outbox::append`] does it as well.
    ///
    /// # Errors
    /// [`OutboxError`]; everything is still there then.
    fn expire(&mut self, now: Timestamp) -> Result<FellOut, OutboxError>;

    /// Looks on, from any thread.
    ///
    /// # Errors
    /// [`OutboxError`], if the file cannot be opened a second time.
    fn reader(&self) -> Result<Box<dyn OutboxReader>, OutboxError>;
}

/// Reads what an outbox has. Each answer is of one moment.
pub trait OutboxReader: fmt::Debug + Send {
    /// Which messages there are.
    ///
    /// # Errors
    /// [`OutboxError`].
    fn extent(&self) -> Result<Extent, OutboxError>;

    /// The messages of a stream from one number to another, both included. `None`: it is another stream.
    ///
    /// # Errors
    /// [`OutboxError`].
    fn range(&self, stream: StreamId, from: u64, to: u64, most: Most) -> Result<Option<Slice>, OutboxError>;

    /// Every message from the first one on whose timestamp is `time` or later.
    ///
    /// # Errors
    /// [`OutboxError`].
    fn since(&self, time: Timestamp, most: Most) -> Result<Slice, OutboxError>;

    /// The message of that name.
    ///
    /// # Errors
    /// [`OutboxError`].
    fn by_msg_id(&self, msg_id: &MessageId) -> Result<Option<Kept>, OutboxError>;

    /// What an operator wants to know.
    ///
    /// # Errors
    /// [`OutboxError`].
    fn report(&self) -> Result<Report, OutboxError>;
}

/// How much one answer may have. The first message is in it whatever it has, so that whoever asks gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Messages.
    pub messages: usize,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// What the outbox had at that moment.
    pub extent: Extent,
    /// The messages, in order and without holes.
    pub messages: Vec<Kept>,
    /// Where to go on: the answer was full before the end of what was asked for.
    pub next: Option<u64>,
    /// What of the question has fallen out.
    pub gone: Option<RangeInclusive<u64>>,
}

/// An outbox, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which messages it has.
    pub extent: Extent,
    /// Whose messages these are; empty if that was not said.
    pub signer: String,
    /// When the stream began.
    pub created: Timestamp,
    /// What the messages are counted ([`Retention::bytes`]).
    pub bytes: u64,
    /// The timestamps of the oldest and the newest message.
    pub between: Option<(Timestamp, Timestamp)>,
    /// What fell out, in order.
    pub dropped: Vec<Dropped>,
}

impl Kept {
    /// What a message is counted beside its frames: its row, its place in the index.
    pub const OVERHEAD_BYTES: u64 = 256;

    /// A signed message, with the stamp that it was sealed with.
    pub fn new(signed: &Signed, stamp: &Stamp) -> Self {
        Self {
            seq: signed.seq(),
            timestamp: stamp.timestamp,
            msg_id: signed.msg_id().clone(),
            topic: Bytes::copy_from_slice(signed.topic().as_str().as_bytes()),
            body: signed.body().clone(),
        }
    }

    /// The frames.
    pub fn raw(&self) -> RawMessage {
        RawMessage::new(self.topic.clone(), self.body.clone())
    }

    /// Bytes of its frames.
    pub fn frame_bytes(&self) -> u64 {
        u64::try_from(self.topic.len() + self.body.len()).unwrap_or(u64::MAX)
    }

    fn cost(&self) -> u64 {
        self.frame_bytes().saturating_add(Self::OVERHEAD_BYTES)
    }
}

impl Extent {
    /// How many messages there are.
    pub fn count(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.oldest)
    }

    /// What is missing of a question, and what is there: both may be empty.
    fn split(&self, from: u64, to: u64) -> (Option<RangeInclusive<u64>>, RangeInclusive<u64>) {
        let from = from.max(1);
        let gone = from..=to.min(self.oldest - 1);
        let there = from.max(self.oldest)..=to.min(self.newest);
        ((!gone.is_empty()).then_some(gone), there)
    }
}

impl FellOut {
    fn count(self) -> u64 {
        self.too_old + self.over_bytes
    }
}

impl Retention {
    /// Before when a message is too old.
    fn horizon(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-i64::try_from(self.age.as_secs()).unwrap_or(i64::MAX))
    }
}

/// The file of one service on one host.
pub fn file(directory: &Path, service: &str, host: &str) -> PathBuf {
    directory.join(format!("{service}-{host}.sqlite"))
}

/// Refuses a batch that does not go on after `newest`.
fn check_order(batch: &[Kept], newest: u64) -> Result<(), OutboxError> {
    let mut expected = newest;
    for kept in batch {
        expected += 1;
        if kept.seq != expected {
            return Err(OutboxError::Order { expected, found: kept.seq });
        }
    }
    Ok(())
}
