//! What an engine has to do: the traits that everything above the bus is written against.
//!
//! * A publisher binds the first free endpoint of its list; a consumer connects to all of them.
//! * What is on its way is bounded in bytes ([`Bounds`]). At the bound the caller waits: nothing is thrown away behind
//!   its back, and nothing grows without end.
//! * A message can be kept until a subscriber is there that asked for it ([`PublishSocket::send_to_subscriber`]), so
//!   that nobody has to sleep before the first one.
//!
//! The futures need no runtime of the caller's: timers and sockets belong to the engine (but for
//! [`super::memory`], whose timers are the caller's tokio's).

use crate::endpoint::Endpoint;
use crate::message::RawMessage;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// An engine: it makes sockets.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// A publishing socket at the first of `endpoints` that nobody else has bound.
    ///
    /// # Errors
    /// [`BindError`]. Only "in use" moves on to the next endpoint: any other fault is one that somebody has to mend.
    async fn bind(&self, endpoints: &[Endpoint]) -> Result<Box<dyn PublishSocket>, BindError>;

    /// A subscribing socket to all of `endpoints`, for the topics that begin with one of `prefixes`.
    ///
    /// It returns at once: endpoints that nobody has bound yet are connected to when somebody does.
    ///
    /// # Errors
    /// [`ConnectError`], which is about this process; an endpoint that cannot be reached is no error.
    async fn connect(
        &self,
        endpoints: &[Endpoint],
        prefixes: &[String],
    ) -> Result<Box<dyn SubscribeSocket>, ConnectError>;
}

/// The sending end. Any number of tasks may share it.
///
/// Dropping it closes it in the background, which the end of the process may cut short: [`PublishSocket::close`] does
/// not return before all is out.
#[async_trait]
pub trait PublishSocket: fmt::Debug + Send + Sync {
    /// The endpoint that was bound.
    fn endpoint(&self) -> &Endpoint;

    /// How many peers are connected, subscribed or not. For people to look at: what decides whether a message is
    /// handed over is [`PublishSocket::send_to_subscriber`].
    fn peers(&self) -> watch::Receiver<usize>;

    /// What was sent and what became of it.
    fn counts(&self) -> PublishCounts;

    /// Sends a message to whoever has subscribed to it, which may be nobody. Waits only for room ([`Bounds`]).
    ///
    /// Messages of one caller arrive in the order in which it sent them.
    ///
    /// # Errors
    /// [`SendError`]; then it was not sent.
    async fn send(&self, message: RawMessage) -> Result<(), SendError>;

    /// Sends a message as soon as there is a subscriber that asked for it, and says that there was one.
    ///
    /// Returns when the message stands in that subscriber's queue: [`PublishSocket::close`] waits until it is out.
    /// Messages sent by others meanwhile are not held up.
    ///
    /// # Errors
    /// [`SendError::NoSubscriber`] after `patience`, and as [`PublishSocket::send`]; then nobody has got it.
    async fn send_to_subscriber(&self, message: RawMessage, patience: Duration) -> Result<(), SendError>;

    /// Takes no more messages, and returns when every one that was taken is written to its subscribers' connections,
    /// or `linger` has passed. What is written the system delivers even if the process ends.
    ///
    /// # Errors
    /// [`CloseError`], when not everything was written.
    async fn close(&self, linger: Duration) -> Result<(), CloseError>;
}

/// The receiving end.
#[async_trait]
pub trait SubscribeSocket: fmt::Debug + Send {
    /// The next message, from whichever endpoint. May be cancelled without losing one.
    ///
    /// It only ends with the engine: a connection that is lost is made again, and what went wrong on one is counted
    /// in [`Link::faults`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    async fn recv(&mut self) -> Result<Received, ReceiveError>;

    /// The next message, if it is here already. `None` as well if the engine has ended: [`Self::recv`] says so.
    fn try_recv(&mut self) -> Option<Received>;

    /// How each endpoint is doing, in the order of the list that was connected to. A receiver can wait for a state.
    fn links(&self) -> watch::Receiver<Vec<Link>>;
}

/// A message, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The endpoint, as in the list that was connected to.
    pub endpoint: Arc<Endpoint>,
    /// The frames, as they came.
    pub message: RawMessage,
}

/// How one endpoint of a [`SubscribeSocket`] is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it is connected.
    pub state: LinkState,
    /// How many times it was connected.
    pub connected: u64,
    /// How many times what came could not be read as messages: garbage, or a connection that ended within one.
    pub faults: u64,
    /// Of these, those whose reason has a name (`zmtp::ProtocolError::code`).
    pub codes: BTreeMap<&'static str, u64>,
    /// How many messages came that nobody had asked for.
    pub unwanted: u64,
}

impl Link {
    /// To an endpoint that was not tried yet.
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let endpoint = Arc::new(endpoint.clone());
        let (state, codes) = (LinkState::Connecting, BTreeMap::new());
        Self { endpoint, state, connected: 0, faults: 0, codes, unwanted: 0 }
    }
}

/// Whether an endpoint is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    Connecting,
    /// The subscriptions were sent to the peer.
    Connected,
    /// It is tried again by and by.
    Down {
        /// What went wrong the last time, in one line.
        fault: String,
    },
}

/// How much may be on its way within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes between the caller and the connections, in each direction, each message counted with
    /// [`Bounds::MESSAGE_BYTES`] more than its frames have. At most 4 GiB.
    pub queue_bytes: u32,
}

impl Bounds {
    /// 64 MiB.
    pub const STANDARD: Self = Self { queue_bytes: 64 * 1024 * 1024 };

    /// What a message is counted beside its frames: bookkeeping, rounded up so that many small ones are bounded too.
    pub const MESSAGE_BYTES: u32 = 1024;

    /// What `message` is counted; `None` if it alone is over the bound.
    pub(super) fn cost(&self, message: &RawMessage) -> Option<u32> {
        let bytes = u32::try_from(message.byte_len()).ok()?.checked_add(Self::MESSAGE_BYTES)?;
        (bytes <= self.queue_bytes).then_some(bytes)
    }
}

/// What became of the messages of a [`PublishSocket`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishCounts {
    /// Messages taken from callers.
    pub taken: u64,
    /// Of these, messages that no subscriber had asked for.
    pub unwanted: u64,
    /// Connections that ended before the handshake did. (A consumer of this crate makes one each time, to see whether
    /// anybody listens.)
    pub handshakes_failed: u64,
    /// Connections that were refused or broken off, by reason (`zmtp::PutOut::code`).
    pub put_out: BTreeMap<&'static str, u64>,
}

/// Why no endpoint was bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Somebody else has bound each of them.
    #[error("every endpoint is in use: {}", list(.0))]
    AllInUse(Vec<Endpoint>),
    /// The engine's thread could not be started.
    #[error("cannot start the bus: {0}")]
    Engine(String),
    /// One of them cannot be bound at all.
    #[error("cannot bind {endpoint}: {text}")]
    Io {
        /// The endpoint.
        endpoint: Endpoint,
        /// The kind of fault.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// The list is empty.
    #[error("no endpoint to bind")]
    NoEndpoint,
}

/// Why a subscribing socket was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The engine's thread could not be started.
    #[error("cannot start the bus: {0}")]
    Engine(String),
    /// The list is empty.
    #[error("no endpoint to connect to")]
    NoEndpoint,
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The socket was closed.
    #[error("the publishing socket is closed")]
    Closed,
    /// It has no frame at all.
    #[error("a message without frames cannot be sent")]
    Empty,
    /// Nobody subscribed to its topic in time.
    #[error("no subscriber to this topic within {} s", .waited.as_secs_f32())]
    NoSubscriber {
        /// How long was waited.
        waited: Duration,
    },
    /// The message alone is more than may be on its way, or than a frame or a message may have.
    #[error("message has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// The limit, in bytes ([`Bounds::queue_bytes`], or of the engine's own).
        limit: u32,
        /// What was found, in bytes.
        found: usize,
    },
    /// More frames than the engine sends.
    #[error("message has {found} frames, the limit is {limit}")]
    TooManyParts {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
}

/// Why closing did not get everything out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// The engine has ended before, by its own fault.
    #[error("the bus had stopped before it was closed")]
    Gone,
    /// A subscriber did not take its messages in time.
    #[error("not everything was written to the subscribers within {} s", .linger.as_secs_f32())]
    Unwritten {
        /// How long was waited.
        linger: Duration,
    },
}

/// Why nothing more will be received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The engine has ended, by its own fault.
    #[error("the bus has stopped")]
    Gone,
}

fn list(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
