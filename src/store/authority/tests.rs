//! The directory as operators use it, at times of the tests' choosing.

use super::*;
use crate::identity::SpiffeId;
use crate::pki::authority::RevocationReason;
use crate::pki::chain::{ChainError, Purpose};
use crate::pki::key::KeyKind;
use crate::pki::profile::{ProfileName, ProfileRefusal};
use crate::reason::ReasonCode;
use crate::store::credentials::{self, Credentials, CredentialsError};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn days(count: i64) -> Timestamp {
    now().plus_seconds(count * 86_400)
}

fn create(directory: &Path, single: bool) -> Result<AuthorityStore, AuthorityStoreError> {
    AuthorityStore::create(
        directory,
        "a.example",
        single,
        Profiles::built_in().unwrap(),
        &KeyProtection::Unencrypted,
        now(),
    )
}

fn request(service: &str, host: &str) -> IssueRequest {
    IssueRequest {
        env: "prod".to_owned(),
        service: service.to_owned(),
        host: host.to_owned(),
        days: None,
        profile: ProfileName::Service,
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
    let bad = AuthorityStore::create(
        &temp.path().join("b"),
        "A!",
        false,
        Profiles::built_in().unwrap(),
        &KeyProtection::Unencrypted,
        now(),
    );
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
    store.revoke(&Target::Serial(third.serial), RevocationReason::Superseded, None, days(151)).unwrap();
    assert_eq!(store.issue(&request("a", "b-c"), days(151)).unwrap().replaced, None);

    // A name that two services have revokes neither.
    let elsewhere = IssueRequest { directory: Some(temp.path().to_owned()), ..request("a-b", "c") };
    store.issue(&elsewhere, days(151)).unwrap();
    let by_name =
        store.revoke(&Target::Name("a-b-c".to_owned()), RevocationReason::Unspecified, None, days(151));
    let Err(AuthorityStoreError::Ambiguous { found, .. }) = by_name else { panic!("{by_name:?}") };
    assert_eq!(found, ["spiffe://a.example/prod/a-b/c", "spiffe://a.example/prod/a/b-c"]);
}

#[test]
fn the_profile_holds() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    for days in [0, 399] {
        let asked = store.issue(&IssueRequest { days: Some(days), ..request("a", "b") }, now());
        assert!(matches!(
            asked,
            Err(AuthorityStoreError::Refused(ProfileRefusal::Lifetime { most: 398, .. }))
        ));
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
    let revoked = store.revoke(&target, RevocationReason::KeyCompromise, None, now()).unwrap();
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
    let again = store.revoke(&target, RevocationReason::Superseded, None, days(1)).unwrap();
    assert_eq!(
        again[0].entry.revocation,
        Some(EntryRevocation { at: now(), reason: RevocationReason::KeyCompromise, invalid_since: None })
    );
    assert!(again[0].was_revoked);
    // Of a stale list of the root it is said that it is stale, not that all is well.
    let stale = store.revoke(&target, RevocationReason::Superseded, None, days(200)).unwrap();
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
    let without = store.revoke(&issuing, RevocationReason::CaCompromise, None, now());
    assert!(matches!(
        without,
        Err(AuthorityStoreError::KeyAway {
            authority: AuthorityId { level: Level::Root, generation: 1 },
            ..
        })
    ));
    assert_eq!(store.entries().unwrap()[0].revocation, None, "nothing was marked");
    fs::rename(&away, &key).unwrap();
    let revoked = store.revoke(&issuing, RevocationReason::CaCompromise, None, now()).unwrap();
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

#[test]
fn a_compromise_reaches_back_and_everything_before_a_time_can_go() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    let first = store.issue(&request("a", "b"), now()).unwrap();
    let second = store.issue(&request("c", "d"), days(1)).unwrap();
    let later = store.issue(&request("e", "f"), days(5)).unwrap();
    let identity = Target::Identity(first.issued.identity().clone());
    let future = store.revoke(&identity, RevocationReason::KeyCompromise, Some(days(7)), days(6));
    assert!(matches!(future, Err(AuthorityStoreError::InvalidSince { .. })));
    store.revoke(&identity, RevocationReason::Superseded, None, days(6)).unwrap();
    let entry = |store: &AuthorityStore, serial: &Serial| {
        store.read_crl(Level::Issuing).unwrap().revocation(serial.as_bytes()).unwrap()
    };
    let superseded = entry(&store, &first.serial);
    assert_eq!((superseded.invalidity_date, superseded.suspect_since()), (None, days(6)));
    // It turns out that the key was stolen: the date stays, the reason and what it reaches back to are new.
    store.revoke(&identity, RevocationReason::KeyCompromise, Some(days(2)), days(8)).unwrap();
    let compromised = entry(&store, &first.serial);
    assert_eq!((compromised.date, compromised.suspect_since()), (days(6), days(2)));
    store.revoke(&identity, RevocationReason::Superseded, None, days(9)).unwrap();
    assert_eq!(entry(&store, &first.serial), compromised, "nothing makes it harmless again");

    let before = Target::IssuedBefore(days(5));
    let revoked = store.revoke(&before, RevocationReason::CaCompromise, None, days(9)).unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(
        (&revoked[0].entry.serial, code(&revoked[0])),
        (&second.serial, Some(ReasonCode::CertificateRevoked))
    );
    assert_eq!(store.find(&Target::Serial(later.serial), days(9)).unwrap()[0].revocation, None);
    let again = store.revoke(&before, RevocationReason::CaCompromise, None, days(9));
    assert!(matches!(again, Err(AuthorityStoreError::NotIssued { .. })));
    store.verify_log(None).unwrap().unwrap();
}

#[test]
fn what_a_killed_command_left_is_finished() {
    let temp = tempfile::tempdir().unwrap();
    let mut store = create(&temp.path().join("pki"), false).unwrap();
    store.issue(&request("x", "y"), now()).unwrap();
    assert_eq!(store.recover(now()).unwrap(), []);

    // Killed after the key was written, beside the certificate's file in the making.
    let authority = store.signer(Level::Issuing, now()).unwrap();
    let identity = SpiffeId::new("a.example", "prod", "a", "b").unwrap();
    let (certificate_path, key_path) = credentials::paths(&store.services(), "a", "b");
    let enter = |key: &PrivateKey| {
        let issued =
            authority.issue(&identity, key.public_spki(), Duration::from_secs(9_999), now()).unwrap();
        let entry = NewEntry {
            issuer: AuthorityId::first(Level::Issuing),
            certificate: issued.certificate(),
            identity: Some(&identity),
            issued_at: now(),
            request: None,
            files: Some((&certificate_path, &key_path)),
        };
        store.index.add(&[entry]).unwrap();
        Serial::from_bytes(issued.certificate().serial()).unwrap()
    };
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let serial = enter(&key);
    files::write_private(&key_path, key.to_pem().as_bytes()).unwrap();
    let half = store.services().join(".new-half");
    fs::write(&half, "-----BEGIN").unwrap();
    // Killed before its key was written: nobody has it, and it is of no use.
    enter(&PrivateKey::generate(KeyKind::P256).unwrap());
    // Killed between the revocation and the list.
    let entries = store.find(&Target::Name("x-y".to_owned()), now()).unwrap();
    let reason = RevocationReason::KeyCompromise;
    store
        .index
        .retire(&entries, EntryRevocation { at: now(), reason, invalid_since: None }, &[], &[])
        .unwrap();
    assert!(store.is_crl_due(Level::Issuing, now()).unwrap());

    let repairs = store.recover(now()).unwrap();
    let written = Repair::CertificateWritten { path: certificate_path.clone(), serial };
    let [first, Repair::ListWritten(list), third] = &repairs[..] else { panic!("{repairs:?}") };
    assert_eq!((first, list.number, third), (&written, 3, &Repair::FileRemoved { path: half }));
    Credentials::load(&store.services(), "a", "b").unwrap();
    assert!(store.read_crl(Level::Issuing).unwrap().revocation(entries[0].serial.as_bytes()).is_some());
    assert_eq!(store.recover(now()).unwrap(), [], "all is done");

    // Without the signer's key it is said each time.
    let key = store.key_path(Level::Root);
    fs::remove_file(&key).unwrap();
    let root = AuthorityId::first(Level::Root);
    store.index.next_crl_number(root, now()).unwrap();
    let path = store.crl_path(Level::Root);
    let waits = [Repair::ListWaits { signer: root, path, key, is_encrypted: false }];
    assert_eq!(
        (store.recover(now()).unwrap(), store.recover(now()).unwrap()),
        (waits.to_vec(), waits.to_vec())
    );
    store.verify_log(None).unwrap().unwrap();
}

#[test]
fn the_log_tells_what_was_changed_behind_its_back() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("pki");
    let mut store = create(&directory, false).unwrap();
    store.issue(&request("a", "b"), now()).unwrap();
    let made = store.verify_log(None).unwrap().unwrap();
    store.revoke(&Target::Name("a-b".to_owned()), RevocationReason::Superseded, None, days(1)).unwrap();
    let head = store.verify_log(Some(made.head())).unwrap().unwrap().head();
    let what: Vec<String> = store
        .log()
        .unwrap()
        .iter()
        .map(|entry| serde_json::from_str::<serde_json::Value>(&entry.record).unwrap()["what"].to_string())
        .collect();
    assert_eq!(what.join(" ").replace('"', ""), "authority crl authority issue crl issue revoke crl");

    let database = rusqlite::Connection::open(directory.join(INDEX)).unwrap();
    assert!(database.execute("UPDATE log SET record = '{}' WHERE number = 3", []).is_err());
    assert!(database.execute("DELETE FROM log WHERE number = 8", []).is_err());
    for (harm, fault) in [
        (
            "UPDATE certificate SET revoked_at = NULL, reason = NULL",
            "not revoked in the index, and revoked at",
        ),
        ("UPDATE certificate SET der = x'00' WHERE identity IS NOT NULL", "it is another"),
        ("DELETE FROM certificate WHERE identity IS NOT NULL", "is not in the index"),
        ("DROP TRIGGER log_is_not_cut; DELETE FROM log WHERE number = 8", "no entry has the hash"),
        (
            "UPDATE authority SET stage = 'retired' WHERE level = 'issuing'",
            "issuing authority is in the index as the log does not have it",
        ),
        (
            "DROP TRIGGER log_is_not_changed; UPDATE log SET record = replace(record, 'a-b', 'a-c')",
            "does not fit",
        ),
    ] {
        let copy = tempfile::tempdir().unwrap();
        fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let index = copy.path().join(INDEX);
        database.execute("VACUUM INTO ?1", [index.to_str().unwrap()]).unwrap();
        rusqlite::Connection::open(&index).unwrap().execute_batch(harm).unwrap();
        let harmed = AuthorityStore::open(copy.path(), Profiles::built_in().unwrap()).unwrap();
        let told = harmed.verify_log(Some(head)).unwrap().unwrap_err().to_string();
        assert!(told.contains(fault), "{harm}: {told}");
    }
}

#[test]
fn many_are_issued_like_one() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("pki");
    let mut store = create(&directory, false).unwrap();
    // More than one group.
    let spki = || PrivateKey::generate(KeyKind::Ed25519).unwrap().public_spki().to_vec();
    let identity = |n: usize| SpiffeId::new("a.example", "prod", "bodhi", &format!("app{n}")).unwrap();
    let wanted =
        |n| CertifyRequest { identity: identity(n), spki: spki(), profile: ProfileName::Service, days: None };
    let requests: Vec<CertifyRequest> = (0..1_001).map(wanted).collect();
    let made = store.certify_many(&requests, now()).unwrap();
    let trust = store.trust_store().unwrap();
    for (asked, made) in requests.iter().zip(&made) {
        let certificate = made.issued.certificate();
        assert_eq!((made.issued.identity(), certificate.spki_der()), (&asked.identity, &asked.spki[..]));
        assert!(trust.validate(certificate.der(), &[], &Purpose::DocumentSigning, now()).is_ok());
    }
    let mut serials: Vec<&Serial> = made.iter().map(|one| &one.serial).collect();
    serials.sort();
    serials.dedup();
    let before = store.entries().unwrap().len();
    assert_eq!((made.len(), serials.len(), before), (1_001, 1_001, 1_002));

    let pairs = store.issue_many(&[request("koji", "a"), request("koji", "b"), request("wiki", "a")], now());
    for (pair, host) in pairs.unwrap().iter().zip(["a", "b", "a"]) {
        let service = pair.issued.identity().service();
        let loaded = Credentials::load(&store.services(), service, host).unwrap();
        assert_eq!(loaded.certificate(), pair.issued.certificate());
    }
    assert!(store.recover(now()).unwrap().is_empty(), "nothing was left unfinished");
    assert_eq!(store.verify_log(None).unwrap().unwrap().certificates(), 1_005);

    // One that is refused keeps all others from it.
    let stolen = &made[0];
    store
        .revoke(&Target::Serial(stolen.serial.clone()), RevocationReason::KeyCompromise, None, now())
        .unwrap();
    let again = CertifyRequest { spki: requests[0].spki.clone(), ..wanted(7) };
    let elsewhere = CertifyRequest {
        identity: SpiffeId::new("b.example", "prod", "bodhi", "app1").unwrap(),
        ..wanted(7)
    };
    let mut refused = |more: CertifyRequest| store.certify_many(&[wanted(7), more], now()).unwrap_err();
    assert!(matches!(refused(again), AuthorityStoreError::KeyCompromised { .. }));
    assert!(matches!(refused(elsewhere), AuthorityStoreError::TrustDomain { .. }));
    assert!(matches!(
        refused(CertifyRequest { days: Some(100_000), ..wanted(7) }),
        AuthorityStoreError::Refused(_)
    ));
    let twice = store.issue_many(&[request("new", "a"), request("new", "a")], now());
    assert!(matches!(twice, Err(AuthorityStoreError::Twice { .. })), "{twice:?}");
    let occupied = store.issue_many(&[request("new", "a"), request("koji", "a")], now());
    assert!(matches!(occupied, Err(AuthorityStoreError::Occupied { .. })), "{occupied:?}");
    assert_eq!(store.entries().unwrap().len(), before + 3);
    assert!(!store.services().join("new-a.key").exists());
}

#[test]
fn an_authority_that_was_never_finished_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("pki");
    let [dead, alive, other] = [".new-pki-dead", ".new-pki-alive", "new-pki"].map(|name| {
        let path = temp.path().join(name);
        fs::create_dir_all(path.join(OFFLINE)).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        path
    });
    let held = lock(alive.join(LOCK)).unwrap();
    assert_eq!(AuthorityStore::remove_abandoned(&directory).unwrap(), std::slice::from_ref(&dead));
    assert_eq!([dead, alive.clone(), other].map(|path| path.exists()), [false, true, true]);
    drop(held);
    assert_eq!(AuthorityStore::remove_abandoned(&directory).unwrap(), [alive]);
    create(&directory, false).unwrap();
    assert_eq!(AuthorityStore::remove_abandoned(&directory).unwrap(), Vec::<PathBuf>::new());
}
