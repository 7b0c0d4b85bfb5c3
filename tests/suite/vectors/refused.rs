//! `tests/vectors/refused`: each reason of refusal has a message that is refused for it, and for it alone.

use super::case::{Case, directory, read_json};
use fedmsg::reason::ReasonCode;
use std::collections::{BTreeMap, BTreeSet};

/// Every case by the name of its file.
fn cases() -> BTreeMap<String, Case> {
    let files = std::fs::read_dir(directory("refused")).expect("tests/vectors/refused");
    let case = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name.strip_suffix(".json").unwrap_or_else(|| panic!("{name}")).to_owned(), read_json(&path))
    };
    files.map(case).collect()
}

#[test]
fn each_is_refused_for_its_reason_and_for_it_alone() {
    for (name, case) in cases() {
        let code = name.split_once("--").map_or(name.as_str(), |(code, _)| code);
        assert_eq!(code, case.code, "{name}: the file is named by the code");
        assert_eq!(case.verdict(), code, "{name}: {}", case.fault);
        assert_eq!(case.mended().verdict(), "verified", "{name}: {} was mended", case.fault);
    }
}

#[test]
fn every_reason_has_a_vector() {
    let shown: BTreeSet<String> = cases().into_values().map(|case| case.code).collect();
    let known: BTreeSet<String> = ReasonCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(shown, known, "left: codes with a vector; right: the codes of src/reason.rs");
}
