//! Rollover: another authority takes the place of the one that issues, and nothing that is in use is refused meanwhile.
//!
//! It is *prepared*: made, and trusted beside the old one. It becomes *active*: new certificates come from it, while what the
//! old one issued stays good; the old one is then *retiring*. When nobody uses it any more, that one is *retired*: taken
//! out of the files that consumers have. A root is rolled over together with an intermediate below it, which the old root vouches
//! for as well, so that a consumer that has only the old root accepts what the new one stands for.
//!
//! Each step is one entry in the index, and files that follow from it: whoever is killed between the two leaves what the next
//! command finishes.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Entry, EntryRevocation, Generation, Level, Stage, Step};
use super::{AuthorityStore, WrittenCrl, generate};
use crate::identity::SpiffeId;
use crate::pki::authority::{Authority, AuthorityError, RevocationReason};
use crate::pki::chain::Purpose;
use crate::pki::crl::Crl;
use crate::pki::key::{KeyKind, PrivateKey};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a step lasts at the least before the next one may follow, in seconds: running consumers and publishers look at
/// their files once a second, and one that was just started reads them a little later.
pub const SETTLE_SECONDS: i64 = 5;

/// What to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareRequest {
    /// The level. Below a new root there is a new intermediate.
    pub level: Level,
    /// Whether the old root vouches for what is below the new one. Without its key it cannot.
    pub cross: bool,
}

/// What was prepared: the root first, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The authorities that consumers trust from now on.
    pub made: Vec<AuthorityStatus>,
}

/// What to retire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetireRequest {
    /// The level. With a root go the intermediates below it.
    pub level: Level,
    /// Which one; otherwise all of the level that are retiring. Named, one that was prepared is dropped too.
    pub generation: Option<u32>,
    /// Whether certificates that are still in use are revoked.
    pub revoke: bool,
}

/// What was retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// The authorities.
    pub authorities: Vec<AuthorityId>,
    /// The certificates of services that were revoked with them.
    pub revoked: Vec<Entry>,
    /// The roots' lists that say so.
    pub lists: Vec<WrittenCrl>,
    /// Keys that are here and of no use any more.
    pub keys: Vec<PathBuf>,
    /// Whether a certificate of theirs is refused by whoever has the files as they are now; `None`, if there is none to try.
    pub is_refused: Option<bool>,
}

/// Who has certificates of an authority that are neither revoked nor expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Those whose newest certificate is one of its.
    pub using: Vec<Entry>,
    /// Those that have a newer one from an authority that stays.
    pub replaced: Vec<Entry>,
}

/// An authority, and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityStatus {
    /// What the index has of it.
    pub known: Generation,
    /// Where its key is, or would be.
    pub key: PathBuf,
    /// Whether its key is there.
    pub has_key: bool,
    /// Its list's number, date and next update; `None`, if it has none that can be read.
    pub list: Option<ListStatus>,
    /// Who uses it: of a root, whom the intermediates below it serve.
    pub users: Users,
}

/// An authority's list, as its file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListStatus {
    /// Its CRLNumber.
    pub number: Option<u64>,
    /// How many certificates it names.
    pub entries: usize,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Timestamp,
}

impl From<&Crl> for ListStatus {
    fn from(crl: &Crl) -> Self {
        let (this_update, next_update) = (crl.this_update(), crl.next_update());
        Self { number: crl.number(), entries: crl.len(), this_update, next_update }
    }
}

/// An authority that was made and is in no file yet.
struct Made {
    known: Generation,
    authority: Authority,
    key: Arc<PrivateKey>,
}

impl AuthorityStore {
    /// Every authority and who uses it, roots first, in the order of their making.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn status(&self, now: Timestamp) -> Result<Vec<AuthorityStatus>, AuthorityStoreError> {
        self.generations().iter().map(|known| self.status_of(known, now)).collect()
    }

    /// Makes another authority of a level, and has consumers trust it beside the one that issues.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Prepared`], if one waits to become active; [`AuthorityStoreError::KeyAway`], if the root's key is
    /// not here; [`AuthorityStoreError::Single`]; and whatever making and writing it meet.
    pub fn prepare(
        &mut self,
        request: PrepareRequest,
        now: Timestamp,
    ) -> Result<Prepared, AuthorityStoreError> {
        let _lock = self.lock()?;
        if let Some(waiting) = self.generations().iter().find(|known| known.stage == Stage::Prepared) {
            let (authority, since) = (waiting.id, waiting.since);
            return Err(AuthorityStoreError::Prepared { authority, since });
        }
        let made = match (request.level, self.is_single()) {
            (Level::Issuing, true) => return Err(AuthorityStoreError::Single),
            (Level::Issuing, false) => {
                let root = self.active(Level::Root);
                let signer = self.signer(root, now)?;
                vec![self.new_issuing(&signer, root, None, now)?]
            }
            (Level::Root, true) => vec![self.new_root(now)?],
            (Level::Root, false) => {
                let old = self.active(Level::Root);
                let signer = if request.cross { Some(self.signer(old, now)?) } else { None };
                let root = self.new_root(now)?;
                let cross = signer.as_ref().map(|signer| (old, signer));
                let issuing = self.new_issuing(&root.authority, root.known.id, cross, now)?;
                vec![root, issuing]
            }
        };
        self.publish(&made, now)?;
        let made = made.iter().map(|made| self.status_of(&made.known, now)).collect::<Result<_, _>>()?;
        Ok(Prepared { made })
    }

    /// Has the authority that was prepared issue from now on. What the old one issued stays good. Gives those that are active
    /// now, the root first.
    ///
    /// # Errors
    /// [`AuthorityStoreError::NothingAt`], if none was prepared; [`AuthorityStoreError::WithRoot`], if it is its root's turn;
    /// [`AuthorityStoreError::TooEarly`] within [`SETTLE_SECONDS`]; [`AuthorityStoreError::KeyAway`], if it could not issue; and
    /// [`AuthorityStoreError::Authority`], if consumers with the files as they are would refuse what it issues.
    pub fn activate(
        &mut self,
        level: Level,
        now: Timestamp,
    ) -> Result<Vec<AuthorityId>, AuthorityStoreError> {
        let _lock = self.lock()?;
        let prepared: Vec<Generation> =
            self.generations().iter().filter(|known| known.stage == Stage::Prepared).cloned().collect();
        let Some(first) = prepared.iter().find(|known| known.id.level == level) else {
            return Err(AuthorityStoreError::NothingAt { level, expected: Stage::Prepared });
        };
        if let Some(root) = prepared.iter().find(|known| Some(known.id) == first.parent) {
            return Err(AuthorityStoreError::WithRoot { authority: first.id, root: root.id });
        }
        self.check_settled(first, now)?;
        let mut steps = Vec::new();
        for known in &prepared {
            let old = Step { id: self.active(known.id.level), stage: Stage::Retiring };
            steps.extend([old, Step { id: known.id, stage: Stage::Active }]);
        }
        if let Some(issues) = prepared.iter().find(|known| known.id.level == self.issues()) {
            let signer = self.signer(issues.id, now)?;
            let probe = self.probe(&signer, now)?;
            let verdict = self.trust_store()?.validate(&probe, &[], &Purpose::DocumentSigning, now);
            verdict.map_err(AuthorityError::from)?;
        }
        self.index.move_on(&steps, now)?;
        self.follow()?;
        Ok(prepared.iter().map(|known| known.id).collect())
    }

    /// Takes authorities that issue nothing any more out of what consumers trust; its root revokes an intermediate. Certificates
    /// that were replaced are revoked with them.
    ///
    /// # Errors
    /// [`AuthorityStoreError::NothingAt`] and [`AuthorityStoreError::WrongStage`], if there is nothing of the kind;
    /// [`AuthorityStoreError::InUse`] with those who use it, unless they are to be revoked; [`AuthorityStoreError::TooEarly`]
    /// within [`SETTLE_SECONDS`]; [`AuthorityStoreError::KeyAway`], if the root's key is not here.
    pub fn retire(&mut self, request: RetireRequest, now: Timestamp) -> Result<Retired, AuthorityStoreError> {
        let _lock = self.lock()?;
        let leaving = self.leaving(request)?;
        let ids: Vec<AuthorityId> = leaving.iter().map(|known| known.id).collect();
        let mut entries = Vec::new();
        for known in &leaving {
            // One that was only prepared has issued nothing.
            if known.stage != Stage::Prepared {
                self.check_settled(known, now)?;
            }
            let Users { using, replaced } = self.users(known.id, now)?;
            if !using.is_empty() && !request.revoke {
                let authority = known.id;
                let mut users: Vec<SpiffeId> = using.into_iter().filter_map(|entry| entry.identity).collect();
                users.sort();
                return Err(AuthorityStoreError::InUse { authority, users });
            }
            let stamp =
                replaced.iter().filter_map(|old| old.identity.as_ref()).map(|id| self.newest(id, now));
            for newer in stamp.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
                let (authority, stage, since) = (known.id, known.stage, newer.issued_at);
                check_since(authority, stage, since, now)?;
            }
            entries.extend(using.into_iter().chain(replaced));
        }
        let revoked = entries.clone();
        // Before anything is marked: a revocation that no list can carry would look done.
        let mut signers: BTreeMap<AuthorityId, Authority> = BTreeMap::new();
        for known in &leaving {
            let vouching = known.parent.into_iter().chain(known.cross.as_ref().map(|(root, _)| *root));
            for root in vouching.filter(|root| !ids.contains(root)) {
                if self.generation(root).is_some_and(Generation::is_trusted) && !signers.contains_key(&root) {
                    signers.insert(root, self.signer(root, now)?);
                }
            }
            entries.extend(self.certificates_of(known)?);
        }
        let tried = self.one_of(&ids, now)?;
        let steps: Vec<Step> = ids.iter().map(|id| Step { id: *id, stage: Stage::Retired }).collect();
        let revocation =
            EntryRevocation { at: now, reason: RevocationReason::Superseded, invalid_since: None };
        let without: Vec<AuthorityId> =
            entries.iter().map(|entry| entry.issuer).filter(|issuer| !signers.contains_key(issuer)).collect();
        let numbers = self.index.retire(&entries, revocation, &steps, &without)?;
        self.generations = self.index.generations()?;
        let mut lists = Vec::new();
        for (id, number) in numbers {
            if let Some(signer) = signers.get(&id) {
                lists.push(self.write_crl(id, signer, number, None, now)?);
            }
        }
        self.follow()?;
        let store = self.trust_store()?;
        let refused = |leaf: Vec<u8>| store.validate(&leaf, &[], &Purpose::DocumentSigning, now).is_err();
        let keys = ids.iter().map(|id| self.key_path(*id)).filter(|path| path.exists()).collect();
        Ok(Retired { authorities: ids, revoked, lists, keys, is_refused: tried.map(refused) })
    }

    /// Who has certificates of an authority; of a root with intermediates, of those below it.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`].
    pub fn users(&self, id: AuthorityId, now: Timestamp) -> Result<Users, AuthorityStoreError> {
        let mut users = Users::default();
        let mut issuers = vec![id];
        issuers
            .extend(self.generations().iter().filter(|known| known.parent == Some(id)).map(|known| known.id));
        for issuer in issuers {
            for entry in self.index.issued_by(issuer)? {
                let is_good = entry.revocation.is_none() && now <= entry.not_after;
                let Some(identity) = entry.identity.as_ref().filter(|_| is_good) else { continue };
                match self.newest(identity, now)? {
                    Some(newer) if newer.issuer != issuer => users.replaced.push(entry),
                    Some(newer) if newer.serial != entry.serial => users.replaced.push(entry),
                    Some(_) | None => users.using.push(entry),
                }
            }
        }
        Ok(users)
    }

    /// Whether it is time to have certificates of this authority from another.
    pub fn is_retiring(&self, id: AuthorityId) -> bool {
        self.generation(id).is_some_and(|known| matches!(known.stage, Stage::Retired | Stage::Retiring))
    }

    /// The certificate by which an identity is served now.
    fn newest(&self, identity: &SpiffeId, now: Timestamp) -> Result<Option<Entry>, AuthorityStoreError> {
        let entries = self.index.by_identity(identity)?;
        let good = entries.into_iter().filter(|entry| entry.revocation.is_none() && now <= entry.not_after);
        // Of two in one second, the one from the authority that stays.
        Ok(good.max_by_key(|entry| (entry.issued_at, entry.issuer)))
    }

    /// The authorities that a request means: with a root, those below it.
    fn leaving(&self, request: RetireRequest) -> Result<Vec<Generation>, AuthorityStoreError> {
        let of_level = self.generations().iter().filter(|known| known.id.level == request.level);
        let heads: Vec<&Generation> = match request.generation {
            None => of_level.filter(|known| known.stage == Stage::Retiring).collect(),
            Some(generation) => {
                let authority = AuthorityId { level: request.level, generation };
                let known = self.generation(authority).ok_or(AuthorityStoreError::Unknown { authority })?;
                if !matches!(known.stage, Stage::Prepared | Stage::Retiring) {
                    let (found, expected) = (known.stage, Stage::Retiring);
                    return Err(AuthorityStoreError::WrongStage { authority, found, expected });
                }
                let root = known.parent.and_then(|root| self.generation(root));
                if let Some(root) = root.filter(|root| root.stage == Stage::Prepared) {
                    return Err(AuthorityStoreError::WithRoot { authority, root: root.id });
                }
                vec![known]
            }
        };
        if heads.is_empty() {
            let (level, expected) = (request.level, Stage::Retiring);
            return Err(AuthorityStoreError::NothingAt { level, expected });
        }
        let is_below = |known: &&Generation| {
            known.is_trusted() && heads.iter().any(|root| known.parent == Some(root.id))
        };
        let below = self.generations().iter().filter(is_below);
        Ok(heads.iter().copied().chain(below).cloned().collect())
    }

    /// An authority's own certificates, as its roots issued them.
    fn certificates_of(&self, known: &Generation) -> Result<Vec<Entry>, AuthorityStoreError> {
        let mut found = Vec::new();
        let cross = known.cross.as_ref().map(|(root, certificate)| (*root, certificate));
        for (root, certificate) in
            known.parent.map(|root| (root, &known.certificate)).into_iter().chain(cross)
        {
            let entries = self.index.issued_by(root)?;
            found.extend(entries.into_iter().filter(|entry| entry.der == certificate.der()[..]));
        }
        Ok(found)
    }

    /// A certificate of one of these authorities that is accepted now.
    fn one_of(&self, ids: &[AuthorityId], now: Timestamp) -> Result<Option<Vec<u8>>, AuthorityStoreError> {
        let Ok(store) = self.trust_store() else { return Ok(None) };
        for id in ids {
            let mut candidates: Vec<Vec<u8>> =
                self.index.issued_by(*id)?.into_iter().rev().map(|entry| entry.der).collect();
            if let Ok(signer) = self.signer(*id, now) {
                candidates.extend(self.probe(&signer, now).ok());
            }
            let good = |leaf: &Vec<u8>| store.validate(leaf, &[], &Purpose::DocumentSigning, now).is_ok();
            if let Some(found) = candidates.into_iter().find(good) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn new_root(&self, now: Timestamp) -> Result<Made, AuthorityStoreError> {
        let key = generate(self.profiles.root.key_kind)?;
        let below = u8::from(!self.is_single());
        let authority =
            Authority::new_root(&self.trust_domain, &self.profiles.root, below, key.clone(), now)?;
        let known = self.next(Level::Root, None, &authority, now);
        Ok(Made { known, authority, key })
    }

    fn new_issuing(
        &self,
        signer: &Authority,
        root: AuthorityId,
        cross: Option<(AuthorityId, &Authority)>,
        now: Timestamp,
    ) -> Result<Made, AuthorityStoreError> {
        let key = generate(self.profiles.issuing.key_kind)?;
        let authority =
            signer.new_intermediate(&self.trust_domain, &self.profiles.issuing, key.clone(), now)?;
        let mut known = self.next(Level::Issuing, Some(root), &authority, now);
        if let Some((old, signer)) = cross {
            known.cross = Some((old, signer.cross_certify(&self.trust_domain, &authority, now)?));
        }
        Ok(Made { known, authority, key })
    }

    fn next(
        &self,
        level: Level,
        parent: Option<AuthorityId>,
        made: &Authority,
        now: Timestamp,
    ) -> Generation {
        let last = self.generations().iter().filter(|known| known.id.level == level);
        let generation = last.map(|known| known.id.generation).max().unwrap_or(0) + 1;
        let (id, certificate) = (AuthorityId { level, generation }, made.certificate().clone());
        Generation { id, parent, stage: Stage::Prepared, since: now, certificate, cross: None }
    }

    /// Brings new authorities into the index and into the files.
    fn publish(&mut self, made: &[Made], now: Timestamp) -> Result<(), AuthorityStoreError> {
        for Made { known, key, .. } in made {
            let path = self.key_path(known.id);
            // Noted first: a key that nothing is entered for is then known to be nobody's.
            self.index.note_key(known.id, &path)?;
            self.write_new_key(known.id, key)?;
        }
        let entries: Vec<Generation> = made.iter().map(|made| made.known.clone()).collect();
        self.index.add_generations(&entries, now)?;
        self.generations = self.index.generations()?;
        for Made { known, authority, .. } in made {
            let number = self.index.crl_number(known.id)?;
            self.write_crl(known.id, authority, number, None, now)?;
        }
        // Roots whose certificate was entered with them have nothing new to say: their lists stay.
        self.follow()
    }

    /// Has the files follow the index.
    fn follow(&mut self) -> Result<(), AuthorityStoreError> {
        self.generations = self.index.generations()?;
        self.levels().into_iter().try_for_each(|level| self.write_level(level))
    }

    fn status_of(&self, known: &Generation, now: Timestamp) -> Result<AuthorityStatus, AuthorityStoreError> {
        let key = self.key_path(known.id);
        let list = self.read_crl(known.id).ok().map(|crl| ListStatus::from(&crl));
        let (has_key, users) = (key.exists(), self.users(known.id, now)?);
        Ok(AuthorityStatus { known: known.clone(), key, has_key, list, users })
    }

    /// A leaf whose key nobody keeps, to see what consumers make of it.
    pub(super) fn probe(&self, signer: &Authority, now: Timestamp) -> Result<Vec<u8>, AuthorityStoreError> {
        let identity =
            SpiffeId::new(&self.trust_domain, "dev", "probe", "probe").map_err(AuthorityError::from)?;
        let key = PrivateKey::generate(KeyKind::P256).map_err(AuthorityError::from)?;
        let probe = signer.issue(&identity, key.public_spki(), Duration::from_secs(60), now)?;
        Ok(probe.certificate().der().to_vec())
    }

    fn check_settled(&self, known: &Generation, now: Timestamp) -> Result<(), AuthorityStoreError> {
        check_since(known.id, known.stage, known.since, now)
    }
}

fn check_since(
    authority: AuthorityId,
    stage: Stage,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), AuthorityStoreError> {
    let from = since.plus_seconds(SETTLE_SECONDS);
    if now >= from {
        return Ok(());
    }
    Err(AuthorityStoreError::TooEarly { authority, stage, since, from })
}

#[cfg(test)]
mod tests;
