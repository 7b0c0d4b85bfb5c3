//! Verification: from a claim to a message that may be acted on.
//!
//! This file owns the proof of it. A [`Verified`] has private fields and is made in one place, at the end of
//! [`Verifier::verify`], from values that only the checks themselves can make: a [`ValidatedLeaf`] from the path validation, a
//! [`SignatureChecked`] from the signature, a [`Grant`] from the policy.

use crate::identity::Identity;
use crate::json::{self, Dialect, Value, canonical};
use crate::limits::Limits;
use crate::merkle;
use crate::message::envelope::Envelope;
use crate::message::id::{MessageId, StreamId};
use crate::message::unverified::{Claim, LegacyClaim, SignedPart};
use crate::message::{Malformed, MessageError, Proof, RawMessage, Unverified};
use crate::pki::algorithm::Algorithm;
use crate::pki::chain::{ChainError, Purpose, TrustStore, ValidatedLeaf};
use crate::pki::legacy::LegacyAuthority;
use crate::pki::public_key::{SignatureChecked, SignatureError};
use crate::policy::{Denial, Grant, LivePolicy};
use crate::reason::ReasonCode;
use crate::sign::BatchStatement;
use crate::stale::Stale;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether Python fedmsg's messages are accepted, and by which authority.
#[derive(Debug)]
pub enum Legacy {
    /// Those whose certificates this authority signed, with SHA-1 in their signatures.
    Accepted(Box<LegacyAuthority>),
    /// None.
    Refused,
}

/// Checks messages against trust anchors, revocation lists and a routing policy.
#[derive(Debug)]
pub struct Verifier {
    /// `None` for one that takes legacy messages alone.
    trust: Option<Arc<TrustStore>>,
    purpose: Purpose,
    policy: LivePolicy,
    legacy: Legacy,
    limits: Limits,
    roots: Mutex<CheckedRoots>,
}

/// A message whose signature, certificate chain, revocation and routing were checked as of a stated time.
///
/// ```compile_fail
/// # fn take(unverified: fedmsg::message::Unverified) {
/// let verified: fedmsg::Verified = unverified; // what was not verified is not Verified
/// # }
/// ```
#[derive(Debug)]
pub struct Verified {
    message: Unverified,
    signer: Identity,
    certificate: [u8; 32],
    grant: Grant,
    as_of: Timestamp,
    legacy: bool,
}

/// A message that was refused, with all that was received of it.
#[derive(Debug)]
pub struct Rejected {
    reason: Reason,
    /// Known where it was the policy that refused: the signature had been checked then.
    signer: Option<Identity>,
    message: Refused,
}

/// How far a refused message came.
#[derive(Debug)]
enum Refused {
    Malformed(RawMessage),
    Unverified(Box<Unverified>),
    Verified(Box<Verified>),
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The certificate chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A legacy message, and none are accepted.
    #[error("legacy message (crypto x509), and the configuration accepts none")]
    LegacyNotAccepted,
    /// The bytes are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message with a proof, and nothing is trusted but a legacy authority.
    #[error("no trust anchor is configured: only legacy messages can be verified")]
    NoAnchor,
    /// The routing policy.
    #[error(transparent)]
    Policy(#[from] Denial),
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is not new.
    #[error(transparent)]
    Stale(#[from] Stale),
}

impl Reason {
    /// The stable code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Chain(error) => error.code(),
            Self::LegacyNotAccepted => ReasonCode::LegacyNotAccepted,
            Self::Message(error) => error.code(),
            Self::NoAnchor => ReasonCode::CertificateUnknownIssuer,
            Self::Policy(denial) => denial.code(),
            Self::Signature(error) => error.code(),
            Self::Stale(stale) => stale.code(),
        }
    }
}

impl Verifier {
    /// A verifier. What it trusts, what it allows and whether it takes legacy messages are all stated; without a trust
    /// store, legacy messages are all that it can accept.
    pub fn new(
        trust: impl Into<Option<Arc<TrustStore>>>,
        policy: impl Into<LivePolicy>,
        legacy: Legacy,
        limits: Limits,
    ) -> Self {
        let policy = policy.into();
        let (purpose, roots) = (Purpose::DocumentSigning, Mutex::new(CheckedRoots::default()));
        Self { trust: trust.into(), purpose, policy, legacy, limits, roots }
    }

    /// The limits by which messages are to be parsed.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Parses a message as it was received and verifies it as of `at`.
    ///
    /// # Errors
    /// [`Rejected`], with the frames and the reason.
    pub fn receive(&self, raw: RawMessage, at: Timestamp) -> Result<Verified, Box<Rejected>> {
        self.verify(Unverified::parse(raw, &self.limits)?, at)
    }

    /// Parses a message that was kept since it was published, and verifies it as of its own timestamp, but by the revocation
    /// lists of `now`.
    ///
    /// # Errors
    /// [`Rejected`], with the frames and the reason.
    pub fn receive_past(&self, raw: RawMessage, now: Timestamp) -> Result<Verified, Box<Rejected>> {
        let message = Unverified::parse(raw, &self.limits)?;
        let at = message.claimed_timestamp().min(now);
        self.verify_by_lists_of(message, at, now)
    }

    /// Verifies a message as of `at`: the certificate chain up to an anchor, revocation, the signature over the bytes
    /// received, and whether the policy lets its signer publish this topic.
    ///
    /// # Errors
    /// [`Rejected`], with the message and the reason.
    pub fn verify(&self, message: Unverified, at: Timestamp) -> Result<Verified, Box<Rejected>> {
        self.verify_by_lists_of(message, at, at)
    }

    fn verify_by_lists_of(
        &self,
        message: Unverified,
        at: Timestamp,
        lists_at: Timestamp,
    ) -> Result<Verified, Box<Rejected>> {
        let checked = match message.claim() {
            Claim::Proof(part, proof) => self.check_proof(&message, *part, proof, (at, lists_at)),
            Claim::Legacy(claim) => self.check_legacy(&message, claim, at),
        };
        let reject = |reason, signer, message| {
            let message = Refused::Unverified(Box::new(message));
            Err(Box::new(Rejected { reason, signer, message }))
        };
        let authentic = match checked {
            Ok(authentic) => authentic,
            Err(reason) => return reject(reason, None, message),
        };
        match self.policy.decide(message.claimed_topic(), &authentic.signer, at) {
            Ok(grant) => Ok(Verified {
                message,
                signer: authentic.signer,
                certificate: authentic.certificate,
                grant,
                as_of: at,
                legacy: authentic.legacy,
            }),
            Err(denial) => reject(denial.into(), Some(authentic.signer), message),
        }
    }

    fn check_proof(
        &self,
        message: &Unverified,
        part: SignedPart,
        proof: &Proof,
        (at, lists_at): (Timestamp, Timestamp),
    ) -> Result<Authentic, Reason> {
        let algorithm = Algorithm::from_id(proof.algorithm);
        let algorithm = algorithm.ok_or(MessageError::ProofAlgorithm { found: proof.algorithm })?;
        let (leaf, intermediates) =
            proof.certificates.split_first().ok_or(MessageError::ProofMalformed("no certificate"))?;
        let intermediates: Vec<&[u8]> = intermediates.iter().map(AsRef::as_ref).collect();
        let trust = self.trust.as_ref().ok_or(Reason::NoAnchor)?;
        let leaf = if at == lists_at {
            trust.validate_cached(leaf, &intermediates, &self.purpose, at)?
        } else {
            trust.validate_past(leaf, &intermediates, &self.purpose, at, lists_at)?
        };
        let hash = merkle::leaf_hash(&message.signed_pieces(part));
        let (size, index) = (proof.tree_size, proof.leaf_index);
        let root = merkle::root_of_path(hash, index, size, &proof.path)
            .ok_or(MessageError::ProofMalformed("the audit path does not fit the tree"))?;
        let statement = BatchStatement { certificate: leaf.certificate().sha256(), size, root };
        let signature = self.check_root(&leaf, algorithm, statement, &proof.signature)?;
        Ok(Authentic::new(leaf.identity(), leaf.certificate().sha256(), false, signature))
    }

    /// Checks the signature over a batch's root, once for all of the batch.
    fn check_root(
        &self,
        leaf: &ValidatedLeaf,
        algorithm: Algorithm,
        statement: BatchStatement,
        signature: &[u8],
    ) -> Result<SignatureChecked, SignatureError> {
        let bytes = statement.to_bytes();
        let verify = || leaf.public_key().verify(algorithm, &bytes, signature);
        if statement.size == 1 {
            return verify();
        }
        // The statement names the certificate, so that the key is part of what is looked up.
        let key = merkle::sha256(&[&bytes, &[algorithm.id()], signature]);
        if let Some(checked) = lock(&self.roots).known(&key) {
            return Ok(checked);
        }
        let checked = verify()?;
        lock(&self.roots).remember(key, checked);
        Ok(checked)
    }

    /// A legacy signature is over the re-encoded fields: the one place where what is checked is not what was received.
    fn check_legacy(
        &self,
        message: &Unverified,
        claim: &LegacyClaim,
        at: Timestamp,
    ) -> Result<Authentic, Reason> {
        let Legacy::Accepted(authority) = &self.legacy else { return Err(Reason::LegacyNotAccepted) };
        let leaf = authority.validate(&claim.certificate, at)?;
        let text = json::text(message.body()).map_err(MessageError::from)?;
        let mut body = json::parse(text, Dialect::Python, &self.limits).map_err(MessageError::from)?;
        if let Value::Object(fields) = &mut body {
            fields.remove("certificate");
            fields.remove("signature");
        }
        let signature = leaf.verify_sha1(canonical::encode(&body).as_bytes(), &claim.signature)?;
        Ok(Authentic::new(leaf.identity(), leaf.certificate().sha256(), true, signature))
    }
}

/// Who signed, and that the signature is theirs.
struct Authentic {
    signer: Identity,
    certificate: [u8; 32],
    legacy: bool,
}

impl Authentic {
    /// Takes the checked signature away: without one there is nothing authentic.
    fn new(signer: &Identity, certificate: [u8; 32], legacy: bool, _signature: SignatureChecked) -> Self {
        Self { signer: signer.clone(), certificate, legacy }
    }
}

impl Verified {
    /// Who signed it.
    pub fn signer(&self) -> &Identity {
        &self.signer
    }

    /// SHA-256 of the signer's certificate in DER.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.certificate
    }

    /// By which rule of the policy its signer may publish it.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The time as of which it was verified.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// Whether it is a message of Python fedmsg, signed with SHA-1.
    pub fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        &self.envelope().topic
    }

    /// When it was published.
    pub fn timestamp(&self) -> Timestamp {
        self.envelope().timestamp
    }

    /// Its name.
    pub fn msg_id(&self) -> &MessageId {
        &self.envelope().msg_id
    }

    /// Its stream and its place there; a legacy message has none.
    pub fn position(&self) -> Option<(StreamId, u64)> {
        self.envelope().position
    }

    /// The user on whose behalf it was published; empty if nobody is named.
    pub fn username(&self) -> &str {
        &self.envelope().username
    }

    /// What it says: JSON text, byte for byte as it was signed.
    pub fn msg(&self) -> &str {
        &self.envelope().msg
    }

    /// What it says, as a type of yours.
    ///
    /// # Errors
    /// As `serde_json` gives them: the message is authentic, but not of this form.
    pub fn decode<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.msg())
    }

    /// The frames, as they were received: what an archive keeps.
    pub fn raw(&self) -> &RawMessage {
        self.message.raw()
    }

    fn envelope(&self) -> &Envelope {
        self.message.envelope()
    }
}

impl Rejected {
    /// A message that was verified and is not new.
    pub fn stale(stale: Stale, verified: Verified) -> Self {
        Self {
            reason: stale.into(),
            signer: Some(verified.signer.clone()),
            message: Refused::Verified(Box::new(verified)),
        }
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The stable code of why.
    pub fn code(&self) -> ReasonCode {
        self.reason.code()
    }

    /// Who signed it, where that was established: its signature is good, and what refused it came after.
    pub fn signer(&self) -> Option<&Identity> {
        self.signer.as_ref()
    }

    /// The policy's no, where it was the policy that refused it.
    pub fn denial(&self) -> Option<&Denial> {
        if let Reason::Policy(denial) = &self.reason { Some(denial) } else { None }
    }

    /// The frames, as they were received.
    pub fn raw(&self) -> &RawMessage {
        match &self.message {
            Refused::Malformed(raw) => raw,
            Refused::Unverified(message) => message.raw(),
            Refused::Verified(verified) => verified.raw(),
        }
    }

    /// What it claims, if it has the form of a message.
    pub fn claimed(&self) -> Option<&Unverified> {
        match &self.message {
            Refused::Malformed(_) => None,
            Refused::Unverified(message) => Some(message),
            Refused::Verified(verified) => Some(&verified.message),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.reason)
    }
}

impl From<Malformed> for Box<Rejected> {
    fn from(malformed: Malformed) -> Self {
        let (reason, message) = (malformed.error.into(), Refused::Malformed(malformed.raw));
        Self::new(Rejected { reason, signer: None, message })
    }
}

/// The batches whose signatures were checked lately.
#[derive(Debug, Default)]
struct CheckedRoots {
    known: HashMap<[u8; 32], SignatureChecked>,
    oldest_first: VecDeque<[u8; 32]>,
}

/// Batches remembered; one is needed while its messages arrive.
const MAX_ROOTS: usize = 4096;

impl CheckedRoots {
    fn known(&self, key: &[u8; 32]) -> Option<SignatureChecked> {
        self.known.get(key).copied()
    }

    fn remember(&mut self, key: [u8; 32], checked: SignatureChecked) {
        if self.known.insert(key, checked).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > MAX_ROOTS {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

/// A thread that panicked while it held the lock left the set as good as it was: entries are put in whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
