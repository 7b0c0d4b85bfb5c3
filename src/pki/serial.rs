//! Serial numbers of certificates.

use std::fmt;
use std::str::FromStr;

/// A positive serial number of at most 20 bytes (RFC 5280, 4.1.2.2): big-endian, without leading zeros, so that equal
/// numbers are equal bytes however they were written. It prints as lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

/// A serial number that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Zero, or more than 20 bytes.
    #[error("a serial number of {found} bytes that are not zero, expected 1 to 20")]
    Range {
        /// What was found, in bytes without leading zeros.
        found: usize,
    },
    /// Not hexadecimal.
    #[error("`{0}` is not a serial number in hexadecimal")]
    Syntax(String),
}

impl Serial {
    /// Takes the magnitude of a serial number, big-endian; leading zeros are dropped.
    ///
    /// # Errors
    /// [`SerialError::Range`] if it is zero or over 20 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let magnitude = &bytes[zeros..];
        if magnitude.is_empty() || magnitude.len() > 20 {
            return Err(SerialError::Range { found: magnitude.len() });
        }
        Ok(Self(magnitude.into()))
    }

    /// The magnitude, big-endian, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    /// Reads hexadecimal of either case, with or without colons between the bytes, as OpenSSL and browsers show it.
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let syntax = || SerialError::Syntax(text.chars().take(80).collect());
        let mut digits = Vec::with_capacity(text.len());
        for character in text.chars().filter(|c| *c != ':') {
            digits.push(character.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(syntax)?);
        }
        if digits.len() % 2 == 1 {
            digits.insert(0, 0);
        }
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if bytes.is_empty() { Err(syntax()) } else { Self::from_bytes(&bytes) }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_number_has_one_form() {
        for text in ["00:0A:bc", "abc", "0ABC", "0a:bc"] {
            assert_eq!(text.parse::<Serial>().unwrap().to_string(), "0abc");
        }
        assert_eq!("".parse::<Serial>(), Err(SerialError::Syntax(String::new())));
        assert_eq!("00".parse::<Serial>(), Err(SerialError::Range { found: 0 }));
        assert_eq!("1".repeat(42).parse::<Serial>(), Err(SerialError::Range { found: 21 }));
        assert!("shell-localhost".parse::<Serial>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..=20)) {
            if let Ok(serial) = Serial::from_bytes(&bytes) {
                prop_assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
            }
        }
    }
}
