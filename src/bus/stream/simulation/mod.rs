//! A world of publishers, a network and a consumer, all in one thread and on one clock of its own: everything that can go
//! wrong goes wrong, in an order that a seed decides, and what was promised is checked at each step.
//!
//! The consumer is the real state machine with a model of its file; the publishers are models. A schedule that fails
//! names its seed: `TEST_SEED=… cargo test --lib simulation` runs it alone, and says what happened.

#![allow(clippy::print_stderr, reason = "a schedule says what happened in it")]

mod consumer;
mod publisher;
mod world;

use world::{Faults, World};

/// Schedules in the suite; a few seconds without optimisation.
const SCHEDULES: u64 = 2_000;

/// SplitMix64: small, good enough, and the same everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True in `percent` of cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Runs the schedules from `first` on, or the one that TEST_SEED names.
fn run(first: u64, count: u64) {
    if let Some(seed) = std::env::var_os("TEST_SEED") {
        let seed = seed.to_str().and_then(|seed| seed.parse().ok()).expect("TEST_SEED is a number");
        World::new(seed, Faults::of(&mut Random(seed)), true).run();
        return;
    }
    let mut total = world::Totals::default();
    for seed in first..first + count {
        let run = || World::new(seed, Faults::of(&mut Random(seed)), false).run();
        match std::panic::catch_unwind(run) {
            Ok(seen) => total.add(&seen),
            Err(_) => panic!("schedule {seed} failed: TEST_SEED={seed} cargo test --lib simulation"),
        }
    }
    // A simulation in which nothing goes wrong shows nothing.
    assert!(total.everything_happened(), "{total:?}");
    eprintln!("measured: {count} schedules: {total:?}");
}

#[test]
fn nothing_is_lost_or_doubled_in_any_schedule() {
    run(0, SCHEDULES);
}

/// `cargo test --release --lib simulation -- --ignored`
#[test]
#[ignore = "minutes: many more schedules than in the suite"]
fn nothing_is_lost_or_doubled_in_very_many_schedules() {
    run(1_000_000, 300_000);
}
