//! What we issue, OpenSSL and Python's cryptography accept; what we refuse, they refuse, each for its own words. Where one of them
//! does not look at something, the table says so.

use crate::support::{Child, fedmsg, judge_command, run, temp_dir};
use fedmsg::pki::pem;
use fedmsg::time::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const EXTENSIONS: &str = "
[servers]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = URI:spiffe://a.example/prod/bodhi/app01
authorityKeyIdentifier = keyid
[no_signature]
basicConstraints = critical, CA:FALSE
keyUsage = critical, keyEncipherment
extendedKeyUsage = 1.3.6.1.5.5.7.3.36
subjectAltName = URI:spiffe://a.example/prod/bodhi/app01
authorityKeyIdentifier = keyid
[two_names]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = 1.3.6.1.5.5.7.3.36
subjectAltName = URI:spiffe://a.example/prod/bodhi/app01, URI:spiffe://a.example/prod/koji/app01
authorityKeyIdentifier = keyid
[good]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = 1.3.6.1.5.5.7.3.36
subjectAltName = URI:spiffe://a.example/prod/bodhi/app01
authorityKeyIdentifier = keyid
[ca]
default_ca = it
[it]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
crl_extensions = of_list
[of_list]
authorityKeyIdentifier = keyid
";

/// One question, and the answers: our reason, and a part of what each of the others says. `accepts` says that it does not look at
/// this; nothing but `accepts` throughout is a certificate that is good.
struct Case {
    name: &'static str,
    leaf: &'static str,
    /// How many days from now.
    day: i64,
    lists: &'static [&'static str],
    ours: &'static str,
    openssl: &'static str,
    python: &'static str,
}

const ACCEPTS: &str = "accepts";
const BOTH: &[&str] = &["pki/root.crl", "pki/issuing.crl"];

const CASES: &[Case] = &[
    Case {
        name: "good",
        leaf: "good.crt",
        day: 0,
        lists: BOTH,
        ours: ACCEPTS,
        openssl: ACCEPTS,
        python: ACCEPTS,
    },
    Case {
        name: "expired",
        leaf: "short.crt",
        day: 2,
        lists: BOTH,
        ours: "certificate-expired",
        openssl: "certificate has expired",
        python: "not valid at validation time",
    },
    Case {
        name: "not yet valid",
        leaf: "good.crt",
        day: -1,
        lists: BOTH,
        ours: "certificate-not-yet-valid",
        openssl: "certificate is not yet valid",
        python: "not valid at validation time",
    },
    Case {
        name: "revoked",
        leaf: "revoked.crt",
        day: 0,
        lists: BOTH,
        ours: "certificate-revoked",
        openssl: "certificate revoked",
        python: "revoked",
    },
    Case {
        name: "its issuer revoked",
        leaf: "good.crt",
        day: 0,
        lists: &["revoking.crl", "pki/issuing.crl"],
        ours: "issuer-revoked",
        openssl: "certificate revoked",
        python: "revoked",
    },
    Case {
        name: "another authority's, of the same name",
        leaf: "stranger.crt",
        day: 0,
        lists: BOTH,
        ours: "certificate-signature",
        openssl: "unable to get local issuer certificate",
        python: "candidates exhausted",
    },
    Case {
        name: "a name changed",
        leaf: "tampered.crt",
        day: 0,
        lists: BOTH,
        ours: "certificate-signature",
        openssl: "certificate signature failure",
        python: "candidates exhausted",
    },
    Case {
        name: "issued by a service",
        leaf: "below.crt",
        day: 0,
        lists: BOTH,
        ours: "issuer-not-authority",
        openssl: "invalid CA certificate",
        python: "candidates exhausted",
    },
    Case {
        name: "no list of its issuer",
        leaf: "good.crt",
        day: 0,
        lists: &["pki/root.crl"],
        ours: "crl-missing",
        openssl: "unable to get certificate CRL",
        python: "no list of the issuer",
    },
    Case {
        name: "a list that has run out",
        leaf: "good.crt",
        day: 8,
        lists: BOTH,
        ours: "crl-stale",
        openssl: "CRL has expired",
        python: "not of this day",
    },
    // OpenSSL does not take it for the issuer\'s at all: its key identifier is another.
    Case {
        name: "a list by somebody else",
        leaf: "good.crt",
        day: 0,
        lists: &["pki/root.crl", "forged.crl"],
        ours: "crl-signature",
        openssl: "unable to get certificate CRL",
        python: "signed by somebody else",
    },
    // OpenSSL 3.0 knows no name for documentSigning: with `-purpose any` it does not look at what a leaf is for.
    Case {
        name: "for servers",
        leaf: "servers.crt",
        day: 0,
        lists: BOTH,
        ours: "certificate-purpose",
        openssl: ACCEPTS,
        python: "no documentSigning",
    },
    Case {
        name: "not for signing",
        leaf: "no_signature.crt",
        day: 0,
        lists: BOTH,
        ours: "certificate-key-usage",
        openssl: ACCEPTS,
        python: "no digitalSignature",
    },
    Case {
        name: "two identities",
        leaf: "two_names.crt",
        day: 0,
        lists: BOTH,
        ours: "identity-ambiguous",
        openssl: ACCEPTS,
        python: "not one name",
    },
];

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn sh(&self, line: &str) {
        let line = line.replace("fedmsg ", &format!("'{}' ", env!("CARGO_BIN_EXE_fedmsg")));
        let script = format!("set -e\n{line}");
        run(Command::new("bash").current_dir(self.path()).args(["-c", &script])).expect_code(0);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Everything that the cases are about.
    fn new() -> Self {
        let bench = Self { directory: temp_dir() };
        fs::write(bench.path().join("x.cnf"), EXTENSIONS).unwrap();
        bench.sh(
            "fedmsg ca init --unencrypted --trust-domain a.example
             for name in good revoked; do
               fedmsg ca issue $name --env prod; cp pki/services/$name-localhost.crt $name.crt
             done
             cp pki/services/good-localhost.key good.key
             fedmsg ca issue short --env prod --days 1; cp pki/services/short-localhost.crt short.crt
             fedmsg ca revoke revoked-localhost --reason key-compromise
             openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout x.key -out x.csr
             below() { openssl x509 -req -in x.csr -CA $1 -CAkey $2 -days 30 -extfile x.cnf -extensions $3 -out $4; }
             for name in servers no_signature two_names; do below pki/issuing.crt pki/issuing.key $name $name.crt; done
             below good.crt good.key good below.crt; openssl x509 -in good.crt >> below.crt
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout stranger.key -out strange-ca.crt \
                -subj \"$(openssl x509 -in pki/issuing.crt -noout -subject -nameopt compat | sed 's/^subject=//')\"
             below strange-ca.crt stranger.key good stranger.crt",
        );
        // The root revokes the intermediate, and somebody with the issuing authority's name signs a list.
        bench.sh(
            ": > index.txt; echo 2000 > crlnumber
             openssl ca -config x.cnf -cert pki/root.crt -keyfile pki/offline/root.key -revoke pki/issuing.crt
             openssl ca -config x.cnf -gencrl -cert pki/root.crt -keyfile pki/offline/root.key -out revoking.crl
             : > index.txt
             openssl ca -config x.cnf -gencrl -cert strange-ca.crt -keyfile stranger.key -out forged.crl",
        );
        let good = pem::certificates(bench.read("good.crt").as_bytes()).unwrap().remove(0);
        let der = good.der().to_vec();
        let at = der.windows(5).position(|part| part == b"/good").unwrap();
        let changed = [&der[..at], b"/goad", &der[at + 5..]].concat();
        fs::write(bench.path().join("tampered.der"), changed).unwrap();
        bench.sh("openssl x509 -inform DER -in tampered.der -out tampered.crt");
        bench
    }

    fn ours(&self, case: &Case, at: Timestamp) -> String {
        let mut command = fedmsg();
        command.current_dir(self.path()).args(["--json", "cert", "verify", "--ca", "pki/root.crt"]);
        command.args(["--intermediate", "pki/issuing.crt", "--at", &at.to_string(), case.leaf]);
        for list in case.lists {
            command.args(["--crl", list]);
        }
        let verdict: Value = serde_json::from_str(run(&mut command).stdout.trim()).unwrap();
        verdict["reason"].as_str().map_or_else(|| ACCEPTS.to_owned(), str::to_owned)
    }

    fn openssl(&self, case: &Case, at: Timestamp) -> String {
        let lists: String = case.lists.iter().map(|name| self.read(name)).collect();
        fs::write(self.path().join("lists.pem"), lists).unwrap();
        // What comes after the leaf in its file, and the intermediate.
        let between = self.read("pki/issuing.crt") + &self.read(case.leaf);
        fs::write(self.path().join("between.pem"), between).unwrap();
        let mut command = Command::new("openssl");
        command.current_dir(self.path()).args([
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-purpose",
            "any",
        ]);
        command.args(["-attime", &at.as_unix().to_string(), "-CAfile", "pki/root.crt"]);
        let ended = run(command.args(["-CRLfile", "lists.pem", "-untrusted", "between.pem", case.leaf]));
        if ended.code == Some(0) { ACCEPTS.to_owned() } else { ended.stderr }
    }

    fn question(&self, case: &Case, at: Timestamp) -> String {
        let chain = pem::certificates(self.read(case.leaf).as_bytes()).unwrap();
        let mut blocks = chain.iter().map(fedmsg::pki::authority::to_pem);
        let leaf = blocks.next().unwrap();
        let between: Vec<String> = blocks.chain([self.read("pki/issuing.crt")]).collect();
        let lists: Vec<String> = case.lists.iter().map(|name| self.read(name)).collect();
        let (anchors, time) = ([self.read("pki/root.crt")], at.to_string().replace('Z', "+00:00"));
        json!({ "anchors": anchors, "intermediates": between, "lists": lists, "leaf": leaf, "time": time })
            .to_string()
    }
}

#[test]
fn others_accept_and_refuse_as_we_do() {
    let bench = Bench::new();
    let mut python = judge_command().map(|mut command| Child::spawn(&mut command));
    let (now, mut wrong) = (SystemClock.now(), Vec::new());
    for case in CASES {
        let at = now.plus_seconds(case.day * 86_400 + 60);
        let (ours, openssl) = (bench.ours(case, at), bench.openssl(case, at));
        if ours != case.ours {
            wrong.push(format!("we, {}: {ours}", case.name));
        }
        if !openssl.contains(case.openssl) {
            wrong.push(format!("OpenSSL, {}: {openssl}", case.name));
        }
        let Some(python) = &mut python else { continue };
        writeln!(python.input(), "{}", bench.question(case, at)).unwrap();
        let said = python.line("a verdict", |line| line.starts_with('{'));
        let answer: Value = serde_json::from_str(&said).unwrap();
        let verdict = if answer["accepted"] == true { ACCEPTS } else { answer["detail"].as_str().unwrap() };
        if !verdict.contains(case.python) {
            wrong.push(format!("Python, {}: {answer}", case.name));
        }
        if verdict == ACCEPTS {
            assert_eq!(answer["uris"][0], "spiffe://a.example/prod/good/localhost");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    if let Some(python) = python {
        python.finish().expect_code(0);
    }
}

/// What is issued for documents is good for nothing else that OpenSSL knows.
#[test]
fn no_other_purpose_is_served() {
    let bench = Bench::new();
    bench.sh("cat pki/root.crl pki/issuing.crl > lists.pem");
    for purpose in ["sslserver", "sslclient", "smimesign", "smimeencrypt", "timestampsign"] {
        let mut command = Command::new("openssl");
        command.current_dir(bench.path()).args(["verify", "-crl_check_all", "-purpose", purpose]);
        command.args(["-CAfile", "pki/root.crt", "-CRLfile", "lists.pem", "-untrusted", "pki/issuing.crt"]);
        let ended = run(command.arg("good.crt"));
        assert!(ended.code != Some(0) && ended.stderr.contains("purpose"), "{purpose}: {ended:?}");
    }
}

/// A request whose content was changed on its way is nobody's.
#[test]
fn a_changed_request_is_refused_by_both() {
    let bench = Bench::new();
    bench.sh("fedmsg ca request wiki --env prod --trust-domain a.example
         cp pki/services/wiki-localhost.csr wiki.csr; openssl req -in wiki.csr -outform DER -out wiki.der
         openssl req -in wiki.csr -verify -noout");
    let der = fs::read(bench.path().join("wiki.der")).unwrap();
    let at = der.windows(9).position(|part| part == b"prod/wiki").unwrap();
    let changed = [&der[..at], b"prod/wika", &der[at + 9..]].concat();
    fs::write(bench.path().join("changed.der"), changed).unwrap();
    bench.sh("openssl req -inform DER -in changed.der -out changed.csr");
    let mut verify = Command::new("openssl");
    let openssl =
        run(verify.current_dir(bench.path()).args(["req", "-in", "changed.csr", "-verify", "-noout"]));
    // OpenSSL 3.0 says that it failed, and exits with 0 all the same.
    assert!(openssl.stderr.contains("failure") && !openssl.stderr.contains("verify OK"), "{openssl:?}");
    let ours = run(fedmsg().current_dir(bench.path()).args(["ca", "sign", "changed.csr"])).expect_code(2);
    assert!(ours.stderr.contains("its signature does not verify under its own key"), "{ours:?}");
}
