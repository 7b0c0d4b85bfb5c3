//! One vector of `tests/vectors/refused`, and how it is judged. `tests/vectors/README.md` says what each field means.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fedmsg::freshness::{Freshness, Window};
use fedmsg::limits::Limits;
use fedmsg::message::RawMessage;
use fedmsg::pki::certificate::IdentityRule;
use fedmsg::pki::chain::{RevocationPolicy, TrustError, TrustStore};
use fedmsg::pki::legacy::{LegacyAuthority, LegacyRevocation};
use fedmsg::pki::pem;
use fedmsg::policy::Policy;
use fedmsg::reason::ReasonCode;
use fedmsg::time::Timestamp;
use fedmsg::verify::{Legacy, Verified, Verifier};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A message that must be refused for one reason, and what would mend it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) code: String,
    pub(crate) fault: String,
    pub(crate) at: String,
    /// A name in `trust/trust.json`; `null` for no anchor at all.
    pub(crate) trust: Option<String>,
    #[serde(default)]
    pub(crate) legacy: LegacyMessages,
    /// Those of [`Limits::STANDARD`] that are others here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) limits: BTreeMap<String, usize>,
    /// Freshness is judged where this is, by [`Window::STANDARD`] with these changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<BTreeMap<String, usize>>,
    /// What was delivered before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<Arrival>,
    pub(crate) frames: Vec<String>,
    /// Fields to be put in the place of those above: then the message is delivered.
    pub(crate) mended: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arrival {
    pub(crate) at: String,
    pub(crate) frames: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LegacyMessages {
    Accepted,
    #[default]
    Refused,
}

/// What one name in `trust/trust.json` stands for: files beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustFiles {
    pub(crate) anchors: Vec<String>,
    pub(crate) intermediates: Vec<String>,
    pub(crate) crls: Vec<String>,
}

impl Case {
    /// The case without its fault.
    pub(crate) fn mended(&self) -> Self {
        let serde_json::Value::Object(mut fields) = serde_json::to_value(self).unwrap() else {
            panic!("a case is an object")
        };
        fields.extend(self.mended.clone());
        serde_json::from_value(fields.into()).unwrap()
    }

    /// `verified`, or the code of the refusal.
    pub(crate) fn verdict(&self) -> &'static str {
        self.judge().map_or_else(ReasonCode::as_str, |()| "verified")
    }

    fn judge(&self) -> Result<(), ReasonCode> {
        let verifier = self.verifier()?;
        let Some(window) = &self.window else {
            assert!(self.before.is_empty(), "what came before matters to freshness alone");
            return receive(&verifier, &self.frames, &self.at).map(drop);
        };
        let mut freshness = Freshness::new(changed_window(window));
        for arrival in &self.before {
            let verified = receive(&verifier, &arrival.frames, &arrival.at).unwrap();
            freshness.admit(verified, time(&arrival.at)).unwrap();
        }
        let verified = receive(&verifier, &self.frames, &self.at)?;
        freshness.admit(verified, time(&self.at)).map(drop).map_err(|stale| stale.0.code())
    }

    fn verifier(&self) -> Result<Verifier, ReasonCode> {
        let policy = Arc::new(policy());
        let limits = changed_limits(&self.limits);
        let trust = self.trust.as_deref().map(trust_store).transpose()?.map(Arc::new);
        let legacy = match self.legacy {
            LegacyMessages::Accepted => Legacy::Accepted(Box::new(legacy_authority())),
            LegacyMessages::Refused => Legacy::Refused,
        };
        assert!(trust.is_some() || self.legacy == LegacyMessages::Accepted, "nothing is trusted");
        Ok(Verifier::new(trust, policy, legacy, limits))
    }
}

fn receive(verifier: &Verifier, frames: &[String], at: &str) -> Result<Verified, ReasonCode> {
    verifier.receive(raw(frames), time(at)).map_err(|rejected| rejected.code())
}

pub(crate) fn raw(frames: &[String]) -> RawMessage {
    let parts = frames.iter().map(|frame| STANDARD.decode(frame).unwrap().into()).collect();
    RawMessage { parts }
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `tests/vectors/NAME`.
pub(crate) fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("vectors").join(name)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn policy() -> Policy {
    let bytes = read(&directory("trust").join("policy.toml"));
    Policy::parse(std::str::from_utf8(&bytes).unwrap(), "policy.toml", &Limits::STANDARD).unwrap()
}

/// What one name in `trust/trust.json` stands for. A list that cannot be read is refused here, before any message.
pub(crate) fn trust_store(name: &str) -> Result<TrustStore, ReasonCode> {
    let directory = directory("trust");
    let all: BTreeMap<String, TrustFiles> = read_json(&directory.join("trust.json"));
    let files = all.get(name).unwrap_or_else(|| panic!("no trust `{name}`"));
    let bytes = |file: &String| read(&directory.join(file));
    let code = |error: TrustError| {
        let TrustError::Chain(error) = error else { panic!("{name}: {error}") };
        error.code()
    };
    let mut builder = TrustStore::builder(RevocationPolicy::Required);
    for file in &files.anchors {
        let certificate = pem::certificate(&bytes(file)).unwrap();
        builder = builder.anchor(file, certificate, IdentityRule::SpiffeUri).map_err(code)?;
    }
    for file in &files.intermediates {
        builder = builder.intermediate(file, pem::certificate(&bytes(file)).unwrap()).map_err(code)?;
    }
    for file in &files.crls {
        let crl = pem::crl(&bytes(file)).map_err(|error| error.code())?;
        builder = builder.crl(file, crl).map_err(code)?;
    }
    builder.build().map_err(code)
}

fn legacy_authority() -> LegacyAuthority {
    let directory = directory("legacy");
    let crl = read(&directory.join("crl.pem"));
    let revocation = LegacyRevocation::Crl { label: "crl.pem", pem: &crl };
    LegacyAuthority::new("ca.crt", &read(&directory.join("ca.crt")), revocation).unwrap()
}

fn changed_limits(changes: &BTreeMap<String, usize>) -> Limits {
    let mut limits = Limits::STANDARD;
    for (name, value) in changes {
        *match name.as_str() {
            "body_bytes" => &mut limits.body_bytes,
            "path_hashes" => &mut limits.path_hashes,
            "proof_bytes" => &mut limits.proof_bytes,
            other => panic!("no vector changes the limit `{other}`"),
        } = *value;
    }
    limits
}

fn changed_window(changes: &BTreeMap<String, usize>) -> Window {
    let mut window = Window::STANDARD;
    for (name, value) in changes {
        *match name.as_str() {
            "messages_per_signer" => &mut window.messages_per_signer,
            "streams_per_signer" => &mut window.streams_per_signer,
            other => panic!("no vector changes `{other}`"),
        } = *value;
    }
    window
}
