//! The proof: who signed, what tree, where in it, and the signature.
//!
//! ```text
//! u8 version = 1 │ u8 algorithm │ u8 count │ count × (u16 length │ certificate in DER)
//! u32 tree size  │ u32 leaf index │ u8 count │ count × 32-byte hash │ signature, to the end
//! ```
//!
//! Integers are big-endian. On the wire it is base64url without padding (RFC 4648, section 5).

use super::error::MessageError;
use crate::limits::Limits;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// The only version there is.
const VERSION: u8 = 1;

/// A proof as it was found: of the right form, and nothing in it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The signature algorithm's number.
    pub algorithm: u8,
    /// The leaf certificate, then any intermediates, in DER.
    pub certificates: Vec<Bytes>,
    /// How many messages the batch has: 1 or more.
    pub tree_size: u32,
    /// The message's place in the batch, from 0.
    pub leaf_index: u32,
    /// The audit path (RFC 6962, section 2.1.1), from the leaf up.
    pub path: Vec<[u8; 32]>,
    /// The signature over the batch.
    pub signature: Bytes,
}

impl Proof {
    /// Writes the binary form.
    ///
    /// # Errors
    /// [`MessageError::ProofMalformed`] if a count or a length does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let count = |n: usize, what| u8::try_from(n).map_err(|_| MessageError::ProofMalformed(what));
        let mut out = vec![VERSION, self.algorithm, count(self.certificates.len(), "over 255 certificates")?];
        for certificate in &self.certificates {
            let length = u16::try_from(certificate.len());
            out.extend(
                length
                    .map_err(|_| MessageError::ProofMalformed("a certificate over 65535 bytes"))?
                    .to_be_bytes(),
            );
            out.extend_from_slice(certificate);
        }
        out.extend(self.tree_size.to_be_bytes());
        out.extend(self.leaf_index.to_be_bytes());
        out.push(count(self.path.len(), "over 255 hashes")?);
        for hash in &self.path {
            out.extend_from_slice(hash);
        }
        out.extend_from_slice(&self.signature);
        Ok(out)
    }

    /// Writes the form that stands in a body.
    ///
    /// # Errors
    /// As [`Proof::encode`].
    pub fn to_base64(&self) -> Result<String, MessageError> {
        self.encode().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the form that stands in a body: exactly one text for each proof.
    ///
    /// # Errors
    /// A [`MessageError`] of the proof's; the length is looked at before anything is decoded.
    pub fn from_base64(text: &str, limits: &Limits) -> Result<Self, MessageError> {
        let found = text.len() / 4 * 3 + (text.len() % 4).saturating_sub(1);
        if found > limits.proof_bytes {
            return Err(MessageError::ProofTooLarge { limit: limits.proof_bytes, found });
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        Self::decode(
            bytes.map_err(|_| MessageError::ProofMalformed("not base64url without padding"))?.into(),
            limits,
        )
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// A [`MessageError`] of the proof's.
    pub fn decode(bytes: Bytes, limits: &Limits) -> Result<Self, MessageError> {
        if bytes.len() > limits.proof_bytes {
            return Err(MessageError::ProofTooLarge { limit: limits.proof_bytes, found: bytes.len() });
        }
        let mut rest = Cursor(bytes);
        let version = rest.array::<1>("no version")?[0];
        if version != VERSION {
            return Err(MessageError::ProofVersion { found: version });
        }
        let [algorithm, count] = rest.array("no algorithm")?;
        let count = usize::from(count);
        if count > limits.chain_certificates {
            return Err(MessageError::ProofChainTooLong { limit: limits.chain_certificates, found: count });
        }
        if count == 0 {
            return Err(MessageError::ProofMalformed("no certificate"));
        }
        let mut certificates = Vec::with_capacity(count);
        for _ in 0..count {
            let length = u16::from_be_bytes(rest.array("a certificate's length is cut off")?);
            certificates.push(rest.take(usize::from(length), "a certificate is cut off")?);
        }
        let tree_size = u32::from_be_bytes(rest.array("no tree size")?);
        let leaf_index = u32::from_be_bytes(rest.array("no leaf index")?);
        if leaf_index >= tree_size {
            return Err(MessageError::ProofMalformed("the leaf index is not below the tree size"));
        }
        let hashes = usize::from(rest.array::<1>("no audit path")?[0]);
        if hashes > limits.path_hashes {
            return Err(MessageError::ProofPathTooLong { limit: limits.path_hashes, found: hashes });
        }
        let expected = path_length(leaf_index, tree_size);
        if hashes != expected {
            let (size, index, found) = (tree_size, leaf_index, hashes);
            return Err(MessageError::ProofPathMismatch { size, index, expected, found });
        }
        let mut path = Vec::with_capacity(hashes);
        for _ in 0..hashes {
            path.push(rest.array("the audit path is cut off")?);
        }
        if rest.0.is_empty() {
            return Err(MessageError::ProofMalformed("no signature"));
        }
        Ok(Self { algorithm, certificates, tree_size, leaf_index, path, signature: rest.0 })
    }
}

/// How many hashes the audit path of leaf `index` has in a tree of `size` leaves, where `index < size`.
fn path_length(index: u32, size: u32) -> usize {
    // Going up, a node has a sibling unless it is the last of its level and stands at an even place.
    let (mut at, mut last, mut length) = (index, size.saturating_sub(1), 0);
    while last > 0 {
        if at % 2 == 1 || at < last {
            length += 1;
        }
        at /= 2;
        last /= 2;
    }
    length
}

struct Cursor(Bytes);

impl Cursor {
    fn take(&mut self, length: usize, cut: &'static str) -> Result<Bytes, MessageError> {
        if self.0.len() < length {
            return Err(MessageError::ProofMalformed(cut));
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self, cut: &'static str) -> Result<[u8; N], MessageError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N, cut)?);
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn proof(tree_size: u32, leaf_index: u32) -> Proof {
        Proof {
            algorithm: 1,
            certificates: vec![Bytes::from_static(b"leaf")],
            tree_size,
            leaf_index,
            path: vec![[7; 32]; path_length(leaf_index, tree_size)],
            signature: Bytes::from_static(b"signature"),
        }
    }

    #[test]
    fn path_lengths() {
        for (index, size, length) in
            [(0, 1, 0), (0, 2, 1), (2, 3, 1), (0, 3, 2), (6, 7, 2), (4, 5, 1), (5, 65_536, 16)]
        {
            assert_eq!(path_length(index, size), length, "{index} of {size}");
        }
    }

    #[test]
    fn each_defect_has_its_own_error() {
        let whole = proof(3, 0).encode().unwrap();
        let decode = |bytes: Vec<u8>| Proof::decode(bytes.into(), LIMITS).map_err(|e| e.code().as_str());
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            decode(bytes)
        };
        assert_eq!(decode(whole.clone()).unwrap(), proof(3, 0));
        assert_eq!(changed(0, 2), Err("proof-version-unsupported"));
        assert_eq!(changed(2, 5), Err("proof-chain-too-long"));
        assert_eq!(changed(2, 0), Err("proof-malformed"));
        assert_eq!(changed(3, 255), Err("proof-malformed"));
        assert_eq!(changed(12, 0), Err("proof-malformed"), "leaf 0 of a tree of 0");
        assert_eq!(changed(12, 2), Err("proof-path-mismatch"));
        assert_eq!(changed(17, 17), Err("proof-path-too-long"));
        for length in 0..whole.len() - b"signature".len() + 1 {
            assert_eq!(decode(whole[..length].to_vec()), Err("proof-malformed"), "{length}");
        }
        assert_eq!(decode(vec![1; LIMITS.proof_bytes + 1]), Err("proof-too-large"));
        for text in ["AQ==", "A Q", "AQ\n", "AB", "A"] {
            assert_eq!(
                Proof::from_base64(text, LIMITS).unwrap_err().code().as_str(),
                "proof-malformed",
                "{text:?}"
            );
        }
        let long = "A".repeat(LIMITS.proof_bytes / 3 * 4 + 4);
        assert_eq!(Proof::from_base64(&long, LIMITS).unwrap_err().code().as_str(), "proof-too-large");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(size in 1_u32..65_537, place in any::<u32>(), signature in "[a-z]{1,80}") {
            let written = Proof { signature: signature.into(), ..proof(size, place % size) };
            prop_assert_eq!(Proof::from_base64(&written.to_base64().unwrap(), LIMITS).unwrap(), written);
        }

        #[test]
        fn whatever_is_read_is_written_back_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(proof) = Proof::decode(bytes.clone().into(), LIMITS) {
                prop_assert_eq!(proof.encode().unwrap(), bytes);
            }
        }
    }
}
