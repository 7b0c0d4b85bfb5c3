//! The policy's files, read from disk: all of them, or none; signed, where the configuration asks for it.

mod reload;
mod remembered;
mod sources;
mod status;
mod watch;

pub use reload::{PolicyRefresh, PolicyRefusal, PolicyReloader, PolicyStatus};
pub use remembered::{Remembered, RememberedError};
pub use sources::{Admitted, PolicyFiles, signature_beside};
pub use status::{ConsumerStatus, StatusError, StatusFile, StatusRefusal, Tally};
pub use watch::{LOOK_EVERY, PolicyWatch};

use super::trust::TrustFileErrors;
use crate::config::Origin;
use crate::limits::Limits;
use crate::policy::signature::SignatureError;
use crate::policy::{Policy, PolicyErrors, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of one policy file: far more than a million rules take.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// A file of the candidate (`policy.candidate`).
    #[error("candidate: {0}")]
    Candidate(Box<Self>),
    /// Nothing is trusted but a legacy authority, which cannot vouch for an operator.
    #[error("no trust anchor is configured (trust.anchors), so that no policy's signature can be checked")]
    NoAnchor,
    /// There is no file to read.
    #[error("no policy is configured (policy.files), so that nobody may publish anything")]
    NotConfigured,
    /// There is no signature, and there has to be one.
    #[error(
        "the policy is not signed: there is no {signature}, and policy.require_signature is true ({required})"
    )]
    NotSigned {
        /// The signature's file.
        signature: String,
        /// Where it is required.
        required: Origin,
    },
    /// What the files say is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// A file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It may not follow the signed policy that was in force, or what was in force is not known.
    #[error(transparent)]
    Remembered(#[from] RememberedError),
    /// The signature does not hold.
    #[error("{file}: {source}")]
    Signature {
        /// The signature's file.
        file: String,
        /// Why not.
        source: Box<SignatureError>,
    },
    /// The trust material, by which the signature is checked.
    #[error(transparent)]
    Trust(#[from] TrustFileErrors),
    /// There is no thread to watch the files on.
    #[error("cannot watch the policy's files: {source}")]
    Watch {
        /// Why.
        source: io::Error,
    },
    /// A file is larger than [`MAX_FILE_BYTES`].
    #[error("{file}: more than {limit} bytes")]
    TooLarge {
        /// The file.
        file: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// A file's name and its bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// What errors call it: the path as given.
    pub name: String,
    /// The whole of it.
    pub bytes: Vec<u8>,
}

impl Bytes {
    /// Reads files of a policy, or of its tests, without looking into them.
    ///
    /// # Errors
    /// A file cannot be read, or is larger than [`MAX_FILE_BYTES`].
    pub fn read(files: &[PathBuf]) -> Result<Vec<Self>, PolicyFileError> {
        let read =
            |file: &PathBuf| read_file(file).map(|bytes| Self { name: file.display().to_string(), bytes });
        files.iter().map(read).collect()
    }

    /// As the policy's readers take it.
    pub fn source(&self) -> Source<'_> {
        Source { file: &self.name, bytes: &self.bytes }
    }
}

/// Reads the files of a policy, and the policy from them. Positions in its rules and errors name the paths as given.
///
/// # Errors
/// A [`PolicyFileError`] that names the file; nothing is decided by half of a policy.
pub fn read(files: &[PathBuf], limits: &Limits) -> Result<Policy, PolicyFileError> {
    if files.is_empty() {
        return Err(PolicyFileError::NotConfigured);
    }
    let files = Bytes::read(files)?;
    let sources: Vec<Source<'_>> = files.iter().map(Bytes::source).collect();
    Ok(Policy::parse_files(&sources, limits)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, PolicyFileError> {
    read_at_most(path, MAX_FILE_BYTES)
}

fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, PolicyFileError> {
    let file = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| PolicyFileError::Read { file: file(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|found| found <= limit) {
        return Ok(bytes);
    }
    Err(PolicyFileError::TooLarge { file: file(), limit })
}
