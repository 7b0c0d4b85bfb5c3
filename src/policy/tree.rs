//! Reading a TOML tree by hand, so that every error has its place and one error does not hide the next.
//!
//! Each reader says what is wrong through [`Reader::fault`] and gives back `None`; the caller goes on to the next key. A
//! policy is made only if nothing was said.

use super::error::{Place, PolicyError, PolicyFault};
use crate::limits::Limits;
use crate::position::{Lines, Position};
use crate::time::Timestamp;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One file: where its bytes stand, and what was found wrong so far.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    lines: Lines<'t>,
    pub(super) limits: &'t Limits,
    pub(super) errors: Vec<PolicyError>,
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Table<'v> {
    pub(super) entries: &'v DeTable<'v>,
    /// The byte at which it begins, for what is missing.
    pub(super) offset: usize,
    pub(super) place: Place,
}

/// A text of the file, and the byte at which it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'v> {
    pub(super) text: &'v str,
    pub(super) offset: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &str, text: &'t str, limits: &'t Limits) -> Self {
        Self { lines: Lines::new(file, text), limits, errors: Vec::new() }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        self.lines.position(offset)
    }

    /// Notes what is wrong at `offset`, and goes on.
    pub(super) fn fault(&mut self, offset: usize, fault: PolicyFault) {
        self.errors.push(PolicyError { position: self.position(offset), fault });
    }

    /// Refuses every key that is not `known`.
    pub(super) fn refuse_unknown(&mut self, table: &Table<'_>, known: &'static [&'static str]) {
        for key in table.entries.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let (place, name) = (table.place.clone(), key.get_ref().to_string());
            self.fault(key.span().start, PolicyFault::UnknownKey { place, key: name, known });
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<'v>(
        &mut self,
        table: &Table<'v>,
        key: &'static str,
    ) -> Option<&'v Spanned<DeValue<'v>>> {
        let value = table.entries.get(key);
        if value.is_none() {
            self.fault(table.offset, PolicyFault::Missing { place: table.place.clone(), key });
        }
        value
    }

    pub(super) fn string<'v>(
        &mut self,
        place: &Place,
        key: &str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<Text<'v>> {
        match value.get_ref().as_str() {
            Some(text) => Some(Text { text, offset: value.span().start }),
            None => self.wrong_type(place, key, "a string", value),
        }
    }

    pub(super) fn boolean<'v>(
        &mut self,
        place: &Place,
        key: &str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            return self.wrong_type(place, key, "a boolean", value);
        }
        found
    }

    /// The strings of a list that is not empty. `None` if anything in it is wrong.
    pub(super) fn strings<'v>(
        &mut self,
        place: &Place,
        key: &str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<Vec<Text<'v>>> {
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong_type(place, key, "a list of strings", value);
        };
        if list.is_empty() {
            let fault = PolicyFault::EmptyList { place: place.clone(), key: key.to_owned() };
            self.fault(value.span().start, fault);
            return None;
        }
        let texts: Vec<_> = list.iter().map(|entry| self.string(place, key, entry)).collect();
        texts.into_iter().collect()
    }

    pub(super) fn unsigned<'v>(
        &mut self,
        place: &Place,
        key: &'static str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<u64> {
        let Some(integer) = value.get_ref().as_integer() else {
            return self.wrong_type(place, key, "an integer", value);
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            let (place, found) = (place.clone(), integer.to_string());
            let expected = "an integer from 0 to 18446744073709551615";
            self.fault(value.span().start, PolicyFault::Value { place, key, expected, found });
        }
        number
    }

    /// A TOML offset date-time in whole seconds. A local one is refused: it would mean another moment on another host.
    pub(super) fn time<'v>(
        &mut self,
        place: &Place,
        key: &'static str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<Timestamp> {
        let Some(written) = value.get_ref().as_datetime() else {
            return self.wrong_type(place, key, "an offset date-time", value);
        };
        let mut whole = *written;
        if let Some(time) = &mut whole.time {
            // TOML 1.1 lets the seconds be left out.
            time.second = Some(time.second.unwrap_or(0));
        }
        let fraction = written.time.and_then(|time| time.nanosecond).is_some_and(|n| n != 0);
        let read = whole.to_string().parse::<Timestamp>().ok().filter(|_| !fraction);
        if read.is_none() {
            let (place, found) = (place.clone(), written.to_string());
            self.fault(value.span().start, PolicyFault::Time { place, key, found });
        }
        read
    }

    pub(super) fn table<'v>(
        &mut self,
        place: &Place,
        key: &str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<Table<'v>> {
        match value.get_ref().as_table() {
            Some(entries) => Some(Table { entries, offset: value.span().start, place: place.clone() }),
            None => self.wrong_type(place, key, "a table", value),
        }
    }

    /// The tables of a `[[key]]`, each with the place that `name` gives its number (from 1).
    pub(super) fn tables<'v>(
        &mut self,
        place: &Place,
        key: &'static str,
        value: &'v Spanned<DeValue<'v>>,
        name: impl Fn(usize) -> Place,
    ) -> Vec<Table<'v>> {
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong_type(place, key, "a list of tables", value).unwrap_or_default();
        };
        let tables = list.iter().enumerate();
        tables.filter_map(|(n, entry)| self.table(&name(n + 1), key, entry)).collect()
    }

    fn wrong_type<T>(
        &mut self,
        place: &Place,
        key: &str,
        expected: &'static str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<T> {
        let found = value.get_ref().type_str();
        let (place, key) = (place.clone(), key.to_owned());
        self.fault(value.span().start, PolicyFault::WrongType { place, key, expected, found });
        None
    }
}
