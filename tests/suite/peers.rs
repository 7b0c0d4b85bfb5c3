//! The deployed world: Python fedmsg and pyzmq (libzmq) on the other end of the wire.

use crate::support::{PATIENCE, Peer, free_endpoints, temp_dir};
use fedmsg::bus::transport::{LinkState, SendError};
use fedmsg::bus::{Bounds, Transport, ZeroMq, Zmtp, zmtp};
use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Stamp, StreamId};
use fedmsg::pki::legacy::{LegacyAuthority, LegacyRevocation};
use fedmsg::policy::danger;
use fedmsg::time::{Clock, SystemClock};
use fedmsg::topic::Topic;
use fedmsg::verify::{Legacy, Verifier};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const LIMITS: Limits = Limits::STANDARD;

/// The engines that talk to others.
fn engines() -> [Box<dyn Transport>; 2] {
    [Box::new(ours()), Box::new(ZeroMq::new(Bounds::STANDARD))]
}

fn ours() -> Zmtp {
    Zmtp::new(zmtp::Limits::STANDARD)
}

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
    for bus in engines() {
        let endpoint = &free_endpoints(1)[0];
        let Some(mut subscriber) =
            Peer::start("subscribe.py", &["--topic", "org.example.dev.shell", endpoint])
        else {
            return;
        };
        let publisher = bus.bind(&[endpoint.parse().unwrap()]).await.unwrap();
        let message = signed(TOPIC, MSG);
        publisher.send_to_subscriber(message.clone(), PATIENCE).await.unwrap();
        let frames: Vec<Vec<u8>> = subscriber.next_frames().into_iter().map(String::into_bytes).collect();
        assert_eq!(frames, message.parts);
        publisher.close(PATIENCE).await.unwrap();
        subscriber.finish();
    }
}

#[tokio::test]
async fn fedmsg_takes_our_message_for_one_of_its_own() {
    for bus in engines() {
        let endpoint = &free_endpoints(1)[0];
        let Some(mut tail) = Peer::start("fedmsg_tail.py", &["--topic", "org.example", endpoint]) else {
            return;
        };
        let publisher = bus.bind(&[endpoint.parse().unwrap()]).await.unwrap();
        publisher.send_to_subscriber(signed(TOPIC, MSG), PATIENCE).await.unwrap();
        let heard = tail.next("message");
        assert_eq!(heard["topic"], TOPIC);
        let message = &heard["message"];
        assert_eq!((&message["topic"], &message["i"], &message["v"]), (&TOPIC.into(), &1.into(), &2.into()));
        assert_eq!(message["msg"], serde_json::from_str::<serde_json::Value>(MSG).unwrap());
        assert!(message["msg_id"].as_str().is_some_and(|id| id.starts_with("2026-")), "{message}");
        publisher.close(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn we_receive_from_fedmsg_and_verify_it_where_that_is_accepted() {
    for bus in engines() {
        let endpoint = &free_endpoints(1)[0];
        let directory = temp_dir();
        let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
        let arguments = [endpoint, directory.path().to_str().unwrap(), r#"{"n": 1.0}"#, r#"["é"]"#];
        let Some(mut publisher) = Peer::start("publish_legacy.py", &arguments) else { return };
        let prefixes = ["org.example.dev".to_owned()];
        let mut subscriber = bus.connect(&[endpoint.parse().unwrap()], &prefixes).await.unwrap();
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
}

/// What stands in each of these tests for "a while": long enough for twenty heartbeats.
const A_WHILE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn heartbeats_of_libzmq_are_answered_both_ways() {
    let endpoints = free_endpoints(2);
    let arguments = ["--heartbeat", "50", &endpoints[0]];
    let Some(mut subscriber) = Peer::start("subscribe.py", &arguments) else { return };
    let publisher = ours().bind(&[endpoints[0].parse().unwrap()]).await.unwrap();
    publisher.send_to_subscriber(RawMessage::new("a", "first"), PATIENCE).await.unwrap();
    let mut libzmq = Peer::start("publish.py", &["--heartbeat", "50", &endpoints[1]]).expect("peers");
    let mut ours = ours().connect(&[endpoints[1].parse().unwrap()], &[String::new()]).await.unwrap();
    libzmq.next("subscribed");
    let mut links = ours.links();
    links.wait_for(|links| links[0].state == LinkState::Connected).await.unwrap();
    links.mark_unchanged();
    let mut peers = publisher.peers();
    peers.mark_unchanged();
    // Without a PONG, libzmq would end the connection after 50 ms, and come back.
    assert!(timeout(A_WHILE, peers.changed()).await.is_err(), "{:?}", publisher.counts());
    assert!(!links.has_changed().unwrap(), "{:?}", links.borrow());
    publisher.send(RawMessage::new("a", "last")).await.unwrap();
    libzmq.send(&[b"a", b"last"]);
    assert_eq!(subscriber.next_frames(), ["a", "first"]);
    assert_eq!(subscriber.next_frames(), ["a", "last"]);
    let received = timeout(PATIENCE, ours.recv()).await.expect("in time").unwrap();
    assert_eq!(received.message, RawMessage::new("a", "last"));
    publisher.close(PATIENCE).await.unwrap();
    libzmq.finish();
    subscriber.finish();
}

#[tokio::test]
async fn a_thousand_subscriptions_and_a_restart_of_either_side() {
    let endpoints = free_endpoints(2);
    let Some(mut subscriber) =
        Peer::start("subscribe.py", &["--topic", "b", "--many", "1000", &endpoints[0]])
    else {
        return;
    };
    for round in ["first", "second"] {
        let publisher = ours().bind(&[endpoints[0].parse().unwrap()]).await.unwrap();
        publisher.send_to_subscriber(RawMessage::new("many.999.x", round), PATIENCE).await.unwrap();
        publisher.send(RawMessage::new("many.1000.x", "unwanted")).await.unwrap();
        publisher.send(RawMessage::new("many.0.x", round)).await.unwrap();
        assert_eq!(subscriber.next_frames(), ["many.999.x", round]);
        assert_eq!(subscriber.next_frames(), ["many.0.x", round]);
        assert_eq!((publisher.counts().unwanted, publisher.counts().put_out.len()), (1, 0));
        publisher.close(PATIENCE).await.unwrap();
    }
    subscriber.finish();

    let prefixes: Vec<String> = (0..1000).map(|n| format!("many.{n}.")).collect();
    let mut ours = ours().connect(&[endpoints[1].parse().unwrap()], &prefixes).await.unwrap();
    for round in ["first", "second"] {
        let mut publisher = Peer::start("publish.py", &[&endpoints[1]]).expect("peers");
        publisher.next("subscribed");
        // It says so of the first; of the last, the messages do.
        let received = loop {
            publisher.send(&[b"many.999.x", round.as_bytes()]);
            if let Ok(received) = timeout(Duration::from_millis(50), ours.recv()).await {
                break received.unwrap();
            }
        };
        assert_eq!(received.message, RawMessage::new("many.999.x", round));
        publisher.finish();
        while timeout(Duration::from_millis(50), ours.recv()).await.is_ok() {}
    }
    assert!(ours.links().borrow()[0].connected >= 2);
}

#[tokio::test]
async fn messages_from_no_bytes_to_the_limit_go_both_ways() {
    let most = zmtp::Limits::STANDARD.message_bytes - 1;
    let sizes = [0, 1, 127, 255, 256, 2048, 2049, 65_535, 65_536, 1 << 20, most];
    let endpoints = free_endpoints(2);
    let Some(mut subscriber) = Peer::start("subscribe.py", &["--sizes", &endpoints[0]]) else { return };
    let publisher = ours().bind(&[endpoints[0].parse().unwrap()]).await.unwrap();
    let mut libzmq = Peer::start("publish.py", &[&endpoints[1]]).expect("peers");
    let mut ours = ours().connect(&[endpoints[1].parse().unwrap()], &[String::new()]).await.unwrap();
    libzmq.next("subscribed");
    publisher.send_to_subscriber(RawMessage::new("a", ""), PATIENCE).await.unwrap();
    subscriber.next("sizes");
    for size in sizes {
        publisher.send(RawMessage::new("a", vec![b'x'; size])).await.unwrap();
        assert_eq!(subscriber.next("sizes")["sizes"], serde_json::json!([1, size]));
        libzmq.send_sizes(&[1, size]);
        let received = timeout(PATIENCE, ours.recv()).await.expect("in time").unwrap();
        let lengths: Vec<usize> = received.message.parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [1, size]);
    }
    let error = publisher.send(RawMessage::new("a", vec![b'x'; most + 1])).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }), "{error}");
    publisher.close(PATIENCE).await.unwrap();
    libzmq.finish();
    subscriber.finish();
}

/// Ours and the crate, both ways.
#[tokio::test]
async fn the_crate_and_we_understand_each_other() {
    let crates = ZeroMq::new(Bounds::STANDARD);
    let (ours, theirs): (&dyn Transport, &dyn Transport) = (&ours(), &crates);
    for (publishing, subscribing) in [(ours, theirs), (theirs, ours)] {
        let at = [free_endpoints(1)[0].parse().unwrap()];
        let mut subscriber = subscribing.connect(&at, &["a.".to_owned(), "b".to_owned()]).await.unwrap();
        for round in ["first", "second"] {
            let publisher = publishing.bind(&at).await.unwrap();
            for topic in ["b", "a.b"] {
                publisher.send_to_subscriber(RawMessage::new(topic, round), PATIENCE).await.unwrap();
                let received = timeout(PATIENCE, subscriber.recv()).await.expect("in time").unwrap();
                assert_eq!(received.message, RawMessage::new(topic, round));
            }
            publisher.close(PATIENCE).await.unwrap();
        }
    }
}
