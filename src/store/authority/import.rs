//! Taking over an authority that another program made: OpenSSL, easy-rsa, step-ca.
//!
//! Nothing is taken over that could not issue what consumers accept, and nothing of what was revoked is forgotten: a list that is
//! continued keeps its numbers and its entries, or the import is refused.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, EntryRevocation, Generation, Index, Level, NewEntry, Stage};
use super::keys::{KeyProtection, Keys, PassphraseSource};
use super::{AuthorityStore, INDEX, SERVICES, generate, key_path};
use crate::identity::{Identity, SpiffeId};
use crate::pki::authority::{self, Authority, AuthorityError, RevocationReason};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::Purpose;
use crate::pki::crl::{Crl, Revocation};
use crate::pki::key::PrivateKey;
use crate::pki::pem;
use crate::pki::profile::Profiles;
use crate::store::files;
use crate::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of one authority that is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFiles {
    /// Its certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PKCS#8; without it, it stays elsewhere.
    pub key: Option<PathBuf>,
    /// Its newest list, which is continued.
    pub crl: Option<PathBuf>,
}

/// What to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRequest {
    /// The trust domain of every identity that it will issue.
    pub trust_domain: String,
    /// The root.
    pub root: ImportFiles,
    /// The intermediate that issues. Without one, one is made below the root, unless the root is to issue itself.
    pub issuing: Option<ImportFiles>,
    /// Whether the root issues itself.
    pub single: bool,
    /// Certificates that they have issued, for the inventory: PEM files, each of one or more.
    pub issued: Vec<PathBuf>,
    /// That an authority of which no list is given has revoked nothing.
    pub never_revoked: bool,
}

/// Why an authority cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// A certificate that neither authority issued.
    #[error("`{subject}` was issued by `{issuer}`, which is not taken over")]
    Foreign {
        /// Whom it names.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// A root whose key stays elsewhere, without its list.
    #[error("the root's key is not taken over, so its list is needed: it cannot be made here")]
    ListMissing,
    /// A list whose number has no successor here.
    #[error("the list has the number {found} (hexadecimal), which does not fit 63 bits")]
    ListNumber {
        /// Its number, in hexadecimal.
        found: String,
    },
    /// Neither a key of the root nor an intermediate.
    #[error("nothing here could issue: neither the root's key nor an issuing authority is taken over")]
    NothingIssues,
    /// The root is not one.
    #[error("`{subject}` is no root: it was issued by `{issuer}`")]
    NotRoot {
        /// Whom the certificate names.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// A list that names certificates which are not given: they would be forgotten in the next one.
    #[error(
        "the list revokes {revoked} certificates, and {found} of them were given: the next list would forget the others"
    )]
    Forgotten {
        /// How many it revokes.
        revoked: usize,
        /// How many of them are known.
        found: usize,
    },
    /// Nobody said whether an authority has revoked anything.
    #[error("whether the {level} authority has revoked anything has to be said")]
    Undecided {
        /// Which.
        level: Level,
    },
}

/// An authority that is taken over, and what its list says.
struct Taken {
    level: Level,
    certificate: Certificate,
    key: Option<Arc<PrivateKey>>,
    /// It, if its key is here.
    authority: Option<Authority>,
    list: Option<(PathBuf, Crl)>,
}

impl AuthorityStore {
    /// Takes over a root, and an intermediate or not, into a new directory: all of it appears at once, or nothing. `keys` says how
    /// their keys are kept, `opener` knows the passphrases of the files that they come in.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Import`], [`AuthorityStoreError::Authority`] and [`AuthorityStoreError::Key`] say what is wrong with
    /// which; in particular what an authority issues here must validate with the files that consumers will have.
    pub fn import(
        directory: &Path,
        request: &ImportRequest,
        profiles: Profiles,
        keys: &KeyProtection,
        opener: Arc<dyn PassphraseSource>,
        now: Timestamp,
    ) -> Result<Self, AuthorityStoreError> {
        let opener = Keys::of(&KeyProtection::Encrypted(opener));
        let root = take(Level::Root, &request.root, &[], &opener, now)?;
        let above = [root.certificate.clone()];
        let issuing = request.issuing.as_ref();
        let issuing = issuing.map(|files| take(Level::Issuing, files, &above, &opener, now)).transpose()?;
        if !root.certificate.is_self_issued() {
            let (subject, issuer) =
                (root.certificate.subject().to_owned(), root.certificate.issuer().to_owned());
            return Err(fault(&request.root.certificate, ImportFault::NotRoot { subject, issuer }));
        }
        if root.authority.is_none() && root.list.is_none() {
            return Err(fault(&request.root.certificate, ImportFault::ListMissing));
        }
        if root.authority.is_none() && issuing.as_ref().is_none_or(|issuing| issuing.authority.is_none()) {
            return Err(fault(&request.root.certificate, ImportFault::NothingIssues));
        }
        let taken: Vec<&Taken> = std::iter::once(&root).chain(&issuing).collect();
        for of in &taken {
            if of.list.is_none() && !request.never_revoked {
                let level = of.level;
                return Err(fault(&request.root.certificate, ImportFault::Undecided { level }));
            }
        }
        let issued = read_issued(&request.issued)?;
        let single = request.single && issuing.is_none();
        Self::appear(directory, profiles, |beside, profiles| {
            let keys = (Keys::of(keys), matches!(keys, KeyProtection::Encrypted(_)));
            let building = Building { directory: beside, single, profiles, keys, now };
            building.build(request, &taken, &issued)
        })
    }
}

struct Building<'a> {
    directory: &'a Path,
    single: bool,
    profiles: &'a Profiles,
    keys: (Keys, bool),
    now: Timestamp,
}

impl Building<'_> {
    /// Everything of the new directory, and a certificate from it that is validated as a consumer will.
    fn build(
        self,
        request: &ImportRequest,
        taken: &[&Taken],
        issued: &[(PathBuf, Certificate)],
    ) -> Result<Keys, AuthorityStoreError> {
        files::create_private_dir(&self.directory.join(SERVICES))?;
        let index = Index::create(&self.directory.join(INDEX), &request.trust_domain)?;
        for of in taken {
            self.enter(&index, of)?;
        }
        let ids: Vec<(AuthorityId, &Certificate)> =
            taken.iter().map(|of| (AuthorityId::first(of.level), &of.certificate)).collect();
        for of in taken {
            self.continue_list(&index, of, &ids, issued, &request.trust_domain)?;
        }
        for (path, certificate) in issued {
            if !ids.iter().any(|(_, issuer)| certificate.is_signed_by(issuer)) {
                let (subject, issuer) = (certificate.subject().to_owned(), certificate.issuer().to_owned());
                return Err(fault(path, ImportFault::Foreign { subject, issuer }));
            }
        }
        if let ([root], false) = (taken, self.single) {
            self.make_issuing(&index, root, &request.trust_domain)?;
        }
        drop(index);

        let store = AuthorityStore::open(self.directory, self.profiles.clone())?;
        let store = AuthorityStore { keys: self.keys.0, ..store };
        let signer = store.signer(store.issues(), self.now)?;
        let probe = store.probe(&signer, self.now)?;
        let verdict = store.trust_store()?.validate(&probe, &[], &Purpose::DocumentSigning, self.now);
        verdict.map_err(AuthorityError::from)?;
        Ok(store.keys)
    }

    fn write_key(&self, id: AuthorityId, key: &PrivateKey) -> Result<(), AuthorityStoreError> {
        let (keys, encrypt) = &self.keys;
        keys.write(id, &key_path(self.directory, id, self.single), key, *encrypt)
    }

    fn enter(&self, index: &Index, of: &Taken) -> Result<(), AuthorityStoreError> {
        let id = AuthorityId::first(of.level);
        if let Some(key) = &of.key {
            self.write_key(id, key)?;
        }
        let parent = (of.level == Level::Issuing).then(|| AuthorityId::first(Level::Root));
        let (stage, since, certificate) = (Stage::Active, self.now, of.certificate.clone());
        index.add_generations(
            &[Generation { id, parent, stage, since, certificate, cross: None }],
            self.now,
        )?;
        let path = self.directory.join(format!("{}.crt", of.level));
        files::write(&path, authority::to_pem(&of.certificate).as_bytes())?;
        index.level_written(of.level)
    }

    /// Enters what an authority issued and revoked before, and writes its list: the next one, or where its key is not here, the
    /// one that was given.
    fn continue_list(
        &self,
        index: &Index,
        of: &Taken,
        ids: &[(AuthorityId, &Certificate)],
        issued: &[(PathBuf, Certificate)],
        trust_domain: &str,
    ) -> Result<(), AuthorityStoreError> {
        let id = AuthorityId::first(of.level);
        let list = of.list.as_ref().map(|(_, list)| list);
        let number = of.list.as_ref().map_or(Ok(0), |(path, list)| number(path, list))?;
        let mut entries = Vec::new();
        for certificate in issued.iter().map(|(_, certificate)| certificate) {
            // The intermediate is in the inventory already, and is not revoked: what it issues would be refused.
            let is_taken = ids.iter().any(|(_, own)| own.der() == certificate.der());
            if is_taken || !certificate.is_signed_by(&of.certificate) {
                continue;
            }
            let identity = match certificate.identity(IdentityRule::SpiffeUri) {
                Ok(Identity::Spiffe(id)) if id.trust_domain() == trust_domain => Some(id),
                Ok(_) | Err(_) => None,
            };
            let revocation = list.and_then(|list| list.revocation(certificate.serial())).map(|it| kept(&it));
            entries.push((certificate, identity, revocation));
        }
        entries.dedup_by(|a, b| a.0.der() == b.0.der());
        let new: Vec<(NewEntry<'_>, Option<EntryRevocation>)> = entries
            .iter()
            .map(|(certificate, identity, revocation)| {
                (entry(id, certificate, identity.as_ref()), *revocation)
            })
            .collect();
        index.take_over(id, number, &new, self.now)?;
        let path = self.directory.join(format!("{}.crl", of.level));
        let Some(authority) = &of.authority else {
            if let Some((_, list)) = &of.list {
                files::write(&path, authority::crl_to_pem(list).as_bytes())?;
            }
            return index.list_written(id, number.max(1));
        };
        if let Some((from, list)) = &of.list {
            let found = new.iter().filter(|(_, revocation)| revocation.is_some()).count();
            if found < list.len() {
                return Err(fault(from, ImportFault::Forgotten { revoked: list.len(), found }));
            }
        }
        let lifetime = match of.level {
            Level::Root => self.profiles.root.crl_lifetime,
            Level::Issuing => self.profiles.issuing.crl_lifetime,
        };
        let next = index.next_crl_number(id, self.now)?;
        let list = authority.crl(next, &index.revoked(id)?, lifetime, self.now)?;
        files::write(&path, list.to_pem().as_bytes())?;
        index.list_written(id, next)
    }

    /// Below a root that is taken over alone: an intermediate of ours.
    fn make_issuing(
        &self,
        index: &Index,
        root: &Taken,
        trust_domain: &str,
    ) -> Result<(), AuthorityStoreError> {
        let Some(signer) = &root.authority else { return Ok(()) };
        let key = generate(self.profiles.issuing.key_kind)?;
        let made = signer.new_intermediate(trust_domain, &self.profiles.issuing, key.clone(), self.now)?;
        let of = Taken {
            level: Level::Issuing,
            certificate: made.certificate().clone(),
            key: Some(key),
            authority: Some(made),
            list: None,
        };
        self.enter(index, &of)?;
        self.continue_list(index, &of, &[], &[], trust_domain)
    }
}

/// Reads one authority, and looks at it as far as it can be looked at alone.
fn take(
    level: Level,
    from: &ImportFiles,
    above: &[Certificate],
    opener: &Keys,
    now: Timestamp,
) -> Result<Taken, AuthorityStoreError> {
    let malformed = |path: &Path| {
        let path = path.to_owned();
        move |cause| AuthorityStoreError::Pem { path, cause }
    };
    let certificate =
        pem::certificate(&files::read(&from.certificate)?).map_err(malformed(&from.certificate))?;
    let key = from.key.as_ref().map(|path| opener.read(AuthorityId::first(level), path)).transpose()?;
    let authority = match &key {
        None => None,
        Some(key) => {
            let key: Arc<PrivateKey> = Arc::clone(key);
            Some(Authority::load(certificate.clone(), above.to_vec(), key, now)?)
        }
    };
    let list = match &from.crl {
        None => None,
        Some(path) => {
            let list = pem::crl(&files::read(path)?).map_err(malformed(path))?;
            // Without its key, the list is looked at with all the rest, when a certificate is validated.
            let list = match &authority {
                Some(authority) => authority.own_list(&path.display().to_string(), list)?,
                None => list,
            };
            Some((path.clone(), list))
        }
    };
    Ok(Taken { level, certificate, key, authority, list })
}

fn read_issued(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Certificate)>, AuthorityStoreError> {
    let mut issued = Vec::new();
    for path in paths {
        let found = pem::certificates(&files::read(path)?)
            .map_err(|cause| AuthorityStoreError::Pem { path: path.clone(), cause })?;
        issued.extend(found.into_iter().map(|certificate| (path.clone(), certificate)));
    }
    issued.sort_by(|a, b| a.1.der().cmp(b.1.der()));
    Ok(issued)
}

fn entry<'a>(
    issuer: AuthorityId,
    certificate: &'a Certificate,
    identity: Option<&'a SpiffeId>,
) -> NewEntry<'a> {
    let issued_at = certificate.not_before();
    NewEntry { issuer, certificate, identity, issued_at, request: None, files: None }
}

/// What a list says of a certificate, in the terms of the index. A certificate that was on hold is revoked for good: here nobody
/// takes a revocation back.
fn kept(found: &Revocation) -> EntryRevocation {
    let reason = match found.reason {
        Some(1) => RevocationReason::KeyCompromise,
        Some(2 | 10) => RevocationReason::CaCompromise,
        Some(3) => RevocationReason::AffiliationChanged,
        Some(4) => RevocationReason::Superseded,
        Some(5) => RevocationReason::CessationOfOperation,
        Some(9) => RevocationReason::PrivilegeWithdrawn,
        Some(_) | None => RevocationReason::Unspecified,
    };
    EntryRevocation { at: found.date, reason, invalid_since: found.invalidity_date }
}

/// The number of a list, as the index counts them.
fn number(path: &Path, list: &Crl) -> Result<u64, AuthorityStoreError> {
    let number = list.number().filter(|number| i64::try_from(*number).is_ok_and(|number| number < i64::MAX));
    number.ok_or_else(|| fault(path, ImportFault::ListNumber { found: list.number_hex() }))
}

fn fault(path: &Path, fault: ImportFault) -> AuthorityStoreError {
    AuthorityStoreError::Import { path: path.to_owned(), fault }
}
