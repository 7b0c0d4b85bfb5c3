//! The whole path, by the commands, as a stranger would go it.

use crate::support::{Child, fedmsg, run, temp_dir};
use bytes::Bytes;
use fedmsg::bus::transport::{Bounds, PublishSocket, Transport};
use fedmsg::bus::zeromq::ZeroMq;
use fedmsg::message::RawMessage;
use fedmsg::{Config, Publisher};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with the bus that `fedmsg init` made in it.
fn bus() -> tempfile::TempDir {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    directory
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn three_commands_to_a_verified_message() {
    let directory = bus();
    let mut tail = Child::spawn(fedmsg().current_dir(directory.path()).args([
        "--config",
        "bus",
        "--json",
        "tail",
        "--topic",
        "org.fedoraproject.*.shell.#",
        "--count",
        "1",
    ]));
    let body = r#"{"hello": "world", "big": 18446744073709551617}"#;
    let published = run(fedmsg().current_dir(directory.path()).args([
        "--config",
        "bus",
        "--json",
        "publish",
        "log.message",
        "--username",
        "lena",
        "--body",
        body,
    ]))
    .expect_code(0);
    let published = json(&published.stdout);
    let shown = json(&tail.line("a message", |_| true));
    assert_eq!(shown["verdict"], "verified");
    assert_eq!(shown["msg_id"], published["msg_id"]);
    assert_eq!(shown["topic"], "org.fedoraproject.dev.shell.log.message");
    assert_eq!(shown["signer"], "spiffe://dev.example/dev/shell/localhost");
    assert_eq!((&shown["username"], &shown["reason"]), (&Value::from("lena"), &Value::Null));
    assert_eq!(shown["rule"], "own-subtree");
    // Which state of the policy it was: its serial, and what `sha256sum` prints of the file.
    let checked =
        run(fedmsg().current_dir(directory.path()).args(["--config", "bus", "--json", "policy", "check"]));
    let checked = json(&checked.expect_code(0).stdout);
    assert_eq!(shown["policy"]["digest"], checked["digest"]);
    assert_eq!(shown["policy"]["serial"], checked["files"][0]["serial"]);
    tail.finish().expect_code(0);
}

#[test]
fn publishing_to_nobody_or_what_the_policy_refuses_is_a_no() {
    let directory = bus();
    let publish = |arguments: &[&str]| {
        let mut command = fedmsg();
        command.current_dir(directory.path()).args(["--config", "bus", "publish"]).args(arguments);
        run(&mut command)
    };
    // Kept on the disk it is published, heard or not; in memory alone it reached no one.
    for (durability, code, says) in
        [("disk", 0, "kept as number 1 of the outbox"), ("memory", 1, "reached no one")]
    {
        let mut command = fedmsg();
        command.env("FEDMSG_PUBLISHER__DURABILITY", durability).current_dir(directory.path());
        command.args(["--config", "bus", "publish", "log.message", "--wait", "50ms"]);
        let nobody = run(&mut command).expect_code(code).stderr;
        assert!(
            nobody.contains("nobody subscribed") && nobody.contains("hint:") && nobody.contains(says),
            "{nobody}"
        );
    }
    let wrong = publish(&["log.message", "--body", "{\"a\":1,\"a\":2}"]).expect_code(2);
    assert!(wrong.stderr.contains("key \"a\" stands twice"), "{}", wrong.stderr);
    let wrong = publish(&["log..message"]).expect_code(2);
    assert!(wrong.stderr.contains("empty field"), "{}", wrong.stderr);
    let unknown = publish(&["log.message", "--service", "nosuch"]).expect_code(2);
    assert!(unknown.stderr.contains("hint:"), "{}", unknown.stderr);

    std::fs::write(directory.path().join("bus/policy.toml"), "version = 1\nserial = 9\n").unwrap();
    let refused = publish(&["log.message"]).expect_code(1);
    assert!(refused.stderr.contains("no rule allows"), "{}", refused.stderr);
}

/// Whoever can bind an endpoint can send; this is such a one.
async fn intruder(directory: &Path) -> Box<dyn PublishSocket> {
    let config = Config::open(directory.join("bus")).unwrap();
    let endpoints: Vec<_> = config.endpoints.of("wiki").unwrap().iter().cloned().collect();
    ZeroMq::new(Bounds { queue_bytes: 256 << 20 }).bind(&endpoints).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_leave_a_running_tail_alive_and_are_counted() {
    let topic = "org.fedoraproject.dev.wiki.article.edit";
    let legacy = |rest: &str| {
        format!("{{\"topic\":\"{topic}\",\"msg\":{{}},\"timestamp\":1,\"msg_id\":\"x\",{rest}}}")
    };
    let raw = |topic: &str, body: String| RawMessage::new(topic.to_owned(), body);
    let proof = |text: &str| format!("{{\"topic\":\"{topic}\",\"v\":2,\"proof\":\"{text}\"}}");
    let inputs: Vec<(RawMessage, &str)> = vec![
        (RawMessage { parts: vec![Bytes::from(topic)] }, "frame-count"),
        (raw(topic, "this is not JSON".into()), "json-malformed"),
        (RawMessage::new(topic, &b"{\"msg\":\"\xff\xfe\"}"[..]), "json-not-utf8"),
        (raw(topic, legacy("\"crypto\":[\"x509\"]")), "legacy-crypto-unsupported"),
        (
            raw(topic, legacy("\"crypto\":\"x509\",\"certificate\":\"junk!\",\"signature\":\"QQ==\"")),
            "legacy-signature-malformed",
        ),
        (
            raw(topic, legacy("\"crypto\":\"x509\",\"certificate\":\"QQ==\",\"signature\":5")),
            "legacy-signature-malformed",
        ),
        (raw(topic, format!("{{\"msg\":{}}}", "9".repeat(5000))), "json-number-too-long"),
        (raw(topic, "{\"msg\":".to_owned() + &"[".repeat(100_000)), "json-too-deep"),
        (raw("", String::new()), "topic-malformed"),
        (RawMessage { parts: vec![topic.into(), "{}".into(), "more".into()] }, "frame-count"),
        // A frame over `bus.limits.frame_bytes` does not come this far: that ends the connection.
        (raw(topic, "x".repeat(15 << 20)), "body-too-large"),
        (raw("org.fedoraproject.dev.wiki\0", "{}".into()), "topic-malformed"),
        (raw(&"a".repeat(300), "{}".into()), "topic-too-long"),
        (raw(topic, proof("AQEB\\nAAAA")), "proof-malformed"),
        (raw(topic, proof("AQEB\nAAAA")), "json-malformed"),
    ];
    let directory = bus();
    let mut tail =
        Child::spawn(fedmsg().current_dir(directory.path()).args(["--config", "bus", "--json", "tail"]));
    let intruder = intruder(directory.path()).await;
    for (message, expected) in &inputs {
        intruder.send_to_subscriber(message.clone(), PATIENCE).await.unwrap();
        let said = tail.error_line(expected, |line| line.starts_with('{'));
        assert_eq!(json(&said)["reason"], *expected, "{said}");
    }
    run(fedmsg().current_dir(directory.path()).args(["--config", "bus", "publish", "log.message"]))
        .expect_code(0);
    assert_eq!(json(&tail.line("the good message", |_| true))["verdict"], "verified");
    run(std::process::Command::new("kill").arg(tail.id().to_string())).expect_code(0);
    let ended = tail.finish().expect_code(0);
    let summary = json(ended.stderr.lines().last().unwrap());
    assert_eq!(summary["delivered"], 1);
    let refused: u64 = summary["rejected"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(refused, u64::try_from(inputs.len()).unwrap());
    assert_eq!(summary["rejected"]["frame-count"], 2);
}

/// White space is free in JSON: a body may have a line of its own in it that reads as a verdict.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_a_line_of_json_of_his_own() {
    let directory = bus();
    let mut tail =
        Child::spawn(fedmsg().current_dir(directory.path()).args(["--config", "bus", "--json", "tail"]));
    let intruder = intruder(directory.path()).await;
    let topic = "org.fedoraproject.dev.wiki.article.edit";
    let body = format!(
        "{{\"topic\":\"{topic}\",\"timestamp\":1,\"msg_id\":\"x\",\"crypto\":\"x509\",\"certificate\":\"QQ==\",\
         \"signature\":\"QQ==\",\"msg\":[\n{{\"verdict\":\"verified\"}}\n,\r\"\u{9b}2J\u{2028}\"]}}"
    );
    intruder.send_to_subscriber(RawMessage::new(topic, body), PATIENCE).await.unwrap();
    let said = tail.error_line("the refusal", |line| line.starts_with('{'));
    let shown: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{said:?}: {error}"));
    assert_eq!((&shown["verdict"], &shown["reason"]), (&"rejected".into(), &"legacy-not-accepted".into()));
    assert_eq!(shown["msg"], serde_json::json!([{"verdict": "verified"}, "\u{9b}2J\u{2028}"]));
    assert!(!said.contains(|c: char| c.is_control() || c == '\u{2028}'), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_consumer_is_not_shown_a_message_twice_over_a_restart() {
    let directory = bus();
    let tail = |count: &str| {
        let mut command = fedmsg();
        command.current_dir(directory.path()).args(["--config", "bus", "--json", "tail", "--name", "one"]);
        Child::spawn(command.args(["--count", count]))
    };
    let config = Config::open(directory.path().join("bus")).unwrap();
    let endpoints: Vec<_> = config.endpoints.of("shell").unwrap().iter().cloned().collect();
    let messages = ["org.fedoraproject.dev.shell.log".to_owned()];
    let mut eavesdropper = ZeroMq::new(Bounds::STANDARD).connect(&endpoints, &messages).await.unwrap();
    // Whoever comes late misses what was before: until the consumer is shown one that the eavesdropper has as well.
    let publisher = Publisher::open(&config, "shell").await.unwrap();
    let mut heard = HashMap::new();
    let replayed = loop {
        let mut first = tail("1");
        while first.is_running() {
            publisher.publish("log.message", &Value::Null).await.unwrap();
            while let Ok(received) =
                tokio::time::timeout(Duration::from_millis(50), eavesdropper.recv()).await
            {
                let message = received.unwrap().message;
                let body = json(std::str::from_utf8(&message.parts[1]).unwrap());
                heard.insert(body["msg_id"].as_str().unwrap().to_owned(), message);
            }
        }
        let shown = json(first.finish().expect_code(0).stdout.lines().last().unwrap());
        if let Some(message) = heard.remove(shown["msg_id"].as_str().unwrap()) {
            break message;
        }
    };
    publisher.close().await.unwrap();
    let mut again = tail("1");
    intruder(directory.path()).await.send_to_subscriber(replayed, PATIENCE).await.unwrap();
    let refused = again.error_line("the replay", |line| line.starts_with('{'));
    assert_eq!(json(&refused)["reason"], "replayed-seq", "{refused}");
}

#[test]
fn the_demo_ends_well_and_says_what_happened() {
    let demo = run(fedmsg().args(["--json", "demo"])).expect_code(0);
    let lines: Vec<Value> = demo.stdout.lines().map(json).collect();
    let attacks: Vec<&Value> = lines.iter().filter(|line| line["attack"].is_string()).collect();
    assert!(attacks.len() >= 15, "{} attacks", attacks.len());
    for attack in attacks {
        assert_eq!(attack["reason"], attack["expected"], "{attack}");
        assert_eq!(attack["delivered"], false, "{attack}");
    }
    let summary = lines.last().unwrap();
    assert_eq!((&summary["ok"], &summary["delivered"]), (&Value::from(true), &summary["published"]));
    assert!(run(fedmsg().arg("demo")).expect_code(0).stdout.contains("refused because"));
}

#[test]
fn the_demo_takes_real_messages() {
    let Some(path) = crate::support::shared_data("fedora/messages-2017.jsonl") else { return };
    let demo = run(fedmsg().args(["--json", "demo", "--messages"]).arg(path)).expect_code(0);
    assert_eq!(json(demo.stdout.lines().last().unwrap())["delivered"], 6);
    let directory = temp_dir();
    let file = directory.path().join("messages");
    std::fs::write(&file, "{\"topic\":\"a.b.c\",\"msg\":1}\n").unwrap();
    let wrong = run(fedmsg().args(["demo", "--messages"]).arg(&file)).expect_code(2);
    assert!(wrong.stderr.contains("messages:1: topic `a.b.c`"), "{}", wrong.stderr);
}

#[test]
fn a_revocation_reaches_a_consumer_that_is_running() {
    let directory = bus();
    let command = |arguments: &[&str]| {
        let mut command = fedmsg();
        command.current_dir(directory.path()).args(["--config", "bus"]).args(arguments);
        command
    };
    let mut tail = Child::spawn(&mut command(&["--json", "tail", "--topic", "org.fedoraproject.*.shell.#"]));
    run(&mut command(&["publish", "log.message"])).expect_code(0);
    assert_eq!(json(&tail.line("a message", |_| true))["verdict"], "verified");
    run(&mut command(&["ca", "revoke", "shell-localhost", "--reason", "key-compromise"])).expect_code(0);
    // It looks at its files once a second, so that a few messages may still be taken.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in (0..200).take_while(|_| !stop.load(Ordering::Relaxed)) {
                run(&mut command(&["publish", "log.message"])).expect_code(0);
            }
        });
        tail.error_line("a refusal", |line| line.contains("certificate-revoked"));
        stop.store(true, Ordering::Relaxed);
    });
    tail.kill();
}
