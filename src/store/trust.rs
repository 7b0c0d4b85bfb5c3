//! The trust material that the configuration names, read from disk: all of it, or none.

mod reload;
mod slot;
mod watch;

pub use reload::{Refresh, TrustReloader};
pub use watch::{LOOK_EVERY, ReloadingVerifier};

use crate::config::{Config, Origin, one_a_line};
use crate::limits::Limits;
use crate::pki::chain::{TrustError, TrustStore};
use crate::pki::crl::{CrlAge, CrlError};
use crate::pki::legacy::{LegacyAuthority, LegacyError};
use crate::pki::pem::PemError;
use crate::policy::LivePolicy;
use crate::verify::{Legacy, Verifier};
use slot::Slot;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The most bytes of one file of revocation lists: a list of a million certificates, in PEM, with room.
pub const MAX_LIST_FILE_BYTES: u64 = 128 * 1024 * 1024;
/// The most bytes of one file of certificates: a thousand of them, with room.
pub const MAX_CERTIFICATE_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What a verifier goes by, as the configuration states it.
#[derive(Debug)]
pub struct TrustFiles {
    /// `None` where a legacy authority is all that is trusted.
    store: Option<Arc<TrustStore>>,
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
    /// A list that is older than one that was in use: an old list brings revoked certificates back.
    #[error("{}: list {found} is older than list {expected}, which was in use ({file})", file.path.display())]
    CrlOlder {
        /// The file.
        file: Box<NamedFile>,
        /// Its number and date.
        found: CrlAge,
        /// Those of the list that was in use.
        expected: CrlAge,
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
    /// A file is larger than [`MAX_LIST_FILE_BYTES`] or [`MAX_CERTIFICATE_FILE_BYTES`].
    #[error("{}: more than {limit} bytes ({file})", file.path.display())]
    TooLarge {
        /// The file.
        file: Box<NamedFile>,
        /// The most bytes that such a file may have.
        limit: u64,
    },
    /// Each file is well, and together they are no trust store.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no thread to watch the files on.
    #[error("cannot watch the files of trust: {message}")]
    Watch {
        /// What the system said.
        message: String,
    },
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
            | Self::CrlOlder { .. }
            | Self::Legacy(_)
            | Self::Pem { .. }
            | Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Trust(_)
            | Self::Watch { .. } => None,
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
        one_a_line(&self.0, f)
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
        Ok(Self::read(config)?.0)
    }

    fn read(config: &Config) -> Result<(Self, Vec<Slot>), TrustFileErrors> {
        let mut slots = slot::all(config);
        let mut errors: Vec<TrustFileError> = slots.iter_mut().filter_map(|slot| slot.read().err()).collect();
        if slots.iter().all(|slot| !slot.kind.is_anchor()) && !*config.legacy.accept {
            errors.push(TrustFileError::NoAnchors);
        }
        let legacy = slot::legacy(&slots, config).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        // What is missing from a store with unreadable files would be a second complaint about the same thing.
        if !errors.is_empty() {
            return Err(TrustFileErrors(errors));
        }
        match slot::store(&slots) {
            Ok(store) => Ok((Self { store: store.map(Arc::new), legacy }, slots)),
            Err(error) => Err(TrustFileErrors(vec![error.into()])),
        }
    }

    /// The trust store; none where a legacy authority is all that is trusted.
    pub fn store(&self) -> Option<&TrustStore> {
        self.store.as_deref()
    }

    /// The legacy authority, where its messages are accepted.
    pub fn legacy(&self) -> Option<&LegacyAuthority> {
        self.legacy.as_ref()
    }

    /// A verifier that goes by both, and by a policy.
    pub fn into_verifier(self, policy: impl Into<LivePolicy>, limits: Limits) -> Verifier {
        let legacy = self.legacy.map_or(Legacy::Refused, |authority| Legacy::Accepted(Box::new(authority)));
        Verifier::new(self.store, policy, legacy, limits)
    }
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
