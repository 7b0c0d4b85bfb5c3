//! `fedmsg policy diff`

use super::{refused, traffic};
use crate::cli::output::{BAD, DIM, GOOD, Output};
use crate::cli::{CliError, Global, Outcome};
use crate::config::Config;
use crate::config::Sources;
use crate::limits::Limits;
use crate::policy::diff::{Answer, Change, Comparison};
use crate::policy::{Policy, Verdict};
use crate::store::policy as files;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Replay recorded traffic through two policies, and show what would change.
///
/// Both are asked as of each message's own time. Bodies are verified (signature, chain, revocation) by the configuration's trust; lines of
/// `tail --json` or `verify --json` count if they say `verified`. So what the policy in force refused can be seen only from bodies.
///
/// Exit 0: nothing would change. Exit 1: something would.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy as it is.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it would be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// JSON lines of bodies, or of `tail --json`; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    messages: PathBuf,
    /// Ask both as of this time (RFC 3339), instead of each message's own.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    as_of: traffic::AsOf,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let limits = match &global.config {
        Some(directory) => Config::load(&Sources::machine(Some(directory.as_path())))?.limits.to_limits(),
        None => Limits::STANDARD,
    };
    let (old, new) = (read(&args.old, &limits, out)?, read(&args.new, &limits, out)?);
    let mut comparison = Comparison::new(&old, &new);
    let see = |message: traffic::Recorded| {
        comparison.see(&message.topic, &message.signer, args.at.unwrap_or(message.at));
    };
    // Nothing is granted here, so that a verdict may be taken at its word.
    let lines = traffic::for_each_message(&args.messages, &args.as_of, true, global, out, see)?;
    let messages = comparison.messages();
    let changes = comparison.changes();
    for change in &changes {
        show(change, out)?;
    }
    let count = |verdict| -> u64 {
        changes.iter().filter(|change| change.new.verdict == verdict).map(|change| change.count).sum()
    };
    let (allowed, denied) = (count(Verdict::Allowed), count(Verdict::Denied));
    out.say(format_args!(
        "of {messages} messages {denied} would be denied that are allowed, {allowed} allowed that are denied; \
         {} lines were not used",
        lines.refused
    ));
    Ok(if changes.is_empty() { Outcome::Yes } else { Outcome::No })
}

fn read(path: &Path, limits: &Limits, out: &mut Output) -> Result<Policy, CliError> {
    files::read(&[path.to_owned()], limits).map_err(|error| refused(error, out))
}

fn show(change: &Change, out: &mut Output) -> std::io::Result<()> {
    let Change { topic, signer, old, new, count, first, last } = change;
    if out.is_json() {
        return out.object(&json!({
            "topic": topic.as_str(), "signer": signer.to_string(), "count": count, "first": first.to_string(),
            "last": last.to_string(), "old": object(old), "new": object(new),
        }));
    }
    let (style, sign) = match new.verdict {
        Verdict::Allowed => (GOOD, '+'),
        Verdict::Denied => (BAD, '-'),
    };
    out.line(format_args!(
        "{style}{sign}{style:#} {topic} from {signer}: {}, was {} by {}; now by {}  {DIM}{count} times, {first} to {last}{DIM:#}",
        new.verdict,
        old.verdict,
        by(old),
        by(new)
    ))
}

fn by(answer: &Answer) -> String {
    answer.rule.as_ref().map_or_else(|| "the default".to_owned(), ToString::to_string)
}

fn object(answer: &Answer) -> Value {
    json!({
        "verdict": answer.verdict.to_string(), "step": answer.step.number(),
        "rule": answer.rule.as_ref().map(|rule| rule.id()),
    })
}
