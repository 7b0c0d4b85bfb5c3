//! One X.509 certificate, read strictly (RFC 5280, section 4). Reading is not trusting: see [`super::chain`].

use super::public_key::{KeyError, KeyKind, PublicKey, kind_of};
use super::{hex, is_one_der_value, printable};
use crate::identity::{CommonName, Identity, IdentityError};
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::nom;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// The most bytes of a certificate: what webpki reads.
pub const MAX_BYTES: usize = 65_535;
/// The most bytes of a serial number, its sign byte counted (RFC 5280, section 4.1.2.2).
pub const MAX_SERIAL_BYTES: usize = 20;
/// The extensions of `id-ce` (2.5.29) that may be critical, because webpki or [`super::chain`] acts on them: key usage,
/// subject alternative name, basic constraints, name constraints, CRL distribution points, extended key usage.
const UNDERSTOOD: [&str; 6] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.37"];

/// Where a certificate's identity stands. It is chosen for each trust anchor, never tried in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityRule {
    /// The subject's one common name, for legacy and foreign authorities: `cn:NAME`.
    CommonName,
    /// The one URI of the subject alternative name, a SPIFFE identity.
    SpiffeUri,
}

/// A certificate as it was read: strict in form, believed in nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Bytes,
    sha256: [u8; 32],
    serial: Box<[u8]>,
    subject: String,
    issuer: String,
    subject_der: Box<[u8]>,
    issuer_der: Box<[u8]>,
    spki_der: Box<[u8]>,
    not_before: Timestamp,
    not_after: Timestamp,
    key_kind: KeyKind,
    signature_algorithm: String,
    common_names: Vec<String>,
    uris: Vec<String>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<Vec<String>>,
    subject_key_id: Option<Box<[u8]>>,
    unknown_critical: Option<String>,
}

/// Basic constraints (RFC 5280, section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the subject is an authority.
    pub is_authority: bool,
    /// The most authorities that may follow in a path, the leaf not counted.
    pub path_length: Option<u32>,
}

/// Key usage (RFC 5280, section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage(u16);

/// Why bytes are no acceptable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The same extension twice (RFC 5280, section 4.2).
    #[error("the extension {oid} is there twice")]
    DuplicateExtension {
        /// Which.
        oid: String,
    },
    /// Not DER of the right shape.
    #[error("not an X.509 certificate: {0}")]
    Malformed(String),
    /// A serial number that is zero, negative, too long, or not encoded as DER wants it.
    #[error("the serial number is {found}, expected 1 to {MAX_SERIAL_BYTES} bytes, positive")]
    Serial {
        /// The content bytes, in hexadecimal.
        found: String,
    },
    /// The algorithm within what is signed is not the one of the signature (RFC 5280, section 4.1.1.2).
    #[error("the signature algorithm is {outer}, but {inner} within what is signed")]
    SignatureAlgorithms {
        /// The OID within.
        inner: String,
        /// The OID of the signature.
        outer: String,
    },
    /// More bytes than [`MAX_BYTES`].
    #[error("the certificate has {found} bytes, the limit is {MAX_BYTES}")]
    TooLarge {
        /// What was found, in bytes.
        found: usize,
    },
    /// Bytes after the certificate.
    #[error("{found} bytes follow the certificate")]
    TrailingBytes {
        /// How many.
        found: usize,
    },
    /// The last day is before the first.
    #[error("the certificate ends at {not_after}, before it begins at {not_before}")]
    Validity {
        /// `notBefore`.
        not_before: Timestamp,
        /// `notAfter`.
        not_after: Timestamp,
    },
    /// Not version 3.
    #[error("the certificate is of version {found}, expected 3")]
    Version {
        /// The version that it says, counted from 1.
        found: u32,
    },
}

impl CertificateError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Serial { .. } => ReasonCode::CertificateSerial,
            Self::DuplicateExtension { .. }
            | Self::Malformed(_)
            | Self::SignatureAlgorithms { .. }
            | Self::TooLarge { .. }
            | Self::TrailingBytes { .. }
            | Self::Validity { .. }
            | Self::Version { .. } => ReasonCode::CertificateMalformed,
        }
    }
}

/// Why a certificate has no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// More than one candidate: which one is meant cannot be known.
    #[error("the certificate has {} identities, expected one: {}", found.len(), found.join(", "))]
    Ambiguous {
        /// All of them.
        found: Vec<String>,
    },
    /// One candidate, which is not well-formed.
    #[error(transparent)]
    Malformed(#[from] IdentityError),
    /// No candidate.
    #[error("the certificate has no {expected}, so it has no identity")]
    Missing {
        /// What was looked for.
        expected: &'static str,
    },
}

impl IdentityFault {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Ambiguous { .. } => ReasonCode::IdentityAmbiguous,
            Self::Malformed(_) => ReasonCode::IdentityMalformed,
            Self::Missing { .. } => ReasonCode::IdentityMissing,
        }
    }
}

impl Certificate {
    /// Reads a certificate in DER, with nothing after it.
    ///
    /// # Errors
    /// A [`CertificateError`], if it is not version 3, has a bad serial number, an extension twice, an end before its
    /// beginning, two different signature algorithms, or is not DER of the right shape.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_BYTES {
            return Err(CertificateError::TooLarge { found: der.len() });
        }
        let x509 = parse_x509(der)?;
        let found = x509.version().0.saturating_add(1);
        if x509.version() != X509Version::V3 {
            return Err(CertificateError::Version { found });
        }
        check_serial(x509.raw_serial())?;
        if x509.signature != x509.signature_algorithm {
            return Err(CertificateError::SignatureAlgorithms {
                inner: x509.signature.algorithm.to_id_string(),
                outer: x509.signature_algorithm.algorithm.to_id_string(),
            });
        }
        let (not_before, not_after) = (
            timestamp(x509.validity().not_before.timestamp())?,
            timestamp(x509.validity().not_after.timestamp())?,
        );
        if not_after < not_before {
            return Err(CertificateError::Validity { not_before, not_after });
        }
        let key_kind = kind_of(x509.public_key()).map_err(|error| malformed(&error.to_string()))?;
        let mut certificate = Self {
            der: Bytes::copy_from_slice(der),
            sha256: sha256(der),
            serial: x509.raw_serial().into(),
            subject: printable(&x509.subject().to_string()),
            issuer: printable(&x509.issuer().to_string()),
            subject_der: x509.subject().as_raw().into(),
            issuer_der: x509.issuer().as_raw().into(),
            spki_der: x509.public_key().raw.into(),
            not_before,
            not_after,
            key_kind,
            signature_algorithm: x509.signature_algorithm.algorithm.to_id_string(),
            common_names: x509
                .subject()
                .iter_common_name()
                // What is no text cannot be a name either: the replacement character is refused as one.
                .map(|name| name.as_str().unwrap_or("\u{fffd}").to_owned())
                .collect(),
            uris: Vec::new(),
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: None,
            subject_key_id: None,
            unknown_critical: None,
        };
        certificate.take_extensions(x509.extensions())?;
        Ok(certificate)
    }

    /// The bytes that were read.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The fingerprint: SHA-256 over the DER.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The fingerprint as 64 hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// The serial number's content bytes: big-endian, positive, a zero byte before a set top bit.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The serial number in hexadecimal, without leading zeros, as `openssl x509 -serial` writes it but in lower case.
    pub fn serial_hex(&self) -> String {
        hex(magnitude(&self.serial))
    }

    /// The subject's name, safe to print.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer's name, safe to print.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject's name in DER, as names are compared: byte for byte.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// The issuer's name in DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer_der
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The subject's common name, if it has exactly one.
    pub fn subject_cn(&self) -> Option<&str> {
        match self.common_names.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The URIs of the subject alternative name, as they stand there.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The first second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of its validity, which still counts (RFC 5280, section 4.1.2.5).
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// What kind of key it has.
    pub fn key_kind(&self) -> &KeyKind {
        &self.key_kind
    }

    /// The OID of the algorithm that it is signed with.
    pub fn signature_algorithm(&self) -> &str {
        &self.signature_algorithm
    }

    /// The key, if a leaf may have such a one.
    ///
    /// # Errors
    /// [`KeyError`] for other kinds and sizes.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki(&self.spki_der)
    }

    /// Basic constraints, if it has the extension.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.basic_constraints
    }

    /// Whether it says that it is an authority's.
    pub fn is_authority(&self) -> bool {
        self.basic_constraints.is_some_and(|constraints| constraints.is_authority)
    }

    /// Key usage, if it has the extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.key_usage
    }

    /// The OIDs of its extended key usage, if it has the extension.
    pub fn extended_key_usage(&self) -> Option<&[String]> {
        self.extended_key_usage.as_deref()
    }

    /// The subject key identifier (RFC 5280, section 4.2.1.2), if it has one.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// The OID of the first critical extension that is not understood here, if there is one.
    pub fn unknown_critical(&self) -> Option<&str> {
        self.unknown_critical.as_deref()
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// Who the certificate says it is, by the rule of its trust anchor. To be believed only once a chain was validated:
    /// [`super::chain::ValidatedLeaf::identity`].
    ///
    /// # Errors
    /// An [`IdentityFault`], if there is not exactly one well-formed identity where the rule looks.
    pub fn identity(&self, rule: IdentityRule) -> Result<Identity, IdentityFault> {
        let (candidates, expected) = match rule {
            IdentityRule::CommonName => (&self.common_names, "common name"),
            IdentityRule::SpiffeUri => (&self.uris, "URI in its subject alternative name"),
        };
        let one = match candidates.as_slice() {
            [] => return Err(IdentityFault::Missing { expected }),
            [one] => one,
            many => {
                let found = many.iter().map(|name| printable(name)).collect();
                return Err(IdentityFault::Ambiguous { found });
            }
        };
        Ok(match rule {
            IdentityRule::CommonName => Identity::CommonName(CommonName::new(one)?),
            IdentityRule::SpiffeUri => Identity::Spiffe(one.parse()?),
        })
    }

    /// Whether an issuer's key signed this certificate. Nothing else is looked at: [`chain`](super::chain) says whether to believe it.
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        let (Ok(own), Ok(above)) = (self.x509(), issuer.x509()) else { return false };
        self.issuer_der() == issuer.subject_der() && own.verify_signature(Some(above.public_key())).is_ok()
    }

    /// The parsed form, for what is not kept. It was parsed once, so it parses.
    pub(super) fn x509(&self) -> Result<X509Certificate<'_>, CertificateError> {
        parse_x509(&self.der)
    }

    fn take_extensions(&mut self, extensions: &[X509Extension<'_>]) -> Result<(), CertificateError> {
        let mut seen = BTreeSet::new();
        for extension in extensions {
            let oid = extension.oid.to_id_string();
            if !seen.insert(oid.clone()) {
                return Err(CertificateError::DuplicateExtension { oid });
            }
            let understood = UNDERSTOOD.contains(&oid.as_str());
            if understood && !is_one_der_value(extension.value) {
                return Err(malformed(&format!("bytes follow the value of the extension {oid}")));
            }
            if extension.critical && !understood && self.unknown_critical.is_none() {
                self.unknown_critical = Some(oid.clone());
            }
            self.take_extension(&oid, extension.parsed_extension())?;
        }
        Ok(())
    }

    fn take_extension(&mut self, oid: &str, parsed: &ParsedExtension<'_>) -> Result<(), CertificateError> {
        if let ParsedExtension::BasicConstraints(found) = parsed {
            let (is_authority, path_length) = (found.ca, found.path_len_constraint);
            self.basic_constraints = Some(BasicConstraints { is_authority, path_length });
        } else if let ParsedExtension::ExtendedKeyUsage(found) = parsed {
            self.extended_key_usage = Some(purposes(found));
        } else if let ParsedExtension::KeyUsage(found) = parsed {
            self.key_usage = Some(KeyUsage(found.flags));
        } else if let ParsedExtension::SubjectKeyIdentifier(found) = parsed {
            self.subject_key_id = Some(found.0.into());
        } else if let ParsedExtension::SubjectAlternativeName(found) = parsed {
            if found.general_names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
                return Err(malformed("a subject alternative name that cannot be read"));
            }
            self.uris = found.general_names.iter().filter_map(uri).map(str::to_owned).collect();
        } else if parsed.error().is_some() && UNDERSTOOD.contains(&oid) {
            return Err(malformed(&format!("the extension {oid} cannot be read")));
        }
        Ok(())
    }
}

impl KeyUsage {
    const NAMES: [&'static str; 9] = [
        "digitalSignature",
        "contentCommitment",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    /// Bit 0: the key may sign messages.
    pub fn digital_signature(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 5: the key may sign certificates.
    pub fn key_cert_sign(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// Bit 6: the key may sign revocation lists.
    pub fn crl_sign(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// The names of RFC 5280 for what is allowed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & 1 << bit != 0)
            .map(|(_, name)| name)
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.write_str(if names.is_empty() { "nothing" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, sha256 {})", self.subject, self.sha256_hex())
    }
}

fn parse_x509(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    let (rest, x509) = X509Certificate::from_der(der).map_err(|error| malformed(&parser_message(error)))?;
    if rest.is_empty() { Ok(x509) } else { Err(CertificateError::TrailingBytes { found: rest.len() }) }
}

fn malformed(detail: &str) -> CertificateError {
    CertificateError::Malformed(detail.to_owned())
}

/// What the parser says, in one line.
pub(super) fn parser_message(error: nom::Err<X509Error>) -> String {
    match error {
        nom::Err::Incomplete(_) => "it ends too early".to_owned(),
        nom::Err::Error(error) | nom::Err::Failure(error) => error.to_string(),
    }
}

/// A serial number as RFC 5280 section 4.1.2.2 and DER want it. One with needless zero bytes would be a second spelling
/// of another, and would not be found in a revocation list.
fn check_serial(serial: &[u8]) -> Result<(), CertificateError> {
    let fits = match serial {
        [] | [0] => false,
        [0, second, ..] => *second >= 0x80,
        [first, ..] => *first < 0x80,
    };
    if fits && serial.len() <= MAX_SERIAL_BYTES {
        Ok(())
    } else {
        Err(CertificateError::Serial { found: hex(serial) })
    }
}

/// An integer's content bytes without leading zeros.
pub(super) fn magnitude(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

fn timestamp(seconds: i64) -> Result<Timestamp, CertificateError> {
    Timestamp::from_unix(seconds).map_err(|error| malformed(&error.to_string()))
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

/// The purposes of an extended key usage, as OIDs.
pub(super) fn purposes(found: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let named = [
        (found.any, "2.5.29.37.0"),
        (found.server_auth, "1.3.6.1.5.5.7.3.1"),
        (found.client_auth, "1.3.6.1.5.5.7.3.2"),
        (found.code_signing, "1.3.6.1.5.5.7.3.3"),
        (found.email_protection, "1.3.6.1.5.5.7.3.4"),
        (found.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (found.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let named = named.into_iter().filter(|(there, _)| *there).map(|(_, oid)| oid.to_owned());
    named.chain(found.other.iter().map(x509_parser::asn1_rs::Oid::to_id_string)).collect()
}

/// SHA-256 (FIPS 180-4).
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}
