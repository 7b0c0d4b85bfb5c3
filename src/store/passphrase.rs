//! Passphrases from files and file descriptors: never from an argument, which every process of the machine can read, and never
//! from the environment, which every child inherits.

use super::files::{self, FileError, at};
use crate::pki::key::{MAX_BYTES, Passphrase, PassphraseError};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why a passphrase could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseSourceError {
    /// What was typed the second time is not what was typed first.
    #[error("the two passphrases differ")]
    Differ,
    /// The file cannot be read, or others can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was read is no passphrase.
    #[error("{from}: {cause}")]
    Form {
        /// Where it was read from.
        from: String,
        /// What is wrong with it.
        cause: PassphraseError,
    },
    /// A pipe or a directory, where a file was expected.
    #[error("{}: not a regular file (--passphrase-fd reads a pipe)", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("{from}: reading the passphrase: {cause}")]
    Read {
        /// Where it was to be read from.
        from: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// Nobody was named who knows it, and there is no terminal.
    #[error("no passphrase was given, and there is no terminal to ask at")]
    Unavailable,
}

/// Reads the passphrase in a file that only its owner may read: one line.
///
/// # Errors
/// [`PassphraseSourceError`].
pub fn from_file(path: &Path) -> Result<Passphrase, PassphraseSourceError> {
    let metadata = std::fs::metadata(path).map_err(at(path, "opening"))?;
    if !metadata.is_file() {
        return Err(PassphraseSourceError::NotAFile { path: path.to_owned() });
    }
    let text = files::read_private(path)?;
    line(&text, || path.display().to_string())
}

/// Reads a passphrase from a file descriptor that this process was given: up to the end of its line.
///
/// # Errors
/// [`PassphraseSourceError::Read`] if there is no such descriptor; [`PassphraseSourceError::Form`].
pub fn from_descriptor(number: u32) -> Result<Passphrase, PassphraseSourceError> {
    let from = || format!("file descriptor {number}");
    // There is no safe way to take a descriptor by its number; the system opens it anew under this name.
    let path = format!("/dev/fd/{number}");
    let read = || {
        let mut input: Box<dyn Read> =
            if number == 0 { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
        // Byte by byte: the next line is for whoever reads there next.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
        let mut byte = Zeroizing::new([0]);
        while text.len() <= MAX_BYTES && input.read(&mut *byte)? == 1 {
            text.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
        }
        Ok(text)
    };
    let text = read().map_err(|cause| PassphraseSourceError::Read { from: from(), cause })?;
    line(&text, from)
}

/// The passphrase in one line. What follows it, another line or a carriage return, would be a part of it that nobody sees.
fn line(text: &[u8], from: impl FnOnce() -> String) -> Result<Passphrase, PassphraseSourceError> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    Passphrase::new(line).map_err(|cause| PassphraseSourceError::Form { from: from(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_has_one_line_and_is_its_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("passphrase");
        files::write_private(&path, "correct h\u{f6}rse\n".as_bytes()).unwrap();
        let expected = Passphrase::new("correct h\u{f6}rse".as_bytes()).unwrap();
        assert_eq!(from_file(&path).unwrap(), expected);
        for (text, cause) in [
            ("", PassphraseError::Empty),
            ("\n", PassphraseError::Empty),
            ("one\ntwo\n", PassphraseError::Control),
            ("one\r\n", PassphraseError::Control),
        ] {
            files::write_private(&path, text.as_bytes()).unwrap();
            let refused = from_file(&path).unwrap_err();
            assert!(
                matches!(&refused, PassphraseSourceError::Form { cause: found, .. } if *found == cause),
                "{refused}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(from_file(&path), Err(PassphraseSourceError::File(FileError::TooOpen { .. }))));
        assert!(matches!(from_file(temp.path()), Err(PassphraseSourceError::NotAFile { .. })));
        assert!(matches!(from_descriptor(999), Err(PassphraseSourceError::Read { .. })));
    }
}
