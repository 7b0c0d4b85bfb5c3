//! The engine that talks to others: the `zeromq` crate (ZMTP 3.0, NULL), made to behave.
//!
//! Each socket has a thread of its own, and every task that the crate spawns lives and dies there, on
//! `current_thread` runtimes: on a multi-thread one its publisher deadlocks (`pub.rs:165`, a blocking lock against the
//! fan-out's asynchronous one). What the crate leaves out is done around it:
//!
//! | the crate | here |
//! | --- | --- |
//! | queues of a publisher have no bound in bytes, and drop in silence | each message carries its share of [`Bounds`] until the last of its subscribers' writers has dropped it, so that the crate's own limits are never reached |
//! | a publisher cannot say whether anybody subscribed | whether the fan-out gave a message to somebody is seen by where it is dropped (`parcel`) |
//! | a peer that never reads is kept for ever | `TCP_USER_TIMEOUT` on the listener, which accepted connections inherit: the system breaks it off after [`STUCK_PEER`] |
//! | no keepalive | likewise, for publishers |
//! | closing throws away what is queued | waits for the writers to end |
//! | connecting to an endpoint that is down blocks, redialling may stop for good | one crate socket an endpoint, replaced whenever it fails (`subscriber`) |
//! | `ipc://` fails on a stale file, and lets only its own user connect | a lock beside it tells stale from in use; mode 0660 |
//!
//! What cannot be had with it, and is why an engine of our own comes:
//!
//! * A peer can **abort the process** with one frame header (`codec/zmq_codec.rs:85` reserves whatever length it is
//!   told), take memory with endless multipart messages, or hold file descriptors with half-open handshakes.
//!   Nothing around the crate can prevent that. It is for trusted links.
//! * At the bound a publisher waits for its slowest subscriber, up to [`STUCK_PEER`] if that one has stopped reading
//!   (over `ipc://` without end: the system has no such timeout there). The crate does not say whose queue is long, so
//!   the slow one cannot be put out by itself.
//! * A consumer does not notice that its publisher's machine has vanished, since the crate does not let keepalive be
//!   set on connections it makes.

mod parcel;
mod publisher;
mod subscriber;

use super::transport::{BindError, Bounds, ConnectError, PublishSocket, SubscribeSocket, Transport};
use crate::endpoint::Endpoint;
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a subscriber may go without taking a byte that is waiting for it before its connection is broken off.
pub const STUCK_PEER: Duration = Duration::from_secs(20);

/// The `zeromq` crate as a [`Transport`].
#[derive(Clone, Copy, Debug)]
pub struct ZeroMq {
    bounds: Bounds,
}

impl ZeroMq {
    /// An engine each of whose sockets holds at most `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds }
    }
}

#[async_trait]
impl Transport for ZeroMq {
    async fn bind(&self, endpoints: &[Endpoint]) -> Result<Box<dyn PublishSocket>, BindError> {
        Ok(Box::new(publisher::bind(endpoints, self.bounds).await?))
    }

    async fn connect(
        &self,
        endpoints: &[Endpoint],
        prefixes: &[String],
    ) -> Result<Box<dyn SubscribeSocket>, ConnectError> {
        Ok(Box::new(subscriber::connect(endpoints, prefixes, self.bounds).await?))
    }
}

/// The permits that stand for the bytes of `bounds`.
fn permits(bounds: Bounds) -> usize {
    usize::try_from(bounds.queue_bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}
