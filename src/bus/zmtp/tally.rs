//! What was refused, by reason: counted each time, and said now and then.

use super::error::PutOut;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a reason was logged it is only counted.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<&'static str, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    count: u64,
    /// Of these, how many the log does not have.
    unsaid: u64,
    said: Option<Instant>,
}

impl Tally {
    pub(super) fn count(&self, reason: &PutOut, peer: &str) {
        let now = Instant::now();
        let mut entries = self.entries();
        let entry = entries.entry(reason.code()).or_default();
        entry.count += 1;
        if entry.said.is_some_and(|said| now.duration_since(said) < QUIET) {
            entry.unsaid += 1;
            return;
        }
        let others = std::mem::take(&mut entry.unsaid);
        entry.said = Some(now);
        drop(entries);
        tracing::warn!(peer, code = reason.code(), %reason, others, "a subscriber was put out");
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.entries().iter().map(|(code, entry)| (*code, entry.count)).collect()
    }

    /// Nothing here panics while it holds the lock.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<&'static str, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
