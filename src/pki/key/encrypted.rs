//! Private keys under a passphrase: PKCS#8's `EncryptedPrivateKeyInfo` (RFC 5958, section 3) with PBES2 (RFC 8018, 6.2).
//!
//! Written with scrypt (RFC 7914) and AES-256-CBC, at the strength that OpenSSL reads without being told; read with PBKDF2 as
//! well, which OpenSSL writes unless it is told otherwise. How much work a file may ask for before anybody knows whether it is
//! a key has bounds: [`KdfLimits`].

use super::passphrase::{Passphrase, PassphraseError};
use super::{PrivateKey, PrivateKeyError, pem_block};
use crate::pki::is_one_der_value;
use pkcs8::der::asn1::{AnyRef, OctetString};
use pkcs8::der::{self, Decode, Encode, ErrorKind};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{
    EncryptionScheme as Cipher, Kdf, PBES2_OID, Parameters, Pbkdf2Prf, Salt, ScryptParams,
};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use zeroize::Zeroizing;

/// The label of an encrypted private key (RFC 7468, section 11).
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What is written: 16 MiB of memory and some 50 ms. OpenSSL refuses more than 32 MiB unless it is told otherwise.
const COST: u64 = 1 << 14;
const BLOCK_SIZE: u16 = 8;
const PARALLELIZATION: u16 = 1;
/// RFC 8018, 4.1, wants 8 bytes of salt at least.
const SALT_BYTES: usize = 16;
/// The block of AES.
const BLOCK: usize = 16;

/// How much work an encrypted key may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfLimits {
    /// The most bytes that scrypt may mix: 128 · N · r · p, of which it holds 128 · N · r in memory.
    pub scrypt_bytes: u64,
    /// The most iterations of PBKDF2.
    pub pbkdf2_iterations: u32,
}

impl KdfLimits {
    /// 256 MiB (sixteen times what is written here) or five million iterations (eight times what OWASP asks for): seconds.
    pub const STANDARD: Self = Self { scrypt_bytes: 256 << 20, pbkdf2_iterations: 5_000_000 };
}

/// Why an encrypted key cannot be read or made. Nothing of the key or of the passphrase is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptedKeyError {
    /// Another cipher or derivation than is read.
    #[error(
        "the private key is encrypted with {found}; expected PBES2 with scrypt or PBKDF2 with HMAC-SHA-2, and AES-CBC \
         (openssl pkcs8 -topk8 -scrypt -in OLD -out NEW)"
    )]
    Algorithm {
        /// What was found: an OID, or a name.
        found: String,
    },
    /// Not the structure of an encrypted key.
    #[error("the encrypted private key is not an EncryptedPrivateKeyInfo: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// Parameters with which no key is derived.
    #[error("the encrypted private key has impossible parameters: {detail}")]
    Parameters {
        /// What is wrong.
        detail: String,
    },
    /// No passphrase that a key is encrypted with.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// More iterations than are done for anybody.
    #[error("the encrypted private key asks for {found} iterations of PBKDF2, allowed are {allowed}")]
    TooManyIterations {
        /// What it asks for.
        found: u32,
        /// The limit.
        allowed: u32,
    },
    /// More work than is done for anybody.
    #[error("the encrypted private key asks for {found} bytes of scrypt, allowed are {allowed}")]
    TooMuchScrypt {
        /// What it asks for: 128 · N · r · p.
        found: u128,
        /// The limit.
        allowed: u64,
    },
    /// The passphrase is another one (or the file was damaged: the two cannot be told apart).
    #[error("the passphrase is wrong")]
    WrongPassphrase,
}

/// A private key that is still encrypted, and that asks for no more work than the limits allow.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedKey {
    parameters: Parameters,
    data: Vec<u8>,
}

impl EncryptedKey {
    /// Reads the structure, and nothing of the key.
    ///
    /// # Errors
    /// An [`EncryptedKeyError`], but for [`EncryptedKeyError::WrongPassphrase`].
    pub fn parse(der: &[u8], limits: KdfLimits) -> Result<Self, EncryptedKeyError> {
        let found = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| unreadable(der, &error))?;
        let Some(parameters) = found.encryption_algorithm.pbes2().cloned() else {
            let found = format!("the algorithm {}", found.encryption_algorithm.oid());
            return Err(EncryptedKeyError::Algorithm { found });
        };
        check_work(&parameters, limits)?;
        let data = found.encrypted_data.as_bytes().to_vec();
        let key = Self { parameters, data };
        if key.to_der()? != der {
            let detail = "it is not written in the one way that DER has for it".to_owned();
            return Err(EncryptedKeyError::Malformed { detail });
        }
        Ok(key)
    }

    /// Encrypts a key.
    ///
    /// # Errors
    /// [`EncryptedKeyError::Passphrase`] if the passphrase is too short; [`PrivateKeyError::Operation`] if the machine has no
    /// random bytes.
    pub fn seal(key: &PrivateKey, passphrase: &Passphrase) -> Result<Self, PrivateKeyError> {
        let passphrase = passphrase.long_enough().map_err(EncryptedKeyError::from)?;
        let random = SystemRandom::new();
        let (mut salt, mut iv) = ([0; SALT_BYTES], [0; BLOCK]);
        random.fill(&mut salt).and_then(|()| random.fill(&mut iv)).map_err(|_| PrivateKeyError::Operation)?;
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new(salt).map_err(|_| PrivateKeyError::Operation)?,
            cost_parameter: COST,
            block_size: BLOCK_SIZE,
            parallelization: PARALLELIZATION,
            key_length: None,
        });
        let parameters = Parameters { kdf, encryption: Cipher::Aes256Cbc { iv } };
        // Encrypted in place: the copy of the key that goes in is the cipher text that comes out.
        let mut buffer = Zeroizing::new(vec![0; key.pkcs8.len() + BLOCK]);
        buffer[..key.pkcs8.len()].copy_from_slice(&key.pkcs8);
        let data = parameters
            .encrypt_in_place(passphrase.as_bytes(), &mut buffer, key.pkcs8.len())
            .map_err(|_| PrivateKeyError::Operation)?
            .to_vec();
        Ok(Self { parameters, data })
    }

    /// The key.
    ///
    /// # Errors
    /// [`EncryptedKeyError::WrongPassphrase`]; [`PrivateKeyError::Kind`] if what comes out is a key that is not accepted.
    pub fn open(&self, passphrase: &Passphrase) -> Result<PrivateKey, PrivateKeyError> {
        let mut buffer = Zeroizing::new(self.data.clone());
        let wrong = || PrivateKeyError::from(EncryptedKeyError::WrongPassphrase);
        let pkcs8 = self
            .parameters
            .decrypt_in_place(passphrase.as_bytes(), &mut buffer)
            .map_err(|_| wrong())
            .map(|plain| Zeroizing::new(plain.to_vec()))?;
        // One wrong passphrase in 256 leaves padding that looks right.
        if !is_one_der_value(&pkcs8) || PrivateKeyInfoRef::try_from(&pkcs8[..]).is_err() {
            return Err(wrong());
        }
        PrivateKey::from_pkcs8(pkcs8)
    }

    /// The structure in DER.
    ///
    /// # Errors
    /// [`EncryptedKeyError::Malformed`], if it cannot be written.
    pub fn to_der(&self) -> Result<Vec<u8>, EncryptedKeyError> {
        let malformed = |error: der::Error| EncryptedKeyError::Malformed { detail: error.to_string() };
        let encrypted_data = OctetString::new(self.data.clone()).map_err(malformed)?;
        let info = EncryptedPrivateKeyInfo {
            encryption_algorithm: EncryptionScheme::Pbes2(self.parameters.clone()),
            encrypted_data,
        };
        let mut der = Vec::with_capacity(self.data.len() + 256);
        info.encode_to_vec(&mut der).map_err(malformed)?;
        Ok(der)
    }

    /// The structure as PEM, for a file.
    ///
    /// # Errors
    /// As [`EncryptedKey::to_der`].
    pub fn to_pem(&self) -> Result<String, EncryptedKeyError> {
        Ok(pem_block(LABEL, &self.to_der()?).to_string())
    }
}

impl fmt::Debug for EncryptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kdf = if self.parameters.kdf.is_scrypt() { "scrypt" } else { "PBKDF2" };
        write!(f, "EncryptedKey({kdf})")
    }
}

/// Why the decoder refused: it knows the outer algorithms of PBES2 and a few more, and says of others that they are malformed.
fn unreadable(der: &[u8], error: &pkcs8::Error) -> EncryptedKeyError {
    if let pkcs8::Error::Asn1(cause) = error
        && let ErrorKind::OidUnknown { oid } = cause.kind()
    {
        return EncryptedKeyError::Algorithm { found: format!("the algorithm {oid}") };
    }
    let outer = AnyRef::from_der(der).and_then(|any| {
        any.sequence(|reader| {
            let algorithm = AlgorithmIdentifierRef::decode(reader)?;
            OctetString::decode(reader).map(|_| algorithm.oid)
        })
    });
    match outer {
        Ok(oid) if oid != PBES2_OID => EncryptedKeyError::Algorithm { found: format!("the algorithm {oid}") },
        Ok(_) | Err(_) => EncryptedKeyError::Malformed { detail: error.to_string() },
    }
}

/// What is asked for, before any of it is done. The library's own bounds are hours away.
fn check_work(parameters: &Parameters, limits: KdfLimits) -> Result<(), EncryptedKeyError> {
    let impossible = |detail: String| Err(EncryptedKeyError::Parameters { detail });
    let size = parameters.encryption.key_size();
    if let Some(length) = parameters.kdf.key_length().filter(|length| usize::from(*length) != size) {
        return impossible(format!("a key of {length} bytes for a cipher that wants {size}"));
    }
    match &parameters.kdf {
        Kdf::Scrypt(scrypt) => {
            let (cost, block, parallel) = (scrypt.cost_parameter, scrypt.block_size, scrypt.parallelization);
            // RFC 7914, section 6: N is a power of two and more than 1. The library fails otherwise, and not gently.
            if cost < 2 || !cost.is_power_of_two() || block == 0 || parallel == 0 {
                return impossible(format!("scrypt with N = {cost}, r = {block}, p = {parallel}"));
            }
            let found = 128 * u128::from(cost) * u128::from(block) * u128::from(parallel);
            if found > u128::from(limits.scrypt_bytes) {
                return Err(EncryptedKeyError::TooMuchScrypt { found, allowed: limits.scrypt_bytes });
            }
        }
        Kdf::Pbkdf2(pbkdf2) => {
            let (found, allowed) = (pbkdf2.iteration_count, limits.pbkdf2_iterations);
            if pbkdf2.prf == Pbkdf2Prf::HmacWithSha1 {
                return Err(EncryptedKeyError::Algorithm { found: "PBKDF2 with HMAC-SHA-1".to_owned() });
            }
            if found == 0 {
                return impossible("PBKDF2 with no iterations".to_owned());
            }
            if found > allowed {
                return Err(EncryptedKeyError::TooManyIterations { found, allowed });
            }
        }
        _ => {
            return Err(EncryptedKeyError::Algorithm {
                found: format!("the derivation {}", parameters.kdf.oid()),
            });
        }
    }
    Ok(())
}
