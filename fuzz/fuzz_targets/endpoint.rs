//! Any text as an endpoint: refused, or the same endpoint again after writing and reading it.
#![no_main]

use fedmsg::endpoint::Endpoint;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
});
