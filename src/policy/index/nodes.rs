//! The trie of topic patterns.

use super::mixer::Seed;
use super::table::{Slot, Table};
use super::words::{FIRST_TEMPLATE, FIRST_WORD, STAR};
use super::{NONE, number, place};
use std::collections::HashMap;

/// A place in the trie: the patterns that begin with the same fields. [`NONE`] where there is nothing. Two of them are one line
/// of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Node {
    /// The place that it follows, and by which symbol.
    parent: u32,
    symbol: u32,
    /// Where `*` goes on.
    pub(super) any: u32,
    /// Where templates go on: a place among those of [`Nodes`].
    templates: u32,
    /// The end of the patterns that end here.
    pub(super) exact: u32,
    /// The end of the patterns that go on with `#`.
    pub(super) open: u32,
    /// Which words may go on from here, as bits by their last five bits: most of those that do not are not looked up, which would
    /// wait for memory.
    words: u32,
}

/// The trie, to be looked up: where a plain field goes on is found by hash, and what is found there is the next place itself.
#[derive(Debug)]
pub(super) struct Nodes {
    table: Table<Node>,
    templates: Box<[[u32; 3]]>,
    root: u32,
    seed: Seed,
}

impl Nodes {
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    pub(super) fn at(&self, node: u32) -> &Node {
        self.table.at(place(node))
    }

    /// Where a word goes on from `node`, which is `here`.
    pub(super) fn after(&self, here: &Node, node: u32, word: u32) -> Option<u32> {
        if word == NONE || here.words & bit(word) == 0 {
            return None;
        }
        let hash = self.seed.of_pair(node, word);
        let found = self.table.find(hash, |next| next.parent == node && next.symbol == word);
        found.map(|(at, _)| number(at))
    }

    /// Where the templates go on from `node`, in the order of their symbols.
    pub(super) fn templates(&self, node: &Node) -> [u32; 3] {
        self.templates.get(place(node.templates)).copied().unwrap_or([NONE; 3])
    }
}

impl Slot for Node {
    const EMPTY: Self =
        Self { parent: NONE, symbol: NONE, any: NONE, templates: NONE, exact: NONE, open: NONE, words: 0 };

    fn is_empty(&self) -> bool {
        self.symbol == NONE
    }
}

/// The trie while it is built. A place comes after the one that it follows.
#[derive(Debug)]
pub(super) struct Growing {
    nodes: Vec<Grown>,
    /// Place and symbol → place.
    edges: HashMap<(u32, u32), u32>,
}

#[derive(Clone, Copy, Debug)]
struct Grown {
    parent: u32,
    symbol: u32,
    exact: u32,
    open: u32,
}

/// The most that the look-up of any one topic can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heaviest {
    /// Its steps.
    pub(super) steps: u64,
    /// The end to which the longest of its ways leads; [`NONE`] where there is no pattern.
    pub(super) end: u32,
}

impl Growing {
    pub(super) fn new() -> Self {
        let root = Grown { parent: NONE, symbol: STAR, exact: NONE, open: NONE };
        Self { nodes: vec![root], edges: HashMap::new() }
    }

    /// Where the pattern of these symbols has its end, which is [`NONE`] as yet if it is new.
    pub(super) fn end_of(&mut self, symbols: impl Iterator<Item = u32>, open: bool) -> &mut u32 {
        let mut node = 0;
        for symbol in symbols {
            let next = number(self.nodes.len());
            let way = *self.edges.entry((node, symbol)).or_insert(next);
            if way == next {
                self.nodes.push(Grown { parent: node, symbol, exact: NONE, open: NONE });
            }
            node = way;
        }
        let here = &mut self.nodes[place(node)];
        if open { &mut here.open } else { &mut here.exact }
    }

    /// The steps that a look-up can take, if visiting an end takes as many as `weights` says.
    ///
    /// At each depth the topic has one word. Of the words that go on from a place one can be it, and besides it `*` and each
    /// template: no topic and no signer has more ways than these.
    pub(super) fn heaviest(&self, weights: &[u64]) -> Heaviest {
        let weight = |end: u32| weights.get(place(end)).copied().unwrap_or(0);
        let mut ways = vec![Ways::default(); self.nodes.len()];
        // What follows a place comes after it, so that its ways are known before it is come to.
        for (n, node) in self.nodes.iter().enumerate().skip(1).rev() {
            let here = ways[n];
            let steps = 1 + weight(node.open) + weight(node.exact).max(here.others.saturating_add(here.word));
            let parent = &mut ways[place(node.parent)];
            if node.symbol < FIRST_WORD {
                parent.others = parent.others.saturating_add(steps);
            } else {
                parent.word = parent.word.max(steps);
            }
            parent.best = parent.best.max(Some((steps, n)));
        }
        let root = self.nodes[0];
        let steps = 1 + weight(root.open) + ways[0].others.saturating_add(ways[0].word);
        let mut at = 0;
        while let Some((steps, next)) = ways[at].best
            && steps >= weight(self.nodes[at].open).max(weight(self.nodes[at].exact))
        {
            at = next;
        }
        let Grown { exact, open, .. } = self.nodes[at];
        let end = if weight(open) > weight(exact) { open } else { exact };
        Heaviest { steps, end }
    }

    /// The trie as it is looked up. `places` says where each end is.
    pub(super) fn freeze(self, places: &[u32], seed: Seed) -> Nodes {
        let end = |end: u32| places.get(place(end)).copied().unwrap_or(NONE);
        let mut table: Table<Node> = Table::with_room(self.nodes.len());
        let mut templates = Vec::new();
        let mut moved: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for grown in self.nodes {
            let parent = moved.get(place(grown.parent)).copied().unwrap_or(NONE);
            let (symbol, exact, open) = (grown.symbol, end(grown.exact), end(grown.open));
            let node = Node { parent, symbol, exact, open, ..Node::EMPTY };
            let at = number(table.put(seed.of_pair(parent, symbol), node));
            moved.push(at);
            if parent == NONE {
                continue;
            }
            let before = table.at_mut(place(parent));
            match symbol {
                STAR => before.any = at,
                FIRST_WORD.. => before.words |= bit(symbol),
                FIRST_TEMPLATE.. => {
                    if before.templates == NONE {
                        before.templates = number(templates.len());
                        templates.push([NONE; 3]);
                    }
                    templates[place(before.templates)][place(symbol - FIRST_TEMPLATE)] = at;
                }
            }
        }
        Nodes { table, templates: templates.into(), root: moved[0], seed }
    }
}

fn bit(word: u32) -> u32 {
    1 << (word % 32)
}

/// What goes on from a place that is weighed.
#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    /// The steps by `*` and templates, all of which can be gone.
    others: u64,
    /// The most by a word, of which one can be gone.
    word: u64,
    /// The longest of them all, and where it goes.
    best: Option<(u64, usize)>,
}

#[cfg(test)]
mod tests {
    use super::super::words::{FIRST_TEMPLATE, FIRST_WORD, STAR};
    use super::{Growing, Heaviest, NONE};
    use proptest::prelude::*;

    const A: u32 = FIRST_WORD;

    fn heaviest(patterns: &[(Vec<u32>, bool)]) -> (Heaviest, Vec<u64>) {
        let (mut trie, mut weights) = (Growing::new(), Vec::new());
        for (symbols, open) in patterns {
            let end = trie.end_of(symbols.iter().copied(), *open);
            if *end == NONE {
                *end = u32::try_from(weights.len()).unwrap();
                weights.push(2 + u64::from(*end));
            }
        }
        (trie.heaviest(&weights), weights)
    }

    #[test]
    fn of_words_one_goes_on_and_of_the_others_all() {
        let of = |patterns: &[(&[u32], bool)]| {
            let patterns: Vec<_> = patterns.iter().map(|(symbols, open)| (symbols.to_vec(), *open)).collect();
            let (Heaviest { steps, end }, _) = heaviest(&patterns);
            (steps, end)
        };
        // An end weighs 2 and its number, a place 1.
        assert_eq!(of(&[]), (1, NONE));
        assert_eq!(of(&[(&[], true)]), (3, 0));
        assert_eq!(of(&[(&[A], false), (&[A + 1], false)]), (1 + 4, 1), "the heavier of two words");
        assert_eq!(of(&[(&[A], false), (&[STAR], false)]), (1 + 3 + 4, 1), "a word and `*`");
        assert_eq!(
            of(&[(&[FIRST_TEMPLATE], false), (&[FIRST_TEMPLATE + 1], false), (&[A], true)]),
            (1 + 3 + 4 + 5, 2)
        );
        assert_eq!(of(&[(&[A], false), (&[A, A], false)]), (1 + 1 + 4, 1), "a topic ends or goes on");
        assert_eq!(of(&[(&[A, A], false), (&[A], false)]), (1 + 1 + 3, 0), "whichever is heavier");
        assert_eq!(
            of(&[(&[A], true), (&[A, A], false)]),
            (1 + 1 + 2 + 4, 1),
            "an open end and what follows it"
        );
        assert_eq!(of(&[(&[A, A], false), (&[], true), (&[], true)]), (1 + 3 + 1 + 3, 0));
    }

    /// What a topic visits whose fields are `words`, where every template is filled.
    fn visited(patterns: &[(Vec<u32>, bool)], weights: &[u64], words: &[u32]) -> u64 {
        let selects = |symbols: &[u32], words: &[u32]| {
            symbols.iter().zip(words).all(|(symbol, word)| *symbol < FIRST_WORD || symbol == word)
        };
        let mut places = std::collections::BTreeSet::from([Vec::new()]);
        let mut ends = std::collections::BTreeMap::new();
        for (symbols, open) in patterns {
            let next = ends.len();
            let end = *ends.entry((symbols, *open)).or_insert((next, false));
            let depths = 0..=symbols.len().min(words.len());
            let reached = depths.filter(|depth| selects(&symbols[..*depth], words));
            places.extend(reached.map(|depth| symbols[..depth].to_vec()));
            let deep = symbols.len() == words.len() || (*open && symbols.len() < words.len());
            if deep && selects(symbols, words) {
                ends.insert((symbols, *open), (end.0, true));
            }
        }
        let ends: u64 = ends.values().filter(|(_, visited)| *visited).map(|(end, _)| weights[*end]).sum();
        u64::try_from(places.len()).unwrap() + ends
    }

    proptest! {
        /// No topic takes more steps than the bound says.
        #[test]
        fn nothing_is_heavier_than_the_heaviest(
            patterns in proptest::collection::vec((proptest::collection::vec(0..A + 3, 0..4), any::<bool>()), 1..20),
            words in proptest::collection::vec(A..A + 4, 1..6),
        ) {
            let (heaviest, weights) = heaviest(&patterns);
            prop_assert!(visited(&patterns, &weights, &words) <= heaviest.steps);
        }
    }
}
