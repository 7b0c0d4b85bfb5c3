//! Keys as they are written and read, with a passphrase and without, and what is no key at all.

use super::*;
use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use std::sync::LazyLock;

static SEALED: LazyLock<(PrivateKey, EncryptedKey)> =
    LazyLock::new(|| sealed(KeyKind::P256, "correct horse"));

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes()).unwrap()
}

fn sealed(kind: KeyKind, text: &str) -> (PrivateKey, EncryptedKey) {
    let key = PrivateKey::generate(kind).unwrap();
    let encrypted = EncryptedKey::seal(&key, &passphrase(text)).unwrap();
    (key, encrypted)
}

fn read(pem: &str) -> Result<EncryptedKey, PrivateKeyError> {
    match StoredKey::from_pem(pem.as_bytes(), KdfLimits::STANDARD)? {
        StoredKey::Encrypted(key) => Ok(key),
        StoredKey::Plain(key) => panic!("{key:?}"),
    }
}

#[test]
fn a_key_made_here_is_read_again_and_signs() {
    for (kind, algorithm) in
        [(KeyKind::P256, Algorithm::EcdsaP256Sha256), (KeyKind::Ed25519, Algorithm::Ed25519)]
    {
        let made = PrivateKey::generate(kind).unwrap();
        let key = PrivateKey::from_pem(made.to_pem().as_bytes()).unwrap();
        assert_eq!((key.algorithm(), key.public_spki()), (algorithm, made.public_spki()));
        assert_eq!(format!("{key:?}"), format!("PrivateKey({algorithm})"));
        assert_eq!(kind.as_str().parse(), Ok(kind));
        let signature = key.sign(b"message").unwrap();
        let raw = key.pair.der_bytes();
        match kind {
            KeyKind::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, raw),
            KeyKind::Ed25519 => UnparsedPublicKey::new(&ED25519, raw),
        }
        .verify(b"message", &signature)
        .unwrap();
    }
}

#[test]
fn version_2_of_pkcs8_is_read() {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = PrivateKey::from_pkcs8(Zeroizing::new(document.as_ref().to_vec())).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
}

#[test]
fn other_forms_are_named() {
    let good = PrivateKey::generate(KeyKind::P256).unwrap().to_pem();
    let relabel = |label: &str| good.replace("PRIVATE KEY", label);
    let found = |label: &str| PrivateKeyError::Form { found: label.to_owned() };
    for (pem, expected) in [
        (String::new(), PrivateKeyError::NotPem),
        (relabel("ENCRYPTED PRIVATE KEY"), PrivateKeyError::Encrypted),
        (relabel("EC PRIVATE KEY"), found("EC PRIVATE KEY")),
        (relabel("RSA PRIVATE KEY"), found("RSA PRIVATE KEY")),
        (relabel("CERTIFICATE"), PrivateKeyError::NotPem),
        (good.repeat(2), PrivateKeyError::Several),
        (good[..good.len() - 30].to_owned(), PrivateKeyError::NotPem),
        (good.replacen("MIG", "M!G", 1), PrivateKeyError::NotPem),
        (good.replacen("MIG", "NIG", 1), PrivateKeyError::Kind),
    ] {
        assert_eq!(PrivateKey::from_pem(pem.as_bytes()).unwrap_err(), expected);
    }
    let crlf = format!("text before\n{}", good.replace('\n', "\r\n"));
    assert!(PrivateKey::from_pem(crlf.as_bytes()).is_ok());
}

#[test]
fn a_key_under_a_passphrase_is_opened_by_it_alone() {
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let (key, encrypted) = sealed(kind, "correct horse");
        let pem = encrypted.to_pem().unwrap();
        let again = read(&pem).unwrap();
        assert_eq!(again, encrypted);
        let opened = again.open(&passphrase("correct horse")).unwrap();
        assert_eq!((opened.public_spki(), &*opened.pkcs8), (key.public_spki(), &*key.pkcs8));
        for other in ["correct hors", "correct horse ", "Correct horse"] {
            let refused = again.open(&passphrase(other)).unwrap_err();
            assert_eq!(refused, EncryptedKeyError::WrongPassphrase.into(), "{other}");
        }
        // A daemon, which has nobody to ask, says so.
        assert_eq!(PrivateKey::from_pem(pem.as_bytes()).unwrap_err(), PrivateKeyError::Encrypted);
        assert!(!format!("{again:?} {:?}", passphrase("correct horse")).contains("horse"));
    }
    let (key, one) = sealed(KeyKind::P256, "correct horse");
    let two = EncryptedKey::seal(&key, &passphrase("correct horse")).unwrap();
    assert_ne!(one, two, "another salt each time");
}

#[test]
fn what_is_no_passphrase_is_said() {
    let long = "x".repeat(MAX_BYTES + 1);
    for (bytes, expected) in [
        (&b""[..], PassphraseError::Empty),
        (b"one\ntwo", PassphraseError::Control),
        (b"one\r", PassphraseError::Control),
        (b"\xff\xfe", PassphraseError::NotUtf8),
        (long.as_bytes(), PassphraseError::TooLong),
    ] {
        assert_eq!(Passphrase::new(bytes).unwrap_err(), expected);
    }
    let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let short = EncryptedKey::seal(&key, &passphrase("seven77")).unwrap_err();
    let expected = EncryptedKeyError::from(PassphraseError::TooShort { found: 7 });
    assert_eq!(short, PrivateKeyError::from(expected));
    assert!(EncryptedKey::seal(&key, &passphrase("größe 24")).is_ok());
}

/// Each found in a file that asks for it: nothing of the work is done.
#[test]
fn work_without_end_is_refused() {
    let (_, encrypted) = sealed(KeyKind::Ed25519, "correct horse");
    let der = encrypted.to_der().unwrap();
    // scrypt-params: N, r and p as they are written (RFC 7914, section 7).
    let written: &[u8] = &[2, 2, 0x40, 0, 2, 1, 8, 2, 1, 1];
    let at = der.windows(written.len()).position(|window| window == written).unwrap();
    let with = |new: &[u8]| {
        let mut changed = der.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        EncryptedKey::parse(&changed, KdfLimits::STANDARD).unwrap_err()
    };
    let allowed = KdfLimits::STANDARD.scrypt_bytes;
    let too_much = |found| EncryptedKeyError::TooMuchScrypt { found, allowed };
    assert_eq!(with(&[2, 2, 0x40, 0, 2, 1, 127, 2, 1, 127]), too_much(128 * 0x4000 * 127 * 127));
    // The integers in another division of the same bytes: N = 2, r = 2^39.
    let impossible = |error: EncryptedKeyError| matches!(error, EncryptedKeyError::Parameters { .. });
    assert!(impossible(with(&[2, 2, 0x40, 1])), "N is no power of two");
    assert!(impossible(with(&[2, 2, 0x40, 0, 2, 1, 0])), "r is 0");
    assert!(impossible(with(&[2, 2, 0x40, 0, 2, 1, 8, 2, 1, 0])), "p is 0");
    assert!(matches!(with(&[2, 2, 0, 0]), EncryptedKeyError::Malformed { .. }), "not DER");
    let tight = KdfLimits { scrypt_bytes: (16 << 20) - 1, ..KdfLimits::STANDARD };
    let found = EncryptedKey::parse(&der, tight).unwrap_err();
    assert_eq!(found, EncryptedKeyError::TooMuchScrypt { found: 16 << 20, allowed: (16 << 20) - 1 });
    assert!(EncryptedKey::parse(&der, KdfLimits { scrypt_bytes: 16 << 20, ..KdfLimits::STANDARD }).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is changed, it is refused or it is the same key: no other key comes out, and nothing panics.
    #[test]
    fn a_changed_encrypted_key_is_no_other_key(at in 0_usize..400, bit in 0_u8..8) {
        let (key, encrypted) = &*SEALED;
        let mut der = encrypted.to_der().unwrap();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        // Little work, so that a changed parameter does not make this slow.
        let limits = KdfLimits { scrypt_bytes: 64 << 20, pbkdf2_iterations: 10_000 };
        if let Ok(changed) = EncryptedKey::parse(&der, limits) {
            prop_assert_eq!(changed.to_der().unwrap(), der);
            if let Ok(opened) = changed.open(&passphrase("correct horse")) {
                prop_assert_eq!(opened.public_spki(), key.public_spki());
            }
        }
    }

    #[test]
    fn any_bytes_are_an_encrypted_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(EncryptedKey::parse(&bytes, KdfLimits::STANDARD).is_err());
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(text in "(-----BEGIN PRIVATE KEY-----\n)?[A-Za-z0-9+/=\n]{0,200}(-----END PRIVATE KEY-----\n)?") {
        prop_assert!(PrivateKey::from_pem(text.as_bytes()).is_err());
    }
}
