//! Any bytes as a proof: refused, or the same bytes again; and so its text.
#![no_main]

use fedmsg::limits::Limits;
use fedmsg::message::Proof;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = &Limits::STANDARD;
    if let Ok(proof) = Proof::decode(bytes.to_vec().into(), limits) {
        assert_eq!(proof.encode().as_deref(), Ok(bytes));
        let text = proof.to_base64().expect("it was encoded before");
        assert_eq!(Proof::from_base64(&text, limits), Ok(proof));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(proof) = Proof::from_base64(text, limits)
    {
        assert_eq!(proof.to_base64().as_deref(), Ok(text));
    }
});
