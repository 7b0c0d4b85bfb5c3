//! A message of the right form, of which nothing is checked.

use super::draft::{PROOF_CLOSE, PROOF_OPEN};
use super::envelope::{Envelope, Field, Fields, required, show, string};
use super::error::MessageError;
use super::frame::RawMessage;
use super::id::{MessageId, StreamId};
use super::proof::Proof;
use crate::json;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::topic::Topic;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::borrow::Cow;

/// A message of the right form. Whatever it says is a claim until [`Verifier::verify`](crate::verify::Verifier::verify)
/// has consumed it: there are `claimed_*` accessors and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    raw: RawMessage,
    body: Bytes,
    envelope: Envelope,
    claim: Claim,
}

/// How a message claims to be authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// By the certificate and the signature over the re-encoded fields, as Python fedmsg did.
    Legacy(LegacyClaim),
    /// By a proof.
    Proof(SignedPart, Proof),
}

/// Where the signed bytes of a body end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedPart {
    /// The signed bytes are this many bytes of the body, and a `}`.
    head: usize,
}

/// What a legacy message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyClaim {
    /// The signer's certificate, in PEM.
    pub certificate: Vec<u8>,
    /// RSA PKCS #1 v1.5 over SHA-1.
    pub signature: Vec<u8>,
}

/// Frames that are no message, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was received.
    pub raw: RawMessage,
    /// Why it is no message.
    pub error: MessageError,
}

impl Unverified {
    /// Parses a message as it was received.
    ///
    /// # Errors
    /// [`Malformed`], which has the frames and the [`MessageError`]. The cheap limits are looked at first.
    pub fn parse(raw: RawMessage, limits: &Limits) -> Result<Self, Malformed> {
        match parse(&raw, limits) {
            Ok((body, envelope, claim)) => Ok(Self { raw, body, envelope, claim }),
            Err(error) => Err(Malformed { raw, error }),
        }
    }

    /// Parses a body that was kept without its topic frame; the topic is the one that the body claims.
    ///
    /// # Errors
    /// As [`Unverified::parse`].
    pub fn parse_body(body: Bytes, limits: &Limits) -> Result<Self, Malformed> {
        let topic = match parse_content(&body, limits) {
            Ok((envelope, _)) => Bytes::copy_from_slice(envelope.topic.as_str().as_bytes()),
            Err(error) => return Err(Malformed { raw: RawMessage { parts: vec![body] }, error }),
        };
        Self::parse(RawMessage::new(topic, body), limits)
    }

    /// The frames, as they were received.
    pub fn raw(&self) -> &RawMessage {
        &self.raw
    }

    /// The topic that it claims; the frame's and the body's are the same.
    pub fn claimed_topic(&self) -> &Topic {
        &self.envelope.topic
    }

    /// The time at which it claims to have been published.
    pub fn claimed_timestamp(&self) -> Timestamp {
        self.envelope.timestamp
    }

    /// The name that it claims.
    pub fn claimed_msg_id(&self) -> &MessageId {
        &self.envelope.msg_id
    }

    /// The stream and place that it claims; a legacy message claims none.
    pub fn claimed_position(&self) -> Option<(StreamId, u64)> {
        self.envelope.position
    }

    /// What it claims to say, as JSON text.
    pub fn claimed_msg(&self) -> &str {
        &self.envelope.msg
    }

    /// How it claims to be authentic.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The envelope, for `verify` to hand on.
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The body's text, for the legacy re-encoding.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The signed bytes, in two pieces, so that they are hashed where they lie.
    pub(crate) fn signed_pieces(&self, part: SignedPart) -> [&[u8]; 2] {
        [self.body.get(..part.head).unwrap_or_default(), b"}"]
    }
}

fn parse(raw: &RawMessage, limits: &Limits) -> Result<(Bytes, Envelope, Claim), MessageError> {
    let [topic, body] = &raw.parts[..] else {
        return Err(MessageError::FrameCount { found: raw.parts.len() });
    };
    let topic = Topic::parse(topic, limits)?;
    let (envelope, claim) = parse_content(body, limits)?;
    if topic != envelope.topic {
        let (frame, signed) = (topic.to_string(), envelope.topic.to_string());
        return Err(MessageError::TopicMismatch { frame, signed });
    }
    Ok((body.clone(), envelope, claim))
}

fn parse_content(body: &Bytes, limits: &Limits) -> Result<(Envelope, Claim), MessageError> {
    if body.len() > limits.body_bytes {
        return Err(MessageError::BodyTooLarge { limit: limits.body_bytes, found: body.len() });
    }
    let text = json::text(body)?;
    let fields = Fields::read(text, limits)?;
    if let Some(proof) = &fields.proof {
        let head = signed_head(text, proof, fields.proof_at);
        let head = head.ok_or(MessageError::ProofMalformed("the body does not end in ,\"proof\":\"…\"}"))?;
        let proof = string(proof).ok_or(MessageError::ProofMalformed("not a string"))?;
        let proof = Proof::from_base64(proof, limits)?;
        return Ok((fields.version_2(text, limits)?, Claim::Proof(SignedPart { head }, proof)));
    }
    if fields.crypto.is_none() && fields.certificate.is_none() && fields.signature.is_none() {
        return Err(MessageError::ProofMissing);
    }
    let crypto = required("crypto", &fields.crypto)?;
    if string(crypto) != Some("x509") {
        return Err(MessageError::LegacyCrypto { found: show(crypto, text) });
    }
    // In the legacy format it is the signature that makes a message signed.
    let signature = fields.signature.as_ref().ok_or(MessageError::ProofMissing)?;
    let certificate = required("certificate", &fields.certificate)?;
    let claim = LegacyClaim {
        certificate: legacy_base64("certificate", certificate)?,
        signature: legacy_base64("signature", signature)?,
    };
    Ok((fields.legacy(text, limits)?, Claim::Legacy(claim)))
}

/// Where the signed bytes end: a body with a proof ends in exactly `,"proof":"…"}`.
///
/// `text` is a whole object and `proof` its one member of that name, whose value begins at `value_at`. If the text goes
/// on from there to its end in just this form, then what stands before is the object without that member.
fn signed_head(text: &str, proof: &Field<'_>, value_at: usize) -> Option<usize> {
    // A borrowed string has no escapes: it stands in the text as it is.
    let Field::String(Cow::Borrowed(value)) = proof else { return None };
    let head = (value_at + 1).checked_sub(PROOF_OPEN.len())?;
    let tail = text.get(head..)?.strip_prefix(PROOF_OPEN)?.strip_prefix(value)?;
    (tail == PROOF_CLOSE).then_some(head)
}

fn legacy_base64(field: &'static str, value: &Field<'_>) -> Result<Vec<u8>, MessageError> {
    let text = string(value).ok_or(MessageError::LegacyBase64 { field })?;
    // Python's encoder breaks lines; its decoder does not mind.
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map_err(|_| MessageError::LegacyBase64 { field })
}
