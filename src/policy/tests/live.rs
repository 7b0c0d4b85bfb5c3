//! The policy in force: what follows what, and what is noted of what would have been decided otherwise.

use super::*;
use crate::policy::{DIFFERENCE_PERIOD, LivePolicy, Source, Superseded};
use std::collections::BTreeMap;
use std::sync::Arc;

const TOPIC: &str = "a.b";

fn rule(id: &str, effect: &str, topics: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = [\"{topics}\"]\npublishers = [\"cn:x\"]\n"
    )
}

fn unix(second: i64) -> Timestamp {
    Timestamp::from_unix(1_000_000 + second).unwrap()
}

fn ask(live: &LivePolicy, on: &str, second: i64) -> bool {
    live.decide(&topic(on), &signer("cn:x"), unix(second)).is_ok()
}

/// What was noted since the last time: topic, rule, whether it is allowed now, and the candidate's serial.
fn noted(live: &LivePolicy) -> Vec<(String, String, bool, Option<u64>)> {
    let noted = live.take_differences().into_iter().map(|difference| {
        let rule = difference.rule.as_ref().map_or("-", |rule| rule.id()).to_owned();
        let candidate = difference.candidate.map(|edition| edition.serial);
        (difference.topic.to_string(), rule, difference.is_allowed, candidate)
    });
    noted.collect()
}

fn counts(live: &LivePolicy) -> BTreeMap<String, u64> {
    live.difference_counts()
}

#[test]
fn an_older_policy_does_not_follow() {
    let of = |files: &[(&str, u64)]| {
        let texts: Vec<_> =
            files.iter().map(|(_, serial)| format!("version = 1\nserial = {serial}\n")).collect();
        let sources: Vec<Source<'_>> = files
            .iter()
            .zip(&texts)
            .map(|((file, _), text)| Source { file, bytes: text.as_bytes() })
            .collect();
        Policy::parse_files(&sources, &Limits::STANDARD).unwrap()
    };
    let file = |file: &str, found, in_force| Err(Superseded::File { file: file.into(), found, in_force });
    let whole = |found, in_force| Err(Superseded::Policy { found, in_force });
    for (next, expected) in [
        (of(&[("a", 4), ("b", 9)]), Ok(())),
        (of(&[("a", 4), ("b", 10)]), Ok(())),
        (of(&[("a", 5), ("b", 9)]), Ok(())),
        (of(&[("a", 3), ("b", 10)]), file("a", 3, 4)),
        (of(&[("a", 4), ("b", 8)]), file("b", 8, 9)),
        // A file that is new has nothing to be older than; the whole has.
        (of(&[("c", 1), ("b", 9)]), Ok(())),
        (of(&[("c", 8)]), whole(8, 9)),
        (of(&[("c", 9)]), Ok(())),
    ] {
        let live = LivePolicy::new(of(&[("a", 4), ("b", 9)]));
        let (before, edition) = (live.policy().edition(), next.edition());
        let replaced = live.replace(next).map(|old| assert_eq!(old.edition(), before));
        assert_eq!(replaced, expected);
        assert_eq!(live.policy().edition(), if expected.is_ok() { edition } else { before });
    }
}

#[test]
fn a_candidate_is_compared_and_a_shadow_too() {
    let plain = Arc::new(policy(&rule("r", "allow", "a.#")));
    let live = LivePolicy::new(Arc::clone(&plain));
    assert!(ask(&live, TOPIC, 0) && live.candidate().is_none());
    assert_eq!(
        (noted(&live), counts(&live)),
        (Vec::new(), BTreeMap::new()),
        "there is nothing to compare with"
    );

    // A candidate alone. Without the rule the default denies: the rule is what makes the difference.
    let empty = Policy::parse("version = 1\nserial = 7\n", "q", &Limits::STANDARD).unwrap();
    assert!(live.set_candidate(Some(Arc::new(empty))).is_none());
    assert_eq!(live.candidate().unwrap().edition().serial, 7);
    assert!(ask(&live, TOPIC, 1) && !ask(&live, "b", 1));
    assert_eq!(noted(&live), [(TOPIC.to_owned(), "r".to_owned(), true, Some(7))], "b is denied by both");

    // By another candidate the default would allow: no rule makes that difference.
    let open = Arc::new(policy("default = \"allow-unlisted\"\n"));
    let before = live.set_candidate(Some(open));
    assert_eq!(before.unwrap().edition().serial, 7);
    assert!(!ask(&live, "b", 2));
    assert_eq!(noted(&live), [("b".to_owned(), "-".to_owned(), false, Some(1))]);
    assert!(live.set_candidate(None).is_some());
    assert!(!ask(&live, "b", 3));

    // A shadow alone, and taken away again.
    let shadow = rule("r", "allow", "a.#") + &rule("s", "deny", TOPIC) + "shadow = true\n";
    assert_eq!(*live.replace(policy(&shadow)).unwrap().digest(), *plain.digest());
    assert!(ask(&live, TOPIC, 4) && ask(&live, "a.c", 4));
    assert_eq!(noted(&live), [(TOPIC.to_owned(), "s".to_owned(), true, None)]);
    live.replace(plain).unwrap();
    assert!(ask(&live, TOPIC, 5));
    assert_eq!(noted(&live), []);
    assert_eq!(counts(&live), [("-", 1), ("r", 1), ("s", 1)].map(|(id, n)| (id.to_owned(), n)).into());
}

#[test]
fn a_difference_is_noted_once_a_period_and_counted_each_time() {
    let live = LivePolicy::new(policy(&rule("r", "allow", "a.#")));
    live.set_candidate(Some(Arc::new(policy(""))));
    let count_of = |second| {
        ask(&live, TOPIC, second);
        noted(&live).len()
    };
    assert_eq!([0, 1, DIFFERENCE_PERIOD - 1].map(count_of), [1, 0, 0]);
    assert_eq!(
        [DIFFERENCE_PERIOD, DIFFERENCE_PERIOD + 1].map(count_of),
        [1, 0],
        "a period after it was noted"
    );
    assert_eq!(counts(&live)["r"], 5);
}

/// A sender makes up topics for nothing.
#[test]
fn what_is_noted_is_bounded_and_what_is_counted_is_not() {
    const MOST: i64 = 10_000;
    let live = LivePolicy::new(policy(&rule("r", "allow", "a.#")));
    live.set_candidate(Some(Arc::new(policy(""))));
    let fill = |second| (0..=MOST).for_each(|n| assert!(ask(&live, &format!("a.{second}-{n}"), second)));
    fill(0);
    assert_eq!(noted(&live).len(), 10_000);
    // Taken, but remembered for its period.
    assert!(ask(&live, "a.new", DIFFERENCE_PERIOD - 1));
    assert_eq!(noted(&live), []);
    // Then it is forgotten, and what comes is noted, until as much waits to be taken.
    fill(DIFFERENCE_PERIOD);
    assert!(ask(&live, "a.new", 2 * DIFFERENCE_PERIOD));
    assert_eq!(noted(&live).len(), 10_000);
    assert!(ask(&live, "a.new", 2 * DIFFERENCE_PERIOD));
    assert_eq!(noted(&live).len(), 1, "what was not noted for lack of room is not remembered either");
    assert_eq!(counts(&live)["r"], 2 * 10_001 + 3);
}
