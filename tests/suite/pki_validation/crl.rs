//! Bad revocation lists.

use super::forge::*;
use fedmsg::pki::chain::{ChainError, Purpose, RevocationPolicy, TrustError};
use fedmsg::pki::crl::{Crl, CrlError};
use fedmsg::pki::pem;
use fedmsg::reason::ReasonCode as R;
use proptest::prelude::*;
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    KeyIdMethod, KeyUsagePurpose, RevocationReason, RevokedCertParams,
};
use std::sync::LazyLock;

static WORLD: LazyLock<World> = LazyLock::new(World::new);
const SERIAL: [u8; 2] = [0x10, 0x20];

fn naming(serial: &'static [u8]) -> impl FnOnce(&mut CertificateRevocationListParams) {
    move |p| p.revoked_certs = vec![revoked(serial, Some(RevocationReason::KeyCompromise))]
}

/// The extensions of a list, each one changed or with one more.
fn with_extension(list: &[u8], ca: &Ca, oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(1, &[0xff]) } else { vec![] };
    let one = tlv(0x30, &[tlv(6, oid), critical, tlv(4, value)].concat());
    resigned(list, &ca.key, |fields| {
        let last = fields.pop().unwrap();
        let mut all = parts(&parts(&last)[0]);
        all.push(one);
        fields.push(tlv(0xa0, &tlv(0x30, &all.concat())));
    })
}

#[test]
fn a_list_from_every_issuer_and_of_today() {
    let world = &*WORLD;
    let (root, issuing) = (&world.root_crl[..], &world.issuing_crl[..]);
    let dated = |from, until| world.issuing.crl(|p| (p.this_update, p.next_update) = (at(from), at(until)));
    let other = World::new();
    assert!(world.with_crls(&[root, issuing]).is_ok());
    for (case, lists, expected) in [
        ("none", vec![], R::CrlMissing),
        ("none from the root", vec![issuing], R::CrlMissing),
        ("none from the issuing authority", vec![root], R::CrlMissing),
        ("stale to the second", vec![root, &dated(-DAY, 0)], R::CrlStale),
        ("from the future", vec![root, &dated(1, DAY)], R::CrlNotYetValid),
        ("of another authority with this name", vec![root, &other.issuing_crl], R::CrlSignature),
    ] {
        refused(case, world.with_crls(&lists), expected);
    }
    assert!(world.with_crls(&[root, &dated(0, 1)]).is_ok());
    // The other authority's list has another key identifier, and does not stand in the good one's way.
    assert!(world.with_crls(&[root, issuing, &other.issuing_crl]).is_ok());

    let forged = resigned(issuing, &other.issuing.key, |_| {});
    refused("signed by somebody else", world.with_crls(&[root, &forged]), R::CrlSignature);

    let weak = world.root.below("weak", |p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let signed_anyway =
        Ca { params: world.issuing.params.clone(), key: rcgen::KeyPair::generate().unwrap(), der: vec![] };
    let list = resigned(&signed_anyway.crl(|_| {}), &weak.key, |fields| {
        fields[2] = parts(&parts(&weak.der)[0])[5].clone();
        // Without the key identifier, which is another's.
        let number = parts(&parts(fields.last().unwrap())[0])[1].clone();
        *fields.last_mut().unwrap() = tlv(0xa0, &tlv(0x30, &number));
    });
    let store = world.store(&[root, &list]).unwrap();
    let outcome = store.validate(&weak.leaf(|_| {}), &[&weak.der], &Purpose::DocumentSigning, now());
    refused("an issuer without cRLSign", outcome.map_err(Refusal::Chain), R::CrlSignature);

    let under = |usages: Vec<KeyUsagePurpose>| {
        let mut root = Ca::root(|p| p.key_usages = usages);
        // rcgen would not sign it otherwise.
        root.params.key_usages.push(KeyUsagePurpose::CrlSign);
        let world = World::under(root);
        world.with_crls(&[&world.root_crl, &world.issuing_crl])
    };
    refused("an anchor without cRLSign", under(vec![KeyUsagePurpose::KeyCertSign]), R::CrlSignature);
    assert!(under(vec![]).is_ok(), "an old root says nothing of what it may do");
}

/// The list is kept without its entries for webpki, and its signature is over all of it.
#[test]
fn entries_are_signed_like_the_rest() {
    let world = &*WORLD;
    let root = &world.root_crl[..];
    let numbered = |number: u64, entries: &[&[u8]]| {
        world.issuing.crl(|p| {
            p.crl_number = number.into();
            p.revoked_certs = entries.iter().map(|serial| revoked(serial, None)).collect();
        })
    };
    let list = numbered(8, &[&SERIAL, &[0x33]]);
    let unsigned = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let outer = parts(&list);
        let mut fields = parts(&outer[0]);
        change(&mut fields);
        tlv(0x30, &[&tlv(0x30, &fields.concat())[..], &outer[1], &outer[2]].concat())
    };
    let one_less = |fields: &mut Vec<Vec<u8>>| {
        let entries = parts(&fields[5]);
        fields[5] = tlv(0x30, &entries[1]);
    };
    let another = |fields: &mut Vec<Vec<u8>>| {
        let entries = parts(&fields[5]).concat();
        fields[5] =
            tlv(0x30, &[entries, parts(&parts(&numbered(8, &[&[0x44]]))[0])[5][2..].to_vec()].concat());
    };
    let stripped = unsigned(&|fields| drop(fields.remove(5)));
    let empty = unsigned(&|fields| fields[5] = tlv(0x30, &[]));
    assert!(Crl::parse(&stripped).unwrap().is_empty());
    for (case, der) in [
        ("no entries any more", &stripped),
        ("an empty list of them", &empty),
        ("one entry less", &unsigned(&one_less)),
        ("one entry more", &unsigned(&another)),
        ("the signature of a list without entries", &{
            let bare = numbered(8, &[]);
            let outer = parts(&list);
            tlv(0x30, &[&outer[0][..], &outer[1], &parts(&bare)[2]].concat())
        }),
    ] {
        refused(case, world.with_crls(&[root, der]), R::CrlSignature);
    }
    refused("all of it", world.with_crls(&[root, &list]), R::CertificateRevoked);

    // What is in one store changes nothing in another, nor under another key, and a second question has the same answer.
    let store = world.store(&[root, &numbered(8, &[&[0x33]])]).unwrap();
    let of = |world: &World, leaf: &[u8]| {
        let chain = [&world.issuing.der[..]];
        store.validate(leaf, &chain, &Purpose::DocumentSigning, now()).map_err(Refusal::Chain)
    };
    let renewed =
        Ca { params: world.issuing.params.clone(), key: rcgen::KeyPair::generate().unwrap(), der: vec![] };
    let mut params = renewed.params.clone();
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(world.issuing.certificate().subject_key_id().unwrap().to_vec());
    let der = params.signed_by(&renewed.key, &world.root.issuer()).unwrap().der().to_vec();
    let other = Ca { params, key: renewed.key, der };
    for _ in 0..3 {
        assert!(of(world, &world.leaf).is_ok());
        let outcome = store.validate(&other.leaf(|_| {}), &[&other.der], &Purpose::DocumentSigning, now());
        refused("a key that takes the other's identifier", outcome.map_err(Refusal::Chain), R::CrlSignature);
    }
}

#[test]
fn an_entry_says_when_and_why() {
    let world = &*WORLD;
    let list = world.issuing.crl(|p| {
        p.revoked_certs = vec![
            revoked(&[1], None),
            RevokedCertParams {
                invalidity_date: Some(at(-DAY)),
                ..revoked(&[2], Some(RevocationReason::KeyCompromise))
            },
            revoked(&[3], Some(RevocationReason::Superseded)),
            // Twice: the later one counts.
            revoked(&[3], Some(RevocationReason::AffiliationChanged)),
        ];
    });
    let list = Crl::parse(&list).unwrap();
    assert_eq!(list.len(), 3);
    let said = |serial: &[u8]| {
        let entry = list.revocation(serial).unwrap();
        (entry.reason_name(), entry.date, entry.suspect_since())
    };
    let (then, before) = (now().plus_seconds(-7200), now().plus_seconds(-DAY));
    assert_eq!(said(&[1]), ("unspecified", then, then));
    assert_eq!(said(&[2]), ("keyCompromise", then, before));
    assert_eq!(said(&[0, 0, 3]), ("affiliationChanged", then, then));
    assert_eq!([&[4][..], &[], &[0], &[1, 0]].map(|serial| list.revocation(serial)), [None; 4]);
}

#[test]
fn a_stale_list_is_named_with_both_times() {
    let world = &*WORLD;
    let stale = world.issuing.crl(|p| (p.this_update, p.next_update) = (at(-2 * DAY), at(-DAY)));
    let error = world.with_crls(&[&world.root_crl, &stale]).unwrap_err();
    let Refusal::Chain(error) = error else { panic!("{error:?}") };
    assert_eq!(
        error.to_string(),
        "revocation list list-1.crl of CN=issuing is stale: the next was due 2026-05-31T00:00:00Z, and it is \
         2026-06-01T00:00:00Z"
    );
    assert!(matches!(error, ChainError::CrlStale { .. }));
}

#[test]
fn what_is_revoked_stays_revoked() {
    let world = &*WORLD;
    let (root, issuing) = (&world.root_crl[..], &world.issuing_crl[..]);
    let newer = world.issuing.crl(|p| {
        p.crl_number = 8_u64.into();
        naming(&SERIAL)(p);
    });
    // A long number is greater than a short one that begins with a greater byte.
    let older = world.issuing.crl(|p| {
        p.crl_number = 0x0100_u64.into();
        naming(&SERIAL)(p);
    });
    for (case, lists) in [
        ("the only list", vec![root, &newer]),
        ("old, new", vec![root, issuing, &newer]),
        ("new, old", vec![root, &newer, issuing]),
        ("a longer number", vec![root, issuing, &older]),
    ] {
        refused(case, world.with_crls(&lists), R::CertificateRevoked);
    }
    let removed = world
        .issuing
        .crl(|p| p.revoked_certs = vec![revoked(&SERIAL, Some(RevocationReason::RemoveFromCrl))]);
    refused("removeFromCRL, in a complete list", world.with_crls(&[root, &removed]), R::CertificateRevoked);
    let elsewhere = world.root.crl(naming(&SERIAL));
    assert!(world.with_crls(&[&elsewhere, issuing]).is_ok(), "the same serial, under another issuer");

    // The authority has a new key, and revokes with it what it signed with the old one (PKITS 4.5.5).
    let renewed =
        Ca { params: world.issuing.params.clone(), key: rcgen::KeyPair::generate().unwrap(), der: vec![] };
    let by_new_key = renewed.crl(naming(&SERIAL));
    refused("under a new key", world.with_crls(&[root, issuing, &by_new_key]), R::CertificateRevoked);

    let serial = world.issuing.certificate().serial().to_vec();
    let intermediate = world.root.crl(|p| p.revoked_certs = vec![revoked(&serial, None)]);
    refused("the intermediate", world.with_crls(&[&intermediate, issuing]), R::IssuerRevoked);

    // DER writes a zero byte before a set top bit. Another zero byte is another spelling of the same number.
    let high = world.issuing.leaf(|p| p.serial_number = Some(vec![0x90, 0x20].into()));
    let store = world.store(&[root, &world.issuing.crl(naming(&[0x90, 0x20]))]).unwrap();
    let outcome = store.validate(&high, &[&world.issuing.der], &Purpose::DocumentSigning, now());
    refused("a top bit", outcome.map_err(Refusal::Chain), R::CertificateRevoked);
    let spelt = resigned(&newer, &world.issuing.key, |fields| {
        let mut entry = parts(&parts(&fields[5])[0]);
        entry[0] = tlv(2, &[0, 0x10, 0x20]);
        fields[5] = tlv(0x30, &tlv(0x30, &entry.concat()));
    });
    refused("a needless zero", world.with_crls(&[root, &spelt]), R::CertificateRevoked);
}

#[test]
fn lists_that_are_malformed_or_partial() {
    let world = &*WORLD;
    let (list, ca) = (&world.issuing_crl[..], &world.issuing);
    let entry = ca.crl(naming(&SERIAL));
    let indirect = tlv(0x30, &[tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a/"))), tlv(0x84, &[0xff])].concat());
    let reasons =
        tlv(0x30, &[tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a/"))), tlv(0x83, &[6, 0x40])].concat());
    let unnumbered = resigned(list, &ca.key, |fields| {
        let key_id = parts(&parts(fields.last().unwrap())[0])[0].clone();
        *fields.last_mut().unwrap() = tlv(0xa0, &tlv(0x30, &key_id));
    });
    let critical_entry = resigned(&entry, &ca.key, |fields| {
        let mut one = parts(&parts(&fields[5])[0]);
        one.truncate(2);
        let unknown = tlv(0x30, &[tlv(6, &[42, 3]), tlv(1, &[0xff]), tlv(4, &[5, 0])].concat());
        one.push(tlv(0x30, &unknown));
        fields[5] = tlv(0x30, &tlv(0x30, &one.concat()));
    });
    for (case, der, expected) in [
        (
            "version 1",
            resigned(list, &ca.key, |f| {
                f.remove(0);
                f.pop();
            }),
            CrlError::Version { found: 1 },
        ),
        (
            "no next update",
            resigned(list, &ca.key, |f| {
                f.remove(4);
            }),
            CrlError::NextUpdateMissing,
        ),
        ("no number", unnumbered, CrlError::NumberMissing),
        ("delta", with_extension(list, ca, &[0x55, 0x1d, 27], true, &[2, 1, 1]), CrlError::Delta),
        (
            "delta, not critical",
            with_extension(list, ca, &[0x55, 0x1d, 27], false, &[2, 1, 1]),
            CrlError::Delta,
        ),
        ("indirect", with_extension(list, ca, &[0x55, 0x1d, 28], true, &indirect), CrlError::Indirect),
        ("some reasons", with_extension(list, ca, &[0x55, 0x1d, 28], true, &reasons), CrlError::Partitioned),
        ("unknown critical", with_extension(list, ca, &[42, 3], true, &[5, 0]), CrlError::UnknownCritical),
        ("unknown critical in an entry", critical_entry, CrlError::UnknownCritical),
        (
            "an extension twice",
            with_extension(list, ca, &[0x55, 0x1d, 20], false, &[2, 1, 9]),
            CrlError::DuplicateExtension { oid: "2.5.29.20".to_owned() },
        ),
        ("bytes after it", [list, &[0, 0]].concat(), CrlError::TrailingBytes { found: 2 }),
    ] {
        assert_eq!(Crl::parse(&der).unwrap_err(), expected, "{case}");
        refused(case, world.with_crls(&[&world.root_crl, &der]), R::CrlMalformed);
    }
    assert!(matches!(Crl::parse(&list[..list.len() - 1]), Err(CrlError::Malformed(_))));
    assert!(matches!(Crl::parse(b""), Err(CrlError::Malformed(_))));
    assert!(Crl::parse(&with_extension(list, ca, &[42, 3], false, &[5, 0])).is_ok());
    let text = rcgen_pem("X509 CRL", list);
    assert_eq!(pem::crl(&text.as_bytes()[..text.len() / 2]).unwrap_err().code(), R::CrlMalformed);

    // A list for authorities only says nothing of a leaf.
    let scoped = ca.crl(|p| {
        let distribution_point = CrlDistributionPoint { uris: vec!["http://a/".to_owned()] };
        let scope = Some(CrlScope::CaCertsOnly);
        p.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
    });
    refused("for authorities only", world.with_crls(&[&world.root_crl, &scoped]), R::CrlMissing);
}

#[test]
fn two_lists_that_contradict_each_other_are_said_to() {
    let world = &*WORLD;
    let twin = world.issuing.crl(naming(&SERIAL));
    assert!(matches!(
        world.store(&[&world.issuing_crl, &twin]),
        Err(TrustError::CrlConflict { first, second, .. }) if (first.as_str(), second.as_str()) == ("list-0.crl", "list-1.crl")
    ));
    assert!(world.store(&[&world.issuing_crl, &world.issuing_crl]).is_ok());
    let unchecked = anchored(&world.root, RevocationPolicy::NotChecked).unwrap();
    let given = unchecked.crl("given.crl", Crl::parse(&twin).unwrap());
    assert_eq!(given.unwrap_err(), TrustError::CrlNotChecked { list: "given.crl".to_owned() });
}

#[test]
fn a_hundred_thousand_entries() {
    let world = &*WORLD;
    let entries = |count: u32| {
        world.issuing.crl(|p| {
            p.revoked_certs =
                (0..count).map(|n| revoked(&[&[0x55][..], &n.to_be_bytes()].concat(), None)).collect();
        })
    };
    let long = entries(100_000);
    assert_eq!(Crl::parse(&long).unwrap().len(), 100_000);
    let store = world.store(&[&world.root_crl, &long]).unwrap();
    let validate =
        |leaf: &[u8]| store.validate(leaf, &[&world.issuing.der], &Purpose::DocumentSigning, now());
    assert!(validate(&world.leaf).is_ok());
    let last = world.issuing.leaf(|p| p.serial_number = Some(vec![0x55, 0, 1, 0x86, 0x9f].into()));
    assert_eq!(validate(&last).unwrap_err().code(), R::CertificateRevoked);
}

/// A number's bytes without leading zeros.
fn num(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|byte| **byte == 0).count()..]
}

proptest! {
    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Crl::parse(&bytes);
        let _ = pem::crls(&bytes);
    }

    #[test]
    fn every_entry_is_found_and_nothing_else(
        listed in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..40),
        asked in proptest::collection::vec(any::<u8>(), 1..3),
    ) {
        let list = WORLD.issuing.crl(|p| p.revoked_certs = listed.iter().map(|s| revoked(s, None)).collect());
        let ours = Crl::parse(&list).unwrap();
        let theirs = webpki::CertRevocationList::from(webpki::OwnedCertRevocationList::from_der(&list).unwrap());
        for serial in listed.iter().chain([&asked]) {
            let number = |serial: &[u8]| num(serial).to_vec();
            let expected = listed.iter().any(|other| number(other) == number(serial));
            prop_assert_eq!(ours.revocation(serial).is_some(), expected);
            // As DER writes it.
            let mut spelt = number(serial);
            if spelt.first().is_none_or(|first| *first >= 0x80) {
                spelt.insert(0, 0);
            }
            prop_assert_eq!(theirs.find_serial(&spelt).unwrap().is_some(), expected);
        }
    }

    #[test]
    fn a_changed_byte_is_refused(place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let world = &*WORLD;
        let entries = [&[0x33][..], &[0x44, 0x55], &[0x66; 16]];
        let mut list = world.issuing.crl(|p| p.revoked_certs = entries.map(|s| revoked(s, None)).to_vec());
        let place = place.index(list.len());
        list[place] ^= flip;
        prop_assert!(world.with_crls(&[&world.root_crl, &list]).is_err());
    }
}
