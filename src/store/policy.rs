//! The policy's files, read from disk: all of them, or none.

mod reload;

pub use reload::{LOOK_EVERY, PolicyRefresh, PolicyRefusal, PolicyReloader, PolicyStatus, PolicyWatch};

use crate::limits::Limits;
use crate::policy::{Policy, PolicyErrors, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of one policy file: far more than a million rules take.
pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// There is no file to read.
    #[error("no policy is configured (policy.files), so that nobody may publish anything")]
    NotConfigured,
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
    let file = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| PolicyFileError::Read { file: file(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|found| found <= MAX_FILE_BYTES) {
        return Ok(bytes);
    }
    Err(PolicyFileError::TooLarge { file: file(), limit: MAX_FILE_BYTES })
}
