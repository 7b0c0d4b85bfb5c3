//! Two frames, cut at the first line end, received by a verifier that trusts what the vectors trust: whatever is verified
//! was signed by one of the keys of the vectors, which are gone, so it is one of their messages.
//!
//! One of them, and not the same bytes: who passes a message on may change what the signature does not bind
//! (`docs/wire-format.md`, section 7).
#![no_main]

use bytes::Bytes;
use fedmsg::limits::Limits;
use fedmsg::message::RawMessage;
use fedmsg::pki::certificate::IdentityRule;
use fedmsg::pki::chain::{RevocationPolicy, TrustStore};
use fedmsg::pki::pem;
use fedmsg::policy::Policy;
use fedmsg::time::Timestamp;
use fedmsg::verify::{Legacy, Verifier};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

struct World {
    verifier: Verifier,
    at: Timestamp,
    /// The signed bytes of the known messages.
    known: HashSet<Vec<u8>>,
}

macro_rules! vector {
    ($path:literal) => {
        include_str!(concat!("../../tests/vectors/", $path))
    };
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let certificate = |text: &str| pem::certificate(text.as_bytes()).expect("a certificate");
    let list = |text: &str| pem::crl(text.as_bytes()).expect("a revocation list");
    let trust = TrustStore::builder(RevocationPolicy::Required)
        .anchor("root.crt", certificate(vector!("trust/root.crt")), IdentityRule::SpiffeUri)
        .and_then(|trust| trust.intermediate("issuing.crt", certificate(vector!("trust/issuing.crt"))))
        .and_then(|trust| trust.crl("root.crl", list(vector!("trust/root.crl"))))
        .and_then(|trust| trust.crl("issuing.crl", list(vector!("trust/issuing.crl"))))
        .and_then(|trust| trust.build())
        .expect("trust");
    let policy =
        Policy::parse(vector!("trust/policy.toml"), "policy.toml", &Limits::STANDARD).expect("a policy");
    let verifier = Verifier::new(Arc::new(trust), Arc::new(policy), Legacy::Refused, Limits::STANDARD);
    let messages: serde_json::Value = serde_json::from_str(vector!("wire/messages.json")).expect("JSON");
    let messages = messages.as_array().expect("messages");
    let text = |message: &serde_json::Value, field: &str| message[field].as_str().expect("a text").to_owned();
    let at: Timestamp = text(&messages[0], "at").parse().expect("a time");
    // Each of them verifies here, or the target would be looking at nothing.
    let known = messages.iter().map(|message| {
        let raw = RawMessage::new(text(message, "topic"), text(message, "body"));
        let verified = verifier.receive(raw, at).expect("a vector that verifies");
        signed(&verified.raw().parts[1])
    });
    let known = known.collect();
    World { verifier, at, known }
});

/// A body's signed bytes.
fn signed(body: &[u8]) -> Vec<u8> {
    let tail = body.windows(10).rposition(|window| window == b",\"proof\":\"").expect("a proof");
    [&body[..tail], b"}"].concat()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let world = &*WORLD;
    let mut frames = bytes.splitn(2, |b| *b == b'\n').map(Bytes::copy_from_slice);
    let (Some(topic), Some(body)) = (frames.next(), frames.next()) else { return };
    let raw = RawMessage::new(topic, body);
    match world.verifier.receive(raw.clone(), world.at) {
        Err(rejected) => assert_eq!(*rejected.raw(), raw),
        Ok(verified) => {
            assert!(world.known.contains(&signed(&verified.raw().parts[1])));
            assert_eq!(verified.topic().as_str().as_bytes(), &raw.parts[0][..]);
        }
    }
});
