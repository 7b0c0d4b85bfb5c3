//! Why no path was found. webpki gives a kind of error; who is at fault is looked for here. Nothing is decided here:
//! the leaf is refused already, whatever the explanation.

use super::validate::{ALGORITHMS, check_issuer_dates, check_issuer_form, check_key_cert_sign, unix_time};
use super::{ChainError, Issuer, Purpose, TrustStore, named};
use crate::pki::certificate::{Certificate, CertificateError};
use crate::time::Timestamp;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The most steps that are followed: webpki's own limit on a path is 6 intermediates.
const MAX_STEPS: usize = 8;

/// Names what `error` is about, by following names and signatures upwards from the leaf.
pub(super) fn explain(
    store: &TrustStore,
    leaf: &Certificate,
    pool: &[&Issuer],
    purpose: &Purpose,
    at: Timestamp,
    error: &webpki::Error,
) -> ChainError {
    let steps = ascend(store, leaf, pool);
    // webpki's word is about the path that it got furthest with; of the one that is followed here, it is asked again.
    let again = alone(store, leaf, &steps, purpose, at);
    let error = again.as_ref().unwrap_or(error);
    by_kind(leaf, &steps, purpose, error)
        .or_else(|| steps.iter().find_map(|issuer| fault_of(issuer, at)))
        .unwrap_or_else(|| by_end(store, leaf, pool, &steps, error))
}

/// The issuers that can be followed from the leaf: each has the name that the one below it gives as its issuer, and a
/// key that its signature verifies under.
fn ascend<'a>(store: &'a TrustStore, leaf: &Certificate, pool: &[&'a Issuer]) -> Vec<&'a Issuer> {
    let mut steps: Vec<&Issuer> = Vec::new();
    while steps.len() < MAX_STEPS {
        let top = steps.last().map_or(leaf, |issuer| &issuer.certificate);
        let next = by_name(store, top, pool).find(|issuer| {
            is_signed_by(top, &issuer.certificate) && !steps.iter().any(|step| std::ptr::eq(*step, *issuer))
        });
        match next {
            Some(issuer) => steps.push(issuer),
            None => break,
        }
        if next.is_some_and(|issuer| is_anchor(store, issuer)) {
            break;
        }
    }
    steps
}

/// What webpki says of exactly this path, if it leads to an anchor.
fn alone(
    store: &TrustStore,
    leaf: &Certificate,
    steps: &[&Issuer],
    purpose: &Purpose,
    at: Timestamp,
) -> Option<webpki::Error> {
    let (top, below) = steps.split_last()?;
    let index = store.anchors.iter().position(|anchor| std::ptr::eq(&raw const anchor.issuer, *top))?;
    let anchor = store.webpki_anchors.get(index)?;
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let (leaf, below) = (der(leaf), below.iter().map(|issuer| der(&issuer.certificate)).collect::<Vec<_>>());
    let end_entity = EndEntityCert::try_from(&leaf).ok()?;
    let anchors = std::slice::from_ref(anchor);
    end_entity
        .verify_for_usage(ALGORITHMS, anchors, &below, unix_time(at), purpose, None, None)
        .map(|_| ())
        .err()
}

fn is_anchor(store: &TrustStore, issuer: &Issuer) -> bool {
    store.anchors.iter().any(|anchor| std::ptr::eq(&raw const anchor.issuer, issuer))
}

/// Anchors first, as webpki does.
fn by_name<'a>(
    store: &'a TrustStore,
    subject: &Certificate,
    pool: &[&'a Issuer],
) -> impl Iterator<Item = &'a Issuer> {
    let name = subject.issuer_der().to_vec();
    let anchors = store.anchors.iter().map(|anchor| &anchor.issuer);
    anchors.chain(pool.to_vec()).filter(move |issuer| *issuer.certificate.subject_der() == *name)
}

fn is_signed_by(subject: &Certificate, issuer: &Certificate) -> bool {
    match (subject.x509(), issuer.x509()) {
        (Ok(subject), Ok(issuer)) => subject.verify_signature(Some(issuer.public_key())).is_ok(),
        (_, _) => false,
    }
}

fn fault_of(issuer: &Issuer, at: Timestamp) -> Option<ChainError> {
    check_issuer_form(issuer)
        .and_then(|()| check_key_cert_sign(issuer))
        .and_then(|()| check_issuer_dates(issuer, at))
        .err()
}

/// Errors that say what they are about, or that are about the path as a whole.
fn by_kind(
    leaf: &Certificate,
    steps: &[&Issuer],
    purpose: &Purpose,
    error: &webpki::Error,
) -> Option<ChainError> {
    use webpki::Error as E;
    let constraint = |detail: &str| {
        Some(ChainError::Constraint { leaf: named(leaf.subject(), ""), detail: detail.to_owned() })
    };
    if *error == E::PathLenConstraintViolated {
        return constraint("a path length is exceeded");
    }
    if *error == E::NameConstraintViolation || *error == E::MalformedNameConstraint {
        return constraint("a name constraint of an issuer does not allow its names");
    }
    if *error == E::MaximumPathDepthExceeded {
        return constraint("the path is longer than 6 intermediates");
    }
    if [
        E::MaximumSignatureChecksExceeded,
        E::MaximumPathBuildCallsExceeded,
        E::MaximumNameConstraintComparisonsExceeded,
    ]
    .contains(error)
    {
        return constraint("there are too many paths to try");
    }
    if *error == E::EmptyEkuExtension || matches!(error, E::RequiredEkuNotFoundContext(_)) {
        let other = |issuer: &&&Issuer| {
            let purposes = issuer.certificate.extended_key_usage();
            purposes.is_some_and(|found| !found.iter().any(|oid| Some(oid.as_str()) == purpose.oid()))
        };
        let issuer = steps.iter().find(other)?;
        let found = issuer.certificate.extended_key_usage().map(|found| found.join(", ")).unwrap_or_default();
        let found = if found.is_empty() { "nothing".to_owned() } else { found };
        return Some(ChainError::Purpose { name: issuer.name(), expected: purpose.to_string(), found });
    }
    if matches!(error, E::UnsupportedSignatureAlgorithmContext(_)) {
        // The one below the last step is signed with something that is not accepted; SHA-1 is followed, though.
        let mut certificates = std::iter::once(leaf).chain(steps.iter().map(|issuer| &issuer.certificate));
        let refused = certificates.find(|c| !ACCEPTED.contains(&c.signature_algorithm()))?;
        let (name, algorithm) = (named(refused.subject(), ""), refused.signature_algorithm().to_owned());
        return Some(ChainError::Algorithm { name, algorithm });
    }
    None
}

/// The OIDs of [`super::validate::ALGORITHMS`].
const ACCEPTED: [&str; 7] = [
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.3.101.112",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.113549.1.1.10",
];

/// By where the ascent ended.
fn by_end(
    store: &TrustStore,
    leaf: &Certificate,
    pool: &[&Issuer],
    steps: &[&Issuer],
    error: &webpki::Error,
) -> ChainError {
    let top = steps.last().map_or(leaf, |issuer| &issuer.certificate);
    let subject = steps.last().map_or_else(|| named(leaf.subject(), ""), |issuer| issuer.name());
    if steps.last().is_some_and(|issuer| is_anchor(store, issuer)) {
        // Every name and signature is right: webpki dislikes something else, and only its own word for it is known.
        return by_webpki(leaf, error);
    }
    let namesake = by_name(store, top, pool).find(|issuer| !is_signed_by(top, &issuer.certificate));
    match namesake {
        Some(issuer) => ChainError::Signature { subject, issuer: issuer.name() },
        None => ChainError::UnknownIssuer { subject, issuer: format!("`{}`", top.issuer()) },
    }
}

fn by_webpki(leaf: &Certificate, error: &webpki::Error) -> ChainError {
    use webpki::Error as E;
    let form = [E::BadDer, E::BadDerTime, E::ExtensionValueInvalid, E::MalformedExtensions];
    if form.contains(error) || matches!(error, E::TrailingData(_)) {
        let fault = CertificateError::Malformed(error.to_string());
        return ChainError::Certificate { role: "leaf or issuer", name: named(leaf.subject(), ""), fault };
    }
    ChainError::Constraint {
        leaf: named(leaf.subject(), ""),
        detail: format!("no path is acceptable ({error})"),
    }
}
