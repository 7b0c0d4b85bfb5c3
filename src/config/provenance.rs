//! Where a value of the configuration came from.

use crate::position::Position;
use std::fmt;
use std::ops::Deref;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it: it is the program's own.
    BuiltIn,
    /// An environment variable, by its name.
    Environment(String),
    /// A key in a file, at this place.
    File(Position),
    /// A flag of the command line, such as `--env`.
    Flag(String),
}

impl Origin {
    /// Which kind it is: `built-in`, `environment`, `file` or `flag`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
            Self::File(position) => position.fmt(f),
        }
    }
}

/// A value and where it came from. It derefs to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    value: T,
    origin: Origin,
}

impl<T> Setting<T> {
    pub(super) fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for Setting<T> {
    /// The value alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
