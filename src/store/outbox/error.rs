//! Why an outbox does not keep.

use std::path::{Path, PathBuf};

/// Why an outbox does not keep, or cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The file is damaged, or was not written by this program.
    #[error("{}: the outbox is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file or its directory cannot be made.
    #[error("{}: {source}", path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no room left for it.
    #[error("{}: no room left on the disk, nothing was kept", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another publisher has it.
    #[error("{}: in use by another publisher of this service on this host", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is none to look at.
    #[error("{}: there is no outbox", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A batch does not go on where the last one ended.
    #[error("message {found} cannot be kept next, expected {expected}")]
    Order {
        /// The number after the newest.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The file is of a later form than this program knows.
    #[error("{}: the outbox has form {found}, this program knows {known}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The form of the file.
        found: i64,
        /// The form that is known.
        known: i64,
    },
    /// The stream is another signer's.
    #[error("{}: the outbox of {found}, expected {expected}", path.display())]
    Signer {
        /// The file.
        path: PathBuf,
        /// Who wants to publish.
        expected: String,
        /// Whose messages are in it.
        found: String,
    },
    /// SQLite's other errors.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl OutboxError {
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Corrupt { path, what: source.to_string() }
            }
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full { path },
            _ => Self::Sqlite { path, source },
        }
    }
}
