//! Our own engine: PUB and SUB of ZMTP 3.0 (RFC 23, RFC 29) with the NULL mechanism, for links that a stranger can reach.
//!
//! What a peer says goes through [`connection`], a state machine without a socket and a clock, which checks each length
//! before memory is taken for it ([`limits`]). Around it stand the sockets:
//!
//! * Each socket has a thread with a `current_thread` runtime of its own: whatever the caller's runtime is, or if there is none,
//!   a handler that blocks it holds up neither handshakes nor heartbeats nor what is still to be written.
//! * A message is encoded once, in its caller's thread. Its bytes are shared by the queues of all subscribers that want it, and
//!   counted once against [`Limits::queue_bytes`] until the last of them has it. At the limit the caller waits.
//! * A connection's task takes all that is queued at one go and writes it with few `writev`.
//! * Whoever does not take what it asked for is put out ([`Limits::grace`]), so that a caller waits for readers that read, and
//!   for no others. So is whoever is over a limit, or speaks another language. Each reason has a counter
//!   ([`PublishCounts::put_out`](super::transport::PublishCounts::put_out)) and a line in the log, at most one in ten seconds.
//! * A subscriber reads a buffer at a time; frames are slices of it. Its consumer is woken once a buffer. A frame that is kept
//!   therefore keeps up to 128 KiB: whoever keeps few of many for long should copy them.
//!
//! What it does not do: send PINGs (the `zeromq` crate would end the connection; keepalive finds dead machines), or
//! speak to peers older than ZMTP 3.0 (before libzmq 4.0, of 2013).

pub mod codec;
mod command;
pub mod connection;
pub mod error;
pub mod greeting;
mod hub;
pub mod limits;
mod outbox;
mod parcel;
mod peer;
mod publisher;
mod stream;
mod subscriber;
mod tally;
pub mod trie;
mod watch;

pub use error::{ProtocolError, PutOut};
pub use limits::Limits;

use super::transport::{BindError, ConnectError, PublishSocket, SubscribeSocket, Transport};
use crate::endpoint::Endpoint;
use async_trait::async_trait;

/// The engine, with its limits.
#[derive(Clone, Copy, Debug)]
pub struct Zmtp {
    limits: Limits,
}

impl Zmtp {
    /// An engine each of whose sockets, and the peers of each, keep to `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

#[async_trait]
impl Transport for Zmtp {
    async fn bind(&self, endpoints: &[Endpoint]) -> Result<Box<dyn PublishSocket>, BindError> {
        Ok(Box::new(publisher::bind(endpoints, self.limits).await?))
    }

    async fn connect(
        &self,
        endpoints: &[Endpoint],
        prefixes: &[String],
    ) -> Result<Box<dyn SubscribeSocket>, ConnectError> {
        Ok(Box::new(subscriber::connect(endpoints, prefixes, self.limits).await?))
    }
}
