//! The pull parser: the one grammar of JSON in this crate.

use super::{Dialect, Found, JsonError, JsonErrorKind, Number, Value};
use crate::limits::Limits;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Reads a JSON text from the left, value by value.
///
/// Each method reads one value of its kind, with the white space around it, or fails with the place. Whoever asks for
/// [`Reader::skip`] pays for checking alone; nothing is built.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    dialect: Dialect,
    limits: Limits,
}

/// The kind of the value that comes next, told by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[`
    Array,
    /// `t` or `f`
    Bool,
    /// `n`
    Null,
    /// A digit or `-`
    Number,
    /// `{`
    Object,
    /// `"`
    String,
}

impl<'a> Reader<'a> {
    /// Begins at the start of `text`.
    pub fn new(text: &'a str, dialect: Dialect, limits: &Limits) -> Self {
        Self { text, at: 0, depth: 0, dialect, limits: *limits }
    }

    /// Says what kind of value comes next, without reading it.
    ///
    /// # Errors
    /// [`JsonErrorKind::Syntax`] if no value begins here; `NaN` and `Infinity` are [`JsonErrorKind::NumberOutOfRange`].
    pub fn peek(&mut self) -> Result<Kind, JsonError> {
        self.white_space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'N' | b'I') => Err(self.error(JsonErrorKind::NumberOutOfRange)),
            _ => Err(self.expected("a value")),
        }
    }

    /// Where the next value begins, in bytes.
    pub fn place(&mut self) -> usize {
        self.white_space();
        self.at
    }

    /// Reads an object: calls `member` with each key, which has to read the value.
    ///
    /// # Errors
    /// What `member` gives, and the grammar's own. The keys are compared when the object ends.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        let begin = self.place();
        self.open(b'{', "an object")?;
        let mut keys: Vec<Cow<'a, str>> = Vec::new();
        // A canonical text has its keys in order: then no two are equal, and nothing need be compared again.
        let mut ascending = true;
        self.white_space();
        if self.byte() != Some(b'}') {
            loop {
                let key = self.string()?;
                self.white_space();
                self.take(b':', "`:`")?;
                member(self, &key)?;
                ascending &= keys.last().is_none_or(|last| *last < key);
                keys.push(key);
                self.white_space();
                match self.byte() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return Err(self.expected("`,` or `}`").into()),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        if !ascending {
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                let kind = JsonErrorKind::DuplicateKey(shortened(&twice[0]));
                return Err(JsonError { kind, at: begin }.into());
            }
        }
        Ok(())
    }

    /// Reads an array: calls `element` at each element, which has to read it.
    ///
    /// # Errors
    /// What `element` gives, and the grammar's own.
    pub fn array<E: From<JsonError>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.white_space();
        self.open(b'[', "an array")?;
        self.white_space();
        if self.byte() != Some(b']') {
            loop {
                element(self)?;
                self.white_space();
                match self.byte() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return Err(self.expected("`,` or `]`").into()),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string; borrowed where it has no escapes.
    ///
    /// # Errors
    /// [`JsonErrorKind::Syntax`] and [`JsonErrorKind::LoneSurrogate`].
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.white_space();
        self.take(b'"', "a string")?;
        let start = self.at;
        self.plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        let mut decoded = String::from(&self.text[start..self.at]);
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(decoded));
                }
                Some(b'\\') => decoded.push(self.escape()?),
                _ => return Err(self.expected("a string's next character or its end")),
            }
            let from = self.at;
            self.plain();
            decoded.push_str(&self.text[from..self.at]);
        }
    }

    /// Reads a number and gives its text, which is within the limit and, in [`Dialect::Strict`], has a finite value.
    ///
    /// # Errors
    /// [`JsonErrorKind::Syntax`], [`JsonErrorKind::NumberTooLong`] and [`JsonErrorKind::NumberOutOfRange`].
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        self.white_space();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            Some(b'I') => return Err(self.error(JsonErrorKind::NumberOutOfRange)),
            _ => return Err(self.expected("a number")),
        }
        let mut integer = true;
        if self.byte() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = &self.text[start..self.at];
        let error = |kind| Err(JsonError { kind, at: start });
        if number.len() > self.limits.json_number_chars {
            return error(JsonErrorKind::NumberTooLong { limit: self.limits.json_number_chars });
        }
        let finite = integer || number.parse::<f64>().is_ok_and(f64::is_finite);
        if self.dialect == Dialect::Strict && !finite {
            return error(JsonErrorKind::NumberOutOfRange);
        }
        Ok(number)
    }

    /// Checks one value of any kind and gives its place in the text.
    ///
    /// # Errors
    /// A [`JsonError`] with the place.
    pub fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.place();
        match self.peek()? {
            Kind::Array => self.array::<JsonError>(|reader| reader.skip().map(drop))?,
            Kind::Bool => drop(self.boolean()?),
            Kind::Null => self.word("null")?,
            Kind::Number => drop(self.number()?),
            Kind::Object => self.object::<JsonError>(|reader, _| reader.skip().map(drop))?,
            Kind::String => drop(self.string()?),
        }
        Ok(start..self.at)
    }

    /// Reads one value of any kind.
    ///
    /// # Errors
    /// A [`JsonError`] with the place.
    pub fn value(&mut self) -> Result<Value, JsonError> {
        Ok(match self.peek()? {
            Kind::Array => {
                let mut elements = Vec::new();
                self.array::<JsonError>(|reader| {
                    elements.push(reader.value()?);
                    Ok(())
                })?;
                Value::Array(elements)
            }
            Kind::Bool => Value::Bool(self.boolean()?),
            Kind::Null => {
                self.word("null")?;
                Value::Null
            }
            Kind::Number => Value::Number(number_value(self.number()?)),
            Kind::Object => {
                let mut members = BTreeMap::new();
                self.object::<JsonError>(|reader, key| {
                    members.insert(key.to_string(), reader.value()?);
                    Ok(())
                })?;
                Value::Object(members)
            }
            Kind::String => Value::String(self.string()?.into_owned()),
        })
    }

    /// Makes sure that nothing follows.
    ///
    /// # Errors
    /// [`JsonErrorKind::Syntax`] if something does.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.white_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end")) }
    }

    fn boolean(&mut self) -> Result<bool, JsonError> {
        let truth = self.byte() == Some(b't');
        self.word(if truth { "true" } else { "false" })?;
        Ok(truth)
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.depth == self.limits.json_depth && self.byte() == Some(bracket) {
            return Err(self.error(JsonErrorKind::TooDeep { limit: self.limits.json_depth }));
        }
        self.take(bracket, expected)?;
        self.depth += 1;
        Ok(())
    }

    /// Passes over what stands in a string as it is.
    fn plain(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let Some(letter) = self.byte() else { return Err(self.expected("an escape")) };
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(start),
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self, start: usize) -> Result<char, JsonError> {
        let lone = JsonError { kind: JsonErrorKind::LoneSurrogate, at: start };
        let first = self.hex4()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or(lone);
        }
        if first >= 0xdc00 || !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(lone);
        }
        self.at += 1;
        let second = self.hex4()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(lone)
    }

    /// Reads `u` and four hexadecimal digits.
    fn hex4(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|b| char::from(b).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.byte() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        let found = found.map_or(Found::End, Found::Character);
        self.error(JsonErrorKind::Syntax { expected, found })
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }
}

/// A key for an error, at most 40 characters of it.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(40) {
        None => key.to_owned(),
        Some((end, _)) => format!("{}…", &key[..end]),
    }
}

/// `text` has passed [`Reader::number`].
fn number_value(text: &str) -> Number {
    if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        // The grammar is within Rust's own; what it cannot hold it makes infinite.
        return Number::Float(text.parse().unwrap_or(f64::NAN));
    }
    // As Python reads it: the integer zero has no sign.
    Number::Integer(if text == "-0" { "0".to_owned() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::{parse, text};
    use super::*;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn skip(text: &str) -> Result<(), JsonError> {
        let mut reader = Reader::new(text, Dialect::Strict, LIMITS);
        reader.skip()?;
        reader.end()
    }

    fn code(text: &str) -> &'static str {
        let skipped = skip(text).unwrap_err();
        assert_eq!(parse(text, Dialect::Strict, LIMITS).unwrap_err(), skipped, "{text}");
        skipped.code().as_str()
    }

    #[test]
    fn what_is_not_strict_json_is_refused_by_name() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        let long = "1".repeat(1025);
        for (text, expected) in [
            ("", "json-malformed"),
            ("{", "json-malformed"),
            ("{}x", "json-malformed"),
            ("[1,]", "json-malformed"),
            ("{\"a\":1,}", "json-malformed"),
            ("{a:1}", "json-malformed"),
            ("01", "json-malformed"),
            ("1.", "json-malformed"),
            (".5", "json-malformed"),
            ("+1", "json-malformed"),
            ("1e", "json-malformed"),
            ("-", "json-malformed"),
            ("'a'", "json-malformed"),
            ("\"a\nb\"", "json-malformed"),
            ("\"\\x\"", "json-malformed"),
            ("\"\\u12g4\"", "json-malformed"),
            ("\"\\u12", "json-malformed"),
            ("\"abc", "json-malformed"),
            ("tru", "json-malformed"),
            ("nul", "json-malformed"),
            ("\u{feff}{}", "json-malformed"),
            ("{\"a\":1,\"a\":2}", "json-duplicate-key"),
            ("{\"b\":1,\"a\":2,\"\\u0062\":3}", "json-duplicate-key"),
            ("[{\"a\":{\"x\":1,\"x\":1}}]", "json-duplicate-key"),
            ("\"\\ud800\"", "json-lone-surrogate"),
            ("\"\\ud800\\u0041\"", "json-lone-surrogate"),
            ("\"\\udc00\\ud800\"", "json-lone-surrogate"),
            ("NaN", "json-number-out-of-range"),
            ("[Infinity]", "json-number-out-of-range"),
            ("-Infinity", "json-number-out-of-range"),
            ("1e400", "json-number-out-of-range"),
            (&deep, "json-too-deep"),
            (&long, "json-number-too-long"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
        assert!(skip(&("[".repeat(64) + &"]".repeat(64))).is_ok());
        assert!(skip(&"1".repeat(1024)).is_ok());
        assert_eq!(text(b"\xff").unwrap_err().code(), ReasonCode::JsonNotUtf8);
    }

    use crate::reason::ReasonCode;

    #[test]
    fn errors_say_where() {
        let error = skip("{\"a\": [1, x]}").unwrap_err();
        assert_eq!(error.to_string(), "expected a value, found 'x' at byte 10");
        assert_eq!(skip("[1").unwrap_err().to_string(), "expected `,` or `]`, found the end at byte 2");
        assert_eq!(skip("\"é\\q\"").unwrap_err().at, 4);
    }

    /// An error is for a log: what somebody sent must not fill it.
    #[test]
    fn a_long_key_is_not_said_whole() {
        let key = "\u{200b}k".repeat(100_000);
        let error = skip(&format!("{{\"{key}\":1,\"{key}\":2}}")).unwrap_err();
        assert!(error.to_string().len() < 500, "{} bytes", error.to_string().len());
    }

    #[test]
    fn strings_are_decoded() {
        let value = parse("\"a\\u00e9\\ud83d\\ude00\\/\\n é\"", Dialect::Strict, LIMITS).unwrap();
        assert_eq!(value, Value::String("aé😀/\n é".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_serde_accepts_too(text in "[\\[\\]{}\",:\\\\u0-9a-f.eE+ ntrul-]{0,24}") {
            if skip(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
            let _ = skip(&text);
            let _ = parse(&text, Dialect::Python, LIMITS);
        }
    }
}
