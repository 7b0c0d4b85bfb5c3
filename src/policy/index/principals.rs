//! Whom rules name, by number: patterns of identities, and groups of them.
//!
//! A group is a principal of its own, so that a rule for a group of a thousand is one entry and not a thousand. Which
//! patterns name a signer, and which groups these are in, is looked up once a message.

use super::super::publisher::PublisherPattern;
use super::ends::Pair;
use super::mixer::Seed;
use super::table::{Slot, Table};
use super::words::{STAR, Symbols, Words};
use super::{NONE, number, place};
use crate::identity::Identity;
use std::collections::HashMap;

/// Numbers from here on are groups, those below are patterns.
pub(super) const FIRST_GROUP: u32 = 1 << 31;

/// Environment, service, host: each written out or `*`.
pub(super) const SHAPES: usize = 8;

/// The publisher patterns of a policy while it is built.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    names: HashMap<Box<str>, u32>,
    /// SPIFFE patterns, as symbols.
    paths: HashMap<[u32; 4], u32>,
    /// Who is in which group.
    memberships: Vec<(u32, u32)>,
}

impl Gathering {
    pub(super) fn add(&mut self, pattern: &PublisherPattern, symbols: &mut Symbols) -> u32 {
        let next = number(self.names.len() + self.paths.len());
        match pattern {
            PublisherPattern::CommonName(name) => *self.names.entry(name.as_str().into()).or_insert(next),
            PublisherPattern::Spiffe { trust_domain, path } => {
                let [env, service, host] =
                    path.each_ref().map(|segment| segment.as_ref().map_or(STAR, |text| symbols.add(text)));
                *self.paths.entry([symbols.add(trust_domain), env, service, host]).or_insert(next)
            }
        }
    }

    pub(super) fn add_to_group(&mut self, pattern: u32, group: u32) {
        self.memberships.push((pattern, group));
    }

    pub(super) fn freeze(mut self, seed: Seed) -> Principals {
        self.memberships.sort_unstable();
        self.memberships.dedup();
        let memberships: Box<[u32]> = self.memberships.iter().map(|(_, group)| *group).collect();
        let first = |pattern| number(self.memberships.partition_point(|(member, _)| *member < pattern));
        let principal =
            |pattern| Principal { pattern, first_group: first(pattern), last_group: first(pattern + 1) };
        let mut shapes = [false; SHAPES];
        let mut paths = Table::with_room(self.paths.len());
        for (key, pattern) in &self.paths {
            shapes[shape_of(key)] = true;
            paths.put(seed.of_four(*key), Path { key: *key, principal: principal(*pattern) });
        }
        let names = self.names.iter().map(|(name, pattern)| (name.clone(), principal(*pattern))).collect();
        let of_one = self.memberships.chunk_by(|a, b| a.0 == b.0);
        let most_groups = of_one.map(<[_]>::len).max().unwrap_or(0);
        Principals { names, paths, shapes, memberships, most_groups, seed }
    }
}

/// Which of the segments are `*`, as bits.
fn shape_of([_, path @ ..]: &[u32; 4]) -> usize {
    path.iter().rev().fold(0, |shape, segment| shape << 1 | usize::from(*segment == STAR))
}

/// Every publisher pattern of a policy, and the groups that each is in.
#[derive(Debug)]
pub(super) struct Principals {
    /// Common names.
    names: HashMap<Box<str>, Principal>,
    paths: Table<Path>,
    /// Which of the shapes any SPIFFE pattern has: only these are looked up.
    shapes: [bool; SHAPES],
    memberships: Box<[u32]>,
    most_groups: usize,
    seed: Seed,
}

#[derive(Clone, Copy, Debug)]
struct Principal {
    pattern: u32,
    /// Its groups, sorted, are between these places in `memberships`.
    first_group: u32,
    last_group: u32,
}

/// A SPIFFE pattern.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Path {
    key: [u32; 4],
    principal: Principal,
}

impl Slot for Path {
    const EMPTY: Self = {
        let principal = Principal { pattern: NONE, first_group: 0, last_group: 0 };
        Self { key: [NONE; 4], principal }
    };

    fn is_empty(&self) -> bool {
        self.principal.pattern == NONE
    }
}

impl Principals {
    /// The principals that `signer` is.
    pub(super) fn signer<'i>(&'i self, signer: &Identity, words: &Words) -> Signer<'i> {
        let mut found =
            Signer { groups: [&[]; SHAPES], patterns: [NONE; SHAPES], count: 0, parts: [NONE; 3] };
        match signer {
            Identity::CommonName(name) => {
                if let Some(principal) = self.names.get(name.as_str()) {
                    self.push(*principal, &mut found);
                }
            }
            Identity::Spiffe(id) => {
                let [env, service, host] =
                    [id.env(), id.service(), id.host()].map(|part| words.number(part.as_bytes()));
                let domain = words.number(id.trust_domain().as_bytes());
                found.parts = [env, host, service];
                for (shape, _) in self.shapes.iter().enumerate().filter(|(_, used)| **used) {
                    let part = |n: usize, part: u32| if shape >> n & 1 == 0 { part } else { STAR };
                    let key = [domain, part(0, env), part(1, service), part(2, host)];
                    // What the policy does not write out, it cannot name written out.
                    if !key.contains(&NONE)
                        && let Some((_, path)) =
                            self.paths.find(self.seed.of_four(key), |path| path.key == key)
                    {
                        self.push(path.principal, &mut found);
                    }
                }
            }
        }
        found
    }

    fn push<'i>(&'i self, principal: Principal, signer: &mut Signer<'i>) {
        let Principal { pattern, first_group, last_group } = principal;
        signer.patterns[signer.count] = pattern;
        signer.groups[signer.count] = &self.memberships[place(first_group)..place(last_group)];
        signer.count += 1;
    }

    /// How many shapes are looked up: as many patterns may name a signer.
    pub(super) fn shape_count(&self) -> usize {
        self.shapes.iter().filter(|used| **used).count().max(1)
    }

    /// The most groups that one pattern is in.
    pub(super) fn most_groups(&self) -> usize {
        self.most_groups
    }
}

/// The principals that one signer is.
pub(super) struct Signer<'i> {
    groups: [&'i [u32]; SHAPES],
    patterns: [u32; SHAPES],
    count: usize,
    /// The words of its environment, host and service: the order of the templates.
    parts: [u32; 3],
}

impl<'i> Signer<'i> {
    /// The patterns that name it.
    pub(super) fn patterns(&self) -> &[u32] {
        &self.patterns[..self.count]
    }

    /// The groups that each of these is in, sorted.
    pub(super) fn groups(&self) -> &[&'i [u32]] {
        &self.groups[..self.count]
    }

    /// The words that the templates stand for.
    pub(super) fn parts(&self) -> &[u32; 3] {
        &self.parts
    }

    /// Whether it is any of `audience`, which is sorted.
    pub(super) fn is_among(&self, audience: &[u32]) -> bool {
        let (patterns, groups) = audience.split_at(audience.partition_point(|p| *p < FIRST_GROUP));
        self.patterns().iter().any(|pattern| patterns.binary_search(pattern).is_ok())
            || (!groups.is_empty() && self.groups().iter().any(|own| have_common(own, groups)))
    }

    /// The longest of the runs of its principals, which are sorted by principal.
    pub(super) fn longest(&self, runs: &[Pair]) -> usize {
        let length = |principal: &u32| {
            let at = runs.binary_search_by_key(principal, |run| run.who).ok()?;
            Some(runs[at].what)
        };
        let mut longest = self.patterns().iter().filter_map(length).max();
        let groups = &runs[runs.partition_point(|run| run.who < FIRST_GROUP)..];
        for own in self.groups() {
            // Whichever list is the shorter is gone through, the other one is searched.
            let of_own = if own.len() <= groups.len() {
                own.iter().filter_map(length).max()
            } else {
                let among_own = |run: &&Pair| own.binary_search(&run.who).is_ok();
                groups.iter().filter(among_own).map(|run| run.what).max()
            };
            longest = longest.max(of_own);
        }
        longest.map_or(0, place)
    }
}

/// Whether two sorted lists have anything in common.
fn have_common(a: &[u32], b: &[u32]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short.iter().any(|entry| long.binary_search(entry).is_ok())
}
