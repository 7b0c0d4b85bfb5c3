//! What a reload of the policy costs those who decide by it: the gaps between one decision and the next of one thread, while another
//! one puts policies of 100,000 rules in force as fast as it can.
//!
//! It is one long look at a clock and no loop to be timed, so that it has a `main` of its own. Beside the looks at reloads there are
//! some at a thread alone, and some beside a thread that parses the same policies and puts none in force. They take turns in one
//! process: on a machine that others use most long gaps are the scheduler's, and only the difference says something.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "policies/mod.rs"]
mod policies;

use fedmsg::policy::{LivePolicy, Policy};
use policies::{Question, at, parse, questions, rules};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RULES: usize = 100_000;

/// How long each look is, and how many of each kind there are.
const LOOK: Duration = Duration::from_secs(10);
const TURNS: usize = 3;

/// The gaps of one look.
#[derive(Debug)]
struct Gaps {
    /// By microseconds, those of ten milliseconds and more together.
    counts: Vec<u64>,
    longest: Duration,
}

fn main() {
    let text = rules(RULES);
    let live = LivePolicy::new(parse(&text));
    let questions = questions(RULES, true);
    println!("gaps between the decisions of one thread, {RULES} rules, looks of {LOOK:?}");
    for _ in 0..TURNS {
        report("alone", &look(&live, &questions), None);
        let (gaps, parses) = beside(|| drop(black_box(parse(&text))), || look(&live, &questions));
        report("beside parses", &gaps, Some(parses));
        let mut retired: Vec<Arc<Policy>> = Vec::new();
        let reload = || {
            retired.push(live.replace(parse(&text)).unwrap());
            // As the reloader does it: an old policy is freed here, once nobody decides by it any more.
            retired.retain(|policy| Arc::strong_count(policy) > 1);
        };
        let (gaps, reloads) = beside(reload, || look(&live, &questions));
        report("beside reloads", &gaps, Some(reloads));
    }
}

/// Runs `look` while another thread does `work` over and over, and says how often it did.
fn beside(mut work: impl FnMut() + Send, look: impl FnOnce() -> Gaps) -> (Gaps, u64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                work();
                times += 1;
            }
            times
        });
        let gaps = look();
        done.store(true, Ordering::Relaxed);
        (gaps, worker.join().unwrap())
    })
}

/// Decides, and looks at the clock after each decision.
fn look(live: &LivePolicy, questions: &[Question]) -> Gaps {
    let mut gaps = Gaps { counts: vec![0; 10_001], longest: Duration::ZERO };
    let start = Instant::now();
    let mut last = start;
    for (topic, signer) in questions.iter().cycle() {
        let _ = black_box(live.decide(black_box(topic), black_box(signer), at()));
        let now = Instant::now();
        let gap = now - last;
        last = now;
        let microseconds = usize::try_from(gap.as_micros()).unwrap().min(gaps.counts.len() - 1);
        gaps.counts[microseconds] += 1;
        gaps.longest = gaps.longest.max(gap);
        if now - start > LOOK {
            break;
        }
    }
    gaps
}

fn report(name: &str, gaps: &Gaps, times: Option<u64>) {
    let all: u64 = gaps.counts.iter().sum();
    let within = |thousandths: u64| {
        let mut seen = 0;
        let at = gaps.counts.iter().position(|count| {
            seen += count;
            seen * 100_000 >= all * thousandths
        });
        at.unwrap() + 1
    };
    let over: u64 = gaps.counts[1000..].iter().sum();
    let times = times.map_or_else(String::new, |times| format!(", {times} of them"));
    println!(
        "{name:16} {all:>9} decisions: 99.9 % within {} µs, 99.99 % within {} µs, {over} over 1 ms, longest {:.2?}{times}",
        within(99_900),
        within(99_990),
        gaps.longest,
    );
}
