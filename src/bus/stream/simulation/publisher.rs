//! A publisher: it keeps what it publishes in an outbox, sends it, tells of it in heartbeats, and answers who asks.

use super::super::{Answer, Beat, Found, Item};
use crate::identity::Identity;
use crate::message::id::StreamId;
use std::collections::BTreeSet;
use std::time::Duration;

/// A message of the world: which one it is, and that it is this one.
pub(super) type Name = (StreamId, u64);

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) identity: Identity,
    pub(super) stream: StreamId,
    pub(super) newest: u64,
    /// Everything up to and with this was pruned.
    pub(super) pruned: u64,
    pub(super) up: bool,
    /// Whether the outbox is on a disk, and survives.
    durable: bool,
    /// Messages that go into one answer.
    page: u64,
    /// Streams that were, and how far they had got.
    pub(super) former: Vec<(StreamId, u64)>,
    number: u8,
    starts: u8,
}

impl Publisher {
    pub(super) fn new(number: u8, durable: bool, page: u64) -> Self {
        let identity =
            format!("spiffe://example.org/prod/service{number}/host").parse().expect("an identity");
        let stream = StreamId::new([number; 16]);
        let (former, starts) = (Vec::new(), 0);
        Self { identity, stream, newest: 0, pruned: 0, up: true, durable, page, former, number, starts }
    }

    /// Commits the next message.
    pub(super) fn publish(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    pub(super) fn prune(&mut self, to: u64) {
        self.pruned = self.pruned.max(to.min(self.newest));
    }

    pub(super) fn restart(&mut self) {
        self.up = true;
        if !self.durable {
            self.starts += 1;
            self.former.push((self.stream, self.newest));
            (self.stream, self.newest, self.pruned) =
                (StreamId::new([self.number + 10 * self.starts; 16]), 0, 0);
        }
    }

    pub(super) fn beat(&self, interval: Duration) -> Beat {
        Beat { newest: self.newest, interval }
    }

    /// As the replay endpoint does: what there is from the first that it has, a page of it, without `spoilt`.
    pub(super) fn answer(
        &self,
        stream: StreamId,
        from: u64,
        to: Option<u64>,
        spoilt: &BTreeSet<u64>,
    ) -> Answer<Name> {
        if stream != self.stream {
            return Answer::UnknownStream;
        }
        let last = to.unwrap_or(u64::MAX).min(self.newest);
        let first = from.max(self.pruned + 1);
        let gone =
            if from <= self.pruned { vec![(from, self.pruned.min(to.unwrap_or(u64::MAX)))] } else { vec![] };
        let end = last.min(first.saturating_add(self.page - 1));
        let items = (first..=end).filter(|seq| !spoilt.contains(seq));
        let items = items.map(|seq| Item { seq, bytes: 1, message: wanted(stream, seq) }).collect();
        Answer::Found(Found { items, gone, next: (end < last).then_some(end + 1) })
    }
}

/// One in seven is of a topic that nobody wants.
pub(super) fn wanted(stream: StreamId, seq: u64) -> Option<Name> {
    (!seq.is_multiple_of(7)).then_some((stream, seq))
}
