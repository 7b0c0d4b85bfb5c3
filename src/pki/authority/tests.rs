//! Issuing, against the validation code and against what rcgen would get wrong.

use super::*;
use crate::pki::profile::Profiles;
use crate::reason::ReasonCode;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

const DAY: u64 = 86_400;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn key(kind: KeyKind) -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate(kind).unwrap())
}

fn hierarchy() -> (Authority, Authority) {
    let profiles = Profiles::built_in().unwrap();
    let root = Authority::new_root("a.example", &profiles.root, 1, key(KeyKind::P256), now()).unwrap();
    let issuing =
        root.new_intermediate("a.example", &profiles.issuing, key(KeyKind::Ed25519), now()).unwrap();
    (root, issuing)
}

fn bodhi() -> SpiffeId {
    SpiffeId::new("a.example", "prod", "bodhi", "app01").unwrap()
}

#[test]
fn a_service_certificate_has_the_profile() {
    let (_, issuing) = hierarchy();
    let service = key(KeyKind::P256);
    let issue =
        || issuing.issue(&bodhi(), service.public_spki(), Duration::from_secs(90 * DAY), now()).unwrap();
    let (issued, again) = (issue(), issue());
    let certificate = issued.certificate();
    assert_ne!(certificate.serial(), again.certificate().serial(), "the same key, another serial number");
    assert!((16..=17).contains(&certificate.serial().len()));
    assert_eq!(certificate.subject_cn(), Some("bodhi-app01"));
    assert_eq!(certificate.uris(), ["spiffe://a.example/prod/bodhi/app01"]);
    assert_eq!(certificate.extended_key_usage(), Some(&["1.3.6.1.5.5.7.3.36".to_owned()][..]));
    assert_eq!(certificate.key_usage().unwrap().to_string(), "digitalSignature");
    assert!(!certificate.basic_constraints().unwrap().is_authority);
    assert_eq!(certificate.not_before(), now().plus_seconds(-60));
    assert_eq!(certificate.not_after(), now().plus_seconds(90 * 86_400));
    assert_eq!(certificate.spki_der(), service.public_spki());
    let pem = pem::certificates(issued.to_pem(&issuing.chain()).as_bytes()).unwrap();
    assert_eq!(pem, [certificate.clone(), issuing.certificate().clone()], "leaf, issuing, and no root");
}

#[test]
fn nothing_outlives_its_issuer() {
    let (root, issuing) = hierarchy();
    let service = key(KeyKind::P256);
    let issue = |at| issuing.issue(&bodhi(), service.public_spki(), Duration::from_secs(90 * DAY), at);
    let late = issuing.certificate().not_after().plus_seconds(-3600);
    assert_eq!(issue(late).unwrap().certificate().not_after(), issuing.certificate().not_after());
    assert_eq!(
        issuing.crl(1, &[], Duration::from_secs(7 * DAY), late).unwrap().crl().next_update(),
        issuing.certificate().not_after()
    );
    for at in [late.plus_seconds(7200), now().plus_seconds(-61)] {
        assert!(matches!(issue(at), Err(AuthorityError::NotValidNow { .. })));
    }
    let profile = Profiles::built_in().unwrap().issuing;
    let below = issuing.new_intermediate("a.example", &profile, key(KeyKind::P256), now());
    assert!(matches!(below, Err(AuthorityError::PathLength { .. })));
    assert_eq!(root.certificate().basic_constraints().unwrap().path_length, Some(1));
}

#[test]
fn who_is_on_the_list_is_refused() {
    let (root, issuing) = hierarchy();
    let issue = || {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        issuing.issue(&bodhi(), key.public_spki(), Duration::from_secs(DAY), now()).unwrap()
    };
    let (stolen, kept) = (issue(), issue());
    let serial = Serial::from_bytes(stolen.certificate().serial()).unwrap();
    let entry = Revoked { serial, at: now(), reason: RevocationReason::KeyCompromise, invalid_since: None };
    let week = Duration::from_secs(7 * DAY);
    let store = |revoked: &[Revoked]| {
        let builder = TrustStore::builder(RevocationPolicy::Required)
            .anchor("root", root.certificate().clone(), IdentityRule::SpiffeUri)
            .unwrap();
        let lists = [root.crl(1, &[], week, now()).unwrap(), issuing.crl(2, revoked, week, now()).unwrap()];
        lists.into_iter().fold(builder, |b, list| b.crl("list", list.crl).unwrap()).build().unwrap()
    };
    let verdict = |store: &TrustStore, leaf: &Issued| {
        let intermediates = [issuing.certificate().der().as_ref()];
        store
            .validate(leaf.certificate().der(), &intermediates, &Purpose::DocumentSigning, now())
            .map(|leaf| leaf.identity().to_string())
            .map_err(|error| error.code())
    };
    let good = Ok(bodhi().to_string());
    assert_eq!(verdict(&store(&[]), &stolen), good);
    let after = store(&[entry]);
    assert_eq!(verdict(&after, &stolen), Err(ReasonCode::CertificateRevoked));
    assert_eq!(verdict(&after, &kept), good);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let (_, issuing) = hierarchy();
    let long = SpiffeId::new("a.example", "prod", "bodhi", &"h".repeat(60)).unwrap();
    let spki = key(KeyKind::P256);
    let error = issuing.issue(&long, spki.public_spki(), Duration::from_secs(DAY), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::CommonName { found: 66, .. }), "{error}");
    let profile = Profiles::built_in().unwrap().root;
    let error = Authority::new_root("A.example", &profile, 1, key(KeyKind::P256), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::SpiffeId(_)), "{error}");
    let domain = format!("{}.example", "a".repeat(80));
    assert!(Authority::new_root(&domain, &profile, 1, key(KeyKind::P256), now()).is_ok());
}

/// What rcgen takes as an issuer without a word.
#[test]
fn an_authority_that_cannot_issue_is_refused_when_it_is_loaded() {
    let pair = KeyPair::generate().unwrap();
    let private = || Arc::new(PrivateKey::from_pem(pair.serialize_pem().as_bytes()).unwrap());
    let made = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        Certificate::parse(params.self_signed(&pair).unwrap().der()).unwrap()
    };
    let load = |certificate| Authority::load(certificate, Vec::new(), private(), now());
    let good = load(made(|_| {})).unwrap();
    assert!(good.issue(&bodhi(), private().public_spki(), Duration::from_secs(DAY), now()).is_ok());

    let error = Authority::load(made(|_| {}), Vec::new(), key(KeyKind::P256), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMismatch { .. }), "{error}");
    let error = load(made(|p| p.is_ca = IsCa::ExplicitNoCa)).unwrap_err();
    assert!(matches!(error, AuthorityError::NotAuthority { .. }), "{error}");
    let error = load(made(|p| p.key_usages.truncate(1))).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyUsage { missing: "cRLSign", .. }), "{error}");
    let error = load(made(|p| p.not_after = rcgen::date_time_ymd(2020, 1, 1))).unwrap_err();
    assert!(matches!(error, AuthorityError::NotValidNow { .. }), "{error}");
    let error = load(made(|p| p.distinguished_name = rcgen::DistinguishedName::new())).unwrap_err();
    assert!(matches!(error, AuthorityError::Name { fault: NameFault::Empty, .. }), "{error}");

    // rcgen cannot write the same attribute twice, so one is made into the other afterwards; the signature breaks, which is
    // looked at later than the name.
    let two = made(|p| {
        p.distinguished_name.push(DnType::OrganizationName, "one");
        p.distinguished_name.push(DnType::OrganizationalUnitName, "two");
    });
    let mut der = two.der().to_vec();
    let organizational_unit = [0x06, 0x03, 0x55, 0x04, 0x0b];
    while let Some(at) = der.windows(5).position(|bytes| bytes == organizational_unit) {
        der[at + 4] = 0x0a;
    }
    let error = load(Certificate::parse(&der).unwrap()).unwrap_err();
    let repeated = NameFault::Repeated { oid: "2.5.4.10".to_owned() };
    assert!(matches!(&error, AuthorityError::Name { fault, .. } if *fault == repeated), "{error}");
}

/// A leaf is validated under its issuer alone once the issuer was validated, but where the root limits names. Limits on names
/// like ours are not understood by webpki, so that all of them are refused, and when the authority is loaded.
#[test]
fn a_root_may_limit_names_of_other_kinds_only() {
    let named = |name: &str| {
        let mut distinguished = rcgen::DistinguishedName::new();
        distinguished.push(rcgen::DnType::CommonName, name);
        distinguished
    };
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let limit = |subtree| {
        let mut params = authority("root");
        params.name_constraints =
            Some(rcgen::NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: vec![subtree] });
        let (root, below) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root_certificate = params.self_signed(&root).unwrap();
        let issuer = rcgen::Issuer::from_params(&params, &root);
        let issuing = authority("issuing").signed_by(&below, &issuer).unwrap();
        let parse = |der: &[u8]| Certificate::parse(der).unwrap();
        let key = Arc::new(PrivateKey::from_pem(below.serialize_pem().as_bytes()).unwrap());
        let above = vec![parse(root_certificate.der())];
        let issuing = Authority::load(parse(issuing.der()), above, key.clone(), now())?;
        issuing.issue(&bodhi(), key.public_spki(), Duration::from_secs(DAY), now())
    };
    let refused = limit(rcgen::GeneralSubtree::DirectoryName(named("bodhi-app01"))).unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(_)), "{refused}");
    assert!(limit(rcgen::GeneralSubtree::DnsName("b.example".to_owned())).is_ok());
}
