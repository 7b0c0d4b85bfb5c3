//! What a consumer wants: patterns above, byte prefixes below.
//!
//! A ZeroMQ subscription is a prefix of bytes (RFC 29, section 4): `…prod.bodhi` also brings `…prod.bodhi2`. So a
//! socket is given the patterns' prefixes, and what comes is matched again by whole fields.

use super::publisher::HEARTBEAT;
use crate::limits::Limits;
use crate::topic::{PatternField, Topic, TopicError, TopicPattern};

/// A set of patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    patterns: Vec<TopicPattern>,
    prefixes: Vec<String>,
}

/// Whether a received topic was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// It is no topic. Somebody has to hear of it: this is for the verifier to refuse and count, not to be left out.
    Malformed(TopicError),
    /// A pattern selects it.
    Wanted(Topic),
    /// The prefix brought it, no pattern selects it.
    Unwanted,
}

impl Subscription {
    /// To whatever one of `patterns` selects. Without any pattern it selects nothing.
    pub fn new(patterns: impl IntoIterator<Item = TopicPattern>) -> Self {
        let patterns: Vec<_> = patterns.into_iter().collect();
        let mut prefixes: Vec<String> = patterns.iter().map(TopicPattern::literal_prefix).collect();
        prefixes.sort_unstable();
        // Sorted, a prefix stands before all that it covers, and nothing else stands between.
        prefixes.dedup_by(|later, kept| later.starts_with(&**kept));
        Self { patterns, prefixes }
    }

    /// The patterns.
    pub fn patterns(&self) -> &[TopicPattern] {
        &self.patterns
    }

    /// The prefixes to subscribe to: sorted, none covering another. The empty one brings everything.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// The prefixes that bring all that the services of these patterns publish, so that a `seq` that is missing is one that
    /// was lost: the first `fields` fields of each prefix, `PREFIX.ENV.SERVICE`, as far as they are spelt out.
    pub fn service_prefixes(&self, fields: usize) -> Vec<String> {
        let widen = |prefix: &String| match prefix.match_indices('.').nth(fields.saturating_sub(1)) {
            Some((end, _)) => prefix[..=end].to_owned(),
            None => prefix.clone(),
        };
        let mut prefixes: Vec<String> = self.prefixes.iter().map(widen).collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|later, kept| later.starts_with(&**kept));
        prefixes
    }

    /// Whether a pattern selects `topic`.
    pub fn selects(&self, topic: &Topic) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches_plain(topic))
    }

    /// Whether `topic` is a publisher's heartbeat that nobody asked for by its name: a pattern such as `#` is not meant to
    /// show them.
    pub fn hides(&self, topic: &Topic) -> bool {
        let names_it = |pattern: &TopicPattern| {
            let end = pattern.fields().last();
            !pattern.is_open() && matches!(end, Some(PatternField::Literal(end)) if &**end == "heartbeat")
        };
        is_heartbeat(topic) && !self.patterns.iter().any(|p| names_it(p) && p.matches_plain(topic))
    }

    /// What [`Subscription::selects`] says of a first frame as it was received.
    pub fn select(&self, frame: &[u8], limits: &Limits) -> Selection {
        match Topic::parse(frame, limits) {
            Ok(topic) if self.selects(&topic) => Selection::Wanted(topic),
            Ok(_) => Selection::Unwanted,
            Err(error) => Selection::Malformed(error),
        }
    }
}

/// Whether a topic is that of a publisher's heartbeats: `PREFIX.ENV.SERVICE.bus.heartbeat`.
pub(super) fn is_heartbeat(topic: &Topic) -> bool {
    topic.as_str().strip_suffix(HEARTBEAT).is_some_and(|before| before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn subscription(patterns: &[&str]) -> Subscription {
        Subscription::new(patterns.iter().map(|p| TopicPattern::parse_plain(p, LIMITS).unwrap()))
    }

    #[test]
    fn covered_prefixes_are_left_out() {
        for (patterns, prefixes) in [
            (&[][..], &[][..]),
            (&["a.b.#", "a.b.c"], &["a.b"]),
            (&["a.b", "a.b2", "a.c"], &["a.b", "a.c"]),
            (&["b.#", "a.*.c", "a.*.d"], &["a.", "b"]),
            (&["a", "#"], &[""]),
        ] {
            assert_eq!(subscription(patterns).prefixes(), prefixes, "{patterns:?}");
        }
    }

    #[test]
    fn heartbeats_are_for_those_who_name_them() {
        let heartbeat = Topic::parse("org.prod.bodhi.bus.heartbeat", LIMITS).unwrap();
        for (patterns, hidden) in [
            (&["#"][..], true),
            (&["org.prod.bodhi.bus.*"], true),
            (&["org.prod.wiki.bus.heartbeat"], true),
            (&["#", "*.*.*.bus.heartbeat"], false),
        ] {
            assert_eq!(subscription(patterns).hides(&heartbeat), hidden, "{patterns:?}");
        }
        for other in ["org.prod.bodhi.heartbeat", "bus.heartbeat", "org.prod.bodhi.bus.heartbeat.miss"] {
            assert!(!subscription(&["#"]).hides(&Topic::parse(other, LIMITS).unwrap()), "{other}");
        }
    }

    #[test]
    fn a_service_is_brought_as_a_whole() {
        for (patterns, prefixes) in [
            (&["org.prod.bodhi.update.#", "org.prod.bodhi.build"][..], &["org.prod.bodhi."][..]),
            (&["org.prod.bodhi.#"], &["org.prod.bodhi"]),
            (&["org.prod.bodhi.*.edit", "org.*.wiki.edit"], &["org.", "org.prod.bodhi."]),
            (&["#"], &[""]),
        ] {
            let found = subscription(patterns).service_prefixes(3);
            let mut expected: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
            expected.dedup_by(|later, kept| later.starts_with(&**kept));
            assert_eq!(found, expected, "{patterns:?}");
        }
    }

    #[test]
    fn the_prefix_is_not_the_subscription() {
        let bodhi = subscription(&["org.prod.bodhi.#"]);
        assert!(matches!(bodhi.select(b"org.prod.bodhi.update", LIMITS), Selection::Wanted(_)));
        assert_eq!(bodhi.select(b"org.prod.bodhi2.update", LIMITS), Selection::Unwanted);
        assert!(matches!(bodhi.select(b"org.prod.bodhi.\xff", LIMITS), Selection::Malformed(_)));
        assert!(matches!(bodhi.select(b"", LIMITS), Selection::Malformed(_)));
    }

    proptest! {
        #[test]
        fn what_is_selected_is_brought(
            patterns in proptest::collection::vec("[ab*]{1}(\\.[ab]{1,2}){0,2}(\\.#)?", 0..5),
            topic in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let subscription = subscription(&patterns);
            if subscription.selects(&Topic::parse(&topic, LIMITS).unwrap()) {
                let brought = subscription.prefixes().iter().filter(|p| topic.starts_with(&***p)).count();
                prop_assert_eq!(brought, 1);
            }
        }
    }
}
