//! `fedmsg policy status`

use super::hex;
use crate::cli::output::{BAD, DIM, GOOD, Output, WARN};
use crate::cli::{CliError, Global, Outcome, config};
use crate::policy::Edition;
use crate::store::policy::{
    ConsumerStatus, PolicyFileError, PolicyFiles, Remembered, StatusError, StatusRefusal,
};
use crate::time::{Clock, SystemClock};
use serde_json::{Value, json};

/// Show which policy the files hold, who signed it, and which one each running consumer goes by.
///
/// Consumers that have a name (`fedmsg tail --name NAME`) say how they are doing in the directory of freshness.state, once a second.
///
/// Exit 0: all of them go by what is in the files. Exit 1: the files are refused, or a consumer goes by another policy, or nobody
/// vouches for the one that it goes by.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let config = config::load(global, out, &[])?;
    let (files, now) = (PolicyFiles::of(&config), SystemClock.now());
    let in_files = InFiles::read(&files, now);
    let candidate = files.read_candidate().map(|candidate| candidate.map(|policy| policy.edition()));
    let consumers = match &config.freshness.state {
        Some(state) => ConsumerStatus::read_all(state.path())?,
        None => Vec::new(),
    };
    let remembered = files.remembered().map(Remembered::edition).transpose();
    let mut well = in_files.edition.is_ok() && candidate.is_ok() && remembered.is_ok();
    if out.is_json() {
        let mut object = in_files.object();
        object["candidate"] = candidate.as_ref().ok().and_then(Option::as_ref).map(edition).into();
        object["candidate_refusal"] = candidate.as_ref().err().map(ToString::to_string).into();
        object["remembered"] =
            remembered.as_ref().ok().and_then(|r| r.flatten()).as_ref().map(edition).into();
        out.object(&object)?;
    } else {
        in_files.print(out)?;
        match &candidate {
            Ok(None) => {}
            Ok(Some(candidate)) => out.line(format_args!("candidate   {candidate}"))?,
            Err(error) => out.line(format_args!("candidate   {BAD}refused{BAD:#}: {error}"))?,
        }
        match &remembered {
            Ok(None | Some(None)) => {}
            Ok(Some(Some(last))) => out.line(format_args!("remembered  {last}"))?,
            Err(error) => out.line(format_args!("remembered  {BAD}unknown{BAD:#}: {error}"))?,
        }
    }
    for consumer in &consumers {
        well &= show(consumer, in_files.edition.as_ref().ok(), out)?;
    }
    if consumers.is_empty() {
        out.say("no consumer has said how it is doing (`fedmsg tail --name NAME` does)");
    }
    Ok(if well { Outcome::Yes } else { Outcome::No })
}

/// What the files hold, as a program that starts now would find it.
struct InFiles {
    edition: Result<Edition, PolicyFileError>,
    /// Who signed it, or that nobody did.
    signature: String,
    signed: Value,
}

impl InFiles {
    fn read(files: &PolicyFiles, now: crate::time::Timestamp) -> Self {
        let read = files.read(now);
        let endorsement = match &read {
            Ok(admitted) => admitted.endorsement().cloned().map(Ok).or_else(|| files.optional_signature(now)),
            Err(_) => None,
        };
        let (signature, signed) = match endorsement {
            Some(Ok(endorsement)) => (endorsement.to_string(), super::endorsed(&endorsement)),
            Some(Err(error)) => (
                format!("not good, and not required: {error}"),
                json!({"ok": false, "message": error.to_string()}),
            ),
            None if read.is_err() => ("-".to_owned(), Value::Null),
            None => ("not signed, and not required (policy.require_signature)".to_owned(), Value::Null),
        };
        Self { edition: read.map(|admitted| admitted.policy().edition()), signature, signed }
    }

    fn object(&self) -> Value {
        json!({
            "kind": "files", "ok": self.edition.is_ok(), "serial": self.edition.as_ref().ok().map(|e| e.serial),
            "digest": self.edition.as_ref().ok().map(|e| hex(&e.digest)), "signature": self.signed,
            "refusal": self.edition.as_ref().err().map(ToString::to_string),
        })
    }

    fn print(&self, out: &mut Output) -> std::io::Result<()> {
        match &self.edition {
            Ok(edition) => out.line(format_args!("files       {edition}"))?,
            Err(error) => out.line(format_args!("files       {BAD}refused{BAD:#}: {error}"))?,
        }
        out.line(format_args!("signature   {}", self.signature))
    }
}

fn edition(edition: &Edition) -> Value {
    json!({"serial": edition.serial, "digest": hex(&edition.digest)})
}

/// Shows one consumer, and says whether it is well.
fn show(
    consumer: &Result<ConsumerStatus, StatusError>,
    in_files: Option<&Edition>,
    out: &mut Output,
) -> Result<bool, CliError> {
    let status = match consumer {
        Ok(status) => status,
        Err(error) => {
            if out.is_json() {
                out.object(&json!({"kind": "consumer", "ok": false, "message": error.to_string()}))?;
            } else {
                out.line(format_args!("consumer    {BAD}unreadable{BAD:#}: {error}"))?;
            }
            return Ok(false);
        }
    };
    let goes_by = match in_files {
        _ if !status.is_running => "ended",
        None => "unknown",
        Some(edition) if edition.digest_hex() == status.digest => "current",
        Some(edition) if status.serial < edition.serial => "older",
        Some(edition) if status.serial > edition.serial => "newer",
        Some(_) => "other",
    };
    let vouched = status.lapse.is_none();
    // What ended without a word is told, and judges nothing any more.
    let well = !status.is_running || (goes_by == "current" && vouched && status.refusal.is_none());
    if out.is_json() {
        let mut object = serde_json::to_value(status)?;
        object["kind"] = "consumer".into();
        object["ok"] = well.into();
        object["running"] = status.is_running.into();
        object["goes_by"] = goes_by.into();
        out.object(&object)?;
        return Ok(well);
    }
    let (name, pid, serial) = (&status.name, status.pid, status.serial);
    if !status.is_running {
        let written = &status.written;
        out.line(format_args!(
            "consumer    {name}  {DIM}ended without a word; last heard of at {written}{DIM:#}"
        ))?;
        return Ok(well);
    }
    let style = if well { GOOD } else { WARN };
    out.line(format_args!(
        "consumer    {name}  pid {pid}  serial {serial}  {style}{goes_by}{style:#}  since {}",
        status.since
    ))?;
    if let (Some(signer), Some(until)) = (&status.signed_by, &status.signed_until) {
        out.line(format_args!("            signed by {signer}, until {until}"))?;
    }
    let said = |what: &str, refusal: &Option<StatusRefusal>| {
        refusal.as_ref().map(|StatusRefusal { at, reason }| format!("{what} at {at}: {reason}"))
    };
    for line in [
        said("not vouched for any more", &status.lapse),
        said("refused the files", &status.refusal),
        said("refused the candidate", &status.candidate_refusal),
    ]
    .into_iter()
    .flatten()
    {
        out.line(format_args!("            {BAD}{line}{BAD:#}"))?;
    }
    let refused: u64 = status.rejected.values().sum();
    let differences: u64 = status.differences.values().sum();
    out.line(format_args!(
        "            {} delivered, {refused} refused; {} policies replaced, {} refused; {differences} differences by shadows",
        status.delivered, status.replaced, status.refused
    ))?;
    Ok(well)
}
