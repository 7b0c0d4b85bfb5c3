//! Strict JSON in, canonical JSON out.
//!
//! There is one grammar, [`read::Reader`], a pull parser: it checks a text, finds the parts of an envelope, or builds a
//! [`Value`], always by the same rules. RFC 8259, and stricter where RFC 7493 (I-JSON) is: an object that has a key twice,
//! half a surrogate pair, and a number without a finite value are errors.

pub mod canonical;
pub mod read;

use crate::limits::Limits;
use crate::reason::ReasonCode;
use std::collections::BTreeMap;

/// A JSON value that keeps integers of any size.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `[…]`
    Array(Vec<Self>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// A number.
    Number(Number),
    /// `{…}`, its keys in order of code points.
    Object(BTreeMap<String, Self>),
    /// A string.
    String(String),
}

/// A JSON number.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// One written with a fraction or an exponent.
    Float(f64),
    /// One written without: its digits, with a `-` before them if it is negative.
    Integer(String),
}

/// What becomes of numbers that no `f64` can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Python's `json`, for legacy messages: `1e400` is infinite, and is written `Infinity`.
    Python,
    /// The wire format's: such a number is an error.
    Strict,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Where, in bytes from 0.
    pub at: usize,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// An object has this key twice; a long one is shortened.
    #[error("key {0:?} stands twice in one object")]
    DuplicateKey(String),
    /// `\ud800` without its other half.
    #[error("half of a surrogate pair")]
    LoneSurrogate,
    /// The text is not UTF-8.
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    /// A number without a finite value.
    #[error("a number without a finite value")]
    NumberOutOfRange,
    /// A number of more characters than the limit.
    #[error("a number of over {limit} characters")]
    NumberTooLong {
        /// The limit, in characters.
        limit: usize,
    },
    /// Something else than the grammar wants.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What the grammar wants here.
        expected: &'static str,
        /// The character that stands here, or the end.
        found: Found,
    },
    /// More levels of arrays and objects than the limit.
    #[error("over {limit} levels of arrays and objects")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
}

/// What stood where something else was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This character.
    Character(char),
    /// The end of the text.
    End,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Character(c) => write!(f, "{c:?}"),
            Self::End => f.write_str("the end"),
        }
    }
}

impl JsonError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self.kind {
            JsonErrorKind::DuplicateKey(_) => ReasonCode::JsonDuplicateKey,
            JsonErrorKind::LoneSurrogate => ReasonCode::JsonLoneSurrogate,
            JsonErrorKind::NotUtf8 => ReasonCode::JsonNotUtf8,
            JsonErrorKind::NumberOutOfRange => ReasonCode::JsonNumberOutOfRange,
            JsonErrorKind::NumberTooLong { .. } => ReasonCode::JsonNumberTooLong,
            JsonErrorKind::Syntax { .. } => ReasonCode::JsonMalformed,
            JsonErrorKind::TooDeep { .. } => ReasonCode::JsonTooDeep,
        }
    }
}

/// Takes bytes for the UTF-8 text that they should be.
///
/// # Errors
/// [`JsonErrorKind::NotUtf8`], with the place of the first byte that is none.
pub fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|e| JsonError { kind: JsonErrorKind::NotUtf8, at: e.valid_up_to() })
}

/// Reads a whole text into a [`Value`].
///
/// # Errors
/// A [`JsonError`] with the place.
pub fn parse(text: &str, dialect: Dialect, limits: &Limits) -> Result<Value, JsonError> {
    let mut reader = read::Reader::new(text, dialect, limits);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}
