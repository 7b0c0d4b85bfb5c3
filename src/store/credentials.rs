//! What a service signs with: `SERVICE-HOST.key`, and `SERVICE-HOST.crt` with the certificate first and its issuers after it.

use super::files::{self, FileError};
use crate::identity::{Identity, SpiffeId};
use crate::pki::certificate::{Certificate, IdentityFault, IdentityRule};
use crate::pki::key::{PrivateKey, PrivateKeyError};
use crate::pki::pem::{self, PemError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A service's private key and the chain that vouches for it. They belong together: that was checked.
#[derive(Debug)]
pub struct Credentials {
    key: PrivateKey,
    certificate: Certificate,
    intermediates: Vec<Certificate>,
}

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
        let key = files::read_private(key_path)?;
        let key = PrivateKey::from_pem(&key)
            .map_err(|cause| CredentialsError::Key { path: key_path.to_owned(), cause })?;
        let mut chain = pem::certificates(&files::read(certificate_path)?)
            .map_err(|cause| CredentialsError::Pem { path: certificate_path.to_owned(), cause })?;
        let certificate = chain.remove(0);
        if certificate.spki_der() != key.public_spki() {
            let (key, certificate) = (key_path.to_owned(), certificate_path.to_owned());
            return Err(CredentialsError::KeyMismatch { key, certificate });
        }
        Ok(Self { key, certificate, intermediates: chain })
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

/// Where the certificate and the key of a service are.
pub(super) fn paths(directory: &Path, service: &str, host: &str) -> (PathBuf, PathBuf) {
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
