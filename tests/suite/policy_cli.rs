//! `fedmsg policy`, as a person or a script meets it; and the policies of its documentation, which have to be true.

use crate::support::{Finished, fedmsg, run};
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use std::path::PathBuf;

const POLICY: &str = r#"version = 1
serial = 7

[groups]
announcers = ["spiffe://fp.org/prod/announce/box01"]

[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.fp.{env}.{service}.#"]
publishers = ["spiffe://fp.org/*/*/*"]

[[rule]]
id = "announcements"
effect = "exclusive"
topics = ["org.fp.*.announce.#"]
publishers = ["@announcers"]
until = 2027-12-31T00:00:00Z

[[rule]]
id = "koji-signs"
effect = "allow"
topics = ["org.fp.prod.robosignatory.*"]
publishers = ["spiffe://fp.org/prod/koji/*"]

[[test]]
topic = "org.fp.prod.bodhi.update.comment"
signer = "spiffe://fp.org/stg/bodhi/app01"
expect = "deny"
"#;

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `fedmsg policy …`, run in the directory, so that messages name short paths.
    fn policy(&self, args: &[&str]) -> Finished {
        run(fedmsg().current_dir(self.directory.path()).arg("policy").args(args))
    }
}

#[test]
fn explain_names_the_step_and_the_rules() {
    let bench = Bench::new();
    bench.write("policy.toml", POLICY);
    let explain = |topic: &str, signer: &str| {
        let at = "2026-11-24T12:00:00Z";
        bench.policy(&[
            "explain",
            "--topic",
            topic,
            "--signer",
            signer,
            "--at",
            at,
            "--policy",
            "policy.toml",
        ])
    };
    let allowed =
        explain("org.fp.prod.bodhi.update.comment", "spiffe://fp.org/prod/bodhi/app01").expect_code(0);
    assert_eq!(
        allowed.stdout,
        "allowed at step 4: rule `own-subtree` (policy.toml:7:1) allows the topic to the signer\n\
        \x20 topic   org.fp.prod.bodhi.update.comment\n\
        \x20 signer  spiffe://fp.org/prod/bodhi/app01\n\
        \x20 at      2026-11-24T12:00:00Z\n\
        steps\n\
        \x20 1  is the topic well formed?                     yes\n\
        \x20 2  does a deny name the signer?                  none\n\
        \x20 3  does an exclusive not name the signer?        none\n\
        \x20 4  does an allow or exclusive name the signer?   own-subtree\n\
        \x20 5  the default                                   not reached\n\
        rules\n\
        \x20 + allow     own-subtree    policy.toml:7:1  selects it by `org.fp.{env}.{service}.#`, names the signer by `spiffe://fp.org/*/*/*`\n\
        \x20 - exclusive announcements  policy.toml:13:1  is about other topics\n\
        \x20 - allow     koji-signs     policy.toml:20:1  is about other topics\n"
    );
    let denied =
        explain("org.fp.prod.announce.release", "spiffe://fp.org/prod/announce/box02").expect_code(1);
    for said in [
        "denied at step 3: rule `announcements` (policy.toml:13:1) keeps the topic for publishers of whom the signer is none",
        "reason  policy-exclusive",
        "3  does an exclusive not name the signer?        announcements",
        "4  does an allow or exclusive name the signer?   not reached",
        "+ allow     own-subtree    policy.toml:7:1  selects it by `org.fp.{env}.{service}.#`, names the signer by",
    ] {
        assert!(denied.stdout.contains(said), "{said}\n{}", denied.stdout);
    }
    let malformed = explain("org..fp", "spiffe://fp.org/prod/bodhi/app01").expect_code(1);
    assert!(
        malformed.stdout.starts_with("denied at step 1: topic has an empty field at byte 4\n"),
        "{malformed:?}"
    );
    explain("org.fp.prod.bodhi.x", "bodhi").expect_code(2);
}

#[test]
fn explain_in_json() {
    let bench = Bench::new();
    bench.write("policy.toml", POLICY);
    let ask = |at: &str| {
        let topic =
            ["explain", "--topic", "org.fp.stg.announce.x", "--signer", "spiffe://fp.org/stg/announce/b"];
        let ended = bench.policy(&[&topic[..], &["--at", at, "--policy", "policy.toml", "--json"]].concat());
        (ended.code, serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap())
    };
    let (code, object) = ask("2027-12-30T23:59:59Z");
    assert_eq!(
        (code, &object["verdict"], &object["reason"]),
        (Some(1), &"denied".into(), &"policy-exclusive".into())
    );
    assert_eq!((&object["step"], &object["rule"]["id"]), (&3.into(), &"announcements".into()));
    assert_eq!((&object["rule"]["file"], &object["rule"]["line"]), (&"policy.toml".into(), &13.into()));
    let (code, object) = ask("2027-12-31T00:00:00Z");
    assert_eq!(
        (code, &object["verdict"], &object["reason"]),
        (Some(0), &"allowed".into(), &serde_json::Value::Null)
    );
    let standings: Vec<(&str, &str, bool)> = object["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            (r["id"].as_str().unwrap(), r["standing"].as_str().unwrap(), r["matched"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(
        standings,
        [
            ("announcements", "outside-its-times", false),
            ("koji-signs", "topic-differs", false),
            ("own-subtree", "names", true)
        ]
    );
}

#[test]
fn check_tells_no_policy_from_a_failing_test() {
    let bench = Bench::new();
    bench.write("good.toml", POLICY);
    let good = bench.policy(&["check", "--policy", "good.toml"]).expect_code(0);
    assert!(
        good.stdout.starts_with("good.toml: serial 7\nok: 3 rules, 1 group, 1 test passed; default deny; "),
        "{good:?}"
    );

    bench.write("failing.toml", &POLICY.replace("expect = \"deny\"", "expect = \"allow\""));
    let failing = bench.policy(&["check", "--policy", "failing.toml"]).expect_code(1);
    assert_eq!(
        failing.stderr,
        "error: failing.toml:26:1: test failed: `org.fp.prod.bodhi.update.comment` from \
         `spiffe://fp.org/stg/bodhi/app01` is denied by the default at step 5, expected allowed\n"
    );
    // Such a policy answers no question either.
    let topic = ["explain", "--topic", "a", "--signer", "cn:x", "--policy", "failing.toml"];
    assert!(bench.policy(&topic).expect_code(2).stdout.is_empty());

    bench.write(
        "bad.toml",
        "version = 1\nserial = 1\n[[rule]]\nid = \"r\"\neffect = \"allow\"\ntopics = []\n",
    );
    let bad = bench.policy(&["check", "--policy", "good.toml", "bad.toml"]).expect_code(2);
    assert_eq!(
        bad.stderr,
        "error: bad.toml:3:1: rule `r` has no `publishers`\n\
         error: bad.toml:6:10: rule `r`: `topics` is an empty list; a rule that is for nobody or nothing is left out\n"
    );
    let json = bench.policy(&["check", "--json", "--policy", "bad.toml"]).expect_code(2);
    assert_eq!(json.stdout.lines().count(), 2, "{json:?}");
    let missing = bench.policy(&["check", "--policy", "none.toml"]).expect_code(2);
    assert!(missing.stderr.starts_with("error: none.toml: No such file"), "{missing:?}");
}

#[test]
fn the_configuration_names_the_policy() {
    let bench = Bench::new();
    bench.write("bus/fedmsg.d/base.toml", "[policy]\nfiles = [\"policy.toml\"]\n");
    bench.write("bus/policy.toml", POLICY);
    bench.policy(&["check", "--config", "bus"]).expect_code(0);
    let none = bench.policy(&["check"]).expect_code(2);
    assert!(none.stderr.contains("hint: name one with --policy FILE"), "{none:?}");
}

/// Every policy in the documentation is one, and its tests pass; each recipe has some.
#[test]
fn the_documentation_is_true() {
    let document = include_str!("../../docs/policy.md");
    let blocks: Vec<&str> =
        document.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "the recipes have gone");
    for block in blocks {
        let policy = Policy::parse(block, "docs/policy.md", &Limits::STANDARD)
            .unwrap_or_else(|e| panic!("{e}\n{block}"));
        assert!(policy.test_count() > 0, "{block}");
    }
}

#[test]
fn policy_test_reports_like_a_runner() {
    let bench = Bench::new();
    bench.write("policy.toml", POLICY);
    let more = "version = 1\n[[test]]\ntopic = \"org.fp.prod.announce.release\"\n\
                signer = \"spiffe://fp.org/prod/announce/box02\"\nexpect = \"deny\"\nat = 2026-01-01T00:00:00Z\n";
    bench.write("more.toml", more);
    let alone = bench.policy(&["test", "--policy", "policy.toml"]).expect_code(0);
    assert_eq!(
        alone.stdout,
        "no test touches 3 of 3 rules:\n\
        \x20 exclusive announcements  policy.toml:13:1\n\
        \x20 allow     koji-signs  policy.toml:20:1\n\
        \x20 allow     own-subtree  policy.toml:7:1\n\
         ok: 1 passed, 0 failed; 0 of 3 rules touched\n"
    );
    let both = bench.policy(&["test", "more.toml", "--policy", "policy.toml"]).expect_code(0);
    assert!(both.stdout.ends_with("ok: 2 passed, 0 failed; 1 of 3 rules touched\n"), "{both:?}");
    bench.policy(&["test", "more.toml", "--policy", "policy.toml", "--require-coverage"]).expect_code(1);

    // Without `at` it has to hold when the exclusive has ended as well, and its service may publish then.
    bench.write("always.toml", &more.replace("at = 2026-01-01T00:00:00Z\n", ""));
    let failing = bench.policy(&["test", "always.toml", "--policy", "policy.toml"]).expect_code(1);
    assert!(
        failing.stdout.starts_with(
            "FAILED  always.toml:2:1: test failed: `org.fp.prod.announce.release` from \
             `spiffe://fp.org/prod/announce/box02` is allowed by rule `own-subtree` (policy.toml:7:1) at step 4 from \
             2027-12-31T00:00:00Z on, expected denied\n"
        ),
        "{failing:?}"
    );
    let json = bench.policy(&["test", "always.toml", "--policy", "policy.toml", "--json"]).expect_code(1);
    let objects: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&objects[1]["rule"], &objects[1]["found"]), (&"own-subtree".into(), &"allowed".into()));
    assert_eq!(
        (&objects[2]["failed"], &objects[2]["untouched"]),
        (&1.into(), &serde_json::json!(["koji-signs"]))
    );

    bench.write("no-test.toml", "version = 1\nserial = 1\n");
    let none = bench.policy(&["test", "no-test.toml", "--policy", "policy.toml"]).expect_code(2);
    assert!(
        none.stderr.contains("no-test.toml:2:1: the policy file has an unknown key `serial`"),
        "{none:?}"
    );
}

#[test]
fn lint_names_the_code_the_place_and_the_fix() {
    let bench = Bench::new();
    bench.write("policy.toml", POLICY);
    let lint = |more: &[&str]| {
        let args = ["lint", "--policy", "policy.toml", "--at", "2028-01-01T00:00:00Z"];
        bench.policy(&[&args[..], more].concat())
    };
    let found = lint(&[]).expect_code(0);
    assert_eq!(
        found.stdout,
        "policy.toml:13:1: warning rule-expired: rule `announcements` exists until 2027-12-31T00:00:00Z, which has passed \
         (it is 2028-01-01T00:00:00Z)\n\
         \x20 fix: leave it out, or extend `until`\n"
    );
    assert_eq!(found.stderr, "found: 0 errors, 1 warning, 0 of advice\n");
    lint(&["--deny", "warnings"]).expect_code(1);

    bench.write(
        "topics.txt",
        "org.fp.prod.bodhi.update.comment\n{\"topic\": \"org.fp.prod.robosignatory.x\"}\n",
    );
    let seen = lint(&["--messages", "topics.txt", "--json"]).expect_code(0);
    assert_eq!(seen.stdout.lines().count(), 1, "{seen:?}");
    bench.write(
        "topics.txt",
        "org.fp.prod.bodhi.update.comment\n{\"topic\": \"org.fp.prod.x\", \"verdict\": \"rejected\"}\n",
    );
    let unseen = lint(&["--messages", "topics.txt", "--json"]).expect_code(0);
    let last: serde_json::Value = serde_json::from_str(unseen.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["code"], &last["severity"], &last["line"]),
        (&"topic-never-seen".into(), &"warning".into(), &20.into())
    );

    bench.write("bad.toml", "version = 1\nserial = 1\n[groups]\nnone = []\n");
    let bad = bench.policy(&["lint", "--policy", "bad.toml"]).expect_code(1);
    assert!(bad.stdout.starts_with("bad.toml:4:8: error empty-list: "), "{bad:?}");
}

/// Whom the authority knows is asked of the authority.
#[test]
fn lint_holds_publishers_against_the_inventory() {
    let bench = Bench::new();
    let ca = |args: &[&str]| {
        run(fedmsg().current_dir(bench.directory.path()).args(["ca", "--config", "bus"]).args(args))
            .expect_code(0)
    };
    bench.write("bus/policy.toml", POLICY);
    bench.write("bus/fedmsg.d/base.toml", "[policy]\nfiles = [\"policy.toml\"]\n");
    ca(&["init", "--unencrypted", "--trust-domain", "fp.org"]);
    ca(&["issue", "announce", "--env", "prod", "--host", "box01"]);
    let codes = || {
        let found = bench.policy(&["lint", "--config", "bus", "--json"]);
        let lines = found.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|l| format!("{} {}", l["code"].as_str().unwrap(), l["line"])).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["publisher-never-issued 20"]);
    ca(&["revoke", "announce-box01"]);
    assert_eq!(codes(), ["publisher-revoked 7", "publisher-revoked 13", "publisher-never-issued 20"]);
}

#[test]
fn the_questions_without_a_message() {
    let bench = Bench::new();
    bench.write("policy.toml", POLICY);
    let ask = |args: &[&str]| {
        bench.policy(&[args, &["--at", "2026-11-24T12:00:00Z", "--policy", "policy.toml"]].concat())
    };
    let who = ask(&["who-can", "org.fp.prod.robosignatory.sign"]).expect_code(0);
    assert_eq!(
        who.stdout,
        "spiffe://fp.org/prod/koji/*  by rule `koji-signs` (policy.toml:20:1)\n\
         spiffe://fp.org/prod/robosignatory/*  by rule `own-subtree` (policy.toml:7:1)\n"
    );
    ask(&["who-can", "org.fp.stg.robosignatory2"]).expect_code(0);
    ask(&["who-can", "org.other.x"]).expect_code(1);
    ask(&["who-can", "org..x"]).expect_code(2);
    let what = ask(&["what-can", "spiffe://fp.org/prod/koji/h1"]).expect_code(0);
    assert_eq!(
        what.stdout,
        "org.fp.prod.koji.#  by rule `own-subtree` (policy.toml:7:1)\n\
         org.fp.prod.robosignatory.*  by rule `koji-signs` (policy.toml:20:1)\n"
    );
    ask(&["what-can", "cn:koji"]).expect_code(1);
    let table = ask(&["export"]).expect_code(0);
    assert_eq!(
        table.stdout,
        "org.fp.*.announce.#\tspiffe://fp.org/prod/announce/box01\n\
         org.fp.prod.robosignatory.*\tspiffe://fp.org/prod/koji/*\n\
         org.fp.prod.robosignatory.*\tspiffe://fp.org/prod/robosignatory/*\n\
         org.fp.{env}.{service}.#\tspiffe://fp.org/*/*/*\n"
    );
    let rows = ask(&["export", "--json"]).expect_code(0);
    let last: serde_json::Value = serde_json::from_str(rows.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["except"][0]["rule"], "announcements");
}

#[test]
fn explain_says_what_would_have_to_change() {
    let bench = Bench::new();
    let banned = "[[rule]]\nid = \"ban\"\neffect = \"deny\"\ntopics = [\"#\"]\npublishers = [\"cn:x\"]\n";
    bench.write("policy.toml", &format!("{POLICY}\n{banned}"));
    let changes = |topic: &str, signer: &str| {
        let args = ["explain", "--topic", topic, "--signer", signer, "--at", "2026-11-24T12:00:00Z"];
        let ended = bench.policy(&[&args[..], &["--policy", "policy.toml"]].concat());
        let (_, changes) = ended.stdout.split_once("to be allowed").unwrap_or_default();
        changes.to_owned()
    };
    assert_eq!(changes("org.fp.prod.bodhi.x", "spiffe://fp.org/prod/bodhi/app01"), "");
    assert_eq!(
        changes("org.fp.prod.announce.x", "cn:x"),
        ", all of\n\
         \x20 rule `announcements` (policy.toml:13:1) would have to name the signer\n\
         \x20 rule `ban` (policy.toml:31:1) would have to stop naming the signer by `cn:x`\n"
    );
    assert_eq!(
        changes("org.fp.prod.robosignatory.sign", "spiffe://fp.org/stg/robosignatory/a"),
        ", one of\n\
         \x20 rule `koji-signs` (policy.toml:20:1) would have to name the signer\n\
         \x20 for rule `own-subtree` (policy.toml:7:1), the signer's {env} would have to be `prod`; it is `stg`\n\
         \x20 a new rule: effect = \"allow\", topics = [\"org.fp.prod.robosignatory.sign\"], \
         publishers = [\"spiffe://fp.org/stg/robosignatory/a\"]\n"
    );
}

#[test]
fn a_fedmsg_deployment_is_taken_over() {
    let bench = Bench::new();
    bench.write(
        "fedmsg.json",
        r#"{"routing_nitpicky": true, "routing_policy": {"org.fp.prod.a.b": ["a-h1"]}}"#,
    );
    let imported = bench.policy(&["import", "--fedmsg", "fedmsg.json", "--serial", "4"]).expect_code(0);
    bench.write("imported.toml", &imported.stdout);
    let checked = bench.policy(&["check", "--policy", "imported.toml"]).expect_code(0);
    assert!(
        checked.stdout.contains("serial 4\nok: 1 rule, 0 groups, 1 test passed; default deny"),
        "{checked:?}"
    );

    bench.write("certs.yml", "fedmsg_certs:\n- service: bodhi\n  can_send:\n  - bodhi.update.edit\n");
    let args = ["import", "--can-send", "certs.yml", "--prefix", "org.fp.prod", "--host", "h1"];
    let imported = bench.policy(&args).expect_code(0);
    bench.write("can-send.toml", &imported.stdout);
    let who = bench
        .policy(&["who-can", "org.fp.prod.bodhi.update.edit", "--policy", "can-send.toml"])
        .expect_code(0);
    assert!(who.stdout.starts_with("cn:bodhi-h1  by rule `can-send-bodhi-h1`"), "{who:?}");

    bench.policy(&["import"]).expect_code(2);
    let bad = bench.policy(&["import", "--can-send", "certs.yml"]).expect_code(2);
    assert_eq!(
        bad.stderr,
        "error: certs.yml: entry 1 (service `bodhi`, and no --host was named) has no `name`\n"
    );
}

const VERDICT: &str = r#"{"verdict":"verified","topic":"org.fp.prod.bodhi.x","signer":"spiffe://fp.org/prod/bodhi/h1","timestamp":"2026-01-01T00:00:00Z"}"#;

#[test]
fn traffic_shows_what_a_new_policy_changes() {
    let bench = Bench::new();
    bench.write("old.toml", POLICY);
    bench.write("new.toml", &POLICY.replace("org.fp.{env}.{service}.#", "org.fp.{env}.{service}.y.#"));
    bench.write(
        "traffic.jsonl",
        &format!("{VERDICT}\n{VERDICT}\n{}\n", VERDICT.replace("verified", "rejected")),
    );
    let same = bench.policy(&["diff", "old.toml", "old.toml", "--messages", "traffic.jsonl"]).expect_code(0);
    assert_eq!(same.stdout, "");
    let diff = bench.policy(&["diff", "old.toml", "new.toml", "--messages", "traffic.jsonl"]).expect_code(1);
    assert_eq!(
        diff.stdout,
        "- org.fp.prod.bodhi.x from spiffe://fp.org/prod/bodhi/h1: denied, was allowed by rule `own-subtree` (old.toml:7:1); \
         now by the default  2 times, 2026-01-01T00:00:00Z to 2026-01-01T00:00:00Z\n"
    );
    assert!(
        diff.stderr.starts_with("of 2 messages 2 would be denied that are allowed, 0 allowed"),
        "{diff:?}"
    );
}

#[test]
fn a_policy_is_learned_from_what_verifies_and_not_from_hearsay() {
    let bench = Bench::new();
    bench.write("verdicts.jsonl", VERDICT);
    let hearsay = bench.policy(&["learn", "--messages", "verdicts.jsonl"]).expect_code(2);
    assert!(hearsay.stderr.contains("verdicts.jsonl:1: a verdict, not a message"), "{hearsay:?}");
    let believed =
        bench.policy(&["learn", "--messages", "verdicts.jsonl", "--believe-verdicts"]).expect_code(0);
    assert!(believed.stdout.contains("publishers = [\"spiffe://fp.org/prod/bodhi/*\"]"), "{believed:?}");

    // Bodies are verified: nothing is learned from one that nobody signed.
    let bus = bench.directory.path().join("bus");
    run(fedmsg().arg("init").arg(&bus)).expect_code(0);
    bench.write("bodies.jsonl", "{\"topic\":\"org.fp.prod.bodhi.x\",\"msg\":{}}\n");
    let forged = bench.policy(&["learn", "--messages", "bodies.jsonl", "--config", "bus"]).expect_code(2);
    assert!(forged.stderr.contains("bodies.jsonl: no verified message in it (1 refused)"), "{forged:?}");
}

/// Every command line in the documentation ends as it says there.
#[test]
fn the_documented_commands_end_as_documented() {
    let document = include_str!("../../docs/policy.md");
    let blocks = |kind: &str| -> Vec<&str> {
        let opening = format!("```{kind}\n");
        document.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
    };
    let bench = Bench::new();
    bench.write("policy.toml", blocks("toml")[0]);
    bench.write("traffic.jsonl", blocks("json")[0]);
    bench.write("fedmsg.json", blocks("json")[1]);
    bench.write("certs.yml", blocks("yaml")[0]);
    let mut ran = 0;
    for line in blocks("console").into_iter().flat_map(str::lines) {
        let (command, end) = line.split_once("# exit ").unwrap();
        let args: Vec<&str> = command.strip_prefix("$ fedmsg ").unwrap().split_whitespace().collect();
        let code = end.split(':').next().unwrap().trim().parse().unwrap();
        run(fedmsg().current_dir(bench.directory.path()).args(&args)).expect_code(code);
        ran += 1;
        // The files that the recipes say are in the bus, as soon as there is one.
        if args.contains(&"init") {
            let [signed, candidate] = blocks("conf")[..] else { panic!("the configurations have gone") };
            bench.write("bus/fedmsg.d/z-signed.toml", signed);
            bench.write("bus/fedmsg.d/z-candidate.toml", candidate);
            let policy = blocks("toml").into_iter().find(|block| block.contains("no-drafts")).unwrap();
            bench.write("bus/candidate.toml", policy);
        }
    }
    assert!(ran >= 27, "the commands have gone");
}
