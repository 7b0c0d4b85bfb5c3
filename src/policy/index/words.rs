//! Every field of a pattern and every segment of an identity, by number.

use super::mixer::Seed;
use super::table::{Slot, Table};
use super::{NONE, number};
use std::collections::HashMap;

/// `*` among the symbols: no field and no segment is written so.
pub(super) const STAR: u32 = 0;

/// The templates are from here on, in the order of [`super::TEMPLATES`], …
pub(super) const FIRST_TEMPLATE: u32 = 1;

/// … and from here on are words.
pub(super) const FIRST_WORD: u32 = 4;

/// The words of a policy, while it is built.
#[derive(Debug)]
pub(super) struct Symbols(HashMap<Box<str>, u32>);

impl Symbols {
    pub(super) fn new() -> Self {
        let mut symbols = Self(HashMap::new());
        for reserved in ["*", "{env}", "{host}", "{service}"] {
            symbols.add(reserved);
        }
        symbols
    }

    pub(super) fn add(&mut self, text: &str) -> u32 {
        if let Some(known) = self.0.get(text) {
            return *known;
        }
        let next = number(self.0.len());
        self.0.insert(text.into(), next);
        next
    }
}

/// The same, to look up what a sender wrote. Nothing of that is ever stored.
#[derive(Debug)]
pub(super) struct Words {
    short: Table<Word>,
    long: HashMap<Box<[u8]>, u32>,
    seed: Seed,
}

/// A slot; two of them are one line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Word {
    number: u32,
    letters: Letters,
}

/// A text of up to 24 bytes: its length, and its bytes in words that overlap. No other text has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Letters {
    words: [u64; 3],
    length: u8,
}

impl Words {
    pub(super) fn new(symbols: Symbols, seed: Seed) -> Self {
        let count = symbols.0.len();
        let mut words = Self { short: Table::with_room(count), long: HashMap::new(), seed };
        for (text, number) in symbols.0 {
            if let Some(letters) = Letters::of(text.as_bytes()) {
                words.short.put(seed.of_words(letters.words), Word { number, letters });
            } else {
                words.long.insert(text.into_boxed_bytes(), number);
            }
        }
        words
    }

    /// [`NONE`] for what the policy does not have.
    pub(super) fn number(&self, text: &[u8]) -> u32 {
        let Some(letters) = Letters::of(text) else {
            return self.long.get(text).copied().unwrap_or(NONE);
        };
        let found = self.short.find(self.seed.of_words(letters.words), |word| word.letters == letters);
        found.map_or(NONE, |(_, word)| word.number)
    }
}

impl Letters {
    /// Nothing, if it is too long.
    fn of(text: &[u8]) -> Option<Self> {
        let length = u8::try_from(text.len()).ok()?;
        let words = match length {
            0 => [0; 3],
            1..=3 => {
                let bytes = [text[0], text[text.len() / 2], text[text.len() - 1], 0];
                [u32::from_le_bytes(bytes).into(), 0, 0]
            }
            4..=7 => {
                let (first, last) = (text.first_chunk()?, text.last_chunk()?);
                [u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), 0]
            }
            8..=16 => [u64::from_le_bytes(*text.first_chunk()?), u64::from_le_bytes(*text.last_chunk()?), 0],
            17..=24 => {
                let middle = text[8..].first_chunk()?;
                [*text.first_chunk()?, *middle, *text.last_chunk()?].map(u64::from_le_bytes)
            }
            25.. => return None,
        };
        Some(Self { words, length })
    }
}

impl Slot for Word {
    const EMPTY: Self = Self { number: NONE, letters: Letters { words: [0; 3], length: 0 } };

    fn is_empty(&self) -> bool {
        self.number == NONE
    }
}

#[cfg(test)]
mod tests {
    use super::{Letters, NONE, Symbols, Words};
    use crate::policy::index::mixer::Seed;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Texts that are near each other: of every length, and mostly of one letter.
        #[test]
        fn a_word_is_found_by_itself_alone(
            texts in proptest::collection::btree_set("a{0,30}[ab]{1,3}a{0,3}", 1..40), others in proptest::collection::vec("[ab]{1,34}", 1..40),
        ) {
            let mut symbols = Symbols::new();
            let numbers: Vec<u32> = texts.iter().map(|text| symbols.add(text)).collect();
            prop_assert!(texts.iter().zip(&numbers).all(|(text, number)| symbols.add(text) == *number));
            prop_assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), texts.len());
            let words = Words::new(symbols, Seed::new());
            for (text, number) in texts.iter().zip(numbers) {
                prop_assert_eq!(words.number(text.as_bytes()), number);
            }
            for other in others.iter().filter(|other| !texts.contains(*other)) {
                prop_assert_eq!(words.number(other.as_bytes()), NONE);
            }
        }

        #[test]
        fn letters_are_the_text(a in "[ab]{0,25}", b in "[ab]{0,25}") {
            let (of_a, of_b) = (Letters::of(a.as_bytes()), Letters::of(b.as_bytes()));
            prop_assert_eq!(of_a == of_b, a == b || (a.len() > 24 && b.len() > 24));
        }
    }
}
