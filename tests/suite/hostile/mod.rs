//! Hostile peers against a publisher and a subscriber, each in a process of its own, with an innocent peer beside them.
//!
//! Every case is run against every engine that has sockets. `tests/transport-exceptions.toml` says which engine fails which, and
//! why; a failure that is not there fails the test, and so does one that is there and does not happen.
//!
//! The two long ones are run by hand:
//!
//!     cargo test --release --test suite -- --ignored --nocapture --exact hostile::all_at_once_for_a_minute
//!     cargo test --release --test suite -- --ignored --nocapture --exact hostile::a_hundred_clients_come_and_go

mod against_publisher;
mod against_subscriber;
mod long;
mod raw;
mod victim;

use std::collections::BTreeSet;
use victim::Engine;

/// A case of the table, and what it does; `Err` says in what the engine failed.
type Case = (&'static str, fn(Engine) -> Result<(), String>);

fn exceptions() -> BTreeSet<(String, String)> {
    let table: toml::Table = include_str!("../../transport-exceptions.toml").parse().expect("TOML");
    let list = table["exception"].as_array().expect("a list");
    let text = |entry: &toml::Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    list.iter()
        .map(|entry| {
            assert!(text(entry, "why").len() > 20, "an exception has its reason");
            (text(entry, "engine"), text(entry, "case"))
        })
        .collect()
}

/// Runs the cases, and compares what failed with what the exceptions say.
fn judge(engine: Engine, prefix: &str, cases: &[Case]) {
    let excepted: BTreeSet<String> = exceptions()
        .into_iter()
        .filter(|(of, case)| of == engine.name() && case.starts_with(prefix))
        .map(|(_, case)| case)
        .collect();
    let mut wrong = Vec::new();
    let mut run = BTreeSet::new();
    for (name, case) in cases {
        let name = format!("{prefix}{name}");
        match (case(engine), excepted.contains(&name)) {
            (Ok(()), true) => wrong.push(format!("{name}: passed, and is an exception")),
            (Err(why), false) => wrong.push(format!("{name}: {why}")),
            (Err(why), true) => eprintln!("{}, {name}: as expected, {why}", engine.name()),
            (Ok(()), false) => {}
        }
        run.insert(name);
    }
    wrong.extend(excepted.difference(&run).map(|case| format!("{case}: an exception to no case")));
    assert!(wrong.is_empty(), "{}:\n{}", engine.name(), wrong.join("\n"));
}

#[test]
fn a_hostile_subscriber_harms_no_publisher_of_ours() {
    judge(Engine::Zmtp, "publisher/", against_publisher::CASES);
}

#[test]
fn a_hostile_publisher_harms_no_subscriber_of_ours() {
    judge(Engine::Zmtp, "subscriber/", against_subscriber::CASES);
}

#[test]
fn a_hostile_subscriber_harms_the_crate_as_the_exceptions_say() {
    judge(Engine::ZeroMq, "publisher/", against_publisher::CASES);
}

#[test]
fn a_hostile_publisher_harms_the_crate_as_the_exceptions_say() {
    judge(Engine::ZeroMq, "subscriber/", against_subscriber::CASES);
}
