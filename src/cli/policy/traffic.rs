//! Recorded traffic.

use crate::cli::CliError;
use crate::limits::Limits;
use crate::topic::Topic;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

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
