//! `fedmsg verify`, where its input or its reader is not what it should be.

use crate::support::{Finished, fedmsg, run, temp_dir};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A message that Python fedmsg signed.
fn legacy() -> String {
    let vectors = std::fs::read_to_string(vector("valid.jsonl")).unwrap();
    let line: Value = serde_json::from_str(vectors.lines().next().unwrap()).unwrap();
    line["wire"].as_str().unwrap().trim().to_owned()
}

fn vector(name: &str) -> String {
    format!("{}/tests/vectors/legacy/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn command(file: &Path) -> Command {
    let mut command = fedmsg();
    command.args(["--json", "verify", "--at", "message", "--legacy-ca", &vector("ca.crt")]);
    command.args(["--legacy-crl", &vector("crl.pem")]).arg(file);
    command.current_dir(file.parent().unwrap());
    command
}

fn verify(text: &str) -> Finished {
    let directory = temp_dir();
    let file = directory.path().join("messages");
    std::fs::write(&file, text).unwrap();
    run(&mut command(&file))
}

#[test]
fn a_line_is_one_message_and_nothing_after_it() {
    let good = legacy();
    verify(&format!("  {good} \r\n")).expect_code(0);
    let beyond = format!("{good}{}more", " ".repeat(2 << 20));
    let refused = verify(&beyond).expect_code(1);
    assert!(refused.stdout.contains("body-too-large"), "{}", refused.stdout);
}

/// The old format leaves white space free, so that whoever passes a message on may put some in.
#[test]
fn one_verdict_is_one_line() {
    let spaced = legacy().replacen("\"msg\":{", "\"msg\":{\r", 1);
    assert!(spaced.contains('\r'));
    let verified = verify(&spaced).expect_code(0);
    assert!(!verified.stdout.contains('\r'), "{:?}", verified.stdout);
}

/// `fedmsg verify | grep -q`: the code is about the messages, whoever still reads.
#[test]
fn a_reader_that_goes_away_makes_nothing_authentic() {
    let directory = temp_dir();
    let file = directory.path().join("messages");
    let code = |text: String| {
        std::fs::write(&file, text).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command(&file).stdout(writer).output().unwrap().status.code()
    };
    assert_eq!(code(legacy()), Some(0));
    assert_eq!(code(format!("{}\n{{}}\n", legacy())), Some(1));
}
