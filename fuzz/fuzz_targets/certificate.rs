//! Any bytes as a certificate: refused, or kept as they are; and its identity is one that can be written and read.
#![no_main]

use fedmsg::pki::certificate::{Certificate, IdentityRule};

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    let Ok(certificate) = Certificate::parse(der) else { return };
    assert_eq!(&certificate.der()[..], der);
    assert_eq!(Certificate::parse(der), Ok(certificate.clone()));
    let _ = certificate.public_key();
    for rule in [IdentityRule::SpiffeUri, IdentityRule::CommonName] {
        if let Ok(identity) = certificate.identity(rule) {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }
});
