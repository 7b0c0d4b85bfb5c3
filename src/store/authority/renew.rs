//! Renewal: the same identity, before the certificate ends.

use super::error::AuthorityStoreError;
use super::{AuthorityStore, Entry, IssuedService, State};
use crate::identity::SpiffeId;
use crate::pki::algorithm::Algorithm;
use crate::pki::authority::AuthorityError;
use crate::pki::certificate::Certificate;
use crate::pki::key::{KeyKind, PrivateKey};
use crate::pki::profile::ProfileName;
use crate::pki::serial::Serial;
use crate::store::credentials::Credentials;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to renew, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewRequest {
    /// `SERVICE-HOST`: how its files are called.
    pub name: String,
    /// Where its files are; `services` otherwise.
    pub directory: Option<PathBuf>,
    /// The profile; otherwise the first that allows the identity.
    pub profile: Option<ProfileName>,
    /// How many days the new certificate is to live; the profile says otherwise.
    pub days: Option<u32>,
    /// The kind of the new key; that of the old one, if the profile allows it.
    pub key_kind: Option<KeyKind>,
    /// Whether the new certificate is for the key that is there.
    pub keep_key: bool,
    /// Whether it is renewed before two thirds of its life have passed.
    pub force: bool,
}

/// The pairs in a directory, by what a renewal would do with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewals {
    /// `SERVICE-HOST` of those of whose life two thirds have passed, of those that have expired, and of those whose issuer is
    /// being retired.
    pub due: Vec<String>,
    /// The first moment at which another one is due.
    pub next: Option<Timestamp>,
    /// Those that are due and whose keys are not in the directory: only a request renews them.
    pub elsewhere: Vec<SpiffeId>,
}

impl AuthorityStore {
    /// Renews a pair that this authority issued: a new certificate for the same identity, and a new key unless the old one is
    /// to be kept. A reader finds the old pair or the new one, at any moment.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Credentials`] if there is no such pair; [`AuthorityStoreError::NotIssued`] if it is not from
    /// here; [`AuthorityStoreError::Revoked`] if it was revoked; [`AuthorityStoreError::NotDue`] unless it is forced; and
    /// whatever issuing and writing meet.
    pub fn renew(
        &mut self,
        request: &RenewRequest,
        now: Timestamp,
    ) -> Result<IssuedService, AuthorityStoreError> {
        let _lock = self.lock()?;
        let directory = request.directory.clone().unwrap_or_else(|| self.services());
        let path = |extension| directory.join(format!("{}.{extension}", request.name));
        let (certificate_path, key_path) = (path("crt"), path("key"));
        let old = Credentials::load_files(&certificate_path, &key_path)?;
        let (entry, identity) = self.issued_here(old.certificate())?;
        let state = entry.state(now);
        if let Some(revocation) = entry.revocation {
            let (at, reason) = (revocation.at, revocation.reason);
            return Err(AuthorityStoreError::Revoked { path: certificate_path, at, reason });
        }
        if state == State::Valid && !request.force && !self.is_retiring(entry.issuer) {
            let from = due_from(&entry);
            return Err(AuthorityStoreError::NotDue { path: certificate_path, from, until: entry.not_after });
        }
        let name = request
            .profile
            .or_else(|| self.profiles.leaf_for(&identity).map(|profile| profile.name))
            .unwrap_or(ProfileName::Service);
        let profile = self.profiles.leaf(name);
        let same = kind_of(old.key()).filter(|kind| profile.key_kinds.contains(kind));
        let key_kind = match (request.keep_key, kind_of(old.key())) {
            (true, Some(kind)) => kind,
            (_, _) => profile.key_kind(request.key_kind.or(same))?,
        };
        let key = if request.keep_key {
            old.into_parts().0
        } else {
            PrivateKey::generate(key_kind).map_err(AuthorityError::from)?
        };
        let approved = self.profiles.approve(name, &identity, key.public_spki(), request.days)?;
        let (issued, serial, is_cut) = self.write_pair(&approved, &key, &certificate_path, &key_path, now)?;
        let replaced = (state != State::Expired).then_some(entry.serial);
        Ok(IssuedService { serial, issued, certificate_path, key_path, key_kind, is_cut, replaced })
    }

    /// What is due in a directory, `services` if none is named. A pair that is not from here, or was revoked, is not in it.
    ///
    /// # Errors
    /// [`AuthorityStoreError`], if the directory or the index cannot be read, or a pair in it does not belong together.
    pub fn renewals(
        &self,
        directory: Option<&Path>,
        now: Timestamp,
    ) -> Result<Renewals, AuthorityStoreError> {
        let directory = directory.map_or_else(|| self.services(), Path::to_owned);
        let mut renewals = Renewals::default();
        let mut here = Vec::new();
        for name in Credentials::available(&directory)? {
            let path = |extension| directory.join(format!("{name}.{extension}"));
            let found = Credentials::load_files(&path("crt"), &path("key"))?;
            let (entry, identity) = match self.issued_here(found.certificate()) {
                Ok(found) => found,
                Err(AuthorityStoreError::NotIssued { .. }) => continue,
                Err(error) => return Err(error),
            };
            here.push(identity);
            match entry.state(now) {
                State::Expiring | State::Expired => renewals.due.push(name),
                State::Valid if self.is_retiring(entry.issuer) => renewals.due.push(name),
                State::Valid => {
                    let from = due_from(&entry);
                    renewals.next = Some(renewals.next.map_or(from, |next| next.min(from)));
                }
                State::Revoked => {}
            }
        }
        // The newest certificate of each identity is the one that counts; one that ended is of a service that is no more.
        let mut newest: BTreeMap<SpiffeId, Entry> = BTreeMap::new();
        for entry in self.index.entries()? {
            let Some(identity) = entry.identity.clone().filter(|_| entry.revocation.is_none()) else {
                continue;
            };
            if newest.get(&identity).is_none_or(|other| other.issued_at <= entry.issued_at) {
                newest.insert(identity, entry);
            }
        }
        let is_due = |entry: &Entry| match entry.state(now) {
            State::Expiring => true,
            State::Valid => self.is_retiring(entry.issuer),
            State::Expired | State::Revoked => false,
        };
        newest.retain(|identity, entry| is_due(entry) && !here.contains(identity));
        renewals.elsewhere = newest.into_keys().collect();
        Ok(renewals)
    }

    /// The index's entry of a certificate, and whom it names.
    fn issued_here(&self, certificate: &Certificate) -> Result<(Entry, SpiffeId), AuthorityStoreError> {
        let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
        let entries = self.index.by_serial(&serial)?;
        let entry = entries.into_iter().find(|entry| entry.der == certificate.der()[..]);
        let found = entry.and_then(|entry| entry.identity.clone().map(|identity| (entry, identity)));
        found.ok_or_else(|| AuthorityStoreError::NotIssued {
            found: format!("{} with serial number {serial}", certificate.subject()),
        })
    }
}

/// When two thirds of a certificate's life have passed.
fn due_from(entry: &Entry) -> Timestamp {
    Timestamp::two_thirds_of(entry.not_before, entry.not_after)
}

/// The kind of a key, if it is one that is made here.
fn kind_of(key: &PrivateKey) -> Option<KeyKind> {
    match key.algorithm() {
        Algorithm::EcdsaP256Sha256 => Some(KeyKind::P256),
        Algorithm::Ed25519 => Some(KeyKind::Ed25519),
        Algorithm::RsaPkcs1Sha256 | Algorithm::RsaPssSha256 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::RevocationReason;
    use crate::pki::profile::Profiles;
    use crate::store::authority::{IssueRequest, KeyProtection, Target};

    fn days(count: i64) -> Timestamp {
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        start.plus_seconds(count * 86_400)
    }

    fn world() -> (tempfile::TempDir, AuthorityStore) {
        let temp = tempfile::tempdir().unwrap();
        let (directory, profiles) = (temp.path().join("pki"), Profiles::built_in().unwrap());
        let store = AuthorityStore::create(
            &directory,
            "a.example",
            false,
            profiles,
            &KeyProtection::Unencrypted,
            days(0),
        )
        .unwrap();
        (temp, store)
    }

    fn issue(
        store: &mut AuthorityStore,
        service: &str,
        profile: ProfileName,
        at: Timestamp,
    ) -> IssuedService {
        let request = IssueRequest {
            env: "prod".to_owned(),
            service: service.to_owned(),
            host: "app01".to_owned(),
            profile,
            days: None,
            key_kind: Some(KeyKind::Ed25519),
            directory: None,
            replace: false,
        };
        store.issue(&request, at).unwrap()
    }

    fn request(name: &str) -> RenewRequest {
        RenewRequest {
            name: name.to_owned(),
            directory: None,
            profile: None,
            days: None,
            key_kind: None,
            keep_key: false,
            force: false,
        }
    }

    #[test]
    fn a_renewal_keeps_the_identity_and_changes_the_key() {
        let (_temp, mut store) = world();
        let first = issue(&mut store, "bodhi", ProfileName::Service, days(0));
        let early = store.renew(&request("bodhi-app01"), days(59)).unwrap_err();
        assert!(matches!(early, AuthorityStoreError::NotDue { .. }), "{early}");

        let second = store.renew(&request("bodhi-app01"), days(61)).unwrap();
        assert_eq!(second.issued.identity(), first.issued.identity());
        assert_eq!((second.key_kind, second.replaced.as_ref()), (KeyKind::Ed25519, Some(&first.serial)));
        let spki = |issued: &IssuedService| issued.issued.certificate().spki_der().to_vec();
        assert_ne!(spki(&second), spki(&first));
        let loaded = Credentials::load(&store.services(), "bodhi", "app01").unwrap();
        assert_eq!(loaded.certificate(), second.issued.certificate());

        let kept = RenewRequest { keep_key: true, force: true, ..request("bodhi-app01") };
        let third = store.renew(&kept, days(61)).unwrap();
        assert_eq!(spki(&third), spki(&second));
        let other = RenewRequest { key_kind: Some(KeyKind::P256), force: true, ..request("bodhi-app01") };
        assert_eq!(store.renew(&other, days(61)).unwrap().key_kind, KeyKind::P256);

        let all = Target::Name("bodhi-app01".to_owned());
        store.revoke(&all, RevocationReason::KeyCompromise, None, days(62)).unwrap();
        let revoked = store.renew(&RenewRequest { force: true, ..request("bodhi-app01") }, days(62));
        assert!(matches!(revoked, Err(AuthorityStoreError::Revoked { .. })), "{revoked:?}");
        let missing = store.renew(&request("koji-app01"), days(62)).unwrap_err();
        assert!(matches!(missing, AuthorityStoreError::Credentials(_)), "{missing}");
    }

    #[test]
    fn what_is_due_is_found_and_renewed_by_the_profile_that_fits() {
        let (temp, mut store) = world();
        issue(&mut store, "bodhi", ProfileName::Service, days(0));
        issue(&mut store, "gateway", ProfileName::Gateway, days(0));
        // Its key is taken to another host.
        let away = issue(&mut store, "koji", ProfileName::Service, days(1));
        std::fs::remove_file(&away.key_path).unwrap();

        let at = |store: &AuthorityStore, day| store.renewals(None, days(day)).unwrap();
        let quiet = at(&store, 10);
        assert_eq!((quiet.due.len(), quiet.elsewhere.len()), (0, 0));
        let gateway_due = days(20).plus_seconds(-20);
        assert_eq!(quiet.next, Some(gateway_due));
        assert_eq!(at(&store, 21).due, ["gateway-app01"]);
        let all = at(&store, 62);
        assert_eq!(all.due, ["bodhi-app01", "gateway-app01"]);
        assert_eq!(all.elsewhere, [away.issued.identity().clone()]);
        for name in all.due {
            store.renew(&request(&name), days(62)).unwrap();
        }
        assert!(at(&store, 62).due.is_empty());
        let gateway = Credentials::load(&store.services(), "gateway", "app01").unwrap();
        assert_eq!(gateway.certificate().not_after(), days(62 + 30), "by its own profile");

        // A pair of another authority is not this one's to renew.
        let (_other, mut stranger) = world();
        issue(&mut stranger, "wiki", ProfileName::Service, days(0));
        for extension in ["crt", "key"] {
            let name = format!("wiki-app01.{extension}");
            std::fs::copy(stranger.services().join(&name), store.services().join(&name)).unwrap();
        }
        assert!(at(&store, 80).due.is_empty());
        let refused = store.renew(&request("wiki-app01"), days(80)).unwrap_err();
        assert!(matches!(refused, AuthorityStoreError::NotIssued { .. }), "{refused}");
        drop(temp);
    }
}
