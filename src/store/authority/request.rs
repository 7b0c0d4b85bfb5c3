//! Signing requests: a certificate for a key that is on another host.

use super::AuthorityStore;
use super::error::AuthorityStoreError;
use crate::identity::SpiffeId;
use crate::pki::authority::Issued;
use crate::pki::profile::ProfileName;
use crate::pki::request::Request;
use crate::pki::serial::Serial;
use crate::store::files;
use crate::time::Timestamp;
use std::path::{Path, PathBuf};

/// A request that is to be signed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// The request's file.
    pub path: PathBuf,
    /// The profile by which it is judged.
    pub profile: ProfileName,
    /// How many days the certificate is to live; the profile says otherwise.
    pub days: Option<u32>,
    /// Whom the request must name, if that was said.
    pub expected: Option<SpiffeId>,
    /// The certificate's file; the request's with `.crt` otherwise.
    pub certificate_path: Option<PathBuf>,
    /// Whether a certificate of the same identity that is still good may be replaced.
    pub replace: bool,
}

/// A request that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The certificate.
    pub issued: Issued,
    /// Its serial number.
    pub serial: Serial,
    /// The certificate's file, its issuers in it.
    pub certificate_path: PathBuf,
    /// Whether its life was cut short by its issuer's.
    pub is_cut: bool,
    /// What the request asks for beyond that, and did not get.
    pub not_granted: Vec<String>,
    /// The certificate that was replaced, if it is still good.
    pub replaced: Option<Serial>,
}

impl AuthorityStore {
    /// Signs a request: its key and its identity are taken, everything else is decided by the profile.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Request`] if it is none, or its sender has not the key, or it asks for what nobody gets;
    /// [`AuthorityStoreError::Refused`] if the profile does not allow it; [`AuthorityStoreError::TrustDomain`] and
    /// [`AuthorityStoreError::OtherIdentity`] if it is not for here; and whatever issuing and writing meet.
    pub fn sign(
        &mut self,
        wanted: &SignRequest,
        now: Timestamp,
    ) -> Result<SignedRequest, AuthorityStoreError> {
        let path = wanted.path.clone();
        let request = Request::from_pem(&files::read(&path)?)
            .map_err(|cause| AuthorityStoreError::Request { path: path.clone(), cause })?;
        let identity = request.identity();
        if let Some(expected) = wanted.expected.clone().filter(|expected| expected != identity) {
            return Err(AuthorityStoreError::OtherIdentity { path, found: identity.clone(), expected });
        }
        if identity.trust_domain() != self.trust_domain {
            let (identity, expected) = (identity.clone(), self.trust_domain.clone());
            return Err(AuthorityStoreError::TrustDomain { identity, expected });
        }
        let approved = self.profiles.approve(wanted.profile, identity, request.spki(), wanted.days)?;
        let certificate_path = wanted.certificate_path.clone().unwrap_or_else(|| path.with_extension("crt"));
        let _lock = self.lock()?;
        // A key of that name beside it is no obstacle: it may well be the request's own.
        let replaced = self.check_free(&certificate_path, Path::new(""), identity, wanted.replace, now)?;
        let (issued, serial) = self.enter(&approved, Some(request.sha256()), None, now)?;
        let is_cut = issued.certificate().not_after() < now.plus(approved.lifetime());
        let chain = self.sent_chain(self.active(self.issues()));
        files::write(&certificate_path, issued.to_pem(&chain).as_bytes())?;
        let not_granted = request.not_granted().to_vec();
        Ok(SignedRequest { issued, serial, certificate_path, is_cut, not_granted, replaced })
    }
}
