//! Publishing, paced.
//!
//! Each message is a parcel (`super::parcel`) that says when the crate has done with it. The fan-out lives alone on a
//! runtime of its own, which is driven in turn with the one that has the connections, on the same thread: what is
//! dropped while the fan-out is driven was given to nobody. A message that waits for its subscriber is offered again
//! and again until somebody has it: an offer that nobody takes leaves no trace.

use super::parcel::{Tally, parcel};
use super::{STUCK_PEER, permits};
use crate::bus::listener::{Bound, HeldPath, Listener, bind_first};
use crate::bus::thread::start;
use crate::bus::transport::{BindError, Bounds, CloseError, PublishCounts, PublishSocket, SendError};
use crate::endpoint::Endpoint;
use crate::message::RawMessage;
use async_trait::async_trait;
use futures_channel::mpsc::Receiver as Events;
use socket2::SockRef;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use zeromq::util::PeerIdentity;
use zeromq::{PubSocket, Socket, SocketEvent, SocketSend};

/// How many messages are fanned out at one go. Far below the 100,000 at which the crate drops (`pub.rs:22`).
const BATCH: usize = 512;

/// How often a message that waits for its subscriber is offered again.
const OFFER_EVERY: Duration = Duration::from_millis(1);

/// How long a publisher that was dropped, not closed, goes on writing.
const LINGER_WHEN_DROPPED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ZeroMqPublisher {
    endpoint: Endpoint,
    orders: UnboundedSender<Order>,
    room: Arc<Semaphore>,
    bounds: Bounds,
    tally: Arc<Tally>,
    peers: watch::Receiver<usize>,
}

#[derive(Debug)]
enum Order {
    Close { linger: Duration, reply: oneshot::Sender<Result<(), CloseError>> },
    Offer(Offer),
    Send(RawMessage, OwnedSemaphorePermit),
}

/// A message that waits for its subscriber.
#[derive(Debug)]
struct Offer {
    message: RawMessage,
    permit: Arc<OwnedSemaphorePermit>,
    patience: Duration,
    until: Instant,
    reply: oneshot::Sender<Result<(), SendError>>,
}

pub(super) async fn bind(endpoints: &[Endpoint], bounds: Bounds) -> Result<ZeroMqPublisher, BindError> {
    let endpoints = endpoints.to_vec();
    start("fedmsg-publish", BindError::Engine, move |started| match Engine::new(&endpoints, bounds) {
        Ok((publisher, engine)) => {
            if started.send(Ok(publisher)).is_ok() {
                engine.run();
            }
        }
        // The caller may have given up meanwhile, and nobody else would want to know.
        Err(error) => _ = started.send(Err(error)),
    })
    .await
}

#[async_trait]
impl PublishSocket for ZeroMqPublisher {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn peers(&self) -> watch::Receiver<usize> {
        self.peers.clone()
    }

    fn counts(&self) -> PublishCounts {
        PublishCounts {
            taken: self.tally.taken.load(Ordering::Relaxed),
            unwanted: self.tally.unwanted.load(Ordering::Relaxed),
            handshakes_failed: self.tally.unshaken.load(Ordering::Relaxed),
            put_out: BTreeMap::new(),
        }
    }

    async fn send(&self, message: RawMessage) -> Result<(), SendError> {
        let permit = self.admit(&message).await?;
        self.orders.send(Order::Send(message, permit)).map_err(|_| SendError::Closed)
    }

    async fn send_to_subscriber(&self, message: RawMessage, patience: Duration) -> Result<(), SendError> {
        let until = Instant::now() + patience;
        let permit = Arc::new(self.admit(&message).await?);
        let (reply, replied) = oneshot::channel();
        let offer = Offer { message, permit, patience, until, reply };
        self.orders.send(Order::Offer(offer)).map_err(|_| SendError::Closed)?;
        replied.await.unwrap_or(Err(SendError::Closed))
    }

    async fn close(&self, linger: Duration) -> Result<(), CloseError> {
        let (reply, replied) = oneshot::channel();
        self.orders.send(Order::Close { linger, reply }).map_err(|_| CloseError::Gone)?;
        replied.await.unwrap_or(Err(CloseError::Gone))
    }
}

impl ZeroMqPublisher {
    /// Waits for room. The semaphore is fair, so that one caller's messages keep their order.
    async fn admit(&self, message: &RawMessage) -> Result<OwnedSemaphorePermit, SendError> {
        if message.parts.is_empty() {
            return Err(SendError::Empty);
        }
        let too_large = SendError::TooLarge { limit: self.bounds.queue_bytes, found: message.byte_len() };
        let cost = self.bounds.cost(message).ok_or(too_large)?;
        Arc::clone(&self.room).acquire_many_owned(cost).await.map_err(|_| SendError::Closed)
    }
}

/// The thread's end of a publisher.
struct Engine {
    /// Has the connections: the accept loop, the handshakes, a reader and a writer a peer.
    connections: Runtime,
    /// Has the fan-out, and nothing else.
    fan_out: Runtime,
    state: State,
}

struct State {
    socket: PubSocket,
    events: Events<SocketEvent>,
    orders: UnboundedReceiver<Order>,
    offers: Vec<Offer>,
    peers: HashSet<PeerIdentity>,
    peer_count: watch::Sender<usize>,
    room: Arc<Semaphore>,
    total_room: usize,
    tally: Arc<Tally>,
    _path: Option<HeldPath>,
}

/// Who wants the socket closed, and how soon.
struct Closing {
    linger: Duration,
    reply: Option<oneshot::Sender<Result<(), CloseError>>>,
}

impl Engine {
    fn new(endpoints: &[Endpoint], bounds: Bounds) -> Result<(ZeroMqPublisher, Self), BindError> {
        let fault = |error: std::io::Error| BindError::Engine(error.to_string());
        let connections = Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let fan_out = Builder::new_current_thread().build().map_err(fault)?;
        let mut socket = {
            let _spawns_there = fan_out.enter();
            PubSocket::new()
        };
        let events = socket.monitor();
        let Bound { endpoint, listener, path } = bind_first(endpoints)?;
        let listener: zeromq::Listener = match listener {
            Listener::Tcp(listener) => {
                // Accepted connections inherit it (tcp(7)), and the crate lets nobody near them.
                let timeout = SockRef::from(&listener).set_tcp_user_timeout(Some(STUCK_PEER));
                timeout.map_err(fault)?;
                listener.into()
            }
            Listener::Unix(listener) => listener.into(),
        };
        let accepting = connections.block_on(socket.bind_listener(listener));
        accepting.map_err(|error| BindError::Engine(error.to_string()))?;

        let (orders, taken_orders) = unbounded_channel();
        let (peer_count, peers) = watch::channel(0);
        let total_room = permits(bounds);
        let room = Arc::new(Semaphore::new(total_room));
        let tally = Arc::new(Tally::default());
        let state = State {
            socket,
            events,
            orders: taken_orders,
            offers: Vec::new(),
            peers: HashSet::new(),
            peer_count,
            room: Arc::clone(&room),
            total_room,
            tally: Arc::clone(&tally),
            _path: path,
        };
        let publisher = ZeroMqPublisher { endpoint, orders, room, bounds, tally, peers };
        Ok((publisher, Self { connections, fan_out, state }))
    }

    fn run(mut self) {
        let closing = loop {
            let mut orders = Vec::new();
            let open = self.connections.block_on(self.state.wait(&mut orders));
            let closing = self.state.hand_over(&self.fan_out, orders);
            match (closing, open) {
                (Some(closing), _) => break closing,
                (None, true) => {}
                (None, false) => break Closing { linger: LINGER_WHEN_DROPPED, reply: None },
            }
        };
        let written = self.close(closing.linger);
        if let Some(reply) = closing.reply {
            // Whoever asked may no longer want to know.
            let _ = reply.send(written);
        }
    }

    /// Writes all that was taken, and ends.
    fn close(self, linger: Duration) -> Result<(), CloseError> {
        let Self { connections, fan_out, mut state } = self;
        let deadline = Instant::now() + linger;
        state.orders.close();
        state.room.close();
        let mut rest = Vec::new();
        while let Ok(order) = state.orders.try_recv() {
            rest.push(order);
        }
        let others = state.hand_over(&fan_out, rest);
        for offer in state.offers.drain(..) {
            // As above.
            let _ = offer.reply.send(Err(SendError::Closed));
        }
        let (room, total) = (Arc::clone(&state.room), state.total_room);
        let copied = connections.block_on(reached(deadline, || room.available_permits() == total));

        // All is in the buffers of the writers, which end when they have flushed them and there is no socket any
        // more: the accept loop, and a reader and a writer a peer. Handshakes with those who say nothing never end.
        state.take_events();
        let alive = || connections.metrics().num_alive_tasks();
        let handshakes = alive().saturating_sub(1 + 2 * state.peers.len());
        drop(state);
        let flushed = connections.block_on(reached(deadline, || alive() <= handshakes));
        let written = if copied && flushed { Ok(()) } else { Err(CloseError::Unwritten { linger }) };
        if let Some(Closing { reply: Some(reply), .. }) = others {
            let _ = reply.send(written.clone());
        }
        written
    }
}

impl State {
    /// Drives the connections until there is something to do. Says whether there may be orders later.
    async fn wait(&mut self, orders: &mut Vec<Order>) -> bool {
        // With orders always at hand the writers would never have their turn.
        tokio::task::yield_now().await;
        let open = tokio::select! {
            count = self.orders.recv_many(orders, BATCH) => count > 0,
            event = self.events.recv() => {
                if let Ok(event) = event {
                    self.note(event);
                }
                true
            }
            () = tokio::time::sleep(OFFER_EVERY), if !self.offers.is_empty() => true,
        };
        self.take_events();
        open
    }

    fn take_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
        let count = self.peers.len();
        self.peer_count.send_if_modified(|known| std::mem::replace(known, count) != count);
    }

    fn note(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Accepted(_, peer) => _ = self.peers.insert(peer),
            SocketEvent::Disconnected(peer) => _ = self.peers.remove(&peer),
            SocketEvent::AcceptFailed(_) => _ = self.tally.unshaken.fetch_add(1, Ordering::Relaxed),
            SocketEvent::Connected(..)
            | SocketEvent::ConnectDelayed
            | SocketEvent::ConnectRetried
            | SocketEvent::Listening(_)
            | SocketEvent::Closed
            | SocketEvent::CloseFailed => {}
        }
    }

    /// Gives `orders`, and whatever is still on offer, to the fan-out.
    fn hand_over(&mut self, fan_out: &Runtime, orders: Vec<Order>) -> Option<Closing> {
        let mut closing = None;
        let mut batch = Vec::with_capacity(orders.len() + self.offers.len());
        for order in orders {
            match order {
                Order::Close { linger, reply } => closing = Some(Closing { linger, reply: Some(reply) }),
                Order::Offer(offer) => self.offers.push(offer),
                Order::Send(message, permit) => {
                    self.tally.taken.fetch_add(1, Ordering::Relaxed);
                    batch.extend(parcel(message, &self.tally, Arc::new(permit), None));
                }
            }
        }
        self.offers.retain(|offer| !offer.reply.is_closed());
        let mut refusals = Vec::with_capacity(self.offers.len());
        for offer in &self.offers {
            let refused = Arc::new(AtomicBool::new(false));
            let permit = Arc::clone(&offer.permit);
            batch.extend(parcel(offer.message.clone(), &self.tally, permit, Some(Arc::clone(&refused))));
            refusals.push(refused);
        }
        if batch.is_empty() {
            return closing;
        }
        self.tally.fanning_out.store(true, Ordering::Relaxed);
        fan_out.block_on(async {
            for message in batch {
                // It never fails and never waits: it puts the message in the fan-out's queue, or drops it at once
                // where nobody is connected (`pub.rs:319`).
                let _ = self.socket.send(message).await;
            }
            // The fan-out empties its queue in one go.
            tokio::task::yield_now().await;
        });
        self.tally.fanning_out.store(false, Ordering::Relaxed);
        self.answer_offers(&refusals);
        closing
    }

    fn answer_offers(&mut self, refusals: &[Arc<AtomicBool>]) {
        let now = Instant::now();
        let offers = std::mem::take(&mut self.offers);
        for (offer, refused) in offers.into_iter().zip(refusals) {
            if !refused.load(Ordering::Relaxed) {
                self.tally.taken.fetch_add(1, Ordering::Relaxed);
                let _ = offer.reply.send(Ok(()));
            } else if now >= offer.until {
                let _ = offer.reply.send(Err(SendError::NoSubscriber { waited: offer.patience }));
            } else {
                self.offers.push(offer);
            }
        }
    }
}

/// Drives a runtime until `condition` holds; says whether it did before the deadline.
async fn reached(deadline: Instant, condition: impl Fn() -> bool) -> bool {
    loop {
        tokio::task::yield_now().await;
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
