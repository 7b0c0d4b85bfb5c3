//! PEM (RFC 7468): the text form of certificates and lists. The one file that names rustls-pemfile.
//!
//! A block of another kind than was asked for, or one that the decoder would skip, is refused: what is in a file and not
//! looked at is what an attacker would put there.

use super::certificate::{Certificate, CertificateError};
use super::crl::{Crl, CrlError};
use crate::reason::ReasonCode;
use rustls_pemfile::Item;

/// The label of a certificate (RFC 7468, section 5).
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a revocation list (section 6).
pub const CRL: &str = "X509 CRL";

/// The label of a certificate request (section 7).
pub const REQUEST: &str = "CERTIFICATE REQUEST";

/// Why a text does not hold what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A certificate that is not acceptable.
    #[error("certificate {number}: {fault}")]
    Certificate {
        /// Which block, counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: CertificateError,
    },
    /// Not the number of blocks that was asked for.
    #[error("found {found} PEM blocks, expected one {expected}")]
    Count {
        /// What was asked for.
        expected: &'static str,
        /// How many blocks there are.
        found: usize,
    },
    /// A revocation list that is not acceptable.
    #[error("list {number}: {fault}")]
    Crl {
        /// Which block, counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: CrlError,
    },
    /// A block of another kind.
    #[error("found a PEM block of another kind, expected only {expected}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
    },
    /// No block at all.
    #[error("found no PEM block, expected {expected}")]
    Missing {
        /// What was asked for.
        expected: &'static str,
    },
    /// A block that does not end, or is not base64: half-written, say.
    #[error("malformed PEM: {detail}, expected {expected}")]
    Syntax {
        /// What was asked for.
        expected: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
}

impl PemError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Certificate { fault, .. } => fault.code(),
            Self::Crl { fault, .. } => fault.code(),
            Self::Count { expected, .. }
            | Self::Kind { expected }
            | Self::Missing { expected }
            | Self::Syntax { expected, .. } => {
                if *expected == CRL {
                    ReasonCode::CrlMalformed
                } else {
                    ReasonCode::CertificateMalformed
                }
            }
        }
    }

    /// As a fault of the one certificate that the text should have been.
    pub(super) fn into_certificate_error(self) -> CertificateError {
        match self {
            Self::Certificate { fault, .. } => fault,
            Self::Count { .. }
            | Self::Crl { .. }
            | Self::Kind { .. }
            | Self::Missing { .. }
            | Self::Syntax { .. } => CertificateError::Malformed(self.to_string()),
        }
    }
}

/// Reads one or more certificates, and nothing else.
///
/// # Errors
/// A [`PemError`] that names the block.
pub fn certificates(text: &[u8]) -> Result<Vec<Certificate>, PemError> {
    let mut certificates = Vec::new();
    for (index, item) in items(text, CERTIFICATE)?.into_iter().enumerate() {
        let Item::X509Certificate(der) = item else { return Err(PemError::Kind { expected: CERTIFICATE }) };
        let certificate =
            Certificate::parse(&der).map_err(|fault| PemError::Certificate { number: index + 1, fault })?;
        certificates.push(certificate);
    }
    Ok(certificates)
}

/// Reads exactly one certificate, and nothing else.
///
/// # Errors
/// A [`PemError`].
pub fn certificate(text: &[u8]) -> Result<Certificate, PemError> {
    one(certificates(text)?, CERTIFICATE)
}

/// Reads one or more revocation lists, and nothing else.
///
/// # Errors
/// A [`PemError`] that names the block.
pub fn crls(text: &[u8]) -> Result<Vec<Crl>, PemError> {
    crl_ders(text)?
        .into_iter()
        .enumerate()
        .map(|(index, der)| Crl::parse(&der).map_err(|fault| PemError::Crl { number: index + 1, fault }))
        .collect()
}

/// Reads exactly one revocation list, and nothing else.
///
/// # Errors
/// A [`PemError`].
pub fn crl(text: &[u8]) -> Result<Crl, PemError> {
    one(crls(text)?, CRL)
}

/// The DER of each list, not yet read: the legacy path reads lists of version 1 too.
pub(super) fn crl_ders(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    items(text, CRL)?
        .into_iter()
        .map(|item| {
            let Item::Crl(der) = item else { return Err(PemError::Kind { expected: CRL }) };
            Ok(der.to_vec())
        })
        .collect()
}

/// The DER of exactly one certificate request, not yet read.
pub(super) fn request_der(text: &[u8]) -> Result<Vec<u8>, PemError> {
    let ders = items(text, REQUEST)?.into_iter().map(|item| {
        let Item::Csr(der) = item else { return Err(PemError::Kind { expected: REQUEST }) };
        Ok(der.to_vec())
    });
    one(ders.collect::<Result<_, _>>()?, REQUEST)
}

fn one<T>(mut things: Vec<T>, expected: &'static str) -> Result<T, PemError> {
    match (things.pop(), things.is_empty()) {
        (Some(thing), true) => Ok(thing),
        (_, _) => Err(PemError::Count { expected, found: things.len() + 1 }),
    }
}

/// Every block of the text. rustls-pemfile passes over blocks whose label it does not know, so they are counted too.
fn items(text: &[u8], expected: &'static str) -> Result<Vec<Item>, PemError> {
    let mut items = Vec::new();
    let mut rest = text;
    while let Some((item, after)) =
        rustls_pemfile::read_one_from_slice(rest).map_err(|error| syntax(&error, expected))?
    {
        items.push(item);
        rest = after;
    }
    let begun = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.trim_ascii_start().starts_with(b"-----BEGIN"))
        .count();
    if begun != items.len() {
        return Err(PemError::Kind { expected });
    }
    if items.is_empty() { Err(PemError::Missing { expected }) } else { Ok(items) }
}

fn syntax(error: &rustls_pemfile::Error, expected: &'static str) -> PemError {
    let detail = match error {
        rustls_pemfile::Error::MissingSectionEnd { .. } => "a block does not end",
        rustls_pemfile::Error::IllegalSectionStart { .. } => "a block begins with a malformed line",
        rustls_pemfile::Error::Base64Decode(_) => "a block is not base64",
    };
    PemError::Syntax { expected, detail }
}
