//! `fedmsg policy`

mod check;
mod diff;
mod explain;
mod import;
mod inventory;
mod learn;
mod lint;
mod reach;
mod sign;
mod status;
mod test;
mod traffic;
mod verify;

use super::output::Output;
use super::{CliError, Global, Outcome};
use crate::config::{Config, Sources};
use crate::limits::Limits;
use crate::policy::signature::Endorsement;
use crate::policy::{Policy, PolicyErrors};
use crate::store::policy::{self as files, PolicyFileError, PolicyFiles};
use crate::time::{Clock, SystemClock};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Ask the routing policy who may publish what, and why.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Explain(explain::Args),
    WhoCan(reach::WhoCan),
    WhatCan(reach::WhatCan),
    Check(check::Args),
    Test(test::Args),
    Lint(lint::Args),
    Export(reach::Export),
    Diff(diff::Args),
    Learn(learn::Args),
    Import(import::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    Status(status::Args),
}

#[derive(Debug, clap::Args)]
struct Files {
    /// The policy's files, instead of those that the configuration names. Several form one policy.
    #[arg(long = "policy", value_name = "FILE", num_args = 1..)]
    policy: Vec<PathBuf>,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.command {
        Command::Explain(args) => explain::run(&args, global, out),
        Command::WhoCan(args) => reach::who_can(&args, global, out),
        Command::WhatCan(args) => reach::what_can(&args, global, out),
        Command::Export(args) => reach::export(&args, global, out),
        Command::Check(args) => check::run(&args, global, out),
        Command::Test(args) => test::run(&args, global, out),
        Command::Diff(args) => diff::run(&args, global, out),
        Command::Learn(args) => learn::run(&args, global, out),
        Command::Import(args) => import::run(&args, global, out),
        Command::Lint(args) => lint::run(&args, global, out),
        Command::Sign(args) => sign::run(&args, global, out),
        Command::Verify(args) => verify::run(&args, global, out),
        Command::Status(args) => status::run(&args, global, out),
    }
}

/// A policy to be asked, and whether anybody vouches for it.
struct Loaded {
    policy: Policy,
    limits: Limits,
    signature: Signature,
}

/// What there is to say of a policy's signature.
enum Signature {
    /// The configuration asks for none, and there is none that it would believe.
    None,
    /// The files are not the configuration's (`--policy`), so that nobody asks.
    NotAsked,
    Good(Endorsement),
    /// Not good, and not required.
    Bad(PolicyFileError),
}

impl Files {
    /// Reads the policy as it would be put in force, and says nothing of it yet.
    fn read(&self, global: &Global) -> Result<Result<Loaded, PolicyFileError>, CliError> {
        if !self.policy.is_empty() {
            let (paths, limits) = self.find(global)?;
            let policy = files::read(&paths, &limits);
            return Ok(policy.map(|policy| Loaded { policy, limits, signature: Signature::NotAsked }));
        }
        let config = Config::load(&Sources::machine(global.config.as_deref()))?;
        // With the hint of these commands, where there is none.
        self.find(global)?;
        let (files, now) = (PolicyFiles::of(&config), SystemClock.now());
        Ok(files.read(now).map(|admitted| {
            let signature = match (admitted.endorsement(), files.optional_signature(now)) {
                (Some(endorsement), _) => Signature::Good(endorsement.clone()),
                (None, Some(Ok(endorsement))) => Signature::Good(endorsement),
                (None, Some(Err(error))) => Signature::Bad(error),
                (None, None) => Signature::None,
            };
            Loaded { policy: admitted.into_policy(), limits: *files.limits(), signature }
        }))
    }

    /// As [`Files::read`]: what is wrong is said.
    fn load(&self, global: &Global, out: &mut Output) -> Result<Loaded, CliError> {
        self.read(global)?.map_err(|error| refused(error, out))
    }

    /// The files of the policy, and the limits that topics are read under.
    fn find(&self, global: &Global) -> Result<(Vec<PathBuf>, Limits), CliError> {
        if !self.policy.is_empty() && global.config.is_none() {
            return Ok((self.policy.clone(), Limits::STANDARD));
        }
        let config = Config::load(&Sources::machine(global.config.as_deref()))?;
        let limits = config.limits.to_limits();
        if !self.policy.is_empty() {
            return Ok((self.policy.clone(), limits));
        }
        let files: Vec<PathBuf> = config.policy.files.iter().map(|file| file.path().to_owned()).collect();
        if files.is_empty() {
            return Err(CliError::new("the configuration names no policy: [policy] files is empty")
                .hint("name one with --policy FILE, or a configuration with --config DIR"));
        }
        Ok((files, limits))
    }
}

/// The errors of a policy, each on a line of its own; the last is the command's.
fn refused(error: PolicyFileError, out: &mut Output) -> CliError {
    if let PolicyFileError::Policy(errors) = error {
        return CliError::new(say_all_but_last(&errors, out));
    }
    super::config::no_policy(error)
}

impl Signature {
    /// As JSON: null where there is none.
    fn object(&self) -> Value {
        match self {
            Self::None | Self::NotAsked => Value::Null,
            Self::Good(endorsement) => endorsed(endorsement),
            Self::Bad(error) => json!({"ok": false, "message": error.to_string()}),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("not signed"),
            Self::NotAsked => f.write_str("not asked for (--policy)"),
            Self::Good(endorsement) => endorsement.fmt(f),
            Self::Bad(error) => write!(f, "not good, and not required: {error}"),
        }
    }
}

fn endorsed(endorsement: &Endorsement) -> Value {
    json!({
        "ok": true, "signer": endorsement.signer().to_string(), "serial": endorsement.serial(),
        "from": endorsement.from().to_string(), "until": endorsement.until().to_string(),
        "certificate": hex(&endorsement.certificate_sha256()),
    })
}

fn say_all_but_last(errors: &PolicyErrors, out: &mut Output) -> String {
    let mut last = None;
    for error in errors {
        if let Some(earlier) = last.replace(error.to_string()) {
            out.error(earlier);
        }
    }
    last.unwrap_or_default()
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
