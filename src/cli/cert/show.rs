//! `fedmsg cert show`

use super::super::output::{BAD, DIM, GOOD, Output, STRONG, WARN};
use super::super::{CliError, Outcome};
use super::{certificates, now, read};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::time::Timestamp;
use anstyle::Style;
use serde::Serialize;
use std::path::PathBuf;

/// Show what certificates say, in PEM or DER. Nothing of it is checked: see `cert verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fedmsg cert show pki/services/shell-localhost.crt\n  \
                        fedmsg --json cert show pki/root.crt pki/issuing.crt")]
pub(super) struct Args {
    /// Files of one or more certificates.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<Outcome, CliError> {
    let at = now();
    let mut first = true;
    for file in &args.files {
        let bytes = read(file)?;
        let found =
            certificates(&bytes).map_err(|fault| CliError::new(format!("{}: {fault}", file.display())))?;
        for (index, certificate) in found.iter().enumerate() {
            let shown = Shown::new(&file.display().to_string(), certificate, at);
            if out.is_json() {
                out.object(&shown)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                out.line("")?;
            }
            let number = (found.len() > 1).then_some(index + 1);
            print(&shown, number, out)?;
        }
    }
    Ok(Outcome::Yes)
}

/// What is shown, on a terminal and as JSON alike.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    subject: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    validity: Validity,
    /// Seconds until it expires; negative if it has.
    seconds_left: i64,
    key: String,
    signature_algorithm: String,
    authority: bool,
    path_length: Option<u32>,
    key_usage: Option<Vec<&'static str>>,
    extended_key_usage: Option<Vec<String>>,
    /// The SPIFFE identity, if there is exactly one and it is well-formed.
    identity: Option<String>,
    /// Why there is none.
    identity_fault: Option<String>,
    common_name: Option<String>,
    sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Validity {
    Ageing,
    Expired,
    NotYetValid,
    Valid,
}

impl Shown {
    fn new(file: &str, certificate: &Certificate, at: Timestamp) -> Self {
        let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
        let identity = certificate.identity(IdentityRule::SpiffeUri);
        let constraints = certificate.basic_constraints();
        Self {
            file: file.to_owned(),
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial_hex(),
            not_before: not_before.to_string(),
            not_after: not_after.to_string(),
            validity: validity(not_before, not_after, at),
            seconds_left: not_after.seconds_since(at),
            key: certificate.key_kind().to_string(),
            signature_algorithm: certificate.signature_algorithm().to_owned(),
            authority: certificate.is_authority(),
            path_length: constraints.and_then(|constraints| constraints.path_length),
            key_usage: certificate.key_usage().map(|usage| usage.names().collect()),
            extended_key_usage: certificate.extended_key_usage().map(<[String]>::to_vec),
            identity_fault: identity.as_ref().err().map(ToString::to_string),
            identity: identity.ok().map(|identity| identity.to_string()),
            common_name: certificate.subject_cn().map(|name| name.escape_debug().to_string()),
            sha256: certificate.sha256_hex(),
        }
    }
}

/// From two thirds of its life on, a certificate wants to be renewed.
fn validity(not_before: Timestamp, not_after: Timestamp, at: Timestamp) -> Validity {
    if at < not_before {
        Validity::NotYetValid
    } else if at > not_after {
        Validity::Expired
    } else if at.seconds_since(not_before) * 3 >= not_after.seconds_since(not_before) * 2 {
        Validity::Ageing
    } else {
        Validity::Valid
    }
}

/// `number` is that of the certificate in its file, if there are several.
fn print(shown: &Shown, number: Option<usize>, out: &mut Output) -> Result<(), CliError> {
    let none = || format!("{DIM}none{DIM:#}");
    let (style, left) = left(shown);
    let identity = match (&shown.identity, &shown.identity_fault) {
        (Some(identity), _) => identity.clone(),
        (None, _) if shown.authority => format!("{DIM}none: an authority{DIM:#}"),
        (None, Some(fault)) => format!("{WARN}none{WARN:#}: {fault}"),
        (None, None) => none(),
    };
    let authority = match (shown.authority, shown.path_length) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(length)) => format!("yes, with at most {length} authorities below it"),
    };
    let number = number.map_or_else(String::new, |number| format!(", certificate {number}"));
    out.line(format_args!("{STRONG}{}{STRONG:#}{number}", shown.file))?;
    for (name, value) in [
        ("subject", or_none(&shown.subject)),
        ("issuer", or_none(&shown.issuer)),
        ("serial", shown.serial.clone()),
        ("valid", format!("{} to {}, {style}{left}{style:#}", shown.not_before, shown.not_after)),
        ("key", shown.key.clone()),
        ("authority", authority),
        ("key usage", shown.key_usage.as_ref().map_or_else(none, |usages| usages.join(", "))),
        ("purpose", shown.extended_key_usage.as_ref().map_or_else(none, |oids| purposes(oids))),
        ("identity", identity),
        ("sha256", shown.sha256.clone()),
    ] {
        out.line(format_args!("  {DIM}{name:<10}{DIM:#} {value}"))?;
    }
    Ok(())
}

fn or_none(name: &str) -> String {
    if name.is_empty() { format!("{DIM}none{DIM:#}") } else { name.to_owned() }
}

fn left(shown: &Shown) -> (Style, String) {
    let span = duration(shown.seconds_left.unsigned_abs());
    match shown.validity {
        Validity::Ageing => (WARN, format!("{span} left: renew it")),
        Validity::Expired => (BAD, format!("expired {span} ago")),
        Validity::NotYetValid => (BAD, "not valid yet".to_owned()),
        Validity::Valid => (GOOD, format!("{span} left")),
    }
}

/// The two largest units of a span.
fn duration(seconds: u64) -> String {
    let units = [("year", 31_536_000), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, length) in units {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}

fn purposes(oids: &[String]) -> String {
    let name = |oid: &String| {
        let known = match oid.as_str() {
            "2.5.29.37.0" => "any",
            "1.3.6.1.5.5.7.3.1" => "serverAuth",
            "1.3.6.1.5.5.7.3.2" => "clientAuth",
            "1.3.6.1.5.5.7.3.3" => "codeSigning",
            "1.3.6.1.5.5.7.3.36" => "documentSigning",
            "1.3.6.1.5.5.7.3.41" => "configSigning",
            _ => return oid.clone(),
        };
        format!("{known} ({oid})")
    };
    oids.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_two_units() {
        for (seconds, text) in [
            (0, "no time"),
            (1, "1 second"),
            (61, "1 minute 1 second"),
            (86_400 * 90, "90 days"),
            (86_400 * 366 + 3_600, "1 year 1 day"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
