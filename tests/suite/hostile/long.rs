//! Everything at once, and for long: run by hand, for figures.

use super::against_publisher as attack;
use super::raw::Raw;
use super::victim::{Engine, Innocent, Victim, address};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number from the environment, or `otherwise`.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn report(what: &str, victim: &mut Victim, innocent: &Innocent, begun: Instant) {
    let status = victim.status("sent").unwrap();
    eprintln!(
        "measured: {what}: {:.0} s, sent {}, the innocent heard {}, memory {} MiB, {} descriptors, processor {:.1} s; put out {}",
        begun.elapsed().as_secs_f64(),
        status["sent"],
        innocent.heard(),
        victim.memory_taken().unwrap() >> 20,
        victim.descriptors(),
        Duration::from_millis(victim.ticks() * 10).as_secs_f64(),
        status["put_out"],
    );
}

/// Every attack on a publisher, each again and again, for `TEST_SECONDS`.
#[test]
#[ignore = "a minute; see the module"]
fn all_at_once_for_a_minute() {
    let (mut victim, endpoint) = Victim::publisher(Engine::Zmtp, number("TEST_RATE", 5_000));
    let innocent = Innocent::subscribe(&endpoint);
    let (to, begun) = (address(&endpoint), Instant::now());
    let stop = AtomicBool::new(false);
    let attacks: [fn(std::net::SocketAddr) -> Result<(), String>; 10] = [
        |to| attack::huge(to, false),
        |to| attack::huge(to, true),
        attack::endless_parts,
        attack::large_ready,
        attack::large_subscription,
        attack::endless_subscriptions,
        attack::ping_flood,
        |to| attack::noise_at_each_state(to, 10),
        |to| attack::never_reads(to, None),
        |to| attack::never_reads(to, Some(Duration::from_millis(1000))),
    ];
    std::thread::scope(|scope| {
        for attack in attacks {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Refused for the number of connections, or put out: either is well.
                    let _ = attack(to);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flood: Vec<_> = (0..200).map(|_| Raw::connect(to)).collect();
                std::thread::sleep(Duration::from_millis(300));
                drop(flood);
            }
        });
        let judged = (|| {
            while begun.elapsed() < Duration::from_secs(number("TEST_SECONDS", 60)) {
                innocent.hears(500)?;
                victim.is_whole()?;
            }
            Ok::<_, String>(())
        })();
        stop.store(true, Ordering::Relaxed);
        judged.unwrap();
    });
    innocent.hears(1_000).unwrap();
    report("all attacks at once", &mut victim, &innocent, begun);
}

/// A hundred clients that connect, subscribe to a hundred topics, hear something, and leave; for `TEST_SECONDS`.
#[test]
#[ignore = "ten minutes; see the module"]
fn a_hundred_clients_come_and_go() {
    let (mut victim, endpoint) = Victim::publisher(Engine::Zmtp, 5_000);
    let innocent = Innocent::subscribe(&endpoint);
    let (to, begun) = (address(&endpoint), Instant::now());
    let (stop, visits) = (AtomicBool::new(false), AtomicU64::new(0));
    let topics: Vec<String> = (0..99).map(|n| format!("topic.{n}")).chain(["a.".to_owned()]).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let descriptors = victim.descriptors();
    std::thread::scope(|scope| {
        // As many as there may be of one address are there at once; the others come as they leave.
        for _ in 0..100 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(mut raw) = Raw::subscriber(to, "", &topics)
                        && raw.hear(64).is_ok()
                    {
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let judged = (|| {
            while begun.elapsed() < Duration::from_secs(number("TEST_SECONDS", 600)) {
                innocent.hears(500)?;
                victim.is_whole()?;
            }
            Ok::<_, String>(())
        })();
        stop.store(true, Ordering::Relaxed);
        judged.unwrap();
    });
    innocent.hears(1_000).unwrap();
    eprintln!("measured: {} visits", visits.load(Ordering::Relaxed));
    report("coming and going", &mut victim, &innocent, begun);
    crate::support::until("the last of them to be gone", || {
        (victim.descriptors() <= descriptors).then_some(())
    });
}
