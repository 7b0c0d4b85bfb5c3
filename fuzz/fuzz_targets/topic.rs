//! Any bytes as a topic: refused, or the same bytes again.
#![no_main]

use fedmsg::limits::Limits;
use fedmsg::topic::Topic;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(topic) = Topic::parse(bytes, &Limits::STANDARD) {
        assert_eq!(topic.as_str().as_bytes(), bytes);
    }
});
