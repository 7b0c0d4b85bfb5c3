//! The policy's files, read again when they change: whole, or not at all.

use super::{PolicyFileError, read};
use crate::limits::Limits;
use crate::policy::{Difference, Edition, LivePolicy, Policy, Superseded};
use crate::time::{Clock, SystemClock, Timestamp};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often [`PolicyWatch`] looks at the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps a [`LivePolicy`] up with its files. The caller says when to look.
///
/// What cannot be read, fails its own tests or is older than what is in force is refused, and the last good policy stays in
/// force.
#[derive(Debug)]
pub struct PolicyReloader {
    live: LivePolicy,
    files: Vec<PathBuf>,
    limits: Limits,
    /// Of the files that were read last, good or not.
    seen: Vec<Option<Stamp>>,
    status: PolicyStatus,
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
    /// How many policies followed the first.
    pub replaced: u64,
    /// How many were refused.
    pub refused: u64,
    /// The last refusal, if what is in the files now is not what is in force.
    pub refusal: Option<PolicyRefusal>,
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

/// What tells a file from the one that was read, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// For how many seconds after a change a file may change again without looking different: clocks of file systems are coarse.
const SETTLES_AFTER: i64 = 2;

impl PolicyReloader {
    /// Reads the files. At the start, everything has to be good.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(files: Vec<PathBuf>, limits: Limits, now: Timestamp) -> Result<Self, PolicyFileError> {
        let seen = stamps(&files);
        let policy = read(&files, &limits)?;
        let (edition, live) = (policy.edition(), LivePolicy::new(policy));
        let status = PolicyStatus { edition, since: now, replaced: 0, refused: 0, refusal: None };
        Ok(Self { live, files, limits, seen, status, retired: Vec::new() })
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
        let found = stamps(&self.files);
        let settled = |stamp: &Option<Stamp>| stamp.is_some_and(|stamp| stamp.is_settled(now));
        if found == self.seen && found.iter().all(settled) {
            return PolicyRefresh::Unchanged;
        }
        // Before they are read: what is written meanwhile looks different the next time.
        self.seen = found;
        self.reload(now)
    }

    /// Reads the files, however they look (SIGHUP), and takes what is there if all of it is good.
    pub fn reload(&mut self, now: Timestamp) -> PolicyRefresh {
        match read(&self.files, &self.limits) {
            Ok(policy) if policy.edition() == self.status.edition => {
                self.status.refusal = None;
                PolicyRefresh::Unchanged
            }
            Ok(policy) => self.take(policy, now),
            Err(error) => self.refuse(error.to_string(), now),
        }
    }

    fn take(&mut self, policy: Policy, now: Timestamp) -> PolicyRefresh {
        let (next, before) = (policy.edition(), self.status.edition);
        let old: Result<Arc<Policy>, Superseded> = self.live.replace(policy);
        match old {
            Ok(old) => {
                self.retired.push(old);
                self.status.edition = next;
                (self.status.since, self.status.refusal) = (now, None);
                self.status.replaced += 1;
                if next.serial == before.serial {
                    tracing::warn!(serial = next.serial, "the policy changed and its serial did not");
                }
                tracing::info!(%before, now = %next, "the policy was replaced");
                PolicyRefresh::Replaced
            }
            Err(superseded) => self.refuse(superseded.to_string(), now),
        }
    }

    /// Says so once for each reason, and not at every look.
    fn refuse(&mut self, reason: String, now: Timestamp) -> PolicyRefresh {
        if self.status.refusal.as_ref().is_some_and(|refusal| refusal.reason == reason) {
            return PolicyRefresh::Unchanged;
        }
        self.status.refused += 1;
        let in_force = self.status.edition;
        tracing::error!(reason, %in_force, refused = self.status.refused, "a policy was refused; the last good one stays in force");
        self.status.refusal = Some(PolicyRefusal { at: now, reason });
        PolicyRefresh::Refused
    }
}

/// Looks at a policy's files once a second, on a thread of its own, which ends with the value: reading a large policy takes
/// seconds, and nobody who verifies waits for it.
#[derive(Debug)]
pub struct PolicyWatch {
    live: LivePolicy,
    status: Arc<Mutex<PolicyStatus>>,
    /// Asks for a look; when it is dropped, the thread ends.
    ask: SyncSender<()>,
}

impl PolicyWatch {
    /// Reads the files, and watches them from now on.
    ///
    /// # Errors
    /// As [`PolicyReloader::open`]; [`PolicyFileError::Watch`], if there is no thread to be had.
    pub fn open(files: Vec<PathBuf>, limits: Limits) -> Result<Self, PolicyFileError> {
        let mut reloader = PolicyReloader::open(files, limits, SystemClock.now())?;
        let (ask, asked) = mpsc::sync_channel(1);
        let live = reloader.live().clone();
        let status = Arc::new(Mutex::new(reloader.status().clone()));
        let shared = Arc::clone(&status);
        let watch = move || loop {
            let _ = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => reloader.reload(SystemClock.now()),
                Err(RecvTimeoutError::Timeout) => reloader.refresh(SystemClock.now()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            shared.lock().unwrap_or_else(PoisonError::into_inner).clone_from(reloader.status());
            reloader.live().take_differences().iter().for_each(log_difference);
        };
        let spawned = std::thread::Builder::new().name("policy".to_owned()).spawn(watch);
        spawned.map_err(|source| PolicyFileError::Watch { source })?;
        Ok(Self { live, status, ask })
    }

    /// The policy in force.
    pub fn live(&self) -> &LivePolicy {
        &self.live
    }

    /// How the files are doing.
    pub fn status(&self) -> PolicyStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the files read again however they look: what SIGHUP asks for.
    pub fn reload(&self) {
        // If one is asked for already, that is this one too.
        let _ = self.ask.try_send(());
    }
}

fn log_difference(difference: &Difference) {
    let Difference { signer, topic, rule, is_allowed, candidate } = difference;
    let (now, would) = if *is_allowed { ("allowed", "denied") } else { ("denied", "allowed") };
    let rule = rule.as_ref().map(|rule| rule.id());
    let candidate = candidate.as_ref().map(tracing::field::display);
    tracing::warn!(%signer, %topic, rule, candidate, now, would, "a shadow would decide otherwise");
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(file).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn is_settled(&self, now: Timestamp) -> bool {
        self.changed.0.max(self.modified.0).saturating_add(SETTLES_AFTER) < now.as_unix()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::topic::Topic;

    fn text(serial: u64, rules: &str) -> String {
        format!("version = 1\nserial = {serial}\n{rules}")
    }

    fn rule(id: &str, effect: &str, more: &str) -> String {
        format!(
            "[[rule]]\nid = \"{id}\"\neffect = \"{effect}\"\ntopics = [\"a.#\"]\npublishers = [\"cn:a\"]\n{more}\n"
        )
    }

    fn decided(live: &LivePolicy) -> bool {
        let topic = Topic::parse("a.b", &Limits::STANDARD).unwrap();
        live.decide(&topic, &"cn:a".parse::<Identity>().unwrap(), at(0)).is_ok()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds).unwrap()
    }

    #[test]
    fn what_is_good_is_taken_and_what_is_not_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let allow = rule("r", "allow", "");
        write(&text(5, &allow));
        let mut reloader = PolicyReloader::open(vec![file.clone()], Limits::STANDARD, at(0)).unwrap();
        let live = reloader.live().clone();
        assert!(decided(&live));
        assert_eq!(reloader.refresh(at(1)), PolicyRefresh::Unchanged);

        write(&text(6, &rule("r", "deny", "")));
        assert_eq!(reloader.refresh(at(2)), PolicyRefresh::Replaced);
        assert!(!decided(&live));
        assert_eq!((reloader.status().edition.serial, reloader.status().since), (6, at(2)));

        let failing = "[[test]]\ntopic = \"a.b\"\nsigner = \"cn:a\"\nexpect = \"deny\"\n";
        for (bad, expected) in [
            ("version = ".to_owned(), "policy.toml:1:"),
            (text(7, &format!("{allow}{failing}")), "expected denied"),
            (text(5, &allow), "policy.toml: serial 5 is older than serial 6, which is in force"),
        ] {
            let refused = reloader.status().refused;
            write(&bad);
            assert_eq!(reloader.refresh(at(3)), PolicyRefresh::Refused, "{bad}");
            assert_eq!(reloader.refresh(at(4)), PolicyRefresh::Unchanged, "said once");
            let status = reloader.status();
            let refusal = status.refusal.clone().unwrap();
            assert!(refusal.reason.contains(expected), "{}", refusal.reason);
            assert_eq!((refusal.at, status.refused, status.edition.serial), (at(3), refused + 1, 6));
            assert!(!decided(&live), "the last good one stays");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(reloader.refresh(at(5)), PolicyRefresh::Refused);
        write(&text(7, &allow));
        assert_eq!(reloader.refresh(at(6)), PolicyRefresh::Replaced);
        assert!(decided(&live) && reloader.status().refusal.is_none());
        // Nobody decides by the old ones any more.
        assert_eq!(reloader.reload(at(7)), PolicyRefresh::Unchanged);
        let _ = reloader.refresh(at(8));
        assert!(reloader.retired.is_empty());
    }

    #[test]
    fn a_watch_sees_a_change_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, text(1, &rule("r", "allow", ""))).unwrap();
        let watch = PolicyWatch::open(vec![file.clone()], Limits::STANDARD).unwrap();
        assert!(decided(watch.live()));
        std::fs::write(&file, text(2, "")).unwrap();
        while decided(watch.live()) {
            std::thread::yield_now();
        }
        watch.reload();
        assert_eq!(watch.live().policy().edition().serial, 2);
    }

    #[test]
    fn a_shadow_is_counted_each_time_and_noted_once() {
        let policy = |text: &str| Arc::new(Policy::parse(text, "p.toml", &Limits::STANDARD).unwrap());
        let live = LivePolicy::new(policy(&text(
            1,
            &(rule("r", "allow", "") + &rule("s", "deny", "shadow = true")),
        )));
        assert!(decided(&live) && decided(&live));
        let noted = live.take_differences();
        assert_eq!(noted.len(), 1);
        assert_eq!((noted[0].rule.as_ref().map(|r| r.id()), noted[0].is_allowed), (Some("s"), true));
        // A whole candidate: the rule that is missing from it is the one that makes the difference.
        live.replace(policy(&text(2, &rule("r", "allow", "")))).unwrap();
        live.set_candidate(Some(policy(&text(3, ""))));
        assert!(decided(&live));
        let noted = live.take_differences();
        assert_eq!(noted[0].candidate.map(|edition| edition.serial), Some(3));
        assert_eq!(
            live.difference_counts().into_iter().collect::<Vec<_>>(),
            [("r".into(), 1), ("s".into(), 2)]
        );
    }
}
