//! `fedmsg ca issue`

use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::pki::key::KeyKind;
use crate::pki::profile::ProfileName;
use crate::store::authority::{IssueRequest, Level};
use crate::time::{Clock, SystemClock};
use serde_json::json;
use std::path::PathBuf;

/// Issue a certificate and a key to a service.
///
/// They are written to pki/services/SERVICE-HOST.crt (the certificate and its issuers) and SERVICE-HOST.key (mode 0600).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service: the third part of its identity.
    service: String,
    /// The host it runs on: the fourth.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The environment: the second.
    #[arg(long, default_value = "dev")]
    env: String,
    /// What it is for: service, gateway, archive or operator.
    #[arg(long, value_name = "NAME", default_value = "service")]
    profile: ProfileName,
    /// How many days it is to live. [default: 90, by the profile]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// The kind of its key: p256 or ed25519. [default: p256, by the profile]
    #[arg(long, value_name = "KIND")]
    key_kind: Option<KeyKind>,
    /// Write to this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace a certificate and key of the same identity that are still good.
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(args: Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    let request = IssueRequest {
        env: args.env,
        service: args.service,
        host: args.host,
        days: args.days,
        profile: args.profile,
        key_kind: args.key_kind,
        directory: args.out,
        replace: args.replace,
    };
    let made = store.issue(&request, now).map_err(|error| place.explain(error))?;
    let (identity, certificate) = (made.issued.identity(), made.issued.certificate());
    if out.is_json() {
        out.object(&json!({
            "identity": identity.as_str(),
            "serial": made.serial.to_string(),
            "sha256": certificate.sha256_hex(),
            "key_kind": made.key_kind.as_str(),
            "not_before": certificate.not_before().to_string(),
            "not_after": certificate.not_after().to_string(),
            "certificate": made.certificate_path,
            "key": made.key_path,
            "replaced": made.replaced.as_ref().map(ToString::to_string),
        }))?;
    } else {
        out.line(format_args!("{identity}  serial {}, until {}", made.serial, certificate.not_after()))?;
        out.line(format_args!("  {}  {}", made.certificate_path.display(), made.key_path.display()))?;
    }
    if made.is_cut {
        let issuer = store.certificate_path(store.issues());
        out.warn(format_args!(
            "it ends at {}, with its issuer {}, and not later",
            certificate.not_after(),
            issuer.display()
        ));
    }
    if let Some(old) = &made.replaced {
        out.warn(format_args!(
            "the certificate that it replaces, {old}, is good until it is revoked or expires"
        ));
        out.hint(place.command(&format!("ca revoke {old} --reason superseded")));
    }
    warn_of_stale_lists(&store, place, now, out);
    if made.replaced.is_none() {
        let intermediates = match store.issues() {
            Level::Root => String::new(),
            Level::Issuing => format!(
                " --intermediate {} --crl {}",
                store.certificate_path(Level::Issuing).display(),
                store.crl_path(Level::Issuing).display()
            ),
        };
        out.hint(format_args!(
            "fedmsg cert verify --ca {} --crl {}{intermediates} {}",
            store.certificate_path(Level::Root).display(),
            store.crl_path(Level::Root).display(),
            made.certificate_path.display()
        ));
    }
    Ok(Outcome::Yes)
}
