//! `fedmsg ca log`

use super::{CliError, Outcome, Output, Place};
use crate::cli::output::{BAD, DIM, GOOD};
use crate::store::authority::LogEntry;
use crate::time::{Clock, SystemClock};
use serde_json::{Value, json};

/// Show the issuance log: who did what, when, to which certificate, on which request; or verify it.
///
/// Each entry has a hash over the one before it: SHA-256 of "fedmsg authority log v1", a zero byte, the hash before (32 zero
/// bytes for the first) and the record's text. Remember the last hash somewhere else, and nothing before it can be changed
/// unnoticed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(VerifyArgs),
}

/// Verify every hash, and the inventory against the log. Exit 0 if all is well, 1 if something was changed.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// A hash that the log had once, and must still have: only that shows that its end was not cut off.
    #[arg(long, value_name = "HASH")]
    contains: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let store = place.open_and_recover(SystemClock.now(), out)?;
    if let Some(Command::Verify(args)) = &args.command {
        let remembered = args.contains.as_deref().map(hash).transpose()?;
        let verdict = store.verify_log(remembered).map_err(|error| place.explain(error))?;
        return match verdict {
            Ok(log) => {
                let (entries, certificates, head) = (log.entries(), log.certificates(), hex(&log.head()));
                if out.is_json() {
                    out.object(&json!({
                        "verdict": "verified", "entries": entries, "certificates": certificates, "head": head,
                    }))?;
                } else {
                    out.line(format_args!(
                        "{GOOD}verified{GOOD:#}  {entries} entries, {certificates} certificates, head {head}"
                    ))?;
                }
                Ok(Outcome::Yes)
            }
            Err(fault) => {
                if out.is_json() {
                    out.object(&json!({ "verdict": "tampered", "detail": fault.to_string() }))?;
                } else {
                    out.line(format_args!("{BAD}tampered{BAD:#}  {fault}"))?;
                }
                Ok(Outcome::No)
            }
        };
    }
    for entry in store.log().map_err(|error| place.explain(error))? {
        show(&entry, out)?;
    }
    Ok(Outcome::Yes)
}

fn show(entry: &LogEntry, out: &mut Output) -> Result<(), CliError> {
    let record: Value = serde_json::from_str(&entry.record).unwrap_or_default();
    if out.is_json() {
        out.object(&json!({
            "number": entry.number, "hash": hex(&entry.hash), "record": record, "text": entry.record,
        }))?;
        return Ok(());
    }
    let text = |name: &str| match &record[name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let said = |name: &str| text(name).unwrap_or_default();
    let mut line = format!("{:>5}  {}  {}  {}", entry.number, said("at"), said("who"), said("what"));
    for name in [text("identity").or_else(|| text("name")), text("serial")].into_iter().flatten() {
        line.push_str("  ");
        line.push_str(&name);
    }
    for name in ["reason", "invalid_since", "crl_number", "revoked", "request"] {
        if let Some(value) = text(name) {
            line.push_str(&format!("  {}={value}", name.replace('_', "-")));
        }
    }
    Ok(out.line(format_args!("{line}  {DIM}{:.16}{DIM:#}", hex(&entry.hash)))?)
}

fn hash(text: &str) -> Result<[u8; 32], CliError> {
    let wrong = || CliError::new(format_args!("`{text}` is no hash: expected 64 hexadecimal digits"));
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
