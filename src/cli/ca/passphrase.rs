//! `fedmsg ca passphrase`

use super::rollover::LevelArg;
use super::secret::{self, Passphrases, undecided};
use super::{CliError, Outcome, Output, Place};
use crate::store::authority::{AuthorityId, KeyProtection, KeyState, Level, Which};
use crate::time::{Clock, SystemClock};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Change, set or remove the passphrase of an authority's key.
///
/// The key's file is replaced at once: it can be read with the old passphrase until then, and with the new one afterwards. Copies
/// of the old file, backups among them, can still be read with the old one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose key.
    #[arg(value_enum, value_name = "AUTHORITY")]
    authority: LevelArg,
    /// Which one of the level, where a rollover has made several. [default: the one that issues]
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Read the new passphrase from this file: one line, mode 0600.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this file descriptor: one line.
    #[arg(long, value_name = "N", conflicts_with = "new_passphrase_file")]
    new_passphrase_fd: Option<u32>,
    /// Remove the passphrase: whoever can read the file can issue.
    #[arg(long, conflicts_with_all = ["new_passphrase_file", "new_passphrase_fd"])]
    unencrypted: bool,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let mut store = place.open_and_recover(SystemClock.now(), out)?;
    let level = Level::from(args.authority);
    if store.certificate(level).is_none() {
        return Err(CliError::new(format_args!(
            "there is no {level} authority in {}: the root issues",
            place.directory().display()
        )));
    }
    let new = secret::Place::of(args.new_passphrase_file.as_deref(), args.new_passphrase_fd);
    let protection = if args.unencrypted {
        KeyProtection::Unencrypted
    } else {
        let source = Passphrases::only(new);
        if !source.can_answer() {
            let error = CliError::new("no new passphrase was given, and there is no terminal to ask at");
            return Err(error
                .hint("--new-passphrase-file FILE or --new-passphrase-fd N gives it")
                .hint("--unencrypted removes the passphrase"));
        }
        KeyProtection::Encrypted(Arc::new(source))
    };
    let which = args
        .generation
        .map_or(Which::Active(level), |generation| Which::One(AuthorityId { level, generation }));
    let before = store.key_state(which).map_err(|error| place.explain(error))?;
    let path = store.protect_key(which, &protection).map_err(|error| place.explain(error))?;
    let is_encrypted = !args.unencrypted;
    if out.is_json() {
        out.object(&json!({ "authority": level.as_str(), "key": path, "encrypted": is_encrypted }))?;
    } else {
        let done = match (before, is_encrypted) {
            (KeyState::Encrypted, true) => "has a new passphrase",
            (KeyState::Away | KeyState::Unencrypted, true) => "has a passphrase",
            (_, false) => "has no passphrase",
        };
        out.line(format_args!("{}  {done}", path.display()))?;
    }
    if before == KeyState::Encrypted {
        out.hint(
            "copies of the old file can still be read with the old passphrase: destroy them, backups too",
        );
    }
    Ok(Outcome::Yes)
}

/// How the keys of a new authority are to be kept: as the arguments say, and never by default.
pub(super) fn protection(unencrypted: bool, place: &Place, what: &str) -> Result<KeyProtection, CliError> {
    let source = place.passphrases(true);
    if unencrypted && source.is_named() {
        return Err(CliError::new("--unencrypted and a passphrase contradict each other"));
    }
    if unencrypted {
        return Ok(KeyProtection::Unencrypted);
    }
    if source.can_answer() { Ok(KeyProtection::Encrypted(source)) } else { Err(undecided(what)) }
}
