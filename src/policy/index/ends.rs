//! The rules of each pattern, packed: what a look-up reads of one pattern lies together.

use super::super::rules::{Effect, Rule, Window};
use super::{number, place};

/// The rules of all patterns. Each has two pairs that say how many there are of what, and then these.
#[derive(Debug, Default)]
pub(super) struct Ends(Vec<Pair>);

/// The rules of one pattern of topics.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'i> {
    /// Sorted: patterns of publishers, and for each the [`Mark`]s of the rules that name it. A rule that never could be the first
    /// of its kind is left out, as another one always stands before it.
    pub(super) patterns: &'i [Pair],
    /// The same of groups.
    pub(super) groups: &'i [Pair],
    /// By rule: the audiences of `exclusive` rules, which matter to everybody, and the rules' [`Mark`]s.
    pub(super) exclusives: &'i [Pair],
    /// Sorted: principals, and how many of the exclusive rules, from the first on, name them. Whoever is one need not look at these.
    pub(super) runs: &'i [Pair],
}

/// Someone, and what is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) who: u32,
    pub(super) what: u32,
}

impl Ends {
    /// Adds the rules of a pattern, and says where they are.
    pub(super) fn add(&mut self, end: End<'_>) -> u32 {
        let at = number(self.0.len());
        let End { patterns, groups, exclusives, runs } = end;
        self.0.push(Pair { who: number(patterns.len()), what: number(groups.len()) });
        self.0.push(Pair { who: number(exclusives.len()), what: number(runs.len()) });
        for pairs in [patterns, groups, exclusives, runs] {
            self.0.extend_from_slice(pairs);
        }
        at
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn at(&self, end: u32) -> End<'_> {
        let (head, rest) = self.0[place(end)..].split_at(2);
        let (patterns, rest) = rest.split_at(place(head[0].who));
        let (groups, rest) = rest.split_at(place(head[0].what));
        let (exclusives, rest) = rest.split_at(place(head[1].who));
        End { patterns, groups, exclusives, runs: &rest[..place(head[1].what)] }
    }
}

/// A rule's number, with what is asked of every rule that is found: so that the rule itself need not be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u32);

/// The upper bits: two for the effect, and one if there are times at which the rule does not exist. What is left is the numbers of
/// as many rules as files of fifty gigabytes have.
const EFFECT: u32 = 29;
const WINDOWED: u32 = 1 << 31;

impl Mark {
    pub(super) fn new(number: u32, rule: &Rule) -> Self {
        let effect = match rule.head.effect() {
            Effect::Allow => 0,
            Effect::Deny => 1,
            Effect::Exclusive => 2,
        };
        let windowed = if rule.window == Window::ALWAYS { 0 } else { WINDOWED };
        Self(number | effect << EFFECT | windowed)
    }

    pub(super) fn of(pair: &Pair) -> Self {
        Self(pair.what)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn rule(self) -> usize {
        place(self.0 & ((1 << EFFECT) - 1))
    }

    pub(super) fn effect(self) -> Effect {
        match self.0 >> EFFECT & 3 {
            0 => Effect::Allow,
            1 => Effect::Deny,
            _ => Effect::Exclusive,
        }
    }

    pub(super) fn is_windowed(self) -> bool {
        self.0 & WINDOWED != 0
    }
}
