//! Any text as JSON: refused, or its canonical form is one that stays as it is.
#![no_main]

use fedmsg::json::{Dialect, canonical, parse};
use fedmsg::limits::Limits;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let limits = &Limits::STANDARD;
    if let Ok(value) = parse(text, Dialect::Strict, limits) {
        let once = canonical::encode(&value);
        assert_eq!(parse(&once, Dialect::Strict, limits), Ok(value));
        assert_eq!(canonical::from_text(&once, Dialect::Strict, limits), Ok(once));
    }
    // What Python reads is more: `Infinity` is written, and not read again.
    let _ = canonical::from_text(text, Dialect::Python, limits);
});
