//! An outbox in memory: for as long as the process lives, and no longer.

use super::dropped::{Dropped, MAX_DROPPED_RANGES};
use super::error::OutboxError;
use super::{Extent, FellOut, Kept, Most, Outbox, OutboxReader, Report, Retention, Slice, check_order};
use crate::config::Durability;
use crate::message::id::{MessageId, StreamId};
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last messages of a stream that ends with the process.
#[derive(Debug)]
pub struct MemoryOutbox {
    ring: Ring,
    retention: Retention,
}

/// Shared between the writer and its readers.
#[derive(Clone)]
struct Ring(Arc<Mutex<State>>);

struct State {
    extent: Extent,
    created: Timestamp,
    /// Each with the latest timestamp up to it, which is what is searched by time: a clock may have been set back.
    messages: VecDeque<(Timestamp, Kept)>,
    bytes: u64,
    dropped: VecDeque<Dropped>,
}

impl MemoryOutbox {
    /// A new stream, which begins `now`.
    pub fn new(stream: StreamId, retention: Retention, now: Timestamp) -> Self {
        let extent = Extent { stream, oldest: 1, newest: 0 };
        let (messages, dropped) = (VecDeque::new(), VecDeque::new());
        let state = State { extent, created: now, messages, bytes: 0, dropped };
        Self { ring: Ring(Arc::new(Mutex::new(state))), retention }
    }
}

impl Ring {
    /// Nothing here panics while it holds the lock, so that a poisoned state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets the oldest fall out, but none from `spared` on.
    fn trim(&mut self, retention: &Retention, spared: u64, now: Timestamp) -> FellOut {
        let (horizon, mut why, mut bytes, first) =
            (retention.horizon(now), FellOut::default(), 0, self.extent.oldest);
        while let Some((_, front)) = self.messages.front().filter(|(_, front)| front.seq < spared) {
            if front.timestamp < horizon {
                why.too_old += 1;
            } else if self.bytes > retention.bytes && front.seq < self.extent.newest {
                why.over_bytes += 1;
            } else {
                break;
            }
            bytes += front.cost();
            self.bytes -= front.cost();
            self.extent.oldest = front.seq + 1;
            self.messages.pop_front();
        }
        if why.count() > 0 {
            let last = self.extent.oldest - 1;
            self.note(Dropped { first, last, why, bytes, since: now, until: now });
        }
        why
    }

    fn note(&mut self, next: Dropped) {
        match self.dropped.back_mut() {
            Some(last) if last.takes(&next) => *last = last.merged(next),
            Some(_) | None => self.dropped.push_back(next),
        }
        if self.dropped.len() > MAX_DROPPED_RANGES
            && let (Some(first), Some(second)) = (self.dropped.pop_front(), self.dropped.pop_front())
        {
            self.dropped.push_front(first.merged(second));
        }
    }

    fn slice(&self, from: u64, to: u64, most: Most) -> Slice {
        let (gone, there) = self.extent.split(from, to);
        let mut slice = Slice { extent: self.extent, messages: Vec::new(), next: None, gone };
        let skipped = usize::try_from(there.start() - self.extent.oldest).unwrap_or(usize::MAX);
        let mut bytes = 0_u64;
        for (_, kept) in self.messages.iter().skip(skipped).take_while(|(_, kept)| there.contains(&kept.seq))
        {
            bytes += kept.frame_bytes();
            let full = slice.messages.len() >= most.messages || bytes > most.bytes;
            if full && !slice.messages.is_empty() {
                slice.next = Some(kept.seq);
                break;
            }
            slice.messages.push(kept.clone());
        }
        slice
    }
}

impl Outbox for MemoryOutbox {
    fn extent(&self) -> Extent {
        self.ring.state().extent
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }

    fn append(&mut self, batch: &[Kept], now: Timestamp) -> Result<FellOut, OutboxError> {
        let mut state = self.ring.state();
        let newest = state.extent.newest;
        check_order(batch, newest)?;
        for kept in batch {
            let high = state.messages.back().map_or(Timestamp::MIN, |(high, _)| *high).max(kept.timestamp);
            state.bytes = state.bytes.saturating_add(kept.cost());
            state.extent.newest = kept.seq;
            state.messages.push_back((high, kept.clone()));
        }
        Ok(state.trim(&self.retention, newest + 1, now))
    }

    fn expire(&mut self, now: Timestamp) -> Result<FellOut, OutboxError> {
        Ok(self.ring.state().trim(&self.retention, u64::MAX, now))
    }

    fn reader(&self) -> Result<Box<dyn OutboxReader>, OutboxError> {
        Ok(Box::new(self.ring.clone()))
    }
}

impl OutboxReader for Ring {
    fn extent(&self) -> Result<Extent, OutboxError> {
        Ok(self.state().extent)
    }

    fn range(&self, stream: StreamId, from: u64, to: u64, most: Most) -> Result<Option<Slice>, OutboxError> {
        let state = self.state();
        Ok((stream == state.extent.stream).then(|| state.slice(from, to, most)))
    }

    fn since(&self, time: Timestamp, most: Most) -> Result<Slice, OutboxError> {
        let state = self.state();
        let before = state.messages.partition_point(|(high, _)| *high < time);
        let from = state.extent.oldest + u64::try_from(before).unwrap_or(u64::MAX);
        Ok(state.slice(from, u64::MAX, most))
    }

    fn by_msg_id(&self, msg_id: &MessageId) -> Result<Option<Kept>, OutboxError> {
        let state = self.state();
        Ok(state.messages.iter().map(|(_, kept)| kept).find(|kept| kept.msg_id == *msg_id).cloned())
    }

    fn report(&self) -> Result<Report, OutboxError> {
        let state = self.state();
        let ends = state.messages.front().zip(state.messages.back());
        Ok(Report {
            extent: state.extent,
            signer: String::new(),
            created: state.created,
            bytes: state.bytes,
            between: ends.map(|((_, first), (_, last))| (first.timestamp, last.timestamp)),
            dropped: state.dropped.iter().copied().collect(),
        })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Ring({:?}, {} bytes)", state.extent, state.bytes)
    }
}
