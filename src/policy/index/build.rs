//! Arranging a policy's rules for look-up: time and memory in proportion to what was written.

use super::super::rules::{Effect, Group, Publisher, Rule, Window};
use super::ends::{End, Ends, Mark, Pair};
use super::mixer::Seed;
use super::nodes::{Growing, Heaviest};
use super::principals::{FIRST_GROUP, Gathering, Principals};
use super::words::{FIRST_TEMPLATE, STAR, Symbols, Words};
use super::{Index, Longest, NONE, number, place, template_number};
use crate::topic::{PatternField, TopicPattern};
use std::collections::{HashMap, HashSet};

/// The most publishers that a rule of several topics writes out and that are still entered for each topic. More of them are
/// made a group, or topics times publishers would be more than was written.
const FEW: usize = 16;

/// An index that is being built.
struct Builder {
    symbols: Symbols,
    trie: Growing,
    ends: usize,
    principals: Gathering,
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
            trie: Growing::new(),
            ends: 0,
            principals: Gathering::default(),
            groups: groups.len(),
            unnamed_groups: HashMap::new(),
            audiences: HashMap::new(),
            named: Vec::new(),
            exclusives: Vec::new(),
        };
        for (group, members) in groups.iter().enumerate() {
            for member in &members.members {
                let pattern = builder.principals.add(member, &mut builder.symbols);
                builder.principals.add_to_group(pattern, FIRST_GROUP + number(group));
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
        patterns.iter().for_each(|pattern| self.principals.add_to_group(*pattern, group));
        self.unnamed_groups.insert(patterns.into(), group);
        group
    }

    /// The end of a pattern, made if it is the first of its kind.
    fn end_of(&mut self, pattern: &TopicPattern) -> u32 {
        let symbols = pattern.fields().iter().map(|field| match field {
            PatternField::Any => STAR,
            PatternField::Template(template) => FIRST_TEMPLATE + template_number(*template),
            PatternField::Literal(text) => self.symbols.add(text),
        });
        let end = self.trie.end_of(symbols, pattern.is_open());
        if *end == NONE {
            *end = number(self.ends);
            self.ends += 1;
        }
        *end
    }

    fn finish(self, rules: &[Rule]) -> Index {
        let seed = Seed::new();
        let principals = self.principals.freeze(seed);
        let mut audiences = vec![Box::default(); self.audiences.len()];
        for (audience, place_of) in self.audiences {
            audiences[place(place_of)] = audience;
        }
        let named = first_of_each_kind(self.named, rules);
        let exclusives = first_of_each_audience(self.exclusives, rules);
        let mark = |rule: u32| Mark::new(rule, &rules[place(rule)]).bits();
        let mut ends = Ends::default();
        let (mut places, mut weights) = (Vec::with_capacity(self.ends), Vec::with_capacity(self.ends));
        let (mut named_left, mut exclusives_left) = (&named[..], &exclusives[..]);
        for end in 0..number(self.ends) {
            let named_here = take_of(&mut named_left, end);
            let exclusives_here = take_of(&mut exclusives_left, end);
            let named: Vec<Pair> =
                named_here.iter().map(|(_, who, rule)| Pair { who: *who, what: mark(*rule) }).collect();
            let (patterns, groups) = named.split_at(named.partition_point(|pair| pair.who < FIRST_GROUP));
            let exclusives: Vec<Pair> = exclusives_here
                .iter()
                .map(|(_, rule, audience)| Pair { who: *audience, what: mark(*rule) })
                .collect();
            let runs = runs_of(&exclusives, &audiences);
            let end = End { patterns, groups, exclusives: &exclusives, runs: &runs };
            weights.push(weight(&end, &principals, &audiences));
            places.push(ends.add(end));
        }
        ends.shrink_to_fit();
        let Heaviest { steps, end } = self.trie.heaviest(&weights);
        let rule = named.iter().find(|entry| entry.0 == end).map(|(_, _, rule)| place(*rule));
        Index {
            words: Words::new(self.symbols, seed),
            nodes: self.trie.freeze(&places, seed),
            ends,
            principals,
            audiences: audiences.into(),
            longest: Longest { steps, rule },
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
    exclusives
}

/// Takes the entries of an end off the front of what is left, where they come first.
fn take_of<'e>(left: &mut &'e [(u32, u32, u32)], end: u32) -> &'e [(u32, u32, u32)] {
    let count = left.iter().take_while(|entry| entry.0 == end).count();
    let (taken, rest) = left.split_at(count);
    *left = rest;
    taken
}

/// The runs of one end's exclusive rules, sorted by principal.
fn runs_of(exclusives: &[Pair], audiences: &[Box<[u32]>]) -> Vec<Pair> {
    let mut runs = Vec::new();
    let [first, others @ ..] = exclusives else { return runs };
    if others.is_empty() {
        return runs;
    }
    let mut going: Vec<u32> = audiences[place(first.who)].to_vec();
    let mut length = 1;
    for other in others {
        let audience = &audiences[place(other.who)];
        going.retain(|principal| {
            let goes_on = audience.binary_search(principal).is_ok();
            if !goes_on {
                runs.push(Pair { who: *principal, what: length });
            }
            goes_on
        });
        if going.is_empty() {
            break;
        }
        length += 1;
    }
    runs.extend(going.into_iter().map(|principal| Pair { who: principal, what: length }));
    runs.sort_unstable();
    runs
}

/// The most steps that a visit to an end can take: the entries that are looked at, where each principal of a signer is searched
/// for and found.
fn weight(end: &End<'_>, principals: &Principals, audiences: &[Box<[u32]>]) -> u64 {
    let (named_by, member_of) = (principals.shape_count(), principals.most_groups());
    // Of one principal, a rule that always exists ends the row; before it there may be any number that do not.
    let longest_row =
        |pairs: &[Pair]| pairs.chunk_by(|a, b| a.who == b.who).map(<[_]>::len).max().unwrap_or(0);
    let patterns = end.patterns.len().min(named_by * longest_row(end.patterns));
    let groups = end.groups.len().min(member_of * longest_row(end.groups)) * named_by;
    let among = |audience: &[u32]| {
        let groups = audience.len() - audience.partition_point(|principal| *principal < FIRST_GROUP);
        named_by * (1 + groups.min(member_of))
    };
    let exclusives: usize = end.exclusives.iter().map(|pair| among(&audiences[place(pair.who)])).sum();
    let runs = named_by * end.runs.len().min(1 + member_of);
    u64::try_from(1 + patterns + groups + exclusives + runs).unwrap_or(u64::MAX)
}
