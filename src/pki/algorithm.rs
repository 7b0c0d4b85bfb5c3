//! The signature algorithms of a proof.

use ring::signature::{self, VerificationAlgorithm};
use std::fmt;

/// How a message is signed. The number is what a proof carries (`docs/wire-format.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on the curve P-256 with SHA-256 (FIPS 186-5), the signature in ASN.1 (RFC 3279, 2.2.3). The default.
    EcdsaP256Sha256,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA PKCS#1 v1.5 with SHA-256 (RFC 8017, 8.2), keys of 2048 bits and more.
    RsaPkcs1Sha256,
    /// RSA PSS with SHA-256, and a salt of 32 bytes (RFC 8017, 8.1), keys of 2048 bits and more.
    RsaPssSha256,
}

impl Algorithm {
    /// Every algorithm, by number.
    pub const ALL: [Self; 4] =
        [Self::EcdsaP256Sha256, Self::Ed25519, Self::RsaPkcs1Sha256, Self::RsaPssSha256];

    /// The number in a proof.
    pub fn id(self) -> u8 {
        match self {
            Self::EcdsaP256Sha256 => 1,
            Self::Ed25519 => 2,
            Self::RsaPkcs1Sha256 => 3,
            Self::RsaPssSha256 => 4,
        }
    }

    /// The algorithm of a number, if it is one.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.id() == id)
    }

    /// The name, in lower case: `ecdsa-p256-sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
            Self::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
            Self::RsaPssSha256 => "rsa-pss-sha256",
        }
    }

    /// What ring calls it.
    pub(super) fn verifier(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::Ed25519 => &signature::ED25519,
            Self::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Algorithm;

    #[test]
    fn identifiers_lead_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_id(algorithm.id()), Some(algorithm));
        }
        assert_eq!((Algorithm::from_id(0), Algorithm::from_id(5)), (None, None));
    }
}
