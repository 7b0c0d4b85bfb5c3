//! Signatures of policies: `tests/vectors/policy/signatures.json`, judged by us and by a second implementation; and their writer:
//!
//! ```text
//! cargo test --test suite write_policy_vectors -- --ignored
//! ```

use super::case::directory;
use crate::support::{peer_command, run};
use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::pki::certificate::{Certificate, IdentityRule};
use fedmsg::pki::chain::{RevocationPolicy, TrustStore};
use fedmsg::pki::key::{KeyKind, PrivateKey, SigningKey};
use fedmsg::pki::pem;
use fedmsg::policy::signature::{
    DetachedSignature, PolicySigner, Requirement, SignedPolicyError, Statement, read_signed,
};
use fedmsg::policy::{Policy, PublisherPattern, Source};
use fedmsg::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Vectors {
    /// What is trusted, in PEM.
    anchors: String,
    intermediates: String,
    crls: Vec<String>,
    cases: BTreeMap<String, Case>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Case {
    /// `ok`, or the code of the refusal.
    expect: String,
    /// The time as of which it is judged.
    at: String,
    /// Who may sign.
    signers: Vec<String>,
    /// The policy's files.
    files: Vec<String>,
    /// The signature's file.
    signature: String,
}

const LIMITS: &Limits = &Limits::STANDARD;
const POLICY: &str = "version = 1\nserial = 42\n";
const OTHER: &str = "version = 1\nserial = 7\n";
const OPERATORS: &str = "spiffe://example.org/prod/operator/*";

fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn vectors() -> Vectors {
    let text = fs::read_to_string(directory("policy").join("signatures.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn sources<'t>(files: &'t [String]) -> Vec<Source<'t>> {
    files.iter().map(|text| Source { file: "policy.toml", bytes: text.as_bytes() }).collect()
}

#[test]
fn each_signature_of_a_policy_is_judged_as_it_should_be() {
    let Vectors { anchors, intermediates, crls, cases } = vectors();
    let certificates = |pem: &str| pem::certificates(pem.as_bytes()).unwrap();
    let mut builder = TrustStore::builder(RevocationPolicy::Required);
    for anchor in certificates(&anchors) {
        builder = builder.anchor("the root", anchor, IdentityRule::SpiffeUri).unwrap();
    }
    for issuing in certificates(&intermediates) {
        builder = builder.intermediate("the issuing authority", issuing).unwrap();
    }
    for list in crls.iter().flat_map(|list| pem::crls(list.as_bytes()).unwrap()) {
        builder = builder.crl("a list", list).unwrap();
    }
    let trust = builder.build().unwrap();
    for (name, case) in &cases {
        let signers: Vec<PublisherPattern> = case.signers.iter().map(|s| s.parse().unwrap()).collect();
        let by = Requirement { trust: &trust, signers: &signers };
        let at = case.at.parse().unwrap();
        let judged = read_signed(case.signature.as_bytes(), &sources(&case.files), by, LIMITS, at);
        let found = match &judged {
            Ok(_) => "ok",
            Err(SignedPolicyError::Signature(error)) => error.code(),
            Err(SignedPolicyError::Policy(error)) => panic!("{name}: {error}"),
        };
        assert_eq!(found, case.expect, "{name}: {judged:?}");
    }
    assert!(cases.values().filter(|case| case.expect == "ok").count() >= 3);
    assert!(cases.len() >= 30, "{} cases", cases.len());
}

#[test]
fn a_second_implementation_judges_signatures_of_policies_alike() {
    let Some(mut command) = peer_command("policy.py") else { return };
    let finished = run(command.arg(directory("policy").join("signatures.json"))).expect_code(0);
    let counts: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(counts["checked"].as_u64(), u64::try_from(vectors().cases.len()).ok(), "{counts}");
}

/// An operator, or who would like to be one.
struct Signing {
    key: Arc<PrivateKey>,
    certificate: Certificate,
}

impl Signing {
    /// What the operator signs of `files`, with what is said changed first.
    fn sign(&self, files: &[&str], change: impl FnOnce(&mut Statement)) -> String {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let policy = Policy::parse_files(&sources(&files), LIMITS).unwrap();
        let signer = PolicySigner::new(self.key.clone(), vec![self.certificate.clone()]).unwrap();
        let good = signer.sign(&policy, None, noon()).unwrap();
        let mut statement = good.statement().clone();
        change(&mut statement);
        let signature = SigningKey::sign(&*self.key, statement.to_text().as_bytes()).unwrap();
        let rest = good.to_text();
        let (_, rest) = rest.split_once("\n\n").unwrap();
        let (certificate, _) = rest.split_once("\nsignature ").unwrap();
        format!("{}\n{certificate}\nsignature {}\n", statement.to_text(), base64(&signature))
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
#[ignore = "writes the vectors of signed policies anew"]
fn write_policy_vectors() {
    let mut development = Development::new("example.org", noon()).unwrap();
    development.set_lifetime(std::time::Duration::from_secs(30 * 86_400));
    let operator = |env: &str, name: &str, kind| {
        let key = Arc::new(PrivateKey::generate(kind).unwrap());
        let certificate = development.operator_certificate(&key, env, name).unwrap();
        Signing { key, certificate }
    };
    let (ada, bea) = (operator("prod", "ada", KeyKind::P256), operator("prod", "bea", KeyKind::P256));
    let (edward, revoked) =
        (operator("prod", "edward", KeyKind::Ed25519), operator("prod", "gone", KeyKind::P256));
    let staging = operator("stg", "eve", KeyKind::P256);
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let pem = key.to_pem();
    let service = development.signer_with(key, "prod", "operator", "mallory").unwrap();
    let service = Signing {
        key: Arc::new(PrivateKey::from_pem(pem.as_bytes()).unwrap()),
        certificate: service.certificate().clone(),
    };
    let stranger = Development::new("example.org", noon()).unwrap();
    let key = Arc::new(PrivateKey::generate(KeyKind::P256).unwrap());
    let certificate = stranger.operator_certificate(&key, "prod", "ada").unwrap();
    let stranger = Signing { key, certificate };
    development.revoke_certificate(&revoked.certificate).unwrap();

    let good = ada.sign(&[POLICY], |_| {});
    let end = ada.certificate.not_after();
    let mut cases = BTreeMap::new();
    let mut put = |name: &str, files: &[&str], signature: String, change: &dyn Fn(&mut Case)| {
        let expect = name.split_once("--").map_or(name, |(code, _)| code).to_owned();
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let mut case =
            Case { expect, at: noon().to_string(), signers: vec![OPERATORS.to_owned()], files, signature };
        change(&mut case);
        assert!(cases.insert(name.to_owned(), case).is_none(), "{name} twice");
    };
    let as_it_is = |_: &mut Case| {};
    put("ok", &[POLICY], good.clone(), &as_it_is);
    put("ok--ed25519", &[POLICY], edward.sign(&[POLICY], |_| {}), &as_it_is);
    put("ok--two-files", &[POLICY, OTHER], ada.sign(&[POLICY, OTHER], |_| {}), &as_it_is);
    put("ok--two-files-in-another-order", &[OTHER, POLICY], ada.sign(&[POLICY, OTHER], |_| {}), &as_it_is);
    put("ok--the-first-second", &[POLICY], good.clone(), &|case| {
        case.at = noon().plus_seconds(-60).to_string()
    });
    let short = ada.sign(&[POLICY], |s| s.until = noon().plus_seconds(600));
    put("ok--the-last-second", &[POLICY], short.clone(), &|case| {
        case.at = noon().plus_seconds(599).to_string()
    });
    put("policy-signature-expired", &[POLICY], short, &|case| case.at = noon().plus_seconds(600).to_string());
    put("policy-signature-not-yet-valid", &[POLICY], good.clone(), &|case| {
        case.at = noon().plus_seconds(-61).to_string()
    });
    put("policy-signature-files--a-byte-more", &["version = 1\nserial = 42\n\n"], good.clone(), &as_it_is);
    put("policy-signature-files--one-of-two", &[POLICY], ada.sign(&[POLICY, OTHER], |_| {}), &as_it_is);
    put("policy-signature-files--one-more", &[POLICY, OTHER], good.clone(), &as_it_is);
    put("policy-signature-files--twice", &[POLICY, POLICY], good.clone(), &as_it_is);
    put("policy-signature-serial", &[POLICY], ada.sign(&[POLICY], |s| s.serial = 43), &as_it_is);
    put(
        "policy-signature-outlives-certificate",
        &[POLICY],
        ada.sign(&[POLICY], |s| s.until = end.plus_seconds(1)),
        &as_it_is,
    );
    put("policy-signature-signer", &[POLICY], staging.sign(&[POLICY], |_| {}), &as_it_is);
    put("policy-signature-signer--nobody", &[POLICY], good.clone(), &|case| case.signers.clear());
    put("policy-signature-algorithm", &[POLICY], ada.sign(&[POLICY], |s| s.algorithm = 9), &as_it_is);
    put("signature-algorithm-mismatch", &[POLICY], ada.sign(&[POLICY], |s| s.algorithm = 2), &as_it_is);
    put("certificate-purpose", &[POLICY], service.sign(&[POLICY], |_| {}), &as_it_is);
    put("certificate-revoked", &[POLICY], revoked.sign(&[POLICY], |_| {}), &as_it_is);
    put("certificate-unknown-issuer", &[POLICY], stranger.sign(&[POLICY], |_| {}), &as_it_is);
    let line = |text: &str, start: &str| text.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
    let theirs = bea.sign(&[POLICY], |_| {});
    let replaced = |start: &str, other: &str| good.replacen(&line(&good, start), other, 1);
    put(
        "policy-signature-certificate",
        &[POLICY],
        replaced("certificate ", &line(&theirs, "certificate ")),
        &as_it_is,
    );
    put(
        "signature-invalid--another-key",
        &[POLICY],
        replaced("signature ", &line(&theirs, "signature ")),
        &as_it_is,
    );
    put("signature-invalid--until", &[POLICY], replaced("until ", "until 2026-12-01T00:00:00Z"), &as_it_is);
    put("signature-invalid--serial", &[POLICY], replaced("serial ", "serial 41"), &as_it_is);
    put("signature-invalid--from", &[POLICY], replaced("from ", "from 2026-11-24T11:58:00Z"), &as_it_is);
    put(
        "policy-signature-version",
        &[POLICY],
        replaced("fedmsg policy", "fedmsg policy signature v2"),
        &as_it_is,
    );
    let certificate = line(&good, "certificate ");
    put(
        "policy-signature-too-large--certificates",
        &[POLICY],
        replaced("certificate ", &[certificate.as_str(); 5].join("\n")),
        &as_it_is,
    );
    let file = line(&good, "file-sha256 ");
    put(
        "policy-signature-too-large--files",
        &[POLICY],
        replaced("file-sha256 ", &[file.as_str(); 65].join("\n")),
        &as_it_is,
    );
    put(
        "policy-signature-too-large--bytes",
        &[POLICY],
        replaced("signature ", &format!("signature {}", "A".repeat(65_536))),
        &as_it_is,
    );
    let malformed: &[(&str, String)] = &[
        ("empty", String::new()),
        ("no-last-line-feed", good.trim_end().to_owned()),
        ("carriage-returns", good.replace('\n', "\r\n")),
        ("not-ascii", good.replacen("serial", "sérial", 1)),
        ("leading-zero", replaced("serial ", "serial 042")),
        ("two-spaces", replaced("serial ", "serial  42")),
        ("over-64-bits", replaced("serial ", "serial 18446744073709551616")),
        ("offset", replaced("until ", "until 2026-12-01T00:00:00+00:00")),
        ("fraction", replaced("until ", "until 2026-12-01T00:00:00.5Z")),
        ("never", replaced("until ", "until 2026-11-24T11:59:00Z")),
        ("upper-case", replaced("file-sha256 ", &file.to_uppercase().replace("FILE-SHA", "file-sha"))),
        ("short-digest", replaced("certificate-sha256 ", "certificate-sha256 00")),
        ("no-file", replaced("file-sha256 ", "").replacen("\n\n", "\n", 1)),
        ("order", {
            let both = ada.sign(&[POLICY, OTHER], |_| {});
            let files: Vec<&str> = both.lines().filter(|line| line.starts_with("file-sha256 ")).collect();
            both.replacen(&files.join("\n"), &format!("{}\n{}", files[1], files[0]), 1)
        }),
        ("no-empty-line", good.replacen("\n\n", "\n", 1)),
        ("no-certificate", replaced("certificate ", "").replacen("\n\n\n", "\n\n", 1)),
        ("base64-without-padding", replaced("signature ", "signature QQ")),
        ("base64-unused-bits", replaced("signature ", "signature QR==")),
        ("base64-url", replaced("signature ", "signature _-8=")),
        ("no-signature", good.split_inclusive('\n').filter(|l| !l.starts_with("signature ")).collect()),
        ("more", good.clone() + "more\n"),
    ];
    for (name, text) in malformed {
        put(&format!("policy-signature-malformed--{name}"), &[POLICY], text.clone(), &as_it_is);
    }
    let files = development.trust_files().unwrap();
    let [root, issuing, root_list, list] = files.map(|(_, pem)| pem);
    let vectors = Vectors { anchors: root, intermediates: issuing, crls: vec![root_list, list], cases };
    let place = directory("policy");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("signatures.json"), serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/policy_signature");
    fs::create_dir_all(&seeds).unwrap();
    for name in [
        "ok",
        "ok--ed25519",
        "ok--two-files",
        "policy-signature-malformed--offset",
        "policy-signature-version",
    ] {
        fs::write(seeds.join(name), &vectors.cases[name].signature).unwrap();
    }
    assert!(DetachedSignature::parse(vectors.cases["ok"].signature.as_bytes(), LIMITS).is_ok());
}
