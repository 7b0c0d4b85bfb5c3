//! `fedmsg ca`

use super::output::Output;
use super::{CliError, Global, Outcome};

/// Run the certificate authority: make it, issue, revoke, list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _global: &Global, _out: &mut Output) -> Result<Outcome, CliError> {
    Err(CliError::new("not built yet"))
}
