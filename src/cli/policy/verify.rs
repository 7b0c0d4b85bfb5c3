//! `fedmsg policy verify`

use super::{Files, endorsed, refused};
use crate::cli::output::{BAD, GOOD, Output};
use crate::cli::{CliError, Global, Outcome, config};
use crate::config::{Config, Sources};
use crate::policy::signature::{self, MAX_SIGNATURE_BYTES, Requirement, SignedPolicyError};
use crate::policy::{PublisherPattern, Source};
use crate::store::policy::{Bytes, PolicyFileError, PolicyFiles, signature_beside};
use crate::store::trust::TrustFiles;
use crate::time::{Clock, SystemClock, Timestamp};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Check the signature of a policy: over these bytes, by an operator who may sign, holding now, and not older than what was in force.
///
/// Exit 0: it holds. Exit 1: it does not. Exit 2: there is nothing to judge, or nothing to judge it by.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The signature's file. [default: policy.signature, or the policy's file with .sig after its name]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Who may sign, instead of policy.signers: an identity, `*` for a whole segment. May be repeated.
    #[arg(long, value_name = "ID")]
    signer: Vec<PublisherPattern>,
    /// As of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let config = Config::load(&Sources::machine(global.config.as_deref()))?;
    let (paths, limits) = args.files.find(global)?;
    let by_the_configuration = args.files.policy.is_empty();
    let stated = args.signature.clone().or_else(|| {
        let configured = config.policy.signature.as_ref().filter(|_| by_the_configuration);
        configured.map(|file| file.path().to_owned())
    });
    let file = match (stated, &paths[..]) {
        (Some(stated), _) => stated,
        (None, [only]) => signature_beside(only),
        (None, _) => {
            return Err(CliError::new("several files have one signature, and it is not said where it is")
                .hint("name it with --signature FILE, or in the configuration (policy.signature)"));
        }
    };
    let signers = if args.signer.is_empty() { config.policy.signers.value() } else { &args.signer };
    if signers.is_empty() {
        return Err(CliError::new("nobody is named who may sign")
            .hint("name them with --signer ID, or in the configuration (policy.signers)"));
    }
    let trust = TrustFiles::load(&config).map_err(config::trust)?;
    let trust = trust.store().ok_or(PolicyFileError::NoAnchor)?;
    let mut detached = Vec::new();
    let limit = u64::try_from(MAX_SIGNATURE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(&file).and_then(|opened| opened.take(limit).read_to_end(&mut detached));
    let shown = file.display();
    read.map_err(|error| CliError::new(format_args!("{shown}: {error}")))?;
    let bytes = Bytes::read(&paths).map_err(|error| refused(error, out))?;
    let sources: Vec<Source<'_>> = bytes.iter().map(Bytes::source).collect();
    let at = args.at.unwrap_or_else(|| SystemClock.now());
    let by = Requirement { trust, signers };
    let (reason, error) = match signature::read_signed(&detached, &sources, by, &limits, at) {
        Ok(signed) => {
            let files = PolicyFiles::of(&config);
            let remembered = files.remembered().filter(|_| by_the_configuration);
            match remembered.map_or(Ok(()), |remembered| remembered.check(signed.policy().edition())) {
                Ok(()) => {
                    let endorsement = signed.endorsement();
                    if out.is_json() {
                        let mut object = endorsed(endorsement);
                        object["digest"] = signed.policy().edition().digest_hex().into();
                        out.object(&object)?;
                    } else {
                        out.line(format_args!("{shown}: {GOOD}ok{GOOD:#}: {endorsement}"))?;
                    }
                    return Ok(Outcome::Yes);
                }
                Err(error) => ("policy-superseded", error.to_string()),
            }
        }
        Err(SignedPolicyError::Signature(error)) => (error.code(), error.to_string()),
        Err(SignedPolicyError::Policy(errors)) => return Err(refused(errors.into(), out)),
    };
    if out.is_json() {
        out.object(&json!({"ok": false, "file": shown.to_string(), "reason": reason, "message": error}))?;
    } else {
        out.line(format_args!("{shown}: {BAD}refused{BAD:#}: {error}"))?;
    }
    Ok(Outcome::No)
}
