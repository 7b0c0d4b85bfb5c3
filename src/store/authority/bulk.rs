//! Issuing many at once: the authority is loaded once, a group of certificates is entered in one transaction, and all
//! processors sign.
//!
//! What holds for one holds for each: it is in the index, for good, before it is in a file or given to anybody. Everything that
//! can be refused is, before the first is issued.

use super::AuthorityStore;
use super::error::AuthorityStoreError;
use super::index::{AuthorityId, NewEntry};
use super::issue::{IssueRequest, IssuedService, Planned, sign};
use crate::identity::SpiffeId;
use crate::pki::authority::{Authority, AuthorityError, Issued};
use crate::pki::key::PrivateKey;
use crate::pki::profile::{Approved, ProfileName};
use crate::pki::serial::Serial;
use crate::store::credentials;
use crate::time::Timestamp;
use std::collections::HashSet;
use std::num::NonZero;
use std::path::Path;
use std::thread;

/// How many certificates are entered in one transaction.
const GROUP: usize = 1_000;
/// The most threads that sign.
const MOST_THREADS: usize = 16;

/// A certificate that is wanted for a key that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifyRequest {
    /// Whom it is to name. That they have the key, the caller has seen to.
    pub identity: SpiffeId,
    /// The key: a SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    /// The profile by which it is judged.
    pub profile: ProfileName,
    /// How many days the certificate is to live; the profile says otherwise.
    pub days: Option<u32>,
}

/// A certificate that was issued for such a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The certificate.
    pub issued: Issued,
    /// Its serial number.
    pub serial: Serial,
    /// Whether its life was cut short by its issuer's.
    pub is_cut: bool,
}

/// One of a group.
struct Wanted<'a> {
    approved: &'a Approved,
    files: Option<(&'a Path, &'a Path)>,
}

impl<'a> Wanted<'a> {
    fn pair((planned, _, approved): &'a (Planned, PrivateKey, Approved)) -> Self {
        Self { approved, files: Some((&planned.certificate_path, &planned.key_path)) }
    }
}

impl AuthorityStore {
    /// Issues certificates and keys to services, and writes the pairs, as [`AuthorityStore::issue`] does one by one.
    ///
    /// # Errors
    /// As [`AuthorityStore::issue`], and [`AuthorityStoreError::Twice`]: then nothing was issued. If a file cannot be written,
    /// what was issued before is in the index, and the next [`AuthorityStore::recover`] sees to the files.
    pub fn issue_many(
        &mut self,
        requests: &[IssueRequest],
        now: Timestamp,
    ) -> Result<Vec<IssuedService>, AuthorityStoreError> {
        let _lock = self.lock()?;
        let mut planned = Vec::with_capacity(requests.len());
        let mut paths = HashSet::new();
        for request in requests {
            let one = self.plan(request, now)?;
            if !paths.insert(one.certificate_path.clone()) {
                return Err(AuthorityStoreError::Twice { path: one.certificate_path });
            }
            planned.push(one);
        }
        let (issuer, signer) = self.ready_to_issue(now)?;
        let keys = in_parallel(&planned, |one| PrivateKey::generate(one.key_kind));
        let keys = keys.map_err(AuthorityError::from)?;
        let approve = |(one, key): (Planned, PrivateKey)| {
            let approved = self.profiles.approve(one.profile, &one.identity, key.public_spki(), one.days)?;
            Ok((one, key, approved))
        };
        let all = planned.into_iter().zip(keys).map(approve);
        let all = all.collect::<Result<Vec<_>, AuthorityStoreError>>()?;
        self.check_not_compromised(all.iter().map(|(_, _, approved)| approved))?;

        let chain = self.sent_chain(issuer);
        let mut made = Vec::with_capacity(all.len());
        for group in all.chunks(GROUP) {
            let wanted: Vec<Wanted<'_>> = group.iter().map(Wanted::pair).collect();
            let entered = self.enter_all(issuer, &signer, &wanted, now)?;
            let pairs: Vec<_> = group.iter().zip(&entered).collect();
            in_parallel(&pairs, |((one, key, _), (issued, _))| {
                credentials::replace(&one.certificate_path, &one.key_path, &issued.to_pem(&chain), key)
            })?;
            let serials: Vec<&Serial> = entered.iter().map(|(_, serial)| serial).collect();
            self.index.files_written(issuer, &serials)?;
            made.extend(group.iter().zip(entered).map(|((one, _, approved), (issued, serial))| {
                let is_cut = issued.certificate().not_after() < now.plus(approved.lifetime());
                one.clone().issued(issued, serial, is_cut)
            }));
        }
        Ok(made)
    }

    /// Issues certificates for keys that are elsewhere, and writes no file: the caller hands them out.
    ///
    /// # Errors
    /// [`AuthorityStoreError::TrustDomain`], [`AuthorityStoreError::Refused`] or [`AuthorityStoreError::KeyCompromised`] for
    /// what nobody gets; and whatever issuing meets.
    pub fn certify_many(
        &mut self,
        requests: &[CertifyRequest],
        now: Timestamp,
    ) -> Result<Vec<Certified>, AuthorityStoreError> {
        let _lock = self.lock()?;
        let approve = |request: &CertifyRequest| {
            if request.identity.trust_domain() != self.trust_domain {
                let (identity, expected) = (request.identity.clone(), self.trust_domain.clone());
                return Err(AuthorityStoreError::TrustDomain { identity, expected });
            }
            let CertifyRequest { identity, spki, profile, days } = request;
            Ok(self.profiles.approve(*profile, identity, spki, *days)?)
        };
        let approved = requests.iter().map(approve).collect::<Result<Vec<_>, _>>()?;
        let wanted: Vec<Wanted<'_>> =
            approved.iter().map(|approved| Wanted { approved, files: None }).collect();
        self.check_not_compromised(&approved)?;
        let (issuer, signer) = self.ready_to_issue(now)?;
        let mut made = Vec::with_capacity(requests.len());
        for group in wanted.chunks(GROUP) {
            let entered = self.enter_all(issuer, &signer, group, now)?;
            made.extend(group.iter().zip(entered).map(|(wanted, (issued, serial))| {
                let is_cut = issued.certificate().not_after() < now.plus(wanted.approved.lifetime());
                Certified { issued, serial, is_cut }
            }));
        }
        Ok(made)
    }

    /// Who issues, once it is known that it may.
    pub(super) fn ready_to_issue(
        &self,
        now: Timestamp,
    ) -> Result<(AuthorityId, Authority), AuthorityStoreError> {
        let issuer = self.active(self.issues());
        self.check_not_revoked(issuer)?;
        Ok((issuer, self.signer(issuer, now)?))
    }

    fn enter_all(
        &self,
        issuer: AuthorityId,
        signer: &Authority,
        wanted: &[Wanted<'_>],
        now: Timestamp,
    ) -> Result<Vec<(Issued, Serial)>, AuthorityStoreError> {
        let issued = in_parallel(wanted, |one| sign(signer, one.approved, now))?;
        let entries: Vec<NewEntry<'_>> = wanted
            .iter()
            .zip(&issued)
            .map(|(one, issued)| NewEntry {
                issuer,
                certificate: issued.certificate(),
                identity: Some(one.approved.identity()),
                issued_at: now,
                request: None,
                files: one.files,
            })
            .collect();
        let serial = |issued: &Issued| Serial::from_bytes(issued.certificate().serial());
        let serials =
            issued.iter().map(serial).collect::<Result<Vec<_>, _>>().map_err(AuthorityError::from)?;
        self.index.add(&entries)?;
        Ok(issued.into_iter().zip(serials).collect())
    }
}

/// Does it for each, on all processors, and gives the outcomes in their order, or the first error in it.
fn in_parallel<T: Sync, R: Send, E: Send>(
    things: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let all = |part: &[T]| part.iter().map(&work).collect::<Result<Vec<R>, E>>();
    if threads == 1 || things.len() <= threads {
        return all(things);
    }
    thread::scope(|scope| {
        let parts: Vec<_> = things
            .chunks(things.len().div_ceil(threads))
            .map(|part| scope.spawn(move || all(part)))
            .collect();
        let mut outcomes = Vec::with_capacity(things.len());
        for part in parts {
            outcomes.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(outcomes)
    })
}
