//! Public keys, and the one place where a message's signature is checked.

use super::algorithm::Algorithm;
use crate::reason::ReasonCode;
use ring::signature::UnparsedPublicKey;
use std::fmt;
use x509_parser::asn1_rs::{FromDer, Oid, oid};
use x509_parser::x509::SubjectPublicKeyInfo;

const ID_EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840.10045.2.1);
const ID_PRIME256V1: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const ID_SECP384R1: Oid<'static> = oid!(1.3.132.0.34);
const ID_ED25519: Oid<'static> = oid!(1.3.101.112);
const ID_RSA_ENCRYPTION: Oid<'static> = oid!(1.2.840.113549.1.1.1);

/// The fewest bits of an RSA modulus, outside the legacy path.
pub const RSA_MINIMUM_BITS: usize = 2048;
/// The most bits of an RSA modulus: beyond them a signature check is a way to keep a verifier busy.
pub const RSA_MAXIMUM_BITS: usize = 8192;

/// What kind of key a certificate has, whether or not it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// A kind that is not known here: the OID of its algorithm, or of its curve.
    Other(String),
    /// An elliptic curve key on P-256 (RFC 5480).
    P256,
    /// An elliptic curve key on P-384: for authorities, not for leaves.
    P384,
    /// An RSA key (RFC 3279, section 2.3.1).
    Rsa {
        /// The length of its modulus.
        bits: usize,
    },
}

impl KeyKind {
    /// Whether an authority's key may sign certificates and lists.
    pub(super) fn fits_authority(&self) -> bool {
        match self {
            Self::Ed25519 | Self::P256 | Self::P384 => true,
            Self::Rsa { bits } => (RSA_MINIMUM_BITS..=RSA_MAXIMUM_BITS).contains(bits),
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => write!(f, "a key of kind {oid}"),
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
        }
    }
}

/// The key of a leaf: P-256, Ed25519, or RSA of 2048 to 8192 bits. Kept as ring wants it, so that a check costs what
/// ring costs.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// The content of the SPKI's bit string: a point, 32 bytes, or an `RSAPublicKey`.
    bytes: Box<[u8]>,
}

/// The token that a signature was checked and is right. Only [`PublicKey::verify`] and the legacy path make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureChecked(());

impl SignatureChecked {
    /// For the legacy path, after its own check.
    pub(super) fn by_legacy_check() -> Self {
        Self(())
    }
}

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7), or a key that does not fit what it says.
    #[error("the public key is malformed: {0}")]
    Malformed(&'static str),
    /// An RSA modulus outside what is accepted.
    #[error("the key is RSA {found}, expected {RSA_MINIMUM_BITS} to {RSA_MAXIMUM_BITS} bits")]
    RsaSize {
        /// Bits of the modulus.
        found: usize,
    },
    /// A kind of key that no proof is signed with.
    #[error("the key is {0}, expected P-256, Ed25519 or RSA")]
    Unsupported(KeyKind),
}

impl KeyError {
    /// The stable code: always [`ReasonCode::CertificateAlgorithm`].
    pub fn code(&self) -> ReasonCode {
        ReasonCode::CertificateAlgorithm
    }
}

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is not one for the algorithm that the proof names.
    #[error("the proof is signed with {algorithm}, but the certificate's key is {key}")]
    AlgorithmMismatch {
        /// What the proof names.
        algorithm: &'static str,
        /// What the certificate has.
        key: KeyKind,
    },
    /// The signature does not fit the key and the message.
    #[error("the signature does not verify under the certificate's key")]
    Invalid,
}

impl SignatureError {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::AlgorithmMismatch { .. } => ReasonCode::SignatureAlgorithmMismatch,
            Self::Invalid => ReasonCode::SignatureInvalid,
        }
    }
}

impl PublicKey {
    /// Takes the key from a `SubjectPublicKeyInfo` in DER, with nothing after it.
    ///
    /// # Errors
    /// [`KeyError`], if it is malformed or not of a kind and size that a leaf may have.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(spki)
            .map_err(|_| KeyError::Malformed("it is not a SubjectPublicKeyInfo"))?;
        if !rest.is_empty() {
            return Err(KeyError::Malformed("bytes follow it"));
        }
        let kind = kind_of(&parsed)?;
        let bytes = parsed.subject_public_key.data.as_ref();
        match kind {
            // An uncompressed point (SEC 1, section 2.3.3), the only form that ring takes and that DER has one of.
            KeyKind::P256 if bytes.len() != 65 || bytes.first() != Some(&4) => {
                Err(KeyError::Malformed("not an uncompressed point of P-256"))
            }
            KeyKind::Ed25519 if bytes.len() != 32 => Err(KeyError::Malformed("an Ed25519 key has 32 bytes")),
            KeyKind::Rsa { bits } if !(RSA_MINIMUM_BITS..=RSA_MAXIMUM_BITS).contains(&bits) => {
                Err(KeyError::RsaSize { found: bits })
            }
            KeyKind::P256 | KeyKind::Ed25519 | KeyKind::Rsa { .. } => Ok(Self { kind, bytes: bytes.into() }),
            KeyKind::P384 | KeyKind::Other(_) => Err(KeyError::Unsupported(kind)),
        }
    }

    /// What kind of key it is.
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// Whether the algorithm is one for this kind of key.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (algorithm, &self.kind),
            (Algorithm::EcdsaP256Sha256, KeyKind::P256)
                | (Algorithm::Ed25519, KeyKind::Ed25519)
                | (Algorithm::RsaPkcs1Sha256 | Algorithm::RsaPssSha256, KeyKind::Rsa { .. })
        )
    }

    /// Checks a signature over `message`.
    ///
    /// # Errors
    /// [`SignatureError::AlgorithmMismatch`] if the key is not one for the algorithm; [`SignatureError::Invalid`] if the
    /// signature does not fit.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<SignatureChecked, SignatureError> {
        if !self.fits(algorithm) {
            let (algorithm, key) = (algorithm.name(), self.kind.clone());
            return Err(SignatureError::AlgorithmMismatch { algorithm, key });
        }
        UnparsedPublicKey::new(algorithm.verifier(), &self.bytes)
            .verify(message, signature)
            .map(|()| SignatureChecked(()))
            .map_err(|_| SignatureError::Invalid)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.kind)
    }
}

/// The kind of a key, by its algorithm identifier (RFC 3279, 5480 and 8410 say which parameters each has).
pub(super) fn kind_of(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyKind, KeyError> {
    let parameters = spki.algorithm.parameters.as_ref();
    let oid = &spki.algorithm.algorithm;
    if *oid == ID_EC_PUBLIC_KEY {
        let curve = parameters
            .and_then(|any| any.as_oid().ok())
            .ok_or(KeyError::Malformed("an elliptic curve key that does not name its curve"))?;
        return Ok(match curve {
            c if c == ID_PRIME256V1 => KeyKind::P256,
            c if c == ID_SECP384R1 => KeyKind::P384,
            other => KeyKind::Other(other.to_id_string()),
        });
    }
    if *oid == ID_ED25519 {
        // RFC 8410, section 3: the parameters must be absent.
        return match parameters {
            None => Ok(KeyKind::Ed25519),
            Some(_) => Err(KeyError::Malformed("an Ed25519 key with parameters")),
        };
    }
    if *oid == ID_RSA_ENCRYPTION {
        return rsa_bits(&spki.subject_public_key.data).map(|bits| KeyKind::Rsa { bits });
    }
    Ok(KeyKind::Other(oid.to_id_string()))
}

fn rsa_bits(bytes: &[u8]) -> Result<usize, KeyError> {
    let malformed = KeyError::Malformed("not an RSAPublicKey");
    let (rest, key) =
        x509_parser::public_key::RSAPublicKey::from_der(bytes).map_err(|_| malformed.clone())?;
    if !rest.is_empty() {
        return Err(malformed);
    }
    let mut modulus = key.modulus.iter().skip_while(|byte| **byte == 0);
    let Some(first) = modulus.next() else { return Err(malformed) };
    let lead = u8::BITS - first.leading_zeros();
    Ok(modulus.count() * 8 + usize::try_from(lead).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PublicKeyData, SigningKey};

    #[test]
    fn a_signature_is_right_only_for_its_message_key_and_algorithm() {
        for (alg, algorithm) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::EcdsaP256Sha256),
            (&rcgen::PKCS_ED25519, Algorithm::Ed25519),
        ] {
            let pair = KeyPair::generate_for(alg).unwrap();
            let key = PublicKey::from_spki(&pair.subject_public_key_info()).unwrap();
            let signature = pair.sign(b"message").unwrap();
            assert!(key.verify(algorithm, b"message", &signature).is_ok());
            assert_eq!(key.verify(algorithm, b"massage", &signature), Err(SignatureError::Invalid));
            assert_eq!(key.verify(algorithm, b"message", &signature[1..]), Err(SignatureError::Invalid));
            assert_eq!(key.verify(algorithm, b"message", b""), Err(SignatureError::Invalid));
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                let refused = key.verify(other, b"message", &signature).unwrap_err();
                assert_eq!(refused.code(), ReasonCode::SignatureAlgorithmMismatch);
            }
            let mut longer = pair.subject_public_key_info();
            longer.push(0);
            assert!(matches!(PublicKey::from_spki(&longer), Err(KeyError::Malformed(_))));
        }
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(
            PublicKey::from_spki(&p384.subject_public_key_info()),
            Err(KeyError::Unsupported(KeyKind::P384))
        );
    }
}
