//! Whom rules name, by number: patterns of identities, and groups of them.
//!
//! A group is a principal of its own, so that a rule for a group of a thousand is one entry and not a thousand. Which
//! patterns name a signer, and which groups these are in, is looked up once a message.

use super::super::publisher::PublisherPattern;
use super::mixer::Mixed;
use super::{NONE, Run, STAR, Symbols, number, place};
use crate::identity::Identity;
use std::collections::HashMap;

/// Numbers from here on are groups, those below are patterns.
pub(super) const FIRST_GROUP: u32 = 1 << 31;

/// Environment, service, host: each written out or `*`.
const SHAPES: usize = 8;

/// Every publisher pattern of a policy, and the groups that each is in.
#[derive(Debug, Default)]
pub(super) struct Principals {
    /// Common names.
    names: HashMap<Box<str>, u32, Mixed>,
    /// SPIFFE patterns, as symbols.
    paths: HashMap<[u32; 4], u32, Mixed>,
    /// Which of the shapes any SPIFFE pattern has: only these are looked up.
    shapes: [bool; SHAPES],
    /// Pattern `n` is in `memberships[first[n]..first[n + 1]]`, sorted.
    first: Box<[u32]>,
    memberships: Box<[u32]>,
}

impl Principals {
    pub(super) fn add(&mut self, pattern: &PublisherPattern, symbols: &mut Symbols) -> u32 {
        let next = number(self.names.len() + self.paths.len());
        match pattern {
            PublisherPattern::CommonName(name) => *self.names.entry(name.as_str().into()).or_insert(next),
            PublisherPattern::Spiffe { trust_domain, path } => {
                let mut shape = 0;
                let mut key = [symbols.add(trust_domain), STAR, STAR, STAR];
                for (n, segment) in path.iter().enumerate() {
                    match segment {
                        Some(segment) => key[n + 1] = symbols.add(segment),
                        None => shape |= 1 << n,
                    }
                }
                self.shapes[shape] = true;
                *self.paths.entry(key).or_insert(next)
            }
        }
    }

    /// Takes down who is in which group: pairs of a pattern and a group.
    pub(super) fn set_memberships(&mut self, mut pairs: Vec<(u32, u32)>) {
        pairs.sort_unstable();
        pairs.dedup();
        let patterns = self.names.len() + self.paths.len();
        let mut first = Vec::with_capacity(patterns + 1);
        let mut at = 0;
        for pattern in 0..=number(patterns) {
            at += pairs[at..].partition_point(|(member, _)| *member < pattern);
            first.push(number(at));
        }
        self.first = first.into();
        self.memberships = pairs.into_iter().map(|(_, group)| group).collect();
    }

    /// The principals that `signer` is.
    pub(super) fn signer<'i>(&'i self, signer: &Identity, symbols: &Symbols) -> Signer<'i> {
        let mut found = Signer { principals: self, patterns: [NONE; SHAPES], count: 0 };
        match signer {
            Identity::CommonName(name) => {
                if let Some(number) = self.names.get(name.as_str()) {
                    found.push(*number);
                }
            }
            Identity::Spiffe(id) => {
                let domain = symbols.of(id.trust_domain());
                if domain == NONE {
                    return found;
                }
                let path = [symbols.of(id.env()), symbols.of(id.service()), symbols.of(id.host())];
                for (shape, _) in self.shapes.iter().enumerate().filter(|(_, used)| **used) {
                    let part = |n: usize| if shape & (1 << n) == 0 { path[n] } else { STAR };
                    let key = [domain, part(0), part(1), part(2)];
                    // What the policy does not write out, it cannot name written out.
                    if !key.contains(&NONE)
                        && let Some(number) = self.paths.get(&key)
                    {
                        found.push(*number);
                    }
                }
            }
        }
        found
    }
}

/// The principals that one signer is.
pub(super) struct Signer<'i> {
    principals: &'i Principals,
    patterns: [u32; SHAPES],
    count: usize,
}

impl Signer<'_> {
    fn push(&mut self, number: u32) {
        self.patterns[self.count] = number;
        self.count += 1;
    }

    /// The patterns that name it.
    pub(super) fn patterns(&self) -> &[u32] {
        &self.patterns[..self.count]
    }
}

impl<'i> Signer<'i> {
    /// The groups that the pattern at a place of [`Signer::patterns`] is in, sorted.
    pub(super) fn groups(&self, pattern: usize) -> &'i [u32] {
        let pattern = place(self.patterns[pattern]);
        let (first, memberships) = (&self.principals.first, &self.principals.memberships);
        &memberships[place(first[pattern])..place(first[pattern + 1])]
    }

    /// Whether it is any of `audience`, which is sorted.
    pub(super) fn is_among(&self, audience: &[u32]) -> bool {
        let (patterns, groups) = audience.split_at(audience.partition_point(|p| *p < FIRST_GROUP));
        (0..self.count).any(|n| {
            patterns.binary_search(&self.patterns[n]).is_ok()
                || (!groups.is_empty() && have_common(self.groups(n), groups))
        })
    }

    /// The longest of the runs of its principals, which are sorted by principal.
    pub(super) fn longest(&self, runs: &[Run]) -> usize {
        let length = |principal: &u32| {
            let at = runs.binary_search_by_key(principal, |run| run.principal).ok()?;
            Some(place(runs[at].length))
        };
        let of_patterns = self.patterns().iter().filter_map(length).max();
        let groups = &runs[runs.partition_point(|run| run.principal < FIRST_GROUP)..];
        let of_groups = (0..self.count).filter(|_| !groups.is_empty()).flat_map(|n| {
            let own = self.groups(n);
            let all_own = (own.len() <= groups.len()).then_some(own);
            let among = if all_own.is_some() { &[][..] } else { groups };
            let through_own = all_own.into_iter().flatten().filter_map(length);
            let through_runs = among.iter().filter(|run| own.binary_search(&run.principal).is_ok());
            through_own.chain(through_runs.map(|run| place(run.length)))
        });
        of_patterns.into_iter().chain(of_groups.max()).max().unwrap_or(0)
    }
}

/// Whether two sorted lists have anything in common.
fn have_common(a: &[u32], b: &[u32]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short.iter().any(|entry| long.binary_search(entry).is_ok())
}
