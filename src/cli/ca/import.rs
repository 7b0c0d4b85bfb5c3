//! `fedmsg ca import`

use super::{CliError, Outcome, Output, Place, init, passphrase};
use crate::cli::shell_quoted;
use crate::pki::authority::AuthorityError;
use crate::pki::key::{EncryptedKeyError, PrivateKeyError};
use crate::store::authority::{
    AuthorityStore, AuthorityStoreError, ImportFault, ImportFiles, ImportRequest, Level,
};
use crate::time::{Clock, SystemClock};
use std::path::PathBuf;

/// Take over an authority that OpenSSL, easy-rsa or step-ca made.
///
/// A root with its key, and an issuing authority is made below it; a root with its key, and an issuing authority with its own; or an
/// issuing authority with its key below a root whose key stays elsewhere, with the root's list. Nothing is taken over that could
/// not issue what consumers accept, and nothing of what was revoked is forgotten. The files that are named are only read.
///
/// Keys are PKCS#8, with a passphrase or without. The copies are encrypted as by `ca init`: the passphrase opens the file and protects
/// the copy.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trust domain: the first part of every identity that it will issue.
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: String,
    /// The root's certificate.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// The root's key. Without it, the root's list is made elsewhere, and given with --root-crl.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// The root's newest list. With its key here, the list is continued.
    #[arg(long, value_name = "FILE")]
    root_crl: Option<PathBuf>,
    /// The issuing authority's certificate. Without it, one is made below the root.
    #[arg(long, value_name = "FILE", requires = "issuing_key")]
    issuing: Option<PathBuf>,
    /// The issuing authority's key.
    #[arg(long, value_name = "FILE", requires = "issuing")]
    issuing_key: Option<PathBuf>,
    /// The issuing authority's newest list, which is continued.
    #[arg(long, value_name = "FILE", requires = "issuing")]
    issuing_crl: Option<PathBuf>,
    /// The root issues to services itself: a toy.
    #[arg(long, requires = "root_key", conflicts_with = "issuing")]
    single: bool,
    /// Certificates that they have issued, for the inventory; can be given several times. Those that a list names have to be there.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    issued: Vec<PathBuf>,
    /// An authority of which no list is given has revoked nothing.
    #[arg(long)]
    never_revoked: bool,
    /// Leave the keys readable for whoever can read their files: for trying things out.
    #[arg(long)]
    unencrypted: bool,
}

pub(super) fn run(args: Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let (profiles, now) = (place.profiles()?, SystemClock.now());
    let keys = passphrase::protection(args.unencrypted, place, "the copy of the key")?;
    let request = ImportRequest {
        trust_domain: args.trust_domain,
        root: ImportFiles { certificate: args.root, key: args.root_key, crl: args.root_crl },
        issuing: args.issuing.map(|certificate| ImportFiles {
            certificate,
            key: args.issuing_key,
            crl: args.issuing_crl,
        }),
        single: args.single,
        issued: args.issued,
        never_revoked: args.never_revoked,
    };
    let opener = place.passphrases(true);
    let store = AuthorityStore::import(&place.directory(), &request, profiles, &keys, opener, now)
        .map_err(|error| place.explain(error))?;
    if let Some(root) = store.certificate(Level::Root).filter(|root| root.key_usage().is_none()) {
        let subject = root.subject();
        out.warn(format_args!("`{subject}` has no key usage: OpenSSL refuses such a root with -x509_strict"));
    }
    let outcome = init::show(&store, place, out)?;
    if !store.key_path(Level::Root).exists() {
        let path = store.crl_path(Level::Root);
        out.say(format_args!(
            "the root's list is made where its key is: put each new one in the place of {} (mv, not cp)",
            path.display()
        ));
    }
    Ok(outcome)
}

/// What mends a file that comes from elsewhere.
pub(super) fn hint(error: &AuthorityStoreError) -> Option<String> {
    if let AuthorityStoreError::Import { fault, .. } = error {
        return match fault {
            ImportFault::Foreign { .. } | ImportFault::ListNumber { .. } | ImportFault::NothingIssues => None,
            ImportFault::Forgotten { .. } => Some(
                "--issued FILE gives certificates that it issued: those that the list names, best all"
                    .to_owned(),
            ),
            ImportFault::ListMissing => Some("--root-crl FILE gives it".to_owned()),
            ImportFault::NotRoot { .. } => {
                Some("--root is for the root, --issuing for an authority below it".to_owned())
            }
            ImportFault::Undecided { level } => Some(format!(
                "--{level}-crl FILE gives its newest list, which is continued; --never-revoked says that there is none"
            )),
        };
    }
    if let AuthorityStoreError::Authority(AuthorityError::Name { .. }) = error {
        return Some(
            "a root with such a name can stay, its key elsewhere: make an authority with a plain name below it, and \
             import that with --issuing"
                .to_owned(),
        );
    }
    let AuthorityStoreError::Key { path, cause } = error else { return None };
    let is_of_another_form = matches!(
        cause,
        PrivateKeyError::Form { .. } | PrivateKeyError::Protected(EncryptedKeyError::Algorithm { .. })
    );
    let old = path.display().to_string();
    let new = shell_quoted(&format!("{old}.p8"));
    is_of_another_form.then(|| format!("openssl pkcs8 -topk8 -scrypt -in {} -out {new}", shell_quoted(&old)))
}
