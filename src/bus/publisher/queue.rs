//! The way from the callers to the writer, bounded in bytes. What a message is counted it gives back when the socket has it:
//! a subscriber that reads slowly, or a disk that writes slowly, is felt by whoever publishes.

use super::{PublishError, Published};
use crate::config::WhenFull;
use crate::limits::Limits;
use crate::message::{Draft, MessageError};
use crate::sign::SignError;
use crate::store::outbox::OutboxReader;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

/// What a message is counted beside its body: the proof, the envelope, bookkeeping.
const MESSAGE_BYTES: u32 = 2048;

/// The callers' end.
#[derive(Debug)]
pub(super) struct Queue {
    orders: UnboundedSender<Order>,
    room: Arc<Semaphore>,
    bound: Bound,
}

/// How much may be under way, and what happens over it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) bytes: u32,
    pub(super) when_full: WhenFull,
    /// How long a caller waits for room.
    pub(super) patience: Duration,
}

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum Order {
    Close(oneshot::Sender<Result<(), PublishError>>),
    Publish(Job),
    Reader(oneshot::Sender<Result<Box<dyn OutboxReader>, PublishError>>),
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) draft: Draft,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) reply: oneshot::Sender<Result<Published, PublishError>>,
}

/// A message that is in the queue: a future that says when it is kept, or why it is not. It is published whether or not
/// anybody waits for it.
#[derive(Debug)]
pub struct Queued(oneshot::Receiver<Result<Published, PublishError>>);

impl Future for Queued {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|replied| replied.unwrap_or(Err(PublishError::Stopped)))
    }
}

impl Queue {
    pub(super) fn new(orders: UnboundedSender<Order>, bound: Bound) -> Self {
        let permits = usize::try_from(bound.bytes).unwrap_or(Semaphore::MAX_PERMITS);
        Self { orders, room: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))), bound }
    }

    pub(super) async fn put(&self, draft: Draft, limits: &Limits) -> Result<Queued, PublishError> {
        let (limit, found) = (limits.body_bytes, draft.byte_len());
        if found > limit {
            return Err(SignError::from(MessageError::BodyTooLarge { limit, found }).into());
        }
        let room = self.room(found).await?;
        let (reply, replied) = oneshot::channel();
        self.order(Order::Publish(Job { draft, room, reply }))?;
        Ok(Queued(replied))
    }

    pub(super) async fn reader(&self) -> Result<Box<dyn OutboxReader>, PublishError> {
        let (reply, replied) = oneshot::channel();
        self.order(Order::Reader(reply))?;
        replied.await.unwrap_or(Err(PublishError::Stopped))
    }

    pub(super) async fn close(self) -> Result<(), PublishError> {
        let (reply, replied) = oneshot::channel();
        self.order(Order::Close(reply))?;
        replied.await.unwrap_or(Err(PublishError::Stopped))
    }

    fn order(&self, order: Order) -> Result<(), PublishError> {
        self.orders.send(order).map_err(|_| PublishError::Stopped)
    }

    /// Room for one message; one that alone is over the bound takes all of it.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PublishError> {
        let cost =
            u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(MESSAGE_BYTES).min(self.bound.bytes);
        let room = || Arc::clone(&self.room);
        match room().try_acquire_many_owned(cost) {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(PublishError::Stopped),
            Err(TryAcquireError::NoPermits) => {}
        }
        let full = |waited| PublishError::Full { limit: self.bound.bytes, waited };
        match self.bound.when_full {
            WhenFull::Refuse => Err(full(None)),
            WhenFull::Wait => {
                // Fair: who came first gets room first.
                let waiting = tokio::time::timeout(self.bound.patience, room().acquire_many_owned(cost));
                let waited = waiting.await.map_err(|_| full(Some(self.bound.patience)))?;
                waited.map_err(|_| PublishError::Stopped)
            }
        }
    }
}
