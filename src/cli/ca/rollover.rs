//! `fedmsg ca rollover`

use super::status::object;
use super::{CliError, Outcome, Output, Place};
use crate::cli::output::{GOOD, STRONG};
use crate::store::authority::{AuthorityStore, Level, PrepareRequest, RetireRequest, SETTLE_SECONDS};
use crate::time::{Clock, SystemClock, Timestamp};
use clap::ValueEnum;
use serde_json::json;

/// Put another authority in the place of the issuing intermediate, or of the root, while everything runs.
///
/// Three steps, each in its own time: prepare makes the new one and has consumers trust it beside the old; activate has it
/// issue; retire ends the trust in the old one. Between the first two, every consumer needs the new files; between the last
/// two, every service a new certificate (ca renew --due). ca status says where it stands and who still uses the old one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Prepare(PrepareArgs),
    Activate(ActivateArgs),
    Retire(RetireArgs),
}

/// Make a new authority, with its key and revocation list, and have consumers trust it beside the old one.
///
/// It needs the root's key. A new root gets an intermediate of its own, for which the old root vouches as well: consumers that
/// have only the old root then accept it from publishers that send their intermediates (publisher.send_intermediates).
#[derive(Debug, clap::Args)]
struct PrepareArgs {
    /// Which: the issuing intermediate, or the root with a new intermediate below it.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "issuing")]
    level: LevelArg,
    /// Without the old root's key, which is lost: it does not vouch for what is below the new one.
    #[arg(long)]
    no_cross: bool,
}

/// Have the new authority issue: certificates come from it from now on, those of the old one stay good.
///
/// A new root's key is not needed for it, and can be away by then.
#[derive(Debug, clap::Args)]
struct ActivateArgs {
    /// Which: the issuing intermediate, or the root with the intermediate below it.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "issuing")]
    level: LevelArg,
}

/// End the trust in an authority that issues nothing any more; its root revokes an intermediate.
///
/// Refused while a service has no newer certificate from another authority. The certificates that were replaced are revoked
/// (superseded). For an intermediate it needs the root's key. What was signed under it can then not be verified any more, and
/// that is true of history that a consumer asks for, too: wait for as long as publishers keep what they published
/// (outbox.keep_age), if consumers may have been away.
#[derive(Debug, clap::Args)]
struct RetireArgs {
    /// Which: the issuing intermediate, or the root with the intermediates below it.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "issuing")]
    level: LevelArg,
    /// Only this one, as ca status counts them; one that was prepared is dropped.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    generation: Option<u32>,
    /// Revoke the certificates that are still in use: those services are refused from then on.
    #[arg(long)]
    revoke: bool,
}

/// Which of the two levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LevelArg {
    /// The intermediate that issues from day to day.
    Issuing,
    /// The root.
    Root,
}

impl From<LevelArg> for Level {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Issuing => Self::Issuing,
            LevelArg::Root => Self::Root,
        }
    }
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    match &args.command {
        Command::Prepare(args) => prepare(args, &mut store, place, now, out),
        Command::Activate(args) => activate(args, &mut store, place, now, out),
        Command::Retire(args) => retire(args, &mut store, place, now, out),
    }
}

fn prepare(
    args: &PrepareArgs,
    store: &mut AuthorityStore,
    place: &Place,
    now: Timestamp,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let (level, cross) = (Level::from(args.level), !args.no_cross);
    let prepared =
        store.prepare(PrepareRequest { level, cross }, now).map_err(|error| place.explain(error))?;
    for status in &prepared.made {
        if out.is_json() {
            out.object(&object(status))?;
            continue;
        }
        let (id, certificate) = (status.known.id, &status.known.certificate);
        let (subject, until) = (certificate.subject(), certificate.not_after());
        out.line(format_args!("prepared  {STRONG}{id}{STRONG:#}  {subject}, until {until}"))?;
        out.line(format_args!(
            "  {}  {}  {}",
            store.certificate_path(id.level).display(),
            store.crl_path(id.level).display(),
            status.key.display()
        ))?;
    }
    if level == Level::Root && store.issues() == Level::Issuing {
        out.say("the root's keys are not needed until a list of theirs is due: take them away again");
    }
    out.say(format_args!(
        "give every consumer {} as they are now, and only then (in {SETTLE_SECONDS} seconds at the earliest):",
        files(store)
    ));
    out.hint(place.command(&format!("ca rollover activate --level {level}")));
    Ok(Outcome::Yes)
}

fn activate(
    args: &ActivateArgs,
    store: &mut AuthorityStore,
    place: &Place,
    now: Timestamp,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let level = Level::from(args.level);
    let active = store.activate(level, now).map_err(|error| place.explain(error))?;
    let all = store.status(now).map_err(|error| place.explain(error))?;
    for status in all.iter().filter(|status| active.contains(&status.known.id)) {
        if out.is_json() {
            out.object(&object(status))?;
        } else {
            let (id, subject) = (status.known.id, status.known.certificate.subject());
            out.line(format_args!("active  {STRONG}{id}{STRONG:#}  {subject}"))?;
        }
    }
    out.say("give every service a new certificate, and look who has none yet:");
    out.hint(place.command("ca renew --due"));
    out.hint(place.command("ca status"));
    Ok(Outcome::Yes)
}

fn retire(
    args: &RetireArgs,
    store: &mut AuthorityStore,
    place: &Place,
    now: Timestamp,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let (level, generation, revoke) = (Level::from(args.level), args.generation, args.revoke);
    let request = RetireRequest { level, generation, revoke };
    let retired = store.retire(request, now).map_err(|error| place.explain(error))?;
    if out.is_json() {
        for id in &retired.authorities {
            out.object(&json!({
                "authority": id.level.as_str(),
                "generation": id.generation,
                "stage": "retired",
                "revoked": retired.revoked.iter().filter(|entry| entry.issuer == *id).count(),
                "is_refused": retired.is_refused,
            }))?;
        }
    } else {
        for id in &retired.authorities {
            let revoked = retired.revoked.iter().filter(|entry| entry.issuer == *id).count();
            out.line(format_args!(
                "retired  {STRONG}{id}{STRONG:#}  {revoked} certificates revoked with it"
            ))?;
        }
        for list in &retired.lists {
            let (path, number) = (list.path.display(), list.number);
            out.line(format_args!("  {path}  written by {}, number {number}", list.signer))?;
        }
        if retired.is_refused == Some(true) {
            out.line(format_args!("  {GOOD}refused{GOOD:#}  what it issued"))?;
        }
    }
    if retired.is_refused == Some(false) {
        out.error("it was retired, and what it issued is still accepted: do not rely on it");
        return Ok(Outcome::No);
    }
    out.say(format_args!("give every consumer {} as they are now", files(store)));
    for key in &retired.keys {
        out.hint(format_args!("its key is of no more use: shred -u {}", key.display()));
    }
    Ok(Outcome::Yes)
}

/// The files for everybody.
fn files(store: &AuthorityStore) -> String {
    let of = |level: Level| {
        format!("{} and {}", store.certificate_path(level).display(), store.crl_path(level).display())
    };
    store.levels().into_iter().map(of).collect::<Vec<_>>().join(", ")
}
