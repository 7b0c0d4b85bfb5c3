//! The deployed world: Python fedmsg and pyzmq (libzmq) on the other end of the wire.

use crate::support::{PATIENCE, Peer, free_endpoints, temp_dir};
use fedmsg::bus::{Bounds, Transport, ZeroMq};
use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Stamp, StreamId};
use fedmsg::pki::legacy::{LegacyAuthority, LegacyRevocation};
use fedmsg::policy::danger;
use fedmsg::time::{Clock, SystemClock};
use fedmsg::topic::Topic;
use fedmsg::verify::{Legacy, Verifier};
use std::sync::Arc;
use tokio::time::timeout;

const LIMITS: Limits = Limits::STANDARD;

/// The peers among themselves: what a test of ours relies on when it says that they received or refused.
#[test]
fn python_hears_python() {
    let endpoint = &free_endpoints(1)[0];
    let directory = temp_dir();
    let at = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let Some(mut subscriber) = Peer::start("subscribe.py", &["--topic", "org.example", endpoint]) else {
        return;
    };
    let arguments = [endpoint, &at(""), r#"{"n": 1}"#, r#"{"n": "é"}"#];
    let mut publisher = Peer::start("publish_legacy.py", &arguments).expect("peers");
    publisher.next("subscribed");
    for _ in 0..2 {
        let published = publisher.next("published")["published"].clone();
        let [topic, body] = &subscriber.next_frames()[..] else { panic!("two frames") };
        assert_eq!(topic, "org.example.dev.legacy.test.message");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).expect("JSON"), published);
        assert_eq!(published["crypto"], "x509");
    }
    publisher.finish();
    subscriber.finish();
}

/// fedmsg's consumer validates what fedmsg's publisher signed, so that a refusal of its own means something.
#[test]
fn fedmsg_validates_fedmsg() {
    let endpoint = &free_endpoints(1)[0];
    let directory = temp_dir();
    let at = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let Some(mut publisher) = Peer::start("publish_legacy.py", &[endpoint, &at(""), r#"{"n": 1}"#]) else {
        return;
    };
    let mut tail = Peer::start("fedmsg_tail.py", &["--ca", &at("ca.crt"), "--crl", &at("crl.pem"), endpoint])
        .expect("peers");
    publisher.next("published");
    assert_eq!(tail.next("message")["message"]["msg"]["n"], 1);
    publisher.finish();
}

#[test]
fn any_frames_can_be_sent() {
    let endpoint = &free_endpoints(1)[0];
    let Some(mut subscriber) = Peer::start("subscribe.py", &[endpoint]) else { return };
    let mut publisher = Peer::start("publish.py", &[endpoint]).expect("peers");
    publisher.next("subscribed");
    for frames in [&[&b""[..]][..], &[b"a", b"\xff\0", b"c"]] {
        publisher.send(frames);
        assert_eq!(subscriber.next("frames")["base64"].as_array().map(Vec::len), Some(frames.len()));
    }
    publisher.finish();
    subscriber.finish();
}

/// A message of ours as the bus takes it, signed, with what it says.
fn signed(topic: &str, msg: &str) -> RawMessage {
    let now = SystemClock.now();
    let development = Development::new("example.org", now).unwrap();
    let signer = development.signer("dev", "shell", "app01").unwrap();
    let stamp = Stamp {
        timestamp: now,
        msg_id: MessageId::new(2026, [7; 16]),
        i: 1,
        stream: StreamId::new([1; 16]),
        seq: 1,
    };
    let topic = Topic::parse(topic, &LIMITS).unwrap();
    signer.sign(Draft::from_json(topic, msg, &LIMITS).unwrap().seal(&stamp)).unwrap().into_raw()
}

const TOPIC: &str = "org.example.dev.shell.package.update";
const MSG: &str = r#"{"name":"größe","n":[1,2.5,null],"big":123456789012345678901234567890}"#;

#[tokio::test]
async fn libzmq_receives_our_frames_as_they_are() {
    let endpoint = &free_endpoints(1)[0];
    let Some(mut subscriber) = Peer::start("subscribe.py", &["--topic", "org.example.dev.shell", endpoint])
    else {
        return;
    };
    let publisher = ZeroMq::new(Bounds::STANDARD).bind(&[endpoint.parse().unwrap()]).await.unwrap();
    let message = signed(TOPIC, MSG);
    publisher.send_to_subscriber(message.clone(), PATIENCE).await.unwrap();
    let frames: Vec<Vec<u8>> = subscriber.next_frames().into_iter().map(String::into_bytes).collect();
    assert_eq!(frames, message.parts);
    publisher.close(PATIENCE).await.unwrap();
    subscriber.finish();
}

#[tokio::test]
async fn fedmsg_takes_our_message_for_one_of_its_own() {
    let endpoint = &free_endpoints(1)[0];
    let Some(mut tail) = Peer::start("fedmsg_tail.py", &["--topic", "org.example", endpoint]) else { return };
    let publisher = ZeroMq::new(Bounds::STANDARD).bind(&[endpoint.parse().unwrap()]).await.unwrap();
    publisher.send_to_subscriber(signed(TOPIC, MSG), PATIENCE).await.unwrap();
    let heard = tail.next("message");
    assert_eq!(heard["topic"], TOPIC);
    let message = &heard["message"];
    assert_eq!((&message["topic"], &message["i"], &message["v"]), (&TOPIC.into(), &1.into(), &2.into()));
    assert_eq!(message["msg"], serde_json::from_str::<serde_json::Value>(MSG).unwrap());
    assert!(message["msg_id"].as_str().is_some_and(|id| id.starts_with("2026-")), "{message}");
    publisher.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn we_receive_from_fedmsg_and_verify_it_where_that_is_accepted() {
    let endpoint = &free_endpoints(1)[0];
    let directory = temp_dir();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let arguments = [endpoint, directory.path().to_str().unwrap(), r#"{"n": 1.0}"#, r#"["é"]"#];
    let Some(mut publisher) = Peer::start("publish_legacy.py", &arguments) else { return };
    let prefixes = ["org.example.dev".to_owned()];
    let mut subscriber =
        ZeroMq::new(Bounds::STANDARD).connect(&[endpoint.parse().unwrap()], &prefixes).await.unwrap();
    let revocation = LegacyRevocation::Crl { label: "crl.pem", pem: &read("crl.pem") };
    let authority = LegacyAuthority::new("ca.crt", &read("ca.crt"), revocation).unwrap();
    let legacy = Legacy::Accepted(Box::new(authority));
    let verifier = Verifier::new(None, Arc::new(danger::allow_everything()), legacy, LIMITS);
    for expected in ["{\"n\":1.0}", "[\"\\u00e9\"]"] {
        let received = timeout(PATIENCE, subscriber.recv()).await.expect("in time").unwrap();
        let verified = verifier
            .receive(received.message, SystemClock.now())
            .unwrap_or_else(|e| panic!("{}", e.reason()));
        assert_eq!(verified.topic().as_str(), "org.example.dev.legacy.test.message");
        assert_eq!(
            (verified.msg(), verified.signer().to_string().as_str()),
            (expected, "cn:legacy-app01.example.org")
        );
    }
    publisher.next("published");
    publisher.finish();
}
