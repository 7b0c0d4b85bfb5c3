//! An authority in memory, for demos and for the tests of your own consumers.
//!
//! It is the real thing, hierarchy, revocation lists and all, but its keys live as long as the value: nothing of it is
//! on disk. `fedmsg init` makes one that stays.
//!
//! ```
//! use fedmsg::development::Development;
//! use fedmsg::time::{Clock, SystemClock};
//!
//! let now = SystemClock.now();
//! let development = Development::new("example.org", now)?;
//! let signer = development.signer("prod", "bodhi", "app01")?;
//! assert_eq!(signer.identity().to_string(), "spiffe://example.org/prod/bodhi/app01");
//! # Ok::<(), fedmsg::development::DevelopmentError>(())
//! ```

use crate::identity::{IdentityError, SpiffeId};
use crate::limits::Limits;
use crate::pki::authority::{Authority, AuthorityError, IssuedCrl, RevocationReason, Revoked};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{RevocationPolicy, TrustError, TrustStore};
use crate::pki::key::{KeyKind, PrivateKey, PrivateKeyError};
use crate::pki::profile::{ProfileError, Profiles};
use crate::pki::serial::{Serial, SerialError};
use crate::policy::signature::{PolicySignError, PolicySigner};
use crate::sign::{SignError, Signer};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A root, an issuing authority, and what they have revoked.
#[derive(Debug)]
pub struct Development {
    trust_domain: String,
    root: Authority,
    issuing: Authority,
    lifetime: Duration,
    revoked: Vec<Revoked>,
    now: Timestamp,
}

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[allow(missing_docs, reason = "each variant is the error it wraps")]
pub enum DevelopmentError {
    Authority(#[from] AuthorityError),
    Identity(#[from] IdentityError),
    Key(#[from] PrivateKeyError),
    PolicySigner(#[from] PolicySignError),
    Profile(#[from] ProfileError),
    Serial(#[from] SerialError),
    Sign(#[from] SignError),
    Trust(#[from] TrustError),
}

impl Development {
    /// Makes the authorities. Everything is issued as of `now`.
    ///
    /// # Errors
    /// [`DevelopmentError`], if the trust domain is none or there are no random numbers.
    pub fn new(trust_domain: &str, now: Timestamp) -> Result<Self, DevelopmentError> {
        let profiles = Profiles::built_in()?;
        let key = || PrivateKey::generate(KeyKind::P256).map(Arc::new);
        let root = Authority::new_root(trust_domain, &profiles.root, 1, key()?, now)?;
        let issuing = root.new_intermediate(trust_domain, &profiles.issuing, key()?, now)?;
        let (trust_domain, lifetime) = (trust_domain.to_owned(), profiles.service.lifetime);
        Ok(Self { trust_domain, root, issuing, lifetime, revoked: Vec::new(), now })
    }

    /// Sets the time as of which things are issued from here on.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Sets how long certificates live from here on.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Makes a key, issues a certificate for it, and gives what signs with them.
    ///
    /// # Errors
    /// [`DevelopmentError`], if the parts make no identity.
    pub fn signer(&self, env: &str, service: &str, host: &str) -> Result<Signer, DevelopmentError> {
        self.signer_with(PrivateKey::generate(KeyKind::P256)?, env, service, host)
    }

    /// As [`Development::signer`], with a key of yours.
    ///
    /// # Errors
    /// [`DevelopmentError`], if the parts make no identity.
    pub fn signer_with(
        &self,
        key: PrivateKey,
        env: &str,
        service: &str,
        host: &str,
    ) -> Result<Signer, DevelopmentError> {
        let identity = SpiffeId::new(&self.trust_domain, env, service, host)?;
        let issued = self.issuing.issue(&identity, key.public_spki(), self.lifetime, self.now)?;
        let certificates = vec![issued.certificate().der().clone()];
        Ok(Signer::new(Arc::new(key), certificates, Limits::STANDARD)?)
    }

    /// Makes an operator's key and certificate (`spiffe://TRUST_DOMAIN/ENV/operator/NAME`), and gives what signs policies with
    /// them.
    ///
    /// # Errors
    /// [`DevelopmentError`], if the parts make no identity.
    pub fn policy_signer(&self, env: &str, name: &str) -> Result<PolicySigner, DevelopmentError> {
        let key = PrivateKey::generate(KeyKind::P256)?;
        let certificate = self.operator_certificate(&key, env, name)?;
        Ok(PolicySigner::new(Arc::new(key), vec![certificate])?)
    }

    /// As [`Development::policy_signer`], with a key of yours: only the certificate.
    ///
    /// # Errors
    /// [`DevelopmentError`], if the parts make no identity.
    pub fn operator_certificate(
        &self,
        key: &PrivateKey,
        env: &str,
        name: &str,
    ) -> Result<Certificate, DevelopmentError> {
        let identity = SpiffeId::new(&self.trust_domain, env, "operator", name)?;
        let issued = self.issuing.issue_operator(&identity, key.public_spki(), self.lifetime, self.now)?;
        Ok(issued.certificate().clone())
    }

    /// Revokes the certificate that a signer has. A [`TrustStore`] made from here on refuses it.
    ///
    /// # Errors
    /// [`DevelopmentError::Serial`], if its certificate has none that a list can name.
    pub fn revoke(&mut self, signer: &Signer) -> Result<(), DevelopmentError> {
        self.revoke_certificate(signer.certificate())
    }

    /// Revokes a certificate that was issued here.
    ///
    /// # Errors
    /// [`DevelopmentError::Serial`], if it has no serial number that a list can name.
    pub fn revoke_certificate(&mut self, certificate: &Certificate) -> Result<(), DevelopmentError> {
        let serial = Serial::from_bytes(certificate.serial())?;
        let reason = RevocationReason::KeyCompromise;
        self.revoked.push(Revoked { serial, at: self.now, reason, invalid_since: None });
        Ok(())
    }

    /// What a consumer trusts: the root, with current lists of both authorities.
    ///
    /// # Errors
    /// [`DevelopmentError`], if a list cannot be signed.
    pub fn trust(&self) -> Result<TrustStore, DevelopmentError> {
        let (root_list, list) = self.lists()?;
        Ok(TrustStore::builder(RevocationPolicy::Required)
            .anchor("the root", self.root.certificate().clone(), IdentityRule::SpiffeUri)?
            .intermediate("the issuing authority", self.issuing.certificate().clone())?
            .crl("the root's list", root_list.into_crl())?
            .crl("the issuing authority's list", list.into_crl())?
            .build()?)
    }

    /// The same as files in PEM: each file's name, and what it holds. They go by the names that `fedmsg init` gives them.
    ///
    /// # Errors
    /// [`DevelopmentError`], if a list cannot be signed.
    pub fn trust_files(&self) -> Result<[(&'static str, String); 4], DevelopmentError> {
        let (root_list, list) = self.lists()?;
        Ok([
            ("root.crt", self.root.to_pem()),
            ("issuing.crt", self.issuing.to_pem()),
            ("root.crl", root_list.to_pem()),
            ("issuing.crl", list.to_pem()),
        ])
    }

    fn lists(&self) -> Result<(IssuedCrl, IssuedCrl), DevelopmentError> {
        let week = Duration::from_secs(7 * 86_400);
        let number = u64::try_from(self.revoked.len()).unwrap_or(u64::MAX).saturating_add(1);
        let root_list = self.root.crl(1, &[], week, self.now)?;
        Ok((root_list, self.issuing.crl(number, &self.revoked, week, self.now)?))
    }

    /// The root's certificate.
    pub fn root(&self) -> &Certificate {
        self.root.certificate()
    }
}
