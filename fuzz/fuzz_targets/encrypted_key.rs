//! Any bytes as an encrypted private key: refused, or written again as they were, and opened or refused with little work.
#![no_main]

use fedmsg::pki::key::{EncryptedKey, KdfLimits, Passphrase};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = KdfLimits { scrypt_bytes: 64 << 10, pbkdf2_iterations: 50 };
    if let Ok(key) = EncryptedKey::parse(bytes, limits) {
        assert_eq!(key.to_der().as_deref(), Ok(bytes));
        let passphrase = Passphrase::new(b"correct horse").expect("a passphrase");
        // Nobody here can make one that this passphrase opens but by knowing how.
        let _ = key.open(&passphrase);
    }
});
