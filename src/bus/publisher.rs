//! Publishing: stamp, ask the policy, sign, hand over.

use super::transport::{BindError, Bounds, CloseError, PublishSocket, SendError, Transport};
use super::zeromq::ZeroMq;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::message::draft::DraftError;
use crate::message::id::{MessageId, StreamId};
use crate::message::{Draft, Stamp};
use crate::policy::{Denial, Policy};
use crate::sign::{self, SignError, Signed, Signer};
use crate::store::credentials::{Credentials, CredentialsError};
use crate::store::policy::{self, PolicyFileError};
use crate::time::{Clock, SystemClock};
use crate::topic::{Topic, TopicError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long the end of a publisher waits for subscribers to take what was published.
pub const LINGER: Duration = Duration::from_secs(10);

/// Publishes the signed messages of one service.
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
    socket: Box<dyn PublishSocket>,
    signer: Signer,
    /// `None`: no policy is configured, and it is left to the receivers' to refuse.
    policy: Option<Arc<Policy>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// `PREFIX.ENV.SERVICE`: what its topics begin with.
    prefix: String,
    stream: StreamId,
    subscriber_wait: Duration,
    /// Held while a message is stamped and sent, so that messages leave in the order of their numbers.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of the last message that was handed to the socket.
    seq: u64,
    /// Whether the first message has waited for a subscriber.
    waited: bool,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its topic.
    pub topic: Topic,
    /// Its name.
    pub msg_id: MessageId,
    /// Its place in the publisher's stream.
    pub seq: u64,
    /// Whether a subscriber that wants its topic was there: without one, nobody has it.
    pub heard: bool,
}

/// Why a message was not published, or a publisher not opened.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The service's certificate and key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The body.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A setting that has to be there for a publisher.
    #[error("`{key}` is not configured")]
    NotConfigured {
        /// The setting's name.
        key: String,
    },
    /// The policy would refuse it at every receiver.
    #[error("the policy would refuse `{topic}` by {signer}: {denial}")]
    Policy {
        /// The topic.
        topic: Topic,
        /// Who would have signed.
        signer: Identity,
        /// Why not.
        denial: Denial,
    },
    /// The policy's files.
    #[error(transparent)]
    PolicyFile(#[from] PolicyFileError),
    /// The signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The topic.
    #[error("`{text}`: {error}")]
    Topic {
        /// What was to be the topic.
        text: String,
        /// Why it is none.
        error: TopicError,
    },
    /// No endpoint could be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Not everything was handed over when it was closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// The socket did not take it.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Publisher {
    /// Opens a publisher for a service, as the configuration says: its certificate and key, its endpoints, the policy.
    ///
    /// # Errors
    /// A [`PublishError`] that names what is missing or wrong.
    pub async fn open(config: &Config, service: &str) -> Result<Self, PublishError> {
        let missing = |key: &str| PublishError::NotConfigured { key: key.to_owned() };
        let host = config.publisher.host.as_ref().ok_or_else(|| missing("publisher.host"))?;
        let directory =
            config.credentials.directory.as_ref().ok_or_else(|| missing("credentials.directory"))?;
        let endpoints =
            config.endpoints.of(service).ok_or_else(|| missing(&format!("endpoints.{service}")))?;
        let limits = config.limits.to_limits();
        let credentials = Credentials::load(directory.path(), service, host.as_str())?;
        let (key, leaf, intermediates) = credentials.into_parts();
        let sent = if *config.publisher.send_intermediates { intermediates } else { Vec::new() };
        let certificates = std::iter::once(leaf).chain(sent).map(|c| c.der().clone()).collect();
        let signer = Signer::new(Arc::new(key), certificates, limits)?;
        let files: Vec<_> = config.policy.files.iter().map(|file| file.path().to_owned()).collect();
        let policy = if files.is_empty() { None } else { Some(Arc::new(policy::read(&files, &limits)?)) };
        let endpoints: Vec<Endpoint> = endpoints.iter().cloned().collect();
        let socket = ZeroMq::new(Bounds::STANDARD).bind(&endpoints).await?;
        let prefix = format!("{}.{}.{service}", *config.bus.prefix, config.bus.env.as_str());
        let mut publisher = Self::new(socket, signer, policy, prefix, limits)?;
        publisher.subscriber_wait = *config.publisher.subscriber_wait;
        Ok(publisher)
    }

    /// A publisher of parts of your own. `prefix` is what the topics given to [`Publisher::publish`] are appended to. The first
    /// message does not wait for a subscriber; see [`Publisher::waiting`].
    ///
    /// # Errors
    /// [`PublishError::Sign`], if the machine has no random numbers to name the stream with.
    pub fn new(
        socket: Box<dyn PublishSocket>,
        signer: Signer,
        policy: Option<Arc<Policy>>,
        prefix: String,
        limits: Limits,
    ) -> Result<Self, PublishError> {
        let stream = StreamId::new(sign::random()?);
        let (clock, state) = (Arc::new(SystemClock), Mutex::new(State { seq: 0, waited: false }));
        let subscriber_wait = Duration::ZERO;
        Ok(Self { socket, signer, policy, clock, limits, prefix, stream, subscriber_wait, state })
    }

    /// Lets the first message wait for a subscriber, at most this long.
    #[must_use]
    pub fn waiting(self, subscriber_wait: Duration) -> Self {
        Self { subscriber_wait, ..self }
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Who signs.
    pub fn identity(&self) -> &Identity {
        self.signer.identity()
    }

    /// Where it is bound.
    pub fn endpoint(&self) -> &Endpoint {
        self.socket.endpoint()
    }

    /// Publishes `msg` on the service's topic `suffix` (`update.comment`).
    ///
    /// # Errors
    /// A [`PublishError`]; nothing was sent then.
    pub async fn publish(
        &self,
        suffix: &str,
        msg: &impl serde::Serialize,
    ) -> Result<Published, PublishError> {
        self.publish_draft(Draft::new(self.topic(suffix)?, msg, &self.limits)?).await
    }

    /// The topic of this service that ends in `suffix`.
    ///
    /// # Errors
    /// [`PublishError::Topic`], if that is no topic.
    pub fn topic(&self, suffix: &str) -> Result<Topic, PublishError> {
        let text = format!("{}.{suffix}", self.prefix);
        Topic::parse(&text, &self.limits).map_err(|error| PublishError::Topic { text, error })
    }

    /// Publishes a draft, whatever its topic: the policy decides.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_draft(&self, draft: Draft) -> Result<Published, PublishError> {
        let mut state = self.state.lock().await;
        let signed = self.sign(draft, state.seq + 1)?;
        let (topic, msg_id, seq) = (signed.topic().clone(), signed.msg_id().clone(), signed.seq());
        let message = signed.into_raw();
        let patience = if state.waited { Duration::ZERO } else { self.subscriber_wait };
        let heard = match self.socket.send_to_subscriber(message.clone(), patience).await {
            Ok(()) => true,
            // Nobody wants it now; whoever comes in this very moment still gets it.
            Err(SendError::NoSubscriber { .. }) => {
                self.socket.send(message).await?;
                false
            }
            Err(error) => return Err(error.into()),
        };
        *state = State { seq, waited: true };
        Ok(Published { topic, msg_id, seq, heard })
    }

    /// Ends it. What was published before has been handed over.
    ///
    /// # Errors
    /// [`PublishError::Close`], if a subscriber did not take it within [`LINGER`].
    pub async fn close(self) -> Result<(), PublishError> {
        Ok(self.socket.close(LINGER).await?)
    }

    fn sign(&self, draft: Draft, seq: u64) -> Result<Signed, PublishError> {
        let now = self.clock.now();
        if let Some(policy) = &self.policy {
            let (topic, signer) = (draft.topic().clone(), self.signer.identity().clone());
            let decided = policy.decide(&topic, &signer, now);
            decided.map_err(|denial| PublishError::Policy { topic, signer, denial })?;
        }
        let year = u16::try_from(now.year()).unwrap_or(0);
        let msg_id = MessageId::new(year, sign::random()?);
        let stamp = Stamp { timestamp: now, msg_id, i: seq, stream: self.stream, seq };
        Ok(self.signer.sign(draft.seal(&stamp))?)
    }
}
