//! A signed policy and what goes on while a policy is in use, by the commands: signing, enforcing, status, SIGHUP.

use crate::support::{Child, Finished, fedmsg, run, temp_dir};
use fedmsg::bus::publisher::PublishError;
use fedmsg::time::{Clock, SystemClock};
use fedmsg::{Config, Publisher};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The bus that `fedmsg init` made, with an operator.
struct Bus {
    directory: tempfile::TempDir,
}

const OPERATOR: &str = "spiffe://dev.example/prod/operator/ada";

impl Bus {
    fn new() -> Self {
        let directory = temp_dir();
        run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
        let bus = Self { directory };
        let issue = ["ca", "issue", "operator", "--env", "prod", "--host", "ada", "--profile", "operator"];
        bus.run(&issue).expect_code(0);
        bus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("bus").join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = fedmsg();
        command.current_dir(self.directory.path()).args(["--config", "bus"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Finished {
        run(&mut self.command(args))
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        let finished = self.run(&[&["--json"], args].concat()).expect_code(code);
        json(finished.stdout.lines().next().unwrap_or_default())
    }

    /// Writes a further file of the configuration.
    fn configure(&self, text: &str) {
        std::fs::write(self.path("fedmsg.d/z-policy.toml"), text).unwrap();
    }

    fn require_signature(&self) {
        self.configure(&format!("[policy]\nrequire_signature = true\nsigners = [\"{OPERATOR}\"]\n"));
    }

    fn policy(&self) -> String {
        std::fs::read_to_string(self.path("policy.toml")).unwrap()
    }

    fn write_policy(&self, text: &str) {
        // Replaced, not written over: nobody reads half of it.
        std::fs::write(self.path("policy.new"), text).unwrap();
        std::fs::rename(self.path("policy.new"), self.path("policy.toml")).unwrap();
    }

    fn with_serial(&self, serial: u64) -> String {
        let text = self.policy();
        let line = text.lines().find(|line| line.starts_with("serial = ")).unwrap().to_owned();
        text.replacen(&line, &format!("serial = {serial}"), 1)
    }

    fn tail(&self) -> Child {
        let mut tail = Child::spawn(&mut self.command(&["tail", "--name", "one"]));
        tail.error_line("the beginning", |line| line.contains("watching"));
        tail
    }

    /// Asks for the status until it is as wanted.
    fn status(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        crate::support::until(what, || {
            let finished = self.run(&["--json", "policy", "status"]);
            let found: Vec<Value> = finished.stdout.lines().map(json).collect();
            wanted(&found).then_some(found)
        })
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn signal(name: &str, child: &Child) {
    run(Command::new("kill").arg(name).arg(child.id().to_string())).expect_code(0);
}

#[test]
fn an_operator_signs_and_everybody_else_is_refused() {
    let bus = Bus::new();
    // Nothing has a silent default.
    for (text, missing) in [
        (
            "[policy]\nrequire_signature = true\n",
            "z-policy.toml:2:1: policy.require_signature = true needs `policy.signers` to be set",
        ),
        (
            &*format!("[policy]\nsigners = [\"{OPERATOR}\"]\n"),
            "z-policy.toml:2:1: policy.signers needs `policy.require_signature` to be set",
        ),
        (
            &*format!(
                "[policy]\nrequire_signature = true\nsigners = [\"{OPERATOR}\"]\nfiles = [\"a\", \"b\"]\n"
            ),
            "z-policy.toml:4:1: policy.require_signature = true, with several policy.files, needs `policy.signature` to be set",
        ),
    ] {
        bus.configure(text);
        let refused = bus.run(&["policy", "check"]).expect_code(2);
        assert!(refused.stderr.contains(missing), "{missing}\n{refused:?}");
    }
    bus.require_signature();
    let unsigned = bus.run(&["policy", "check"]).expect_code(2);
    assert!(
        unsigned.stderr.contains("the policy is not signed: there is no ")
            && unsigned.stderr.contains("hint: `fedmsg policy sign"),
        "{unsigned:?}"
    );
    for refused in [
        &["publish", "log.message"][..],
        &["tail", "--count", "1"],
        &["policy", "explain", "--topic", "a.b", "--signer", OPERATOR],
        &["config", "check"],
    ] {
        let said = bus.run(refused).expect_code(2);
        assert!(said.stderr.contains("the policy is not signed"), "{refused:?}: {said:?}");
    }
    // A service's certificate does not do, nor an operator's who is not named.
    let shell =
        ["pki/services/shell-localhost.crt", "pki/services/shell-localhost.key"].map(|name| bus.path(name));
    let [certificate, key] = shell.each_ref().map(|path| path.to_str().unwrap());
    let refused = bus.run(&["policy", "sign", "--certificate", certificate, "--key", key]).expect_code(2);
    assert!(refused.stderr.contains("configSigning"), "{refused:?}");
    let issue = ["ca", "issue", "operator", "--env", "stg", "--host", "eve", "--profile", "operator"];
    bus.run(&issue).expect_code(0);
    let refused = bus.run(&["policy", "sign", "--operator", "eve"]).expect_code(2);
    assert!(refused.stderr.contains("may not sign this policy"), "{refused:?}");
    let nobody = bus.run(&["policy", "sign", "--operator", "nobody"]).expect_code(2);
    assert!(nobody.stderr.contains("hint: `fedmsg ca issue operator --host nobody"), "{nobody:?}");
    assert!(!bus.path("policy.toml.sig").exists(), "nothing was written");

    let signed = bus.run(&["policy", "sign", "--operator", "ada", "--days", "3"]).expect_code(0);
    assert!(signed.stdout.contains(&format!("signed by {OPERATOR}, serial 1, until ")), "{signed:?}");
    let verified = bus.json(&["policy", "verify"], 0);
    assert_eq!((&verified["signer"], &verified["serial"]), (&OPERATOR.into(), &1.into()));
    let checked = bus.run(&["policy", "check"]).expect_code(0);
    assert!(
        checked.stdout.contains(&format!("signature: signed by {OPERATOR}, serial 1, until ")),
        "{checked:?}"
    );
    let topic = "org.fedoraproject.dev.shell.log.message";
    let explain =
        ["policy", "explain", "--topic", topic, "--signer", "spiffe://dev.example/dev/shell/localhost"];
    assert_eq!(bus.json(&explain, 0)["signature"]["signer"], OPERATOR);
    bus.run(&["config", "check"]).expect_code(0);

    // One byte.
    bus.write_policy(&(bus.policy() + "\n"));
    let refused = bus.run(&["policy", "verify"]).expect_code(1);
    assert!(refused.stdout.contains("the signature is over other bytes"), "{refused:?}");
    bus.run(&["policy", "check"]).expect_code(2);
    bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(0);
    let late = SystemClock.now().plus_seconds(100 * 86_400).to_string();
    let expired = bus.run(&["policy", "verify", "--at", &late]).expect_code(1);
    assert!(expired.stdout.contains("the signature expired at"), "{expired:?}");
    let long = bus.run(&["policy", "sign", "--operator", "ada", "--days", "8"]).expect_code(2);
    assert!(long.stderr.contains("would outlive its certificate"), "{long:?}");
    bus.run(&["policy", "verify", "--signer", "spiffe://dev.example/prod/operator/bea"]).expect_code(1);
}

#[test]
fn signing_is_seen_before_it_is_required() {
    let bus = Bus::new();
    let unsigned = bus.run(&["policy", "check"]).expect_code(0);
    assert!(unsigned.stdout.contains("signature: not signed\n"), "{unsigned:?}");
    bus.configure(&format!("[policy]\nrequire_signature = false\nsigners = [\"{OPERATOR}\"]\n"));
    bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(0);
    assert_eq!(bus.json(&["policy", "check"], 0)["signature"]["ok"], true);
    bus.write_policy(&(bus.policy() + "\n"));
    let bad = bus.run(&["policy", "check"]).expect_code(0);
    assert!(bad.stdout.contains("signature: not good, and not required: "), "{bad:?}");
    assert_eq!(bus.json(&["policy", "status"], 0)["signature"]["ok"], false);
}

#[test]
fn a_running_consumer_says_which_policy_it_goes_by() {
    let bus = Bus::new();
    bus.require_signature();
    bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(0);
    let mut tail = bus.tail();
    let found = bus.status("a consumer", |found| found.len() == 2);
    assert_eq!((&found[0]["kind"], &found[0]["serial"]), (&"files".into(), &1.into()));
    assert_eq!(
        (&found[0]["signature"]["signer"], &found[0]["remembered"]["serial"]),
        (&OPERATOR.into(), &1.into())
    );
    assert_eq!((&found[1]["name"], &found[1]["goes_by"]), (&"one".into(), &"current".into()));
    assert_eq!((&found[1]["signed_by"], &found[1]["pid"]), (&OPERATOR.into(), &tail.id().into()));
    bus.run(&["policy", "status"]).expect_code(0);

    // A policy that nobody signed is in the files: the consumer goes by the last good one, and says so.
    let (signed, next) = (bus.policy(), bus.with_serial(2));
    bus.write_policy(&next);
    let found = bus.status("a refusal", |found| found.len() == 2 && !found[1]["refusal"].is_null());
    assert_eq!(
        (&found[0]["ok"], &found[1]["serial"], &found[1]["ok"]),
        (&false.into(), &1.into(), &false.into())
    );
    bus.run(&["policy", "status"]).expect_code(1);
    tail.error_line("the refusal", |line| {
        line.contains("a policy was refused; the last good one stays in force")
    });
    bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(0);
    bus.status("the next policy", |found| {
        found.len() == 2 && found[1]["serial"] == 2 && found[1]["ok"] == true
    });

    // What was in force is remembered over a restart, by the consumer and for the commands.
    signal("-TERM", &tail);
    tail.finish().expect_code(0);
    assert_eq!(bus.status("nobody", |found| found.len() == 1)[0]["ok"], true);
    bus.write_policy(&signed);
    let refused = bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(2);
    assert!(
        refused.stderr.contains("serial 1 is older than serial 2, which was in force")
            && refused.stderr.contains("hint: raise its serial"),
        "{refused:?}"
    );
    let out = bus.path("policy.toml.sig");
    let policy = bus.path("policy.toml");
    let args = [
        "policy",
        "sign",
        "--operator",
        "ada",
        "--out",
        out.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
    ];
    bus.run(&args).expect_code(0);
    for command in [&["tail", "--name", "one"][..], &["publish", "log.message"], &["policy", "check"]] {
        let refused = bus.run(command).expect_code(2);
        assert!(refused.stderr.contains("serial 1 is older than serial 2"), "{command:?}: {refused:?}");
    }
    assert!(bus.run(&["policy", "verify"]).expect_code(1).stdout.contains("serial 1 is older than serial 2"));

    // A consumer that is killed leaves its status, which says that it does not run.
    bus.write_policy(&next);
    bus.run(&["policy", "sign", "--operator", "ada"]).expect_code(0);
    bus.tail().kill();
    let found = bus.status("one that was killed", |found| found.len() == 2);
    assert_eq!((&found[1]["running"], &found[1]["goes_by"]), (&false.into(), &"ended".into()));
}

#[test]
fn hangup_reads_again_and_the_end_is_told_with_a_summary() {
    let bus = Bus::new();
    let mut tail = bus.tail();
    bus.write_policy(&bus.with_serial(2));
    signal("-HUP", &tail);
    tail.error_line("the reload", |line| line.contains("SIGHUP: the policy and the trust are read again"));
    bus.status("the next policy", |found| found.len() == 2 && found[1]["serial"] == 2);
    bus.run(&["publish", "log.message"]).expect_code(0);
    tail.line("a message", |line| line.contains("log.message"));
    assert!(tail.is_running());
    signal("-INT", &tail);
    let ended = tail.finish().expect_code(0);
    assert!(ended.stderr.lines().last().unwrap().starts_with("1 delivered"), "{ended:?}");
    let tail = bus.tail();
    signal("-TERM", &tail);
    let ended = tail.finish().expect_code(0);
    assert!(ended.stderr.lines().last().unwrap().starts_with("0 delivered"), "{ended:?}");
}

#[test]
fn a_candidate_is_compared_on_live_traffic() {
    let bus = Bus::new();
    let candidate = bus.with_serial(2).split("[[test]]").next().unwrap().to_owned()
        + "[[rule]]\nid = \"no-logs\"\neffect = \"deny\"\ntopics = [\"org.fedoraproject.*.shell.log.#\"]\n\
           publishers = [\"spiffe://dev.example/*/*/*\"]\n";
    std::fs::write(bus.path("candidate.toml"), candidate).unwrap();
    bus.configure("[policy]\ncandidate = [\"candidate.toml\"]\n");
    let mut tail = bus.tail();
    for _ in 0..2 {
        bus.run(&["publish", "log.message"]).expect_code(0);
        tail.line("a message", |line| line.contains("log.message"));
    }
    let said = tail.error_line("a difference", |line| line.contains("a shadow would decide otherwise"));
    assert!(said.contains("no-logs") && said.contains("serial 2"), "{said}");
    let found = bus.status("the counts", |found| found.len() == 2 && found[1]["differences"]["no-logs"] == 2);
    assert_eq!((&found[0]["candidate"]["serial"], &found[1]["candidate_serial"]), (&2.into(), &2.into()));
    assert_eq!(found[1]["delivered"], 2, "it decides nothing");
    signal("-TERM", &tail);
    let ended = tail.finish().expect_code(0);
    assert_eq!(ended.stderr.matches("a shadow would decide otherwise").count(), 1, "{ended:?}");

    std::fs::write(bus.path("candidate.toml"), "version = ").unwrap();
    let refused = bus.run(&["tail", "--count", "1"]).expect_code(2);
    assert!(
        refused.stderr.contains("candidate: ") && refused.stderr.contains("candidate.toml:1:"),
        "{refused:?}"
    );
}

/// The publisher refuses what the policy of this second would refuse, with the rule, before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_keeps_up_with_its_policy() {
    let bus = Bus::new();
    bus.configure("[publisher]\nsubscriber_wait = \"1ms\"\n");
    let config = Config::open(bus.path("")).unwrap();
    let publisher = Publisher::open(&config, "shell").await.unwrap();
    let msg = serde_json::json!({});
    let publish = || publisher.publish("log.message", &msg);
    let first = publish().await;
    assert!(first.is_ok(), "{first:?}");
    let closed = bus.with_serial(2).split("[[test]]").next().unwrap().to_owned()
        + "[[rule]]\nid = \"shell-is-closed\"\neffect = \"deny\"\ntopics = [\"#\"]\n\
           publishers = [\"spiffe://dev.example/*/shell/*\"]\n";
    bus.write_policy(&closed);
    publisher.reload_policy();
    let in_force = |serial| publisher.policy_status().unwrap().edition.serial == serial;
    crate::support::until("the next policy", || in_force(2).then_some(()));
    let Err(PublishError::Policy { denial, .. }) = publish().await else { panic!("it was published") };
    assert_eq!(denial.rule().map(|rule| rule.id()), Some("shell-is-closed"));
    // An older one does not come back, nor one that is broken.
    bus.write_policy(&bus.with_serial(1));
    crate::support::until("a refusal", || publisher.policy_status().unwrap().refusal);
    assert!(publish().await.is_err());
    let open = closed
        .split("[[rule]]\nid = \"shell-is-closed\"")
        .next()
        .unwrap()
        .replace("serial = 2", "serial = 3");
    bus.write_policy(&open);
    crate::support::until("the third policy", || in_force(3).then_some(()));
    let last = publish().await.unwrap();
    assert_eq!(last.seq, 2, "what was refused has no number");
}
