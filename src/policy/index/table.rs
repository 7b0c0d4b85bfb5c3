//! A table that is only read: an entry is found in one place of memory, where a `HashMap` looks at two.
//!
//! Open addressing with linear probing. The ways are short because a table is never more than five eighths full, and because
//! nobody can choose what collides (see [`super::mixer`]).

/// What a [`Table`] is made of.
pub(super) trait Slot: Copy {
    /// Of a slot that nothing was put into.
    const EMPTY: Self;

    fn is_empty(&self) -> bool;
}

#[derive(Debug)]
pub(super) struct Table<S>(Box<[S]>);

impl<S: Slot> Table<S> {
    /// Room for `count` entries.
    pub(super) fn with_room(count: usize) -> Self {
        Self(vec![S::EMPTY; count + count * 3 / 5 + 1].into())
    }

    /// Puts in what is not there yet, and says where.
    pub(super) fn put(&mut self, hash: u64, slot: S) -> usize {
        let mut at = self.start(hash);
        while !self.0[at].is_empty() {
            at = self.after(at);
        }
        self.0[at] = slot;
        at
    }

    /// The entry that `is` the one, and where it is.
    pub(super) fn find(&self, hash: u64, is: impl Fn(&S) -> bool) -> Option<(usize, &S)> {
        let mut at = self.start(hash);
        loop {
            let slot = &self.0[at];
            if slot.is_empty() {
                return None;
            }
            if is(slot) {
                return Some((at, slot));
            }
            at = self.after(at);
        }
    }

    /// What was put at a place.
    pub(super) fn at(&self, place: usize) -> &S {
        &self.0[place]
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut S {
        &mut self.0[place]
    }

    /// The upper half of the hash, as a fraction of the table. There are fewer than 2^32 slots: their places are numbers.
    fn start(&self, hash: u64) -> usize {
        let slots = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        usize::try_from(((hash >> 32) * slots) >> 32).unwrap_or(0)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.0.len() { 0 } else { at + 1 }
    }
}
