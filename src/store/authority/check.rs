//! Health: whether everything in the directory is as it should be, and what will want a hand soon.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Entry, Generation, Level, Stage, State};
use super::{AuthorityStore, KeyState, OFFLINE};
use crate::pki::chain::{Purpose, TrustStore};
use crate::pki::key::PrivateKey;
use crate::pki::pem;
use crate::store::files;
use crate::store::passphrase::PassphraseSourceError;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and two thirds of its life have passed: time to make it anew.
    Due,
    /// It does not work, or is not safe.
    Faulty,
}

impl Health {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Faulty => "faulty",
            Self::Good => "good",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An authority's certificate, with its key if that is here.
    Authority,
    /// A revocation list.
    Crl,
    /// The issuance log, and the index against it.
    Log,
    /// Who may read a file or directory.
    Mode,
    /// A service's certificate.
    Service,
}

impl Subject {
    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Crl => "crl",
            Self::Log => "log",
            Self::Mode => "mode",
            Self::Service => "service",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub subject: Subject,
    /// Which: a file, or an identity.
    pub name: String,
    /// How it stands.
    pub health: Health,
    /// What is wrong, or what is well.
    pub detail: String,
    /// When it ends, if it ends.
    pub until: Option<Timestamp>,
    /// What mends it: a whole command, or one of `fedmsg`'s.
    pub hint: Option<String>,
}

impl Finding {
    fn new(subject: Subject, name: impl Into<String>, health: Health, detail: impl Into<String>) -> Self {
        Self { subject, name: name.into(), health, detail: detail.into(), until: None, hint: None }
    }

    fn until(self, until: Timestamp) -> Self {
        Self { until: Some(until), ..self }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl AuthorityStore {
    /// Looks at everything: modes, whether keys and certificates belong together, the chains, the lists, the log, and what
    /// ends when. A root's key that is away is as it should be.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Index`]; what is wrong with a file is a finding.
    pub fn check(&self, now: Timestamp) -> Result<Vec<Finding>, AuthorityStoreError> {
        let mut findings = self.check_modes();
        for known in self.generations() {
            if known.is_trusted() {
                findings.push(self.check_authority(known, now)?);
                findings.push(self.check_crl(known.id, now)?);
            } else {
                findings.extend(self.check_retired(known));
            }
        }
        match self.trust_store() {
            Ok(store) => findings.extend(self.check_services(&store, now)?),
            Err(error) => {
                let name = self.directory.display().to_string();
                findings.push(Finding::new(Subject::Crl, name, Health::Faulty, error.to_string()));
            }
        }
        findings.push(match self.verify_log(None)? {
            Ok(log) => {
                let detail = format!("{} entries, {} certificates", log.entries(), log.certificates());
                Finding::new(Subject::Log, "log", Health::Good, detail)
            }
            Err(fault) => Finding::new(Subject::Log, "log", Health::Faulty, fault.to_string()),
        });
        Ok(findings)
    }

    fn check_modes(&self) -> Vec<Finding> {
        let mut directories = vec![self.directory.clone(), self.services()];
        let offline = self.directory.join(OFFLINE);
        if offline.exists() {
            directories.push(offline);
        }
        let mut keys: Vec<PathBuf> = self.generations().iter().map(|known| self.key_path(known.id)).collect();
        keys.extend(files_of(&self.services(), "key"));
        keys.retain(|key| key.exists());
        let count = directories.len() + keys.len();
        let checked = directories
            .iter()
            .map(|path| (path, files::check_private_dir(path)))
            .chain(keys.iter().map(|path| (path, files::read_private(path).map(drop))));
        let faults: Vec<Finding> = checked
            .filter_map(|(path, outcome)| {
                let error = outcome.err()?;
                let finding = Finding::new(
                    Subject::Mode,
                    path.display().to_string(),
                    Health::Faulty,
                    error.to_string(),
                );
                Some(error.hint().into_iter().fold(finding, Finding::hint))
            })
            .collect();
        if faults.is_empty() {
            let detail = format!("{count} directories and keys are their owner's alone");
            return vec![Finding::new(
                Subject::Mode,
                self.directory.display().to_string(),
                Health::Good,
                detail,
            )];
        }
        faults
    }

    fn check_authority(&self, known: &Generation, now: Timestamp) -> Result<Finding, AuthorityStoreError> {
        let (id, certificate) = (known.id, &known.certificate);
        let path = self.certificate_path(id.level).display().to_string();
        // The first is what most directories have; the others are told from it by their keys' names.
        let name = if id.generation == 1 { path } else { format!("{path} ({id})") };
        let until = certificate.not_after();
        let finding = |health, detail: String| {
            Finding::new(Subject::Authority, name.clone(), health, detail).until(until)
        };
        match self.read_certificates(id.level) {
            Err(error) => return Ok(finding(Health::Faulty, error.to_string())),
            Ok(found) if !found.contains(certificate) => {
                let detail = "it is another certificate than the index has".to_owned();
                return Ok(finding(Health::Faulty, detail));
            }
            Ok(_) => {}
        }
        if let Err(revoked) = self.check_not_revoked(id) {
            let hint = format!("ca rollover prepare --level {}", id.level);
            return Ok(finding(Health::Faulty, revoked.to_string()).hint(hint));
        }
        let key = match self.signer(id, now) {
            Ok(_) if matches!(self.key_state(id), Ok(KeyState::Encrypted)) => {
                "its key is here, encrypted, and is its own"
            }
            Ok(_) => "its key is here, not encrypted, and is its own",
            Err(AuthorityStoreError::Passphrase { cause: PassphraseSourceError::Unavailable, .. }) => {
                "its key is here, encrypted, and was not looked into: no passphrase was given"
            }
            Err(AuthorityStoreError::KeyAway { authority, .. })
                if authority.level == Level::Root && !self.is_single() =>
            {
                "its key is away, as it should be"
            }
            Err(error) => return Ok(finding(Health::Faulty, error.to_string())),
        };
        let is_due = now.is_past_two_thirds(certificate.not_before(), until);
        // With a root go the intermediates below it.
        let root = known.parent.and_then(|root| self.generation(root));
        let level = root.filter(|root| root.stage == Stage::Retiring).map_or(id.level, |root| root.id.level);
        Ok(match known.stage {
            Stage::Active if is_due => {
                finding(Health::Due, key.to_owned()).hint(format!("ca rollover prepare --level {level}"))
            }
            Stage::Prepared => finding(
                Health::Good,
                format!("{key}; prepared since {}, and issues nothing yet", known.since),
            ),
            Stage::Retiring => {
                let using = self.users(id, now)?.using.len();
                if using == 0 {
                    finding(Health::Due, format!("{key}; retiring, and nobody uses it any more"))
                        .hint(format!("ca rollover retire --level {level}"))
                } else {
                    finding(Health::Good, format!("{key}; retiring, in use by {using}"))
                }
            }
            Stage::Active | Stage::Retired => finding(Health::Good, key.to_owned()),
        })
    }

    /// A key that nobody needs is one that somebody can steal.
    fn check_retired(&self, known: &Generation) -> Option<Finding> {
        let path = self.key_path(known.id);
        let detail = "the key of an authority that was retired is still here".to_owned();
        let hint = format!("shred -u {}", path.display());
        path.exists().then(|| {
            Finding::new(Subject::Authority, path.display().to_string(), Health::Due, detail).hint(hint)
        })
    }

    fn check_crl(&self, id: AuthorityId, now: Timestamp) -> Result<Finding, AuthorityStoreError> {
        let path = self.crl_path(id.level).display().to_string();
        let path = if id.generation == 1 { path } else { format!("{path} ({id})") };
        let newest = self.crl_number(id)?;
        let finding = match self.read_crl(id) {
            Err(error) => Finding::new(Subject::Crl, path, Health::Faulty, error.to_string()),
            Ok(crl) => {
                let until = crl.next_update();
                let (health, detail) = if now >= until {
                    (Health::Faulty, "it is stale: every message is refused".to_owned())
                } else if crl.number() < Some(newest) {
                    let found = crl.number().unwrap_or_default();
                    (Health::Faulty, format!("it is number {found}, the newest is {newest}"))
                } else if now.is_past_two_thirds(crl.this_update(), until) {
                    (Health::Due, format!("number {newest}, {} revoked", crl.len()))
                } else {
                    (Health::Good, format!("number {newest}, {} revoked", crl.len()))
                };
                Finding::new(Subject::Crl, path, health, detail).until(until)
            }
        };
        Ok(if finding.health == Health::Good { finding } else { finding.hint("ca crl --due") })
    }

    /// The newest certificate of each identity that is not revoked, and the pairs of files that are here.
    fn check_services(
        &self,
        store: &TrustStore,
        now: Timestamp,
    ) -> Result<Vec<Finding>, AuthorityStoreError> {
        let mut newest: HashMap<String, Entry> = HashMap::new();
        for entry in self.entries()? {
            let Some(identity) = entry.identity.as_ref().map(ToString::to_string) else { continue };
            if entry.revocation.is_none()
                && newest.get(&identity).is_none_or(|e| e.issued_at <= entry.issued_at)
            {
                newest.insert(identity, entry);
            }
        }
        let mut findings: Vec<Finding> = newest
            .iter()
            .filter_map(|(identity, entry)| {
                let finding = |health, detail: String| {
                    Some(Finding::new(Subject::Service, identity, health, detail).until(entry.not_after))
                };
                match entry.state(now) {
                    // It may be that the service is no more: that is nobody's fault.
                    State::Expired | State::Revoked => None,
                    State::Expiring => finding(Health::Due, format!("certificate {}", entry.serial)),
                    State::Valid if self.is_retiring(entry.issuer) => {
                        let detail = format!("certificate {}, whose issuer is being retired", entry.serial);
                        finding(Health::Due, detail).map(|finding| finding.hint("ca renew --due"))
                    }
                    State::Valid => match store.validate(&entry.der, &[], &Purpose::DocumentSigning, now) {
                        Ok(_) => finding(Health::Good, format!("certificate {}", entry.serial)),
                        Err(error) => finding(Health::Faulty, error.to_string()),
                    },
                }
            })
            .collect();
        for path in files_of(&self.services(), "crt") {
            if let Some(fault) = pair_fault(&path) {
                let name = path.display().to_string();
                findings.push(Finding::new(Subject::Service, name, Health::Faulty, fault));
            }
        }
        findings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(findings)
    }
}

/// What is wrong with a certificate's file and the key beside it, if there is a key.
fn pair_fault(path: &Path) -> Option<String> {
    let key_path = path.with_extension("key");
    if !key_path.exists() {
        return None;
    }
    let leaf = match files::read(path).map_err(|error| error.to_string()).and_then(|text| {
        let chain = pem::certificates(&text).map_err(|error| error.to_string())?;
        chain.into_iter().next().ok_or_else(|| "an empty file".to_owned())
    }) {
        Ok(leaf) => leaf,
        Err(fault) => return Some(fault),
    };
    // One that others can read was told of already.
    let text = files::read_private(&key_path).ok()?;
    // A key whose certificate has not come yet may wait beside the one that is in use.
    match PrivateKey::all_from_pem(&text) {
        Ok(keys) if keys.iter().any(|key| key.public_spki() == leaf.spki_der()) => None,
        Ok(_) => Some(format!("{} is the key of another certificate", key_path.display())),
        Err(error) => Some(format!("{}: {error}", key_path.display())),
    }
}

/// The files of a directory with an extension, by name; none, if it cannot be read.
fn files_of(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}
