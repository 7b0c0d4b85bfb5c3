//! Subscribing: what arrives is verified, is new, and is delivered; what is not is counted and kept apart.

mod beat;
mod named;

pub use named::Begin;

use self::named::{Admitted, Named};
use super::replay::{ReplayClient, ReplaySource, Reply};
use super::stream::{Ask, Gap, Step, StreamCounts, StreamLimits};
use super::subscription::{Selection, Subscription, is_heartbeat};
use super::transport::{ConnectError, Link, ReceiveError, Received, SubscribeSocket};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::freshness::{Fresh, Freshness, Stale, Window};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::message::RawMessage;
use crate::reason::ReasonCode;
use crate::store::consumer::{ConsumerStore, ConsumerStoreError};
use crate::store::policy::{
    PolicyFileError, PolicyFiles, PolicyStatus, PolicyWatch, StatusError, StatusFile,
};
use crate::store::trust::{ReloadingVerifier, TrustFileErrors};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::{PatternError, TopicPattern};
use crate::verify::{Rejected, Verified, Verifier};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Seconds between two clean-ups of what is remembered.
const FORGET_EVERY: i64 = 10;

/// Live messages that are taken in one go while a hole is being filled.
const DRAINED: usize = 64;

/// Seconds after which a place that has not moved is dropped, but for the last of each signer.
const PLACE_LIFE: i64 = 90 * 86_400;

/// Receives messages that were verified and are new.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = fedmsg::Config::open("bus")?;
/// let mut subscriber = fedmsg::Subscriber::open(&config, &["org.fedoraproject.*.bodhi.#"]).await?;
/// loop {
///     let delivery = subscriber.next().await?;
///     let message = delivery.message();
///     println!("{} by {}: {}", message.topic(), message.signer(), message.msg());
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Subscriber {
    socket: Box<dyn SubscribeSocket>,
    subscription: Subscription,
    verifier: Arc<Verifier>,
    /// Keeps the verifier up with the files that it was made from; `None`: there are none.
    reload: Option<ReloadingVerifier>,
    /// Keeps the policy up with its files, likewise.
    policy: Option<PolicyWatch>,
    freshness: Freshness,
    /// `None`: it has no name, and what was delivered is forgotten when the process ends.
    named: Option<Named>,
    /// Where others read how it is doing; `None`: it has no name.
    published: Option<StatusFile>,
    /// What is to be said before anything else.
    waiting: VecDeque<Event>,
    clock: Arc<dyn Clock>,
    counts: Counts,
    next_forget: Timestamp,
}

/// A message to act on: verified, and new. Only a [`Subscriber`] makes one.
#[derive(Debug)]
pub struct Delivery {
    admitted: Admitted,
    origin: Origin,
}

/// How a message came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From its publisher or a relay, as it was published.
    Live(Arc<Endpoint>),
    /// From a replay endpoint, because this consumer had missed it. It was verified as of its own time.
    Replayed(Arc<Endpoint>),
}

/// What a subscriber hears.
#[derive(Debug)]
pub enum Event {
    /// A message to act on.
    Delivery(Box<Delivery>),
    /// Messages that a named consumer will not get, and why. What comes after them follows.
    Gap(Gap),
    /// A message that was refused, and the endpoint it came from.
    Rejected(Arc<Endpoint>, Box<Rejected>),
    /// Neither a message nor a heartbeat came of this publisher for three of its intervals.
    Silent {
        /// Who.
        signer: Identity,
        /// How long.
        quiet: Duration,
    },
}

/// How many messages came, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Delivered.
    pub delivered: u64,
    /// Of these, messages that had been missed, and were asked for.
    pub replayed: u64,
    /// Publishers' heartbeats, verified like any message and delivered to those who name their topic.
    pub heartbeats: u64,
    /// Of another topic than was asked for: ZeroMQ's prefixes are wider than whole fields.
    pub unwanted: u64,
    /// Refused, by reason.
    pub rejected: BTreeMap<ReasonCode, u64>,
}

/// Why a subscriber cannot go on, or was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A name that would make no file's name.
    #[error("`{name}` is no consumer's name: ASCII letters, digits, - and _ make one")]
    Name {
        /// What was given.
        name: String,
    },
    /// A name was given, and there is nowhere to remember by it.
    #[error("`freshness.state` is not configured: a named consumer keeps its place there")]
    NoState,
    /// Nothing to connect to.
    #[error("no `endpoints` are configured")]
    NoEndpoints,
    /// A pattern.
    #[error("`{text}`: {error}")]
    Pattern {
        /// What was to be the pattern.
        text: String,
        /// Why it is none.
        error: PatternError,
    },
    /// The policy's files.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The consumer's file: its place cannot be read or written down, and so nothing may be delivered.
    #[error(transparent)]
    Store(#[from] ConsumerStoreError),
    /// Others could not be told how it is doing.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The socket could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The socket has ended.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The trust material.
    #[error(transparent)]
    Trust(#[from] TrustFileErrors),
}

impl Subscriber {
    /// Connects to every endpoint of the configuration and subscribes to these patterns (whole fields; `*` is one, a final `#`
    /// any number). It keeps up with the files of `[trust]` and `[policy]`: a new revocation list, or a policy, counts within a
    /// second and the time that it takes to read it, while messages go on being verified.
    ///
    /// # Errors
    /// A [`SubscribeError`] that names what is missing or wrong. An endpoint where nobody is yet is no error.
    pub async fn open(config: &Config, patterns: &[&str]) -> Result<Self, SubscribeError> {
        let limits = config.limits.to_limits();
        let subscription = Subscription::new(parse_patterns(patterns, &limits)?);
        let prefixes = subscription.prefixes().to_vec();
        Self::connect(config, subscription, &prefixes, None).await
    }

    async fn connect(
        config: &Config,
        subscription: Subscription,
        prefixes: &[String],
        published: Option<StatusFile>,
    ) -> Result<Self, SubscribeError> {
        let limits = config.limits.to_limits();
        let policy = PolicyWatch::publishing(PolicyFiles::of(config), published.clone())?;
        let reload = ReloadingVerifier::open(config, policy.live().clone(), limits)?;
        let verifier = reload.current();
        let window = Window {
            past: seconds(config.freshness.past.duration()),
            future: seconds(config.freshness.future.duration()),
            ..Window::STANDARD
        };
        let endpoints = all_endpoints(config)?;
        let socket = super::engine(config).connect(&endpoints, prefixes).await?;
        Ok(Self {
            reload: Some(reload),
            policy: Some(policy),
            published,
            ..Self::new(socket, subscription, verifier, window)
        })
    }

    /// As [`Subscriber::open`], by a name under which its place in each publisher's stream is kept over a restart
    /// (`freshness.state`): it goes on at the first message that was not acknowledged, and asks for what it missed. How it is
    /// doing can be read meanwhile (`fedmsg policy status`). One consumer of a name runs at a time.
    ///
    /// # Errors
    /// As [`Subscriber::open`]; [`SubscribeError::NoState`], if there is nowhere to keep the place; [`SubscribeError::Store`], if
    /// another of this name is running.
    pub async fn open_as(
        name: &str,
        config: &Config,
        patterns: &[&str],
        from: Begin,
    ) -> Result<Self, SubscribeError> {
        let state = config.freshness.state.as_ref().ok_or(SubscribeError::NoState)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(SubscribeError::Name { name: name.to_owned() });
        }
        let mut store = ConsumerStore::open(&state.path().join(format!("{name}.sqlite")))?;
        store.forget_places(SystemClock.now().plus_seconds(-PLACE_LIFE))?;
        let subscription = Subscription::new(parse_patterns(patterns, &config.limits.to_limits())?);
        // PREFIX.ENV.SERVICE
        let prefixes = subscription.service_prefixes(config.bus.prefix.fields().count() + 2);
        let published = StatusFile::open(state.path(), name, SystemClock.now())?;
        let subscriber = Self::connect(config, subscription, &prefixes, Some(published)).await?;
        let source = Arc::new(ReplayClient::new(config));
        subscriber.named(store, source, from, StreamLimits::STANDARD)
    }

    /// A subscriber of parts of your own, which remembers what it delivered for as long as it lives.
    pub fn new(
        socket: Box<dyn SubscribeSocket>,
        subscription: Subscription,
        verifier: Arc<Verifier>,
        window: Window,
    ) -> Self {
        let (freshness, clock) = (Freshness::new(window), Arc::new(SystemClock));
        let (counts, next_forget) = (Counts::default(), Timestamp::MIN);
        let (reload, policy, named, published, waiting) = (None, None, None, None, VecDeque::new());
        Self {
            socket,
            subscription,
            verifier,
            reload,
            policy,
            freshness,
            named,
            published,
            waiting,
            clock,
            counts,
            next_forget,
        }
    }

    /// Makes it a named consumer: it goes on where its file says, or where `from` says, and asks `source` for what it missed. Its
    /// socket ought to bring everything that a service publishes ([`Subscription::service_prefixes`]): what it does not bring
    /// counts as missed.
    ///
    /// # Errors
    /// [`SubscribeError::Store`], if the file cannot be read.
    pub fn named(
        mut self,
        store: ConsumerStore,
        source: Arc<dyn ReplaySource>,
        from: Begin,
        limits: StreamLimits,
    ) -> Result<Self, SubscribeError> {
        store.restore(&mut self.freshness)?;
        self.named = Some(Named::new(store, source, from, limits)?);
        Ok(self)
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The next message to act on. That the caller came back for it acknowledges what it was given before: a named consumer
    /// that is killed from now on is not given that again. What is refused meanwhile is counted and logged, and so are gaps.
    ///
    /// # Errors
    /// A [`SubscribeError`], after which nothing more will come.
    pub async fn next(&mut self) -> Result<Delivery, SubscribeError> {
        self.acknowledge()?;
        loop {
            match self.event().await? {
                Event::Delivery(delivery) => return Ok(*delivery),
                Event::Gap(gap) => {
                    let (signer, stream, reason) = (&gap.key.signer, gap.key.stream, gap.reason.as_str());
                    tracing::warn!(%signer, %stream, from = gap.from, to = gap.to, reason, "messages are lost");
                }
                Event::Rejected(endpoint, rejected) => log_rejected(&endpoint, &rejected),
                Event::Silent { signer, quiet } => {
                    tracing::warn!(%signer, seconds = quiet.as_secs(), "a publisher has gone quiet");
                }
            }
        }
    }

    /// The next message, delivered or refused, or what else there is to hear. It acknowledges nothing
    /// ([`Subscriber::acknowledge`]). May be cancelled without losing anything.
    ///
    /// # Errors
    /// A [`SubscribeError`], after which nothing more will come.
    pub async fn event(&mut self) -> Result<Event, SubscribeError> {
        loop {
            if let Some(published) = &self.published {
                let Counts { delivered, unwanted, rejected, .. } = &self.counts;
                published.tally().set(*delivered, *unwanted, rejected);
            }
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if self.named.as_ref().is_some_and(Named::is_catching_up) {
                self.drain().await?;
            }
            if let Some(event) = self.named_event()? {
                return Ok(event);
            }
            let event = match &mut self.named {
                None => {
                    let received = self.socket.recv().await?;
                    self.receive(received)?
                }
                Some(named) => {
                    let wakes = named.wakes();
                    tokio::select! {
                        received = self.socket.recv() => {
                            let received = received?;
                            self.receive(received)?
                        }
                        (ask, reply) = named.reply() => {
                            self.replayed(ask, reply);
                            None
                        }
                        () = tokio::time::sleep_until(wakes) => None,
                    }
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Says that everything that was delivered is dealt with: a named consumer that is killed from now on is not given it again.
    /// Without this, and without another [`Subscriber::next`], it is.
    ///
    /// # Errors
    /// [`SubscribeError::Store`], if that cannot be written down: it will be given again then.
    pub fn acknowledge(&mut self) -> Result<(), SubscribeError> {
        let now = self.clock.now();
        self.named.as_mut().map_or(Ok(()), |named| named.acknowledge(now))
    }

    /// How each endpoint is doing. A receiver can wait for a state.
    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.socket.links()
    }

    /// How the policy's files are doing; none for a subscriber of parts of your own.
    pub fn policy_status(&self) -> Option<PolicyStatus> {
        self.policy.as_ref().map(PolicyWatch::status)
    }

    /// Has the policy's files read again, however they look.
    pub fn reload_policy(&self) {
        if let Some(policy) = &self.policy {
            policy.reload();
        }
    }

    /// Has the files of `[trust]` read again, however they look.
    pub fn reload_trust(&self) {
        if let Some(reload) = &self.reload {
            reload.reload();
        }
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What became of a named consumer's requests, and of what came late or twice.
    pub fn stream_counts(&self) -> Option<&StreamCounts> {
        self.named.as_ref().map(Named::counts)
    }

    /// What is no topic is wanted: so that it is refused and counted, not lost.
    fn is_wanted(&self, raw: &RawMessage) -> bool {
        let select = |frame| self.subscription.select(frame, self.verifier.limits());
        !matches!(raw.parts.first().map(|frame| select(frame)), Some(Selection::Unwanted))
    }

    /// Takes what is live out of the socket while a hole is filled, but for no longer than it takes to look.
    async fn drain(&mut self) -> Result<(), SubscribeError> {
        for _ in 0..DRAINED {
            let received = tokio::select! {
                biased;
                received = self.socket.recv() => received?,
                () = std::future::ready(()) => break,
            };
            let event = self.receive(received)?;
            self.waiting.extend(event);
        }
        Ok(())
    }

    /// What a named consumer has to say without waiting for anything.
    fn named_event(&mut self) -> Result<Option<Event>, SubscribeError> {
        let now = self.clock.now();
        let Some(named) = &mut self.named else { return Ok(None) };
        Ok(match named.step(now)? {
            Some(Step::Deliver { message, .. }) => Some(self.deliver(*message)),
            Some(Step::Gap(gap)) => Some(Event::Gap(gap)),
            Some(Step::Silent { signer, quiet }) => Some(Event::Silent { signer, quiet }),
            Some(Step::Ask(_)) | None => None,
        })
    }

    fn deliver(&mut self, admitted: Admitted) -> Event {
        self.counts.delivered += 1;
        let origin = match &admitted {
            Admitted::Live(_, endpoint) => Origin::Live(Arc::clone(endpoint)),
            Admitted::Replayed(_, endpoint) => {
                self.counts.replayed += 1;
                Origin::Replayed(Arc::clone(endpoint))
            }
        };
        Event::Delivery(Box::new(Delivery { admitted, origin }))
    }

    /// Takes a live message; what is to be said of it, if anything is.
    fn receive(&mut self, received: Received) -> Result<Option<Event>, SubscribeError> {
        let Received { endpoint, message: raw } = received;
        let wanted = self.is_wanted(&raw);
        if !wanted && self.named.is_none() {
            self.counts.unwanted += 1;
            return Ok(None);
        }
        let now = self.clock.now();
        if now >= self.next_forget {
            self.freshness.forget(now);
            self.next_forget = now.plus_seconds(FORGET_EVERY);
        }
        self.reload();
        let admitted = self.verifier.receive(raw, now).and_then(|verified| {
            self.freshness.admit(verified, now).map_err(|refused| {
                let (stale, verified) = *refused;
                Box::new(Rejected::stale(stale, verified))
            })
        });
        let fresh = match admitted {
            Ok(fresh) => fresh,
            Err(rejected) => return Ok(self.refuse(endpoint, rejected, wanted)),
        };
        if is_heartbeat(fresh.verified().topic()) {
            self.heartbeat(&fresh);
            let hidden = self.subscription.hides(fresh.verified().topic());
            return Ok((!hidden).then(|| self.deliver(Admitted::Live(fresh, endpoint))));
        }
        self.counts.unwanted += u64::from(!wanted);
        let Some(named) = &mut self.named else {
            return Ok(Some(self.deliver(Admitted::Live(fresh, endpoint))));
        };
        let Some((stream, seq)) = fresh.verified().position() else {
            // A legacy message: it has no place, and cannot be asked for.
            if !wanted {
                return Ok(None);
            }
            named.store_mut().keep(&[fresh.seen()], self.freshness.forgotten())?;
            return Ok(Some(self.deliver(Admitted::Live(fresh, endpoint))));
        };
        let again = named.live((stream, seq), fresh, Arc::clone(&endpoint), wanted);
        Ok(again.and_then(|admitted| {
            let stale = Stale::ReplayedSeq { stream, seq };
            self.refuse(endpoint, Box::new(Rejected::stale(stale, admitted.into_verified())), wanted)
        }))
    }

    /// Nobody hears of what he did not ask for.
    fn refuse(&mut self, endpoint: Arc<Endpoint>, rejected: Box<Rejected>, wanted: bool) -> Option<Event> {
        if !wanted {
            self.counts.unwanted += 1;
            return None;
        }
        *self.counts.rejected.entry(rejected.code()).or_default() += 1;
        Some(Event::Rejected(endpoint, rejected))
    }

    fn heartbeat(&mut self, fresh: &Fresh) {
        let verified = fresh.verified();
        let (signer, topic) = (verified.signer(), verified.topic());
        self.counts.heartbeats += 1;
        match (beat::read(verified), &mut self.named) {
            (Some((stream, beat)), Some(named)) => named.heartbeat(signer, stream, beat),
            (Some(_), None) => {}
            (None, _) => tracing::warn!(%signer, %topic, "a heartbeat that says nothing that can be read"),
        }
    }

    fn replayed(&mut self, ask: Ask, reply: Reply) {
        let now = self.clock.now();
        self.reload();
        let (limits, subscription) = (self.verifier.limits(), &self.subscription);
        let wanted = |raw: &RawMessage| {
            let select = |frame: &bytes::Bytes| subscription.select(frame, limits);
            raw.parts.first().map(select) != Some(Selection::Unwanted)
        };
        let Some(named) = &mut self.named else { return };
        let future = self.freshness.window().future;
        for (endpoint, rejected) in named.answer(ask, reply, &self.verifier, wanted, now, future) {
            let event = self.refuse(endpoint, rejected, true);
            self.waiting.extend(event);
        }
    }

    fn reload(&mut self) {
        if let Some(reload) = &self.reload {
            self.verifier = reload.current();
        }
    }
}

impl Delivery {
    /// The message.
    pub fn message(&self) -> &Verified {
        self.admitted.verified()
    }

    /// How it came.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Every endpoint of the configuration, each once.
///
/// # Errors
/// [`SubscribeError::NoEndpoints`].
pub fn all_endpoints(config: &Config) -> Result<Vec<Endpoint>, SubscribeError> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (_, of_service) in config.endpoints.iter() {
        for endpoint in of_service.iter() {
            if !endpoints.contains(endpoint) {
                endpoints.push(endpoint.clone());
            }
        }
    }
    if endpoints.is_empty() { Err(SubscribeError::NoEndpoints) } else { Ok(endpoints) }
}

/// Reads the patterns of a subscription.
///
/// # Errors
/// [`SubscribeError::Pattern`] that names the one.
pub fn parse_patterns(patterns: &[&str], limits: &Limits) -> Result<Vec<TopicPattern>, SubscribeError> {
    let parse = |text: &&str| {
        TopicPattern::parse_plain(text, limits)
            .map_err(|error| SubscribeError::Pattern { text: (*text).to_owned(), error })
    };
    patterns.iter().map(parse).collect()
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn log_rejected(endpoint: &Endpoint, rejected: &Rejected) {
    let topic = rejected.claimed().map(|message| message.claimed_topic().as_str());
    let (code, reason) = (rejected.code().as_str(), rejected.reason().to_string());
    let signer = rejected.signer().map(tracing::field::display);
    let rule = rejected.denial().and_then(|denial| denial.rule()).map(|rule| rule.id());
    tracing::warn!(%endpoint, code, reason, topic, signer, rule, "rejected");
}
