//! `fedmsg ca sign`

use super::issued::Shown;
use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::cli::shell_quoted;
use crate::identity::SpiffeId;
use crate::pki::profile::ProfileName;
use crate::store::authority::SignRequest;
use crate::time::{Clock, SystemClock};
use serde_json::json;
use std::path::PathBuf;

/// Sign a certificate request that a service's host made.
///
/// The key and the identity are taken from the request, once its signature has shown that its sender has the key; everything
/// else is decided by the profile. A request to be an authority, or for a second name, is refused; what else it asks for is
/// not granted, and told. Look at who asks: whoever has the certificate speaks for that service.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The request: a file in PEM, made by `fedmsg ca request` or by OpenSSL.
    request: PathBuf,
    /// What it is for: service, gateway, archive or operator.
    #[arg(long, value_name = "NAME", default_value = "service")]
    profile: ProfileName,
    /// Refuse it unless it names this identity, spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST.
    #[arg(long, value_name = "ID")]
    identity: Option<SpiffeId>,
    /// How many days the certificate is to live. [default: 90, by the profile]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Write the certificate to this file. [default: beside the request, with .crt at the end]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a certificate of the same identity in that file that is still good.
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(args: Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    let wanted = SignRequest {
        path: args.request,
        profile: args.profile,
        days: args.days,
        expected: args.identity,
        certificate_path: args.out,
        replace: args.replace,
    };
    let signed = store.sign(&wanted, now).map_err(|error| place.explain(error))?;
    let shown = Shown {
        issued: &signed.issued,
        serial: &signed.serial,
        certificate: &signed.certificate_path,
        key: None,
        is_cut: signed.is_cut,
        replaced: signed.replaced.as_ref(),
    };
    let also = [("profile", json!(wanted.profile.as_str())), ("not_granted", json!(signed.not_granted))];
    shown.say(&also, &store.certificate_path(store.issues()), out)?;
    for not_granted in &signed.not_granted {
        out.warn(format_args!("not granted: {not_granted}"));
    }
    warn_of_stale_lists(&store, place, now, out);
    out.hint(format_args!(
        "copy {} to the service's host, beside the key",
        shell_quoted(&signed.certificate_path.display().to_string())
    ));
    Ok(Outcome::Yes)
}
