//! The authorities, services and keys of the vectors. The keys go with the value: nothing of them is written.

use crate::pki_validation::forge::{Ca, DAY, at, now, rcgen_pem};
use crate::vectors::case::TrustFiles;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fedmsg::identity::SpiffeId;
use fedmsg::merkle;
use fedmsg::message::Proof;
use fedmsg::pki::algorithm::Algorithm;
use fedmsg::pki::authority::Authority;
use fedmsg::pki::key::{KeyKind, PrivateKey, PrivateKeyError, SigningKey};
use fedmsg::pki::profile::AuthorityProfile;
use fedmsg::sign::BatchStatement;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, SerialNumber,
    SubjectPublicKeyInfo,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub(super) const TOPIC: &str = "org.example.prod.bodhi.update.comment";
pub(super) const IDENTITY: [&str; 3] = ["prod", "bodhi", "app01"];

/// Long enough that nobody has to make the vectors again because a day has passed.
const YEARS: i64 = 365 * DAY;

pub(super) type Frames = Vec<Vec<u8>>;

/// A root, an issuing authority, and the files that say what is trusted.
pub(super) struct World {
    pub(super) root: Ca,
    pub(super) issuing: Ca,
    issuer: Authority,
    serials: Cell<u32>,
    pub(super) trust: BTreeMap<String, TrustFiles>,
    pub(super) files: BTreeMap<String, String>,
}

/// A key, and the certificate that the issuing authority gave it.
pub(super) struct Service {
    pub(super) key: Arc<dyn SigningKey>,
    pub(super) leaf: Vec<u8>,
}

impl World {
    pub(super) fn new() -> Self {
        let lifetime = |years: i64| Duration::from_secs(u64::try_from(years * YEARS).unwrap());
        let profile = |years| AuthorityProfile {
            lifetime: lifetime(years),
            crl_lifetime: lifetime(30),
            key_kind: KeyKind::P256,
        };
        let made = now().plus_seconds(-30 * DAY);
        let key = || Arc::new(PrivateKey::generate(KeyKind::P256).unwrap());
        let (root_key, issuing_key) = (key(), key());
        let root = Authority::new_root("example.org", &profile(50), 1, root_key.clone(), made).unwrap();
        let issuer = root.new_intermediate("example.org", &profile(40), issuing_key.clone(), made).unwrap();
        let lists = [&root, &issuer].map(|authority| authority.crl(1, &[], lifetime(30), made).unwrap());
        let mut world = Self {
            root: ca(&root, &root_key),
            issuing: ca(&issuer, &issuing_key),
            issuer,
            serials: Cell::new(1),
            trust: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for (name, der) in [("root", &world.root.der), ("issuing", &world.issuing.der)] {
            world.files.insert(format!("{name}.crt"), rcgen_pem("CERTIFICATE", der));
        }
        for (name, list) in ["root", "issuing"].into_iter().zip(lists) {
            world.files.insert(format!("{name}.crl"), list.to_pem());
        }
        world.trust("standard", &["root.crt"], &["root.crl", "issuing.crl"]);
        world
    }

    /// Names what is trusted. The issuing authority's certificate is always at hand.
    pub(super) fn trust(&mut self, name: &str, anchors: &[&str], crls: &[&str]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let intermediates = vec!["issuing.crt".to_owned()];
        let files = TrustFiles { anchors: owned(anchors), intermediates, crls: owned(crls) };
        assert!(self.trust.insert(name.to_owned(), files).is_none(), "{name} twice");
    }

    /// Trusts the root, and these lists; those that are no file yet are `(name, DER)`.
    pub(super) fn trust_lists(&mut self, name: &str, crls: &[&str], made: &[(&str, &[u8])]) {
        for (file, der) in made {
            self.files.insert((*file).to_owned(), rcgen_pem("X509 CRL", der));
        }
        self.trust(name, &["root.crt"], crls);
    }

    /// A certificate from the issuing authority, as `fedmsg ca issue` gives it.
    pub(super) fn service(&self, key: impl SigningKey + 'static, parts: [&str; 3]) -> Service {
        let [env, service, host] = parts;
        let identity = SpiffeId::new("example.org", env, service, host).unwrap();
        let (lifetime, from) = (Duration::from_secs(20 * 365 * 86_400), now().plus_seconds(-DAY));
        let issued = self.issuer.issue(&identity, key.public_spki(), lifetime, from).unwrap();
        Service { key: Arc::new(key), leaf: issued.certificate().der().to_vec() }
    }

    /// A certificate for a key from any authority, changed at will. Its dates are those that [`World::service`] gives.
    pub(super) fn leaf(
        &self,
        issuer: &Ca,
        key: &dyn SigningKey,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let spki = SubjectPublicKeyInfo::from_der(key.public_spki()).unwrap();
        issuer.leaf_for(&spki, |params| {
            self.serials.set(self.serials.get() + 1);
            params.serial_number = Some(SerialNumber::from_slice(&self.serials.get().to_be_bytes()));
            params.not_after = at(20 * YEARS);
            change(params);
        })
    }
}

pub(super) fn p256() -> PrivateKey {
    PrivateKey::generate(KeyKind::P256).unwrap()
}

/// Makes an authority last as long as the others.
pub(super) fn lasting(params: &mut CertificateParams) {
    params.not_after = at(40 * YEARS);
}

/// A list for as long.
pub(super) fn lasting_list(
    ca: &Ca,
    change: impl FnOnce(&mut rcgen::CertificateRevocationListParams),
) -> Vec<u8> {
    ca.crl(|params| {
        params.this_update = at(-29 * DAY);
        params.next_update = at(30 * YEARS);
        change(params);
    })
}

/// What signs in an authority's name, to forge with.
fn ca(authority: &Authority, key: &PrivateKey) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "example.org");
    let name = authority.certificate().subject_cn().unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::from_pem(&key.to_pem()).unwrap();
    Ca { params, key, der: authority.certificate().der().to_vec() }
}

impl Service {
    /// The frames of one signed text, whose topic is [`TOPIC`] and whose proof carries the leaf alone.
    pub(super) fn frames(&self, text: impl AsRef<[u8]>) -> Frames {
        self.frames_with(text.as_ref(), |_| {})
    }

    /// As [`Service::frames`], with a proof that was changed after signing.
    pub(super) fn frames_with(&self, text: &[u8], change: impl FnOnce(&mut Proof)) -> Frames {
        let mut proof = signed(&*self.key, &[&self.leaf], text);
        change(&mut proof);
        frames(TOPIC, body(text, &proof.to_base64().unwrap()))
    }
}

/// The proof of a text that is signed alone.
pub(super) fn signed(key: &dyn SigningKey, chain: &[&[u8]], text: &[u8]) -> Proof {
    signed_in(key, chain, text, 1, 0, Vec::new())
}

/// The proof of a text at a place in a tree: the path is taken as it is, and what it leads to is signed.
pub(super) fn signed_in(
    key: &dyn SigningKey,
    chain: &[&[u8]],
    text: &[u8],
    tree_size: u32,
    leaf_index: u32,
    path: Vec<[u8; 32]>,
) -> Proof {
    let leaf = merkle::leaf_hash(&[text]);
    let root = merkle::root_of_path(leaf, leaf_index, tree_size, &path).unwrap();
    let certificate = merkle::sha256(&[chain[0]]);
    let statement = BatchStatement { certificate, size: tree_size, root };
    let signature = key.sign(&statement.to_bytes()).unwrap().into();
    let certificates = chain.iter().map(|der| Bytes::copy_from_slice(der)).collect();
    Proof { algorithm: key.algorithm().id(), certificates, tree_size, leaf_index, path, signature }
}

/// The body of a signed text.
pub(super) fn body(text: &[u8], proof: &str) -> Vec<u8> {
    let (last, head) = text.split_last().unwrap();
    assert_eq!(*last, b'}');
    [head, b",\"proof\":\"", proof.as_bytes(), b"\"}"].concat()
}

pub(super) fn frames(topic: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Frames {
    vec![topic.as_ref().to_vec(), body.as_ref().to_vec()]
}

/// Frames as the files have them.
pub(super) fn encoded(frames: &Frames) -> Vec<String> {
    frames.iter().map(|frame| STANDARD.encode(frame)).collect()
}

/// The fields of an envelope, each as JSON, to be changed.
pub(super) type Fields = BTreeMap<&'static str, String>;

/// An envelope in canonical form, after a change of its fields.
pub(super) fn envelope(change: impl FnOnce(&mut Fields)) -> String {
    let mut fields: Fields = [
        ("i", "1"),
        ("msg", r#"{"karma":1,"text":"caf\u00e9"}"#),
        ("msg_id", r#""2026-0f0e0d0c-0b0a-4908-8706-050403020100""#),
        ("seq", "1"),
        ("stream", r#""00112233445566778899aabbccddeeff""#),
        ("timestamp", "1780272000"),
        ("topic", r#""org.example.prod.bodhi.update.comment""#),
        ("username", r#""ada""#),
        ("v", "2"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    change(&mut fields);
    let members: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// An envelope with one field changed.
pub(super) fn with(name: &'static str, value: &str) -> String {
    envelope(|fields| drop(fields.insert(name, value.to_owned())))
}

/// A key that OpenSSL made and signs with, where ring would not.
#[derive(Debug)]
pub(super) struct OpensslKey {
    file: PathBuf,
    algorithm: Algorithm,
    spki: Vec<u8>,
}

impl OpensslKey {
    /// Makes a key in a file of `directory`; `kind` are the arguments of `openssl genpkey`.
    pub(super) fn generate(directory: &Path, name: &str, kind: &[&str], algorithm: Algorithm) -> Self {
        let file = directory.join(name);
        std::fs::write(&file, openssl(&[&["genpkey"], kind].concat(), b"")).unwrap();
        let spki = openssl(&["pkey", "-in", file.to_str().unwrap(), "-pubout", "-outform", "DER"], b"");
        Self { file, algorithm, spki }
    }
}

impl SigningKey for OpensslKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
        let options = if self.algorithm == Algorithm::RsaPssSha256 { &pss[..] } else { &[] };
        let file = self.file.to_str().unwrap();
        Ok(openssl(&[&["dgst", "-sha256", "-sign", file], options].concat(), message))
    }
}

/// Runs `openssl`; fails the test with what it said if it failed.
pub(super) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
