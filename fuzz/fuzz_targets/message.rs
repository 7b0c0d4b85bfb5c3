//! Frames, cut at line ends, as a message: malformed or not, they are kept as they came, and what is claimed is what the
//! frames say.
#![no_main]

use bytes::Bytes;
use fedmsg::limits::Limits;
use fedmsg::message::{RawMessage, Unverified};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = &Limits::STANDARD;
    let parts: Vec<Bytes> = bytes.split(|b| *b == b'\n').map(Bytes::copy_from_slice).collect();
    match Unverified::parse(RawMessage { parts: parts.clone() }, limits) {
        Err(malformed) => assert_eq!(malformed.raw.parts, parts),
        Ok(message) => {
            assert_eq!(message.raw().parts, parts);
            assert_eq!(message.claimed_topic().as_str().as_bytes(), &parts[0][..]);
            assert_eq!(Unverified::parse_body(parts[1].clone(), limits), Ok(message));
        }
    }
});
