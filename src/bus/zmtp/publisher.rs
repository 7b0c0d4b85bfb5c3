//! The publishing socket: callers on one side, an accept loop and a task a connection on the other.

use super::hub::{Address, Hub, Offered};
use super::limits::Limits;
use super::parcel::{Parcel, Permit};
use super::peer::serve;
use super::stream::Stream;
use super::watch::watch;
use crate::bus::listener::{Bound, HeldPath, Listener, bind_first};
use crate::bus::thread::start;
use crate::bus::transport::{BindError, Bounds, CloseError, PublishCounts, PublishSocket, SendError};
use crate::endpoint::Endpoint;
use crate::message::RawMessage;
use async_trait::async_trait;
use rustix::process::{Resource, getrlimit};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, TryAcquireError, oneshot, watch as watched};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a publisher that was dropped, not closed, goes on writing.
const LINGER_WHEN_DROPPED: Duration = Duration::from_secs(1);

/// How long, when all is written, the connections may take to end.
const GOODBYE: Duration = Duration::from_millis(100);

/// How long nothing is accepted after the system had no file descriptor.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// So many connections are refused at one go, and then there is a pause: refusing costs as much as accepting.
const REFUSALS: (u32, Duration) = (8, Duration::from_millis(1));

#[derive(Debug)]
pub(super) struct ZmtpPublisher {
    endpoint: Endpoint,
    hub: Arc<Hub>,
    bounds: Bounds,
    engine: Handle,
    closing: UnboundedSender<Closing>,
}

/// Who wants the socket closed, and how soon.
#[derive(Debug)]
struct Closing {
    linger: Duration,
    reply: Option<oneshot::Sender<Result<(), CloseError>>>,
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

pub(super) async fn bind(endpoints: &[Endpoint], limits: Limits) -> Result<ZmtpPublisher, BindError> {
    let endpoints = endpoints.to_vec();
    start("fedmsg-publish", BindError::Engine, move |started| {
        let fault = |error: io::Error| BindError::Engine(error.to_string());
        let made = Builder::new_current_thread().enable_all().build().map_err(fault).and_then(|runtime| {
            let Bound { endpoint, listener, path } = bind_first(&endpoints)?;
            let listener = {
                let _of_the_runtime = runtime.enter();
                Accepting::new(listener).map_err(fault)?
            };
            Ok((runtime, endpoint, listener, path))
        });
        let (runtime, endpoint, listener, path) = match made {
            Ok(made) => made,
            // The caller may have given up meanwhile, and nobody else would want to know.
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let hub = Arc::new(Hub::new(limits, limits.connections_with(descriptors())));
        let (closing, orders) = unbounded_channel();
        let bounds = Bounds { queue_bytes: limits.queue_bytes };
        let engine = runtime.handle().clone();
        let publisher = ZmtpPublisher { endpoint, hub: Arc::clone(&hub), bounds, engine, closing };
        if started.send(Ok(publisher)).is_ok() {
            let (reply, written) = runtime.block_on(run(listener, path, Arc::clone(&hub), orders));
            runtime.shutdown_background();
            hub.forget();
            if let Some(reply) = reply {
                // As above.
                let _ = reply.send(written);
            }
        }
    })
    .await
}

/// How many files this process may have open.
fn descriptors() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

#[async_trait]
impl PublishSocket for ZmtpPublisher {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn peers(&self) -> watched::Receiver<usize> {
        self.hub.peers.subscribe()
    }

    fn counts(&self) -> PublishCounts {
        PublishCounts {
            taken: self.hub.taken.load(Ordering::Relaxed),
            unwanted: self.hub.unwanted.load(Ordering::Relaxed),
            handshakes_failed: self.hub.unshaken.load(Ordering::Relaxed),
            put_out: self.hub.tally.counts(),
        }
    }

    async fn send(&self, message: RawMessage) -> Result<(), SendError> {
        let parcel = self.admit(message).await?;
        let subscribers = self.hub.send(&parcel)?;
        self.hub.taken.fetch_add(1, Ordering::Relaxed);
        if subscribers == 0 {
            self.hub.unwanted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn send_to_subscriber(&self, message: RawMessage, patience: Duration) -> Result<(), SendError> {
        let parcel = self.admit(message).await?;
        match self.hub.offer(parcel)? {
            Offered::Taken => {}
            Offered::Waits(number, _) if patience.is_zero() && self.hub.withdraw(number) => {
                return Err(SendError::NoSubscriber { waited: patience });
            }
            Offered::Waits(number, replied) => {
                let withdrawal = Withdrawal { hub: &self.hub, number };
                let hub = Arc::clone(&self.hub);
                // By the engine's clock: the caller need not have one.
                let late = self.engine.spawn(async move {
                    sleep(patience).await;
                    hub.withdraw(number)
                });
                let answer = replied.await;
                late.abort();
                drop(withdrawal);
                match answer {
                    Ok(answer) => answer?,
                    Err(_) => return Err(SendError::NoSubscriber { waited: patience }),
                }
            }
        }
        self.hub.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn close(&self, linger: Duration) -> Result<(), CloseError> {
        let (reply, replied) = oneshot::channel();
        self.closing.send(Closing { linger, reply: Some(reply) }).map_err(|_| CloseError::Gone)?;
        replied.await.unwrap_or(Err(CloseError::Gone))
    }
}

/// Takes back an offer whose caller waits no longer.
struct Withdrawal<'a> {
    hub: &'a Hub,
    number: u64,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        self.hub.withdraw(self.number);
    }
}

/// Counts a sender among those that wait for room.
struct Waiting<'a>(&'a Hub);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ZmtpPublisher {
    /// Waits for room, in the order of the callers, and encodes.
    async fn admit(&self, message: RawMessage) -> Result<Arc<Parcel>, SendError> {
        if message.parts.is_empty() {
            return Err(SendError::Empty);
        }
        // What a subscriber with the same limits would put us out for is not sent.
        let Limits { frame_bytes, message_bytes, message_parts, .. } = self.hub.limits;
        let found = message.byte_len();
        let fits = |limit: usize, found: usize| {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            if found <= usize::try_from(limit).unwrap_or(usize::MAX) {
                Ok(())
            } else {
                Err(SendError::TooLarge { limit, found })
            }
        };
        fits(message_bytes, found)?;
        message.parts.iter().try_for_each(|part| fits(frame_bytes, part.len()))?;
        if message.parts.len() > message_parts {
            return Err(SendError::TooManyParts { limit: message_parts, found: message.parts.len() });
        }
        let too_large = SendError::TooLarge { limit: self.bounds.queue_bytes, found };
        let cost = self.bounds.cost(&message).ok_or(too_large)?;
        let room = &self.hub.room;
        match Arc::clone(room).try_acquire_many_owned(cost) {
            Ok(permits) => permits.forget(),
            Err(TryAcquireError::Closed) => return Err(SendError::Closed),
            Err(TryAcquireError::NoPermits) => self.wait(room, cost).await?,
        }
        Ok(Arc::new(Parcel::new(message, Permit::taken(Arc::clone(room), cost))))
    }

    async fn wait(&self, room: &Semaphore, cost: u32) -> Result<(), SendError> {
        self.hub.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.hub);
        self.hub.waits.fetch_add(1, Ordering::Relaxed);
        self.hub.pressure.notify_one();
        room.acquire_many(cost).await.map_err(|_| SendError::Closed)?.forget();
        Ok(())
    }
}

/// The thread's end of a publisher, from the first connection to the last byte. The listener is closed at its end, and
/// the runtime with every connection after it.
async fn run(
    listener: Accepting,
    path: Option<HeldPath>,
    hub: Arc<Hub>,
    mut orders: UnboundedReceiver<Closing>,
) -> (Option<oneshot::Sender<Result<(), CloseError>>>, Result<(), CloseError>) {
    tokio::spawn(watch(Arc::clone(&hub)));
    let order = tokio::select! {
        order = orders.recv() => order,
        never = listener.run(&hub) => match never {},
    };
    drop((listener, path));
    let Closing { linger, reply } = order.unwrap_or(Closing { linger: LINGER_WHEN_DROPPED, reply: None });
    hub.close();
    let written = timeout_at(Instant::now() + linger, drained(&hub)).await;
    for outbox in hub.outboxes() {
        outbox.finish();
    }
    if written.is_ok() {
        // The sockets are closed with the runtime in any case, but not as gently.
        let _ =
            timeout_at(Instant::now() + GOODBYE, hub.peers.subscribe().wait_for(|count| *count == 0)).await;
    }
    (reply, written.map_err(|_| CloseError::Unwritten { linger }))
}

/// Waits until no subscriber has anything pending.
async fn drained(hub: &Hub) {
    while hub.outboxes().iter().any(|outbox| outbox.pending() > 0) {
        hub.drained.notified().await;
    }
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Address, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), address.ip().into(), address.to_string()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Address::Local, "a Unix socket".to_owned()))
            }
        }
    }

    async fn run(&self, hub: &Arc<Hub>) -> Infallible {
        let mut refused = 0;
        loop {
            match self.accept().await {
                Ok((stream, address, name)) => match hub.admit(address) {
                    Ok(place) => {
                        refused = 0;
                        drop(tokio::spawn(serve(stream, name, Arc::clone(hub), place)));
                    }
                    Err(reason) => {
                        hub.tally.count(&reason, &name);
                        hub.unshaken.fetch_add(1, Ordering::Relaxed);
                        stream.abort();
                        refused += 1;
                        if refused % REFUSALS.0 == 0 {
                            sleep(REFUSALS.1).await;
                        }
                    }
                },
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    hub.tally.count(&super::error::PutOut::Descriptors(error.to_string()), "?");
                    sleep(NO_DESCRIPTOR).await;
                }
            }
        }
    }
}

/// Whether it was only the peer, who had gone before it was accepted (accept(2)).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput)
}
