//! Looking for what is wrong with a policy that reads well: rules that never apply, rules that say what others say,
//! names that nobody has, topics that nobody publishes.
//!
//! A finding has a code, a place and a fix. Nothing here changes a decision.

mod rules;
#[cfg(test)]
mod tests;
mod words;

use super::decide::Policy;
use super::error::{PolicyErrors, PolicyFault};
use super::load::{self, Source};
use super::selftest;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::fmt;

/// What is known beside the policy.
#[derive(Clone, Debug)]
pub struct LintContext<'a> {
    /// As of when rules are expired.
    pub at: Timestamp,
    /// The environments that topics name, such as `dev`, `stg`, `prod`.
    pub envs: &'a [String],
    /// What an authority issued, where its inventory is at hand.
    pub inventory: Option<&'a Inventory>,
    /// Topics that were seen on the bus, where something remembers them. Distinct.
    pub seen: Option<&'a [Topic]>,
}

/// Every identity that an authority issued a certificate for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The authority's trust domain: identities of others are not its to know.
    pub trust_domain: String,
    /// Each identity, with the best that can be said of its certificates.
    pub issued: Vec<(Identity, Issued)>,
}

/// The best that can be said of an identity's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Issued {
    /// Each is revoked or expired, and at least one is revoked.
    Revoked,
    /// Each is expired.
    Expired,
    /// At least one is good.
    Valid,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The naming of topics, which is advice.
    Advice,
    /// Probably not what was meant.
    Warning,
    /// The policy cannot be used.
    Error,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal $severity:ident,)+) => {
        /// What was found: a stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum LintCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LintCode {
            /// Every code, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as text: lower case and hyphens.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// `default = "allow-unlisted"`.
    DefaultOpen = "default-open" Warning,
    /// Two rules, or two groups, of one name.
    DuplicateId = "duplicate-id" Error,
    /// A list, such as a group, without an entry.
    EmptyList = "empty-list" Error,
    /// Two `exclusive` rules select a common topic, and name different publishers.
    ExclusivesOverlap = "exclusives-overlap" Warning,
    /// A group that no rule uses.
    GroupUnused = "group-unused" Warning,
    /// Anything else for which the policy cannot be read.
    Invalid = "invalid" Error,
    /// A rule that can never let anybody in: a `deny` or an `exclusive` covers it, or its templates cannot be filled.
    NeverApplies = "never-applies" Warning,
    /// A field that looks like a plural.
    PluralField = "plural-field" Advice,
    /// A publisher whose certificates have all expired.
    PublisherExpired = "publisher-expired" Warning,
    /// A publisher for whom the authority never issued a certificate.
    PublisherNeverIssued = "publisher-never-issued" Warning,
    /// A publisher whose certificates are all revoked.
    PublisherRevoked = "publisher-revoked" Warning,
    /// A rule whose `until` has passed.
    RuleExpired = "rule-expired" Warning,
    /// A rule that says nothing that another does not say.
    RuleWithinAnother = "rule-within-another" Warning,
    /// One of the policy's own tests fails.
    TestFailed = "test-failed" Error,
    /// A pattern that selects none of the topics that were seen.
    TopicNeverSeen = "topic-never-seen" Warning,
    /// A group that is not there.
    UnknownGroup = "unknown-group" Error,
    /// A last field that is no verb we know.
    UnknownVerb = "unknown-verb" Advice,
    /// A pattern that selects most of the topics that were seen.
    WidePattern = "wide-pattern" Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: LintCode,
    /// Where.
    pub position: Position,
    /// The same in words, naming the thing.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// Looks at a policy. Findings are in the order of files and lines.
///
/// A policy that cannot be read has the errors of its files as findings, and no others: half a policy is not looked at.
pub fn lint(sources: &[Source<'_>], context: &LintContext<'_>, limits: &Limits) -> Vec<Finding> {
    let (policy, tests) = match load::load(sources, limits).and_then(Policy::arrange) {
        Ok(arranged) => arranged,
        Err(errors) => return of_errors(&errors),
    };
    let mut findings = match selftest::run(&policy, &tests) {
        Ok(()) => Vec::new(),
        Err(errors) => of_errors(&errors),
    };
    rules::look(&policy, context, &mut findings);
    words::look(&policy, context, &mut findings);
    // Among files by the order in which they were given: that of their first appearance.
    let place = |position: &Position| {
        let file = sources.iter().position(|source| source.file == &*position.file);
        (file, position.line, position.column)
    };
    findings.sort_by(|a, b| place(&a.position).cmp(&place(&b.position)).then_with(|| a.code.cmp(&b.code)));
    findings.dedup();
    findings
}

fn of_errors(errors: &PolicyErrors) -> Vec<Finding> {
    let finding = |error: &super::error::PolicyError| {
        let (code, fix) = of_fault(&error.fault);
        Finding {
            code,
            position: error.position.clone(),
            message: error.fault.to_string(),
            fix: fix.to_owned(),
        }
    };
    errors.iter().map(finding).collect()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other fault is of one code")]
fn of_fault(fault: &PolicyFault) -> (LintCode, &'static str) {
    match fault {
        PolicyFault::DuplicateGroup { .. } | PolicyFault::DuplicateRule { .. } => {
            (LintCode::DuplicateId, "rename one of the two, or leave one out")
        }
        PolicyFault::EmptyList { .. } => (LintCode::EmptyList, "add an entry, or leave the whole of it out"),
        PolicyFault::Test(_) => {
            (LintCode::TestFailed, "mend the rule or the test: `fedmsg policy explain` says why")
        }
        PolicyFault::UnknownGroup { .. } => {
            (LintCode::UnknownGroup, "define it in [groups], or mend its name")
        }
        _ => (LintCode::Invalid, "the policy is not used before this is mended"),
    }
}

impl Finding {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl fmt::Display for LintCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advice => "advice",
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
