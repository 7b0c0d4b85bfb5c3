//! The decision, and the only maker of a [`Grant`].

use super::error::PolicyErrors;
use super::index::Index;
use super::load::{self, Source};
use super::rules::{Fallback, Group, LoadedFile, Rule, RuleRef, Test};
use super::selftest;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::fmt;

/// Who may publish which topic: all the files of one policy, read whole, their own tests passed. Immutable.
#[derive(Debug)]
pub struct Policy {
    pub(super) files: Vec<LoadedFile>,
    digest: [u8; 32],
    fallback: Fallback,
    pub(super) groups: Vec<Group>,
    /// In the order of their ids, so that the order in the files cannot matter.
    pub(super) rules: Vec<Rule>,
    index: Index,
    tests: usize,
    /// Set by `danger` alone: whatever is asked is granted, by this rule.
    unchecked: Option<RuleRef>,
}

/// The policy's yes. It can only be had from [`Policy::decide`], and the verifier cannot do without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    rule: Option<RuleRef>,
    step: Step,
    digest: [u8; 32],
}

/// The policy's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Step 2: a `deny` names the signer.
    #[error("{rule} denies the topic to the signer")]
    Denied {
        /// The rule.
        rule: RuleRef,
    },
    /// Step 3: an `exclusive` does not name the signer.
    #[error("{rule} keeps the topic for publishers of whom the signer is none")]
    Exclusive {
        /// The rule.
        rule: RuleRef,
    },
    /// Step 5: nothing allows it.
    #[error("no rule allows the topic to the signer")]
    Unlisted,
}

/// The step that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// 1: a malformed topic is refused before any rule.
    Topic,
    /// 2: a matching `deny` that names the signer.
    Deny,
    /// 3: a matching `exclusive` that does not name the signer.
    Exclusive,
    /// 4: a matching `allow` or `exclusive` that names the signer.
    Allow,
    /// 5: the default.
    Default,
}

impl Policy {
    /// Reads a policy of one file, whose name errors give.
    ///
    /// # Errors
    /// Everything that is wrong with it, with file, line and column; or, if nothing else is, each `[[test]]` that does
    /// not come out as it says.
    pub fn parse(text: &str, file: &str, limits: &Limits) -> Result<Self, PolicyErrors> {
        Self::parse_files(&[Source { file, bytes: text.as_bytes() }], limits)
    }

    /// Reads a policy of several files. They form one: ids and group names are unique across them, a rule may use any
    /// file's groups, and their order means nothing.
    ///
    /// # Errors
    /// As [`Policy::parse`], of all the files; and if there is no file.
    pub fn parse_files(sources: &[Source<'_>], limits: &Limits) -> Result<Self, PolicyErrors> {
        let (policy, tests) = Self::arrange(load::load(sources, limits)?);
        selftest::run(&policy, &tests)?;
        Ok(policy)
    }

    /// The policy and its tests, which were not run: what may look at a policy that nobody must be judged by.
    pub(super) fn arrange(loaded: load::Loaded) -> (Self, Vec<Test>) {
        let load::Loaded { files, digest, fallback, groups, mut rules, tests } = loaded;
        rules.sort_by(|a, b| a.head.id().cmp(b.head.id()));
        let index = Index::new(&rules, &groups);
        let policy =
            Self { files, digest, fallback, groups, rules, index, tests: tests.len(), unchecked: None };
        (policy, tests)
    }

    /// A policy that grants everything; only `danger` makes one.
    pub(super) fn unchecked(rule: RuleRef) -> Self {
        Self {
            files: Vec::new(),
            digest: [0; 32],
            fallback: Fallback::AllowUnlisted,
            groups: Vec::new(),
            rules: Vec::new(),
            index: Index::new(&[], &[]),
            tests: 0,
            unchecked: Some(rule),
        }
    }

    /// Whether `signer` may publish `topic` at the time `at`. Step 1 has been done: a [`Topic`] is well formed.
    ///
    /// Where several rules would decide at one step, the one named is the first by id.
    ///
    /// # Errors
    /// A [`Denial`] that names the step and the rule.
    pub fn decide(&self, topic: &Topic, signer: &Identity, at: Timestamp) -> Result<Grant, Denial> {
        let grant = |rule, step| Grant { rule, step, digest: self.digest };
        if let Some(rule) = &self.unchecked {
            return Ok(grant(Some(rule.clone()), Step::Default));
        }
        let rule = |number: usize| self.rules[number].head.clone();
        let found = self.index.find(&self.rules, topic, signer, at);
        if let Some(number) = found.deny {
            return Err(Denial::Denied { rule: rule(number) });
        }
        if let Some(number) = found.exclusive {
            return Err(Denial::Exclusive { rule: rule(number) });
        }
        if let Some(number) = found.allow {
            return Ok(grant(Some(rule(number)), Step::Allow));
        }
        match self.fallback {
            Fallback::AllowUnlisted if !self.index.lists(topic) => Ok(grant(None, Step::Default)),
            Fallback::AllowUnlisted | Fallback::Deny => Err(Denial::Unlisted),
        }
    }

    /// SHA-256 of the policy. Of one file it is that file's (what `sha256sum` prints); of several it is the SHA-256 of
    /// their SHA-256 values, 32 bytes each, in ascending order. All zeros for a policy that checks nothing.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The files it was read from, as they were given.
    pub fn files(&self) -> &[LoadedFile] {
        &self.files
    }

    /// What happens to what no rule decides.
    pub fn fallback(&self) -> Fallback {
        self.fallback
    }

    /// How many rules it has, those of `[routing_policy]` counted.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// How many groups it has.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// How many `[[test]]`s it has, all of which passed.
    pub fn test_count(&self) -> usize {
        self.tests
    }
}

impl Grant {
    /// The rule that allowed it; none if the default `allow-unlisted` did.
    pub fn rule(&self) -> Option<&RuleRef> {
        self.rule.as_ref()
    }

    /// The step that decided: [`Step::Allow`] or [`Step::Default`].
    pub fn step(&self) -> Step {
        self.step
    }

    /// The digest of the policy that decided (see [`Policy::digest`]).
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl Denial {
    /// The rule that denied it; none if the default did.
    pub fn rule(&self) -> Option<&RuleRef> {
        match self {
            Self::Denied { rule } | Self::Exclusive { rule } => Some(rule),
            Self::Unlisted => None,
        }
    }

    /// The step that decided.
    pub fn step(&self) -> Step {
        match self {
            Self::Denied { .. } => Step::Deny,
            Self::Exclusive { .. } => Step::Exclusive,
            Self::Unlisted => Step::Default,
        }
    }

    /// The reason's stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Denied { .. } => ReasonCode::PolicyDenied,
            Self::Exclusive { .. } => ReasonCode::PolicyExclusive,
            Self::Unlisted => ReasonCode::PolicyUnlisted,
        }
    }
}

impl Step {
    /// Its number, 1 to 5.
    pub fn number(self) -> u8 {
        match self {
            Self::Topic => 1,
            Self::Deny => 2,
            Self::Exclusive => 3,
            Self::Allow => 4,
            Self::Default => 5,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
