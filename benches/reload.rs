//! What a reload of the policy costs those who decide by it: the gaps between one decision and the next of one thread, while another
//! one puts policies of 100,000 rules in force as fast as it can.
//!
//! It is one long look at a clock and no loop to be timed, so that it has a `main` of its own. Beside the looks at reloads there are
//! some at a thread alone, and some beside a thread that parses the same policies and puts none in force; they take turns in one
//! process. From each gap the time is taken off for which the kernel let somebody else run (`/proc/thread-self/schedstat`): on a
//! machine that others use, that is most of every long gap. What the thread waits for by itself, a lock or a page, stays.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "policies/mod.rs"]
mod policies;

use fedmsg::policy::{LivePolicy, Policy};
use policies::{Question, at, parse, questions, rules};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
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
    /// The longest with all that others ran in it.
    longest_on_the_wall: Duration,
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
    let mut gaps =
        Gaps { counts: vec![0; 10_001], longest: Duration::ZERO, longest_on_the_wall: Duration::ZERO };
    let schedule = File::open("/proc/thread-self/schedstat").ok();
    let start = Instant::now();
    let (mut last, mut last_waited) = (start, waited(schedule.as_ref()));
    for (topic, signer) in questions.iter().cycle() {
        let _ = black_box(live.decide(black_box(topic), black_box(signer), at()));
        let waited = waited(schedule.as_ref());
        let now = Instant::now();
        let on_the_wall = now - last;
        let gap = on_the_wall.saturating_sub(waited - last_waited);
        (last, last_waited) = (now, waited);
        let microseconds = usize::try_from(gap.as_micros()).unwrap().min(gaps.counts.len() - 1);
        gaps.counts[microseconds] += 1;
        gaps.longest = gaps.longest.max(gap);
        gaps.longest_on_the_wall = gaps.longest_on_the_wall.max(on_the_wall);
        if now - start > LOOK {
            break;
        }
    }
    gaps
}

/// How long this thread could have run and did not: the second number of its file, in nanoseconds.
fn waited(schedule: Option<&File>) -> Duration {
    let mut text = [0; 64];
    let read = schedule.map_or(0, |file| file.read_at(&mut text, 0).unwrap());
    let text = std::str::from_utf8(&text[..read]).unwrap();
    Duration::from_nanos(text.split(' ').nth(1).map_or(0, |waited| waited.parse().unwrap()))
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
        "{name:16} {all:>9} decisions: 99.9 % within {} µs, 99.99 % within {} µs, {over} over 1 ms, longest {:.2?} \
         ({:.2?} with others){times}",
        within(99_900),
        within(99_990),
        gaps.longest,
        gaps.longest_on_the_wall,
    );
}
