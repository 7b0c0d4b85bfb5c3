//! `fedmsg ca status`

use super::{CliError, Outcome, Output, Place};
use crate::cli::output::{BAD, DIM, GOOD, STRONG, WARN};
use crate::store::authority::{AuthorityStatus, Entry, Level, Stage};
use crate::time::{Clock, SystemClock};
use serde_json::{Map, Value, json};

/// Show which authorities there are, where each stands in its life, and who still uses the old ones.
///
/// An authority is prepared (trusted, and issues nothing yet), active, retiring (it issues nothing any more, and what it issued
/// is good), or retired (no longer trusted). The next step of a rollover is named.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Those that were retired, too.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let store = place.open_and_recover(now, out)?;
    let all = store.status(now).map_err(|error| place.explain(error))?;
    for status in all.iter().filter(|status| args.all || status.known.is_trusted()) {
        if out.is_json() {
            out.object(&object(status))?;
        } else {
            show(status, out)?;
        }
    }
    if let Some(next) = next(&all) {
        out.hint(place.command(next));
    }
    Ok(Outcome::Yes)
}

/// The next step, if a rollover has begun.
fn next(all: &[AuthorityStatus]) -> Option<&'static str> {
    // A root's turn comes first: with it go the intermediates below it.
    let at = |stage| all.iter().find(|status| status.known.stage == stage);
    if let Some(prepared) = at(Stage::Prepared) {
        return Some(match prepared.known.id.level {
            Level::Issuing => "ca rollover activate",
            Level::Root => "ca rollover activate --level root",
        });
    }
    let retiring = at(Stage::Retiring)?;
    if !retiring.users.using.is_empty() {
        return Some("ca renew --due");
    }
    Some(match retiring.known.id.level {
        Level::Issuing => "ca rollover retire",
        Level::Root => "ca rollover retire --level root",
    })
}

fn show(status: &AuthorityStatus, out: &mut Output) -> Result<(), CliError> {
    let known = &status.known;
    let style = match known.stage {
        Stage::Active => GOOD,
        Stage::Prepared => WARN,
        Stage::Retired => DIM,
        Stage::Retiring => BAD,
    };
    let (id, stage, certificate) = (known.id, known.stage.as_str(), &known.certificate);
    let (subject, until) = (certificate.subject(), certificate.not_after());
    out.line(format_args!(
        "{style}{stage:8}{style:#}  {STRONG}{id}{STRONG:#}  {subject}, until {until}, {stage} since {}",
        known.since
    ))?;
    let key = if status.has_key { "here" } else { "away" };
    let below = known.parent.map_or_else(String::new, |root| format!("below {root}, "));
    let list = status.list.map_or_else(
        || "no list".to_owned(),
        |list| format!("list {}, next update {}", list.number.unwrap_or(0), list.next_update),
    );
    out.line(format_args!("  {below}key {key} ({}), {list}", status.key.display()))?;
    let (using, replaced) = (status.users.using.len(), status.users.replaced.len());
    out.line(format_args!("  used by {using}, replaced since for {replaced}"))?;
    if known.stage == Stage::Retiring {
        for entry in &status.users.using {
            out.line(format_args!("    {}  {}, until {}", name(entry), entry.serial, entry.not_after))?;
        }
    }
    Ok(())
}

/// One authority as a JSON object.
pub(super) fn object(status: &AuthorityStatus) -> Map<String, Value> {
    let known = &status.known;
    let certificate = &known.certificate;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("authority", json!(known.id.level.as_str()));
    put("generation", json!(known.id.generation));
    put("stage", json!(known.stage.as_str()));
    put("since", json!(known.since.to_string()));
    put("root_generation", json!(known.parent.map(|root| root.generation)));
    put("vouched_for_by", json!(known.cross.as_ref().map(|(root, _)| root.generation)));
    put("subject", json!(certificate.subject()));
    put("serial", json!(certificate.serial_hex()));
    put("sha256", json!(certificate.sha256_hex()));
    put("not_before", json!(certificate.not_before().to_string()));
    put("not_after", json!(certificate.not_after().to_string()));
    put("key", json!(status.key));
    put("has_key", json!(status.has_key));
    put("crl_number", json!(status.list.and_then(|list| list.number)));
    put("revoked", json!(status.list.map(|list| list.entries)));
    put("next_update", json!(status.list.map(|list| list.next_update.to_string())));
    put("used_by", json!(status.users.using.iter().map(name).collect::<Vec<_>>()));
    put("replaced", json!(status.users.replaced.len()));
    object
}

fn name(entry: &Entry) -> String {
    entry.identity.as_ref().map_or_else(|| entry.name.clone(), ToString::to_string)
}
