//! Writes `tests/vectors/{trust,wire,refused}` and the seeds of the fuzz targets that read them, with new keys, which
//! are gone when it ends:
//!
//! ```text
//! cargo test --test suite write_vectors -- --ignored
//! ```
//!
//! Each file is written whole; the tests that read them say whether they are right.

mod chains;
mod later;
mod messages;
mod wire;
mod world;

use super::case::{Case, LegacyMessages, directory};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use world::{Frames, World, encoded};

#[test]
#[ignore = "writes the vectors anew; needs openssl"]
fn write_vectors() {
    let mut world = World::new();
    let mut sheet = Sheet::default();
    messages::write(&world, &mut sheet);
    chains::write(&mut world, &mut sheet);
    later::write(&world, &mut sheet);

    let refused = emptied("refused");
    for (name, case) in &sheet.cases {
        write_json(&refused.join(format!("{name}.json")), case);
    }
    wire::write(&mut world);
}

/// What the messages are judged by.
fn write_trust(world: &World) {
    let trust = emptied("trust");
    for (name, text) in &world.files {
        fs::write(trust.join(name), text).unwrap();
    }
    fs::write(trust.join("policy.toml"), POLICY).unwrap();
    write_json(&trust.join("trust.json"), &world.trust);
}

const POLICY: &str = r##"# Who may publish what in the vectors.
version = 1
serial = 1

[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.example.{env}.{service}.#"]
publishers = ["spiffe://example.org/*/*/*"]

[[rule]]
id = "announcements"
effect = "exclusive"
topics = ["org.example.*.announce.#"]
publishers = ["spiffe://example.org/prod/announce/box01"]

[[rule]]
id = "no-test-host"
effect = "deny"
topics = ["org.example.prod.#"]
publishers = ["spiffe://example.org/prod/bodhi/test01"]

[[rule]]
id = "legacy-shell"
effect = "allow"
topics = ["org.example.prod.shell.#"]
publishers = ["cn:shell-app01.example.org"]
"##;

/// The cases that were made, by name.
#[derive(Default)]
struct Sheet {
    cases: BTreeMap<String, Case>,
}

impl Sheet {
    /// A message that is refused at noon of the vectors' day under the standard trust, and the frames that are not.
    fn frames(&mut self, name: &str, fault: &str, refused: &Frames, mended: &Frames) {
        let mended = serde_json::json!({ "frames": encoded(mended) });
        self.put(name, fault, refused, mended, |_| {});
    }

    /// A case with anything changed; `mended` has the fields that would mend it.
    fn put(
        &mut self,
        name: &str,
        fault: &str,
        refused: &Frames,
        mended: serde_json::Value,
        change: impl FnOnce(&mut Case),
    ) {
        let serde_json::Value::Object(mended) = mended else { panic!("{name}: no object") };
        let mut case = Case {
            code: name.split_once("--").map_or(name, |(code, _)| code).to_owned(),
            fault: fault.to_owned(),
            at: crate::pki_validation::forge::now().to_string(),
            trust: Some("standard".to_owned()),
            legacy: LegacyMessages::Refused,
            limits: BTreeMap::new(),
            window: None,
            before: Vec::new(),
            frames: encoded(refused),
            mended,
        };
        change(&mut case);
        assert!(self.cases.insert(name.to_owned(), case).is_none(), "{name} twice");
    }
}

/// The directory without its JSON and PEM files: a vector that is no longer written is no longer there.
fn emptied(name: &str) -> PathBuf {
    let directory = directory(name);
    fs::create_dir_all(&directory).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| ["json", "crt", "crl"].iter().any(|known| e == *known)) {
            fs::remove_file(path).unwrap();
        }
    }
    directory
}

fn write_json(path: &Path, value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    fs::write(path, text).unwrap();
}
