//! What a service wants to say, and the bytes that are signed for it.

use super::error::MessageError;
use super::id::{MessageId, StreamId};
use crate::json::{Dialect, JsonError, canonical};
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::topic::Topic;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write;

/// The key of the proof and what surrounds it: what a body ends with, before and after the proof's text.
pub(super) const PROOF_OPEN: &str = ",\"proof\":\"";
pub(super) const PROOF_CLOSE: &str = "\"}";

/// A topic and a body, ready to be stamped: the body is canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    topic: Topic,
    msg: String,
    username: String,
}

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The body is not strict JSON.
    #[error("body is not JSON: {0}")]
    Json(#[from] JsonError),
    /// The body's type could not be written as JSON.
    #[error("body cannot be written as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
}

/// What the publisher adds to a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it is published.
    pub timestamp: Timestamp,
    /// Its name.
    pub msg_id: MessageId,
    /// fedmsg's own counter, one a process; nothing here relies on it.
    pub i: u64,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in the stream, from 1.
    pub seq: u64,
}

/// The signed bytes of one message: bound to their topic, and not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    topic: Topic,
    text: String,
    msg_id: MessageId,
    seq: u64,
}

impl Draft {
    /// A draft of anything that serialises to JSON.
    ///
    /// # Errors
    /// [`DraftError`] if it does not. (`serde_json` writes a float without a finite value as `null`.)
    pub fn new(topic: Topic, msg: &impl serde::Serialize, limits: &Limits) -> Result<Self, DraftError> {
        Self::from_json(topic, &serde_json::to_string(msg)?, limits)
    }

    /// A draft of a JSON text, whose integers keep every digit.
    ///
    /// # Errors
    /// [`DraftError::Json`] if it is not strict JSON, or has so many levels that every verifier with these limits would
    /// refuse it.
    pub fn from_json(topic: Topic, msg: &str, limits: &Limits) -> Result<Self, DraftError> {
        // The envelope around it is a level more.
        let within = Limits { json_depth: limits.json_depth.saturating_sub(1), ..*limits };
        let msg = canonical::from_text(msg, Dialect::Strict, &within)?;
        Ok(Self { topic, msg, username: String::new() })
    }

    /// Names the user on whose behalf it is published (`username`); empty if nobody is named.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = username.into();
        self
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The topic, of a draft that is not needed any more.
    pub fn into_topic(self) -> Topic {
        self.topic
    }

    /// Bytes of what it says, without the envelope and the proof: the least that its body will have.
    pub fn byte_len(&self) -> usize {
        self.msg.len() + self.topic.as_str().len() + self.username.len()
    }

    /// Writes the envelope: canonical JSON, which is what will be signed.
    pub fn seal(&self, stamp: &Stamp) -> Sealed {
        let mut text = String::with_capacity(self.msg.len() + self.topic.as_str().len() + 256);
        // The keys in canonical order; every value is canonical already. Writing to a String cannot fail.
        let _ = write!(text, "{{\"i\":{},\"msg\":{},\"msg_id\":\"{}\"", stamp.i, self.msg, stamp.msg_id);
        let _ = write!(text, ",\"seq\":{},\"stream\":\"{}\"", stamp.seq, stamp.stream);
        let _ = write!(text, ",\"timestamp\":{},\"topic\":\"{}\"", stamp.timestamp.as_unix(), self.topic);
        text.push_str(",\"username\":");
        canonical::write_string(&mut text, &self.username);
        text.push_str(",\"v\":2}");
        Sealed { topic: self.topic.clone(), text, msg_id: stamp.msg_id.clone(), seq: stamp.seq }
    }
}

impl Sealed {
    /// The bytes to be signed.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The name.
    pub fn msg_id(&self) -> &MessageId {
        &self.msg_id
    }

    /// The place in the stream.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Puts a proof's text in: the body as it goes on the wire.
    ///
    /// # Errors
    /// [`MessageError::BodyTooLarge`] if every verifier with these limits would refuse it.
    pub fn body(&self, proof: &str, limits: &Limits) -> Result<Bytes, MessageError> {
        let head = &self.text[..self.text.len() - 1];
        let found = head.len() + PROOF_OPEN.len() + proof.len() + PROOF_CLOSE.len();
        if found > limits.body_bytes {
            return Err(MessageError::BodyTooLarge { limit: limits.body_bytes, found });
        }
        let mut body = BytesMut::with_capacity(found);
        for part in [head, PROOF_OPEN, proof, PROOF_CLOSE] {
            body.put(part.as_bytes());
        }
        Ok(body.freeze())
    }
}
