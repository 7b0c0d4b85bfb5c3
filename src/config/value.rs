//! The types of values, each with the one reader of its syntax, whichever source it stands in.

use super::error::did_you_mean;
use super::suggest::nearest;
use crate::endpoint::{Endpoint, EndpointError};
use crate::identity::{IdentityError, SpiffeId};
use crate::limits::Limits;
use crate::policy::{PublisherError, PublisherPattern};
use crate::topic::{Topic, TopicError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// None of the words that are allowed.
    #[error("`{found}` is none of {}{}", allowed.join(", "), did_you_mean(*suggestion))]
    Choice {
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: &'static [&'static str],
        /// The allowed word nearest to it.
        suggestion: Option<&'static str>,
    },
    /// The same item twice in a list.
    #[error("`{0}` is listed twice")]
    Duplicate(String),
    /// Not a whole number and a unit.
    #[error("`{0}` is no duration; write a whole number and a unit (ms, s, m, h, d), such as \"10m\"")]
    Duration(String),
    /// A list that needs an item has none.
    #[error("the list is empty")]
    EmptyList,
    /// Not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Port 0 means any port, and consumers could not know which.
    #[error("endpoint `{0}` has port 0, which nothing can connect to")]
    EndpointPort(String),
    /// Not a part of an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Not a name that can be a topic's field and a part of an identity.
    #[error("`{0}` is no name; a-z 0-9 - _ are allowed")]
    Name(String),
    /// Not a path that can be taken as it stands.
    #[error("`{path}` is no usable path: {reason}")]
    Path {
        /// What was found.
        path: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// Not an identity, nor a pattern of identities.
    #[error(transparent)]
    Publisher(#[from] PublisherError),
    /// A number outside its range.
    #[error("{found} is not between {min} and {max}")]
    Range {
        /// What was found.
        found: String,
        /// The least allowed.
        min: String,
        /// The most allowed.
        max: String,
    },
    /// Not a number of bytes.
    #[error("`{0}` is no size; write a number of bytes, or a whole number and KiB, MiB or GiB")]
    Size(String),
    /// Not a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The type that is wanted.
        expected: String,
        /// The type that was found.
        found: &'static str,
    },
}

/// A value as it was written, before its key has given it a meaning.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) node: Node,
    /// The byte at which it begins in its file; 0 elsewhere.
    pub(super) at: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Boolean(bool),
    /// Held at the ends of `i128`, far outside any range.
    Integer(i128),
    List(Vec<Raw>),
    /// A type that no key has.
    Other(&'static str),
    Text(String),
}

/// A fault and the byte at which it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) fault: ValueFault,
}

impl Raw {
    fn fault(&self, fault: impl Into<ValueFault>) -> Fault {
        Fault { at: self.at, fault: fault.into() }
    }

    fn wrong_type<T: Value>(&self) -> Fault {
        let found = match &self.node {
            Node::Boolean(_) => "a boolean",
            Node::Integer(_) => "an integer",
            Node::List(_) => "a list",
            Node::Other(name) => name,
            Node::Text(_) => "a text",
        };
        self.fault(ValueFault::Type { expected: T::describe(), found })
    }

    fn text<T: Value>(&self) -> Result<&str, Fault> {
        match &self.node {
            Node::Text(text) => Ok(text),
            Node::Boolean(_) | Node::Integer(_) | Node::List(_) | Node::Other(_) => {
                Err(self.wrong_type::<T>())
            }
        }
    }
}

/// What a key's value can be.
pub(super) trait Value: Sized {
    /// The type in words, with its article: `a duration such as "10m"`.
    fn describe() -> String;
    /// How it is written outside a file, where everything is text: the environment, flags, and the built-in values.
    fn from_plain_text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }
    /// Reads it. Relative paths are taken from `base`.
    fn read(raw: &Raw, base: &Path) -> Result<Self, Fault>;
    /// Writes it.
    fn to_toml(&self) -> toml::Value;
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: usize, const MAX: usize>(usize);

impl<const MIN: usize, const MAX: usize> Count<MIN, MAX> {
    /// The number.
    pub fn count(self) -> usize {
        self.0
    }

    fn checked(raw: &Raw, number: i128) -> Result<Self, Fault> {
        match usize::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Ok(_) | Err(_) => {
                let (found, min, max) = (number.to_string(), MIN.to_string(), MAX.to_string());
                Err(raw.fault(ValueFault::Range { found, min, max }))
            }
        }
    }
}

fn number_or_text(text: &str) -> Node {
    text.parse().map_or_else(|_| Node::Text(text.to_owned()), Node::Integer)
}

impl<const MIN: usize, const MAX: usize> Value for Count<MIN, MAX> {
    fn describe() -> String {
        format!("an integer from {MIN} to {MAX}")
    }

    fn from_plain_text(text: &str) -> Node {
        number_or_text(text)
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        match raw.node {
            Node::Integer(number) => Self::checked(raw, number),
            Node::Boolean(_) | Node::List(_) | Node::Other(_) | Node::Text(_) => {
                Err(raw.wrong_type::<Self>())
            }
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Integer(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

/// A number of bytes from `MIN` to `MAX`, written as a number or with KiB, MiB or GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: usize, const MAX: usize>(usize);

impl<const MIN: usize, const MAX: usize> Size<MIN, MAX> {
    /// The number of bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl<const MIN: usize, const MAX: usize> Value for Size<MIN, MAX> {
    fn describe() -> String {
        format!("a size from {MIN} to {MAX} bytes, such as 1048576 or \"1MiB\"")
    }

    fn from_plain_text(text: &str) -> Node {
        number_or_text(text)
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        let bytes = match &raw.node {
            Node::Integer(number) => *number,
            Node::Text(text) => {
                let units = [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
                i128::from(with_unit(text, &units).ok_or_else(|| raw.fault(ValueFault::Size(text.clone())))?)
            }
            Node::Boolean(_) | Node::List(_) | Node::Other(_) => return Err(raw.wrong_type::<Self>()),
        };
        Count::<MIN, MAX>::checked(raw, bytes).map(|count| Self(count.0))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Integer(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

/// A whole number and a unit; `None` for anything else, and for what does not fit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = (&text[..digits], text[digits..].trim_start_matches(' '));
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The longest duration that can be written: ten years, so that sums with a time stay small.
const MAX_DURATION_DAYS: u64 = 3650;

impl Value for Duration {
    fn describe() -> String {
        "a duration such as \"10m\"".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        let text = raw.text::<Self>()?;
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let milliseconds =
            with_unit(text, &units).ok_or_else(|| raw.fault(ValueFault::Duration(text.to_owned())))?;
        if milliseconds > MAX_DURATION_DAYS * 86_400_000 {
            let (min, max) = ("0s".to_owned(), format!("{MAX_DURATION_DAYS}d"));
            return Err(raw.fault(ValueFault::Range { found: text.to_owned(), min, max }));
        }
        Ok(Self::from_millis(milliseconds))
    }

    fn to_toml(&self) -> toml::Value {
        let milliseconds = self.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let fitting =
            units.iter().find(|(_, factor)| milliseconds > 0 && milliseconds.is_multiple_of(*factor));
        toml::Value::String(match fitting {
            Some((unit, factor)) => format!("{}{unit}", milliseconds / factor),
            None if milliseconds == 0 => "0s".to_owned(),
            None => format!("{milliseconds}ms"),
        })
    }
}

/// A duration of whole seconds, for what is compared with timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(u64);

impl Seconds {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl Value for Seconds {
    fn describe() -> String {
        "a duration of whole seconds such as \"10m\"".to_owned()
    }

    fn read(raw: &Raw, base: &Path) -> Result<Self, Fault> {
        let text = raw.text::<Self>()?;
        let duration = Duration::read(raw, base)?;
        if duration.subsec_millis() > 0 {
            return Err(raw.fault(ValueFault::Duration(text.to_owned())));
        }
        Ok(Self(duration.as_secs()))
    }

    fn to_toml(&self) -> toml::Value {
        self.duration().to_toml()
    }
}

impl Value for bool {
    fn describe() -> String {
        "true or false".to_owned()
    }

    fn from_plain_text(text: &str) -> Node {
        text.parse().map_or_else(|_| Node::Text(text.to_owned()), Node::Boolean)
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        match raw.node {
            Node::Boolean(value) => Ok(value),
            Node::Integer(_) | Node::List(_) | Node::Other(_) | Node::Text(_) => {
                Err(raw.wrong_type::<Self>())
            }
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
}

/// A name that is a topic's field and a part of an identity both: an environment, a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// [`ValueFault::Name`] unless it is one or more of `a-z 0-9 - _`.
    pub fn new(text: &str) -> Result<Self, ValueFault> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > Limits::STANDARD.topic_bytes || !text.bytes().all(allowed) {
            return Err(ValueFault::Name(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Name {
    fn describe() -> String {
        "a name of a-z 0-9 - _".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        Self::new(raw.text::<Self>()?).map_err(|fault| raw.fault(fault))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

/// A host, as the last part of an identity has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPart(Box<str>);

impl HostPart {
    /// The host.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for HostPart {
    fn describe() -> String {
        "a host of a-z 0-9 - _ .".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        let id = SpiffeId::new("domain", "env", "service", raw.text::<Self>()?);
        id.map(|id| Self(id.host().into())).map_err(|fault| raw.fault(fault))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.0.to_string())
    }
}

/// A trust domain: the first part of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// The trust domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for TrustDomain {
    fn describe() -> String {
        "a trust domain of a-z 0-9 - _ .".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        let id = SpiffeId::new(raw.text::<Self>()?, "env", "service", "host");
        id.map(|id| Self(id.trust_domain().into())).map_err(|fault| raw.fault(fault))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.0.to_string())
    }
}

impl Value for Topic {
    fn describe() -> String {
        "a topic".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        Self::parse(raw.text::<Self>()?, &Limits::STANDARD).map_err(|fault| raw.fault(fault))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

/// A file or directory. A relative path was taken from the directory that holds the `fedmsg.d` in which it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(PathBuf);

impl FilePath {
    /// The path, ready for use.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Value for FilePath {
    fn describe() -> String {
        "a path".to_owned()
    }

    fn read(raw: &Raw, base: &Path) -> Result<Self, Fault> {
        let text = raw.text::<Self>()?;
        let reason = match text {
            "" => Some("it is empty"),
            _ if text.contains('\0') => Some("it has a NUL"),
            // Only shells give `~` a meaning; here it would be a directory of that name.
            _ if text == "~" || text.starts_with("~/") => Some("`~` is not expanded, write the whole path"),
            _ => None,
        };
        match reason {
            None => Ok(Self(base.join(text))),
            Some(reason) => Err(raw.fault(ValueFault::Path { path: text.to_owned(), reason })),
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.0.display().to_string())
    }
}

impl Value for PublisherPattern {
    fn describe() -> String {
        "an identity such as \"spiffe://example.org/prod/operator/ada\", `*` for a whole segment".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        raw.text::<Self>()?.parse().map_err(|fault: PublisherError| raw.fault(fault))
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

impl Value for Endpoint {
    fn describe() -> String {
        "an endpoint such as \"tcp://app01:9940\"".to_owned()
    }

    fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
        let text = raw.text::<Self>()?;
        let endpoint: Self = text.parse().map_err(|fault: EndpointError| raw.fault(fault))?;
        match endpoint.tcp() {
            Some(tcp) if tcp.port() == 0 => Err(raw.fault(ValueFault::EndpointPort(text.to_owned()))),
            Some(_) | None => Ok(endpoint),
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

/// A list without the same item twice. In plain text, commas stand between the items.
impl<T: Value + PartialEq> Value for Vec<T> {
    fn describe() -> String {
        let item = T::describe();
        format!("a list, each item {item}")
    }

    fn from_plain_text(text: &str) -> Node {
        if text.trim().is_empty() {
            return Node::List(Vec::new());
        }
        Node::List(text.split(',').map(|i| Raw { node: T::from_plain_text(i.trim()), at: 0 }).collect())
    }

    fn read(raw: &Raw, base: &Path) -> Result<Self, Fault> {
        let Node::List(items) = &raw.node else {
            return Err(raw.wrong_type::<Self>());
        };
        let mut read = Self::with_capacity(items.len());
        for item in items {
            let value = T::read(item, base)?;
            if read.contains(&value) {
                return Err(item.fault(ValueFault::Duplicate(plain(&value.to_toml()))));
            }
            read.push(value);
        }
        Ok(read)
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Value::to_toml).collect())
    }
}

/// A list with at least one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonEmpty<T>(Vec<T>);

impl<T> std::ops::Deref for NonEmpty<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Value + PartialEq> Value for NonEmpty<T> {
    fn describe() -> String {
        Vec::<T>::describe()
    }

    fn from_plain_text(text: &str) -> Node {
        Vec::<T>::from_plain_text(text)
    }

    fn read(raw: &Raw, base: &Path) -> Result<Self, Fault> {
        let items = Vec::read(raw, base)?;
        if items.is_empty() { Err(raw.fault(ValueFault::EmptyList)) } else { Ok(Self(items)) }
    }

    fn to_toml(&self) -> toml::Value {
        self.0.to_toml()
    }
}

/// A text without its quotes, anything else as TOML writes it.
pub(super) fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $Enum:ident { $($(#[doc = $item:literal])+ $Variant:ident = $word:literal,)+ })+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Enum { $($(#[doc = $item])+ $Variant,)+ }

        impl $Enum {
            const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $word,)+ }
            }
        }

        impl Value for $Enum {
            fn describe() -> String {
                format!("one of {}", Self::WORDS.join(", "))
            }

            fn read(raw: &Raw, _base: &Path) -> Result<Self, Fault> {
                match raw.text::<Self>()? {
                    $($word => Ok(Self::$Variant),)+
                    other => {
                        let suggestion = nearest(other, Self::WORDS.iter().copied());
                        let (found, allowed) = (other.to_owned(), Self::WORDS);
                        Err(raw.fault(ValueFault::Choice { found, allowed, suggestion }))
                    }
                }
            }

            fn to_toml(&self) -> toml::Value {
                toml::Value::String(self.as_str().to_owned())
            }
        }
    )+ };
}

choices! {
    /// Where a publisher keeps what it has published.
    Durability {
        /// In a file: it outlives the process and a loss of power.
        Disk = "disk",
        /// In memory: it is gone when the process ends.
        Memory = "memory",
    }
    /// What a publisher does with a message for which its queue has no room.
    WhenFull {
        /// The caller waits.
        Wait = "wait",
        /// The message is refused.
        Refuse = "refuse",
    }
    /// What moves frames between processes.
    Transport {
        /// The `zeromq` crate, for links on which everybody is trusted.
        Zeromq = "zeromq",
        /// Our own engine, for any link.
        Zmtp = "zmtp",
    }
    /// Whether the revocation of legacy certificates is looked at.
    LegacyRevocation {
        /// By the list in `trust.legacy.crl`.
        Crl = "crl",
        /// Not at all: a stolen key is accepted for as long as its certificate lasts.
        NotChecked = "not-checked",
    }
}
