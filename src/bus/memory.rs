//! A bus within one process: the same traits, no sockets. For examples, tests and simulations.

use super::transport::{
    BindError, Bounds, CloseError, ConnectError, Link, LinkState, PublishCounts, PublishSocket, ReceiveError,
    Received, SendError, SubscribeSocket, Transport,
};
use crate::endpoint::Endpoint;
use crate::message::RawMessage;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// A bus of its own: sockets meet where they were made from the same value, or its clone.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    hub: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    bounds: Bounds,
    state: Mutex<State>,
    /// Told of each new subscriber.
    arrivals: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    publishers: HashMap<Endpoint, watch::Sender<usize>>,
    subscribers: Vec<Subscriber>,
    next_id: u64,
}

#[derive(Clone, Debug)]
struct Subscriber {
    id: u64,
    prefixes: Vec<String>,
    queue: mpsc::UnboundedSender<(Received, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    links: watch::Sender<Vec<Link>>,
}

#[derive(Debug)]
struct MemoryPublisher {
    hub: Arc<Hub>,
    endpoint: Endpoint,
    peers: watch::Receiver<usize>,
    closed: AtomicBool,
    taken: AtomicU64,
    unwanted: AtomicU64,
}

#[derive(Debug)]
struct MemorySubscriber {
    hub: Arc<Hub>,
    id: u64,
    queue: mpsc::UnboundedReceiver<(Received, OwnedSemaphorePermit)>,
    links: watch::Receiver<Vec<Link>>,
}

impl MemoryBus {
    /// A bus without anybody on it. Each subscriber has a queue of `bounds`; a full one makes publishers wait.
    pub fn new(bounds: Bounds) -> Self {
        let arrivals = watch::Sender::new(());
        Self { hub: Arc::new(Hub { bounds, state: Mutex::default(), arrivals }) }
    }
}

impl Hub {
    /// Nothing here panics while it holds the lock, so that a poisoned state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells everybody who is there now.
    fn announce(&self) {
        for (endpoint, peers) in &self.publishers {
            let count = self.subscribers.iter().filter(|s| s.reads(endpoint)).count();
            peers.send_if_modified(|known| std::mem::replace(known, count) != count);
        }
        for subscriber in &self.subscribers {
            subscriber.links.send_if_modified(|links| {
                links.iter_mut().fold(false, |changed, link| {
                    let there = self.publishers.contains_key(&*link.endpoint);
                    let was = link.state == LinkState::Connected;
                    if there && !was {
                        link.state = LinkState::Connected;
                        link.connected += 1;
                    } else if !there && was {
                        link.state = LinkState::Down { fault: "the publisher has gone".to_owned() };
                    }
                    changed || there != was
                })
            });
        }
    }
}

impl Subscriber {
    fn reads(&self, endpoint: &Endpoint) -> bool {
        self.links.borrow().iter().any(|link| *link.endpoint == *endpoint)
    }

    fn wants(&self, topic: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| topic.starts_with(prefix.as_bytes()))
    }
}

#[async_trait]
impl Transport for MemoryBus {
    async fn bind(&self, endpoints: &[Endpoint]) -> Result<Box<dyn PublishSocket>, BindError> {
        let mut state = self.hub.state();
        let Some(endpoint) = endpoints.iter().find(|e| !state.publishers.contains_key(e)) else {
            let none = endpoints.is_empty();
            return Err(if none { BindError::NoEndpoint } else { BindError::AllInUse(endpoints.to_vec()) });
        };
        let (sender, peers) = watch::channel(0);
        state.publishers.insert(endpoint.clone(), sender);
        state.announce();
        Ok(Box::new(MemoryPublisher {
            hub: Arc::clone(&self.hub),
            endpoint: endpoint.clone(),
            peers,
            closed: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
        }))
    }

    async fn connect(
        &self,
        endpoints: &[Endpoint],
        prefixes: &[String],
    ) -> Result<Box<dyn SubscribeSocket>, ConnectError> {
        if endpoints.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        let (queue, incoming) = mpsc::unbounded_channel();
        let links = watch::Sender::new(endpoints.iter().map(Link::new).collect());
        let receiver = links.subscribe();
        let room = usize::try_from(self.hub.bounds.queue_bytes).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room));
        let mut state = self.hub.state();
        let id = state.next_id;
        state.next_id += 1;
        state.subscribers.push(Subscriber { id, prefixes: prefixes.to_vec(), queue, room, links });
        state.announce();
        drop(state);
        self.hub.arrivals.send_replace(());
        Ok(Box::new(MemorySubscriber { hub: Arc::clone(&self.hub), id, queue: incoming, links: receiver }))
    }
}

impl MemoryPublisher {
    /// Puts `message` in the queue of each subscriber that wants it; says to how many.
    async fn hand_over(&self, message: &RawMessage, cost: u32) -> usize {
        let topic = message.parts.first().map_or(&[][..], |topic| topic);
        let wanting: Vec<Subscriber> = {
            let state = self.hub.state();
            let wanting = |s: &&Subscriber| s.reads(&self.endpoint) && s.wants(topic);
            state.subscribers.iter().filter(wanting).cloned().collect()
        };
        let endpoint = Arc::new(self.endpoint.clone());
        let mut count = 0;
        for subscriber in wanting {
            // The room is closed when its subscriber goes.
            let Ok(room) = Arc::clone(&subscriber.room).acquire_many_owned(cost).await else { continue };
            let received = Received { endpoint: Arc::clone(&endpoint), message: message.clone() };
            count += usize::from(subscriber.queue.send((received, room)).is_ok());
        }
        count
    }

    fn admit(&self, message: &RawMessage) -> Result<u32, SendError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        if message.parts.is_empty() {
            return Err(SendError::Empty);
        }
        let bounds = self.hub.bounds;
        let too_large = SendError::TooLarge { limit: bounds.queue_bytes, found: message.byte_len() };
        bounds.cost(message).ok_or(too_large)
    }

    fn unbind(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let mut state = self.hub.state();
            state.publishers.remove(&self.endpoint);
            state.announce();
        }
    }
}

#[async_trait]
impl PublishSocket for MemoryPublisher {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn peers(&self) -> watch::Receiver<usize> {
        self.peers.clone()
    }

    fn counts(&self) -> PublishCounts {
        let taken = self.taken.load(Ordering::Relaxed);
        let unwanted = self.unwanted.load(Ordering::Relaxed);
        PublishCounts { taken, unwanted, ..PublishCounts::default() }
    }

    async fn send(&self, message: RawMessage) -> Result<(), SendError> {
        let cost = self.admit(&message)?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        if self.hand_over(&message, cost).await == 0 {
            self.unwanted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn send_to_subscriber(&self, message: RawMessage, patience: Duration) -> Result<(), SendError> {
        let cost = self.admit(&message)?;
        let mut arrivals = self.hub.arrivals.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        while self.hand_over(&message, cost).await == 0 {
            // Only the wait is cut off, never the handing over: either somebody has it or nobody.
            let arrival = tokio::time::timeout_at(deadline, arrivals.changed()).await;
            arrival
                .map_err(|_| SendError::NoSubscriber { waited: patience })?
                .map_err(|_| SendError::Closed)?;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn close(&self, _linger: Duration) -> Result<(), CloseError> {
        // What was sent already stands in the subscribers' own queues.
        self.unbind();
        Ok(())
    }
}

impl Drop for MemoryPublisher {
    fn drop(&mut self) {
        self.unbind();
    }
}

#[async_trait]
impl SubscribeSocket for MemorySubscriber {
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

impl Drop for MemorySubscriber {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.subscribers.retain(|subscriber| {
            let stays = subscriber.id != self.id;
            if !stays {
                subscriber.room.close();
            }
            stays
        });
        state.announce();
    }
}
