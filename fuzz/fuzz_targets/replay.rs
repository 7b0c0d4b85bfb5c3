//! A replay request, or the first frame of its answer: what can be read is written as something that reads the same.
#![no_main]

use fedmsg::bus::replay::protocol::{Header, Request};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::parse(bytes) {
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
    }
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
    }
});
