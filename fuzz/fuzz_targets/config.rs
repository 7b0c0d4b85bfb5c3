//! Any text as a configuration file: every fault has a line that says so; what is taken is taken twice alike.
#![no_main]

use fedmsg::config::{Config, Sources};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let sources = Sources::built_in().text("fuzz.toml", Path::new("/etc"), text);
    match Config::load(&sources) {
        Err(errors) => assert!(!errors.to_string().is_empty()),
        Ok(config) => assert_eq!(Config::load(&sources).as_ref(), Ok(&config)),
    }
});
