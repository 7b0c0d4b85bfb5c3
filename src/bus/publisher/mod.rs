//! Publishing: ask the policy, queue, and then, in batches: number, sign, keep, answer, hand over.
//!
//! [`Publisher::publish`] returns when the message is kept, as `publisher.durability` says. One thread writes
//! (`writer`): what has gathered while it was busy is one batch, signed by one signature and kept by one flush of the
//! disk; an idle publisher signs at once and waits for nothing. What fails before it is kept uses no number, so that the
//! stream has no holes. The way is bounded in bytes from the caller to the socket (`queue`).

mod builder;
mod error;
mod heartbeat;
mod queue;
mod writer;

#[cfg(test)]
mod tests;

pub use builder::PublisherBuilder;
pub use error::PublishError;
pub use heartbeat::HEARTBEAT;
pub use queue::Queued;

use super::replay::{ReplayLimits, ReplayServer};
use super::transport::{BindError, PublishSocket};
use crate::config::{Config, Durability};
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::message::Draft;
use crate::message::id::{MessageId, StreamId};
use crate::policy::LivePolicy;
use crate::sign::LiveSigner;
use crate::store::credentials::{SignerStatus, SignerWatch};
use crate::store::outbox::{FellOut, OutboxReader};
use crate::store::policy::{PolicyStatus, PolicyWatch};
use crate::time::Clock;
use crate::topic::Topic;
use queue::Queue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the end of a publisher waits for subscribers to take what was published.
pub const LINGER: Duration = Duration::from_secs(10);

/// Publishes the signed messages of one service. Any number of tasks may share it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let config = fedmsg::Config::open("bus")?;
/// let publisher = fedmsg::Publisher::open(&config, "bodhi").await?;
/// publisher.publish("update.comment", &serde_json::json!({"karma": 1})).await?;
/// publisher.close().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Publisher {
    queue: Queue,
    shared: Arc<Shared>,
    socket: Arc<dyn PublishSocket>,
    /// `PREFIX.ENV.SERVICE`: what its topics begin with.
    prefix: String,
    /// Keeps the policy up with its files; `None`: there are none.
    watch: Option<PolicyWatch>,
    /// Keeps the signer up with its certificate and key; `None`: there are no files.
    credentials: Option<SignerWatch>,
    /// Where it answers who missed something; `None`, if nowhere.
    replay: Option<ReplayServer>,
}

/// What the callers and the writer have in common.
#[derive(Debug)]
struct Shared {
    identity: Identity,
    /// Loaded once for each batch.
    signer: LiveSigner,
    /// `None`: no policy is configured, and it is left to the receivers' to refuse.
    policy: Option<LivePolicy>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    tally: Tally,
}

/// What became of a message that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its topic.
    pub topic: Topic,
    /// Its name.
    pub msg_id: MessageId,
    /// The stream that it is part of.
    pub stream: StreamId,
    /// Its place in the stream.
    pub seq: u64,
    /// Where it is kept.
    pub durability: Durability,
    /// Whether a subscriber that wants its topic was there. The first message of a publisher waits for one; of others it is
    /// not known.
    pub heard: Option<bool>,
}

/// What became of the messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherCounts {
    /// Messages that were kept.
    pub published: u64,
    /// Batches that these were signed and kept in.
    pub batches: u64,
    /// Messages that were not kept: the signature or the outbox failed.
    pub failed: u64,
    /// Messages that were refused or given up because the queue was full.
    pub full: u64,
    /// Messages that were kept, and that the socket did not take.
    pub unsent: u64,
    /// Heartbeats that were sent.
    pub heartbeats: u64,
    /// Messages that fell out of the outbox.
    pub fell_out: FellOut,
}

/// [`PublisherCounts`] as they are counted.
#[derive(Debug, Default)]
struct Tally {
    published: AtomicU64,
    batches: AtomicU64,
    failed: AtomicU64,
    full: AtomicU64,
    unsent: AtomicU64,
    heartbeats: AtomicU64,
    fell_out: Mutex<FellOut>,
}

impl Publisher {
    /// Opens a publisher for a service, as the configuration says: its certificate and key, its outbox, its endpoints, the policy.
    /// It keeps up with its certificate and key: a renewed pair signs from the next second on, and the stream goes on.
    ///
    /// # Errors
    /// A [`PublishError`] that names what is missing or wrong.
    pub async fn open(config: &Config, service: &str) -> Result<Self, PublishError> {
        builder::open(config, service).await
    }

    /// A publisher of parts of your own. `prefix` is what the topics given to [`Publisher::publish`] are appended to.
    pub fn builder(
        signer: impl Into<LiveSigner>,
        prefix: impl Into<String>,
        limits: Limits,
    ) -> PublisherBuilder {
        PublisherBuilder::new(signer.into(), prefix.into(), limits)
    }

    /// How its certificate and key are doing; none for a publisher of parts of your own.
    pub fn credentials_status(&self) -> Option<SignerStatus> {
        self.credentials.as_ref().map(SignerWatch::status)
    }

    /// Has its certificate and key read again, however their files look: what SIGHUP asks for.
    pub fn reload_credentials(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.reload();
        }
    }

    /// Who signs.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// How the policy's files are doing; none for a publisher of parts of your own, or without a policy.
    pub fn policy_status(&self) -> Option<PolicyStatus> {
        self.watch.as_ref().map(PolicyWatch::status)
    }

    /// Has the policy's files read again, however they look.
    pub fn reload_policy(&self) {
        if let Some(watch) = &self.watch {
            watch.reload();
        }
    }

    /// Where it is bound.
    pub fn endpoint(&self) -> &Endpoint {
        self.socket.endpoint()
    }

    /// Publishes `msg` on the service's topic `suffix` (`update.comment`). When this returns, the message is kept: what
    /// happens to this process afterwards, nobody who asks for it misses it for as long as the outbox has it.
    ///
    /// # Errors
    /// A [`PublishError`]. Nothing was sent then, and no number of the stream was used.
    pub async fn publish(
        &self,
        suffix: &str,
        msg: &impl serde::Serialize,
    ) -> Result<Published, PublishError> {
        self.publish_draft(Draft::new(self.topic(suffix)?, msg, &self.shared.limits)?).await
    }

    /// The topic of this service that ends in `suffix`.
    ///
    /// # Errors
    /// [`PublishError::Topic`], if that is no topic.
    pub fn topic(&self, suffix: &str) -> Result<Topic, PublishError> {
        topic(&self.prefix, suffix, &self.shared.limits)
    }

    /// Publishes a draft, whatever its topic: the policy decides.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_draft(&self, draft: Draft) -> Result<Published, PublishError> {
        self.queue(draft).await?.await
    }

    /// Puts a draft in the queue, and waits for room alone: one task can so have many messages under way, and they
    /// share signatures and flushes of the disk. They are published in the order in which they were queued.
    ///
    /// Needs the timers of a tokio runtime where the queue is full.
    ///
    /// # Errors
    /// [`PublishError::Policy`], [`PublishError::Full`], or [`PublishError::Sign`] for a body that is too large as it is. What
    /// happens later is told by the [`Queued`].
    pub async fn queue(&self, draft: Draft) -> Result<Queued, PublishError> {
        let shared = &self.shared;
        if let Some(policy) = &shared.policy {
            let decided = policy.decide(draft.topic(), &shared.identity, shared.clock.now());
            if let Err(denial) = decided {
                let (topic, signer) = (draft.topic().clone(), shared.identity.clone());
                return Err(PublishError::Policy { topic, signer, denial });
            }
        }
        let queued = self.queue.put(draft, &shared.limits).await;
        if matches!(queued, Err(PublishError::Full { .. })) {
            shared.tally.full.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> PublisherCounts {
        let tally = &self.shared.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublisherCounts {
            published: count(&tally.published),
            batches: count(&tally.batches),
            failed: count(&tally.failed),
            full: count(&tally.full),
            unsent: count(&tally.unsent),
            heartbeats: count(&tally.heartbeats),
            fell_out: *tally.fell_out.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Looks at what is kept, from any thread.
    ///
    /// # Errors
    /// [`PublishError::Outbox`], if its file cannot be opened a second time.
    pub async fn outbox(&self) -> Result<Box<dyn OutboxReader>, PublishError> {
        self.queue.reader().await
    }

    /// Ends it. What was published before has been handed over.
    ///
    /// # Errors
    /// [`PublishError::Close`], if a subscriber did not take it within [`LINGER`]. What is kept on disk stays there.
    pub async fn close(self) -> Result<(), PublishError> {
        self.queue.close().await
    }

    /// Answers who missed something at the first of `endpoints` that is free, for as long as it is open. If none is, somebody
    /// else does so (`fedmsg outbox serve`), or nobody: that is said, and it publishes all the same.
    ///
    /// # Errors
    /// [`PublishError::Bind`] for any other fault of an endpoint, or [`PublishError::Outbox`] if the outbox cannot be read.
    pub async fn replaying(self, endpoints: &[Endpoint], limits: ReplayLimits) -> Result<Self, PublishError> {
        match ReplayServer::start(endpoints, self.outbox().await?, limits) {
            Ok(replay) => Ok(Self { replay: Some(replay), ..self }),
            Err(error @ BindError::AllInUse(_)) => {
                tracing::info!(%error, "this publisher has no replay endpoint of its own");
                Ok(self)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The replay endpoint, if there is one.
    pub fn replay(&self) -> Option<&ReplayServer> {
        self.replay.as_ref()
    }
}

fn topic(prefix: &str, suffix: &str, limits: &Limits) -> Result<Topic, PublishError> {
    let text = format!("{prefix}.{suffix}");
    Topic::parse(&text, limits).map_err(|error| PublishError::Topic { text, error })
}

impl Tally {
    fn fell_out(&self, more: FellOut) {
        let mut sum = self.fell_out.lock().unwrap_or_else(PoisonError::into_inner);
        sum.too_old += more.too_old;
        sum.over_bytes += more.over_bytes;
    }
}
