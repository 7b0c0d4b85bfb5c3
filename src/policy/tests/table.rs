//! Decisions that a reader can check by looking.

use super::*;
use crate::policy::{Standing, danger};

const NOW: &str = "2026-11-24T12:00:00Z";

const FEDORA: &str = r##"
[groups]
announcers = ["spiffe://fp.org/prod/announce/box01", "cn:old-announce"]

[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.fp.{env}.{service}.#"]
publishers = ["spiffe://fp.org/*/*/*", "cn:old-announce"]

[[rule]]
id = "announcements"
effect = "exclusive"
topics = ["org.fp.*.announce.#"]
publishers = ["@announcers"]
until = 2027-12-31T00:00:00Z

[[rule]]
id = "announcements-2"
effect = "exclusive"
topics = ["org.fp.prod.announce.hard"]
publishers = ["spiffe://fp.org/prod/announce/*"]

[[rule]]
id = "broken-into"
effect = "deny"
topics = ["org.fp.#"]
publishers = ["spiffe://fp.org/prod/bodhi/app02"]
from = 2026-11-01T00:00:00+01:00

[routing_policy]
"org.fp.prod.wiki.edit" = ["wiki-app01.fp.org", "wiki-app02.fp.org"]
"##;

#[test]
fn the_steps_in_their_order() {
    let policy = policy(FEDORA);
    let s = |path: &str| format!("spiffe://fp.org/{path}");
    for (topic, signer, when, expected) in [
        // Step 4: the signer's own subtree, whole fields, its own environment.
        ("org.fp.prod.bodhi.update.comment", s("prod/bodhi/app01"), NOW, "allow 4 own-subtree"),
        ("org.fp.prod.bodhi", s("prod/bodhi/app01"), NOW, "allow 4 own-subtree"),
        ("org.fp.prod.bodhi2.update", s("prod/bodhi/app01"), NOW, "policy-unlisted 5 -"),
        ("org.fp.prod.bodhi.update", s("stg/bodhi/app01"), NOW, "policy-unlisted 5 -"),
        ("org.fp.prod.koji.build", s("prod/bodhi/app01"), NOW, "policy-unlisted 5 -"),
        ("org.fp.prod.bodhi.x", "spiffe://evil.org/prod/bodhi/app01".into(), NOW, "policy-unlisted 5 -"),
        // A common name has no parts to fill a template from.
        ("org.fp.prod.bodhi.x", "cn:old-announce".into(), NOW, "policy-unlisted 5 -"),
        // Step 3 before step 4: the own subtree does not help against somebody else's exclusive.
        ("org.fp.stg.announce.x", s("stg/announce/box01"), NOW, "policy-exclusive 3 announcements"),
        ("org.fp.prod.announce.x", s("prod/announce/box01"), NOW, "allow 4 announcements"),
        ("org.fp.prod.announce.x", "cn:old-announce".into(), NOW, "allow 4 announcements"),
        ("org.fp.prod.announce.x", "cn:old-announce2".into(), NOW, "policy-exclusive 3 announcements"),
        // Two exclusives: whoever publishes is named by both.
        ("org.fp.prod.announce.hard", s("prod/announce/box01"), NOW, "allow 4 announcements"),
        ("org.fp.prod.announce.hard", s("prod/announce/box02"), NOW, "policy-exclusive 3 announcements"),
        ("org.fp.prod.announce.hard", "cn:old-announce".into(), NOW, "policy-exclusive 3 announcements-2"),
        ("org.fp.prod.announce.hard", s("prod/bodhi/app01"), NOW, "policy-exclusive 3 announcements"),
        // `until` is exclusive: at that second the rule is gone.
        (
            "org.fp.stg.announce.x",
            s("stg/announce/b"),
            "2027-12-30T23:59:59Z",
            "policy-exclusive 3 announcements",
        ),
        ("org.fp.stg.announce.x", s("stg/announce/b"), "2027-12-31T00:00:00Z", "allow 4 own-subtree"),
        // Step 2 before all: a deny, from its first second on.
        ("org.fp.prod.bodhi.update", s("prod/bodhi/app02"), "2026-10-31T22:59:59Z", "allow 4 own-subtree"),
        (
            "org.fp.prod.bodhi.update",
            s("prod/bodhi/app02"),
            "2026-10-31T23:00:00Z",
            "policy-denied 2 broken-into",
        ),
        ("org.fp.prod.announce.x", s("prod/bodhi/app02"), NOW, "policy-denied 2 broken-into"),
        // fedmsg's names are common names, exactly, and the topic is exactly that topic.
        (
            "org.fp.prod.wiki.edit",
            "cn:wiki-app01.fp.org".into(),
            NOW,
            "allow 4 routing_policy:org.fp.prod.wiki.edit",
        ),
        (
            "org.fp.prod.wiki.edit",
            "cn:wiki-app01".into(),
            NOW,
            "policy-exclusive 3 routing_policy:org.fp.prod.wiki.edit",
        ),
        (
            "org.fp.prod.wiki.edit",
            s("prod/wiki/app01"),
            NOW,
            "policy-exclusive 3 routing_policy:org.fp.prod.wiki.edit",
        ),
        ("org.fp.prod.wiki.edit.minor", s("prod/wiki/app01"), NOW, "allow 4 own-subtree"),
        ("org.fp.prod.wiki.edit.minor", "cn:wiki-app01.fp.org".into(), NOW, "policy-unlisted 5 -"),
    ] {
        assert_eq!(decided(&policy, topic, &signer, when), expected, "{topic} from {signer} at {when}");
    }
}

#[test]
fn allow_unlisted_opens_only_what_no_rule_lists() {
    let rules = FEDORA.replace("[\"org.fp.#\"]", "[\"org.fp.prod.bodhi.#\"]");
    let policy = policy(&format!("default = \"allow-unlisted\"\n{rules}"));
    for (topic, signer, expected) in [
        ("com.example.x", "cn:anybody", "allow 5 -"),
        // One field too few for any pattern.
        ("org.fp.prod", "cn:anybody", "allow 5 -"),
        // Listed through a template, which then stands for any field: for this signer and for every other.
        ("org.fp.prod.koji.build", "cn:anybody", "policy-unlisted 5 -"),
        ("org.fp.prod.koji.build", "spiffe://fp.org/prod/bodhi/app01", "policy-unlisted 5 -"),
        ("org.fp.prod.koji.build", "spiffe://fp.org/prod/koji/hub", "allow 4 own-subtree"),
    ] {
        assert_eq!(decided(&policy, topic, signer, NOW), expected, "{topic} from {signer}");
    }
}

/// Were it otherwise, an expiring `allow` would open its topic to everybody.
#[test]
fn a_rule_lists_its_topics_at_every_time() {
    let rule = |effect| {
        format!(
            "default = \"allow-unlisted\"\n[[rule]]\nid = \"r\"\neffect = \"{effect}\"\ntopics = [\"a.b\"]\n\
             publishers = [\"cn:x\"]\nuntil = 2026-01-01T00:00:00Z"
        )
    };
    for effect in ["allow", "deny", "exclusive"] {
        assert_eq!(decided(&policy(&rule(effect)), "a.b", "cn:x", NOW), "policy-unlisted 5 -", "{effect}");
        assert_eq!(decided(&policy(&rule(effect)), "a.c", "cn:x", NOW), "allow 5 -", "{effect}");
    }
}

#[test]
fn a_policy_without_rules_denies() {
    assert_eq!(decided(&policy(""), "a.b", "cn:x", NOW), "policy-unlisted 5 -");
    assert_eq!(decided(&policy("[groups]\n[routing_policy]"), "a.b", "cn:x", NOW), "policy-unlisted 5 -");
}

#[test]
fn several_files_are_one_policy() {
    let a = "version = 1\nserial = 3\n[groups]\ng = [\"cn:x\"]\n";
    let b = "version = 1\nserial = 9\n[[rule]]\nid = \"r\"\neffect = \"allow\"\ntopics = [\"a.#\"]\npublishers = [\"@g\"]\n";
    let source = |file, text: &'static str| crate::policy::Source { file, bytes: text.as_bytes() };
    let one = Policy::parse_files(&[source("a", a), source("b", b)], &Limits::STANDARD).unwrap();
    let other = Policy::parse_files(&[source("b", b), source("a", a)], &Limits::STANDARD).unwrap();
    assert_eq!(decided(&one, "a.b", "cn:x", NOW), "allow 4 r");
    assert_eq!(decided(&other, "a.b", "cn:x", NOW), "allow 4 r");
    assert_eq!(one.digest(), other.digest());
    assert_eq!((one.rule_count(), one.group_count()), (1, 1));
    assert_eq!((policy("").rule_count(), policy(FEDORA).rule_count(), policy("").group_count()), (0, 5, 0));
    let serials: Vec<u64> = one.files().iter().map(|file| file.serial).collect();
    assert_eq!(serials, [3, 9]);
}

#[test]
fn the_digest_of_one_file_is_what_sha256sum_prints() {
    // printf 'version = 1\nserial = 1\ndefault = "allow-unlisted"\n' | sha256sum
    let policy = policy("default = \"allow-unlisted\"\n");
    assert_eq!(
        policy.edition().digest_hex(),
        "7b46e68d906876b8c0bb72da71cc0b383b4f7bd3045dca52b98b6168aad202ce"
    );
    let grant = policy.decide(&topic("a"), &signer("cn:a"), at(NOW)).unwrap();
    assert!(grant.digest() == policy.digest() && policy.edition().digest == *policy.digest());
}

#[test]
fn unchecked_says_so() {
    let decided = decided(&danger::allow_everything(), "a.b", "cn:x", NOW);
    assert_eq!(decided, "allow 5 unchecked");
}

#[test]
fn tests_in_the_file_hold_always_unless_they_name_a_time() {
    let test = |rest: &str| {
        let text = format!("{FEDORA}\n[[test]]\nsigner = \"spiffe://fp.org/stg/announce/box01\"\n{rest}\n");
        try_policy(&text).map(|policy| policy.test_count()).map_err(|errors| errors.to_string())
    };
    let topic = "topic = \"org.fp.stg.announce.x\"";
    assert_eq!(test(&format!("{topic}\nexpect = \"deny\"\nat = 2027-01-01T00:00:00Z")), Ok(1));
    assert_eq!(test(&format!("{topic}\nexpect = \"allow\"\nat = 2028-01-01T00:00:00Z")), Ok(1));
    assert_eq!(
        test(&format!("{topic}\nexpect = \"deny\"")),
        Err("p.toml:36:1: test failed: `org.fp.stg.announce.x` from `spiffe://fp.org/stg/announce/box01` is allowed by \
             rule `own-subtree` (p.toml:7:1) at step 4 from 2027-12-31T00:00:00Z on, expected denied"
            .to_owned())
    );
    assert_eq!(
        test(&format!("{topic}\nexpect = \"allow\"\nat = 2027-01-01T00:00:00Z")),
        Err("p.toml:36:1: test failed: `org.fp.stg.announce.x` from `spiffe://fp.org/stg/announce/box01` is denied by \
             rule `announcements` (p.toml:13:1) at step 3 at 2027-01-01T00:00:00Z, expected allowed"
            .to_owned())
    );
    assert_eq!(
        test("topic = \"org.fp.prod.koji.x\"\nexpect = \"allow\""),
        Err("p.toml:36:1: test failed: `org.fp.prod.koji.x` from `spiffe://fp.org/stg/announce/box01` is denied by the \
             default at step 5, expected allowed"
            .to_owned())
    );
}

#[test]
fn explanations_say_why_of_every_rule() {
    let policy = policy(FEDORA);
    let said = |on: &str, by: &str| -> Vec<(String, String)> {
        let explanation = policy.explain(&topic(on), &signer(by), at(NOW));
        let rules = explanation.rules.into_iter().filter(|c| c.standing != Standing::TopicDiffers);
        rules.map(|c| (c.rule.id().to_owned(), c.standing.to_string())).collect()
    };
    assert_eq!(
        said("org.fp.prod.announce.x", "spiffe://fp.org/stg/announce/box01"),
        [
            ("announcements", "selects it by `org.fp.*.announce.#`, does not name the signer"),
            ("broken-into", "selects it by `org.fp.#`, does not name the signer"),
            (
                "own-subtree",
                "`org.fp.{env}.{service}.#`: {env} is `stg` for this signer, the topic has `prod`"
            ),
        ]
        .map(|(id, text)| (id.to_owned(), text.to_owned()))
    );
    assert_eq!(
        said("org.fp.prod.announce.x", "cn:old-announce")[0].1,
        "selects it by `org.fp.*.announce.#`, names the signer by `@announcers (cn:old-announce)`"
    );
    assert_eq!(
        said("org.fp.prod.announce.x", "cn:old-announce")[2].1,
        "`org.fp.{env}.{service}.#`: a common name has no {env}, the topic has `prod`"
    );
}

/// A rule is near where templates alone keep it from the topic.
#[test]
fn explanations_have_a_code_for_every_rule() {
    let rule = |id: &str, topics: &str, more: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"allow\"\ntopics = [\"{topics}\"]\npublishers = [\"cn:x\"]\n{more}\n"
        )
    };
    let policy = policy(
        &[
            rule("names", "a.#", ""),
            rule("others", "a.#", "").replace("cn:x", "cn:y"),
            rule("over", "a.#", "until = 2020-01-01T00:00:00Z"),
            rule("shadow", "a.#", "shadow = true"),
            rule("template", "a.{env}.b", ""),
            rule("template-open", "a.{env}.#", ""),
        ]
        .concat(),
    );
    assert!(policy.has_shadows());
    let differs = "topic-differs";
    for (on, closed, open) in [
        ("a", differs, differs),
        ("a.x", differs, "template"),
        ("a.x.b", "template", "template"),
        ("a.x.c", differs, "template"),
        ("a.x.b.c", differs, "template"),
    ] {
        let explanation = policy.explain(&topic(on), &signer("cn:x"), at(NOW));
        let codes: Vec<_> =
            explanation.rules.iter().map(|c| (c.standing.code(), c.standing.is_match())).collect();
        let expected = [
            ("names", true),
            ("names-others", true),
            ("outside-its-times", false),
            ("shadow", false),
            (closed, false),
            (open, false),
        ];
        assert_eq!(codes, expected, "{on}");
    }
}

#[test]
fn what_would_have_to_change() {
    let policy = policy(FEDORA);
    assert!(!policy.has_shadows());
    let changes = |on: &str, by: &str, when: &str| {
        policy.explain(&topic(on), &signer(by), at(when)).changes(&topic(on), &signer(by))
    };
    let none = changes("org.fp.prod.bodhi.x", "spiffe://fp.org/prod/bodhi/app01", NOW);
    assert_eq!((none.all_of.len(), none.one_of.len()), (0, 0), "it is allowed");
    // Denied by two rules: with both of them out of the way there is nothing to add, since one of them names the signer then.
    let both = changes("org.fp.prod.announce.x", "spiffe://fp.org/prod/bodhi/app02", NOW);
    assert_eq!(
        both.all_of,
        [
            "rule `announcements` (p.toml:13:1) would have to name the signer",
            "rule `broken-into` (p.toml:26:1) would have to stop naming the signer by `spiffe://fp.org/prod/bodhi/app02`",
        ]
    );
    assert_eq!(both.one_of, [""; 0]);
    // Denied by a rule, and allowed by another one.
    let one = changes("org.fp.prod.bodhi.x", "spiffe://fp.org/prod/bodhi/app02", NOW);
    assert_eq!((one.all_of.len(), one.one_of.len()), (1, 0));
    // Allowed by none: each rule that is near, and a new one. A deny that is near would not help.
    let near = changes("org.fp.prod.koji.x", "spiffe://fp.org/stg/bodhi/app01", NOW);
    assert_eq!(near.all_of, [""; 0]);
    assert_eq!(
        near.one_of,
        [
            "for rule `own-subtree` (p.toml:7:1), the signer's {env} would have to be `prod`; it is `stg`",
            "a new rule: effect = \"allow\", topics = [\"org.fp.prod.koji.x\"], publishers = [\"spiffe://fp.org/stg/bodhi/app01\"]",
        ]
    );
    let gone = changes("org.fp.stg.announce.x", "cn:somebody", "2028-01-01T00:00:00Z");
    assert_eq!(
        gone.one_of[0],
        "rule `announcements` (p.toml:13:1) would have to exist at this time; it exists until 2027-12-31T00:00:00Z"
    );
    let other = changes("org.fp.prod.bodhi.x", "spiffe://evil.org/prod/bodhi/app01", NOW);
    assert_eq!(other.one_of[0], "rule `own-subtree` (p.toml:7:1) would have to name the signer");
}
