//! What makes a subscriber a named consumer: it knows its place in each stream, keeps it in a file, and asks for what it
//! missed.

use super::SubscribeError;
use crate::bus::replay::{Found, ReplaySource, Reply};
use crate::bus::stream::{
    Answer, Ask, Beat, Found as Settled, Item, Start, Step, StreamCounts, StreamKey, StreamLimits, Streams,
    Taken,
};
use crate::endpoint::Endpoint;
use crate::freshness::{Asked, Fresh, NotAdmitted, Replayed};
use crate::identity::Identity;
use crate::message::RawMessage;
use crate::message::id::StreamId;
use crate::store::consumer::{ConsumerStore, Place};
use crate::time::Timestamp;
use crate::verify::{Rejected, Verified, Verifier};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often a place is written down that moved without the consumer's doing, over what it did not want.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What a message costs to hold beside its frames: its parsed envelope, rounded up.
const MESSAGE_BYTES: usize = 1024;

/// Where a named consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where it was; with a signer that it does not know, at whatever comes first.
    Last,
    /// Once more, or for the first time: with the oldest that each publisher still has.
    Oldest,
    /// The same, with this `seq` of each stream.
    Seq(u64),
    /// The same, with the first message that is not older than this.
    Since(Timestamp),
}

/// A message that may be delivered, and where it came from.
#[derive(Debug)]
pub(super) enum Admitted {
    Live(Fresh, Arc<Endpoint>),
    Replayed(Replayed, Arc<Endpoint>),
}

impl Admitted {
    pub(super) fn verified(&self) -> &Verified {
        match self {
            Self::Live(fresh, _) => fresh.verified(),
            Self::Replayed(replayed, _) => replayed.verified(),
        }
    }

    pub(super) fn into_verified(self) -> Verified {
        match self {
            Self::Live(fresh, _) => fresh.into_verified(),
            Self::Replayed(replayed, _) => replayed.into_verified(),
        }
    }
}

/// A consumer's streams, its file, and whom it asks.
pub(super) struct Named {
    streams: Streams<Box<Admitted>>,
    store: ConsumerStore,
    source: Arc<dyn ReplaySource>,
    replies: JoinSet<Reply>,
    /// What each request that is under way asks for.
    asked: HashMap<tokio::task::Id, Ask>,
    started: Instant,
    since: Option<Timestamp>,
    /// What the consumer has in its hands: the last of each stream.
    handed: Vec<(StreamKey, u64)>,
    kept: Instant,
    /// How many live messages had been let go when that was logged last, and when.
    said_let_go: (u64, Instant),
}

impl Named {
    pub(super) fn new(
        store: ConsumerStore,
        source: Arc<dyn ReplaySource>,
        from: Begin,
        limits: StreamLimits,
    ) -> Result<Self, SubscribeError> {
        let places = store.places()?;
        let key = |place: &Place| StreamKey { signer: place.signer.clone(), stream: place.stream };
        let keys = places.iter().map(key);
        let started = Instant::now();
        let again = |start| Streams::again(limits, start, keys.clone(), Duration::ZERO);
        let streams = match from {
            Begin::Last => {
                let places = places.iter().map(|place| (key(place), place.next));
                Streams::new(limits, Start::Now, places, Duration::ZERO)
            }
            Begin::Oldest => again(Start::Oldest),
            Begin::Seq(seq) => again(Start::Seq(seq)),
            Begin::Since(time) => again(Start::Since(time)),
        };
        let since = if let Begin::Since(time) = from { Some(time) } else { None };
        let (replies, asked, handed) = (JoinSet::new(), HashMap::new(), Vec::new());
        Ok(Self {
            streams,
            store,
            source,
            replies,
            asked,
            started,
            since,
            handed,
            kept: started,
            said_let_go: (0, started),
        })
    }

    pub(super) fn store_mut(&mut self) -> &mut ConsumerStore {
        &mut self.store
    }

    pub(super) fn counts(&self) -> &StreamCounts {
        self.streams.counts()
    }

    /// Whether what is live is better taken out of the socket, lest it pile up there while a hole is filled.
    pub(super) fn is_catching_up(&self) -> bool {
        self.streams.is_catching_up()
    }

    /// Takes a live message of a stream. Gives it back if it was delivered before, or will be by another copy.
    pub(super) fn live(
        &mut self,
        (stream, seq): (StreamId, u64),
        fresh: Fresh,
        endpoint: Arc<Endpoint>,
        wanted: bool,
    ) -> Option<Box<Admitted>> {
        let at = self.started.elapsed();
        let signer = fresh.verified().signer().clone();
        let item = self.item(seq, Admitted::Live(fresh, endpoint), wanted);
        match self.streams.live(&signer, stream, item, at) {
            Taken::Duplicate(item) => item.message,
            Taken::Held | Taken::LetGo => None,
        }
    }

    pub(super) fn heartbeat(&mut self, signer: &Identity, stream: StreamId, beat: Beat) {
        self.streams.heartbeat(signer, stream, beat, self.started.elapsed());
    }

    /// What to do next. Requests are made here; what comes of them, [`Named::reply`] waits for.
    pub(super) fn step(&mut self, now: Timestamp) -> Result<Option<Step<Box<Admitted>>>, SubscribeError> {
        if self.streams.is_new() {
            // Before anything of it is delivered: after a kill it goes on here, and not with whatever comes then.
            self.keep(now)?;
        }
        loop {
            match self.streams.poll(self.started.elapsed()) {
                Some(Step::Ask(ask)) => {
                    let (source, question) = (Arc::clone(&self.source), ask.clone());
                    let task = self
                        .replies
                        .spawn(async move { source.ask(&question.key, question.from, question.to).await });
                    self.asked.insert(task.id(), ask);
                }
                Some(Step::Deliver { key, seq, message }) => {
                    self.handed.retain(|(other, _)| *other != key);
                    self.handed.push((key.clone(), seq));
                    return Ok(Some(Step::Deliver { key, seq, message }));
                }
                step @ Some(Step::Gap(_) | Step::Silent { .. }) => return Ok(step),
                None => {
                    if self.kept.elapsed() >= KEEP_EVERY {
                        self.keep(now)?;
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Waits for an answer, and for ever if nothing was asked. May be cancelled without losing one.
    pub(super) async fn reply(&mut self) -> (Ask, Reply) {
        loop {
            let (id, reply) = match self.replies.join_next_with_id().await {
                Some(Ok(done)) => done,
                // One that ended by its own fault brought nothing, like any other that failed.
                Some(Err(error)) => (error.id(), Reply::Failed { why: error.to_string() }),
                None => std::future::pending().await,
            };
            if let Some(ask) = self.asked.remove(&id) {
                return (ask, reply);
            }
        }
    }

    /// When [`Named::step`] may have something though nothing happens.
    pub(super) fn wakes(&self) -> Instant {
        let never = Duration::from_secs(3600);
        let keeps = self.kept + KEEP_EVERY;
        let streams = self.streams.wakes().and_then(|wakes| self.started.checked_add(wakes));
        let later = Instant::now() + never;
        let due = streams.unwrap_or(later).min(later);
        if self.streams.has_moved() { due.min(keeps) } else { due }
    }

    /// Takes an answer: every message of it is verified, and has to be one that was asked for. Gives what was refused.
    pub(super) fn answer(
        &mut self,
        ask: Ask,
        reply: Reply,
        verifier: &Verifier,
        wanted: impl Fn(&RawMessage) -> bool,
        now: Timestamp,
        future: i64,
    ) -> Vec<(Arc<Endpoint>, Box<Rejected>)> {
        let mut refused = Vec::new();
        let (signer, stream) = (&ask.key.signer, ask.key.stream);
        let answer = match reply {
            Reply::Failed { why } => {
                tracing::info!(%signer, %stream, from = ask.from, why, "replay failed, and is tried again");
                Answer::Failed
            }
            Reply::NoEndpoint => Answer::NoEndpoint,
            Reply::UnknownStream => Answer::UnknownStream,
            Reply::Found(Found { endpoint, messages, gone, next }) => {
                let asked = Asked::new(signer.clone(), stream, ask.from, ask.to, future);
                let mut items = Vec::new();
                for raw in messages {
                    let wanted = wanted(&raw);
                    let admitted = verifier.receive_past(raw, now).map(|verified| asked.admit(verified, now));
                    match admitted {
                        Ok(Ok(replayed)) => {
                            if let Some((_, seq)) = replayed.verified().position() {
                                let admitted = Admitted::Replayed(replayed, Arc::clone(&endpoint));
                                items.push(self.item(seq, admitted, wanted));
                            }
                        }
                        Ok(Err(NotAdmitted::Stale(stale, verified))) => {
                            refused
                                .push((Arc::clone(&endpoint), Box::new(Rejected::stale(stale, *verified))));
                        }
                        Ok(Err(NotAdmitted::NotAsked(verified))) => {
                            let (found, position) = (verified.signer(), verified.position());
                            tracing::warn!(%endpoint, %signer, %found, ?position, "a replay that was not asked for");
                        }
                        Err(rejected) => refused.push((Arc::clone(&endpoint), rejected)),
                    }
                }
                Answer::Found(Settled { items, gone, next })
            }
        };
        self.streams.answer(ask.id, answer, self.started.elapsed());
        refused
    }

    /// Everything that was handed out is dealt with: the places move, and are written down.
    pub(super) fn acknowledge(&mut self, now: Timestamp) -> Result<(), SubscribeError> {
        if self.handed.is_empty() {
            return Ok(());
        }
        for (key, seq) in std::mem::take(&mut self.handed) {
            self.streams.acknowledge(&key, seq);
        }
        self.keep(now)
    }

    /// Writes down the places that have moved.
    pub(super) fn keep(&mut self, now: Timestamp) -> Result<(), SubscribeError> {
        self.kept = Instant::now();
        self.say_let_go();
        let moved = self.streams.take_moved();
        let moved: Vec<Place> = moved
            .into_iter()
            .map(|(key, next)| Place { signer: key.signer, stream: key.stream, next })
            .collect();
        let forgotten = self.streams.take_forgotten();
        let forgotten: Vec<_> = forgotten.into_iter().map(|key| (key.signer, key.stream)).collect();
        Ok(self.store.move_places(&moved, &forgotten, now)?)
    }

    /// At most once in ten seconds.
    fn say_let_go(&mut self) {
        let let_go = self.streams.counts().let_go;
        let (said, when) = self.said_let_go;
        if let_go > said && when.elapsed() >= Duration::from_secs(10) {
            let count = let_go - said;
            tracing::info!(
                count,
                "live messages are let go while earlier ones are asked for; they are asked for in their turn"
            );
            self.said_let_go = (let_go, Instant::now());
        }
    }

    fn item(&self, seq: u64, admitted: Admitted, wanted: bool) -> Item<Box<Admitted>> {
        let verified = admitted.verified();
        let bytes = verified.raw().byte_len().saturating_mul(2).saturating_add(MESSAGE_BYTES);
        let young = self.since.is_none_or(|since| verified.timestamp() >= since);
        Item { seq, bytes, message: (wanted && young).then(|| Box::new(admitted)) }
    }
}

impl Drop for Named {
    /// What nobody wanted need not be asked for again.
    fn drop(&mut self) {
        let now = crate::time::Clock::now(&crate::time::SystemClock);
        if let Err(error) = self.keep(now) {
            tracing::warn!(%error, "the last places of a consumer were not written down");
        }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("store", &self.store)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
