//! `fedmsg config`

use super::output::Output;
use super::{CliError, Global, Outcome};

/// Show and check the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _global: &Global, _out: &mut Output) -> Result<Outcome, CliError> {
    Err(CliError::new("not built yet"))
}
