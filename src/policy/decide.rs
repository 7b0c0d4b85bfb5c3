//! The decision, and the only maker of a [`Grant`].

use super::error::{PolicyError, PolicyErrors, PolicyFault};
use super::index::{Found, Index, Longest, MAX_STEPS};
use super::load::{self, Source};
use super::rules::{Edition, Fallback, Group, LoadedFile, Rule, RuleRef, Test};
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
    edition: Edition,
    fallback: Fallback,
    pub(super) groups: Vec<Group>,
    /// In the order of their ids, so that the order in the files cannot matter.
    pub(super) rules: Vec<Rule>,
    index: Index,
    /// Of the rules that are shadows, where there are any.
    shadows: Option<Index>,
    tests: usize,
    /// Set by `danger` alone: whatever is asked is granted, by this rule.
    unchecked: Option<RuleRef>,
}

/// The policy's yes. It can only be had from [`Policy::decide`], and the verifier cannot do without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    rule: Option<RuleRef>,
    step: Step,
    edition: Edition,
}

/// The policy's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Denial {
    cause: Cause,
    edition: Edition,
}

/// Why the policy says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
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
        let (policy, tests) = Self::arrange(load::load(sources, limits)?)?;
        selftest::run(&policy, &tests)?;
        Ok(policy)
    }

    /// The policy and its tests, which were not run: what may look at a policy that nobody must be judged by.
    ///
    /// # Errors
    /// Rules that would let the look-up of one topic take too long.
    pub(super) fn arrange(loaded: load::Loaded) -> Result<(Self, Vec<Test>), PolicyErrors> {
        let load::Loaded { files, edition, fallback, groups, mut rules, tests } = loaded;
        rules.sort_by(|a, b| a.head.id().cmp(b.head.id()));
        let index = Index::new(&rules, &groups, |rule| !rule.shadow);
        let shadows = rules.iter().any(|rule| rule.shadow);
        let shadows = shadows.then(|| Index::new(&rules, &groups, |rule| rule.shadow));
        let too_long = [Some(&index), shadows.as_ref()].into_iter().flatten().filter_map(|index| {
            let Longest { steps: found, rule } = index.longest();
            let rule = &rules[rule.filter(|_| found > MAX_STEPS)?].head;
            let fault = PolicyFault::TooManySteps { rule: rule.id().to_owned(), found, limit: MAX_STEPS };
            Some(PolicyError { position: rule.position().clone(), fault })
        });
        PolicyErrors::unless_none(too_long.collect())?;
        let (tests_read, unchecked) = (tests.len(), None);
        let policy =
            Self { files, edition, fallback, groups, rules, index, shadows, tests: tests_read, unchecked };
        Ok((policy, tests))
    }

    /// A policy that grants everything; only `danger` makes one.
    pub(super) fn unchecked(rule: RuleRef) -> Self {
        Self {
            files: Vec::new(),
            edition: Edition { serial: 0, digest: [0; 32] },
            fallback: Fallback::AllowUnlisted,
            groups: Vec::new(),
            rules: Vec::new(),
            index: Index::new(&[], &[], |_| true),
            shadows: None,
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
        if let Some(rule) = &self.unchecked {
            return Ok(Grant { rule: Some(rule.clone()), step: Step::Default, edition: self.edition });
        }
        let found = self.index.find(&self.rules, topic, signer, at);
        self.conclude(found, || self.index.lists(topic))
    }

    /// What [`Policy::decide`] would say if the rules with `shadow = true` decided as well; nothing if there are none.
    pub fn decide_with_shadows(
        &self,
        topic: &Topic,
        signer: &Identity,
        at: Timestamp,
    ) -> Option<Result<Grant, Denial>> {
        let shadows = self.shadows.as_ref()?;
        let found = self.index.find(&self.rules, topic, signer, at);
        let found = found.or(shadows.find(&self.rules, topic, signer, at));
        Some(self.conclude(found, || self.index.lists(topic) || shadows.lists(topic)))
    }

    /// Whether it has rules that are shadows.
    pub fn has_shadows(&self) -> bool {
        self.shadows.is_some()
    }

    /// Steps 2 to 5, of what was found.
    fn conclude(&self, found: Found, is_listed: impl FnOnce() -> bool) -> Result<Grant, Denial> {
        let rule = |number: usize| self.rules[number].head.clone();
        let deny = |cause| Err(Denial { cause, edition: self.edition });
        let grant = |rule, step| Ok(Grant { rule, step, edition: self.edition });
        if let Some(number) = found.deny {
            return deny(Cause::Denied { rule: rule(number) });
        }
        if let Some(number) = found.exclusive {
            return deny(Cause::Exclusive { rule: rule(number) });
        }
        if let Some(number) = found.allow {
            return grant(Some(rule(number)), Step::Allow);
        }
        match self.fallback {
            Fallback::AllowUnlisted if !is_listed() => grant(None, Step::Default),
            Fallback::AllowUnlisted | Fallback::Deny => deny(Cause::Unlisted),
        }
    }

    /// Its serial and digest.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The digest of its [`Edition`].
    pub fn digest(&self) -> &[u8; 32] {
        &self.edition.digest
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

    /// The policy that decided.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The digest of the policy that decided.
    pub fn digest(&self) -> &[u8; 32] {
        &self.edition.digest
    }
}

impl Denial {
    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The policy that decided.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The rule that denied it; none if the default did.
    pub fn rule(&self) -> Option<&RuleRef> {
        match &self.cause {
            Cause::Denied { rule } | Cause::Exclusive { rule } => Some(rule),
            Cause::Unlisted => None,
        }
    }

    /// The step that decided.
    pub fn step(&self) -> Step {
        match &self.cause {
            Cause::Denied { .. } => Step::Deny,
            Cause::Exclusive { .. } => Step::Exclusive,
            Cause::Unlisted => Step::Default,
        }
    }

    /// The reason's stable code.
    pub fn code(&self) -> ReasonCode {
        match &self.cause {
            Cause::Denied { .. } => ReasonCode::PolicyDenied,
            Cause::Exclusive { .. } => ReasonCode::PolicyExclusive,
            Cause::Unlisted => ReasonCode::PolicyUnlisted,
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
