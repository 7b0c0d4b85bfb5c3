//! Signing: from sealed messages to the frames that go on the wire.

use crate::identity::Identity;
use crate::limits::Limits;
use crate::merkle;
use crate::message::id::MessageId;
use crate::message::{MessageError, Proof, RawMessage, Sealed};
use crate::pki::algorithm::Algorithm;
use crate::pki::certificate::{Certificate, CertificateError, IdentityFault, IdentityRule};
use crate::pki::key::{PrivateKeyError, SigningKey};
use crate::topic::Topic;
use arc_swap::ArcSwap;
use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;

/// What is signed for a batch of messages: bound to the certificate that signs and to the size of the tree.
///
/// `"fedmsg v2 batch" ‖ 0x00 ‖ SHA-256(leaf certificate) ‖ u64 tree size ‖ root`, integers big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStatement {
    /// SHA-256 of the leaf certificate in DER.
    pub certificate: [u8; 32],
    /// How many messages the batch has.
    pub size: u32,
    /// The Merkle tree hash over the signed bytes of its messages.
    pub root: [u8; 32],
}

/// What sets these signatures apart from any other that the same key might make.
const CONTEXT: &[u8; 16] = b"fedmsg v2 batch\0";

impl BatchStatement {
    /// The bytes that are signed.
    pub fn to_bytes(self) -> [u8; 88] {
        let mut bytes = [0; 88];
        bytes[..16].copy_from_slice(CONTEXT);
        bytes[16..48].copy_from_slice(&self.certificate);
        bytes[48..56].copy_from_slice(&u64::from(self.size).to_be_bytes());
        bytes[56..].copy_from_slice(&self.root);
        bytes
    }
}

/// Signs for one service: its key, and the certificate that goes with each message.
#[derive(Debug)]
pub struct Signer {
    key: Arc<dyn SigningKey>,
    algorithm: Algorithm,
    certificates: Vec<Bytes>,
    leaf: Certificate,
    identity: Identity,
    limits: Limits,
}

/// A signer that can be replaced while it is in use: every clone sees it at once. It always signs for the same identity.
#[derive(Clone, Debug)]
pub struct LiveSigner {
    identity: Identity,
    signer: Arc<ArcSwap<Signer>>,
}

/// A signer that is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is of {found}, expected {expected}")]
pub struct OtherSigner {
    /// Who signs.
    pub expected: Identity,
    /// Whose certificate it is.
    pub found: Identity,
}

/// A signed message: what may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    topic: Topic,
    body: Bytes,
    msg_id: MessageId,
    seq: u64,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// More messages than one audit path can tell apart.
    #[error("batch has {found} messages, the limit is {limit}")]
    BatchTooLarge {
        /// The limit.
        limit: usize,
        /// What was found.
        found: usize,
    },
    /// The leaf cannot be read.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The leaf has no identity of its own.
    #[error("certificate: {0}")]
    Identity(#[from] IdentityFault),
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The certificate is for another key.
    #[error("the certificate of {certificate} is not for this private key")]
    KeyMismatch {
        /// Whose certificate it is.
        certificate: Identity,
    },
    /// No certificate was given.
    #[error("there is no certificate to sign with")]
    NoCertificate,
    /// The machine gave no random numbers.
    #[error("the machine gave no random numbers")]
    Random,
    /// A verifier with these limits would refuse the message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl Signer {
    /// A signer with a service's key and its certificate, and the intermediates that verifiers do not have.
    ///
    /// # Errors
    /// A [`SignError`] if the certificate is not for the key, or names nobody, or if there are more than verifiers take.
    pub fn new(
        key: Arc<dyn SigningKey>,
        certificates: Vec<Bytes>,
        limits: Limits,
    ) -> Result<Self, SignError> {
        let leaf = certificates.first().ok_or(SignError::NoCertificate)?;
        let (found, limit) = (certificates.len(), limits.chain_certificates);
        if found > limit {
            return Err(MessageError::ProofChainTooLong { limit, found }.into());
        }
        let certificate = Certificate::parse(leaf)?;
        let identity = certificate.identity(IdentityRule::SpiffeUri)?;
        if certificate.spki_der() != key.public_spki() {
            return Err(SignError::KeyMismatch { certificate: identity });
        }
        let algorithm = key.algorithm();
        Ok(Self { key, algorithm, certificates, leaf: certificate, identity, limits })
    }

    /// Who signs.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate that goes with each message.
    pub fn certificate(&self) -> &Certificate {
        &self.leaf
    }

    /// Signs one message.
    ///
    /// # Errors
    /// A [`SignError`]; the message is gone then.
    pub fn sign(&self, message: Sealed) -> Result<Signed, SignError> {
        let leaf = merkle::leaf_hash(&[message.bytes()]);
        self.signed(message, 1, 0, Vec::new(), self.sign_root(1, leaf)?)
    }

    /// Signs a batch by one signature over the root of its tree. Each message can be verified without the others.
    ///
    /// # Errors
    /// A [`SignError`]; nothing is signed then.
    pub fn sign_batch(&self, messages: Vec<Sealed>) -> Result<Vec<Signed>, SignError> {
        let limit = 1_usize << self.limits.path_hashes.min(31);
        let too_large = SignError::BatchTooLarge { limit, found: messages.len() };
        let Ok(size) = u32::try_from(messages.len()) else { return Err(too_large) };
        if messages.len() > limit {
            return Err(too_large);
        }
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let leaves: Vec<[u8; 32]> = messages.iter().map(|m| merkle::leaf_hash(&[m.bytes()])).collect();
        let (root, paths) = merkle::root_and_paths(&leaves);
        let signature = self.sign_root(size, root)?;
        let signed = messages.into_iter().zip(paths).zip(0..);
        signed
            .map(|((message, path), index)| self.signed(message, size, index, path, signature.clone()))
            .collect()
    }

    fn sign_root(&self, size: u32, root: [u8; 32]) -> Result<Bytes, SignError> {
        let statement = BatchStatement { certificate: self.leaf.sha256(), size, root };
        Ok(self.key.sign(&statement.to_bytes())?.into())
    }

    fn signed(
        &self,
        message: Sealed,
        tree_size: u32,
        leaf_index: u32,
        path: Vec<[u8; 32]>,
        signature: Bytes,
    ) -> Result<Signed, SignError> {
        let (algorithm, certificates) = (self.algorithm.id(), self.certificates.clone());
        let proof = Proof { algorithm, certificates, tree_size, leaf_index, path, signature };
        let text = proof.to_base64()?;
        let (found, limit) = (text.len() * 3 / 4, self.limits.proof_bytes);
        if found > limit {
            return Err(MessageError::ProofTooLarge { limit, found }.into());
        }
        let body = message.body(&text, &self.limits)?;
        Ok(Signed {
            body,
            msg_id: message.msg_id().clone(),
            seq: message.seq(),
            topic: message.topic().clone(),
        })
    }
}

impl LiveSigner {
    /// Starts with one.
    pub fn new(signer: Signer) -> Self {
        Self { identity: signer.identity().clone(), signer: Arc::new(ArcSwap::from_pointee(signer)) }
    }

    /// Who signs.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The one that signs now.
    pub fn current(&self) -> Arc<Signer> {
        self.signer.load_full()
    }

    /// Has another one sign from now on. What is being signed by the old one is good as well.
    ///
    /// # Errors
    /// [`OtherSigner`], if it is somebody else's: consumers would take the stream for another.
    pub fn replace(&self, signer: Signer) -> Result<(), OtherSigner> {
        if *signer.identity() != self.identity {
            let (expected, found) = (self.identity.clone(), signer.identity().clone());
            return Err(OtherSigner { expected, found });
        }
        self.signer.store(Arc::new(signer));
        Ok(())
    }
}

impl From<Signer> for LiveSigner {
    fn from(signer: Signer) -> Self {
        Self::new(signer)
    }
}

impl Signed {
    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The body: the second frame.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The message's name.
    pub fn msg_id(&self) -> &MessageId {
        &self.msg_id
    }

    /// The message's place in its stream.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The two frames.
    pub fn into_raw(self) -> RawMessage {
        RawMessage::new(self.topic.as_str().to_owned(), self.body)
    }
}

/// 16 bytes from the machine's random numbers, to name a message or a stream by.
///
/// # Errors
/// [`SignError::Random`] if there are none.
pub fn random() -> Result<[u8; 16], SignError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SignError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_bound_to_its_context_certificate_and_size() {
        let statement = BatchStatement { certificate: [1; 32], size: 0x0102_0304, root: [2; 32] };
        let bytes = statement.to_bytes();
        assert_eq!(&bytes[..16], b"fedmsg v2 batch\0");
        assert_eq!((&bytes[16..48], &bytes[56..]), (&[1; 32][..], &[2; 32][..]));
        assert_eq!(bytes[48..56], [0, 0, 0, 0, 1, 2, 3, 4]);
    }
}
