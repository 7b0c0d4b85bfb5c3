//! `fedmsg policy test`

use super::{Files, counted, refused};
use crate::cli::output::{BAD, DIM, GOOD, Output, STRONG};
use crate::cli::{CliError, Global, Outcome};
use crate::policy::{FailedTest, Moment, RuleRef, Source, TestOutcome, TestReport};
use crate::store::policy::{Bytes, PolicyFileError};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Run a policy's tests: its own [[test]] tables, and those of test files. Says which rules no test touches.
///
/// A test file holds `version = 1` and [[test]] tables. Its tests are run against the policy and do not become part of it.
///
/// Exit 0: all passed. Exit 1: one failed, or (with --require-coverage) a rule is touched by no test. Exit 2: what was
/// given is no policy or no test file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Test files, beside the policy's own tests.
    #[arg(value_name = "FILE")]
    tests: Vec<PathBuf>,
    /// Fail if a rule took part in no test's decision.
    #[arg(long)]
    require_coverage: bool,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (paths, limits) = args.files.find(global)?;
    let (policy, tests) = (Bytes::read(&paths)?, Bytes::read(&args.tests)?);
    let sources: Vec<Source<'_>> = policy.iter().map(Bytes::source).collect();
    let test_sources: Vec<Source<'_>> = tests.iter().map(Bytes::source).collect();
    let report = match TestReport::of(&sources, &test_sources, &limits) {
        Ok(report) => report,
        Err(errors) => return Err(refused(PolicyFileError::Policy(errors), out)),
    };
    if out.is_json() {
        print_objects(&report, out)?;
    } else {
        print(&report, global.verbose > 0, out)?;
    }
    let covered = !args.require_coverage || report.untouched.is_empty();
    let passed = covered && report.failed() == 0;
    Ok(if passed { Outcome::Yes } else { Outcome::No })
}

fn print_objects(report: &TestReport, out: &mut Output) -> std::io::Result<()> {
    for test in &report.tests {
        out.object(&object(test))?;
    }
    let untouched: Vec<&str> = report.untouched.iter().map(RuleRef::id).collect();
    out.object(&json!({
        "kind": "summary", "ok": report.failed() == 0, "passed": report.tests.len() - report.failed(),
        "failed": report.failed(), "rules": report.rules, "untouched": untouched,
    }))
}

fn object(test: &TestOutcome) -> Value {
    let TestOutcome { position, topic, signer, expect, at, failure } = test;
    let mut object = json!({
        "kind": "test", "ok": failure.is_none(), "file": &*position.file, "line": position.line, "topic": topic,
        "signer": signer, "expect": expect.to_string(), "at": at.map(|at| at.to_string()),
    });
    if let Some(FailedTest { found, step, rule, at, .. }) = failure {
        object["found"] = found.to_string().into();
        object["step"] = step.number().into();
        object["rule"] = rule.as_ref().map(RuleRef::id).into();
        object["found_at"] = match at {
            Moment::Stated(at) | Moment::From(Some(at)) => at.to_string().into(),
            Moment::From(None) => Value::Null,
        };
        object["message"] = failure.as_ref().map(ToString::to_string).into();
    }
    object
}

fn print(report: &TestReport, all: bool, out: &mut Output) -> std::io::Result<()> {
    for test in &report.tests {
        let TestOutcome { position, topic, signer, expect, .. } = test;
        match &test.failure {
            Some(failure) => out.line(format_args!("{BAD}FAILED{BAD:#}  {position}: {failure}"))?,
            None if all => {
                out.line(format_args!(
                    "{GOOD}ok{GOOD:#}      {position}: `{topic}` from `{signer}` is {expect}"
                ))?;
            }
            None => {}
        }
    }
    if !report.untouched.is_empty() {
        let (count, rules) = (report.untouched.len(), counted(report.rules, "rule"));
        out.line(format_args!("{STRONG}no test touches{STRONG:#} {count} of {rules}:"))?;
        let shown = if all { count } else { count.min(FEW) };
        for rule in &report.untouched[..shown] {
            out.line(format_args!("  {:<9} {}  {}", rule.effect(), rule.id(), rule.position()))?;
        }
        if shown < count {
            out.line(format_args!("  {DIM}{} more (-v lists them){DIM:#}", count - shown))?;
        }
    }
    let (failed, touched) = (report.failed(), report.rules - report.untouched.len());
    let (style, word) = if failed == 0 { (GOOD, "ok") } else { (BAD, "FAILED") };
    out.line(format_args!(
        "{style}{word}{style:#}: {} passed, {failed} failed; {touched} of {} touched",
        report.tests.len() - failed,
        counted(report.rules, "rule"),
    ))
}

/// How many untouched rules are listed without being asked for.
const FEW: usize = 12;
