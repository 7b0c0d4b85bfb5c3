//! Files that must be whole, and files that must be private.
//!
//! A file is written beside its name, synced, and renamed, so that a reader sees the old one or the new one and a power cut
//! loses neither. A private file is made with mode 0600, never opened up and then narrowed; one that others can read is
//! refused when it is read, because nobody can say who has read it since.

use crate::time::Timestamp;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most bytes that a private file may have. A key of 4096 bits in PEM has 3 KiB.
const MAX_PRIVATE_BYTES: u64 = 64 * 1024;
/// The most bytes of any other file that is read here: a revocation list of a million certificates, in PEM, with room.
const MAX_PUBLIC_BYTES: u64 = 128 * 1024 * 1024;

/// How the name of a file begins that is being written beside its place.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {doing}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// A file of more bytes than anything that would be read from it has.
    #[error("{}: more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// Others than the owner may read, write or enter.
    #[error("{}: mode {found:04o}, expected {expected:04o} or less", path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The widest mode that is accepted.
        expected: u32,
    },
}

impl FileError {
    /// The command that mends it, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, expected, .. } => Some(format!("chmod {expected:o} {}", path.display())),
            Self::Io { .. } | Self::TooLarge { .. } => None,
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

/// For how many seconds after a change a file may change again without looking different: clocks of file systems are coarse.
const SETTLES_AFTER: i64 = 2;

/// What tells a file from the one that was read, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of the file which has this name now; `None`, if there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of_metadata(&metadata))
    }

    /// That of a file which was asked, open or not.
    pub(crate) fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether whatever is written to it from now on looks different.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        self.changed.0.max(self.modified.0).saturating_add(SETTLES_AFTER) < now.as_unix()
    }
}

/// Gives an [`io::Error`] the name of its file and of what was being done.
pub(crate) fn at<'p>(path: &'p Path, doing: &'static str) -> impl FnOnce(io::Error) -> FileError + 'p {
    move |cause| FileError::Io { path: path.to_owned(), doing, cause }
}

/// Writes a file that everybody may read, whole or not at all.
///
/// # Errors
/// [`FileError::Io`]; the old file is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, 0o644)
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// [`FileError::Io`]; the old file is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, 0o600)
}

/// Makes a directory that only its owner may enter, and those above it as usual. One that is there must be as narrow.
///
/// # Errors
/// [`FileError::TooOpen`] or [`FileError::Io`].
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent, "making the directory"))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_private_dir(path),
        Err(error) => Err(at(path, "making the directory")(error)),
    }
}

/// Refuses a directory that others may read, write or enter.
///
/// # Errors
/// [`FileError::TooOpen`], or [`FileError::Io`] where there is none.
pub fn check_private_dir(path: &Path) -> Result<(), FileError> {
    let metadata = fs::metadata(path).map_err(at(path, "reading the directory"))?;
    check_mode(path, metadata.permissions().mode(), 0o700)
}

/// Reads a file that only its owner may read, into memory that is wiped afterwards.
///
/// # Errors
/// [`FileError::TooOpen`] if others may read or write the file, or write its directory (and so put another in its
/// place); [`FileError::TooLarge`]; [`FileError::Io`].
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut file = File::open(path).map_err(at(path, "opening"))?;
    // Asked of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(at(path, "reading its mode"))?;
    check_mode(path, metadata.permissions().mode(), 0o600)?;
    let directory = directory_of(path);
    let above = fs::metadata(directory).map_err(at(directory, "reading its mode"))?;
    check_mode(directory, above.permissions().mode(), 0o755)?;
    if metadata.len() > MAX_PRIVATE_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: MAX_PRIVATE_BYTES });
    }
    // All the room at the start: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len()).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    Read::by_ref(&mut file).take(metadata.len()).read_to_end(&mut bytes).map_err(at(path, "reading"))?;
    Ok(bytes)
}

/// Reads a file that anybody may read.
///
/// # Errors
/// [`FileError::Io`] or [`FileError::TooLarge`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PUBLIC_BYTES + 1).read_to_end(&mut bytes))
        .map_err(at(path, "reading"))?;
    if u64::try_from(bytes.len()).is_ok_and(|found| found <= MAX_PUBLIC_BYTES) {
        return Ok(bytes);
    }
    Err(FileError::TooLarge { path: path.to_owned(), limit: MAX_PUBLIC_BYTES })
}

fn check_mode(path: &Path, mode: u32, expected: u32) -> Result<(), FileError> {
    let found = mode & 0o777;
    if found & 0o077 & !expected == 0 {
        return Ok(());
    }
    Err(FileError::TooOpen { path: path.to_owned(), found, expected })
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = directory_of(path);
    // The builder makes it with O_EXCL under a random name, so nobody can have put a link there before.
    let mut beside = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(at(directory, "making a file"))?;
    beside.write_all(bytes).map_err(at(path, "writing"))?;
    // The umask may have narrowed it; what others are to read, they must be able to.
    beside
        .as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(at(path, "setting its mode"))?;
    beside.as_file().sync_all().map_err(at(path, "syncing"))?;
    beside.persist(path).map_err(|error| at(path, "renaming")(error.error))?;
    sync_dir(directory)
}

/// Makes a rename or a new name within `directory` outlive a power cut.
pub(crate) fn sync_dir(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(at(directory, "syncing the directory"))
}

/// The directory of a file.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_stay_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("pki");
        create_private_dir(&dir).unwrap();
        let key = dir.join("a.key");
        write_private(&key, b"one").unwrap();
        write_private(&key, b"two").unwrap();
        assert_eq!((mode(&dir), mode(&key)), (0o700, 0o600));
        assert_eq!(*read_private(&key).unwrap(), b"two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");

        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_private(&key).unwrap_err();
        assert!(matches!(error, FileError::TooOpen { found: 0o640, expected: 0o600, .. }), "{error}");
        assert_eq!(error.hint().unwrap(), format!("chmod 600 {}", key.display()));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o775)).unwrap();
        assert!(matches!(read_private(&key), Err(FileError::TooOpen { found: 0o775, .. })));
        assert!(matches!(create_private_dir(&dir), Err(FileError::TooOpen { expected: 0o700, .. })));

        let public = temp.path().join("a.crt");
        write(&public, b"x").unwrap();
        assert_eq!(mode(&public), 0o644);
        assert!(read_private(&temp.path().join("none")).unwrap_err().is_missing());
    }
}
