//! One file that the configuration names: when it was read, and what was good in it.

use super::{MAX_CERTIFICATE_FILE_BYTES, MAX_LIST_FILE_BYTES, NamedFile, TrustFileError};
use crate::config::{Config, FilePath, LegacyRevocation, Setting};
use crate::merkle;
use crate::pki::certificate::{Certificate, IdentityRule};
use crate::pki::chain::{RevocationPolicy, TrustError, TrustStore};
use crate::pki::crl::Crl;
use crate::pki::legacy::{self, LegacyAuthority};
use crate::pki::pem;
use crate::store::files::Stamp;
use crate::time::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Arc;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Anchor(IdentityRule),
    Crl,
    Intermediate,
    LegacyAuthority,
    LegacyCrl,
}

impl Kind {
    pub(super) fn is_anchor(self) -> bool {
        matches!(self, Self::Anchor(_))
    }

    /// The most bytes of such a file.
    fn limit(self) -> u64 {
        match self {
            Self::Anchor(_) | Self::Intermediate | Self::LegacyAuthority => MAX_CERTIFICATE_FILE_BYTES,
            Self::Crl | Self::LegacyCrl => MAX_LIST_FILE_BYTES,
        }
    }
}

/// What was in a file.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Certificates(Vec<Certificate>),
    Crls(Vec<Arc<Crl>>),
    /// Of a legacy authority, which is made from two files at once.
    Raw(Arc<Vec<u8>>),
}

/// One file.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) file: Box<NamedFile>,
    pub(super) kind: Kind,
    /// The last that was good.
    pub(super) content: Option<Content>,
    /// Of the last bytes that were read, good or not.
    seen: Option<(Stamp, [u8; 32])>,
    /// What is wrong with what is there now.
    pub(super) fault: Option<TrustFileError>,
}

impl Slot {
    fn new(file: &FilePath, key: &'static str, setting: &crate::config::Origin, kind: Kind) -> Self {
        let file = Box::new(NamedFile { path: file.path().to_owned(), key, origin: setting.clone() });
        Self { file, kind, content: None, seen: None, fault: None }
    }

    /// Reads the file for the first time.
    pub(super) fn read(&mut self) -> Result<(), TrustFileError> {
        let (stamp, bytes) = self.bytes()?;
        self.content = Some(self.parse(&bytes)?);
        self.seen = Some((stamp, merkle::sha256(&[&bytes])));
        Ok(())
    }

    /// What is new in the file; `None` if nothing is, or nothing good: then `fault` says what is wrong.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Content> {
        let named =
            |error: io::Error| TrustFileError::Read { file: self.file.clone(), message: error.to_string() };
        let stamp = match fs::metadata(&self.file.path).map_err(named) {
            Ok(metadata) => Stamp::of_metadata(&metadata),
            Err(fault) => {
                (self.fault, self.seen) = (Some(fault), None);
                return None;
            }
        };
        if self.seen.is_some_and(|(seen, _)| seen == stamp && stamp.is_settled(now)) {
            return None;
        }
        let read = self.bytes();
        let (stamp, bytes) = match read {
            Ok(read) => read,
            Err(fault) => {
                (self.fault, self.seen) = (Some(fault), None);
                return None;
            }
        };
        let digest = merkle::sha256(&[&bytes]);
        let is_same = self.seen.is_some_and(|(_, seen)| seen == digest);
        self.seen = Some((stamp, digest));
        if is_same {
            return None;
        }
        match self.parse(&bytes) {
            Ok(content) => {
                self.fault = None;
                Some(content)
            }
            Err(fault) => {
                self.fault = Some(fault);
                None
            }
        }
    }

    /// Whatever is there the next time is new.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    fn bytes(&self) -> Result<(Stamp, Vec<u8>), TrustFileError> {
        let (mut bytes, limit) = (Vec::new(), self.kind.limit());
        let read = File::open(&self.file.path).and_then(|opened| {
            // Before it is read: what is written meanwhile looks different the next time.
            let stamp = Stamp::of_metadata(&opened.metadata()?);
            opened.take(limit + 1).read_to_end(&mut bytes)?;
            Ok(stamp)
        });
        let stamp = read
            .map_err(|error| TrustFileError::Read { file: self.file.clone(), message: error.to_string() })?;
        if u64::try_from(bytes.len()).is_ok_and(|found| found <= limit) {
            return Ok((stamp, bytes));
        }
        Err(TrustFileError::TooLarge { file: self.file.clone(), limit })
    }

    fn parse(&self, bytes: &[u8]) -> Result<Content, TrustFileError> {
        let file = || self.file.clone();
        let lists = match self.kind {
            Kind::Anchor(_) | Kind::Intermediate => {
                return pem::certificates(bytes)
                    .map(Content::Certificates)
                    .map_err(|fault| TrustFileError::Pem { file: file(), fault });
            }
            Kind::LegacyAuthority | Kind::LegacyCrl => return Ok(Content::Raw(Arc::new(bytes.to_vec()))),
            // Authorities publish lists in DER (RFC 5280, 4.2.1.13), which begins with a SEQUENCE; `ca crl` writes PEM.
            Kind::Crl if bytes.first() == Some(&0x30) => {
                vec![Crl::parse(bytes).map_err(|fault| TrustFileError::Crl { file: file(), fault })?]
            }
            Kind::Crl => pem::crls(bytes).map_err(|fault| TrustFileError::Pem { file: file(), fault })?,
        };
        Ok(Content::Crls(lists.into_iter().map(Arc::new).collect()))
    }

    fn label(&self) -> String {
        self.file.path.display().to_string()
    }

    fn raw(&self) -> Option<&[u8]> {
        match &self.content {
            Some(Content::Raw(bytes)) => Some(bytes),
            Some(Content::Certificates(_) | Content::Crls(_)) | None => None,
        }
    }
}

/// Every file that `[trust]` and `[trust.legacy]` name.
pub(super) fn all(config: &Config) -> Vec<Slot> {
    let (trust, legacy) = (&config.trust, &config.legacy);
    let mut slots = Vec::new();
    let mut list = |key, files: &Setting<Vec<FilePath>>, kind| {
        slots.extend(files.iter().map(|file| Slot::new(file, key, files.origin(), kind)));
    };
    list("trust.anchors", &trust.anchors, Kind::Anchor(IdentityRule::SpiffeUri));
    let by_name = &trust.common_name_anchors;
    list("trust.common_name_anchors", by_name, Kind::Anchor(IdentityRule::CommonName));
    list("trust.intermediates", &trust.intermediates, Kind::Intermediate);
    list("trust.crls", &trust.crls, Kind::Crl);
    if *legacy.accept {
        // The loader has seen to it that these are set together.
        if let Some(ca) = &legacy.ca {
            slots.push(Slot::new(ca, "trust.legacy.ca", ca.origin(), Kind::LegacyAuthority));
        }
        let wants_list = legacy.revocation.as_ref().is_some_and(|r| **r == LegacyRevocation::Crl);
        if let Some(crl) = legacy.crl.as_ref().filter(|_| wants_list) {
            slots.push(Slot::new(crl, "trust.legacy.crl", crl.origin(), Kind::LegacyCrl));
        }
    }
    slots
}

/// The trust store of what is good in the files; `None`, if no anchor is named.
pub(super) fn store(slots: &[Slot]) -> Result<Option<TrustStore>, TrustError> {
    if slots.iter().all(|slot| !slot.kind.is_anchor()) {
        return Ok(None);
    }
    let mut builder = TrustStore::builder(RevocationPolicy::Required);
    for slot in slots {
        match (&slot.content, slot.kind) {
            (Some(Content::Certificates(certificates)), kind) => {
                for certificate in certificates.iter().cloned() {
                    builder = match kind {
                        Kind::Anchor(rule) => builder.anchor(slot.label(), certificate, rule)?,
                        Kind::Crl | Kind::Intermediate | Kind::LegacyAuthority | Kind::LegacyCrl => {
                            builder.intermediate(slot.label(), certificate)?
                        }
                    };
                }
            }
            (Some(Content::Crls(lists)), _) => {
                for list in lists {
                    builder = builder.crl(slot.label(), Arc::clone(list))?;
                }
            }
            (Some(Content::Raw(_)) | None, _) => {}
        }
    }
    builder.build().map(Some)
}

/// The legacy authority of what is good in the files; `None`, if none is accepted or its files could not be read.
pub(super) fn legacy(slots: &[Slot], config: &Config) -> Result<Option<LegacyAuthority>, TrustFileError> {
    let of = |kind| slots.iter().find(|slot| slot.kind == kind);
    let Some(ca) = of(Kind::LegacyAuthority) else { return Ok(None) };
    let Some(ca_pem) = ca.raw() else { return Ok(None) };
    let is_checked = config.legacy.revocation.as_ref().is_some_and(|r| **r == LegacyRevocation::Crl);
    let list = of(Kind::LegacyCrl).map(|slot| (slot.label(), slot.raw()));
    let revocation = match &list {
        Some((label, Some(pem))) => legacy::LegacyRevocation::Crl { label, pem },
        // It could not be read, which was said.
        Some((_, None)) => return Ok(None),
        None if is_checked => return Ok(None),
        None => legacy::LegacyRevocation::NotChecked,
    };
    Ok(Some(LegacyAuthority::new(&ca.label(), ca_pem, revocation)?))
}
