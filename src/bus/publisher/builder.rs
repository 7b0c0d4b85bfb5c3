//! The making of a publisher: of parts, or as the configuration says.

use super::heartbeat::{HEARTBEAT, Heartbeat};
use super::queue::{Bound, Queue};
use super::writer::Writer;
use super::{PublishError, Publisher, Shared, Tally, topic};
use crate::bus::replay::ReplayLimits;
use crate::bus::transport::PublishSocket;
use crate::config::{Config, Durability, WhenFull};
use crate::endpoint::Endpoint;
use crate::limits::Limits;
use crate::message::id::StreamId;
use crate::policy::LivePolicy;
use crate::sign::{self, LiveSigner};
use crate::store::credentials::{SignerFiles, SignerWatch};
use crate::store::outbox::{self, MemoryOutbox, Outbox, Retention, SqliteOutbox};
use crate::store::policy::{PolicyFiles, PolicyWatch};
use crate::time::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

/// The parts of a publisher. What is not given: no policy, an outbox in memory of [`PublisherBuilder::MEMORY`], no heartbeats,
/// the first message waits for nobody, the queue of [`PublisherBuilder::QUEUE_BYTES`], and a full queue makes callers wait.
#[derive(Debug)]
#[must_use = "`start` starts it"]
pub struct PublisherBuilder {
    signer: LiveSigner,
    prefix: String,
    limits: Limits,
    policy: Option<LivePolicy>,
    /// Keeps the policy up with its files; `None`: there are none.
    watch: Option<PolicyWatch>,
    clock: Arc<dyn Clock>,
    outbox: Option<Box<dyn Outbox>>,
    heartbeat: Duration,
    subscriber_wait: Duration,
    bound: Bound,
    credentials: Option<SignerWatch>,
}

impl PublisherBuilder {
    /// What an outbox in memory keeps where nothing else is said.
    pub const MEMORY: Retention = Retention { age: Duration::from_secs(604_800), bytes: 64 * 1024 * 1024 };

    /// The bytes that may be under way where nothing else is said.
    pub const QUEUE_BYTES: u32 = 16 * 1024 * 1024;

    /// How long a caller waits for room where nothing else is said.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    pub(super) fn new(signer: LiveSigner, prefix: String, limits: Limits) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bound = Bound { bytes: Self::QUEUE_BYTES, when_full: WhenFull::Wait, patience: Self::PATIENCE };
        let (heartbeat, subscriber_wait) = (Duration::ZERO, Duration::ZERO);
        let (policy, watch, outbox, credentials) = (None, None, None, None);
        Self {
            signer,
            prefix,
            limits,
            policy,
            watch,
            clock,
            outbox,
            heartbeat,
            subscriber_wait,
            bound,
            credentials,
        }
    }

    /// Refuses what this policy refuses. A policy that is replaced counts from the next message on.
    pub fn policy(self, policy: impl Into<LivePolicy>) -> Self {
        Self { policy: Some(policy.into()), ..self }
    }

    /// Refuses what the policy refuses that is in files, and keeps up with them.
    pub fn watched_policy(self, watch: PolicyWatch) -> Self {
        Self { policy: Some(watch.live().clone()), watch: Some(watch), ..self }
    }

    /// Keeps this alive, which keeps the signer up with its files.
    fn credentials(self, credentials: SignerWatch) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Tells the time by another clock.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Keeps what is published here, and goes on with its stream.
    pub fn outbox(self, outbox: Box<dyn Outbox>) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// Says that it is there whenever it has said nothing for this long; zero is never.
    pub fn heartbeat(self, interval: Duration) -> Self {
        Self { heartbeat: interval, ..self }
    }

    /// Lets the first message wait for a subscriber, at most this long.
    pub fn subscriber_wait(self, patience: Duration) -> Self {
        Self { subscriber_wait: patience, ..self }
    }

    /// Bounds what is under way, in bytes. At the bound a caller waits for room, at most this long, or is refused.
    pub fn queue(self, bytes: u32, when_full: WhenFull, patience: Duration) -> Self {
        Self { bound: Bound { bytes, when_full, patience }, ..self }
    }

    /// Starts it on a socket.
    ///
    /// # Errors
    /// [`PublishError::Sign`] without random numbers, [`PublishError::Thread`], or [`PublishError::Topic`] if the prefix makes no
    /// topic for heartbeats.
    pub fn start(self, socket: Box<dyn PublishSocket>) -> Result<Publisher, PublishError> {
        let socket: Arc<dyn PublishSocket> = Arc::from(socket);
        let outbox = match self.outbox {
            Some(outbox) => outbox,
            None => in_memory(Self::MEMORY, &*self.clock)?,
        };
        let heartbeat = if self.heartbeat.is_zero() {
            None
        } else {
            Some(Heartbeat::new(topic(&self.prefix, HEARTBEAT, &self.limits)?, self.heartbeat)?)
        };
        let shared = Arc::new(Shared {
            identity: self.signer.identity().clone(),
            signer: self.signer,
            policy: self.policy,
            clock: self.clock,
            limits: self.limits,
            tally: Tally::default(),
        });
        let (sender, orders) = unbounded_channel();
        let writer = Writer {
            shared: Arc::clone(&shared),
            socket: Arc::clone(&socket),
            outbox,
            orders,
            heartbeat,
            first_waits: Some(self.subscriber_wait),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(PublishError::Thread)?;
        std::thread::Builder::new()
            .name("fedmsg-writer".to_owned())
            .spawn(move || runtime.block_on(writer.run()))
            .map_err(PublishError::Thread)?;
        let queue = Queue::new(sender, self.bound);
        let (watch, credentials) = (self.watch, self.credentials);
        Ok(Publisher { queue, shared, socket, prefix: self.prefix, watch, credentials, replay: None })
    }
}

pub(super) async fn open(config: &Config, service: &str) -> Result<Publisher, PublishError> {
    let missing = |key: &str| PublishError::NotConfigured { key: key.to_owned() };
    let host = config.publisher.host.as_ref().ok_or_else(|| missing("publisher.host"))?;
    let directory = config.credentials.directory.as_ref().ok_or_else(|| missing("credentials.directory"))?;
    let endpoints = config.endpoints.of(service).ok_or_else(|| missing(&format!("endpoints.{service}")))?;
    let limits = config.limits.to_limits();
    let credentials = SignerWatch::open(SignerFiles {
        directory: directory.path().to_owned(),
        service: service.to_owned(),
        host: host.as_str().to_owned(),
        send_intermediates: *config.publisher.send_intermediates,
        limits,
    })?;
    let signer = credentials.live().clone();
    let files = PolicyFiles::of(config);
    let watch = if files.files().is_empty() { None } else { Some(PolicyWatch::open(files)?) };
    // Before the endpoint is bound: who cannot have the outbox takes nobody's place.
    let outbox = open_outbox(config, service, host.as_str(), &signer)?;
    let endpoints: Vec<Endpoint> = endpoints.iter().cloned().collect();
    let socket = crate::bus::engine(config).bind(&endpoints).await?;
    let prefix = format!("{}.{}.{service}", *config.bus.prefix, config.bus.env.as_str());
    let bytes = u32::try_from(config.publisher.queue_bytes.bytes()).unwrap_or(u32::MAX);
    let builder = Publisher::builder(signer, prefix, limits)
        .credentials(credentials)
        .outbox(outbox)
        .heartbeat(config.heartbeat.interval.duration())
        .subscriber_wait(*config.publisher.subscriber_wait)
        .queue(bytes, *config.publisher.when_full, *config.publisher.full_wait);
    let publisher = match watch {
        Some(watch) => builder.watched_policy(watch).start(socket)?,
        None => builder.start(socket)?,
    };
    let Some(endpoints) = config.replay.of(service) else { return Ok(publisher) };
    let endpoints: Vec<Endpoint> = endpoints.iter().cloned().collect();
    publisher.replaying(&endpoints, ReplayLimits::STANDARD).await
}

fn open_outbox(
    config: &Config,
    service: &str,
    host: &str,
    signer: &LiveSigner,
) -> Result<Box<dyn Outbox>, PublishError> {
    match *config.publisher.durability {
        Durability::Disk => {
            let key = "outbox.directory".to_owned();
            let directory = config.outbox.directory.as_ref().ok_or(PublishError::NotConfigured { key })?;
            let path = outbox::file(directory.path(), service, host);
            let retention = Retention {
                age: config.outbox.keep_age.duration(),
                bytes: u64::try_from(config.outbox.keep_bytes.bytes()).unwrap_or(u64::MAX),
            };
            Ok(Box::new(SqliteOutbox::open(&path, signer.identity(), retention, SystemClock.now())?))
        }
        Durability::Memory => {
            tracing::info!(
                "what {service} publishes is kept in memory, and gone when it ends (publisher.durability)"
            );
            let bytes = u64::try_from(config.outbox.memory_bytes.bytes()).unwrap_or(u64::MAX);
            in_memory(Retention { age: config.outbox.keep_age.duration(), bytes }, &SystemClock)
        }
    }
}

fn in_memory(retention: Retention, clock: &dyn Clock) -> Result<Box<dyn Outbox>, PublishError> {
    Ok(Box::new(MemoryOutbox::new(StreamId::new(sign::random()?), retention, clock.now())))
}
