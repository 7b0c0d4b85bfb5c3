//! What a certificate must be for.

use std::fmt;
use std::str::FromStr;
use webpki::{ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};
use x509_parser::asn1_rs::Oid;

/// `id-kp-documentSigning` (RFC 9336).
const DOCUMENT_SIGNING: &str = "1.3.6.1.5.5.7.3.36";
const DOCUMENT_SIGNING_CONTENT: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 36];
/// `id-kp-configSigning` (RFC 9809).
const CONFIG_SIGNING: &str = "1.3.6.1.5.5.7.3.41";
const CONFIG_SIGNING_CONTENT: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 41];
/// `anyExtendedKeyUsage` (RFC 5280, section 4.2.1.12): enough for an issuer, never for a leaf.
const ANY_CONTENT: [u8; 4] = [0x55, 0x1d, 0x25, 0];
pub(super) const ANY: &str = "2.5.29.37.0";

/// The extended key usage that a leaf must name. There is no default: who validates says which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Any, or none: the extension is not looked at.
    Any,
    /// `id-kp-configSigning` (RFC 9809): what operators sign policies under. A service's certificate does not have it.
    ConfigSigning,
    /// `id-kp-documentSigning` (RFC 9336): what services sign messages under.
    DocumentSigning,
    /// Another, for foreign authorities.
    Other(PurposeOid),
}

/// An object identifier, as text and as DER content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PurposeOid {
    text: Box<str>,
    content: Box<[u8]>,
}

/// A text that names no purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `any` nor an OID such as {DOCUMENT_SIGNING}")]
pub struct PurposeError(String);

impl Purpose {
    /// The OID that a leaf must name, if it must name one.
    pub fn oid(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::ConfigSigning => Some(CONFIG_SIGNING),
            Self::DocumentSigning => Some(DOCUMENT_SIGNING),
            Self::Other(oid) => Some(&oid.text),
        }
    }

    fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Any => None,
            Self::ConfigSigning => Some(&CONFIG_SIGNING_CONTENT),
            Self::DocumentSigning => Some(&DOCUMENT_SIGNING_CONTENT),
            Self::Other(oid) => Some(&oid.content),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::ConfigSigning => write!(f, "configSigning ({CONFIG_SIGNING})"),
            Self::DocumentSigning => write!(f, "documentSigning ({DOCUMENT_SIGNING})"),
            Self::Other(oid) => f.write_str(&oid.text),
        }
    }
}

impl FromStr for Purpose {
    type Err = PurposeError;

    /// Reads `any`, or an OID in dotted form.
    fn from_str(text: &str) -> Result<Self, PurposeError> {
        let refused = || PurposeError(text.to_owned());
        if text == "any" {
            return Ok(Self::Any);
        }
        let oid: Oid<'_> = text.parse().map_err(|_| refused())?;
        let canonical = oid.to_id_string();
        // `anyExtendedKeyUsage` is not something that a leaf could be required to have: `any` says what is meant.
        if canonical == ANY || oid.as_bytes().is_empty() {
            return Err(refused());
        }
        match canonical.as_str() {
            CONFIG_SIGNING => return Ok(Self::ConfigSigning),
            DOCUMENT_SIGNING => return Ok(Self::DocumentSigning),
            _ => {}
        }
        Ok(Self::Other(PurposeOid { text: canonical.into(), content: oid.as_bytes().into() }))
    }
}

/// webpki asks this of every certificate of a path. An issuer may have no extended key usage, or any; what it has must
/// include the purpose. That the leaf names it is checked apart, and more strictly.
impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, found: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let Some(required) = self.content() else { return Ok(()) };
        let (required, any) = (KeyPurposeId::new(required), KeyPurposeId::new(&ANY_CONTENT));
        let mut empty = true;
        for id in found {
            let id = id?;
            if id == required || id == any {
                return Ok(());
            }
            empty = false;
        }
        // An extension that is there and has nothing in it was refused by webpki before.
        if empty { Ok(()) } else { Err(webpki::Error::EmptyEkuExtension) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_are_read() {
        assert_eq!(DOCUMENT_SIGNING.parse(), Ok(Purpose::DocumentSigning));
        assert_eq!(CONFIG_SIGNING.parse(), Ok(Purpose::ConfigSigning));
        assert_eq!("any".parse(), Ok(Purpose::Any));
        let code: Purpose = "1.3.6.1.5.5.7.3.3".parse().unwrap();
        assert_eq!(code.oid(), Some("1.3.6.1.5.5.7.3.3"));
        assert_eq!(code.content(), Some(&[0x2b, 6, 1, 5, 5, 7, 3, 3][..]));
        for text in ["", "1", "ANY", "documentSigning", "1..2", "9.9.9", ANY, "1.3.6.1.5.5.7.3.3 "] {
            assert!(text.parse::<Purpose>().is_err(), "{text}");
        }
    }
}
