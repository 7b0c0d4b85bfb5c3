//! The decision: whether a leaf is to be believed, at a time, for a purpose, under stated trust.
//!
//! Paths are found and their signatures checked by rustls-webpki (RFC 5280, section 6). What it leaves to its caller is
//! checked here: the leaf's own profile, the anchor (its dates, its authority, its path length, its critical
//! extensions), `keyCertSign` along the path, and that lists are neither missing, stale, from the future, nor
//! out of date beside a newer one.
//!
//! A certificate that says nothing about its key usage may do nothing: unlike RFC 5280, the leaf must have
//! `digitalSignature`, and an intermediate `keyCertSign`. An anchor may have no key usage extension, as old roots do.

mod builder;
mod cache;
mod error;
mod explain;
mod purpose;
mod revocation;
mod validate;

pub use builder::TrustStoreBuilder;
pub use error::{ChainError, TrustError};
pub use purpose::{Purpose, PurposeError, PurposeOid};

use super::certificate::{Certificate, IdentityRule};
use super::crl::Crl;
use super::lifetime::{Lifetime, LifetimeKind};
use super::public_key::PublicKey;
use crate::identity::Identity;
use crate::time::Timestamp;
use cache::VerdictCache;
use rustls_pki_types::TrustAnchor;
use std::fmt;
use std::sync::Arc;

/// Whether revocation is checked. A choice that is stated, never a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationPolicy {
    /// Not checked: a stolen key works until its certificate expires.
    NotChecked,
    /// A valid list from every issuer of a path is required; a missing or stale one is refusal.
    Required,
}

/// What is trusted: anchors, intermediates, revocation lists. It does not change; a new one is built when its files do.
pub struct TrustStore {
    anchors: Vec<Anchor>,
    /// In the order of `anchors`.
    webpki_anchors: Vec<TrustAnchor<'static>>,
    intermediates: Vec<Issuer>,
    crls: Vec<LabelledCrl>,
    revocation: RevocationPolicy,
    digest: [u8; 32],
    verdicts: VerdictCache,
}

/// A leaf that was validated: who it is, its key, and for how long this stays true. Only [`TrustStore`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct ValidatedLeaf {
    identity: Identity,
    public_key: PublicKey,
    certificate: Certificate,
    path: Vec<String>,
    revocation: RevocationPolicy,
    /// The latest beginning of the certificates alone.
    certified_from: Timestamp,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Issuer {
    label: String,
    certificate: Certificate,
}

#[derive(Debug)]
struct Anchor {
    issuer: Issuer,
    rule: IdentityRule,
}

#[derive(Debug)]
struct LabelledCrl {
    label: String,
    crl: Arc<Crl>,
}

impl TrustStore {
    /// Begins a store; whether revocation is checked has to be said first.
    pub fn builder(revocation: RevocationPolicy) -> TrustStoreBuilder {
        TrustStoreBuilder::new(revocation)
    }

    /// Validates a leaf. `leaf` and `intermediates` are DER, as a message carries them; the store's own intermediates are
    /// tried as well. The time is what "expired" and "stale" go by.
    ///
    /// # Errors
    /// A [`ChainError`] that names what was refused, what was expected and what was found.
    pub fn validate(
        &self,
        leaf: &[u8],
        intermediates: &[&[u8]],
        purpose: &Purpose,
        at: Timestamp,
    ) -> Result<ValidatedLeaf, ChainError> {
        validate::validate(self, leaf, intermediates, purpose, (at, at))
    }

    /// As [`TrustStore::validate`], but the same certificates are worked out once: while a verdict holds, it is handed out
    /// again. Threads may share the store.
    ///
    /// # Errors
    /// As [`TrustStore::validate`]; refusals are not remembered.
    pub fn validate_cached(
        &self,
        leaf: &[u8],
        intermediates: &[&[u8]],
        purpose: &Purpose,
        at: Timestamp,
    ) -> Result<Arc<ValidatedLeaf>, ChainError> {
        if let Some(verdict) = self.verdicts.find(leaf, intermediates, purpose, at) {
            return Ok(verdict);
        }
        let verdict = Arc::new(self.validate(leaf, intermediates, purpose, at)?);
        self.verdicts.keep(leaf, intermediates, purpose, &verdict);
        Ok(verdict)
    }

    /// Validates the leaf of something that was signed at `signed`, as of then; but by the revocation lists of `now`: a
    /// certificate that was revoked since vouches for nothing, since whoever has its key can write any date.
    ///
    /// # Errors
    /// As [`TrustStore::validate`].
    pub fn validate_past(
        &self,
        leaf: &[u8],
        intermediates: &[&[u8]],
        purpose: &Purpose,
        signed: Timestamp,
        now: Timestamp,
    ) -> Result<Arc<ValidatedLeaf>, ChainError> {
        // What holds now held then, from the day on that all its certificates had begun.
        if let Ok(verdict) = self.validate_cached(leaf, intermediates, purpose, now)
            && (verdict.certified_from..=now).contains(&signed)
        {
            return Ok(verdict);
        }
        Ok(Arc::new(validate::validate(self, leaf, intermediates, purpose, (signed, now))?))
    }

    /// Whether revocation is checked.
    pub fn revocation(&self) -> RevocationPolicy {
        self.revocation
    }

    /// SHA-256 over all that is trusted: two stores with the same digest decide alike.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The first eight bytes of [`TrustStore::digest`]: a short name for this generation of trust.
    pub fn generation(&self) -> u64 {
        self.digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The lives of the anchors, the intermediates and the lists.
    pub fn lifetimes(&self) -> Vec<Lifetime> {
        let of = |kind: LifetimeKind| {
            move |issuer: &Issuer| Lifetime::of_certificate(kind, issuer.label.clone(), &issuer.certificate)
        };
        let anchors = self.anchors.iter().map(|anchor| &anchor.issuer).map(of(LifetimeKind::Anchor));
        let intermediates = self.intermediates.iter().map(of(LifetimeKind::Intermediate));
        let lists = self.crls.iter().map(|list| Lifetime::of_crl(list.label.clone(), &list.crl));
        anchors.chain(intermediates).chain(lists).collect()
    }

    /// What is past two thirds of its life at this time, so that its end surprises nobody.
    pub fn ageing(&self, at: Timestamp) -> Vec<Lifetime> {
        let mut lives = self.lifetimes();
        lives.retain(|life| life.is_due(at));
        lives
    }
}

impl ValidatedLeaf {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its key, with which its messages are checked.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The names of its issuers, the leaf's own first and the trust anchor last.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Whether revocation was checked.
    pub fn revocation(&self) -> RevocationPolicy {
        self.revocation
    }

    /// The first second at which this verdict holds: the latest beginning of the certificates and lists behind it.
    pub fn valid_from(&self) -> Timestamp {
        self.valid_from
    }

    /// The last second at which this verdict holds: the earliest end of the certificates and lists behind it.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// Whether this verdict holds at a time.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        (self.valid_from..=self.valid_until).contains(&at)
    }
}

impl Issuer {
    /// Its name, and its file if it came from one.
    fn name(&self) -> String {
        named(self.certificate.subject(), &self.label)
    }
}

fn named(subject: &str, label: &str) -> String {
    let subject = if subject.is_empty() { "without a subject" } else { subject };
    if label.is_empty() { format!("`{subject}`") } else { format!("`{subject}` ({label})") }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore")
            .field("anchors", &self.anchors)
            .field("intermediates", &self.intermediates)
            .field("crls", &self.crls)
            .field("revocation", &self.revocation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ValidatedLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidatedLeaf({}, {} to {})", self.identity, self.valid_from, self.valid_until)
    }
}
