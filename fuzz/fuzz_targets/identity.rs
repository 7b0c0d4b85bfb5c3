//! Any text as an identity: refused, or written as it was read.
#![no_main]

use fedmsg::identity::Identity;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string(), text);
    }
});
