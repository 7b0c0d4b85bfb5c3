//! Where a consumer asks for what it has missed.

use crate::bus::stream::StreamKey;
use crate::endpoint::Endpoint;
use crate::message::RawMessage;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// Somebody who may have what was published.
#[async_trait]
pub trait ReplaySource: fmt::Debug + Send + Sync {
    /// Asks for the messages of a stream from `from` to `to`, both included; without `to`, for all that there are. An answer may
    /// be a part of it.
    async fn ask(&self, key: &StreamKey, from: u64, to: Option<u64>) -> Reply;
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nobody was there, or what they said was of no use.
    Failed {
        /// Why, in one line.
        why: String,
    },
    /// Messages, or the word that they are gone.
    Found(Found),
    /// Nobody is known who keeps what this signer publishes.
    NoEndpoint,
    /// Whoever keeps what this signer publishes has been asked, and has no such stream.
    UnknownStream,
}

/// An answer. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub endpoint: Arc<Endpoint>,
    /// The messages, in no particular order.
    pub messages: Vec<RawMessage>,
    /// Ranges that are not kept any more, both ends included.
    pub gone: Vec<(u64, u64)>,
    /// The first `seq` of which the answer does not speak; `None`: it speaks of all that was asked for.
    pub next: Option<u64>,
}

/// Nobody keeps anything.
#[derive(Clone, Copy, Debug)]
pub struct NoReplay;

#[async_trait]
impl ReplaySource for NoReplay {
    async fn ask(&self, _key: &StreamKey, _from: u64, _to: Option<u64>) -> Reply {
        Reply::NoEndpoint
    }
}
