//! Running a policy's tests as a test runner does: each with its outcome, and the rules that no test touches.
//!
//! [`Policy::parse`] runs the `[[test]]` tables as well and refuses the policy if one fails. Here a failure is a line of the report,
//! and tests may also come from files of their own. The policy that is tried never leaves this module, so that nobody
//! is judged by one whose tests fail.

use super::decide::{Denial, Grant, Policy, Step};
use super::error::{FailedTest, Place, PolicyError, PolicyErrors, PolicyFault};
use super::explain::{Explanation, Standing};
use super::load::{self, Source};
use super::rules::{Effect, RuleRef, Test, Verdict};
use super::selftest;
use super::tree::{Reader, Table};
use crate::limits::Limits;
use crate::position::Position;
use crate::time::Timestamp;
use std::collections::BTreeSet;
use toml::de::DeTable;

/// What came of a policy's tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// Each test, in the order of the files and their lines: the policy's own, then those of the test files.
    pub tests: Vec<TestOutcome>,
    /// How many rules the policy has.
    pub rules: usize,
    /// The rules that took part in no test's decision, in the order of their ids.
    pub untouched: Vec<RuleRef>,
}

/// One test, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// Where it stands.
    pub position: Position,
    /// Its topic.
    pub topic: String,
    /// Its signer.
    pub signer: String,
    /// What it says.
    pub expect: Verdict,
    /// The time it is about; every time, where there is none.
    pub at: Option<Timestamp>,
    /// What is wrong; none if it passed.
    pub failure: Option<FailedTest>,
}

impl TestReport {
    /// Tries the policy of `sources` by its own tests and those of `test_files`, which hold `version = 1` and `[[test]]` tables
    /// and nothing else.
    ///
    /// # Errors
    /// What is wrong with the files. A failing test is not an error here.
    pub fn of(
        sources: &[Source<'_>],
        test_files: &[Source<'_>],
        limits: &Limits,
    ) -> Result<Self, PolicyErrors> {
        let loaded = load::load(sources, limits).and_then(Policy::arrange);
        let separate = read_test_files(test_files, limits);
        let ((policy, mut tests), separate) = match (loaded, separate) {
            (Ok(loaded), Ok(separate)) => (loaded, separate),
            (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => return Err(errors),
            (Err(first), Err(second)) => {
                PolicyErrors::unless_none(first.iter().chain(&second).cloned().collect())?;
                return Err(first);
            }
        };
        tests.extend(separate);
        Ok(Self::run(&policy, &tests))
    }

    fn run(policy: &Policy, tests: &[Test]) -> Self {
        let mut touched: BTreeSet<RuleRef> = BTreeSet::new();
        let outcomes = tests.iter().map(|test| {
            let moments = selftest::moments(policy, test);
            for moment in &moments {
                touched.extend(deciding(&policy.explain(&test.topic, &test.signer, moment.time())));
            }
            TestOutcome {
                position: test.position.clone(),
                topic: test.topic.to_string(),
                signer: test.signer.to_string(),
                expect: test.expect,
                at: test.at,
                failure: moments.into_iter().find_map(|moment| selftest::ask(policy, test, moment)),
            }
        });
        let tests = outcomes.collect();
        let heads = policy.rules.iter().map(|rule| &rule.head);
        let untouched = heads.filter(|head| !touched.contains(head)).cloned().collect();
        Self { tests, rules: policy.rules.len(), untouched }
    }

    /// How many tests did not come out as they say.
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| test.failure.is_some()).count()
    }
}

/// The rules without which the deciding step would have had one reason less.
fn deciding(explanation: &Explanation) -> impl Iterator<Item = RuleRef> + '_ {
    let step = explanation.decision.as_ref().map_or_else(Denial::step, Grant::step);
    let took_part = move |effect: Effect, standing: &Standing| {
        let names = matches!(standing, Standing::Names { .. });
        match step {
            Step::Deny => effect == Effect::Deny && names,
            Step::Exclusive => effect == Effect::Exclusive && standing.is_match() && !names,
            Step::Allow => effect != Effect::Deny && names,
            Step::Default | Step::Topic => false,
        }
    };
    let rules = explanation.rules.iter();
    rules.filter(move |c| took_part(c.rule.effect(), &c.standing)).map(|c| c.rule.clone())
}

const TEST_FILE_KEYS: &[&str] = &["test", "version"];

/// The tests of files that hold nothing else.
fn read_test_files(sources: &[Source<'_>], limits: &Limits) -> Result<Vec<Test>, PolicyErrors> {
    let (mut tests, mut errors) = (Vec::new(), Vec::new());
    for source in sources {
        let mut found = read_test_file(source, limits, &mut tests);
        errors.append(&mut found);
    }
    PolicyErrors::unless_none(errors)?;
    Ok(tests)
}

fn read_test_file(source: &Source<'_>, limits: &Limits, tests: &mut Vec<Test>) -> Vec<PolicyError> {
    let Ok(text) = std::str::from_utf8(source.bytes) else {
        let position = Position { file: source.file.into(), line: 1, column: 1 };
        return vec![PolicyError { position, fault: PolicyFault::NotUtf8 }];
    };
    let mut reader = Reader::new(source.file, text, limits);
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            reader.fault(offset, PolicyFault::Syntax(error.message().to_owned()));
        }
        return reader.errors;
    }
    let root = tree.into_inner();
    let table = Table { entries: &root, offset: 0, place: Place::File };
    reader.refuse_unknown(&table, TEST_FILE_KEYS);
    if let Some(value) = reader.required(&table, "version")
        && let Some(found) = reader.unsigned(&Place::File, "version", value).filter(|found| *found != 1)
    {
        let (place, found) = (Place::File, found.to_string());
        reader.fault(value.span().start, PolicyFault::Value { place, key: "version", expected: "1", found });
    }
    if let Some(value) = reader.required(&table, "test") {
        for table in reader.tables(&Place::File, "test", value, Place::Test) {
            tests.extend(load::read_test(&mut reader, &table));
        }
    }
    reader.errors
}

#[cfg(test)]
mod tests {
    use super::{Source, TestReport};
    use crate::limits::Limits;

    const POLICY: &str = r##"
        version = 1
        serial = 1
        [[rule]]
        id = "a"
        effect = "allow"
        topics = ["x.{service}.#"]
        publishers = ["spiffe://t.org/*/*/*"]
        [[rule]]
        id = "b"
        effect = "exclusive"
        topics = ["x.b.only"]
        publishers = ["spiffe://t.org/prod/b/1"]
        [[rule]]
        id = "c"
        effect = "deny"
        topics = ["#"]
        publishers = ["spiffe://t.org/prod/b/9"]
        until = 2027-01-01T00:00:00Z
        [[test]]
        topic = "x.b.only"
        signer = "spiffe://t.org/prod/b/2"
        expect = "allow"
    "##;

    fn report(tests: &str) -> Result<TestReport, String> {
        let policy = Source { file: "p", bytes: POLICY.as_bytes() };
        let tests = Source { file: "t", bytes: tests.as_bytes() };
        TestReport::of(&[policy], &[tests], &Limits::STANDARD)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn test(topic: &str, signer: &str, expect: &str) -> String {
        format!("[[test]]\ntopic = {topic:?}\nsigner = {signer:?}\nexpect = {expect:?}\n")
    }

    #[test]
    fn a_failure_is_reported_and_what_no_test_touches_is_named() {
        let a = test("x.a.go", "spiffe://t.org/prod/a/1", "allow");
        let found = report(&format!("version = 1\n{a}")).unwrap();
        let failures: Vec<bool> = found.tests.iter().map(|test| test.failure.is_some()).collect();
        assert_eq!((failures, found.failed(), found.rules), (vec![true, false], 1, 3));
        let files: Vec<&str> = found.tests.iter().map(|test| &*test.position.file).collect();
        assert_eq!(files, ["p", "t"]);
        // The failing test was decided by `b`; the rule with an end is asked about at its end as well.
        let untouched = |report: &TestReport| -> Vec<String> {
            report.untouched.iter().map(|rule| rule.id().to_owned()).collect()
        };
        assert_eq!(untouched(&found), ["c"]);
        let c = test("x.b.other", "spiffe://t.org/prod/b/9", "deny");
        let found = report(&format!("version = 1\n{c}")).unwrap();
        assert_eq!((untouched(&found), found.failed()), (Vec::new(), 2));
        assert_eq!(
            found.tests[1].failure.as_ref().unwrap().to_string(),
            "test failed: `x.b.other` from `spiffe://t.org/prod/b/9` is allowed by rule `a` (p:4:9) at step 4 from \
             2027-01-01T00:00:00Z on, expected denied"
        );
    }

    #[test]
    fn a_test_touches_the_rules_of_the_step_that_decides() {
        let (rules, _) = POLICY.split_once("[[test]]").unwrap();
        let policy = Source { file: "p", bytes: rules.as_bytes() };
        for (tests, expected) in [
            (test("x.a.go", "spiffe://t.org/prod/a/1", "allow"), ["b", "c"]),
            (test("x.b.only", "spiffe://t.org/prod/b/2", "deny"), ["a", "c"]),
            // `a` names the signer as well, but a deny comes first.
            (
                test("x.b.other", "spiffe://t.org/prod/b/9", "deny") + "at = 2026-01-01T00:00:00Z\n",
                ["a", "b"],
            ),
        ] {
            let tests = format!("version = 1\n{tests}");
            let tests = Source { file: "t", bytes: tests.as_bytes() };
            let report = TestReport::of(&[policy], &[tests], &Limits::STANDARD).unwrap();
            let untouched: Vec<&str> = report.untouched.iter().map(|rule| rule.id()).collect();
            assert_eq!((untouched, report.failed()), (expected.to_vec(), 0), "{}", report.tests[0].topic);
        }
    }

    #[test]
    fn a_test_file_holds_tests_and_nothing_else() {
        for (text, expected) in [
            ("", "t:1:1: the policy file has no `version`; t:1:1: the policy file has no `test`"),
            ("version = 2\ntest = []", "t:1:11: the policy file: `version` is `2`, expected 1"),
            (
                "version = 1\nserial = 3\ntest = []",
                "t:2:1: the policy file has an unknown key `serial`; known are test, version",
            ),
            (
                "version = 1\n[[test]]\ntopic = \"a\"",
                "t:2:1: [[test]] 1 has no `signer`; t:2:1: [[test]] 1 has no `expect`",
            ),
            ("version", "t:1:8: not TOML"),
        ] {
            let error = report(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
