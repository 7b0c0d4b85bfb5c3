//! Revocation along one path: each list that is needed is found, named, and judged.
//!
//! What RFC 5280 asks for (sections 6.3.3 and 5), and who sees to it. A list of a million entries is hashed once for each key,
//! and looked up in an index of ours: webpki is given the list without its entries ([`WithLists`]), and so the last two are ours
//! alone. Where two are named, both check.
//!
//! | check | section | by |
//! | --- | --- | --- |
//! | there is a list for every certificate of the path but the anchor | 6.3.3 (a) | here and webpki (unknown status is refused) |
//! | it is of version 2, complete, direct, not for some reasons only | 5.1.2.1, 5.2.4, 5.2.5 | [`Crl::parse`](crate::pki::crl::Crl::parse), webpki |
//! | it has no critical extension that is not understood, in itself or in an entry | 5.2, 5.3 | webpki, in every entry when the list is read |
//! | its issuer is the certificate's issuer, byte for byte | 6.3.3 (b) | here and webpki |
//! | its scope has the certificate in it, by its distribution point | 6.3.3 (b) | webpki |
//! | its issuer may sign lists (`cRLSign`), the anchor too | 6.3.3 (f) | here, and webpki below the anchor |
//! | it is not from the future | 5.1.2.4 | here |
//! | it is not stale | 5.1.2.5, 6.3.3 (a) | here and webpki |
//! | it is the newest of its issuer | 5.2.3 | the store's builder |
//! | its two algorithm identifiers are the same, and one that is accepted | 5.1.1.2, 5.1.2.2 | webpki |
//! | the key that has to have signed it is the one that leads to the anchor | 6.3.3 (g) | webpki |
//! | the signature is over all of it | 6.3.3 (g) | [`WithLists`] |
//! | the serial number is not in it, however it is spelt | 6.3.3 (i), (j) | here |

use super::validate::{ALGORITHMS, Candidate, unix_time};
use super::{ChainError, Issuer, LabelledCrl, TrustStore, named};
use crate::pki::certificate::Certificate;
use crate::pki::crl::{Crl, WithLists};
use crate::time::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use std::slice;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

/// Checks every certificate of the path, the anchor excepted, and gives the window in which the lists hold. The lists are judged
/// as of `lists_at`: those that tell of a certificate are the ones of today, whenever it was used.
pub(super) fn check(
    store: &TrustStore,
    path: &Candidate<'_>,
    leaf: &EndEntityCert<'_>,
    (at, lists_at): (Timestamp, Timestamp),
) -> Result<Vec<(Timestamp, Timestamp)>, ChainError> {
    let mut lists = Vec::new();
    for (subject, issuer) in path.links() {
        let list = list_for(store, subject, &issuer.certificate).ok_or_else(|| ChainError::CrlMissing {
            subject: named(subject.subject(), ""),
            issuer: issuer.name(),
        })?;
        check_dates(list, lists_at)?;
        check_crl_sign(list, issuer)?;
        lists.push(list);
    }
    check_by_webpki(path, leaf, &lists, at)?;
    // In every list of the issuer's name: an authority that changed its key may revoke with the new one what it signed with
    // the old.
    for (subject, _) in path.links() {
        for list in store.crls.iter().filter(|list| list.crl.issuer_der() == subject.issuer_der()) {
            check_entry(path, subject, list)?;
        }
    }
    Ok(lists.iter().map(|list| (list.crl.this_update(), list.crl.next_update().plus_seconds(-1))).collect())
}

/// Checks the signatures of the lists that are there under the keys that are known, so that the first leaf need not wait.
pub(super) fn prepare(crls: &[LabelledCrl], issuers: &[&Issuer]) {
    for list in crls {
        let of_its_name =
            issuers.iter().filter(|issuer| issuer.certificate.subject_der() == list.crl.issuer_der());
        of_its_name.for_each(|issuer| list.crl.prepare(ALGORITHMS, issuer.certificate.spki_der()));
    }
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

/// webpki does not know an anchor's key usage. An anchor without the extension may sign anything.
fn check_crl_sign(list: &LabelledCrl, issuer: &Issuer) -> Result<(), ChainError> {
    if issuer.certificate.key_usage().is_none_or(|usage| usage.crl_sign()) {
        return Ok(());
    }
    let (list, issuer) = (list.label.clone(), issuer.name());
    Err(ChainError::CrlSignature { list, issuer, detail: "the issuer's key usage does not have cRLSign" })
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

/// The path again, and only it, with its lists: who signed them, and their scope and dates.
fn check_by_webpki(
    path: &Candidate<'_>,
    leaf: &EndEntityCert<'_>,
    lists: &[&LabelledCrl],
    at: Timestamp,
) -> Result<(), ChainError> {
    let intermediates: Vec<CertificateDer<'_>> =
        path.issuers.iter().map(|issuer| CertificateDer::from(issuer.certificate.der().as_ref())).collect();
    let whole: Vec<&Crl> = lists.iter().map(|list| &*list.crl).collect();
    let without_entries: Vec<&CertRevocationList<'_>> =
        whole.iter().map(|list| list.without_entries()).collect();
    let algorithms: Vec<WithLists<'_>> =
        ALGORITHMS.iter().map(|algorithm| WithLists::new(*algorithm, &whole)).collect();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> =
        algorithms.iter().map(|algorithm| -> &dyn SignatureVerificationAlgorithm { algorithm }).collect();
    let verify = |depth| {
        let options = RevocationOptionsBuilder::new(&without_entries)
            .map_err(|_| webpki::Error::UnknownRevocationStatus)?
            .with_depth(depth)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        leaf.verify_for_usage(
            &algorithms,
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
