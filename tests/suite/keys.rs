//! The authority's keys: under a passphrase that comes from a file, a descriptor or a terminal, exchanged with OpenSSL, and
//! elsewhere, behind a signer of somebody else's.

use crate::support::{Finished, fedmsg, run, temp_dir, until};
use fedmsg::identity::SpiffeId;
use fedmsg::pki::algorithm::Algorithm;
use fedmsg::pki::key::{KeyKind, PrivateKeyError, SigningKey};
use fedmsg::pki::profile::{ProfileName, Profiles};
use fedmsg::store::authority::{AuthorityStore, AuthorityStoreError, IssueRequest, KeyProtection, Level};
use fedmsg::store::files;
use fedmsg::time::{Clock, SystemClock};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DAILY: &str = "correct horse battery";
const OFFLINE: &str = "staple \u{2713} offline";

fn ca(directory: &Path, line: &str) -> Finished {
    run(fedmsg().current_dir(directory).arg("ca").args(line.split_whitespace()))
}

/// A command line of the shell, for what only a shell gives: a descriptor.
fn shell(directory: &Path, line: &str) -> Finished {
    let line = line.replace("fedmsg ", &format!("'{}' ", env!("CARGO_BIN_EXE_fedmsg")));
    run(Command::new("bash").current_dir(directory).args(["-c", &line]))
}

fn openssl(directory: &Path, line: &str) -> Finished {
    run(Command::new("openssl").current_dir(directory).args(line.split_whitespace()))
}

fn write_passphrases(directory: &Path) {
    for (name, text) in [("daily", DAILY), ("offline", OFFLINE), ("other", "another passphrase")] {
        files::write_private(&directory.join(name), format!("{text}\n").as_bytes()).unwrap();
    }
}

fn encrypted() -> tempfile::TempDir {
    let temp = temp_dir();
    write_passphrases(temp.path());
    ca(temp.path(), "init --trust-domain a.example --passphrase-file daily --root-passphrase-file offline")
        .expect_code(0);
    temp
}

/// No key is left open by default, and none is read with the wrong passphrase, by us or by OpenSSL.
#[test]
fn a_key_is_encrypted_or_it_was_said_that_it_is_not() {
    let temp = temp_dir();
    let dir = temp.path();
    let undecided = ca(dir, "init").expect_code(2);
    assert!(undecided.stderr.contains("has to be said") && undecided.stderr.contains("hint: --unencrypted"));
    assert!(!dir.join("pki").exists());
    drop(temp);

    let temp = encrypted();
    let dir = temp.path();
    for (key, right, wrong) in [("issuing.key", "daily", "offline"), ("offline/root.key", "offline", "daily")]
    {
        let text = fs::read_to_string(dir.join("pki").join(key)).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{key}");
        let read =
            |passphrase: &str| openssl(dir, &format!("pkey -noout -in pki/{key} -passin file:{passphrase}"));
        read(right).expect_code(0);
        assert_ne!(read(wrong).code, Some(0), "{key}");
    }
    let structure = openssl(dir, "asn1parse -in pki/issuing.key").expect_code(0).stdout;
    for expected in ["PBES2", "scrypt", ":4000", "aes-256-cbc"] {
        assert!(structure.contains(expected), "no {expected} in {structure}");
    }

    ca(dir, "issue bodhi --passphrase-file daily").expect_code(0);
    shell(dir, "fedmsg ca issue koji --passphrase-fd 3 3< daily").expect_code(0);
    shell(dir, "fedmsg ca issue wiki --passphrase-fd 3 3< <(printf 'correct horse battery')").expect_code(0);
    shell(dir, "printf 'correct horse battery\\n' | fedmsg ca issue fas --passphrase-fd 0").expect_code(0);
    let missing = ca(dir, "issue tahrir").expect_code(2);
    assert!(
        missing.stderr.contains("the passphrase of the issuing authority's key: no passphrase was given")
    );
    assert!(missing.stderr.contains("hint: --passphrase-file FILE"), "{missing:?}");
    let wrong = ca(dir, "issue tahrir --passphrase-file other").expect_code(2);
    assert!(wrong.stderr.contains("pki/issuing.key: the passphrase is wrong"), "{wrong:?}");
    ca(dir, "issue tahrir --passphrase correct").expect_code(2);
    fs::set_permissions(dir.join("daily"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = ca(dir, "issue tahrir --passphrase-file daily").expect_code(2);
    assert!(open.stderr.contains("hint: chmod 600 daily"), "{open:?}");
    fs::set_permissions(dir.join("daily"), fs::Permissions::from_mode(0o400)).unwrap();

    // What needs no key asks for nothing; what needs both is given both.
    assert_eq!(ca(dir, "list").expect_code(0).stdout.lines().count(), 5);
    let check = ca(dir, "check").expect_code(0).stdout;
    assert_eq!(check.matches("its key is here, encrypted, and was not looked into").count(), 2, "{check}");
    let check = ca(dir, "check --passphrase-file daily --root-passphrase-file offline").expect_code(0).stdout;
    assert_eq!(check.matches("its key is here, encrypted, and is its own").count(), 2, "{check}");
    let half = ca(dir, "crl --passphrase-file daily").expect_code(2);
    assert!(half.stderr.contains("root.key: the passphrase is wrong"), "{half:?}");
    ca(dir, "crl --passphrase-file daily --root-passphrase-file offline").expect_code(0);
    ca(dir, "revoke koji-localhost --passphrase-file daily").expect_code(0);
}

#[test]
fn a_passphrase_is_changed_removed_and_set() {
    let temp = encrypted();
    let dir = temp.path();
    let key = dir.join("pki/issuing.key");
    let before = fs::read(&key).unwrap();
    for (line, fault) in [
        ("passphrase issuing --passphrase-file other --unencrypted", "the passphrase is wrong"),
        ("passphrase issuing --passphrase-file daily", "no new passphrase was given"),
        ("passphrase issuing --unencrypted", "no passphrase was given"),
        ("passphrase issuing --passphrase-file daily --new-passphrase-file gone", "gone: opening"),
    ] {
        let refused = ca(dir, line).expect_code(2);
        assert!(refused.stderr.contains(fault), "{line}: {refused:?}");
        assert_eq!(fs::read(&key).unwrap(), before, "{line}");
    }
    files::write_private(&dir.join("short"), b"1234567\n").unwrap();
    let short =
        ca(dir, "passphrase issuing --passphrase-file daily --new-passphrase-file short").expect_code(2);
    assert!(short.stderr.contains("has 7 characters, expected 8 at least"), "{short:?}");

    let changed =
        ca(dir, "passphrase issuing --passphrase-file daily --new-passphrase-file other").expect_code(0);
    assert!(changed.stderr.contains("can still be read with the old passphrase"), "{changed:?}");
    ca(dir, "issue bodhi --passphrase-file daily").expect_code(2);
    ca(dir, "issue bodhi --passphrase-file other").expect_code(0);
    ca(dir, "passphrase issuing --passphrase-file other --unencrypted").expect_code(0);
    ca(dir, "issue koji").expect_code(0);
    assert!(
        ca(dir, "check").expect_code(0).stdout.contains("its key is here, not encrypted, and is its own")
    );
    ca(dir, "passphrase issuing --new-passphrase-file daily").expect_code(0);
    ca(dir, "passphrase root --root-passphrase-file offline --new-passphrase-file other").expect_code(0);
    ca(dir, "crl --passphrase-file daily --root-passphrase-file other").expect_code(0);
    // What a rollover makes is kept as what it follows.
    ca(dir, "rollover prepare --level issuing --passphrase-file daily --root-passphrase-file other")
        .expect_code(0);
    let keys = fs::read_dir(dir.join("pki")).unwrap().map(|entry| entry.unwrap().path());
    let keys: Vec<PathBuf> = keys.filter(|path| path.extension().is_some_and(|end| end == "key")).collect();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert!(fs::read_to_string(key).unwrap().starts_with("-----BEGIN ENCRYPTED"), "{}", key.display());
    }
    let second = "passphrase issuing --generation 2 --passphrase-file daily --new-passphrase-file other";
    ca(dir, second).expect_code(0);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Killed at any point, the file holds the key under the old passphrase or under the new one.
#[test]
fn a_change_that_is_killed_loses_no_key() {
    let temp = encrypted();
    let dir = temp.path();
    let change = |old: &str, new: &str| {
        let mut command = fedmsg();
        command.current_dir(dir).args(["ca", "passphrase", "issuing", "--passphrase-file", old]);
        command.args(["--new-passphrase-file", new]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begun = Instant::now();
    assert!(change("daily", "daily").status().unwrap().success());
    let usual = begun.elapsed();
    let (mut now, mut killed) = ("daily", 0);
    for round in 0..12 {
        let next = if now == "daily" { "other" } else { "daily" };
        let mut child = change(now, next).spawn().unwrap();
        // The point of time is what is tested here: nothing is waited for.
        std::thread::sleep(usual.mul_f64(f64::from(round) / 10.0).max(Duration::from_millis(1)));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        let opens = |with: &str| {
            ca(dir, &format!("issue s{round} --replace --passphrase-file {with}")).code == Some(0)
        };
        if !opens(now) {
            assert!(opens(next), "neither passphrase opens the key");
            now = next;
        }
    }
    assert!(killed > 0, "none was killed");
    ca(dir, &format!("check --passphrase-file {now} --root-passphrase-file offline")).expect_code(0);
}

/// What OpenSSL writes in the ways that its documentation names is read; what is not is named.
#[test]
fn the_keys_of_openssl_are_read() {
    let temp = encrypted();
    let dir = temp.path();
    openssl(dir, "pkey -in pki/issuing.key -passin file:daily -out plain.pem").expect_code(0);
    let place = |arguments: &str| {
        openssl(dir, &format!("{arguments} -out new.pem")).expect_code(0);
        files::write_private(&dir.join("pki/issuing.key"), &fs::read(dir.join("new.pem")).unwrap()).unwrap();
        ca(dir, "issue bodhi --replace --passphrase-file other")
    };
    let topk8 = "pkcs8 -topk8 -in plain.pem -passout file:other";
    for how in [
        "-scrypt",
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 10000",
        "-scrypt -scrypt_N 32768 -scrypt_r 4",
    ] {
        let read = place(&format!("{topk8} {how}"));
        assert_eq!(read.code, Some(0), "{how}: {read:?}");
    }
    place("pkey -in plain.pem -aes256 -passout file:other").expect_code(0);
    for (how, expected) in [
        ("-v1 PBE-SHA1-3DES", "encrypted with the algorithm 1.2.840.113549.1.12.1.3"),
        ("-v2 des3", "encrypted with the algorithm 1.2.840.113549.3.7"),
        ("-v2 aes-256-cbc -v2prf hmacWithSHA1", "encrypted with PBKDF2 with HMAC-SHA-1"),
        ("-v2 aes-256-cbc -iter 5000001", "5000001 iterations of PBKDF2, allowed are 5000000"),
    ] {
        let refused = place(&format!("{topk8} {how}")).expect_code(2);
        assert!(refused.stderr.contains(expected), "{how}: {refused:?}");
    }
    // The older form of an encrypted key, which step and OpenSSL 1.0 write.
    let legacy = place("ec -in plain.pem -aes256 -passout file:other").expect_code(2);
    assert!(legacy.stderr.contains("`EC PRIVATE KEY`, expected `PRIVATE KEY` (openssl pkcs8"), "{legacy:?}");
}

/// A pseudo-terminal, which `script` makes: the passphrase is asked for twice, and not shown.
#[test]
fn a_terminal_is_asked_and_shows_nothing() {
    let temp = temp_dir();
    let init = |directory: &Path, answers: &[&str]| {
        let command = format!("tty > tty; exec '{}' ca init --single", env!("CARGO_BIN_EXE_fedmsg"));
        let mut child = Command::new("script")
            .current_dir(directory)
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, into) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let mut input = child.stdin.take().unwrap();
        for (number, answer) in answers.iter().enumerate() {
            let questions = || shown.lock().unwrap().matches(": ").count();
            until("a question", || (questions() > number).then_some(()));
            // What is typed between the question and the end of the echo is shown: by any program, and to the typist alone.
            until("the end of the echo", || {
                let tty = fs::read_to_string(directory.join("tty")).ok()?;
                let said = run(Command::new("stty").args(["-a", "-F", tty.trim()])).stdout;
                said.contains("-echo ").then_some(())
            });
            writeln!(input, "{answer}").unwrap();
        }
        let status = until("the end", || child.try_wait().unwrap());
        reader.join().unwrap();
        let shown = shown.lock().unwrap().clone();
        (status.code(), shown)
    };
    let [same, differ] = ["same", "differ"].map(|name| temp.path().join(name));
    for directory in [&same, &differ] {
        fs::create_dir(directory).unwrap();
        write_passphrases(directory);
    }
    let (code, shown) = init(&same, &[DAILY, DAILY]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("new passphrase for the root authority's key: ") && !shown.contains("horse"),
        "{shown}"
    );
    ca(&same, "issue bodhi --passphrase-file daily").expect_code(0);
    let (code, shown) = init(&differ, &[DAILY, OFFLINE]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("the two passphrases differ") && !differ.join("pki").exists(), "{shown}");
}

/// A key in the keeping of another program: this one asks OpenSSL for each signature, as one for an HSM would ask that.
#[derive(Debug)]
struct Elsewhere {
    key: PathBuf,
    spki: Vec<u8>,
}

impl Elsewhere {
    fn new(key: &Path) -> Self {
        let public =
            Command::new("openssl").args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(key).output();
        Self { key: key.to_owned(), spki: public.unwrap().stdout }
    }
}

impl SigningKey for Elsewhere {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaP256Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let mut to_sign = tempfile::NamedTempFile::new().map_err(|_| PrivateKeyError::Operation)?;
        to_sign.write_all(message).map_err(|_| PrivateKeyError::Operation)?;
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-sign", "-rawin", "-digest", "sha256", "-inkey"]).arg(&self.key);
        let signed =
            command.arg("-in").arg(to_sign.path()).output().map_err(|_| PrivateKeyError::Operation)?;
        if signed.status.success() { Ok(signed.stdout) } else { Err(PrivateKeyError::Operation) }
    }
}

/// The issuing code is the same: the key is found by the certificate that it belongs to, and no file is read.
#[test]
fn a_signer_of_somebody_elses_issues_and_revokes() {
    let temp = temp_dir();
    let (dir, now) = (temp.path(), SystemClock.now());
    let (pki, moved) = (dir.join("pki"), dir.join("in-the-hsm.pem"));
    let profiles = || Profiles::built_in().unwrap();
    let store =
        AuthorityStore::create(&pki, "a.example", false, profiles(), &KeyProtection::Unencrypted, now);
    let key = store.unwrap().key_path(Level::Issuing);
    fs::rename(&key, &moved).unwrap();
    let request = IssueRequest {
        env: "prod".to_owned(),
        service: "bodhi".to_owned(),
        host: "app01".to_owned(),
        profile: ProfileName::Service,
        days: None,
        key_kind: Some(KeyKind::P256),
        directory: None,
        replace: false,
    };
    let mut store = AuthorityStore::open(&pki, profiles()).unwrap();
    assert!(matches!(store.issue(&request, now), Err(AuthorityStoreError::KeyAway { .. })));

    let mut store = store.with_key(Arc::new(Elsewhere::new(&moved)));
    let issued = store.issue(&request, now).unwrap();
    let expected: SpiffeId = "spiffe://a.example/prod/bodhi/app01".parse().unwrap();
    assert_eq!(issued.issued.identity(), &expected);
    assert_eq!(store.rewrite_crl(Level::Issuing, None, now).unwrap().number, 2);
    let chain = "verify -x509_strict -crl_check_all -purpose any -CAfile pki/root.crt -CRLfile lists.pem -untrusted pki/issuing.crt pki/services/bodhi-app01.crt";
    let lists = ["root.crl", "issuing.crl"].map(|name| fs::read_to_string(pki.join(name)).unwrap());
    fs::write(dir.join("lists.pem"), lists.concat()).unwrap();
    openssl(dir, chain).expect_code(0);
    // It is asked each time: gone, nothing is signed, and nothing is entered.
    fs::rename(&moved, dir.join("gone.pem")).unwrap();
    let before = store.entries().unwrap().len();
    let gone = store.issue(&IssueRequest { host: "app02".to_owned(), ..request }, now);
    assert!(gone.is_err() && store.entries().unwrap().len() == before, "{gone:?}");
}
