//! Bad leaves.

use super::forge::*;
use fedmsg::pki::certificate::{Certificate, IdentityRule};
use fedmsg::pki::chain::{Purpose, RevocationPolicy, TrustStore};
use fedmsg::pki::pem;
use fedmsg::reason::ReasonCode as R;
use proptest::prelude::*;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use std::sync::LazyLock;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

#[test]
fn the_bounds_of_validity_are_exact() {
    let world = &*WORLD;
    let store = anchored(&world.root, RevocationPolicy::NotChecked).unwrap().build().unwrap();
    let verdict = |seconds| {
        let at = now().plus_seconds(seconds);
        store
            .validate(&world.leaf, &[&world.issuing.der], &Purpose::DocumentSigning, at)
            .map(|_| ())
            .map_err(|error| error.code())
    };
    assert_eq!(verdict(-DAY - 1), Err(R::CertificateNotYetValid));
    assert_eq!((verdict(-DAY), verdict(90 * DAY)), (Ok(()), Ok(())));
    assert_eq!(verdict(90 * DAY + 1), Err(R::CertificateExpired));

    // After 2050 dates are written in another form (RFC 5280, section 4.1.2.5).
    let far = |p: &mut CertificateParams| p.not_after = at(40 * 365 * DAY);
    let root = Ca::root(far);
    let store = anchored(&root, RevocationPolicy::NotChecked).unwrap().build().unwrap();
    let later = now().plus_seconds(30 * 365 * DAY);
    assert!(store.validate(&root.leaf(far), &[], &Purpose::DocumentSigning, later).is_ok());
}

#[test]
fn leaves_that_may_not_sign_messages() {
    let world = &*WORLD;
    let purposes =
        |purposes: Vec<ExtendedKeyUsagePurpose>| world.issuing.leaf(|p| p.extended_key_usages = purposes);
    let empty = world.issuing.leaf(|p| {
        p.extended_key_usages = vec![];
        p.custom_extensions = vec![extension(&[2, 5, 29, 37], &[0x30, 0], false)];
    });
    let usages = |usages: Vec<KeyUsagePurpose>| world.issuing.leaf(|p| p.key_usages = usages);
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for (case, leaf, expected) in [
        ("an authority", world.issuing.below("sub", |_| {}).der, R::CertificateIsAuthority),
        ("only keyEncipherment", usages(vec![KeyUsagePurpose::KeyEncipherment]), R::CertificateKeyUsage),
        ("no key usage", usages(vec![]), R::CertificateKeyUsage),
        ("no purpose", purposes(vec![]), R::CertificatePurpose),
        ("any purpose", purposes(vec![ExtendedKeyUsagePurpose::Any]), R::CertificatePurpose),
        ("another purpose", purposes(vec![ExtendedKeyUsagePurpose::CodeSigning]), R::CertificatePurpose),
        ("an empty purpose", empty.clone(), R::CertificatePurpose),
        ("P-384", world.issuing.leaf_for(&p384, |_| {}), R::CertificateAlgorithm),
        (
            "an unknown critical extension",
            world.issuing.leaf(|p| p.custom_extensions = vec![extension(&[1, 2, 3], &[5, 0], true)]),
            R::CertificateCriticalExtension,
        ),
    ] {
        refused(case, world.with_leaf(&leaf), expected);
    }
    // Where any purpose will do, it will: but an empty extension is malformed (RFC 5280, section 4.2.1.12).
    let store = anchored(&world.root, RevocationPolicy::NotChecked).unwrap().build().unwrap();
    let any = |leaf: &[u8]| store.validate(leaf, &[&world.issuing.der], &Purpose::Any, now());
    assert!(any(&purposes(vec![])).is_ok());
    assert!(any(&purposes(vec![ExtendedKeyUsagePurpose::CodeSigning])).is_ok());
    assert_eq!(any(&empty).unwrap_err().code(), R::CertificatePurpose);
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert!(world.with_leaf(&world.issuing.leaf_for(&ed25519, |_| {})).is_ok());
}

#[test]
fn leaves_that_are_malformed() {
    let world = &*WORLD;
    let again = |change: fn(&mut Vec<Vec<u8>>)| resigned(&world.leaf, &world.issuing.key, change);
    let twice = |oid: &[u64]| {
        let one = extension(oid, &[5, 0], false);
        world.issuing.leaf(|p| p.custom_extensions = vec![one.clone(), one])
    };
    let san = parts(&parts(&parts(&world.leaf)[0])[7])[0].clone();
    assert_eq!(san[0], 0x30);
    for (case, leaf, expected) in [
        (
            "version 1",
            again(|f| {
                f.remove(0);
                f.pop();
            }),
            R::CertificateMalformed,
        ),
        ("version 2", again(|f| f[0] = tlv(0xa0, &[2, 1, 1])), R::CertificateMalformed),
        (
            "version 3, unsaid",
            again(|f| {
                f.remove(0);
            }),
            R::CertificateMalformed,
        ),
        ("serial 0", again(|f| f[1] = tlv(2, &[0])), R::CertificateSerial),
        ("a negative serial", again(|f| f[1] = tlv(2, &[0x80, 1])), R::CertificateSerial),
        (
            "a serial of 20 bytes and a sign",
            again(|f| f[1] = tlv(2, &[&[0], &[0xff; 20][..]].concat())),
            R::CertificateSerial,
        ),
        ("a serial of 21 bytes", again(|f| f[1] = tlv(2, &[0x7f; 21])), R::CertificateSerial),
        ("a serial with a needless zero", again(|f| f[1] = tlv(2, &[0, 0x10, 0x20])), R::CertificateSerial),
        ("an unknown extension twice", twice(&[1, 2, 3, 4]), R::CertificateMalformed),
        ("a known extension twice", twice(&[2, 5, 29, 17]), R::CertificateMalformed),
        (
            "an end before its beginning",
            world.issuing.leaf(|p| p.not_after = at(-2 * DAY)),
            R::CertificateMalformed,
        ),
        ("bytes after it", [&world.leaf[..], &[0]].concat(), R::CertificateMalformed),
        ("cut short", world.leaf[..world.leaf.len() - 1].to_vec(), R::CertificateMalformed),
        ("nothing", vec![], R::CertificateMalformed),
        ("70,000 bytes", vec![0x30; 70_000], R::CertificateMalformed),
    ] {
        refused(case, world.with_leaf(&leaf), expected);
    }
    assert!(world.with_leaf(&again(|f| f[1] = tlv(2, &[0x7f; 20]))).is_ok());
}

#[test]
fn one_identity_and_only_one() {
    let world = &*WORLD;
    let named = |names: Vec<SanType>| world.with_leaf(&world.issuing.leaf(|p| p.subject_alt_names = names));
    let dns = || SanType::DnsName("app01.example.org".try_into().unwrap());
    assert_eq!(named(vec![dns(), uri(IDENTITY)]).unwrap().identity().to_string(), IDENTITY);
    refused("no name", named(vec![]), R::IdentityMissing);
    refused("a DNS name only", named(vec![dns()]), R::IdentityMissing);
    refused(
        "two identities",
        named(vec![uri(IDENTITY), uri("spiffe://example.org/prod/bodhi/app02")]),
        R::IdentityAmbiguous,
    );
    refused("the same twice", named(vec![uri(IDENTITY), uri(IDENTITY)]), R::IdentityAmbiguous);
    refused("and another URI", named(vec![uri("https://example.org/"), uri(IDENTITY)]), R::IdentityAmbiguous);
    for text in [
        "https://example.org/prod/bodhi/app01",
        "spiffe://example.org/prod/bodhi/app01\0",
        "spiffe://example.org/prod/Bodhi/app01",
        "spiffe://example.org/prod/bodhi/app%301",
        "spiffe://example.org./prod/bodhi/app01",
        "spiffe://example.org/prod/bodhi/app01.",
        "spiffe://example.org/prod/bodhi/app01/",
        "spiffe://example.org/prod/bodhi",
        "",
    ] {
        refused(text, named(vec![uri(text)]), R::IdentityMalformed);
    }
    let nobody = world.issuing.leaf(|p| {
        p.distinguished_name = rcgen::DistinguishedName::new();
        p.subject_alt_names = vec![];
    });
    refused("no subject and no name", world.with_leaf(&nobody), R::IdentityMissing);

    // The common name counts where the anchor says so, and only there.
    let store = TrustStore::builder(RevocationPolicy::NotChecked)
        .anchor("root.crt", world.root.certificate(), IdentityRule::CommonName)
        .and_then(fedmsg::pki::chain::TrustStoreBuilder::build)
        .unwrap();
    let by_name = |leaf: &[u8]| store.validate(leaf, &[&world.issuing.der], &Purpose::DocumentSigning, now());
    assert_eq!(by_name(&world.leaf).unwrap().identity().to_string(), "cn:bodhi-app01");
    assert_eq!(by_name(&nobody).unwrap_err().code(), R::IdentityMissing);
    let spaced = world.issuing.leaf(|p| p.distinguished_name = name("bodhi app01"));
    assert_eq!(by_name(&spaced).unwrap_err().code(), R::IdentityMalformed);
}

#[test]
fn a_pem_file_holds_what_was_asked_for_and_nothing_else() {
    let world = &*WORLD;
    let cert = rcgen_pem("CERTIFICATE", &world.leaf);
    let crl = rcgen_pem("X509 CRL", &world.root_crl);
    let half = &cert[..cert.len() / 2];
    assert_eq!(pem::certificate(format!("any text\n{cert}").as_bytes()).unwrap().der(), &world.leaf);
    assert_eq!(pem::certificates(format!("{cert}{cert}").as_bytes()).unwrap().len(), 2);
    for (case, text) in [
        ("two blocks", format!("{cert}{cert}")),
        ("a further list", format!("{cert}{crl}")),
        (
            "a further block of an unknown kind",
            format!("{cert}{}", cert.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        ),
        ("half", half.to_owned()),
        ("one and a half", format!("{cert}{half}")),
        ("not base64", cert.replace('M', "!")),
        ("nothing", String::new()),
        ("a list", crl.clone()),
    ] {
        let error = pem::certificate(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), R::CertificateMalformed, "{case}: {error}");
    }
    assert_eq!(pem::crl(cert.as_bytes()).unwrap_err().code(), R::CrlMalformed);
    assert_eq!(pem::crl(&crl.as_bytes()[..crl.len() / 2]).unwrap_err().code(), R::CrlMalformed);
}

proptest! {
    #[test]
    fn any_bytes_are_a_certificate_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Certificate::parse(&bytes);
        let _ = pem::certificates(&bytes);
        prop_assert!(WORLD.with_leaf(&bytes).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused(place in any::<prop::sample::Index>(), flip in 1..=255_u8, in_issuer in any::<bool>()) {
        let world = &*WORLD;
        let (mut leaf, mut issuing) = (world.leaf.clone(), world.issuing.der.clone());
        let changed = if in_issuer { &mut issuing } else { &mut leaf };
        let place = place.index(changed.len());
        changed[place] ^= flip;
        prop_assert!(unrevoked(&world.root, &leaf, &[&issuing]).is_err());
    }
}

#[test]
fn a_leaf_marked_as_authority_without_the_rest_is_no_leaf() {
    let world = &*WORLD;
    let marked = world.issuing.leaf(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    refused("CA:TRUE", world.with_leaf(&marked), R::CertificateIsAuthority);
}
