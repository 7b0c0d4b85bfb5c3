//! `fedmsg cert`, as it is run.

use super::forge::*;
use crate::support::{Finished, fedmsg, run, temp_dir};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn cert(directory: &Path, arguments: &str) -> Finished {
    run(fedmsg().current_dir(directory).args(["cert"]).args(arguments.split(' ')))
}

/// A directory with the world's files.
fn files(world: &World) -> tempfile::TempDir {
    let directory = temp_dir();
    let revoking = world.issuing.crl(|p| p.revoked_certs = vec![revoked(&[0x10, 0x20], None)]);
    for (name, label, der) in [
        ("root.crt", "CERTIFICATE", &world.root.der),
        ("issuing.crt", "CERTIFICATE", &world.issuing.der),
        ("leaf.crt", "CERTIFICATE", &world.leaf),
        ("root.crl", "X509 CRL", &world.root_crl),
        ("issuing.crl", "X509 CRL", &world.issuing_crl),
        ("revoking.crl", "X509 CRL", &revoking),
    ] {
        fs::write(directory.path().join(name), rcgen_pem(label, der)).unwrap();
    }
    fs::write(directory.path().join("leaf.der"), &world.leaf).unwrap();
    let both = rcgen_pem("CERTIFICATE", &world.leaf) + &rcgen_pem("CERTIFICATE", &world.issuing.der);
    fs::write(directory.path().join("chain.crt"), both).unwrap();
    directory
}

#[test]
fn verify_answers_with_its_exit_code_and_a_reason() {
    let world = World::new();
    let directory = files(&world);
    let d = directory.path();
    let lists = "--crl root.crl --crl issuing.crl --at 2026-06-01T00:00:00Z";
    let verify = |arguments: &str| cert(d, &format!("verify --ca root.crt {arguments}"));
    for arguments in [
        format!("--intermediate issuing.crt {lists} leaf.crt"),
        format!("--intermediate issuing.crt {lists} leaf.der"),
        format!("{lists} chain.crt"),
        "--no-crl --at 2026-06-01T00:00:00Z --eku any chain.crt".to_owned(),
        "--no-crl --at 2026-06-01T00:00:00Z --eku 1.3.6.1.5.5.7.3.36 chain.crt".to_owned(),
    ] {
        let ended = verify(&arguments);
        assert_eq!(ended.code, Some(0), "{arguments}: {ended:?}");
        assert!(ended.stdout.contains(IDENTITY), "{ended:?}");
    }
    for (arguments, reason, named) in [
        (format!("{lists} leaf.crt"), "certificate-unknown-issuer", "CN=issuing"),
        (format!("{lists} --crl revoking.crl chain.crt"), "", "same number and date"),
        (
            "--crl root.crl --crl revoking.crl --at 2026-06-01T00:00:00Z chain.crt".to_owned(),
            "certificate-revoked",
            "revoking.crl",
        ),
        (
            "--crl root.crl --crl issuing.crl --at 2026-06-09T00:00:00Z chain.crt".to_owned(),
            "crl-stale",
            "issuing.crl",
        ),
        ("--crl root.crl --at 2026-06-01T00:00:00Z chain.crt".to_owned(), "crl-missing", "CN=issuing"),
        (
            "--no-crl --at 2027-01-01T00:00:00Z chain.crt".to_owned(),
            "certificate-expired",
            "2026-08-30T00:00:00Z",
        ),
        (
            "--no-crl --at 2026-06-01T00:00:00Z --eku 1.3.6.1.5.5.7.3.3 chain.crt".to_owned(),
            "certificate-purpose",
            "1.3.6.1.5.5.7.3.3",
        ),
        ("--no-crl --at 2026-06-01T00:00:00Z root.crl".to_owned(), "certificate-malformed", "root.crl"),
        (
            "--ca leaf.crt --no-crl --at 2026-06-01T00:00:00Z leaf.crt".to_owned(),
            "issuer-not-authority",
            "leaf.crt",
        ),
    ] {
        let plain = verify(&arguments);
        if reason.is_empty() {
            assert_eq!(plain.code, Some(2), "{arguments}: {plain:?}");
            assert!(plain.stderr.contains(named), "{plain:?}");
            continue;
        }
        assert_eq!(plain.code, Some(1), "{arguments}: {plain:?}");
        assert!(plain.stdout.contains(reason) && plain.stdout.contains(named), "{arguments}: {plain:?}");
        let json = verify(&format!("--json {arguments}"));
        let object: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((&object["verdict"], &object["reason"]), (&"refused".into(), &reason.into()), "{object}");
    }
}

#[test]
fn revocation_is_never_left_to_a_default() {
    let directory = files(&World::new());
    let ended = cert(directory.path(), "verify --ca root.crt chain.crt");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(
        ended.stderr.contains("neither --crl nor --no-crl") && ended.stderr.contains("hint:"),
        "{ended:?}"
    );
    for arguments in [
        "verify --ca root.crt --crl root.crl --no-crl chain.crt",
        "verify --no-crl chain.crt",
        "verify --ca nowhere.crt --no-crl chain.crt",
        "verify --ca root.crt --no-crl --eku nothing chain.crt",
        "verify --ca root.crt --no-crl --at yesterday chain.crt",
        "show nowhere.crt",
        "show root.crl",
    ] {
        let ended = cert(directory.path(), arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments}: {ended:?}");
    }
}

#[test]
fn show_says_the_same_to_people_and_to_machines() {
    let world = World::new();
    let directory = files(&world);
    let plain = cert(directory.path(), "show chain.crt").stdout;
    let json = cert(directory.path(), "show --json chain.crt leaf.der").stdout;
    let objects: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3);
    let leaf = &objects[0];
    for (field, value) in [
        ("subject", "CN=bodhi-app01"),
        ("issuer", "CN=issuing"),
        ("serial", "1020"),
        ("not_before", "2026-05-31T00:00:00Z"),
        ("not_after", "2026-08-30T00:00:00Z"),
        ("key", "P-256"),
        ("identity", IDENTITY),
    ] {
        assert_eq!(leaf[field], value);
        assert!(plain.contains(value), "{field}: {plain}");
    }
    assert!(plain.contains(leaf["sha256"].as_str().unwrap()) && plain.contains("documentSigning"), "{plain}");
    assert_eq!(leaf["key_usage"], serde_json::json!(["digitalSignature"]));
    assert_eq!((&objects[1]["authority"], &objects[1]["identity"]), (&true.into(), &Value::Null));
    assert_eq!(leaf["sha256"], objects[2]["sha256"]);
}
