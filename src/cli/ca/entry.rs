//! What `list`, `show` and `export` share: which certificates are meant, and how one is told in JSON.

use super::CliError;
use crate::store::authority::{Entry, State};
use crate::time::Timestamp;
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// Which certificates.
#[derive(Debug, clap::Args)]
pub(super) struct EntryFilter {
    /// Only those that stand so; can be given several times.
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateArg>,
    /// Only those that end within this time and are not revoked, such as 30d, 12h or 4w.
    #[arg(long, value_name = "TIME")]
    within: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    /// Nothing is wrong with it.
    Valid,
    /// Two thirds of its life have passed.
    Expiring,
    /// Its last day has passed.
    Expired,
    /// Its issuer's list names it.
    Revoked,
}

/// A length of time, in seconds: a number and `s`, `m`, `h`, `d` or `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(i64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no length of time; 30d, 12h and 4w are");
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) | None => return Err(wrong()),
        };
        let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        Ok(Self(i64::from(count) * unit))
    }
}

impl Span {
    pub(super) fn seconds(self) -> i64 {
        self.0
    }
}

impl EntryFilter {
    pub(super) fn takes(&self, entry: &Entry, now: Timestamp) -> bool {
        let state = match entry.state(now) {
            State::Expired => StateArg::Expired,
            State::Expiring => StateArg::Expiring,
            State::Revoked => StateArg::Revoked,
            State::Valid => StateArg::Valid,
        };
        let is_of_state = self.state.is_empty() || self.state.contains(&state);
        let ends = |span: Span| {
            matches!(state, StateArg::Valid | StateArg::Expiring)
                && entry.not_after <= now.plus_seconds(span.seconds())
        };
        is_of_state && self.within.is_none_or(ends)
    }
}

/// One certificate as a JSON object.
pub(super) fn object(entry: &Entry, now: Timestamp) -> Map<String, Value> {
    let revocation = entry.revocation;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("state", json!(entry.state(now).as_str()));
    put("name", json!(entry.name));
    put("identity", json!(entry.identity.as_ref().map(ToString::to_string)));
    put("serial", json!(entry.serial.to_string()));
    put("issuer", json!(entry.issuer.level.as_str()));
    put("issuer_generation", json!(entry.issuer.generation));
    put("issued_at", json!(entry.issued_at.to_string()));
    put("not_before", json!(entry.not_before.to_string()));
    put("not_after", json!(entry.not_after.to_string()));
    put("revoked_at", json!(revocation.map(|revocation| revocation.at.to_string())));
    put("revocation_reason", json!(revocation.map(|revocation| revocation.reason.as_str())));
    let since = revocation.and_then(|revocation| revocation.invalid_since);
    put("invalid_since", json!(since.map(|since| since.to_string())));
    object
}

/// The certificate in PEM.
pub(super) fn pem(entry: &Entry) -> Result<String, CliError> {
    Ok(entry.to_pem()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        for (text, seconds) in [("30d", 30 * 86_400), ("12h", 43_200), ("4w", 28 * 86_400), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().map(Span::seconds), Ok(seconds));
        }
        for text in ["", "d", "30", "-1d", "1.5h", "30 d", "9999999999d", "1é"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
