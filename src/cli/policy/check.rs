//! `fedmsg policy check`

use super::{Files, Loaded, Signature, counted, hex, refused, say_all_but_last};
use crate::cli::output::{GOOD, Output};
use crate::cli::{CliError, Global, Outcome};
use crate::policy::PolicyError;
use crate::store::policy::PolicyFileError;
use serde_json::{Value, json};

/// Read a policy, check its signature where one is required, and run the tests in it.
///
/// Exit 0: it can be used. Exit 1: one of its [[test]] tables does not come out as it says. Exit 2: it is no policy; every
/// error is named with its file, line and column.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.files.read(global)? {
        Ok(Loaded { policy, signature, .. }) => {
            let (rules, groups, tests) = (policy.rule_count(), policy.group_count(), policy.test_count());
            if out.is_json() {
                let files: Vec<Value> = policy
                    .files()
                    .iter()
                    .map(|f| json!({"file": &*f.file, "serial": f.serial, "sha256": hex(&f.sha256)}))
                    .collect();
                out.object(&json!({
                    "ok": true, "files": files, "default": policy.fallback().to_string(), "rules": rules,
                    "groups": groups, "tests": tests, "digest": hex(policy.digest()),
                    "signature": signature.object(),
                }))?;
            } else {
                for file in policy.files() {
                    out.line(format_args!("{}: serial {}", file.file, file.serial))?;
                }
                if !matches!(signature, Signature::NotAsked) {
                    out.line(format_args!("signature: {signature}"))?;
                }
                out.line(format_args!(
                    "{GOOD}ok{GOOD:#}: {}, {}, {} passed; default {}; digest {}",
                    counted(rules, "rule"),
                    counted(groups, "group"),
                    counted(tests, "test"),
                    policy.fallback(),
                    hex(policy.digest()),
                ))?;
            }
            Ok(Outcome::Yes)
        }
        Err(PolicyFileError::Policy(errors)) => {
            if out.is_json() {
                for PolicyError { position, fault } in &errors {
                    out.object(&json!({
                        "ok": false, "file": &*position.file, "line": position.line, "column": position.column,
                        "message": fault.to_string(),
                    }))?;
                }
            }
            let only_tests = errors.only_failed_tests();
            let last = say_all_but_last(&errors, out);
            if only_tests {
                out.error(last);
                return Ok(Outcome::No);
            }
            Err(CliError::new(last))
        }
        Err(error) => Err(refused(error, out)),
    }
}
