//! `fedmsg policy`

mod check;
mod diff;
mod explain;
mod import;
mod inventory;
mod learn;
mod lint;
mod reach;
mod test;
mod traffic;

use super::output::Output;
use super::{CliError, Global, Outcome};
use crate::config::{Config, Sources};
use crate::limits::Limits;
use crate::policy::PolicyErrors;
use crate::store::policy::PolicyFileError;
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
    }
}

impl Files {
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
    match error {
        PolicyFileError::Policy(errors) => CliError::new(say_all_but_last(&errors, out)),
        other @ (PolicyFileError::NotConfigured
        | PolicyFileError::Read { .. }
        | PolicyFileError::TooLarge { .. }
        | PolicyFileError::Watch { .. }) => other.into(),
    }
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
