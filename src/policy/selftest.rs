//! A policy's own `[[test]]` tables, run before the policy is handed out.

use super::decide::Policy;
use super::error::{FailedTest, Moment, PolicyError, PolicyErrors, PolicyFault};
use super::rules::{Test, Verdict, fill};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Runs them all.
pub(super) fn run(policy: &Policy, tests: &[Test]) -> Result<(), PolicyErrors> {
    let failed = tests.iter().filter_map(|test| {
        let failed = moments(policy, test).into_iter().find_map(|moment| ask(policy, test, moment))?;
        let fault = PolicyFault::Test(Box::new(failed));
        Some(PolicyError { position: test.position.clone(), fault })
    });
    PolicyErrors::unless_none(failed.collect())
}

/// The times that a test is about.
///
/// A test without `at` says something about every time. It is asked at the beginning of time and at each moment at
/// which a rule of its topic appears or disappears; in between, no answer can change.
pub(super) fn moments(policy: &Policy, test: &Test) -> Vec<Moment> {
    match test.at {
        Some(at) => vec![Moment::Stated(at)],
        None => {
            let later = changes(policy, test).into_iter().map(|at| Moment::From(Some(at)));
            std::iter::once(Moment::From(None)).chain(later).collect()
        }
    }
}

/// What is wrong with a test at a moment, if anything is.
pub(super) fn ask(policy: &Policy, test: &Test, at: Moment) -> Option<FailedTest> {
    let (found, step, rule) = match policy.decide(&test.topic, &test.signer, at.time()) {
        Ok(grant) => (Verdict::Allowed, grant.step(), grant.rule().cloned()),
        Err(denial) => (Verdict::Denied, denial.step(), denial.rule().cloned()),
    };
    (found != test.expect).then(|| FailedTest {
        topic: test.topic.to_string(),
        signer: test.signer.to_string(),
        expected: test.expect,
        found,
        step,
        rule,
        at,
    })
}

impl Moment {
    /// The second to ask about.
    pub(super) fn time(self) -> Timestamp {
        match self {
            Self::Stated(at) | Self::From(Some(at)) => at,
            Self::From(None) => Timestamp::MIN,
        }
    }
}

/// The moments at which the rules of a test's topic appear or disappear.
fn changes(policy: &Policy, test: &Test) -> BTreeSet<Timestamp> {
    let with_times =
        policy.rules.iter().filter(|rule| rule.window.from.is_some() || rule.window.until.is_some());
    let of_topic = with_times.filter(|rule| {
        rule.topics.iter().any(|pattern| pattern.matches(&test.topic, |t| fill(&test.signer, t)))
    });
    of_topic.flat_map(|rule| [rule.window.from, rule.window.until]).flatten().collect()
}
