//! What the callers of a publisher, its accept loop and its connections share: who is there, and wants what.

use super::error::{ProtocolError, PutOut};
use super::limits::Limits;
use super::outbox::Outbox;
use super::parcel::Parcel;
use super::tally::Tally;
use super::trie::{Full, Subscriptions, Trie};
use crate::bus::transport::SendError;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) limits: Limits,
    most_connections: usize,
    /// A permit a byte of [`Limits::queue_bytes`].
    pub(super) room: Arc<Semaphore>,
    /// How many senders wait for room now, and how often one had to.
    pub(super) waiting: AtomicUsize,
    pub(super) waits: AtomicU64,
    /// Told when a subscriber has to make haste, or a sender waits.
    pub(super) pressure: Notify,
    /// Told when a subscriber has nothing pending any more.
    pub(super) drained: Notify,
    pub(super) tally: Tally,
    pub(super) taken: AtomicU64,
    pub(super) unwanted: AtomicU64,
    pub(super) unshaken: AtomicU64,
    /// How many subscribers are connected.
    pub(super) peers: watch::Sender<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    trie: Trie,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    serial: u64,
    /// Counts messages, so that no slot is given one twice.
    round: u64,
    offers: Vec<Offer>,
    subscription_bytes: usize,
    connections: usize,
    addresses: HashMap<Address, usize>,
}

#[derive(Debug)]
struct Slot {
    outbox: Arc<Outbox>,
    round: u64,
}

/// A message that waits for its subscriber.
#[derive(Debug)]
struct Offer {
    number: u64,
    parcel: Arc<Parcel>,
    reply: oneshot::Sender<Result<(), SendError>>,
}

/// How a message was received that waits for a subscriber.
#[derive(Debug)]
pub(super) enum Offered {
    /// One was there.
    Taken,
    /// None was: the answer comes when there is one, or [`Hub::withdraw`] is called with the number.
    Waits(u64, oneshot::Receiver<Result<(), SendError>>),
}

/// From where a subscriber connects: as far as it can be told from others that it is somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Local,
    V4([u8; 4]),
    /// A network of 64 bits: whoever has one address of it has them all.
    V6([u8; 8]),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// A place among the connections, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    hub: Arc<Hub>,
    address: Address,
}

impl Hub {
    pub(super) fn new(limits: Limits, most_connections: usize) -> Self {
        let permits = usize::try_from(limits.queue_bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            limits,
            most_connections,
            room: Arc::new(Semaphore::new(permits)),
            waiting: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            pressure: Notify::new(),
            drained: Notify::new(),
            tally: Tally::default(),
            taken: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            unshaken: AtomicU64::new(0),
            peers: watch::Sender::new(0),
            state: Mutex::default(),
        }
    }

    /// Gives `parcel` to every subscriber that wants it; says to how many.
    pub(super) fn send(&self, parcel: &Arc<Parcel>) -> Result<usize, SendError> {
        let mut state = self.state();
        if state.closed {
            return Err(SendError::Closed);
        }
        Ok(self.hand_over(&mut state, parcel))
    }

    /// Gives `parcel` to every subscriber that wants it, as soon as there is one.
    pub(super) fn offer(&self, parcel: Arc<Parcel>) -> Result<Offered, SendError> {
        let mut state = self.state();
        if state.closed {
            return Err(SendError::Closed);
        }
        if self.hand_over(&mut state, &parcel) > 0 {
            return Ok(Offered::Taken);
        }
        let number = state.round;
        let (reply, replied) = oneshot::channel();
        state.offers.push(Offer { number, parcel, reply });
        Ok(Offered::Waits(number, replied))
    }

    /// Takes back what was offered; `false`, if somebody has it.
    pub(super) fn withdraw(&self, number: u64) -> bool {
        let mut state = self.state();
        let before = state.offers.len();
        state.offers.retain(|offer| offer.number != number);
        state.offers.len() < before
    }

    fn hand_over(&self, state: &mut State, parcel: &Arc<Parcel>) -> usize {
        let State { trie, slots, round, .. } = state;
        *round += 1;
        let mut count = 0;
        for peer in trie.matches(parcel.topic()) {
            let Some(Some(slot)) = slots.get_mut(peer) else { continue };
            if slot.round != *round {
                slot.round = *round;
                count += 1;
                if slot.outbox.push(Arc::clone(parcel)) > self.limits.haste_above() {
                    self.pressure.notify_one();
                }
            }
        }
        count
    }

    /// A place for a connection from `address`.
    pub(super) fn admit(self: &Arc<Self>, address: Address) -> Result<Admission, PutOut> {
        let mut state = self.state();
        if state.connections >= self.most_connections {
            return Err(PutOut::Connections { limit: self.most_connections });
        }
        let limit = self.limits.connections_per_address;
        let here = state.addresses.entry(address).or_default();
        if *here >= limit {
            return Err(PutOut::ConnectionsPerAddress { limit });
        }
        *here += 1;
        state.connections += 1;
        Ok(Admission { hub: Arc::clone(self), address })
    }

    /// A subscriber has ended its handshake. Gives it its number.
    pub(super) fn join(&self) -> (usize, Arc<Outbox>) {
        let mut state = self.state();
        state.serial += 1;
        let outbox = Arc::new(Outbox::new(state.serial));
        if state.closed {
            outbox.finish();
        }
        let slot = Some(Slot { outbox: Arc::clone(&outbox), round: 0 });
        let peer = match state.free.pop() {
            Some(peer) => {
                if let Some(place) = state.slots.get_mut(peer) {
                    *place = slot;
                }
                peer
            }
            None => {
                state.slots.push(slot);
                state.slots.len() - 1
            }
        };
        drop(state);
        self.peers.send_modify(|count| *count += 1);
        (peer, outbox)
    }

    /// A subscriber has gone.
    pub(super) fn leave(&self, peer: usize, subscriptions: &Subscriptions) {
        let mut state = self.state();
        for prefix in subscriptions.prefixes() {
            state.trie.remove(prefix, peer);
            state.subscription_bytes -= prefix.len() + Limits::SUBSCRIPTION_BYTES;
        }
        if let Some(place) = state.slots.get_mut(peer) {
            *place = None;
        }
        state.free.push(peer);
        drop(state);
        self.peers.send_modify(|count| *count -= 1);
        self.drained.notify_one();
    }

    /// A subscriber asks for what begins with `prefix`. What was offered and it wants, it gets.
    pub(super) fn subscribe(
        &self,
        peer: usize,
        subscriptions: &mut Subscriptions,
        prefix: &[u8],
    ) -> Result<(), PutOut> {
        let (most, most_bytes) = (self.limits.subscriptions, self.limits.subscription_bytes);
        let is_new = subscriptions.add(prefix, most, most_bytes).map_err(|full| match full {
            Full::Bytes => ProtocolError::SubscriptionBytes { limit: most_bytes },
            Full::Count => ProtocolError::Subscriptions { limit: most },
        })?;
        if !is_new {
            return Ok(());
        }
        let mut state = self.state();
        let limit = self.limits.all_subscription_bytes;
        let bytes = state.subscription_bytes + prefix.len() + Limits::SUBSCRIPTION_BYTES;
        if bytes > limit {
            subscriptions.cancel(prefix);
            return Err(PutOut::AllSubscriptions { limit });
        }
        state.subscription_bytes = bytes;
        state.trie.insert(prefix, peer);
        let (wanted, others) = std::mem::take(&mut state.offers)
            .into_iter()
            .partition::<Vec<_>, _>(|offer| offer.parcel.topic().starts_with(prefix));
        state.offers = others;
        for offer in wanted {
            // If nobody waits for the answer, nobody wants it sent.
            if !offer.reply.is_closed() {
                self.hand_over(&mut state, &offer.parcel);
                let _ = offer.reply.send(Ok(()));
            }
        }
        Ok(())
    }

    /// A subscriber no longer asks for it.
    pub(super) fn cancel(&self, peer: usize, subscriptions: &mut Subscriptions, prefix: &[u8]) {
        if subscriptions.cancel(prefix) {
            let mut state = self.state();
            state.trie.remove(prefix, peer);
            state.subscription_bytes -= prefix.len() + Limits::SUBSCRIPTION_BYTES;
        }
    }

    /// The subscribers' queues.
    pub(super) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.state().slots.iter().flatten().map(|slot| Arc::clone(&slot.outbox)).collect()
    }

    /// Takes nothing more, from nobody.
    pub(super) fn close(&self) {
        self.room.close();
        let mut state = self.state();
        state.closed = true;
        for offer in state.offers.drain(..) {
            // As in `subscribe`.
            let _ = offer.reply.send(Err(SendError::Closed));
        }
    }

    /// The engine has ended: what is still in the queues is nobody's.
    pub(super) fn forget(&self) {
        *self.state() = State { closed: true, ..State::default() };
    }

    /// Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.connections = state.connections.saturating_sub(1);
        if let Some(here) = state.addresses.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::zmtp::parcel::Permit;
    use crate::message::RawMessage;

    fn hub() -> Arc<Hub> {
        let limits = Limits {
            connections_per_address: 2,
            subscriptions: 2,
            all_subscription_bytes: 3 * (1 + Limits::SUBSCRIPTION_BYTES),
            ..Limits::STANDARD
        };
        Arc::new(Hub::new(limits, 3))
    }

    fn parcel(hub: &Hub, topic: &'static str) -> Arc<Parcel> {
        let room = Arc::clone(&hub.room);
        room.try_acquire_many(1).unwrap().forget();
        Arc::new(Parcel::new(RawMessage::new(topic, ""), Permit::taken(room, 1)))
    }

    #[test]
    fn a_connection_has_a_place_while_it_lasts() {
        let hub = hub();
        let v4 = |last| Address::from(IpAddr::from([192, 0, 2, last]));
        let first = hub.admit(v4(1)).unwrap();
        let second = hub.admit(v4(1)).unwrap();
        assert_eq!(hub.admit(v4(1)).unwrap_err(), PutOut::ConnectionsPerAddress { limit: 2 });
        let third = hub.admit(v4(2)).unwrap();
        assert_eq!(hub.admit(Address::Local).unwrap_err(), PutOut::Connections { limit: 3 });
        drop((first, third));
        let again = [hub.admit(v4(1)).unwrap(), hub.admit(Address::Local).unwrap()];
        drop((second, again));
        assert!(hub.state().addresses.is_empty());
        let v6 = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(v6("2001:db8:0:1::1"), v6("2001:db8:0:1:ffff::2"));
        assert_ne!(v6("2001:db8:0:1::1"), v6("2001:db8:0:2::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), v4(1));
    }

    #[test]
    fn whoever_has_two_prefixes_of_a_topic_gets_the_message_once() {
        let hub = hub();
        let ((one, outbox), (two, other)) = (hub.join(), hub.join());
        let mut of_one = Subscriptions::default();
        let mut of_two = Subscriptions::default();
        hub.subscribe(one, &mut of_one, b"a").unwrap();
        hub.subscribe(one, &mut of_one, b"").unwrap();
        assert_eq!(hub.send(&parcel(&hub, "ab")), Ok(1));
        let Ok(Offered::Taken) = hub.offer(parcel(&hub, "b")) else { panic!("one wants everything") };
        assert_eq!((outbox.pending(), other.pending()), (2, 0));
        let full = hub.subscribe(one, &mut of_one, b"b").unwrap_err();
        assert_eq!(full, ProtocolError::Subscriptions { limit: 2 }.into());
        hub.subscribe(two, &mut of_two, b"c").unwrap();
        hub.cancel(two, &mut of_two, b"unknown");
        let full = hub.subscribe(two, &mut of_two, b"cc").unwrap_err();
        assert_eq!(full.code(), "all-subscriptions");
        hub.leave(one, &of_one);
        assert_eq!(hub.send(&parcel(&hub, "ab")), Ok(0));
        hub.subscribe(two, &mut of_two, b"a").unwrap();
        assert_eq!(hub.send(&parcel(&hub, "ab")), Ok(1));
        hub.leave(two, &of_two);
        let state = hub.state();
        assert_eq!((state.subscription_bytes, state.trie.nodes()), (0, 1));
    }

    #[test]
    fn what_is_offered_goes_to_the_first_who_asks_or_to_nobody() {
        let hub = hub();
        let (peer, outbox) = hub.join();
        let mut subscriptions = Subscriptions::default();
        let Ok(Offered::Waits(_, mut replied)) = hub.offer(parcel(&hub, "ab")) else {
            panic!("nobody is there")
        };
        let Ok(Offered::Waits(number, mut withdrawn)) = hub.offer(parcel(&hub, "ab")) else { panic!() };
        assert!(hub.withdraw(number) && !hub.withdraw(number));
        hub.subscribe(peer, &mut subscriptions, b"b").unwrap();
        assert!(replied.try_recv().is_err());
        hub.subscribe(peer, &mut subscriptions, b"a").unwrap();
        assert_eq!((replied.try_recv(), outbox.pending()), (Ok(Ok(())), 1));
        assert!(withdrawn.try_recv().is_err());
        let Ok(Offered::Waits(_, mut closed)) = hub.offer(parcel(&hub, "c")) else {
            panic!("nobody is there")
        };
        let late = parcel(&hub, "a");
        hub.close();
        assert_eq!(closed.try_recv(), Ok(Err(SendError::Closed)));
        assert_eq!(hub.send(&late), Err(SendError::Closed));
    }
}
