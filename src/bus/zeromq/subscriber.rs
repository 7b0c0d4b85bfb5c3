//! Subscribing: each endpoint by itself.
//!
//! An endpoint has one task and, while it is up, one socket of the crate. Whatever goes wrong, the socket is thrown
//! away and another is made: the crate's own redialling waits up to 30 s (`reconnect.rs:43`) and is never used.
//!
//! A plain connection is tried before the crate gets to see the endpoint. The crate treats "refused" as a reason to
//! wait, longer each time and without a word, while here it is the ordinary state of a publisher that is not running.

use super::permits;
use crate::bus::thread::start;
use crate::bus::transport::{Bounds, ConnectError, Link, LinkState, ReceiveError, Received, SubscribeSocket};
use crate::endpoint::{Endpoint, Host};
use crate::message::RawMessage;
use async_trait::async_trait;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;
use zeromq::{Socket, SocketEvent, SocketOptions, SocketRecv, SubSocket, ZmqMessage};

/// How long the first pause before another attempt is, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// How long a plain connection may take.
const REACHABLE_WITHIN: Duration = Duration::from_secs(3);

/// How long a peer may take over the handshake the first time; each time that it was too slow it is given as much
/// again, up to the longest.
const HANDSHAKE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(12));

#[derive(Debug)]
pub(super) struct ZeroMqSubscriber {
    queue: UnboundedReceiver<(Received, OwnedSemaphorePermit)>,
    links: watch::Receiver<Vec<Link>>,
    /// The thread ends when this goes.
    _running: oneshot::Sender<()>,
}

/// What the task of one endpoint has.
struct Dialler {
    endpoint: Arc<Endpoint>,
    /// Its place in the list.
    place: usize,
    prefixes: Arc<[String]>,
    queue: UnboundedSender<(Received, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bounds: Bounds,
    links: watch::Sender<Vec<Link>>,
}

/// Why a connection ended, or did not come about.
enum Fault {
    /// What came was not messages.
    Garbage(String),
    /// Nobody receives any more.
    Unwanted,
    /// It took too long over the handshake.
    Silent(String),
    /// Any other.
    Down(String),
}

pub(super) async fn connect(
    endpoints: &[Endpoint],
    prefixes: &[String],
    bounds: Bounds,
) -> Result<ZeroMqSubscriber, ConnectError> {
    if endpoints.is_empty() {
        return Err(ConnectError::NoEndpoint);
    }
    let first: Vec<Link> = endpoints.iter().map(Link::new).collect();
    let prefixes: Arc<[String]> = prefixes.into();
    start("fedmsg-subscribe", ConnectError::Engine, move |started| {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The caller may have given up meanwhile, and nobody else would want to know.
                let _ = started.send(Err(ConnectError::Engine(error.to_string())));
                return;
            }
        };
        let (into_queue, queue) = unbounded_channel();
        let room = Arc::new(Semaphore::new(permits(bounds)));
        let endpoints: Vec<_> = first.iter().map(|link| Arc::clone(&link.endpoint)).collect();
        let links = watch::Sender::new(first);
        let (running, stopped) = oneshot::channel();
        let subscriber = ZeroMqSubscriber { queue, links: links.subscribe(), _running: running };
        for (place, endpoint) in endpoints.into_iter().enumerate() {
            let dialler = Dialler {
                endpoint,
                place,
                prefixes: Arc::clone(&prefixes),
                queue: into_queue.clone(),
                room: Arc::clone(&room),
                bounds,
                links: links.clone(),
            };
            runtime.spawn(dialler.run());
        }
        drop(into_queue);
        if started.send(Ok(subscriber)).is_ok() {
            // It is never sent to, only dropped.
            let _ = runtime.block_on(stopped);
        }
        // A name that is being looked up must not keep the thread.
        runtime.shutdown_background();
    })
    .await
}

#[async_trait]
impl SubscribeSocket for ZeroMqSubscriber {
    async fn recv(&mut self) -> Result<Received, ReceiveError> {
        self.queue.recv().await.map(|(received, _room)| received).ok_or(ReceiveError::Gone)
    }

    fn try_recv(&mut self) -> Option<Received> {
        self.queue.try_recv().ok().map(|(received, _room)| received)
    }

    fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }
}

impl Dialler {
    async fn run(self) {
        let mut pause = PAUSES.0;
        let mut handshake = HANDSHAKE.0;
        loop {
            let connected = self.times_connected();
            let (garbage, text) = match self.session(handshake).await {
                Fault::Unwanted => return,
                Fault::Garbage(text) => (1, text),
                Fault::Silent(text) => {
                    handshake = (handshake + HANDSHAKE.0).min(HANDSHAKE.1);
                    (0, text)
                }
                Fault::Down(text) => (0, text),
            };
            if self.times_connected() > connected {
                (pause, handshake) = (PAUSES.0, HANDSHAKE.0);
            }
            self.link(|link| {
                link.faults += garbage;
                link.state = LinkState::Down { fault: text };
            });
            tokio::time::sleep(shortened(pause)).await;
            pause = (pause + pause / 2).min(PAUSES.1);
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(&self, handshake: Duration) -> Fault {
        if let Err(fault) = self.reach().await {
            return Fault::Down(fault);
        }
        let mut options = SocketOptions::default();
        options.connect_timeout(handshake);
        let mut socket = SubSocket::with_options(options);
        let mut events = socket.monitor();
        if let Err(error) = socket.connect(&self.endpoint.to_string()).await {
            let text = format!("no handshake: {error}");
            let silent = matches!(error, zeromq::ZmqError::ConnectTimeout(_));
            return if silent { Fault::Silent(text) } else { Fault::Down(text) };
        }
        // Only now: subscriptions that fail while the crate connects leave a socket that waits for ever
        // (`sub_backend.rs:285`), and after it they are errors.
        for prefix in &*self.prefixes {
            if let Err(error) = socket.subscribe(prefix).await {
                return Fault::Down(format!("cannot subscribe: {error}"));
            }
        }
        self.link(|link| {
            link.state = LinkState::Connected;
            link.connected += 1;
        });
        loop {
            let received = tokio::select! {
                biased;
                received = socket.recv() => received,
                event = events.recv() => match event {
                    Ok(SocketEvent::Disconnected(_)) | Err(_) => {
                        return Fault::Down("the publisher closed the connection".to_owned());
                    }
                    Ok(_) => continue,
                },
            };
            match received {
                Ok(message) => {
                    if self.deliver(message).await.is_none() {
                        return Fault::Unwanted;
                    }
                }
                // The crate could be asked for more, but what follows a cut frame is anybody's guess.
                Err(error) => return Fault::Garbage(format!("unreadable: {error}")),
            }
        }
    }

    /// Whether anybody listens there.
    async fn reach(&self) -> Result<(), String> {
        let tried = timeout(REACHABLE_WITHIN, async {
            match &*self.endpoint {
                Endpoint::Ipc(ipc) => UnixStream::connect(ipc.path()).await.map(drop),
                Endpoint::Tcp(tcp) => match tcp.host() {
                    Host::Name(name) => TcpStream::connect((name.as_str(), tcp.port())).await.map(drop),
                    Host::V4(address) => TcpStream::connect((*address, tcp.port())).await.map(drop),
                    Host::V6(address) => TcpStream::connect((*address, tcp.port())).await.map(drop),
                },
            }
        });
        match tried.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", REACHABLE_WITHIN.as_secs())),
        }
    }

    /// Waits for room, and so lets the publisher wait: nothing is read meanwhile.
    async fn deliver(&self, message: ZmqMessage) -> Option<()> {
        let message = RawMessage::from(message.into_vec());
        // One that is over the bound is here already; it goes through when the queue is empty.
        let cost = self.bounds.cost(&message).unwrap_or(self.bounds.queue_bytes);
        let permit = Arc::clone(&self.room).acquire_many_owned(cost).await.ok()?;
        let endpoint = Arc::clone(&self.endpoint);
        self.queue.send((Received { endpoint, message }, permit)).ok()
    }

    fn times_connected(&self) -> u64 {
        self.links.borrow().get(self.place).map_or(0, |link| link.connected)
    }

    /// Changes what is said of this endpoint.
    fn link(&self, change: impl FnOnce(&mut Link)) {
        self.links.send_modify(|links| {
            if let Some(link) = links.get_mut(self.place) {
                change(link)
            }
        });
    }
}

/// Between three quarters of `pause` and the whole, by chance, so that consumers do not come back all at once.
fn shortened(pause: Duration) -> Duration {
    let quarters = u32::try_from(RandomState::new().hash_one(()) % 1024).unwrap_or(0);
    pause - pause / 4 * quarters / 1024
}
