//! Passphrases: what may be one, and memory that is wiped.

use std::fmt;
use zeroize::Zeroizing;

/// The fewest characters of a passphrase that is set here (NIST SP 800-63B, 5.1.1.1). One that exists may be shorter.
pub const MIN_CHARACTERS: usize = 8;
/// The most bytes of a passphrase. OpenSSL reads 1023 at most, with the end of the line.
pub const MAX_BYTES: usize = 1_000;

/// A passphrase, wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// Why something is no passphrase. Nothing of it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Control characters: nobody can type them, and some programs stop at them.
    #[error("the passphrase has control characters, such as the end of a line, within it")]
    Control,
    /// Nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// Not UTF-8: it would be other bytes on another terminal.
    #[error("the passphrase is not UTF-8")]
    NotUtf8,
    /// More than anybody types, or than OpenSSL reads.
    #[error("the passphrase has more than {MAX_BYTES} bytes")]
    TooLong,
    /// Fewer characters than one that is set here must have.
    #[error("the passphrase has {found} characters, expected {MIN_CHARACTERS} at least")]
    TooShort {
        /// How many it has.
        found: usize,
    },
}

impl Passphrase {
    /// Takes a passphrase, without the end of its line.
    ///
    /// # Errors
    /// A [`PassphraseError`], but for [`PassphraseError::TooShort`]: what exists may be short.
    pub fn new(bytes: &[u8]) -> Result<Self, PassphraseError> {
        if bytes.len() > MAX_BYTES {
            return Err(PassphraseError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PassphraseError::NotUtf8)?;
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(PassphraseError::Control);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Refuses one that is too short for a key that is encrypted from now on.
    pub(super) fn long_enough(&self) -> Result<&Self, PassphraseError> {
        let found = self.0.chars().count();
        if found < MIN_CHARACTERS { Err(PassphraseError::TooShort { found }) } else { Ok(self) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}
