//! `fedmsg demo`

use super::output::Output;
use super::{CliError, Global, Outcome};

/// See it work: services get certificates and publish, and every forgery is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _global: &Global, _out: &mut Output) -> Result<Outcome, CliError> {
    Err(CliError::new("not built yet"))
}
