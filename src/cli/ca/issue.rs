//! `fedmsg ca issue`

use super::issued::Shown;
use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::cli::shell_quoted;
use crate::pki::key::KeyKind;
use crate::pki::profile::ProfileName;
use crate::store::authority::{IssueRequest, Level};
use crate::time::{Clock, SystemClock};
use std::path::{Path, PathBuf};

/// Issue a certificate and a key to a service, or to many at once.
///
/// They are written to pki/services/SERVICE-HOST.crt (the certificate and its issuers) and SERVICE-HOST.key (mode 0600).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service: the third part of its identity. With /HOST, the host too.
    #[arg(required = true, value_name = "SERVICE[/HOST]")]
    services: Vec<String>,
    /// The host it runs on, where none is named with the service: the fourth part.
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
    let request = |named: &String| {
        let (service, host) = named.split_once('/').unwrap_or((named, &args.host));
        IssueRequest {
            env: args.env.clone(),
            service: service.to_owned(),
            host: host.to_owned(),
            days: args.days,
            profile: args.profile,
            key_kind: args.key_kind,
            directory: args.out.clone(),
            replace: args.replace,
        }
    };
    let requests: Vec<IssueRequest> = args.services.iter().map(request).collect();
    let made = store.issue_many(&requests, now).map_err(|error| place.explain(error))?;
    let issuer = store.certificate_path(store.issues());
    for one in &made {
        Shown::from(one).say(&[], &issuer, out)?;
        if let Some(old) = &one.replaced {
            out.warn(format_args!(
                "the certificate that it replaces, {old}, is good until it is revoked or expires"
            ));
            out.hint(place.command(&format!("ca revoke {old} --reason superseded")));
        }
    }
    warn_of_stale_lists(&store, place, now, out);
    if let Some(first) = made.first().filter(|first| first.replaced.is_none()) {
        let quoted = |path: &Path| shell_quoted(&path.display().to_string());
        let intermediates = match store.issues() {
            Level::Root => String::new(),
            Level::Issuing => format!(
                " --intermediate {} --crl {}",
                quoted(&issuer),
                quoted(&store.crl_path(Level::Issuing))
            ),
        };
        out.hint(format_args!(
            "fedmsg cert verify --ca {} --crl {}{intermediates} {}",
            quoted(&store.certificate_path(Level::Root)),
            quoted(&store.crl_path(Level::Root)),
            quoted(&first.certificate_path)
        ));
    }
    Ok(Outcome::Yes)
}
