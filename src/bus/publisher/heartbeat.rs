//! What a publisher says while it has nothing to say: that it is there, and which messages it has.
//!
//! A consumer that missed the last messages before a silence would not notice by their numbers alone; and one that hears
//! nothing would not know whether there was nothing to hear. A heartbeat is a message like any other, signed, in a stream of
//! its own, and never kept.

use super::{PublishError, Shared};
use crate::message::id::{MessageId, StreamId};
use crate::message::{Draft, RawMessage, Stamp};
use crate::sign::{self, Signer};
use crate::store::outbox::Extent;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::time::Duration;

/// What the topic of a heartbeat ends in: `PREFIX.ENV.SERVICE.bus.heartbeat`.
pub const HEARTBEAT: &str = "bus.heartbeat";

/// The heartbeats of one publisher, from its start on.
#[derive(Debug)]
pub(super) struct Heartbeat {
    topic: Topic,
    stream: StreamId,
    seq: u64,
    interval: Duration,
    /// Said once, when the policy refuses it.
    refused: bool,
}

impl Heartbeat {
    pub(super) fn new(topic: Topic, interval: Duration) -> Result<Self, PublishError> {
        Ok(Self { topic, stream: StreamId::new(sign::random()?), seq: 0, interval, refused: false })
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the policy lets it be heard; a policy that does not now may do so later.
    pub(super) fn is_allowed(&mut self, shared: &Shared, now: Timestamp) -> bool {
        let decided = shared.policy.as_ref().map(|p| p.decide(&self.topic, &shared.identity, now));
        let Some(Err(denial)) = decided else {
            self.refused = false;
            return true;
        };
        if !std::mem::replace(&mut self.refused, true) {
            let (topic, signer) = (&self.topic, &shared.identity);
            tracing::warn!(%topic, %signer, %denial, "no heartbeats: consumers will notice lost messages late");
        }
        false
    }

    /// The next one.
    pub(super) fn beat(
        &mut self,
        signer: &Signer,
        extent: Extent,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<RawMessage, PublishError> {
        // Whole seconds, upwards: three of them without a message are a publisher that has gone.
        let interval = self.interval.as_secs() + u64::from(self.interval.subsec_nanos() > 0);
        let msg = serde_json::json!({
            "stream": extent.stream.to_string(),
            "oldest": extent.oldest,
            "newest": extent.newest,
            "interval": interval,
        });
        let draft = Draft::new(self.topic.clone(), &msg, &shared.limits)?;
        let seq = self.seq + 1;
        let stamp = Stamp { timestamp: now, msg_id: msg_id(now)?, i: seq, stream: self.stream, seq };
        let signed = signer.sign(draft.seal(&stamp))?;
        self.seq = seq;
        Ok(signed.into_raw())
    }
}

/// A name for a message that is published now.
pub(super) fn msg_id(now: Timestamp) -> Result<MessageId, PublishError> {
    Ok(MessageId::new(u16::try_from(now.year()).unwrap_or(0), sign::random()?))
}
