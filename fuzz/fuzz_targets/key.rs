//! Any bytes as a private key in PEM: refused, or the same key again.
#![no_main]

use fedmsg::pki::key::PrivateKey;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = PrivateKey::from_pem(bytes) {
        let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("what was written can be read");
        assert_eq!(again.public_spki(), key.public_spki());
    }
});
