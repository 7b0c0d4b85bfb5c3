//! Lists that come, go, are half-written and go back, in an authority's own files.

use super::*;
use crate::config::Sources;
use crate::pki::authority::RevocationReason;
use crate::pki::chain::Purpose;
use crate::pki::profile::{ProfileName, Profiles};
use crate::reason::ReasonCode;
use crate::store::authority::{AuthorityStore, IssueRequest, KeyProtection, Level, Target};
use std::fs;
use std::path::Path;

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
    refused(&mut world, "list number 01 of 2026-11-24T11:59:00Z is older than number 02");
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
