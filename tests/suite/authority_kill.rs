//! `ca` commands killed at random points: no certificate and no revocation that was acknowledged is lost, no serial number is
//! given twice, and the next command works.

use crate::support::{fedmsg, run, temp_dir};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn killed_commands_lose_nothing() {
    kill(25);
}

#[test]
#[ignore = "a minute: cargo test --test suite -- --ignored killed"]
fn five_hundred_killed_commands_lose_nothing() {
    kill(500);
}

/// Rollovers, begun and dropped: what is killed is undone or finished, and a service is served all the time.
#[test]
fn killed_rollovers_leave_an_authority_that_works() {
    let temp = temp_dir();
    let directory = temp.path();
    run(&mut ca(directory, &["init", "--unencrypted"])).expect_code(0);
    let begun = Instant::now();
    run(&mut ca(directory, &["issue", "first"])).expect_code(0);
    let usual = begun.elapsed();
    let status = || objects(&run(&mut ca(directory, &["status", "--all"])).expect_code(0).stdout);
    let (mut killed, mut steps) = (0, 0);
    for _ in 0..20 {
        let known = status();
        let prepared = known.iter().find(|authority| authority["stage"] == "prepared");
        let level = if random().is_multiple_of(2) { "root" } else { "issuing" };
        let arguments: Vec<String> = match prepared {
            // With a root goes the intermediate below it.
            Some(first) => {
                let (level, generation) = (first["authority"].as_str().unwrap(), &first["generation"]);
                format!("rollover retire --level {level} --generation {generation}")
            }
            None => format!("rollover prepare --level {level}"),
        }
        .split(' ')
        .map(str::to_owned)
        .collect();
        let mut child = ca(directory, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The point of time is what is tested here: nothing is waited for.
        std::thread::sleep(usual.mul_f64(f64::from(random() % 3_000) / 1_000.0));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert!(ended.success() || ended.code().is_none(), "{arguments:?} failed by itself");
        killed += usize::from(!ended.success());
        let after = status();
        steps += usize::from(after != known);
        let active = |authority: &&Value| authority["stage"] == "active";
        assert_eq!(after.iter().filter(active).count(), 2);
        let keys = after.iter().filter(|authority| authority["stage"] != "retired");
        assert!(
            keys.into_iter()
                .all(|authority| authority["has_key"] == true && !authority["crl_number"].is_null())
        );
        let checked = objects(&run(&mut ca(directory, &["check"])).stdout);
        let faulty: Vec<_> = checked.iter().filter(|finding| finding["health"] == "faulty").collect();
        assert!(faulty.is_empty(), "{faulty:?}");
        assert!(checked.iter().any(|f| f["subject"] == "service" && f["health"] == "good"), "{checked:?}");
    }
    run(&mut ca(directory, &["log", "verify"])).expect_code(0);
    eprintln!("{killed} of 20 were killed, {steps} steps were made");
}

fn ca(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = fedmsg();
    command.arg("--config").arg(directory).args(["--json", "ca"]).args(arguments);
    command
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A few bits that differ from run to run: where the commands are killed need not be the same twice.
fn random() -> u32 {
    u32::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..4].try_into().unwrap())
}

fn kill(commands: usize) {
    let temp = temp_dir();
    let directory = temp.path();
    run(&mut ca(directory, &["init", "--unencrypted"])).expect_code(0);
    let begun = Instant::now();
    run(&mut ca(directory, &["issue", "first"])).expect_code(0);
    let usual = begun.elapsed();
    let (mut issued, mut revoked, mut killed) = (BTreeSet::<String>::new(), BTreeSet::new(), 0);
    for number in 0..commands {
        let (service, other) = (format!("service{number}"), format!("service{number}/other"));
        let target = issued.iter().nth(usize::try_from(random()).unwrap() % issued.len().max(1)).cloned();
        let arguments: Vec<&str> = match (random() % 4, &target) {
            (0, _) => vec!["crl"],
            (1, Some(serial)) => vec!["revoke", serial],
            (2, _) => vec!["issue", &service, &other],
            (_, _) => vec!["issue", &service],
        };
        let mut child = ca(directory, &arguments);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // The point of time is what is tested here: nothing is waited for.
        std::thread::sleep(
            usual.mul_f64(f64::from(random() % 1_200) / 1_000.0).max(Duration::from_millis(1)),
        );
        child.kill().unwrap();
        let ended = child.wait_with_output().unwrap();
        if ended.status.success() {
            match arguments[..] {
                ["issue", ref services @ ..] => {
                    let told = objects(&String::from_utf8(ended.stdout).unwrap());
                    assert_eq!(told.len(), services.len());
                    issued.extend(told.iter().map(|one| one["serial"].as_str().unwrap().to_owned()));
                }
                ["revoke", serial] => drop(revoked.insert(serial.to_owned())),
                _ => {}
            }
        } else {
            assert_eq!(ended.status.code(), None, "{arguments:?} failed by itself");
            killed += 1;
        }
        let listed = objects(&run(&mut ca(directory, &["list"])).expect_code(0).stdout);
        let serial = |entry: &Value| entry["serial"].as_str().unwrap().to_owned();
        let serials: BTreeSet<String> = listed.iter().map(serial).collect();
        assert_eq!(serials.len(), listed.len(), "no serial number twice");
        assert!(issued.is_subset(&serials), "what was given out is in the inventory");
        let are_revoked = listed.iter().filter(|entry| entry["state"] == "revoked").map(serial);
        assert!(revoked.is_subset(&are_revoked.collect()), "what was revoked stays so");
    }
    run(&mut ca(directory, &["log", "verify"])).expect_code(0);
    run(&mut ca(directory, &["check"])).expect_code(0);
    eprintln!("{killed} of {commands} were killed");
}
