//! The keys of an authority: how they are read and written, under a passphrase or without one, and keys that are elsewhere.
//!
//! Every key that signs comes out of [`Keys::load`].

use super::error::AuthorityStoreError;
use super::{AuthorityId, AuthorityStore, Level, Which};
use crate::pki::certificate::Certificate;
use crate::pki::key::{
    EncryptedKey, EncryptedKeyError, KdfLimits, Passphrase, PrivateKey, SigningKey, StoredKey,
};
use crate::store::files;
use crate::store::passphrase::PassphraseSourceError;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a passphrase is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassphraseUse {
    /// A key that is encrypted with it.
    Existing,
    /// A key that will be encrypted with it.
    New,
}

/// Whoever knows the passphrases of an authority's keys: asked when a key is met that has one, and not before.
pub trait PassphraseSource: fmt::Debug + Send + Sync {
    /// The passphrase of the key in the file `key`.
    ///
    /// # Errors
    /// [`PassphraseSourceError`]; [`PassphraseSourceError::Unavailable`] if there is nobody to ask.
    fn passphrase(
        &self,
        level: Level,
        key: &Path,
        use_: PassphraseUse,
    ) -> Result<Passphrase, PassphraseSourceError>;
}

/// How the keys of a new authority are kept. There is no default: whoever can read a key that is not encrypted can issue.
#[derive(Clone, Debug)]
pub enum KeyProtection {
    /// Under passphrases.
    Encrypted(Arc<dyn PassphraseSource>),
    /// For everybody who can read the files.
    Unencrypted,
}

/// Whether a key is under a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is not in its file.
    Away,
    /// Under a passphrase.
    Encrypted,
    /// For everybody who can read the file.
    Unencrypted,
}

/// Where the keys come from.
#[derive(Debug, Default)]
pub(super) struct Keys {
    source: Option<Arc<dyn PassphraseSource>>,
    elsewhere: Vec<Arc<dyn SigningKey>>,
    /// What was opened, and out of what: nobody is asked twice, and scrypt is done once.
    opened: RefCell<Vec<(EncryptedKey, Arc<PrivateKey>)>>,
}

impl Keys {
    pub(super) fn of(protection: &KeyProtection) -> Self {
        match protection {
            KeyProtection::Encrypted(source) => Self { source: Some(Arc::clone(source)), ..Self::default() },
            KeyProtection::Unencrypted => Self::default(),
        }
    }

    /// The key of an authority's certificate: one that is elsewhere, if there is such a one, and what is in the file otherwise.
    pub(super) fn load(
        &self,
        id: AuthorityId,
        certificate: &Certificate,
        path: &Path,
    ) -> Result<Arc<dyn SigningKey>, AuthorityStoreError> {
        match self.elsewhere.iter().find(|key| key.public_spki() == certificate.spki_der()) {
            Some(key) => Ok(Arc::clone(key)),
            None => Ok(self.read(id, path)?),
        }
    }

    /// The key in a file.
    pub(super) fn read(&self, id: AuthorityId, path: &Path) -> Result<Arc<PrivateKey>, AuthorityStoreError> {
        let encrypted = match stored(id, path)? {
            StoredKey::Plain(key) => return Ok(Arc::new(key)),
            StoredKey::Encrypted(encrypted) => encrypted,
        };
        if let Some((_, key)) = self.opened.borrow().iter().find(|(of, _)| *of == encrypted) {
            return Ok(Arc::clone(key));
        }
        let passphrase = self.ask(id, path, PassphraseUse::Existing)?;
        let key = encrypted.open(&passphrase).map_err(at(path))?;
        let key = Arc::new(key);
        self.opened.borrow_mut().push((encrypted, Arc::clone(&key)));
        Ok(key)
    }

    /// Writes a key, whole or not at all, encrypted or not, in a directory that nobody else may enter.
    pub(super) fn write(
        &self,
        id: AuthorityId,
        path: &Path,
        key: &PrivateKey,
        encrypt: bool,
    ) -> Result<(), AuthorityStoreError> {
        files::create_private_dir(files::directory_of(path))?;
        if !encrypt {
            return Ok(files::write_private(path, key.to_pem().as_bytes())?);
        }
        let passphrase = self.ask(id, path, PassphraseUse::New)?;
        let encrypted = EncryptedKey::seal(key, &passphrase).map_err(at(path))?;
        // What cannot be opened again must not take the place of what can.
        let opened = encrypted.open(&passphrase).map_err(at(path))?;
        if opened.public_spki() != key.public_spki() {
            return Err(at(path)(EncryptedKeyError::WrongPassphrase.into()));
        }
        let pem = encrypted.to_pem().map_err(|error| at(path)(error.into()))?;
        files::write_private(path, pem.as_bytes())?;
        self.opened.borrow_mut().push((encrypted, Arc::new(opened)));
        Ok(())
    }

    fn ask(
        &self,
        id: AuthorityId,
        path: &Path,
        use_: PassphraseUse,
    ) -> Result<Passphrase, AuthorityStoreError> {
        let asked = match &self.source {
            Some(source) => source.passphrase(id.level, path, use_),
            None => Err(PassphraseSourceError::Unavailable),
        };
        asked.map_err(|cause| AuthorityStoreError::Passphrase { level: id.level, cause })
    }
}

impl AuthorityStore {
    /// The same, with somebody to ask for the passphrases of its keys.
    #[must_use]
    pub fn with_passphrases(mut self, source: Arc<dyn PassphraseSource>) -> Self {
        self.keys.source = Some(source);
        self
    }

    /// The same, with a key that is elsewhere, in an HSM or with an agent: it signs for the authority whose certificate has its
    /// public half, and no file is read for that.
    #[must_use]
    pub fn with_key(mut self, key: Arc<dyn SigningKey>) -> Self {
        self.keys.elsewhere.push(key);
        self
    }

    /// Whether the key of an authority is here, and under a passphrase.
    ///
    /// # Errors
    /// [`AuthorityStoreError`], if its file cannot be read.
    pub fn key_state(&self, which: impl Into<Which>) -> Result<KeyState, AuthorityStoreError> {
        let id = self.id(which.into());
        state(id, &self.key_path(id))
    }

    /// Puts the key of an authority under another passphrase, or under none. The file is replaced at once: whatever happens,
    /// the key can be read with the old passphrase or with the new one.
    ///
    /// # Errors
    /// [`AuthorityStoreError::KeyAway`] if the key is not here; [`AuthorityStoreError::Passphrase`] and
    /// [`AuthorityStoreError::Key`], about the old passphrase or the new one; and whatever writing meets.
    pub fn protect_key(
        &mut self,
        which: impl Into<Which>,
        protection: &KeyProtection,
    ) -> Result<PathBuf, AuthorityStoreError> {
        let _lock = self.lock()?;
        let id = self.id(which.into());
        let path = self.key_path(id);
        let key = self.keys.read(id, &path)?;
        Keys::of(protection).write(id, &path, &key, matches!(protection, KeyProtection::Encrypted(_)))?;
        Ok(path)
    }

    /// Writes the key of an authority that is being made, and keeps it as the one that it will follow is kept. That one away,
    /// it is kept as the other level's; both away, it is encrypted.
    pub(super) fn write_new_key(&self, id: AuthorityId, key: &PrivateKey) -> Result<(), AuthorityStoreError> {
        let other = if id.level == Level::Root { Level::Issuing } else { Level::Root };
        let mut encrypt = true;
        for level in [id.level, other] {
            match self.key_state(level)? {
                KeyState::Away => {}
                found @ (KeyState::Encrypted | KeyState::Unencrypted) => {
                    encrypt = found == KeyState::Encrypted;
                    break;
                }
            }
        }
        self.keys.write(id, &self.key_path(id), key, encrypt)
    }
}

/// Whether a key's file has a passphrase.
fn state(id: AuthorityId, path: &Path) -> Result<KeyState, AuthorityStoreError> {
    match stored(id, path) {
        Ok(StoredKey::Encrypted(_)) => Ok(KeyState::Encrypted),
        Ok(StoredKey::Plain(_)) => Ok(KeyState::Unencrypted),
        Err(AuthorityStoreError::KeyAway { .. }) => Ok(KeyState::Away),
        Err(error) => Err(error),
    }
}

fn stored(id: AuthorityId, path: &Path) -> Result<StoredKey, AuthorityStoreError> {
    let text = match files::read_private(path) {
        Ok(text) => text,
        Err(error) if error.is_missing() => {
            return Err(AuthorityStoreError::KeyAway { authority: id, path: path.to_owned() });
        }
        Err(error) => return Err(error.into()),
    };
    StoredKey::from_pem(&text, KdfLimits::STANDARD).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(crate::pki::key::PrivateKeyError) -> AuthorityStoreError + '_ {
    move |cause| AuthorityStoreError::Key { path: path.to_owned(), cause }
}
