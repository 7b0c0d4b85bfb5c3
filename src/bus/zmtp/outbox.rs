//! What one subscriber has still to get.

use super::error::PutOut;
use super::parcel::Parcel;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A queue without a bound of its own: what is in it is counted against the room of the socket, and
/// [`super::watch`] sees to it that it gets shorter.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Names it for as long as the socket lives.
    pub(super) serial: u64,
    queue: Mutex<VecDeque<Arc<Parcel>>>,
    /// What is in the queue, or taken from it and not yet written.
    pending: AtomicU64,
    /// What was written, since the beginning.
    written: AtomicU64,
    finishing: AtomicBool,
    put_out: Mutex<Option<PutOut>>,
    /// Told when there is something to do.
    pub(super) wake: Notify,
}

impl Outbox {
    pub(super) fn new(serial: u64) -> Self {
        Self { serial, ..Self::default() }
    }

    /// Says how much is pending now.
    pub(super) fn push(&self, parcel: Arc<Parcel>) -> u64 {
        let cost = parcel.cost();
        let pending = self.pending.fetch_add(cost, Ordering::Relaxed) + cost;
        let mut queue = self.queue();
        let first = queue.is_empty();
        queue.push_back(parcel);
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        pending
    }

    /// Takes all that is there into `batch`, which is empty. Once a batch, not once a message.
    pub(super) fn take(&self, batch: &mut VecDeque<Arc<Parcel>>) {
        std::mem::swap(&mut *self.queue(), batch);
    }

    /// Of what was taken, this much is written. Says whether nothing is pending any more.
    pub(super) fn wrote(&self, cost: u64) -> bool {
        self.written.fetch_add(cost, Ordering::Relaxed);
        self.pending.fetch_sub(cost, Ordering::Relaxed) == cost
    }

    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Has the connection ended when all is written.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finishing.load(Ordering::Acquire) && self.pending() == 0
    }

    /// Has the connection broken off.
    pub(super) fn put_out(&self, reason: PutOut) {
        *self.put_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.wake.notify_one();
    }

    pub(super) fn verdict(&self) -> Option<PutOut> {
        self.put_out.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Nothing panics while it holds the lock.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Parcel>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
