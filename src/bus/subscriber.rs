//! Subscribing: what arrives is verified, is new, and is delivered; what is not is counted and kept apart.

use super::subscription::{Selection, Subscription};
use super::transport::{Bounds, ConnectError, Link, ReceiveError, SubscribeSocket, Transport};
use super::zeromq::ZeroMq;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::freshness::{Fresh, Freshness, Window};
use crate::limits::Limits;
use crate::message::RawMessage;
use crate::reason::ReasonCode;
use crate::store::freshness::{FreshnessStore, FreshnessStoreError};
use crate::store::policy::{PolicyFileError, PolicyStatus, PolicyWatch};
use crate::store::trust::{ReloadingVerifier, TrustFileErrors};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::{PatternError, TopicPattern};
use crate::verify::{Rejected, Verified, Verifier};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Seconds between two clean-ups of what is remembered.
const FORGET_EVERY: i64 = 10;

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
    /// `None`: what was delivered is forgotten when the process ends.
    store: Option<FreshnessStore>,
    clock: Arc<dyn Clock>,
    counts: Counts,
    next_forget: Timestamp,
}

/// A message to act on: verified, and new. Only a [`Subscriber`] makes one.
#[derive(Debug)]
pub struct Delivery {
    fresh: Fresh,
    origin: Origin,
}

/// How a message came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From its publisher or a relay, as it was published.
    Live(Arc<Endpoint>),
}

/// What a subscriber hears.
#[derive(Debug)]
pub enum Event {
    /// A message to act on.
    Delivery(Box<Delivery>),
    /// A message that was refused, and the endpoint it came from.
    Rejected(Arc<Endpoint>, Box<Rejected>),
}

/// How many messages came, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Delivered.
    pub delivered: u64,
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
    /// What was delivered cannot be written down, and so nothing may be delivered.
    #[error(transparent)]
    Freshness(#[from] FreshnessStoreError),
    /// A name that would make no file's name.
    #[error("`{name}` is no consumer's name: ASCII letters, digits, - and _ make one")]
    Name {
        /// What was given.
        name: String,
    },
    /// A name was given, and there is nowhere to remember by it.
    #[error("`freshness.state` is not configured: a named consumer keeps there what it was delivered")]
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
        let files: Vec<_> = config.policy.files.iter().map(|file| file.path().to_owned()).collect();
        let policy = PolicyWatch::open(files, limits)?;
        let reload = ReloadingVerifier::open(config, policy.live().clone(), limits)?;
        let verifier = reload.current();
        let window = Window {
            past: seconds(config.freshness.past.duration()),
            future: seconds(config.freshness.future.duration()),
            ..Window::STANDARD
        };
        let endpoints = all_endpoints(config)?;
        let socket = ZeroMq::new(Bounds::STANDARD).connect(&endpoints, subscription.prefixes()).await?;
        Ok(Self {
            reload: Some(reload),
            policy: Some(policy),
            ..Self::new(socket, subscription, verifier, window)
        })
    }

    /// As [`Subscriber::open`], by a name under which what was delivered is remembered over a restart
    /// (`freshness.state`). One consumer of a name runs at a time.
    ///
    /// # Errors
    /// As [`Subscriber::open`]; [`SubscribeError::NoState`], if there is nowhere to remember; [`SubscribeError::Freshness`], if
    /// another of this name is running.
    pub async fn open_as(name: &str, config: &Config, patterns: &[&str]) -> Result<Self, SubscribeError> {
        let state = config.freshness.state.as_ref().ok_or(SubscribeError::NoState)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(SubscribeError::Name { name: name.to_owned() });
        }
        let store = FreshnessStore::open(&state.path().join(format!("{name}.sqlite")))?;
        Self::open(config, patterns).await?.remembering(store)
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
        let (reload, policy, store) = (None, None, None);
        Self { socket, subscription, verifier, reload, policy, freshness, store, clock, counts, next_forget }
    }

    /// Takes up what a file remembers, and writes down there what is delivered.
    ///
    /// # Errors
    /// [`SubscribeError::Freshness`], if the file cannot be read.
    pub fn remembering(mut self, store: FreshnessStore) -> Result<Self, SubscribeError> {
        store.restore(&mut self.freshness)?;
        self.store = Some(store);
        Ok(self)
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The next message to act on. What is refused meanwhile is counted and logged.
    ///
    /// # Errors
    /// A [`SubscribeError`], after which nothing more will come.
    pub async fn next(&mut self) -> Result<Delivery, SubscribeError> {
        loop {
            match self.event().await? {
                Event::Delivery(delivery) => return Ok(*delivery),
                Event::Rejected(endpoint, rejected) => log_rejected(&endpoint, &rejected),
            }
        }
    }

    /// The next message, delivered or refused. May be cancelled without losing one.
    ///
    /// # Errors
    /// A [`SubscribeError`], after which nothing more will come.
    pub async fn event(&mut self) -> Result<Event, SubscribeError> {
        loop {
            let received = self.socket.recv().await?;
            if !self.is_wanted(&received.message) {
                self.counts.unwanted += 1;
                continue;
            }
            match self.receive(received.endpoint, received.message)? {
                Event::Delivery(delivery) if self.subscription.hides(delivery.message().topic()) => {
                    self.counts.delivered -= 1;
                    self.counts.heartbeats += 1;
                }
                event @ (Event::Delivery(_) | Event::Rejected(..)) => return Ok(event),
            }
        }
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

    /// What became of the messages so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is no topic is wanted: so that it is refused and counted, not lost.
    fn is_wanted(&self, raw: &RawMessage) -> bool {
        let select = |frame| self.subscription.select(frame, self.verifier.limits());
        !matches!(raw.parts.first().map(|frame| select(frame)), Some(Selection::Unwanted))
    }

    fn receive(&mut self, endpoint: Arc<Endpoint>, raw: RawMessage) -> Result<Event, SubscribeError> {
        let now = self.clock.now();
        if now >= self.next_forget {
            self.freshness.forget(now);
            self.next_forget = now.plus_seconds(FORGET_EVERY);
        }
        if let Some(reload) = &self.reload {
            self.verifier = reload.current();
        }
        let admitted = self.verifier.receive(raw, now).and_then(|verified| {
            self.freshness.admit(verified, now).map_err(|refused| {
                let (stale, verified) = *refused;
                Box::new(Rejected::stale(stale, verified))
            })
        });
        match admitted {
            Ok(fresh) => {
                if let Some(store) = &mut self.store {
                    store.keep(&[fresh.seen()], self.freshness.forgotten())?;
                }
                self.counts.delivered += 1;
                Ok(Event::Delivery(Box::new(Delivery { fresh, origin: Origin::Live(endpoint) })))
            }
            Err(rejected) => {
                *self.counts.rejected.entry(rejected.code()).or_default() += 1;
                Ok(Event::Rejected(endpoint, rejected))
            }
        }
    }
}

impl Delivery {
    /// The message.
    pub fn message(&self) -> &Verified {
        self.fresh.verified()
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
