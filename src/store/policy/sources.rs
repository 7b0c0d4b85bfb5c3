//! What the configuration says of the policy: its files, its signature, and what follows it.

use super::{Bytes, PolicyFileError, Remembered, read, read_at_most};
use crate::config::Config;
use crate::limits::Limits;
use crate::pki::chain::TrustStore;
use crate::policy::signature::{
    self, DetachedSignature, Endorsement, MAX_SIGNATURE_BYTES, Requirement, SignedPolicyError,
};
use crate::policy::{Policy, PublisherPattern, Source};
use crate::store::trust::{TrustFiles, TrustReloader};
use crate::time::Timestamp;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The files of a policy, and what is asked of them.
#[derive(Clone, Debug)]
pub struct PolicyFiles {
    files: Vec<PathBuf>,
    candidate: Vec<PathBuf>,
    limits: Limits,
    /// Where the configuration names signers.
    signing: Option<Signing>,
}

/// Whose signature is asked for, and where it is.
#[derive(Clone, Debug)]
struct Signing {
    signature: PathBuf,
    signers: Vec<PublisherPattern>,
    remembered: Option<Remembered>,
    /// Whether a policy without it is refused; `config` says where that stands.
    required: bool,
    config: Box<Config>,
}

/// A policy that may be put in force: read whole and, where the configuration asks for it, signed. Only [`PolicyFiles`] makes one.
#[derive(Debug)]
pub struct Admitted {
    policy: Policy,
    signed: Option<(Endorsement, DetachedSignature)>,
}

impl PolicyFiles {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        let paths = |files: &[crate::config::FilePath]| files.iter().map(|f| f.path().to_owned()).collect();
        let files: Vec<PathBuf> = paths(&config.policy.files);
        let signature = match (&config.policy.signature, &files[..]) {
            (Some(stated), _) => Some(stated.path().to_owned()),
            (None, [only]) => Some(signature_beside(only)),
            // The loader has seen to it that it is stated, where it is required.
            (None, _) => None,
        };
        let signers = config.policy.signers.value().clone();
        let signing = signature.filter(|_| !signers.is_empty()).map(|signature| Signing {
            signature,
            signers,
            remembered: config.freshness.state.as_ref().map(|state| Remembered::new(state.path())),
            required: *config.policy.require_signature,
            config: Box::new(config.clone()),
        });
        Self { files, candidate: paths(&config.policy.candidate), limits: config.limits.to_limits(), signing }
    }

    /// Files whose signature nobody asks for.
    pub fn unsigned(files: Vec<PathBuf>, limits: Limits) -> Self {
        Self { files, candidate: Vec::new(), limits, signing: None }
    }

    /// With a candidate beside them.
    #[must_use]
    pub fn with_candidate(self, candidate: Vec<PathBuf>) -> Self {
        Self { candidate, ..self }
    }

    /// The policy's files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The candidate's; none, if there is no candidate.
    pub fn candidate(&self) -> &[PathBuf] {
        &self.candidate
    }

    /// The limits by which topics are read.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The signature's file, where the configuration names signers.
    pub fn signature(&self) -> Option<&Path> {
        self.signing.as_ref().map(|signing| signing.signature.as_path())
    }

    /// Whether a policy without a signature is refused.
    pub fn is_signature_required(&self) -> bool {
        self.signing.as_ref().is_some_and(|signing| signing.required)
    }

    /// Where the serial in force is remembered, if a signature is required.
    pub fn remembered(&self) -> Option<&Remembered> {
        self.required().and_then(|signing| signing.remembered.as_ref())
    }

    /// Reads the policy as it would be put in force at `now`, and puts nothing in force.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn read(&self, now: Timestamp) -> Result<Admitted, PolicyFileError> {
        let trust = self.required().map(|signing| TrustFiles::load(&signing.config)).transpose()?;
        let admitted = self.admit(trust.as_ref().and_then(TrustFiles::store), now)?;
        if let Some(remembered) = self.remembered() {
            remembered.check(admitted.policy.edition())?;
        }
        Ok(admitted)
    }

    /// Reads the candidate; none, if the configuration names none.
    ///
    /// # Errors
    /// [`PolicyFileError::Candidate`].
    pub fn read_candidate(&self) -> Result<Option<Policy>, PolicyFileError> {
        if self.candidate.is_empty() {
            return Ok(None);
        }
        let read = read(&self.candidate, &self.limits);
        read.map(Some).map_err(|error| PolicyFileError::Candidate(Box::new(error)))
    }

    /// What a signature that nobody requires is worth; none, if there is none, or it is required.
    pub fn optional_signature(&self, now: Timestamp) -> Option<Result<Endorsement, PolicyFileError>> {
        let signing = self.signing.as_ref().filter(|signing| !signing.required)?;
        if !signing.signature.exists() {
            return None;
        }
        let judge = || {
            let trust = TrustFiles::load(&signing.config)?;
            self.read_signed(signing, trust.store(), now).map(|(_, endorsement, _)| endorsement)
        };
        Some(judge())
    }

    /// What keeps up with the trust by which the signature is checked; none, if none is required.
    pub(super) fn open_trust(&self) -> Result<Option<TrustReloader>, PolicyFileError> {
        Ok(self.required().map(|signing| TrustReloader::open(&signing.config)).transpose()?)
    }

    /// Reads the policy and checks its signature, where one is required.
    pub(super) fn admit(
        &self,
        trust: Option<&TrustStore>,
        now: Timestamp,
    ) -> Result<Admitted, PolicyFileError> {
        match self.required() {
            None => Ok(Admitted { policy: read(&self.files, &self.limits)?, signed: None }),
            Some(signing) => {
                let (policy, endorsement, signature) = self.read_signed(signing, trust, now)?;
                Ok(Admitted { policy, signed: Some((endorsement, signature)) })
            }
        }
    }

    /// Checks again the signature of a policy that is in force.
    pub(super) fn check_again(
        &self,
        policy: &Policy,
        detached: &DetachedSignature,
        trust: Option<&TrustStore>,
        now: Timestamp,
    ) -> Result<(), PolicyFileError> {
        let Some(signing) = self.required() else { return Ok(()) };
        let trust = trust.ok_or(PolicyFileError::NoAnchor)?;
        let digests: Vec<[u8; 32]> = policy.files().iter().map(|file| file.sha256).collect();
        let names = || policy.files().iter().map(|file| file.file.to_string()).collect();
        let by = Requirement { trust, signers: &signing.signers };
        let checked = detached.check_digests(&digests, names, by, now);
        checked.map(|_| ()).map_err(|source| signing.refused(source))
    }

    fn required(&self) -> Option<&Signing> {
        self.signing.as_ref().filter(|signing| signing.required)
    }

    fn read_signed(
        &self,
        signing: &Signing,
        trust: Option<&TrustStore>,
        now: Timestamp,
    ) -> Result<(Policy, Endorsement, DetachedSignature), PolicyFileError> {
        if self.files.is_empty() {
            return Err(PolicyFileError::NotConfigured);
        }
        let trust = trust.ok_or(PolicyFileError::NoAnchor)?;
        let detached = signing.read()?;
        let files = Bytes::read(&self.files)?;
        let sources: Vec<Source<'_>> = files.iter().map(Bytes::source).collect();
        let by = Requirement { trust, signers: &signing.signers };
        let signed = signature::read_signed(&detached, &sources, by, &self.limits, now);
        match signed {
            Ok(signed) => Ok(signed.into_parts()),
            Err(SignedPolicyError::Signature(source)) => Err(signing.refused(source)),
            Err(SignedPolicyError::Policy(errors)) => Err(errors.into()),
        }
    }
}

impl Signing {
    fn read(&self) -> Result<Vec<u8>, PolicyFileError> {
        let limit = u64::try_from(MAX_SIGNATURE_BYTES).unwrap_or(u64::MAX);
        match read_at_most(&self.signature, limit) {
            Err(PolicyFileError::Read { file, source }) if source.kind() == ErrorKind::NotFound => {
                let required = self.config.policy.require_signature.origin().clone();
                Err(PolicyFileError::NotSigned { signature: file, required })
            }
            read => read,
        }
    }

    fn refused(&self, source: signature::SignatureError) -> PolicyFileError {
        PolicyFileError::Signature { file: self.signature.display().to_string(), source: Box::new(source) }
    }
}

impl Admitted {
    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who signed it; none, where no signature is required.
    pub fn endorsement(&self) -> Option<&Endorsement> {
        self.signed.as_ref().map(|(endorsement, _)| endorsement)
    }

    /// The policy, to be asked.
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    pub(super) fn into_parts(self) -> (Policy, Option<(Endorsement, DetachedSignature)>) {
        (self.policy, self.signed)
    }
}

/// Where the signature of a policy of one file is, if nothing else is said: `policy.toml.sig`.
pub fn signature_beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}
