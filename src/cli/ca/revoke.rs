//! `fedmsg ca revoke`

use super::{CliError, Outcome, Output, Place, read_argument};
use crate::cli::output::{BAD, GOOD};
use crate::pki::authority::RevocationReason;
use crate::pki::chain::ChainError;
use crate::pki::pem;
use crate::pki::serial::Serial;
use crate::reason::ReasonCode;
use crate::store::authority::{Revocation, Target};
use crate::time::{Clock, SystemClock};
use serde_json::json;
use std::path::Path;

/// The fewest hexadecimal digits that are taken for a serial number: ours have 31 or 32.
const MIN_SERIAL_DIGITS: usize = 16;

/// Revoke a certificate, and see that it is refused.
///
/// Writes the revocation list that names it, and then validates the certificate as a consumer does who has the new list.
/// Exit 0 if it is refused, 1 if it were not.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A certificate's file, its serial number, or SERVICE-HOST: then all that the service has on that host.
    #[arg(value_name = "SERVICE-HOST|SERIAL|FILE")]
    target: String,
    /// Why: key-compromise, superseded, cessation-of-operation, affiliation-changed, privilege-withdrawn, ca-compromise.
    #[arg(long, default_value = "unspecified")]
    reason: RevocationReason,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let mut store = place.open()?;
    let target = target(&args.target)?;
    let revocations =
        store.revoke(&target, args.reason, SystemClock.now()).map_err(|error| place.explain(error))?;
    let mut outcome = Outcome::Yes;
    for revocation in &revocations {
        show(revocation, out)?;
        match &revocation.verdict {
            Ok(_) => outcome = Outcome::No,
            Err(error) if is_plain(error) => {}
            // Refused, but nobody can say that it is for the revocation: a stale list of the root, most likely.
            Err(error) => {
                out.warn(format_args!("it is refused for another reason than its revocation: {error}"));
                out.hint(place.command("ca crl"));
            }
        }
    }
    if outcome == Outcome::No {
        out.error("the revocation was written, and the certificate is still accepted: do not rely on it");
    } else {
        out.hint("give every consumer the new list: without it they accept the certificate until their own runs out");
    }
    Ok(outcome)
}

fn show(revocation: &Revocation, out: &mut Output) -> Result<(), CliError> {
    let Revocation { entry, was_revoked, list, verdict } = revocation;
    let name = entry.identity.as_ref().map_or_else(|| entry.name.clone(), ToString::to_string);
    let (verdict_word, code) = match verdict {
        Ok(_) => ("verified", None),
        Err(error) => ("rejected", Some(error.code().as_str())),
    };
    let (at, reason) = entry.revocation.map_or((None, None), |(at, reason)| (Some(at), Some(reason)));
    if out.is_json() {
        out.object(&json!({
            "verdict": verdict_word,
            "reason": code,
            "detail": verdict.as_ref().err().map(ToString::to_string),
            "identity": entry.identity.as_ref().map(ToString::to_string),
            "name": entry.name,
            "serial": entry.serial.to_string(),
            "revoked_at": at.map(|at| at.to_string()),
            "revocation_reason": reason.map(|reason| reason.as_str()),
            "was_revoked": was_revoked,
            "crl": list.path,
            "crl_number": list.number,
            "next_update": list.next_update.to_string(),
        }))?;
        return Ok(());
    }
    let word = if *was_revoked { "revoked before" } else { "revoked" };
    let reason = reason.map_or("unspecified", RevocationReason::as_str);
    out.line(format_args!("{name}  serial {}, {word} ({reason})", entry.serial))?;
    let (path, number, entries) = (list.path.display(), list.number, list.entries);
    out.line(format_args!("  {path}  number {number}, {entries} revoked, next update {}", list.next_update))?;
    match verdict {
        Err(error) => out.line(format_args!("  {GOOD}refused{GOOD:#}  {}: {error}", error.code()))?,
        Ok(leaf) => out.line(format_args!("  {BAD}STILL ACCEPTED{BAD:#} until {}", leaf.valid_until()))?,
    }
    Ok(())
}

fn target(text: &str) -> Result<Target, CliError> {
    let path = Path::new(text);
    if text.contains('/') || path.is_file() {
        let chain = pem::certificates(&read_argument(path)?)
            .map_err(|error| CliError::new(format_args!("{}: {error}", path.display())))?;
        // Those after it are its issuers.
        let first = chain.into_iter().next().ok_or_else(|| CliError::new("an empty file"))?;
        return Ok(Target::Certificate(first.der().to_vec()));
    }
    let digits = text.chars().filter(|c| *c != ':').count();
    match text.parse::<Serial>() {
        Ok(serial) if digits >= MIN_SERIAL_DIGITS => Ok(Target::Serial(serial)),
        Ok(_) | Err(_) => Ok(Target::Name(text.to_owned())),
    }
}

fn is_plain(error: &ChainError) -> bool {
    matches!(
        error.code(),
        ReasonCode::CertificateRevoked | ReasonCode::IssuerRevoked | ReasonCode::CertificateExpired
    )
}
