//! What a stranger meets: hints that can be run as they stand, ends that are clean, documents that are true.

use crate::support::{Child, fedmsg, run, temp_dir};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn without_a_configuration_each_command_says_what_it_lacks() {
    let directory = temp_dir();
    for (arguments, lacks) in [
        (&["tail"][..], "policy.files"),
        (&["tail", "--unverified"], "endpoints"),
        (&["publish", "a.b"], "publisher.service"),
        (&["publish", "a.b", "--service", "shell"], "publisher.host"),
        (&["verify", "-"], "trust.anchors"),
        (&["policy", "check"], "policy"),
        (&["ca", "list"], "no authority at pki"),
    ] {
        let ended = run(fedmsg().current_dir(directory.path()).args(arguments)).expect_code(2);
        let (first, rest) = ended.stderr.split_once('\n').unwrap();
        assert!(first.starts_with("error: ") && first.contains(lacks), "{arguments:?}: {first}");
        assert!(rest.starts_with("hint: ") && ended.stdout.is_empty(), "{arguments:?}: {rest}");
    }
}

#[test]
fn without_a_policy_nothing_is_verified() {
    let directory = temp_dir();
    let within = || {
        let mut command = fedmsg();
        command.current_dir(directory.path()).args(["--config", "bus"]);
        command
    };
    run(fedmsg().current_dir(directory.path()).args(["init", "bus"])).expect_code(0);
    let base = directory.path().join("bus/fedmsg.d/base.toml");
    let text = fs::read_to_string(&base).unwrap().replace("\"policy.toml\"", "");
    fs::write(&base, text).unwrap();
    for arguments in [&["tail"][..], &["verify", "-"]] {
        let ended = run(within().args(arguments)).expect_code(2);
        assert!(ended.stderr.contains("no policy is configured (policy.files)"), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    }
}

/// A hint is for copying: it names the bus that the command was about, quoted.
#[test]
fn a_hint_can_be_run_as_it_stands() {
    let directory = temp_dir();
    let within = |arguments: &[&str]| {
        let mut command = fedmsg();
        command.current_dir(directory.path()).args(["--config", "my b\u{fc}s"]).args(arguments);
        run(&mut command)
    };
    run(fedmsg().current_dir(directory.path()).args(["init", "my b\u{fc}s"])).expect_code(0);
    let services = directory.path().join("my b\u{fc}s/pki/services");

    let nobody = within(&["publish", "a.b", "--wait", "0s"]).expect_code(0);
    assert!(nobody.stderr.contains("within 0 s"), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("`fedmsg --config 'my b\u{fc}s' tail`"), "{}", nobody.stderr);

    let key = services.join("shell-localhost.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = within(&["publish", "a.b"]).expect_code(2);
    assert!(open.stderr.contains("hint: chmod 600 "), "{}", open.stderr);

    fs::remove_file(key).unwrap();
    fs::remove_file(services.join("shell-localhost.crt")).unwrap();
    let missing = within(&["publish", "a.b"]).expect_code(2);
    let hint = missing.stderr.split('`').nth(1).unwrap();
    let binary = env!("CARGO_BIN_EXE_fedmsg");
    let command = hint.replacen("fedmsg", &format!("'{binary}'"), 1);
    run(Command::new("sh").current_dir(directory.path()).args(["-c", &command])).expect_code(0);
    within(&["publish", "a.b", "--wait", "0s"]).expect_code(0);
}

#[test]
fn tail_says_that_it_is_at_work_and_ends_when_it_is_asked_to() {
    let directory = temp_dir();
    run(fedmsg().current_dir(directory.path()).args(["init", "bus"])).expect_code(0);
    for signal in ["TERM", "INT"] {
        let mut tail = Child::spawn(fedmsg().current_dir(directory.path()).args(["--config", "bus", "tail"]));
        let said = tail.error_line("a sign of life", |_| true);
        assert_eq!(said, "watching # at 8 endpoints; Ctrl-C ends it");
        run(Command::new("kill").args(["-s", signal, &tail.id().to_string()])).expect_code(0);
        let ended = tail.finish().expect_code(0);
        assert!(ended.stderr.ends_with("0 delivered, 0 refused\n"), "{}", ended.stderr);
    }
}

/// The code spans of our documents that look like paths of the repository are such.
#[test]
fn what_the_documents_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in
        ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/operating-a-ca.md", "docs/threats.md"]
    {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let tops = ["src/", "docs/", "tests/", "scripts/", "examples/", "fuzz/", "benches/", "fedmsg.d/"];
        for span in text.split('`').skip(1).step_by(2) {
            let is_path = tops.iter().any(|top| span.starts_with(top)) && !span.contains(['{', ' ', '*']);
            assert!(!is_path || root.join(span).exists(), "{document}: {span} is not there");
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_path = !link.is_empty() && !link.contains(':');
            let from = root.join(document);
            assert!(
                !is_path || from.parent().unwrap().join(link).exists(),
                "{document}: {link} is not there"
            );
        }
    }
}
