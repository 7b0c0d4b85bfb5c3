//! Any bytes as PEM: what is taken for one kind of thing is not taken for the other.
#![no_main]

use fedmsg::pki::pem;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let (certificates, crls) = (pem::certificates(text), pem::crls(text));
    assert!(certificates.is_err() || crls.is_err());
    assert!(!certificates.is_ok_and(|all| all.is_empty()));
    assert!(!crls.is_ok_and(|all| all.is_empty()));
});
