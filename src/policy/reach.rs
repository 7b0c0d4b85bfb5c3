//! The questions that have no message: who can publish a topic, what an identity can publish, and the whole of it as a table.
//!
//! The answers are patterns, with their exceptions. They are worked out from the rules as written and never from the index, so
//! that the tests can hold one against the other.

use super::algebra::{Shape, Shapes};
use super::decide::Policy;
use super::publisher::PublisherPattern;
use super::rules::{Effect, Fallback, Rule, RuleRef};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Publishers who may publish topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The topics: one topic, or a pattern.
    pub topics: String,
    /// The publishers: an identity, or a pattern of identities.
    pub publishers: PublisherPattern,
    /// The rules that give the right, in the order of their ids.
    pub rules: Vec<RuleRef>,
    /// What is taken out of it again.
    pub exceptions: Vec<Exception>,
}

/// Something that a `deny` or `exclusive` takes out of a [`Right`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// The topics of the right that it is about: a pattern.
    pub topics: String,
    /// The publishers who may not: of a `deny`, those it names; of an `exclusive`, all whom it does not name.
    pub publishers: Option<PublisherPattern>,
    /// The rule.
    pub rule: RuleRef,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The rights, in the order of their topics and publishers.
    pub rights: Vec<Right>,
    /// Whether, besides, `allow-unlisted` lets every signer publish the topic (or any topic that no rule lists).
    pub open: bool,
}

impl Policy {
    /// Who can publish `topic` at `at`.
    pub fn who_can(&self, topic: &Topic, at: Timestamp) -> Reach {
        let survey = Survey::new(self, at);
        let shape = Shape::of_topic(topic);
        let mut rights = survey.rights_over(&shape);
        rights.sort();
        let listed =
            self.rules.iter().any(|rule| !rule.shadow && is_about(rule, |listed| listed.lists(topic)));
        Reach { rights, open: self.fallback() == Fallback::AllowUnlisted && !listed }
    }

    /// What `signer` can publish at `at`.
    pub fn what_can(&self, signer: &Identity, at: Timestamp) -> Reach {
        let survey = Survey::new(self, at);
        let signer = PublisherPattern::exactly(signer);
        let mut rights = Rights::default();
        for rule in survey.granting() {
            if !self.publishers_of(rule).any(|named| named.covers(&signer)) {
                continue;
            }
            for shape in rule.topics.iter().filter_map(|pattern| Shape::filled(pattern, &signer)) {
                survey.grant(&shape, signer.clone(), rule, &mut rights);
            }
        }
        Reach { rights: rights.sorted(), open: self.fallback() == Fallback::AllowUnlisted }
    }

    /// The policy at `at` as a flat table: for each pattern of topics that gives rights, and each publisher, one row.
    ///
    /// A right over a pattern with templates is a row of that pattern: it is not expanded for each identity.
    pub fn table(&self, at: Timestamp) -> Reach {
        let survey = Survey::new(self, at);
        let patterns = survey.granting().flat_map(|rule| &rule.topics);
        let shapes: BTreeSet<Shape> = patterns.map(Shape::of).collect();
        let mut rights: Vec<Right> = shapes.iter().flat_map(|shape| survey.rights_over(shape)).collect();
        rights.sort();
        Reach { rights, open: self.fallback() == Fallback::AllowUnlisted }
    }
}

/// The rules that exist at one time, and which of them share topics.
struct Survey<'p> {
    policy: &'p Policy,
    at: Timestamp,
    all: Shapes,
}

/// Rights by their topics and publishers, so that what two rules give is one right.
#[derive(Default)]
struct Rights(BTreeMap<(String, PublisherPattern), Right>);

impl Rights {
    fn sorted(self) -> Vec<Right> {
        self.0.into_values().collect()
    }
}

impl<'p> Survey<'p> {
    fn new(policy: &'p Policy, at: Timestamp) -> Self {
        let numbered = policy.rules.iter().enumerate();
        let all = Shapes::new(numbered.flat_map(|(n, rule)| rule.topics.iter().map(move |t| (n, t))));
        Self { policy, at, all }
    }

    /// Whether a rule decides at this time: a shadow never does.
    fn decides(&self, rule: &Rule) -> bool {
        !rule.shadow && rule.window.contains(self.at)
    }

    fn granting(&self) -> impl Iterator<Item = &'p Rule> {
        let rules = self.policy.rules.iter().filter(|rule| self.decides(rule));
        rules.filter(|rule| rule.head.effect() != Effect::Deny)
    }

    /// The rules that may share a topic with `shape`, by id.
    fn near(&self, shape: &Shape) -> impl Iterator<Item = &'p Rule> {
        let rules = self.all.near(shape).into_iter().map(|number| &self.policy.rules[number]);
        rules.filter(|rule| self.decides(rule))
    }

    /// The rights over every topic of `shape`.
    fn rights_over(&self, shape: &Shape) -> Vec<Right> {
        let mut rights = Rights::default();
        for rule in self.near(shape).filter(|rule| rule.head.effect() != Effect::Deny) {
            for pattern in &rule.topics {
                for named in self.policy.publishers_of(rule) {
                    if let Some(publishers) = named.selecting(pattern, shape) {
                        self.grant(shape, publishers, rule, &mut rights);
                    }
                }
            }
        }
        rights.sorted()
    }

    /// Enters what `rule` gives, less what others take away.
    fn grant(&self, shape: &Shape, publishers: PublisherPattern, rule: &Rule, rights: &mut Rights) {
        let mut candidates = BTreeSet::from([publishers]);
        for exclusive in self.near(shape).filter(|rule| rule.head.effect() == Effect::Exclusive) {
            if is_about(exclusive, |theirs| theirs.covers(shape)) {
                let named = || self.policy.publishers_of(exclusive);
                candidates = candidates.iter().flat_map(|c| named().filter_map(|n| c.common(n))).collect();
            }
        }
        for publishers in candidates {
            let Some(exceptions) = self.exceptions(shape, &publishers) else { continue };
            let topics = shape.to_string();
            let right = rights.0.entry((topics.clone(), publishers.clone())).or_insert_with(|| Right {
                topics,
                publishers,
                rules: Vec::new(),
                exceptions,
            });
            if !right.rules.contains(&rule.head) {
                right.rules.push(rule.head.clone());
            }
        }
    }

    /// What is taken out of a right; `None` if that is all of it.
    fn exceptions(&self, shape: &Shape, publishers: &PublisherPattern) -> Option<Vec<Exception>> {
        let mut exceptions = BTreeSet::new();
        for rule in self.near(shape) {
            let covering = is_about(rule, |theirs| theirs.covers(shape));
            let commons: BTreeSet<String> = if covering {
                BTreeSet::from([shape.to_string()])
            } else {
                let common = rule.topics.iter().filter_map(|t| Shape::of(t).common(shape));
                common.map(|shape| shape.to_string()).collect()
            };
            let mut except = |publishers: Option<PublisherPattern>| {
                for topics in &commons {
                    let (topics, publishers) = (topics.clone(), publishers.clone());
                    exceptions.insert(Exception { topics, publishers, rule: rule.head.clone() });
                }
            };
            let named = || self.policy.publishers_of(rule);
            match rule.head.effect() {
                Effect::Allow => {}
                Effect::Deny if covering && named().any(|n| n.covers(publishers)) => return None,
                Effect::Deny => named().filter_map(|n| n.common(publishers)).for_each(|n| except(Some(n))),
                // One that covers all the topics has had its say in `grant`.
                Effect::Exclusive if covering || named().any(|n| n.covers(publishers)) => {}
                Effect::Exclusive => except(None),
            }
        }
        Some(exceptions.into_iter().collect())
    }
}

fn is_about(rule: &Rule, mut test: impl FnMut(&Shape) -> bool) -> bool {
    rule.topics.iter().any(|pattern| test(&Shape::of(pattern)))
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.publishers {
            Some(publishers) => write!(f, "not `{}` from `{publishers}`: {}", self.topics, self.rule),
            None => write!(f, "`{}` only from those whom {} names", self.topics, self.rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::Limits;
    use crate::policy::Policy;
    use crate::policy::reach::Reach;
    use crate::time::Timestamp;
    use crate::topic::Topic;
    use proptest::prelude::*;

    const POLICY: &str = r#"
        version = 1
        serial = 1
        [groups]
        ann = ["spiffe://t.org/prod/announce/1", "cn:old"]
        [[rule]]
        id = "own"
        effect = "allow"
        topics = ["x.{env}.{service}.#"]
        publishers = ["spiffe://t.org/*/*/*"]
        [[rule]]
        id = "ann"
        effect = "exclusive"
        topics = ["x.*.announce.#"]
        publishers = ["@ann"]
        [[rule]]
        id = "bad"
        effect = "deny"
        topics = ["x.prod.#"]
        publishers = ["spiffe://t.org/*/*/9"]
    "#;

    fn policy(text: &str) -> Policy {
        Policy::parse(text, "p", &Limits::STANDARD).unwrap()
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text, &Limits::STANDARD).unwrap()
    }

    fn said(reach: &Reach) -> Vec<String> {
        let said = reach.rights.iter().map(|right| {
            let exceptions: String = right.exceptions.iter().map(|e| format!("; {e}")).collect();
            format!("{} {} by {}{exceptions}", right.topics, right.publishers, right.rules[0].id())
        });
        said.collect()
    }

    const NOW: Timestamp = Timestamp::MIN;

    #[test]
    fn who_can_and_what_can() {
        let policy = policy(POLICY);
        assert_eq!(
            said(&policy.who_can(&topic("x.prod.bodhi.y"), NOW)),
            [
                "x.prod.bodhi.y spiffe://t.org/prod/bodhi/* by own; not `x.prod.bodhi.y` from `spiffe://t.org/prod/bodhi/9`: \
             rule `bad` (p:16:9)"
            ]
        );
        assert_eq!(
            said(&policy.who_can(&topic("x.prod.announce"), NOW)),
            ["x.prod.announce cn:old by ann", "x.prod.announce spiffe://t.org/prod/announce/1 by ann",]
        );
        assert_eq!(said(&policy.who_can(&topic("y"), NOW)), [""; 0]);
        let what = |id: &str| said(&policy.what_can(&id.parse().unwrap(), NOW));
        assert_eq!(what("spiffe://t.org/prod/bodhi/9"), [""; 0]);
        assert_eq!(what("spiffe://t.org/stg/announce/9"), [""; 0]);
        assert_eq!(what("spiffe://t.org/stg/bodhi/9"), ["x.stg.bodhi.# spiffe://t.org/stg/bodhi/9 by own"]);
        assert_eq!(what("cn:old"), ["x.*.announce.# cn:old by ann"]);
        let table = said(&policy.table(NOW));
        assert_eq!(table.len(), 3, "{table:?}");
        assert_eq!(
            table[2],
            "x.{env}.{service}.# spiffe://t.org/*/*/* by own; not `x.prod.{service}.#` from `spiffe://t.org/*/*/9`: \
             rule `bad` (p:16:9); `x.{env}.announce.#` only from those whom rule `ann` (p:11:9) names"
        );
    }

    #[test]
    fn a_deny_of_part_of_a_right_is_an_exception() {
        let policy = policy(
            "version = 1\nserial = 1\ndefault = \"allow-unlisted\"\n\
             [[rule]]\nid = \"a\"\neffect = \"allow\"\ntopics = [\"x.#\"]\npublishers = [\"cn:a\", \"cn:b\"]\n\
             [[rule]]\nid = \"d\"\neffect = \"deny\"\ntopics = [\"x.y.*\"]\npublishers = [\"cn:a\"]\n",
        );
        let reach = policy.what_can(&"cn:a".parse().unwrap(), NOW);
        assert_eq!(said(&reach), ["x.# cn:a by a; not `x.y.*` from `cn:a`: rule `d` (p:9:1)"]);
        assert!(reach.open);
        assert!(policy.who_can(&topic("z"), NOW).open && !policy.who_can(&topic("x"), NOW).open);
        assert!(policy.table(NOW).open && !self::policy(POLICY).table(NOW).open);
    }

    /// Rules that are shadows, or that do not exist at the time, give nothing and take nothing.
    #[test]
    fn only_what_decides_counts() {
        let rule = |id: &str, effect: &str, more: &str| {
            format!(
                "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = [\"x.#\"]\npublishers = [\"cn:a\"]\n{more}\n"
            )
        };
        let policy = policy(&format!(
            "version = 1\nserial = 1\n{}{}{}{}",
            rule("a", "allow", "from = 2026-01-01T00:00:00Z"),
            rule("b", "allow", "shadow = true"),
            rule("c", "deny", "shadow = true"),
            rule("d", "deny", "from = 2027-01-01T00:00:00Z"),
        ));
        let a = "cn:a".parse().unwrap();
        for (at, expected) in [
            ("2025-12-31T23:59:59Z", &[][..]),
            ("2026-01-01T00:00:00Z", &["x.# cn:a by a"]),
            ("2027-01-01T00:00:00Z", &[]),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(said(&policy.what_can(&a, at)), expected, "{at}");
            assert_eq!(said(&policy.table(at)), expected, "{at}");
            let who = said(&policy.who_can(&topic("x.y"), at));
            assert_eq!(
                who,
                expected.iter().map(|right| right.replace("x.#", "x.y")).collect::<Vec<_>>(),
                "{at}"
            );
        }
    }

    #[test]
    fn an_exclusive_rule_is_no_exception_for_those_whom_it_names() {
        let policy = policy(
            "version = 1\nserial = 1\n\
             [[rule]]\nid = \"a\"\neffect = \"allow\"\ntopics = [\"x.#\"]\npublishers = [\"cn:a\", \"cn:b\"]\n\
             [[rule]]\nid = \"e\"\neffect = \"exclusive\"\ntopics = [\"x.y\"]\npublishers = [\"cn:a\"]\n",
        );
        let what = |id: &str| said(&policy.what_can(&id.parse().unwrap(), NOW));
        assert_eq!(what("cn:a"), ["x.# cn:a by a", "x.y cn:a by e"]);
        assert_eq!(what("cn:b"), ["x.# cn:b by a; `x.y` only from those whom rule `e` (p:8:1) names"]);
    }

    fn some_rule() -> impl Strategy<Value = (&'static str, String, &'static str)> {
        let topics = prop_oneof![
            "x(\\.(a|b|\\*)){0,2}(\\.#)?",
            Just("x.{service}".to_owned()),
            Just("x.{service}.#".to_owned())
        ];
        let publishers = prop::sample::select(vec![
            "spiffe://t.org/*/*/*",
            "spiffe://t.org/p/a/*",
            "spiffe://t.org/*/b/1",
            "spiffe://t.org/*/a/2",
            "cn:a",
        ]);
        (prop::sample::select(vec!["allow", "allow", "deny", "exclusive"]), topics, publishers)
            .prop_filter("templates are for allow", |(effect, topics, _)| {
                *effect == "allow" || !topics.contains('{')
            })
    }

    proptest! {
        /// Whoever the decision lets in is in the answers, and nobody else.
        #[test]
        fn the_answers_agree_with_the_decisions(rules in proptest::collection::vec(some_rule(), 0..5)) {
            let mut text = "version = 1\nserial = 1\n".to_owned();
            for (n, (effect, topics, publishers)) in rules.iter().enumerate() {
                text += &format!(
                    "[[rule]]\nid = \"r{n}\"\neffect = \"{effect}\"\ntopics = [\"{topics}\"]\npublishers = [\"{publishers}\"]\n"
                );
            }
            let policy = policy(&text);
            for signer in ["spiffe://t.org/p/a/1", "spiffe://t.org/p/a/2", "spiffe://t.org/s/b/1", "cn:a"] {
                let signer = signer.parse().unwrap();
                for asked in ["x", "x.a", "x.b", "x.c", "x.a.b", "x.b.a.c"] {
                    let asked = topic(asked);
                    let expected = policy.decide(&asked, &signer, NOW).is_ok();
                    let plain = |text: &str| crate::topic::TopicPattern::parse(text, &Limits::STANDARD).unwrap();
                    let lets = |reach: &Reach| {
                        reach.rights.iter().any(|right| {
                            let excepted = right.exceptions.iter().any(|exception| {
                                plain(&exception.topics).matches(&asked, |t| super::super::rules::fill(&signer, t))
                                    && match &exception.publishers {
                                        Some(named) => named.names(&signer),
                                        None => {
                                            let rule = policy.rules.iter().find(|r| r.head == exception.rule).unwrap();
                                            !policy.publishers_of(rule).any(|named| named.names(&signer))
                                        }
                                    }
                            });
                            plain(&right.topics).matches(&asked, |t| super::super::rules::fill(&signer, t))
                                && right.publishers.names(&signer)
                                && !excepted
                        })
                    };
                    prop_assert_eq!(lets(&policy.who_can(&asked, NOW)), expected, "who {} {}\n{}", asked, signer, text);
                    prop_assert_eq!(lets(&policy.what_can(&signer, NOW)), expected, "what {} {}\n{}", asked, signer, text);
                    prop_assert_eq!(lets(&policy.table(NOW)), expected, "table {} {}\n{}", asked, signer, text);
                }
            }
        }
    }
}
