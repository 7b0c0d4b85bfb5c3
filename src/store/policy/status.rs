//! What a named consumer says of itself, in a file that `fedmsg policy status` reads.
//!
//! `NAME.status.json` is replaced whole after each look at the policy's files, and removed at the end. A lock beside it is held for as
//! long as the consumer runs, so that what one left that was killed is not taken for a consumer that runs.

use super::{PolicyRefusal, PolicyStatus};
use crate::policy::LivePolicy;
use crate::reason::ReasonCode;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How the names of the files end.
const SUFFIX: &str = ".status.json";
const LOCK_SUFFIX: &str = ".status.lock";
/// The most bytes of such a file: what differs is counted by rule, and a policy may have many.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How long to wait for a lock that one who asks may hold.
const PATIENCE: Duration = Duration::from_secs(1);
/// The form of the file.
const VERSION: u32 = 1;

/// What became of the messages of a consumer: counted where they are received, read where the status is written.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    unwanted: AtomicU64,
    rejected_total: AtomicU64,
    rejected: Mutex<BTreeMap<ReasonCode, u64>>,
}

/// Where a consumer writes how it is doing. Clones write the same file.
#[derive(Clone, Debug)]
pub struct StatusFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    path: PathBuf,
    started: Timestamp,
    tally: Arc<Tally>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Held for as long as the consumer runs; none, once it has ended.
    lock: Option<File>,
    /// Whether the last attempt to write failed, which was said.
    failed: bool,
}

/// A consumer's status, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// 1.
    pub version: u32,
    /// The consumer's name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// When it started (RFC 3339, as all times here).
    pub started: String,
    /// When this was written.
    pub written: String,
    /// Whether it runs: not written, found when it is read.
    #[serde(skip)]
    pub is_running: bool,
    /// The serial of the policy in force.
    pub serial: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// Since when it is in force.
    pub since: String,
    /// Who signed it; none, where no signature is required.
    pub signed_by: Option<String>,
    /// Until when that holds.
    pub signed_until: Option<String>,
    /// What is wrong with the signature by now.
    pub lapse: Option<StatusRefusal>,
    /// How many policies followed the first.
    pub replaced: u64,
    /// How many were refused.
    pub refused: u64,
    /// The refusal of what is in the files, if that is not what is in force.
    pub refusal: Option<StatusRefusal>,
    /// The serial of the candidate that runs beside it.
    pub candidate_serial: Option<u64>,
    /// The refusal of what is in the candidate's files.
    pub candidate_refusal: Option<StatusRefusal>,
    /// How many decisions would have been others by the candidate or by shadows, by rule.
    pub differences: BTreeMap<String, u64>,
    /// How many messages were delivered.
    pub delivered: u64,
    /// How many were of other topics.
    pub unwanted: u64,
    /// How many were refused, by reason.
    pub rejected: BTreeMap<String, u64>,
}

/// When, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRefusal {
    /// When.
    pub at: String,
    /// Why.
    pub reason: String,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Not a status, or one of another version.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another consumer of this name is running.
    #[error("{}: held by another consumer of this name", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// A file or the directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Tally {
    /// Sets what was counted so far.
    pub fn set(&self, delivered: u64, unwanted: u64, rejected: &BTreeMap<ReasonCode, u64>) {
        self.delivered.store(delivered, Ordering::Relaxed);
        self.unwanted.store(unwanted, Ordering::Relaxed);
        // It is asked before each message: what has not grown is not copied.
        let total = rejected.values().sum();
        if self.rejected_total.swap(total, Ordering::Relaxed) != total {
            self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone_from(rejected);
        }
    }
}

impl StatusFile {
    /// For the consumer `name`, in the directory of `freshness.state`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StatusError`]; [`StatusError::InUse`], if one of this name is running.
    pub fn open(directory: &Path, name: &str, started: Timestamp) -> Result<Self, StatusError> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let lock = directory.join(format!("{name}{LOCK_SUFFIX}"));
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = opened.map_err(at(&lock))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Whoever asks whether one runs holds it for an instant.
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Err(StatusError::InUse { path: lock }),
                Err(TryLockError::Error(source)) => return Err(StatusError::Io { path: lock, source }),
            }
        }
        let path = directory.join(format!("{name}{SUFFIX}"));
        let state = Mutex::new(State { lock: Some(file), failed: false });
        let (name, tally) = (name.to_owned(), Arc::default());
        Ok(Self(Arc::new(Shared { name, path, started, tally, state })))
    }

    /// What it counts.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.0.tally
    }

    /// Writes the status, unless the consumer has ended. That it cannot be written is logged once: nobody's message waits for it.
    pub fn write(&self, policy: &PolicyStatus, live: &LivePolicy, now: Timestamp) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lock.is_none() {
            return;
        }
        let written = self.0.status(policy, live, now).and_then(|text| replace(&self.0.path, &text));
        if let Err(error) = &written
            && !state.failed
        {
            tracing::warn!(file = %self.0.path.display(), %error, "the status is not written");
        }
        state.failed = written.is_err();
    }

    /// Removes the status: the consumer ends.
    pub fn remove(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lock.take().is_some() {
            // What stays is seen not to run.
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

impl Shared {
    fn status(&self, policy: &PolicyStatus, live: &LivePolicy, now: Timestamp) -> io::Result<Vec<u8>> {
        let Tally { delivered, unwanted, rejected, .. } = &*self.tally;
        let rejected = rejected.lock().unwrap_or_else(PoisonError::into_inner);
        let endorsement = policy.endorsement.as_ref();
        let status = ConsumerStatus {
            version: VERSION,
            name: self.name.clone(),
            pid: std::process::id(),
            started: self.started.to_string(),
            written: now.to_string(),
            is_running: true,
            serial: policy.edition.serial,
            digest: policy.edition.digest_hex(),
            since: policy.since.to_string(),
            signed_by: endorsement.map(|e| e.signer().to_string()),
            signed_until: endorsement.map(|e| e.until().to_string()),
            lapse: policy.lapse.as_ref().map(StatusRefusal::of),
            replaced: policy.replaced,
            refused: policy.refused,
            refusal: policy.refusal.as_ref().map(StatusRefusal::of),
            candidate_serial: policy.candidate.map(|candidate| candidate.serial),
            candidate_refusal: policy.candidate_refusal.as_ref().map(StatusRefusal::of),
            differences: live.difference_counts(),
            delivered: delivered.load(Ordering::Relaxed),
            unwanted: unwanted.load(Ordering::Relaxed),
            rejected: rejected.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        };
        Ok(serde_json::to_vec(&status)?)
    }
}

impl StatusRefusal {
    fn of(refusal: &PolicyRefusal) -> Self {
        Self { at: refusal.at.to_string(), reason: refusal.reason.clone() }
    }
}

impl ConsumerStatus {
    /// Everything that consumers have written in a directory, in the order of their names. A directory that is not there has none.
    ///
    /// # Errors
    /// [`StatusError`], if the directory cannot be listed. A file that cannot be read is an error of its own.
    pub fn read_all(directory: &Path) -> Result<Vec<Result<Self, StatusError>>, StatusError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(directory)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(at(directory))?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX)) {
                paths.push(path);
            }
        }
        paths.sort();
        // A consumer that ends meanwhile takes its file away.
        let gone = |read: &Result<Self, StatusError>| matches!(read, Err(StatusError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound);
        Ok(paths.iter().map(|path| Self::read(path)).filter(|read| !gone(read)).collect())
    }

    fn read(path: &Path) -> Result<Self, StatusError> {
        let content = |what: String| StatusError::Content { path: path.to_owned(), what };
        let mut bytes = Vec::new();
        let opened = File::open(path).map_err(at(path))?;
        opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(at(path))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(content(format!("more than {MAX_BYTES} bytes")));
        }
        let mut status: Self =
            serde_json::from_slice(&bytes).map_err(|error| content(format!("no status: {error}")))?;
        if status.version != VERSION {
            return Err(content(format!("a status of version {}; {VERSION} is known", status.version)));
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_suffix(SUFFIX) != Some(status.name.as_str()) {
            return Err(content(format!("the status of `{}`", status.name)));
        }
        let lock = path.with_file_name(format!("{}{LOCK_SUFFIX}", status.name));
        // To ask, it is taken for an instant; shared, so that two who ask do not see each other.
        let asked = OpenOptions::new().read(true).open(&lock);
        status.is_running =
            asked.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        Ok(status)
    }
}

/// Without flushing it to the disk: after a loss of power nobody runs.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut beside = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    beside.write_all(bytes)?;
    beside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StatusError + '_ {
    move |source| StatusError::Io { path: path.to_owned(), source }
}
