//! The layers of `docs/architecture.md`: a module uses its own layer and lower ones; the lower ones are pure; what is
//! dangerous or heavy is named in few places; files stay small.

mod source;

use source::{Path, paths, test_modules};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Each top-level module and its layer. A module that is not here fails the test: decide where it belongs.
const LAYERS: &[(&str, u8)] = &[
    // L0, words: what can be said, and no more.
    ("endpoint", 0),
    ("identity", 0),
    ("json", 0),
    ("limits", 0),
    ("position", 0),
    ("reason", 0),
    ("time", 0),
    ("topic", 0),
    // L1, messages: bytes and types, no trust.
    ("message", 1),
    // L2, trust: pure.
    ("freshness", 2),
    ("merkle", 2),
    ("pki", 2),
    ("policy", 2),
    ("sign", 2),
    ("stale", 2),
    ("verify", 2),
    // L3, keeping: files and databases.
    ("archive", 3),
    ("config", 3),
    ("development", 3),
    ("store", 3),
    // L4, the bus: frames, not trust.
    ("bus", 4),
    // L5, daemons.
    ("daemon", 5),
    // L6, the command.
    ("cli", 6),
    ("demo", 6),
    ("lib", 6),
    ("main", 6),
];

/// The last pure layer: no clock, no file, no socket, no runtime.
const PURE: u8 = 2;

/// Crates that may be named only in some places: directories (with a slash) or files under `src`.
const CRATES: &[(&str, &[&str])] = &[
    // Trust: what checks and makes signatures and certificates, where it can be read as a whole.
    ("pkcs8", &["pki/key/"]),
    ("rcgen", &["pki/"]),
    ("ring", &["freshness", "merkle.rs", "pki/", "policy/", "sign", "verify"]),
    ("rustls_pemfile", &["pki/pem.rs"]),
    ("rustls_pki_types", &["pki/"]),
    ("webpki", &["pki/"]),
    ("x509_parser", &["pki/"]),
    // Engines, each behind a trait or a type of ours.
    ("rusqlite", &["archive/", "store/"]),
    ("zeromq", &["bus/"]),
    // The terminal.
    ("anstream", &["cli/"]),
    ("anstyle", &["cli/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("rpassword", &["cli/"]),
];

/// What reaches out of a pure module: consecutive segments of a path, and what they reach.
const EFFECTS: &[(&[&str], &str)] = &[
    (&["Instant", "now"], "the clock"),
    (&["SystemTime", "now"], "the clock"),
    (&["std", "env"], "the environment"),
    (&["std", "fs"], "files"),
    (&["std", "net", "TcpListener"], "sockets"),
    (&["std", "net", "TcpStream"], "sockets"),
    (&["std", "net", "ToSocketAddrs"], "name resolution"),
    (&["std", "net", "UdpSocket"], "sockets"),
    (&["std", "os"], "the operating system"),
    (&["std", "process"], "processes"),
    (&["std", "thread"], "threads"),
    (&["tempfile"], "files"),
    (&["tokio"], "a runtime"),
];

/// The one place below the daemons that reads the machine's clock: `time::SystemClock`, for callers that want it.
const CLOCK: &str = "time.rs";

const MOST_LINES: usize = 800;
const MEDIAN_LINES: usize = 350;

/// What the rules find in one file. `name` is its path under `src`; `is_test` says that it is built for tests only.
fn findings(name: &str, text: &str, is_test: bool) -> Vec<String> {
    let Some(own) = layer_of(name) else {
        return vec![format!(
            "src/{name}: its module is in no layer: add it to LAYERS in tests/suite/layers"
        )];
    };
    let mut found = Vec::new();
    for path in paths(text, true) {
        if let Some((module, layer)) = used_module(name, &path)
            && layer > own
        {
            found.push(format!("src/{name}:{}: layer {own} uses `{module}` of layer {layer}", path.line));
        }
    }
    if is_test {
        return found;
    }
    for path in paths(text, false) {
        for (krate, places) in CRATES {
            if path.starts_with(&[krate]) && !places.iter().any(|place| name.starts_with(place)) {
                found.push(format!(
                    "src/{name}:{}: `{krate}` is named only in {}",
                    path.line,
                    places.join(", ")
                ));
            }
        }
        for (segments, reached) in EFFECTS {
            if own <= PURE && path.contains(segments) && !(name == CLOCK && *reached == "the clock") {
                let segments = segments.join("::");
                found.push(format!(
                    "src/{name}:{}: `{segments}` reaches {reached}; layer {own} is pure",
                    path.line
                ));
            }
        }
    }
    found
}

fn layer_of(name: &str) -> Option<u8> {
    let module = name.split(['/', '.']).next()?;
    LAYERS.iter().find(|(n, _)| *n == module).map(|(_, layer)| *layer)
}

/// The top-level module that a path leads to: through `crate`, or through enough `super`s.
fn used_module(name: &str, path: &Path) -> Option<(&'static str, u8)> {
    let depth = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let supers = path.segments.iter().take_while(|s| *s == "super").count();
    let module = match path.segments[0].as_str() {
        "crate" | "fedmsg" => path.segments.get(1)?,
        "super" if supers >= depth => path.segments.get(supers)?,
        _ => return None,
    };
    LAYERS.iter().find(|(n, _)| n == module).copied()
}

/// Every source file: its path under `src`, its text, and whether it is built for tests only.
fn sources() -> Vec<(String, String, bool)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = BTreeMap::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("under src").to_string_lossy().into_owned();
                texts.insert(name, std::fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
    let mut tests = Vec::new();
    for (name, text) in &texts {
        let base = match name.as_str() {
            "lib.rs" | "main.rs" => String::new(),
            other => other.trim_end_matches(".rs").trim_end_matches("/mod").to_owned() + "/",
        };
        tests.extend(
            test_modules(text).iter().flat_map(|m| [format!("{base}{m}.rs"), format!("{base}{m}/mod.rs")]),
        );
    }
    texts.into_iter().map(|(name, text)| (name.clone(), text, tests.contains(&name))).collect()
}

#[test]
fn the_sources_keep_the_layers() {
    let found: Vec<String> = sources().iter().flat_map(|(n, text, test)| findings(n, text, *test)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_sources_stay_small() {
    let mut sizes: Vec<(usize, String)> =
        sources().into_iter().map(|(name, text, _)| (text.lines().count(), name)).collect();
    sizes.sort();
    let (most, name) = sizes.last().expect("sources");
    assert!(*most <= MOST_LINES, "src/{name} has {most} lines; split it");
    let (median, _) = &sizes[sizes.len() / 2];
    assert!(*median < MEDIAN_LINES, "the median file has {median} lines");
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest: toml::Table = include_str!("../../../Cargo.toml").parse().expect("Cargo.toml");
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_rules_can_fail() {
    for (name, text, expected) in [
        ("topic.rs", "use crate::limits::Limits;", ""),
        (
            "topic.rs",
            "\nuse crate::{limits::Limits, message::Draft};",
            "src/topic.rs:2: layer 0 uses `message` of layer 1",
        ),
        ("pki/chain.rs", "use super::certificate::Certificate; use super::super::time::Timestamp;", ""),
        (
            "pki/chain.rs",
            "use super::super::bus::Transport;",
            "src/pki/chain.rs:1: layer 2 uses `bus` of layer 4",
        ),
        (
            "store/mod.rs",
            "fn f() { crate::cli::main() }",
            "src/store/mod.rs:1: layer 3 uses `cli` of layer 6",
        ),
        (
            "verify.rs",
            "#[cfg(test)] mod tests { use crate::bus::Bus; }",
            "src/verify.rs:1: layer 2 uses `bus`",
        ),
        ("novel.rs", "", "src/novel.rs: its module is in no layer"),
        ("bus/mod.rs", "use ring::signature;", "src/bus/mod.rs:1: `ring` is named only in freshness"),
        (
            "pki/crl.rs",
            "use ring::signature; use rustls_pemfile::certs;",
            "`rustls_pemfile` is named only in pki/pem.rs",
        ),
        ("pki/crl.rs", "#[cfg(test)] mod tests { use std::fs; }", ""),
        (
            "verify.rs",
            "let t = std::time::SystemTime::now();",
            "`SystemTime::now` reaches the clock; layer 2 is pure",
        ),
        ("time.rs", "let t = SystemTime::now();", ""),
        ("time.rs", "use std::{fmt, fs};", "`std::fs` reaches files; layer 0 is pure"),
        ("policy/mod.rs", "async fn f() { tokio::spawn(x) }", "`tokio` reaches a runtime"),
        ("endpoint.rs", "use std::net::{Ipv4Addr, TcpStream};", "`std::net::TcpStream` reaches sockets"),
        ("config/mod.rs", "use std::fs;", ""),
        ("json/mod.rs", "// use crate::cli; std::fs\nconst S: &str = \"std::fs\";", ""),
    ] {
        let found = findings(name, text, false).join("\n");
        assert!(
            if expected.is_empty() { found.is_empty() } else { found.contains(expected) },
            "{name}: {text}\n{found}"
        );
    }
}
