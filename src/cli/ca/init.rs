//! `fedmsg ca init`

use super::{CliError, Outcome, Output, Place, passphrase};
use crate::cli::output::STRONG;
use crate::store::authority::{AuthorityStore, KeyState, Level};
use crate::time::{Clock, SystemClock};
use serde_json::{Map, Value, json};

/// Make an authority: a root, and an issuing authority that works while the root's key is away.
///
/// The keys are encrypted with a passphrase, which is asked for twice on a terminal. Without one, --passphrase-file or
/// --passphrase-fd gives it, or --unencrypted says that there is to be none.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trust domain: the first part of every identity, spiffe://DOMAIN/ENV/SERVICE/HOST.
    #[arg(long, value_name = "DOMAIN", default_value = "dev.example")]
    trust_domain: String,
    /// One authority that does everything, its key in daily use: a toy.
    #[arg(long)]
    single: bool,
    /// Leave the keys readable for whoever can read their files: for trying things out.
    #[arg(long)]
    unencrypted: bool,
}

pub(super) fn run(args: Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let (directory, profiles, now) = (place.directory(), place.profiles()?, SystemClock.now());
    let keys = passphrase::protection(args.unencrypted, place, "the authority's key")?;
    for path in AuthorityStore::remove_abandoned(&directory)? {
        out.warn(format_args!("{}: removed: making an authority there was interrupted", path.display()));
    }
    let store = AuthorityStore::create(&directory, &args.trust_domain, args.single, profiles, &keys, now)
        .map_err(|error| place.explain(error))?;

    show(&store, place, out)
}

/// What was made or taken over, and what comes next.
pub(super) fn show(store: &AuthorityStore, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let directory = place.directory();
    let mut object = Map::new();
    object.insert("authority".to_owned(), json!(directory));
    object.insert("trust_domain".to_owned(), json!(store.trust_domain()));
    for level in store.levels() {
        let Some(certificate) = store.certificate(level) else { continue };
        let (path, crl, key) = (store.certificate_path(level), store.crl_path(level), store.key_path(level));
        let state = store.key_state(level).map_err(|error| place.explain(error))?;
        let is_encrypted = match state {
            KeyState::Away => None,
            KeyState::Encrypted => Some(true),
            KeyState::Unencrypted => Some(false),
        };
        let key = Some(key).filter(|_| state != KeyState::Away);
        if !out.is_json() {
            let (subject, until) = (certificate.subject(), certificate.not_after());
            out.line(format_args!("{STRONG}{level}{STRONG:#}  {subject}, until {until}"))?;
            let key = key
                .as_ref()
                .map_or_else(|| "(its key is elsewhere)".to_owned(), |key| key.display().to_string());
            out.line(format_args!("  {}  {}  {key}", path.display(), crl.display()))?;
        }
        let described: Value = json!({
            "subject": certificate.subject(),
            "serial": certificate.serial_hex(),
            "sha256": certificate.sha256_hex(),
            "not_before": certificate.not_before().to_string(),
            "not_after": certificate.not_after().to_string(),
            "certificate": path, "crl": crl, "key": key, "encrypted": is_encrypted,
        });
        object.insert(level.to_string(), described);
    }
    if out.is_json() {
        out.object(&object)?;
    }
    let key = store.key_path(Level::Root);
    if store.issues() == Level::Root {
        out.say(
            "a single authority is for trying things out: who takes its key can issue anything, for ever",
        );
    } else if key.exists() {
        out.say(format_args!(
            "move {} to a safe place that is offline: daily work does not need it",
            key.display()
        ));
    }
    out.hint(place.command("ca issue SERVICE --host HOST"));
    Ok(Outcome::Yes)
}
