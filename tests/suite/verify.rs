//! From a draft to a verified message, and every way to be refused after signing.

use bytes::Bytes;
use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Sealed, Stamp, StreamId};
use fedmsg::pki::chain::Purpose;
use fedmsg::pki::key::{KeyKind, PrivateKey};
use fedmsg::policy::Policy;
use fedmsg::sign::Signer;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use fedmsg::verify::{Legacy, Verifier};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

const LIMITS: Limits = Limits::STANDARD;

const POLICY: &str = r#"
version = 1
serial = 1

[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.example.{env}.{service}.#"]
publishers = ["spiffe://example.org/*/*/*"]
"#;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn sealed(topic: &str, msg: &str, seq: u64) -> Sealed {
    let topic = Topic::parse(topic, &LIMITS).unwrap();
    let mut random = [9; 16];
    random[8..].copy_from_slice(&seq.to_be_bytes());
    let (msg_id, stream) = (MessageId::new(2026, random), StreamId::new([3; 16]));
    Draft::from_json(topic, msg, &LIMITS).unwrap().seal(&Stamp {
        timestamp: now(),
        msg_id,
        i: seq,
        stream,
        seq,
    })
}

struct World {
    development: Development,
    bodhi: Signer,
    verifier: Verifier,
}

fn verifier(development: &Development) -> Verifier {
    let policy = Policy::parse(POLICY, "policy.toml", &LIMITS).unwrap();
    Verifier::new(Arc::new(development.trust().unwrap()), Arc::new(policy), Legacy::Refused, LIMITS)
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let development = Development::new("example.org", now()).unwrap();
    let bodhi = development.signer("prod", "bodhi", "app01").unwrap();
    let verifier = verifier(&development);
    World { development, bodhi, verifier }
});

const TOPIC: &str = "org.example.prod.bodhi.update.comment";

fn signed() -> RawMessage {
    WORLD.bodhi.sign(sealed(TOPIC, r#"{"karma": 1, "big": 18446744073709551617}"#, 1)).unwrap().into_raw()
}

fn code(raw: RawMessage) -> &'static str {
    WORLD.verifier.receive(raw, now()).map_or_else(|rejected| rejected.code().as_str(), |_| "verified")
}

#[test]
fn a_signed_message_is_verified_and_says_what_was_signed() {
    let raw = signed();
    let verified = WORLD.verifier.receive(raw.clone(), now()).unwrap();
    assert_eq!(verified.signer().to_string(), "spiffe://example.org/prod/bodhi/app01");
    assert_eq!(verified.topic().as_str(), TOPIC);
    assert_eq!(verified.msg(), r#"{"big":18446744073709551617,"karma":1}"#);
    assert_eq!((verified.raw(), verified.as_of()), (&raw, now()));
    assert!(verified.grant().rule().unwrap().to_string().contains("own-subtree"));
    let added = raw.parts[1].len() - sealed(TOPIC, verified.msg(), 1).bytes().len();
    assert!(added < 900, "signing adds {added} bytes");
}

#[test]
fn every_kind_of_key_signs() {
    let ed25519 = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let signer = WORLD.development.signer_with(ed25519, "prod", "bodhi", "app02").unwrap();
    assert_eq!(code(signer.sign(sealed(TOPIC, "1", 1)).unwrap().into_raw()), "verified");
}

/// A publisher hears of it when it signs, and not from its consumers' counters.
#[test]
fn what_every_verifier_would_refuse_is_not_signed() {
    let topic = || Topic::parse(TOPIC, &LIMITS).unwrap();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Draft::from_json(topic(), &nested(LIMITS.json_depth), &LIMITS).is_err());
    let deepest = WORLD.bodhi.sign(sealed(TOPIC, &nested(LIMITS.json_depth - 1), 1)).unwrap();
    assert_eq!(code(deepest.into_raw()), "verified");

    let empty = sealed(TOPIC, "\"\"", 1).bytes().len();
    let around = WORLD.bodhi.sign(sealed(TOPIC, "\"\"", 1)).unwrap().body().len() - empty;
    let text = |length: usize| sealed(TOPIC, &format!("\"{}\"", "x".repeat(length)), 1);
    assert!(WORLD.bodhi.sign(text(LIMITS.body_bytes)).is_err());
    // A signature in DER is a few bytes longer or shorter than another.
    let largest = WORLD.bodhi.sign(text(LIMITS.body_bytes - empty - around - 8)).unwrap();
    assert_eq!(code(largest.into_raw()), "verified");

    let key = Arc::new(PrivateKey::generate(KeyKind::P256).unwrap());
    let leaf = {
        let key = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        WORLD.development.signer_with(key, "prod", "bodhi", "app03").unwrap().certificate().der().clone()
    };
    let signer = |chain: Vec<Bytes>| Signer::new(key.clone(), chain, LIMITS);
    assert!(signer(vec![leaf.clone(); LIMITS.chain_certificates + 1]).is_err());
    let padding = Bytes::from(vec![0; LIMITS.proof_bytes]);
    assert!(signer(vec![leaf, padding]).unwrap().sign(sealed(TOPIC, "1", 1)).is_err());
}

#[test]
fn any_message_of_a_batch_is_verified_by_itself() {
    for size in [1_u64, 2, 3, 7, 64, 65] {
        let batch = (1..=size).map(|seq| sealed(TOPIC, &format!("{seq}"), seq)).collect();
        let signed = WORLD.bodhi.sign_batch(batch).unwrap();
        for message in signed.into_iter().rev() {
            let seq = message.seq();
            let verified = WORLD.verifier.receive(message.into_raw(), now()).unwrap();
            assert_eq!(verified.msg(), seq.to_string());
        }
    }
    // A proof of one message does not prove another of the same batch.
    let pair = WORLD.bodhi.sign_batch(vec![sealed(TOPIC, "1", 1), sealed(TOPIC, "2", 2)]).unwrap();
    let text = |n: usize| String::from_utf8(pair[n].body().to_vec()).unwrap();
    let (first, second) = (text(0), text(1));
    let (head, _) = first.split_once(",\"proof\"").unwrap();
    let (_, proof) = second.split_once(",\"proof\"").unwrap();
    assert_eq!(code(RawMessage::new(TOPIC, format!("{head},\"proof\"{proof}"))), "signature-invalid");
}

#[test]
fn what_the_signer_may_not_say_is_refused() {
    let sign = |signer: &Signer, topic| signer.sign(sealed(topic, "1", 1)).unwrap().into_raw();
    let bodhi = &WORLD.bodhi;
    assert_eq!(code(sign(bodhi, "org.example.prod.koji.build.tag")), "policy-unlisted");
    assert_eq!(code(sign(bodhi, "org.example.stg.bodhi.update.comment")), "policy-unlisted");
    // The signature was good: the refusal says whose, and by which state of the policy.
    let rejected = WORLD.verifier.receive(sign(bodhi, "org.example.prod.koji.build.tag"), now()).unwrap_err();
    assert_eq!(rejected.signer(), Some(bodhi.identity()));
    assert_eq!(rejected.denial().unwrap().edition().serial, 1);
    let stg = WORLD.development.signer("stg", "bodhi", "app01").unwrap();
    assert_eq!(code(sign(&stg, TOPIC)), "policy-unlisted");
    let other = Development::new("example.org", now()).unwrap().signer("prod", "bodhi", "app01").unwrap();
    assert_eq!(code(sign(&other, TOPIC)), "certificate-unknown-issuer");
}

#[test]
fn a_certificate_counts_for_its_time_and_until_it_is_revoked() {
    let mut development = Development::new("example.org", now()).unwrap();
    let signer = development.signer("prod", "bodhi", "app01").unwrap();
    let raw = signer.sign(sealed(TOPIC, "1", 1)).unwrap().into_raw();
    let before = verifier(&development);
    let at = |verifier: &Verifier, time: &str| {
        let ended = verifier.receive(raw.clone(), time.parse().unwrap());
        ended.map_or_else(|rejected| rejected.code().as_str(), |_| "verified")
    };
    assert_eq!(at(&before, "2026-11-24T12:00:00Z"), "verified");
    assert_eq!(at(&before, "2026-11-24T11:58:59Z"), "certificate-not-yet-valid");
    assert_eq!(at(&before, "2026-12-24T12:00:00Z"), "crl-stale");
    assert_eq!(at(&before, "2027-03-24T12:00:00Z"), "certificate-expired");
    development.revoke(&signer).unwrap();
    assert_eq!(at(&verifier(&development), "2026-11-24T12:00:00Z"), "certificate-revoked");
}

/// The signature does not bind the certificates after the leaf: whoever passes a message on may put others there.
#[test]
fn one_leaf_with_ever_other_issuers_takes_little_room() {
    let trust = WORLD.development.trust().unwrap();
    let leaf = WORLD.bodhi.certificate().der();
    let validate = |sent: &[&[u8]]| {
        trust.validate_cached(leaf, sent, &Purpose::DocumentSigning, now()).expect("a good leaf")
    };
    let first = validate(&[]);
    assert!(Arc::ptr_eq(&first, &validate(&[])), "worked out once");
    for n in 0..4 {
        let other = WORLD.development.signer("prod", "other", &format!("host{n}")).unwrap();
        validate(&[other.certificate().der()]);
    }
    assert!(!Arc::ptr_eq(&first, &validate(&[])), "still remembered beside four others");
}

/// Two signed messages of different sizes, to change and to splice.
static SIGNED: LazyLock<[RawMessage; 2]> = LazyLock::new(|| {
    let long = format!("{{\"text\":\"{}\"}}", "caf\u{e9} ".repeat(100));
    let long =
        WORLD.bodhi.sign_batch(vec![sealed(TOPIC, &long, 2), sealed(TOPIC, "2", 3)]).unwrap().remove(0);
    [signed(), long.into_raw()]
});

/// One change of a message's bytes.
#[derive(Clone, Debug)]
enum Change {
    Byte(u8),
    Bit(u8),
    Remove,
    Insert(u8),
    Truncate,
    /// The rest is the other message's, from this place on.
    Splice(prop::sample::Index),
}

fn changed(which: usize, frame: usize, place: prop::sample::Index, change: Change) -> RawMessage {
    let mut raw = SIGNED[which].clone();
    let mut bytes = raw.parts[frame].to_vec();
    let at = place.index(bytes.len());
    match change {
        Change::Byte(byte) => bytes[at] = byte,
        Change::Bit(bit) => bytes[at] ^= 1 << (bit % 8),
        Change::Remove => drop(bytes.remove(at)),
        Change::Insert(byte) => bytes.insert(at, byte),
        Change::Truncate => bytes.truncate(at),
        Change::Splice(place) => {
            let other = &SIGNED[1 - which].parts[frame];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[place.index(other.len())..]);
        }
    }
    raw.parts[frame] = Bytes::from(bytes);
    raw
}

fn some_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u8>().prop_map(Change::Byte),
        any::<u8>().prop_map(Change::Bit),
        Just(Change::Remove),
        any::<u8>().prop_map(Change::Insert),
        Just(Change::Truncate),
        any::<prop::sample::Index>().prop_map(Change::Splice),
    ]
}

/// Which frame is changed: mostly the body, which is some thirty times as long.
fn some_frame() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 7 => Just(1)]
}

/// Every byte of both frames, each put to values near it, far from it, and that mean something to a parser.
#[test]
fn no_byte_of_a_signed_message_can_be_another() {
    let signed = signed();
    for (frame, part) in signed.parts.iter().enumerate() {
        for (at, byte) in part.iter().enumerate() {
            let values = [byte ^ 1, byte ^ 0x20, byte ^ 0x80, byte.wrapping_add(1), 0, b' ', b'"', b'A'];
            for value in values.into_iter().filter(|value| value != byte) {
                let mut raw = signed.clone();
                let mut bytes = part.to_vec();
                bytes[at] = value;
                raw.parts[frame] = bytes.into();
                assert_ne!(
                    code(raw),
                    "verified",
                    "frame {frame}, byte {at}: {byte:#04x} became {value:#04x}"
                );
            }
        }
    }
}

/// The long run, whose figures are worth reading:
/// `cargo test --release --test suite hundred_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a minute in a release build; prints its figures"]
fn a_hundred_thousand_changes_are_refused() {
    const CHANGES: usize = 100_000;
    let strategy = (0_usize..2, some_frame(), any::<prop::sample::Index>(), some_change());
    let mut runner = proptest::test_runner::TestRunner::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut same = 0;
    while counts.values().sum::<usize>() < CHANGES {
        let (which, frame, place, change) = strategy.new_tree(&mut runner).unwrap().current();
        let raw = changed(which, frame, place, change.clone());
        // A byte that was put to its own value, or the whole of the other message.
        if SIGNED.contains(&raw) {
            same += 1;
            continue;
        }
        let code = code(raw);
        assert_ne!(code, "verified", "message {which}, frame {frame}, {place:?}, {change:?}");
        *counts.entry(code).or_default() += 1;
    }
    eprintln!("{CHANGES} changes refused; {same} that changed nothing were passed over");
    for (code, count) in counts {
        eprintln!("{count:>8} {code}");
    }
}

proptest! {
    #[test]
    fn any_change_of_a_signed_message_is_refused(
        which in 0_usize..2, frame in some_frame(), place: prop::sample::Index, change in some_change(),
    ) {
        let raw = changed(which, frame, place, change);
        prop_assume!(raw != SIGNED[0] && raw != SIGNED[1]);
        prop_assert_ne!(code(raw), "verified");
    }

    #[test]
    fn what_was_signed_comes_back(msg in "[a-z\\PC]{0,40}", number: i128) {
        let msg = serde_json::json!({ "text": msg, "n": number.to_string() });
        let raw = WORLD.bodhi.sign(sealed(TOPIC, &msg.to_string(), 7)).unwrap().into_raw();
        let verified = WORLD.verifier.receive(raw, now()).unwrap();
        prop_assert_eq!(verified.decode::<serde_json::Value>().unwrap(), msg);
    }
}
