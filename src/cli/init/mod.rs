//! `fedmsg init`

mod files;

use super::output::{GOOD, Output};
use super::{CliError, Global, Outcome, shell_quoted};
use crate::config::{Config, Sources};
use crate::pki::profile::ProfileName;
use crate::pki::profile::Profiles;
use crate::store::authority::{AuthorityStore, IssueRequest, KeyProtection};
use crate::store::policy;
use crate::store::trust::TrustFiles;
use crate::time::{Clock, SystemClock};
use files::{ENV, HOST, SERVICES, TRUST_DOMAIN};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Make a working development bus in a directory.
///
/// It gets an authority of its own, certificates for the services `shell` and `wiki` on localhost, a policy that confines
/// each to its own topics, revocation lists, and endpoints on loopback. A directory that is not empty is left alone. The
/// authority's keys are not encrypted: for anything but development, `fedmsg ca init` makes one whose keys are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory; it is made.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: Args, _global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let directory = args.directory;
    refuse_occupied(&directory)?;
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let failed = |doing: &'static str| {
        let place = directory.display().to_string();
        move |error: std::io::Error| CliError::new(format_args!("{place}: {doing}: {error}"))
    };
    fs::create_dir_all(parent).map_err(failed("making the directory above it"))?;
    // Built beside its place and renamed, so that it is there whole or not at all.
    let beside = tempfile::Builder::new()
        .prefix(".fedmsg-init-")
        .tempdir_in(parent)
        .map_err(failed("making a directory beside it"))?;
    let ports = free_ports(&directory);
    build(beside.path(), &ports)?;
    fs::rename(beside.path(), &directory).map_err(|error| {
        // Somebody was faster: rename(2) replaces an empty directory and no other.
        refuse_occupied(&directory).err().unwrap_or_else(|| failed("renaming to it")(error))
    })?;
    drop(beside.keep());
    say(&directory, &ports, out)
}

fn refuse_occupied(directory: &Path) -> Result<(), CliError> {
    let occupied = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) if error.kind() == ErrorKind::NotADirectory => true,
        Err(error) => return Err(CliError::new(format_args!("{}: {error}", directory.display()))),
    };
    if !occupied {
        return Ok(());
    }
    let error = CliError::new(format_args!("{} is there and not empty", directory.display()));
    Err(error.hint("name a new directory, or remove this one first; nothing in it was changed"))
}

/// Fills `root`, and reads all of it back as a consumer will.
fn build(root: &Path, ports: &Ports) -> Result<(), CliError> {
    let now = SystemClock.now();
    let pki = root.join("pki");
    let mut authority = AuthorityStore::create(
        &pki,
        TRUST_DOMAIN,
        false,
        Profiles::built_in()?,
        &KeyProtection::Unencrypted,
        now,
    )?;
    for service in SERVICES {
        let request = IssueRequest {
            env: ENV.to_owned(),
            service: service.to_owned(),
            host: HOST.to_owned(),
            days: None,
            profile: ProfileName::Service,
            key_kind: None,
            directory: None,
            replace: false,
        };
        authority.issue(&request, now)?;
    }
    drop(authority);
    for (name, text) in files::all(ports) {
        let path = root.join(name);
        let above = path.parent().unwrap_or(root);
        fs::create_dir_all(above)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| CliError::new(format_args!("{}: {error}", path.display())))?;
    }
    let config = Config::load(&Sources::built_in().directory(root))?;
    TrustFiles::load(&config)?;
    let policies: Vec<PathBuf> = config.policy.files.iter().map(|file| file.path().to_owned()).collect();
    policy::read(&policies, &config.limits.to_limits())?;
    Ok(())
}

/// The ports of the bus: consecutive, from the first.
struct Ports {
    first: u16,
}

impl Ports {
    /// Of one service, by its place in [`SERVICES`].
    fn of(&self, service: usize) -> impl Iterator<Item = u16> {
        let skipped = u16::try_from(service).unwrap_or(u16::MAX).saturating_mul(Self::A_SERVICE);
        let first = self.first.saturating_add(skipped);
        first..first.saturating_add(Self::A_SERVICE)
    }

    /// Where that service answers who missed something: behind all the others.
    fn replay(&self, service: usize) -> u16 {
        let place = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        let endpoints = place(SERVICES.len()).saturating_mul(Self::A_SERVICE);
        self.first.saturating_add(endpoints).saturating_add(place(service))
    }

    const A_SERVICE: u16 = 4;
    /// The endpoints, and one for replay.
    const NEEDED: u16 = Self::A_SERVICE + 1;
}

/// Ports on which nothing listens now. Where the search begins depends on the directory, so that two buses of one machine
/// are apart even while neither runs; it stays below the ports that systems hand out by themselves (from 32768 on Linux).
fn free_ports(directory: &Path) -> Ports {
    const LOWEST: u16 = 20_000;
    const BLOCKS: u16 = 1_200;
    let needed = u16::try_from(SERVICES.len()).unwrap_or(u16::MAX).saturating_mul(Ports::NEEDED);
    let mut hasher = DefaultHasher::new();
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).hash(&mut hasher);
    let start = u16::try_from(hasher.finish() % u64::from(BLOCKS)).unwrap_or(0);
    let block = |n: u16| LOWEST + (start + n) % BLOCKS * needed;
    let free = |first: u16| {
        // Held together while they are tried, so that each is free beside the others.
        let held: Result<Vec<TcpListener>, _> =
            (first..first + needed).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        held.is_ok()
    };
    // A machine with every one of them taken would not run a bus on any other either.
    Ports { first: (0..64).map(block).find(|first| free(*first)).unwrap_or_else(|| block(0)) }
}

fn say(directory: &Path, ports: &Ports, out: &mut Output) -> Result<Outcome, CliError> {
    let quoted = shell_quoted(&directory.display().to_string());
    let next = [
        format!("fedmsg --config {quoted} tail"),
        format!("fedmsg --config {quoted} publish log.message --body '{{\"hello\":\"world\"}}'"),
    ];
    if out.is_json() {
        let last = ports.of(SERVICES.len() - 1).last();
        out.object(&serde_json::json!({
            "directory": directory.display().to_string(),
            "services": SERVICES,
            "host": HOST,
            "env": ENV,
            "trust_domain": TRUST_DOMAIN,
            "first_port": ports.first,
            "last_port": last,
            "next": next,
        }))?;
        return Ok(Outcome::Yes);
    }
    out.say(format_args!(
        "{GOOD}made{GOOD:#} {}: an authority for {TRUST_DOMAIN}, certificates for {}, a policy, endpoints from port {}",
        directory.display(),
        SERVICES.join(" and "),
        ports.first
    ));
    out.say("the authority's keys are not encrypted: this is for development");
    out.say("next, in two terminals:");
    for command in &next {
        out.line(command)?;
    }
    Ok(Outcome::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_the_same_each_time() {
        let ports = free_ports(Path::new("/some/where"));
        assert!((20_000..32_768 - 8).contains(&ports.first));
        assert_eq!(ports.of(1).next(), Some(ports.first + Ports::A_SERVICE));
        let _held: Vec<TcpListener> =
            ports.of(0).filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).collect();
        assert_ne!(free_ports(Path::new("/some/where")).first, ports.first, "a taken port moves the block");
    }
}
