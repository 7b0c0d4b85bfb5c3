//! Trust material that changes while it is in use: a new revocation list, above all.

use super::slot::{self, Content, Slot};
use super::{TrustFileError, TrustFileErrors, TrustFiles};
use crate::config::Config;
use crate::limits::Limits;
use crate::pki::chain::TrustStore;
use crate::pki::crl::{Crl, CrlAge};
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
    /// The newest list that was in use, by its issuer's name and key.
    newest: HashMap<Authority, (CrlAge, [u8; 32])>,
    /// What is wrong with the files together.
    conflict: Option<TrustFileError>,
}

/// An issuer's name in DER, and its key identifier.
type Authority = (Vec<u8>, Option<Vec<u8>>);

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
            remember(&mut newest, slot.content.as_ref());
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
                    remember(&mut self.newest, self.slots[*index].content.as_ref());
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

/// A verifier that keeps up with the files.
#[derive(Debug)]
pub struct ReloadingVerifier {
    reloader: TrustReloader,
    policy: LivePolicy,
    limits: Limits,
    verifier: Arc<Verifier>,
    looked: Timestamp,
    /// The faults that were logged.
    said: Vec<TrustFileError>,
}

impl ReloadingVerifier {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// As [`TrustFiles::load`].
    pub fn open(
        config: &Config,
        policy: impl Into<LivePolicy>,
        limits: Limits,
    ) -> Result<Self, TrustFileErrors> {
        let policy = policy.into();
        let reloader = TrustReloader::open(config)?;
        let verifier = reloader.verifier(policy.clone(), limits);
        let verifier = Arc::new(verifier.map_err(|error| TrustFileErrors(vec![error]))?);
        Ok(Self { reloader, policy, limits, verifier, looked: Timestamp::MIN, said: Vec::new() })
    }

    /// The verifier to go by at a time. Looks at the files once a second at the most, and logs what is wrong with them.
    pub fn current(&mut self, now: Timestamp) -> &Arc<Verifier> {
        if now != self.looked {
            self.looked = now;
            if self.reloader.refresh(now) == Refresh::Replaced {
                match self.reloader.verifier(self.policy.clone(), self.limits) {
                    Ok(verifier) => {
                        self.verifier = Arc::new(verifier);
                        tracing::info!("trust was read anew");
                    }
                    Err(error) => tracing::error!(%error, "trust stays as it was"),
                }
            }
            let faults: Vec<TrustFileError> = self.reloader.faults().cloned().collect();
            for fault in faults.iter().filter(|fault| !self.said.contains(fault)) {
                tracing::warn!(%fault, "a file of trust is not taken");
            }
            self.said = faults;
        }
        &self.verifier
    }
}

fn authority(crl: &Crl) -> Authority {
    (crl.issuer_der().to_vec(), crl.authority_key_id().map(<[u8]>::to_vec))
}

fn lists(content: Option<&Content>) -> &[Arc<Crl>] {
    match content {
        Some(Content::Crls(lists)) => lists,
        Some(Content::Certificates(_) | Content::Raw(_)) | None => &[],
    }
}

fn remember(newest: &mut HashMap<Authority, (CrlAge, [u8; 32])>, content: Option<&Content>) {
    for crl in lists(content) {
        let of = authority(crl);
        if newest.get(&of).is_none_or(|(age, _)| *age < crl.age()) {
            newest.insert(of, (crl.age(), crl.sha256()));
        }
    }
}

/// The first list that is older than one that was in use, or another of the same number and date.
fn older(
    newest: &HashMap<Authority, (CrlAge, [u8; 32])>,
    slot: &Slot,
    new: &Content,
) -> Option<TrustFileError> {
    lists(Some(new)).iter().find_map(|crl| {
        let (age, digest) = newest.get(&authority(crl))?;
        let is_newer = crl.age() > *age || (crl.age() == *age && crl.sha256() == *digest);
        (!is_newer).then(|| TrustFileError::CrlOlder {
            file: slot.file.clone(),
            found: crl.number_hex(),
            this_update: crl.this_update(),
            expected: age.number_hex(),
        })
    })
}

#[cfg(test)]
mod tests;
