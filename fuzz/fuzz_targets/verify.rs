//! Edits of a signed message, three bytes each (place, value): whatever they change, the message is refused.
#![no_main]

use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Stamp, StreamId};
use fedmsg::policy::danger;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use fedmsg::verify::{Legacy, Verifier};
use std::sync::{Arc, LazyLock};

const LIMITS: Limits = Limits::STANDARD;

static WORLD: LazyLock<(Verifier, RawMessage, Timestamp)> = LazyLock::new(|| {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
    let development = Development::new("example.org", now).expect("an authority");
    let (msg_id, stream) = (MessageId::new(2026, [7; 16]), StreamId::new([1; 16]));
    let topic = Topic::parse("org.example.dev.shell.log", &LIMITS).expect("a topic");
    let draft = Draft::from_json(topic, r#"{"n":[1,"two",null]}"#, &LIMITS).expect("a draft");
    let signer = development.signer("dev", "shell", "app01").expect("a signer");
    let signed = signer.sign(draft.seal(&Stamp { timestamp: now, msg_id, i: 1, stream, seq: 1 }));
    let trust = Arc::new(development.trust().expect("trust"));
    let verifier = Verifier::new(trust, Arc::new(danger::allow_everything()), Legacy::Refused, LIMITS);
    (verifier, signed.expect("a signed message").into_raw(), now)
});

libfuzzer_sys::fuzz_target!(|edits: &[u8]| {
    let (verifier, signed, now) = &*WORLD;
    let mut parts: Vec<Vec<u8>> = signed.parts.iter().map(|part| part.to_vec()).collect();
    for edit in edits.chunks_exact(3) {
        // One edit in eight goes to the topic's frame.
        let place = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        let part = &mut parts[usize::from(place % 8 != 0)];
        let (place, end) = (place / 8, part.len());
        if place < end { part[place] = edit[2] } else { part.truncate(place % (end + 1)) }
    }
    let raw = RawMessage { parts: parts.into_iter().map(Into::into).collect() };
    let changed = raw != *signed;
    assert_eq!(verifier.receive(raw, *now).is_err(), changed);
});
