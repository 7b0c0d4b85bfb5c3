//! Who may come in, and how often.

use super::limits::ReplayLimits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Counts connections, answers and requests, in all and by address.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    limits: ReplayLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    answers: usize,
    /// Of those who are connected, and of those who asked so much lately that it is held against them.
    peers: HashMap<Option<IpAddr>, Peer>,
}

#[derive(Debug)]
struct Peer {
    connections: usize,
    answers: usize,
    /// Requests that it may make at once, as of `counted`.
    budget: f64,
    counted: Instant,
}

/// A connection that was let in, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    gate: Gate,
    address: Option<IpAddr>,
}

/// An answer under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    address: Option<IpAddr>,
}

/// Too much at once.
#[derive(Debug)]
pub(super) struct Turned;

impl Gate {
    pub(super) fn new(limits: ReplayLimits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Lets a connection in; `None`, if there are too many.
    pub(super) fn enter(&self, address: Option<IpAddr>, now: Instant) -> Option<Entry> {
        let address = address.map(network);
        let limits = &self.limits;
        let mut state = self.state();
        if state.connections >= limits.connections {
            return None;
        }
        // Whoever has left and has his whole budget again need not be remembered.
        let full = self.burst();
        let rate = f64::from(limits.requests_per_second);
        state.peers.retain(|_, peer| peer.connections > 0 || peer.budget_at(now, rate, full) < full);
        let fresh = Peer { connections: 0, answers: 0, budget: full, counted: now };
        let peer = state.peers.entry(address).or_insert(fresh);
        if peer.connections >= limits.connections_per_address {
            return None;
        }
        peer.connections += 1;
        state.connections += 1;
        Some(Entry { gate: self.clone(), address })
    }

    fn burst(&self) -> f64 {
        2.0 * f64::from(self.limits.requests_per_second)
    }

    /// Nothing here panics while it holds the lock, so that a poisoned state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn budget_at(&self, now: Instant, rate: f64, full: f64) -> f64 {
        (self.budget + rate * now.saturating_duration_since(self.counted).as_secs_f64()).min(full)
    }
}

impl Entry {
    /// Lets a request be answered, if it is not one too many.
    pub(super) fn ask(&self, now: Instant) -> Result<Place, Turned> {
        let gate = &self.gate;
        let rate = f64::from(gate.limits.requests_per_second);
        let mut state = gate.state();
        let answers = state.answers;
        let Some(peer) = state.peers.get_mut(&self.address) else { return Err(Turned) };
        (peer.budget, peer.counted) = (peer.budget_at(now, rate, gate.burst()), now);
        let full = answers >= gate.limits.answers || peer.answers >= gate.limits.answers_per_address;
        if full || peer.budget < 1.0 {
            return Err(Turned);
        }
        peer.budget -= 1.0;
        peer.answers += 1;
        state.answers += 1;
        Ok(Place { gate: gate.clone(), address: self.address })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.connections -= 1;
        if let Some(peer) = state.peers.get_mut(&self.address) {
            peer.connections -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.answers -= 1;
        if let Some(peer) = state.peers.get_mut(&self.address) {
            peer.answers -= 1;
        }
    }
}

/// Whoever has one IPv6 address has a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nobody_has_more_than_a_part_of_it() {
        let limits = ReplayLimits {
            connections: 3,
            connections_per_address: 2,
            answers: 3,
            answers_per_address: 2,
            requests_per_second: 2,
            ..ReplayLimits::STANDARD
        };
        let gate = Gate::new(limits);
        let mut now = Instant::now();
        let address = |text: &str| Some(text.parse().unwrap());
        let first = gate.enter(address("192.0.2.1"), now).unwrap();
        let again = gate.enter(address("::ffff:192.0.2.1"), now).unwrap();
        assert!(gate.enter(address("192.0.2.1"), now).is_none(), "two of one address");
        let six = gate.enter(address("2001:db8::1"), now).unwrap();
        assert!(gate.enter(None, now).is_none(), "three in all");
        drop(again);
        let sibling = gate.enter(address("2001:db8::ffff:2"), now).unwrap();
        drop(sibling);

        let places = [first.ask(now).unwrap(), first.ask(now).unwrap()];
        assert!(first.ask(now).is_err(), "two answers to one address");
        let other = six.ask(now).unwrap();
        drop(places);
        let again = [first.ask(now).unwrap(), first.ask(now).unwrap()];
        assert!(six.ask(now).is_err(), "three answers in all");
        drop((again, other));
        assert!(first.ask(now).is_err(), "four at once, and no more");
        // To come in anew gives no new budget.
        drop(first);
        let first = gate.enter(address("192.0.2.1"), now).unwrap();
        assert!(first.ask(now).is_err());
        now += Duration::from_millis(600);
        assert!(first.ask(now).is_ok());
        assert!(first.ask(now).is_err());
        drop((first, six));
        now += Duration::from_secs(10);
        let _one = gate.enter(None, now).unwrap();
        assert_eq!(gate.state().peers.len(), 1, "who has left is forgotten");
    }
}
