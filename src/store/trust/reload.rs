//! Trust material that changes while it is in use: a new revocation list, above all.

use super::slot::{self, Content, Kind, Slot};
use super::{TrustFileError, TrustFileErrors, TrustFiles};
use crate::config::Config;
use crate::limits::Limits;
use crate::pki::chain::TrustStore;
use crate::pki::crl::CrlAge;
use crate::pki::legacy;
use crate::policy::LivePolicy;
use crate::time::Timestamp;
use crate::verify::Verifier;
use std::collections::HashMap;
use std::sync::Arc;

/// Keeps up with the files that the configuration names. Whoever verifies calls [`TrustReloader::refresh`] from time to time;
/// between changes that is one `stat` a file.
///
/// What is not good is not taken: of a file that is half-written, gone, or wrong, what was good in it before stays in use,
/// and the others are taken all the same. No list is taken that is older than one that was in use since this was made,
/// whichever file it comes in. What is kept so ages as it would have anyway: a list that is never replaced goes stale, and
/// then everything is refused.
#[derive(Debug)]
pub struct TrustReloader {
    config: Config,
    slots: Vec<Slot>,
    store: Option<Arc<TrustStore>>,
    /// The newest list that was in use of each authority.
    newest: HashMap<Authority, (CrlAge, [u8; 32])>,
    /// What is wrong with the files together.
    conflict: Option<TrustFileError>,
}

/// Whose list it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Authority {
    /// Of a legacy authority, where other rules hold.
    is_legacy: bool,
    /// Its name in DER.
    name: Vec<u8>,
    /// Its key identifier, if its lists say it.
    key_id: Option<Vec<u8>>,
}

/// What a look at the files brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Refresh {
    /// Something changed: a new verifier is to be made.
    Replaced,
    /// What is in use stays in use.
    Unchanged,
}

impl TrustReloader {
    /// Reads what the configuration names. At the start, everything has to be good.
    ///
    /// # Errors
    /// As [`TrustFiles::load`].
    pub fn open(config: &Config) -> Result<Self, TrustFileErrors> {
        let (TrustFiles { store, legacy: _ }, slots) = TrustFiles::read(config)?;
        let mut newest = HashMap::new();
        for slot in &slots {
            remember(&mut newest, slot);
        }
        Ok(Self { config: config.clone(), slots, store, newest, conflict: None })
    }

    /// Looks whether a file changed since, and takes what is good. `now` is the time by the clock that files are dated by.
    pub fn refresh(&mut self, now: Timestamp) -> Refresh {
        let mut replaced = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(new) = slot.look(now) else { continue };
            if let Some(fault) = older(&self.newest, slot, &new) {
                slot.fault = Some(fault);
                continue;
            }
            replaced.push((index, slot.content.replace(new)));
        }
        if replaced.is_empty() {
            return Refresh::Unchanged;
        }
        let built = slot::legacy(&self.slots, &self.config)
            .and_then(|_| slot::store(&self.slots).map_err(TrustFileError::from));
        match built {
            Ok(store) => {
                for (index, _) in &replaced {
                    remember(&mut self.newest, &self.slots[*index]);
                }
                (self.store, self.conflict) = (store.map(Arc::new), None);
                Refresh::Replaced
            }
            // Each is well and together they are not: they are read again each time, for another may make it good.
            Err(conflict) => {
                for (index, old) in replaced {
                    self.slots[index].content = old;
                    self.slots[index].forget();
                }
                self.conflict = Some(conflict);
                Refresh::Unchanged
            }
        }
    }

    /// Has every file read again at the next look, however it looks.
    pub fn forget(&mut self) {
        self.slots.iter_mut().for_each(Slot::forget);
    }

    /// What is wrong with the files as they are now, for as long as it is.
    pub fn faults(&self) -> impl Iterator<Item = &TrustFileError> {
        self.slots.iter().filter_map(|slot| slot.fault.as_ref()).chain(&self.conflict)
    }

    /// What is trusted now; `None` where a legacy authority is all that is.
    pub fn store(&self) -> Option<&Arc<TrustStore>> {
        self.store.as_ref()
    }

    /// A verifier that goes by what is trusted now, and by a policy.
    ///
    /// # Errors
    /// [`TrustFileError`], if the legacy authority cannot be made again: it was made from the same bytes before.
    pub fn verifier(
        &self,
        policy: impl Into<LivePolicy>,
        limits: Limits,
    ) -> Result<Verifier, TrustFileError> {
        let legacy = slot::legacy(&self.slots, &self.config)?;
        Ok(TrustFiles { store: self.store.clone(), legacy }.into_verifier(policy, limits))
    }
}

/// The lists in a file: whose, how new, and which.
fn lists(kind: Kind, content: Option<&Content>) -> Vec<(Authority, CrlAge, [u8; 32])> {
    match content {
        Some(Content::Crls(lists)) => lists
            .iter()
            .map(|crl| {
                let (name, key_id) = (crl.issuer_der().to_vec(), crl.authority_key_id().map(<[u8]>::to_vec));
                (Authority { is_legacy: false, name, key_id }, crl.age(), crl.sha256())
            })
            .collect(),
        // What is no list at all is said when the legacy authority is made of it.
        Some(Content::Raw(bytes)) if kind == Kind::LegacyCrl => legacy::list_age(bytes)
            .map(|(name, age, sha256)| (Authority { is_legacy: true, name, key_id: None }, age, sha256))
            .into_iter()
            .collect(),
        Some(Content::Certificates(_) | Content::Raw(_)) | None => Vec::new(),
    }
}

fn remember(newest: &mut HashMap<Authority, (CrlAge, [u8; 32])>, slot: &Slot) {
    for (of, age, sha256) in lists(slot.kind, slot.content.as_ref()) {
        if newest.get(&of).is_none_or(|(known, _)| *known < age) {
            newest.insert(of, (age, sha256));
        }
    }
}

/// The first list that is older than one that was in use, or another of the same number and date.
fn older(
    newest: &HashMap<Authority, (CrlAge, [u8; 32])>,
    slot: &Slot,
    new: &Content,
) -> Option<TrustFileError> {
    lists(slot.kind, Some(new)).into_iter().find_map(|(of, found, sha256)| {
        let (known, digest) = newest.get(&of)?;
        let is_newer = found > *known || (found == *known && sha256 == *digest);
        let file = || slot.file.clone();
        (!is_newer).then(|| TrustFileError::CrlOlder { file: file(), found, expected: known.clone() })
    })
}

#[cfg(test)]
mod tests;
