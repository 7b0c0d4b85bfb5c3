//! The policy's files, read again when they change: whole, or not at all.

use super::{Admitted, PolicyFileError, PolicyFiles};
use crate::policy::signature::{DetachedSignature, Endorsement, SignatureError};
use crate::policy::{Edition, LivePolicy, Policy};
use crate::store::files::Stamp;
use crate::store::trust::{Refresh, TrustReloader};
use crate::time::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;

/// Keeps a [`LivePolicy`] up with its files. The caller says when to look.
///
/// What cannot be read, fails its own tests, is not signed as it has to be, or is older than what is in force is refused, and the last
/// good policy stays in force.
#[derive(Debug)]
pub struct PolicyReloader {
    live: LivePolicy,
    files: PolicyFiles,
    /// By which signatures are checked; none, where none is required.
    trust: Option<TrustReloader>,
    /// The signature of the policy in force, likewise.
    signature: Option<DetachedSignature>,
    signature_watch: SignatureWatch,
    /// Of the files that were read last, good or not.
    seen: Vec<Option<Stamp>>,
    /// Of the candidate's.
    candidate_seen: Vec<Option<Stamp>>,
    status: PolicyStatus,
    /// Whether what is in the files was read while they were being replaced, and is to be read once more.
    pending: bool,
    /// What tells one refusal from the next, of the policy and of the candidate.
    said: (Option<String>, Option<String>),
    /// What was in force and may still be read by a decision: it is freed here, where nobody waits for it.
    retired: Vec<Arc<Policy>>,
}

/// How a policy's files are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// The policy in force.
    pub edition: Edition,
    /// Since when; the time at which it was read.
    pub since: Timestamp,
    /// Who signed it; none, where no signature is required.
    pub endorsement: Option<Endorsement>,
    /// What is wrong with its signature by now: it expired, or the operator's certificate was revoked. The policy stays in force.
    pub lapse: Option<PolicyRefusal>,
    /// How many policies followed the first.
    pub replaced: u64,
    /// How many were refused.
    pub refused: u64,
    /// The last refusal, if what is in the files now is not what is in force.
    pub refusal: Option<PolicyRefusal>,
    /// The candidate that runs beside it.
    pub candidate: Option<Edition>,
    /// The last refusal of what is in the candidate's files now.
    pub candidate_refusal: Option<PolicyRefusal>,
}

/// A policy that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRefusal {
    /// When.
    pub at: Timestamp,
    /// Why: every error, one a line.
    pub reason: String,
}

/// What a look at the files brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PolicyRefresh {
    /// What is in the files was refused; [`PolicyReloader::status`] says why.
    Refused,
    /// Another policy is in force from now on.
    Replaced,
    /// What is in the files has been seen before.
    Unchanged,
}

/// What was said of the signature in force.
#[derive(Clone, Debug, Default)]
struct SignatureWatch {
    /// When the chain behind it was looked at last.
    checked: Option<Timestamp>,
    /// The lapse that was logged, and when.
    said: Option<(String, Timestamp)>,
    /// Whether its coming end was logged.
    warned: bool,
}

/// Seconds between two looks at the chain behind the signature in force.
const CHECK_AGAIN: i64 = 60;
/// Seconds between two complaints about the same lapse.
const SAY_AGAIN: i64 = 3600;

impl PolicyReloader {
    /// Reads the files. At the start, everything has to be good: the policy, its signature where one is required, and the candidate.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn open(files: PolicyFiles, now: Timestamp) -> Result<Self, PolicyFileError> {
        let (seen, candidate_seen) = (stamps_of(&files), stamps(files.candidate()));
        let trust = files.open_trust()?;
        let admitted = files.admit(trust.as_ref().and_then(|t| t.store().map(AsRef::as_ref)), now)?;
        if let Some(remembered) = files.remembered() {
            remembered.advance(admitted.policy().edition())?;
        }
        let candidate = files.read_candidate()?;
        let (policy, signed) = admitted.into_parts();
        let (endorsement, signature) = signed.unzip();
        let status = PolicyStatus {
            edition: policy.edition(),
            since: now,
            endorsement,
            lapse: None,
            replaced: 0,
            refused: 0,
            refusal: None,
            candidate: candidate.as_ref().map(Policy::edition),
            candidate_refusal: None,
        };
        let live = LivePolicy::new(policy);
        live.set_candidate(candidate.map(Arc::new));
        if let Some(endorsement) = &status.endorsement {
            tracing::info!(edition = %status.edition, %endorsement, "a signed policy is in force");
        }
        let (signature_watch, said, retired) = (SignatureWatch::default(), (None, None), Vec::new());
        Ok(Self {
            live,
            files,
            trust,
            signature,
            signature_watch,
            seen,
            candidate_seen,
            status,
            pending: false,
            said,
            retired,
        })
    }

    /// The policy in force: a handle for those who decide, which sees every replacement.
    pub fn live(&self) -> &LivePolicy {
        &self.live
    }

    /// How the files are doing.
    pub fn status(&self) -> &PolicyStatus {
        &self.status
    }

    /// Looks whether a file changed since, and takes what is there if all of it is good. `now` is the time by the clock that files
    /// are dated by.
    pub fn refresh(&mut self, now: Timestamp) -> PolicyRefresh {
        // A reader that still has one holds it for microseconds.
        self.retired.retain(|policy| Arc::strong_count(policy) > 1);
        let trust_changed = self.trust.as_mut().is_some_and(|trust| trust.refresh(now) == Refresh::Replaced);
        self.check_signature(now, trust_changed);
        let found = stamps(self.files.candidate());
        if found != self.candidate_seen || !are_settled(&found, now) {
            self.candidate_seen = found;
            self.reload_candidate(now);
        }
        let found = stamps_of(&self.files);
        let settled = are_settled(&found, now);
        // What was refused by the old trust may be good by the new one.
        let retry = self.pending || trust_changed && self.status.refusal.is_some();
        if found == self.seen && settled && !retry {
            return PolicyRefresh::Unchanged;
        }
        // Before they are read: what is written meanwhile looks different the next time.
        self.seen = found;
        self.read_again(now, settled)
    }

    /// Reads the files, however they look (SIGHUP), and takes what is there if all of it is good.
    pub fn reload(&mut self, now: Timestamp) -> PolicyRefresh {
        if let Some(trust) = &mut self.trust {
            trust.forget();
        }
        let trust_changed = self.trust.as_mut().is_some_and(|trust| trust.refresh(now) == Refresh::Replaced);
        self.check_signature(now, trust_changed);
        self.reload_candidate(now);
        self.read_again(now, true)
    }

    fn read_again(&mut self, now: Timestamp, settled: bool) -> PolicyRefresh {
        let trust = self.trust.as_ref().and_then(|trust| trust.store().map(AsRef::as_ref));
        self.pending = false;
        match self.files.admit(trust, now) {
            Ok(admitted) if admitted.policy().edition() == self.status.edition => self.endorse(admitted),
            Ok(admitted) => match self.take(admitted, now) {
                Ok(()) => PolicyRefresh::Replaced,
                Err(reason) => self.refuse(reason.clone(), reason, now),
            },
            // The policy and its signature are replaced one after the other: until both are there, nothing is said.
            Err(error) if !settled && is_other_bytes(&error) => {
                self.pending = true;
                PolicyRefresh::Unchanged
            }
            Err(error) => self.refuse(error.to_string(), sameness(&error), now),
        }
    }

    /// The policy that is in force, which may have been signed anew.
    fn endorse(&mut self, admitted: Admitted) -> PolicyRefresh {
        let (endorsement, signature) = admitted.into_parts().1.unzip();
        (self.status.refusal, self.said.0) = (None, None);
        if endorsement != self.status.endorsement {
            if let Some(endorsement) = &endorsement {
                tracing::info!(%endorsement, "the policy in force was signed anew");
            }
            self.signed_by(endorsement, signature);
        }
        PolicyRefresh::Unchanged
    }

    /// Puts a policy in force, or says why it may not be.
    fn take(&mut self, admitted: Admitted, now: Timestamp) -> Result<(), String> {
        let (next, before) = (admitted.policy().edition(), self.status.edition);
        self.live.check(admitted.policy()).map_err(|superseded| superseded.to_string())?;
        // Before it decides anything: after a kill at any point, what was in force is known.
        if let Some(remembered) = self.files.remembered() {
            remembered.advance(next).map_err(|error| error.to_string())?;
        }
        let (policy, signed) = admitted.into_parts();
        let old = self.live.replace(policy).map_err(|superseded| superseded.to_string())?;
        self.retired.push(old);
        let (endorsement, signature) = signed.unzip();
        self.signed_by(endorsement, signature);
        self.status.edition = next;
        (self.status.since, self.status.refusal, self.said.0) = (now, None, None);
        self.status.replaced += 1;
        if next.serial == before.serial {
            tracing::warn!(serial = next.serial, "the policy changed and its serial did not");
        }
        let endorsement = self.status.endorsement.as_ref().map(tracing::field::display);
        tracing::info!(%before, now = %next, endorsement, "the policy was replaced");
        Ok(())
    }

    fn signed_by(&mut self, endorsement: Option<Endorsement>, signature: Option<DetachedSignature>) {
        (self.status.endorsement, self.signature) = (endorsement, signature);
        (self.status.lapse, self.signature_watch) = (None, SignatureWatch::default());
    }

    /// Says so once for each reason, and not at every look.
    fn refuse(&mut self, reason: String, sameness: String, now: Timestamp) -> PolicyRefresh {
        if self.status.refusal.is_some() && self.said.0.as_ref() == Some(&sameness) {
            return PolicyRefresh::Unchanged;
        }
        self.said.0 = Some(sameness);
        self.status.refused += 1;
        let in_force = self.status.edition;
        tracing::error!(reason, %in_force, refused = self.status.refused, "a policy was refused; the last good one stays in force");
        self.status.refusal = Some(PolicyRefusal { at: now, reason });
        PolicyRefresh::Refused
    }

    /// The last good candidate stays, as the last good policy does.
    fn reload_candidate(&mut self, now: Timestamp) {
        match self.files.read_candidate() {
            Ok(candidate) => {
                (self.status.candidate_refusal, self.said.1) = (None, None);
                let edition = candidate.as_ref().map(Policy::edition);
                if edition != self.status.candidate {
                    tracing::info!(
                        candidate = edition.as_ref().map(tracing::field::display),
                        "another candidate runs beside the policy"
                    );
                    self.status.candidate = edition;
                    self.retired.extend(self.live.set_candidate(candidate.map(Arc::new)));
                }
            }
            Err(error) => {
                let reason = error.to_string();
                if self.said.1.as_ref() != Some(&reason) {
                    tracing::error!(reason, "a candidate was refused; the last good one goes on");
                    self.said.1 = Some(reason.clone());
                    self.status.candidate_refusal = Some(PolicyRefusal { at: now, reason });
                }
            }
        }
    }

    /// Whether the signature in force still holds. What it vouched for was right when it was taken, so that the policy stays; that
    /// nobody vouches for it any more is said, again and again.
    fn check_signature(&mut self, now: Timestamp, trust_changed: bool) {
        let (Some(endorsement), Some(signature)) = (&self.status.endorsement, &self.signature) else {
            return;
        };
        let (from, until, watch) = (endorsement.from(), endorsement.until(), &mut self.signature_watch);
        if !watch.warned && now.is_past_two_thirds(from, until) {
            watch.warned = true;
            tracing::warn!(%endorsement, "the policy's signature ends soon; have it signed again");
        }
        let is_due = watch.checked.is_none_or(|last| now.seconds_since(last) >= CHECK_AGAIN || now < last);
        if !(is_due || trust_changed || now >= until) {
            return;
        }
        watch.checked = Some(now);
        let trust = self.trust.as_ref().and_then(|trust| trust.store().map(AsRef::as_ref));
        match self.files.check_again(&self.live.policy(), signature, trust, now) {
            Ok(()) => (self.status.lapse, watch.said) = (None, None),
            Err(error) => {
                let same = sameness(&error);
                let is_new = watch.said.as_ref().is_none_or(|(said, _)| *said != same);
                let again = watch.said.as_ref().is_some_and(|(_, at)| now.seconds_since(*at) >= SAY_AGAIN);
                if is_new || again {
                    let (reason, in_force) = (error.to_string(), self.status.edition);
                    tracing::error!(reason, %in_force, "the policy in force is not vouched for any more; it stays until another is signed");
                    watch.said = Some((same, now));
                    if is_new {
                        self.status.lapse = Some(PolicyRefusal { at: now, reason });
                    }
                }
            }
        }
    }
}

/// What two refusals for the same reason have in common, whenever they were.
fn sameness(error: &PolicyFileError) -> String {
    if let PolicyFileError::Signature { file, source } = error {
        let kind = std::mem::discriminant(&**source);
        return match &**source {
            SignatureError::Chain(chain) => format!("{file}: {}", chain.code()),
            SignatureError::Expired { until, .. } => format!("{file}: {kind:?} {until}"),
            SignatureError::NotYetValid { from, .. } => format!("{file}: {kind:?} {from}"),
            SignatureError::Algorithm { .. }
            | SignatureError::Certificate { .. }
            | SignatureError::Files { .. }
            | SignatureError::Malformed(_)
            | SignatureError::OutlivesCertificate { .. }
            | SignatureError::Serial { .. }
            | SignatureError::Signature(_)
            | SignatureError::Signer { .. } => error.to_string(),
        };
    }
    error.to_string()
}

fn is_other_bytes(error: &PolicyFileError) -> bool {
    matches!(error, PolicyFileError::Signature { source, .. } if matches!(**source, SignatureError::Files { .. }))
}

/// Of the policy's files and of its signature, where one is required.
fn stamps_of(files: &PolicyFiles) -> Vec<Option<Stamp>> {
    let signature = files.signature().filter(|_| files.is_signature_required());
    files.files().iter().map(PathBuf::as_path).chain(signature).map(Stamp::of).collect()
}

fn are_settled(found: &[Option<Stamp>], now: Timestamp) -> bool {
    found.iter().all(|stamp| stamp.is_some_and(|stamp| stamp.is_settled(now)))
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

#[cfg(test)]
mod tests;
