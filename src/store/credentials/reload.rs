//! A service's pair, read again when it changes: a renewed certificate and its key are taken up while the service runs.

use super::{Credentials, CredentialsError, paths};
use crate::limits::Limits;
use crate::sign::{LiveSigner, OtherSigner, SignError, Signer};
use crate::store::files::Stamp;
use crate::time::{Clock, SystemClock, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often [`SignerWatch`] looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which pair, and what a message carries of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerFiles {
    /// The directory of the pair.
    pub directory: PathBuf,
    /// The service.
    pub service: String,
    /// The host.
    pub host: String,
    /// Whether messages carry the issuers that are in the certificate's file.
    pub send_intermediates: bool,
    /// The limits of those who verify.
    pub limits: Limits,
}

/// Why a pair is not signed with.
#[derive(Debug, thiserror::Error)]
pub enum SignerFileError {
    /// The files.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate has expired, or its time has not come: what it signs would be refused.
    #[error("{}: valid from {from} until {until}, and it is {at}", path.display())]
    NotValidNow {
        /// The certificate's file.
        path: PathBuf,
        /// The first second of its validity.
        from: Timestamp,
        /// The last second of its validity.
        until: Timestamp,
        /// The time.
        at: Timestamp,
    },
    /// The certificate is somebody else's.
    #[error("{}: {cause}", path.display())]
    Other {
        /// The certificate's file.
        path: PathBuf,
        /// Whose.
        cause: OtherSigner,
    },
    /// The key and the certificate make no signer.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// There is no thread to watch the files with.
    #[error("watching the files of a certificate: {0}")]
    Watch(io::Error),
}

/// How a pair is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerStatus {
    /// SHA-256 of the certificate that signs now, in hexadecimal.
    pub certificate: String,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// Since when it signs.
    pub since: Timestamp,
    /// How many followed the first.
    pub replaced: u64,
    /// How many were refused.
    pub refused: u64,
    /// The last refusal, if what is in the files now is not what signs.
    pub refusal: Option<SignerRefusal>,
}

/// A pair that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRefusal {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What a look at the files brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SignerRefresh {
    /// What is in the files was refused; [`SignerReloader::status`] says why.
    Refused,
    /// Another certificate signs from now on.
    Replaced,
    /// What is in the files has been seen before.
    Unchanged,
}

impl SignerFiles {
    /// Reads the pair.
    ///
    /// # Errors
    /// [`SignerFileError::Credentials`], if it is not there or does not belong together; [`SignerFileError::Sign`].
    pub fn load(&self) -> Result<Signer, SignerFileError> {
        let credentials = Credentials::load(&self.directory, &self.service, &self.host)?;
        let (key, leaf, intermediates) = credentials.into_parts();
        let sent = if self.send_intermediates { intermediates } else { Vec::new() };
        let certificates = std::iter::once(leaf).chain(sent).map(|c| c.der().clone()).collect();
        Ok(Signer::new(Arc::new(key), certificates, self.limits)?)
    }

    fn paths(&self) -> [PathBuf; 2] {
        paths(&self.directory, &self.service, &self.host).into()
    }
}

/// Keeps a [`LiveSigner`] up with its pair of files. The caller says when to look.
///
/// A pair that cannot be read, does not belong together, is not valid now or is somebody else's is refused, and the one that was
/// there goes on signing.
#[derive(Debug)]
pub struct SignerReloader {
    live: LiveSigner,
    files: SignerFiles,
    /// Of the files that were read last, good or not.
    seen: Vec<Option<Stamp>>,
    status: SignerStatus,
}

impl SignerReloader {
    /// Reads the pair. At the start, a certificate that has expired is taken: whoever verifies says what is wrong with it.
    ///
    /// # Errors
    /// As [`SignerFiles::load`].
    pub fn open(files: SignerFiles, now: Timestamp) -> Result<Self, SignerFileError> {
        let seen = stamps(&files);
        let signer = files.load()?;
        let certificate = signer.certificate();
        let status = SignerStatus {
            certificate: certificate.sha256_hex(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            since: now,
            replaced: 0,
            refused: 0,
            refusal: None,
        };
        Ok(Self { live: LiveSigner::new(signer), files, seen, status })
    }

    /// What signs: a handle that sees every replacement.
    pub fn live(&self) -> &LiveSigner {
        &self.live
    }

    /// How the pair is doing.
    pub fn status(&self) -> &SignerStatus {
        &self.status
    }

    /// Looks whether a file changed since, and takes the pair if it is good. `now` is the time by the clock that files are dated by.
    pub fn refresh(&mut self, now: Timestamp) -> SignerRefresh {
        let found = stamps(&self.files);
        let is_settled = |stamp: &Option<Stamp>| stamp.is_some_and(|stamp| stamp.is_settled(now));
        if found == self.seen && found.iter().all(is_settled) && !self.waits() {
            return SignerRefresh::Unchanged;
        }
        // Before they are read: what is written meanwhile looks different the next time.
        self.seen = found;
        self.reload(now)
    }

    /// Reads the pair, however the files look (SIGHUP), and takes it if it is good.
    pub fn reload(&mut self, now: Timestamp) -> SignerRefresh {
        match self.files.load() {
            Ok(signer) if signer.certificate() == self.live.current().certificate() => {
                self.status.refusal = None;
                SignerRefresh::Unchanged
            }
            Ok(signer) => match self.take(signer, now) {
                Ok(()) => SignerRefresh::Replaced,
                Err(error) => self.refuse(&error, now),
            },
            Err(error) => self.refuse(&error, now),
        }
    }

    /// Whether time alone may make the pair good that was refused: its certificate's time may come.
    fn waits(&self) -> bool {
        self.status.refusal.is_some()
    }

    fn take(&mut self, signer: Signer, now: Timestamp) -> Result<(), SignerFileError> {
        let [path, _] = self.files.paths();
        let certificate = signer.certificate();
        let (digest, from, until) =
            (certificate.sha256_hex(), certificate.not_before(), certificate.not_after());
        if !(from..=until).contains(&now) {
            return Err(SignerFileError::NotValidNow { path, from, until, at: now });
        }
        self.live.replace(signer).map_err(|cause| SignerFileError::Other { path, cause })?;
        tracing::info!(signer = %self.live.identity(), certificate = digest, %until, "another certificate signs");
        self.status = SignerStatus {
            certificate: digest,
            not_before: from,
            not_after: until,
            since: now,
            replaced: self.status.replaced + 1,
            refused: self.status.refused,
            refusal: None,
        };
        Ok(())
    }

    /// Says so once for each reason, and not at every look.
    fn refuse(&mut self, error: &SignerFileError, now: Timestamp) -> SignerRefresh {
        let reason = match error {
            // The time is another at every look.
            SignerFileError::NotValidNow { path, from, until, .. } => {
                format!("{}: valid from {from} until {until}", path.display())
            }
            SignerFileError::Credentials(_)
            | SignerFileError::Other { .. }
            | SignerFileError::Sign(_)
            | SignerFileError::Watch(_) => error.to_string(),
        };
        if self.status.refusal.as_ref().is_some_and(|refusal| refusal.reason == reason) {
            return SignerRefresh::Unchanged;
        }
        self.status.refused += 1;
        let until = self.status.not_after;
        tracing::error!(%error, signer = %self.live.identity(), %until, "a certificate was refused; the old one goes on signing");
        self.status.refusal = Some(SignerRefusal { at: now, reason });
        SignerRefresh::Refused
    }
}

/// Looks at a pair once a second, on a thread of its own, which ends with the value.
#[derive(Debug)]
pub struct SignerWatch {
    live: LiveSigner,
    status: Arc<Mutex<SignerStatus>>,
    /// Asks for a look; when it is dropped, the thread ends.
    ask: SyncSender<()>,
}

impl SignerWatch {
    /// Reads the pair, and watches it from now on.
    ///
    /// # Errors
    /// As [`SignerReloader::open`]; [`SignerFileError::Watch`], if there is no thread to be had.
    pub fn open(files: SignerFiles) -> Result<Self, SignerFileError> {
        let mut reloader = SignerReloader::open(files, SystemClock.now())?;
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
        };
        let spawned = std::thread::Builder::new().name("credentials".to_owned()).spawn(watch);
        spawned.map_err(SignerFileError::Watch)?;
        Ok(Self { live, status, ask })
    }

    /// What signs.
    pub fn live(&self) -> &LiveSigner {
        &self.live
    }

    /// How the pair is doing.
    pub fn status(&self) -> SignerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the pair read again however the files look: what SIGHUP asks for.
    pub fn reload(&self) {
        // If one is asked for already, that is this one too.
        let _ = self.ask.try_send(());
    }
}

fn stamps(files: &SignerFiles) -> Vec<Option<Stamp>> {
    files.paths().iter().map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::replace;
    use super::*;
    use crate::development::Development;
    use crate::pki::authority::chain_to_pem;
    use crate::pki::key::{KeyKind, PrivateKey};
    use crate::store::files as plain;
    use std::fs;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn files(directory: &std::path::Path) -> SignerFiles {
        SignerFiles {
            directory: directory.to_owned(),
            service: "bodhi".to_owned(),
            host: "app01".to_owned(),
            send_intermediates: false,
            limits: Limits::STANDARD,
        }
    }

    /// A key and the PEM of its certificate.
    fn pair(development: &Development, env: &str) -> (PrivateKey, String) {
        let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
        let copy = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        let signer = development.signer_with(copy, env, "bodhi", "app01").unwrap();
        (key, chain_to_pem(signer.certificate(), &[]))
    }

    #[test]
    fn a_pair_that_is_whole_and_its_own_is_taken_and_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        let [certificate, key] = files.paths();
        let development = Development::new("a.example", now()).unwrap();
        let put = |(key_of, pem): &(PrivateKey, String)| replace(&certificate, &key, pem, key_of).unwrap();
        let (first, second) = (pair(&development, "prod"), pair(&development, "prod"));
        put(&first);
        let mut reloader = SignerReloader::open(files, now()).unwrap();
        let live = reloader.live().clone();
        let signs = |pem: &str| chain_to_pem(live.current().certificate(), &[]) == pem;
        assert_eq!(reloader.refresh(now()), SignerRefresh::Unchanged);

        put(&second);
        assert_eq!(reloader.refresh(now()), SignerRefresh::Replaced);
        assert!(signs(&second.1) && reloader.status().replaced == 1);

        // Each is said once, and the one before goes on.
        let earlier = Development::new("a.example", now().plus_seconds(-400 * 86_400)).unwrap();
        let third = pair(&development, "prod");
        let half = third.1[..third.1.len() / 2].to_owned();
        let wrong: [(&dyn Fn(), &str); 5] = [
            (
                &|| plain::write(&certificate, third.1.as_bytes()).unwrap(),
                "is not the key of the certificate",
            ),
            (&|| plain::write(&certificate, half.as_bytes()).unwrap(), "a block does not end"),
            (&|| put(&pair(&development, "stg")), "expected spiffe://a.example/prod/bodhi/app01"),
            (&|| put(&pair(&earlier, "prod")), "valid from 2025-10-"),
            (&|| fs::remove_file(&certificate).unwrap(), "no credentials of bodhi-app01"),
        ];
        for (number, (harm, expected)) in (1..).zip(wrong) {
            harm();
            assert_eq!(reloader.refresh(now()), SignerRefresh::Refused, "{expected}");
            assert_eq!(reloader.refresh(now()), SignerRefresh::Unchanged, "said once");
            let status = reloader.status();
            let reason = &status.refusal.as_ref().unwrap().reason;
            assert!(reason.contains(expected), "{reason}");
            assert_eq!(status.refused, number);
            assert!(signs(&second.1), "the last good one stays");
        }
        put(&third);
        assert_eq!(reloader.refresh(now()), SignerRefresh::Replaced);
        assert!(signs(&third.1) && reloader.status().refusal.is_none());
        assert_eq!(reloader.reload(now()), SignerRefresh::Unchanged);
    }

    #[test]
    fn a_watch_sees_a_renewal_by_itself() {
        let temp = tempfile::tempdir().unwrap();
        let files = files(temp.path());
        let [certificate, key] = files.paths();
        let development = Development::new("a.example", SystemClock.now()).unwrap();
        let (first, second) = (pair(&development, "prod"), pair(&development, "prod"));
        replace(&certificate, &key, &first.1, &first.0).unwrap();
        let watch = SignerWatch::open(files).unwrap();
        replace(&certificate, &key, &second.1, &second.0).unwrap();
        while chain_to_pem(watch.live().current().certificate(), &[]) != second.1 {
            std::thread::yield_now();
        }
        while watch.status().replaced != 1 {
            std::thread::yield_now();
        }
    }
}
