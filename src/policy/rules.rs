//! What a policy is made of, once it has been read.

use super::publisher::PublisherPattern;
use crate::identity::Identity;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::{Template, TopicPattern};
use std::fmt;
use std::sync::Arc;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Lets those it names publish its topics.
    Allow,
    /// Keeps those it names from its topics, whatever else allows them.
    Deny,
    /// Lets those it names publish its topics, and keeps everybody else from them.
    Exclusive,
}

/// What happens to a message that no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fallback {
    /// `allow-unlisted`: a topic that no rule of any kind lists is open to every verified signer. For migration only.
    AllowUnlisted,
    /// `deny`.
    Deny,
}

/// The answer of a policy, without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The signer may publish the topic.
    Allowed,
    /// It may not.
    Denied,
}

/// When a rule exists: from `from` on, and until just before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first second at which the rule exists; always, where there is none.
    pub from: Option<Timestamp>,
    /// The first second at which it does not exist any more; never, where there is none.
    pub until: Option<Timestamp>,
}

impl Window {
    /// Of a rule that says nothing of times.
    pub const ALWAYS: Self = Self { from: None, until: None };

    /// Whether the rule exists at `at`.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// A rule by name: its id, its effect, and where it stands. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef(Arc<RuleHead>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RuleHead {
    id: Box<str>,
    effect: Effect,
    position: Position,
}

impl RuleRef {
    pub(super) fn new(id: &str, effect: Effect, position: Position) -> Self {
        Self(Arc::new(RuleHead { id: id.into(), effect, position }))
    }

    /// Its id, unique in the policy.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What it does.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Where it stands.
    pub fn position(&self) -> &Position {
        &self.0.position
    }
}

/// Which state of a policy it was: every verdict carries it.
///
/// It prints as `serial SERIAL, digest HEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition {
    /// The highest `serial` of the policy's files.
    pub serial: u64,
    /// SHA-256 of the policy. Of one file it is that file's (what `sha256sum` prints); of several it is the SHA-256 of
    /// their SHA-256 values, 32 bytes each, in ascending order. All zeros for a policy that checks nothing.
    pub digest: [u8; 32],
}

impl Edition {
    /// The digest in hexadecimal.
    pub fn digest_hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial {}, digest {}", self.serial, self.digest_hex())
    }
}

/// One file of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedFile {
    /// The file, as it was named to us.
    pub file: Arc<str>,
    /// Its `serial`.
    pub serial: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// A rule, whole.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) head: RuleRef,
    pub(super) topics: Vec<TopicPattern>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) window: Window,
    /// Whether it decides nothing, and what it would change is counted instead.
    pub(super) shadow: bool,
}

/// One entry of a rule's `publishers`.
#[derive(Clone, Debug)]
pub(super) enum Publisher {
    /// `@name`, by its place among the policy's groups.
    Group(usize),
    /// An identity, or a pattern of identities.
    Pattern(PublisherPattern),
}

/// A `[groups]` entry.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: Box<str>,
    pub(super) members: Vec<PublisherPattern>,
    pub(super) position: Position,
}

/// A `[[test]]` table.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) position: Position,
    pub(super) topic: crate::topic::Topic,
    pub(super) signer: Identity,
    pub(super) expect: Verdict,
    pub(super) at: Option<Timestamp>,
}

/// What a template stands for with this signer. A common name has no parts, so it fills none.
pub(super) fn fill(signer: &Identity, template: Template) -> Option<&str> {
    let id = signer.spiffe()?;
    Some(match template {
        Template::Env => id.env(),
        Template::Host => id.host(),
        Template::Service => id.service(),
    })
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Exclusive => "exclusive",
        })
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllowUnlisted => "allow-unlisted",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (None, None) => f.write_str("always"),
            (Some(from), None) => write!(f, "from {from}"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
        }
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule `{}` ({})", self.0.id, self.0.position)
    }
}
