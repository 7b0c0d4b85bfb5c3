//! Any bytes from a peer, whole and cut at every place: the same events, the same error.
//!
//! The first byte says which end this is, and whether the peer's handshake stands before the rest.
#![no_main]

use bytes::BytesMut;
use fedmsg::bus::zmtp::connection::{Connection, Event, Role, greeting};
use fedmsg::bus::zmtp::{Limits, ProtocolError};

const LIMITS: Limits =
    Limits { frame_bytes: 500, message_bytes: 800, message_parts: 4, command_bytes: 300, ..Limits::STANDARD };

fn run<'a>(role: Role, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<ProtocolError>) {
    let (mut connection, mut buffer, mut events) =
        (Connection::new(role, LIMITS), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match connection.next(&mut buffer) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(connection.missing(&buffer) > 0);
        // What is not yet a frame is no more than one.
        assert!(buffer.len() < LIMITS.message_bytes + 64);
    }
    (events, None)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let (role, peer) = if first & 1 == 0 {
        (Role::Publisher, Role::Subscriber)
    } else {
        (Role::Subscriber, Role::Publisher)
    };
    let mut bytes = Vec::new();
    if first & 2 == 0 {
        bytes.extend_from_slice(&greeting());
        if first & 4 == 0 {
            bytes.extend(Connection::new(peer, LIMITS).ready());
        }
    }
    bytes.extend_from_slice(rest);
    let whole = run(role, [&bytes[..]].into_iter());
    assert_eq!(run(role, bytes.chunks(1)), whole);
    // Every place for what is short; some places for what is long.
    let step = bytes.len() / 64 + 1;
    for cut in (0..bytes.len()).step_by(step) {
        let (one, two) = bytes.split_at(cut);
        assert_eq!(run(role, [one, two].into_iter()), whole);
    }
    assert_eq!(run(role, bytes.chunks(usize::from(*first).max(2))), whole);
});
