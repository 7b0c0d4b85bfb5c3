//! `fedmsg init`

use super::output::Output;
use super::{CliError, Global, Outcome};

/// Make a working development bus in a directory.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _global: &Global, _out: &mut Output) -> Result<Outcome, CliError> {
    Err(CliError::new("not built yet"))
}
