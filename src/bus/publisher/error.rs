//! Why a message was not published, or a publisher not opened.

use crate::bus::transport::{BindError, CloseError};
use crate::identity::Identity;
use crate::message::draft::DraftError;
use crate::policy::Denial;
use crate::sign::SignError;
use crate::store::credentials::{CredentialsError, SignerFileError};
use crate::store::outbox::OutboxError;
use crate::store::policy::PolicyFileError;
use crate::topic::{Topic, TopicError};
use std::sync::Arc;
use std::time::Duration;

/// Why a message was not published, or a publisher not opened.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No endpoint could be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Not everything was handed over when it was closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// The service's certificate and key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The body.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There was no room for it.
    #[error("the publisher's queue of {limit} bytes is full{}", waited_for(.waited))]
    Full {
        /// The bound, in bytes (`publisher.queue_bytes`).
        limit: u32,
        /// How long was waited for room; `None` where nothing is waited for (`publisher.when_full`).
        waited: Option<Duration>,
    },
    /// A setting that has to be there for a publisher.
    #[error("`{key}` is not configured")]
    NotConfigured {
        /// The setting's name.
        key: String,
    },
    /// It could not be kept. The whole batch shares the error.
    #[error(transparent)]
    Outbox(Arc<OutboxError>),
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
    /// The certificate and key cannot be watched, or make no signer.
    #[error(transparent)]
    Signer(SignerFileError),
    /// The signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Its thread has ended: it was closed, or failed by its own fault.
    #[error("the publisher has stopped")]
    Stopped,
    /// Its thread could not be started.
    #[error("cannot start the publisher: {0}")]
    Thread(std::io::Error),
    /// The topic.
    #[error("`{text}`: {error}")]
    Topic {
        /// What was to be the topic.
        text: String,
        /// Why it is none.
        error: TopicError,
    },
}

fn waited_for(waited: &Option<Duration>) -> String {
    waited.map_or_else(String::new, |waited| format!(", and was so for {} s", waited.as_secs_f32()))
}

impl From<OutboxError> for PublishError {
    fn from(error: OutboxError) -> Self {
        Self::Outbox(Arc::new(error))
    }
}

impl From<SignerFileError> for PublishError {
    fn from(error: SignerFileError) -> Self {
        match error {
            SignerFileError::Credentials(cause) => Self::Credentials(cause),
            SignerFileError::Sign(cause) => Self::Sign(cause),
            other @ (SignerFileError::NotValidNow { .. }
            | SignerFileError::Other { .. }
            | SignerFileError::Watch(_)) => Self::Signer(other),
        }
    }
}
