//! One stream: its place, what is held for it, what is missing.

use super::{Found, GapReason, Item, StreamLimits, Taken};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// There has to be a place after the last: a message beyond this is never taken.
const LAST_SEQ: u64 = u64::MAX - 1;

/// One stream.
#[derive(Debug)]
pub(super) struct One<M> {
    /// The first `seq` about which nothing was said to the consumer yet.
    next: u64,
    /// What the consumer has and did not acknowledge, ascending.
    outstanding: VecDeque<u64>,
    /// What is settled and has not had its turn, by its first `seq`; never before `next`.
    held: BTreeMap<u64, Held<M>>,
    held_bytes: usize,
    /// The newest `seq` that is known to exist, by something that was signed.
    newest: u64,
    /// Whether its publisher is to be asked for whatever came after, since nothing has told of it.
    probe: bool,
    /// Nothing was promised before what comes first: an older end that is gone is no gap.
    open_start: bool,
    asking: Asking,
    /// Requests in a row that brought nothing.
    failures: u32,
    /// Answers in a row that spoke of `next` and did not have it.
    empty: u32,
    /// When something was last heard of it.
    pub(super) touched: Duration,
    /// Whether it stands in the queue of those that have something to say.
    pub(super) queued: bool,
}

#[derive(Debug)]
enum Held<M> {
    /// Nothing will come up to and with `to`.
    Gap {
        to: u64,
        reason: GapReason,
    },
    Message {
        bytes: usize,
        message: Option<M>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Idle,
    UnderWay(u64),
    Until(Duration),
}

/// What a stream has to say at its place.
pub(super) enum Said<M> {
    Gap { from: u64, to: u64, reason: GapReason },
    Message { seq: u64, message: M },
}

impl<M> One<M> {
    /// A stream that goes on at `next`. With `probe` its publisher is asked what it has, whatever is heard.
    pub(super) fn new(next: u64, probe: bool, open_start: bool, at: Duration) -> Self {
        Self {
            next: next.max(1),
            outstanding: VecDeque::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            newest: 0,
            probe,
            open_start,
            asking: Asking::Idle,
            failures: 0,
            empty: 0,
            touched: at,
            queued: false,
        }
    }

    /// The place: the first `seq` that is not acknowledged.
    pub(super) fn place(&self) -> u64 {
        self.outstanding.front().copied().unwrap_or(self.next)
    }

    /// Whether something can be said at once.
    pub(super) fn is_ready(&self) -> bool {
        self.held.first_key_value().is_some_and(|(seq, _)| *seq == self.next)
    }

    /// Whether something before what is known is missing.
    pub(super) fn has_hole(&self) -> bool {
        self.hole().is_some()
    }

    /// Whether nothing is lost if it is forgotten, but for its place.
    pub(super) fn is_at_rest(&self) -> bool {
        self.held.is_empty()
            && self.outstanding.is_empty()
            && !self.has_hole()
            && !matches!(self.asking, Asking::UnderWay(_))
    }

    /// The bytes that are held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes a live message. `room` is how many bytes there are for one that has to wait for others.
    pub(super) fn take(&mut self, item: Item<M>, room: usize) -> Taken<M> {
        let seq = item.seq;
        if seq < self.next || self.is_held(seq) {
            return Taken::Duplicate(item);
        }
        self.hear_of(seq);
        // The one whose turn it is always has room: it does not wait.
        if seq > LAST_SEQ || (seq != self.next && item.bytes > room) {
            return Taken::LetGo;
        }
        self.hold(item);
        Taken::Held
    }

    /// Hears of the newest `seq` that there is.
    pub(super) fn hear_of(&mut self, newest: u64) {
        self.newest = self.newest.max(newest.min(LAST_SEQ));
        // Whoever hears the publisher hears of all that comes after, too.
        self.probe = false;
    }

    /// What the consumer is to hear next. Messages that nobody wants are passed over.
    pub(super) fn say(&mut self) -> Option<Said<M>> {
        while self.is_ready() {
            let (seq, held) = self.held.pop_first()?;
            self.empty = 0;
            match held {
                Held::Message { bytes, message } => {
                    self.held_bytes -= bytes;
                    self.next = seq.saturating_add(1);
                    self.open_start = false;
                    if let Some(message) = message {
                        self.outstanding.push_back(seq);
                        return Some(Said::Message { seq, message });
                    }
                }
                Held::Gap { to, reason } => {
                    self.next = to.saturating_add(1);
                    let promised = !std::mem::take(&mut self.open_start);
                    if promised || reason != GapReason::Gone {
                        return Some(Said::Gap { from: seq, to, reason });
                    }
                }
            }
        }
        None
    }

    /// Everything up to and with `seq` was dealt with.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        while self.outstanding.front().is_some_and(|first| *first <= seq) {
            self.outstanding.pop_front();
        }
    }

    /// The last that the consumer has.
    pub(super) fn last_outstanding(&self) -> Option<u64> {
        self.outstanding.back().copied()
    }

    /// What is to be asked for at `at`, if it is time: the first hole. Where nothing is known to be missing and nothing was
    /// heard since the start, all that there is.
    pub(super) fn question(&self, at: Duration) -> Option<(u64, Option<u64>)> {
        match self.asking {
            Asking::UnderWay(_) => return None,
            Asking::Until(until) if at < until => return None,
            Asking::Idle | Asking::Until(_) => {}
        }
        self.wanted()
    }

    /// When [`Self::question`] may have something to ask that it does not ask now.
    pub(super) fn wakes(&self) -> Option<Duration> {
        match self.asking {
            Asking::Until(until) if self.wanted().is_some() => Some(until),
            Asking::Idle | Asking::Until(_) | Asking::UnderWay(_) => None,
        }
    }

    pub(super) fn asked(&mut self, id: u64) {
        self.asking = Asking::UnderWay(id);
    }

    pub(super) fn awaits(&self, id: u64) -> bool {
        self.asking == Asking::UnderWay(id)
    }

    /// The request brought nothing: it is made again, later each time.
    pub(super) fn failed(&mut self, limits: &StreamLimits, at: Duration) {
        let doublings = self.failures.min(16);
        let wait = limits.first_wait.saturating_mul(1 << doublings).min(limits.longest_wait);
        self.failures = self.failures.saturating_add(1);
        self.asking = Asking::Until(at.saturating_add(wait));
    }

    /// What is missing will not come from anybody.
    pub(super) fn give_up(&mut self, reason: GapReason) {
        (self.asking, self.failures, self.probe) = (Asking::Idle, 0, false);
        if let Some((from, to)) = self.hole() {
            self.held.insert(from, Held::Gap { to, reason });
        }
    }

    /// The answer to the request for `from` to `to`.
    pub(super) fn found(
        &mut self,
        (from, to): (u64, Option<u64>),
        found: Found<M>,
        limits: &StreamLimits,
        at: Duration,
    ) {
        let asked = |seq: u64| seq >= from && seq <= to.unwrap_or(LAST_SEQ);
        for item in found.items {
            if asked(item.seq) && item.seq >= self.next && !self.is_held(item.seq) {
                self.newest = self.newest.max(item.seq);
                self.hold(item);
            }
        }
        // What an answer says besides its messages is nobody's signed word: it is heard only of what is known to exist.
        let last = to.map_or(self.newest, |to| to.min(self.newest));
        for (gone_from, gone_to) in found.gone {
            self.hold_gaps(gone_from.max(from), gone_to.min(last), GapReason::Gone);
        }
        let covered = found.next.map_or(last, |next| next.saturating_sub(1).min(last));
        if found.next.is_none() && to.is_none() {
            self.probe = false;
        }
        (self.asking, self.empty) = (Asking::Idle, self.empty.saturating_add(1));
        let missing = self.hole();
        if let Some((hole, end)) = missing.filter(|(hole, _)| *hole <= covered)
            && self.empty >= limits.empty_answers
        {
            self.held.insert(hole, Held::Gap { to: end.min(covered), reason: GapReason::Unusable });
        }
        if self.is_ready() || self.wanted().is_none() {
            (self.failures, self.empty) = (0, 0);
        } else {
            self.failed(limits, at);
        }
    }

    fn hold(&mut self, item: Item<M>) {
        self.held_bytes += item.bytes;
        self.held.insert(item.seq, Held::Message { bytes: item.bytes, message: item.message });
    }

    fn wanted(&self) -> Option<(u64, Option<u64>)> {
        match self.hole() {
            Some((from, to)) => Some((from, Some(to))),
            None if self.probe && !self.is_ready() => Some((self.next, None)),
            None => None,
        }
    }

    /// What is missing at the place itself. Holes further on have their turn later.
    fn hole(&self) -> Option<(u64, u64)> {
        let end = match self.held.first_key_value() {
            Some((first, _)) if *first == self.next => return None,
            Some((first, _)) => first - 1,
            None => self.newest,
        };
        (self.next <= end).then_some((self.next, end))
    }

    fn is_held(&self, seq: u64) -> bool {
        self.held.range(..=seq).next_back().is_some_and(|(first, held)| match held {
            Held::Gap { to, .. } => seq <= *to,
            Held::Message { .. } => *first == seq,
        })
    }

    /// Holds a gap wherever nothing else is held between `from` and `to`.
    fn hold_gaps(&mut self, from: u64, to: u64, reason: GapReason) {
        let mut from = from.max(self.next);
        while from <= to {
            if self.is_held(from) {
                let end = self.held.range(..=from).next_back().map_or(from, |(first, held)| match held {
                    Held::Gap { to, .. } => *to,
                    Held::Message { .. } => *first,
                });
                let Some(after) = end.checked_add(1) else { return };
                from = after;
                continue;
            }
            let end = self.held.range(from..).next().map_or(to, |(first, _)| to.min(first - 1));
            self.held.insert(from, Held::Gap { to: end, reason });
            let Some(after) = end.checked_add(1) else { return };
            from = after;
        }
    }
}
