//! The files for everybody: the certificates and lists of all authorities of a level that are trusted.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Generation, Level};
use super::{AuthorityStore, Which};
use crate::pki::authority::{AuthorityError, IssuedCrl, crl_to_pem};
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{RevocationPolicy, TrustStore};
use crate::pki::crl::Crl;
use crate::pki::pem;
use crate::store::files;
use std::path::PathBuf;

impl AuthorityStore {
    /// The list of one authority, as the file of its level has it.
    ///
    /// # Errors
    /// [`AuthorityStoreError::Pem`] or [`AuthorityStoreError::File`]; [`AuthorityStoreError::NoList`] if it is not there.
    pub fn read_crl(&self, which: impl Into<Which>) -> Result<Crl, AuthorityStoreError> {
        let id = self.id(which.into());
        let known = self.generation(id).ok_or(AuthorityStoreError::Unknown { authority: id })?;
        let lists = self.read_lists(id.level)?;
        let path = self.crl_path(id.level);
        let mine = lists.into_iter().find(|list| is_of(list, known));
        mine.ok_or(AuthorityStoreError::NoList { path, authority: id })
    }

    /// What a consumer has who was given the public files of this directory: read from the files, not from the index.
    ///
    /// # Errors
    /// [`AuthorityStoreError`], if one cannot be read or cannot be trusted.
    pub fn trust_store(&self) -> Result<TrustStore, AuthorityStoreError> {
        let mut builder = TrustStore::builder(RevocationPolicy::Required);
        for level in self.levels() {
            for certificate in self.read_certificates(level)? {
                let label = format!("{level}.crt");
                builder = match level {
                    Level::Root => builder.anchor(label, certificate, IdentityRule::SpiffeUri),
                    Level::Issuing => builder.intermediate(label, certificate),
                }
                .map_err(AuthorityError::from)?;
            }
            for list in self.read_lists(level)? {
                builder = builder.crl(format!("{level}.crl"), list).map_err(AuthorityError::from)?;
            }
        }
        Ok(builder.build().map_err(AuthorityError::from)?)
    }

    /// What the certificate file of a level has in it.
    pub(super) fn read_certificates(&self, level: Level) -> Result<Vec<Certificate>, AuthorityStoreError> {
        let path = self.certificate_path(level);
        pem::certificates(&files::read(&path)?).map_err(|cause| AuthorityStoreError::Pem { path, cause })
    }

    /// What the certificate file of a level should have in it: the one that issues first, then the others.
    pub(super) fn certificates(&self, level: Level) -> Vec<Certificate> {
        let mut trusted: Vec<&Generation> = self.trusted().filter(|known| known.id.level == level).collect();
        trusted.sort_by_key(|known| known.stage);
        let own = trusted.iter().map(|known| known.certificate.clone());
        own.chain(trusted.iter().filter_map(|known| self.cross(known)).cloned()).collect()
    }

    /// What goes after a certificate that this authority issued: itself, and the certificate by which another root vouches
    /// for it, while that root is trusted.
    pub(super) fn sent_chain(&self, issuer: AuthorityId) -> Vec<Certificate> {
        let Some(issuer) = self.generation(issuer) else { return Vec::new() };
        std::iter::once(&issuer.certificate).chain(self.cross(issuer)).cloned().collect()
    }

    fn cross<'a>(&self, known: &'a Generation) -> Option<&'a Certificate> {
        let (root, certificate) = known.cross.as_ref()?;
        self.generation(*root).filter(|root| root.is_trusted()).map(|_| certificate)
    }

    /// Writes the certificate file of a level, and leaves in the file of lists those that are of somebody trusted. The lists
    /// go first: a certificate without one is of no use.
    pub(super) fn write_level(&self, level: Level) -> Result<(), AuthorityStoreError> {
        if let Ok(lists) = self.read_lists(level) {
            let kept = self.kept(level, &lists);
            if kept.len() < lists.len() && !kept.is_empty() {
                files::write(&self.crl_path(level), text(&kept).as_bytes())?;
            }
        }
        let text: String = self.certificates(level).iter().map(crate::pki::authority::to_pem).collect();
        let path = self.certificate_path(level);
        if files::read(&path).map_or(true, |found| found != text.as_bytes()) {
            files::write(&path, text.as_bytes())?;
        }
        self.index.level_written(level)
    }

    /// Puts an authority's new list in the place of the old one, beside those of the others.
    pub(super) fn put_list(&self, id: AuthorityId, list: &IssuedCrl) -> Result<PathBuf, AuthorityStoreError> {
        let path = self.crl_path(id.level);
        let mut all = list.to_pem();
        // One that cannot be read is in nobody's way: those that were in it are due, and are written anew.
        let is_alone = self.trusted().filter(|known| known.id.level == id.level).count() < 2;
        if !is_alone && let Ok(lists) = self.read_lists(id.level) {
            let others: Vec<&Crl> = self.kept(id.level, &lists);
            let is_mine = |crl: &Crl| self.generation(id).is_some_and(|known| is_of(crl, known));
            all += &text(&others.into_iter().filter(|crl| !is_mine(crl)).collect::<Vec<_>>());
        }
        files::write(&path, all.as_bytes())?;
        Ok(path)
    }

    fn read_lists(&self, level: Level) -> Result<Vec<Crl>, AuthorityStoreError> {
        let path = self.crl_path(level);
        pem::crls(&files::read(&path)?).map_err(|cause| AuthorityStoreError::Pem { path, cause })
    }

    /// Those of authorities that are trusted.
    fn kept<'a>(&self, level: Level, lists: &'a [Crl]) -> Vec<&'a Crl> {
        let is_kept = |list: &&Crl| {
            self.trusted().filter(|known| known.id.level == level).any(|known| is_of(list, known))
        };
        lists.iter().filter(is_kept).collect()
    }
}

fn text(lists: &[&Crl]) -> String {
    lists.iter().map(|list| crl_to_pem(list)).collect()
}

/// Whether a list is an authority's: it has its name and, where both say so, its key.
fn is_of(list: &Crl, known: &Generation) -> bool {
    let keys = (list.authority_key_id(), known.certificate.subject_key_id());
    let is_key = !matches!(keys, (Some(said), Some(had)) if said != had);
    list.issuer_der() == known.certificate.subject_der() && is_key
}
