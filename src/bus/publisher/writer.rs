//! The one thread that numbers, signs and keeps; and, on the same thread, the task that hands over to the socket.
//!
//! SQLite blocks, so that the thread is the publisher's own. While it waits for the disk, orders gather, and the next batch is
//! the larger. What was kept goes to the socket in order, by a task that runs whenever the writer has done with a batch; a
//! message that waits for its first subscriber holds up those behind it there, and nobody who publishes.

use super::heartbeat::{Heartbeat, msg_id};
use super::queue::{Job, Order};
use super::{LINGER, PublishError, Published, Shared};
use crate::bus::transport::{CloseError, PublishSocket, SendError};
use crate::config::Durability;
use crate::message::{RawMessage, Stamp};
use crate::store::outbox::{FellOut, Kept, Outbox, OutboxError};
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// The most messages of a batch.
const BATCH_MESSAGES: usize = 256;

/// The most bytes of a batch's bodies, but for one message that has more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How often an idle publisher without heartbeats looks what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// How often a fault that goes on is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) socket: Arc<dyn PublishSocket>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) orders: UnboundedReceiver<Order>,
    pub(super) heartbeat: Option<Heartbeat>,
    /// How long the first message waits for a subscriber; `None` once it has.
    pub(super) first_waits: Option<Duration>,
}

/// A message on its way to the socket.
struct Outgoing {
    message: RawMessage,
    /// The queue's room, given back when the socket has the message.
    room: Option<OwnedSemaphorePermit>,
    first: Option<First>,
}

/// The first message: whoever published it wants to know whether it was heard.
struct First {
    patience: Duration,
    published: Published,
    reply: oneshot::Sender<Result<Published, PublishError>>,
}

/// How one turn of the writer ended.
enum Turn {
    GoOn,
    End(Option<oneshot::Sender<Result<(), PublishError>>>),
}

/// The writer's end of the way to the socket.
struct Outgo {
    queue: UnboundedSender<Outgoing>,
    /// How many wait there.
    waiting: Arc<AtomicUsize>,
}

/// Logs a fault at most once a period.
struct Seldom(Option<Instant>);

impl Writer {
    /// Runs until it is told to close, or nobody is left who could tell it.
    pub(super) async fn run(mut self) {
        let (queue, outgoing) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (socket, shared) = (Arc::clone(&self.socket), Arc::clone(&self.shared));
        let sending = tokio::spawn(send(socket, shared, outgoing, Arc::clone(&waiting)));
        let outgo = Outgo { queue, waiting };
        let mut trimmed = Seldom(None);
        self.beat(&outgo);
        let reply = loop {
            match self.turn(&outgo, &mut trimmed).await {
                Turn::GoOn => {}
                Turn::End(reply) => break reply,
            }
            // The other task's turn: what was kept is handed over before the next batch.
            tokio::task::yield_now().await;
        };
        self.beat(&outgo);
        drop(outgo);
        let closed = match timeout(LINGER, sending).await {
            Ok(Ok(())) if reply.is_some() => self.socket.close(LINGER).await,
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(CloseError::Gone),
            Err(_) => Err(CloseError::Unwritten { linger: LINGER }),
        };
        if let Some(reply) = reply {
            // The outbox is free when this is said.
            drop(self.outbox);
            let _ = reply.send(closed.map_err(PublishError::from));
        }
    }

    /// Waits for orders and carries them out, or beats.
    async fn turn(&mut self, outgo: &Outgo, trimmed: &mut Seldom) -> Turn {
        let idle = self.heartbeat.as_ref().map_or(EXPIRE_EVERY, Heartbeat::interval);
        let mut orders = Vec::new();
        tokio::select! {
            biased;
            count = self.orders.recv_many(&mut orders, BATCH_MESSAGES) => {
                if count == 0 {
                    return Turn::End(None);
                }
            }
            () = sleep_until(Instant::now() + idle) => {
                let now = self.shared.clock.now();
                match self.outbox.expire(now) {
                    Ok(fell_out) => self.note(fell_out, trimmed),
                    Err(error) => tracing::warn!(%error, "the outbox cannot drop what is too old"),
                }
                // What waits to be handed over says more than a heartbeat would.
                if outgo.waiting.load(Ordering::Relaxed) == 0 {
                    self.beat(outgo);
                }
            }
        }
        let mut jobs = VecDeque::new();
        let mut end = Turn::GoOn;
        for order in orders {
            match order {
                Order::Close(reply) => end = Turn::End(Some(reply)),
                Order::Publish(job) => jobs.push_back(job),
                Order::Reader(reply) => _ = reply.send(self.outbox.reader().map_err(PublishError::from)),
            }
        }
        while let Some(batch) = next_batch(&mut jobs, self.most_messages()) {
            self.publish(batch, outgo, trimmed);
        }
        end
    }

    /// A tree of more would have longer paths than verifiers take.
    fn most_messages(&self) -> usize {
        let by_path = 1_usize << self.shared.limits.path_hashes.min(31);
        BATCH_MESSAGES.min(by_path)
    }

    /// Numbers, signs and keeps a batch, answers, and puts it on its way.
    fn publish(&mut self, batch: Vec<Job>, outgo: &Outgo, trimmed: &mut Seldom) {
        let now = self.shared.clock.now();
        let kept = match self.sign(&batch, now) {
            Ok(kept) => kept,
            Err(error) => return self.unsigned(batch, error, outgo, trimmed),
        };
        match self.outbox.append(&kept, now) {
            Ok(fell_out) => {
                self.note(fell_out, trimmed);
                self.answer(batch, kept, outgo);
            }
            Err(error) => self.unkept(batch, error),
        }
    }

    /// What the batch is once it is signed. The numbers count only if it is kept.
    fn sign(&self, batch: &[Job], now: Timestamp) -> Result<Vec<Kept>, PublishError> {
        // One for the whole batch: it is replaced between two, never within one.
        let signer = self.shared.signer.current();
        let extent = self.outbox.extent();
        let mut stamps = Vec::with_capacity(batch.len());
        let mut sealed = Vec::with_capacity(batch.len());
        for (job, seq) in batch.iter().zip(extent.newest + 1..) {
            let stamp = Stamp { timestamp: now, msg_id: msg_id(now)?, i: seq, stream: extent.stream, seq };
            sealed.push(job.draft.seal(&stamp));
            stamps.push(stamp);
        }
        let signed = signer.sign_batch(sealed)?;
        Ok(signed.iter().zip(&stamps).map(|(signed, stamp)| Kept::new(signed, stamp)).collect())
    }

    /// One that cannot be signed is not to fail the others: it is found by halving.
    fn unsigned(&mut self, mut batch: Vec<Job>, error: PublishError, outgo: &Outgo, trimmed: &mut Seldom) {
        if batch.len() > 1 {
            let second = batch.split_off(batch.len() / 2);
            self.publish(batch, outgo, trimmed);
            self.publish(second, outgo, trimmed);
        } else if let Some(job) = batch.pop() {
            self.shared.tally.failed.fetch_add(1, Ordering::Relaxed);
            // Whoever published it may have gone: here, and wherever a reply is sent.
            let _ = job.reply.send(Err(error));
        }
    }

    fn unkept(&self, batch: Vec<Job>, error: OutboxError) {
        let error = Arc::new(error);
        for job in batch {
            self.shared.tally.failed.fetch_add(1, Ordering::Relaxed);
            let _ = job.reply.send(Err(PublishError::Outbox(Arc::clone(&error))));
        }
    }

    fn answer(&mut self, batch: Vec<Job>, kept: Vec<Kept>, outgo: &Outgo) {
        let (stream, durability) = (self.outbox.extent().stream, self.outbox.durability());
        self.shared.tally.batches.fetch_add(1, Ordering::Relaxed);
        for (Job { draft, room, reply }, kept) in batch.into_iter().zip(kept) {
            self.shared.tally.published.fetch_add(1, Ordering::Relaxed);
            let message = kept.raw();
            let (topic, msg_id, seq) = (draft.into_topic(), kept.msg_id, kept.seq);
            let published = Published { topic, msg_id, stream, seq, durability, heard: None };
            let first = match self.first_waits.take() {
                Some(patience) => Some(First { patience, published, reply }),
                None => {
                    let _ = reply.send(Ok(published));
                    None
                }
            };
            outgo.put(Outgoing { message, room: Some(room), first });
        }
    }

    fn beat(&mut self, outgo: &Outgo) {
        let (Some(heartbeat), now) = (&mut self.heartbeat, self.shared.clock.now()) else { return };
        if !heartbeat.is_allowed(&self.shared, now) {
            return;
        }
        let signer = self.shared.signer.current();
        match heartbeat.beat(&signer, self.outbox.extent(), &self.shared, now) {
            Ok(message) => {
                self.shared.tally.heartbeats.fetch_add(1, Ordering::Relaxed);
                outgo.put(Outgoing { message, room: None, first: None });
            }
            Err(error) => tracing::warn!(%error, "no heartbeat"),
        }
    }

    fn note(&self, fell_out: FellOut, trimmed: &mut Seldom) {
        self.shared.tally.fell_out(fell_out);
        let early = fell_out.over_bytes;
        // A ring in memory is made for it.
        if early > 0 && self.outbox.durability() == Durability::Disk && trimmed.is_due() {
            tracing::warn!(
                early,
                "messages fall out of the outbox before their age: outbox.keep_bytes is small"
            );
        }
    }
}

impl Outgo {
    fn put(&self, outgoing: Outgoing) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The task takes until this end is dropped.
        let _ = self.queue.send(outgoing);
    }
}

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

/// As many of the jobs, in order, as make one batch.
fn next_batch(jobs: &mut VecDeque<Job>, most: usize) -> Option<Vec<Job>> {
    let mut bytes = 0;
    let fits = |job: &&Job| {
        bytes += job.draft.byte_len();
        bytes <= BATCH_BYTES
    };
    let count = jobs.iter().take(most.max(1)).take_while(fits).count();
    let batch: Vec<Job> = jobs.drain(..count.max(1).min(jobs.len())).collect();
    (!batch.is_empty()).then_some(batch)
}

/// Hands over what was kept, in order, until the writer has ended.
async fn send(
    socket: Arc<dyn PublishSocket>,
    shared: Arc<Shared>,
    mut outgoing: UnboundedReceiver<Outgoing>,
    waiting: Arc<AtomicUsize>,
) {
    let mut logged = Seldom(None);
    while let Some(Outgoing { message, room, first }) = outgoing.recv().await {
        let sent = match first {
            None => socket.send(message).await,
            Some(first) => offer(&*socket, message, first).await,
        };
        drop(room);
        waiting.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = sent {
            shared.tally.unsent.fetch_add(1, Ordering::Relaxed);
            if logged.is_due() {
                tracing::warn!(%error, "a message was kept and not sent: consumers have to ask for it");
            }
        }
    }
}

/// Hands over the first message to its first subscriber, and says whether there was one.
async fn offer(socket: &dyn PublishSocket, message: RawMessage, first: First) -> Result<(), SendError> {
    let (sent, heard) = match socket.send_to_subscriber(message.clone(), first.patience).await {
        Ok(()) => (Ok(()), true),
        // Nobody wants it now; whoever comes in this very moment still gets it.
        Err(SendError::NoSubscriber { .. }) => (socket.send(message).await, false),
        Err(error) => (Err(error), false),
    };
    let _ = first.reply.send(Ok(Published { heard: Some(heard), ..first.published }));
    sent
}
