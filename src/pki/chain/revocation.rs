//! Revocation along one path: each list that is needed is found, named, and judged; webpki has the last word.

use super::validate::{ALGORITHMS, Candidate, unix_time};
use super::{ChainError, LabelledCrl, TrustStore, named};
use crate::pki::certificate::Certificate;
use crate::time::Timestamp;
use rustls_pki_types::CertificateDer;
use std::slice;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

/// Checks every certificate of the path, the anchor excepted, and gives the window in which the lists hold.
pub(super) fn check(
    store: &TrustStore,
    path: &Candidate<'_>,
    leaf: &EndEntityCert<'_>,
    at: Timestamp,
) -> Result<Vec<(Timestamp, Timestamp)>, ChainError> {
    let mut lists = Vec::new();
    for (subject, issuer) in path.links() {
        let list = list_for(store, subject, &issuer.certificate).ok_or_else(|| ChainError::CrlMissing {
            subject: named(subject.subject(), ""),
            issuer: issuer.name(),
        })?;
        check_dates(list, at)?;
        lists.push(list);
    }
    check_by_webpki(path, leaf, &lists, at)?;
    // webpki has looked up the serial number as it is spelt, in the one list. Here every spelling is found, and in every
    // list of the issuer's name: an authority that changed its key may revoke with the new one what it signed with the old.
    for (subject, _) in path.links() {
        for list in store.crls.iter().filter(|list| list.crl.issuer_der() == subject.issuer_der()) {
            check_entry(path, subject, list)?;
        }
    }
    Ok(lists.iter().map(|list| (list.crl.this_update(), list.crl.next_update().plus_seconds(-1))).collect())
}

/// The newest list of the issuer with this name and, where both say so, this key.
fn list_for<'a>(
    store: &'a TrustStore,
    subject: &Certificate,
    issuer: &Certificate,
) -> Option<&'a LabelledCrl> {
    let by_name = || store.crls.iter().filter(|list| list.crl.issuer_der() == subject.issuer_der());
    let by_key = by_name().filter(|list| match (list.crl.authority_key_id(), issuer.subject_key_id()) {
        (Some(said), Some(had)) => said == had,
        (_, _) => true,
    });
    // A list of the right name and the wrong key is a telling error, more than a missing one.
    by_key
        .max_by(|a, b| a.crl.newness().cmp(&b.crl.newness()))
        .or_else(|| by_name().max_by(|a, b| a.crl.newness().cmp(&b.crl.newness())))
}

fn check_dates(list: &LabelledCrl, at: Timestamp) -> Result<(), ChainError> {
    let (label, issuer) = (|| list.label.clone(), || list.crl.issuer().to_owned());
    let (this_update, next_update) = (list.crl.this_update(), list.crl.next_update());
    if at < this_update {
        return Err(ChainError::CrlNotYetValid { list: label(), issuer: issuer(), this_update, at });
    }
    if at >= next_update {
        return Err(ChainError::CrlStale { list: label(), issuer: issuer(), next_update, at });
    }
    Ok(())
}

fn check_entry(path: &Candidate<'_>, subject: &Certificate, list: &LabelledCrl) -> Result<(), ChainError> {
    let Some(entry) = list.crl.revocation(subject.serial()) else { return Ok(()) };
    let (serial, date, reason) = (subject.serial_hex(), entry.date, entry.reason_name());
    let list = list.label.clone();
    Err(if std::ptr::eq(subject, path.leaf) {
        ChainError::Revoked { leaf: path.name_of(subject), serial, date, reason, list }
    } else {
        ChainError::IssuerRevoked { issuer: path.name_of(subject), serial, date, reason, list }
    })
}

/// The path again, and only it, with its lists: their signatures, `cRLSign`, scope, dates and entries.
fn check_by_webpki(
    path: &Candidate<'_>,
    leaf: &EndEntityCert<'_>,
    lists: &[&LabelledCrl],
    at: Timestamp,
) -> Result<(), ChainError> {
    let intermediates: Vec<CertificateDer<'_>> =
        path.issuers.iter().map(|issuer| CertificateDer::from(issuer.certificate.der().as_ref())).collect();
    let webpki_lists: Vec<&CertRevocationList<'_>> = lists.iter().map(|list| list.crl.webpki()).collect();
    let verify = |depth| {
        let options = RevocationOptionsBuilder::new(&webpki_lists)
            .map_err(|_| webpki::Error::UnknownRevocationStatus)?
            .with_depth(depth)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        leaf.verify_for_usage(
            ALGORITHMS,
            slice::from_ref(path.webpki_anchor),
            &intermediates,
            unix_time(at),
            path.purpose,
            Some(options),
            None,
        )
        .map(|_| ())
    };
    let Err(error) = verify(RevocationCheckDepth::Chain) else { return Ok(()) };
    if error == webpki::Error::CertRevoked {
        let entries = path.links().zip(lists).map(|((subject, _), list)| check_entry(path, subject, list));
        if let Some(revoked) = entries.filter_map(Result::err).next() {
            return Err(revoked);
        }
    }
    // Which list it was, webpki does not say. The leaf's can be tried alone; of the others, the first is named.
    let leaf_is_well = verify(RevocationCheckDepth::EndEntity).is_ok();
    let mut links = path.links().zip(lists);
    let first = links.next();
    let at_fault = if leaf_is_well { links.next().or(first) } else { first };
    Err(match at_fault {
        Some(((subject, issuer), list)) => fault(subject, issuer.name(), list, &error),
        // Every path has a leaf, and every leaf an issuer; if it had none, nothing would have been checked.
        None => {
            ChainError::CrlMissing { subject: path.name_of(path.leaf), issuer: path.leaf.issuer().to_owned() }
        }
    })
}

fn fault(subject: &Certificate, issuer: String, list: &LabelledCrl, error: &webpki::Error) -> ChainError {
    use webpki::Error as E;
    let label = list.label.clone();
    if *error == E::UnknownRevocationStatus {
        // The list has this issuer's name, so it is its scope that does not cover the certificate.
        return ChainError::CrlMissing { subject: named(subject.subject(), ""), issuer };
    }
    let detail = if *error == E::IssuerNotCrlSigner {
        "the issuer's key usage does not have cRLSign"
    } else {
        "its signature does not verify under the issuer's key"
    };
    ChainError::CrlSignature { list: label, issuer, detail }
}
