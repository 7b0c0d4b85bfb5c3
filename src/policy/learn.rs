//! A first policy, written from what was published: from messages that were verified, and from nothing else.
//!
//! What comes out is a draft. It allows what was seen, right or wrong; a person reads it before it decides anything.

use super::import::{head, quoted, test};
use super::publisher::PublisherPattern;
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How much wider than what was seen the rules become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generalize {
    /// Not at all: exactly these topics for exactly these identities.
    None,
    /// A host that publishes a topic stands for every host of its service (and environment).
    Service,
    /// As `Service`; and topics that are the service's own, which name its environment and its service, stand for all that
    /// begin so.
    Topic,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    seen: BTreeMap<(Identity, Topic), Sightings>,
}

/// How often and when something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sightings {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Sightings {
    fn with(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl Learner {
    /// A verified message: its topic, its signer, and its own time.
    pub fn see(&mut self, topic: &Topic, signer: &Identity, at: Timestamp) {
        let one = Sightings { count: 1, first: at, last: at };
        let key = (signer.clone(), topic.clone());
        self.seen.entry(key).and_modify(|seen| *seen = seen.with(one)).or_insert(one);
    }

    /// How many (topic, signer) pairs were seen.
    pub fn pairs(&self) -> usize {
        self.seen.len()
    }

    /// The policy: one `allow` for each set of publishers, with counts and times as comments, and a `[[test]]` for each
    /// topic and signer. A pattern that was seen less than `min_count` times from its publishers is left out, and named
    /// in a comment.
    pub fn write(&self, generalize: Generalize, min_count: u64, serial: u64) -> String {
        let mut rules: BTreeMap<PublisherPattern, BTreeMap<String, Sightings>> = BTreeMap::new();
        for ((signer, topic), seen) in &self.seen {
            let topics = rules.entry(publishers(signer, generalize)).or_default();
            let pattern = pattern(topic, signer, generalize);
            topics.entry(pattern).and_modify(|all| *all = all.with(*seen)).or_insert(*seen);
        }
        let mut text = head("Learned from verified messages: what was seen, right or wrong.", serial, "deny");
        let mut left_out = Vec::new();
        let mut ids = BTreeSet::new();
        for (publishers, topics) in &rules {
            let (kept, rare): (Vec<_>, Vec<_>) = topics.iter().partition(|(_, seen)| seen.count >= min_count);
            left_out.extend(rare.into_iter().map(|(topic, seen)| (publishers, topic, seen)));
            if kept.is_empty() {
                continue;
            }
            let mut id = rule_id(publishers);
            // A number may be a name as well.
            let mut next = ids.len();
            while !ids.insert(id.clone()) {
                next += 1;
                id = format!("learned-{next}");
            }
            let _ = write!(text, "\n[[rule]]\nid = \"{id}\"\neffect = \"allow\"\ntopics = [\n");
            for (topic, seen) in kept {
                let _ = writeln!(text, "    {},  # {}", quoted(topic), said(seen));
            }
            let _ = write!(text, "]\npublishers = [{}]\n", quoted(&publishers.to_string()));
        }
        if !left_out.is_empty() {
            let _ = write!(text, "\n# Left out, as it was seen less than {min_count} times:\n");
            for (publishers, topic, seen) in &left_out {
                let _ = writeln!(text, "# {topic} from {publishers}: {}", said(seen));
            }
        }
        for (signer, topic) in self.seen.keys() {
            let (publishers, pattern) = (publishers(signer, generalize), pattern(topic, signer, generalize));
            if !left_out.iter().any(|(by, rare, _)| **by == publishers && **rare == pattern) {
                text += &test(topic.as_str(), &signer.to_string());
            }
        }
        text
    }
}

fn publishers(signer: &Identity, generalize: Generalize) -> PublisherPattern {
    match (PublisherPattern::exactly(signer), generalize) {
        (
            PublisherPattern::Spiffe { trust_domain, path: [env, service, _] },
            Generalize::Service | Generalize::Topic,
        ) => PublisherPattern::Spiffe { trust_domain, path: [env, service, None] },
        (exactly, _) => exactly,
    }
}

/// The topic; or `PREFIX.ENV.SERVICE.#`, if it is the signer's own and that is wanted.
fn pattern(topic: &Topic, signer: &Identity, generalize: Generalize) -> String {
    let fields: Vec<&str> = topic.fields().collect();
    let own = match (signer, generalize) {
        (Identity::Spiffe(id), Generalize::Topic) => {
            fields.windows(2).position(|pair| pair == [id.env(), id.service()])
        }
        (Identity::Spiffe(_) | Identity::CommonName(_), _) => None,
    };
    match own {
        Some(env) => format!("{}.#", fields[..env + 2].join(".")),
        None => topic.to_string(),
    }
}

/// `learned-ENV-SERVICE-HOST`, as far as it is written out and may be an id.
fn rule_id(publishers: &PublisherPattern) -> String {
    let name = match publishers {
        PublisherPattern::CommonName(name) => name.as_str().to_owned(),
        PublisherPattern::Spiffe { path, .. } => {
            path.iter().flatten().map(AsRef::as_ref).collect::<Vec<&str>>().join("-")
        }
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars()
        .map(plain)
        .fold("learned-".to_owned(), |id, c| if id.len() < 64 { id + &c.to_string() } else { id })
}

fn said(seen: &Sightings) -> String {
    let Sightings { count, first, last } = seen;
    if count == &1 { format!("once, {first}") } else { format!("{count} times, {first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::{Generalize, Learner};
    use crate::limits::Limits;
    use crate::policy::Policy;
    use crate::time::Timestamp;
    use crate::topic::Topic;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn seen() -> Learner {
        let mut learner = Learner::default();
        for (topic, signer, times) in [
            ("org.fp.prod.bodhi.update.edit", "spiffe://fp.org/prod/bodhi/h1", 2_i64),
            ("org.fp.prod.bodhi.update.edit", "spiffe://fp.org/prod/bodhi/h2", 1),
            ("org.fp.prod.bodhi.new", "spiffe://fp.org/prod/bodhi/h1", 1),
            ("org.fp.prod.koji.tag", "spiffe://fp.org/prod/bodhi/h1", 3),
            ("org.fp.prod.wiki.edit", "cn:wiki-h1", 3),
        ] {
            for n in 0..times {
                let at = Timestamp::from_unix(1_700_000_000 + n).unwrap();
                learner.see(&Topic::parse(topic, LIMITS).unwrap(), &signer.parse().unwrap(), at);
            }
        }
        learner
    }

    fn lets(text: &str) -> impl Fn(&str, &str) -> bool {
        let policy = Policy::parse(text, "p", LIMITS).unwrap_or_else(|e| panic!("{e}\n{text}"));
        move |topic, signer| {
            let topic = Topic::parse(topic, LIMITS).unwrap();
            policy.decide(&topic, &signer.parse().unwrap(), Timestamp::MIN).is_ok()
        }
    }

    #[test]
    fn each_width_lets_in_what_it_says() {
        let learner = seen();
        for (generalize, other_host, other_topic) in [
            (Generalize::None, false, false),
            (Generalize::Service, true, false),
            (Generalize::Topic, true, true),
        ] {
            let text = learner.write(generalize, 1, 1);
            let lets = lets(&text);
            assert!(lets("org.fp.prod.bodhi.update.edit", "spiffe://fp.org/prod/bodhi/h1"));
            assert!(lets("org.fp.prod.wiki.edit", "cn:wiki-h1"));
            assert_eq!(lets("org.fp.prod.bodhi.new", "spiffe://fp.org/prod/bodhi/h3"), other_host);
            assert_eq!(lets("org.fp.prod.bodhi.other", "spiffe://fp.org/prod/bodhi/h1"), other_topic);
            // Never another service's topics, another environment, or another name.
            assert!(!lets("org.fp.prod.koji.other", "spiffe://fp.org/prod/bodhi/h1"));
            assert!(!lets("org.fp.prod.bodhi.new", "spiffe://fp.org/stg/bodhi/h1"));
            assert!(!lets("org.fp.prod.wiki.edit", "cn:wiki-h2"));
        }
    }

    #[test]
    fn ids_are_ids_and_differ() {
        let mut learner = Learner::default();
        let topic = Topic::parse("a.b", LIMITS).unwrap();
        let long = format!("cn:{}", "n".repeat(70));
        for signer in ["cn:5", "cn:a+b_c.d", "cn:p-s-h", "spiffe://t/p/s/h", "spiffe://u/p/s/h", &long] {
            learner.see(&topic, &signer.parse().unwrap(), Timestamp::MIN);
        }
        assert_eq!(learner.pairs(), 6);
        let policy = Policy::parse(&learner.write(Generalize::None, 1, 1), "p", LIMITS).unwrap();
        let ids: Vec<&str> = policy.rules.iter().map(|rule| rule.head.id()).collect();
        let long = format!("learned-{}", "n".repeat(56));
        assert_eq!(ids, ["learned-5", "learned-6", "learned-7", "learned-a-b_c.d", &long, "learned-p-s-h"]);
    }

    #[test]
    fn what_is_rare_is_left_out_and_said() {
        let text = seen().write(Generalize::Service, 2, 7);
        assert!(text.contains("serial = 7\n"), "{text}");
        assert!(
            text.contains(
                "    \"org.fp.prod.bodhi.update.edit\",  # 3 times, 2023-11-14T22:13:20Z to 2023-11-14T22:13:21Z\n"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "# Left out, as it was seen less than 2 times:\n\
                 # org.fp.prod.bodhi.new from spiffe://fp.org/prod/bodhi/*: once, 2023-11-14T22:13:20Z\n"
            ),
            "{text}"
        );
        let lets = lets(&text);
        assert!(!lets("org.fp.prod.bodhi.new", "spiffe://fp.org/prod/bodhi/h1"));
        assert_eq!(Policy::parse(&text, "p", LIMITS).unwrap().test_count(), 4);
    }
}
