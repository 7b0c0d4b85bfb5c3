//! Bad chains.

use super::forge::*;
use fedmsg::pki::certificate::IdentityRule;
use fedmsg::pki::chain::{Purpose, RevocationPolicy, TrustError, TrustStore};
use fedmsg::reason::ReasonCode as R;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints,
};
use std::sync::Arc;

/// What makes an authority bad, and the reason to refuse it.
struct Bad(&'static str, fn(&mut CertificateParams), R);

fn path_length(limit: u8) -> IsCa {
    IsCa::Ca(BasicConstraints::Constrained(limit))
}

#[test]
fn a_good_chain_is_accepted_and_says_who_and_how_long() {
    let world = World::new();
    let leaf = world.with_leaf(&world.leaf).unwrap();
    assert_eq!(leaf.identity().to_string(), IDENTITY);
    assert_eq!(leaf.certificate().subject_cn(), Some("bodhi-app01"));
    assert_eq!(leaf.public_key(), &leaf.certificate().public_key().unwrap());
    assert_eq!(leaf.path(), ["`CN=issuing` (certificate 2 of the chain)", "`CN=root` (root.crt)"]);
    // From the lists' issue to a second before their next.
    assert_eq!(leaf.valid_from(), now().plus_seconds(-3600));
    assert_eq!(leaf.valid_until(), now().plus_seconds(7 * DAY - 1));
    let unrevoked = unrevoked(&world.root, &world.leaf, &[&world.issuing.der]).unwrap();
    assert_eq!(unrevoked.valid_until(), now().plus_seconds(90 * DAY));
    assert_eq!(unrevoked.revocation(), RevocationPolicy::NotChecked);
}

#[test]
fn issuers_that_cannot_have_signed() {
    let world = World::new();
    let impostor = World::new();
    let (good, sent) = (&world.issuing.der, &impostor.issuing.der);
    refused(
        "another root of the same name",
        unrevoked(&world.root, &impostor.leaf, &[sent]),
        R::CertificateSignature,
    );
    refused(
        "another issuer of the same name",
        unrevoked(&world.root, &impostor.leaf, &[good]),
        R::CertificateSignature,
    );
    refused("no intermediate", unrevoked(&world.root, &world.leaf, &[]), R::CertificateUnknownIssuer);

    let stranger = World::under(Ca::root(|params| params.distinguished_name = name("stranger")));
    let chain = [&stranger.issuing.der[..], &stranger.root.der];
    refused(
        "a stranger, root and all",
        unrevoked(&world.root, &stranger.leaf, &chain),
        R::CertificateUnknownIssuer,
    );

    let mut tampered = world.leaf.clone();
    let place = tampered.windows(5).position(|w| w == b"bodhi").unwrap();
    tampered[place] = b'c';
    refused("tampered", world.with_leaf(&tampered), R::CertificateSignature);

    // The outer algorithm is not signed: ecdsa-with-SHA384 where the signed one says SHA256.
    let outer = parts(&world.leaf);
    let sha384 = tlv(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]);
    let mixed = tlv(0x30, &[&outer[0][..], &sha384, &outer[2]].concat());
    refused("inner algorithm is not the outer", world.with_leaf(&mixed), R::CertificateMalformed);

    let sha1 = tlv(0x30, &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
    let mut fields = parts(&outer[0]);
    fields[2] = sha1.clone();
    let weak = signed(&tlv(0x30, &fields.concat()), &sha1, &world.issuing.key);
    refused("ECDSA with SHA-1", world.with_leaf(&weak), R::CertificateAlgorithm);
}

#[test]
fn paths_that_are_too_long_looped_or_in_any_order() {
    let root = Ca::root(|_| {});
    let mut cas = vec![root.below("ca1", |_| {})];
    for number in 2..=7 {
        let next = cas.last().unwrap().below(&format!("ca{number}"), |_| {});
        cas.push(next);
    }
    let ders = |count: usize| cas[..count].iter().map(|ca| ca.der.as_slice()).collect::<Vec<_>>();
    let leaf = |count: usize| cas[count - 1].leaf(|_| {});
    // Sent with the root's end first, the wrong way round.
    assert!(unrevoked(&root, &leaf(3), &ders(3)).is_ok());
    assert!(unrevoked(&root, &leaf(6), &ders(6)).is_ok());
    refused("seven deep", unrevoked(&root, &leaf(7), &ders(7)), R::CertificateConstraint);

    // Two authorities that vouch for each other, and nobody for them.
    let one = Ca::root(|params| params.distinguished_name = name("one"));
    let two = one.below("two", |_| {});
    let one_by_two = one.params.signed_by(&one.key, &two.issuer()).unwrap();
    let loop_of_two = [&two.der[..], one_by_two.der()];
    refused("a loop", unrevoked(&root, &two.leaf(|_| {}), &loop_of_two), R::CertificateUnknownIssuer);
}

#[test]
fn issuers_that_may_not_issue() {
    let root = Ca::root(|_| {});
    let below = |change: fn(&mut CertificateParams)| {
        let ca = root.below("issuing", change);
        unrevoked(&root, &ca.leaf(|_| {}), &[&ca.der])
    };
    let cases = [
        Bad("a leaf as issuer", |p| p.is_ca = IsCa::ExplicitNoCa, R::IssuerNotAuthority),
        Bad("no keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign], R::IssuerNotAuthority),
        Bad("no key usage", |p| p.key_usages = vec![], R::IssuerNotAuthority),
        Bad("expired", |p| p.not_after = at(-1), R::IssuerExpired),
        Bad("not yet valid", |p| p.not_before = at(1), R::IssuerNotYetValid),
        Bad(
            "unknown critical",
            |p| p.custom_extensions = vec![extension(&[1, 2, 3], &[5, 0], true)],
            R::CertificateCriticalExtension,
        ),
        Bad(
            "another purpose",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            R::CertificatePurpose,
        ),
        Bad(
            "names that are not allowed",
            |p| {
                let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".into())];
                let excluded_subtrees = vec![GeneralSubtree::DirectoryName(name("bodhi-app01"))];
                p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
            },
            R::CertificateConstraint,
        ),
    ];
    for Bad(case, change, expected) in cases {
        refused(case, below(change), expected);
    }
    assert!(below(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]).is_ok());
    assert!(
        below(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())])
            .is_ok()
    );

    let zero = root.below("zero", |p| p.is_ca = path_length(0));
    let sub = zero.below("sub", |_| {});
    let chain = [&sub.der[..], &zero.der];
    assert!(unrevoked(&root, &zero.leaf(|_| {}), &chain).is_ok());
    refused("path length of a sub-CA", unrevoked(&root, &sub.leaf(|_| {}), &chain), R::CertificateConstraint);
}

#[test]
fn anchors_that_are_none() {
    let under = |change: fn(&mut CertificateParams)| {
        let world = World::under(Ca::root(change));
        unrevoked(&world.root, &world.leaf, &[&world.issuing.der])
    };
    let cases = [
        Bad("expired", |p| p.not_after = at(-1), R::IssuerExpired),
        Bad("not yet valid", |p| p.not_before = at(1), R::IssuerNotYetValid),
        Bad("not a CA", |p| p.is_ca = IsCa::ExplicitNoCa, R::IssuerNotAuthority),
        Bad("no basic constraints", |p| p.is_ca = IsCa::NoCa, R::IssuerNotAuthority),
        Bad("no keyCertSign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign], R::IssuerNotAuthority),
        Bad("path length", |p| p.is_ca = path_length(0), R::CertificateConstraint),
        Bad(
            "unknown critical",
            |p| p.custom_extensions = vec![extension(&[1, 2, 3], &[5, 0], true)],
            R::CertificateCriticalExtension,
        ),
    ];
    for Bad(case, change, expected) in cases {
        refused(case, under(change), expected);
    }
    // Old roots have no key usage extension.
    assert!(under(|p| p.key_usages = vec![]).is_ok());

    let world = World::new();
    refused("an anchor as the leaf", unrevoked(&world.root, &world.root.der, &[]), R::CertificateIsAuthority);
    let own = Ca::root(|p| {
        p.is_ca = IsCa::ExplicitNoCa;
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    });
    refused("a leaf as its own anchor", unrevoked(&own, &own.der, &[]), R::IssuerNotAuthority);
}

#[test]
fn an_authority_re_issued_with_its_key_is_the_same_one() {
    let mut old = Ca::root(|p| p.not_after = at(-1));
    let world_leaf = old.leaf(|_| {});
    refused("only the expired one", unrevoked(&old, &world_leaf, &[]), R::IssuerExpired);
    let expired = old.certificate();
    old.params.not_after = at(300 * DAY);
    let renewed = old.params.self_signed(&old.key).unwrap();
    let renewed = fedmsg::pki::certificate::Certificate::parse(renewed.der()).unwrap();
    let both = |second: IdentityRule| {
        TrustStore::builder(RevocationPolicy::NotChecked)
            .anchor("old.crt", expired.clone(), IdentityRule::SpiffeUri)?
            .anchor("new.crt", renewed.clone(), second)?
            .build()
    };
    let store = both(IdentityRule::SpiffeUri).unwrap();
    assert!(store.validate(&world_leaf, &[], &Purpose::DocumentSigning, now()).is_ok());
    assert_eq!(
        both(IdentityRule::CommonName).unwrap_err(),
        TrustError::AnchorRules { first: "old.crt".to_owned(), second: "new.crt".to_owned() }
    );
    assert_eq!(TrustStore::builder(RevocationPolicy::NotChecked).build().unwrap_err(), TrustError::NoAnchors);
}

#[test]
fn a_verdict_is_remembered_for_its_window_and_its_store_only() {
    let world = World::new();
    let store = world.store(&[&world.root_crl, &world.issuing_crl]).unwrap();
    let ask = |intermediates: &[&[u8]], purpose: &Purpose, seconds| {
        store.validate_cached(&world.leaf, intermediates, purpose, now().plus_seconds(seconds))
    };
    let chain = [&world.issuing.der[..]];
    let first = ask(&chain, &Purpose::DocumentSigning, 0).unwrap();
    assert!(Arc::ptr_eq(&first, &ask(&chain, &Purpose::DocumentSigning, 60).unwrap()));
    assert!(!Arc::ptr_eq(&first, &ask(&chain, &Purpose::Any, 0).unwrap()));
    assert_eq!(ask(&[], &Purpose::DocumentSigning, 0).unwrap_err().code(), R::CertificateUnknownIssuer);
    assert_eq!(ask(&chain, &Purpose::DocumentSigning, 7 * DAY).unwrap_err().code(), R::CrlStale);
    assert_eq!(ask(&chain, &Purpose::DocumentSigning, -3601).unwrap_err().code(), R::CrlNotYetValid);

    // A reload in mid-stream: the same files give the same generation, a new list another, and a new verdict.
    let same = world.store(&[&world.issuing_crl, &world.root_crl]).unwrap();
    assert_eq!((store.digest(), store.generation()), (same.digest(), same.generation()));
    let newer = world.issuing.crl(|p| {
        p.crl_number = 8_u64.into();
        p.revoked_certs = vec![revoked(&[0x10, 0x20], None)];
    });
    let reloaded = world.store(&[&world.root_crl, &world.issuing_crl, &newer]).unwrap();
    assert_ne!(store.generation(), reloaded.generation());
    let refused = reloaded.validate_cached(&world.leaf, &chain, &Purpose::DocumentSigning, now());
    assert_eq!(refused.unwrap_err().code(), R::CertificateRevoked);
}

#[test]
fn what_grows_old_is_said_in_time() {
    let world = World::new();
    let store = world.store(&[&world.root_crl]).unwrap();
    let names = |seconds| -> Vec<String> {
        store.ageing(now().plus_seconds(seconds)).into_iter().map(|ageing| ageing.label).collect()
    };
    assert_eq!(names(0), Vec::<String>::new());
    assert_eq!(names(5 * DAY), ["list-0.crl"]);
    assert_eq!(names(200 * DAY), ["root.crt", "list-0.crl"]);
}
