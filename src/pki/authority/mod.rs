//! Issuing: roots, intermediates, service certificates and revocation lists.
//!
//! What a certificate may be used for is fixed here; how long it lives comes from a [`profile`](super::profile). Nothing
//! leaves a function of this module before the code that will validate it has accepted it: a leaf with its whole chain, an
//! authority and a revocation list with a leaf that is made for the purpose and thrown away.
//!
//! rcgen encodes and signs. What it does not check (it takes any certificate as an issuer's) is checked by
//! [`Authority::load`]; what it would choose badly (serial numbers, dates) is always set.

pub(in crate::pki) mod encode;
mod error;

pub use error::{AuthorityError, NameFault};

use super::certificate::{Certificate, IdentityRule};
use super::chain::{Purpose, RevocationPolicy, TrustStore, ValidatedLeaf};
use super::crl::Crl;
use super::key::{self, KeyKind, PrivateKey, SigningKey};
use super::pem;
use super::profile::AuthorityProfile;
use super::serial::Serial;
use crate::identity::{Identity, SpiffeId};
use crate::time::Timestamp;
use encode::Signer;
use rcgen::Issuer;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How far before its making a certificate or list begins, in seconds: for clocks that are a little behind.
pub const BACKDATE_SECONDS: i64 = 60;
/// The longest common name, in characters (RFC 5280, appendix A.1, `ub-common-name`).
pub const MAX_COMMON_NAME: usize = 64;

/// An authority that can sign: a certificate, those above it, and its key. It was checked when it was made or loaded.
pub struct Authority {
    certificate: Certificate,
    /// From its issuer upwards, the root last; empty for a root.
    above: Vec<Certificate>,
    issuer: Issuer<'static, Signer>,
    /// Trusts this authority alone.
    own: TrustStore,
    /// Whether one of the chain limits the names of those below it.
    limits_names: bool,
}

/// A certificate that was just issued, and that validates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    certificate: Certificate,
    identity: SpiffeId,
}

/// A revocation list that was just signed, and with which what it does not name validates.
#[derive(Debug)]
pub struct IssuedCrl {
    crl: Crl,
}

/// One certificate that a list revokes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
    /// Since when its key is not to be relied on, if that is earlier than the revocation (RFC 5280, 5.3.2).
    pub invalid_since: Option<Timestamp>,
}

/// Why a certificate was revoked (RFC 5280, 5.3.1). `certificateHold` and `removeFromCRL` are left out: here a
/// revocation is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// The service moved, or is another's now.
    AffiliationChanged,
    /// The authority's key is known to somebody else.
    CaCompromise,
    /// The service is no more.
    CessationOfOperation,
    /// The private key is known to somebody else.
    KeyCompromise,
    /// It may no longer publish.
    PrivilegeWithdrawn,
    /// Another certificate has taken its place.
    Superseded,
    /// Nobody said.
    Unspecified,
}

impl RevocationReason {
    /// Every reason, by name.
    pub const ALL: [Self; 7] = [
        Self::AffiliationChanged,
        Self::CaCompromise,
        Self::CessationOfOperation,
        Self::KeyCompromise,
        Self::PrivilegeWithdrawn,
        Self::Superseded,
        Self::Unspecified,
    ];

    /// The name of RFC 5280, in lower case with hyphens: `key-compromise`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AffiliationChanged => "affiliation-changed",
            Self::CaCompromise => "ca-compromise",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::KeyCompromise => "key-compromise",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }

    /// Whether somebody else has the key: then what it signed before the revocation is in doubt as well.
    pub fn is_compromise(self) -> bool {
        matches!(self, Self::CaCompromise | Self::KeyCompromise)
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let named = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        named.ok_or_else(|| AuthorityError::UnknownReason { found: text.to_owned() })
    }
}

impl Authority {
    /// Makes a root: an authority that signs itself. `below` is how many authorities may follow it in a path.
    ///
    /// # Errors
    /// [`AuthorityError`], if the trust domain is none, or the key does not sign.
    pub fn new_root(
        trust_domain: &str,
        profile: &AuthorityProfile,
        below: u8,
        key: Arc<dyn SigningKey>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        check_trust_domain(trust_domain)?;
        let serial = encode::random_serial()?;
        let (not_before, not_after) = (now.plus_seconds(-BACKDATE_SECONDS), now.plus(profile.lifetime));
        let name = encode::authority_name("root", trust_domain, &serial);
        let params = encode::authority_params(name, &serial, not_before, not_after, below)?;
        let der = params.self_signed(&Signer::new(Arc::clone(&key))?)?;
        Self::checked(Certificate::parse(der.der())?, Vec::new(), key, now)
    }

    /// Makes an authority that this one vouches for, and that issues certificates to services only.
    ///
    /// # Errors
    /// [`AuthorityError`], if this one may have no authority below it, or is not valid now.
    pub fn new_intermediate(
        &self,
        trust_domain: &str,
        profile: &AuthorityProfile,
        key: Arc<dyn SigningKey>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        check_trust_domain(trust_domain)?;
        self.check_below(now)?;
        let serial = encode::random_serial()?;
        let (not_before, not_after) = self.window(profile.lifetime, now);
        let name = encode::authority_name("issuing", trust_domain, &serial);
        let params = encode::authority_params(name, &serial, not_before, not_after, 0)?;
        let der = params.signed_by(&Signer::new(Arc::clone(&key))?, &self.issuer)?;
        Self::checked(Certificate::parse(der.der())?, self.chain(), key, now)
    }

    /// Vouches for an intermediate that another root made by [`Authority::new_intermediate`]: a certificate of the same name and
    /// key, so that whoever trusts this root and not the other accepts what that intermediate issues.
    ///
    /// # Errors
    /// [`AuthorityError`], if this one may have no authority below it, is not valid now, or the intermediate has another name
    /// than is given here.
    pub fn cross_certify(
        &self,
        trust_domain: &str,
        other: &Self,
        now: Timestamp,
    ) -> Result<Certificate, AuthorityError> {
        self.check_below(now)?;
        let serial = Serial::from_bytes(other.certificate.serial())?;
        let name = encode::authority_name("issuing", trust_domain, &serial);
        let lifetime = other.certificate.not_after().seconds_since(now);
        let lifetime = Duration::from_secs(u64::try_from(lifetime).unwrap_or(0));
        let (not_before, not_after) = self.window(lifetime, now);
        let der = encode::cross(&self.issuer, &other.certificate, name, not_before, not_after)?;
        let cross = Certificate::parse(&der)?;
        if cross.subject_der() != other.certificate.subject_der() {
            return Err(AuthorityError::NameChanged { issuer: other.name() });
        }
        let root = self.chain().pop().unwrap_or_else(|| self.certificate.clone());
        let store = TrustStore::builder(RevocationPolicy::NotChecked)
            .anchor("the root", root, IdentityRule::SpiffeUri)?
            .build()?;
        store.validate(&other.probe(now)?, &[cross.der()], &Purpose::DocumentSigning, now)?;
        Ok(cross)
    }

    /// Takes an authority that exists: its certificate, those above it (its issuer first, the root last), and its key.
    ///
    /// # Errors
    /// [`AuthorityError`], if the key is not the certificate's, the certificate is no authority's or may not sign
    /// certificates and lists, its name is one that rcgen would write in another way (an attribute that is there twice,
    /// several in one RDN), or no path leads from it to the root at this time.
    pub fn load(
        certificate: Certificate,
        above: Vec<Certificate>,
        key: Arc<dyn SigningKey>,
        at: Timestamp,
    ) -> Result<Self, AuthorityError> {
        Self::checked(certificate, above, key, at)
    }

    /// Issues a certificate to a service for the key in `spki` (a SubjectPublicKeyInfo in DER). It begins a minute before
    /// `now`, lasts `lifetime`, and never longer than this authority's own.
    ///
    /// # Errors
    /// [`AuthorityError`]; in particular [`AuthorityError::CommonName`] if `SERVICE-HOST` is too long, and
    /// [`AuthorityError::Refused`] if what was made would not be accepted.
    pub fn issue(
        &self,
        identity: &SpiffeId,
        spki: &[u8],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        self.issue_for(identity, spki, &[encode::DOCUMENT_SIGNING], lifetime, now)
    }

    /// As [`Authority::issue`], for a person who may sign policies besides ([`Purpose::ConfigSigning`]).
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_operator(
        &self,
        identity: &SpiffeId,
        spki: &[u8],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let purposes = [encode::DOCUMENT_SIGNING, encode::CONFIG_SIGNING];
        self.issue_for(identity, spki, &purposes, lifetime, now)
    }

    fn issue_for(
        &self,
        identity: &SpiffeId,
        spki: &[u8],
        purposes: &[[u64; 9]],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        self.check_valid(now)?;
        let common_name = format!("{}-{}", identity.service(), identity.host());
        if common_name.len() > MAX_COMMON_NAME {
            return Err(AuthorityError::CommonName { found: common_name.len(), name: common_name });
        }
        let window = self.window(lifetime, now);
        let der = encode::service(&self.issuer, identity, &common_name, spki, purposes, window)?;
        let leaf = self.validate_issued(&der, now)?;
        if *leaf.identity() != Identity::Spiffe(identity.clone()) {
            return Err(AuthorityError::Identity {
                found: leaf.identity().to_string(),
                expected: identity.to_string(),
            });
        }
        Ok(Issued { certificate: leaf.certificate().clone(), identity: identity.clone() })
    }

    /// Signs a revocation list of everything in `revoked`. It begins a minute before `now`, and the next one is due
    /// `lifetime` after `now`, or when this authority ends.
    ///
    /// # Errors
    /// [`AuthorityError`], if this authority is not valid now, or a certificate that is not on the list would be refused.
    pub fn crl(
        &self,
        number: u64,
        revoked: &[Revoked],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<IssuedCrl, AuthorityError> {
        self.check_valid(now)?;
        let (this_update, next_update) = self.window(lifetime, now);
        let der = encode::crl(&self.issuer, &self.certificate, number, revoked, this_update, next_update)?;
        let crl = Crl::parse(&der)?;
        if let Some(missing) = revoked.iter().find(|entry| crl.revocation(entry.serial.as_bytes()).is_none())
        {
            return Err(AuthorityError::NotOnList { serial: missing.serial.clone() });
        }
        // The authority itself is the anchor here: the list of whoever is above it is another matter.
        let store = TrustStore::builder(RevocationPolicy::Required)
            .anchor("the authority", self.certificate.clone(), IdentityRule::SpiffeUri)?
            .crl("the new list", Crl::parse(&der)?)?
            .build()?;
        store.validate(&self.probe(now)?, &[], &Purpose::DocumentSigning, now)?;
        Ok(IssuedCrl { crl })
    }

    /// Gives a list back if it is this authority's own, as consumers saw it at its time. It may be stale by now.
    ///
    /// # Errors
    /// [`AuthorityError::Refused`], if it is somebody else's, or was not accepted even then.
    pub fn own_list(&self, label: &str, list: Crl) -> Result<Crl, AuthorityError> {
        let at = list.this_update().max(self.certificate.not_before());
        let store = TrustStore::builder(RevocationPolicy::Required)
            .anchor("the authority", self.certificate.clone(), IdentityRule::SpiffeUri)?
            .crl(label, Crl::parse(list.der())?)?
            .build()?;
        store.validate(&self.probe(at)?, &[], &Purpose::DocumentSigning, at)?;
        Ok(list)
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate in PEM.
    pub fn to_pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// Its certificate and those above it, the root last.
    pub fn chain(&self) -> Vec<Certificate> {
        let mut chain = vec![self.certificate.clone()];
        chain.extend(self.above.iter().cloned());
        chain
    }

    fn checked(
        certificate: Certificate,
        above: Vec<Certificate>,
        key: Arc<dyn SigningKey>,
        at: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let name = || certificate.subject().to_owned();
        if key.public_spki() != certificate.spki_der() {
            return Err(AuthorityError::KeyMismatch { issuer: name() });
        }
        if !certificate.is_authority() {
            return Err(AuthorityError::NotAuthority { issuer: name() });
        }
        let usage = certificate.key_usage();
        // A root without the extension may do everything (RFC 5280, section 6.1.4 (n)): OpenSSL makes such roots by default.
        let is_free = usage.is_none() && above.is_empty() && certificate.is_self_issued();
        for (missing, allowed) in [
            ("keyCertSign", is_free || usage.is_some_and(|usage| usage.key_cert_sign())),
            ("cRLSign", is_free || usage.is_some_and(|usage| usage.crl_sign())),
        ] {
            if !allowed {
                return Err(AuthorityError::KeyUsage { issuer: name(), missing });
            }
        }
        encode::check_name(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate.der().as_ref().into(), Signer::new(key)?)?;
        let own = TrustStore::builder(RevocationPolicy::NotChecked)
            .anchor("the authority", certificate.clone(), IdentityRule::SpiffeUri)?
            .build()?;
        let limits_names = encode::limit_names(std::iter::once(&certificate).chain(&above))?;
        let authority = Self { certificate, above, issuer, own, limits_names };
        authority.check_valid(at)?;
        authority.validate(&authority.probe(at)?, at)?;
        Ok(authority)
    }

    /// Whether another authority may be below this one.
    fn check_below(&self, now: Timestamp) -> Result<(), AuthorityError> {
        self.check_valid(now)?;
        if self.certificate.basic_constraints().and_then(|c| c.path_length) == Some(0) {
            return Err(AuthorityError::PathLength { issuer: self.name() });
        }
        Ok(())
    }

    fn check_valid(&self, at: Timestamp) -> Result<(), AuthorityError> {
        let (from, until) = (self.certificate.not_before(), self.certificate.not_after());
        if (from..=until).contains(&at) {
            return Ok(());
        }
        Err(AuthorityError::NotValidNow { issuer: self.name(), from, until, at })
    }

    /// Validates what was just issued. That a path leads from this authority to the root was seen when it was loaded; what could
    /// be different for this leaf is looked at here: its own certificate, whether the chain is still in its time, and, if the
    /// chain limits names (RFC 5280, section 4.2.1.10), all of it.
    fn validate_issued(&self, leaf: &[u8], at: Timestamp) -> Result<ValidatedLeaf, AuthorityError> {
        let in_time =
            |certificate: &Certificate| (certificate.not_before()..=certificate.not_after()).contains(&at);
        if self.limits_names || !self.above.iter().all(in_time) {
            return self.validate(leaf, at);
        }
        Ok(self.own.validate(leaf, &[], &Purpose::DocumentSigning, at)?)
    }

    /// Validates a leaf with the whole chain, as a consumer will, but for revocation: the lists have their own dates, and
    /// a stale one is no fault of the certificate.
    fn validate(&self, leaf: &[u8], at: Timestamp) -> Result<ValidatedLeaf, AuthorityError> {
        let mut chain = self.chain();
        let root = chain.pop().unwrap_or_else(|| self.certificate.clone());
        let store = TrustStore::builder(RevocationPolicy::NotChecked)
            .anchor("the root", root, IdentityRule::SpiffeUri)?
            .build()?;
        let intermediates: Vec<&[u8]> = chain.iter().map(|certificate| certificate.der().as_ref()).collect();
        Ok(store.validate(leaf, &intermediates, &Purpose::DocumentSigning, at)?)
    }

    /// A leaf whose key nobody keeps, to see whether what this authority issues is accepted.
    fn probe(&self, now: Timestamp) -> Result<Vec<u8>, AuthorityError> {
        let identity = SpiffeId::new("probe.invalid", "dev", "probe", "probe")?;
        let key = PrivateKey::generate(KeyKind::P256)?;
        let window = self.window(Duration::from_secs(60), now);
        let purposes = [encode::DOCUMENT_SIGNING];
        encode::service(&self.issuer, &identity, "probe", key.public_spki(), &purposes, window)
    }

    /// From a minute ago, for `lifetime`, within this authority's own validity.
    fn window(&self, lifetime: Duration, now: Timestamp) -> (Timestamp, Timestamp) {
        let from = now.plus_seconds(-BACKDATE_SECONDS).max(self.certificate.not_before());
        (from, now.plus(lifetime).min(self.certificate.not_after()))
    }

    fn name(&self) -> String {
        self.certificate.subject().to_owned()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.certificate.subject())
    }
}

impl Issued {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whom it names.
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// The certificate in PEM, and after it those in `chain`, the root left out: what a publisher sends along.
    pub fn to_pem(&self, chain: &[Certificate]) -> String {
        chain_to_pem(&self.certificate, chain)
    }
}

impl IssuedCrl {
    /// The list.
    pub fn crl(&self) -> &Crl {
        &self.crl
    }

    /// The list, for a trust store to take.
    pub fn into_crl(self) -> Crl {
        self.crl
    }

    /// The list in PEM.
    pub fn to_pem(&self) -> String {
        crl_to_pem(&self.crl)
    }
}

/// One certificate in PEM.
pub fn to_pem(certificate: &Certificate) -> String {
    key::pem_block(pem::CERTIFICATE, certificate.der()).to_string()
}

/// A revocation list in PEM.
pub fn crl_to_pem(crl: &Crl) -> String {
    key::pem_block(pem::CRL, crl.der()).to_string()
}

/// A certificate in PEM, and after it its issuers in `chain`, the root left out.
pub fn chain_to_pem(certificate: &Certificate, chain: &[Certificate]) -> String {
    let issuers = chain.iter().filter(|issuer| !issuer.is_self_issued());
    std::iter::once(certificate).chain(issuers).map(to_pem).collect()
}

fn check_trust_domain(trust_domain: &str) -> Result<(), AuthorityError> {
    SpiffeId::new(trust_domain, "dev", "probe", "probe")?;
    Ok(())
}

#[cfg(test)]
mod tests;
