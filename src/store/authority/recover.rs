//! After a command that was killed: what it had entered in the index is brought into the files.

use super::error::AuthorityStoreError;
use super::index::{Level, Unfinished};
use super::{AuthorityStore, OFFLINE, WrittenCrl};
use crate::pki::authority::{AuthorityError, chain_to_pem};
use crate::pki::certificate::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::pem;
use crate::pki::serial::Serial;
use crate::store::files::{self, FileError, TEMPORARY_PREFIX, at};
use crate::time::Timestamp;
use std::fmt;
use std::fs;
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
    /// A list is not in its file, and its signer's key is not here.
    ListWaits {
        /// Whose list.
        level: Level,
        /// Its file.
        path: PathBuf,
        /// Where the key would be.
        key: PathBuf,
    },
    /// A file that was not whole, and that nobody had seen under its name.
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
            Self::ListWaits { path, key, .. } => write!(
                f,
                "{} is not the newest list: writing it was interrupted, and {} is not here",
                path.display(),
                key.display()
            ),
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
        let (mut repairs, mut finished, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for (number, unfinished) in self.index.unfinished()? {
            match unfinished {
                Unfinished::Certificate { issuer, serial, certificate_path, key_path } => {
                    repairs.extend(self.finish_certificate(issuer, serial, &certificate_path, &key_path)?);
                    finished.push(number);
                }
                Unfinished::List { issuer, number } => lists.push((issuer, number)),
            }
        }
        for level in self.levels() {
            let newest = lists.iter().filter(|(of, _)| *of == level).map(|(_, number)| *number).max();
            let Some(newest) = newest else { continue };
            repairs.extend(self.finish_list(level, newest, now)?);
        }
        // Not where --out named another directory: what is called so there may be somebody else's.
        for directory in [self.directory.clone(), self.directory.join(OFFLINE), self.services()] {
            repairs.extend(remove_leftovers(&directory)?);
        }
        self.index.finished(&finished)?;
        Ok(repairs)
    }

    fn finish_certificate(
        &self,
        issuer: Level,
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
        let chain: Vec<Certificate> = self.certificate(issuer).cloned().into_iter().collect();
        let text = chain_to_pem(&certificate, &chain);
        files::write(certificate_path, text.as_bytes())?;
        Ok(Some(Repair::CertificateWritten { path: certificate_path.to_owned(), serial }))
    }

    fn finish_list(
        &self,
        level: Level,
        newest: u64,
        now: Timestamp,
    ) -> Result<Option<Repair>, AuthorityStoreError> {
        let path = self.crl_path(level);
        if self.read_crl(level).is_ok_and(|crl| crl.number() >= Some(newest)) {
            self.index.list_written(level, newest)?;
            return Ok(None);
        }
        match self.signer(level, now) {
            Ok(signer) => {
                let number = self.index.next_crl_number(level, now)?;
                Ok(Some(Repair::ListWritten(self.write_crl(level, &signer, number, None, now)?)))
            }
            Err(AuthorityStoreError::KeyAway { path: key, .. }) => {
                Ok(Some(Repair::ListWaits { level, path, key }))
            }
            Err(error) => Err(error),
        }
    }
}

/// Files that were being written beside their place when the writer was killed. Under the lock nobody is writing any.
fn remove_leftovers(directory: &Path) -> Result<Vec<Repair>, FileError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory, "reading the directory")(error)),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(directory, "reading the directory"))?;
        let is_leftover = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes());
        if is_leftover && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(at(&path, "removing"))?;
            removed.push(Repair::FileRemoved { path });
        }
    }
    Ok(removed)
}
