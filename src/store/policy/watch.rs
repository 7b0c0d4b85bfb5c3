//! Looking at a policy's files from time to time, on a thread of its own.

use super::{PolicyFileError, PolicyFiles, PolicyReloader, PolicyStatus, StatusFile};
use crate::policy::{Difference, LivePolicy};
use crate::time::{Clock, SystemClock};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often [`PolicyWatch`] looks at the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at a policy's files once a second, on a thread of its own, which ends with the value: reading a large policy takes
/// seconds, and nobody who verifies waits for it.
#[derive(Debug)]
pub struct PolicyWatch {
    live: LivePolicy,
    status: Arc<Mutex<PolicyStatus>>,
    /// Asks for a look; when it is dropped, the thread ends.
    ask: SyncSender<()>,
    /// Where the status is written for others to read.
    published: Option<StatusFile>,
}

impl PolicyWatch {
    /// Reads the files, and watches them from now on.
    ///
    /// # Errors
    /// As [`PolicyReloader::open`]; [`PolicyFileError::Watch`], if there is no thread to be had.
    pub fn open(files: PolicyFiles) -> Result<Self, PolicyFileError> {
        Self::publishing(files, None)
    }

    /// As [`PolicyWatch::open`], and writes into `published` how the policy is doing, after each look.
    ///
    /// # Errors
    /// As [`PolicyWatch::open`]. That a status cannot be written later is logged.
    pub fn publishing(files: PolicyFiles, published: Option<StatusFile>) -> Result<Self, PolicyFileError> {
        let mut reloader = PolicyReloader::open(files, SystemClock.now())?;
        let (ask, asked) = mpsc::sync_channel(1);
        let live = reloader.live().clone();
        let status = Arc::new(Mutex::new(reloader.status().clone()));
        if let Some(file) = &published {
            file.write(reloader.status(), &live, SystemClock.now());
        }
        let (shared, file) = (Arc::clone(&status), published.clone());
        let watch = move || loop {
            let _ = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => reloader.reload(SystemClock.now()),
                Err(RecvTimeoutError::Timeout) => reloader.refresh(SystemClock.now()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            shared.lock().unwrap_or_else(PoisonError::into_inner).clone_from(reloader.status());
            reloader.live().take_differences().iter().for_each(log_difference);
            if let Some(file) = &file {
                file.write(reloader.status(), reloader.live(), SystemClock.now());
            }
        };
        let spawned = std::thread::Builder::new().name("policy".to_owned()).spawn(watch);
        spawned.map_err(|source| PolicyFileError::Watch { source })?;
        Ok(Self { live, status, ask, published })
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

impl Drop for PolicyWatch {
    /// Whoever looks for those that run does not find this one any more.
    fn drop(&mut self) {
        if let Some(file) = &self.published {
            file.remove();
        }
    }
}

fn log_difference(difference: &Difference) {
    let Difference { signer, topic, rule, is_allowed, candidate } = difference;
    let (now, would) = if *is_allowed { ("allowed", "denied") } else { ("denied", "allowed") };
    let rule = rule.as_ref().map(|rule| rule.id());
    let candidate = candidate.as_ref().map(tracing::field::display);
    tracing::warn!(%signer, %topic, rule, candidate, now, would, "a shadow would decide otherwise");
}
