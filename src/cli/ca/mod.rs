//! `fedmsg ca`: the authority of a directory.

mod check;
mod crl;
mod entry;
mod export;
mod import;
mod init;
mod issue;
mod issued;
mod list;
mod log;
mod passphrase;
mod renew;
mod request;
mod revoke;
mod rollover;
mod secret;
mod show;
mod sign;
mod status;

use super::output::Output;
use super::{CliError, Global, Outcome};
use crate::pki::profile::{ProfileRefusal, Profiles};
use crate::pki::request::RequestError;
use crate::store::authority::{AuthorityStore, AuthorityStoreError, Level, Stage};
use crate::store::credentials::CredentialsError;
use crate::store::files;
use crate::store::passphrase::PassphraseSourceError;
use crate::time::Timestamp;
use secret::{PassphraseArgs, Passphrases};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Run the certificate authority: make it, issue, revoke, roll it over, keep the inventory and the log.
///
/// The authority is in DIR/pki, where DIR is what --config says, and otherwise the current directory.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    passphrases: PassphraseArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(init::Args),
    Import(import::Args),
    Issue(issue::Args),
    Request(request::Args),
    Sign(sign::Args),
    Renew(renew::Args),
    Revoke(revoke::Args),
    Crl(crl::Args),
    Passphrase(passphrase::Args),
    List(list::Args),
    Show(show::Args),
    Export(export::Args),
    Log(log::Args),
    Status(status::Args),
    Rollover(rollover::Args),
    Check(check::Args),
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let place = Place::new(global, args.passphrases);
    match args.command {
        Command::Init(args) => init::run(args, &place, out),
        Command::Import(args) => import::run(args, &place, out),
        Command::Issue(args) => issue::run(args, &place, out),
        Command::Request(args) => request::run(&args, &place, out),
        Command::Sign(args) => sign::run(args, &place, out),
        Command::Renew(args) => renew::run(args, &place, out),
        Command::Revoke(args) => revoke::run(&args, &place, out),
        Command::Crl(args) => crl::run(&args, &place, out),
        Command::Passphrase(args) => passphrase::run(&args, &place, out),
        Command::List(args) => list::run(&args, &place, out),
        Command::Show(args) => show::run(&args, &place, out),
        Command::Export(args) => export::run(&args, &place, out),
        Command::Log(args) => log::run(&args, &place, out),
        Command::Status(args) => status::run(&args, &place, out),
        Command::Rollover(args) => rollover::run(&args, &place, out),
        Command::Check(args) => check::run(&args, &place, out),
    }
}

/// Where the authority is, and how to name that place in a command.
struct Place {
    base: PathBuf,
    /// ` --config DIR`, or nothing.
    flag: String,
    passphrases: PassphraseArgs,
}

impl Place {
    fn new(global: &Global, passphrases: PassphraseArgs) -> Self {
        match &global.config {
            Some(base) => Self {
                base: base.clone(),
                flag: format!(" --config {}", super::shell_quoted(&base.display().to_string())),
                passphrases,
            },
            None => Self { base: PathBuf::from("."), flag: String::new(), passphrases },
        }
    }

    /// Who knows the passphrases of the keys; with `prompts`, whoever is at the terminal as well.
    fn passphrases(&self, prompts: bool) -> Arc<Passphrases> {
        Arc::new(Passphrases::new(&self.passphrases, prompts))
    }

    /// `pki`, as short as it can be written.
    fn directory(&self) -> PathBuf {
        if self.flag.is_empty() { PathBuf::from("pki") } else { self.base.join("pki") }
    }

    /// The profiles: those in `certs` where there are such files, the built-in ones otherwise.
    fn profiles(&self) -> Result<Profiles, CliError> {
        let mut unreadable = None;
        let profiles = Profiles::parse(|name| {
            let path = self.base.join("certs").join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Some((path.display().to_string(), text)),
                Err(error) => {
                    if error.kind() != std::io::ErrorKind::NotFound {
                        unreadable = Some(format!("{}: {error}", path.display()));
                    }
                    None
                }
            }
        })?;
        unreadable.map_or(Ok(profiles), |message| Err(CliError::new(message)))
    }

    fn open(&self) -> Result<AuthorityStore, CliError> {
        let store = AuthorityStore::open(&self.directory(), self.profiles()?);
        Ok(store.map_err(|error| self.explain(error))?.with_passphrases(self.passphrases(true)))
    }

    /// The authority, with what a command that was killed had left finished, and said.
    fn open_and_recover(&self, now: Timestamp, out: &mut Output) -> Result<AuthorityStore, CliError> {
        let mut store = self.open()?;
        for repair in store.recover(now).map_err(|error| self.explain(error))? {
            out.warn(&repair);
            if repair.waits() {
                out.hint(self.command("ca crl"));
            }
        }
        Ok(store)
    }

    /// As it stands, where it is what others can enter: that is a finding, and no reason not to look further. Nobody is asked for
    /// a passphrase: a check is for a timer.
    fn open_to_check(&self, now: Timestamp, out: &mut Output) -> Result<AuthorityStore, CliError> {
        let mut store = AuthorityStore::open_to_check(&self.directory(), self.profiles()?)
            .map_err(|error| self.explain(error))?
            .with_passphrases(self.passphrases(false));
        match store.recover(now) {
            Ok(repairs) => repairs.iter().for_each(|repair| out.warn(repair)),
            Err(error) => out.warn(error),
        }
        Ok(store)
    }

    /// A command of ours, for a hint.
    fn command(&self, command: &str) -> String {
        format!("fedmsg {command}{}", self.flag)
    }

    /// The error, and the command that mends it.
    fn explain(&self, error: AuthorityStoreError) -> CliError {
        use AuthorityStoreError as E;
        let hint = match &error {
            E::Ambiguous { .. } | E::NotIssued { .. } => {
                Some(format!("{} names everything that was issued", self.command("ca list")))
            }
            E::Exists { .. } => {
                Some("choose another directory with --config, or move this one away".to_owned())
            }
            E::File(cause) | E::Credentials(CredentialsError::File(cause)) => cause.hint(),
            E::NotDue { .. } => Some("--force renews it now".to_owned()),
            E::Revoked { .. } => Some(self.command("ca issue SERVICE --host HOST")),
            E::Refused(ProfileRefusal::Identity { other: Some(other), .. }) => {
                Some(format!("--profile {other} allows it"))
            }
            E::Refused(ProfileRefusal::KeyKind { found, .. }) if found.starts_with("RSA") => Some(
                "RSA signs some thirty times slower; fedmsg ca request makes a P-256 key, and so does openssl req with \
                 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
                    .to_owned(),
            ),
            E::Request { cause: RequestError::Identities { .. }, .. } => Some(
                "fedmsg ca request makes one, and so does openssl req with \
                 -addext subjectAltName=URI:spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST"
                    .to_owned(),
            ),
            E::IssuerRevoked { authority, .. } => Some(format!(
                "{} makes another, {} has it issue, and then everything is issued anew",
                self.command(&format!("ca rollover prepare --level {}", authority.level)),
                self.command(&format!("ca rollover activate --level {}", authority.level))
            )),
            E::InUse { .. } => Some(format!(
                "{} gives them new ones (by the issuing authority that stays); --revoke retires it all the same",
                self.command("ca renew --due")
            )),
            E::KeyAway { authority, path } if authority.level == Level::Root => Some(format!(
                "bring the root's key back to {} for this, and take it away again",
                path.display()
            )),
            E::NothingAt { level, expected: Stage::Prepared } => {
                Some(self.command(&format!("ca rollover prepare --level {level}")))
            }
            E::NothingAt { .. } | E::Unknown { .. } | E::WrongStage { .. } => {
                Some(format!("{} says where each stands", self.command("ca status")))
            }
            E::NoList { .. } => Some(self.command("ca crl")),
            E::Prepared { authority, .. } => Some(format!(
                "{} has it issue; {} drops it",
                self.command(&format!("ca rollover activate --level {}", authority.level)),
                self.command(&format!(
                    "ca rollover retire --level {} --generation {}",
                    authority.level, authority.generation
                ))
            )),
            E::Single => Some(self.command("ca rollover prepare --level root")),
            E::WithRoot { .. } => Some("--level root takes both".to_owned()),
            E::Missing { .. } => Some(self.command("ca init")),
            E::Passphrase { cause: PassphraseSourceError::Unavailable, .. } => Some(
                "--passphrase-file FILE or --passphrase-fd N gives it (--root-passphrase-… that of the root's key)"
                    .to_owned(),
            ),
            E::Passphrase { cause: PassphraseSourceError::File(cause), .. } => cause.hint(),
            E::Occupied { replaceable: true, .. } => {
                Some("--replace writes a new certificate and key in their place".to_owned())
            }
            E::Occupied { replaceable: false, .. } => {
                Some("--out DIR writes the certificate and key to another directory".to_owned())
            }
            E::Authority(_) | E::Import { .. } | E::Key { .. } => import::hint(&error),
            E::Credentials(_)
            | E::Index { .. }
            | E::InvalidSince { .. }
            | E::KeyAway { .. }
            | E::KeyCompromised { .. }
            | E::Lock { .. }
            | E::Passphrase { .. }
            | E::Pem { .. }
            | E::OtherIdentity { .. }
            | E::Profile(_)
            | E::Refused(_)
            | E::Request { .. }
            | E::Schema { .. }
            | E::TooEarly { .. }
            | E::TrustDomain { .. }
            | E::Twice { .. } => None,
        };
        let shown = CliError::from(error);
        hint.into_iter().fold(shown, CliError::hint)
    }
}

/// Says so, if the file of an authority's list is missing or stale or nearly so. Everything is refused under a stale list.
fn warn_of_stale_lists(store: &AuthorityStore, place: &Place, now: Timestamp, out: &mut Output) {
    for known in store.trusted() {
        let path = store.crl_path(known.id.level);
        let fault = match store.read_crl(known.id) {
            Err(error) => Some(error.to_string()),
            Ok(crl) => {
                let (shown, until) = (path.display(), crl.next_update());
                if now >= until {
                    Some(format!(
                        "{shown} is stale since {until}: every message is refused until it is renewed"
                    ))
                } else if now.is_past_two_thirds(crl.this_update(), until) {
                    Some(format!("{shown} runs out at {until}"))
                } else {
                    None
                }
            }
        };
        if let Some(fault) = fault {
            out.warn(fault);
            out.hint(place.command("ca crl"));
        }
    }
}

/// Reads a file, for an argument that names one.
fn read_argument(path: &Path) -> Result<Vec<u8>, CliError> {
    Ok(files::read(path)?)
}
