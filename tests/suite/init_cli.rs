//! `fedmsg init`: what it makes works, and it makes it whole or not at all.

use crate::support::{fedmsg, run, temp_dir};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn what_is_made_is_well_and_its_policy_confines_each_service() {
    let place = temp_dir();
    let made = run(fedmsg().current_dir(&place).args(["init", "my bus"])).expect_code(0);
    let next: Vec<&str> = made.stdout.lines().collect();
    assert_eq!(
        next,
        [
            "fedmsg --config 'my bus' tail",
            "fedmsg --config 'my bus' publish log.message --body '{\"hello\":\"world\"}'"
        ]
    );
    let within = |args: &[&str]| run(fedmsg().current_dir(&place).args(["--config", "my bus"]).args(args));
    let checked = within(&["config", "check"]).expect_code(0);
    assert!(checked.stderr.contains("0 warnings"), "{checked:?}");
    // Everything that ends, with its numbers: two authorities, two lists, two services.
    let checked = within(&["--json", "config", "check"]).expect_code(0);
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    let kinds: Vec<&str> =
        checked["expiry"].as_array().unwrap().iter().map(|life| life["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["anchor", "intermediate", "crl", "crl", "certificate", "certificate"]);
    let leaf = &checked["expiry"][5];
    assert!(leaf["file"].as_str().unwrap().ends_with("wiki-localhost.crt"), "{leaf}");
    let (ends_in, due_in) = (leaf["ends_in"].as_i64().unwrap(), leaf["due_in"].as_i64().unwrap());
    assert!((89 * 86_400..=90 * 86_400).contains(&ends_in) && due_in < 60 * 86_400, "{leaf}");
    let explain = |topic: &str, signer: &str| {
        let signer = format!("spiffe://dev.example/dev/{signer}/localhost");
        within(&["policy", "explain", "--topic", topic, "--signer", &signer]).code
    };
    assert_eq!(explain("org.fedoraproject.dev.shell.log.message", "shell"), Some(0));
    assert_eq!(explain("org.fedoraproject.dev.wiki.article.edit", "wiki"), Some(0));
    assert_eq!(explain("org.fedoraproject.dev.shell.log.message", "wiki"), Some(1));
    assert_eq!(explain("org.fedoraproject.prod.shell.log.message", "shell"), Some(1));

    let directory = place.path().join("my bus");
    let keys: Vec<PathBuf> = files_below(&directory)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "key"))
        .collect();
    assert!(keys.len() >= 4, "root, issuing and two services: {keys:?}");
    for key in keys {
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    assert!(fs::read_to_string(directory.join(".gitignore")).unwrap().lines().any(|line| line == "*.key"));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_revoked_service_is_noticed_before_it_publishes() {
    let place = temp_dir();
    let within = |args: &[&str]| run(fedmsg().current_dir(&place).args(args));
    within(&["init", "bus"]).expect_code(0);
    within(&["--config", "bus", "ca", "revoke", "shell-localhost"]);
    let checked = within(&["--config", "bus", "config", "check"]).expect_code(2);
    assert!(checked.stderr.contains("certificate-revoked"), "{checked:?}");
}

#[test]
fn what_is_there_is_never_touched() {
    let place = temp_dir();
    let init = |name: &str| run(fedmsg().current_dir(&place).args(["init", name]));
    fs::create_dir_all(place.path().join("full/pki")).unwrap();
    fs::write(place.path().join("file"), "mine").unwrap();
    for name in ["full", "file"] {
        let refused = init(name).expect_code(2);
        assert!(refused.stderr.contains(&format!("error: {name} is there and not empty")), "{refused:?}");
        assert!(refused.stderr.contains("hint: "), "{refused:?}");
    }
    assert_eq!(files_below(place.path()), [place.path().join("file")]);
    fs::create_dir(place.path().join("empty")).unwrap();
    init("empty").expect_code(0);
    init("deep/er/bus").expect_code(0);
    init("empty").expect_code(2);
}

#[test]
fn two_buses_of_one_machine_are_apart() {
    let place = temp_dir();
    let first_port = |name: &str| {
        let made = run(fedmsg().current_dir(&place).args(["--json", "init", name])).expect_code(0);
        let object: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(object["services"][0], "shell");
        object["first_port"].as_u64().unwrap()
    };
    // Two of 1,500 places can be the same by chance, three hardly.
    let first = first_port("one");
    assert!(first != first_port("two") || first != first_port("three"));
}
