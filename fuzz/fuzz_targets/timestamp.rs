//! Any text as an RFC 3339 time: refused, or the same moment again after writing and reading it.
#![no_main]

use fedmsg::time::Timestamp;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
});
