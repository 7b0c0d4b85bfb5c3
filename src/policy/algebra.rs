//! What patterns have to do with each other: whether one covers another, and what two have in common. For `lint`,
//! `who-can`, `what-can` and `export`, which look at a policy without a message.

use super::decide::Policy;
use super::publisher::PublisherPattern;
use super::rules::{Publisher, Rule};
use crate::identity::{Identity, SpiffeId};
use crate::topic::{PatternField, Template, Topic, TopicPattern};
use std::collections::HashMap;
use std::fmt;

/// A topic pattern whose templates were filled as far as its publisher is known. Unlike a [`TopicPattern`] it may have more
/// than three `*`: nothing is ever looked up by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    pub(super) fields: Vec<PatternField>,
    pub(super) open: bool,
}

impl Shape {
    pub(super) fn of(pattern: &TopicPattern) -> Self {
        Self { fields: pattern.fields().to_vec(), open: pattern.is_open() }
    }

    /// Exactly one topic.
    pub(super) fn of_topic(topic: &Topic) -> Self {
        let literal = |field: &str| PatternField::Literal(field.into());
        Self { fields: topic.fields().map(literal).collect(), open: false }
    }

    /// What is left of a pattern for those whom `publisher` names: a template is its segment where that is written out.
    /// `None` if no topic is left: a common name has no parts, and a segment with a dot in it is no field.
    pub(super) fn filled(pattern: &TopicPattern, publisher: &PublisherPattern) -> Option<Self> {
        let fill = |field: &PatternField| match field {
            PatternField::Any | PatternField::Literal(_) => Some(field.clone()),
            PatternField::Template(template) => match publisher {
                PublisherPattern::CommonName(_) => None,
                PublisherPattern::Spiffe { path, .. } => match &path[segment(*template)] {
                    None => Some(field.clone()),
                    Some(text) if text.contains('.') => None,
                    Some(text) => Some(PatternField::Literal(text.clone())),
                },
            },
        };
        let fields = pattern.fields().iter().map(fill).collect::<Option<_>>()?;
        Some(Self { fields, open: pattern.is_open() })
    }

    /// Whether it selects every topic that `other` selects, whoever the signer (a template selects what the same template
    /// selects).
    pub(super) fn covers(&self, other: &Self) -> bool {
        let same = |(ours, theirs): (&PatternField, &PatternField)| match ours {
            PatternField::Any => true,
            PatternField::Literal(_) | PatternField::Template(_) => ours == theirs,
        };
        // Every topic has a field, so that `#` is `*.#`.
        let theirs = if other.fields.is_empty() { &[PatternField::Any][..] } else { &other.fields };
        let deep_enough = if self.open {
            self.fields.len() <= theirs.len()
        } else {
            self.fields.len() == other.fields.len() && !other.open
        };
        deep_enough && self.fields.iter().zip(theirs).all(same)
    }

    /// The topics that both select; `None` if there are none. Where a template meets something else, the something else
    /// stands: for some signer both could select it.
    pub(super) fn common(&self, other: &Self) -> Option<Self> {
        let (long, short) =
            if self.fields.len() < other.fields.len() { (other, self) } else { (self, other) };
        if long.fields.len() > short.fields.len() && !short.open {
            return None;
        }
        let mut fields = long.fields.clone();
        for (ours, theirs) in fields.iter_mut().zip(&short.fields) {
            match (&*ours, theirs) {
                (_, PatternField::Any) => {}
                (PatternField::Any, _) => *ours = theirs.clone(),
                (PatternField::Literal(a), PatternField::Literal(b)) if a != b => return None,
                (PatternField::Template(_), PatternField::Literal(_)) => *ours = theirs.clone(),
                (PatternField::Literal(_) | PatternField::Template(_), _) => {}
            }
        }
        Some(Self { fields, open: long.open && short.open })
    }

    /// With `*` for each template: what a rule lists, whoever the signer.
    pub(super) fn widened(&self) -> Self {
        let anything = |field: &PatternField| match field {
            PatternField::Literal(_) => field.clone(),
            PatternField::Any | PatternField::Template(_) => PatternField::Any,
        };
        Self { fields: self.fields.iter().map(anything).collect(), open: self.open }
    }

    /// Whether it selects the topic, if a template may stand for any field.
    pub(super) fn lists(&self, topic: &Topic) -> bool {
        self.widened().covers(&Self::of_topic(topic))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, field) in self.fields.iter().enumerate() {
            write!(f, "{}{field}", if n == 0 { "" } else { "." })?;
        }
        match (self.open, self.fields.is_empty()) {
            (true, true) => f.write_str("#"),
            (true, false) => f.write_str(".#"),
            (false, _) => Ok(()),
        }
    }
}

/// The place of a template's text in an identity's path.
pub(super) fn segment(template: Template) -> usize {
    match template {
        Template::Env => 0,
        Template::Service => 1,
        Template::Host => 2,
    }
}

impl PublisherPattern {
    /// Whether it names everybody whom `other` names.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.common(other).as_ref() == Some(other)
    }

    /// Those whom both name; `None` if there are none.
    pub(super) fn common(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::CommonName(a), Self::CommonName(b)) => (a == b).then(|| self.clone()),
            (
                Self::Spiffe { trust_domain, path },
                Self::Spiffe { trust_domain: other_domain, path: other_path },
            ) => {
                if trust_domain != other_domain {
                    return None;
                }
                let mut both = path.clone();
                for (ours, theirs) in both.iter_mut().zip(other_path) {
                    match (&*ours, theirs) {
                        (None, _) => *ours = theirs.clone(),
                        (Some(a), Some(b)) if a != b => return None,
                        (Some(_), _) => {}
                    }
                }
                Some(Self::Spiffe { trust_domain: trust_domain.clone(), path: both })
            }
            (Self::CommonName(_), Self::Spiffe { .. }) | (Self::Spiffe { .. }, Self::CommonName(_)) => None,
        }
    }

    /// Those of them for whom `pattern` selects every topic of `shape`: its templates say what a segment has to be.
    /// `None` if there are none.
    pub(super) fn selecting(&self, pattern: &TopicPattern, shape: &Shape) -> Option<Self> {
        // A template that meets a template or a literal can select it, for some signer.
        let filled = |(n, field): (usize, &PatternField)| match (field, shape.fields.get(n)) {
            (PatternField::Template(_), Some(found @ PatternField::Literal(_))) => found.clone(),
            (PatternField::Any | PatternField::Literal(_) | PatternField::Template(_), _) => field.clone(),
        };
        let fields = pattern.fields().iter().enumerate().map(filled).collect();
        if !(Shape { fields, open: pattern.is_open() }).covers(shape) {
            return None;
        }
        let mut selecting = self.clone();
        for (field, found) in pattern.fields().iter().zip(&shape.fields) {
            let PatternField::Template(template) = field else { continue };
            let Self::Spiffe { path, .. } = &mut selecting else { return None };
            let PatternField::Literal(found) = found else { continue };
            match &mut path[segment(*template)] {
                Some(text) if text != found => return None,
                Some(_) => {}
                // What no identity can have as a segment names nobody.
                free => {
                    SpiffeId::new("x", found, "x", "x").ok()?;
                    *free = Some(found.clone());
                }
            }
        }
        Some(selecting)
    }

    /// Exactly this identity.
    pub(super) fn exactly(identity: &Identity) -> Self {
        match identity {
            Identity::CommonName(name) => Self::CommonName(name.clone()),
            Identity::Spiffe(id) => Self::Spiffe {
                trust_domain: id.trust_domain().into(),
                path: [id.env(), id.service(), id.host()].map(|segment| Some(segment.into())),
            },
        }
    }
}

impl Policy {
    /// The publishers of a rule, its groups dissolved.
    pub(super) fn publishers_of<'p>(&'p self, rule: &'p Rule) -> impl Iterator<Item = &'p PublisherPattern> {
        rule.publishers.iter().flat_map(|publisher| match publisher {
            Publisher::Pattern(pattern) => std::slice::from_ref(pattern),
            Publisher::Group(number) => &self.groups[*number].members,
        })
    }
}

/// Which of many shapes have a topic in common with one: a trie, so that looking at each pair is not needed.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    nodes: Vec<ShapeNode>,
}

#[derive(Debug, Default)]
struct ShapeNode {
    literals: HashMap<Box<str>, usize>,
    /// By `*` or a template, which can stand for any literal.
    wide: Option<usize>,
    exact: Vec<usize>,
    open: Vec<usize>,
}

impl Shapes {
    pub(super) fn new<'s>(shapes: impl IntoIterator<Item = (usize, &'s TopicPattern)>) -> Self {
        let mut all = Self { nodes: vec![ShapeNode::default()] };
        for (number, pattern) in shapes {
            let mut node = 0;
            for field in pattern.fields() {
                let next = all.nodes.len();
                let here = &mut all.nodes[node];
                node = match field {
                    PatternField::Literal(text) => *here.literals.entry(text.clone()).or_insert(next),
                    PatternField::Any | PatternField::Template(_) => *here.wide.get_or_insert(next),
                };
                if node == next {
                    all.nodes.push(ShapeNode::default());
                }
            }
            let here = &mut all.nodes[node];
            if pattern.is_open() { here.open.push(number) } else { here.exact.push(number) }
        }
        all
    }

    /// The numbers of those that may have a topic in common with `shape`, sorted.
    pub(super) fn near(&self, shape: &Shape) -> Vec<usize> {
        let mut found = Vec::new();
        self.walk(0, 0, shape, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn walk(&self, node: usize, depth: usize, shape: &Shape, found: &mut Vec<usize>) {
        let here = &self.nodes[node];
        found.extend(&here.open);
        let field = shape.fields.get(depth);
        if field.is_none() {
            found.extend(&here.exact);
            if !shape.open {
                return;
            }
        }
        here.wide.iter().for_each(|next| self.walk(*next, depth + 1, shape, found));
        match field {
            Some(PatternField::Literal(text)) => {
                here.literals.get(text).iter().for_each(|next| self.walk(**next, depth + 1, shape, found));
            }
            Some(PatternField::Any | PatternField::Template(_)) | None => {
                here.literals.values().for_each(|next| self.walk(*next, depth + 1, shape, found));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Shapes};
    use crate::limits::Limits;
    use crate::policy::PublisherPattern;
    use crate::topic::{Topic, TopicPattern};
    use proptest::prelude::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text, &Limits::STANDARD).unwrap()
    }

    fn publisher(text: &str) -> PublisherPattern {
        text.parse().unwrap()
    }

    #[test]
    fn what_covers_what() {
        for (a, b, covers, common) in [
            ("a.#", "a.b", true, Some("a.b")),
            ("a.#", "a", true, Some("a")),
            ("a.*", "a.#", false, Some("a.*")),
            ("a.*.#", "a.#", false, Some("a.*.#")),
            ("*.b", "a.*", false, Some("a.b")),
            ("a.b", "a.c", false, None),
            ("a", "a.b", false, None),
            ("a.{env}", "a.{env}", true, Some("a.{env}")),
            ("a.{env}", "a.prod", false, Some("a.prod")),
            ("#", "{service}.*.#", true, Some("{service}.*.#")),
        ] {
            let (a_shape, b_shape) = (Shape::of(&pattern(a)), Shape::of(&pattern(b)));
            assert_eq!(a_shape.covers(&b_shape), covers, "{a} {b}");
            assert_eq!(a_shape.common(&b_shape).map(|s| s.to_string()).as_deref(), common, "{a} {b}");
            assert_eq!(b_shape.common(&a_shape).is_some(), common.is_some(), "{a} {b}");
        }
    }

    #[test]
    fn templates_take_the_publishers_segments_and_give_them() {
        let own = pattern("a.{env}.{service}.{host}");
        let filled = |p: &str| Shape::filled(&own, &publisher(p)).map(|shape| shape.to_string());
        assert_eq!(filled("spiffe://t.org/prod/*/h").as_deref(), Some("a.prod.{service}.h"));
        assert_eq!(filled("spiffe://t.org/prod/*/h.org"), None);
        assert_eq!(filled("cn:x"), None);
        let topic = |text: &str| Shape::of_topic(&Topic::parse(text, &Limits::STANDARD).unwrap());
        let selecting = |p: &str, t: &str| publisher(p).selecting(&own, &topic(t)).map(|p| p.to_string());
        assert_eq!(
            selecting("spiffe://t.org/*/s/*", "a.prod.s.h").as_deref(),
            Some("spiffe://t.org/prod/s/h")
        );
        assert_eq!(selecting("spiffe://t.org/stg/s/*", "a.prod.s.h"), None);
        assert_eq!(
            selecting("spiffe://t.org/*/*/*", "a.Prod.s.h"),
            None,
            "no identity has an upper-case letter"
        );
    }

    #[test]
    fn what_publishers_have_in_common() {
        for (a, b, common) in [
            ("spiffe://t.org/*/a/*", "spiffe://t.org/prod/*/*", Some("spiffe://t.org/prod/a/*")),
            ("spiffe://t.org/*/a/*", "spiffe://t.org/*/b/*", None),
            ("spiffe://t.org/*/*/*", "spiffe://u.org/*/*/*", None),
            ("cn:a", "cn:a", Some("cn:a")),
            ("cn:a", "spiffe://t.org/*/*/*", None),
        ] {
            assert_eq!(
                publisher(a).common(&publisher(b)).map(|p| p.to_string()).as_deref(),
                common,
                "{a} {b}"
            );
        }
        assert!(publisher("spiffe://t.org/*/*/*").covers(&publisher("spiffe://t.org/prod/*/a")));
        assert!(!publisher("spiffe://t.org/prod/*/a").covers(&publisher("spiffe://t.org/*/*/a")));
    }

    fn some_pattern() -> impl Strategy<Value = TopicPattern> {
        "([ab*]\\.){0,3}([ab*]|#)"
            .prop_filter_map("at most three `*`", |text| TopicPattern::parse(&text, &Limits::STANDARD).ok())
    }

    proptest! {
        /// Over all topics of up to four fields of three letters, `c` being what no pattern has.
        #[test]
        fn covers_and_common_agree_with_matching(a in some_pattern(), b in some_pattern()) {
            let (a_shape, b_shape) = (Shape::of(&a), Shape::of(&b));
            let common = a_shape.common(&b_shape);
            let near = Shapes::new([(0, &a)]).near(&b_shape);
            prop_assert_eq!(!near.is_empty(), common.is_some());
            let (mut all_of_b, mut any) = (true, false);
            for depth in 1..=5_u32 {
                for number in 0..3_usize.pow(depth) {
                    let fields = (0..depth).map(|n| ["a", "b", "c"][number / 3_usize.pow(n) % 3]);
                    let text = fields.collect::<Vec<_>>().join(".");
                    let topic = Topic::parse(&text, &Limits::STANDARD).unwrap();
                    let (in_a, in_b) = (a.matches_plain(&topic), b.matches_plain(&topic));
                    all_of_b &= in_a || !in_b;
                    any |= in_a && in_b;
                    let in_both = common.as_ref().is_some_and(|shape| shape.lists(&topic));
                    prop_assert_eq!(in_a && in_b, in_both, "{}", topic);
                }
            }
            prop_assert_eq!(a_shape.covers(&b_shape), all_of_b);
            prop_assert_eq!(common.is_some(), any);
        }
    }
}
