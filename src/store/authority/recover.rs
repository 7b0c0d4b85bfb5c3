//! After a command that was killed: what it had entered in the index is brought into the files.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Generation, Unfinished};
use super::{ABANDONED_PREFIX, AuthorityStore, LOCK, OFFLINE, WrittenCrl};
use crate::pki::authority::{AuthorityError, chain_to_pem};
use crate::pki::certificate::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::pem;
use crate::pki::serial::Serial;
use crate::store::files::{self, FileError, TEMPORARY_PREFIX, at};
use crate::store::passphrase::PassphraseSourceError;
use crate::time::Timestamp;
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

/// Something that a command which was killed had left, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The key of a new certificate was in its file, and the certificate was not: now it is.
    CertificateWritten {
        /// Its file.
        path: PathBuf,
        /// Its serial number.
        serial: Serial,
    },
    /// A list was not in its file: now it is.
    ListWritten(WrittenCrl),
    /// A list is not in its file, and its signer's key is not here, or nobody was named who knows its passphrase.
    ListWaits {
        /// Whose list.
        signer: AuthorityId,
        /// Its file.
        path: PathBuf,
        /// The key.
        key: PathBuf,
        /// Whether it is there, under a passphrase.
        is_encrypted: bool,
    },
    /// The files of a level were not those of the authorities that there are: now they are.
    LevelWritten {
        /// The certificates' file.
        path: PathBuf,
    },
    /// A file that was not whole, and that nobody had seen under its name; or the key of an authority that was not made.
    FileRemoved {
        /// The file.
        path: PathBuf,
    },
}

impl Repair {
    /// Whether it still needs a hand.
    pub fn waits(&self) -> bool {
        matches!(self, Self::ListWaits { .. })
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateWritten { path, serial } => {
                write!(
                    f,
                    "{}: written now, with certificate {serial}: issuing it was interrupted",
                    path.display()
                )
            }
            Self::ListWritten(list) => write!(
                f,
                "{}: written now, with number {}: writing it was interrupted",
                list.path.display(),
                list.number
            ),
            Self::ListWaits { path, key, is_encrypted, .. } => write!(
                f,
                "{} is not the newest list: writing it was interrupted, and {} {}",
                path.display(),
                key.display(),
                if *is_encrypted { "is encrypted" } else { "is not here" }
            ),
            Self::LevelWritten { path } => {
                write!(f, "{}: written now: a rollover was interrupted", path.display())
            }
            Self::FileRemoved { path } => {
                write!(f, "{}: removed: writing it was interrupted", path.display())
            }
        }
    }
}

impl AuthorityStore {
    /// Finishes what a command that was killed had begun: a certificate whose key is there is written from the index, a
    /// list is signed anew, half-written files are removed. Where nothing was left, it takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`AuthorityStoreError`], if the index cannot be read, or a file cannot be written.
    pub fn recover(&mut self, now: Timestamp) -> Result<Vec<Repair>, AuthorityStoreError> {
        if self.index.unfinished()?.is_empty() {
            return Ok(Vec::new());
        }
        // Whoever is at work holds the lock, and what it has entered is no leftover: it is asked for again.
        let _lock = self.lock()?;
        let (mut repairs, mut finished, mut lists, mut levels) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, unfinished) in self.index.unfinished()? {
            match unfinished {
                Unfinished::Certificate { issuer, serial, certificate_path, key_path } => {
                    repairs.extend(self.finish_certificate(issuer, serial, &certificate_path, &key_path)?);
                    finished.push(number);
                }
                Unfinished::Files { level } => levels.push(level),
                Unfinished::Key { path } => {
                    repairs.extend(self.remove_key(path)?);
                    finished.push(number);
                }
                Unfinished::List { issuer, number: newest } => {
                    if self.generation(issuer).is_some_and(Generation::is_trusted) {
                        lists.push((issuer, newest));
                    } else {
                        // Of one that was retired meanwhile, nobody wants a list.
                        finished.push(number);
                    }
                }
            }
        }
        let trusted: Vec<AuthorityId> = self.trusted().map(|known| known.id).collect();
        for id in trusted {
            let newest = lists.iter().filter(|(of, _)| *of == id).map(|(_, number)| *number).max();
            let Some(newest) = newest else { continue };
            repairs.extend(self.finish_list(id, newest, now)?);
        }
        levels.sort_unstable();
        levels.dedup();
        for level in levels {
            let is_there = self.read_certificates(level).is_ok_and(|found| found == self.certificates(level));
            self.write_level(level)?;
            if !is_there {
                repairs.push(Repair::LevelWritten { path: self.certificate_path(level) });
            }
        }
        // Not where --out named another directory: what is called so there may be somebody else's.
        for directory in [self.directory.clone(), self.directory.join(OFFLINE), self.services()] {
            repairs.extend(remove_leftovers(&directory)?);
        }
        self.index.finished(&finished)?;
        Ok(repairs)
    }

    /// The key of an authority that was never entered. Nobody has a certificate for it.
    fn remove_key(&self, path: PathBuf) -> Result<Option<Repair>, AuthorityStoreError> {
        // An entry takes its key's note away with it, in one transaction: this is for an index that was put back.
        let is_known =
            |known: &Generation| std::path::absolute(self.key_path(known.id)).is_ok_and(|own| own == path);
        if self.generations().iter().any(is_known) {
            return Ok(None);
        }
        match fs::remove_file(&path) {
            Ok(()) => Ok(Some(Repair::FileRemoved { path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, "removing")(error).into()),
        }
    }

    fn finish_certificate(
        &self,
        issuer: AuthorityId,
        serial: Serial,
        certificate_path: &Path,
        key_path: &Path,
    ) -> Result<Option<Repair>, AuthorityStoreError> {
        let entries = self.index.by_serial(&serial)?;
        let Some(entry) = entries.into_iter().find(|entry| entry.issuer == issuer) else { return Ok(None) };
        let certificate = Certificate::parse(&entry.der).map_err(AuthorityError::from)?;
        // Without its key in that file the certificate is of no use: what is there may be the pair from before, or both
        // were given to the service since.
        let has_key = files::read_private(key_path)
            .ok()
            .and_then(|text| PrivateKey::all_from_pem(&text).ok())
            .is_some_and(|keys| keys.iter().any(|key| key.public_spki() == certificate.spki_der()));
        let found = files::read(certificate_path).ok().and_then(|text| pem::certificates(&text).ok());
        let is_there = found.is_some_and(|chain| chain.first() == Some(&certificate));
        if !has_key || is_there {
            return Ok(None);
        }
        let text = chain_to_pem(&certificate, &self.sent_chain(issuer));
        files::write(certificate_path, text.as_bytes())?;
        Ok(Some(Repair::CertificateWritten { path: certificate_path.to_owned(), serial }))
    }

    fn finish_list(
        &self,
        id: AuthorityId,
        newest: u64,
        now: Timestamp,
    ) -> Result<Option<Repair>, AuthorityStoreError> {
        if self.read_crl(id).is_ok_and(|crl| crl.number() >= Some(newest)) {
            self.index.list_written(id, newest)?;
            return Ok(None);
        }
        match self.signer(id, now) {
            Ok(signer) => {
                let number = self.index.next_crl_number(id, now)?;
                Ok(Some(Repair::ListWritten(self.write_crl(id, &signer, number, None, now)?)))
            }
            Err(AuthorityStoreError::KeyAway { path: key, .. }) => Ok(Some(Repair::ListWaits {
                signer: id,
                path: self.crl_path(id.level),
                key,
                is_encrypted: false,
            })),
            Err(AuthorityStoreError::Passphrase { cause: PassphraseSourceError::Unavailable, .. }) => {
                let (path, key) = (self.crl_path(id.level), self.key_path(id));
                Ok(Some(Repair::ListWaits { signer: id, path, key, is_encrypted: true }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Directories in which authorities were being made when the makers were killed: a maker that lives holds the lock in it.
pub(super) fn remove_abandoned(parent: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut removed = Vec::new();
    for entry in entries(parent)? {
        let is_one = entry.file_name().as_encoded_bytes().starts_with(ABANDONED_PREFIX.as_bytes());
        if !is_one || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        // Without a lock it has just begun, or never got as far as to have anything in it.
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(&path).map_err(at(&path, "removing"))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Files that were being written beside their place when the writer was killed. Under the lock nobody is writing any.
fn remove_leftovers(directory: &Path) -> Result<Vec<Repair>, FileError> {
    let mut removed = Vec::new();
    for entry in entries(directory)? {
        let is_leftover = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes());
        if is_leftover && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(at(&path, "removing"))?;
            removed.push(Repair::FileRemoved { path });
        }
    }
    Ok(removed)
}

/// What is in a directory; nothing, if it is not there.
fn entries(directory: &Path) -> Result<Vec<DirEntry>, FileError> {
    match fs::read_dir(directory).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(directory, "reading the directory")(error)),
    }
}
