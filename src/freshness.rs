//! Freshness: what was verified is delivered once, and only while it is new.
//!
//! In this order: the timestamp has to lie within a window around now; the `seq` must not have been seen in its
//! (signer, stream), nor be too far behind its newest to tell; the `msg_id` must not have been seen from its signer.
//!
//! What is remembered is bounded. A stream or a `msg_id` whose timestamp has left the window is forgotten: the window
//! itself refuses it from then on. Where a signer has more than fits, the oldest is forgotten early and the signer's own
//! window is cut short to match, so that nothing is ever delivered twice for lack of memory.

mod asked;

pub use crate::stale::{SEQ_WINDOW, Stale};
pub use asked::{Asked, NotAdmitted, Replayed};

use crate::identity::Identity;
use crate::message::id::{MessageId, StreamId};
use crate::time::Timestamp;
use crate::verify::Verified;
use std::collections::{BTreeMap, HashMap, HashSet};

/// How old and how far ahead a message may be, and how much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Seconds that a message may be older than now.
    pub past: i64,
    /// Seconds that a message may be ahead of now: how far clocks may be apart.
    pub future: i64,
    /// Messages remembered for one signer.
    pub messages_per_signer: usize,
    /// Streams remembered for one signer.
    pub streams_per_signer: usize,
}

impl Window {
    /// Ten minutes back and two ahead; a million messages and a thousand streams a signer.
    pub const STANDARD: Self =
        Self { past: 600, future: 120, messages_per_signer: 1_000_000, streams_per_signer: 1_000 };
}

/// What has to be remembered of a message that was delivered, to survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who signed it.
    pub signer: Identity,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its name.
    pub msg_id: MessageId,
    /// Its stream and place; a legacy message has none.
    pub position: Option<(StreamId, u64)>,
}

/// A verified message that is new. Made by [`Freshness::admit`] alone.
#[derive(Debug)]
pub struct Fresh {
    verified: Verified,
}

impl Fresh {
    /// The message.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The message.
    pub fn into_verified(self) -> Verified {
        self.verified
    }

    /// What has to be kept of it.
    pub fn seen(&self) -> Seen {
        seen(&self.verified)
    }
}

/// What was delivered within the window.
#[derive(Debug)]
pub struct Freshness {
    window: Window,
    /// Everything before this time was forgotten: it stays refused, even if the clock is set back.
    forgotten: Timestamp,
    signers: HashMap<Identity, Signer>,
}

#[derive(Debug, Default)]
struct Signer {
    streams: HashMap<StreamId, Stream>,
    ids: HashSet<MessageId>,
    /// The same ids by timestamp, to forget the oldest.
    by_time: BTreeMap<Timestamp, Vec<MessageId>>,
    /// The newest timestamp that was forgotten while still within the window.
    floor: Option<Timestamp>,
}

/// The newest `seq` of a stream and which of the [`SEQ_WINDOW`] before it were seen.
#[derive(Debug)]
struct Stream {
    newest: u64,
    newest_timestamp: Timestamp,
    /// Bit `seq % SEQ_WINDOW`.
    bits: [u64; 16],
}

impl Freshness {
    /// Remembers nothing yet.
    pub fn new(window: Window) -> Self {
        Self { window, forgotten: Timestamp::MIN, signers: HashMap::new() }
    }

    /// The time before which everything was forgotten and is refused.
    pub fn forgotten(&self) -> Timestamp {
        self.forgotten
    }

    /// The window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Lets a message through once, if it is new, and remembers it.
    ///
    /// # Errors
    /// The message and why it is [`Stale`]; it is not remembered then.
    pub fn admit(&mut self, verified: Verified, now: Timestamp) -> Result<Fresh, Box<(Stale, Verified)>> {
        match self.check_and_remember(&seen(&verified), now) {
            Ok(()) => Ok(Fresh { verified }),
            Err(stale) => Err(Box::new((stale, verified))),
        }
    }

    /// Takes up what was kept over a restart: the messages that were delivered, and the time before which they were
    /// forgotten. One that would not be new is already remembered. What time it is does not matter: a clock that is wrong
    /// when the machine starts must not make a delivered message new again once it is right.
    pub fn restore<'a>(&mut self, kept: impl IntoIterator<Item = &'a Seen>, forgotten: Timestamp) {
        self.forgotten = self.forgotten.max(forgotten);
        for seen in kept {
            let _ = self.remember(seen);
        }
    }

    /// Forgets what has left the window. Called now and then, it bounds the memory by what is published in a window.
    pub fn forget(&mut self, now: Timestamp) {
        let oldest = now.plus_seconds(-self.window.past).max(self.forgotten);
        self.forgotten = oldest;
        self.signers.retain(|_, signer| {
            signer.streams.retain(|_, stream| stream.newest_timestamp >= oldest);
            let kept = signer.by_time.split_off(&oldest);
            for id in std::mem::replace(&mut signer.by_time, kept).into_values().flatten() {
                signer.ids.remove(&id);
            }
            signer.floor = signer.floor.filter(|floor| *floor >= oldest);
            !signer.streams.is_empty() || !signer.ids.is_empty() || signer.floor.is_some()
        });
    }

    fn check_and_remember(&mut self, seen: &Seen, now: Timestamp) -> Result<(), Stale> {
        let (window, timestamp) = (self.window, seen.timestamp);
        let age = now.seconds_since(timestamp);
        if age > window.past {
            return Err(Stale::TooOld { timestamp, now, behind: age, limit: window.past });
        }
        if timestamp < self.forgotten {
            return Err(Stale::Forgotten { timestamp, forgotten: self.forgotten });
        }
        if -age > window.future {
            return Err(Stale::FromTheFuture { timestamp, now, ahead: -age, limit: window.future });
        }
        self.remember(seen)
    }

    fn remember(&mut self, seen: &Seen) -> Result<(), Stale> {
        if !self.signers.contains_key(&seen.signer) {
            self.signers.insert(seen.signer.clone(), Signer::default());
        }
        match self.signers.get_mut(&seen.signer) {
            Some(signer) => signer.check_and_remember(seen, &self.window),
            None => Ok(()),
        }
    }
}

impl Signer {
    fn check_and_remember(&mut self, seen: &Seen, window: &Window) -> Result<(), Stale> {
        let (timestamp, msg_id) = (seen.timestamp, &seen.msg_id);
        if let Some(floor) = self.floor.filter(|floor| timestamp <= *floor) {
            return Err(Stale::TooManyRemembered { timestamp, floor });
        }
        if let Some((stream, seq)) = seen.position
            && let Some(known) = self.streams.get(&stream)
        {
            known.check(stream, seq)?;
        }
        if self.ids.contains(msg_id) {
            return Err(Stale::ReplayedMsgId { msg_id: msg_id.clone() });
        }
        if let Some((stream, seq)) = seen.position {
            self.streams.entry(stream).or_insert_with(|| Stream::new(timestamp)).mark(seq, timestamp);
        }
        self.ids.insert(msg_id.clone());
        self.by_time.entry(timestamp).or_default().push(msg_id.clone());
        self.keep_within(window);
        Ok(())
    }

    fn keep_within(&mut self, window: &Window) {
        while self.ids.len() > window.messages_per_signer {
            let Some((timestamp, ids)) = self.by_time.pop_first() else { return };
            for id in ids {
                self.ids.remove(&id);
            }
            self.floor = self.floor.max(Some(timestamp));
        }
        while self.streams.len() > window.streams_per_signer {
            let oldest = self.streams.iter().min_by_key(|(id, stream)| (stream.newest_timestamp, **id));
            let Some((id, timestamp)) = oldest.map(|(id, stream)| (*id, stream.newest_timestamp)) else {
                return;
            };
            self.streams.remove(&id);
            self.floor = self.floor.max(Some(timestamp));
        }
    }
}

impl Stream {
    fn new(timestamp: Timestamp) -> Self {
        Self { newest: 0, newest_timestamp: timestamp, bits: [0; 16] }
    }

    fn check(&self, stream: StreamId, seq: u64) -> Result<(), Stale> {
        if seq > self.newest {
            return Ok(());
        }
        if self.newest - seq >= SEQ_WINDOW {
            return Err(Stale::SeqTooOld { stream, seq, newest: self.newest });
        }
        let (word, bit) = place(seq);
        if self.bits[word] & bit == 0 { Ok(()) } else { Err(Stale::ReplayedSeq { stream, seq }) }
    }

    fn mark(&mut self, seq: u64, timestamp: Timestamp) {
        if seq > self.newest {
            if seq - self.newest >= SEQ_WINDOW {
                self.bits = [0; 16];
            } else {
                for between in self.newest + 1..seq {
                    let (word, bit) = place(between);
                    self.bits[word] &= !bit;
                }
            }
            self.newest = seq;
        }
        let (word, bit) = place(seq);
        self.bits[word] |= bit;
        self.newest_timestamp = self.newest_timestamp.max(timestamp);
    }
}

/// The word and the bit of a `seq`.
fn place(seq: u64) -> (usize, u64) {
    let slot = seq % SEQ_WINDOW;
    (usize::try_from(slot / 64).unwrap_or(0), 1 << (slot % 64))
}

fn seen(verified: &Verified) -> Seen {
    Seen {
        signer: verified.signer().clone(),
        timestamp: verified.timestamp(),
        msg_id: verified.msg_id().clone(),
        position: verified.position(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(NOW + seconds).unwrap()
    }

    fn message(n: u64, stream: u8, seq: u64, age: i64) -> Seen {
        let mut random = [0; 16];
        random[8..].copy_from_slice(&n.to_be_bytes());
        Seen {
            signer: "spiffe://example.org/prod/bodhi/app01".parse().unwrap(),
            timestamp: at(-age),
            msg_id: MessageId::new(2027, random),
            position: Some((StreamId::new([stream; 16]), seq)),
        }
    }

    fn code(freshness: &mut Freshness, seen: &Seen) -> &'static str {
        freshness.check_and_remember(seen, at(0)).map_or_else(|stale| stale.code().as_str(), |()| "fresh")
    }

    #[test]
    fn each_rule_refuses_for_itself() {
        let mut freshness = Freshness::new(Window::STANDARD);
        for (seen, expected) in [
            (message(0, 1, 1, 601), "too-old"),
            (message(1, 1, 1, 600), "fresh"),
            (message(2, 1, 2, -121), "from-the-future"),
            (message(3, 1, 2, -120), "fresh"),
            (message(4, 1, 2, 0), "replayed-seq"),
            (message(3, 2, 1, 0), "replayed-msg-id"),
            (message(5, 1, 2000, 0), "fresh"),
            (message(6, 1, 977, 0), "fresh"),
            (message(7, 1, 977, 0), "replayed-seq"),
            (message(8, 1, 976, 0), "seq-too-old"),
            (message(9, 3, 1, 0), "fresh"),
        ] {
            assert_eq!(code(&mut freshness, &seen), expected, "{seen:?}");
        }
        let other = Seen { signer: "cn:other".parse().unwrap(), ..message(3, 1, 2, 0) };
        assert_eq!(code(&mut freshness, &other), "fresh", "another signer has its own");
    }

    #[test]
    fn what_is_refused_is_not_remembered() {
        let mut freshness = Freshness::new(Window::STANDARD);
        assert_eq!(code(&mut freshness, &message(1, 1, 5, 0)), "fresh");
        assert_eq!(code(&mut freshness, &message(1, 1, 9000, 0)), "replayed-msg-id");
        assert_eq!(code(&mut freshness, &message(2, 1, 4, 0)), "fresh", "9000 did not move the bitmap");
    }

    #[test]
    fn over_its_bound_a_signer_loses_old_messages_and_gains_no_replay() {
        let window = Window { messages_per_signer: 3, streams_per_signer: 2, ..Window::STANDARD };
        let mut freshness = Freshness::new(window);
        for (n, age) in [(1, 9), (2, 8), (3, 7), (4, 6)] {
            assert_eq!(code(&mut freshness, &message(n, 1, n, age)), "fresh");
        }
        assert_eq!(code(&mut freshness, &message(1, 9, 1, 9)), "too-many-remembered");
        assert_eq!(code(&mut freshness, &message(2, 9, 1, 8)), "replayed-msg-id");
        let mut freshness = Freshness::new(window);
        for (stream, age) in [(1, 9), (2, 8), (3, 7)] {
            assert_eq!(code(&mut freshness, &message(u64::from(stream), stream, 1, age)), "fresh");
        }
        assert_eq!(code(&mut freshness, &message(77, 1, 1, 9)), "too-many-remembered");
    }

    /// A machine that starts may have the wrong time until it has asked somebody.
    #[test]
    fn a_wrong_clock_at_the_restart_brings_nothing_back() {
        let delivered = [message(1, 1, 1, 300), message(2, 1, 2, 0)];
        for clock in [at(-5000), at(-250), at(0), at(5000)] {
            let mut freshness = Freshness::new(Window::STANDARD);
            freshness.restore(&delivered, Timestamp::MIN);
            let _ = freshness.check_and_remember(&message(9, 9, 1, 0), clock);
            for seen in &delivered {
                let found = code(&mut freshness, seen);
                assert!(found.starts_with("replayed"), "{found}, restarted at {clock}");
            }
        }
    }

    #[test]
    fn what_a_clock_that_was_ahead_made_be_forgotten_is_refused_for_that() {
        let mut freshness = Freshness::new(Window::STANDARD);
        freshness.forget(at(5000));
        let stale = freshness.check_and_remember(&message(1, 1, 1, 0), at(0)).unwrap_err();
        assert_eq!(stale.code().as_str(), "too-old");
        let expected = format!("is before {}, up to which", at(5000 - 600));
        assert!(stale.to_string().contains(&expected), "{stale}");
    }

    proptest! {
        /// Whatever arrives in whatever order, with whatever is forgotten in between, nothing is let through twice.
        #[test]
        fn nothing_is_admitted_twice(
            arrivals in proptest::collection::vec((0_u64..40, -130_i64..700, 0_i64..60), 1..200),
            messages_per_signer in 1_usize..20,
            streams_per_signer in 1_usize..4,
        ) {
            let mut freshness = Freshness::new(Window { messages_per_signer, streams_per_signer, ..Window::STANDARD });
            let mut admitted = HashSet::new();
            let mut clock = 0;
            for (n, published, passes) in arrivals {
                // Clocks are set back now and then.
                clock += if passes == 59 { -300 } else { passes };
                // A message has one timestamp, stream and seq, whenever it arrives.
                let published = (published + i64::try_from(n).unwrap() * 13) % 700;
                let seen = Seen { timestamp: at(published), ..message(n, u8::try_from(n % 5).unwrap(), n + 1, 0) };
                if freshness.check_and_remember(&seen, at(clock)).is_ok() {
                    prop_assert!(admitted.insert((seen.msg_id.clone(), seen.timestamp)), "{:?} twice", seen);
                }
                if clock % 7 == 0 {
                    freshness.forget(at(clock));
                }
            }
        }
    }
}
