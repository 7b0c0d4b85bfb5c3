//! A verifier that keeps up with the files: they are looked at, read and indexed on a thread of their own, and nobody who
//! verifies waits for a disk or for a list of a million entries.

use super::reload::{Refresh, TrustReloader};
use super::{TrustFileError, TrustFileErrors};
use crate::config::Config;
use crate::limits::Limits;
use crate::policy::LivePolicy;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::verify::Verifier;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// How often [`ReloadingVerifier`] looks at the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The verifier of what is in the files now, or was a second and a reading ago. What is in use meanwhile ages as it would
/// have anyway: under a list that goes stale, everything is refused.
#[derive(Debug)]
pub struct ReloadingVerifier {
    current: Arc<ArcSwap<Verifier>>,
    /// Asks for a look; when it is dropped, the thread ends.
    ask: SyncSender<()>,
}

impl ReloadingVerifier {
    /// Reads what the configuration names, and keeps up with it from now on.
    ///
    /// # Errors
    /// As [`super::TrustFiles::load`]; [`TrustFileError::Watch`], if there is no thread to be had.
    pub fn open(
        config: &Config,
        policy: impl Into<LivePolicy>,
        limits: Limits,
    ) -> Result<Self, TrustFileErrors> {
        let mut watch = Watch {
            reloader: TrustReloader::open(config)?,
            policy: policy.into(),
            limits,
            said: Vec::new(),
            retired: Vec::new(),
        };
        let one = |error| TrustFileErrors(vec![error]);
        let first = watch.verifier().map_err(one)?;
        let current = Arc::new(ArcSwap::from_pointee(first));
        let (ask, asked) = mpsc::sync_channel(1);
        let shared = Arc::clone(&current);
        let looks = move || loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => watch.reloader.forget(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            watch.look(&shared, SystemClock.now());
        };
        let spawned = std::thread::Builder::new().name("trust".to_owned()).spawn(looks);
        spawned.map_err(|error| one(TrustFileError::Watch { message: error.to_string() }))?;
        Ok(Self { current, ask })
    }

    /// The verifier to go by now.
    pub fn current(&self) -> Arc<Verifier> {
        self.current.load_full()
    }

    /// Has the files read again, however they look.
    pub fn reload(&self) {
        // If it is asked for already, that is this one too.
        let _ = self.ask.try_send(());
    }
}

/// What the thread has.
struct Watch {
    reloader: TrustReloader,
    policy: LivePolicy,
    limits: Limits,
    /// The faults that were logged.
    said: Vec<TrustFileError>,
    /// What somebody may still be verifying with: it is freed here, where nobody waits for it.
    retired: Vec<Arc<Verifier>>,
}

impl Watch {
    fn verifier(&self) -> Result<Verifier, TrustFileError> {
        self.reloader.verifier(self.policy.clone(), self.limits)
    }

    /// Takes what is good in the files, and logs what is wrong with them.
    fn look(&mut self, current: &ArcSwap<Verifier>, now: Timestamp) {
        self.retired.retain(|verifier| Arc::strong_count(verifier) > 1);
        if self.reloader.refresh(now) == Refresh::Replaced {
            match self.verifier() {
                Ok(verifier) => {
                    self.retired.push(current.swap(Arc::new(verifier)));
                    tracing::info!("trust was read anew");
                }
                Err(error) => tracing::error!(%error, "trust stays as it was"),
            }
        }
        let faults: Vec<TrustFileError> = self.reloader.faults().cloned().collect();
        for fault in faults.iter().filter(|fault| !self.said.contains(fault)) {
            tracing::warn!(%fault, "a file of trust is not taken");
        }
        self.said = faults;
    }
}
