//! `fedmsg verify`

use super::output::Output;
use super::verdict::Verdict;
use super::{CliError, Global, Outcome, config};
use crate::config::Config;
use crate::limits::Limits;
use crate::message::Unverified;
use crate::policy::danger;
use crate::store::policy::PolicyFiles;
use crate::store::trust::TrustFiles;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::verify::{Rejected, Verified, Verifier};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Verify messages from a file: one body a line, one verdict a line.
///
/// Each body is checked as a receiver would check it (signature, certificate chain, revocation, routing policy), as of
/// now or as of a stated time. That it is new is not checked: a file is history.
///
/// Exit 0 only if every message is authentic, 1 if one is not.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON lines of bodies; `-` is standard input.
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// As of this time, or `message`: as of each message's own timestamp. (Default: now.)
    #[arg(long, value_name = "RFC3339|message", default_value = "now", hide_default_value = true)]
    at: At,
    /// Check the routing against this policy. (Default: the configuration's.)
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Accept Python fedmsg's messages by this authority (PEM).
    #[arg(long, value_name = "FILE", requires = "legacy_revocation")]
    legacy_ca: Option<PathBuf>,
    /// The legacy authority's revocation list (PEM).
    #[arg(long, value_name = "FILE", requires = "legacy_ca", group = "legacy_revocation")]
    legacy_crl: Option<PathBuf>,
    /// Do not look whether legacy certificates were revoked.
    #[arg(long, requires = "legacy_ca", group = "legacy_revocation")]
    no_crl: bool,
}

/// The time as of which a message is verified.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Message,
    Now,
    Time(Timestamp),
}

impl At {
    /// The time, for one message.
    pub(super) fn of(self, message: &Unverified) -> Timestamp {
        match self {
            Self::Message => message.claimed_timestamp(),
            Self::Now => SystemClock.now(),
            Self::Time(time) => time,
        }
    }
}

impl FromStr for At {
    type Err = crate::time::TimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "message" => Ok(Self::Message),
            "now" => Ok(Self::Now),
            time => time.parse().map(Self::Time),
        }
    }
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let config = load(&args, global, out)?;
    let verifier = verifier(&args, &config, out)?;
    let (mut input, progress) = open(&args.file, out)?;
    let (mut line, mut authentic, mut refused) = (0, 0_usize, 0_usize);
    let mut buffer = Vec::new();
    while next_line(&mut input, &mut buffer, verifier.limits())
        .map_err(|e| CliError::new(format_args!("{}: {e}", named(&args.file))))?
    {
        line += 1;
        progress.inc(u64::try_from(buffer.len()).unwrap_or(0));
        // What was cut is refused for its size, with the spaces that make it so.
        let is_cut = buffer.len() > verifier.limits().body_bytes && buffer.last() != Some(&b'\n');
        let body = if is_cut { &buffer } else { buffer.trim_ascii() };
        if body.is_empty() {
            continue;
        }
        match verify(&verifier, Bytes::copy_from_slice(body), args.at) {
            Ok(verified) => {
                authentic += 1;
                show(out, &Verdict::verified(&verified).at_line(line), &progress)?;
            }
            Err(rejected) => {
                refused += 1;
                show(out, &Verdict::rejected(&rejected).at_line(line), &progress)?;
            }
        }
    }
    progress.finish_and_clear();
    if authentic + refused == 0 {
        return Err(CliError::new(format_args!("{}: no message in it", named(&args.file))));
    }
    out.say(format_args!("{authentic} authentic, {refused} refused"));
    Ok(if refused == 0 { Outcome::Yes } else { Outcome::No })
}

/// What messages call the input.
fn named(file: &Path) -> std::path::Display<'_> {
    if file == Path::new("-") { Path::new("standard input").display() } else { file.display() }
}

/// The configuration; the legacy flags are its keys of the same meaning.
fn load(args: &Args, global: &Global, out: &mut Output) -> Result<Config, CliError> {
    let text = |path: &Path| {
        let named = path.to_str().map(str::to_owned);
        named.ok_or_else(|| CliError::new(format_args!("{}: not a name in UTF-8", path.display())))
    };
    let ca = args.legacy_ca.as_deref().map(text).transpose()?;
    let crl = args.legacy_crl.as_deref().map(text).transpose()?;
    let mut flags = Vec::new();
    if let Some(ca) = &ca {
        flags.push(("trust.legacy.accept", "true", "--legacy-ca"));
        flags.push(("trust.legacy.ca", ca.as_str(), "--legacy-ca"));
    }
    if let Some(crl) = &crl {
        flags.push(("trust.legacy.crl", crl.as_str(), "--legacy-crl"));
        flags.push(("trust.legacy.revocation", "crl", "--legacy-crl"));
    }
    if args.no_crl {
        flags.push(("trust.legacy.revocation", "not-checked", "--no-crl"));
        out.warn("legacy certificates are not checked for revocation (--no-crl)");
    }
    config::load(global, out, &flags)
}

fn verifier(args: &Args, config: &Config, out: &mut Output) -> Result<Verifier, CliError> {
    let limits = config.limits.to_limits();
    let trust = TrustFiles::load(config).map_err(config::trust)?;
    let files = if args.policy.is_empty() {
        PolicyFiles::of(config)
    } else {
        PolicyFiles::unsigned(args.policy.clone(), limits)
    };
    let policy = if files.files().is_empty() && args.legacy_ca.is_some() {
        out.warn("no policy is configured: who may publish which topic is not checked");
        danger::allow_everything()
    } else {
        files.read(SystemClock.now()).map_err(config::no_policy)?.into_policy()
    };
    Ok(trust.into_verifier(Arc::new(policy), limits))
}

fn verify(verifier: &Verifier, body: Bytes, at: At) -> Result<Verified, Box<Rejected>> {
    let message = Unverified::parse_body(body, verifier.limits())?;
    let at = at.of(&message);
    verifier.verify(message, at)
}

/// A reader that has gone (`| grep -q`) is shown no more; the rest is verified all the same, for the exit code's sake.
fn show(out: &mut Output, verdict: &Verdict<'_>, progress: &ProgressBar) -> io::Result<()> {
    if out.reader_gone() {
        return Ok(());
    }
    let shown = progress.suspend(|| if out.is_json() { out.object(verdict) } else { out.line(verdict) });
    if out.reader_gone() { Ok(()) } else { shown }
}

/// The input, and a progress bar where stderr is a terminal and the size is known.
fn open(path: &Path, out: &Output) -> Result<(Box<dyn BufRead>, ProgressBar), CliError> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), ProgressBar::hidden()));
    }
    let fault = |e: io::Error| CliError::new(format_args!("{}: {e}", path.display()));
    let file = File::open(path).map_err(fault)?;
    let bytes = file.metadata().map_err(fault)?.len();
    // What is shown line by line on the same terminal is progress enough.
    let hidden = out.is_quiet() || io::stdout().is_terminal() || !io::stderr().is_terminal();
    let progress = if hidden { ProgressBar::hidden() } else { ProgressBar::new(bytes) };
    if let Ok(style) = ProgressStyle::with_template("verifying {bar:40} {bytes}/{total_bytes} {eta}") {
        progress.set_style(style);
    }
    Ok((Box::new(BufReader::new(file)), progress))
}

/// Reads a line into `buffer`; one that is over the body's limit is cut just beyond it, so that it is refused for its size
/// and takes no more memory than that. Says whether there was one.
fn next_line(input: &mut dyn BufRead, buffer: &mut Vec<u8>, limits: &Limits) -> io::Result<bool> {
    buffer.clear();
    let most = u64::try_from(limits.body_bytes).unwrap_or(u64::MAX).saturating_add(2);
    if input.take(most).read_until(b'\n', buffer)? == 0 {
        return Ok(false);
    }
    if buffer.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(true)
}
