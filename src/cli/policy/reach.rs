//! `fedmsg policy who-can`, `what-can` and `export`: the questions that have no message.

use super::{Files, Loaded};
use crate::cli::output::{DIM, Output, STRONG, WARN};
use crate::cli::{CliError, Global, Outcome};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::policy::{Exception, Policy, Reach, Right, RuleRef};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::Topic;
use serde_json::json;
use std::fmt::Display;

/// Say who can publish a topic: identities, or patterns of them, with what is taken out of each.
///
/// Exit 0: somebody can. Exit 1: nobody can.
#[derive(Debug, clap::Args)]
pub(super) struct WhoCan {
    /// The whole topic, such as org.fedoraproject.prod.bodhi.update.comment.
    #[arg(value_name = "TOPIC")]
    topic: String,
    #[command(flatten)]
    asked: Asked,
}

/// Say what an identity can publish: topics, or patterns of them, with what is taken out of each.
///
/// Exit 0: something. Exit 1: nothing.
#[derive(Debug, clap::Args)]
pub(super) struct WhatCan {
    /// The signer: spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST, or cn:NAME.
    #[arg(value_name = "ID")]
    signer: Identity,
    #[command(flatten)]
    asked: Asked,
}

/// Write the whole policy as a flat table: topics, who may publish them, what is taken out of that.
///
/// Each row is a pattern of topics and an identity (or pattern of identities), with a tab between; exceptions are talk on
/// stderr, and fields of the rows with --json.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
struct Asked {
    /// As of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    files: Files,
}

impl Asked {
    fn read(&self, global: &Global, out: &mut Output) -> Result<(Policy, Timestamp, Limits), CliError> {
        let Loaded { policy, limits, .. } = self.files.load(global, out)?;
        Ok((policy, self.at.unwrap_or_else(|| SystemClock.now()), limits))
    }
}

pub(super) fn who_can(args: &WhoCan, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (policy, at, limits) = args.asked.read(global, out)?;
    let topic = Topic::parse(&args.topic, &limits)?;
    let reach = policy.who_can(&topic, at);
    show(&reach, |right| right.publishers.to_string(), out)?;
    if reach.open {
        open("every verified signer can: no rule lists the topic, and the default is allow-unlisted", out)?;
    }
    Ok(outcome(&reach))
}

pub(super) fn what_can(args: &WhatCan, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (policy, at, _) = args.asked.read(global, out)?;
    let reach = policy.what_can(&args.signer, at);
    show(&reach, |right| right.topics.clone(), out)?;
    if reach.open {
        open("every topic that no rule lists: the default is allow-unlisted", out)?;
    }
    Ok(outcome(&reach))
}

pub(super) fn export(args: &Export, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (policy, at, _) = args.asked.read(global, out)?;
    let reach = policy.table(at);
    for right in &reach.rights {
        if out.is_json() {
            out.object(&object(right))?;
            continue;
        }
        out.line(format_args!("{}\t{}", right.topics, right.publishers))?;
        for exception in &right.exceptions {
            out.say(format_args!("except, for {}: {exception}", right.publishers));
        }
    }
    if reach.open {
        out.warn("every topic that no rule lists is open to every verified signer (allow-unlisted)");
    }
    Ok(Outcome::Yes)
}

fn outcome(reach: &Reach) -> Outcome {
    if reach.rights.is_empty() && !reach.open { Outcome::No } else { Outcome::Yes }
}

fn show(reach: &Reach, what: impl Fn(&Right) -> String, out: &mut Output) -> std::io::Result<()> {
    for right in &reach.rights {
        if out.is_json() {
            out.object(&object(right))?;
            continue;
        }
        let rules: Vec<String> = right.rules.iter().map(ToString::to_string).collect();
        out.line(format_args!("{STRONG}{}{STRONG:#}  {DIM}by {}{DIM:#}", what(right), rules.join(", ")))?;
        for exception in &right.exceptions {
            out.line(format_args!("  {WARN}except{WARN:#}: {exception}"))?;
        }
    }
    if reach.rights.is_empty() && !reach.open && !out.is_json() {
        out.say("no rule lets anybody");
    }
    Ok(())
}

fn object(right: &Right) -> serde_json::Value {
    let except = |exception: &Exception| {
        json!({
            "topics": exception.topics, "rule": exception.rule.id(),
            // None: all whom the rule does not name.
            "publishers": exception.publishers.as_ref().map(ToString::to_string),
        })
    };
    json!({
        "topics": right.topics, "publishers": right.publishers.to_string(),
        "rules": right.rules.iter().map(RuleRef::id).collect::<Vec<_>>(),
        "except": right.exceptions.iter().map(except).collect::<Vec<_>>(),
    })
}

/// What the default opens, which is no row of any rule.
fn open(what: impl Display, out: &mut Output) -> std::io::Result<()> {
    if out.is_json() {
        return out.object(&json!({ "topics": null, "publishers": null, "default": "allow-unlisted" }));
    }
    out.line(what)
}
