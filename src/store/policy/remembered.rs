//! The serial of the signed policy in force, kept over a restart: an older policy, though it is signed, is not taken again.

use crate::policy::Edition;
use crate::store::files::{self, FileError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file, in the directory of `freshness.state`.
const NAME: &str = "policy.serial";
/// Its lock, held while it is read and written.
const LOCK: &str = "policy.serial.lock";
/// More than it ever has.
const MAX_BYTES: u64 = 256;

/// Where the serial in force is kept. Every process of one `freshness.state` shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    directory: PathBuf,
}

/// Why a policy may not follow the one that was in force, or is not known to.
#[derive(Debug, thiserror::Error)]
pub enum RememberedError {
    /// The file is not of this program's making. What was in force is not known then.
    #[error("{}: not `serial NUMBER` and `digest HEX`; it says which policy was in force", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// An older policy than the one that was in force.
    #[error("serial {found} is older than serial {in_force}, which was in force ({})", path.display())]
    Older {
        /// The policy's serial.
        found: u64,
        /// The serial that was in force.
        in_force: u64,
        /// The file that says so.
        path: PathBuf,
    },
    /// Another policy of the same serial: one of the two is older, and nobody can say which.
    #[error("serial {serial} was in force with other bytes ({}); a change needs a higher serial", path.display())]
    OtherBytes {
        /// The serial of both.
        serial: u64,
        /// The file that says so.
        path: PathBuf,
    },
}

impl Remembered {
    /// In the directory of `freshness.state`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// What was in force last; none, if nothing ever was.
    ///
    /// # Errors
    /// [`RememberedError::Content`], or [`RememberedError::File`] if it cannot be read.
    pub fn edition(&self) -> Result<Option<Edition>, RememberedError> {
        let path = self.path();
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Err(error) => return Err(files::at(&path, "reading")(error).into()),
            Ok(_) => {}
        }
        parse(&text).map(Some).ok_or(RememberedError::Content { path })
    }

    /// Whether a policy may be put in force after what was.
    ///
    /// # Errors
    /// [`RememberedError`].
    pub fn check(&self, next: Edition) -> Result<(), RememberedError> {
        let Some(last) = self.edition()? else { return Ok(()) };
        if next.serial < last.serial {
            let (found, in_force) = (next.serial, last.serial);
            return Err(RememberedError::Older { found, in_force, path: self.path() });
        }
        if next.serial == last.serial && next.digest != last.digest {
            return Err(RememberedError::OtherBytes { serial: next.serial, path: self.path() });
        }
        Ok(())
    }

    /// Writes down a policy that is about to be put in force.
    ///
    /// # Errors
    /// [`RememberedError`]; the policy must not be put in force then.
    pub fn advance(&self, next: Edition) -> Result<(), RememberedError> {
        let _lock = self.lock()?;
        self.check(next)?;
        if self.edition()? == Some(next) {
            return Ok(());
        }
        let text = format!("serial {}\ndigest {}\n", next.serial, next.digest_hex());
        Ok(files::write(&self.path(), text.as_bytes())?)
    }

    fn lock(&self) -> Result<File, RememberedError> {
        let path = self.directory.join(LOCK);
        let lock = || -> io::Result<File> {
            fs::create_dir_all(&self.directory)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        Ok(lock().map_err(files::at(&path, "locking"))?)
    }
}

fn parse(text: &str) -> Option<Edition> {
    let (serial, rest) = text.strip_prefix("serial ")?.split_once('\n')?;
    let hex = rest.strip_prefix("digest ")?.strip_suffix('\n')?;
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    let edition = Edition { serial: serial.parse().ok()?, digest };
    // One text for each: `+1` and the like are nothing that was written here.
    (text == format!("serial {}\ndigest {}\n", edition.serial, edition.digest_hex())).then_some(edition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(serial: u64, byte: u8) -> Edition {
        Edition { serial, digest: [byte; 32] }
    }

    #[test]
    fn a_serial_never_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let remembered = Remembered::new(&directory.path().join("state"));
        assert_eq!(remembered.edition().unwrap(), None);
        remembered.check(edition(0, 0)).unwrap();
        remembered.advance(edition(5, 1)).unwrap();
        // Another process reads what this one wrote.
        let again = Remembered::new(&directory.path().join("state"));
        assert_eq!(again.edition().unwrap(), Some(edition(5, 1)));
        again.advance(edition(5, 1)).unwrap();
        let older = again.advance(edition(4, 1)).unwrap_err();
        assert!(matches!(older, RememberedError::Older { found: 4, in_force: 5, .. }), "{older}");
        let other = again.advance(edition(5, 2)).unwrap_err();
        assert!(matches!(other, RememberedError::OtherBytes { serial: 5, .. }), "{other}");
        assert_eq!(remembered.edition().unwrap(), Some(edition(5, 1)));
        again.advance(edition(u64::MAX, 2)).unwrap();
        assert!(remembered.check(edition(6, 1)).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let remembered = Remembered::new(directory.path());
        let good = format!("serial 5\ndigest {}\n", "ab".repeat(32));
        std::fs::write(remembered.path(), &good).unwrap();
        assert_eq!(remembered.edition().unwrap().map(|edition| edition.serial), Some(5));
        for bad in [
            "".to_owned(),
            good.replace("ab", "AB"),
            good.replace("serial 5", "serial +5"),
            good.replace("serial 5", "serial x"),
            good.trim_end().to_owned(),
            good.clone() + "\n",
            good.replacen("ab", "é", 1),
        ] {
            std::fs::write(remembered.path(), &bad).unwrap();
            let error = remembered.check(edition(9, 9)).unwrap_err();
            assert!(matches!(error, RememberedError::Content { .. }), "{bad:?}: {error}");
        }
        std::fs::write(remembered.path(), [0xff; 80]).unwrap();
        assert!(matches!(remembered.edition(), Err(RememberedError::Content { .. })));
    }
}
