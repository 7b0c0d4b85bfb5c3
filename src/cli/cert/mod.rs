//! `fedmsg cert`

mod show;
mod verify;

use super::output::Output;
use super::{CliError, Global, Outcome};
use crate::pki::certificate::{Certificate, CertificateError};
use crate::pki::pem::{self, PemError};
use crate::reason::ReasonCode;
use crate::time::{Clock as _, SystemClock, Timestamp};
use clap::Subcommand;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most bytes of a file that is read: a list of a million entries has some 40 MB.
const MAX_FILE_BYTES: u64 = 128 * 1024 * 1024;

/// Look at certificates and verify them.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
    Verify(verify::Args),
}

pub(super) fn run(args: Args, _global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.command {
        Command::Show(args) => show::run(&args, out),
        Command::Verify(args) => verify::run(args, out),
    }
}

/// What is wrong with a file's content.
#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error(transparent)]
    Der(#[from] CertificateError),
    #[error(transparent)]
    Pem(#[from] PemError),
}

impl ContentError {
    fn code(&self) -> ReasonCode {
        match self {
            Self::Der(fault) => fault.code(),
            Self::Pem(fault) => fault.code(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let refused = |error: &dyn std::fmt::Display| CliError::new(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| refused(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(refused(&format!(
            "more than {MAX_FILE_BYTES} bytes, which is no certificate and no list"
        )));
    }
    Ok(bytes)
}

/// One certificate in DER, or any number in PEM. DER begins with the tag of a sequence, which is `0` in ASCII.
fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, ContentError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![Certificate::parse(bytes)?]);
    }
    Ok(pem::certificates(bytes)?)
}

/// The command line is where the clock is read.
fn now() -> Timestamp {
    SystemClock.now()
}
