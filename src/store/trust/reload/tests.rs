//! Lists that come, go, are half-written and go back, in an authority's own files.

use super::*;
use crate::config::Sources;
use crate::pki::authority::RevocationReason;
use crate::pki::chain::Purpose;
use crate::pki::profile::{ProfileName, Profiles};
use crate::reason::ReasonCode;
use crate::store::authority::{AuthorityStore, IssueRequest, KeyProtection, Level, Target};
use crate::store::trust::ReloadingVerifier;
use crate::time::{Clock, SystemClock};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

struct World {
    authority: AuthorityStore,
    leaf: Vec<u8>,
    reloader: TrustReloader,
    _home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (pki, profiles) = (home.path().join("pki"), Profiles::built_in().unwrap());
        let mut authority =
            AuthorityStore::create(&pki, "a.example", false, profiles, &KeyProtection::Unencrypted, now())
                .unwrap();
        let request = IssueRequest {
            env: "prod".to_owned(),
            service: "a".to_owned(),
            host: "b".to_owned(),
            days: None,
            profile: ProfileName::Service,
            key_kind: None,
            directory: None,
            replace: false,
        };
        let leaf = authority.issue(&request, now()).unwrap().issued.certificate().der().to_vec();
        let text = "[trust]\nanchors = [\"pki/root.crt\"]\nintermediates = [\"pki/issuing.crt\"]\n\
                    crls = [\"pki/root.crl\", \"pki/issuing.crl\"]\n";
        let config = Config::load(&Sources::built_in().text("trust.toml", home.path(), text)).unwrap();
        let reloader = TrustReloader::open(&config).unwrap();
        Self { authority, leaf, reloader, _home: home }
    }

    /// The verdict over the leaf, after another look at the files.
    fn look(&mut self) -> (Refresh, Option<ReasonCode>) {
        let refresh = self.reloader.refresh(now());
        let store = self.reloader.store().unwrap();
        let verdict = store.validate_cached(&self.leaf, &[], &Purpose::DocumentSigning, now());
        (refresh, verdict.err().map(|error| error.code()))
    }

    fn faults(&self) -> Vec<String> {
        self.reloader.faults().map(ToString::to_string).collect()
    }

    fn list(&self) -> std::path::PathBuf {
        self.authority.crl_path(Level::Issuing)
    }
}

/// As an editor or a copy does: the same file, step by step.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_new_list_is_taken_and_an_old_one_is_not() {
    let mut world = World::new();
    let list = world.list();
    let old = fs::read(&list).unwrap();
    assert_eq!(world.look(), (Refresh::Unchanged, None));
    let target = Target::Name("a-b".to_owned());
    world.authority.revoke(&target, RevocationReason::KeyCompromise, None, now()).unwrap();
    let new = fs::read(&list).unwrap();
    assert_eq!(world.look(), (Refresh::Replaced, Some(ReasonCode::CertificateRevoked)));
    assert_eq!(world.look(), (Refresh::Unchanged, Some(ReasonCode::CertificateRevoked)));

    // Back to the old one: by a restored backup, or by somebody who would like the certificate back.
    let refused = |world: &mut World, fault: &str| {
        assert_eq!(world.look(), (Refresh::Unchanged, Some(ReasonCode::CertificateRevoked)), "{fault}");
        let faults = world.faults();
        assert!(faults.len() == 1 && faults[0].contains(fault), "{fault}: {faults:?}");
        assert_eq!(world.look().0, Refresh::Unchanged);
        assert_eq!(world.faults(), faults, "it is said for as long as it is so");
    };
    overwrite(&list, &old);
    refused(&mut world, "list number 01 of 2026-11-24T11:59:00Z is older than list number 02");
    let other = fs::read(world.authority.crl_path(Level::Root)).unwrap();
    overwrite(&list, &new[..new.len() / 2]);
    refused(&mut world, "malformed PEM");
    overwrite(&list, b"");
    refused(&mut world, "no PEM block");
    fs::remove_file(&list).unwrap();
    refused(&mut world, "cannot read");
    // Another authority's list in its place says nothing of this one: refused for that, and not accepted.
    overwrite(&list, &other);
    assert_eq!(world.look(), (Refresh::Replaced, Some(ReasonCode::CrlMissing)));
    overwrite(&list, &old);
    assert_eq!(world.look(), (Refresh::Unchanged, Some(ReasonCode::CrlMissing)));
    overwrite(&list, &new);
    assert_eq!(world.look(), (Refresh::Replaced, Some(ReasonCode::CertificateRevoked)));
    assert_eq!(world.faults(), Vec::<String>::new());
}

#[test]
fn one_bad_file_does_not_keep_the_others_back() {
    let mut world = World::new();
    overwrite(&world.authority.crl_path(Level::Root), b"-----BEGIN X509 CRL-----\n");
    let target = Target::Name("a-b".to_owned());
    // Its own verdict needs all the lists; the one that matters is written before.
    assert!(world.authority.revoke(&target, RevocationReason::KeyCompromise, None, now()).is_err());
    assert_eq!(world.look(), (Refresh::Replaced, Some(ReasonCode::CertificateRevoked)));
    assert_eq!(world.faults().len(), 1);
    world.authority.rewrite_crl(Level::Root, None, now()).unwrap();
    assert_eq!(world.look().0, Refresh::Replaced);
    assert_eq!(world.faults(), Vec::<String>::new());
}

/// The thread that reads is held up in the middle of a list, by a pipe in its place; who verifies is not.
#[test]
fn nobody_waits_for_a_list_to_be_read() {
    let home = tempfile::tempdir().unwrap();
    let (pki, profiles, now) = (home.path().join("pki"), Profiles::built_in().unwrap(), SystemClock.now());
    let mut authority =
        AuthorityStore::create(&pki, "a.example", true, profiles, &KeyProtection::Unencrypted, now).unwrap();
    let text = "[trust]\nanchors = [\"pki/root.crt\"]\ncrls = [\"pki/root.crl\"]\n";
    let config = Config::load(&Sources::built_in().text("trust.toml", home.path(), text)).unwrap();
    let policy =
        crate::policy::Policy::parse("version = 1\nserial = 1\n", "p.toml", &Limits::STANDARD).unwrap();
    let watch = ReloadingVerifier::open(&config, std::sync::Arc::new(policy), Limits::STANDARD).unwrap();
    let first = watch.current();

    authority.rewrite_crl(Level::Root, None, now).unwrap();
    let list = authority.crl_path(Level::Root);
    let newer = fs::read(&list).unwrap();
    let pipe = home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(&pipe, &list).unwrap();
    watch.reload();
    // It opens once the thread is there to read it.
    let mut end = fs::OpenOptions::new().write(true).open(&list).unwrap();
    end.write_all(&newer[..newer.len() / 2]).unwrap();
    assert!(Arc::ptr_eq(&watch.current(), &first), "what was good before");
    end.write_all(&newer[newer.len() / 2..]).unwrap();
    drop(end);
    // There is a file again, or the next look would wait for somebody to write.
    authority.rewrite_crl(Level::Root, None, now).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while Arc::ptr_eq(&watch.current(), &first) {
        assert!(Instant::now() < deadline, "the new list is never taken");
        std::thread::yield_now();
    }
}

#[test]
fn an_older_list_of_a_legacy_authority_is_not_taken() {
    let home = tempfile::tempdir().unwrap();
    let d = home.path();
    let openssl = |arguments: &str| {
        let ended = Command::new("openssl").args(arguments.split(' ')).current_dir(d).output().unwrap();
        assert!(ended.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    let cnf = "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=sha1\ndefault_crl_days=30\n\
               [req]\ndistinguished_name=dn\n[dn]\n";
    fs::write(d.join("cnf"), cnf).unwrap();
    fs::write(d.join("index.txt"), "").unwrap();
    openssl(
        "req -x509 -config cnf -newkey rsa:1024 -nodes -sha1 -days 30 -subj /CN=ca -keyout ca.key -out ca.crt \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign,cRLSign",
    );
    let list = |name: &str, day: u32| {
        openssl(&format!(
            "ca -config cnf -cert ca.crt -keyfile ca.key -gencrl -crl_lastupdate 202611{day}000000Z \
             -crl_nextupdate 20261231000000Z -out {name}"
        ));
        fs::read(d.join(name)).unwrap()
    };
    let (older, newer) = (list("older", 10), list("newer", 20));
    let used = d.join("list.crl");
    overwrite(&used, &newer);
    let text = "[trust.legacy]\naccept = true\nca = \"ca.crt\"\nrevocation = \"crl\"\ncrl = \"list.crl\"\n";
    let config = Config::load(&Sources::built_in().text("trust.toml", d, text)).unwrap();
    let mut reloader = TrustReloader::open(&config).unwrap();
    assert_eq!(reloader.refresh(now()), Refresh::Unchanged);
    overwrite(&used, &older);
    for _ in 0..2 {
        assert_eq!(reloader.refresh(now()), Refresh::Unchanged);
        let faults: Vec<String> = reloader.faults().map(ToString::to_string).collect();
        let expected =
            "list of 2026-11-10T00:00:00Z is older than list of 2026-11-20T00:00:00Z, which was in use";
        assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
    }
    overwrite(&used, &list("newest", 21));
    assert_eq!(reloader.refresh(now()), Refresh::Replaced);
    assert_eq!(reloader.faults().count(), 0);
}
