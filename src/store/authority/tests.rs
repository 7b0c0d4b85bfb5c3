//! The directory as operators use it, at times of the tests' choosing.

use super::*;
use crate::reason::ReasonCode;
use crate::store::credentials::{Credentials, CredentialsError};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn days(count: i64) -> Timestamp {
    now().plus_seconds(count * 86_400)
}

fn create(directory: &Path, single: bool) -> Result<AuthorityStore, AuthorityStoreError> {
    AuthorityStore::create(directory, "a.example", single, Profiles::built_in().unwrap(), now())
}

fn request(service: &str, host: &str) -> IssueRequest {
    IssueRequest {
        env: "prod".to_owned(),
        service: service.to_owned(),
        host: host.to_owned(),
        days: None,
        key_kind: None,
        directory: None,
        replace: false,
    }
}

fn code(revocation: &Revocation) -> Option<ReasonCode> {
    revocation.verdict.as_ref().err().map(ChainError::code)
}

#[test]
fn nothing_is_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("pki");
    fs::create_dir(&directory).unwrap();
    create(&directory, false).unwrap();
    assert!(matches!(create(&directory, true), Err(AuthorityStoreError::Exists { .. })));
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(create(&file, true), Err(AuthorityStoreError::Exists { .. })));
    let bad =
        AuthorityStore::create(&temp.path().join("b"), "A!", false, Profiles::built_in().unwrap(), now());
    assert!(matches!(bad, Err(AuthorityStoreError::Authority(AuthorityError::SpiffeId(_)))));
    let mut left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "pki"], "a failed attempt leaves nothing");
}

#[test]
fn a_certificate_that_is_good_is_replaced_only_when_asked() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    let first = store.issue(&request("a", "b-c"), now()).unwrap();
    let occupied = |result: Result<IssuedService, AuthorityStoreError>, wanted: bool| {
        let Err(AuthorityStoreError::Occupied { replaceable, .. }) = result else { panic!("{result:?}") };
        assert_eq!(replaceable, wanted);
    };
    occupied(store.issue(&request("a", "b-c"), now()), true);
    // Another identity with the same file name.
    occupied(store.issue(&IssueRequest { replace: true, ..request("a-b", "c") }, now()), false);

    let renewed = store.issue(&IssueRequest { replace: true, ..request("a", "b-c") }, days(60)).unwrap();
    assert_eq!(renewed.replaced, Some(first.serial.clone()));
    let entries = store.entries().unwrap();
    let states: Vec<State> = entries.iter().skip(1).map(|entry| entry.state(days(80))).collect();
    assert_eq!(states, [State::Expiring, State::Valid]);

    // One that has expired, or was revoked, is in nobody's way.
    let third = store.issue(&request("a", "b-c"), days(151)).unwrap();
    store.revoke(&Target::Serial(third.serial), RevocationReason::Superseded, days(151)).unwrap();
    assert_eq!(store.issue(&request("a", "b-c"), days(151)).unwrap().replaced, None);

    // A name that two services have revokes neither.
    let elsewhere = IssueRequest { directory: Some(temp.path().to_owned()), ..request("a-b", "c") };
    store.issue(&elsewhere, days(151)).unwrap();
    let by_name = store.revoke(&Target::Name("a-b-c".to_owned()), RevocationReason::Unspecified, days(151));
    let Err(AuthorityStoreError::Ambiguous { found, .. }) = by_name else { panic!("{by_name:?}") };
    assert_eq!(found, ["spiffe://a.example/prod/a-b/c", "spiffe://a.example/prod/a/b-c"]);
}

#[test]
fn the_profile_holds() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    for days in [0, 399] {
        let asked = store.issue(&IssueRequest { days: Some(days), ..request("a", "b") }, now());
        assert!(matches!(asked, Err(AuthorityStoreError::Lifetime { most: 398, .. })));
    }
    let late = store.issue(&request("a", "b"), days(700)).unwrap();
    assert!(late.is_cut);
    assert_eq!(late.issued.certificate().not_after(), days(730));
    assert_eq!(store.entries().unwrap().len(), 2, "what was refused is not in the index");
}

#[test]
fn a_revocation_that_a_crash_kept_from_the_list_is_on_the_next_one() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    let service = store.issue(&request("a", "b"), now()).unwrap();
    let path = store.crl_path(Level::Issuing);
    let before = fs::read(&path).unwrap();
    let target = Target::Name("a-b".to_owned());
    let revoked = store.revoke(&target, RevocationReason::KeyCompromise, now()).unwrap();
    assert_eq!(code(&revoked[0]), Some(ReasonCode::CertificateRevoked));
    fs::write(&path, before).unwrap();
    let accepted = |store: &AuthorityStore| {
        let leaf = service.issued.certificate().der();
        store.trust_store().unwrap().validate(leaf, &[], &Purpose::DocumentSigning, now()).is_ok()
    };
    assert!(accepted(&store), "the list on disk is the old one");
    let list = store.rewrite_crl(Level::Issuing, Some(3), now()).unwrap();
    assert_eq!((list.number, list.entries, list.next_update), (3, 1, days(3)));
    assert!(!accepted(&store));

    // Done again later, it keeps its date.
    let again = store.revoke(&target, RevocationReason::Superseded, days(1)).unwrap();
    assert_eq!(again[0].entry.revocation, Some((now(), RevocationReason::KeyCompromise)));
    assert!(again[0].was_revoked);
    // Of a stale list of the root it is said that it is stale, not that all is well.
    let stale = store.revoke(&target, RevocationReason::Superseded, days(200)).unwrap();
    assert!(stale[0].verdict.is_err());
}

#[test]
fn an_authority_that_was_revoked_issues_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    let issuing = Target::Certificate(store.certificate(Level::Issuing).unwrap().der().to_vec());
    let key = store.key_path(Level::Root);
    let away = temp.path().join("root.key");
    fs::rename(&key, &away).unwrap();
    let without = store.revoke(&issuing, RevocationReason::CaCompromise, now());
    assert!(matches!(without, Err(AuthorityStoreError::KeyAway { level: Level::Root, .. })));
    assert_eq!(store.entries().unwrap()[0].revocation, None, "nothing was marked");
    fs::rename(&away, &key).unwrap();
    let revoked = store.revoke(&issuing, RevocationReason::CaCompromise, now()).unwrap();
    assert_eq!(code(&revoked[0]), Some(ReasonCode::IssuerRevoked));
    let refused = store.issue(&request("a", "b"), now());
    assert!(matches!(refused, Err(AuthorityStoreError::IssuerRevoked { .. })));
}

#[test]
fn credentials_belong_together() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), true).unwrap();
    let services = store.services();
    let (one, two) =
        (store.issue(&request("a", "b"), now()).unwrap(), store.issue(&request("c", "d"), now()).unwrap());
    let loaded = Credentials::load(&services, "a", "b").unwrap();
    assert_eq!(loaded.spiffe_id().as_ref(), Some(one.issued.identity()));
    assert_eq!(loaded.certificate(), one.issued.certificate());
    assert!(loaded.intermediates().is_empty(), "a single authority is itself the anchor");

    let Err(CredentialsError::Missing { available, .. }) = Credentials::load(&services, "x", "y") else {
        panic!("they are not there");
    };
    assert_eq!(available, ["a-b", "c-d"]);
    fs::copy(&two.key_path, services.join("a-b.key")).unwrap();
    assert!(matches!(Credentials::load(&services, "a", "b"), Err(CredentialsError::KeyMismatch { .. })));
    fs::copy(&two.certificate_path, services.join("a-b.crt")).unwrap();
    assert!(matches!(Credentials::load(&services, "a", "b"), Err(CredentialsError::OtherService { .. })));
    fs::set_permissions(&two.key_path, fs::Permissions::from_mode(0o644)).unwrap();
    let open = Credentials::load(&services, "c", "d");
    assert!(matches!(open, Err(CredentialsError::File(FileError::TooOpen { found: 0o644, .. }))));
}
