//! Messages that Python fedmsg signed and judged: the repository's vectors, and the shared ones where they are.

use crate::support::{shared_data, shared_lines};
use fedmsg::json::{Dialect, Value, canonical, parse};
use fedmsg::limits::Limits;
use fedmsg::message::Unverified;
use fedmsg::pki::legacy::{LegacyAuthority, LegacyRevocation};
use fedmsg::policy::danger;
use fedmsg::verify::{Legacy, Rejected, Verified, Verifier};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LIMITS: Limits = Limits::STANDARD;

/// The directories that hold a set.
fn sets() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("vectors").join("legacy");
    [own].into_iter().chain(shared_data("python-fedmsg")).collect()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn text<'a>(line: &'a serde_json::Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {line}"))
}

/// A verifier for one set, with its revocation list.
fn verifier(set: &Path) -> Verifier {
    let read = |name: &str| std::fs::read(set.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let revocation = LegacyRevocation::Crl { label: "crl.pem", pem: &read("crl.pem") };
    let authority = LegacyAuthority::new("ca.crt", &read("ca.crt"), revocation).unwrap();
    Verifier::new(None, Arc::new(danger::allow_everything()), Legacy::Accepted(Box::new(authority)), LIMITS)
}

/// Verifies a body as of the time that it claims.
fn verify(verifier: &Verifier, body: &str) -> Result<Verified, Box<Rejected>> {
    let message = Unverified::parse_body(body.as_bytes().to_vec().into(), &LIMITS)?;
    let at = message.claimed_timestamp();
    verifier.verify(message, at)
}

#[test]
fn the_canonical_form_is_pythons() {
    for line in sets().iter().flat_map(|set| lines(&set.join("canonical.jsonl"))) {
        let found = canonical::from_text(text(&line, "text"), Dialect::Python, &LIMITS);
        assert_eq!(found.as_deref(), Ok(text(&line, "canonical")), "{line}");
    }
}

/// What was signed is the body without its credentials, in canonical form, however the body is written.
#[test]
fn the_signed_text_of_a_legacy_body_is_pythons() {
    for line in sets().iter().flat_map(|set| lines(&set.join("valid.jsonl"))) {
        let body =
            parse(text(&line, "wire"), Dialect::Python, &LIMITS).unwrap_or_else(|e| panic!("{e}: {line}"));
        let Value::Object(mut fields) = body else { panic!("no object: {line}") };
        fields.retain(|key, _| key != "signature" && key != "certificate");
        assert_eq!(canonical::encode(&Value::Object(fields)), text(&line, "canonical"));
    }
}

#[test]
fn what_python_accepts_is_verified() {
    for set in sets() {
        let verifier = verifier(&set);
        for line in lines(&set.join("valid.jsonl")) {
            let verified = verify(&verifier, text(&line, "wire"));
            let verified = verified.unwrap_or_else(|e| panic!("{}: {line}", e.reason()));
            assert_eq!(verified.signer().to_string(), format!("cn:{}", text(&line, "signer")));
            assert!(verified.is_legacy());
        }
    }
}

#[test]
fn what_python_refuses_is_refused_for_its_fault() {
    for set in sets() {
        let verifier = verifier(&set);
        for line in lines(&set.join("invalid.jsonl")) {
            let Err(rejected) = verify(&verifier, text(&line, "wire")) else { panic!("verified: {line}") };
            let fault = text(&line, "fault");
            let code = rejected.code().as_str();
            assert!(expected(fault).contains(&code), "{fault}: {code}: {}", rejected.reason());
        }
    }
}

/// The reasons that fit a fault. What is not here is an alteration of what was signed.
fn expected(fault: &str) -> &'static [&'static str] {
    match fault {
        "body a list" | "body cut short" => &["json-malformed"],
        "certificate is junk" | "certificate without its last line" => &["certificate-malformed"],
        "expired signer" => &["certificate-expired"],
        "missing certificate" | "missing msg" | "missing topic" => &["envelope-field-missing"],
        "missing signature" => &["proof-missing"],
        "other crypto backend" | "unknown crypto backend" => &["legacy-crypto-unsupported"],
        "revoked signer" => &["certificate-revoked"],
        "signature a number" | "signature without padding" => &["legacy-signature-malformed"],
        "signer of another authority" => &["certificate-signature"],
        _ => &["signature-invalid"],
    }
}

/// Where we refuse what Python accepts, each for a reason of its own.
#[test]
fn what_is_ambiguous_is_refused() {
    let set = &sets()[0];
    let verifier = verifier(set);
    let codes = lines(&set.join("stricter.jsonl")).into_iter().map(|line| {
        let code = verify(&verifier, text(&line, "wire")).map_err(|rejected| rejected.code().as_str());
        (text(&line, "why").to_owned(), code.err())
    });
    let expected = [
        ("a key twice in the envelope", "json-duplicate-key"),
        ("a key twice in msg", "json-duplicate-key"),
        ("NaN", "json-number-out-of-range"),
        ("a lone surrogate", "json-lone-surrogate"),
    ];
    assert_eq!(codes.collect::<Vec<_>>(), expected.map(|(why, code)| (why.to_owned(), Some(code))));
}

/// The real ones: Fedora's production bus in 2017, under the authority that signed them.
#[test]
fn fedoras_messages_are_verified_as_of_their_time() {
    let Some(bodies) = shared_lines("fedora/messages-2017.jsonl") else { return };
    let ca = std::fs::read(shared_data("fedora/ca.crt").expect("beside the messages")).unwrap();
    let authority = LegacyAuthority::new("ca.crt", &ca, LegacyRevocation::NotChecked).unwrap();
    let verifier = Verifier::new(
        None,
        Arc::new(danger::allow_everything()),
        Legacy::Accepted(Box::new(authority)),
        LIMITS,
    );
    for body in bodies {
        let verified = verify(&verifier, &body).unwrap_or_else(|e| panic!("{}: {body}", e.reason()));
        let signer = verified.signer().to_string();
        assert!(signer.starts_with("cn:") && signer.ends_with(".fedoraproject.org"), "{signer}");
        let altered = body.replacen("\"msg_id\": \"2017", "\"msg_id\": \"2018", 1);
        assert_ne!(altered, body);
        let rejected = verify(&verifier, &altered).expect_err("it was altered");
        assert_eq!(rejected.code().as_str(), "signature-invalid");
    }
}
