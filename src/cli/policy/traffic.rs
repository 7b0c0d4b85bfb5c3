//! Recorded traffic.

use crate::cli::output::Output;
use crate::cli::verify::At;
use crate::cli::{CliError, Global, config};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::message::Unverified;
use crate::policy::danger;
use crate::store::trust::TrustFiles;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::verify::Verifier;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

/// The distinct topics that a file names: one topic a line, or JSON lines with a `topic`: bodies, or verdicts of
/// `tail` and `verify`, of which those count that say `verified`.
///
/// Nothing is verified, which is enough to ask whether a topic was ever heard of.
pub(super) fn topics(path: &Path, limits: &Limits) -> Result<Vec<Topic>, CliError> {
    let mut topics = BTreeSet::new();
    for_each_line(path, |line, text| {
        let named = if text.starts_with('{') {
            let object: Value = serde_json::from_str(text).map_err(|e| fault(path, line, e))?;
            if object.get("verdict").is_some_and(|verdict| verdict != "verified") {
                return Ok(());
            }
            let topic = object.get("topic").and_then(Value::as_str);
            topic.ok_or_else(|| fault(path, line, "no `topic`"))?.to_owned()
        } else {
            text.to_owned()
        };
        topics.insert(Topic::parse(&named, limits).map_err(|e| fault(path, line, e))?);
        Ok(())
    })?;
    Ok(topics.into_iter().collect())
}

/// As of when recorded bodies are verified.
#[derive(Debug, clap::Args)]
pub(super) struct AsOf {
    /// Verify bodies as of this time, or `message`: as of each message's own timestamp, for traffic older than the
    /// certificates and revocation lists of today. (Default: now.)
    #[arg(long, value_name = "RFC3339|message", default_value = "now", hide_default_value = true)]
    verified_at: At,
}

/// A message whose signer is known, and its own time.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) topic: Topic,
    pub(super) signer: Identity,
    pub(super) at: Timestamp,
}

/// What became of the lines of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    pub(super) used: usize,
    /// Bodies that did not verify, and verdicts that are not `verified`.
    pub(super) refused: usize,
}

/// Calls `each` for the messages of a file, one a line, that are authentic.
///
/// A body is verified by the configuration's trust, and by no policy: it is policies that are asked about. A verdict line of
/// `tail --json` or `verify --json` is somebody's word that it was; it counts where `believe` says so.
pub(super) fn for_each_message(
    path: &Path,
    as_of: &AsOf,
    believe: bool,
    global: &Global,
    out: &mut Output,
    mut each: impl FnMut(Recorded),
) -> Result<Lines, CliError> {
    let mut lines = Lines::default();
    let mut verifier: Option<Verifier> = None;
    for_each_line(path, |line, text| {
        let recorded = match verdict(text) {
            Some(_) if !believe => {
                return Err(fault(
                    path,
                    line,
                    "a verdict, not a message: it is somebody's word that it was verified",
                )
                .hint("give the bodies as they were received, or --believe-verdicts if the file is yours"));
            }
            Some(object) if object.get("verdict").is_some_and(|verdict| verdict == "verified") => {
                Some(believed(&object).ok_or_else(|| {
                    fault(path, line, "a verdict without a topic, signer and timestamp that are well formed")
                })?)
            }
            Some(_) => None,
            None => {
                let verifier = match &mut verifier {
                    Some(verifier) => verifier,
                    none => none.insert(by_the_configuration(global, out)?),
                };
                verified(verifier, text, as_of.verified_at)
            }
        };
        match recorded {
            Some(recorded) => {
                lines.used += 1;
                each(recorded);
            }
            None => lines.refused += 1,
        }
        Ok(())
    })?;
    Ok(lines)
}

/// The line as a verdict, if it is one: a message has a proof or, of the old kind, a certificate.
fn verdict(text: &str) -> Option<Value> {
    let object: Value = serde_json::from_str(text).ok()?;
    let has = |key| object.get(key).is_some();
    (has("verdict") && !has("proof") && !has("certificate")).then_some(object)
}

fn believed(object: &Value) -> Option<Recorded> {
    let text = |key| object.get(key).and_then(Value::as_str);
    Some(Recorded {
        topic: Topic::parse(text("topic")?, &Limits::STANDARD).ok()?,
        signer: text("signer")?.parse().ok()?,
        at: text("timestamp")?.parse().ok()?,
    })
}

fn verified(verifier: &Verifier, text: &str, at: At) -> Option<Recorded> {
    let message = Unverified::parse_body(text.as_bytes().to_vec().into(), verifier.limits()).ok()?;
    let at = at.of(&message);
    let message = verifier.verify(message, at).ok()?;
    let (topic, signer, at) = (message.topic().clone(), message.signer().clone(), message.timestamp());
    Some(Recorded { topic, signer, at })
}

fn by_the_configuration(global: &Global, out: &mut Output) -> Result<Verifier, CliError> {
    let config = config::load(global, out, &[])?;
    let trust = TrustFiles::load(&config).map_err(config::trust)?;
    Ok(trust.into_verifier(Arc::new(danger::allow_everything()), config.limits.to_limits()))
}

/// Calls `each` with the number (from 1) and the text of each line that is not blank.
pub(super) fn for_each_line(
    path: &Path,
    mut each: impl FnMut(usize, &str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let failed = |e: io::Error| CliError::new(format_args!("{}: {e}", path.display()));
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    for (number, text) in input.lines().enumerate() {
        let text = text.map_err(failed)?;
        let text = text.trim();
        if !text.is_empty() {
            each(number + 1, text)?;
        }
    }
    Ok(())
}

/// What is wrong with a line.
pub(super) fn fault(path: &Path, line: usize, what: impl std::fmt::Display) -> CliError {
    CliError::new(format_args!("{}:{line}: {what}", path.display()))
}
