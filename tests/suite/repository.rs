//! What must hold of the repository itself, whatever its code does.

use std::path::Path;
use std::process::Command;

/// Every file that git tracks, with its text; `None`, with a line that says so, where there is no git or no clone.
fn tracked() -> Option<Vec<(String, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok();
    let Some(listed) = listed.filter(|done| done.status.success() && !done.stdout.is_empty()) else {
        eprintln!("not tested: {} is no git clone, so what is tracked is not known", root.display());
        return None;
    };
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    // A file that was removed and not yet committed is still listed.
    let files = names.split_terminator('\0').filter_map(|name| {
        let bytes = std::fs::read(root.join(name)).ok()?;
        Some((name.to_owned(), String::from_utf8_lossy(&bytes).into_owned()))
    });
    Some(files.collect())
}

/// The manifest of the fuzz targets, which the published crate leaves out.
fn fuzz_manifest() -> Option<toml::Table> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).ok()?;
    Some(text.parse().expect("fuzz/Cargo.toml"))
}

/// Whether `text` has a PEM block of a private key, and not merely its first line, which code may well name.
fn has_private_key(text: &str) -> bool {
    let begin = "-----BEGIN ";
    text.match_indices(begin).any(|(at, _)| {
        let rest = &text[at + begin.len()..];
        let Some((label, rest)) = rest.split_once("-----") else { return false };
        // Within a string or a JSON line the line break is written `\n`.
        let data = rest.trim_start_matches(['\n', '\r']).trim_start_matches("\\n");
        let base64 = data.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/".contains(*c)).count();
        label.len() < 40 && label.ends_with("PRIVATE KEY") && base64 >= 40
    })
}

/// The first path in `text` that exists on one machine only.
fn machine_path(text: &str) -> Option<&str> {
    let tops = ["work", "root", "home"].map(|top| format!("/{top}/"));
    tops.iter().flat_map(|top| text.match_indices(top.as_str())).find_map(|(at, _)| {
        // After a name it is a part of some other path.
        let before = text[..at].chars().next_back();
        let within = before.is_some_and(|c| c.is_alphanumeric() || "._-~*}/".contains(c));
        let rest = &text[at..];
        (!within).then(|| {
            &rest[..rest.find(|c: char| c.is_whitespace() || "\"'`)".contains(c)).unwrap_or(rest.len())]
        })
    })
}

#[test]
fn no_private_key_is_tracked() {
    for (name, text) in tracked().unwrap_or_default() {
        assert!(!has_private_key(&text), "{name} has a private key");
    }
}

#[test]
fn no_path_of_one_machine_is_tracked() {
    for (name, text) in tracked().unwrap_or_default() {
        assert_eq!(machine_path(&text), None, "{name} names a path of one machine");
    }
}

#[test]
fn no_merge_was_left_half_done() {
    for (name, text) in tracked().unwrap_or_default() {
        let marked = text.lines().any(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
        assert!(!marked, "{name} has the marks of a merge");
    }
}

#[test]
fn every_dependency_is_explained() {
    let Some(fuzz) = fuzz_manifest() else { return };
    let own: toml::Table = include_str!("../../Cargo.toml").parse().expect("a manifest");
    let mut named = Vec::new();
    for manifest in [own, fuzz] {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let crates = manifest.get(table).and_then(toml::Value::as_table);
            named.extend(crates.into_iter().flat_map(toml::Table::keys).cloned());
        }
    }
    named.retain(|name| name != "fedmsg");
    named.sort();
    named.dedup();
    let mut explained: Vec<String> = include_str!("../../docs/dependencies.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.to_owned())
        .collect();
    explained.sort();
    assert_eq!(named, explained, "left: the manifests; right: docs/dependencies.md");
}

#[test]
fn every_fuzz_target_is_built_and_seeded() {
    let Some(manifest) = fuzz_manifest() else { return };
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let built: Vec<&str> =
        manifest["bin"].as_array().expect("targets").iter().filter_map(|b| b["name"].as_str()).collect();
    for entry in std::fs::read_dir(fuzz.join("fuzz_targets")).expect("fuzz targets") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(built.contains(&name.as_str()), "fuzz/Cargo.toml has no [[bin]] for {name}");
        assert!(
            fuzz.join("seeds").join(&name).read_dir().is_ok_and(|mut d| d.next().is_some()),
            "{name} has no seeds"
        );
    }
}

#[test]
fn the_rules_can_fail() {
    let key = format!("-----BEGIN EC {} KEY-----\n{}\n", "PRIVATE", "a+/9".repeat(16));
    assert!(has_private_key(&key));
    assert!(has_private_key(&format!("{{\"key\":\"{}\"}}", key.replace('\n', "\\n"))));
    assert!(!has_private_key(&key.replace("PRIVATE", "PUBLIC")));
    assert!(!has_private_key("assert!(pem.starts_with(\"-----BEGIN PRIVATE KEY-----\"));"));
    let path = format!("see /{}/ada/notes for more", "home");
    assert_eq!(machine_path(&path), Some(&path[4..19]));
    assert_eq!(machine_path(&path.replace("see /", "see target/")), None);
}

/// `docs/threats.md` names the test that shows each claim: a claim whose test has gone is noticed.
#[test]
fn the_threats_name_tests_that_exist() {
    let files = tracked().unwrap_or_default();
    let Some((_, threats)) = files.iter().find(|(name, _)| name == "docs/threats.md") else { return };
    let sources: String =
        files.iter().filter(|(name, _)| name.ends_with(".rs")).map(|(_, text)| text.as_str()).collect();
    // Of all that is in backticks, names of five words and more are tests.
    let named = threats.split('`').skip(1).step_by(2);
    let tests: Vec<&str> =
        named.filter(|name| name.matches('_').count() >= 4 && !name.contains(' ')).collect();
    assert!(tests.len() > 30, "{} tests are named", tests.len());
    for test in tests {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "docs/threats.md names `{test}`, and there is no such test"
        );
    }
}
