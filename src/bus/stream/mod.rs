//! The streams of a named consumer: each in order, without holes, and what is missing asked for.
//!
//! A pure state machine. It has no clock, no socket and no file: what happened goes in ([`Streams::live`],
//! [`Streams::heartbeat`], [`Streams::answer`], [`Streams::acknowledge`]), and [`Streams::poll`] says what to do next. A
//! simulation drives the very same code through thousands of schedules of loss, reordering, kills and restarts
//! (`simulation`).
//!
//! A stream is one publisher's (signer, stream id), whose `seq` counts from 1 without holes. Its *place* is the lowest
//! `seq` that is not acknowledged; it is what a consumer keeps over a restart.
//!
//! Time here is the [`Duration`] since the consumer started, by a clock that nobody sets.

mod one;
#[cfg(test)]
mod simulation;
mod streams;
#[cfg(test)]
mod tests;

pub use streams::{StreamCounts, Streams};

use crate::identity::Identity;
use crate::message::id::StreamId;
use crate::time::Timestamp;
use std::time::Duration;

/// Whose stream, and which of its streams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// Who signed its messages.
    pub signer: Identity,
    /// Its name.
    pub stream: StreamId,
}

/// Where a consumer begins with a signer of whom it has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With whatever comes first.
    Now,
    /// With the oldest that its publisher still has.
    Oldest,
    /// With the first message that is not older than this; what is older is passed over.
    Since(Timestamp),
    /// With this `seq` of each stream.
    Seq(u64),
}

impl Start {
    /// The `seq` to begin with; `None` for whatever comes first.
    fn first(self) -> Option<u64> {
        match self {
            Self::Now => None,
            Self::Oldest | Self::Since(_) => Some(1),
            Self::Seq(seq) => Some(seq),
        }
    }
}

/// How much is kept in memory, and how long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes of messages that wait for the hole before them to be filled. Over it live messages are let go: they are asked for
    /// when their turn comes.
    pub held_bytes: usize,
    /// Streams of one signer. Over it the one that was quiet longest is forgotten.
    pub streams_per_signer: usize,
    /// Requests under way, of all streams together.
    pub asks: usize,
    /// The wait after the first request that failed; it doubles with each that follows.
    pub first_wait: Duration,
    /// The longest wait between two requests.
    pub longest_wait: Duration,
    /// How often an endpoint may answer without a message that it ought to have, before it is given up.
    pub empty_answers: u32,
    /// How many heartbeats in a row have to be missing before a publisher is called silent.
    pub missed_heartbeats: u32,
}

impl StreamLimits {
    /// 16 MiB, a thousand streams a signer, four requests at once, waits from 100 ms to 30 s, three empty answers, three
    /// heartbeats.
    pub const STANDARD: Self = Self {
        held_bytes: 16 * 1024 * 1024,
        streams_per_signer: 1_000,
        asks: 4,
        first_wait: Duration::from_millis(100),
        longest_wait: Duration::from_secs(30),
        empty_answers: 3,
        missed_heartbeats: 3,
    };
}

/// A message as the machine sees it: its place, its size, and what is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<M> {
    /// Its place in its stream, from 1.
    pub seq: u64,
    /// What it costs to hold, in bytes.
    pub bytes: usize,
    /// What is delivered; `None` for one that nobody wants and that only moves the place.
    pub message: Option<M>,
}

/// What became of a live message.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<M> {
    /// It is older than the stream's place, or is held already: it was delivered, or will be.
    Duplicate(Item<M>),
    /// There was no room to hold it; it will be asked for.
    LetGo,
    /// It is, or will be, delivered.
    Held,
}

/// A request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What the answer is to name.
    pub id: u64,
    /// Of which stream.
    pub key: StreamKey,
    /// The first `seq`.
    pub from: u64,
    /// The last `seq`; `None` for all that there is.
    pub to: Option<u64>,
}

/// What a request brought. Every message in it was verified, and is of the stream that was asked for.
#[derive(Debug)]
pub enum Answer<M> {
    /// Nobody could be reached, or nobody gave an answer that can be used. It is tried again, for ever.
    Failed,
    /// What there is.
    Found(Found<M>),
    /// Nobody keeps what this signer publishes.
    NoEndpoint,
    /// Everybody who keeps this signer's messages was asked, and nobody has this stream.
    UnknownStream,
}

/// An answer with something in it.
#[derive(Debug)]
pub struct Found<M> {
    /// The messages, in any order.
    pub items: Vec<Item<M>>,
    /// Ranges that the publisher says it no longer has, both ends included.
    pub gone: Vec<(u64, u64)>,
    /// Where the answer ends: the first `seq` that it does not speak of. `None`: it speaks of all that was asked for.
    pub next: Option<u64>,
}

/// What a signed heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The newest `seq` of the stream; 0 before the first.
    pub newest: u64,
    /// How far apart heartbeats are.
    pub interval: Duration,
}

/// Messages that will not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which stream.
    pub key: StreamKey,
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why messages will not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// Its publisher says that it no longer keeps them.
    Gone,
    /// No replay endpoint is configured for its service.
    NoEndpoint,
    /// No replay endpoint knows the stream: its publisher did not keep it over a restart.
    UnknownStream,
    /// The endpoint answered again and again, without them or with something that does not verify.
    Unusable,
}

impl GapReason {
    /// The reason as text: lower case and hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NoEndpoint => "no-replay-endpoint",
            Self::UnknownStream => "unknown-stream",
            Self::Unusable => "unusable-answers",
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<M> {
    /// Ask for these, and give the answer to [`Streams::answer`].
    Ask(Ask),
    /// Hand this to the consumer.
    Deliver {
        /// Of which stream.
        key: StreamKey,
        /// Its place.
        seq: u64,
        /// The message.
        message: M,
    },
    /// Tell the consumer that these will not come.
    Gap(Gap),
    /// Tell the consumer that this publisher has gone quiet: no message and no heartbeat for so long.
    Silent {
        /// Who.
        signer: Identity,
        /// Since it was last heard of.
        quiet: Duration,
    },
}
