//! Finding the rules of a topic and a signer: a trie over the topic's fields, and the signer's principals by hash.
//!
//! Nothing here knows the semantics' steps: it finds, for each effect, the first rule (by id) that bears on the message.
//! A look-up allocates nothing. How much work it is follows from the policy and not from the sender: a pattern has at
//! most three `*`, and a field from outside is only ever looked up, never stored. Nor does it follow from how many rules there
//! are: at each pattern that selects the topic, the rules that name the signer are found by the signer, and of the
//! exclusive rules that do not name it the first is enough.

mod build;
mod mixer;
mod principals;

use super::rules::{Effect, Rule, fill};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::{Template, Topic};
use mixer::Mixed;
use principals::{FIRST_GROUP, Principals, Signer};
use std::cell::Cell;
use std::collections::HashMap;

/// The most fields of a policy's pattern. A topic may have more; a `#` covers what follows.
pub(super) const MAX_PATTERN_FIELDS: usize = 32;

/// What a policy's rules say, arranged for look-up. Rules are numbers: their places in the order of their ids.
#[derive(Debug)]
pub(super) struct Index {
    symbols: Symbols,
    nodes: Box<[Node]>,
    /// Node and symbol ([`edge`]) → node.
    edges: HashMap<u64, u32, Mixed>,
    ends: Box<[End]>,
    /// Of each end, sorted: whom a rule names …
    principals_named: Box<[u32]>,
    /// … and the rule, at the same place.
    rules_named: Box<[u32]>,
    /// Of each end, by rule.
    exclusives: Box<[Exclusive]>,
    /// Of each end, by principal.
    runs: Box<[Run]>,
    principals: Principals,
    /// Whom each exclusive rule names, sorted.
    audiences: Box<[Box<[u32]>]>,
    /// By the rule's number: what is asked of every rule that is found, packed closer than the rules themselves are.
    facts: Box<[Fact]>,
}

/// A place in the trie: the patterns that begin with the same fields. [`NONE`] where there is nothing.
#[derive(Clone, Copy, Debug)]
struct Node {
    any: u32,
    templates: [u32; 3],
    /// The end of the patterns that end here.
    exact: u32,
    /// The end of the patterns that go on with `#`.
    open: u32,
    /// Whether any plain field goes on from here, so that a field which nothing asks for is not looked up.
    literal: bool,
}

/// The rules of one pattern: where theirs are among all.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// In `principals_named` and `rules_named`: each principal with each rule that names it. A rule that never could
    /// be the first of its kind is left out, as another one always stands before it.
    named: Span,
    /// In `exclusives`.
    exclusives: Span,
    /// In `runs`.
    runs: Span,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// An `exclusive` rule of an end, which matters to everybody.
#[derive(Clone, Copy, Debug)]
struct Exclusive {
    rule: u32,
    audience: u32,
}

/// How many of an end's exclusive rules, from the first on, name a principal: whoever it is need not look at these.
#[derive(Clone, Copy, Debug)]
struct Run {
    principal: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    effect: Effect,
    /// Whether there are times at which it does not exist.
    windowed: bool,
}

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

/// Nothing: no node, no symbol that a pattern has.
const NONE: u32 = u32::MAX;

impl Index {
    /// The rules that bear on `topic` from `signer` at `at`.
    pub(super) fn find(&self, rules: &[Rule], topic: &Topic, signer: &Identity, at: Timestamp) -> Found {
        if self.ends.is_empty() {
            return Found::default();
        }
        let fields = Fields::new(self, topic);
        let own = TEMPLATES.map(|template| fill(signer, template));
        let mut search = Search {
            index: self,
            rules,
            at,
            signer: self.principals.signer(signer, &self.symbols),
            found: Found::default(),
        };
        let fills = |template: usize, field: &str| own[template] == Some(field);
        self.walk(0, 0, &fields, &fills, &mut |end| search.look(end));
        search.found
    }

    /// Whether any rule lists `topic`, whoever the signer and whatever the time: a template may then stand for any
    /// field.
    pub(super) fn lists(&self, topic: &Topic) -> bool {
        let mut listed = false;
        self.walk(0, 0, &Fields::new(self, topic), &|_, _| true, &mut |_| listed = true);
        listed
    }

    /// Visits the end of each pattern that selects the topic. What is still to be visited is on the stack, which the
    /// depth of patterns bounds.
    fn walk(
        &self,
        node: u32,
        depth: usize,
        fields: &Fields<'_>,
        fills: &impl Fn(usize, &str) -> bool,
        visit: &mut impl FnMut(&End),
    ) {
        let here = &self.nodes[place(node)];
        if here.open != NONE {
            visit(&self.ends[place(here.open)]);
        }
        if depth == fields.count {
            if here.exact != NONE {
                visit(&self.ends[place(here.exact)]);
            }
            return;
        }
        let Some(text) = fields.texts.get(depth) else { return };
        if here.literal
            && let Some(next) = self.edges.get(&edge(node, fields.symbol(depth)))
        {
            self.walk(*next, depth + 1, fields, fills, visit);
        }
        if here.any != NONE {
            self.walk(here.any, depth + 1, fields, fills, visit);
        }
        for (template, next) in here.templates.iter().enumerate() {
            if *next != NONE && fills(template, text) {
                self.walk(*next, depth + 1, fields, fills, visit);
            }
        }
    }
}

/// One look-up: who asks, and what was found so far.
struct Search<'i> {
    index: &'i Index,
    rules: &'i [Rule],
    at: Timestamp,
    signer: Signer<'i>,
    found: Found,
}

impl Search<'_> {
    fn look(&mut self, end: &End) {
        let named = end.named.range();
        let (principals, rules) =
            (&self.index.principals_named[named.clone()], &self.index.rules_named[named]);
        for pattern in 0..self.signer.patterns().len() {
            self.naming(principals, rules, self.signer.patterns()[pattern]);
        }
        if principals.last().is_some_and(|last| *last >= FIRST_GROUP) {
            let first = principals.partition_point(|principal| *principal < FIRST_GROUP);
            let (groups, rules) = (&principals[first..], &rules[first..]);
            for pattern in 0..self.signer.patterns().len() {
                let member_of = self.signer.groups(pattern);
                // Whichever list is the shorter is gone through, the other one is searched.
                if member_of.len() <= groups.len() {
                    for group in member_of {
                        self.naming(groups, rules, *group);
                    }
                } else {
                    for (group, rule) in groups.iter().zip(rules) {
                        if member_of.binary_search(group).is_ok() {
                            self.consider(*rule, true);
                        }
                    }
                }
            }
        }
        let exclusives = &self.index.exclusives[end.exclusives.range()];
        if !exclusives.is_empty() {
            let runs = &self.index.runs[end.runs.range()];
            let start = self.signer.longest(runs).min(exclusives.len());
            let others = exclusives[start..].iter().filter(|exclusive| self.exists(exclusive.rule));
            let first = others
                .map(|exclusive| (exclusive.rule, &self.index.audiences[place(exclusive.audience)]))
                .find(|(_, audience)| !self.signer.is_among(audience));
            if let Some((rule, _)) = first {
                self.consider(rule, false);
            }
        }
    }

    /// The rules of one principal.
    fn naming(&mut self, principals: &[u32], rules: &[u32], principal: u32) {
        let start = principals.partition_point(|named| *named < principal);
        for (_, rule) in principals[start..].iter().zip(&rules[start..]).take_while(|(p, _)| **p == principal)
        {
            self.consider(*rule, true);
        }
    }

    fn consider(&mut self, rule: u32, names: bool) {
        if !self.exists(rule) {
            return;
        }
        let rule = place(rule);
        let first = match (self.index.facts[rule].effect, names) {
            (Effect::Deny, true) => &mut self.found.deny,
            (Effect::Exclusive, false) => &mut self.found.exclusive,
            (Effect::Allow | Effect::Exclusive, true) => &mut self.found.allow,
            (Effect::Allow | Effect::Deny, false) => return,
        };
        *first = Some(first.map_or(rule, |first| first.min(rule)));
    }

    fn exists(&self, rule: u32) -> bool {
        let rule = place(rule);
        !self.index.facts[rule].windowed || self.rules[rule].window.contains(self.at)
    }
}

impl Found {
    /// What is found in two indices of the same rules' numbers.
    pub(super) fn or(self, other: Self) -> Self {
        let first = |a: Option<usize>, b: Option<usize>| a.into_iter().chain(b).min();
        Self {
            deny: first(self.deny, other.deny),
            exclusive: first(self.exclusive, other.exclusive),
            allow: first(self.allow, other.allow),
        }
    }
}

impl Span {
    fn range(self) -> std::ops::Range<usize> {
        place(self.start)..place(self.end)
    }
}

/// Every field of a pattern and every segment of an identity, by number.
#[derive(Debug)]
struct Symbols(HashMap<Box<str>, u32, Mixed>);

/// `*` among the symbols.
const STAR: u32 = 0;

impl Symbols {
    fn new() -> Self {
        Self(std::iter::once(("*".into(), STAR)).collect())
    }

    /// [`NONE`] for what the policy does not have.
    fn of(&self, text: &str) -> u32 {
        self.0.get(text).copied().unwrap_or(NONE)
    }

    fn add(&mut self, text: &str) -> u32 {
        if let Some(known) = self.0.get(text) {
            return *known;
        }
        let next = number(self.0.len());
        self.0.insert(text.into(), next);
        next
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
    index: &'t Index,
    texts: [&'t str; MAX_PATTERN_FIELDS],
    /// Looked up when the first node asks for it.
    symbols: [Cell<Option<u32>>; MAX_PATTERN_FIELDS],
    /// How many fields the topic really has.
    count: usize,
}

impl<'t> Fields<'t> {
    fn new(index: &'t Index, topic: &'t Topic) -> Self {
        let mut fields = Self {
            index,
            texts: [""; MAX_PATTERN_FIELDS],
            symbols: [const { Cell::new(None) }; MAX_PATTERN_FIELDS],
            count: 0,
        };
        for text in topic.fields() {
            if let Some(place) = fields.texts.get_mut(fields.count) {
                *place = text;
            }
            fields.count += 1;
        }
        fields
    }

    fn symbol(&self, depth: usize) -> u32 {
        let known = &self.symbols[depth];
        known.get().unwrap_or_else(|| {
            let symbol = self.index.symbols.of(self.texts[depth]);
            known.set(Some(symbol));
            symbol
        })
    }
}

fn edge(node: u32, symbol: u32) -> u64 {
    u64::from(node) << 32 | u64::from(symbol)
}

/// A number as a place in a table.
fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A place as a number. Half the numbers there are would take files of hundreds of gigabytes, and each is bounded.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}
