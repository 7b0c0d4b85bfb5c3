//! `fedmsg ca renew`

use super::issued::Shown;
use super::{CliError, Outcome, Output, Place, warn_of_stale_lists};
use crate::identity::SpiffeId;
use crate::pki::key::KeyKind;
use crate::pki::profile::ProfileName;
use crate::store::authority::RenewRequest;
use crate::time::{Clock, SystemClock};
use std::path::PathBuf;

/// Renew certificates: the same identity, a new key, in the place of the old pair.
///
/// From two thirds of a certificate's life on, and at once while its issuer is being retired (ca rollover). --due renews
/// every pair of the directory that is due, and is fit for a timer: exit 0 if nothing was left undone. Whoever reads the
/// files while they are replaced finds the old pair or the new one, and a publisher that runs takes up the new one within a
/// second. A service whose key is on another host makes a request there (ca request), and is named here when it is due.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to renew: SERVICE-HOST or an identity.
    #[arg(value_name = "SERVICE-HOST|ID", required_unless_present = "due")]
    names: Vec<String>,
    /// Renew all that are due.
    #[arg(long, conflicts_with_all = ["names", "force"])]
    due: bool,
    /// Renew before two thirds of its life have passed.
    #[arg(long)]
    force: bool,
    /// Keep the key: only the certificate is new.
    #[arg(long, conflicts_with = "key_kind")]
    keep_key: bool,
    /// The kind of the new key: p256 or ed25519. [default: that of the old one]
    #[arg(long, value_name = "KIND")]
    key_kind: Option<KeyKind>,
    /// What it is for: service, gateway, archive or operator. [default: the first that allows the identity]
    #[arg(long, value_name = "NAME")]
    profile: Option<ProfileName>,
    /// How many days the new certificate is to live. [default: 90, by the profile]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// The directory of the pairs. [default: pki/services]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let mut store = place.open_and_recover(now, out)?;
    let names = if args.due {
        let renewals = store.renewals(args.dir.as_deref(), now).map_err(|error| place.explain(error))?;
        if renewals.due.is_empty() {
            let next = renewals.next.map_or_else(String::new, |next| format!("; the next one is at {next}"));
            out.say(format_args!("nothing is due{next}"));
        }
        for identity in &renewals.elsewhere {
            out.warn(format_args!("{identity} is due, and its key is not here"));
            out.hint(format_args!(
                "on its host: fedmsg ca request {} --host {}",
                identity.service(),
                identity.host()
            ));
        }
        renewals.due
    } else {
        args.names.iter().map(|name| file_name(name)).collect::<Result<_, _>>()?
    };
    let issuer = store.certificate_path(store.issues());
    let (count, mut failed) = (names.len(), Vec::new());
    for name in names {
        let request = RenewRequest {
            name: name.clone(),
            directory: args.dir.clone(),
            profile: args.profile,
            days: args.days,
            key_kind: args.key_kind,
            keep_key: args.keep_key,
            force: args.force,
        };
        match store.renew(&request, now) {
            Ok(renewed) => Shown::from(&renewed).say(&[], &issuer, out)?,
            // One that cannot be renewed keeps no other from it.
            Err(error) if count > 1 => {
                out.error(&error);
                failed.push(name);
            }
            Err(error) => return Err(place.explain(error)),
        }
    }
    warn_of_stale_lists(&store, place, now, out);
    if failed.is_empty() {
        return Ok(Outcome::Yes);
    }
    Err(CliError::new(format_args!("not renewed: {}", failed.join(", "))))
}

/// How the files of a service are called.
fn file_name(name: &str) -> Result<String, CliError> {
    if name.starts_with("spiffe://") {
        let identity: SpiffeId = name.parse()?;
        return Ok(format!("{}-{}", identity.service(), identity.host()));
    }
    if name.contains('/') {
        let error = CliError::new(format_args!("`{name}` is neither SERVICE-HOST nor an identity"));
        return Err(error.hint("--dir DIR names another directory than pki/services"));
    }
    Ok(name.to_owned())
}
