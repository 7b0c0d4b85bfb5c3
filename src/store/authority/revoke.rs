//! Revocation: marked in the index, said by the lists, and then seen to work.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Entry, EntryRevocation, Level, Stage};
use super::{AuthorityStore, WrittenCrl};
use crate::identity::SpiffeId;
use crate::pki::authority::{AuthorityError, RevocationReason};
use crate::pki::certificate::Certificate;
use crate::pki::chain::{ChainError, Purpose, TrustStore, ValidatedLeaf};
use crate::pki::serial::Serial;
use crate::time::Timestamp;

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The certificate in a file.
    Certificate(Vec<u8>),
    /// Every certificate of an identity that is not expired.
    Identity(SpiffeId),
    /// Every certificate that a service got before a time, and that is neither revoked nor expired.
    IssuedBefore(Timestamp),
    /// Every certificate of `SERVICE-HOST` that is not expired.
    Name(String),
    /// One serial number.
    Serial(Serial),
}

/// A revocation, and what the validation code says of the certificate since.
#[derive(Debug)]
pub struct Revocation {
    /// The certificate, as the index has it now.
    pub entry: Entry,
    /// Whether it had been revoked before.
    pub was_revoked: bool,
    /// The list that names it.
    pub list: WrittenCrl,
    /// What a consumer who has the files of this directory now says.
    pub verdict: Result<ValidatedLeaf, ChainError>,
}

impl AuthorityStore {
    /// Revokes, writes the lists that now say so, and asks the validation code, with the files as they then are, what it
    /// makes of each certificate. A certificate that was revoked before keeps its date, and its reason unless the new one is
    /// a compromise, and is checked again. `invalid_since` says since when its key is not to be relied on (RFC 5280, 5.3.2).
    ///
    /// # Errors
    /// [`AuthorityStoreError::NotIssued`] if the index does not have it; [`AuthorityStoreError::Ambiguous`] if a name is two
    /// services'; [`AuthorityStoreError::KeyAway`] if the list's signer has no key here;
    /// [`AuthorityStoreError::InvalidSince`] if that has not come.
    pub fn revoke(
        &mut self,
        target: &Target,
        reason: RevocationReason,
        invalid_since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, AuthorityStoreError> {
        if let Some(found) = invalid_since.filter(|since| *since > now) {
            return Err(AuthorityStoreError::InvalidSince { found, now });
        }
        let _lock = self.lock()?;
        let entries = self.find(target, now)?;
        // Before anything is marked: a revocation that no list can carry would look done.
        let mut signers = Vec::new();
        for issuer in self.trusted().map(|known| known.id) {
            if entries.iter().any(|entry| entry.issuer == issuer) {
                signers.push((issuer, self.signer(issuer, now)?));
            }
        }
        // What a retired authority issued is refused already, and there is no list of its to name it. Beside others it is marked
        // with them: its key is not to be certified again.
        let is_listed = |entry: &Entry| signers.iter().any(|(of, _)| *of == entry.issuer);
        let is_named = matches!(target, Target::Certificate(_) | Target::Serial(_));
        if let Some(entry) = entries.iter().find(|entry| !is_listed(entry))
            && (is_named || !entries.iter().any(is_listed))
        {
            let known = self.generation(entry.issuer);
            return Err(match known.map(|known| known.stage) {
                Some(found) => {
                    let (authority, expected) = (entry.issuer, Stage::Active);
                    AuthorityStoreError::WrongStage { authority, found, expected }
                }
                None => AuthorityStoreError::Unknown { authority: entry.issuer },
            });
        }
        let unlisted: Vec<AuthorityId> =
            entries.iter().filter(|entry| !is_listed(entry)).map(|entry| entry.issuer).collect();
        let revocation = EntryRevocation { at: now, reason, invalid_since };
        let numbers = self.index.retire(&entries, revocation, &[], &unlisted)?;
        let mut lists = Vec::new();
        for (issuer, number) in numbers {
            if let Some((_, signer)) = signers.iter().find(|(of, _)| *of == issuer) {
                lists.push(self.write_crl(issuer, signer, number, None, now)?);
            }
        }
        let store = self.trust_store()?;
        let mut revocations = Vec::new();
        for before in entries.into_iter().filter(|entry| !unlisted.contains(&entry.issuer)) {
            let found = self.index.by_serial(&before.serial)?;
            let entry = found.into_iter().find(|entry| entry.issuer == before.issuer);
            let list = lists.iter().find(|list| list.signer == before.issuer);
            let (Some(entry), Some(list)) = (entry, list) else {
                return Err(AuthorityStoreError::NotIssued { found: before.serial.to_string() });
            };
            let verdict = self.verdict(&store, &entry, now)?;
            let (was_revoked, list) = (before.revocation.is_some(), list.clone());
            revocations.push(Revocation { entry, was_revoked, list, verdict });
        }
        Ok(revocations)
    }

    /// The certificates that are meant, as the index has them.
    ///
    /// # Errors
    /// [`AuthorityStoreError::NotIssued`] if there are none; [`AuthorityStoreError::Ambiguous`] if a name is two services'.
    pub fn find(&self, target: &Target, now: Timestamp) -> Result<Vec<Entry>, AuthorityStoreError> {
        let (found, entries) = match target {
            Target::Serial(serial) => (serial.to_string(), self.index.by_serial(serial)?),
            Target::Certificate(der) => {
                let certificate = Certificate::parse(der).map_err(AuthorityError::from)?;
                let serial = Serial::from_bytes(certificate.serial()).map_err(AuthorityError::from)?;
                let mut entries = self.index.by_serial(&serial)?;
                // Another authority may have given the same serial number.
                entries.retain(|entry| entry.der == *der);
                (format!("{} with serial number {serial}", certificate.subject()), entries)
            }
            Target::Identity(identity) => {
                (identity.to_string(), unexpired(self.index.by_identity(identity)?, now))
            }
            Target::IssuedBefore(time) => {
                (format!("still good and from before {time}"), self.index.issued_before(*time, now)?)
            }
            Target::Name(name) => (name.clone(), unexpired(self.index.by_name(name)?, now)),
        };
        if entries.is_empty() {
            return Err(AuthorityStoreError::NotIssued { found });
        }
        if matches!(target, Target::IssuedBefore(_)) {
            return Ok(entries);
        }
        let mut identities: Vec<String> = entries
            .iter()
            .map(|entry| entry.identity.as_ref().map_or_else(|| entry.name.clone(), ToString::to_string))
            .collect();
        identities.sort();
        identities.dedup();
        if identities.len() > 1 {
            return Err(AuthorityStoreError::Ambiguous { name: found, found: identities });
        }
        Ok(entries)
    }

    /// What a consumer says. An authority is judged by what it issues: a leaf that is made for the purpose.
    fn verdict(
        &self,
        store: &TrustStore,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<Result<ValidatedLeaf, ChainError>, AuthorityStoreError> {
        if entry.identity.is_some() {
            return Ok(store.validate(&entry.der, &[], &Purpose::DocumentSigning, now));
        }
        let revoked = self.trusted().find(|known| {
            let cross = known.cross.as_ref().map(|(_, certificate)| certificate);
            std::iter::once(&known.certificate).chain(cross).any(|own| own.der()[..] == entry.der)
        });
        let authority = revoked.map_or_else(|| self.active(Level::Issuing), |known| known.id);
        let probe = self.probe(&self.signer(authority, now)?, now)?;
        Ok(store.validate(&probe, &[], &Purpose::DocumentSigning, now))
    }
}

/// What has expired is refused anyway, unless nothing else is there.
fn unexpired(mut entries: Vec<Entry>, now: Timestamp) -> Vec<Entry> {
    if entries.iter().any(|entry| now <= entry.not_after) {
        entries.retain(|entry| now <= entry.not_after);
    }
    entries
}
