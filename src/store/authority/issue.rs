//! Issuing a key and a certificate together.

use super::error::AuthorityStoreError;
use super::index::NewEntry;
use super::{AuthorityStore, State};
use crate::identity::{Identity, SpiffeId};
use crate::pki::authority::{Authority, AuthorityError, Issued};
use crate::pki::certificate::IdentityRule;
use crate::pki::key::{KeyKind, PrivateKey};
use crate::pki::pem;
use crate::pki::profile::{Approved, ProfileName};
use crate::pki::serial::Serial;
use crate::store::credentials;
use crate::store::files;
use crate::time::Timestamp;
use std::path::{Path, PathBuf};

/// What to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// The environment: `dev`, `stg`, `prod`.
    pub env: String,
    /// The service.
    pub service: String,
    /// The host.
    pub host: String,
    /// The profile by which it is issued.
    pub profile: ProfileName,
    /// How many days it is to live; the profile says otherwise.
    pub days: Option<u32>,
    /// The kind of its key; the profile says otherwise.
    pub key_kind: Option<KeyKind>,
    /// Where its files go; `services` otherwise.
    pub directory: Option<PathBuf>,
    /// Whether files of the same identity that are still good may be replaced.
    pub replace: bool,
}

/// What was issued, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedService {
    /// The certificate.
    pub issued: Issued,
    /// Its serial number.
    pub serial: Serial,
    /// The certificate's file, its issuers in it.
    pub certificate_path: PathBuf,
    /// The key's file.
    pub key_path: PathBuf,
    /// The kind of its key.
    pub key_kind: KeyKind,
    /// Whether its life was cut short by its issuer's.
    pub is_cut: bool,
    /// The certificate that was replaced, if it is still good.
    pub replaced: Option<Serial>,
}

/// What can be said of one before there is a key for it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) identity: SpiffeId,
    pub(super) profile: ProfileName,
    pub(super) days: Option<u32>,
    pub(super) key_kind: KeyKind,
    pub(super) certificate_path: PathBuf,
    pub(super) key_path: PathBuf,
    replaced: Option<Serial>,
}

impl Planned {
    pub(super) fn issued(self, issued: Issued, serial: Serial, is_cut: bool) -> IssuedService {
        let Self { key_kind, certificate_path, key_path, replaced, .. } = self;
        IssuedService { issued, serial, certificate_path, key_path, key_kind, is_cut, replaced }
    }
}

impl AuthorityStore {
    /// Issues a certificate and a key to a service, and writes both.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Occupied`] if there are files that this may not replace; [`AuthorityStoreError::Refused`] if
    /// the profile does not allow it; and whatever issuing and writing meet.
    pub fn issue(
        &mut self,
        request: &IssueRequest,
        now: Timestamp,
    ) -> Result<IssuedService, AuthorityStoreError> {
        let _lock = self.lock()?;
        let planned = self.plan(request, now)?;
        let key = PrivateKey::generate(planned.key_kind).map_err(AuthorityError::from)?;
        let approved =
            self.profiles.approve(planned.profile, &planned.identity, key.public_spki(), planned.days)?;
        let (issued, serial, is_cut) =
            self.write_pair(&approved, &key, &planned.certificate_path, &planned.key_path, now)?;
        Ok(planned.issued(issued, serial, is_cut))
    }

    /// Whom it will name and where it will be, if nothing stands in its way there. The lock is held by the caller.
    pub(super) fn plan(
        &self,
        request: &IssueRequest,
        now: Timestamp,
    ) -> Result<Planned, AuthorityStoreError> {
        let key_kind = self.profiles.leaf(request.profile).key_kind(request.key_kind)?;
        let identity = SpiffeId::new(&self.trust_domain, &request.env, &request.service, &request.host)
            .map_err(AuthorityError::from)?;
        let directory = request.directory.clone().unwrap_or_else(|| self.services());
        if request.directory.is_none() {
            files::create_private_dir(&directory)?;
        }
        let (certificate_path, key_path) =
            credentials::paths(&directory, identity.service(), identity.host());
        let replaced = self.check_free(&certificate_path, &key_path, &identity, request.replace, now)?;
        let (profile, days) = (request.profile, request.days);
        Ok(Planned { identity, profile, days, key_kind, certificate_path, key_path, replaced })
    }

    /// Issues what was approved for a key that is here, and puts the pair in the place of the one that may be there. Gives
    /// the certificate, its serial number, and whether its life was cut short. The lock is held by the caller.
    pub(super) fn write_pair(
        &self,
        approved: &Approved,
        key: &PrivateKey,
        certificate_path: &Path,
        key_path: &Path,
        now: Timestamp,
    ) -> Result<(Issued, Serial, bool), AuthorityStoreError> {
        let (issued, serial) = self.enter(approved, None, Some((certificate_path, key_path)), now)?;
        let is_cut = issued.certificate().not_after() < now.plus(approved.lifetime());
        let issuer = self.active(self.issues());
        let chain = issued.to_pem(&self.sent_chain(issuer));
        credentials::replace(certificate_path, key_path, &chain, key)?;
        self.index.files_written(issuer, &[&serial])?;
        Ok((issued, serial, is_cut))
    }

    /// Issues what was approved, and enters it. `request` is the SHA-256 of the request, `files` where a pair will be.
    pub(super) fn enter(
        &self,
        approved: &Approved,
        request: Option<[u8; 32]>,
        files: Option<(&Path, &Path)>,
        now: Timestamp,
    ) -> Result<(Issued, Serial), AuthorityStoreError> {
        self.check_not_compromised([approved])?;
        let (issuer, signer) = self.ready_to_issue(now)?;
        let issued = sign(&signer, approved, now)?;
        let certificate = issued.certificate();
        let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
        let identity = Some(approved.identity());
        self.index.add(&[NewEntry { issuer, certificate, identity, issued_at: now, request, files }])?;
        Ok((issued, serial))
    }

    /// A key that somebody else has is nobody's any more: no certificate is issued for it again.
    pub(super) fn check_not_compromised<'a>(
        &self,
        approved: impl IntoIterator<Item = &'a Approved>,
    ) -> Result<(), AuthorityStoreError> {
        let keys = approved.into_iter().map(Approved::spki).collect();
        match self.index.compromised(&keys)? {
            None => Ok(()),
            Some(serial) => Err(AuthorityStoreError::KeyCompromised { serial }),
        }
    }

    /// Whether the files may be written. Gives the serial number of a certificate that is replaced while it is still good.
    pub(super) fn check_free(
        &self,
        certificate_path: &Path,
        key_path: &Path,
        identity: &SpiffeId,
        replace: bool,
        now: Timestamp,
    ) -> Result<Option<Serial>, AuthorityStoreError> {
        let occupied = |path: &Path, detail: String, replaceable| {
            Err(AuthorityStoreError::Occupied { path: path.to_owned(), detail, replaceable })
        };
        let text = match files::read(certificate_path) {
            Ok(text) => text,
            Err(error) if !error.is_missing() => return Err(error.into()),
            Err(_) if replace || !key_path.exists() => return Ok(None),
            Err(_) => return occupied(key_path, "a key without a certificate".to_owned(), true),
        };
        let Some(certificate) = pem::certificates(&text).ok().and_then(|chain| chain.into_iter().next())
        else {
            return occupied(certificate_path, "and is no certificate".to_owned(), false);
        };
        match certificate.identity(IdentityRule::SpiffeUri) {
            Ok(Identity::Spiffe(found)) if found == *identity => {}
            Ok(other) => return occupied(certificate_path, format!("a certificate of {other}"), false),
            Err(fault) => return occupied(certificate_path, fault.to_string(), false),
        }
        let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
        let entries = self.index.by_serial(&serial)?;
        let entry = entries.iter().find(|entry| entry.der == certificate.der()[..]);
        let is_over = entry.is_some_and(|entry| matches!(entry.state(now), State::Expired | State::Revoked));
        match (is_over, replace) {
            (true, _) => Ok(None),
            (false, true) => Ok(entry.map(|_| serial)),
            (false, false) => {
                occupied(certificate_path, format!("valid until {}", certificate.not_after()), true)
            }
        }
    }
}

/// Issues what was approved, by the purposes of its profile.
pub(super) fn sign(
    authority: &Authority,
    approved: &Approved,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    let (identity, spki, lifetime) = (approved.identity(), approved.spki(), approved.lifetime());
    match approved.profile() {
        ProfileName::Operator => authority.issue_operator(identity, spki, lifetime, now),
        ProfileName::Archive | ProfileName::Gateway | ProfileName::Service => {
            authority.issue(identity, spki, lifetime, now)
        }
    }
}
