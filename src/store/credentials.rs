//! What a service signs with: `SERVICE-HOST.key`, and `SERVICE-HOST.crt` with the certificate first and its issuers after it.
//!
//! Two files cannot be replaced at once, and a reader may come at any moment, a crash as well. So the key's file holds the
//! new key and the old one while the certificate is replaced, and a reader takes the key that is the certificate's. For
//! the same reason a key whose certificate has not come back yet waits in that file beside the one that is in use.

mod reload;

pub use reload::{
    SignerFileError, SignerFiles, SignerRefresh, SignerRefusal, SignerReloader, SignerStatus, SignerWatch,
};

use super::files::{self, FileError};
use crate::identity::{Identity, SpiffeId};
use crate::pki::certificate::{Certificate, IdentityFault, IdentityRule};
use crate::pki::key::{PrivateKey, PrivateKeyError};
use crate::pki::pem::{self, PemError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A service's private key and the chain that vouches for it. They belong together: that was checked.
#[derive(Debug)]
pub struct Credentials {
    key: PrivateKey,
    certificate: Certificate,
    intermediates: Vec<Certificate>,
}

/// How often a pair is read before its parts are said not to belong together. Twice would do, but for two renewals in a row.
const ATTEMPTS: usize = 3;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read, or is too open.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate names nobody, or several.
    #[error("{}: {cause}", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with its names.
        cause: IdentityFault,
    },
    /// The private key cannot be read.
    #[error("{}: {cause}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        cause: PrivateKeyError,
    },
    /// The key is another certificate's.
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// There is no such service here.
    #[error("no credentials of {name} in {}; there {}", directory.display(), listed(available))]
    Missing {
        /// `SERVICE-HOST`.
        name: String,
        /// Where they were looked for.
        directory: PathBuf,
        /// Of whom there are credentials.
        available: Vec<String>,
    },
    /// The certificate is somebody else's.
    #[error("{} is of {found}, expected the service {service} on {host}", path.display())]
    OtherService {
        /// The certificate's file.
        path: PathBuf,
        /// Whom it names.
        found: String,
        /// The service that was asked for.
        service: String,
        /// The host that was asked for.
        host: String,
    },
    /// The certificate is not PEM of the right things.
    #[error("{}: {cause}", path.display())]
    Pem {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        cause: PemError,
    },
}

impl Credentials {
    /// Reads the credentials of a service on a host from `directory`.
    ///
    /// # Errors
    /// [`CredentialsError`], if there are none (it names those that there are), the key's mode is looser than 0600, key and
    /// certificate do not belong together, or the certificate is of another service or host.
    pub fn load(directory: &Path, service: &str, host: &str) -> Result<Self, CredentialsError> {
        let (certificate_path, key_path) = paths(directory, service, host);
        if !certificate_path.exists() || !key_path.exists() {
            return Err(CredentialsError::Missing {
                name: format!("{service}-{host}"),
                directory: directory.to_owned(),
                available: Self::available(directory)?,
            });
        }
        let credentials = Self::load_files(&certificate_path, &key_path)?;
        // A certificate without a URI is a foreign authority's: what its name says is for the consumer's anchor to judge.
        if credentials.certificate.uris().is_empty() {
            return Ok(credentials);
        }
        match credentials.certificate.identity(IdentityRule::SpiffeUri) {
            Ok(Identity::Spiffe(id)) if id.service() == service && id.host() == host => Ok(credentials),
            Ok(other) => Err(CredentialsError::OtherService {
                path: certificate_path,
                found: other.to_string(),
                service: service.to_owned(),
                host: host.to_owned(),
            }),
            Err(cause) => Err(CredentialsError::Identity { path: certificate_path, cause }),
        }
    }

    /// Reads a certificate (and its issuers after it) and a key from two files.
    ///
    /// # Errors
    /// [`CredentialsError`], as for [`Credentials::load`], but whoever they are.
    pub fn load_files(certificate_path: &Path, key_path: &Path) -> Result<Self, CredentialsError> {
        for _ in 0..ATTEMPTS {
            // In this order: what the certificate needs was in the key's file before it, and stays a while.
            let mut chain = read_chain(certificate_path)?;
            let keys = read_keys(key_path)?;
            let certificate = chain.remove(0);
            if let Some(key) = keys.into_iter().find(|key| key.public_spki() == certificate.spki_der()) {
                return Ok(Self { key, certificate, intermediates: chain });
            }
        }
        let (key, certificate) = (key_path.to_owned(), certificate_path.to_owned());
        Err(CredentialsError::KeyMismatch { key, certificate })
    }

    /// The `SERVICE-HOST` of whom there are a certificate and a key in `directory`, sorted. None where it does not exist.
    ///
    /// # Errors
    /// [`FileError`], if the directory cannot be read.
    pub fn available(directory: &Path) -> Result<Vec<String>, FileError> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(files::at(directory, "reading the directory")(error)),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(files::at(directory, "reading the directory"))?.path();
            if path.extension().is_some_and(|e| e == "key")
                && path.with_extension("crt").exists()
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                names.insert(name.to_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The service's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its issuers, the nearest first, as far as the file has them.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The SPIFFE identity, if the certificate has exactly one.
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        self.certificate.identity(IdentityRule::SpiffeUri).ok().and_then(|id| id.spiffe().cloned())
    }

    /// Takes them apart: the key, the certificate, its issuers.
    pub fn into_parts(self) -> (PrivateKey, Certificate, Vec<Certificate>) {
        (self.key, self.certificate, self.intermediates)
    }
}

/// Puts a key and a certificate in the place of those that are there, so that a reader, and whoever comes after a crash,
/// finds a pair that belongs together: the old one or the new one.
///
/// # Errors
/// [`FileError`]; the old pair is then still there.
pub fn replace(
    certificate_path: &Path,
    key_path: &Path,
    chain: &str,
    key: &PrivateKey,
) -> Result<(), FileError> {
    // What cannot be read is no pair that could be kept.
    let in_use = Credentials::load_files(certificate_path, key_path).ok();
    let Some(old) = in_use.filter(|old| old.key.public_spki() != key.public_spki()) else {
        write_keys(key_path, &[key])?;
        return files::write(certificate_path, chain.as_bytes());
    };
    write_keys(key_path, &[key, &old.key])?;
    files::write(certificate_path, chain.as_bytes())?;
    write_keys(key_path, &[key])
}

/// Adds a key whose certificate is still to come to the one that is in use, and drops every other. Where there is no
/// certificate yet, it takes the place of whatever key is there.
///
/// # Errors
/// [`CredentialsError`], if there is a pair that cannot be read: its key is not overwritten.
pub fn add_key(certificate_path: &Path, key_path: &Path, key: &PrivateKey) -> Result<(), CredentialsError> {
    if !certificate_path.exists() || !key_path.exists() {
        return Ok(write_keys(key_path, &[key])?);
    }
    let old = Credentials::load_files(certificate_path, key_path)?;
    if old.key.public_spki() == key.public_spki() {
        return Ok(());
    }
    Ok(write_keys(key_path, &[&old.key, key])?)
}

fn write_keys(path: &Path, keys: &[&PrivateKey]) -> Result<(), FileError> {
    let pems: Vec<_> = keys.iter().map(|key| key.to_pem()).collect();
    let mut text = Zeroizing::new(String::with_capacity(pems.iter().map(|pem| pem.len()).sum()));
    pems.iter().for_each(|pem| text.push_str(pem));
    files::write_private(path, text.as_bytes())
}

fn read_chain(path: &Path) -> Result<Vec<Certificate>, CredentialsError> {
    pem::certificates(&files::read(path)?)
        .map_err(|cause| CredentialsError::Pem { path: path.to_owned(), cause })
}

fn read_keys(path: &Path) -> Result<Vec<PrivateKey>, CredentialsError> {
    PrivateKey::all_from_pem(&files::read_private(path)?)
        .map_err(|cause| CredentialsError::Key { path: path.to_owned(), cause })
}

/// Where the certificate and the key of a service are.
pub fn paths(directory: &Path, service: &str, host: &str) -> (PathBuf, PathBuf) {
    let file = |extension| directory.join(format!("{service}-{host}.{extension}"));
    (file("crt"), file("key"))
}

fn listed(available: &[String]) -> String {
    if available.is_empty() {
        "are none".to_owned()
    } else {
        format!("are those of {}", available.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::development::Development;
    use crate::pki::authority::chain_to_pem;
    use crate::pki::key::KeyKind;
    use crate::time::Timestamp;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// A key and the PEM of its certificate, both of bodhi on app01.
    fn pair(development: &Development) -> (PrivateKey, String) {
        let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
        let copy = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        let signer = development.signer_with(copy, "prod", "bodhi", "app01").unwrap();
        (key, chain_to_pem(signer.certificate(), &[]))
    }

    #[test]
    fn a_reader_never_sees_a_pair_that_does_not_belong_together() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, key) = paths(temp.path(), "bodhi", "app01");
        let development = Development::new("a.example", now()).unwrap();
        let pairs: Vec<_> = (0..2).map(|_| pair(&development)).collect();
        let put = |n: usize| replace(&certificate, &key, &pairs[n % 2].1, &pairs[n % 2].0).unwrap();
        put(0);
        let done = AtomicBool::new(false);
        let reads = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut reads = 0_u32;
                        while !done.load(Ordering::Relaxed) {
                            Credentials::load(temp.path(), "bodhi", "app01").unwrap();
                            reads += 1;
                        }
                        reads
                    })
                })
                .collect();
            (1..100).for_each(put);
            done.store(true, Ordering::Relaxed);
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>()
        });
        assert!(reads > 0);
        assert_eq!(read_keys(&key).unwrap().len(), 1, "the old key is gone");
    }

    /// Each moment at which a renewal can be cut off leaves a pair.
    #[test]
    fn a_key_that_waits_for_its_certificate_is_in_nobodys_way() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, key) = paths(temp.path(), "bodhi", "app01");
        let development = Development::new("a.example", now()).unwrap();
        let ((old, old_pem), (new, new_pem)) = (pair(&development), pair(&development));
        let loaded = || {
            let credentials = Credentials::load(temp.path(), "bodhi", "app01")?;
            Ok::<_, CredentialsError>(credentials.key().public_spki().to_vec())
        };
        add_key(&certificate, &key, &old).unwrap();
        assert!(matches!(loaded(), Err(CredentialsError::Missing { .. })));
        files::write(&certificate, old_pem.as_bytes()).unwrap();
        assert_eq!(loaded().unwrap(), old.public_spki());

        let abandoned = PrivateKey::generate(KeyKind::P256).unwrap();
        add_key(&certificate, &key, &abandoned).unwrap();
        add_key(&certificate, &key, &new).unwrap();
        assert_eq!(read_keys(&key).unwrap().len(), 2, "a key that was asked for before is dropped");
        assert_eq!(loaded().unwrap(), old.public_spki());
        files::write(&certificate, new_pem.as_bytes()).unwrap();
        assert_eq!(loaded().unwrap(), new.public_spki());

        // A pair that cannot be read is not written over.
        files::write(&certificate, old_pem.as_bytes()).unwrap();
        write_keys(&key, &[&new]).unwrap();
        assert!(matches!(loaded(), Err(CredentialsError::KeyMismatch { .. })));
        assert!(matches!(add_key(&certificate, &key, &old), Err(CredentialsError::KeyMismatch { .. })));
    }
}
