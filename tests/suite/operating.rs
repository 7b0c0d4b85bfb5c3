//! `docs/operating-a-ca.md`: each of its blocks is run, from top to bottom, as an operator would.

use crate::support::{Child, run, temp_dir};
use std::os::unix::fs::symlink;
use std::process::Command;

const DOCUMENT: &str = include_str!("../../docs/operating-a-ca.md");

fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    DOCUMENT.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_recipe_works() {
    let temp = temp_dir();
    let programs = temp.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_fedmsg"), programs.join("fedmsg")).unwrap();
    let work = temp.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let recipes = blocks("sh");
    assert!(recipes.len() >= 18, "the recipes have gone: {}", recipes.len());

    // The units' commands are run as they stand, in the place that they are about, once there is an authority.
    let unit_commands: String = blocks("ini")
        .iter()
        .flat_map(|unit| unit.lines())
        .filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/"))
        .map(|line| {
            line.replace("/var/lib/fedmsg-ca", "ca").replace("%d/issuing", "ca/issuing.passphrase") + "\n"
        })
        .collect();
    assert_eq!(unit_commands.lines().count(), 3);
    let before_timers = DOCUMENT.split("### Timers").next().unwrap().matches("```sh\n").count();
    let mut script = String::from("set -euo pipefail\n");
    for (number, block) in recipes.iter().enumerate() {
        if number == before_timers {
            script += &unit_commands;
        }
        script += &format!("echo 'block {number}' >&2\n{block}");
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.current_dir(&work).env("PATH", path).env("HOME", "/nonexistent").args(["-c", &script]);
    let mut operator = Child::spawn(&mut shell);
    operator.close_input();
    // Each block has the whole patience.
    for number in 0..recipes.len() {
        operator.error_line(&format!("block {number}"), |line| line == format!("block {number}"));
    }
    operator.finish().expect_code(0);

    // In the end, what the consumers have accepts the one service that went through all of it, and not its earlier key.
    let mut verify = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
    verify.current_dir(&work).args(["cert", "verify", "--ca", "public/root.crt", "--crl", "public/root.crl"]);
    verify.args(["--crl", "public/issuing.crl", "--intermediate", "public/issuing.crt"]);
    run(verify.arg("app01/pki/services/bodhi-app01.crt")).expect_code(0);
    assert!(!work.join("ca/pki/offline").exists() && !work.join("vault/pki/issuing.key").exists());
}
