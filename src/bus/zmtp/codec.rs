//! Frames (RFC 23, "Framing"): a byte of flags, a length of one byte or eight, the body.

use super::error::ProtocolError;
use bytes::{Buf, Bytes, BytesMut};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The longest header.
const LONG_HEADER: usize = 9;

/// A frame as it was received; the body is a slice of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it belongs to.
    pub kind: Kind,
    /// What it carries.
    pub body: Bytes,
}

/// What a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is a command.
    Command,
    /// It is the last frame of a message, or the only one.
    Last,
    /// It is a frame of a message, and another follows.
    More,
}

/// How long the bodies may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of a command.
    pub command: usize,
    /// Bytes of a message's frame.
    pub frame: usize,
}

/// A header, as far as it is known.
struct Header {
    kind: Kind,
    /// Its own length.
    bytes: usize,
    body: usize,
}

/// Takes the next frame from `buffer`; `None`, and nothing is taken, if it is not all there.
///
/// # Errors
/// [`ProtocolError::Flags`], and as soon as the header is known [`ProtocolError::FrameTooLarge`] or
/// [`ProtocolError::CommandTooLarge`].
pub fn decode(buffer: &mut BytesMut, caps: Caps) -> Result<Option<Frame>, ProtocolError> {
    let Some(Header { kind, bytes, body }) = header(buffer, caps)? else { return Ok(None) };
    if buffer.len() - bytes < body {
        return Ok(None);
    }
    buffer.advance(bytes);
    Ok(Some(Frame { kind, body: buffer.split_to(body).freeze() }))
}

/// How many bytes of the frame that `buffer` begins with are missing, as far as one can tell. At most a header more
/// than the caps: this is what may be made room for.
pub fn missing(buffer: &[u8], caps: Caps) -> usize {
    match header(buffer, caps) {
        Ok(Some(Header { bytes, body, .. })) => (bytes + body).saturating_sub(buffer.len()),
        Ok(None) | Err(_) => LONG_HEADER,
    }
}

/// Appends a frame's header to `out`.
pub fn put_header(out: &mut Vec<u8>, kind: Kind, body: usize) {
    let flags = match kind {
        Kind::Command => COMMAND,
        Kind::Last => 0,
        Kind::More => MORE,
    };
    match u8::try_from(body) {
        Ok(length) => out.extend_from_slice(&[flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&u64::try_from(body).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
}

/// The bytes of a frame's header.
pub fn header_len(body: usize) -> usize {
    if u8::try_from(body).is_ok() { 2 } else { LONG_HEADER }
}

/// Appends a frame to `out`.
pub fn put_frame(out: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    put_header(out, kind, body.len());
    out.extend_from_slice(body);
}

fn header(buffer: &[u8], caps: Caps) -> Result<Option<Header>, ProtocolError> {
    let Some(&flags) = buffer.first() else { return Ok(None) };
    let kind = match flags & !LONG {
        0 => Kind::Last,
        MORE => Kind::More,
        COMMAND => Kind::Command,
        _ => return Err(ProtocolError::Flags(flags)),
    };
    let (bytes, length) = if flags & LONG == 0 {
        let Some(&length) = buffer.get(1) else { return Ok(None) };
        (2, u64::from(length))
    } else {
        let Some(length) = buffer.get(1..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        (LONG_HEADER, u64::from_be_bytes(*length))
    };
    let limit = if kind == Kind::Command { caps.command } else { caps.frame };
    match usize::try_from(length) {
        Ok(body) if body <= limit => Ok(Some(Header { kind, bytes, body })),
        _ if kind == Kind::Command => Err(ProtocolError::CommandTooLarge { limit, found: length }),
        _ => Err(ProtocolError::FrameTooLarge { limit, found: length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPS: Caps = Caps { command: 300, frame: 1000 };

    #[test]
    fn a_header_is_refused_as_soon_as_it_is_known() {
        for (bytes, error) in [
            (&b"\x08"[..], ProtocolError::Flags(8)),
            (b"\x05\0", ProtocolError::Flags(5)),
            (b"\x80", ProtocolError::Flags(0x80)),
            (b"\x02\0\0\x01\0\0\0\0\0", ProtocolError::FrameTooLarge { limit: 1000, found: 1 << 40 }),
            (
                b"\x03\xff\xff\xff\xff\xff\xff\xff\xff",
                ProtocolError::FrameTooLarge { limit: 1000, found: u64::MAX },
            ),
            (b"\x06\0\0\0\0\0\0\x01\x2d", ProtocolError::CommandTooLarge { limit: 300, found: 301 }),
        ] {
            let mut buffer = BytesMut::from(bytes);
            assert_eq!(decode(&mut buffer, CAPS), Err(error), "{bytes:?}");
            assert_eq!((&buffer[..], missing(&buffer, CAPS)), (bytes, LONG_HEADER));
        }
        let mut longest = BytesMut::from(&b"\x06\0\0\0\0\0\0\x01\x2c"[..]);
        assert_eq!((decode(&mut longest, CAPS), missing(&longest, CAPS)), (Ok(None), 300));
        longest.resize(9 + 300, 7);
        assert_eq!(decode(&mut longest, CAPS).unwrap().unwrap().body, vec![7; 300]);
    }

    #[test]
    fn a_short_frame_may_be_written_long() {
        let mut buffer = BytesMut::from(&b"\x02\0\0\0\0\0\0\0\x01x"[..]);
        let frame = Frame { kind: Kind::Last, body: Bytes::from_static(b"x") };
        assert_eq!(decode(&mut buffer, CAPS), Ok(Some(frame)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            frames in proptest::collection::vec((0..3_usize, proptest::collection::vec(any::<u8>(), 0..300)), 0..5),
        ) {
            let kinds = [Kind::Command, Kind::Last, Kind::More];
            let mut bytes = Vec::new();
            for (kind, body) in &frames {
                let before = bytes.len();
                put_frame(&mut bytes, kinds[*kind], body);
                prop_assert_eq!(bytes.len() - before, header_len(body.len()) + body.len());
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            for (kind, body) in frames {
                let frame = decode(&mut buffer, CAPS).unwrap().unwrap();
                prop_assert_eq!((frame.kind, &frame.body[..]), (kinds[kind], &body[..]));
            }
            prop_assert!(buffer.is_empty() && decode(&mut buffer, CAPS) == Ok(None));
        }

        #[test]
        fn what_is_missing_is_enough(body in proptest::collection::vec(any::<u8>(), 0..600), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            put_frame(&mut bytes, Kind::Last, &body);
            let cut = cut.index(bytes.len());
            let there = &bytes[..cut];
            let wanted = missing(there, CAPS);
            prop_assert!(wanted > 0 && (wanted == bytes.len() - cut || cut < LONG_HEADER));
        }
    }
}
