//! Finding the rules of a topic and a signer: a trie over the topic's fields, and the signer's principals by hash.
//!
//! Nothing here knows the semantics' steps: it finds, for each effect, the first rule (by id) that bears on the message.
//! A look-up allocates nothing. How much work it is follows from the policy and not from the sender: a pattern has at
//! most three `*`, a policy has a bound on the steps of any one look-up ([`MAX_STEPS`]), and a field from outside is only ever
//! looked up, never stored. Nor does it follow from how many rules there are: at each pattern that selects the topic, the rules
//! that name the signer are found by the signer, and of the exclusive rules that do not name it the first is enough.

mod build;
mod ends;
mod mixer;
mod nodes;
mod principals;
mod table;
mod words;

use super::rules::{Effect, Rule, fill};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::{Template, Topic};
use ends::{End, Ends, Mark, Pair};
use nodes::Nodes;
use principals::{Principals, Signer};
use words::Words;

/// The most fields of a policy's pattern. A topic may have more; a `#` covers what follows.
pub(super) const MAX_PATTERN_FIELDS: usize = 32;

/// The most steps that the look-up of one topic may take: fifty to a hundred microseconds, one or two signatures checked. All the
/// patterns with `*` that can select one topic of sixteen fields are within it.
pub(super) const MAX_STEPS: u64 = 10_000;

/// What a policy's rules say, arranged for look-up. Rules are numbers: their places in the order of their ids.
#[derive(Debug)]
pub(super) struct Index {
    words: Words,
    nodes: Nodes,
    ends: Ends,
    principals: Principals,
    /// Whom each exclusive rule names, sorted.
    audiences: Box<[Box<[u32]>]>,
    longest: Longest,
}

/// The longest look-up that a policy allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    /// Its steps.
    pub(super) steps: u64,
    /// One of the rules at its end.
    pub(super) rule: Option<usize>,
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

/// Nothing: no place, no word that a policy has.
const NONE: u32 = u32::MAX;

impl Index {
    /// The rules that bear on `topic` from `signer` at `at`.
    pub(super) fn find(&self, rules: &[Rule], topic: &Topic, signer: &Identity, at: Timestamp) -> Found {
        if self.ends.is_empty() {
            return Found::default();
        }
        let fields = Fields::new(&self.words, topic);
        let mut search = Search {
            index: self,
            rules,
            at,
            signer: self.principals.signer(signer, &self.words),
            found: Found::default(),
        };
        let parts = *search.signer.parts();
        let fills = |template: usize, depth: usize| {
            let word = fields.words[depth];
            // Two words that the policy does not have may still be the same.
            parts[template] == word
                && (word != NONE || fill(signer, TEMPLATES[template]) == topic.fields().nth(depth))
        };
        self.walk(self.nodes.root(), 0, &fields, &fills, &mut |end| search.look(end));
        search.found
    }

    /// Whether any rule lists `topic`, whoever the signer and whatever the time: a template may then stand for any
    /// field.
    pub(super) fn lists(&self, topic: &Topic) -> bool {
        let mut listed = false;
        let fields = Fields::new(&self.words, topic);
        self.walk(self.nodes.root(), 0, &fields, &|_, _| true, &mut |_| listed = true);
        listed
    }

    /// The longest look-up that there can be, whatever the topic and whoever the signer.
    pub(super) fn longest(&self) -> Longest {
        self.longest
    }

    /// Visits the end of each pattern that selects the topic. What is still to be visited is on the stack, which the
    /// depth of patterns bounds.
    fn walk(
        &self,
        node: u32,
        depth: usize,
        fields: &Fields,
        fills: &impl Fn(usize, usize) -> bool,
        visit: &mut impl FnMut(End<'_>),
    ) {
        let here = self.nodes.at(node);
        if here.open != NONE {
            visit(self.ends.at(here.open));
        }
        if depth == fields.count {
            if here.exact != NONE {
                visit(self.ends.at(here.exact));
            }
            return;
        }
        // No pattern is deeper than what was looked up.
        let Some(word) = fields.words.get(depth) else { return };
        if let Some(next) = self.nodes.after(here, node, *word) {
            self.walk(next, depth + 1, fields, fills, visit);
        }
        if here.any != NONE {
            self.walk(here.any, depth + 1, fields, fills, visit);
        }
        for (template, next) in self.nodes.templates(here).into_iter().enumerate() {
            if next != NONE && fills(template, depth) {
                self.walk(next, depth + 1, fields, fills, visit);
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
    fn look(&mut self, end: End<'_>) {
        for n in 0..self.signer.patterns().len() {
            self.naming(end.patterns, self.signer.patterns()[n]);
            let member_of = self.signer.groups()[n];
            // Whichever list is the shorter is gone through, the other one is searched.
            if member_of.len() <= end.groups.len() {
                for group in member_of {
                    self.naming(end.groups, *group);
                }
            } else {
                for pair in end.groups {
                    if member_of.binary_search(&pair.who).is_ok() {
                        self.consider(Mark::of(pair), true);
                    }
                }
            }
        }
        if !end.exclusives.is_empty() {
            let start = self.signer.longest(end.runs).min(end.exclusives.len());
            let first = end.exclusives[start..].iter().find(|pair| {
                self.exists(Mark::of(pair)) && !self.signer.is_among(&self.index.audiences[place(pair.who)])
            });
            if let Some(pair) = first {
                self.consider(Mark::of(pair), false);
            }
        }
    }

    /// The rules of one principal.
    fn naming(&mut self, named: &[Pair], principal: u32) {
        let start = named.partition_point(|pair| pair.who < principal);
        for pair in named[start..].iter().take_while(|pair| pair.who == principal) {
            self.consider(Mark::of(pair), true);
        }
    }

    fn consider(&mut self, mark: Mark, names: bool) {
        if !self.exists(mark) {
            return;
        }
        let first = match (mark.effect(), names) {
            (Effect::Deny, true) => &mut self.found.deny,
            (Effect::Exclusive, false) => &mut self.found.exclusive,
            (Effect::Allow | Effect::Exclusive, true) => &mut self.found.allow,
            (Effect::Allow | Effect::Deny, false) => return,
        };
        let rule = mark.rule();
        *first = Some(first.map_or(rule, |first| first.min(rule)));
    }

    fn exists(&self, mark: Mark) -> bool {
        !mark.is_windowed() || self.rules[mark.rule()].window.contains(self.at)
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

const TEMPLATES: [Template; 3] = [Template::Env, Template::Host, Template::Service];

fn template_number(template: Template) -> u32 {
    match template {
        Template::Env => 0,
        Template::Host => 1,
        Template::Service => 2,
    }
}

/// A topic's fields, as many of them as a pattern can have, as the policy's words.
struct Fields {
    words: [u32; MAX_PATTERN_FIELDS],
    /// How many fields the topic really has.
    count: usize,
}

impl Fields {
    fn new(words: &Words, topic: &Topic) -> Self {
        let mut fields = Self { words: [NONE; MAX_PATTERN_FIELDS], count: 0 };
        // All of them at once: the look-ups do not wait for each other.
        for field in topic.as_str().as_bytes().split(|byte| *byte == b'.') {
            if let Some(word) = fields.words.get_mut(fields.count) {
                *word = words.number(field);
            }
            fields.count += 1;
        }
        fields
    }
}

/// A number as a place in a table.
fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A place as a number. Half the numbers there are would take files of hundreds of gigabytes, and each is bounded.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}
