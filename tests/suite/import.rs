//! Authorities that OpenSSL made, in the ways that OpenSSL, easy-rsa and step-ca make them: taken over, and then OpenSSL accepts
//! what they issue here; or refused, and nothing is left behind.

use crate::support::{Finished, fedmsg, run, temp_dir};
use fedmsg::store::files;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Extensions by the name of a section: what `-extensions` chooses.
const CONFIG: &str = "
[req]
distinguished_name = dn
[dn]
[step_root]
basicConstraints = critical, CA:TRUE, pathlen:1
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[step_intermediate]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[easy_rsa]
basicConstraints = CA:TRUE
keyUsage = cRLSign, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always
[no_path]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
[no_cert_sign]
basicConstraints = critical, CA:TRUE
keyUsage = critical, cRLSign
[no_crl_sign]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[not_ca]
basicConstraints = critical, CA:FALSE
keyUsage = critical, keyCertSign, cRLSign
[free_intermediate]
basicConstraints = critical, CA:TRUE
[servers]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = serverAuth
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = 1.3.6.1.5.5.7.3.36
subjectAltName = URI:spiffe://a.example/prod/old/app01
authorityKeyIdentifier = keyid
[ca]
default_ca = it
[it]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = newcerts
default_md = sha256
policy = any
default_days = 300
default_crl_days = 30
rand_serial = yes
[any]
commonName = supplied
";

const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: temp_dir() };
        let dir = bench.path();
        fs::write(dir.join("x.cnf"), CONFIG).unwrap();
        fs::create_dir(dir.join("newcerts")).unwrap();
        fs::write(dir.join("index.txt"), "").unwrap();
        fs::write(dir.join("crlnumber"), "1000\n").unwrap();
        files::write_private(&dir.join("daily"), b"correct horse battery\n").unwrap();
        bench
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn sh(&self, line: &str) -> Finished {
        run(Command::new("bash").current_dir(self.path()).args(["-c", line]))
    }

    /// A root in `NAME.crt` and `NAME.key`.
    fn root(&self, name: &str, section: &str, subject: &str) {
        let line = format!(
            "openssl req -x509 -config x.cnf -extensions {section} {P256} -days 3650 -multivalue-rdn \
             -subj '{subject}' -keyout {name}.key -out {name}.crt && chmod 600 {name}.key"
        );
        self.sh(&line).expect_code(0);
    }

    /// What `above` vouches for.
    fn below(&self, name: &str, section: &str, subject: &str, above: &str) {
        let line = format!(
            "openssl req -new -config x.cnf {P256} -subj '{subject}' -keyout {name}.key -out {name}.csr &&
             openssl x509 -req -in {name}.csr -CA {above}.crt -CAkey {above}.key -CAcreateserial -days 1000 \
             -extfile x.cnf -extensions {section} -out {name}.crt && chmod 600 {name}.key"
        );
        self.sh(&line).expect_code(0);
    }

    fn list(&self, of: &str) {
        let line = format!("openssl ca -config x.cnf -gencrl -cert {of}.crt -keyfile {of}.key -out {of}.crl");
        self.sh(&line).expect_code(0);
    }

    fn ca(&self, line: &str) -> Finished {
        run(fedmsg().current_dir(self.path()).args(["--json", "ca"]).args(line.split_whitespace()))
    }

    fn import(&self, line: &str) -> Finished {
        self.ca(&format!("import --trust-domain a.example --passphrase-file daily {line}"))
    }

    /// Issues, and has OpenSSL and ourselves look at what was issued. Then all is as before.
    fn issues(&self, strict: &str, untrusted: bool) {
        self.ca("issue bodhi --env prod --host app01 --passphrase-file daily").expect_code(0);
        let lists = if untrusted { "cat pki/root.crl pki/issuing.crl" } else { "cat pki/root.crl" };
        let between = if untrusted { "-untrusted pki/issuing.crt" } else { "" };
        let verify = format!(
            "{lists} > lists.pem && openssl verify {strict} -crl_check_all -purpose any -CAfile pki/root.crt \
             -CRLfile lists.pem {between} pki/services/bodhi-app01.crt"
        );
        self.sh(&verify).expect_code(0);
        self.ca("check --passphrase-file daily").expect_code(0);
        let revoked = self.ca("revoke bodhi-app01 --passphrase-file daily").expect_code(0);
        let revoked: Value = serde_json::from_str(revoked.stdout.lines().next().unwrap()).unwrap();
        assert_eq!(revoked["reason"], "certificate-revoked");
        let refused = self.sh(&verify);
        assert!(refused.stderr.contains("certificate revoked"), "{refused:?}");
        self.ca("log verify").expect_code(0);
        fs::remove_dir_all(self.path().join("pki")).unwrap();
    }
}

#[test]
fn roots_as_others_make_them_issue_here() {
    let bench = Bench::new();
    // As step makes it: an intermediate of its own below it, or one of ours.
    bench.root("step", "step_root", "/O=Example/CN=Example Root CA");
    bench.below("inter", "step_intermediate", "/O=Example/CN=Example Intermediate CA", "step");
    bench.import("--root step.crt --root-key step.key --never-revoked").expect_code(0);
    let text = fs::read_to_string(bench.path().join("pki/offline/root.key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    bench.issues("-x509_strict", true);
    bench
        .import(
            "--root step.crt --root-key step.key --issuing inter.crt --issuing-key inter.key --never-revoked",
        )
        .expect_code(0);
    bench.issues("-x509_strict", true);

    // The root's key stays where it is.
    bench.list("step");
    let offline =
        "--root step.crt --root-crl step.crl --issuing inter.crt --issuing-key inter.key --never-revoked";
    let imported = bench.import(offline).expect_code(0);
    assert!(imported.stderr.contains("the root's list is made where its key is"), "{imported:?}");
    let object: Value = serde_json::from_str(imported.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&object["root"]["key"], &object["issuing"]["encrypted"]), (&Value::Null, &Value::Bool(true)));
    // A newer list from there is taken as it comes.
    bench.list("step");
    bench.sh("mv step.crl pki/root.crl").expect_code(0);
    assert_eq!(bench.ca("crl --due --passphrase-file daily").expect_code(0).stdout, "");
    bench.issues("-x509_strict", true);

    // As easy-rsa makes it, with RSA; and as `openssl req -x509` does by itself, with all that it asks for in its name.
    bench.sh(
        "openssl req -x509 -config x.cnf -extensions easy_rsa -newkey rsa:2048 -nodes -days 3650 -subj '/CN=Easy-RSA CA' \
         -keyout easy.key -out easy.crt && chmod 600 easy.key",
    )
    .expect_code(0);
    bench.import("--root easy.crt --root-key easy.key --never-revoked").expect_code(0);
    // Its basic constraints are not critical, and it names itself as its issuer by serial number: not for -x509_strict.
    bench.issues("", true);
    bench.sh(&format!(
        "openssl req -x509 {P256} -days 365 -keyout plain.key -out plain.crt -subj \
         '/C=AU/ST=Some-State/O=Internet Widgits Pty Ltd/OU=Ops/CN=ca.a.example/emailAddress=ca@a.example' && chmod 600 plain.key"
    ))
    .expect_code(0);
    let warned = bench.import("--root plain.crt --root-key plain.key --never-revoked").expect_code(0);
    assert!(warned.stderr.contains("has no key usage: OpenSSL refuses such a root with -x509_strict"));
    bench.issues("", true);
    bench.import("--root plain.crt --root-key plain.key --never-revoked --single").expect_code(0);
    bench.issues("", false);

    // Two organisational units are no matter in a root that signs nothing here.
    bench.root("units", "step_root", "/O=Example/OU=One/OU=Two/CN=Root");
    bench.below("plainly", "step_intermediate", "/O=Example/CN=Issuing", "units");
    bench.list("units");
    bench
        .import("--root units.crt --root-crl units.crl --issuing plainly.crt --issuing-key plainly.key --never-revoked")
        .expect_code(0);
    bench.issues("-x509_strict", true);
}

/// What was revoked before stays revoked, under the numbers that follow.
#[test]
fn a_list_is_continued() {
    let bench = Bench::new();
    bench.root("root", "step_root", "/O=Example/CN=Root");
    bench.sh(&format!(
        "for name in one two; do
           openssl req -new -config x.cnf {P256} -subj /CN=old-$name -keyout $name.key -out $name.csr &&
           openssl ca -batch -config x.cnf -cert root.crt -keyfile root.key -extensions leaf -notext -in $name.csr -out $name.crt || exit 1
         done
         openssl ca -config x.cnf -cert root.crt -keyfile root.key -revoke one.crt -crl_compromise 20260101000000Z"
    ))
    .expect_code(0);
    bench.list("root");
    let keys = "--root root.crt --root-key root.key --single";
    let undecided = bench.import(keys).expect_code(2);
    assert!(undecided.stderr.contains("whether the root authority has revoked anything has to be said"));
    assert!(undecided.stderr.contains("hint: --root-crl FILE"), "{undecided:?}");
    for (more, found) in [("", 0), ("--issued two.crt", 0)] {
        let forgotten = bench.import(&format!("{keys} --root-crl root.crl {more}")).expect_code(2);
        let expected = format!("the list revokes 1 certificates, and {found} of them were given");
        assert!(forgotten.stderr.contains(&expected), "{forgotten:?}");
    }
    bench.import(&format!("{keys} --root-crl root.crl --issued one.crt two.crt")).expect_code(0);
    let text = bench.sh("openssl crl -in pki/root.crl -noout -text").expect_code(0).stdout;
    for expected in ["CRL Number: \n                4097", "Key Compromise", "Jan  1 00:00:00 2026"] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let listed = bench.ca("list").expect_code(0).stdout;
    let states: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut states: Vec<&str> = states.iter().map(|entry| entry["state"].as_str().unwrap()).collect();
    states.sort_unstable();
    assert_eq!(states, ["revoked", "valid"]);
    assert!(listed.contains("spiffe://a.example/prod/old/app01"), "{listed}");
    let verify = |name: &str| {
        bench.sh(&format!(
            "openssl verify -crl_check -purpose any -CAfile pki/root.crt -CRLfile pki/root.crl {name}.crt"
        ))
    };
    assert!(verify("one").stderr.contains("certificate revoked"));
    verify("two").expect_code(0);
    bench.issues("-x509_strict", false);
}

#[test]
fn what_could_not_issue_is_refused_by_name() {
    let bench = Bench::new();
    let dir = bench.path();
    bench.root("good", "step_root", "/O=Example/CN=Root");
    bench.root("other", "step_root", "/O=Example/CN=Root");
    for (name, section, subject) in [
        ("units", "step_root", "/O=Example/OU=One/OU=Two/CN=Root"),
        ("multi", "step_root", "/O=Example/CN=Root+OU=One"),
        ("no_path", "no_path", "/CN=Root"),
        ("no_cert_sign", "no_cert_sign", "/CN=Root"),
        ("no_crl_sign", "no_crl_sign", "/CN=Root"),
        ("not_ca", "not_ca", "/CN=Root"),
    ] {
        bench.root(name, section, subject);
    }
    for (name, section, above) in [
        ("inter", "step_intermediate", "good"),
        ("free", "free_intermediate", "good"),
        ("servers", "servers", "good"),
        ("deep", "step_intermediate", "no_path"),
        ("stranger", "step_intermediate", "other"),
    ] {
        bench.below(name, section, "/O=Example/CN=Issuing", above);
    }
    let past = "openssl req -new -config x.cnf -key good.key -subj '/CN=Old' -out old.csr &&
                openssl ca -batch -selfsign -config x.cnf -keyfile good.key -extensions step_root -notext \
                -startdate 20200101000000Z -enddate 20210101000000Z -in old.csr -out old.crt && : > index.txt";
    bench.sh(past).expect_code(0);
    bench.list("good");
    bench.list("other");
    bench.sh("cp other.crl others.crl; openssl ca -config x.cnf -cert good.crt -keyfile good.key -revoke inter.crt \
              && openssl ca -config x.cnf -gencrl -cert good.crt -keyfile good.key -out revoking.crl
              openssl ec -in good.key -out sec1.key; openssl ec -in good.key -aes256 -passout file:daily -out legacy.key
              openssl pkcs8 -topk8 -in good.key -v1 PBE-SHA1-3DES -passout file:daily -out weak.key
              openssl ecparam -name secp384r1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out p384.key
              chmod 600 *.key")
        .expect_code(0);

    let below = |name: &str| format!("--issuing {name}.crt --issuing-key {name}.key");
    for (line, expected) in [
        (
            "--root units.crt --root-key units.key".to_owned(),
            "cannot issue here: the attribute 2.5.4.11 twice in its name",
        ),
        ("--root multi.crt --root-key multi.key".to_owned(), "several attributes in one part in its name"),
        (
            "--root good.crt --root-key other.key".to_owned(),
            "the private key is not that of `O=Example, CN=Root`",
        ),
        ("--root not_ca.crt --root-key not_ca.key".to_owned(), "is no authority: its basic constraints"),
        ("--root no_cert_sign.crt --root-key no_cert_sign.key".to_owned(), "does not have keyCertSign"),
        ("--root no_crl_sign.crt --root-key no_crl_sign.key".to_owned(), "does not have cRLSign"),
        (
            "--root old.crt --root-key good.key".to_owned(),
            "`CN=Old` is valid from 2020-01-01T00:00:00Z until 2021",
        ),
        (
            "--root no_path.crt --root-key no_path.key".to_owned(),
            "may issue to services only: its path length is 0",
        ),
        (
            format!("--root no_path.crt --root-key no_path.key {}", below("deep")),
            "allows 0 authorities below it, found 1",
        ),
        (format!("--root good.crt --root-key good.key {}", below("free")), "does not have keyCertSign"),
        (format!("--root good.crt --root-key good.key {}", below("servers")), "document"),
        (
            format!("--root good.crt --root-key good.key {}", below("stranger")),
            "what was issued does not validate",
        ),
        (
            "--root inter.crt --root-key inter.key".to_owned(),
            "is no root: it was issued by `O=Example, CN=Root`",
        ),
        ("--root good.crt --root-crl good.crl".to_owned(), "nothing here could issue"),
        (format!("--root good.crt {}", below("inter")), "so its list is needed"),
        (
            format!("--root good.crt --root-crl others.crl {}", below("inter")),
            "root.crl is not one of `O=Example, CN=Root`",
        ),
        (format!("--root good.crt --root-crl revoking.crl {}", below("inter")), "was revoked"),
        (
            "--root good.crt --root-key good.key --root-crl others.crl".to_owned(),
            "its signature does not verify",
        ),
        ("--root good.crt --root-key good.key --issued stranger.crt".to_owned(), "which is not taken over"),
        (
            "--root good.crt --root-key sec1.key".to_owned(),
            "hint: openssl pkcs8 -topk8 -scrypt -in sec1.key -out sec1.key.p8",
        ),
        ("--root good.crt --root-key legacy.key".to_owned(), "`EC PRIVATE KEY`, expected `PRIVATE KEY`"),
        ("--root good.crt --root-key weak.key".to_owned(), "hint: openssl pkcs8 -topk8 -scrypt -in weak.key"),
        ("--root good.crt --root-key p384.key".to_owned(), "is not PKCS#8 of a P-256"),
        ("--root good.key --root-key good.key".to_owned(), "good.key: "),
    ] {
        let refused = bench.import(&format!("{line} --never-revoked")).expect_code(2);
        assert!(refused.stderr.contains(expected), "{line}\n{}", refused.stderr);
        assert!(!dir.join("pki").exists(), "{line}");
    }
    // The hint is for running. OpenSSL reads the second passphrase from the second line of the same file.
    bench.sh("cp daily again").expect_code(0);
    bench.sh("openssl pkcs8 -topk8 -scrypt -in legacy.key -out legacy.key.p8 -passin file:daily -passout file:again && chmod 600 *.p8")
        .expect_code(0);
    bench.import("--root good.crt --root-key legacy.key.p8 --never-revoked").expect_code(0);
    bench.issues("-x509_strict", true);
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".new")), "{left:?}");
}
