//! `fedmsg ca revoke`

use super::{CliError, Outcome, Output, Place, read_argument};
use crate::cli::output::{BAD, GOOD};
use crate::identity::SpiffeId;
use crate::pki::authority::RevocationReason;
use crate::pki::chain::ChainError;
use crate::pki::pem;
use crate::pki::serial::Serial;
use crate::reason::ReasonCode;
use crate::store::authority::{Revocation, Target};
use crate::time::{Clock, SystemClock, Timestamp};
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
    /// A certificate's file, its serial number, or an identity or SERVICE-HOST: then all that the service has on that host.
    #[arg(value_name = "FILE|SERIAL|IDENTITY|SERVICE-HOST", required_unless_present = "issued_before")]
    target: Option<String>,
    /// Everything that services got before this time, and that is neither revoked nor expired.
    #[arg(long, value_name = "TIME", conflicts_with = "target")]
    issued_before: Option<Timestamp>,
    /// Why: key-compromise, superseded, cessation-of-operation, affiliation-changed, privilege-withdrawn, ca-compromise.
    ///
    /// A compromise makes earlier messages doubtful as well (see --invalid-since); the others do not. What was revoked for
    /// another reason can be revoked again as a compromise.
    #[arg(long, default_value = "unspecified")]
    reason: RevocationReason,
    /// Since when the key may have been known to somebody else (RFC 3339, such as 2026-11-24T00:00:00Z).
    #[arg(long, value_name = "TIME")]
    invalid_since: Option<Timestamp>,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    let target = match (&args.target, args.issued_before) {
        (Some(text), None) => target(text)?,
        (_, Some(time)) => Target::IssuedBefore(time),
        (None, None) => return Err(CliError::new("nothing was named to revoke")),
    };
    let revocations =
        store.revoke(&target, args.reason, args.invalid_since, now).map_err(|error| place.explain(error))?;
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
    let revocation = entry.revocation;
    if out.is_json() {
        out.object(&json!({
            "verdict": verdict_word,
            "reason": code,
            "detail": verdict.as_ref().err().map(ToString::to_string),
            "identity": entry.identity.as_ref().map(ToString::to_string),
            "name": entry.name,
            "serial": entry.serial.to_string(),
            "revoked_at": revocation.map(|revocation| revocation.at.to_string()),
            "revocation_reason": revocation.map(|revocation| revocation.reason.as_str()),
            "invalid_since": revocation.and_then(|revocation| revocation.invalid_since).map(|at| at.to_string()),
            "was_revoked": was_revoked,
            "crl": list.path,
            "crl_number": list.number,
            "next_update": list.next_update.to_string(),
        }))?;
        return Ok(());
    }
    let word = if *was_revoked { "revoked before" } else { "revoked" };
    let reason = revocation.map_or("unspecified", |revocation| revocation.reason.as_str());
    let since = revocation.and_then(|revocation| revocation.invalid_since);
    let since = since.map_or_else(String::new, |since| format!(", invalid since {since}"));
    out.line(format_args!("{name}  serial {}, {word} ({reason}{since})", entry.serial))?;
    let (path, number, entries) = (list.path.display(), list.number, list.entries);
    out.line(format_args!("  {path}  number {number}, {entries} revoked, next update {}", list.next_update))?;
    match verdict {
        Err(error) => out.line(format_args!("  {GOOD}refused{GOOD:#}  {}: {error}", error.code()))?,
        Ok(leaf) => out.line(format_args!("  {BAD}STILL ACCEPTED{BAD:#} until {}", leaf.valid_until()))?,
    }
    Ok(())
}

/// What is meant by an argument: an identity, a file, a serial number or a name.
pub(super) fn target(text: &str) -> Result<Target, CliError> {
    if text.starts_with("spiffe://") {
        return Ok(Target::Identity(text.parse::<SpiffeId>()?));
    }
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
