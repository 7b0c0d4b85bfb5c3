//! `fedmsg ca list`

use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::cli::output::{BAD, DIM, GOOD, WARN};
use crate::store::authority::{Entry, State};
use crate::time::{Clock, SystemClock};
use serde_json::json;

/// List every certificate that was issued, and how it stands.
///
/// A certificate is expiring when two thirds of its life have passed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let store = place.open()?;
    let now = SystemClock.now();
    let entries = store.entries().map_err(|error| place.explain(error))?;
    let width = entries.iter().map(|entry| name(entry).len()).max().unwrap_or(0);
    for entry in &entries {
        let state = entry.state(now);
        if out.is_json() {
            out.object(&json!({
                "state": state.as_str(),
                "name": entry.name,
                "identity": entry.identity.as_ref().map(ToString::to_string),
                "serial": entry.serial.to_string(),
                "issuer": entry.issuer.as_str(),
                "issued_at": entry.issued_at.to_string(),
                "not_before": entry.not_before.to_string(),
                "not_after": entry.not_after.to_string(),
                "revoked_at": entry.revocation.map(|(at, _)| at.to_string()),
                "revocation_reason": entry.revocation.map(|(_, reason)| reason.as_str()),
            }))?;
            continue;
        }
        let style = match state {
            State::Expired => DIM,
            State::Expiring => WARN,
            State::Revoked => BAD,
            State::Valid => GOOD,
        };
        let word = state.as_str();
        let end = match entry.revocation {
            Some((at, reason)) => format!("at {at} ({reason})"),
            None => format!("until {}", entry.not_after),
        };
        let (name, serial) = (name(entry), &entry.serial);
        out.line(format_args!("{style}{word:8}{style:#}  {name:width$}  {serial}  {end}"))?;
    }
    warn_of_stale_lists(&store, place, now, out);
    if !entries.iter().any(|entry| entry.identity.is_some()) {
        out.hint(place.command("ca issue SERVICE --host HOST"));
    }
    Ok(Outcome::Yes)
}

fn name(entry: &Entry) -> String {
    entry.identity.as_ref().map_or_else(|| entry.name.clone(), ToString::to_string)
}
