use super::{Finding, Inventory, Issued, LintCode, LintContext, Severity, lint};
use crate::limits::Limits;
use crate::policy::Source;
use crate::topic::Topic;

fn findings(text: &str, inventory: Option<&Inventory>, seen: Option<&[Topic]>) -> Vec<Finding> {
    let envs = ["prod".to_owned(), "stg".to_owned()];
    let at = "2026-11-24T12:00:00Z".parse().unwrap();
    let context = LintContext { at, envs: &envs, inventory, seen };
    let text = format!("version = 1\nserial = 1\n{text}");
    lint(&[Source { file: "p", bytes: text.as_bytes() }], &context, &Limits::STANDARD)
}

/// A policy of rules of one letter each, from `a` on: (effect, topic, publisher, more keys).
fn policy(rules: &[(&str, &str, &str, &str)]) -> String {
    let one = |(n, (effect, topic, publisher, more)): (usize, &(&str, &str, &str, &str))| {
        let id = char::from(b'a' + u8::try_from(n).unwrap());
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = [\"{topic}\"]\npublishers = [\"{publisher}\"]\n{more}\n"
        )
    };
    rules.iter().enumerate().map(one).collect()
}

fn said(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {}: {}", f.position, f.code, f.message)).collect()
}

#[test]
fn rules_among_themselves() {
    const ALL: &str = "spiffe://t.org/*/*/*";
    const STG: &str = "spiffe://t.org/stg/*/*";
    const ONE: &str = "spiffe://t.org/stg/a/h";
    const FROM_26: &str = "from = 2026-01-01T00:00:00Z";
    const FROM_27: &str = "from = 2027-01-01T00:00:00Z";
    const UNTIL_27: &str = "until = 2027-01-01T00:00:00Z";
    for (rules, expected) in [
        // Rights that nobody can use.
        (
            &[("allow", "x.a.{env}.#", STG, ""), ("deny", "x.*.stg.#", ALL, "")][..],
            &[
                "p:3:1 never-applies: rule `a` can never let anybody in: the deny rule `b` (p:9:1) is in the way",
            ][..],
        ),
        (&[("allow", "x.a.{env}.#", ALL, ""), ("deny", "x.*.stg.#", ALL, "")], &[]),
        (
            &[("allow", "x.a.b", STG, ""), ("exclusive", "x.#", "cn:y", "")],
            &[
                "p:3:1 never-applies: rule `a` can never let anybody in: the exclusive rule `b` (p:9:1) is in the way",
            ],
        ),
        (&[("allow", "x.a.b", STG, ""), ("exclusive", "x.#", ONE, "")], &[]),
        (
            &[("allow", "x.{host}", "spiffe://t.org/stg/a/h.example", ""), ("allow", "x.{env}", "cn:y", "")],
            &[
                "p:3:1 never-applies: rule `a` can never let anybody in: `spiffe://t.org/stg/a/h.example` cannot fill its templates",
                "p:9:1 never-applies: rule `b` can never let anybody in: `cn:y` cannot fill its templates",
            ],
        ),
        // One that ends does not cover one that stays.
        (&[("allow", "x.a", STG, ""), ("deny", "x.a", ALL, "until = 2027-01-01T00:00:00Z")], &[]),
        // Rules within others.
        (
            &[("allow", "x.{env}.{service}.#", ALL, ""), ("allow", "x.stg.a.b", ONE, "")],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (&[("allow", "x.{env}.{service}.#", ALL, ""), ("allow", "x.stg.b.b", ONE, "")], &[]),
        (
            &[("allow", "x.a", ONE, ""), ("allow", "x.a", ONE, "")],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (
            &[("deny", "x.#", ALL, ""), ("deny", "x.a", STG, "from = 2026-01-01T00:00:00Z")],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (&[("deny", "x.#", ALL, "from = 2026-01-01T00:00:00Z"), ("deny", "x.a", STG, "")], &[]),
        (
            &[("deny", "x.#", ALL, FROM_26), ("deny", "x.a", STG, FROM_26)],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (&[("deny", "x.#", ALL, "from = 2026-01-01T00:00:01Z"), ("deny", "x.a", STG, FROM_26)], &[]),
        (
            &[("deny", "x.#", ALL, UNTIL_27), ("deny", "x.a", STG, UNTIL_27)],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (
            &[("deny", "x.#", ALL, UNTIL_27), ("deny", "x.a", STG, "until = 2026-12-31T23:59:59Z")],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        (&[("deny", "x.#", ALL, "until = 2026-12-31T23:59:59Z"), ("deny", "x.a", STG, UNTIL_27)], &[]),
        (
            &[("exclusive", "x.#", STG, ""), ("exclusive", "x.a", STG, "")],
            &["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"],
        ),
        // Exclusives that overlap.
        (
            &[("exclusive", "x.*.b", STG, ""), ("exclusive", "x.a.#", "spiffe://t.org/*/a/*", "")],
            &[
                "p:3:1 exclusives-overlap: rule `a` and rule `b` (p:9:1) are exclusive on common topics: on `x.a.b` only \
               `spiffe://t.org/stg/a/*` may publish",
            ],
        ),
        (
            &[("exclusive", "x.a", STG, ""), ("exclusive", "x.a", "cn:y", "until = 2027-01-01T00:00:00Z")],
            &[
                "p:3:1 exclusives-overlap: rule `a` and rule `b` (p:9:1) are exclusive on common topics: on `x.a` only nobody \
                 may publish",
                "p:9:1 never-applies: rule `b` can never let anybody in: the exclusive rule `a` (p:3:1) is in the way",
            ],
        ),
        (&[("exclusive", "x.a", STG, ""), ("exclusive", "x.b", "cn:y", "")], &[]),
        // Ones that follow each other, in either order; and the first second that they share.
        (&[("exclusive", "x.a", STG, UNTIL_27), ("exclusive", "x.a", "cn:y", FROM_27)], &[]),
        (&[("exclusive", "x.a", STG, FROM_27), ("exclusive", "x.a", "cn:y", UNTIL_27)], &[]),
        (
            &[
                ("exclusive", "x.a", STG, UNTIL_27),
                ("exclusive", "x.a", "cn:y", "from = 2026-12-31T23:59:59Z"),
            ],
            &[
                "p:3:1 exclusives-overlap: rule `a` and rule `b` (p:9:1) are exclusive on common topics: on `x.a` only nobody \
                 may publish",
            ],
        ),
        (
            &[("allow", "x.a", STG, "until = 2026-11-24T12:00:00Z")],
            &[
                "p:3:1 rule-expired: rule `a` exists until 2026-11-24T12:00:00Z, which has passed (it is 2026-11-24T12:00:00Z)",
            ],
        ),
    ] {
        assert_eq!(said(&findings(&policy(rules), None, None)), expected, "{rules:?}");
    }
}

#[test]
fn under_allow_unlisted_a_rule_is_also_there_to_list_its_topics() {
    let rules = [
        ("allow", "x.b", "spiffe://t.org/stg/b/*", ""),
        ("allow", "x.{service}", "spiffe://t.org/stg/b/*", ""),
    ];
    let text = policy(&rules);
    assert_eq!(
        said(&findings(&text, None, None)),
        ["p:9:1 rule-within-another: rule `b` lies wholly within rule `a` (p:3:1)"]
    );
    let open = findings(&format!("default = \"allow-unlisted\"\n{text}"), None, None);
    let codes: Vec<LintCode> = open.iter().map(|f| f.code).collect();
    // Of the two it is now `a` that can go: `b` lists all that `a` lists.
    assert_eq!(codes, [LintCode::DefaultOpen, LintCode::RuleWithinAnother]);
    assert!(open[1].message.starts_with("rule `a`"), "{open:?}");
}

#[test]
fn groups_files_and_tests() {
    let group = "[groups]\nidle = [\"cn:x\"]\n";
    assert_eq!(said(&findings(group, None, None)), ["p:4:1 group-unused: group `idle` is used by no rule"]);
    for (text, code) in [
        ("[groups]\nempty = []\n".to_owned(), LintCode::EmptyList),
        (policy(&[("allow", "a", "@none", "")]), LintCode::UnknownGroup),
        (policy(&[("allow", "a", "cn:x", "")]).repeat(2), LintCode::DuplicateId),
        ("nonsense".to_owned(), LintCode::Invalid),
        ("[[test]]\ntopic = \"a\"\nsigner = \"cn:x\"\nexpect = \"allow\"".to_owned(), LintCode::TestFailed),
    ] {
        let found = findings(&text, None, None);
        assert_eq!(
            found.iter().map(|f| (f.code, f.severity())).collect::<Vec<_>>(),
            [(code, Severity::Error)],
            "{text}"
        );
        assert!(found.iter().all(|f| !f.fix.is_empty()));
    }
}

#[test]
fn against_the_inventory() {
    let issued = |text: &str, state| (text.parse().unwrap(), state);
    let inventory = Inventory {
        trust_domain: "t.org".to_owned(),
        issued: vec![
            issued("spiffe://t.org/prod/a/1", Issued::Valid),
            issued("spiffe://t.org/prod/b/1", Issued::Expired),
            issued("spiffe://t.org/prod/b/2", Issued::Revoked),
        ],
    };
    for (publisher, expected) in [
        ("spiffe://t.org/prod/a/1", None),
        ("spiffe://t.org/prod/a/*", None),
        ("spiffe://t.org/*/*/*", None),
        ("spiffe://t.org/prod/a/2", Some(LintCode::PublisherNeverIssued)),
        ("spiffe://t.org/stg/*/*", Some(LintCode::PublisherNeverIssued)),
        ("spiffe://t.org/prod/b/1", Some(LintCode::PublisherExpired)),
        ("spiffe://t.org/prod/b/2", Some(LintCode::PublisherRevoked)),
        ("spiffe://other.org/prod/b/2", None),
        ("cn:b", None),
    ] {
        let text = policy(&[("allow", "x.y", publisher, "")]);
        let found = findings(&text, Some(&inventory), None);
        assert_eq!(found.first().map(|f| f.code), expected, "{publisher}");
        assert_eq!(findings(&text, None, None), [], "{publisher}");
    }
}

#[test]
fn against_what_was_seen() {
    let topic = |text: &str| Topic::parse(text, &Limits::STANDARD).unwrap();
    let mut seen: Vec<Topic> = (0..15).map(|n| topic(&format!("org.prod.a.o{n}.edit"))).collect();
    seen.extend((0..10).map(|n| topic(&format!("org.prod.b.o{n}.edit"))));
    for (pattern, expected) in [
        ("org.prod.a.#", Some(LintCode::WidePattern)),
        ("org.prod.b.#", None),
        ("org.{env}.{service}.#", None),
        ("org.prod.c.#", Some(LintCode::TopicNeverSeen)),
        ("org.prod.c.*.edit", Some(LintCode::TopicNeverSeen)),
    ] {
        let text = policy(&[("allow", pattern, "spiffe://t.org/*/*/*", "")]);
        let found = findings(&text, None, Some(&seen));
        assert_eq!(found.first().map(|f| f.code), expected, "{pattern}");
    }
}

#[test]
fn wide_is_more_than_half_of_enough() {
    let topic = |text: &str| Topic::parse(text, &Limits::STANDARD).unwrap();
    let seen = |a: usize, b: usize| -> Vec<Topic> {
        let topics = (0..a).map(|n| format!("org.a.{n}")).chain((0..b).map(|n| format!("org.b.{n}")));
        topics.map(|text| topic(&text)).collect()
    };
    let text = policy(&[("allow", "org.a.#", "spiffe://t.org/*/*/*", "")]);
    for (seen, expected) in [
        (seen(0, 0), None),
        (seen(0, 1), Some(LintCode::TopicNeverSeen)),
        (seen(19, 0), None),
        (seen(20, 0), Some(LintCode::WidePattern)),
        (seen(10, 10), None),
        (seen(11, 10), Some(LintCode::WidePattern)),
    ] {
        let found = findings(&text, None, Some(&seen));
        assert_eq!(found.first().map(|f| f.code), expected, "{} topics", seen.len());
    }
}

#[test]
fn the_naming_of_topics() {
    for (pattern, expected) in [
        ("org.fp.prod.bodhi.update.comment", &[][..]),
        ("org.fp.prod.bodhi.updates.comment", &["`updates` looks like a plural"]),
        ("org.fp.*.bodhi.entries.#", &["`entries` looks like a plural"]),
        ("org.fp.{env}.{service}.status.change", &[]),
        ("org.fp.prod.bodhi.update.commenting", &["`commenting` is no verb that is known"]),
        ("org.fp.prod.bodhi.update.*", &[]),
        ("org.fp.prod.bodhi.commenting.#", &[]),
        ("org.fp.prod.bodhi.update.commenting.#", &[]),
        ("org.fp.prod.bodhi.update.builds.complete", &["`builds` looks like a plural"]),
        ("org.fps.prod.bodhis.update.comment", &[]),
        ("no.environment.things.here", &[]),
    ] {
        let text = policy(&[("allow", pattern, "spiffe://t.org/*/*/*", "")]);
        let found = findings(&text, None, None);
        assert!(found.iter().all(|f| f.severity() == Severity::Advice), "{found:?}");
        let said: Vec<&str> = found.iter().filter_map(|f| f.message.split(": ").nth(1)).collect();
        assert_eq!(said, expected, "{pattern}");
    }
}

#[test]
fn findings_are_in_the_order_of_the_files_as_given() {
    let text =
        |id: &str| format!("version = 1\nserial = 1\n[groups]\n{id}1 = [\"cn:x\"]\n{id}2 = [\"cn:y\"]\n");
    let (b, a) = (text("b"), text("a"));
    let sources = [("b", &b), ("a", &a)].map(|(file, text)| Source { file, bytes: text.as_bytes() });
    let context = LintContext { at: crate::time::Timestamp::MIN, envs: &[], inventory: None, seen: None };
    let places: Vec<String> =
        lint(&sources, &context, &Limits::STANDARD).iter().map(|f| f.position.to_string()).collect();
    assert_eq!(places, ["b:4:1", "b:5:1", "a:4:1", "a:5:1"]);
}
