//! What can be wrong with a policy. Each error names its file, line and column, and the thing that stands there.

use super::decide::Step;
use super::publisher::PublisherError;
use super::rules::{Effect, Fallback, RuleRef, Verdict, Window};
use crate::identity::IdentityError;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::{PatternError, TopicError};
use std::fmt;

/// Everything that is wrong with a policy, in the order of its files and lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(Vec<PolicyError>);

/// One thing that is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {fault}")]
pub struct PolicyError {
    /// The place.
    pub position: Position,
    /// What is wrong there.
    pub fault: PolicyFault,
}

/// The thing of a policy that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file itself.
    File,
    /// The `[groups]` table.
    Groups,
    /// The `[routing_policy]` table.
    RoutingPolicy,
    /// A rule, by its id.
    Rule(String),
    /// A rule without a proper id, by its number in the file, from 1.
    RuleNumber(usize),
    /// A `[[test]]`, by its number in the file, from 1.
    Test(usize),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// A `default` that differs from another file's.
    #[error(
        "default is `{here}` here and `{there}` in {first}; all the files of a policy state the same (none stated: deny)"
    )]
    DefaultDiffers {
        /// What this file says.
        here: Fallback,
        /// What the first file says.
        there: Fallback,
        /// The first file, and where it says it.
        first: Position,
    },
    /// Two groups of one name.
    #[error("group `{name}` is there already, in {first}")]
    DuplicateGroup {
        /// The name.
        name: String,
        /// Where it was first.
        first: Position,
    },
    /// Two rules with one id.
    #[error("rule id `{id}` is taken by the rule in {first}")]
    DuplicateRule {
        /// The id.
        id: String,
        /// Where it was first.
        first: Position,
    },
    /// A list without an entry.
    #[error("{place}: `{key}` is an empty list; a rule that is for nobody or nothing is left out")]
    EmptyList {
        /// Whose list.
        place: Place,
        /// Its key.
        key: String,
    },
    /// A rule that exists at no time.
    #[error("{place} exists at no time: {window}")]
    EmptyWindow {
        /// The rule.
        place: Place,
        /// Its times.
        window: Window,
    },
    /// A group's name that is not one.
    #[error("group name `{0}` is not 1 to 64 of the characters A-Z a-z 0-9 - _ .")]
    GroupName(String),
    /// A group within a group.
    #[error("group `{group}` has `{member}`: a group holds identities, not groups")]
    NestedGroup {
        /// The group.
        group: String,
        /// Its member.
        member: String,
    },
    /// A policy of no file at all.
    #[error("there is no policy file: a policy has at least one")]
    NoFile,
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A key that must be there.
    #[error("{place} has no `{key}`")]
    Missing {
        /// Whose key.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// A topic pattern that is none.
    #[error("{place}: topic `{pattern}`: {error}")]
    Pattern {
        /// The rule.
        place: Place,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A pattern of more fields than can be looked up.
    #[error("{place}: topic `{pattern}` has {found} fields, a policy's patterns have at most {limit}")]
    PatternTooDeep {
        /// The rule.
        place: Place,
        /// The pattern.
        pattern: String,
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// A publisher that is none.
    #[error("{place}: publisher {error}")]
    Publisher {
        /// The rule or group table.
        place: Place,
        /// What is wrong with it.
        error: PublisherError,
    },
    /// An id that is none.
    #[error("rule id `{0}` is not 1 to 64 of the characters A-Z a-z 0-9 - _ .")]
    RuleId(String),
    /// An id that has a meaning of its own.
    #[error("rule id `{0}` is reserved")]
    RuleIdReserved(String),
    /// A `[routing_policy]` name that is not a certificate's plain name.
    #[error(
        "topic `{topic}`: `{name}` is not a certificate's plain name; write a [[rule]] with effect \"exclusive\" for it"
    )]
    RoutingName {
        /// The topic.
        topic: String,
        /// The name.
        name: String,
    },
    /// A `[routing_policy]` topic that is not one exact topic.
    #[error("`{topic}` is not one exact topic: {error}")]
    RoutingTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A template in a rule that is not an `allow`.
    #[error(
        "{place}: `{template}` in topic `{pattern}`: a template stands for the signer's own part, so that {effect} \
         rules would miss everybody else; write `*` instead"
    )]
    TemplateNotAllowed {
        /// The rule.
        place: Place,
        /// Its effect.
        effect: Effect,
        /// The pattern.
        pattern: String,
        /// The first template in it.
        template: String,
    },
    /// A `[[test]]` that does not come out as it says.
    #[error("{0}")]
    Test(Box<FailedTest>),
    /// A `[[test]]` signer that is no identity.
    #[error("{place}: signer: {error}")]
    TestSigner {
        /// The test.
        place: Place,
        /// What is wrong with it.
        error: IdentityError,
    },
    /// A `[[test]]` topic that is none.
    #[error("{place}: topic `{topic}`: {error}")]
    TestTopic {
        /// The test.
        place: Place,
        /// The topic.
        topic: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// A time without an offset from UTC, without a date, with a fraction of a second, or outside the years 0 to 9999.
    #[error(
        "{place}: `{key}` is {found}, expected a date and time in whole seconds with an offset, such as 2027-12-31T00:00:00Z"
    )]
    Time {
        /// The rule or test.
        place: Place,
        /// The key.
        key: &'static str,
        /// What was found.
        found: String,
    },
    /// Rules that would let the look-up of one topic take too long.
    #[error(
        "rule `{rule}` is at the end of a look-up that could take {found} steps, the limit is {limit}; patterns of one topic \
         that differ in `*` and templates add up, and so do exclusive rules for one pattern"
    )]
    TooManySteps {
        /// One of the rules at its end.
        rule: String,
        /// The most steps that a look-up could take.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A group that is not there.
    #[error("{place}: there is no group `{name}`")]
    UnknownGroup {
        /// The rule.
        place: Place,
        /// The name.
        name: String,
    },
    /// A key that is not known.
    #[error("{place} has an unknown key `{key}`; known are {}", .known.join(", "))]
    UnknownKey {
        /// Whose key.
        place: Place,
        /// The key.
        key: String,
        /// What could stand there.
        known: &'static [&'static str],
    },
    /// A value that is none of those that could stand there.
    #[error("{place}: `{key}` is `{found}`, expected {expected}")]
    Value {
        /// Whose value.
        place: Place,
        /// Its key.
        key: &'static str,
        /// What could stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A value of the wrong type.
    #[error("{place}: `{key}` is of type {found}, expected {expected}")]
    WrongType {
        /// Whose value.
        place: Place,
        /// Its key.
        key: String,
        /// The type that belongs there.
        expected: &'static str,
        /// The type that was found.
        found: &'static str,
    },
}

/// A `[[test]]` that did not come out as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTest {
    /// Its topic.
    pub topic: String,
    /// Its signer.
    pub signer: String,
    /// What it says.
    pub expected: Verdict,
    /// What came out.
    pub found: Verdict,
    /// The step that decided.
    pub step: Step,
    /// The rule that decided, unless it was the default.
    pub rule: Option<RuleRef>,
    /// The time at which it came out so.
    pub at: Moment,
}

/// The time of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The test's own `at`.
    Stated(Timestamp),
    /// The test has no `at`, so it must hold always: from this time on it does not. `None` is from the beginning.
    From(Option<Timestamp>),
}

impl PolicyErrors {
    /// Errors, if there are any.
    pub(super) fn unless_none(errors: Vec<PolicyError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The errors, in the order of the files and their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, PolicyError> {
        self.0.iter()
    }

    /// Whether the policy can be read, and only its own `[[test]]`s fail.
    pub fn only_failed_tests(&self) -> bool {
        self.0.iter().all(|error| matches!(error.fault, PolicyFault::Test(_)))
    }
}

impl<'e> IntoIterator for &'e PolicyErrors {
    type Item = &'e PolicyError;
    type IntoIter = std::slice::Iter<'e, PolicyError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for PolicyErrors {}

impl fmt::Display for PolicyErrors {
    /// The first error, and how many there are besides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("no error"),
            [only] => only.fmt(f),
            [first, rest @ ..] => write!(f, "{first} (and {} more)", rest.len()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the policy file"),
            Self::Groups => f.write_str("[groups]"),
            Self::RoutingPolicy => f.write_str("[routing_policy]"),
            Self::Rule(id) => write!(f, "rule `{id}`"),
            Self::RuleNumber(number) => write!(f, "[[rule]] {number}"),
            Self::Test(number) => write!(f, "[[test]] {number}"),
        }
    }
}

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, signer, expected, found, step, rule, at } = self;
        write!(f, "test failed: `{topic}` from `{signer}` is {found} by ")?;
        match rule {
            Some(rule) => rule.fmt(f)?,
            None => f.write_str("the default")?,
        }
        write!(f, " at step {step}")?;
        match at {
            Moment::Stated(at) => write!(f, " at {at}")?,
            Moment::From(Some(at)) => write!(f, " from {at} on")?,
            Moment::From(None) => {}
        }
        write!(f, ", expected {expected}")
    }
}
