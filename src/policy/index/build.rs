//! Arranging a policy's rules for look-up: time and memory in proportion to what was written.

use super::super::rules::{Effect, Group, Publisher, Rule, Window};
use super::mixer::Mixed;
use super::principals::{FIRST_GROUP, Principals};
use super::{
    End, Exclusive, Fact, Index, NONE, Node, Run, Span, Symbols, edge, number, place, template_number,
};
use crate::topic::{PatternField, TopicPattern};
use std::collections::{HashMap, HashSet};

/// The most publishers that a rule of several topics writes out and that are still entered for each topic. More of them are
/// made a group, or topics times publishers would be more than was written.
const FEW: usize = 16;

const EMPTY: Node = Node { any: NONE, templates: [NONE; 3], exact: NONE, open: NONE, literal: false };

/// An index that is being built.
struct Builder {
    symbols: Symbols,
    nodes: Vec<Node>,
    edges: HashMap<u64, u32, Mixed>,
    ends: usize,
    principals: Principals,
    /// (pattern, group).
    memberships: Vec<(u32, u32)>,
    groups: usize,
    /// Lists of publishers that were made groups.
    unnamed_groups: HashMap<Box<[u32]>, u32>,
    audiences: HashMap<Box<[u32]>, u32>,
    /// (end, principal, rule).
    named: Vec<(u32, u32, u32)>,
    /// (end, rule, audience).
    exclusives: Vec<(u32, u32, u32)>,
}

impl Index {
    /// Arranges those of `rules`, which are in the order of their ids, that `included` says.
    pub(in crate::policy) fn new(rules: &[Rule], groups: &[Group], included: impl Fn(&Rule) -> bool) -> Self {
        let mut builder = Builder {
            symbols: Symbols::new(),
            nodes: vec![EMPTY],
            edges: HashMap::default(),
            ends: 0,
            principals: Principals::default(),
            memberships: Vec::new(),
            groups: groups.len(),
            unnamed_groups: HashMap::new(),
            audiences: HashMap::new(),
            named: Vec::new(),
            exclusives: Vec::new(),
        };
        for (group, members) in groups.iter().enumerate() {
            for member in &members.members {
                let pattern = builder.principals.add(member, &mut builder.symbols);
                builder.memberships.push((pattern, FIRST_GROUP + number(group)));
            }
        }
        for (number_of, rule) in rules.iter().enumerate().filter(|(_, rule)| included(rule)) {
            builder.add(number(number_of), rule);
        }
        builder.finish(rules)
    }
}

impl Builder {
    fn add(&mut self, rule_number: u32, rule: &Rule) {
        let principals = self.principals_of(rule);
        let audience = (rule.head.effect() == Effect::Exclusive).then(|| {
            let next = number(self.audiences.len());
            *self.audiences.entry(principals.clone().into()).or_insert(next)
        });
        for pattern in &rule.topics {
            let end = self.end_of(pattern);
            self.named.extend(principals.iter().map(|principal| (end, *principal, rule_number)));
            self.exclusives.extend(audience.map(|audience| (end, rule_number, audience)));
        }
    }

    /// Whom the rule names, sorted.
    fn principals_of(&mut self, rule: &Rule) -> Vec<u32> {
        let (mut patterns, mut groups) = (Vec::new(), Vec::new());
        for publisher in &rule.publishers {
            match publisher {
                Publisher::Group(group) => groups.push(FIRST_GROUP + number(*group)),
                Publisher::Pattern(pattern) => {
                    patterns.push(self.principals.add(pattern, &mut self.symbols));
                }
            }
        }
        patterns.sort_unstable();
        patterns.dedup();
        if rule.topics.len() > 1 && patterns.len() > FEW {
            groups.push(self.group_of(std::mem::take(&mut patterns)));
        }
        groups.sort_unstable();
        groups.dedup();
        patterns.append(&mut groups);
        patterns
    }

    fn group_of(&mut self, patterns: Vec<u32>) -> u32 {
        if let Some(known) = self.unnamed_groups.get(&*patterns) {
            return *known;
        }
        let group = FIRST_GROUP + number(self.groups);
        self.groups += 1;
        self.memberships.extend(patterns.iter().map(|pattern| (*pattern, group)));
        self.unnamed_groups.insert(patterns.into(), group);
        group
    }

    /// The end of a pattern, made if it is the first of its kind.
    fn end_of(&mut self, pattern: &TopicPattern) -> u32 {
        let mut node = 0;
        for field in pattern.fields() {
            let next = number(self.nodes.len());
            let here = &mut self.nodes[node];
            let way = match field {
                PatternField::Any => &mut here.any,
                PatternField::Template(template) => &mut here.templates[template_number(*template)],
                PatternField::Literal(text) => {
                    here.literal = true;
                    let key = edge(number(node), self.symbols.add(text));
                    self.edges.entry(key).or_insert(NONE)
                }
            };
            if *way == NONE {
                *way = next;
            }
            node = place(*way);
            if node == self.nodes.len() {
                self.nodes.push(EMPTY);
            }
        }
        let here = &mut self.nodes[node];
        let end = if pattern.is_open() { &mut here.open } else { &mut here.exact };
        if *end == NONE {
            *end = number(self.ends);
            self.ends += 1;
        }
        *end
    }

    fn finish(mut self, rules: &[Rule]) -> Index {
        self.principals.set_memberships(self.memberships);
        let mut audiences = vec![Box::default(); self.audiences.len()];
        for (audience, place_of) in self.audiences {
            audiences[place(place_of)] = audience;
        }
        let mut ends = vec![End::default(); self.ends];
        let named = first_of_each_kind(self.named, rules);
        for_each_end(&named, |entry| entry.0, |end, span, _| ends[end].named = span);
        let exclusives = first_of_each_audience(self.exclusives, rules);
        let mut runs = Vec::new();
        for_each_end(
            &exclusives,
            |entry| entry.0,
            |end, span, of_end| {
                let start = number(runs.len());
                add_runs(of_end, &audiences, &mut runs);
                ends[end].exclusives = span;
                ends[end].runs = Span { start, end: number(runs.len()) };
            },
        );
        let fact = |rule: &Rule| Fact { effect: rule.head.effect(), windowed: rule.window != Window::ALWAYS };
        self.edges.shrink_to_fit();
        self.symbols.0.shrink_to_fit();
        Index {
            symbols: self.symbols,
            nodes: self.nodes.into(),
            edges: self.edges,
            ends: ends.into(),
            principals_named: named.iter().map(|(_, principal, _)| *principal).collect(),
            rules_named: named.iter().map(|(_, _, rule)| *rule).collect(),
            exclusives: exclusives
                .iter()
                .map(|(_, rule, audience)| Exclusive { rule: *rule, audience: *audience })
                .collect(),
            runs: runs.into(),
            principals: self.principals,
            audiences: audiences.into(),
            facts: rules.iter().map(fact).collect(),
        }
    }
}

/// Sorts (end, principal, rule), and leaves out a rule if one before it says the same to the same principal at all times.
fn first_of_each_kind(mut named: Vec<(u32, u32, u32)>, rules: &[Rule]) -> Vec<(u32, u32, u32)> {
    named.sort_unstable();
    named.dedup();
    let (mut of, mut denied, mut allowed) = ((NONE, NONE), false, false);
    named.retain(|(end, principal, rule)| {
        if of != (*end, *principal) {
            (of, denied, allowed) = ((*end, *principal), false, false);
        }
        let rule = &rules[place(*rule)];
        let settled = match rule.head.effect() {
            Effect::Deny => &mut denied,
            Effect::Allow | Effect::Exclusive => &mut allowed,
        };
        let is_first = !*settled;
        *settled |= rule.window == Window::ALWAYS;
        is_first
    });
    named.shrink_to_fit();
    named
}

/// Sorts (end, rule, audience), and leaves out a rule if one before it always keeps the topic for the same audience.
fn first_of_each_audience(mut exclusives: Vec<(u32, u32, u32)>, rules: &[Rule]) -> Vec<(u32, u32, u32)> {
    exclusives.sort_unstable();
    exclusives.dedup();
    let mut settled = HashSet::new();
    exclusives.retain(|(end, rule, audience)| {
        let always = rules[place(*rule)].window == Window::ALWAYS;
        if always { settled.insert((*end, *audience)) } else { !settled.contains(&(*end, *audience)) }
    });
    exclusives.shrink_to_fit();
    exclusives
}

/// Gives each end the span of its entries, which are together.
fn for_each_end<T>(entries: &[T], end: impl Fn(&T) -> u32, mut give: impl FnMut(usize, Span, &[T])) {
    let mut start = 0;
    for of_end in entries.chunk_by(|a, b| end(a) == end(b)) {
        let span = Span { start: number(start), end: number(start + of_end.len()) };
        start += of_end.len();
        if let Some(first) = of_end.first() {
            give(place(end(first)), span, of_end);
        }
    }
}

/// The runs of one end's exclusive rules, sorted by principal.
fn add_runs(exclusives: &[(u32, u32, u32)], audiences: &[Box<[u32]>], runs: &mut Vec<Run>) {
    let [first, others @ ..] = exclusives else { return };
    if others.is_empty() {
        return;
    }
    let start = runs.len();
    let mut going: Vec<u32> = audiences[place(first.2)].to_vec();
    let mut length = 1;
    for (_, _, audience) in others {
        let audience = &audiences[place(*audience)];
        going.retain(|principal| {
            let goes_on = audience.binary_search(principal).is_ok();
            if !goes_on {
                runs.push(Run { principal: *principal, length });
            }
            goes_on
        });
        if going.is_empty() {
            break;
        }
        length += 1;
    }
    runs.extend(going.into_iter().map(|principal| Run { principal, length }));
    runs[start..].sort_unstable_by_key(|run| run.principal);
}
