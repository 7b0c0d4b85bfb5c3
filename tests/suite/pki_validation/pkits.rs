//! NIST's PKITS: 223 leaves with their verdicts in their names. `scripts/peers` fetches them (target/pkits); they are not
//! committed. Where we differ, tests/pkits-exceptions.toml says why, and must not say it of what agrees.

use fedmsg::pki::certificate::{Certificate, IdentityRule};
use fedmsg::pki::chain::{ChainError, Purpose, RevocationPolicy, TrustStore};
use fedmsg::pki::crl::Crl;
use fedmsg::time::Timestamp;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Within the lives of all that is not meant to be over.
const AT: &str = "2020-01-01T00:00:00Z";

#[test]
fn pkits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join("target").join("pkits");
    if !directory.exists() {
        let missing = format!("{} is not here; `scripts/peers` makes it", directory.display());
        assert!(std::env::var_os("TEST_REQUIRE_PEERS").is_none_or(|v| v != "1"), "{missing}");
        eprintln!("not tested: {missing}");
        return;
    }
    let text = fs::read_to_string(root.join("tests/pkits-exceptions.toml")).unwrap();
    let exceptions: BTreeMap<String, String> = toml::from_str(&text).unwrap();
    let suite = Suite::read(&directory);
    let (mut unexplained, mut count) = (Vec::new(), 0);
    let mut unused: Vec<&String> = exceptions.keys().collect();
    for leaf in files(&directory, "EE.crt") {
        let name = name(&leaf).trim_end_matches("EE").to_owned();
        let verdict = suite.verdict(&fs::read(&leaf).unwrap());
        count += 1;
        // Cases that do not say so are about policies, and valid for who asks for none.
        let is_valid = !name.starts_with("Invalid");
        let agrees = verdict.is_ok() == is_valid;
        let excepted = exceptions.contains_key(&name);
        assert!(is_valid || !excepted, "{name}: no exception makes a false accept good");
        unused.retain(|known| **known != name);
        if agrees == excepted {
            unexplained.push(format!("{name}: {}", verdict.err().unwrap_or_else(|| "accepted".to_owned())));
        }
    }
    assert!(count >= 223, "only {count} leaves in {}", directory.display());
    assert_eq!(unexplained, Vec::<String>::new(), "not as tests/pkits-exceptions.toml says");
    assert_eq!(unused, Vec::<&String>::new(), "exceptions for no case");
}

/// One trust store for all: the root, each intermediate, and each list that is one.
struct Suite {
    store: TrustStore,
    /// The names of files that are no list we take; a consumer who named one would have no trust store at all.
    refused_lists: Vec<String>,
}

impl Suite {
    fn read(directory: &Path) -> Self {
        let certificate = |path: &PathBuf| Certificate::parse(&fs::read(path).unwrap()).ok();
        let root = directory.join("TrustAnchorRootCertificate.crt");
        let mut builder = TrustStore::builder(RevocationPolicy::Required)
            .anchor("root", certificate(&root).unwrap(), IdentityRule::CommonName)
            .unwrap();
        let others = files(directory, ".crt");
        for path in others.iter().filter(|path| !name(path).ends_with("EE") && **path != root) {
            // What cannot be an intermediate is no part of any path.
            let Some(certificate) = certificate(path) else { continue };
            let with =
                |store: fedmsg::pki::chain::TrustStoreBuilder| store.intermediate(name(path), certificate);
            // The builder is taken by value, and a refusal keeps it: so each is tried on a store of its own first.
            let alone = TrustStore::builder(RevocationPolicy::Required);
            if alone.intermediate(name(path), Certificate::parse(&fs::read(path).unwrap()).unwrap()).is_ok() {
                builder = with(builder).unwrap();
            }
        }
        let mut refused_lists = Vec::new();
        for path in files(directory, ".crl") {
            match Crl::parse(&fs::read(&path).unwrap()) {
                Ok(list) => builder = builder.crl(name(&path), list).unwrap(),
                Err(_) => refused_lists.push(name(&path)),
            }
        }
        Self { store: builder.build().unwrap(), refused_lists }
    }

    fn verdict(&self, leaf: &[u8]) -> Result<(), String> {
        let at: Timestamp = AT.parse().unwrap();
        let issuer = Certificate::parse(leaf).map(|leaf| leaf.issuer().replace(' ', "")).unwrap_or_default();
        let delta = |name: &&String| {
            name.split_once("deltaCRL").is_some_and(|_| {
                let of = name.trim_end_matches("deltaCRL").trim_end_matches("CRL");
                issuer.ends_with(&format!("CN={of}"))
            })
        };
        if let Some(list) = self.refused_lists.iter().find(delta) {
            return Err(format!("{list} is no complete list"));
        }
        match self.store.validate(leaf, &[], &Purpose::Any, at) {
            // The name is looked at last, when the path and its lists were accepted: theirs have spaces, ours have none.
            Ok(_) | Err(ChainError::Identity { .. }) => Ok(()),
            Err(error) => Err(format!("{}: {error}", error.code())),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    found.sort();
    found
}
