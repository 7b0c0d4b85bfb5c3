//! The frames of a ZeroMQ message, as they were received.

use bytes::Bytes;

/// A message as the bus delivered it: any number of frames, of any bytes, from anybody.
///
/// A fedmsg message has two frames, `[topic, body]`, but nothing has looked at that yet: the count is kept as it came,
/// so that a wrong one is refused (and counted, and can be archived) where messages are parsed, rather than lost in
/// the transport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawMessage {
    /// The frames, in order. The bytes are shared, not copied, when a message is cloned.
    pub parts: Vec<Bytes>,
}

impl RawMessage {
    /// A message of the two frames that fedmsg sends.
    pub fn new(topic: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self { parts: vec![topic.into(), body.into()] }
    }

    /// The bytes of all frames together.
    pub fn byte_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl From<Vec<Bytes>> for RawMessage {
    fn from(parts: Vec<Bytes>) -> Self {
        Self { parts }
    }
}
