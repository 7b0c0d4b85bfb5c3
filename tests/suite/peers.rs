//! The deployed world: Python fedmsg and pyzmq (libzmq) on the other end of the wire.

use crate::support::{Peer, free_endpoints, temp_dir};

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
