//! Any bytes as a revocation list: refused, or kept as they are.
#![no_main]

use fedmsg::pki::crl::Crl;

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    if let Ok(crl) = Crl::parse(der) {
        assert_eq!(&crl.der()[..], der);
        assert!(!crl.number_hex().is_empty());
        let _ = crl.revocation(der);
    }
});
