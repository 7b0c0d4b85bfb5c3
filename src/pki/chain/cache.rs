//! Verdicts that were reached, so that the next message of a known certificate costs no chain work.

use super::{Purpose, ValidatedLeaf};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

/// How many verdicts are remembered at the most.
const CAPACITY: usize = 8_192;
/// How many verdicts are remembered of one leaf. A signature does not bind the certificates after the leaf, so that
/// anybody can send a good one with ever other certificates; an honest publisher sends the same ones each time.
const OF_ONE_LEAF: usize = 4;
/// How many bytes of the leaf's end are hashed. They are its signature, which no two certificates share.
const HASHED_BYTES: usize = 32;

/// Accepted certificates of one trust store. Only acceptances are kept: a refusal is worked out again each time, and so
/// what an attacker sends takes room here only beside a good leaf, and little.
pub(super) struct VerdictCache {
    hasher: RandomState,
    generations: RwLock<Generations>,
}

/// Two generations: what is asked for moves to the young one; when that is full it becomes the old one, and the old one
/// is forgotten.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, Vec<Arc<Entry>>>,
    young_entries: usize,
    old: HashMap<u64, Vec<Arc<Entry>>>,
}

/// The certificates themselves are the key, compared byte for byte: a hash only finds the place.
struct Entry {
    leaf: Box<[u8]>,
    intermediates: Vec<Box<[u8]>>,
    purpose: Purpose,
    verdict: Arc<ValidatedLeaf>,
}

impl Entry {
    fn is_for(&self, leaf: &[u8], intermediates: &[&[u8]], purpose: &Purpose) -> bool {
        *self.leaf == *leaf
            && self.purpose == *purpose
            && self.intermediates.len() == intermediates.len()
            && self.intermediates.iter().zip(intermediates).all(|(kept, given)| **kept == **given)
    }
}

impl VerdictCache {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), generations: RwLock::new(Generations::default()) }
    }

    /// The verdict for exactly these certificates, if one was reached that holds at this time.
    pub(super) fn find(
        &self,
        leaf: &[u8],
        intermediates: &[&[u8]],
        purpose: &Purpose,
        at: Timestamp,
    ) -> Option<Arc<ValidatedLeaf>> {
        let place = self.place(leaf);
        let pick = |entries: &Vec<Arc<Entry>>| {
            entries.iter().find(|entry| entry.is_for(leaf, intermediates, purpose)).cloned()
        };
        let (entry, is_old) = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            match generations.young.get(&place).and_then(pick) {
                Some(entry) => (entry, false),
                None => (generations.old.get(&place).and_then(pick)?, true),
            }
        };
        if is_old {
            self.put(place, Arc::clone(&entry));
        }
        entry.verdict.holds_at(at).then(|| Arc::clone(&entry.verdict))
    }

    pub(super) fn keep(
        &self,
        leaf: &[u8],
        intermediates: &[&[u8]],
        purpose: &Purpose,
        verdict: &Arc<ValidatedLeaf>,
    ) {
        let entry = Entry {
            leaf: leaf.into(),
            intermediates: intermediates.iter().map(|der| (*der).into()).collect(),
            purpose: purpose.clone(),
            verdict: Arc::clone(verdict),
        };
        self.put(self.place(leaf), Arc::new(entry));
    }

    fn put(&self, place: u64, entry: Arc<Entry>) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young_entries >= CAPACITY / 2 {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_entries = 0;
        }
        let entries = generations.young.entry(place).or_default();
        // Another thread may have been here, or the same certificates have a verdict of another time.
        let intermediates: Vec<&[u8]> = entry.intermediates.iter().map(AsRef::as_ref).collect();
        let before = entries.len();
        entries.retain(|kept| !kept.is_for(&entry.leaf, &intermediates, &entry.purpose));
        if entries.len() >= OF_ONE_LEAF {
            entries.remove(0);
        }
        let replaced = before - entries.len();
        entries.push(entry);
        generations.young_entries = (generations.young_entries + 1).saturating_sub(replaced);
    }

    fn place(&self, leaf: &[u8]) -> u64 {
        self.hasher.hash_one(&leaf[leaf.len().saturating_sub(HASHED_BYTES)..])
    }
}

impl fmt::Debug for VerdictCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "VerdictCache({} young entries)", generations.young_entries)
    }
}
