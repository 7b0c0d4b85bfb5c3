//! The authority's commands, and what OpenSSL makes of their output.

use crate::support::{Child, Finished, fedmsg, run, temp_dir};
use fedmsg::pki::algorithm::Algorithm;
use fedmsg::pki::key::{PrivateKey, PrivateKeyError};
use fedmsg::pki::public_key::PublicKey;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn ca(directory: &Path, args: &[&str]) -> Finished {
    run(fedmsg().arg("--config").arg(directory).arg("ca").args(args))
}

fn objects(finished: &Finished) -> Vec<Value> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn openssl(args: &[&str], files: &[&Path]) -> Finished {
    run(Command::new("openssl").args(args).args(files))
}

/// OpenSSL's verdict, at its strictest, with all lists. Its file of trust and lists is made anew each time.
fn openssl_accepts(directory: &Path, leaf: &Path) -> (bool, String) {
    let pki = directory.join("pki");
    let lists = directory.join("lists.pem");
    let parts = ["root.crl", "issuing.crl"].map(|name| fs::read_to_string(pki.join(name)).unwrap());
    fs::write(&lists, parts.concat()).unwrap();
    let verdict = run(Command::new("openssl")
        .args(["verify", "-x509_strict", "-crl_check_all", "-purpose", "any", "-CAfile"])
        .arg(pki.join("root.crt"))
        .arg("-CRLfile")
        .arg(&lists)
        .arg("-untrusted")
        .arg(pki.join("issuing.crt"))
        .arg(leaf));
    (verdict.code == Some(0), verdict.stdout + &verdict.stderr)
}

#[test]
fn from_init_to_a_refusal_that_openssl_shares() {
    let temp = temp_dir();
    let (dir, pki) = (temp.path(), temp.path().join("pki"));
    let made = ca(dir, &["init", "--unencrypted", "--trust-domain", "a.example"]).expect_code(0);
    assert!(made.stderr.contains("offline/root.key"), "{made:?}");
    let again = ca(dir, &["init", "--unencrypted"]).expect_code(2);
    assert!(again.stderr.contains("is there already") && again.stderr.contains("hint:"), "{again:?}");

    for kind in ["p256", "ed25519"] {
        let arguments =
            ["--json", "issue", "bodhi", "--host", kind, "--env", "prod", "--key-kind", kind, "--days", "30"];
        let issued = objects(&ca(dir, &arguments).expect_code(0));
        assert_eq!(issued[0]["identity"], format!("spiffe://a.example/prod/bodhi/{kind}"));
        let services = pki.join("services");
        let (leaf, key) =
            (services.join(format!("bodhi-{kind}.crt")), services.join(format!("bodhi-{kind}.key")));
        assert_eq!(mode(&key), 0o600);
        let public_of_key = openssl(&["pkey", "-pubout", "-in"], &[&key]).expect_code(0).stdout;
        let public_of_leaf = openssl(&["x509", "-noout", "-pubkey", "-in"], &[&leaf]).expect_code(0).stdout;
        assert_eq!(public_of_key, public_of_leaf, "OpenSSL reads the {kind} key");
        let (accepted, said) = openssl_accepts(dir, &leaf);
        assert!(accepted, "{said}");
        let text = openssl(&["x509", "-noout", "-text", "-in"], &[&leaf]).stdout;
        for expected in [
            "X509v3 Key Usage: critical\n                Digital Signature\n",
            "CA:FALSE",
            "1.3.6.1.5.5.7.3.36",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
    }
    for private in [pki.join("issuing.key"), pki.join("offline/root.key"), pki.join("authority.lock")] {
        assert_eq!(mode(&private), 0o600, "{}", private.display());
    }
    for directory in [pki.clone(), pki.join("offline"), pki.join("services")] {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
    }

    let leaf = pki.join("services/bodhi-p256.crt");
    let verify = || {
        let mut command = fedmsg();
        command.args(["--json", "cert", "verify", "--ca"]).arg(pki.join("root.crt"));
        command.arg("--intermediate").arg(pki.join("issuing.crt"));
        command.arg("--crl").arg(pki.join("root.crl")).arg("--crl").arg(pki.join("issuing.crl")).arg(&leaf);
        run(&mut command)
    };
    verify().expect_code(0);
    let revoked =
        objects(&ca(dir, &["--json", "revoke", "bodhi-p256", "--reason", "key-compromise"]).expect_code(0));
    assert_eq!(
        (&revoked[0]["verdict"], &revoked[0]["reason"]),
        (&"rejected".into(), &"certificate-revoked".into())
    );
    let (accepted, said) = openssl_accepts(dir, &leaf);
    assert!(!accepted && said.contains("certificate revoked"), "{said}");
    let refused = verify().expect_code(1);
    assert_eq!(objects(&refused)[0]["reason"], "certificate-revoked");
    assert!(openssl_accepts(dir, &pki.join("services/bodhi-ed25519.crt")).0, "the other one is still good");

    let listed = objects(&ca(dir, &["--json", "list"]).expect_code(0));
    let mut states: Vec<&str> = listed.iter().filter_map(|o| o["state"].as_str()).collect();
    // Two certificates of one second are listed by name, two of different seconds by time.
    states.sort_unstable();
    assert_eq!(states, ["revoked", "valid", "valid"]);
}

#[test]
fn the_inventory_and_its_log() {
    let temp = temp_dir();
    let (dir, pki) = (temp.path(), temp.path().join("pki"));
    ca(dir, &["init", "--unencrypted", "--trust-domain", "a.example"]).expect_code(0);
    ca(dir, &["issue", "shell", "--days", "10"]).expect_code(0);
    ca(dir, &["issue", "koji", "--days", "80"]).expect_code(0);
    let before = objects(&ca(dir, &["--json", "log", "verify"]).expect_code(0));
    assert_eq!((&before[0]["entries"], &before[0]["certificates"]), (&7.into(), &3.into()));
    let head = before[0]["head"].as_str().unwrap();
    let since = ["--reason", "key-compromise", "--invalid-since", "2020-01-01T00:00:00Z"];
    let identity = ["--json", "revoke", "spiffe://a.example/dev/koji/localhost"];
    let revoked = objects(&ca(dir, &[&identity[..], &since[..]].concat()).expect_code(0));
    assert_eq!(revoked[0]["invalid_since"], "2020-01-01T00:00:00Z");
    let text = openssl(&["crl", "-noout", "-text", "-in"], &[&pki.join("issuing.crl")]).expect_code(0).stdout;
    assert!(text.contains("Key Compromise") && text.contains("Invalidity Date"), "{text}");

    let names = |args: &[&str]| -> Vec<String> {
        let listed = objects(&ca(dir, &[&["--json", "list"], args].concat()).expect_code(0));
        listed.iter().map(|o| o["name"].as_str().unwrap().split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--state", "revoked"]), ["koji-localhost"]);
    assert_eq!(names(&["--within", "30d"]), ["shell-localhost"]);
    assert_eq!(names(&["--state", "valid", "--state", "expired"]), ["fedmsg", "shell-localhost"]);
    let shown = objects(&ca(dir, &["--json", "show", revoked[0]["serial"].as_str().unwrap()]).expect_code(0));
    let what: Vec<&Value> =
        shown[0]["log"].as_array().unwrap().iter().map(|record| &record["what"]).collect();
    assert_eq!(what, ["issue", "revoke"]);
    let exported = ca(dir, &["export", "--format", "pem"]).expect_code(0).stdout;
    assert_eq!(exported.matches("BEGIN CERTIFICATE").count(), 3);
    assert!(exported.contains(shown[0]["pem"].as_str().unwrap()));
    assert_eq!(objects(&ca(dir, &["export"]).expect_code(0)).len(), 3);

    let all = ["--json", "revoke", "--issued-before", "2999-01-01T00:00:00Z", "--reason", "superseded"];
    assert_eq!(objects(&ca(dir, &all).expect_code(0)).len(), 1, "the one that is left");
    ca(dir, &["log", "verify", "--contains", head]).expect_code(0);
    let other = ca(dir, &["log", "verify", "--contains", &"0".repeat(64)]).expect_code(1);
    assert!(other.stdout.contains("no entry has the hash"), "{other:?}");
    assert!(ca(dir, &["log"]).expect_code(0).stdout.contains("reason=key-compromise"));

    // Nothing is due yet, so that a timer writes nothing; what is gone is written.
    assert_eq!(ca(dir, &["--json", "crl", "--due"]).expect_code(0).stdout, "");
    fs::remove_file(pki.join("issuing.crl")).unwrap();
    assert_eq!(objects(&ca(dir, &["--json", "crl", "--due"]).expect_code(0))[0]["crl_number"], 4);
}

#[test]
fn a_check_finds_each_thing_that_wants_a_hand() {
    let temp = temp_dir();
    let (dir, pki) = (temp.path(), temp.path().join("pki"));
    ca(dir, &["init", "--unencrypted"]).expect_code(0);
    ca(dir, &["issue", "shell"]).expect_code(0);
    ca(dir, &["issue", "koji"]).expect_code(0);
    let all = objects(&ca(dir, &["--json", "check"]).expect_code(0));
    assert!(all.len() >= 8 && all.iter().all(|finding| finding["health"] == "good"), "{all:?}");
    let services = pki.join("services");
    let faulty = |harm: &dyn Fn(), subject: &str, detail: &str| {
        let kept = dir.join("kept");
        run(Command::new("cp").arg("-a").arg(&pki).arg(&kept)).expect_code(0);
        harm();
        let found = objects(&ca(dir, &["--json", "check", "--faults"]).expect_code(1));
        let is_said = found.iter().any(|finding| {
            finding["subject"] == subject && finding["detail"].as_str().unwrap().contains(detail)
        });
        assert!(is_said, "{subject}, {detail}: {found:?}");
        fs::remove_dir_all(&pki).unwrap();
        fs::rename(&kept, &pki).unwrap();
    };
    let chmod =
        |name: &str, mode| fs::set_permissions(pki.join(name), fs::Permissions::from_mode(mode)).unwrap();
    let copy = |from: &str, to: &str| assert!(fs::copy(pki.join(from), pki.join(to)).unwrap() > 0);
    faulty(&|| chmod("", 0o755), "mode", "mode 0755");
    faulty(&|| chmod("services/koji-localhost.key", 0o644), "mode", "mode 0644");
    faulty(&|| copy("services/koji-localhost.key", "issuing.key"), "authority", "private key is not that of");
    faulty(&|| copy("root.crt", "issuing.crt"), "authority", "another certificate than the index has");
    faulty(&|| copy("services/koji-localhost.key", "services/shell-localhost.key"), "service", "of another");
    faulty(&|| fs::remove_file(pki.join("root.crl")).unwrap(), "crl", "No such file");
    faulty(&|| fs::write(services.join("shell-localhost.crt"), "x").unwrap(), "service", "no PEM block");
    let old = fs::read(pki.join("issuing.crl")).unwrap();
    ca(dir, &["revoke", "shell-localhost"]).expect_code(0);
    faulty(&|| fs::write(pki.join("issuing.crl"), &old).unwrap(), "crl", "it is number 1, the newest is 2");
    fs::remove_dir_all(pki.join("offline")).unwrap();
    ca(dir, &["check"]).expect_code(0);
}

#[test]
fn the_roots_key_can_be_away() {
    let temp = temp_dir();
    let (dir, pki) = (temp.path(), temp.path().join("pki"));
    ca(dir, &["init", "--unencrypted"]).expect_code(0);
    fs::remove_dir_all(pki.join("offline")).unwrap();
    ca(dir, &["issue", "shell"]).expect_code(0);
    let lists = objects(&ca(dir, &["--json", "crl", "--days", "14"]).expect_code(0));
    assert_eq!((&lists[0]["authority"], &lists[0]["written"]), (&"root".into(), &false.into()));
    assert_eq!((&lists[1]["authority"], &lists[1]["written"]), (&"issuing".into(), &true.into()));
    assert_eq!(lists[1]["crl_number"], 2);
    ca(dir, &["revoke", "shell-localhost"]).expect_code(0);
    // Its list gone, the root's key is needed; the other list is written all the same.
    fs::remove_file(pki.join("root.crl")).unwrap();
    let without = ca(dir, &["--json", "crl"]).expect_code(2);
    assert_eq!(objects(&without)[0]["crl_number"], 4);
    assert!(without.stderr.contains("hint: bring the root's key back"), "{without:?}");
}

#[test]
fn what_others_can_read_is_refused() {
    let temp = temp_dir();
    let (dir, pki) = (temp.path(), temp.path().join("pki"));
    ca(dir, &["init", "--unencrypted", "--single"]).expect_code(0);
    ca(dir, &["issue", "shell"]).expect_code(0);
    let key = pki.join("root.key");
    for (path, open, mends) in [(&pki, 0o755, 0o700), (&key, 0o640, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(open)).unwrap();
        let refused = ca(dir, &["issue", "koji"]).expect_code(2);
        let hint = format!("hint: chmod {mends:o} {}", path.display());
        assert!(refused.stderr.contains(&hint), "{refused:?}");
        fs::set_permissions(path, fs::Permissions::from_mode(mends)).unwrap();
    }
    ca(dir, &["issue", "koji"]).expect_code(0);
}

#[test]
fn two_operators_at_once_lose_nothing() {
    const OPERATORS: usize = 8;
    let temp = temp_dir();
    let dir = temp.path();
    ca(dir, &["init", "--unencrypted", "--single"]).expect_code(0);
    let start = |args: &[&str]| Child::spawn(fedmsg().arg("--config").arg(dir).arg("ca").args(args));
    let names: Vec<String> = (0..OPERATORS).map(|n| format!("service{n}")).collect();
    let mut running: Vec<Child> = names.iter().map(|name| start(&["issue", name])).collect();
    running.extend((0..2).map(|_| start(&["crl"])));
    for child in running {
        child.finish().expect_code(0);
    }
    let listed = objects(&ca(dir, &["--json", "list"]).expect_code(0));
    let mut found: Vec<String> = listed.iter().map(|o| o["name"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, names.iter().map(|name| format!("{name}-localhost")).collect::<Vec<_>>());
    let mut serials: Vec<&Value> = listed.iter().map(|o| &o["serial"]).collect();
    serials.sort_by_key(|serial| serial.to_string());
    serials.dedup();
    assert_eq!(serials.len(), OPERATORS);
    let list = &objects(&ca(dir, &["--json", "crl"]).expect_code(0))[0];
    assert_eq!(list["crl_number"], 4, "one at init, two at once, and this one");
}

#[test]
fn a_profile_is_replaced_by_a_file_and_faulted_by_line() {
    let temp = temp_dir();
    let dir = temp.path();
    const PROFILE: &str =
        "days = 3\nmax_days = 5\nkey_kinds = [\"ed25519\"]\nidentities = [\"*/*/*\"]\nexcept = []\n";
    let certs = dir.join("certs");
    fs::create_dir(&certs).unwrap();
    fs::write(certs.join("service.toml"), PROFILE).unwrap();
    ca(dir, &["init", "--unencrypted"]).expect_code(0);
    let issued = objects(&ca(dir, &["--json", "issue", "shell"]).expect_code(0));
    assert_eq!(issued[0]["key_kind"], "ed25519");
    let refused = ca(dir, &["issue", "koji", "--key-kind", "p256"]).expect_code(2);
    assert!(refused.stderr.contains("may not be p256, the profile allows ed25519"), "{refused:?}");
    fs::write(certs.join("service.toml"), "days = 3\nmax_dais = 5\n").unwrap();
    let refused = ca(dir, &["issue", "koji"]).expect_code(2);
    assert!(refused.stderr.contains("certs/service.toml:2:1: unknown field `max_dais`"), "{refused:?}");
}

#[test]
fn keys_that_openssl_makes_are_read_and_sign() {
    for (arguments, algorithm) in [
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], Algorithm::EcdsaP256Sha256),
        (&["-algorithm", "ED25519"][..], Algorithm::Ed25519),
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..], Algorithm::RsaPkcs1Sha256),
    ] {
        let pem = run(Command::new("openssl").arg("genpkey").args(arguments)).expect_code(0).stdout;
        let key = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let public = PublicKey::from_spki(key.public_spki()).unwrap();
        public.verify(algorithm, b"message", &key.sign(b"message").unwrap()).unwrap();
        assert!(public.verify(algorithm, b"massage", &key.sign(b"message").unwrap()).is_err());
    }
    let sec1 = run(Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]));
    let error = PrivateKey::from_pem(sec1.stdout.as_bytes()).unwrap_err();
    assert_eq!(error, PrivateKeyError::Form { found: "EC PRIVATE KEY".to_owned() });
}

#[test]
fn several_services_are_issued_to_at_once() {
    let temp = temp_dir();
    let (dir, services) = (temp.path(), temp.path().join("pki").join("services"));
    let killed = dir.join(".new-pki-killed");
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join("authority.lock"), "").unwrap();
    let made = ca(dir, &["init", "--unencrypted"]).expect_code(0);
    assert!(made.stderr.contains(".new-pki-killed: removed: making an authority there was interrupted"));
    assert!(!killed.exists());

    let arguments = ["--json", "issue", "bodhi/app01", "koji", "--host", "hub01", "--env", "prod"];
    let told = objects(&ca(dir, &arguments).expect_code(0));
    let identities: Vec<&str> = told.iter().map(|one| one["identity"].as_str().unwrap()).collect();
    assert_eq!(identities, ["spiffe://dev.example/prod/bodhi/app01", "spiffe://dev.example/prod/koji/hub01"]);
    for name in ["bodhi-app01", "koji-hub01"] {
        assert_eq!(mode(&services.join(format!("{name}.key"))), 0o600);
        let (accepted, said) = openssl_accepts(dir, &services.join(format!("{name}.crt")));
        assert!(accepted, "{said}");
    }
    let twice = ca(dir, &["issue", "wiki/a", "wiki/a"]).expect_code(2);
    assert!(twice.stderr.contains("wiki-a.crt: asked for twice"), "{twice:?}");
    assert!(!services.join("wiki-a.key").exists());
    let shown = run(crate::support::fedmsg().args(["cert", "show"]).arg(services.join("koji-hub01.crt")));
    let shown = shown.expect_code(0).stdout;
    assert!(
        shown.contains("koji-hub01.crt, certificate 1\n") && shown.contains(", certificate 2\n"),
        "{shown}"
    );
}
