//! `fedmsg ca export`

use super::entry::{EntryFilter, object, pem};
use super::{CliError, Outcome, Output, Place};
use crate::time::{Clock, SystemClock};
use clap::ValueEnum;
use serde_json::json;

/// Export the inventory: one JSON object a line with the certificate in it, or the certificates alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: EntryFilter,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Json, value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON lines.
    Json,
    /// The certificates in PEM, one after the other.
    Pem,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let store = place.open_and_recover(now, out)?;
    let entries = store.entries().map_err(|error| place.explain(error))?;
    for entry in entries.iter().filter(|entry| args.filter.takes(entry, now)) {
        match args.format {
            Format::Pem => out.line(pem(entry)?.trim_end())?,
            Format::Json => {
                let mut object = object(entry, now);
                object.insert("pem".to_owned(), json!(pem(entry)?));
                out.object(&object)?;
            }
        }
    }
    Ok(Outcome::Yes)
}
