//! `fedmsg policy sign`

use super::{Files, endorsed, refused};
use crate::cli::output::{GOOD, Output};
use crate::cli::{CliError, Global, Outcome, config};
use crate::config::{Config, Sources};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::pki::certificate::IdentityRule;
use crate::policy::PublisherPattern;
use crate::policy::signature::{
    self, DetachedSignature, Endorsement, PolicySigner, Requirement, SignedPolicyError,
};
use crate::policy::{Policy, Source};
use crate::store::credentials::Credentials;
use crate::store::files;
use crate::store::policy::{Bytes, PolicyFiles, signature_beside};
use crate::store::trust::TrustFiles;
use crate::time::{Clock, SystemClock, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Sign a policy, as an operator: the exact bytes of all its files, for a time.
///
/// The policy is read and its tests are run first. What is signed is checked by the configuration's trust, where it has any, before it
/// is written. The signature goes to policy.signature, or beside a policy of one file, with .sig after its name.
///
/// `fedmsg ca issue operator --host NAME --profile operator` makes an operator's certificate: a service's does not do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose key signs: operator-NAME.crt and operator-NAME.key in credentials.directory.
    #[arg(long, value_name = "NAME", required_unless_present = "certificate")]
    operator: Option<String>,
    /// The operator's certificate and its issuers, in a file of their own.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "operator")]
    certificate: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Until when the signature holds (RFC 3339). [default: until the operator's certificate ends]
    #[arg(long, value_name = "TIME", conflicts_with = "days")]
    until: Option<Timestamp>,
    /// For how many days the signature holds.
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Where the signature goes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let config = Config::load(&Sources::machine(global.config.as_deref()))?;
    let (paths, limits) = args.files.find(global)?;
    let target = target(args, &paths, &config)?;
    let signer = signer(args, &config)?;
    let bytes = Bytes::read(&paths).map_err(|error| refused(error, out))?;
    let sources: Vec<Source<'_>> = bytes.iter().map(Bytes::source).collect();
    let policy = Policy::parse_files(&sources, &limits).map_err(|error| refused(error.into(), out))?;
    let days = args.days.map(|days| now.plus(Duration::from_secs(u64::from(days) * 86_400)));
    let signature = signer.sign(&policy, args.until.or(days), now)?;
    let identity = signer.certificate().identity(IdentityRule::SpiffeUri).ok();
    if let Some(remembered) = PolicyFiles::of(&config).remembered().filter(|_| args.files.policy.is_empty()) {
        remembered.check(policy.edition()).map_err(|error| config::no_policy(error.into()))?;
    }
    let endorsement = checked(&signature, &sources, identity.as_ref(), &config, &limits, now, out)?;
    files::write(&target, signature.to_text().as_bytes())?;
    let (until, target) = (signature.statement().until, target.display().to_string());
    let name = identity.map_or_else(|| signer.certificate().subject().to_owned(), |id| id.to_string());
    if out.is_json() {
        let mut object = endorsement.as_ref().map_or_else(|| serde_json::json!({"ok": false}), endorsed);
        object["file"] = target.into();
        object["digest"] = policy.edition().digest_hex().into();
        object["serial"] = policy.edition().serial.into();
        object["until"] = until.to_string().into();
        out.object(&object)?;
    } else {
        let serial = policy.edition().serial;
        out.line(format_args!("{target}: {GOOD}signed{GOOD:#} by {name}, serial {serial}, until {until}"))?;
    }
    Ok(Outcome::Yes)
}

fn target(args: &Args, paths: &[PathBuf], config: &Config) -> Result<PathBuf, CliError> {
    if let Some(stated) = &args.out {
        return Ok(stated.clone());
    }
    if args.files.policy.is_empty()
        && let Some(stated) = &config.policy.signature
    {
        return Ok(stated.path().to_owned());
    }
    match paths {
        [only] => Ok(signature_beside(only)),
        _ => Err(CliError::new("several files have one signature, and it is not said where it goes")
            .hint("name it with --out FILE, or in the configuration (policy.signature)")),
    }
}

fn signer(args: &Args, config: &Config) -> Result<PolicySigner, CliError> {
    let credentials = match (&args.operator, &args.certificate, &args.key) {
        (None, Some(certificate), Some(key)) => Credentials::load_files(certificate, key)?,
        (operator, _, _) => {
            let directory = config.credentials.directory.as_ref().ok_or_else(|| {
                CliError::new("`credentials.directory` is not configured")
                    .hint("name the files with --certificate FILE --key FILE")
            })?;
            let name = operator.as_deref().unwrap_or_default();
            Credentials::load(directory.path(), "operator", name).map_err(|error| {
                CliError::from(error).hint(format!(
                    "`fedmsg ca issue operator --host {name} --profile operator` makes a certificate and key"
                ))
            })?
        }
    };
    let (key, leaf, intermediates) = credentials.into_parts();
    // The trust anchor's own certificate proves nothing.
    let issuers = intermediates.into_iter().filter(|issuer| !issuer.is_self_issued());
    Ok(PolicySigner::new(Arc::new(key), std::iter::once(leaf).chain(issuers).collect())?)
}

/// Whether those would take it who trust what we trust; nothing is written otherwise.
fn checked(
    signature: &DetachedSignature,
    sources: &[Source<'_>],
    identity: Option<&Identity>,
    config: &Config,
    limits: &Limits,
    now: Timestamp,
    out: &mut Output,
) -> Result<Option<Endorsement>, CliError> {
    if config.trust.anchors.is_empty() && config.trust.common_name_anchors.is_empty() {
        out.warn("no trust anchor is configured: whether the signature will be accepted was not checked");
        return Ok(None);
    }
    let trust = TrustFiles::load(config).map_err(config::trust)?;
    let Some(trust) = trust.store() else { return Ok(None) };
    let mut signers: Vec<PublisherPattern> = config.policy.signers.value().clone();
    if signers.is_empty() {
        out.warn(
            "the configuration names nobody who may sign (policy.signers): nobody asks for this signature",
        );
        signers.extend(identity.and_then(|identity| identity.to_string().parse().ok()));
    }
    let by = Requirement { trust, signers: &signers };
    match signature::read_signed(signature.to_text().as_bytes(), sources, by, limits, now) {
        Ok(signed) => Ok(Some(signed.endorsement().clone())),
        Err(SignedPolicyError::Signature(error)) => {
            Err(CliError::new(format_args!("nothing was signed, as it would be refused: {error}")))
        }
        Err(SignedPolicyError::Policy(error)) => Err(error.into()),
    }
}
