//! `fedmsg ca request`

use super::{CliError, Outcome, Output, Place};
use crate::identity::SpiffeId;
use crate::pki::key::{KeyKind, PrivateKey};
use crate::pki::request::Request;
use crate::store::credentials::{self, Credentials};
use crate::store::files;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Make a key and a request for its certificate, on the service's own host.
///
/// The key never leaves the host: the request (SERVICE-HOST.csr) goes to the authority, which answers `fedmsg ca sign` with
/// SERVICE-HOST.crt, to be copied beside the key. Where there is a certificate already, the new request is for the same
/// identity, and the key that is in use stays in use until the new certificate has taken the old one's place.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service: the third part of its identity.
    service: String,
    /// The host it runs on: the fourth.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The environment: the second. [default: that of the certificate that is there, or dev]
    #[arg(long)]
    env: Option<String>,
    /// The trust domain: the first. [default: that of the certificate that is there]
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<String>,
    /// The kind of the new key: p256 or ed25519.
    #[arg(long, value_name = "KIND", default_value = "p256", conflicts_with = "keep_key")]
    key_kind: KeyKind,
    /// Ask for a certificate for the key that is in use.
    #[arg(long)]
    keep_key: bool,
    /// Write to this directory. [default: pki/services]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace a key whose certificate has not come.
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let directory = args.out.clone().unwrap_or_else(|| place.directory().join("services"));
    let (certificate_path, key_path) = credentials::paths(&directory, &args.service, &args.host);
    let in_use = match (certificate_path.exists(), key_path.exists()) {
        (true, true) => Some(Credentials::load(&directory, &args.service, &args.host)?),
        (_, false) => None,
        (false, true) if args.replace => None,
        (false, true) => {
            let shown = key_path.display();
            let error = CliError::new(format_args!("{shown} is there, and waits for its certificate"));
            return Err(error.hint("--replace makes a new key in its place"));
        }
    };
    let identity = identity(args, in_use.as_ref())?;
    if args.out.is_none() {
        files::create_private_dir(&directory)?;
    }
    let key = match (args.keep_key, in_use) {
        (false, _) => PrivateKey::generate(args.key_kind)?,
        (true, Some(credentials)) => credentials.into_parts().0,
        (true, None) => {
            return Err(CliError::new(format_args!("there is no pair at {} to keep", key_path.display())));
        }
    };
    let key = Arc::new(key);
    let request = Request::new(&identity, key.clone())?;
    // The key before the request: one without a key would be signed in vain.
    credentials::add_key(&certificate_path, &key_path, &key)?;
    let path = certificate_path.with_extension("csr");
    files::write(&path, request.to_pem().as_bytes())?;
    if out.is_json() {
        out.object(&json!({
            "identity": identity.as_str(),
            "key_kind": key.algorithm().name(),
            "request": path,
            "key": key_path,
            "certificate": certificate_path,
        }))?;
    } else {
        out.line(format_args!("{identity}"))?;
        out.line(format_args!("  {}  {}", path.display(), key_path.display()))?;
    }
    out.hint(format_args!(
        "send {} to the authority, where fedmsg ca sign makes {} of it, which belongs beside the key",
        path.display(),
        certificate_path.display()
    ));
    Ok(Outcome::Yes)
}

/// Whom the request is to name: as the arguments say, and where they do not, as the certificate that is there.
fn identity(args: &Args, in_use: Option<&Credentials>) -> Result<SpiffeId, CliError> {
    let before = in_use.and_then(Credentials::spiffe_id);
    let domain = args.trust_domain.as_deref().or_else(|| before.as_ref().map(SpiffeId::trust_domain));
    let env = args.env.as_deref().or_else(|| before.as_ref().map(SpiffeId::env)).unwrap_or("dev");
    let Some(domain) = domain else {
        let error = CliError::new("which trust domain is the service of?");
        return Err(error.hint("--trust-domain DOMAIN, as it was given to fedmsg ca init"));
    };
    let identity = SpiffeId::new(domain, env, &args.service, &args.host)?;
    match before {
        Some(before) if before != identity => {
            let error = CliError::new(format_args!("the certificate that is there is of {before}"));
            Err(error.hint("--out DIR makes a key and a request elsewhere"))
        }
        Some(_) | None => Ok(identity),
    }
}
