//! The validation of one leaf.

use super::explain::explain;
use super::purpose::ANY;
use super::{
    Anchor, ChainError, Issuer, Purpose, RevocationPolicy, TrustStore, ValidatedLeaf, named, revocation,
};
use crate::identity::Identity;
use crate::pki::certificate::{Certificate, CertificateError, KeyUsage};
use crate::pki::public_key::PublicKey;
use crate::time::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::cell::RefCell;
use std::time::Duration;
use webpki::{EndEntityCert, VerifiedPath};

/// What certificates and lists may be signed with: ECDSA, Ed25519, and RSA of 2048 bits and more, with SHA-2.
pub(super) const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
    webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A path that webpki found, whose signatures and dates it has checked, and that is not accepted yet.
pub(super) struct Candidate<'a> {
    pub(super) leaf: &'a Certificate,
    /// From the leaf's issuer upwards, without the anchor.
    pub(super) issuers: Vec<&'a Issuer>,
    pub(super) anchor: &'a Anchor,
    pub(super) webpki_anchor: &'a TrustAnchor<'static>,
    pub(super) purpose: &'a Purpose,
}

impl<'a> Candidate<'a> {
    /// Each certificate with its issuer, from the leaf upwards; the anchor only as the last issuer.
    pub(super) fn links(&self) -> impl Iterator<Item = (&'a Certificate, &'a Issuer)> + '_ {
        let subjects =
            std::iter::once(self.leaf).chain(self.issuers.iter().map(|issuer| &issuer.certificate));
        subjects.zip(self.all_issuers())
    }

    /// The issuers and the anchor.
    fn all_issuers(&self) -> impl Iterator<Item = &'a Issuer> + '_ {
        self.issuers.iter().copied().chain(std::iter::once(&self.anchor.issuer))
    }

    /// The certificate's name, with its file if it is an issuer's that came from one.
    pub(super) fn name_of(&self, certificate: &Certificate) -> String {
        let issuer =
            self.all_issuers().find(|issuer| std::ptr::eq(&raw const issuer.certificate, certificate));
        issuer.map_or_else(|| named(certificate.subject(), ""), Issuer::name)
    }
}

/// Validates a leaf as of `at`, by revocation lists as of `lists_at`.
pub(super) fn validate(
    store: &TrustStore,
    leaf: &[u8],
    intermediates: &[&[u8]],
    purpose: &Purpose,
    (at, lists_at): (Timestamp, Timestamp),
) -> Result<ValidatedLeaf, ChainError> {
    let leaf = Certificate::parse(leaf).map_err(|fault| malformed("leaf", "", fault))?;
    let public_key = check_leaf(store, &leaf, purpose, at)?;
    let sent = intermediates
        .iter()
        .enumerate()
        .map(|(index, der)| {
            let label = format!("certificate {} of the chain", index + 2);
            match Certificate::parse(der) {
                Ok(certificate) => Ok(Issuer { label, certificate }),
                Err(fault) => Err(malformed("issuer", &label, fault)),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let pool: Vec<&Issuer> = sent.iter().chain(&store.intermediates).collect();
    let ders: Vec<CertificateDer<'_>> =
        pool.iter().map(|issuer| CertificateDer::from(issuer.certificate.der().as_ref())).collect();

    let leaf_der = CertificateDer::from(leaf.der().as_ref());
    let end_entity = EndEntityCert::try_from(&leaf_der)
        .map_err(|error| malformed("leaf", "", CertificateError::Malformed(error.to_string())))?;
    check_parsers_agree(&leaf, &end_entity)?;

    // webpki goes on to the next path when this one is refused; what is said in the end is why the first one was.
    let accepted = RefCell::new(None);
    let refused = RefCell::new(None);
    let examine = |path: &VerifiedPath<'_>| {
        let outcome = candidate(store, &leaf, &pool, path, purpose)
            .and_then(|candidate| accept(store, &candidate, &end_entity, (at, lists_at)));
        match outcome {
            Ok(acceptance) => {
                accepted.replace(Some(acceptance));
                Ok(())
            }
            Err(error) => {
                refused.borrow_mut().get_or_insert(error);
                Err(webpki::Error::UnknownIssuer)
            }
        }
    };
    let searched = end_entity
        .verify_for_usage(
            ALGORITHMS,
            &store.webpki_anchors,
            &ders,
            unix_time(at),
            purpose,
            None,
            Some(&examine),
        )
        .map(|_| ());
    match (searched, accepted.into_inner()) {
        (Ok(()), Some(Acceptance { identity, path, certified_from, valid_from, valid_until })) => {
            Ok(ValidatedLeaf {
                identity,
                public_key,
                certificate: leaf,
                path,
                revocation: store.revocation,
                certified_from,
                valid_from,
                valid_until,
            })
        }
        (outcome, _) => {
            let error = outcome.err().unwrap_or(webpki::Error::UnknownIssuer);
            Err(refused.into_inner().unwrap_or_else(|| explain(store, &leaf, &pool, purpose, at, &error)))
        }
    }
}

/// What holds for an issuer whatever the time and the path: an authority, a good key, no unknown critical extension.
pub(super) fn check_issuer_form(issuer: &Issuer) -> Result<(), ChainError> {
    let certificate = &issuer.certificate;
    if !certificate.is_authority() {
        let detail = "its basic constraints do not say CA:TRUE";
        return Err(ChainError::IssuerNotAuthority { issuer: issuer.name(), detail });
    }
    if let Some(oid) = certificate.unknown_critical() {
        return Err(ChainError::CriticalExtension { name: issuer.name(), oid: oid.to_owned() });
    }
    if !certificate.key_kind().fits_authority() {
        let key = certificate.key_kind().clone();
        return Err(ChainError::AuthorityKey { issuer: issuer.name(), key });
    }
    Ok(())
}

/// Stricter than RFC 5280, section 6.1.4 (n): an intermediate must have the extension.
pub(super) fn check_key_cert_sign(issuer: &Issuer) -> Result<(), ChainError> {
    if issuer.certificate.key_usage().is_some_and(KeyUsage::key_cert_sign) {
        return Ok(());
    }
    let detail = "its key usage does not have keyCertSign";
    Err(ChainError::IssuerNotAuthority { issuer: issuer.name(), detail })
}

/// webpki's form of a time. Nothing before 1970 is valid anyway: the dates are checked here as well.
pub(super) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.as_unix()).unwrap_or(0)))
}

struct Acceptance {
    identity: Identity,
    path: Vec<String>,
    certified_from: Timestamp,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

fn malformed(role: &'static str, label: &str, fault: CertificateError) -> ChainError {
    let name = if label.is_empty() { String::new() } else { format!("({label})") };
    ChainError::Certificate { role, name, fault }
}

/// All that can be said of the leaf alone, the cheap checks before any signature is looked at.
fn check_leaf(
    store: &TrustStore,
    leaf: &Certificate,
    purpose: &Purpose,
    at: Timestamp,
) -> Result<PublicKey, ChainError> {
    let name = || named(leaf.subject(), "");
    let is_anchor = store
        .anchors
        .iter()
        .map(|anchor| &anchor.issuer.certificate)
        .any(|anchor| anchor.subject_der() == leaf.subject_der() && anchor.spki_der() == leaf.spki_der());
    if is_anchor || leaf.is_authority() {
        let found = if is_anchor { "a trust anchor" } else { "an authority's (CA:TRUE)" };
        return Err(ChainError::LeafIsAuthority { leaf: name(), found });
    }
    if let Some(oid) = leaf.unknown_critical() {
        return Err(ChainError::CriticalExtension { name: name(), oid: oid.to_owned() });
    }
    let (not_before, not_after) = (leaf.not_before(), leaf.not_after());
    if at < not_before {
        return Err(ChainError::NotYetValid { leaf: name(), not_before, at });
    }
    if at > not_after {
        return Err(ChainError::Expired { leaf: name(), not_after, at });
    }
    if !leaf.key_usage().is_some_and(KeyUsage::digital_signature) {
        let found = leaf.key_usage().map_or_else(|| "nothing".to_owned(), |usage| usage.to_string());
        return Err(ChainError::KeyUsage { leaf: name(), found });
    }
    check_purpose(leaf, purpose)?;
    leaf.public_key().map_err(|fault| ChainError::Key { leaf: name(), fault })
}

/// The leaf must name the purpose itself: no extension, an empty one, and `anyExtendedKeyUsage` are not enough. An empty
/// one is malformed besides (RFC 5280, section 4.2.1.12), so it is not enough for `any` purpose either.
fn check_purpose(leaf: &Certificate, purpose: &Purpose) -> Result<(), ChainError> {
    let found = match (leaf.extended_key_usage(), purpose.oid()) {
        (Some([]), _) => "nothing".to_owned(),
        (_, None) => return Ok(()),
        (Some(found), Some(required)) if found.iter().any(|oid| oid == required) => return Ok(()),
        (Some([one]), _) if one == ANY => "any purpose".to_owned(),
        (Some(found), _) => found.join(", "),
        (None, _) => "no stated purpose".to_owned(),
    };
    let name = named(leaf.subject(), "");
    Err(ChainError::Purpose { name, expected: purpose.to_string(), found })
}

/// Identity and key are taken from what x509-parser read; signatures are checked over what webpki read. A certificate
/// that the two read differently is refused.
fn check_parsers_agree(leaf: &Certificate, webpki: &EndEntityCert<'_>) -> Result<(), ChainError> {
    let spki = webpki.subject_public_key_info();
    let uris_agree = webpki.valid_uri_names().eq(leaf.uris().iter().map(String::as_str));
    // webpki gives names without their outer tag and length.
    let names_agree =
        leaf.subject_der().ends_with(webpki.subject()) && leaf.issuer_der().ends_with(webpki.issuer());
    if spki.as_ref() == leaf.spki_der() && webpki.serial() == leaf.serial() && uris_agree && names_agree {
        return Ok(());
    }
    let detail = "it can be read in two ways".to_owned();
    Err(malformed("leaf", "", CertificateError::Malformed(detail)))
}

/// The path in our own terms. Its certificates are among those that webpki was given.
fn candidate<'a>(
    store: &'a TrustStore,
    leaf: &'a Certificate,
    pool: &[&'a Issuer],
    path: &VerifiedPath<'_>,
    purpose: &'a Purpose,
) -> Result<Candidate<'a>, ChainError> {
    let unknown =
        || ChainError::UnknownIssuer { subject: named(leaf.subject(), ""), issuer: leaf.issuer().to_owned() };
    let issuers = path
        .intermediate_certificates()
        .map(|found| pool.iter().find(|issuer| *issuer.certificate.der() == *found.der()).copied())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(unknown)?;
    let index = store
        .webpki_anchors
        .iter()
        .position(|anchor| std::ptr::eq(anchor, path.anchor()))
        .ok_or_else(unknown)?;
    match (store.anchors.get(index), store.webpki_anchors.get(index)) {
        (Some(anchor), Some(webpki_anchor)) => {
            Ok(Candidate { leaf, issuers, anchor, webpki_anchor, purpose })
        }
        (_, _) => Err(unknown()),
    }
}

/// What webpki leaves to its caller, for one path; and the window in which the verdict holds.
fn accept(
    store: &TrustStore,
    path: &Candidate<'_>,
    end_entity: &EndEntityCert<'_>,
    (at, lists_at): (Timestamp, Timestamp),
) -> Result<Acceptance, ChainError> {
    for issuer in &path.issuers {
        check_issuer_form(issuer)?;
        check_key_cert_sign(issuer)?;
    }
    for issuer in path.all_issuers() {
        check_issuer_dates(issuer, at)?;
    }
    let anchor = &path.anchor.issuer;
    let limit = anchor.certificate.basic_constraints().and_then(|constraints| constraints.path_length);
    if let Some(limit) =
        limit.and_then(|limit| usize::try_from(limit).ok()).filter(|l| path.issuers.len() > *l)
    {
        let (leaf, found) = (named(path.leaf.subject(), ""), path.issuers.len());
        let detail = format!("{} allows {limit} authorities below it, found {found}", anchor.name());
        return Err(ChainError::Constraint { leaf, detail });
    }

    let certificates = path.links().map(|(subject, _)| subject).chain([&anchor.certificate]);
    let mut windows: Vec<_> = certificates.map(|c| (c.not_before(), c.not_after())).collect();
    let begin = path.leaf.not_before();
    let certified_from = windows.iter().map(|(from, _)| *from).fold(begin, Timestamp::max);
    match store.revocation {
        RevocationPolicy::NotChecked => {}
        RevocationPolicy::Required => {
            windows.extend(revocation::check(store, path, end_entity, (at, lists_at))?);
        }
    }

    let identity = path
        .leaf
        .identity(path.anchor.rule)
        .map_err(|fault| ChainError::Identity { leaf: named(path.leaf.subject(), ""), fault })?;
    let (leaf_from, leaf_until) = (path.leaf.not_before(), path.leaf.not_after());
    Ok(Acceptance {
        identity,
        path: path.all_issuers().map(Issuer::name).collect(),
        certified_from,
        valid_from: windows.iter().map(|(from, _)| *from).fold(leaf_from, Timestamp::max),
        valid_until: windows.iter().map(|(_, until)| *until).fold(leaf_until, Timestamp::min),
    })
}

pub(super) fn check_issuer_dates(issuer: &Issuer, at: Timestamp) -> Result<(), ChainError> {
    let (not_before, not_after) = (issuer.certificate.not_before(), issuer.certificate.not_after());
    if at < not_before {
        return Err(ChainError::IssuerNotYetValid { issuer: issuer.name(), not_before, at });
    }
    if at > not_after {
        return Err(ChainError::IssuerExpired { issuer: issuer.name(), not_after, at });
    }
    Ok(())
}
