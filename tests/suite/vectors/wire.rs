//! `tests/vectors/wire`: what `docs/wire-format.md` says, by example.

use super::case::{directory, policy, read_json, time, trust_store};
use fedmsg::identity::SpiffeId;
use fedmsg::json::{self, Dialect, JsonError, canonical};
use fedmsg::limits::Limits;
use fedmsg::merkle;
use fedmsg::message::unverified::Claim;
use fedmsg::message::{MessageId, Proof, RawMessage, StreamId, Unverified};
use fedmsg::reason::ReasonCode;
use fedmsg::sign::BatchStatement;
use fedmsg::topic::{Topic, TopicPattern};
use fedmsg::verify::{Legacy, Verifier};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const LIMITS: &Limits = &Limits::STANDARD;

/// A message that verifies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) trust: String,
    pub(crate) at: String,
    /// The frames.
    pub(crate) topic: String,
    pub(crate) body: String,
    pub(crate) found: Found,
}

/// What a verifier finds in it, and on the way there. Bytes are in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Found {
    pub(crate) signer: String,
    pub(crate) rule: String,
    pub(crate) msg: String,
    pub(crate) msg_id: String,
    pub(crate) timestamp: i64,
    pub(crate) username: String,
    pub(crate) stream: String,
    pub(crate) seq: u64,
    pub(crate) algorithm: u8,
    pub(crate) tree_size: u32,
    pub(crate) leaf_index: u32,
    pub(crate) certificate_sha256: String,
    pub(crate) leaf_hash: String,
    pub(crate) root: String,
    pub(crate) statement: String,
}

/// Verifies a message, and works out what stands in `found`.
pub(crate) fn find(message: &Message) -> Found {
    let trust = Arc::new(trust_store(&message.trust).unwrap());
    let verifier = Verifier::new(trust, Arc::new(policy()), Legacy::Refused, *LIMITS);
    let raw = RawMessage::new(message.topic.clone(), message.body.clone());
    let unverified = Unverified::parse(raw, LIMITS).unwrap();
    let Claim::Proof(_, proof) = unverified.claim().clone() else { panic!("{}: no proof", message.name) };
    let verified = verifier.verify(unverified, time(&message.at));
    let verified = verified.unwrap_or_else(|e| panic!("{}: {}", message.name, e.reason()));
    assert_eq!(verified.topic().as_str(), message.topic);
    let (head, _) = message.body.rsplit_once(",\"proof\":\"").unwrap();
    let leaf_hash = merkle::leaf_hash(&[head.as_bytes(), b"}"]);
    let (size, index) = (proof.tree_size, proof.leaf_index);
    let root = merkle::root_of_path(leaf_hash, index, size, &proof.path).unwrap();
    let certificate = verified.certificate_sha256();
    let (stream, seq) = verified.position().unwrap();
    Found {
        signer: verified.signer().to_string(),
        rule: verified.grant().rule().unwrap().id().to_owned(),
        msg: verified.msg().to_owned(),
        msg_id: verified.msg_id().to_string(),
        timestamp: verified.timestamp().as_unix(),
        username: verified.username().to_owned(),
        stream: stream.to_string(),
        seq,
        algorithm: proof.algorithm,
        tree_size: size,
        leaf_index: index,
        certificate_sha256: hex(&certificate),
        leaf_hash: hex(&leaf_hash),
        root: hex(&root),
        statement: hex(&BatchStatement { certificate, size, root }.to_bytes()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hash(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

/// The messages of `messages.json`.
pub(crate) fn messages() -> Vec<Message> {
    read_json(&directory("wire").join("messages.json"))
}

fn file<T: serde::de::DeserializeOwned>(name: &str) -> T {
    read_json(&directory("wire").join(name))
}

/// A text that is refused, and its code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    text: String,
    code: String,
}

#[test]
fn messages_are_verified_and_say_what_they_say() {
    let messages = messages();
    assert!(messages.len() >= 10, "{}", messages.len());
    for message in messages {
        assert_eq!(find(&message), message.found, "{}", message.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Canonical {
    pairs: Vec<Pair>,
    refused: Vec<Refused>,
    refused_bytes: Vec<RefusedHex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    text: String,
    canonical: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedHex {
    hex: String,
    code: String,
}

#[test]
fn canonical_json() {
    let Canonical { pairs, refused, refused_bytes } = file("canonical.json");
    for Pair { text, canonical } in pairs {
        assert_eq!(
            canonical::from_text(&text, Dialect::Strict, LIMITS).as_deref(),
            Ok(&canonical[..]),
            "{text}"
        );
        assert_eq!(
            canonical::from_text(&canonical, Dialect::Strict, LIMITS).as_deref(),
            Ok(&canonical[..]),
            "a fixed point"
        );
    }
    let code = |bytes: &[u8]| -> Result<(), JsonError> {
        json::parse(json::text(bytes)?, Dialect::Strict, LIMITS).map(drop)
    };
    for Refused { text, code: expected } in refused {
        assert_eq!(code(text.as_bytes()).unwrap_err().code().as_str(), expected, "{text}");
    }
    for RefusedHex { hex, code: expected } in refused_bytes {
        assert_eq!(code(&unhex(&hex)).unwrap_err().code().as_str(), expected, "{hex}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    topics: Texts<String, Refused>,
    patterns: Texts<Selection, String>,
    identities: Texts<IdentityParts, String>,
    msg_ids: Texts<String, String>,
    streams: Texts<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts<V, I> {
    valid: Vec<V>,
    invalid: Vec<I>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    pattern: String,
    selects: Vec<String>,
    selects_not: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityParts {
    identity: String,
    trust_domain: String,
    env: String,
    service: String,
    host: String,
}

#[test]
fn names() {
    let names: Names = file("names.json");
    for text in names.topics.valid {
        assert_eq!(Topic::parse(&text, LIMITS).unwrap().as_str(), text);
    }
    for Refused { text, code } in names.topics.invalid {
        let error = Topic::parse(&text, LIMITS).unwrap_err();
        assert_eq!(ReasonCode::from(&error).as_str(), code, "{text}");
    }
    for Selection { pattern, selects, selects_not } in names.patterns.valid {
        let parsed = TopicPattern::parse_plain(&pattern, LIMITS).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for (topics, expected) in [(selects, true), (selects_not, false)] {
            for topic in topics {
                let parsed_topic = Topic::parse(&topic, LIMITS).unwrap();
                assert_eq!(parsed.matches_plain(&parsed_topic), expected, "{pattern} and {topic}");
            }
        }
    }
    for pattern in names.patterns.invalid {
        assert!(TopicPattern::parse_plain(&pattern, LIMITS).is_err(), "{pattern}");
    }
    for parts in names.identities.valid {
        let id: SpiffeId = parts.identity.parse().unwrap();
        let found = [id.trust_domain(), id.env(), id.service(), id.host()];
        assert_eq!(found, [&parts.trust_domain[..], &parts.env, &parts.service, &parts.host]);
    }
    for text in names.identities.invalid {
        assert!(text.parse::<SpiffeId>().is_err(), "{text}");
    }
    for text in names.msg_ids.valid {
        assert_eq!(MessageId::parse(&text).unwrap().to_string(), text);
    }
    for text in names.streams.valid {
        assert_eq!(StreamId::parse(&text).unwrap().to_string(), text);
    }
    assert!(names.msg_ids.invalid.iter().all(|text| MessageId::parse(text).is_none()));
    assert!(names.streams.invalid.iter().all(|text| StreamId::parse(text).is_none()));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trees {
    leaves: Vec<String>,
    leaf_hashes: Vec<String>,
    roots: Vec<String>,
    paths: Vec<TreePath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreePath {
    size: u32,
    index: u32,
    path: Vec<String>,
}

#[test]
fn trees() {
    let trees: Trees = file("merkle.json");
    let hashes: Vec<[u8; 32]> = trees.leaves.iter().map(|leaf| merkle::leaf_hash(&[&unhex(leaf)])).collect();
    assert_eq!(hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>(), trees.leaf_hashes);
    for (size, expected) in trees.roots.iter().enumerate() {
        assert_eq!(hex(&merkle::root(&hashes[..size])), *expected, "{size}");
    }
    for TreePath { size, index, path } in trees.paths {
        let [whole, at] = [size, index].map(|n| usize::try_from(n).unwrap());
        let path: Vec<[u8; 32]> = path.iter().map(|text| hash(text)).collect();
        assert_eq!(merkle::audit_path(at, &hashes[..whole]), path, "{index} of {size}");
        let root = merkle::root_of_path(hashes[at], index, size, &path).unwrap();
        assert_eq!(hex(&root), trees.roots[whole], "{index} of {size}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    certificate_sha256: String,
    tree_size: u32,
    root: String,
    statement: String,
}

#[test]
fn statements() {
    for of in file::<Vec<Statement>>("statements.json") {
        let (certificate, root) = (hash(&of.certificate_sha256), hash(&of.root));
        let statement = BatchStatement { certificate, size: of.tree_size, root };
        assert_eq!(hex(&statement.to_bytes()), of.statement);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proofs {
    valid: Vec<ProofFields>,
    invalid: Vec<InvalidProof>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofFields {
    hex: String,
    base64: String,
    algorithm: u8,
    certificates: Vec<String>,
    tree_size: u32,
    leaf_index: u32,
    path: Vec<String>,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidProof {
    fault: String,
    hex: String,
    code: String,
}

#[test]
fn proofs() {
    let Proofs { valid, invalid } = file("proofs.json");
    for fields in valid {
        let proof = Proof {
            algorithm: fields.algorithm,
            certificates: fields.certificates.iter().map(|hex| unhex(hex).into()).collect(),
            tree_size: fields.tree_size,
            leaf_index: fields.leaf_index,
            path: fields.path.iter().map(|text| hash(text)).collect(),
            signature: unhex(&fields.signature).into(),
        };
        assert_eq!(Proof::decode(unhex(&fields.hex).into(), LIMITS).unwrap(), proof);
        assert_eq!(Proof::from_base64(&fields.base64, LIMITS).unwrap(), proof);
        assert_eq!((hex(&proof.encode().unwrap()), proof.to_base64().unwrap()), (fields.hex, fields.base64));
    }
    for InvalidProof { fault, hex, code } in invalid {
        let error = Proof::decode(unhex(&hex).into(), LIMITS).unwrap_err();
        assert_eq!(error.code().as_str(), code, "{fault}");
    }
}
