//! What fell out of an outbox: ranges, merged so that their number stays small.

use super::FellOut;
use crate::time::Timestamp;
use std::ops::RangeInclusive;

/// How many ranges are written down. At one a day that is years; beyond it the two oldest become one.
pub const MAX_DROPPED_RANGES: usize = 1_000;

/// What falls out within this many seconds is one range.
const ONE_RANGE: i64 = 86_400;

/// Messages that fell out one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// How many of them were too old, and how many had to go for room.
    pub why: FellOut,
    /// What they were counted.
    pub bytes: u64,
    /// When the first of them fell out.
    pub since: Timestamp,
    /// When the last of them fell out.
    pub until: Timestamp,
}

impl Dropped {
    /// The messages.
    pub fn range(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    /// Whether `next`, which follows at once, is written down as one with it.
    pub(super) fn takes(&self, next: &Self) -> bool {
        next.until.seconds_since(self.since) < ONE_RANGE
    }

    /// Both as one: `next` follows at once.
    pub(super) fn merged(self, next: Self) -> Self {
        Self {
            first: self.first,
            last: next.last,
            why: FellOut {
                too_old: self.why.too_old + next.why.too_old,
                over_bytes: self.why.over_bytes + next.why.over_bytes,
            },
            bytes: self.bytes.saturating_add(next.bytes),
            since: self.since,
            until: next.until,
        }
    }
}
