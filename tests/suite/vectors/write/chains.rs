//! Faults of the certificate, of those above it, and of the revocation lists. The message is signed by the leaf's key.

use super::Sheet;
use super::world::{
    Frames, IDENTITY, OpensslKey, Service, TOPIC, World, body, envelope, frames, lasting, lasting_list,
    openssl, p256, signed,
};
use crate::pki_validation::forge::{
    Ca, DOCUMENT_SIGNING, at, ca_params, extension, parts, rcgen_pem, resigned, revoked, tlv, uri,
};
use crate::support::temp_dir;
use fedmsg::pki::algorithm::Algorithm;
use fedmsg::pki::certificate::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;
use std::sync::Arc;

pub(super) fn write(world: &mut World, sheet: &mut Sheet) {
    dates(world, sheet);
    leaves(world, sheet);
    malformed(world, sheet);
    algorithms(world, sheet);
    issuers(world, sheet);
    strangers(world, sheet);
    lists(world, sheet);
}

/// The frames of a message that is signed by a key and carries these certificates.
fn message(service: &Service, chain: &[&[u8]]) -> Frames {
    let text = envelope(|_| {});
    let proof = signed(&*service.key, chain, text.as_bytes());
    frames(TOPIC, body(text.as_bytes(), &proof.to_base64().unwrap()))
}

/// A leaf of the issuing authority's, changed.
fn changed(world: &World, service: &Service, change: impl FnOnce(&mut CertificateParams)) -> Frames {
    message(service, &[&world.leaf(&world.issuing, &*service.key, change)])
}

fn dates(world: &World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    let good = message(&service, &[&service.leaf]);
    let leaf = Certificate::parse(&service.leaf).unwrap();
    let (first, last) = (leaf.not_before(), leaf.not_after());
    let mended = |at: fedmsg::time::Timestamp| json!({ "at": at.to_string() });
    let late = last.plus_seconds(1);
    sheet.put("certificate-expired", "judged a second after the last", &good, mended(last), |case| {
        case.at = late.to_string();
    });
    let early = first.plus_seconds(-1);
    sheet.put(
        "certificate-not-yet-valid",
        "judged a second before the first",
        &good,
        mended(first),
        |case| {
            case.at = early.to_string();
        },
    );
}

fn leaves(world: &World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    let good = message(&service, &[&service.leaf]);
    let mut add = |name: &str, fault: &str, change: &dyn Fn(&mut CertificateParams)| {
        sheet.frames(name, fault, &changed(world, &service, change), &good);
    };
    let purposes = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        move |params: &mut CertificateParams| params.extended_key_usages.clone_from(&purposes)
    };
    let usages = |usages: Vec<KeyUsagePurpose>| {
        move |params: &mut CertificateParams| params.key_usages.clone_from(&usages)
    };
    let names = |names: Vec<SanType>| {
        move |params: &mut CertificateParams| params.subject_alt_names.clone_from(&names)
    };
    let unknown = extension(&[1, 2, 3], &[5, 0], true);
    add("certificate-critical-extension", "an unknown critical extension in the leaf", &|params| {
        params.custom_extensions = vec![unknown.clone()];
    });
    add("certificate-is-authority", "the leaf says CA:TRUE", &|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    add("certificate-key-usage", "keyAgreement alone", &usages(vec![KeyUsagePurpose::KeyAgreement]));
    add("certificate-key-usage--none", "no key usage extension", &usages(vec![]));
    add("certificate-purpose", "codeSigning", &purposes(vec![ExtendedKeyUsagePurpose::CodeSigning]));
    add("certificate-purpose--any", "any purpose", &purposes(vec![ExtendedKeyUsagePurpose::Any]));
    add("certificate-purpose--none", "no extended key usage extension", &purposes(vec![]));
    let second = "spiffe://example.org/prod/bodhi/app02";
    let first = "spiffe://example.org/prod/bodhi/app01";
    add("identity-ambiguous", "two identities", &names(vec![uri(first), uri(second)]));
    let other = vec![uri("https://example.org/"), uri(first)];
    add("identity-ambiguous--other-uri", "an identity and another URI", &names(other));
    add("identity-missing", "no URI, though a common name", &names(vec![]));
    let dns = SanType::DnsName("app01.example.org".try_into().unwrap());
    add("identity-missing--dns", "a DNS name and no URI", &names(vec![dns]));
    for (what, fault, text) in [
        ("https", "a URI that is no SPIFFE ID", "https://example.org/prod/bodhi/app01"),
        ("two-segments", "no host", "spiffe://example.org/prod/bodhi"),
        ("upper-case", "an upper-case letter", "spiffe://example.org/prod/Bodhi/app01"),
        ("percent", "a percent escape", "spiffe://example.org/prod/bodhi/app%3001"),
        ("dots", "a segment `..`", "spiffe://example.org/prod/../app01"),
    ] {
        add(&format!("identity-malformed--{what}"), fault, &names(vec![uri(text)]));
    }
}

fn malformed(world: &World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    let good = message(&service, &[&service.leaf]);
    let again = |change: &dyn Fn(&mut Vec<Vec<u8>>)| resigned(&service.leaf, &world.issuing.key, change);
    let mut add = |name: &str, fault: &str, leaf: &[u8]| {
        sheet.frames(name, fault, &message(&service, &[leaf]), &good);
    };
    add(
        "certificate-malformed--byte-after",
        "a byte after the certificate",
        &[&service.leaf[..], &[0]].concat(),
    );
    add(
        "certificate-malformed--cut",
        "a certificate without its last byte",
        &service.leaf[..service.leaf.len() - 1],
    );
    add("certificate-malformed--empty", "a certificate of no bytes", b"");
    let version_1 = again(&|fields| {
        fields.remove(0);
        fields.pop();
    });
    add("certificate-malformed--version-1", "X.509 version 1, without extensions", &version_1);
    let twice = again(&|fields| {
        let mut all = parts(&parts(fields.last().unwrap())[0]);
        all.push(all[0].clone());
        *fields.last_mut().unwrap() = tlv(0xa3, &tlv(0x30, &all.concat()));
    });
    add("certificate-malformed--extension-twice", "an extension twice", &twice);
    for (what, fault, serial) in [
        ("zero", "serial number 0", &[0][..]),
        ("negative", "a serial number below zero", &[0x80, 1]),
        ("long", "a serial number of 21 bytes", &[0x7f; 21]),
    ] {
        add(&format!("certificate-serial--{what}"), fault, &again(&|fields| fields[1] = tlv(2, serial)));
    }
    let mut tampered = service.leaf.clone();
    let place = tampered.windows(5).position(|bytes| bytes == b"app01").unwrap();
    tampered[place + 4] = b'2';
    add("certificate-signature", "another host in the name than was signed", &tampered);
    let junk = message(&service, &[&service.leaf, b"junk"]);
    sheet.frames("certificate-malformed--issuer", "no certificate in the second place", &junk, &good);
}

fn algorithms(world: &World, sheet: &mut Sheet) {
    let directory = temp_dir();
    let good = world.service(p256(), IDENTITY);
    let mended = message(&good, &[&good.leaf]);
    for (what, fault, kind, algorithm) in [
        ("p384", "a P-384 key", ["EC", "ec_paramgen_curve:P-384"], Algorithm::EcdsaP256Sha256),
        ("rsa-1024", "an RSA key of 1,024 bits", ["RSA", "rsa_keygen_bits:1024"], Algorithm::RsaPkcs1Sha256),
    ] {
        let kind = ["-algorithm", kind[0], "-pkeyopt", kind[1]];
        let key = Arc::new(OpensslKey::generate(directory.path(), what, &kind, algorithm));
        let leaf = world.leaf(&world.issuing, &*key, |_| {});
        let service = Service { key, leaf };
        let name = format!("certificate-algorithm--{what}");
        sheet.frames(&name, fault, &message(&service, &[&service.leaf]), &mended);
    }
    // ECDSA with SHA-1, in the certificate's own signature.
    let issuing = directory.path().join("issuing.key");
    std::fs::write(&issuing, world.issuing.key.serialize_pem()).unwrap();
    let sha1 = tlv(0x30, &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);
    let mut fields = parts(&parts(&good.leaf)[0]);
    fields[2].clone_from(&sha1);
    let tbs = tlv(0x30, &fields.concat());
    let signature = openssl(&["dgst", "-sha1", "-sign", issuing.to_str().unwrap()], &tbs);
    let leaf = tlv(0x30, &[tbs, sha1, tlv(3, &[&[0], &signature[..]].concat())].concat());
    let refused = message(&good, &[&leaf]);
    sheet.frames("certificate-algorithm--sha1", "the certificate is signed over SHA-1", &refused, &mended);
}

/// An authority below another in two versions, of one name and key, of which one is bad. What is issued under it, and
/// its list, go with both.
struct Twins {
    bad: Vec<u8>,
    good: Vec<u8>,
    service: Service,
    list: Vec<u8>,
}

impl Twins {
    fn new(
        world: &World,
        name: &str,
        bad: (&Ca, &dyn Fn(&mut CertificateParams)),
        good: &dyn Fn(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = |issuer: &Ca, change: &dyn Fn(&mut CertificateParams)| {
            let mut params = ca_params(name);
            lasting(&mut params);
            change(&mut params);
            let der = params.signed_by(&key, &issuer.issuer()).unwrap().der().to_vec();
            (params, der)
        };
        let (_, bad) = certificate(bad.0, bad.1);
        let (mut params, good) = certificate(&world.root, good);
        // rcgen will not sign a list for a certificate that may not.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = Ca { params, key, der: good.clone() };
        let key = p256();
        let leaf = world.leaf(&ca, &key, |_| {});
        Self { bad, good, service: Service { key: Arc::new(key), leaf }, list: lasting_list(&ca, |_| {}) }
    }

    fn write(&self, world: &mut World, sheet: &mut Sheet, name: &str, fault: &str, file: &str) {
        let list = format!("{file}.crl");
        world.trust_lists(file, &["root.crl", "issuing.crl", &list], &[(&list, &self.list)]);
        let chain = |issuer: &[u8]| message(&self.service, &[&self.service.leaf, issuer]);
        let mended = json!({ "frames": super::encoded(&chain(&self.good)) });
        sheet.put(name, fault, &chain(&self.bad), mended, |case| case.trust = Some(file.to_owned()));
    }
}

fn issuers(world: &mut World, sheet: &mut Sheet) {
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, &str, &str, Change); 8] = [
        ("issuer-not-authority", "an issuer with CA:FALSE", "not-an-authority", |p| {
            p.is_ca = IsCa::ExplicitNoCa
        }),
        ("issuer-not-authority--key-usage", "an issuer without keyCertSign", "no-certificates", |p| {
            p.key_usages = vec![KeyUsagePurpose::CrlSign];
        }),
        ("issuer-expired", "an issuer whose last second has passed", "ended", |p| p.not_after = at(-1)),
        ("issuer-not-yet-valid", "an issuer whose first second has not come", "coming", |p| {
            p.not_before = at(1);
        }),
        (
            "certificate-critical-extension--issuer",
            "an unknown critical extension in an issuer",
            "critical",
            |p| {
                p.custom_extensions = vec![extension(&[1, 2, 3], &[5, 0], true)];
            },
        ),
        ("certificate-purpose--issuer", "an issuer for serverAuth only", "servers-only", |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("certificate-constraint--names", "an issuer that may not issue to this subject", "names", |p| {
            let subject =
                rcgen::GeneralSubtree::DirectoryName(crate::pki_validation::forge::name("bodhi-app01"));
            let (permitted_subtrees, excluded_subtrees) = (vec![], vec![subject]);
            p.name_constraints = Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees });
        }),
        ("crl-signature--key-usage", "an issuer without cRLSign", "no-lists", |p| {
            p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }),
    ];
    for (name, fault, file, change) in cases {
        let twins = Twins::new(world, file, (&world.root, &change), &|p| {
            // For a document signer's authority it is no fault to say so.
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(DOCUMENT_SIGNING.to_vec())];
        });
        twins.write(world, sheet, name, fault, file);
    }
    // The issuing authority may have none below it.
    let deep = Twins::new(world, "below", (&world.issuing, &|_| {}), &|_| {});
    deep.write(world, sheet, "certificate-constraint", "an authority below one that may have none", "below");
}

fn strangers(world: &mut World, sheet: &mut Sheet) {
    let stranger = Ca::root(|params| {
        params.distinguished_name = crate::pki_validation::forge::name("stranger");
        lasting(params);
    });
    world.files.insert("stranger.crt".to_owned(), rcgen_pem("CERTIFICATE", &stranger.der));
    let list = lasting_list(&stranger, |_| {});
    world.files.insert("stranger.crl".to_owned(), rcgen_pem("X509 CRL", &list));
    world.trust("strangers", &["stranger.crt"], &["stranger.crl"]);
    let key = p256();
    let leaf = world.leaf(&stranger, &key, |_| {});
    let service = Service { key: Arc::new(key), leaf };
    let refused = message(&service, &[&service.leaf, &stranger.der]);
    let fault = "another authority's certificate, sent along with its root";
    let mended = json!({ "trust": "strangers" });
    sheet.put("certificate-unknown-issuer", fault, &refused, mended, |_| {});

    let impostor =
        Ca { key: KeyPair::generate().unwrap(), params: world.issuing.params.clone(), der: vec![] };
    let key = p256();
    let forged = Service { leaf: world.leaf(&impostor, &key, |_| {}), key: Arc::new(key) };
    let good = world.service(p256(), IDENTITY);
    let good = message(&good, &[&good.leaf]);
    let refused = message(&forged, &[&forged.leaf]);
    let fault = "issued by another key, in the issuing authority's name";
    sheet.frames("certificate-signature--impostor", fault, &refused, &good);

    let mended = json!({ "trust": "standard", "legacy": "refused" });
    let fault = "nothing is trusted but a legacy authority";
    sheet.put("certificate-unknown-issuer--no-anchor", fault, &good, mended, |case| {
        (case.trust, case.legacy) = (None, super::LegacyMessages::Accepted);
    });
}

fn lists(world: &mut World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    let frames = message(&service, &[&service.leaf]);
    let serial = Certificate::parse(&service.leaf).unwrap().serial().to_vec();
    let issuing_serial = world.issuing.certificate().serial().to_vec();
    let issuing = &world.issuing;
    let list = |change: &dyn Fn(&mut rcgen::CertificateRevocationListParams)| lasting_list(issuing, change);
    let impostor = KeyPair::generate().unwrap();
    let delta = resigned(&list(&|_| {}), &issuing.key, |fields| {
        let indicator = [tlv(6, &[0x55, 0x1d, 27]), tlv(1, &[0xff]), tlv(4, &[2, 1, 1])].concat();
        let mut all = parts(&parts(fields.last().unwrap())[0]);
        all.push(tlv(0x30, &indicator));
        *fields.last_mut().unwrap() = tlv(0xa0, &tlv(0x30, &all.concat()));
    });
    let made: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        (
            "certificate-revoked",
            "the newer list names the certificate",
            "revoked",
            list(&|params| {
                params.crl_number = 2_u64.into();
                params.revoked_certs = vec![revoked(&serial, Some(rcgen::RevocationReason::KeyCompromise))];
            }),
        ),
        ("crl-stale", "the next list was due this second", "stale", list(&|p| p.next_update = at(0))),
        ("crl-not-yet-valid", "a list of a second from now", "future", list(&|p| p.this_update = at(1))),
        (
            "crl-signature",
            "a list that another key signed",
            "forged",
            resigned(&list(&|_| {}), &impostor, |_| {}),
        ),
        ("crl-malformed", "a list of differences to another (delta)", "delta", delta),
    ];
    for (name, fault, trust, der) in made {
        let file = format!("issuing-{trust}.crl");
        world.trust_lists(trust, &["root.crl", &file], &[(&file, &der)]);
        let mended = json!({ "trust": "standard" });
        sheet.put(name, fault, &frames, mended, |case| case.trust = Some(trust.to_owned()));
    }
    let root_list = lasting_list(&world.root, |params| {
        params.crl_number = 2_u64.into();
        params.revoked_certs = vec![revoked(&issuing_serial, None)];
    });
    let file = "root-revoked.crl";
    world.trust_lists("issuing-revoked", &[file, "issuing.crl"], &[(file, &root_list)]);
    world.trust_lists("no-issuing-list", &["root.crl"], &[]);
    world.trust_lists("no-root-list", &["issuing.crl"], &[]);
    for (name, fault, trust) in [
        ("issuer-revoked", "the root's list names the issuing authority", "issuing-revoked"),
        ("crl-missing", "no list from the issuing authority", "no-issuing-list"),
        ("crl-missing--root", "no list from the root", "no-root-list"),
    ] {
        let mended = json!({ "trust": "standard" });
        sheet.put(name, fault, &frames, mended, |case| case.trust = Some(trust.to_owned()));
    }
    // An old list beside the new one must not bring the certificate back.
    world.trust("both-lists", &["root.crt"], &["root.crl", "issuing-revoked.crl", "issuing.crl"]);
    let fault = "an old list beside the one that names the certificate";
    sheet.put("certificate-revoked--old-list", fault, &frames, json!({ "trust": "standard" }), |case| {
        case.trust = Some("both-lists".to_owned());
    });
}
