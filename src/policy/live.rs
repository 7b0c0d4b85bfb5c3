//! The policy in force: replaced whole while messages are judged by it, and compared with what may follow it.
//!
//! A decision reads one snapshot, so that no message is ever judged by half of each of two policies. Reading takes no lock, and
//! whoever reads never frees a policy: the one who replaces it keeps it until nobody reads it any more.

use super::decide::{Denial, Grant, Policy};
use super::rules::{Edition, RuleRef};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::Topic;
use arc_swap::{ArcSwap, Guard};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The policy in force. Clones share it: replace it through one, and all decide by the new one.
#[derive(Clone, Debug)]
pub struct LivePolicy(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    in_force: ArcSwap<InForce>,
    /// Held by who replaces something, so that one who replaces another thing meanwhile does not undo it.
    replacing: Mutex<()>,
    /// Whether anything is to be compared: a decision looks no further if not.
    compares: AtomicBool,
    differences: Mutex<Differences>,
}

/// What decisions read, all at once.
#[derive(Debug)]
struct InForce {
    policy: Arc<Policy>,
    candidate: Option<Arc<Policy>>,
}

/// Why a policy does not follow the one in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Superseded {
    /// A file of it is older than the same file of the policy in force.
    #[error("{file}: serial {found} is older than serial {in_force}, which is in force")]
    File {
        /// The file.
        file: Arc<str>,
        /// Its serial.
        found: u64,
        /// That of the file in force.
        in_force: u64,
    },
    /// As a whole it is older than the policy in force.
    #[error("serial {found} is older than serial {in_force}, which is in force")]
    Policy {
        /// Its serial.
        found: u64,
        /// That of the policy in force.
        in_force: u64,
    },
}

/// A decision that would have been another one by a candidate policy, or if the rules that are shadows counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The signer.
    pub signer: Identity,
    /// The topic.
    pub topic: Topic,
    /// The rule that makes the difference: the one that would decide, or else the one that decides now and would not.
    pub rule: Option<RuleRef>,
    /// Whether it is allowed now, and would be denied; or else the other way round.
    pub is_allowed: bool,
    /// The candidate policy; none, if it is a shadow rule of the policy in force.
    pub candidate: Option<Edition>,
}

/// What was counted and noted since the last time.
#[derive(Debug, Default)]
struct Differences {
    counts: BTreeMap<String, u64>,
    /// When each was noted.
    noted: HashMap<(Identity, Topic, Option<String>), Timestamp>,
    fresh: Vec<Difference>,
}

/// Seconds within which a difference between the same signer, topic and rule is noted once.
pub const DIFFERENCE_PERIOD: i64 = 3600;

/// The most differences that are remembered as noted, and that wait to be taken: a sender makes up topics for nothing. What is over
/// it is counted all the same.
const MOST_NOTED: usize = 10_000;

impl LivePolicy {
    /// Puts a first policy in force.
    pub fn new(policy: impl Into<Arc<Policy>>) -> Self {
        let policy = policy.into();
        let compares = AtomicBool::new(policy.has_shadows());
        let in_force = ArcSwap::from_pointee(InForce { policy, candidate: None });
        let (replacing, differences) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { in_force, replacing, compares, differences }))
    }

    /// Decides by the policy in force (see [`Policy::decide`]), and notes whether the candidate would decide otherwise.
    ///
    /// # Errors
    /// The [`Denial`] of the policy in force.
    pub fn decide(&self, topic: &Topic, signer: &Identity, at: Timestamp) -> Result<Grant, Denial> {
        let in_force: Guard<Arc<InForce>> = self.0.in_force.load();
        let decision = in_force.policy.decide(topic, signer, at);
        if self.0.compares.load(Ordering::Relaxed) {
            self.compare(&in_force, &decision, topic, signer, at);
        }
        decision
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.in_force.load().policy)
    }

    /// The candidate that runs beside it.
    pub fn candidate(&self) -> Option<Arc<Policy>> {
        self.0.in_force.load().candidate.clone()
    }

    /// Puts `next` in force from the next decision on, and gives back the policy that was. To free that one takes a while, if it is
    /// large: drop it where nobody waits, when it is the last ([`Arc::strong_count`]).
    ///
    /// # Errors
    /// [`Superseded`], if it is older than the policy in force, which stays then. The same serial is not older.
    pub fn replace(&self, next: impl Into<Arc<Policy>>) -> Result<Arc<Policy>, Superseded> {
        let _replacing = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, now) = (next.into(), self.0.in_force.load_full());
        follows(&next, &now.policy)?;
        self.swap(InForce { policy: next, candidate: now.candidate.clone() });
        Ok(Arc::clone(&now.policy))
    }

    /// Whether `next` may follow the policy in force: what [`LivePolicy::replace`] asks.
    ///
    /// # Errors
    /// [`Superseded`].
    pub fn check(&self, next: &Policy) -> Result<(), Superseded> {
        follows(next, &self.0.in_force.load().policy)
    }

    /// Puts a candidate beside the policy in force, or takes it away, and gives back the one that was.
    pub fn set_candidate(&self, candidate: Option<Arc<Policy>>) -> Option<Arc<Policy>> {
        let _replacing = self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.0.in_force.load_full();
        self.swap(InForce { policy: Arc::clone(&now.policy), candidate });
        now.candidate.clone()
    }

    fn swap(&self, next: InForce) {
        let compares = next.candidate.is_some() || next.policy.has_shadows();
        self.0.in_force.store(Arc::new(next));
        self.0.compares.store(compares, Ordering::Relaxed);
    }

    /// How often decisions would have been others, by the rule that makes the difference (`-` where the default does).
    pub fn difference_counts(&self) -> BTreeMap<String, u64> {
        self.differences().counts.clone()
    }

    /// The differences that are to be logged: each of a signer, topic and rule once in [`DIFFERENCE_PERIOD`].
    pub fn take_differences(&self) -> Vec<Difference> {
        std::mem::take(&mut self.differences().fresh)
    }

    fn compare(
        &self,
        in_force: &InForce,
        decision: &Result<Grant, Denial>,
        topic: &Topic,
        signer: &Identity,
        at: Timestamp,
    ) {
        let by_candidate =
            in_force.candidate.as_ref().map(|c| (Some(c.edition()), c.decide(topic, signer, at)));
        let by_shadows = in_force.policy.decide_with_shadows(topic, signer, at).map(|d| (None, d));
        for (candidate, would) in by_candidate.into_iter().chain(by_shadows) {
            if would.is_ok() == decision.is_ok() {
                continue;
            }
            let rule = rule_of(&would).or_else(|| rule_of(decision));
            let (signer, topic, is_allowed) = (signer.clone(), topic.clone(), decision.is_ok());
            self.differences().note(Difference { signer, topic, rule, is_allowed, candidate }, at);
        }
    }

    fn differences(&self) -> std::sync::MutexGuard<'_, Differences> {
        // Counts and lists are whole at every point where a panic could leave them.
        self.0.differences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Differences {
    fn note(&mut self, difference: Difference, at: Timestamp) {
        let rule = difference.rule.as_ref().map(|rule| rule.id().to_owned());
        *self.counts.entry(rule.clone().unwrap_or_else(|| "-".to_owned())).or_default() += 1;
        let key = (difference.signer.clone(), difference.topic.clone(), rule);
        let over = at.plus_seconds(-DIFFERENCE_PERIOD);
        if self.noted.get(&key).is_some_and(|noted| *noted > over) {
            return;
        }
        if self.noted.len() >= MOST_NOTED {
            self.noted.retain(|_, noted| *noted > over);
        }
        if self.noted.len() < MOST_NOTED && self.fresh.len() < MOST_NOTED {
            self.noted.insert(key, at);
            self.fresh.push(difference);
        }
    }
}

fn rule_of(decision: &Result<Grant, Denial>) -> Option<RuleRef> {
    match decision {
        Ok(grant) => grant.rule().cloned(),
        Err(denial) => denial.rule().cloned(),
    }
}

/// No file of a policy, nor the whole, may be older than what it replaces: an old file that is put back does not bring back what it
/// allowed.
fn follows(next: &Policy, now: &Policy) -> Result<(), Superseded> {
    for file in next.files() {
        let same = now.files().iter().find(|known| known.file == file.file);
        if let Some(known) = same.filter(|known| file.serial < known.serial) {
            let (file, found) = (Arc::clone(&file.file), file.serial);
            return Err(Superseded::File { file, found, in_force: known.serial });
        }
    }
    let (found, in_force) = (next.edition().serial, now.edition().serial);
    if found < in_force { Err(Superseded::Policy { found, in_force }) } else { Ok(()) }
}

impl From<Policy> for LivePolicy {
    fn from(policy: Policy) -> Self {
        Self::new(policy)
    }
}

impl From<Arc<Policy>> for LivePolicy {
    fn from(policy: Arc<Policy>) -> Self {
        Self::new(policy)
    }
}
