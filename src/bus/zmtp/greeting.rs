//! The greeting (RFC 23, "The Greeting"): 64 bytes that say which version and which security mechanism.

use super::error::{ProtocolError, shown};

/// Its length.
pub const GREETING_BYTES: usize = 64;

/// Where the mechanism's name stands, and what follows it.
const MECHANISM: std::ops::Range<usize> = 12..32;

const NULL: &[u8; 20] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// What either side says: version 3.0, NULL, no server.
pub fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    let beginning = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    for (byte, said) in greeting.iter_mut().zip(beginning.iter().chain(NULL)) {
        *byte = *said;
    }
    greeting
}

/// Whether `bytes`, which are a greeting or its beginning, may be one. So that a stranger is told at its first byte.
///
/// What is left open by the RFC is not looked at: the padding of the signature (older versions write a length there),
/// the minor version, `as-server` and the filler.
///
/// # Errors
/// [`ProtocolError::Signature`], [`ProtocolError::Version`], [`ProtocolError::Mechanism`].
pub fn check(bytes: &[u8]) -> Result<(), ProtocolError> {
    for (at, expected) in [(0, 0xff), (9, 0x7f)] {
        if let Some(&found) = bytes.get(at)
            && found != expected
        {
            return Err(ProtocolError::Signature { at, found });
        }
    }
    if let Some(&major) = bytes.get(10)
        && major < 3
    {
        return Err(ProtocolError::Version(major));
    }
    match bytes.get(MECHANISM) {
        Some(mechanism) if mechanism != NULL => {
            let name = mechanism.split(|byte| *byte == 0).next().unwrap_or(mechanism);
            Err(ProtocolError::Mechanism(shown(name)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_at_the_first_wrong_byte() {
        let ours = greeting();
        assert!((0..=GREETING_BYTES).all(|end| check(&ours[..end]) == Ok(())));
        let changed = |at: usize, to: u8| {
            let mut bytes = ours;
            bytes[at] = to;
            (0..=GREETING_BYTES).find_map(|end| check(&bytes[..end]).err().map(|error| (end, error)))
        };
        assert_eq!(changed(0, b'G'), Some((1, ProtocolError::Signature { at: 0, found: b'G' })));
        assert_eq!(changed(9, 0x7e), Some((10, ProtocolError::Signature { at: 9, found: 0x7e })));
        assert_eq!(changed(10, 1), Some((11, ProtocolError::Version(1))));
        assert_eq!(changed(12, b'P'), Some((32, ProtocolError::Mechanism("PULL".to_owned()))));
        assert_eq!(changed(31, b'\n'), Some((32, ProtocolError::Mechanism("NULL".to_owned()))));
        for free in (1..9).chain(32..64) {
            assert_eq!(changed(free, 0x55), None, "byte {free}");
        }
        assert_eq!((changed(10, 4), changed(11, 1)), (None, None), "what is newer speaks our version");
    }
}
