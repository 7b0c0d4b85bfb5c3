//! `fedmsg ca crl`

use super::rollover::LevelArg;
use super::{CliError, Outcome, Output, Place};
use crate::store::authority::{AuthorityId, AuthorityStore, AuthorityStoreError, Level, WrittenCrl};
use crate::time::{Clock, SystemClock, Timestamp};
use serde_json::json;
use std::path::Path;

/// The most days that a list may live: one that lives longer is no revocation.
const MAX_DAYS: i64 = 366;

/// Write every revocation list anew, with new dates.
///
/// During a rollover, the lists of the old authority and of the new one. To be run well before the next update that a list names:
/// two thirds of its life are a good time. The root's list needs the root's key; without it, the list that is there stays, as long
/// as it is good.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many days the issuing authority's list is to live. [default: 7, by the profile]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_DAYS))]
    days: Option<u32>,
    /// How many days the root's list is to live. [default: 180, by the profile]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_DAYS))]
    root_days: Option<u32>,
    /// Only those that are due: two thirds of their life have passed, or they are not the newest. For a timer.
    #[arg(long)]
    due: bool,
    /// Only those of this level: where only its keys are.
    #[arg(long, value_enum, value_name = "LEVEL")]
    level: Option<LevelArg>,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    let mut failed = None;
    let wanted = args.level.map(Level::from);
    let trusted: Vec<AuthorityId> = store
        .trusted()
        .map(|known| known.id)
        .filter(|id| wanted.is_none_or(|level| id.level == level))
        .collect();
    for id in trusted {
        // The list of a single authority is the one that is renewed from week to week.
        if args.due && !store.is_crl_due(id, now).map_err(|error| place.explain(error))? {
            let path = store.crl_path(id.level);
            out.detail(format_args!("{}: that of the {id} authority is not due yet", path.display()));
            continue;
        }
        let days = match id.level {
            Level::Root if store.issues() == Level::Issuing => args.root_days,
            Level::Root => args.days.or(args.root_days),
            Level::Issuing => args.days,
        };
        match store.rewrite_crl(id, days, now) {
            Ok(list) => show(&list, true, out)?,
            Err(AuthorityStoreError::KeyAway { authority, path }) if authority.level == Level::Root => {
                // One that cannot be written keeps no other from it; the first is the one to tell.
                let fault = keep(&store, authority, &path, now, place, out)?;
                failed = failed.or(fault);
            }
            Err(error) => return Err(place.explain(error)),
        }
    }
    failed.map_or(Ok(Outcome::Yes), Err)
}

/// Without the root's key: the list that is there stays, and it is an error only if it is stale or cannot be read.
fn keep(
    store: &AuthorityStore,
    authority: AuthorityId,
    key: &Path,
    now: Timestamp,
    place: &Place,
    out: &mut Output,
) -> Result<Option<CliError>, CliError> {
    let path = store.crl_path(authority.level);
    let away = AuthorityStoreError::KeyAway { authority, path: key.to_owned() };
    let crl = match store.read_crl(authority) {
        Ok(crl) => crl,
        Err(error) => {
            let why = CliError::new(format_args!("{error}, and cannot be written anew: {away}"));
            return Ok(Some(why.hint(bring_back(key, place))));
        }
    };
    let until = crl.next_update();
    if now >= until {
        let shown = path.display();
        let why =
            CliError::new(format_args!("{shown} is stale since {until}, and cannot be written anew: {away}"));
        return Ok(Some(why.hint(bring_back(key, place))));
    }
    let list = WrittenCrl {
        signer: authority,
        number: crl.number().unwrap_or(u64::MAX),
        entries: crl.len(),
        this_update: crl.this_update(),
        next_update: until,
        path,
    };
    show(&list, false, out)?;
    out.say(format_args!("{} stays as it is: {away}", list.path.display()));
    if now.is_past_two_thirds(crl.this_update(), until) {
        out.warn(format_args!("{} runs out at {until}", list.path.display()));
        out.hint(bring_back(key, place));
    }
    Ok(None)
}

fn bring_back(key: &Path, place: &Place) -> String {
    format!(
        "bring the root's key back to {}, run {}, and take it away again",
        key.display(),
        place.command("ca crl")
    )
}

fn show(list: &WrittenCrl, written: bool, out: &mut Output) -> Result<(), CliError> {
    if out.is_json() {
        out.object(&json!({
            "authority": list.signer.level.as_str(),
            "generation": list.signer.generation,
            "crl": list.path,
            "crl_number": list.number,
            "revoked": list.entries,
            "this_update": list.this_update.to_string(),
            "next_update": list.next_update.to_string(),
            "written": written,
        }))?;
        return Ok(());
    }
    let (path, number, entries) = (list.path.display(), list.number, list.entries);
    let word = if written { "written" } else { "kept" };
    let of = if list.signer.generation == 1 { String::new() } else { format!(" by {}", list.signer) };
    Ok(out.line(format_args!(
        "{path}  {word}{of}, number {number}, {entries} revoked, next update {}",
        list.next_update
    ))?)
}
