//! All streams of a consumer.

use super::one::{One, Said};
use super::{Answer, Ask, Beat, Gap, GapReason, Item, Start, Step, StreamKey, StreamLimits, Taken};
use crate::identity::Identity;
use crate::message::id::StreamId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// All streams of a consumer: what happened goes in, [`Streams::poll`] says what to do.
///
/// `M` is what is delivered.
#[derive(Debug)]
pub struct Streams<M> {
    limits: StreamLimits,
    start: Start,
    signers: BTreeMap<Identity, Signer<M>>,
    /// Those that have something to say, each once, in turn.
    ready: VecDeque<StreamKey>,
    /// The requests under way, by their number.
    asks: BTreeMap<u64, (StreamKey, u64, Option<u64>)>,
    next_id: u64,
    held_bytes: usize,
    /// The earliest time at which a stream may have a question.
    look_at: Option<Duration>,
    moved: BTreeMap<StreamKey, u64>,
    forgotten: Vec<StreamKey>,
    is_new: bool,
    counts: StreamCounts,
}

/// What became of messages and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Live messages that had been delivered or are held already.
    pub duplicates: u64,
    /// Live messages that there was no room to hold.
    pub let_go: u64,
    /// Requests that were made.
    pub asked: u64,
    /// Requests that brought nothing: nobody was there, or the answer was of no use.
    pub failed: u64,
    /// Messages that will not come, by reason.
    pub gaps: BTreeMap<GapReason, u64>,
    /// Signed heartbeats.
    pub heartbeats: u64,
}

#[derive(Debug)]
struct Signer<M> {
    streams: BTreeMap<StreamId, One<M>>,
    heard: Duration,
    /// How far apart its heartbeats are; `None` before the first.
    interval: Option<Duration>,
    silent: bool,
}

impl<M> Streams<M> {
    /// A consumer that begins with each signer at `start`, but goes on where `places` says: the first `seq` of each stream that
    /// was not acknowledged. What was published meanwhile is asked for at once.
    pub fn new(
        limits: StreamLimits,
        start: Start,
        places: impl IntoIterator<Item = (StreamKey, u64)>,
        at: Duration,
    ) -> Self {
        let mut streams = Self {
            limits,
            start,
            signers: BTreeMap::new(),
            ready: VecDeque::new(),
            asks: BTreeMap::new(),
            next_id: 0,
            held_bytes: 0,
            look_at: Some(at),
            moved: BTreeMap::new(),
            forgotten: Vec::new(),
            is_new: false,
            counts: StreamCounts::default(),
        };
        for (key, place) in places {
            let signer = streams.signers.entry(key.signer).or_insert_with(|| Signer::new(at));
            signer.streams.insert(key.stream, One::new(place, true, false, at));
        }
        streams
    }

    /// A consumer that begins with each signer at `start`, also with those of whom it has known these streams: it asks at once
    /// for what they have.
    pub fn again(
        limits: StreamLimits,
        start: Start,
        known: impl IntoIterator<Item = StreamKey>,
        at: Duration,
    ) -> Self {
        let mut streams = Self::new(limits, start, [], at);
        let Some(first) = start.first() else { return streams };
        for key in known {
            let signer = streams.signers.entry(key.signer).or_insert_with(|| Signer::new(at));
            signer.streams.insert(key.stream, One::new(first, true, true, at));
        }
        streams
    }

    /// A message came that is verified and new.
    pub fn live(&mut self, signer: &Identity, stream: StreamId, item: Item<M>, at: Duration) -> Taken<M> {
        let first = self.start.first().unwrap_or(item.seq);
        self.hear(signer, at);
        self.meet(signer, stream, first, at);
        let room = self.limits.held_bytes.saturating_sub(self.held_bytes);
        let taken = self.change(signer, stream, |one| {
            one.touched = at;
            one.take(item, room)
        });
        match taken {
            Some(Taken::Duplicate(item)) => {
                self.counts.duplicates += 1;
                Taken::Duplicate(item)
            }
            Some(Taken::Held) => Taken::Held,
            Some(Taken::LetGo) | None => {
                self.counts.let_go += 1;
                Taken::LetGo
            }
        }
    }

    /// A signed heartbeat came: `signer` says how far its `stream` has got.
    pub fn heartbeat(&mut self, signer: &Identity, stream: StreamId, beat: Beat, at: Duration) {
        self.counts.heartbeats += 1;
        let first = self.start.first().unwrap_or_else(|| beat.newest.saturating_add(1));
        self.meet(signer, stream, first, at);
        self.hear(signer, at);
        if let Some(known) = self.signers.get_mut(signer) {
            known.interval = Some(beat.interval);
        }
        self.change(signer, stream, |one| {
            one.touched = at;
            one.hear_of(beat.newest);
        });
    }

    /// The answer to the request of this number. One that nobody waits for is passed over.
    pub fn answer(&mut self, id: u64, answer: Answer<M>, at: Duration) {
        let Some((key, from, to)) = self.asks.remove(&id) else { return };
        let limits = self.limits;
        if matches!(answer, Answer::Failed) {
            self.counts.failed += 1;
        }
        self.change(&key.signer, key.stream, |one| {
            if !one.awaits(id) {
                return;
            }
            match answer {
                Answer::Failed => one.failed(&limits, at),
                Answer::Found(found) => one.found((from, to), found, &limits, at),
                Answer::NoEndpoint => one.give_up(GapReason::NoEndpoint),
                Answer::UnknownStream => one.give_up(GapReason::UnknownStream),
            }
        });
    }

    /// The consumer has dealt with this message and all before it in its stream: the place moves.
    pub fn acknowledge(&mut self, key: &StreamKey, seq: u64) {
        self.change(&key.signer, key.stream, |one| one.acknowledge(seq));
    }

    /// The consumer has dealt with everything that it was given.
    pub fn acknowledge_all(&mut self) {
        let given = self.signers.iter().flat_map(|(signer, known)| {
            known.streams.iter().filter_map(|(stream, one)| {
                Some((StreamKey { signer: signer.clone(), stream: *stream }, one.last_outstanding()?))
            })
        });
        for (key, seq) in given.collect::<Vec<_>>() {
            self.acknowledge(&key, seq);
        }
    }

    /// What to do next; `None`: nothing until something happens, or [`Streams::wakes`].
    pub fn poll(&mut self, at: Duration) -> Option<Step<M>> {
        while let Some(key) = self.ready.front().cloned() {
            let said = self.change(&key.signer, key.stream, One::say).flatten();
            self.ready.rotate_left(1);
            let more = self.one(&key).is_some_and(One::is_ready);
            if !more {
                self.ready.pop_back();
                if let Some(one) = self.one_mut(&key) {
                    one.queued = false;
                }
            }
            match said {
                Some(Said::Message { seq, message }) => return Some(Step::Deliver { key, seq, message }),
                Some(Said::Gap { from, to, reason }) => {
                    let lost = self.counts.gaps.entry(reason).or_default();
                    *lost = lost.saturating_add((to - from).saturating_add(1));
                    return Some(Step::Gap(Gap { key, from, to, reason }));
                }
                None => {}
            }
        }
        if let Some(ask) = self.question(at) {
            return Some(Step::Ask(ask));
        }
        self.silence(at)
    }

    /// When [`Streams::poll`] may have something to do though nothing happens.
    pub fn wakes(&self) -> Option<Duration> {
        let silence = self.signers.values().filter_map(|signer| signer.silent_from(&self.limits));
        // While as many requests are under way as may be, an answer has to come first.
        let question = self.look_at.filter(|_| self.asks.len() < self.limits.asks);
        silence.chain(question).min()
    }

    /// Whether a stream waits for what is missing. What is live is better taken out of its socket then, lest it pile up
    /// there.
    pub fn is_catching_up(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Whether a stream was met for the first time since the places were taken: its place is to be kept before anything of it is
    /// delivered.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether a place has moved that is not kept yet.
    pub fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// The places that have moved since this was called last, to be kept.
    pub fn take_moved(&mut self) -> BTreeMap<StreamKey, u64> {
        self.is_new = false;
        std::mem::take(&mut self.moved)
    }

    /// The streams that were forgotten since this was called last, of which no place is to be kept any more.
    pub fn take_forgotten(&mut self) -> Vec<StreamKey> {
        std::mem::take(&mut self.forgotten)
    }

    /// What became of messages and requests so far.
    pub fn counts(&self) -> &StreamCounts {
        &self.counts
    }

    fn one(&self, key: &StreamKey) -> Option<&One<M>> {
        self.signers.get(&key.signer)?.streams.get(&key.stream)
    }

    fn one_mut(&mut self, key: &StreamKey) -> Option<&mut One<M>> {
        self.signers.get_mut(&key.signer)?.streams.get_mut(&key.stream)
    }

    /// Something of this signer came.
    fn hear(&mut self, signer: &Identity, at: Duration) {
        if let Some(known) = self.signers.get_mut(signer) {
            (known.heard, known.silent) = (at, false);
        }
    }

    /// Begins a stream that is not known. One of a signer that is known already was begun since, and is wanted from its first
    /// message on; with any other the start is at `first`.
    fn meet(&mut self, signer: &Identity, stream: StreamId, first: u64, at: Duration) {
        if !self.signers.contains_key(signer) {
            self.signers.insert(signer.clone(), Signer::new(at));
        }
        let Some(known) = self.signers.get_mut(signer) else { return };
        if known.streams.contains_key(&stream) {
            return;
        }
        let one = if known.streams.is_empty() {
            One::new(first, false, self.start != Start::Now, at)
        } else {
            One::new(1, false, false, at)
        };
        let key = StreamKey { signer: signer.clone(), stream };
        self.moved.insert(key, one.place());
        self.is_new = true;
        known.streams.insert(stream, one);
        if known.streams.len() > self.limits.streams_per_signer {
            let at_rest = known.streams.iter().filter(|(id, one)| **id != stream && one.is_at_rest());
            if let Some(quiet) = at_rest.min_by_key(|(_, one)| one.touched).map(|(id, _)| *id) {
                known.streams.remove(&quiet);
                let key = StreamKey { signer: signer.clone(), stream: quiet };
                self.moved.remove(&key);
                self.forgotten.push(key);
            }
        }
    }

    /// Does something to a stream, and sees what follows of it: its place, its turn, the bytes that are held, a question.
    fn change<T>(
        &mut self,
        signer: &Identity,
        stream: StreamId,
        change: impl FnOnce(&mut One<M>) -> T,
    ) -> Option<T> {
        let one = self.signers.get_mut(signer)?.streams.get_mut(&stream)?;
        let (place, held) = (one.place(), one.held_bytes());
        let changed = change(one);
        self.held_bytes = self.held_bytes - held + one.held_bytes();
        let queue = !one.queued && one.is_ready();
        one.queued |= queue;
        if one.place() != place {
            let key = StreamKey { signer: signer.clone(), stream };
            self.moved.insert(key, one.place());
        }
        if queue {
            self.ready.push_back(StreamKey { signer: signer.clone(), stream });
        }
        if one.question(Duration::MAX).is_some() {
            // When exactly is looked up when there is nothing else to do.
            self.look_at = Some(Duration::ZERO);
        }
        Some(changed)
    }

    fn question(&mut self, at: Duration) -> Option<Ask> {
        if self.look_at.is_none_or(|look_at| at < look_at) || self.asks.len() >= self.limits.asks {
            return None;
        }
        for (signer, known) in &mut self.signers {
            for (stream, one) in &mut known.streams {
                let Some((from, to)) = one.question(at) else { continue };
                let (id, key) = (self.next_id, StreamKey { signer: signer.clone(), stream: *stream });
                one.asked(id);
                self.next_id += 1;
                self.counts.asked += 1;
                self.asks.insert(id, (key.clone(), from, to));
                return Some(Ask { id, key, from, to });
            }
        }
        let streams = self.signers.values().flat_map(|known| known.streams.values());
        self.look_at = streams.filter_map(One::wakes).min();
        None
    }

    fn silence(&mut self, at: Duration) -> Option<Step<M>> {
        let limits = self.limits;
        self.signers.iter_mut().find_map(|(signer, known)| {
            let from = known.silent_from(&limits)?;
            (at >= from).then(|| {
                known.silent = true;
                Step::Silent { signer: signer.clone(), quiet: at.saturating_sub(known.heard) }
            })
        })
    }
}

impl<M> Signer<M> {
    fn new(at: Duration) -> Self {
        Self { streams: BTreeMap::new(), heard: at, interval: None, silent: false }
    }

    /// When it is to be called silent, if nothing is heard of it until then.
    fn silent_from(&self, limits: &StreamLimits) -> Option<Duration> {
        let interval = self.interval.filter(|_| !self.silent)?;
        Some(self.heard.saturating_add(interval.saturating_mul(limits.missed_heartbeats)))
    }
}
