//! Finding the rules of a topic and a signer: a trie over the topic's fields, and the signer's patterns by hash.
//!
//! Nothing here knows the semantics' steps: it finds, for each effect, the first rule (by id) that bears on the message.
//! A look-up allocates nothing. How much work it is follows from the policy and not from the sender: a pattern has at
//! most three `*`, and a field from outside is only ever looked up, never stored.

use super::publisher::PublisherPattern;
use super::rules::{Effect, Group, Publisher, Rule, fill};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::{PatternField, Template, Topic};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The most fields of a policy's pattern. A topic may have more; a `#` covers what follows.
pub(super) const MAX_PATTERN_FIELDS: usize = 32;

/// Environment, service, host: each written out or `*`.
const SHAPES: usize = 8;

/// What a policy's rules say, arranged for look-up. Rules are numbers: their places in the order of their ids.
#[derive(Debug)]
pub(super) struct Index {
    /// Every field of a pattern and every segment of an identity, by number.
    symbols: HashMap<Box<str>, usize, Mixed>,
    nodes: Vec<Node>,
    /// (node, symbol) → node.
    edges: HashMap<(usize, usize), usize, Mixed>,
    /// Publisher patterns by number: common names, and SPIFFE patterns as symbols.
    names: HashMap<Box<str>, usize, Mixed>,
    paths: HashMap<[usize; 4], usize, Mixed>,
    /// Which of the shapes any SPIFFE pattern has: only these are looked up.
    shapes: [bool; SHAPES],
    /// The numbers of the patterns of each rule's publishers, sorted, by the rule's number.
    publishers: Vec<Box<[usize]>>,
}

/// A place in the trie: the patterns that begin with the same fields.
#[derive(Debug, Default)]
struct Node {
    any: Option<usize>,
    templates: [Option<usize>; 3],
    /// Rules with a pattern that ends here.
    exact: End,
    /// Rules with a pattern that goes on with `#`.
    open: End,
}

/// The rules of one pattern. Many rules may share one (a rule for each host of a service), so that those which matter only
/// to a signer whom they name are found by the signer.
#[derive(Debug, Default)]
struct End {
    /// `allow` and `deny` of few publishers: (publisher pattern, rule), sorted.
    named: Vec<(usize, usize)>,
    /// `exclusive`, which matters to everybody; and rules of so many publishers that a pair for each would be too much.
    others: Vec<usize>,
}

/// The most publishers of a rule that is found by them.
const FEW: usize = 16;

/// The first rule (by id) of each kind that bears on a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// A `deny` that names the signer.
    pub(super) deny: Option<usize>,
    /// An `exclusive` that does not.
    pub(super) exclusive: Option<usize>,
    /// An `allow` or `exclusive` that does.
    pub(super) allow: Option<usize>,
}

/// `*` among the symbols.
const STAR: usize = 0;
/// What no pattern has.
const UNKNOWN: usize = usize::MAX;

impl Index {
    /// Arranges `rules`, which are in the order of their ids.
    pub(super) fn new(rules: &[Rule], groups: &[Group]) -> Self {
        let mut index = Self {
            symbols: HashMap::default(),
            nodes: vec![Node::default()],
            edges: HashMap::default(),
            names: HashMap::default(),
            paths: HashMap::default(),
            shapes: [false; SHAPES],
            publishers: Vec::with_capacity(rules.len()),
        };
        index.symbols.insert("*".into(), STAR);
        let groups: Vec<Vec<usize>> = groups
            .iter()
            .map(|group| group.members.iter().map(|m| index.add_publisher(m)).collect())
            .collect();
        for (number, rule) in rules.iter().enumerate() {
            let mut named = Vec::new();
            for publisher in &rule.publishers {
                match publisher {
                    Publisher::Group(group) => named.extend_from_slice(&groups[*group]),
                    Publisher::Pattern(pattern) => named.push(index.add_publisher(pattern)),
                }
            }
            named.sort_unstable();
            named.dedup();
            index.add_topics(number, rule, &named);
            index.publishers.push(named.into());
        }
        for node in &mut index.nodes {
            node.exact.named.sort_unstable();
            node.open.named.sort_unstable();
        }
        index
    }

    /// The rules that bear on `topic` from `signer` at `at`.
    pub(super) fn find(&self, rules: &[Rule], topic: &Topic, signer: &Identity, at: Timestamp) -> Found {
        let fields = Fields::new(self, topic);
        let own = TEMPLATES.map(|template| fill(signer, template));
        let signer = self.patterns_of(signer);
        let mut found = Found::default();
        let mut consider = |number: usize, names: bool| {
            let rule = &rules[number];
            if rule.window.contains(at) {
                let place = match (rule.head.effect(), names) {
                    (Effect::Deny, true) => &mut found.deny,
                    (Effect::Exclusive, false) => &mut found.exclusive,
                    (Effect::Allow | Effect::Exclusive, true) => &mut found.allow,
                    (Effect::Allow | Effect::Deny, false) => return,
                };
                *place = Some(place.map_or(number, |first| first.min(number)));
            }
        };
        let mut visit = |end: &End| {
            for pattern in signer.numbers() {
                let start = end.named.partition_point(|(named, _)| named < pattern);
                let naming = end.named[start..].iter().take_while(|(named, _)| named == pattern);
                naming.for_each(|(_, number)| consider(*number, true));
            }
            for number in &end.others {
                consider(*number, signer.is_among(&self.publishers[*number]));
            }
        };
        self.walk(0, 0, &fields, &|template, field| own[template] == Some(field), &mut visit);
        found
    }

    /// Whether any rule lists `topic`, whoever the signer and whatever the time: a template may then stand for any
    /// field.
    pub(super) fn lists(&self, topic: &Topic) -> bool {
        let mut listed = false;
        self.walk(0, 0, &Fields::new(self, topic), &|_, _| true, &mut |end: &End| listed |= !end.is_empty());
        listed
    }

    /// Visits the rules of each pattern that selects the topic.
    fn walk(
        &self,
        node: usize,
        depth: usize,
        fields: &Fields<'_>,
        fills: &impl Fn(usize, &str) -> bool,
        visit: &mut impl FnMut(&End),
    ) {
        let here = &self.nodes[node];
        visit(&here.open);
        if depth == fields.count {
            visit(&here.exact);
            return;
        }
        let (Some(text), Some(symbol)) = (fields.texts.get(depth), fields.symbols.get(depth)) else { return };
        if let Some(next) = self.edges.get(&(node, *symbol)) {
            self.walk(*next, depth + 1, fields, fills, visit);
        }
        if let Some(next) = here.any {
            self.walk(next, depth + 1, fields, fills, visit);
        }
        for (template, next) in here.templates.iter().enumerate() {
            if let Some(next) = next
                && fills(template, text)
            {
                self.walk(*next, depth + 1, fields, fills, visit);
            }
        }
    }

    /// The numbers of the patterns that name `signer`.
    fn patterns_of(&self, signer: &Identity) -> Patterns {
        let mut patterns = Patterns { numbers: [UNKNOWN; SHAPES], count: 0 };
        match signer {
            Identity::CommonName(name) => {
                if let Some(number) = self.names.get(name.as_str()) {
                    patterns.push(*number);
                }
            }
            Identity::Spiffe(id) => {
                let domain = self.symbol(id.trust_domain());
                let path = [self.symbol(id.env()), self.symbol(id.service()), self.symbol(id.host())];
                for (shape, _) in self.shapes.iter().enumerate().filter(|(_, used)| **used) {
                    let part = |n: usize| if shape & (1 << n) == 0 { path[n] } else { STAR };
                    if let Some(number) = self.paths.get(&[domain, part(0), part(1), part(2)]) {
                        patterns.push(*number);
                    }
                }
            }
        }
        patterns
    }

    fn symbol(&self, text: &str) -> usize {
        self.symbols.get(text).copied().unwrap_or(UNKNOWN)
    }

    fn add_symbol(&mut self, text: &str) -> usize {
        let next = self.symbols.len();
        *self.symbols.entry(text.into()).or_insert(next)
    }

    fn add_publisher(&mut self, pattern: &PublisherPattern) -> usize {
        let next = self.names.len() + self.paths.len();
        match pattern {
            PublisherPattern::CommonName(name) => *self.names.entry(name.as_str().into()).or_insert(next),
            PublisherPattern::Spiffe { trust_domain, path } => {
                let domain = self.add_symbol(trust_domain);
                let mut shape = 0;
                let mut key = [domain, STAR, STAR, STAR];
                for (n, segment) in path.iter().enumerate() {
                    match segment {
                        Some(segment) => key[n + 1] = self.add_symbol(segment),
                        None => shape |= 1 << n,
                    }
                }
                self.shapes[shape] = true;
                *self.paths.entry(key).or_insert(next)
            }
        }
    }

    fn add_topics(&mut self, number: usize, rule: &Rule, publishers: &[usize]) {
        for pattern in &rule.topics {
            let mut node = 0;
            for field in pattern.fields() {
                let next = self.nodes.len();
                node = match field {
                    PatternField::Any => *self.nodes[node].any.get_or_insert(next),
                    PatternField::Template(template) => {
                        *self.nodes[node].templates[template_number(*template)].get_or_insert(next)
                    }
                    PatternField::Literal(text) => {
                        let symbol = self.add_symbol(text);
                        *self.edges.entry((node, symbol)).or_insert(next)
                    }
                };
                if node == next {
                    self.nodes.push(Node::default());
                }
            }
            let node = &mut self.nodes[node];
            let end = if pattern.is_open() { &mut node.open } else { &mut node.exact };
            if rule.head.effect() == Effect::Exclusive || publishers.len() > FEW {
                end.others.push(number);
            } else {
                end.named.extend(publishers.iter().map(|publisher| (*publisher, number)));
            }
        }
    }
}

impl End {
    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_empty()
    }
}

const TEMPLATES: [Template; 3] = [Template::Env, Template::Host, Template::Service];

fn template_number(template: Template) -> usize {
    match template {
        Template::Env => 0,
        Template::Host => 1,
        Template::Service => 2,
    }
}

/// A topic's fields, as many of them as a pattern can have.
struct Fields<'t> {
    texts: [&'t str; MAX_PATTERN_FIELDS],
    symbols: [usize; MAX_PATTERN_FIELDS],
    /// How many fields the topic really has.
    count: usize,
}

impl<'t> Fields<'t> {
    fn new(index: &Index, topic: &'t Topic) -> Self {
        let mut fields =
            Self { texts: [""; MAX_PATTERN_FIELDS], symbols: [UNKNOWN; MAX_PATTERN_FIELDS], count: 0 };
        for text in topic.fields() {
            if let (Some(place), Some(symbol)) =
                (fields.texts.get_mut(fields.count), fields.symbols.get_mut(fields.count))
            {
                (*place, *symbol) = (text, index.symbol(text));
            }
            fields.count += 1;
        }
        fields
    }
}

/// The numbers of the patterns that name one signer.
struct Patterns {
    numbers: [usize; SHAPES],
    count: usize,
}

impl Patterns {
    fn push(&mut self, number: usize) {
        self.numbers[self.count] = number;
        self.count += 1;
    }

    fn numbers(&self) -> &[usize] {
        &self.numbers[..self.count]
    }

    /// Whether any of them is among a rule's `publishers`, which are sorted.
    fn is_among(&self, publishers: &[usize]) -> bool {
        let numbers = self.numbers();
        if publishers.len() <= SHAPES {
            return publishers.iter().any(|publisher| numbers.contains(publisher));
        }
        numbers.iter().any(|number| publishers.binary_search(number).is_ok())
    }
}

type Mixed = BuildHasherDefault<Mixer>;

/// Multiply and rotate, eight bytes a step. It has no secret: the tables hold what the operator wrote, so that a sender
/// who finds collisions among topics of his own finds them nowhere in here.
#[derive(Debug, Default)]
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.mix(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
