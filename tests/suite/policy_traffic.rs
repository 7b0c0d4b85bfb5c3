//! `fedmsg policy learn` and `diff` on messages that are really signed, and on what somebody made of them.

use crate::support::{Finished, fedmsg, run, temp_dir};
use fedmsg::Config;
use fedmsg::limits::Limits;
use fedmsg::message::id::{MessageId, StreamId};
use fedmsg::message::{Draft, Stamp};
use fedmsg::policy::Policy;
use fedmsg::sign::Signer;
use fedmsg::store::credentials::Credentials;
use fedmsg::time::{Clock, SystemClock, Timestamp};
use fedmsg::topic::Topic;
use serde_json::{Value, json};
use std::sync::Arc;

const SHELL: &str = "spiffe://dev.example/dev/shell/localhost";

/// The bus that `fedmsg init` made, and the signers of its two services.
struct Bus {
    directory: tempfile::TempDir,
    shell: Signer,
    wiki: Signer,
    now: Timestamp,
}

impl Bus {
    fn new() -> Self {
        let directory = temp_dir();
        run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
        let config = Config::open(directory.path().join("bus")).unwrap();
        let services = config.credentials.directory.as_ref().unwrap().path();
        let signer = |service| {
            let (key, leaf, _) = Credentials::load(services, service, "localhost").unwrap().into_parts();
            Signer::new(Arc::new(key), vec![leaf.der().clone()], Limits::STANDARD).unwrap()
        };
        let (shell, wiki, now) = (signer("shell"), signer("wiki"), SystemClock.now());
        Self { directory, shell, wiki, now }
    }

    /// A body as it would be received.
    fn body(&self, signer: &Signer, suffix: &str, seq: u8) -> String {
        let topic = Topic::parse(format!("org.fedoraproject.dev.{suffix}"), &Limits::STANDARD).unwrap();
        let draft = Draft::new(topic, &json!({ "n": seq }), &Limits::STANDARD).unwrap();
        let (year, id) = (u16::try_from(self.now.year()).unwrap(), [seq; 16]);
        let stamp = Stamp {
            timestamp: self.now.plus_seconds(i64::from(seq) - 30),
            msg_id: MessageId::new(year, id),
            i: seq.into(),
            stream: StreamId::new([7; 16]),
            seq: seq.into(),
        };
        let signed = signer.sign(draft.seal(&stamp)).unwrap();
        String::from_utf8(signed.body().to_vec()).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn policy(&self, args: &[&str]) -> Finished {
        let mut command = fedmsg();
        run(command.current_dir(self.directory.path()).args(["--config", "bus", "policy"]).args(args))
    }

    /// Two by the shell, one by the wiki, one that the policy in force refuses, and three that nobody signed so.
    fn traffic(&self) -> String {
        let mut lines = vec![
            self.body(&self.shell, "shell.log.message", 1),
            self.body(&self.shell, "shell.log.message", 2),
            self.body(&self.wiki, "wiki.article.edit", 3),
            self.body(&self.shell, "wiki.article.edit", 4),
        ];
        lines.push(lines[0].replacen("shell.log.message", "shell.log.massage", 1));
        lines.push(lines[2].replacen("\"n\":3", "\"n\":4", 1));
        // The proof of one beneath the words of another.
        let proof = |line: &str| line.split_once(",\"proof\":").unwrap().1.to_owned();
        let words = lines[1].split_once(",\"proof\":").unwrap().0;
        lines.push(format!("{words},\"proof\":{}", proof(&lines[2])));
        lines.join("\n") + "\n"
    }
}

#[test]
fn a_policy_is_learned_from_messages_that_verify_and_from_those_alone() {
    let bus = Bus::new();
    bus.write("bodies.jsonl", &bus.traffic());
    let learned = bus.policy(&["learn", "--messages", "bodies.jsonl", "--generalize", "none"]).expect_code(0);
    assert!(learned.stderr.contains("4 messages used, 3 refused: "), "{learned:?}");
    assert!(!learned.stdout.contains("massage"), "{}", learned.stdout);
    // Who signed is told by the certificate, whatever the topic says.
    let policy = Policy::parse(&learned.stdout, "learned.toml", &Limits::STANDARD).unwrap();
    let may = |topic: &str, signer: &str| {
        let topic = Topic::parse(format!("org.fedoraproject.dev.{topic}"), &Limits::STANDARD).unwrap();
        policy.decide(&topic, &signer.parse().unwrap(), bus.now).is_ok()
    };
    let wiki = SHELL.replace("shell", "wiki");
    for (topic, signer, allowed) in [
        ("shell.log.message", SHELL, true),
        ("wiki.article.edit", &wiki, true),
        ("wiki.article.edit", SHELL, true),
        ("shell.log.message", &wiki, false),
        ("shell.log.massage", SHELL, false),
    ] {
        assert_eq!(may(topic, signer), allowed, "{topic} by {signer}");
    }
    bus.write("learned.toml", &learned.stdout);
    bus.policy(&["check", "--policy", "learned.toml"]).expect_code(0);

    let often = bus
        .policy(&["learn", "--messages", "bodies.jsonl", "--generalize", "none", "--min-count", "2"])
        .expect_code(0);
    assert!(
        often.stdout.contains("shell.log.message") && !often.stdout.contains("\"org.fedoraproject.dev.wiki"),
        "{often:?}"
    );
    // As of a time at which nothing of the trust is good any more, nothing is learned.
    let late = bus.now.plus_seconds(3_000 * 86_400).to_string();
    let none = bus.policy(&["learn", "--messages", "bodies.jsonl", "--verified-at", &late]).expect_code(2);
    assert!(none.stderr.contains("no verified message in it (7 refused)"), "{none:?}");
    bus.policy(&["learn", "--messages", "bodies.jsonl", "--verified-at", "message"]).expect_code(0);
}

#[test]
fn signed_bodies_show_what_the_policy_in_force_refused_too() {
    let bus = Bus::new();
    bus.write("bodies.jsonl", &bus.traffic());
    let rule = |id: &str, topics: &str, who: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"allow\"\ntopics = [\"org.fedoraproject.dev.{topics}\"]\npublishers = [\"{who}\"]\n"
        )
    };
    let next = "version = 1\nserial = 2\n".to_owned()
        + &rule("logs", "shell.log.#", SHELL)
        + &rule("shell-edits", "wiki.#", SHELL);
    bus.write("next.toml", &next);
    let args = ["--json", "diff", "bus/policy.toml", "next.toml", "--messages", "bodies.jsonl"];
    let found = bus.policy(&args).expect_code(1);
    let changes: Vec<Value> = found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(changes.len(), 2, "{found:?}");
    for change in &changes {
        assert_eq!(change["topic"], "org.fedoraproject.dev.wiki.article.edit");
        let (before, after) =
            if change["signer"] == SHELL { ("denied", "allowed") } else { ("allowed", "denied") };
        assert_eq!((&change["old"]["verdict"], &change["new"]["verdict"]), (&before.into(), &after.into()));
        assert_eq!(change["count"], 1, "{change}");
    }
    assert!(found.stderr.contains("of 4 messages 1 would be denied that are allowed, 1 allowed that are denied; 3 lines were not used"), "{found:?}");
    let same = ["diff", "bus/policy.toml", "bus/policy.toml", "--messages", "bodies.jsonl"];
    bus.policy(&same).expect_code(0);
}
