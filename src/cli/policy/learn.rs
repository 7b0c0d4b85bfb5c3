//! `fedmsg policy learn`

use super::{counted, traffic};
use crate::cli::output::Output;
use crate::cli::{CliError, Global, Outcome};
use crate::limits::Limits;
use crate::policy::Policy;
use crate::policy::learn::{Generalize, Learner};
use clap::ValueEnum;
use serde_json::json;
use std::path::PathBuf;

/// Draft a policy from recorded traffic: what verified messages published, each with how often and when, and a [[test]] for each.
///
/// The draft goes to stdout; it is never merged with a policy, and a person reads it first: it allows what was seen, right or
/// wrong. Bodies are verified (signature, chain, revocation) by the configuration's trust; what does not verify is left out
/// and counted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON lines of bodies as they were received; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    messages: PathBuf,
    /// How much wider than what was seen: `none`: exactly these topics from exactly these hosts; `service`: from any host of the
    /// service; `topic`: that, and all topics that begin with the service's own environment and name.
    #[arg(long, value_enum, value_name = "WIDTH", default_value_t = Width::Service)]
    generalize: Width,
    /// Leave out what was seen less often than this.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// The draft's serial.
    #[arg(long, value_name = "N", default_value_t = 1)]
    serial: u64,
    /// Take lines of `tail --json` or `verify --json` that say `verified` at their word. Whoever can write the file then
    /// writes the policy.
    #[arg(long)]
    believe_verdicts: bool,
    #[command(flatten)]
    as_of: traffic::AsOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Width {
    None,
    Service,
    Topic,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let mut learner = Learner::default();
    let see = |message: traffic::Recorded| learner.see(&message.topic, &message.signer, message.at);
    let believe = args.believe_verdicts;
    let lines = traffic::for_each_message(&args.messages, &args.as_of, believe, global, out, see)?;
    if lines.used == 0 {
        let file = args.messages.display();
        return Err(CliError::new(format_args!(
            "{file}: no verified message in it ({} refused)",
            lines.refused
        ))
        .hint("`fedmsg verify FILE` says of each why; --verified-at message is for old traffic"));
    }
    let generalize = match args.generalize {
        Width::None => Generalize::None,
        Width::Service => Generalize::Service,
        Width::Topic => Generalize::Topic,
    };
    let text = learner.write(generalize, args.min_count, args.serial);
    // What is handed out can be read, and its tests pass.
    let policy = Policy::parse(&text, "the draft", &Limits::STANDARD)?;
    let (rules, tests) = (policy.rule_count(), policy.test_count());
    if out.is_json() {
        out.object(&json!({
            "policy": text, "messages": lines.used, "refused": lines.refused, "rules": rules, "tests": tests,
        }))?;
    } else {
        out.line(text.trim_end())?;
    }
    out.say(format_args!(
        "{} used, {} refused: {}, {}",
        counted(lines.used, "message"),
        lines.refused,
        counted(rules, "rule"),
        counted(tests, "test")
    ));
    Ok(Outcome::Yes)
}
