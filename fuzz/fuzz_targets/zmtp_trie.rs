//! Any steps of subscribing and cancelling, beside a list of pairs.
#![no_main]

use fedmsg::bus::zmtp::trie::Trie;
use std::collections::BTreeSet;

libfuzzer_sys::fuzz_target!(|steps: Vec<(bool, Vec<u8>, u8)>| {
    let (mut trie, mut pairs) = (Trie::default(), BTreeSet::new());
    for (add, prefix, peer) in &steps {
        let pair = (prefix, *peer);
        if *add {
            assert_eq!(trie.insert(prefix, (*peer).into()), pairs.insert(pair));
        } else {
            assert_eq!(trie.remove(prefix, (*peer).into()), pairs.remove(&pair));
        }
        assert!(trie.nodes() <= 1 + 2 * pairs.len());
    }
    for (_, topic, _) in &steps {
        let expected = pairs.iter().filter(|(prefix, _)| topic.starts_with(prefix)).count();
        assert_eq!(trie.matches(topic).count(), expected);
    }
});
