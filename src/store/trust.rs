//! The trust material that the configuration names, read from disk: all of it, or none.

use crate::config::{Config, FilePath, LegacyRevocation, Origin, Setting};
use crate::limits::Limits;
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{RevocationPolicy, TrustError, TrustStore, TrustStoreBuilder};
use crate::pki::crl::{Crl, CrlError};
use crate::pki::legacy::{self, LegacyAuthority, LegacyError};
use crate::pki::pem::{self, PemError};
use crate::policy::Policy;
use crate::verify::{Legacy, Verifier};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// The most bytes of one file of certificates or lists: a list of half a million revoked certificates.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// What a verifier goes by, as the configuration states it.
#[derive(Debug)]
pub struct TrustFiles {
    /// `None` where a legacy authority is all that is trusted.
    store: Option<TrustStore>,
    legacy: Option<LegacyAuthority>,
}

/// Everything for which the trust material cannot be used. There is at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFileErrors(Vec<TrustFileError>);

/// One reason for which the trust material cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustFileError {
    /// A list in DER that is not acceptable.
    #[error("{}: {fault} ({file})", file.path.display())]
    Crl {
        /// The file.
        file: Box<NamedFile>,
        /// What is wrong with it.
        fault: CrlError,
    },
    /// The legacy authority or its list.
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    /// `trust.anchors` and `trust.common_name_anchors` are empty, and no legacy authority is accepted either.
    #[error("no trust anchor is configured (trust.anchors), so that nothing can be verified")]
    NoAnchors,
    /// A file that does not hold what its key says.
    #[error("{}: {fault} ({file})", file.path.display())]
    Pem {
        /// The file.
        file: Box<NamedFile>,
        /// What is wrong with it.
        fault: PemError,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {message} ({file})", file.path.display())]
    Read {
        /// The file.
        file: Box<NamedFile>,
        /// What the system said.
        message: String,
    },
    /// A file is larger than [`MAX_FILE_BYTES`].
    #[error("{}: more than {MAX_FILE_BYTES} bytes ({file})", file.path.display())]
    TooLarge {
        /// The file.
        file: Box<NamedFile>,
    },
    /// Each file is well, and together they are no trust store.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A file, the key that names it, and where the key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file.
    pub path: PathBuf,
    /// The key with its table.
    pub key: &'static str,
    /// Where the key stands.
    pub origin: Origin,
}

impl NamedFile {
    fn new(file: &FilePath, key: &'static str, origin: &Origin) -> Box<Self> {
        Box::new(Self { path: file.path().to_owned(), key, origin: origin.clone() })
    }
}

impl fmt::Display for NamedFile {
    /// Who named it; the path is said apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "named by {}, {}", self.key, self.origin)
    }
}

impl TrustFileError {
    /// What mends it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoAnchors => Some(
                "`fedmsg init DIR` makes a bus with an authority; `--config DIR` then uses it".to_owned(),
            ),
            Self::Crl { .. }
            | Self::Legacy(_)
            | Self::Pem { .. }
            | Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Trust(_) => None,
        }
    }
}

impl TrustFileErrors {
    /// Each error.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TrustFileError> {
        self.0.iter()
    }
}

impl fmt::Display for TrustFileErrors {
    /// One error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for TrustFileErrors {}

impl TrustFiles {
    /// Reads what `[trust]` and `[trust.legacy]` name. Revocation is always checked, but for a legacy authority of which
    /// the configuration says otherwise.
    ///
    /// # Errors
    /// [`TrustFileErrors`]: every file that cannot be used.
    pub fn load(config: &Config) -> Result<Self, TrustFileErrors> {
        let mut reader = Reader { errors: Vec::new() };
        let trust = &config.trust;
        let anchors = reader.certificates("trust.anchors", &trust.anchors);
        let by_name = reader.certificates("trust.common_name_anchors", &trust.common_name_anchors);
        let intermediates = reader.certificates("trust.intermediates", &trust.intermediates);
        let crls = reader.crls("trust.crls", &trust.crls);
        let no_anchors = trust.anchors.is_empty() && trust.common_name_anchors.is_empty();
        if no_anchors && !*config.legacy.accept {
            reader.errors.push(TrustFileError::NoAnchors);
        }
        let legacy = reader.legacy(config);
        let material = Material { anchors, by_name, intermediates, crls };
        // What is missing from a store with unreadable files would be a second complaint about the same thing.
        if !reader.errors.is_empty() {
            return Err(TrustFileErrors(reader.errors));
        }
        if no_anchors {
            return Ok(Self { store: None, legacy });
        }
        match material.store() {
            Ok(store) => Ok(Self { store: Some(store), legacy }),
            Err(error) => Err(TrustFileErrors(vec![error.into()])),
        }
    }

    /// The trust store; none where a legacy authority is all that is trusted.
    pub fn store(&self) -> Option<&TrustStore> {
        self.store.as_ref()
    }

    /// The legacy authority, where its messages are accepted.
    pub fn legacy(&self) -> Option<&LegacyAuthority> {
        self.legacy.as_ref()
    }

    /// A verifier that goes by both, and by a policy.
    pub fn into_verifier(self, policy: Arc<Policy>, limits: Limits) -> Verifier {
        let legacy = self.legacy.map_or(Legacy::Refused, |authority| Legacy::Accepted(Box::new(authority)));
        Verifier::new(self.store.map(Arc::new), policy, legacy, limits)
    }
}

type Labelled<T> = Vec<(String, T)>;

/// Files that were read, each with its name.
struct Material {
    anchors: Labelled<Certificate>,
    by_name: Labelled<Certificate>,
    intermediates: Labelled<Certificate>,
    crls: Labelled<Crl>,
}

impl Material {
    fn store(self) -> Result<TrustStore, TrustError> {
        let mut builder: TrustStoreBuilder = TrustStore::builder(RevocationPolicy::Required);
        for (label, certificate) in self.anchors {
            builder = builder.anchor(label, certificate, IdentityRule::SpiffeUri)?;
        }
        for (label, certificate) in self.by_name {
            builder = builder.anchor(label, certificate, IdentityRule::CommonName)?;
        }
        for (label, certificate) in self.intermediates {
            builder = builder.intermediate(label, certificate)?;
        }
        for (label, crl) in self.crls {
            builder = builder.crl(label, crl)?;
        }
        builder.build()
    }
}

struct Reader {
    errors: Vec<TrustFileError>,
}

impl Reader {
    fn certificates(&mut self, key: &'static str, files: &Setting<Vec<FilePath>>) -> Labelled<Certificate> {
        self.all(key, files, |bytes, file| {
            pem::certificates(bytes).map_err(|fault| TrustFileError::Pem { file, fault })
        })
    }

    fn crls(&mut self, key: &'static str, files: &Setting<Vec<FilePath>>) -> Labelled<Crl> {
        self.all(key, files, |bytes, file| {
            // Authorities publish lists in DER (RFC 5280, 4.2.1.13), which begins with a SEQUENCE; `ca crl` writes PEM.
            if bytes.first() == Some(&0x30) {
                let list = Crl::parse(bytes).map_err(|fault| TrustFileError::Crl { file, fault })?;
                return Ok(vec![list]);
            }
            pem::crls(bytes).map_err(|fault| TrustFileError::Pem { file, fault })
        })
    }

    fn all<T>(
        &mut self,
        key: &'static str,
        files: &Setting<Vec<FilePath>>,
        parse: impl Fn(&[u8], Box<NamedFile>) -> Result<Vec<T>, TrustFileError>,
    ) -> Labelled<T> {
        let mut read = Vec::new();
        for file in files.iter() {
            let named = NamedFile::new(file, key, files.origin());
            let label = file.path().display().to_string();
            match bytes(&named).and_then(|bytes| parse(&bytes, named)) {
                Ok(items) => read.extend(items.into_iter().map(|item| (label.clone(), item))),
                Err(error) => self.errors.push(error),
            }
        }
        read
    }

    fn legacy(&mut self, config: &Config) -> Option<LegacyAuthority> {
        let legacy = &config.legacy;
        if !*legacy.accept {
            return None;
        }
        // The loader has seen to it that these are set together.
        let (ca, revocation) = (legacy.ca.as_ref()?, legacy.revocation.as_ref()?);
        let ca_pem = self.one("trust.legacy.ca", ca);
        let list = match (**revocation, legacy.crl.as_ref()) {
            (LegacyRevocation::NotChecked, _) => None,
            (LegacyRevocation::Crl, crl) => {
                let crl = crl?;
                Some((crl.path().display().to_string(), self.one("trust.legacy.crl", crl)?))
            }
        };
        let revocation = match &list {
            None => legacy::LegacyRevocation::NotChecked,
            Some((label, pem)) => legacy::LegacyRevocation::Crl { label, pem },
        };
        let made = LegacyAuthority::new(&ca.path().display().to_string(), &ca_pem?, revocation);
        made.map_err(|error| self.errors.push(error.into())).ok()
    }

    fn one(&mut self, key: &'static str, file: &Setting<FilePath>) -> Option<Vec<u8>> {
        bytes(&NamedFile::new(file, key, file.origin())).map_err(|error| self.errors.push(error)).ok()
    }
}

fn bytes(file: &NamedFile) -> Result<Vec<u8>, TrustFileError> {
    let named = || Box::new(file.clone());
    let mut bytes = Vec::new();
    let read =
        File::open(&file.path).and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| TrustFileError::Read { file: named(), message: error.to_string() })?;
    if u64::try_from(bytes.len()).is_ok_and(|found| found <= MAX_FILE_BYTES) {
        return Ok(bytes);
    }
    Err(TrustFileError::TooLarge { file: named() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use std::fs;
    use std::path::Path;

    fn errors(directory: &Path, text: &str) -> Vec<String> {
        let config = Config::load(&Sources::built_in().text("trust.toml", directory, text)).unwrap();
        match TrustFiles::load(&config) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(TrustFileError::to_string).collect(),
        }
    }

    #[test]
    fn without_an_anchor_there_is_no_trust() {
        let none = Config::load(&Sources::built_in()).unwrap();
        let found = TrustFiles::load(&none).unwrap_err();
        assert_eq!(found, TrustFileErrors(vec![TrustFileError::NoAnchors]));
        assert!(found.0[0].hint().unwrap().contains("fedmsg init DIR"));
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named_with_its_key() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        fs::write(at("junk.crt"), "junk").unwrap();
        fs::write(at("junk.crl"), [0x30, 0x03, 0x02, 0x01, 0x01]).unwrap();
        let written = "[trust]\nanchors = [\"junk.crt\", \"none.crt\"]\ncrls = [\"junk.crl\"]\n\
                       [trust.legacy]\naccept = true\nca = \"none.crt\"\nrevocation = \"not-checked\"\n";
        let found = errors(home.path(), written);
        let missing = "No such file or directory (os error 2)";
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(
            found[0],
            format!(
                "{}: found no PEM block, expected CERTIFICATE (named by trust.anchors, trust.toml:2:1)",
                at("junk.crt")
            )
        );
        assert_eq!(
            found[1],
            format!("cannot read {}: {missing} (named by trust.anchors, trust.toml:2:1)", at("none.crt"))
        );
        assert!(found[2].starts_with(&at("junk.crl")), "{}", found[2]);
        assert_eq!(
            found[3],
            format!("cannot read {}: {missing} (named by trust.legacy.ca, trust.toml:6:1)", at("none.crt"))
        );
    }
}
