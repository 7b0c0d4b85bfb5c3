//! Rollovers step by step, as the consumers see them, and killed between the index and the files.

use super::*;
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{ChainError, RevocationPolicy, TrustStore};
use crate::pki::profile::{ProfileName, Profiles};
use crate::reason::ReasonCode;
use crate::store::authority::KeyProtection;
use crate::store::authority::{
    AuthorityStore, Finding, Health, INDEX, IssueRequest, IssuedService, RenewRequest, Repair, Target,
};
use crate::store::credentials::Credentials;
use crate::store::files;
use std::collections::HashSet;
use std::fs;

const SETTLED: i64 = SETTLE_SECONDS;

fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    start.plus_seconds(seconds)
}

fn world(single: bool) -> (tempfile::TempDir, AuthorityStore) {
    let temp = tempfile::tempdir().unwrap();
    let profiles = Profiles::built_in().unwrap();
    let store = AuthorityStore::create(
        &temp.path().join("pki"),
        "a.example",
        single,
        profiles,
        &KeyProtection::Unencrypted,
        at(0),
    )
    .unwrap();
    (temp, store)
}

fn issue(store: &mut AuthorityStore, service: &str, now: Timestamp) -> IssuedService {
    let request = IssueRequest {
        env: "prod".to_owned(),
        service: service.to_owned(),
        host: "app01".to_owned(),
        profile: ProfileName::Service,
        days: None,
        key_kind: None,
        directory: None,
        replace: false,
    };
    store.issue(&request, now).unwrap()
}

fn renew_due(store: &mut AuthorityStore, now: Timestamp) -> usize {
    let due = store.renewals(None, now).unwrap().due;
    let renew = |name: &String| {
        let request = RenewRequest {
            name: name.clone(),
            directory: None,
            profile: None,
            days: None,
            key_kind: None,
            keep_key: false,
            force: false,
        };
        store.renew(&request, now).unwrap();
    };
    due.iter().for_each(renew);
    due.len()
}

fn prepare(level: Level) -> PrepareRequest {
    PrepareRequest { level, cross: true }
}

fn retire(level: Level) -> RetireRequest {
    RetireRequest { level, generation: None, revoke: false }
}

fn id(level: Level, generation: u32) -> AuthorityId {
    AuthorityId { level, generation }
}

/// What a consumer makes of a certificate that comes with others.
fn verdict(store: &TrustStore, leaf: &Certificate, sent: &[Certificate], now: i64) -> Option<ReasonCode> {
    let sent: Vec<&[u8]> = sent.iter().map(|certificate| &certificate.der()[..]).collect();
    let verdict = store.validate(leaf.der(), &sent, &Purpose::DocumentSigning, at(now));
    verdict.err().as_ref().map(ChainError::code)
}

/// What a consumer trusts who has one root, and these lists.
fn consumer_of(root: &Certificate, lists: impl IntoIterator<Item = Crl>) -> TrustStore {
    let builder = TrustStore::builder(RevocationPolicy::Required);
    let mut builder = builder.anchor("root", root.clone(), IdentityRule::SpiffeUri).unwrap();
    for list in lists {
        builder = builder.crl("list", list).unwrap();
    }
    builder.build().unwrap()
}

fn stages(store: &AuthorityStore) -> Vec<(String, Stage)> {
    store.generations().iter().map(|known| (known.id.to_string(), known.stage)).collect()
}

fn unwell(store: &AuthorityStore, now: Timestamp) -> Vec<Finding> {
    let mut found = store.check(now).unwrap();
    found.retain(|finding| finding.health != Health::Good);
    found
}

#[test]
fn an_intermediate_gives_way_to_another_and_nobody_is_refused() {
    let (temp, mut store) = world(false);
    let old = issue(&mut store, "bodhi", at(0));
    let old = old.issued.certificate().clone();
    let nothing = store.activate(Level::Issuing, at(1)).unwrap_err();
    assert!(matches!(nothing, AuthorityStoreError::NothingAt { expected: Stage::Prepared, .. }));
    let nothing = store.retire(retire(Level::Issuing), at(1)).unwrap_err();
    assert!(matches!(nothing, AuthorityStoreError::NothingAt { expected: Stage::Retiring, .. }));
    let active = RetireRequest { generation: Some(1), revoke: true, ..retire(Level::Issuing) };
    let active = store.retire(active, at(1)).unwrap_err();
    assert!(matches!(active, AuthorityStoreError::WrongStage { found: Stage::Active, .. }), "{active}");

    // Without the root's key nothing happens at all.
    let (key, away) = (store.key_path(Level::Root), temp.path().join("root.key"));
    fs::rename(&key, &away).unwrap();
    let without = store.prepare(prepare(Level::Issuing), at(1)).unwrap_err();
    assert!(matches!(without, AuthorityStoreError::KeyAway { .. }), "{without}");
    fs::rename(&away, &key).unwrap();
    let before = store.trust_store().unwrap();
    let prepared = store.prepare(prepare(Level::Issuing), at(2)).unwrap();
    fs::rename(&key, &away).unwrap();
    assert_eq!(prepared.made[0].key, store.directory().join("issuing-2.key"));
    let twice = store.prepare(prepare(Level::Root), at(3)).unwrap_err();
    assert!(matches!(twice, AuthorityStoreError::Prepared { .. }), "{twice}");
    assert_eq!(issue(&mut store, "koji", at(3)).issued.certificate().issuer_der(), old.issuer_der());
    let early = store.activate(Level::Issuing, at(3)).unwrap_err();
    assert!(matches!(early, AuthorityStoreError::TooEarly { .. }), "{early}");

    let consumer = store.trust_store().unwrap();
    assert_eq!(store.activate(Level::Issuing, at(2 + SETTLED)).unwrap(), [id(Level::Issuing, 2)]);
    let new = issue(&mut store, "wiki", at(8)).issued.certificate().clone();
    assert_ne!(new.issuer_der(), old.issuer_der());
    for (leaf, wanted) in [(&old, None), (&new, None)] {
        assert_eq!(verdict(&consumer, leaf, &[], 8), wanted, "with the files of before the activation");
    }
    assert_eq!(
        verdict(&before, &new, &[], 8),
        Some(ReasonCode::CertificateUnknownIssuer),
        "not told in time"
    );
    // Both lists are kept fresh.
    for known in [id(Level::Issuing, 1), id(Level::Issuing, 2)] {
        let list = store.rewrite_crl(known, None, at(9)).unwrap();
        assert_eq!((list.signer, list.number), (known, 2));
        assert_eq!(store.read_crl(known).unwrap().number(), Some(2));
    }

    let in_use = store.retire(retire(Level::Issuing), at(20)).unwrap_err();
    let AuthorityStoreError::InUse { users, .. } = &in_use else { panic!("{in_use}") };
    assert_eq!(users.len(), 2);
    assert!(in_use.to_string().contains("prod/bodhi/app01, spiffe://a.example/prod/koji/app01"), "{in_use}");
    let due: Vec<_> = unwell(&store, at(20)).into_iter().map(|finding| finding.hint.unwrap()).collect();
    assert_eq!(due, ["ca renew --due", "ca renew --due"]);
    assert_eq!(renew_due(&mut store, at(21)), 2, "and not that of wiki");
    assert_eq!(renew_due(&mut store, at(21)), 0);
    let early = store.retire(retire(Level::Issuing), at(22)).unwrap_err();
    assert!(matches!(early, AuthorityStoreError::TooEarly { .. }), "{early}");
    let without = store.retire(retire(Level::Issuing), at(30)).unwrap_err();
    assert!(matches!(without, AuthorityStoreError::KeyAway { .. }), "{without}");
    fs::rename(&away, &key).unwrap();
    let old_list = store.read_crl(id(Level::Issuing, 1)).unwrap();
    let retired = store.retire(retire(Level::Issuing), at(30)).unwrap();
    assert_eq!(retired.authorities, [id(Level::Issuing, 1)]);
    assert_eq!((retired.revoked.len(), retired.is_refused), (2, Some(true)));
    assert_eq!(retired.lists[0].entries, 1);

    let consumer = store.trust_store().unwrap();
    assert_eq!(verdict(&consumer, &new, &[], 30), None);
    assert_eq!(verdict(&consumer, &old, &[], 30), Some(ReasonCode::CertificateUnknownIssuer));
    // A consumer that keeps its old files, and has nothing new but the root's list.
    let (root, issuing) = (&store.generations()[0].certificate, &store.generations()[1].certificate);
    let left_behind = consumer_of(root, [store.read_crl(Level::Root).unwrap(), old_list]);
    let sent = [issuing.clone()];
    assert_eq!(verdict(&left_behind, &old, &sent, 30), Some(ReasonCode::IssuerRevoked), "by the root");
    let renewed = Credentials::load(&store.services(), "bodhi", "app01").unwrap();
    assert_eq!(verdict(&consumer, renewed.certificate(), &[], 30), None);
    assert_eq!(store.read_certificates(Level::Issuing).unwrap().len(), 1);
    // What is left to do is to destroy the key.
    let left = unwell(&store, at(31));
    assert!(left[0].hint.as_ref().unwrap().starts_with("shred -u "), "{left:?}");
    fs::remove_file(&retired.keys[0]).unwrap();
    assert_eq!(unwell(&store, at(31)), []);
    store.verify_log(None).unwrap().unwrap();
    let refused =
        store.revoke(&Target::Certificate(old.der().to_vec()), RevocationReason::KeyCompromise, None, at(32));
    assert!(matches!(refused, Err(AuthorityStoreError::WrongStage { found: Stage::Retired, .. })));
    // Of a service that has another by now, that one is listed, and the old one's key is marked with it.
    let target = Target::Name("bodhi-app01".to_owned());
    let listed = store.revoke(&target, RevocationReason::KeyCompromise, None, at(32)).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].entry.der, renewed.certificate().der()[..]);
    assert!(store.index.compromised(&HashSet::from([old.spki_der()])).unwrap().is_some());
    store.verify_log(None).unwrap().unwrap();
}

#[test]
fn a_root_gives_way_to_another_and_vouches_for_what_is_below_it() {
    let (_temp, mut store) = world(false);
    let old = issue(&mut store, "bodhi", at(0)).issued.certificate().clone();
    let with_old_root_only = store.trust_store().unwrap();
    let prepared = store.prepare(prepare(Level::Root), at(2)).unwrap();
    let made: Vec<String> = prepared.made.iter().map(|status| status.known.id.to_string()).collect();
    assert_eq!(made, ["root-2", "issuing-2"]);
    let with_root = store.activate(Level::Issuing, at(8)).unwrap_err();
    assert!(matches!(with_root, AuthorityStoreError::WithRoot { .. }), "{with_root}");
    // Its key is not needed from here on.
    fs::rename(store.key_path(id(Level::Root, 2)), store.directory().join("elsewhere")).unwrap();
    let active = store.activate(Level::Root, at(8)).unwrap();
    assert_eq!(active, [id(Level::Root, 2), id(Level::Issuing, 2)]);

    let new = issue(&mut store, "wiki", at(9));
    let sent = Credentials::load(&store.services(), "wiki", "app01").unwrap().intermediates().to_vec();
    assert_eq!(sent.len(), 2, "the intermediate by its own root, and by the old one");
    let new = new.issued.certificate().clone();
    let both = store.trust_store().unwrap();
    for leaf in [&old, &new] {
        assert_eq!(verdict(&both, leaf, &[], 9), None);
    }
    // The new intermediate's list is all that a consumer of the old root lacks.
    assert_eq!(verdict(&with_old_root_only, &new, &sent, 9), Some(ReasonCode::CrlMissing));
    let lists = store.trusted().map(|known| store.read_crl(known.id).unwrap());
    let old_root_new_lists = consumer_of(&store.generations()[0].certificate, lists);
    assert_eq!(verdict(&old_root_new_lists, &new, &sent, 9), None, "the old root vouches for it");
    assert_eq!(verdict(&old_root_new_lists, &new, &sent[..1], 9), Some(ReasonCode::CertificateUnknownIssuer));

    assert_eq!(renew_due(&mut store, at(10)), 1);
    let retired = store.retire(retire(Level::Root), at(20)).unwrap();
    assert_eq!(retired.authorities, [id(Level::Root, 1), id(Level::Issuing, 1)]);
    assert_eq!(retired.is_refused, Some(true));
    let consumer = store.trust_store().unwrap();
    assert_eq!(verdict(&consumer, &new, &sent, 20), None);
    assert_eq!(verdict(&consumer, &old, &[], 20), Some(ReasonCode::CertificateUnknownIssuer));
    for level in [Level::Root, Level::Issuing] {
        assert_eq!(store.read_certificates(level).unwrap(), [store.certificate(level).unwrap().clone()]);
        assert_eq!(fs::read_to_string(store.crl_path(level)).unwrap().matches("BEGIN").count(), 1);
    }
    assert_eq!(issue(&mut store, "koji", at(21)).issued.to_pem(&[]).matches("BEGIN").count(), 1);
    let koji = Credentials::load(&store.services(), "koji", "app01").unwrap();
    assert_eq!(koji.intermediates().len(), 1, "the old root vouches for nobody any more");
    store.verify_log(None).unwrap().unwrap();
}

#[test]
fn what_was_prepared_can_be_dropped_and_who_does_not_move_can_be_revoked() {
    let (_temp, mut store) = world(true);
    let single = store.prepare(prepare(Level::Issuing), at(0)).unwrap_err();
    assert!(matches!(single, AuthorityStoreError::Single), "{single}");
    let old = issue(&mut store, "bodhi", at(0)).issued.certificate().clone();
    store.prepare(prepare(Level::Root), at(1)).unwrap();
    let drop = RetireRequest { generation: Some(2), ..retire(Level::Root) };
    assert_eq!(
        store.retire(drop, at(1)).unwrap().is_refused,
        Some(true),
        "a probe of its was accepted before"
    );
    store.prepare(prepare(Level::Root), at(2)).unwrap();
    store.activate(Level::Root, at(10)).unwrap();
    let (refused, revoke) = (retire(Level::Root), RetireRequest { revoke: true, ..retire(Level::Root) });
    assert!(matches!(store.retire(refused, at(20)), Err(AuthorityStoreError::InUse { .. })));
    let retired = store.retire(revoke, at(20)).unwrap();
    assert_eq!(retired.revoked[0].der, old.der()[..]);
    let expected = [("root", Stage::Retired), ("root-2", Stage::Retired), ("root-3", Stage::Active)];
    assert_eq!(stages(&store), expected.map(|(name, stage)| (name.to_owned(), stage)));
    let entry = &store.find(&Target::Certificate(old.der().to_vec()), at(20)).unwrap()[0];
    assert_eq!(entry.revocation.unwrap().reason, RevocationReason::Superseded);
    assert!(store.renewals(None, at(21)).unwrap().due.is_empty(), "what was revoked is not renewed");
    store.verify_log(None).unwrap().unwrap();
}

/// As [`AuthorityStore::open`]s of another process see it, after this one died.
fn reopened(store: &AuthorityStore) -> AuthorityStore {
    AuthorityStore::open(store.directory(), Profiles::built_in().unwrap()).unwrap()
}

#[test]
fn a_step_that_was_killed_is_undone_or_finished_by_the_next_command() {
    let (_temp, mut store) = world(false);
    issue(&mut store, "bodhi", at(0));
    let whole = |store: &AuthorityStore| {
        for level in store.levels() {
            assert_eq!(store.read_certificates(level).unwrap(), store.certificates(level));
        }
        for known in store.trusted() {
            assert!(!store.is_crl_due(known.id, at(10)).unwrap(), "{}", known.id);
        }
        store.verify_log(None).unwrap().unwrap();
    };
    // Killed when the key was written and nothing was entered: it is nobody's.
    let second = id(Level::Issuing, 2);
    let key = store.key_path(second);
    store.index.note_key(second, &key).unwrap();
    files::write_private(&key, generate(KeyKind::P256).unwrap().to_pem().as_bytes()).unwrap();
    let mut store = reopened(&store);
    let key_removed = Repair::FileRemoved { path: std::path::absolute(&key).unwrap() };
    assert_eq!(store.recover(at(1)).unwrap(), [key_removed]);
    assert!(!key.exists());
    whole(&store);

    // Killed when it was entered, before any file.
    let signer = store.signer(Level::Root, at(2)).unwrap();
    let made = store.new_issuing(&signer, id(Level::Root, 1), None, at(2)).unwrap();
    store.index.note_key(second, &key).unwrap();
    files::write_private(&key, made.key.to_pem().as_bytes()).unwrap();
    store.index.add_generations(&[made.known], at(2)).unwrap();
    let mut store = reopened(&store);
    let repairs = store.recover(at(3)).unwrap();
    let [Repair::ListWritten(list), Repair::LevelWritten { path }] = &repairs[..] else {
        panic!("{repairs:?}")
    };
    assert_eq!((list.signer, path), (second, &store.certificate_path(Level::Issuing)));
    assert!(key.exists());
    whole(&store);

    // Killed when the other one issues and the files have the old order.
    let steps = [(id(Level::Issuing, 1), Stage::Retiring), (second, Stage::Active)];
    store.index.move_on(&steps.map(|(id, stage)| Step { id, stage }), at(4)).unwrap();
    let mut store = reopened(&store);
    let written = Repair::LevelWritten { path: store.certificate_path(Level::Issuing) };
    assert_eq!(store.recover(at(5)).unwrap(), std::slice::from_ref(&written));
    whole(&store);
    assert_eq!(issue(&mut store, "wiki", at(6)).issued.certificate().issuer(), {
        store.certificate(second).unwrap().subject()
    });

    // Killed when it was retired, and is still in every file.
    let first = store.generations()[1].clone();
    let entries = store.certificates_of(&first).unwrap();
    let revocation = EntryRevocation { at: at(7), reason: RevocationReason::Superseded, invalid_since: None };
    let retired = Step { id: first.id, stage: Stage::Retired };
    store.index.retire(&entries, revocation, &[retired], &[]).unwrap();
    let mut store = reopened(&store);
    let repairs = store.recover(at(8)).unwrap();
    assert!(
        matches!(&repairs[..], [Repair::ListWritten(list), files] if list.entries == 1 && *files == written)
    );
    assert_eq!(store.recover(at(8)).unwrap(), []);
    whole(&store);
}

#[test]
fn a_directory_from_before_there_were_generations_is_taken_over() {
    let (_temp, mut store) = world(false);
    let bodhi = issue(&mut store, "bodhi", at(0));
    store.revoke(&Target::Serial(bodhi.serial), RevocationReason::Superseded, None, at(1)).unwrap();
    let before = (store.entries().unwrap(), stages(&store));
    let directory = store.directory().to_owned();
    drop(store);
    // The tables of version 2, with what is in those of version 3.
    let database = rusqlite::Connection::open(directory.join(INDEX)).unwrap();
    let statements = "
        PRAGMA foreign_keys = OFF;
        CREATE TABLE a (level TEXT PRIMARY KEY CHECK (level IN ('root', 'issuing')), certificate BLOB NOT NULL,
                        crl_number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO a SELECT level, certificate, crl_number FROM authority;
        CREATE TABLE c (issuer TEXT NOT NULL REFERENCES authority (level), serial BLOB NOT NULL, name TEXT NOT NULL,
                        identity TEXT, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
                        issued_at INTEGER NOT NULL, der BLOB NOT NULL, revoked_at INTEGER, reason TEXT,
                        invalid_since INTEGER, PRIMARY KEY (issuer, serial)) STRICT, WITHOUT ROWID;
        INSERT INTO c SELECT issuer, serial, name, identity, not_before, not_after, issued_at, der, revoked_at,
                             reason, invalid_since FROM certificate;
        CREATE TABLE u (number INTEGER PRIMARY KEY, issuer TEXT NOT NULL REFERENCES authority (level), serial BLOB,
                        certificate_path BLOB, key_path BLOB, crl_number INTEGER) STRICT;
        INSERT INTO u (issuer, crl_number) VALUES ('issuing', 3);
        DROP TABLE unfinished; DROP TABLE certificate; DROP TABLE authority;
        ALTER TABLE a RENAME TO authority; ALTER TABLE c RENAME TO certificate; ALTER TABLE u RENAME TO unfinished;
        CREATE INDEX certificate_name ON certificate (name);
        CREATE INDEX certificate_serial ON certificate (serial);
        CREATE INDEX certificate_revoked ON certificate (issuer, revoked_at) WHERE revoked_at IS NOT NULL;
        UPDATE authority SET crl_number = 3 WHERE level = 'issuing';
        PRAGMA user_version = 2;";
    database.execute_batch(statements).unwrap();
    drop(database);
    let mut store = AuthorityStore::open(&directory, Profiles::built_in().unwrap()).unwrap();
    assert_eq!((store.entries().unwrap(), stages(&store)), before);
    let repairs = store.recover(at(2)).unwrap();
    assert!(matches!(&repairs[..], [Repair::ListWritten(list)] if list.number == 4 && list.entries == 1));
    assert_eq!(unwell(&store, at(3)), []);
    store.prepare(prepare(Level::Issuing), at(4)).unwrap();
}
