//! A policy's own `[[test]]` tables, run before the policy is handed out.

use super::decide::{Policy, Step};
use super::error::{FailedTest, Moment, PolicyError, PolicyErrors, PolicyFault};
use super::rules::{RuleRef, Test, Verdict};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Runs them all.
///
/// A test without `at` says something about every time. It is asked at the beginning of time and at each moment at
/// which a rule of its topic appears or disappears; in between, no answer can change.
pub(super) fn run(policy: &Policy, tests: &[Test]) -> Result<(), PolicyErrors> {
    let mut errors = Vec::new();
    for test in tests {
        let failed = match test.at {
            Some(at) => ask(policy, test, at, Moment::Stated(at)),
            None => {
                let beginning = ask(policy, test, BEGINNING, Moment::From(None));
                beginning.or_else(|| {
                    changes(policy, test)
                        .into_iter()
                        .find_map(|at| ask(policy, test, at, Moment::From(Some(at))))
                })
            }
        };
        if let Some(failed) = failed {
            let fault = PolicyFault::Test(Box::new(failed));
            errors.push(PolicyError { position: test.position.clone(), fault });
        }
    }
    PolicyErrors::unless_none(errors)
}

const BEGINNING: Timestamp = Timestamp::MIN;

fn ask(policy: &Policy, test: &Test, at: Timestamp, moment: Moment) -> Option<FailedTest> {
    let (found, step, rule): (Verdict, Step, Option<RuleRef>) =
        match policy.decide(&test.topic, &test.signer, at) {
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
        at: moment,
    })
}

/// The moments at which the rules of a test's topic appear or disappear.
fn changes(policy: &Policy, test: &Test) -> BTreeSet<Timestamp> {
    let with_times =
        policy.rules.iter().filter(|rule| rule.window.from.is_some() || rule.window.until.is_some());
    let of_topic = with_times.filter(|rule| {
        rule.topics
            .iter()
            .any(|pattern| pattern.matches(&test.topic, |t| super::rules::fill(&test.signer, t)))
    });
    of_topic.flat_map(|rule| [rule.window.from, rule.window.until]).flatten().collect()
}
