//! A line that is a user's name, and a JSON text: as a draft, sealed and sent, it is a message that says the same.
#![no_main]

use bytes::Bytes;
use fedmsg::json::{Dialect, canonical, parse};
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, Proof, Stamp, StreamId, Unverified};
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let limits = &Limits::STANDARD;
    let (username, msg) = text.split_once('\n').unwrap_or(("", text));
    let topic = Topic::parse("org.example.dev.shell.log", limits).expect("a topic");
    let Ok(draft) = Draft::from_json(topic, msg, limits) else { return };
    let stamp = Stamp {
        timestamp: Timestamp::EPOCH,
        msg_id: MessageId::new(2026, [7; 16]),
        i: u64::MAX,
        stream: StreamId::new([0xab; 16]),
        seq: u64::MAX,
    };
    let sealed = draft.username(username).seal(&stamp);
    let signed = std::str::from_utf8(sealed.bytes()).expect("ASCII");
    assert!(signed.is_ascii());
    let value = parse(signed, Dialect::Strict, limits).expect("strict JSON");
    assert_eq!(canonical::encode(&value), signed, "canonical");

    let proof = Proof {
        algorithm: 1,
        certificates: vec![Bytes::from_static(b"leaf")],
        tree_size: 1,
        leaf_index: 0,
        path: Vec::new(),
        signature: Bytes::from_static(b"signature"),
    };
    let Ok(body) = sealed.body(&proof.to_base64().expect("a proof"), limits) else { return };
    let message = Unverified::parse_body(body, limits).expect("what we write, we read");
    assert_eq!(message.claimed_topic(), sealed.topic());
    assert_eq!(message.claimed_msg_id(), &stamp.msg_id);
    assert_eq!(message.claimed_timestamp(), stamp.timestamp);
    assert_eq!(message.claimed_position(), Some((stamp.stream, stamp.seq)));
    assert_eq!(canonical::from_text(msg, Dialect::Strict, limits).as_deref(), Ok(message.claimed_msg()));
});
