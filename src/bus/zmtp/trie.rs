//! Who subscribed to what: a radix tree of prefixes, so that a match costs the length of the topic, whatever the number
//! of subscriptions.
//!
//! Nodes lie in one vector and nothing here recurses: a peer chooses how deep the tree is.

use std::collections::HashMap;

/// The subscriptions of all peers: which of them has which prefix.
#[derive(Debug)]
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<usize>,
    /// How many (prefix, peer) pairs there are.
    len: usize,
}

const ROOT: usize = 0;

#[derive(Debug, Default)]
struct Node {
    /// What leads here from the parent; empty at the root only.
    label: Box<[u8]>,
    /// Who subscribed to the prefix that ends here, sorted.
    peers: Vec<usize>,
    /// The children by the first byte of their labels, sorted.
    children: Vec<(u8, usize)>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), len: 0 }
    }
}

impl Trie {
    /// Whether nobody has subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The nodes that are in use, the root counted.
    pub fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a pair; `false` if it was there.
    pub fn insert(&mut self, prefix: &[u8], peer: usize) -> bool {
        let (mut at, mut rest) = (ROOT, prefix);
        while let Some(&first) = rest.first() {
            match self.child(at, first) {
                Err(place) => {
                    let leaf = self.new_node(Node { label: rest.into(), ..Node::default() });
                    self.nodes[at].children.insert(place, (first, leaf));
                    (at, rest) = (leaf, &[]);
                }
                Ok((_, child)) => {
                    let common = common(&self.nodes[child].label, rest);
                    if common < self.nodes[child].label.len() {
                        self.split(child, common);
                    }
                    (at, rest) = (child, &rest[common..]);
                }
            }
        }
        let peers = &mut self.nodes[at].peers;
        let Err(place) = peers.binary_search(&peer) else { return false };
        peers.insert(place, peer);
        self.len += 1;
        true
    }

    /// Removes a pair; `false` if it was not there.
    pub fn remove(&mut self, prefix: &[u8], peer: usize) -> bool {
        let (mut at, mut rest) = (ROOT, prefix);
        let (mut parent, mut grandparent) = (None, None);
        while let Some(&first) = rest.first() {
            let Ok((place, child)) = self.child(at, first) else { return false };
            let Some(after) = rest.strip_prefix(&*self.nodes[child].label) else { return false };
            (grandparent, parent) = (parent, Some((at, place)));
            (at, rest) = (child, after);
        }
        let peers = &mut self.nodes[at].peers;
        let Ok(place) = peers.binary_search(&peer) else { return false };
        peers.remove(place);
        if peers.is_empty() {
            peers.shrink_to_fit();
        }
        self.len -= 1;
        // The node may be needed for nothing now, or only to be passed; then the same of the one above it.
        if let Some((above, place)) = parent {
            if self.nodes[at].peers.is_empty() && self.nodes[at].children.is_empty() {
                self.nodes[above].children.remove(place);
                self.nodes[at] = Node::default();
                self.free.push(at);
                if grandparent.is_some() {
                    self.join(above);
                }
            } else {
                self.join(at);
            }
        }
        true
    }

    /// The peers that subscribed to a prefix of `topic`: one that has several of them, several times.
    pub fn matches<'a>(&'a self, topic: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let mut rest = topic;
        let path = std::iter::successors(Some(ROOT), move |&at| {
            let (_, child) = self.child(at, *rest.first()?).ok()?;
            rest = rest.strip_prefix(&*self.nodes[child].label)?;
            Some(child)
        });
        path.flat_map(|at| self.nodes[at].peers.iter().copied())
    }

    fn child(&self, at: usize, first: u8) -> Result<(usize, usize), usize> {
        let children = &self.nodes[at].children;
        children.binary_search_by_key(&first, |(byte, _)| *byte).map(|place| (place, children[place].1))
    }

    /// Lets the node end after `length` bytes of its label; the rest becomes its only child.
    fn split(&mut self, at: usize, length: usize) {
        let Node { label, peers, children } = std::mem::take(&mut self.nodes[at]);
        let (head, tail) = label.split_at(length);
        let lower = self.new_node(Node { label: tail.into(), peers, children });
        self.nodes[at] = Node { label: head.into(), peers: Vec::new(), children: vec![(tail[0], lower)] };
    }

    /// Makes one of a node that is only passed and its only child.
    fn join(&mut self, at: usize) {
        if !self.nodes[at].peers.is_empty() {
            return;
        }
        if let [(_, child)] = self.nodes[at].children[..] {
            let lower = std::mem::take(&mut self.nodes[child]);
            self.free.push(child);
            let label = [&*self.nodes[at].label, &*lower.label].concat().into();
            self.nodes[at] = Node { label, ..lower };
        }
    }

    fn new_node(&mut self, node: Node) -> usize {
        if let Some(at) = self.free.pop() {
            self.nodes[at] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The subscriptions of one peer: a multiset, since a prefix that is subscribed to twice has to be cancelled twice
/// (RFC 29, section 4).
#[derive(Debug, Default)]
pub struct Subscriptions {
    counts: HashMap<Box<[u8]>, u32>,
    /// How many there are.
    len: usize,
    /// The bytes of the different prefixes.
    bytes: usize,
}

/// Which limit one more subscription would be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The bytes.
    Bytes,
    /// The number.
    Count,
}

impl Subscriptions {
    /// Adds one. Says whether the prefix is new.
    ///
    /// # Errors
    /// [`Full`]; nothing was added.
    pub fn add(&mut self, prefix: &[u8], most: usize, most_bytes: usize) -> Result<bool, Full> {
        if self.len >= most {
            return Err(Full::Count);
        }
        if let Some(count) = self.counts.get_mut(prefix) {
            *count += 1;
            self.len += 1;
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(prefix.len());
        if bytes > most_bytes {
            return Err(Full::Bytes);
        }
        self.counts.insert(prefix.into(), 1);
        (self.len, self.bytes) = (self.len + 1, bytes);
        Ok(true)
    }

    /// Takes one back. Says whether it was the last of its prefix; one that is not there is not, and frees nothing.
    pub fn cancel(&mut self, prefix: &[u8]) -> bool {
        let Some(count) = self.counts.get_mut(prefix) else { return false };
        self.len -= 1;
        *count -= 1;
        let gone = *count == 0;
        if gone {
            self.counts.remove(prefix);
            self.bytes -= prefix.len();
        }
        gone
    }

    /// How many there are, one that is made twice counted twice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The different prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.counts.keys().map(|prefix| &**prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn cancelling_what_is_not_there_frees_nothing() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.add(b"a", 2, 3), Ok(true));
        assert_eq!(subscriptions.add(b"a", 2, 3), Ok(false));
        assert!(!subscriptions.cancel(b"b") && !subscriptions.cancel(b""));
        assert_eq!(subscriptions.add(b"b", 2, 3), Err(Full::Count));
        assert!(!subscriptions.cancel(b"a"));
        assert_eq!(subscriptions.add(b"bcd", 2, 3), Err(Full::Bytes));
        assert_eq!(subscriptions.add(b"bc", 2, 3), Ok(true));
        assert!(subscriptions.cancel(b"a") && !subscriptions.cancel(b"a"));
        assert_eq!(subscriptions.prefixes().collect::<Vec<_>>(), [b"bc"]);
        assert_eq!((subscriptions.len(), subscriptions.bytes), (1, 2));
    }

    #[test]
    fn any_depth_is_taken() {
        let mut trie = Trie::default();
        let deep = vec![b'a'; 4_000];
        for length in 0..=deep.len() {
            assert!(trie.insert(&deep[..length], length));
        }
        assert_eq!((trie.matches(&deep).count(), trie.matches(b"ab").count()), (deep.len() + 1, 2));
        for length in 0..=deep.len() {
            assert!(trie.remove(&deep[..length], length));
        }
        assert_eq!((trie.nodes(), trie.is_empty()), (1, true));
    }

    proptest! {
        #[test]
        fn it_is_what_a_list_of_prefixes_would_be(
            steps in proptest::collection::vec((any::<bool>(), "[ab]{0,6}", 0..3_usize), 0..60),
            topics in proptest::collection::vec("[ab]{0,8}", 1..8),
        ) {
            let (mut trie, mut pairs) = (Trie::default(), BTreeSet::new());
            for (add, prefix, peer) in steps {
                if add {
                    prop_assert_eq!(trie.insert(prefix.as_bytes(), peer), pairs.insert((prefix, peer)));
                } else {
                    prop_assert_eq!(trie.remove(prefix.as_bytes(), peer), pairs.remove(&(prefix, peer)));
                }
                // A node is there for a prefix, or because paths part at it.
                let prefixes: BTreeSet<_> = pairs.iter().map(|(prefix, _)| prefix).collect();
                prop_assert!(trie.nodes() <= 1 + 2 * prefixes.len());
                prop_assert_eq!(trie.is_empty(), pairs.is_empty());
            }
            for topic in &topics {
                let mut found: Vec<usize> = trie.matches(topic.as_bytes()).collect();
                let mut expected: Vec<usize> =
                    pairs.iter().filter(|(prefix, _)| topic.starts_with(&**prefix)).map(|(_, peer)| *peer).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
