//! Private keys: made, read, written, and signed with.
//!
//! A key is PKCS#8 in PEM (RFC 5958, RFC 7468), in a file that only its owner can read. Version 1 of PKCS#8 is written, which
//! OpenSSL reads for every kind; version 2 (with the public key) is read as well. A service's key has no passphrase, as a
//! daemon has nobody to ask; an authority's may have one ([`EncryptedKey`], [`StoredKey`]).

mod encrypted;
mod passphrase;

pub use encrypted::{EncryptedKey, EncryptedKeyError, KdfLimits};
pub use passphrase::{MAX_BYTES, MIN_CHARACTERS, Passphrase, PassphraseError};

use super::algorithm::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{PublicKeyData, SignatureAlgorithm};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

/// The kinds of key that can be made here. RSA keys can only be brought along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on the curve P-256.
    P256,
}

impl KeyKind {
    /// `p256` or `ed25519`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyKind {
    type Err = PrivateKeyError;

    fn from_str(text: &str) -> Result<Self, PrivateKeyError> {
        match text {
            "p256" => Ok(Self::P256),
            "ed25519" => Ok(Self::Ed25519),
            _ => Err(PrivateKeyError::UnknownKind(text.to_owned())),
        }
    }
}

/// Why a private key cannot be made, read or used. Nothing of the key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// A key under a passphrase, where one without was expected: a daemon has nobody to ask.
    #[error(
        "the private key is encrypted; expected PKCS#8 without a passphrase (openssl pkey -in OLD -out NEW)"
    )]
    Encrypted,
    /// PEM of another form than PKCS#8.
    #[error(
        "found a PEM block `{found}`, expected `PRIVATE KEY` (openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW)"
    )]
    Form {
        /// The label of the block.
        found: String,
    },
    /// PKCS#8 that holds no key of a kind that is accepted, or one that contradicts itself.
    #[error(
        "the private key is not PKCS#8 of a P-256 (with its public key), Ed25519 or RSA (2048 to 4096 bits) key"
    )]
    Kind,
    /// Not PEM, or not base64 within it.
    #[error("the private key is not PEM with one `PRIVATE KEY` block")]
    NotPem,
    /// The machine gave no random bytes, or the operation failed within the crypto library.
    #[error("the operation with the private key failed (no random bytes?)")]
    Operation,
    /// A key under a passphrase that cannot be read or made.
    #[error(transparent)]
    Protected(#[from] EncryptedKeyError),
    /// More than one private key.
    #[error("the file has more than one private key")]
    Several,
    /// No such kind of key.
    #[error("`{0}` is not a kind of key; p256 and ed25519 are")]
    UnknownKind(String),
}

/// A private key, ready to sign.
///
/// The PKCS#8 bytes are wiped when it is dropped; what ring holds of the key beside them is not in our reach.
pub struct PrivateKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
    /// The SubjectPublicKeyInfo in DER: what a certificate for this key must hold.
    spki: Box<[u8]>,
    random: SystemRandom,
}

/// A private key as a file has it.
#[derive(Debug)]
pub enum StoredKey {
    /// Under a passphrase.
    Encrypted(EncryptedKey),
    /// For everybody who can read the file.
    Plain(PrivateKey),
}

impl StoredKey {
    /// Reads the one private key of a PEM text, which may be encrypted.
    ///
    /// # Errors
    /// A [`PrivateKeyError`] that says what was found, and how to bring it into the right form.
    pub fn from_pem(pem: &[u8], limits: KdfLimits) -> Result<Self, PrivateKeyError> {
        let mut blocks = decode_pem(pem)?;
        match (blocks.pop(), blocks.is_empty()) {
            (Some(Block { is_encrypted: true, der }), true) => {
                Ok(Self::Encrypted(EncryptedKey::parse(&der, limits)?))
            }
            (Some(Block { is_encrypted: false, der }), true) => Ok(Self::Plain(PrivateKey::from_pkcs8(der)?)),
            (_, _) => Err(PrivateKeyError::Several),
        }
    }
}

/// A key that signs, wherever it is: a [`PrivateKey`] in memory, or what asks an HSM or an agent.
pub trait SigningKey: fmt::Debug + Send + Sync {
    /// The algorithm it signs with.
    fn algorithm(&self) -> Algorithm;

    /// The public half as SubjectPublicKeyInfo in DER.
    fn public_spki(&self) -> &[u8];

    /// Signs `message`.
    ///
    /// # Errors
    /// [`PrivateKeyError::Operation`] if it cannot.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError>;
}

/// The key pairs as ring keeps them, parsed once, so that signing costs what ring costs.
enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    P256(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// PKCS#8 version 1 around an Ed25519 seed (RFC 8410, 7): all that comes before the 32 bytes.
const ED25519_PKCS8_V1: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

impl PrivateKey {
    /// Makes a new key from the machine's random numbers.
    ///
    /// # Errors
    /// [`PrivateKeyError::Operation`] if there are none.
    pub fn generate(kind: KeyKind) -> Result<Self, PrivateKeyError> {
        let random = SystemRandom::new();
        let pkcs8 = match kind {
            KeyKind::P256 => {
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
                    .map_err(|_| PrivateKeyError::Operation)?;
                Zeroizing::new(document.as_ref().to_vec())
            }
            // ring writes version 2, which OpenSSL 3.0 cannot read.
            KeyKind::Ed25519 => {
                let mut seed = Zeroizing::new([0; 32]);
                random.fill(&mut *seed).map_err(|_| PrivateKeyError::Operation)?;
                Zeroizing::new([&ED25519_PKCS8_V1[..], &seed[..]].concat())
            }
        };
        Self::from_pkcs8(pkcs8)
    }

    /// Reads the one private key of a PEM text.
    ///
    /// # Errors
    /// A [`PrivateKeyError`] that says what was found, and how to bring it into the right form.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PrivateKeyError> {
        let mut keys = Self::all_from_pem(pem)?;
        match (keys.pop(), keys.is_empty()) {
            (Some(key), true) => Ok(key),
            (_, _) => Err(PrivateKeyError::Several),
        }
    }

    /// Reads every private key of a PEM text; there is at least one.
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`], of the first that is at fault.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, PrivateKeyError> {
        let plain = |block: Block| {
            if block.is_encrypted { Err(PrivateKeyError::Encrypted) } else { Self::from_pkcs8(block.der) }
        };
        decode_pem(pem)?.into_iter().map(plain).collect()
    }

    /// Takes a key from PKCS#8 in DER.
    ///
    /// # Errors
    /// [`PrivateKeyError::Kind`] if it is not of a kind that is accepted.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, PrivateKeyError> {
        let random = SystemRandom::new();
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random);
        let pair = if let Ok(pair) = p256() {
            Pair::P256(Box::new(pair))
        } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8) {
            Pair::Ed25519(Box::new(pair))
        } else if let Ok(pair) = RsaKeyPair::from_pkcs8(&pkcs8) {
            Pair::Rsa(Box::new(pair))
        } else {
            return Err(PrivateKeyError::Kind);
        };
        let spki = pair.subject_public_key_info().into_boxed_slice();
        Ok(Self { pair, pkcs8, spki, random })
    }

    /// The key as PEM, for a file that only its owner can read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem_block("PRIVATE KEY", &self.pkcs8)
    }

    /// Signs `message`. With an RSA key that is PKCS#1 v1.5.
    ///
    /// # Errors
    /// [`PrivateKeyError::Operation`] if the machine has no random bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pair) => {
                let signature = pair.sign(&self.random, message).map_err(|_| PrivateKeyError::Operation)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(|_| PrivateKeyError::Operation)?;
                Ok(signature)
            }
        }
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::P256(_) => Algorithm::EcdsaP256Sha256,
            Pair::Rsa(_) => Algorithm::RsaPkcs1Sha256,
        }
    }

    /// The public half as SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7): byte for byte what a certificate holds.
    pub fn public_spki(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm())
    }
}

impl SigningKey for PrivateKey {
    fn algorithm(&self) -> Algorithm {
        Self::algorithm(self)
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        Self::sign(self, message)
    }
}

impl PublicKeyData for Pair {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::P256(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ed25519(_) => &rcgen::PKCS_ED25519,
            Self::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

/// One PEM block (RFC 7468), in memory that is wiped.
pub(super) fn pem_block(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Room for all of it at the start: a string that grows leaves copies behind.
    let mut pem = Zeroizing::new(String::with_capacity(der.len() * 2 + 2 * label.len() + 64));
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    // 48 bytes are 64 characters, the width of RFC 7468, section 2.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

/// A private key in a PEM text.
struct Block {
    is_encrypted: bool,
    der: Zeroizing<Vec<u8>>,
}

/// Each private key in a PEM text, at least one. Certificates and parameters beside the key are passed over.
///
/// Not done by rustls-pemfile, as all else in PEM is: its buffers stay in memory unwiped, and it passes over encrypted
/// keys without a word.
fn decode_pem(pem: &[u8]) -> Result<Vec<Block>, PrivateKeyError> {
    let text = std::str::from_utf8(pem).map_err(|_| PrivateKeyError::NotPem)?;
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) else {
            continue;
        };
        let is_encrypted = label == encrypted::LABEL;
        match label {
            "PRIVATE KEY" | encrypted::LABEL => {}
            other if other.ends_with("PRIVATE KEY") => {
                return Err(PrivateKeyError::Form { found: other.chars().take(64).collect() });
            }
            _ => continue,
        }
        // No reallocation while it is filled, for the same reason as in `pem_block`.
        let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
        let mut ended = false;
        for line in lines.by_ref() {
            let end = line.strip_prefix("-----END ").and_then(|line| line.strip_suffix("-----"));
            if end == Some(label) {
                ended = true;
                break;
            }
            base64.push_str(line);
        }
        if !ended {
            return Err(PrivateKeyError::NotPem);
        }
        let mut der = Zeroizing::new(vec![0; base64.len() / 4 * 3 + 3]);
        let length =
            STANDARD.decode_slice(base64.as_bytes(), &mut der).map_err(|_| PrivateKeyError::NotPem)?;
        der[length..].zeroize();
        der.truncate(length);
        found.push(Block { is_encrypted, der });
    }
    if found.is_empty() { Err(PrivateKeyError::NotPem) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
