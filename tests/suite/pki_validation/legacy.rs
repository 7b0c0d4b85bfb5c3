//! The chains of Python fedmsg: its own data where it is present, and chains that OpenSSL makes.

use crate::support::{run, shared_data, temp_dir};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fedmsg::pki::legacy::{LegacyAuthority, LegacyRevocation};
use fedmsg::reason::ReasonCode as R;
use fedmsg::time::Timestamp;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The certificate of a legacy message, in PEM, and the message's own time.
fn leaf_of(message: &Value) -> (Vec<u8>, Timestamp) {
    let text: String = message["certificate"].as_str().unwrap().split_whitespace().collect();
    // Python's `time.time()` is a float in some.
    let at = message["timestamp"].to_string();
    let at = Timestamp::from_unix(at.split('.').next().unwrap().parse().unwrap()).unwrap();
    (STANDARD.decode(text).unwrap(), at)
}

#[test]
fn the_signers_of_python_fedmsg_are_accepted() {
    let Some(data) = shared_data("python-fedmsg") else { return };
    let (ca, crl) = (fs::read(data.join("ca.crt")).unwrap(), fs::read(data.join("crl.pem")).unwrap());
    let list = LegacyRevocation::Crl { label: "crl.pem", pem: &crl };
    let authority = LegacyAuthority::new("ca.crt", &ca, list).unwrap();
    let lines = |file| fs::read_to_string(data.join(file)).unwrap();
    let mut accepted = 0;
    for line in lines("valid.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let message: Value = serde_json::from_str(case["wire"].as_str().unwrap()).unwrap();
        let (leaf, at) = leaf_of(&message);
        let leaf = authority.validate(&leaf, at).unwrap();
        assert_eq!(leaf.identity().to_string(), format!("cn:{}", case["signer"].as_str().unwrap()));
        let signature: String = message["signature"].as_str().unwrap().split_whitespace().collect();
        let signature = STANDARD.decode(signature).unwrap();
        let canonical = case["canonical"].as_str().unwrap().as_bytes();
        assert!(leaf.verify_sha1(canonical, &signature).is_ok());
        assert!(leaf.verify_sha1(&canonical[1..], &signature).is_err());
        accepted += 1;
    }
    assert_eq!(accepted, 44);

    let revoked = lines("invalid.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|case| case["fault"] == "revoked signer")
        .unwrap();
    let (leaf, at) = leaf_of(&serde_json::from_str(revoked["wire"].as_str().unwrap()).unwrap());
    assert_eq!(authority.validate(&leaf, at).unwrap_err().code(), R::CertificateRevoked);
    let unchecked = LegacyAuthority::new("ca.crt", &ca, LegacyRevocation::NotChecked).unwrap();
    assert!(unchecked.validate(&leaf, at).is_ok());
}

#[test]
fn fedoras_signers_of_2017_are_accepted_as_of_then() {
    let Some(data) = shared_data("fedora") else { return };
    let ca = fs::read(data.join("ca.crt")).unwrap();
    let authority = LegacyAuthority::new("ca.crt", &ca, LegacyRevocation::NotChecked).unwrap();
    for line in fs::read_to_string(data.join("messages-2017.jsonl")).unwrap().lines() {
        let (leaf, at) = leaf_of(&serde_json::from_str(line).unwrap());
        let accepted = authority.validate(&leaf, at).unwrap();
        assert!(accepted.identity().to_string().ends_with(".fedoraproject.org"), "{accepted:?}");
        let today = "2026-06-01T00:00:00Z".parse().unwrap();
        assert_eq!(authority.validate(&leaf, today).unwrap_err().code(), R::CertificateExpired);
    }
}

/// Runs openssl in a directory.
fn openssl(directory: &Path, arguments: &str) {
    let ended = run(Command::new("openssl").current_dir(directory).args(arguments.split(' ')));
    assert_eq!(ended.code, Some(0), "openssl {arguments}: {ended:?}");
}

#[test]
fn chains_made_by_openssl_are_judged_alike() {
    let directory = temp_dir();
    let d = directory.path();
    let config = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha1\npolicy=p\n\
                  default_days=30\ndefault_crl_days=30\nunique_subject=no\n[p]\ncommonName=supplied\n\
                  [leaf]\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
                  [encipher]\nkeyUsage=keyEncipherment\n[sub]\nbasicConstraints=CA:TRUE\n";
    fs::write(d.join("cnf"), config).unwrap();
    fs::write(d.join("index"), "").unwrap();
    fs::write(d.join("serial"), "01\n").unwrap();
    openssl(
        d,
        "req -x509 -newkey rsa:1024 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=legacy -sha1",
    );
    openssl(
        d,
        "req -x509 -newkey rsa:1024 -nodes -keyout other.key -out other.crt -days 30 -subj /CN=legacy -sha256",
    );
    openssl(d, "req -newkey rsa:1024 -nodes -keyout leaf.key -out leaf.csr -subj /CN=shell-app01");
    let issue = |name: &str, extra: &str| {
        openssl(
            d,
            &format!(
                "ca -batch -config cnf -cert ca.crt -keyfile ca.key -in leaf.csr -out {name} -notext {extra}"
            ),
        );
    };
    issue("leaf.crt", "-extensions leaf");
    issue("sha256.crt", "-extensions leaf -md sha256");
    issue("encipher.crt", "-extensions encipher");
    issue("sub.crt", "-extensions sub");
    issue("revoked.crt", "-extensions leaf");
    openssl(d, "ca -config cnf -cert ca.crt -keyfile ca.key -revoke revoked.crt -crl_reason keyCompromise");
    openssl(d, "ca -config cnf -cert ca.crt -keyfile ca.key -gencrl -out list.crl");
    openssl(d, "ca -config cnf -cert other.crt -keyfile other.key -gencrl -out forged.crl");
    openssl(
        d,
        "x509 -req -in leaf.csr -CA other.crt -CAkey other.key -set_serial 9 -days 9 -out impostor.crt -extfile cnf -extensions leaf",
    );
    openssl(d, "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -set_serial 10 -days 9 -out v1.crt -sha1");

    let read = |name: &str| fs::read(d.join(name)).unwrap();
    let now = fedmsg::time::Clock::now(&fedmsg::time::SystemClock);
    let (ca, list) = (read("ca.crt"), read("list.crl"));
    assert!(String::from_utf8_lossy(&list).contains("BEGIN X509 CRL"));
    let with_list = LegacyRevocation::Crl { label: "list.crl", pem: &list };
    let authority = LegacyAuthority::new("ca.crt", &ca, with_list).unwrap();
    let verdict = |name: &str, days: i64| {
        authority.validate(&read(name), now.plus_seconds(86_400 * days)).map(|_| ()).map_err(|e| e.code())
    };
    assert_eq!((verdict("leaf.crt", 0), verdict("sha256.crt", 0)), (Ok(()), Ok(())));
    for (name, days, expected) in [
        ("revoked.crt", 0, R::CertificateRevoked),
        ("impostor.crt", 0, R::CertificateSignature),
        ("encipher.crt", 0, R::CertificateKeyUsage),
        ("sub.crt", 0, R::CertificateIsAuthority),
        ("ca.crt", 0, R::CertificateIsAuthority),
        ("v1.crt", 0, R::CertificateMalformed),
        ("leaf.key", 0, R::CertificateMalformed),
        ("leaf.crt", 31, R::CertificateExpired),
        ("leaf.crt", -1, R::CertificateNotYetValid),
    ] {
        assert_eq!(verdict(name, days), Err(expected), "{name} {days}");
    }
    let two = [read("leaf.crt"), read("leaf.crt")].concat();
    assert_eq!(authority.validate(&two, now).unwrap_err().code(), R::CertificateMalformed);
    for (list, expected) in [("forged.crl", R::CrlSignature), ("leaf.crt", R::CrlMalformed)] {
        let pem = read(list);
        let refused = LegacyAuthority::new("ca.crt", &ca, LegacyRevocation::Crl { label: list, pem: &pem });
        assert_eq!(refused.unwrap_err().code(), expected, "{list}");
    }
    let refused = LegacyAuthority::new("leaf.crt", &read("leaf.crt"), LegacyRevocation::NotChecked);
    assert_eq!(refused.unwrap_err().code(), R::IssuerNotAuthority);

    // Nothing of this passes outside the legacy path.
    let weak = fedmsg::pki::pem::certificate(&ca).unwrap();
    let strict = fedmsg::pki::chain::TrustStore::builder(fedmsg::pki::chain::RevocationPolicy::NotChecked)
        .anchor("ca.crt", weak, fedmsg::pki::certificate::IdentityRule::CommonName)
        .unwrap_err();
    assert!(strict.to_string().contains("RSA 1024"), "{strict}");
}
