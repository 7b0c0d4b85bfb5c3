//! The vectors that Python fedmsg made and judged: those of the repository, and the shared ones where they are.

use crate::support::shared_lines;
use fedmsg::json::{Dialect, canonical};
use fedmsg::limits::Limits;

/// The lines of `tests/vectors/legacy/NAME`, and of the shared file of the same name.
fn lines(name: &str) -> Vec<serde_json::Value> {
    let own = format!("{}/tests/vectors/legacy/{name}", env!("CARGO_MANIFEST_DIR"));
    let own = std::fs::read_to_string(&own).unwrap_or_else(|e| panic!("{own}: {e}"));
    let shared = shared_lines(&format!("python-fedmsg/{name}")).unwrap_or_default();
    let all = own.lines().chain(shared.iter().map(String::as_str));
    all.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"))).collect()
}

#[test]
fn the_canonical_form_is_pythons() {
    for line in lines("canonical.jsonl") {
        let text = line["text"].as_str().expect("text");
        let found = canonical::from_text(text, Dialect::Python, &Limits::STANDARD);
        assert_eq!(found.as_deref(), Ok(line["canonical"].as_str().expect("canonical")), "{text}");
    }
}

/// What was signed is the body without its credentials, in canonical form, however the body is written.
#[test]
fn the_signed_text_of_a_legacy_body_is_pythons() {
    for line in lines("valid.jsonl") {
        let wire = line["wire"].as_str().expect("wire");
        let fedmsg::json::Value::Object(mut body) =
            fedmsg::json::parse(wire, Dialect::Python, &Limits::STANDARD)
                .unwrap_or_else(|e| panic!("{e}: {wire}"))
        else {
            panic!("an object: {wire}")
        };
        body.retain(|key, _| key != "signature" && key != "certificate");
        let signed = canonical::encode(&fedmsg::json::Value::Object(body));
        assert_eq!(signed, line["canonical"].as_str().expect("canonical"));
    }
}
