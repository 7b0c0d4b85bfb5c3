//! The hash of the tables.

use std::hash::{BuildHasher, RandomState};

/// The secret of one policy's tables, another one for each policy that is built.
///
/// A sender cannot fill the tables, which hold what the operator wrote. But that may have been learned from senders (`policy learn`,
/// an import), and without the secret nobody can choose names that would all be found in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed([u64; 2]);

impl Seed {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(0_u8), random.hash_one(1_u8)])
    }

    pub(super) fn of_words(&self, [a, b, c]: [u64; 3]) -> u64 {
        let Self([x, y]) = *self;
        fold(fold(x ^ a, y ^ b) ^ c, y)
    }

    pub(super) fn of_pair(&self, a: u32, b: u32) -> u64 {
        let Self([x, y]) = *self;
        fold(x ^ both(a, b), y)
    }

    pub(super) fn of_four(&self, [a, b, c, d]: [u32; 4]) -> u64 {
        let Self([x, y]) = *self;
        fold(x ^ both(a, b), y ^ both(c, d))
    }
}

fn both(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

/// Both halves of a product.
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}
