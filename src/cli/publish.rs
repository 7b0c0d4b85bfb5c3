//! `fedmsg publish`

use super::output::Output;
use super::{CliError, Global, Outcome};

/// Sign a message and publish it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _global: &Global, _out: &mut Output) -> Result<Outcome, CliError> {
    Err(CliError::new("not built yet"))
}
