//! One certificate revocation list, read strictly (RFC 5280, section 5). Its signature is checked by
//! [`super::chain`], against the issuer that a path led to.
//!
//! A list is kept as the bytes that it came in, once, with an index of its entries; see `entries` and `signature`.

mod entries;
mod signature;

pub(in crate::pki) use signature::WithLists;

use super::certificate::{magnitude, parser_message, sha256};
use super::{hex, is_one_der_value, printable};
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use bytes::Bytes;
use entries::{Index, Layout};
use signature::Checked;
use std::collections::BTreeSet;
use std::fmt;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

const CRL_NUMBER: &str = "2.5.29.20";
/// The most bytes of one list: two million certificates, with room.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;

/// A revocation list as it was read: version 2, complete, numbered, with a next update. Its signature is not checked yet.
pub struct Crl {
    der: Bytes,
    sha256: [u8; 32],
    issuer: String,
    issuer_der: Box<[u8]>,
    authority_key_id: Option<Box<[u8]>>,
    number: Box<[u8]>,
    this_update: Timestamp,
    next_update: Timestamp,
    layout: Layout,
    revoked: Index,
    /// What is signed, without the entries.
    bare_signed: Box<[u8]>,
    /// The list without its entries, with the signature that is over all of it.
    webpki: CertRevocationList<'static>,
    checked: Checked,
}

/// How new a list is among those of its issuer: the greater, the newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrlAge {
    /// Of the number: a longer one is greater, whatever it begins with.
    length: usize,
    number: Box<[u8]>,
    this_update: Timestamp,
}

impl CrlAge {
    /// `number` is without leading zeros; a list without a number has none.
    pub(super) fn new(number: &[u8], this_update: Timestamp) -> Self {
        Self { length: number.len(), number: number.into(), this_update }
    }
}

impl fmt::Display for CrlAge {
    /// `number 01 of 2026-11-24T12:00:00Z`; a list of version 1 has no number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.number.is_empty() {
            write!(f, "number {} ", hex(&self.number))?;
        }
        write!(f, "of {}", self.this_update)
    }
}

/// One entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When the issuer revoked the certificate.
    pub date: Timestamp,
    /// The reason code (RFC 5280, section 5.3.1), if the entry has one.
    pub reason: Option<u8>,
    /// Since when the key is known or suspected not to be its owner's alone (section 5.3.2), if the entry says.
    pub invalidity_date: Option<Timestamp>,
}

impl Revocation {
    /// The reason's name in RFC 5280.
    pub fn reason_name(&self) -> &'static str {
        match self.reason {
            Some(1) => "keyCompromise",
            Some(2) => "cACompromise",
            Some(3) => "affiliationChanged",
            Some(4) => "superseded",
            Some(5) => "cessationOfOperation",
            Some(6) => "certificateHold",
            Some(8) => "removeFromCRL",
            Some(9) => "privilegeWithdrawn",
            Some(10) => "aACompromise",
            Some(_) | None => "unspecified",
        }
    }

    /// Whether somebody else may have had the key.
    pub fn is_compromise(&self) -> bool {
        matches!(self.reason, Some(1 | 2 | 10))
    }

    /// From when on what the key signed is in doubt: for a compromise the invalidity date, if there is one and it is
    /// earlier than the revocation; otherwise the revocation, before which nothing was wrong.
    pub fn suspect_since(&self) -> Timestamp {
        match self.invalidity_date {
            Some(since) if self.is_compromise() => since.min(self.date),
            Some(_) | None => self.date,
        }
    }
}

/// Why bytes are no acceptable revocation list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// A delta list (RFC 5280, section 5.2.4): it says only what changed.
    #[error("the list is a delta list, expected a complete one")]
    Delta,
    /// The same extension twice.
    #[error("the extension {oid} is there twice")]
    DuplicateExtension {
        /// Which.
        oid: String,
    },
    /// An indirect list (section 5.2.5): it speaks for other issuers.
    #[error("the list is an indirect one, expected its own issuer's only")]
    Indirect,
    /// Not DER of the right shape.
    #[error("not an X.509 revocation list: {0}")]
    Malformed(String),
    /// No next update: it would never be stale (section 5.1.2.5).
    #[error("the list has no next update")]
    NextUpdateMissing,
    /// No number: which of two lists is the newer one could not be known (section 5.2.3).
    #[error("the list has no CRL number")]
    NumberMissing,
    /// A list for some reasons or some distribution points only.
    #[error("the list is for a part of the certificates or of the reasons only")]
    Partitioned,
    /// More bytes than a list may have.
    #[error("the list has {found} bytes, expected at most {MAX_BYTES}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// Bytes after the list.
    #[error("{found} bytes follow the list")]
    TrailingBytes {
        /// How many.
        found: usize,
    },
    /// A critical extension, of the list or of an entry, that is not understood (sections 5.2 and 5.3).
    #[error("the list has a critical extension that is not understood")]
    UnknownCritical,
    /// Not version 2.
    #[error("the list is of version {found}, expected 2")]
    Version {
        /// The version that it says, counted from 1.
        found: u32,
    },
}

impl CrlError {
    /// The stable code: always [`ReasonCode::CrlMalformed`].
    pub fn code(&self) -> ReasonCode {
        ReasonCode::CrlMalformed
    }
}

impl Crl {
    /// Reads a list in DER, with nothing after it.
    ///
    /// # Errors
    /// A [`CrlError`], if it is not of version 2, complete, direct, numbered and with a next update.
    pub fn parse(der: &[u8]) -> Result<Self, CrlError> {
        Self::from_bytes(Bytes::copy_from_slice(der))
    }

    /// As [`Crl::parse`], keeping the bytes that are given.
    ///
    /// # Errors
    /// As [`Crl::parse`].
    pub fn from_bytes(der: Bytes) -> Result<Self, CrlError> {
        if der.len() > MAX_BYTES {
            return Err(CrlError::TooLarge { found: der.len() });
        }
        let layout = Layout::read(&der)?;
        let bare = layout.bare(&der);
        let (_, parsed) = CertificateRevocationList::from_der(&bare)
            .map_err(|error| CrlError::Malformed(parser_message(error)))?;
        let found = parsed.version().map_or(1, |version| version.0.saturating_add(1));
        if found != 2 {
            return Err(CrlError::Version { found });
        }
        let next_update = parsed.next_update().ok_or(CrlError::NextUpdateMissing)?;
        let extensions = Extensions::read(&parsed)?;
        let webpki = OwnedCertRevocationList::from_der(&bare).map_err(webpki_fault)?;
        if parsed.iter_revoked_certificates().next().is_some() {
            return Err(malformed("its entries can be read in two ways"));
        }
        let revoked = Index::read(&der, &layout)?;
        Ok(Self {
            sha256: sha256(&der),
            issuer: printable(&parsed.issuer().to_string()),
            issuer_der: parsed.issuer().as_raw().into(),
            authority_key_id: extensions.authority_key_id,
            number: extensions.number,
            this_update: timestamp(parsed.last_update().timestamp())?,
            next_update: timestamp(next_update.timestamp())?,
            revoked,
            bare_signed: layout.bare_signed(&der).into(),
            layout,
            webpki: webpki.into(),
            checked: Checked::default(),
            der,
        })
    }

    /// The bytes that were read.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// SHA-256 over the DER.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The issuer's name, safe to print.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer's name in DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer_der
    }

    /// The key identifier of the authority that signed it (section 5.2.1), if it says.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// The CRL number, in hexadecimal without leading zeros.
    pub fn number_hex(&self) -> String {
        if self.number.is_empty() { "00".to_owned() } else { hex(&self.number) }
    }

    /// The CRL number, if it is less than 2^64: ours are.
    pub fn number(&self) -> Option<u64> {
        let is_small = self.number.len() <= 8;
        is_small.then(|| self.number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// When it was issued.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// By when the next one will be issued. From this second on, the list is stale.
    pub fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.revoked.len() == 0
    }

    /// The entry for a serial number, however it is spelt, if there is one. An entry counts whatever its reason and date.
    pub fn revocation(&self, serial: &[u8]) -> Option<Revocation> {
        self.revoked.find(&self.der, &self.layout, serial)
    }

    /// What orders two lists of one issuer, to be kept when the list is not.
    pub fn age(&self) -> CrlAge {
        CrlAge::new(&self.number, self.this_update)
    }

    /// What orders two lists of one issuer: the number, then the date.
    pub(super) fn newness(&self) -> (usize, &[u8], Timestamp) {
        (self.number.len(), &self.number, self.this_update)
    }

    /// For webpki, which finds none of the entries in it: see [`WithLists`].
    pub(super) fn without_entries(&self) -> &CertRevocationList<'static> {
        &self.webpki
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, number {}, {} entries)", self.issuer, self.number_hex(), self.revoked.len())
    }
}

struct Extensions {
    number: Box<[u8]>,
    authority_key_id: Option<Box<[u8]>>,
}

impl Extensions {
    fn read(parsed: &CertificateRevocationList<'_>) -> Result<Self, CrlError> {
        let (mut seen, mut number, mut authority_key_id) = (BTreeSet::new(), None, None);
        for extension in parsed.extensions() {
            let oid = extension.oid.to_id_string();
            let parsed = extension.parsed_extension();
            if let ParsedExtension::AuthorityKeyIdentifier(found) = parsed {
                authority_key_id = found.key_identifier.as_ref().map(|id| id.0.into());
            } else if let ParsedExtension::CRLNumber(found) = parsed {
                number = Some(magnitude(&found.to_bytes_be()).into());
            }
            if oid == CRL_NUMBER && (parsed.error().is_some() || !is_one_der_value(extension.value)) {
                return Err(CrlError::Malformed("its number cannot be read".to_owned()));
            }
            if !seen.insert(oid.clone()) {
                return Err(CrlError::DuplicateExtension { oid });
            }
        }
        // A delta list has a number too, and is told from others below: the more telling error goes first.
        if seen.contains("2.5.29.27") {
            return Err(CrlError::Delta);
        }
        Ok(Self { number: number.ok_or(CrlError::NumberMissing)?, authority_key_id })
    }
}

fn malformed(detail: &str) -> CrlError {
    CrlError::Malformed(detail.to_owned())
}

fn timestamp(seconds: i64) -> Result<Timestamp, CrlError> {
    Timestamp::from_unix(seconds).map_err(|error| CrlError::Malformed(error.to_string()))
}

fn webpki_fault(error: webpki::Error) -> CrlError {
    use webpki::Error as E;
    let named = [
        (E::UnsupportedCrlVersion, CrlError::Version { found: 1 }),
        (E::UnsupportedDeltaCrl, CrlError::Delta),
        (E::UnsupportedIndirectCrl, CrlError::Indirect),
        (E::UnsupportedRevocationReasonsPartitioning, CrlError::Partitioned),
        (E::UnsupportedCrlIssuingDistributionPoint, CrlError::Partitioned),
        (E::UnsupportedCriticalExtension, CrlError::UnknownCritical),
    ];
    let fault = named.into_iter().find(|(kind, _)| *kind == error).map(|(_, fault)| fault);
    fault.unwrap_or_else(|| CrlError::Malformed(error.to_string()))
}
