//! How a message is shown: the same from `tail`, `verify` and whatever else prints one.

use super::output::{BAD, DIM, GOOD, STRONG};
use crate::endpoint::Endpoint;
use crate::message::{Malformed, Unverified};
use crate::policy::Edition;
use crate::verify::{Rejected, Verified};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;

/// One message with its verdict, as `--json` writes it: one object a line, the same fields everywhere.
#[derive(Debug, Serialize)]
pub(super) struct Verdict<'a> {
    verdict: &'static str,
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    signer: Option<String>,
    topic: Option<&'a str>,
    msg_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyEdition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// `replayed` for one that was missed and asked for; a live one says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    /// As it was signed; of what would not be one line of text, the white space and escapes are not.
    msg: Option<&'a RawValue>,
}

/// Which state of the policy it was.
#[derive(Debug, Serialize)]
struct PolicyEdition {
    serial: u64,
    digest: String,
}

impl From<Edition> for PolicyEdition {
    fn from(edition: Edition) -> Self {
        Self { serial: edition.serial, digest: edition.digest_hex() }
    }
}

impl<'a> Verdict<'a> {
    /// A message that was verified.
    pub(super) fn verified(message: &'a Verified) -> Self {
        Self {
            verdict: "verified",
            reason: None,
            detail: None,
            signer: Some(message.signer().to_string()),
            topic: Some(message.topic().as_str()),
            msg_id: Some(message.msg_id().to_string()),
            timestamp: Some(message.timestamp().to_string()),
            username: Some(message.username()).filter(|name| !name.is_empty()),
            rule: message.grant().rule().map(|rule| rule.id().to_owned()),
            policy: Some(message.grant().edition().into()),
            line: None,
            endpoint: None,
            origin: None,
            msg: message.decode().ok(),
        }
    }

    /// A message that was refused. What it says of itself is a claim; its signer is named only if the signature was good.
    pub(super) fn rejected(message: &'a Rejected) -> Self {
        let (claimed, denial) = (message.claimed(), message.denial());
        Self {
            verdict: "rejected",
            reason: Some(message.code().as_str()),
            detail: Some(message.reason().to_string()),
            signer: message.signer().map(ToString::to_string),
            topic: claimed.map(|m| m.claimed_topic().as_str()),
            msg_id: claimed.map(|m| m.claimed_msg_id().to_string()),
            timestamp: claimed.map(|m| m.claimed_timestamp().to_string()),
            username: None,
            rule: denial.and_then(|denial| denial.rule()).map(|rule| rule.id().to_owned()),
            policy: denial.map(|denial| denial.edition().into()),
            line: None,
            endpoint: None,
            origin: None,
            msg: claimed.and_then(|m| serde_json::from_str(m.claimed_msg()).ok()),
        }
    }

    /// A message that nobody looked into (`tail --unverified`).
    pub(super) fn unverified(message: &'a Unverified) -> Self {
        Self {
            verdict: "unverified",
            reason: None,
            detail: None,
            signer: None,
            topic: Some(message.claimed_topic().as_str()),
            msg_id: Some(message.claimed_msg_id().to_string()),
            timestamp: Some(message.claimed_timestamp().to_string()),
            username: None,
            rule: None,
            policy: None,
            line: None,
            endpoint: None,
            origin: None,
            msg: serde_json::from_str(message.claimed_msg()).ok(),
        }
    }

    /// What has not even the form of a message.
    pub(super) fn malformed(malformed: &'a Malformed) -> Self {
        Self {
            verdict: "rejected",
            reason: Some(malformed.error.code().as_str()),
            detail: Some(malformed.error.to_string()),
            signer: None,
            topic: None,
            msg_id: None,
            timestamp: None,
            username: None,
            rule: None,
            policy: None,
            line: None,
            endpoint: None,
            origin: None,
            msg: None,
        }
    }

    /// With the endpoint it came from.
    pub(super) fn from(mut self, endpoint: &Endpoint) -> Self {
        self.endpoint = Some(endpoint.to_string());
        self
    }

    /// Marked as one that was missed, and asked for.
    pub(super) fn replayed(mut self) -> Self {
        self.origin = Some("replayed");
        self
    }

    /// With the line of the file it came from, from 1.
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Verdict<'_> {
    /// For people: one line, coloured where the stream is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{DIM}{line}:{DIM:#} ")?;
        }
        let colour = if self.verdict == "verified" { GOOD } else { BAD };
        write!(f, "{colour}{}{colour:#}", self.verdict)?;
        if let Some(origin) = self.origin {
            write!(f, " {DIM}{origin}{DIM:#}")?;
        }
        if let Some(reason) = self.reason {
            write!(f, " {BAD}{reason}{BAD:#}")?;
        }
        if let Some(time) = &self.timestamp {
            write!(f, " {DIM}{time}{DIM:#}")?;
        }
        if let Some(topic) = self.topic {
            write!(f, " {STRONG}{topic}{STRONG:#}")?;
        }
        if let Some(signer) = &self.signer {
            write!(f, " {DIM}by {signer}{DIM:#}")?;
        }
        if let Some(detail) = &self.detail {
            return write!(f, " ({})", printable(detail));
        }
        if let Some(msg) = self.msg {
            write!(f, " {}", printable(msg.get()))?;
        }
        Ok(())
    }
}

/// What came from outside must not speak to the terminal: control characters are shown, not sent.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(super::printable("a\u{1b}[2Jb\u{9b}é"), "a\\u{1b}[2Jb\\u{9b}é");
    }
}
