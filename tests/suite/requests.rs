//! Requests: made here or by OpenSSL, signed here, and judged by OpenSSL.

use crate::support::{Finished, fedmsg, run, temp_dir};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const IDENTITY: &str = "spiffe://a.example/prod/bodhi/app01";

fn ca(directory: &Path, args: &[&str]) -> Finished {
    run(fedmsg().current_dir(directory).args(["--json", "ca"]).args(args))
}

fn object(finished: &Finished) -> Value {
    serde_json::from_str(finished.stdout.lines().next().unwrap()).unwrap()
}

/// OpenSSL in a directory, with the arguments that a line of text has.
fn openssl(directory: &Path, line: &str) -> Finished {
    run(Command::new("openssl").current_dir(directory).args(line.split_whitespace()))
}

fn request(directory: &Path, more: &[&str]) -> Finished {
    let known = ["request", "bodhi", "--host", "app01", "--env", "prod", "--trust-domain", "a.example"];
    ca(directory, &[&known[..], more].concat())
}

/// The authority on one host, the service on another: only the request and the certificate travel.
#[test]
fn the_key_stays_on_its_host() {
    let temp = temp_dir();
    let [authority, host] = ["authority", "host"].map(|name| temp.path().join(name));
    for directory in [&authority, &host] {
        fs::create_dir(directory).unwrap();
    }
    ca(&authority, &["init", "--unencrypted", "--trust-domain", "a.example"]).expect_code(0);
    let services = host.join("pki/services");
    let [key, csr, crt] = ["key", "csr", "crt"].map(|end| services.join(format!("bodhi-app01.{end}")));
    let arrived = authority.join("bodhi-app01.csr");
    let travel = |kind: &str| {
        fs::copy(&csr, &arrived).unwrap();
        let verified = openssl(&authority, "req -verify -noout -in bodhi-app01.csr").expect_code(0);
        assert!(verified.stderr.contains("verify OK"), "{kind}: {verified:?}");
        let sign = ["sign", "bodhi-app01.csr", "--identity", IDENTITY, "--replace"];
        let signed = object(&ca(&authority, &sign).expect_code(0));
        assert_eq!(signed["identity"], IDENTITY);
        assert_eq!(signed["not_granted"], Value::Array(Vec::new()));
        fs::copy(authority.join("bodhi-app01.crt"), &crt).unwrap();
        openssl(
            &authority,
            "verify -x509_strict -crl_check_all -purpose any -CAfile pki/root.crt -CRLfile lists.pem \
             -untrusted pki/issuing.crt bodhi-app01.crt",
        )
        .expect_code(0);
    };
    let lists =
        ["root.crl", "issuing.crl"].map(|name| fs::read_to_string(authority.join("pki").join(name)).unwrap());
    fs::write(authority.join("lists.pem"), lists.concat()).unwrap();

    request(&host, &["--key-kind", "ed25519"]).expect_code(0);
    let waiting = request(&host, &[]).expect_code(2);
    assert!(waiting.stderr.contains("waits for its certificate"), "{waiting:?}");
    travel("ed25519");
    assert!(!authority.join("pki/services/bodhi-app01.key").exists());
    let first = openssl(&host, "pkey -pubout -in pki/services/bodhi-app01.key").expect_code(0).stdout;

    // Again, for a new key: the old pair stays in use until the new certificate has come.
    ca(&host, &["request", "bodhi", "--host", "app01"]).expect_code(0);
    let loads = || fedmsg_lib_loads(&services);
    assert!(loads());
    travel("p256");
    assert!(loads());
    ca(&host, &["request", "bodhi", "--host", "app01", "--keep-key"]).expect_code(0);
    travel("p256 again");
    let [kept, of_leaf] = [
        "pkey -pubout -in pki/services/bodhi-app01.key",
        "x509 -noout -pubkey -in pki/services/bodhi-app01.crt",
    ]
    .map(|line| openssl(&host, line).expect_code(0).stdout);
    assert_ne!(of_leaf, first);
    assert!(fs::read_to_string(&key).unwrap().matches("BEGIN").count() <= 2, "{kept}");

    let other =
        ca(&authority, &["sign", "bodhi-app01.csr", "--identity", "spiffe://a.example/prod/koji/app01"])
            .expect_code(2);
    assert!(other.stderr.contains("expected spiffe://a.example/prod/koji/app01"), "{other:?}");
    let log = ca(&authority, &["log"]).expect_code(0).stdout;
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(entries.filter(|entry| entry["record"]["request"].is_string()).count(), 3, "{log}");
}

fn fedmsg_lib_loads(services: &Path) -> bool {
    fedmsg::store::credentials::Credentials::load(services, "bodhi", "app01").is_ok()
}

#[test]
fn what_openssl_asks_for_is_judged() {
    let temp = temp_dir();
    let dir = temp.path();
    ca(dir, &["init", "--unencrypted", "--trust-domain", "a.example"]).expect_code(0);
    let make = |name: &str, key: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(dir).args(["req", "-new", "-nodes", "-subj", "/O=Somebody/CN=x", "-newkey"]);
        command.args(key.split_whitespace()).args(["-keyout", &format!("{name}.key")]);
        command.args(["-out", &format!("{name}.csr")]);
        for extension in more {
            command.args(["-addext", extension]);
        }
        run(&mut command).expect_code(0);
        ca(dir, &["sign", &format!("{name}.csr")])
    };
    let p256 = "ec -pkeyopt ec_paramgen_curve:P-256";
    let uri = format!("subjectAltName=URI:{IDENTITY}");

    for (name, key) in [("plain", p256), ("edwards", "ed25519")] {
        let signed = make(name, key, &[&uri, "basicConstraints=CA:FALSE", "keyUsage=keyEncipherment"]);
        let signed = signed.expect_code(0);
        assert!(signed.stderr.contains("not granted: the subject `O=Somebody, CN=x`"), "{signed:?}");
        assert!(signed.stderr.contains("not granted: the key usage"), "{signed:?}");
        let text = openssl(dir, &format!("x509 -noout -text -in {name}.crt")).expect_code(0).stdout;
        assert!(text.contains("CA:FALSE") && text.contains("Subject: CN = bodhi-app01"), "{text}");
        assert!(!text.contains("Encipherment") && !text.contains("Somebody"), "{text}");
    }
    for (name, key, more, expected) in [
        ("ca", p256, vec![&*uri, "basicConstraints=critical,CA:TRUE"], "ca.csr: it asks for CA:TRUE"),
        ("sign", p256, vec![&uri, "keyUsage=keyCertSign"], "it asks for the key usage keyCertSign"),
        ("nobody", p256, vec![], "it names nobody in its subject alternative name"),
        ("dns", p256, vec!["subjectAltName=DNS:a.example"], "expected one URI"),
        (
            "two",
            p256,
            vec!["subjectAltName=URI:spiffe://a.example/prod/a/b,URI:spiffe://a.example/prod/c/d"],
            "c/d in its",
        ),
        (
            "both",
            p256,
            vec!["subjectAltName=URI:spiffe://a.example/prod/a/b,DNS:a.example"],
            "beside its identity",
        ),
        (
            "foreign",
            p256,
            vec!["subjectAltName=URI:spiffe://b.example/prod/a/b"],
            "another trust domain, this authority issues for a.example",
        ),
        (
            "archive",
            p256,
            vec!["subjectAltName=URI:spiffe://a.example/prod/archive/b"],
            "hint: --profile archive allows it",
        ),
        ("rsa", "rsa:2048", vec![&uri], "the key may not be RSA 2048, the profile allows p256 or ed25519"),
        (
            "rsa4096",
            "rsa:4096",
            vec![&uri],
            "hint: RSA signs some thirty times slower; fedmsg ca request makes",
        ),
        ("small", "rsa:1024", vec![&uri], "the key is RSA 1024"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384", vec![&uri], "the key is P-384"),
    ] {
        let refused = make(name, key, &more).expect_code(2);
        assert!(refused.stderr.contains(expected), "{name}: {refused:?}");
        assert!(!dir.join(format!("{name}.crt")).exists(), "{name}");
    }
    // A key that somebody else has is nobody's any more.
    ca(dir, &["revoke", "plain.crt", "--reason", "key-compromise"]).expect_code(0);
    let again = ca(dir, &["sign", "plain.csr"]).expect_code(2);
    assert!(again.stderr.contains("which was revoked because somebody else has it"), "{again:?}");
}

#[test]
fn what_is_renewed_is_accepted_and_what_is_not_due_is_left() {
    let temp = temp_dir();
    let dir = temp.path();
    ca(dir, &["init", "--unencrypted", "--trust-domain", "a.example"]).expect_code(0);
    for service in ["bodhi", "koji"] {
        ca(dir, &["issue", service, "--host", "app01"]).expect_code(0);
    }
    let quiet = ca(dir, &["renew", "--due"]).expect_code(0);
    assert!(
        quiet.stdout.is_empty() && quiet.stderr.contains("nothing is due; the next one is at"),
        "{quiet:?}"
    );
    let early = ca(dir, &["renew", "bodhi-app01"]).expect_code(2);
    assert!(early.stderr.contains("hint: --force renews it now"), "{early:?}");

    let lists =
        ["root.crl", "issuing.crl"].map(|name| fs::read_to_string(dir.join("pki").join(name)).unwrap());
    fs::write(dir.join("lists.pem"), lists.concat()).unwrap();
    let public = |line: &str| openssl(dir, line).expect_code(0).stdout;
    let of_key = "pkey -pubout -in pki/services/bodhi-app01.key";
    let before = public(of_key);
    let renewed =
        object(&ca(dir, &["renew", "spiffe://a.example/dev/bodhi/app01", "--force"]).expect_code(0));
    assert_eq!(renewed["identity"], "spiffe://a.example/dev/bodhi/app01");
    assert_ne!(public(of_key), before);
    assert_eq!(public(of_key), public("x509 -noout -pubkey -in pki/services/bodhi-app01.crt"));
    openssl(
        dir,
        "verify -x509_strict -crl_check_all -purpose any -CAfile pki/root.crt -CRLfile lists.pem \
         -untrusted pki/issuing.crt pki/services/bodhi-app01.crt",
    )
    .expect_code(0);
    let kept = public(of_key);
    ca(dir, &["renew", "bodhi-app01", "--force", "--keep-key"]).expect_code(0);
    assert_eq!(public(of_key), kept);

    // A new key that waits for its certificate is no fault.
    ca(dir, &["request", "bodhi", "--host", "app01"]).expect_code(0);
    ca(dir, &["check"]).expect_code(0);

    // One that cannot be renewed keeps no other from it.
    ca(dir, &["revoke", "koji-app01"]).expect_code(0);
    let both = ca(dir, &["renew", "koji-app01", "bodhi-app01", "--force"]).expect_code(2);
    assert!(both.stderr.contains("koji-app01.crt was revoked at"), "{both:?}");
    assert_eq!(object(&both)["identity"], "spiffe://a.example/dev/bodhi/app01");
}
