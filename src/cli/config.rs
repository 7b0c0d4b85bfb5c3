//! `fedmsg config`

use super::output::{DIM, GOOD, Output, STRONG};
use super::{CliError, Global, Outcome};
use crate::bus::SubscribeError;
use crate::config::{Config, Entry, FilePath, Origin, Sources};
use crate::pki::chain::{Purpose, TrustStore};
use crate::pki::lifetime::{Expiry, Lifetime, LifetimeKind};
use crate::policy::signature::SignatureError;
use crate::store::credentials::Credentials;
use crate::store::expiry;
use crate::store::policy::{PolicyFileError, PolicyFiles, RememberedError};
use crate::store::trust::{TrustFileError, TrustFileErrors, TrustFiles};
use crate::time::{Clock, SystemClock, Timestamp};
use clap::Subcommand;
use serde::Serialize;

/// Show and check the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print each value and where it came from.
    Show {
        /// Only this key (`bus.env`), or the keys of this table (`bus`).
        key: Option<String>,
    },
    /// Say all that is wrong, in the configuration and in the files that it names; exit 2 if anything is.
    Check,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.what {
        What::Show { key } => show(key.as_deref(), &load(global, out, &[])?, out),
        What::Check => check(global, out),
    }
}

/// Loads the configuration for a command. `flags` are the keys that its own flags set: (key, value, flag).
///
/// All that is wrong is said; the last of it is the error.
pub(super) fn load(
    global: &Global,
    out: &mut Output,
    flags: &[(&str, &str, &str)],
) -> Result<Config, CliError> {
    let machine = Sources::machine(global.config.as_deref());
    let sources = flags.iter().fold(machine, |sources, (key, value, flag)| sources.flag(key, value, flag));
    Config::load(&sources).map_err(|errors| {
        let mut errors: Vec<CliError> = errors.iter().map(complaint).collect();
        let last = errors.pop().unwrap_or_else(|| CliError::new("the configuration cannot be read"));
        errors.iter().for_each(|error| say_error(out, error));
        last
    })
}

fn complaint(error: &crate::config::ConfigError) -> CliError {
    let complaint = CliError::new(error);
    match error.hint() {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}

/// What is wrong with the trust material, with what mends it.
pub(super) fn trust(errors: TrustFileErrors) -> CliError {
    let complaint = CliError::new(&errors);
    match errors.iter().find_map(TrustFileError::hint) {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}

const NO_POLICY: &str =
    "name one in [policy] files (docs/policy.md); or `fedmsg init DIR` makes a bus with one";

/// Why there is no policy, with what mends it.
pub(super) fn no_policy(error: PolicyFileError) -> CliError {
    let hint = policy_hint(&error);
    if let PolicyFileError::Trust(errors) = error {
        return trust(errors);
    }
    let complaint = CliError::from(error);
    match hint {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}

/// What mends a policy that cannot be put in force, where that can be said.
fn policy_hint(error: &PolicyFileError) -> Option<&'static str> {
    match error {
        PolicyFileError::NotConfigured => Some(NO_POLICY),
        PolicyFileError::NotSigned { .. } => {
            Some("`fedmsg policy sign --operator NAME` signs it, with an operator's certificate")
        }
        PolicyFileError::Signature { source, .. } => match **source {
            SignatureError::Chain(_) => Some(
                "an operator's certificate is made by `fedmsg ca issue operator --host NAME --profile operator`",
            ),
            SignatureError::Expired { .. }
            | SignatureError::Files { .. }
            | SignatureError::OutlivesCertificate { .. }
            | SignatureError::Serial { .. } => Some("`fedmsg policy sign --operator NAME` signs it anew"),
            SignatureError::Signer { .. } => Some("policy.signers says who may"),
            SignatureError::Algorithm { .. }
            | SignatureError::Certificate { .. }
            | SignatureError::Malformed(_)
            | SignatureError::NotYetValid { .. }
            | SignatureError::Signature(_) => None,
        },
        PolicyFileError::Remembered(RememberedError::Older { .. } | RememberedError::OtherBytes { .. }) => {
            Some("raise its serial above the one that was in force, and sign it anew")
        }
        PolicyFileError::Candidate(_)
        | PolicyFileError::NoAnchor
        | PolicyFileError::Policy(_)
        | PolicyFileError::Read { .. }
        | PolicyFileError::Remembered(_)
        | PolicyFileError::TooLarge { .. }
        | PolicyFileError::Trust(_)
        | PolicyFileError::Watch { .. } => None,
    }
}

/// Why there is no subscriber, with what mends it.
pub(super) fn subscribing(error: SubscribeError) -> CliError {
    if let SubscribeError::Trust(errors) = error {
        return trust(errors);
    }
    if let SubscribeError::Policy(error) = error {
        return no_policy(error);
    }
    let hint = match error {
        SubscribeError::NoEndpoints => {
            Some("`fedmsg init DIR` makes a bus with endpoints; `--config DIR` then uses it")
        }
        SubscribeError::NoState => Some("set `state` in [freshness], in a file of fedmsg.d"),
        SubscribeError::Connect(_)
        | SubscribeError::Name { .. }
        | SubscribeError::Pattern { .. }
        | SubscribeError::Policy(_)
        | SubscribeError::Receive(_)
        | SubscribeError::Status(_)
        | SubscribeError::Store(_)
        | SubscribeError::Trust(_) => None,
    };
    match hint {
        Some(hint) => CliError::from(error).hint(hint),
        None => error.into(),
    }
}

fn say_error(out: &mut Output, error: &CliError) {
    out.error(&error.message);
    for hint in &error.hints {
        out.hint(hint);
    }
}

#[derive(Serialize)]
struct Line<'e> {
    key: &'e str,
    value: &'e Option<toml::Value>,
    /// `built-in`, `environment`, `file`, `flag`, or null where the key is not set.
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl<'e> Line<'e> {
    fn new(entry: &'e Entry<'_>) -> Self {
        let (name, position) = match entry.origin {
            Some(Origin::Environment(name) | Origin::Flag(name)) => (Some(name.as_str()), None),
            Some(Origin::File(position)) => (None, Some(position)),
            Some(Origin::BuiltIn) | None => (None, None),
        };
        Self {
            key: &entry.key,
            value: &entry.value,
            origin: entry.origin.map(Origin::kind),
            name,
            file: position.map(|p| &*p.file),
            line: position.map(|p| p.line),
            column: position.map(|p| p.column),
        }
    }
}

fn show(wanted: Option<&str>, config: &Config, out: &mut Output) -> Result<Outcome, CliError> {
    let mut entries = config.entries();
    if let Some(wanted) = wanted {
        let within = |key: &str| key.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'));
        entries.retain(|entry| entry.key == wanted || within(&entry.key));
        if entries.is_empty() && wanted != "endpoints" {
            let unknown = CliError::new(format_args!("unknown key `{wanted}`"));
            return Err(match crate::config::suggest(wanted) {
                Some(near) => unknown.hint(format!("did you mean `{near}`?")),
                None => unknown.hint("`fedmsg config show` prints every key"),
            });
        }
    }
    if out.is_json() {
        for entry in &entries {
            out.object(&Line::new(entry))?;
        }
        return Ok(Outcome::Yes);
    }
    let rows: Vec<(String, Option<&Origin>, String)> = entries
        .into_iter()
        .map(|e| (e.key, e.origin, e.value.map_or_else(|| "-".to_owned(), |value| value.to_string())))
        .collect();
    let key_width = rows.iter().map(|(key, ..)| key.chars().count()).max().unwrap_or(0).max(3);
    // A long list does not push the origins of all others out of sight.
    let value_width = rows.iter().map(|(.., value)| value.chars().count()).filter(|n| *n <= 48).max();
    let value_width = value_width.unwrap_or(0).max(5);
    let head = format!("{:key_width$}  {:value_width$}  FROM", "KEY", "VALUE");
    out.line(format_args!("{STRONG}{head}{STRONG:#}"))?;
    for (key, origin, value) in rows {
        let from = origin.map_or_else(|| "not set".to_owned(), Origin::to_string);
        match origin {
            Some(Origin::Environment(_) | Origin::File(_) | Origin::Flag(_)) => {
                out.line(format_args!("{key:key_width$}  {value:value_width$}  {from}"))?;
            }
            Some(Origin::BuiltIn) | None => {
                out.line(format_args!("{key:key_width$}  {value:value_width$}  {DIM}{from}{DIM:#}"))?;
            }
        }
    }
    Ok(Outcome::Yes)
}

/// What `check` found beside the configuration's own errors.
#[derive(Default)]
struct Findings {
    read: Vec<String>,
    warnings: Vec<CliError>,
    errors: Vec<CliError>,
}

fn check(global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let config = load(global, out, &[])?;
    let mut found = Findings::default();
    found.read.extend(config.files().iter().map(|file| file.display().to_string()));
    let trust = found.trust(&config);
    found.policy(&config);
    found.publisher(&config, trust.as_ref());
    let now = SystemClock.now();
    let lives = found.lifetimes(&config, trust.as_ref(), now);
    let ignored: Vec<String> = config.ignored().iter().map(|file| file.display().to_string()).collect();
    for warning in &found.warnings {
        out.warn(&warning.message);
        warning.hints.iter().for_each(|hint| out.hint(hint));
    }
    if let Some(last) = found.errors.pop() {
        found.errors.iter().for_each(|error| say_error(out, error));
        return Err(last);
    }
    if out.is_json() {
        let warnings: Vec<&str> = found.warnings.iter().map(|warning| warning.message.as_str()).collect();
        let expiry: Vec<serde_json::Value> = lives.iter().map(|life| ending(life, now)).collect();
        out.object(&serde_json::json!({
            "read": found.read, "passed_over": ignored, "warnings": warnings, "expiry": expiry,
        }))?;
        return Ok(Outcome::Yes);
    }
    for read in &found.read {
        out.line(format_args!("read         {read}"))?;
    }
    for ignored in &ignored {
        out.line(format_args!("{DIM}passed over  {ignored}: not .toml{DIM:#}"))?;
    }
    let (files, warnings) = (found.read.len(), found.warnings.len());
    out.say(format_args!(
        "{GOOD}well{GOOD:#}: {} read, {}",
        count(files, "file"),
        count(warnings, "warning")
    ));
    Ok(Outcome::Yes)
}

/// When something ends, with the numbers that a gauge would show.
fn ending(life: &Lifetime, now: Timestamp) -> serde_json::Value {
    let Expiry { ends_in, due_in } = life.expiry(now);
    serde_json::json!({
        "kind": life.kind.as_str(), "file": life.label, "name": life.name,
        "from": life.from.to_string(), "until": life.until.to_string(), "due": life.due().to_string(),
        "ends_in": ends_in, "due_in": due_in,
    })
}

fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

impl Findings {
    fn named(&mut self, files: &[FilePath]) {
        self.read.extend(files.iter().map(|file| file.path().display().to_string()));
    }

    fn trust(&mut self, config: &Config) -> Option<TrustFiles> {
        let trust = &config.trust;
        for files in [&trust.anchors, &trust.common_name_anchors, &trust.intermediates, &trust.crls] {
            self.named(files);
        }
        if *config.legacy.accept {
            let files = [&config.legacy.ca, &config.legacy.crl];
            let files: Vec<FilePath> = files.into_iter().flatten().map(|file| file.value().clone()).collect();
            self.named(&files);
        }
        let files = match TrustFiles::load(config) {
            Ok(files) => files,
            Err(errors) => {
                for error in errors.iter() {
                    let said = error.hint().into_iter().fold(CliError::new(error), CliError::hint);
                    let nothing_configured = matches!(error, TrustFileError::NoAnchors);
                    if nothing_configured { &mut self.warnings } else { &mut self.errors }.push(said);
                }
                return None;
            }
        };
        Some(files)
    }

    /// When everything ends, with a warning for what is past two thirds of its life.
    fn lifetimes(&mut self, config: &Config, trust: Option<&TrustFiles>, now: Timestamp) -> Vec<Lifetime> {
        let lives = match expiry::lifetimes(config, trust.and_then(TrustFiles::store)) {
            Ok(lives) => lives,
            Err(error) => {
                // The publisher's own certificate was told of already.
                if self.errors.is_empty() {
                    self.warnings.push(CliError::new(error));
                }
                return Vec::new();
            }
        };
        for old in lives.iter().filter(|life| life.is_due(now)) {
            let warning = CliError::new(format_args!(
                "{}: `{}` is past two thirds of its life, which ends at {}",
                old.label, old.name, old.until
            ));
            self.warnings.push(match old.kind {
                LifetimeKind::Anchor => warning.hint("fedmsg ca rollover prepare --level root"),
                LifetimeKind::Certificate => warning.hint("fedmsg ca renew --due"),
                LifetimeKind::Crl => warning.hint("fedmsg ca crl --due"),
                LifetimeKind::Intermediate => warning.hint("fedmsg ca rollover prepare"),
            });
        }
        lives
    }

    fn policy(&mut self, config: &Config) {
        self.named(&config.policy.files);
        self.named(&config.policy.candidate);
        let (files, now) = (PolicyFiles::of(config), SystemClock.now());
        if files.is_signature_required() {
            self.read.extend(files.signature().map(|file| file.display().to_string()));
        }
        if files.files().is_empty() {
            let none = "no policy is configured (policy.files), so that every message is refused";
            return self.warnings.push(CliError::new(none));
        }
        for read in [files.read(now).map(|_| ()), files.read_candidate().map(|_| ())] {
            match read {
                Ok(()) => {}
                Err(PolicyFileError::Policy(errors)) => self.errors.extend(errors.iter().map(CliError::new)),
                // It was said of the trust itself.
                Err(PolicyFileError::Trust(_)) => {}
                Err(error) => self.errors.push(no_policy(error)),
            }
        }
        if let Some(Err(error)) = files.optional_signature(now) {
            self.warnings.push(no_policy(error));
        }
    }

    /// Whether whoever trusts what we trust would believe what we publish.
    fn publisher(&mut self, config: &Config, trust: Option<&TrustFiles>) {
        let Some(directory) = &config.credentials.directory else { return };
        let (publisher, origin) = (&config.publisher, directory.origin());
        if !directory.path().is_dir() {
            let what = format_args!(
                "{origin}: credentials.directory: {} is no directory",
                directory.path().display()
            );
            return self.errors.push(CliError::new(what));
        }
        let (Some(service), Some(host)) = (&publisher.service, &publisher.host) else { return };
        let issue = format!("`fedmsg ca issue {service} --host {host}` makes a certificate");
        match Credentials::load(directory.path(), service.as_str(), host.as_str()) {
            Ok(credentials) => {
                let refused =
                    trust.and_then(TrustFiles::store).and_then(|store| refused(&credentials, store));
                self.errors.extend(refused.map(|error| error.hint(issue)));
            }
            Err(error) => self.errors.push(CliError::from(error).hint(issue)),
        }
        if config.endpoints.of(service.as_str()).is_none() {
            let what = format_args!(
                "{}: publisher.service is `{service}`, which has no endpoints",
                service.origin()
            );
            self.warnings.push(CliError::new(what));
        }
    }
}

fn refused(credentials: &Credentials, store: &TrustStore) -> Option<CliError> {
    let issuers: Vec<&[u8]> = credentials.intermediates().iter().map(|issuer| &issuer.der()[..]).collect();
    let leaf = credentials.certificate();
    let fault = store.validate(leaf.der(), &issuers, &Purpose::DocumentSigning, SystemClock.now()).err()?;
    Some(CliError::new(format_args!(
        "what {} signs would be refused: {fault} ({})",
        leaf.subject(),
        fault.code()
    )))
}
