//! An evaluator so simple that it can be seen to be right, and what must hold for every policy.
//!
//! It works on the texts that a person would write: the policy under test reads the same texts as a TOML file.

use super::*;
use crate::policy::{Effect, Standing};
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt::Write;

#[derive(Clone, Debug)]
struct Written {
    id: String,
    effect: &'static str,
    topics: Vec<String>,
    publishers: Vec<String>,
    from: Option<i64>,
    until: Option<i64>,
    shadow: bool,
}

const GROUPS: [(&str, &[&str]); 2] =
    [("g", &["cn:a", "spiffe://t/prod/a/h"]), ("k", &["spiffe://t/stg/*/*"])];

fn toml(rules: &[Written], default: &str) -> String {
    let mut text = format!("default = \"{default}\"\n[groups]\n");
    for (name, members) in GROUPS {
        writeln!(text, "{name} = {members:?}").unwrap();
    }
    for rule in rules {
        let Written { id, effect, topics, publishers, from, until, shadow } = rule;
        writeln!(text, "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = {topics:?}").unwrap();
        writeln!(text, "publishers = {publishers:?}").unwrap();
        if *shadow {
            text.push_str("shadow = true\n");
        }
        for (key, day) in [("from", from), ("until", until)] {
            if let Some(day) = day {
                writeln!(text, "{key} = {}", Timestamp::from_unix(*day).unwrap()).unwrap();
            }
        }
    }
    text
}

fn selects(pattern: &[&str], topic: &[&str], fill: &dyn Fn(&str, &str) -> bool) -> bool {
    match (pattern, topic) {
        ([], []) | (["#"], _) => true,
        ([p, pattern @ ..], [t, topic @ ..]) => {
            (p == t || *p == "*" || (p.starts_with('{') && fill(p, t))) && selects(pattern, topic, fill)
        }
        _ => false,
    }
}

fn split(text: &str, at: char) -> Vec<&str> {
    text.split(at).collect()
}

fn part<'s>(signer: &'s str, template: &str) -> Option<&'s str> {
    let parts = split(signer.strip_prefix("spiffe://")?, '/');
    let n = ["", "{env}", "{service}", "{host}"].iter().position(|t| *t == template)?;
    Some(parts[n])
}

fn names(publishers: &[String], signer: &str) -> bool {
    let one = |pattern: &str| {
        let (pattern, signer) = (split(pattern, '/'), split(signer, '/'));
        pattern.len() == signer.len() && pattern.iter().zip(&signer).all(|(p, s)| p == s || *p == "*")
    };
    publishers.iter().any(|publisher| match publisher.strip_prefix('@') {
        Some(name) => GROUPS.iter().any(|(group, members)| *group == name && members.iter().any(|m| one(m))),
        None => one(publisher),
    })
}

/// Steps 2 to 5, word for word.
fn evaluate(rules: &[Written], default: &str, topic: &str, signer: &str, at: i64) -> bool {
    let fields = split(topic, '.');
    let fill = |template: &str, field: &str| part(signer, template) == Some(field);
    let matching: Vec<&Written> = rules
        .iter()
        .filter(|r| r.from.is_none_or(|from| from <= at) && r.until.is_none_or(|until| at < until))
        .filter(|r| r.topics.iter().any(|pattern| selects(&split(pattern, '.'), &fields, &fill)))
        .collect();
    if matching.iter().any(|r| r.effect == "deny" && names(&r.publishers, signer)) {
        return false;
    }
    if matching.iter().any(|r| r.effect == "exclusive" && !names(&r.publishers, signer)) {
        return false;
    }
    if matching.iter().any(|r| r.effect != "deny" && names(&r.publishers, signer)) {
        return true;
    }
    let listed = rules.iter().flat_map(|r| &r.topics).any(|p| selects(&split(p, '.'), &fields, &|_, _| true));
    default == "allow-unlisted" && !listed
}

fn field() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "prod", "stg", "h"]).prop_map(str::to_owned)
}

fn some_topic() -> impl Strategy<Value = String> {
    proptest::collection::vec(field(), 1..5).prop_map(|fields| fields.join("."))
}

fn some_pattern(templates: bool) -> impl Strategy<Value = String> {
    let special = if templates { vec!["*", "{env}", "{service}", "{host}"] } else { vec!["*"] };
    let field = prop_oneof![2 => field(), 2 => select(special).prop_map(str::to_owned)];
    (proptest::collection::vec(field, 0..4), any::<bool>()).prop_map(|(mut fields, open)| {
        if open || fields.is_empty() {
            fields.push("#".to_owned());
        }
        fields.join(".")
    })
}

fn some_signer() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => select(vec!["cn:a", "cn:b", "spiffe://u/prod/a/h"]).prop_map(str::to_owned),
        3 => (select(vec!["prod", "stg"]), select(vec!["a", "b"]), select(vec!["h", "b"]))
            .prop_map(|(env, service, host)| format!("spiffe://t/{env}/{service}/{host}")),
    ]
}

fn some_publisher() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => some_signer(),
        1 => select(vec!["@g", "@k"]).prop_map(str::to_owned),
        2 => (select(vec!["prod", "stg", "*"]), select(vec!["a", "*"]), select(vec!["h", "*"]))
            .prop_map(|(env, service, host)| format!("spiffe://t/{env}/{service}/{host}")),
    ]
}

fn some_rule() -> impl Strategy<Value = Written> {
    let effect = select(vec!["allow", "deny", "exclusive"]);
    let times = (proptest::option::weighted(0.2, 0_i64..3), proptest::option::weighted(0.2, 3_i64..6));
    effect.prop_flat_map(move |effect| {
        (
            proptest::collection::vec(some_pattern(effect == "allow"), 1..3),
            // Long lists take another way through the index than short ones.
            prop_oneof![9 => proptest::collection::vec(some_publisher(), 1..3),
                1 => proptest::collection::vec(some_publisher(), 60)],
            times.clone(),
        )
            .prop_map(move |(topics, publishers, (from, until))| Written {
                id: String::new(),
                effect,
                topics,
                publishers,
                from,
                until,
                shadow: false,
            })
    })
}

fn some_rules() -> impl Strategy<Value = Vec<Written>> {
    proptest::collection::vec(some_rule(), 0..8).prop_map(|mut rules| {
        for (n, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("r{n}");
        }
        rules
    })
}

/// Many rules of few topics for many signers, so that every end is crowded: alone, in groups, with exclusive rules that
/// name the same ones over and over.
fn a_crowd() -> impl Strategy<Value = Vec<Written>> {
    let publisher = || {
        prop_oneof![
            3 => some_publisher(),
            1 => (0..4_u8).prop_map(|n| format!("spiffe://t/prod/a/h{n}")),
        ]
    };
    let topics = proptest::collection::vec(select(vec!["a.#", "a.b", "*.b", "#"]), 1..4);
    let effect = prop_oneof![2 => Just("allow"), 1 => Just("deny"), 3 => Just("exclusive")];
    let publishers = prop_oneof![
        4 => proptest::collection::vec(publisher(), 1..4),
        1 => proptest::collection::vec(publisher(), 17..40),
    ];
    let until = proptest::option::weighted(0.3, 1_i64..6);
    let rule = (topics, effect, publishers, until, any::<bool>());
    proptest::collection::vec(rule, 0..40).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(n, (topics, effect, publishers, until, everybody))| {
            let topics = topics.into_iter().map(str::to_owned).collect();
            let mut publishers = publishers;
            // Or an exclusive rule denies everything, and nothing else is seen.
            if everybody && effect == "exclusive" {
                publishers.extend(["spiffe://t/*/*/*".to_owned(), "@g".to_owned()]);
            }
            Written { id: format!("r{n:02}"), effect, topics, publishers, from: None, until, shadow: false }
        });
        rules.collect()
    })
}

fn some_question() -> impl Strategy<Value = (String, String, i64)> {
    (some_topic(), some_signer(), 0_i64..7)
}

fn default() -> impl Strategy<Value = &'static str> {
    select(vec!["deny", "allow-unlisted"])
}

fn ask(policy: &Policy, (on, by, when): &(String, String, i64)) -> bool {
    policy.decide(&topic(on), &signer(by), Timestamp::from_unix(*when).unwrap()).is_ok()
}

fn questions() -> impl Strategy<Value = Vec<(String, String, i64)>> {
    proptest::collection::vec(some_question(), 1..12)
}

proptest! {
    #[test]
    fn the_two_agree(rules in some_rules(), default in default(), questions in questions()) {
        let policy = policy(&toml(&rules, default));
        for question in &questions {
            let (on, by, when) = question;
            prop_assert_eq!(ask(&policy, question), evaluate(&rules, default, on, by, *when), "{:?}", question);
        }
    }

    #[test]
    fn the_two_agree_in_a_crowd(rules in a_crowd(), default in default(), n in 0..4_u8, questions in questions()) {
        let policy = policy(&toml(&rules, default));
        let one_of_many = ("a.b".to_owned(), format!("spiffe://t/prod/a/h{n}"), 3);
        for question in questions.iter().chain([&one_of_many]) {
            let (on, by, when) = question;
            prop_assert_eq!(ask(&policy, question), evaluate(&rules, default, on, by, *when), "{:?}", question);
        }
    }

    /// Rules that are shadows change nothing; with them it is as if they were none.
    #[test]
    fn shadows_decide_nothing(
        mut rules in some_rules(), shadows in any::<u8>(), default in default(), questions in questions(),
    ) {
        for (n, rule) in rules.iter_mut().enumerate() {
            rule.shadow = shadows & 1 << n != 0;
        }
        let with = policy(&toml(&rules, default));
        let in_force: Vec<Written> = rules.iter().filter(|rule| !rule.shadow).cloned().collect();
        for question in &questions {
            let (on, by, when) = question;
            prop_assert_eq!(ask(&with, question), evaluate(&in_force, default, on, by, *when), "{:?}", question);
            let time = Timestamp::from_unix(*when).unwrap();
            let decided = with.decide_with_shadows(&topic(on), &signer(by), time);
            let expected = (in_force.len() < rules.len()).then(|| evaluate(&rules, default, on, by, *when));
            prop_assert_eq!(decided.map(|decision| decision.is_ok()), expected, "{:?}", question);
        }
    }

    /// The explanation looks at the rules one by one; what it says gives the same decision, and the same rule.
    #[test]
    fn explanations_agree(rules in prop_oneof![some_rules(), a_crowd()], question in some_question()) {
        let policy = policy(&toml(&rules, "deny"));
        let (on, by, when) = question;
        let explanation = policy.explain(&topic(&on), &signer(&by), Timestamp::from_unix(when).unwrap());
        let first = |effects: &[Effect], named: bool| {
            let mut rules = explanation.rules.iter().filter(|c| effects.contains(&c.rule.effect()));
            rules.find(|c| match c.standing {
                Standing::Names { .. } => named,
                Standing::NamesOthers { .. } => !named,
                Standing::OutsideItsTimes { .. }
                | Standing::Shadow { .. }
                | Standing::Template { .. }
                | Standing::TopicDiffers => false,
            })
            .map(|c| c.rule.clone())
        };
        let deny = first(&[Effect::Deny], true);
        let exclusive = first(&[Effect::Exclusive], false);
        let allow = first(&[Effect::Allow, Effect::Exclusive], true);
        let expected = match (deny, exclusive, allow) {
            (Some(rule), _, _) => (2, Some(rule)),
            (None, Some(rule), _) => (3, Some(rule)),
            (None, None, Some(rule)) => (4, Some(rule)),
            (None, None, None) => (5, None),
        };
        let found = match explanation.decision {
            Ok(grant) => (grant.step().number(), grant.rule().cloned()),
            Err(denial) => (denial.step().number(), denial.rule().cloned()),
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_order_of_rules_means_nothing(
        (rules, shuffled) in some_rules().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        default in default(),
        questions in questions(),
    ) {
        let (one, other) = (policy(&toml(&rules, default)), policy(&toml(&shuffled, default)));
        for (on, by, when) in &questions {
            let when = Timestamp::from_unix(*when).unwrap().to_string();
            prop_assert_eq!(decided(&one, on, by, &when), decided(&other, on, by, &when));
        }
    }

    /// Under `deny`, whole. Under `allow-unlisted` a new rule may list a topic, and so end what the default gave; what
    /// a rule gave it leaves alone.
    #[test]
    fn an_allow_takes_no_right_away(
        rules in some_rules(), mut added in some_rule(), default in default(), questions in questions(),
    ) {
        (added.id, added.effect) = ("added".to_owned(), "allow");
        let before = policy(&toml(&rules, default));
        let after = policy(&toml(&[rules, vec![added]].concat(), default));
        for question in &questions {
            let (on, by, when) = question;
            let when = Timestamp::from_unix(*when).unwrap();
            let by_a_rule = before.decide(&topic(on), &signer(by), when).is_ok_and(|grant| grant.rule().is_some());
            prop_assert!(!by_a_rule || ask(&after, question), "{:?}", question);
        }
    }

    #[test]
    fn a_deny_gives_no_right(
        rules in some_rules(), mut added in some_rule(), default in default(), questions in questions(),
    ) {
        (added.id, added.effect) = ("added".to_owned(), "deny");
        added.topics.iter_mut().for_each(|topic| *topic = topic.replace(['{', '}'], ""));
        let before = policy(&toml(&rules, default));
        let after = policy(&toml(&[rules, vec![added]].concat(), default));
        for question in &questions {
            prop_assert!(ask(&before, question) || !ask(&after, question), "{:?}", question);
        }
    }

    /// An entry of `[routing_policy]` lets in exactly the names that it lists, on exactly that topic.
    #[test]
    fn a_legacy_entry_is_never_widened(entry in some_topic(), question in some_question()) {
        let (on, by, when) = &question;
        for default in ["deny", "allow-unlisted"] {
            let text = format!("default = \"{default}\"\n[routing_policy]\n\"{entry}\" = [\"a\"]\n");
            let expected = if *on == entry { *by == "cn:a" } else { default == "allow-unlisted" };
            prop_assert_eq!(ask(&policy(&text), &question), expected, "{} {} {}", on, by, when);
        }
    }
}
