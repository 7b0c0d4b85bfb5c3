//! A good signature, and each way in which one is refused.

use super::*;
use crate::identity::SpiffeId;
use crate::pki::authority::{Authority, RevocationReason, Revoked};
use crate::pki::certificate::IdentityRule;
use crate::pki::chain::{RevocationPolicy, TrustStore};
use crate::pki::key::{KeyKind, PrivateKey};
use crate::pki::profile::Profiles;
use crate::pki::serial::Serial;
use crate::reason::ReasonCode;
use proptest::prelude::*;
use std::time::Duration;

const LIMITS: &Limits = &Limits::STANDARD;
const POLICY: &str = "version = 1\nserial = 42\n";
const OTHER: &str = "version = 1\nserial = 7\n";

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn signers() -> Vec<PublisherPattern> {
    vec!["spiffe://example.org/prod/operator/*".parse().unwrap()]
}

fn sources<'t>(texts: &[&'t str]) -> Vec<Source<'t>> {
    texts.iter().map(|text| Source { file: "policy.toml", bytes: text.as_bytes() }).collect()
}

const DAY: u64 = 86_400;

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::generate(KeyKind::P256).unwrap())
}

fn operator(issuing: &Authority, env: &str, name: &str) -> PolicySigner {
    let identity = SpiffeId::new("example.org", env, "operator", name).unwrap();
    let (key, life) = (key(), Duration::from_secs(30 * DAY));
    let issued = issuing.issue_operator(&identity, key.public_spki(), life, now()).unwrap();
    PolicySigner::new(key, vec![issued.certificate().clone()]).unwrap()
}

struct World {
    root: Authority,
    issuing: Authority,
    revoked: Vec<Revoked>,
    operator: PolicySigner,
}

impl World {
    fn new() -> Self {
        let profiles = Profiles::built_in().unwrap();
        let root = Authority::new_root("example.org", &profiles.root, 1, key(), now()).unwrap();
        let issuing = root.new_intermediate("example.org", &profiles.issuing, key(), now()).unwrap();
        let operator = operator(&issuing, "prod", "ada");
        Self { root, issuing, revoked: Vec::new(), operator }
    }

    fn trust(&self) -> TrustStore {
        let week = Duration::from_secs(7 * DAY);
        let list = |authority: &Authority, revoked: &[Revoked]| {
            authority.crl(1, revoked, week, now()).unwrap().into_crl()
        };
        let builder = TrustStore::builder(RevocationPolicy::Required)
            .anchor("root", self.root.certificate().clone(), IdentityRule::SpiffeUri)
            .and_then(|builder| builder.intermediate("issuing", self.issuing.certificate().clone()));
        let builder = builder.and_then(|builder| builder.crl("root's", list(&self.root, &[])));
        let builder =
            builder.and_then(|builder| builder.crl("issuing's", list(&self.issuing, &self.revoked)));
        builder.unwrap().build().unwrap()
    }

    fn sign(&self, texts: &[&str]) -> String {
        let policy = Policy::parse_files(&sources(texts), LIMITS).unwrap();
        self.operator.sign(&policy, None, now()).unwrap().to_text()
    }

    fn judge(
        &self,
        signature: &str,
        texts: &[&str],
        at: Timestamp,
    ) -> Result<Endorsement, SignedPolicyError> {
        judge(&self.trust(), &signers(), signature, texts, at)
    }
}

fn judge(
    trust: &TrustStore,
    signers: &[PublisherPattern],
    signature: &str,
    texts: &[&str],
    at: Timestamp,
) -> Result<Endorsement, SignedPolicyError> {
    let by = Requirement { trust, signers };
    let signed = read_signed(signature.as_bytes(), &sources(texts), by, LIMITS, at)?;
    assert_eq!(signed.policy().edition().serial, signed.endorsement().serial());
    Ok(signed.into_parts().1)
}

fn signature_error(result: Result<Endorsement, SignedPolicyError>) -> SignatureError {
    match result {
        Err(SignedPolicyError::Signature(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_that_an_operator_signed_is_taken() {
    let world = World::new();
    let text = world.sign(&[POLICY]);
    let found = world.judge(&text, &[POLICY], now()).unwrap();
    assert_eq!(
        found.to_string(),
        "signed by spiffe://example.org/prod/operator/ada, serial 42, until 2026-12-24T12:00:00Z"
    );
    assert_eq!(found.certificate_sha256(), world.operator.certificate().sha256());
    // Its bounds to the second: from a minute before, until just before its end.
    let (from, until) = (found.from(), found.until());
    assert_eq!(from, now().plus_seconds(-60));
    // The lists of the day have their own ends, so that the time stays within them.
    assert!(matches!(
        signature_error(world.judge(&text, &[POLICY], from.plus_seconds(-1))),
        SignatureError::NotYetValid { .. }
    ));
    world.judge(&text, &[POLICY], from).unwrap();
    let short = {
        let policy = Policy::parse(POLICY, "policy.toml", LIMITS).unwrap();
        world.operator.sign(&policy, Some(now().plus_seconds(600)), now()).unwrap().to_text()
    };
    world.judge(&short, &[POLICY], now().plus_seconds(599)).unwrap();
    assert_eq!(
        signature_error(world.judge(&short, &[POLICY], now().plus_seconds(600))),
        SignatureError::Expired { until: now().plus_seconds(600), at: now().plus_seconds(600) }
    );
    assert!(until > now());
    // Of several files, in whatever order they are named; and of all of them.
    let both = world.sign(&[POLICY, OTHER]);
    world.judge(&both, &[OTHER, POLICY], now()).unwrap();
    for others in [&[POLICY][..], &[OTHER], &[POLICY, OTHER, POLICY], &[POLICY, POLICY]] {
        let found = signature_error(world.judge(&both, others, now()));
        assert!(matches!(found, SignatureError::Files { .. }), "{found}");
    }
}

#[test]
fn each_signature_that_does_not_hold_is_refused_for_its_own_reason() {
    let mut world = World::new();
    let text = world.sign(&[POLICY]);
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}\n{text}");
        text.replacen(from, to, 1)
    };
    let refused = |text: &str, policy: &str| signature_error(world.judge(text, &[policy], now()));
    assert!(matches!(refused("", POLICY), SignatureError::Malformed(SignatureFault::NotText)));
    let found = refused(&text, &POLICY.replace("42", "43"));
    assert_eq!(found.to_string(), "the signature is over other bytes than policy.toml");
    // What is signed cannot be changed, whichever line of it.
    for (from, to) in
        [("serial 42", "serial 43"), ("until 2026", "until 2025-"), ("until 2026-12-24", "until 2026-12-23")]
    {
        let found = refused(&changed(from, to), POLICY);
        let expected = if to == "until 2025-" { "policy-signature-malformed" } else { "signature-invalid" };
        assert_eq!(found.code(), expected, "{to}: {found}");
    }
    let found = refused(&changed("algorithm 1", "algorithm 9"), POLICY);
    assert_eq!(found, SignatureError::Algorithm { found: 9 });
    let found = refused(&changed("algorithm 1", "algorithm 2"), POLICY);
    let SignatureError::Signature(error) = found else { panic!("{found}") };
    assert_eq!(error.code(), ReasonCode::SignatureAlgorithmMismatch);
    // Another operator's certificate beside it.
    let other = operator(&world.issuing, "prod", "bea");
    let theirs = other.sign(&Policy::parse(POLICY, "p", LIMITS).unwrap(), None, now()).unwrap().to_text();
    let line = |text: &str| text.lines().find(|l| l.starts_with("certificate ")).unwrap().to_owned();
    let found = refused(&changed(&line(&text), &line(&theirs)), POLICY);
    assert!(matches!(found, SignatureError::Certificate { .. }), "{found}");

    // Who may not: an operator who is not named, and a service, whoever is named.
    let staging = operator(&world.issuing, "stg", "ada");
    let policy = Policy::parse(POLICY, "p", LIMITS).unwrap();
    let text = staging.sign(&policy, None, now()).unwrap().to_text();
    let found = refused(&text, POLICY);
    assert_eq!(
        found.to_string(),
        "spiffe://example.org/stg/operator/ada may not sign this policy; spiffe://example.org/prod/operator/* may"
    );
    let trust = world.trust();
    let found = signature_error(judge(&trust, &[], &text, &[POLICY], now()));
    assert!(found.to_string().ends_with("; nobody may"), "{found}");

    // A certificate that was revoked, and one that is not trusted.
    let text = world.sign(&[POLICY]);
    let serial = Serial::from_bytes(world.operator.certificate().serial()).unwrap();
    let reason = RevocationReason::KeyCompromise;
    world.revoked.push(Revoked { serial, at: now(), reason, invalid_since: None });
    let SignatureError::Chain(error) = signature_error(world.judge(&text, &[POLICY], now())) else {
        panic!("revoked")
    };
    assert_eq!(error.code(), ReasonCode::CertificateRevoked);
    let SignatureError::Chain(error) = signature_error(World::new().judge(&text, &[POLICY], now())) else {
        panic!("a stranger's")
    };
    assert!(matches!(error.code(), ReasonCode::CertificateUnknownIssuer | ReasonCode::CertificateSignature));
}

/// Whatever its identity says: the authority decides what a certificate is for.
#[test]
fn a_service_certificate_can_never_sign_a_policy() {
    let world = World::new();
    let policy = Policy::parse(POLICY, "policy.toml", LIMITS).unwrap();
    let (key, life) = (key(), Duration::from_secs(30 * DAY));
    let identity = SpiffeId::new("example.org", "prod", "operator", "eve").unwrap();
    let service = world.issuing.issue(&identity, key.public_spki(), life, now()).unwrap();
    let signer = PolicySigner::new(key, vec![service.certificate().clone()]).unwrap();
    let text = signer.sign(&policy, None, now()).unwrap().to_text();
    let SignatureError::Chain(error) = signature_error(world.judge(&text, &[POLICY], now())) else {
        panic!("it was taken")
    };
    assert_eq!(error.code(), ReasonCode::CertificatePurpose);
    assert!(error.to_string().contains("configSigning"), "{error}");
}

/// What `sign` refuses to make, made by hand.
#[test]
fn a_signature_claims_no_more_than_its_certificate_and_its_policy() {
    let world = World::new();
    let policy = Policy::parse(POLICY, "policy.toml", LIMITS).unwrap();
    let end = world.operator.certificate().not_after();
    for (until, expected) in [
        (
            end.plus_seconds(1),
            PolicySignError::OutlivesCertificate { until: end.plus_seconds(1), not_after: end },
        ),
        (now(), PolicySignError::Until { until: now(), now: now() }),
    ] {
        assert_eq!(world.operator.sign(&policy, Some(until), now()), Err(expected));
    }
    let by_hand = |serial, until| {
        let good = world.operator.sign(&policy, None, now()).unwrap();
        let statement = Statement { serial, until, ..good.statement().clone() };
        let signature = world.operator.key.sign(statement.to_text().as_bytes()).unwrap().into();
        DetachedSignature::new(statement, good.certificates().to_vec(), signature).to_text()
    };
    world.judge(&by_hand(42, end), &[POLICY], now()).unwrap();
    let found = signature_error(world.judge(&by_hand(42, end.plus_seconds(1)), &[POLICY], now()));
    assert!(matches!(found, SignatureError::OutlivesCertificate { .. }), "{found}");
    let found = signature_error(world.judge(&by_hand(43, end), &[POLICY], now()));
    assert_eq!(found, SignatureError::Serial { found: 42, signed: 43 });
}

#[test]
fn a_policy_whose_signature_is_bad_is_not_parsed() {
    let world = World::new();
    let text = world.sign(&[POLICY]);
    let broken = "version = \n";
    assert!(matches!(world.judge(&text, &[broken], now()), Err(SignedPolicyError::Signature(_))));
}

/// Each line of the format, wrong in each way that a line can be.
#[test]
fn each_fault_of_the_text_has_its_own_error() {
    use SignatureFault as Fault;
    let text = World::new().sign(&[POLICY, OTHER]);
    let parse = |text: &str| DetachedSignature::parse(text.as_bytes(), LIMITS);
    assert_eq!(parse(&text).unwrap().to_text(), text);
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let without = |start: &str| text.replacen(&(line(start) + "\n"), "", 1);
    let with = |start: &str, other: &str| text.replacen(&line(start), other, 1);
    let file = line("file-sha256");
    let certificate = line("certificate ");
    let expected = |line, expected| Fault::Line { line, expected };
    for (text, fault) in [
        (text.trim_end().to_owned(), Fault::NotText),
        (text.replace("until", "ünti"), Fault::NotText),
        ("a".repeat(MAX_SIGNATURE_BYTES + 1), Fault::TooLarge),
        (text.replacen("v1", "v2", 1), Fault::Version { found: "2".to_owned() }),
        (text.replacen(" v1", " vx", 1), expected(1, "`fedmsg policy signature v1`")),
        (text.replace('\n', "\r\n"), expected(1, "`fedmsg policy signature v1`")),
        (without("serial"), expected(2, "`serial NUMBER`")),
        (with("serial", "serial 042"), Fault::Number { line: 2, key: "serial" }),
        (with("serial", "serial +42"), Fault::Number { line: 2, key: "serial" }),
        (with("serial", "serial 18446744073709551616"), Fault::Number { line: 2, key: "serial" }),
        (with("serial", "serial  42"), Fault::Number { line: 2, key: "serial" }),
        (without("from"), expected(3, "`from TIME`")),
        (with("from", "from 2026-11-24T12:00:00+00:00"), Fault::Time { line: 3, key: "from" }),
        (with("until", "until 2026-12-24T12:00:00.0Z"), Fault::Time { line: 4, key: "until" }),
        (
            with("until", "until 2026-11-24T11:59:00Z"),
            Fault::Window { from: now().plus_seconds(-60), until: now().plus_seconds(-60) },
        ),
        (
            text.replace(&file, &file.to_uppercase().replace("FILE-SHA", "file-sha")),
            Fault::Digest { line: 5, key: "file-sha256" },
        ),
        (text.replacen(&file, &format!("{file}0"), 1), Fault::Digest { line: 5, key: "file-sha256" }),
        (with("file-sha256", &format!("file-sha256 {}", "f".repeat(64))), Fault::FilesOrder { line: 6 }),
        (with("file-sha256", &[file.as_str(); 65].join("\n")), Fault::TooManyFiles),
        (
            text.lines().filter(|l| !l.starts_with("file")).map(|l| l.to_owned() + "\n").collect(),
            expected(5, "`file-sha256 HEX`"),
        ),
        (
            with("certificate-sha256", "certificate-sha256 00"),
            Fault::Digest { line: 7, key: "certificate-sha256" },
        ),
        (with("algorithm", "algorithm 256"), Fault::Number { line: 8, key: "algorithm" }),
        (text.replacen("\n\n", "\n", 1), expected(9, "an empty line")),
        (text.replacen("\n\n", "\n\n\n", 1), expected(10, "`certificate BASE64`")),
        (without("certificate "), expected(10, "`certificate BASE64`")),
        (with("certificate ", &[certificate.as_str(); 5].join("\n")), Fault::ChainTooLong { limit: 4 }),
        (with("certificate ", "certificate MII"), Fault::Base64 { line: 10, key: "certificate" }),
        (with("certificate ", "certificate "), Fault::Base64 { line: 10, key: "certificate" }),
        (with("signature ", "signature QQ"), Fault::Base64 { line: 11, key: "signature" }),
        (with("signature ", "signature QR=="), Fault::Base64 { line: 11, key: "signature" }),
        (without("signature "), expected(11, "`signature BASE64`")),
        (text.clone() + "\n", expected(12, "the end")),
        (text.clone() + "more 1\n", expected(12, "the end")),
    ] {
        assert_eq!(parse(&text), Err(fault), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        serial in any::<u64>(),
        begin in 0_i64..4_000_000_000,
        length in 1_i64..1_000_000_000,
        mut files in proptest::collection::vec(any::<[u8; 32]>(), 1..5),
        certificate in any::<[u8; 32]>(),
        algorithm in any::<u8>(),
        certificates in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..5),
        signature in proptest::collection::vec(any::<u8>(), 1..80),
    ) {
        files.sort_unstable();
        let from = Timestamp::from_unix(begin).unwrap();
        let statement =
            Statement { serial, from, until: from.plus_seconds(length), files, certificate, algorithm };
        let certificates = certificates.into_iter().map(Into::into).collect();
        let written = DetachedSignature::new(statement, certificates, signature.into());
        prop_assert_eq!(DetachedSignature::parse(written.to_text().as_bytes(), LIMITS), Ok(written));
    }

    /// A change of one byte is refused, or is another signature: there is one text for each.
    #[test]
    fn whatever_is_read_is_written_back_the_same(at in 0_usize..700, to in any::<u8>()) {
        let statement = Statement {
            serial: 42,
            from: now(),
            until: now().plus_seconds(1),
            files: vec![[1; 32], [2; 32]],
            certificate: [3; 32],
            algorithm: 1,
        };
        let certificates = vec![vec![4; 50].into()];
        let mut bytes = DetachedSignature::new(statement, certificates, vec![5; 60].into()).to_text().into_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(read) = DetachedSignature::parse(&bytes, LIMITS) {
            prop_assert_eq!(read.to_text().into_bytes(), bytes);
        }
    }
}
