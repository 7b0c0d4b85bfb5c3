//! An authority in a directory: its keys, certificates and lists, and the index of all that it issued.
//!
//! ```text
//! pki/                     0700
//!   root.crt  root.crl             for everybody: the trust anchor, and what it revoked
//!   issuing.crt  issuing.crl       for everybody: what issues from day to day, and what that revoked
//!   issuing.key            0600    of the first; the second has issuing-2.key, and so on
//!   offline/root.key       0600    to be moved away
//!   services/              0700    SERVICE-HOST.crt and SERVICE-HOST.key (0600)
//!   authority.sqlite               the index
//!   authority.lock                 held while anything is written
//! ```
//!
//! A single authority (a toy) has `root.key` beside `root.crt`, and nothing that is called issuing.
//!
//! During a rollover the files for everybody hold the old authority and the new one, and the lists of both: whoever is given
//! these four files, or reads them again when they change, trusts both. Their names never change.
//!
//! The order of writing makes a crash harmless. A certificate is in the index before it is in a file; a revocation is in the
//! index before the list is written, and the next list has it in any case; a file is old or new, never half. What was entered
//! and is not in its file yet is noted in the index, and [`AuthorityStore::recover`] sees to it after a crash.

mod bulk;
mod bundle;
mod check;
mod error;
mod import;
mod index;
mod issue;
mod keys;
mod log;
mod recover;
mod renew;
mod request;
mod revoke;
mod rollover;

pub use bulk::{Certified, CertifyRequest};
pub use check::{Finding, Health, Subject};
pub use error::AuthorityStoreError;
pub use import::{ImportFault, ImportFiles, ImportRequest};
pub use index::{AuthorityId, Entry, EntryRevocation, Generation, Level, Stage, State};
pub use issue::{IssueRequest, IssuedService};
pub use keys::{KeyProtection, KeyState, PassphraseSource, PassphraseUse};
pub use log::{LOG_DOMAIN, LogEntry, LogFault, VerifiedLog};
pub use recover::Repair;
pub use renew::{RenewRequest, Renewals};
pub use request::{SignRequest, SignedRequest};
pub use revoke::{Revocation, Target};
pub use rollover::{
    AuthorityStatus, PrepareRequest, Prepared, RetireRequest, Retired, SETTLE_SECONDS, Users,
};

use super::files::{self, FileError, at};
use crate::pki::authority::{Authority, AuthorityError};
use crate::pki::certificate::Certificate;
use crate::pki::key::{KeyKind, PrivateKey};
use crate::pki::profile::Profiles;
use crate::pki::serial::Serial;
use crate::time::Timestamp;
use index::Index;
#[cfg(test)]
use index::NewEntry;
use keys::Keys;
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
/// How the directory begins in which a new authority is made.
const ABANDONED_PREFIX: &str = ".new-pki-";

/// An authority's directory.
#[derive(Debug)]
pub struct AuthorityStore {
    directory: PathBuf,
    index: Index,
    trust_domain: String,
    profiles: Profiles,
    /// Roots first, in the order of their making. As of the last time that the lock was taken.
    generations: Vec<Generation>,
    keys: Keys,
}

/// A revocation list that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCrl {
    /// Who signed it.
    pub signer: AuthorityId,
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
    /// root that issues. All of it appears at once, under its name, or not at all. `keys` says whether they are encrypted.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Exists`] if `directory` exists and is not empty; and whatever making it meets.
    pub fn create(
        directory: &Path,
        trust_domain: &str,
        single: bool,
        profiles: Profiles,
        keys: &KeyProtection,
        now: Timestamp,
    ) -> Result<Self, AuthorityStoreError> {
        Self::appear(directory, profiles, |beside, profiles| {
            build(beside, trust_domain, single, profiles, keys, now)
        })
    }

    /// Makes a directory beside its place, has it filled, and renames it.
    fn appear(
        directory: &Path,
        profiles: Profiles,
        fill: impl FnOnce(&Path, &Profiles) -> Result<Keys, AuthorityStoreError>,
    ) -> Result<Self, AuthorityStoreError> {
        let exists = || AuthorityStoreError::Exists { path: directory.to_owned() };
        if is_occupied(directory)? {
            return Err(exists());
        }
        let parent = files::directory_of(directory);
        fs::create_dir_all(parent).map_err(at(parent, "making the directory"))?;
        // Removed again if anything below fails.
        let beside = tempfile::Builder::new()
            .prefix(ABANDONED_PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(at(parent, "making a directory"))?;
        // Held until it has its name: nobody takes it for abandoned.
        files::write_private(&beside.path().join(LOCK), b"")?;
        let _lock = lock(beside.path().join(LOCK))?;
        let keys = fill(beside.path(), &profiles)?;
        match fs::rename(beside.path(), directory) {
            Ok(()) => drop(beside.keep()),
            // Somebody was faster.
            Err(_) if is_occupied(directory)? => return Err(exists()),
            Err(error) => return Err(at(directory, "renaming")(error).into()),
        }
        files::sync_dir(parent)?;
        Ok(Self { keys, ..Self::open(directory, profiles)? })
    }

    /// Removes what a killed [`AuthorityStore::create`] left beside `directory`: an authority that nobody has heard of, its keys
    /// among it. Gives the directories that are gone; one that is being made now stays.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn remove_abandoned(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
        recover::remove_abandoned(files::directory_of(directory))
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
        let generations = index.generations()?;
        if !generations.iter().any(|known| known.id.level == Level::Root && known.stage == Stage::Active) {
            return Err(missing());
        }
        let (directory, trust_domain) = (directory.to_owned(), index.trust_domain()?);
        Ok(Self { directory, trust_domain, generations, index, profiles, keys: Keys::default() })
    }

    /// Writes the list of one authority with new dates, `days` from now or as the profile says.
    ///
    /// # Errors
    /// [`AuthorityStoreError::KeyAway`] if its key is not here; and whatever signing and writing meet.
    pub fn rewrite_crl(
        &mut self,
        signer: impl Into<Which>,
        days: Option<u32>,
        now: Timestamp,
    ) -> Result<WrittenCrl, AuthorityStoreError> {
        let _lock = self.lock()?;
        let id = self.id(signer.into());
        let signer = self.signer(id, now)?;
        let lifetime = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let number = self.index.next_crl_number(id, now)?;
        self.write_crl(id, &signer, number, lifetime, now)
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
    pub fn crl_number(&self, signer: impl Into<Which>) -> Result<u64, AuthorityStoreError> {
        self.index.crl_number(self.id(signer.into()))
    }

    /// Whether the list in an authority's file is to be written anew: two thirds of its life have passed, it is not the
    /// newest, or it cannot be read.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn is_crl_due(&self, signer: impl Into<Which>, now: Timestamp) -> Result<bool, AuthorityStoreError> {
        let signer = self.id(signer.into());
        let newest = self.index.crl_number(signer)?;
        Ok(self.read_crl(signer).map_or(true, |crl| {
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

    /// The levels that there are, the root first.
    pub fn levels(&self) -> Vec<Level> {
        if self.is_single() { vec![Level::Root] } else { vec![Level::Root, Level::Issuing] }
    }

    /// Which of them issues to services.
    pub fn issues(&self) -> Level {
        if self.is_single() { Level::Root } else { Level::Issuing }
    }

    /// Every authority that there is or was, roots first, in the order of their making.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The authorities that consumers are to trust, roots first: each has a list that must be kept fresh.
    pub fn trusted(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().filter(|known| known.is_trusted())
    }

    /// The authority of a level that issues.
    pub fn active(&self, level: Level) -> AuthorityId {
        let active = |known: &&Generation| known.id.level == level && known.stage == Stage::Active;
        self.generations.iter().find(active).map_or_else(|| AuthorityId::first(level), |known| known.id)
    }

    /// An authority's certificate, if there is such an authority; of a level, that of the one which issues.
    pub fn certificate(&self, which: impl Into<Which>) -> Option<&Certificate> {
        self.generation(self.id(which.into())).map(|known| &known.certificate)
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

    /// The certificate file of a level.
    pub fn certificate_path(&self, level: Level) -> PathBuf {
        self.directory.join(format!("{level}.crt"))
    }

    /// The revocation list file of a level.
    pub fn crl_path(&self, level: Level) -> PathBuf {
        self.directory.join(format!("{level}.crl"))
    }

    /// An authority's key file, whether or not it is there.
    pub fn key_path(&self, which: impl Into<Which>) -> PathBuf {
        key_path(&self.directory, self.id(which.into()), self.is_single())
    }

    fn generation(&self, id: AuthorityId) -> Option<&Generation> {
        self.generations.iter().find(|known| known.id == id)
    }

    fn id(&self, which: Which) -> AuthorityId {
        match which {
            Which::Active(level) => self.active(level),
            Which::One(id) => id,
        }
    }

    fn is_single(&self) -> bool {
        !self.generations.iter().any(|known| known.id.level == Level::Issuing)
    }

    /// Held until it is dropped: one writer at a time, whatever the process. What another has done meanwhile is taken up.
    fn lock(&mut self) -> Result<File, AuthorityStoreError> {
        let file = lock(self.directory.join(LOCK))?;
        self.generations = self.index.generations()?;
        Ok(file)
    }

    fn signer(&self, which: impl Into<Which>, now: Timestamp) -> Result<Authority, AuthorityStoreError> {
        let id = self.id(which.into());
        let known = self.generation(id).ok_or_else(|| AuthorityStoreError::Unknown { authority: id })?;
        let root = known.parent.and_then(|root| self.generation(root));
        let above = root.into_iter().map(|root| root.certificate.clone()).collect();
        let key = self.keys.load(id, &known.certificate, &self.key_path(id))?;
        Ok(Authority::load(known.certificate.clone(), above, key, now)?)
    }

    fn write_crl(
        &self,
        id: AuthorityId,
        signer: &Authority,
        number: u64,
        lifetime: Option<Duration>,
        now: Timestamp,
    ) -> Result<WrittenCrl, AuthorityStoreError> {
        let usual = match id.level {
            Level::Root => self.profiles.root.crl_lifetime,
            Level::Issuing => self.profiles.issuing.crl_lifetime,
        };
        let list = signer.crl(number, &self.index.revoked(id)?, lifetime.unwrap_or(usual), now)?;
        let path = self.put_list(id, &list)?;
        self.index.list_written(id, number)?;
        let crl = list.crl();
        let (this_update, next_update) = (crl.this_update(), crl.next_update());
        Ok(WrittenCrl { signer: id, path, number, entries: crl.len(), this_update, next_update })
    }

    /// An authority that was revoked issues nothing that anybody accepts.
    fn check_not_revoked(&self, id: AuthorityId) -> Result<(), AuthorityStoreError> {
        let Some(certificate) = self.certificate(id) else { return Ok(()) };
        let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
        let entries = self.index.by_serial(&serial)?;
        match entries.iter().find(|e| e.der == certificate.der()[..]).and_then(|e| e.revocation) {
            None => Ok(()),
            Some(EntryRevocation { at, reason, .. }) => {
                Err(AuthorityStoreError::IssuerRevoked { authority: id, at, reason })
            }
        }
    }
}

/// An authority, or whichever of a level issues now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of the level that issues.
    Active(Level),
    /// This one.
    One(AuthorityId),
}

impl From<Level> for Which {
    fn from(level: Level) -> Self {
        Self::Active(level)
    }
}

impl From<AuthorityId> for Which {
    fn from(id: AuthorityId) -> Self {
        Self::One(id)
    }
}

fn lock(path: PathBuf) -> Result<File, AuthorityStoreError> {
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    file.and_then(|file| file.lock().map(|()| file))
        .map_err(|cause| AuthorityStoreError::Lock { path, cause })
}

/// Everything of a new authority, in a directory that nobody sees yet.
fn build(
    directory: &Path,
    trust_domain: &str,
    single: bool,
    profiles: &Profiles,
    protection: &KeyProtection,
    now: Timestamp,
) -> Result<Keys, AuthorityStoreError> {
    let keys = Keys::of(protection);
    let encrypt = matches!(protection, KeyProtection::Encrypted(_));
    files::create_private_dir(&directory.join(SERVICES))?;
    let index = Index::create(&directory.join(INDEX), trust_domain)?;
    let write = |made: &Authority, key: &PrivateKey, parent: Option<AuthorityId>, crl_lifetime| {
        let id = AuthorityId::first(if parent.is_some() { Level::Issuing } else { Level::Root });
        keys.write(id, &key_path(directory, id, single), key, encrypt)?;
        let certificate = made.certificate().clone();
        let (stage, since, level) = (Stage::Active, now, id.level);
        let generation = Generation { id, parent, stage, since, certificate, cross: None };
        index.add_generations(&[generation], now)?;
        let number = index.crl_number(id)?;
        let list = made.crl(number, &[], crl_lifetime, now)?;
        files::write(&directory.join(format!("{level}.crl")), list.to_pem().as_bytes())?;
        files::write(&directory.join(format!("{level}.crt")), made.to_pem().as_bytes())?;
        index.list_written(id, number)?;
        index.level_written(level)?;
        Ok::<(), AuthorityStoreError>(())
    };
    let root_key = generate(profiles.root.key_kind)?;
    let below = u8::from(!single);
    let root = Authority::new_root(trust_domain, &profiles.root, below, root_key.clone(), now)?;
    write(&root, &root_key, None, profiles.root.crl_lifetime)?;
    if !single {
        let key = generate(profiles.issuing.key_kind)?;
        let issuing = root.new_intermediate(trust_domain, &profiles.issuing, key.clone(), now)?;
        write(&issuing, &key, Some(AuthorityId::first(Level::Root)), profiles.issuing.crl_lifetime)?;
    }
    Ok(keys)
}

fn generate(kind: KeyKind) -> Result<Arc<PrivateKey>, AuthorityStoreError> {
    Ok(Arc::new(PrivateKey::generate(kind).map_err(AuthorityError::from)?))
}

fn key_path(directory: &Path, id: AuthorityId, single: bool) -> PathBuf {
    let name = format!("{id}.key");
    match (id.level, single) {
        (Level::Root, false) => directory.join(OFFLINE).join(name),
        (Level::Root, true) | (Level::Issuing, _) => directory.join(name),
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
