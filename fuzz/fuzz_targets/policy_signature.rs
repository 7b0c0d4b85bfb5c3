//! Any bytes as the signature of a policy: refused, or the same bytes again, of which what is signed is the beginning.
#![no_main]

use fedmsg::limits::Limits;
use fedmsg::policy::signature::DetachedSignature;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = DetachedSignature::parse(bytes, &Limits::STANDARD) {
        assert_eq!(signature.to_text().as_bytes(), bytes);
        assert!(bytes.starts_with(signature.signed_bytes()));
        assert_eq!(signature.statement().to_text().as_bytes(), signature.signed_bytes());
    }
});
