//! How to know what became of a message in the crate.
//!
//! The crate's publisher puts a message in one queue, from which one task, the fan-out, copies it into the queue of
//! each peer that subscribed to it, from which that peer's writer takes it. It tells nothing of all that. But it
//! shares the bytes, and `Bytes::from_owner` makes their end an event: a [`Parcel`] is dropped when the last writer
//! has copied it to its connection's buffer. So it carries the permit for its bytes, and the bound holds from the
//! caller's hand to the last connection. And it is dropped by the fan-out itself when nobody subscribed.

use crate::message::RawMessage;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::OwnedSemaphorePermit;
use zeromq::ZmqMessage;

/// What the caller's side and the engine's share.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) taken: AtomicU64,
    pub(super) unwanted: AtomicU64,
    pub(super) unshaken: AtomicU64,
    /// Whether the fan-out is being driven.
    pub(super) fanning_out: AtomicBool,
}

/// The last frame of a message on its way through the crate.
struct Parcel {
    bytes: Bytes,
    tally: Arc<Tally>,
    /// For an offer, where to say that nobody took it; others are only counted.
    refused: Option<Arc<AtomicBool>>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Parcel {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.tally.fanning_out.load(Ordering::Relaxed) {
            match &self.refused {
                Some(refused) => refused.store(true, Ordering::Relaxed),
                None => _ = self.tally.unwanted.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
}

/// `message` with its last frame made a [`Parcel`]; `None` if it has no frame.
pub(super) fn parcel(
    mut message: RawMessage,
    tally: &Arc<Tally>,
    permit: Arc<OwnedSemaphorePermit>,
    refused: Option<Arc<AtomicBool>>,
) -> Option<ZmqMessage> {
    let bytes = message.parts.pop()?;
    let parcel = Parcel { bytes, tally: Arc::clone(tally), refused, _permit: permit };
    message.parts.push(Bytes::from_owner(parcel));
    ZmqMessage::try_from(message.parts).ok()
}
