//! Topics: dotted names such as `org.fedoraproject.prod.bodhi.update.comment`.
//!
//! A topic is `PREFIX.ENV.SERVICE.OBJECT[.SUBOBJECT].EVENT`. What *names* a topic ([`Topic`]) and what *selects* topics
//! ([`TopicPattern`]) are two types, and neither turns into the other by accident.

use crate::limits::Limits;
use std::fmt;

/// A well-formed topic: one or more non-empty fields, joined by dots.
///
/// A field holds ASCII letters, digits and `-`, `_`, `+`, `~`, `:`, `@`. There is no wildcard in a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

/// Why a text is no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A byte that no field may hold.
    #[error("topic has byte 0x{byte:02x} at {at}; fields hold ASCII letters, digits and -_+~:@")]
    Character {
        /// The offending byte.
        byte: u8,
        /// Its place, from 0.
        at: usize,
    },
    /// Two dots together, a dot at an end, or nothing at all.
    #[error("topic has an empty field at byte {at}")]
    EmptyField {
        /// Where the field would begin, from 0.
        at: usize,
    },
    /// More bytes than the limit.
    #[error("topic has {found} bytes, the limit is {limit}")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
        /// What was found, in bytes.
        found: usize,
    },
    /// More fields than the limit.
    #[error("topic has {found} fields, the limit is {limit}")]
    TooManyFields {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
}

impl Topic {
    /// Reads a topic.
    ///
    /// # Errors
    /// A [`TopicError`] that says what is wrong and where. Length is looked at first, so that a text of any size is
    /// refused at once.
    pub fn parse(text: impl AsRef<[u8]>, limits: &Limits) -> Result<Self, TopicError> {
        let bytes = text.as_ref();
        if bytes.len() > limits.topic_bytes {
            return Err(TopicError::TooLong { limit: limits.topic_bytes, found: bytes.len() });
        }
        let mut checked = String::with_capacity(bytes.len());
        let mut start = 0;
        let mut fields = 1;
        for (at, &byte) in bytes.iter().enumerate() {
            if byte == b'.' {
                if at == start {
                    return Err(TopicError::EmptyField { at });
                }
                start = at + 1;
                fields += 1;
            } else if !is_field_byte(byte) {
                return Err(TopicError::Character { byte, at });
            }
            checked.push(char::from(byte));
        }
        if start == bytes.len() {
            return Err(TopicError::EmptyField { at: start });
        }
        if fields > limits.topic_fields {
            return Err(TopicError::TooManyFields { limit: limits.topic_fields, found: fields });
        }
        Ok(Self(checked.into_boxed_str()))
    }

    /// The whole topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its fields, from the left.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('.')
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a topic's field may hold `byte`.
pub(crate) fn is_field_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_+~:@".contains(&byte)
}

/// Selects topics by whole fields: `*` is exactly one field, `#` at the end is zero or more.
///
/// There is no partial field, no prefix and no regular expression, so that what a pattern selects can be told by
/// looking at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern {
    fields: Vec<PatternField>,
    /// Whether a `#` ends it.
    open: bool,
}

/// One field of a [`TopicPattern`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternField {
    /// `*`: any one field.
    Any,
    /// Exactly this field.
    Literal(Box<str>),
    /// `{env}`, `{service}` or `{host}`: that part of the signer's identity.
    Template(Template),
}

/// The part of an identity that a pattern's field stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Template {
    /// `{env}`
    Env,
    /// `{host}`
    Host,
    /// `{service}`
    Service,
}

/// The most `*` that one pattern may have, so that matching cannot be made slow.
pub const MAX_WILDCARDS: usize = 3;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A field that is neither plain, `*`, a template, nor a `#` at the end.
    #[error("field `{0}` is neither a plain field, `*`, {{env}}, {{service}}, {{host}}, nor a final `#`")]
    Field(String),
    /// A template where none is allowed (a subscription has no signer to fill it from).
    #[error("`{0}` stands for a part of the signer's identity and has no meaning here")]
    Template(String),
    /// More `*` than [`MAX_WILDCARDS`].
    #[error("pattern has {found} `*`, the limit is {MAX_WILDCARDS}")]
    TooManyWildcards {
        /// What was found.
        found: usize,
    },
    /// An empty field, or too long a pattern.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl TopicPattern {
    /// Reads a pattern that may have templates, as a policy's rules do.
    ///
    /// # Errors
    /// A [`PatternError`] that names the field.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, PatternError> {
        if text.len() > limits.topic_bytes {
            return Err(TopicError::TooLong { limit: limits.topic_bytes, found: text.len() }.into());
        }
        let mut fields = Vec::new();
        let mut open = false;
        let mut at = 0;
        for field in text.split('.') {
            if open {
                return Err(PatternError::Field("#".to_owned()));
            }
            match field {
                "" => return Err(TopicError::EmptyField { at }.into()),
                "*" => fields.push(PatternField::Any),
                "#" => open = true,
                "{env}" => fields.push(PatternField::Template(Template::Env)),
                "{host}" => fields.push(PatternField::Template(Template::Host)),
                "{service}" => fields.push(PatternField::Template(Template::Service)),
                plain if plain.bytes().all(is_field_byte) => fields.push(PatternField::Literal(plain.into())),
                other => return Err(PatternError::Field(other.to_owned())),
            }
            at += field.len() + 1;
        }
        if fields.len() > limits.topic_fields {
            let found = fields.len();
            return Err(TopicError::TooManyFields { limit: limits.topic_fields, found }.into());
        }
        let found = fields.iter().filter(|f| **f == PatternField::Any).count();
        if found > MAX_WILDCARDS {
            return Err(PatternError::TooManyWildcards { found });
        }
        Ok(Self { fields, open })
    }

    /// Reads a pattern without templates, as a subscription or a filter has.
    ///
    /// # Errors
    /// As [`TopicPattern::parse`], and [`PatternError::Template`] if it has a template.
    pub fn parse_plain(text: &str, limits: &Limits) -> Result<Self, PatternError> {
        let pattern = Self::parse(text, limits)?;
        match pattern.fields.iter().find(|f| matches!(f, PatternField::Template(_))) {
            None => Ok(pattern),
            Some(template) => Err(PatternError::Template(template.to_string())),
        }
    }

    /// The fields before a final `#`.
    pub fn fields(&self) -> &[PatternField] {
        &self.fields
    }

    /// Whether a `#` ends the pattern.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it selects `topic`. `fill` gives the text of a template, `None` where the signer has no such part; a
    /// template that cannot be filled selects nothing.
    pub fn matches<'a>(&self, topic: &Topic, fill: impl Fn(Template) -> Option<&'a str>) -> bool {
        let mut rest = topic.fields();
        for expected in &self.fields {
            let Some(found) = rest.next() else { return false };
            let same = match expected {
                PatternField::Any => true,
                PatternField::Literal(text) => **text == *found,
                PatternField::Template(template) => fill(*template) == Some(found),
            };
            if !same {
                return false;
            }
        }
        self.open || rest.next().is_none()
    }

    /// Whether it selects `topic`, for a pattern without templates (a template selects nothing).
    pub fn matches_plain(&self, topic: &Topic) -> bool {
        self.matches(topic, |_| None)
    }

    /// The longest text with which every topic that it selects begins: what a ZeroMQ subscription can express. It
    /// may end within a field, so that the receiver has to match again.
    pub fn literal_prefix(&self) -> String {
        let mut prefix = String::new();
        for (n, field) in self.fields.iter().enumerate() {
            let PatternField::Literal(text) = field else {
                return if n == 0 { prefix } else { prefix + "." };
            };
            if n > 0 {
                prefix.push('.');
            }
            prefix.push_str(text);
        }
        prefix
    }
}

impl fmt::Display for PatternField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Literal(text) => text,
            Self::Template(Template::Env) => "{env}",
            Self::Template(Template::Host) => "{host}",
            Self::Template(Template::Service) => "{service}",
        })
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, field) in self.fields.iter().enumerate() {
            if n > 0 {
                f.write_str(".")?;
            }
            field.fmt(f)?;
        }
        match (self.open, self.fields.is_empty()) {
            (true, true) => f.write_str("#"),
            (true, false) => f.write_str(".#"),
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn topic(text: &str) -> Topic {
        Topic::parse(text, LIMITS).unwrap()
    }

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text, LIMITS).unwrap()
    }

    #[test]
    fn malformed_topics_say_where() {
        for (text, error) in [
            ("", TopicError::EmptyField { at: 0 }),
            (".a", TopicError::EmptyField { at: 0 }),
            ("a.", TopicError::EmptyField { at: 2 }),
            ("a..b", TopicError::EmptyField { at: 2 }),
            ("a.b c", TopicError::Character { byte: b' ', at: 3 }),
            ("a.\0", TopicError::Character { byte: 0, at: 2 }),
            ("a.*", TopicError::Character { byte: b'*', at: 2 }),
            ("é", TopicError::Character { byte: 0xc3, at: 0 }),
        ] {
            assert_eq!(Topic::parse(text, LIMITS), Err(error), "{text:?}");
        }
        let long = "a".repeat(256);
        assert_eq!(Topic::parse(&long, LIMITS), Err(TopicError::TooLong { limit: 255, found: 256 }));
        let many = ["a"; 17].join(".");
        assert_eq!(Topic::parse(&many, LIMITS), Err(TopicError::TooManyFields { limit: 16, found: 17 }));
        assert!(Topic::parse("a".repeat(255), LIMITS).is_ok());
        assert!(Topic::parse(["a"; 16].join("."), LIMITS).is_ok());
    }

    #[test]
    fn malformed_patterns_name_the_field() {
        assert_eq!(TopicPattern::parse("a.b*", LIMITS), Err(PatternError::Field("b*".into())));
        assert_eq!(TopicPattern::parse("a.#.b", LIMITS), Err(PatternError::Field("#".into())));
        assert_eq!(TopicPattern::parse("a.{user}", LIMITS), Err(PatternError::Field("{user}".into())));
        assert_eq!(TopicPattern::parse("*.*.*.*", LIMITS), Err(PatternError::TooManyWildcards { found: 4 }));
        assert_eq!(TopicPattern::parse("a..b", LIMITS), Err(TopicError::EmptyField { at: 2 }.into()));
        assert_eq!(TopicPattern::parse_plain("a.{env}", LIMITS), Err(PatternError::Template("{env}".into())));
    }

    #[test]
    fn whole_fields_only() {
        let bodhi = pattern("org.fedoraproject.prod.bodhi.#");
        assert!(bodhi.matches_plain(&topic("org.fedoraproject.prod.bodhi")));
        assert!(bodhi.matches_plain(&topic("org.fedoraproject.prod.bodhi.update.comment")));
        assert!(!bodhi.matches_plain(&topic("org.fedoraproject.prod.bodhi2.update.comment")));
        assert!(!pattern("a.*").matches_plain(&topic("a")));
        assert!(!pattern("a.*").matches_plain(&topic("a.b.c")));
        assert!(pattern("#").matches_plain(&topic("a")));
    }

    #[test]
    fn templates_are_whole_fields_of_the_signer() {
        let own = pattern("org.{env}.{service}.#");
        let fill = |t| match t {
            Template::Env => Some("prod"),
            Template::Service => Some("bodhi"),
            Template::Host => None,
        };
        assert!(own.matches(&topic("org.prod.bodhi.x"), fill));
        assert!(!own.matches(&topic("org.stg.bodhi.x"), fill));
        assert!(!pattern("{host}.#").matches(&topic("x"), fill), "what cannot be filled selects nothing");
    }

    #[test]
    fn a_subscription_is_the_literal_prefix() {
        for (text, prefix) in [("#", ""), ("a.#", "a"), ("a.b", "a.b"), ("a.*.c", "a."), ("*.a", "")] {
            assert_eq!(pattern(text).literal_prefix(), prefix, "{text}");
        }
    }

    /// The obviously right matcher, to hold the other against.
    fn oracle(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) | (["#"], _) => true,
            (["*", p @ ..], [_, t @ ..]) => oracle(p, t),
            ([a, p @ ..], [b, t @ ..]) => a == b && oracle(p, t),
            _ => false,
        }
    }

    fn some_pattern() -> impl Strategy<Value = String> {
        (
            proptest::collection::vec(prop_oneof![3 => "[ab]{1,2}", 1 => Just("*".to_owned())], 0..4),
            any::<bool>(),
        )
            .prop_filter_map("a pattern has a field", |(mut fields, open)| {
                if open {
                    fields.push("#".to_owned());
                }
                (!fields.is_empty()).then(|| fields.join("."))
            })
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_oracle(p in some_pattern(), t in "[ab]{1,2}(\\.[ab]{1,2}){0,4}") {
            let expected = oracle(&p.split('.').collect::<Vec<_>>(), &t.split('.').collect::<Vec<_>>());
            let parsed = pattern(&p);
            prop_assert_eq!(parsed.matches_plain(&topic(&t)), expected);
            prop_assert_eq!(parsed.to_string(), p);
            prop_assert!(!expected || t.starts_with(&parsed.literal_prefix()));
        }

        #[test]
        fn any_bytes_are_a_topic_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(topic) = Topic::parse(&bytes, LIMITS) {
                prop_assert_eq!(topic.as_str().as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "[a-b.*#{}]{0,20}") {
            if let Ok(pattern) = TopicPattern::parse(&text, LIMITS) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
