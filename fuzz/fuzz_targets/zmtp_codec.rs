//! Any bytes as frames: what is read and written again is read the same, and no length is believed beyond the caps.
#![no_main]

use bytes::BytesMut;
use fedmsg::bus::zmtp::codec::{Caps, decode, missing, put_frame};

const CAPS: Caps = Caps { command: 100, frame: 1000 };

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    loop {
        let before = buffer.len();
        match decode(&mut buffer, CAPS) {
            Ok(Some(frame)) => {
                assert!(buffer.len() < before && frame.body.len() <= CAPS.frame);
                let mut again = Vec::new();
                put_frame(&mut again, frame.kind, &frame.body);
                assert_eq!(decode(&mut BytesMut::from(&again[..]), CAPS), Ok(Some(frame)));
            }
            Ok(None) => return assert!((1..=CAPS.frame + 9).contains(&missing(&buffer, CAPS))),
            Err(_) => return assert_eq!(buffer.len(), before),
        }
    }
});
