//! The consumer: the real state machine, a model of its file, and a handler that checks what it is handed.

use super::super::{Ask, Gap, Start, Step, StreamKey, StreamLimits, Streams};
use super::publisher::Name;
use crate::message::id::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) struct Consumer {
    /// `None` while it is dead.
    pub(super) streams: Option<Streams<Name>>,
    /// Which life it is: what was asked for in another comes to nobody.
    pub(super) life: u64,
    born: Duration,
    limits: StreamLimits,
    start: Start,
    /// The file: what survives a kill.
    pub(super) places: BTreeMap<StreamKey, u64>,
    /// What the handler has in its hands.
    pub(super) handling: Option<(StreamKey, u64)>,
    /// The last that was handed out in this life.
    last: BTreeMap<StreamKey, u64>,
    /// Acknowledged, over all lives.
    pub(super) done: BTreeSet<Name>,
    /// What the consumer was told would not come.
    pub(super) told_gone: BTreeSet<Name>,
    /// The first place that each stream ever had.
    pub(super) first_places: BTreeMap<StreamKey, u64>,
}

/// What the consumer wants of the world.
pub(super) enum Wish {
    Ask(Ask),
    /// The handler is at work.
    Busy,
    Gap(Gap),
    Silent,
}

impl Consumer {
    pub(super) fn new(limits: StreamLimits, start: Start) -> Self {
        let (places, last, first_places) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (done, told_gone) = (BTreeSet::new(), BTreeSet::new());
        let (streams, life, born, handling) = (None, 0, Duration::ZERO, None);
        Self { streams, life, born, limits, start, places, handling, last, done, told_gone, first_places }
    }

    /// It starts, with what its file has. Its own clock begins at nothing each time.
    pub(super) fn start(&mut self, now: Duration) {
        (self.life, self.born) = (self.life + 1, now);
        self.last.clear();
        let places = self.places.iter().map(|(key, place)| (key.clone(), *place));
        self.streams = Some(Streams::new(self.limits, self.start, places, Duration::ZERO));
    }

    pub(super) fn kill(&mut self) {
        (self.streams, self.handling) = (None, None);
    }

    /// Its own time.
    pub(super) fn at(&self, now: Duration) -> Duration {
        now.saturating_sub(self.born)
    }

    pub(super) fn wakes(&self) -> Option<Duration> {
        Some(self.streams.as_ref()?.wakes()?.saturating_add(self.born))
    }

    /// The handler comes back, if it had anything: what it had is done. With `killed` it dies in the moment before that is
    /// written down.
    pub(super) fn handled(&mut self, killed: bool) -> bool {
        let (Some((key, seq)), Some(streams)) = (self.handling.take(), &mut self.streams) else {
            return false;
        };
        streams.acknowledge(&key, seq);
        if killed {
            self.kill();
            return true;
        }
        self.keep();
        self.done.insert((key.stream, seq));
        true
    }

    /// The next thing that it wants; `None` when it waits.
    pub(super) fn next(&mut self, now: Duration) -> Option<Wish> {
        if self.handling.is_some() {
            return None;
        }
        let at = self.at(now);
        let streams = self.streams.as_mut()?;
        if streams.is_new() {
            self.keep();
        }
        Some(match self.streams.as_mut()?.poll(at)? {
            Step::Ask(ask) => Wish::Ask(ask),
            Step::Deliver { key, seq, message } => {
                assert_eq!(message, (key.stream, seq), "handed out as another");
                assert!(!self.done.contains(&message), "{message:?} was acknowledged, and came again");
                // It may have died before it wrote down that this one was given up, and had more luck now.
                self.told_gone.remove(&message);
                let last = self.last.insert(key.clone(), seq);
                assert!(last.is_none_or(|last| last < seq), "{seq} after {last:?} in one life");
                self.handling = Some((key, seq));
                // Places are also written down by the clock: what is in the handler's hands must not be among them.
                self.keep();
                Wish::Busy
            }
            Step::Gap(gap) => {
                let last = self.last.insert(gap.key.clone(), gap.to);
                assert!(last.is_none_or(|last| last < gap.from), "{gap:?} after {last:?} in one life");
                self.told_gone.extend((gap.from..=gap.to).map(|seq| (gap.key.stream, seq)));
                Wish::Gap(gap)
            }
            Step::Silent { .. } => Wish::Silent,
        })
    }

    /// Whether it has dealt with anything of this stream, or was told that it was gone.
    pub(super) fn has_begun(&self, stream: StreamId) -> bool {
        let of_it = (stream, 0)..=(stream, u64::MAX);
        self.done.range(of_it.clone()).next().is_some() || self.told_gone.range(of_it).next().is_some()
    }

    /// Writes down the places that have moved.
    fn keep(&mut self) {
        let Some(streams) = &mut self.streams else { return };
        for (key, place) in streams.take_moved() {
            let known = self.places.keys().any(|other| other.signer == key.signer);
            let before = self.places.insert(key.clone(), place);
            // A publisher that is known began this one since: all of it is owed.
            assert!(before.is_some() || !known || place == 1, "{key:?} begins at {place}");
            assert!(
                before.is_none_or(|before| before <= place),
                "{key:?} went back from {before:?} to {place}"
            );
            self.first_places.entry(key).or_insert(place);
        }
    }
}
