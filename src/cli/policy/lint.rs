//! `fedmsg policy lint`

use super::{Files, counted, inventory, traffic};
use crate::cli::output::{BAD, DIM, GOOD, Output, WARN};
use crate::cli::{CliError, Global, Outcome};
use crate::config::{Config, Sources};
use crate::policy::Source;
use crate::policy::lint::{Finding, LintContext, Severity, lint};
use crate::store::policy::Bytes;
use crate::time::{Clock, SystemClock, Timestamp};
use clap::ValueEnum;
use serde_json::json;
use std::path::PathBuf;

/// Look for what is wrong with a policy that reads well: rules that never apply or say what others say, overlapping
/// exclusives, unused groups, expired rules, publishers who have no certificate, topics nobody publishes.
///
/// Each finding has a code, a place and a fix. Exit 0: none that counts. Exit 1: an error, or what --deny names.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Findings of this level, and worse ones, make the exit code 1.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Deny::Errors)]
    deny: Deny,
    /// Recorded traffic, or one topic a line: what the policy's topics are held against. `-` is standard input. What it
    /// says is believed.
    #[arg(long, value_name = "FILE|-")]
    messages: Option<PathBuf>,
    /// As of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    inventory: inventory::FromAuthority,
    #[command(flatten)]
    files: Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Deny {
    Errors,
    Warnings,
    Advice,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (paths, limits) = args.files.find(global)?;
    let files = Bytes::read(&paths)?;
    let sources: Vec<Source<'_>> = files.iter().map(Bytes::source).collect();
    let at = args.at.unwrap_or_else(|| SystemClock.now());
    let inventory = args.inventory.read(global, at)?;
    let seen = args.messages.as_ref().map(|file| traffic::topics(file, &limits)).transpose()?;
    let envs = envs(global)?;
    let context = LintContext { at, envs: &envs, inventory: inventory.as_ref(), seen: seen.as_deref() };
    let findings = lint(&sources, &context, &limits);
    for finding in &findings {
        show(finding, out)?;
    }
    let count = |severity| findings.iter().filter(|f| f.severity() == severity).count();
    let (errors, warnings, advice) =
        (count(Severity::Error), count(Severity::Warning), count(Severity::Advice));
    if !out.is_json() {
        let (style, word) = if findings.is_empty() { (GOOD, "ok") } else { (WARN, "found") };
        out.say(format_args!(
            "{style}{word}{style:#}: {}, {}, {advice} of advice",
            counted(errors, "error"),
            counted(warnings, "warning")
        ));
        if inventory.is_none() {
            out.detail("no authority: publishers were not held against what was issued (--authority DIR)");
        }
        if seen.is_none() {
            out.detail("no traffic: topics were not held against what was seen (--messages FILE)");
        }
    }
    let least = match args.deny {
        Deny::Advice => Severity::Advice,
        Deny::Errors => Severity::Error,
        Deny::Warnings => Severity::Warning,
    };
    let bad = findings.iter().any(|finding| finding.severity() >= least);
    Ok(if bad { Outcome::No } else { Outcome::Yes })
}

fn show(finding: &Finding, out: &mut Output) -> std::io::Result<()> {
    let Finding { code, position, message, fix } = finding;
    let severity = finding.severity();
    if out.is_json() {
        return out.object(&json!({
            "code": code.as_str(), "severity": severity.to_string(), "file": &*position.file,
            "line": position.line, "column": position.column, "message": message, "fix": fix,
        }));
    }
    let style = match severity {
        Severity::Advice => DIM,
        Severity::Error => BAD,
        Severity::Warning => WARN,
    };
    out.line(format_args!("{position}: {style}{severity}{style:#} {code}: {message}"))?;
    out.line(format_args!("  {DIM}fix: {fix}{DIM:#}"))
}

/// The environments of the configuration; the built-in ones where there is none.
fn envs(global: &Global) -> Result<Vec<String>, CliError> {
    if global.config.is_none() {
        return Ok(["dev", "stg", "prod", "production"].map(str::to_owned).to_vec());
    }
    let config = Config::load(&Sources::machine(global.config.as_deref()))?;
    Ok(config.bus.envs.iter().map(ToString::to_string).collect())
}
