//! An authority in a directory: its keys, certificates and lists, and the index of all that it issued.
//!
//! ```text
//! pki/                     0700
//!   root.crt  root.crl             for everybody: the trust anchor, and what it revoked
//!   issuing.crt  issuing.crl       for everybody: what issues from day to day, and what that revoked
//!   issuing.key            0600
//!   offline/root.key       0600    to be moved away
//!   services/              0700    SERVICE-HOST.crt and SERVICE-HOST.key (0600)
//!   authority.sqlite               the index
//!   authority.lock                 held while anything is written
//! ```
//!
//! A single authority (a toy) has `root.key` beside `root.crt`, and nothing that is called issuing.
//!
//! The order of writing makes a crash harmless. A certificate is in the index before it is in a file; a revocation is in the
//! index before the list is written, and the next list has it in any case; a file is old or new, never half. What was entered
//! and is not in its file yet is noted in the index, and [`AuthorityStore::recover`] sees to it after a crash.

mod check;
mod error;
mod index;
mod issue;
mod log;
mod recover;
mod renew;
mod request;
mod revoke;

pub use check::{Finding, Health, Subject};
pub use error::AuthorityStoreError;
pub use index::{Entry, EntryRevocation, Level, State};
pub use issue::{IssueRequest, IssuedService};
pub use log::{LOG_DOMAIN, LogEntry, LogFault, VerifiedLog};
pub use recover::Repair;
pub use renew::{RenewRequest, Renewals};
pub use request::{SignRequest, SignedRequest};
pub use revoke::{Revocation, Target};

use super::files::{self, FileError, at};
use crate::pki::authority::{Authority, AuthorityError};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{RevocationPolicy, TrustStore};
use crate::pki::crl::Crl;
use crate::pki::key::PrivateKey;
use crate::pki::pem;
use crate::pki::profile::Profiles;
use crate::pki::serial::Serial;
use crate::time::Timestamp;
use index::{Index, NewEntry};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const INDEX: &str = "authority.sqlite";
const LOCK: &str = "authority.lock";
const SERVICES: &str = "services";
const OFFLINE: &str = "offline";

/// An authority's directory.
#[derive(Debug)]
pub struct AuthorityStore {
    directory: PathBuf,
    index: Index,
    trust_domain: String,
    profiles: Profiles,
    root: Certificate,
    issuing: Option<Certificate>,
}

/// A revocation list that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCrl {
    /// Who signed it.
    pub level: Level,
    /// Its file.
    pub path: PathBuf,
    /// Its CRLNumber.
    pub number: u64,
    /// How many certificates it names.
    pub entries: usize,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Timestamp,
}

impl AuthorityStore {
    /// Makes an authority in `directory`: a root whose key is kept apart and an issuing intermediate, or with `single` a
    /// root that issues. All of it appears at once, under its name, or not at all.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Exists`] if `directory` exists and is not empty; and whatever making it meets.
    pub fn create(
        directory: &Path,
        trust_domain: &str,
        single: bool,
        profiles: Profiles,
        now: Timestamp,
    ) -> Result<Self, AuthorityStoreError> {
        let exists = || AuthorityStoreError::Exists { path: directory.to_owned() };
        if is_occupied(directory)? {
            return Err(exists());
        }
        let parent = files::directory_of(directory);
        fs::create_dir_all(parent).map_err(at(parent, "making the directory"))?;
        // Removed again if anything below fails.
        let beside = tempfile::Builder::new()
            .prefix(".new-pki-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(at(parent, "making a directory"))?;
        build(beside.path(), trust_domain, single, &profiles, now)?;
        match fs::rename(beside.path(), directory) {
            Ok(()) => drop(beside.keep()),
            // Somebody was faster.
            Err(_) if is_occupied(directory)? => return Err(exists()),
            Err(error) => return Err(at(directory, "renaming")(error).into()),
        }
        files::sync_dir(parent)?;
        Self::open(directory, profiles)
    }

    /// Opens the authority in `directory`.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Missing`] if there is none; [`FileError::TooOpen`] if others may enter the directory.
    pub fn open(directory: &Path, profiles: Profiles) -> Result<Self, AuthorityStoreError> {
        let store = Self::open_to_check(directory, profiles)?;
        files::check_private_dir(directory)?;
        Ok(store)
    }

    /// As [`AuthorityStore::open`], whoever may enter the directory: for [`AuthorityStore::check`], which says so.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Missing`] if there is none.
    pub fn open_to_check(directory: &Path, profiles: Profiles) -> Result<Self, AuthorityStoreError> {
        let missing = || AuthorityStoreError::Missing { path: directory.to_owned() };
        let path = directory.join(INDEX);
        if !path.exists() {
            return Err(missing());
        }
        let index = Index::open(&path)?;
        Ok(Self {
            directory: directory.to_owned(),
            trust_domain: index.trust_domain()?,
            root: index.authority(Level::Root)?.ok_or_else(missing)?,
            issuing: index.authority(Level::Issuing)?,
            index,
            profiles,
        })
    }

    /// Writes the list of one authority with new dates, `days` from now or as the profile says.
    ///
    /// # Errors
    /// [`AuthorityStoreError::KeyAway`] if its key is not here; and whatever signing and writing meet.
    pub fn rewrite_crl(
        &mut self,
        level: Level,
        days: Option<u32>,
        now: Timestamp,
    ) -> Result<WrittenCrl, AuthorityStoreError> {
        let _lock = self.lock()?;
        let signer = self.signer(level, now)?;
        let lifetime = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let number = self.index.next_crl_number(level, now)?;
        self.write_crl(level, &signer, number, lifetime, now)
    }

    /// The list of one authority, as its file has it.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Pem`] or [`AuthorityStoreError::File`].
    pub fn read_crl(&self, level: Level) -> Result<Crl, AuthorityStoreError> {
        let path = self.crl_path(level);
        pem::crl(&files::read(&path)?).map_err(|cause| AuthorityStoreError::Pem { path, cause })
    }

    /// Everything that was ever issued, in the order of issuing.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn entries(&self) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.index.entries()
    }

    /// The number that the newest list of an authority has, or will have when it is written.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn crl_number(&self, level: Level) -> Result<u64, AuthorityStoreError> {
        self.index.crl_number(level)
    }

    /// Whether the list in an authority's file is to be written anew: two thirds of its life have passed, it is not the
    /// newest, or it cannot be read.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn is_crl_due(&self, level: Level, now: Timestamp) -> Result<bool, AuthorityStoreError> {
        let newest = self.index.crl_number(level)?;
        Ok(self.read_crl(level).map_or(true, |crl| {
            crl.number() < Some(newest) || now.is_past_two_thirds(crl.this_update(), crl.next_update())
        }))
    }

    /// The issuance log, the first entry first.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn log(&self) -> Result<Vec<LogEntry>, AuthorityStoreError> {
        self.index.log()
    }

    /// Verifies the log's chain of hashes, and every certificate and revocation of the index against it. `remembered` is a
    /// hash that the log had once: only it can tell that the end was cut off, or that all of it was made anew.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`], if it cannot be read; the inner [`LogFault`] is the answer that something is wrong.
    pub fn verify_log(
        &self,
        remembered: Option<[u8; 32]>,
    ) -> Result<Result<VerifiedLog, LogFault>, AuthorityStoreError> {
        log::verify(&self.index, remembered)
    }

    /// What a consumer has who was given the public files of this directory: read from the files, not from the index.
    ///
    /// # Errors
    /// [`AuthorityStoreError`], if one cannot be read or cannot be trusted.
    pub fn trust_store(&self) -> Result<TrustStore, AuthorityStoreError> {
        let mut builder = TrustStore::builder(RevocationPolicy::Required);
        for level in self.levels() {
            let (path, label) = (self.certificate_path(level), format!("{level}.crt"));
            let certificate = pem::certificate(&files::read(&path)?)
                .map_err(|cause| AuthorityStoreError::Pem { path, cause })?;
            builder = match level {
                Level::Root => builder.anchor(label, certificate, IdentityRule::SpiffeUri),
                Level::Issuing => builder.intermediate(label, certificate),
            }
            .map_err(AuthorityError::from)?;
            builder =
                builder.crl(format!("{level}.crl"), self.read_crl(level)?).map_err(AuthorityError::from)?;
        }
        Ok(builder.build().map_err(AuthorityError::from)?)
    }

    /// The authorities that there are, the root first.
    pub fn levels(&self) -> Vec<Level> {
        if self.issuing.is_some() { vec![Level::Root, Level::Issuing] } else { vec![Level::Root] }
    }

    /// Which of them issues to services.
    pub fn issues(&self) -> Level {
        if self.issuing.is_some() { Level::Issuing } else { Level::Root }
    }

    /// An authority's certificate, if there is such an authority.
    pub fn certificate(&self, level: Level) -> Option<&Certificate> {
        match level {
            Level::Root => Some(&self.root),
            Level::Issuing => self.issuing.as_ref(),
        }
    }

    /// The trust domain of every identity that it issues.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The profiles by which it issues.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Where the services' credentials are.
    pub fn services(&self) -> PathBuf {
        self.directory.join(SERVICES)
    }

    /// An authority's certificate file.
    pub fn certificate_path(&self, level: Level) -> PathBuf {
        self.directory.join(format!("{level}.crt"))
    }

    /// An authority's revocation list file.
    pub fn crl_path(&self, level: Level) -> PathBuf {
        self.directory.join(format!("{level}.crl"))
    }

    /// An authority's key file, whether or not it is there.
    pub fn key_path(&self, level: Level) -> PathBuf {
        key_path(&self.directory, level, self.issuing.is_none())
    }

    /// Held until it is dropped: one writer at a time, whatever the process.
    fn lock(&self) -> Result<File, AuthorityStoreError> {
        let path = self.directory.join(LOCK);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.lock().map(|()| file))
            .map_err(|cause| AuthorityStoreError::Lock { path, cause })
    }

    fn signer(&self, level: Level, now: Timestamp) -> Result<Authority, AuthorityStoreError> {
        let path = self.key_path(level);
        let (certificate, above) = match (level, &self.issuing) {
            (Level::Issuing, Some(issuing)) => (issuing.clone(), vec![self.root.clone()]),
            (Level::Root | Level::Issuing, _) => (self.root.clone(), Vec::new()),
        };
        let key = match files::read_private(&path) {
            Ok(key) => key,
            Err(error) if error.is_missing() => return Err(AuthorityStoreError::KeyAway { level, path }),
            Err(error) => return Err(error.into()),
        };
        let key = PrivateKey::from_pem(&key).map_err(|cause| AuthorityStoreError::Key { path, cause })?;
        Ok(Authority::load(certificate, above, Arc::new(key), now)?)
    }

    fn write_crl(
        &self,
        level: Level,
        signer: &Authority,
        number: u64,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<WrittenCrl, AuthorityStoreError> {
        let usual = match level {
            Level::Root => self.profiles.root.crl_lifetime,
            Level::Issuing => self.profiles.issuing.crl_lifetime,
        };
        let path = self.crl_path(level);
        let list = signer.crl(number, &self.index.revoked(level)?, lifetime.unwrap_or(usual), now)?;
        files::write(&path, list.to_pem().as_bytes())?;
        self.index.list_written(level, number)?;
        let crl = list.crl();
        let (this_update, next_update) = (crl.this_update(), crl.next_update());
        Ok(WrittenCrl { level, path, number, entries: crl.len(), this_update, next_update })
    }

    /// An authority that was revoked issues nothing that anybody accepts.
    fn check_not_revoked(&self, level: Level) -> Result<(), AuthorityStoreError> {
        let Some(certificate) = self.certificate(level) else { return Ok(()) };
        let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
        let entries = self.index.by_serial(&serial)?;
        match entries.iter().find(|e| e.der == certificate.der()[..]).and_then(|e| e.revocation) {
            None => Ok(()),
            Some(EntryRevocation { at, reason, .. }) => {
                Err(AuthorityStoreError::IssuerRevoked { level, at, reason })
            }
        }
    }
}

/// Everything of a new authority, in a directory that nobody sees yet.
fn build(
    directory: &Path,
    trust_domain: &str,
    single: bool,
    profiles: &Profiles,
    now: Timestamp,
) -> Result<(), AuthorityStoreError> {
    files::create_private_dir(&directory.join(SERVICES))?;
    let index = Index::create(&directory.join(INDEX), trust_domain)?;
    let write = |level: Level, authority: &Authority, key: &PrivateKey, crl_lifetime| {
        let path = key_path(directory, level, single);
        files::create_private_dir(files::directory_of(&path))?;
        files::write_private(&path, key.to_pem().as_bytes())?;
        let certificate = authority.certificate();
        files::write(&directory.join(format!("{level}.crt")), authority.to_pem().as_bytes())?;
        index.add_authority(level, certificate, now)?;
        let number = index.next_crl_number(level, now)?;
        let list = authority.crl(number, &[], crl_lifetime, now)?;
        files::write(&directory.join(format!("{level}.crl")), list.to_pem().as_bytes())?;
        index.list_written(level, number)?;
        Ok::<(), AuthorityStoreError>(())
    };
    let generate = |kind| PrivateKey::generate(kind).map(Arc::new).map_err(AuthorityError::from);

    let root_key = generate(profiles.root.key_kind)?;
    let below = u8::from(!single);
    let root = Authority::new_root(trust_domain, &profiles.root, below, root_key.clone(), now)?;
    write(Level::Root, &root, &root_key, profiles.root.crl_lifetime)?;
    if !single {
        let key = generate(profiles.issuing.key_kind)?;
        let issuing = root.new_intermediate(trust_domain, &profiles.issuing, key.clone(), now)?;
        index.add(&[NewEntry {
            issuer: Level::Root,
            certificate: issuing.certificate(),
            identity: None,
            issued_at: now,
            request: None,
            files: None,
        }])?;
        write(Level::Issuing, &issuing, &key, profiles.issuing.crl_lifetime)?;
    }
    files::write_private(&directory.join(LOCK), b"")?;
    Ok(())
}

fn key_path(directory: &Path, level: Level, single: bool) -> PathBuf {
    match (level, single) {
        (Level::Root, false) => directory.join(OFFLINE).join("root.key"),
        (Level::Root, true) => directory.join("root.key"),
        (Level::Issuing, _) => directory.join("issuing.key"),
    }
}

/// Whether there is something that is not an empty directory.
fn is_occupied(directory: &Path) -> Result<bool, FileError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(at(directory, "reading the directory")(error)),
    }
}

#[cfg(test)]
mod tests;
