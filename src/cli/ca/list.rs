//! `fedmsg ca list`

use super::entry::{EntryFilter, object};
use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::cli::output::{BAD, DIM, GOOD, WARN};
use crate::store::authority::{Entry, State};
use crate::time::{Clock, SystemClock};

/// List every certificate that was issued, and how it stands.
///
/// A certificate is expiring when two thirds of its life have passed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: EntryFilter,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let store = place.open_and_recover(now, out)?;
    let all = store.entries().map_err(|error| place.explain(error))?;
    let has_services = all.iter().any(|entry| entry.identity.is_some());
    let entries: Vec<Entry> = all.into_iter().filter(|entry| args.filter.takes(entry, now)).collect();
    let width = entries.iter().map(|entry| name(entry).len()).max().unwrap_or(0);
    for entry in &entries {
        let state = entry.state(now);
        if out.is_json() {
            out.object(&object(entry, now))?;
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
            Some(revocation) => format!("at {} ({})", revocation.at, revocation.reason),
            None => format!("until {}", entry.not_after),
        };
        let (name, serial) = (name(entry), &entry.serial);
        let is_good = matches!(state, State::Expiring | State::Valid);
        let more =
            if is_good && store.is_retiring(entry.issuer) { ", its issuer is being retired" } else { "" };
        out.line(format_args!("{style}{word:8}{style:#}  {name:width$}  {serial}  {end}{more}"))?;
    }
    warn_of_stale_lists(&store, place, now, out);
    if !has_services {
        out.hint(place.command("ca issue SERVICE --host HOST"));
    }
    Ok(Outcome::Yes)
}

fn name(entry: &Entry) -> String {
    entry.identity.as_ref().map_or_else(|| entry.name.clone(), ToString::to_string)
}
