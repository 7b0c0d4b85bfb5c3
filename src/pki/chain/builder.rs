//! Building a trust store: what is wrong with an anchor or a list whatever the leaf and the time is found here.

use super::cache::VerdictCache;
use super::{
    Anchor, ChainError, Issuer, LabelledCrl, RevocationPolicy, TrustError, TrustStore, revocation, validate,
};
use crate::pki::certificate::{Certificate, CertificateError, IdentityRule, sha256};
use crate::pki::crl::Crl;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use std::sync::Arc;

/// Collects what is trusted. Each thing comes with a label, such as its file's name, by which errors call it.
#[derive(Debug)]
#[must_use]
pub struct TrustStoreBuilder {
    anchors: Vec<Anchor>,
    webpki_anchors: Vec<TrustAnchor<'static>>,
    intermediates: Vec<Issuer>,
    crls: Vec<LabelledCrl>,
    revocation: RevocationPolicy,
}

impl TrustStoreBuilder {
    pub(super) fn new(revocation: RevocationPolicy) -> Self {
        Self {
            anchors: Vec::new(),
            webpki_anchors: Vec::new(),
            intermediates: Vec::new(),
            crls: Vec::new(),
            revocation,
        }
    }

    /// Trusts an authority, and says where the identities stand in what it issues. An authority that was re-issued with
    /// the same name and key may be given twice.
    ///
    /// # Errors
    /// [`TrustError::Chain`], if it is not an authority's certificate, may not sign certificates, has a weak key or an
    /// unknown critical extension; [`TrustError::AnchorRules`], if it was given before with another rule.
    pub fn anchor(
        mut self,
        label: impl Into<String>,
        certificate: Certificate,
        rule: IdentityRule,
    ) -> Result<Self, TrustError> {
        let issuer = Issuer { label: label.into(), certificate };
        if issuer.certificate.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            let detail = "its key usage does not have keyCertSign";
            return Err(ChainError::IssuerNotAuthority { issuer: issuer.name(), detail }.into());
        }
        validate::check_issuer_form(&issuer)?;
        let same = |other: &&Anchor| {
            other.issuer.certificate.subject_der() == issuer.certificate.subject_der()
                && other.issuer.certificate.spki_der() == issuer.certificate.spki_der()
        };
        if let Some(other) = self.anchors.iter().find(same).filter(|other| other.rule != rule) {
            let (first, second) = (other.issuer.label.clone(), issuer.label);
            return Err(TrustError::AnchorRules { first, second });
        }
        let der = CertificateDer::from(issuer.certificate.der().to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|error| ChainError::Certificate {
            role: "issuer",
            name: issuer.name(),
            fault: CertificateError::Malformed(error.to_string()),
        })?;
        self.webpki_anchors.push(anchor.to_owned());
        self.anchors.push(Anchor { issuer, rule });
        Ok(self)
    }

    /// Adds an intermediate, so that publishers need not send it. It is not trusted by being here: a path must lead
    /// through it to an anchor.
    ///
    /// # Errors
    /// [`TrustError::Chain`], if it is not an authority's certificate, may not sign certificates, has a weak key or an
    /// unknown critical extension.
    pub fn intermediate(
        mut self,
        label: impl Into<String>,
        certificate: Certificate,
    ) -> Result<Self, TrustError> {
        let issuer = Issuer { label: label.into(), certificate };
        validate::check_issuer_form(&issuer)?;
        validate::check_key_cert_sign(&issuer)?;
        self.intermediates.push(issuer);
        Ok(self)
    }

    /// Adds a revocation list. Of several from one authority only the newest is kept, by number and then by date: an old
    /// list beside a new one would bring revoked certificates back.
    ///
    /// # Errors
    /// [`TrustError::CrlNotChecked`], if revocation is not to be checked; [`TrustError::CrlConflict`], if another list has
    /// the same number and date.
    pub fn crl(mut self, label: impl Into<String>, crl: impl Into<Arc<Crl>>) -> Result<Self, TrustError> {
        let (label, crl) = (label.into(), crl.into());
        if self.revocation == RevocationPolicy::NotChecked {
            return Err(TrustError::CrlNotChecked { list: label });
        }
        let same = |kept: &&mut LabelledCrl| {
            kept.crl.issuer_der() == crl.issuer_der() && kept.crl.authority_key_id() == crl.authority_key_id()
        };
        match self.crls.iter_mut().find(same) {
            None => self.crls.push(LabelledCrl { label, crl }),
            Some(kept) if kept.crl.der() == crl.der() => {}
            Some(kept) if kept.crl.newness() == crl.newness() => {
                let (issuer, first) = (crl.issuer().to_owned(), kept.label.clone());
                return Err(TrustError::CrlConflict { issuer, first, second: label });
            }
            Some(kept) if kept.crl.newness() > crl.newness() => {}
            Some(kept) => *kept = LabelledCrl { label, crl },
        }
        Ok(self)
    }

    /// Makes the store. The signatures of the lists are checked under the keys of anchors and intermediates, so that the first
    /// leaf need not wait for it; what comes of it is said when a leaf is validated.
    ///
    /// # Errors
    /// [`TrustError::NoAnchors`], if nothing is trusted.
    pub fn build(self) -> Result<TrustStore, TrustError> {
        if self.anchors.is_empty() {
            return Err(TrustError::NoAnchors);
        }
        let digest = self.digest();
        let Self { anchors, webpki_anchors, intermediates, crls, revocation } = self;
        let issuers: Vec<&Issuer> =
            anchors.iter().map(|anchor| &anchor.issuer).chain(&intermediates).collect();
        revocation::prepare(&crls, &issuers);
        let verdicts = VerdictCache::new();
        Ok(TrustStore { anchors, webpki_anchors, intermediates, crls, revocation, digest, verdicts })
    }

    /// Over the kind and fingerprint of each thing, in the order of the bytes: the order of the files does not matter.
    fn digest(&self) -> [u8; 32] {
        let mut things: Vec<(u8, [u8; 32])> = Vec::new();
        for anchor in &self.anchors {
            let kind = match anchor.rule {
                IdentityRule::CommonName => 1,
                IdentityRule::SpiffeUri => 2,
            };
            things.push((kind, anchor.issuer.certificate.sha256()));
        }
        things.extend(self.intermediates.iter().map(|issuer| (3, issuer.certificate.sha256())));
        things.extend(self.crls.iter().map(|list| (4, list.crl.sha256())));
        things.sort_unstable();
        things.dedup();
        let mut bytes = vec![match self.revocation {
            RevocationPolicy::NotChecked => 0,
            RevocationPolicy::Required => 1,
        }];
        for (kind, fingerprint) in things {
            bytes.push(kind);
            bytes.extend(fingerprint);
        }
        sha256(&bytes)
    }
}
