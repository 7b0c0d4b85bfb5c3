//! The index: every certificate that an authority ever issued, in SQLite. A certificate is entered before anybody gets
//! it, so that there is none that could not be revoked.

mod generations;
mod schema;

pub(super) use generations::Step;
pub use generations::{AuthorityId, Generation, Stage};

use super::error::AuthorityStoreError;
use super::log::{self, Event, LogEntry};
use crate::identity::SpiffeId;
use crate::pki::authority::{AuthorityError, RevocationReason, Revoked, chain_to_pem};
use crate::pki::certificate::{Certificate, CertificateError};
use crate::pki::serial::Serial;
use crate::time::Timestamp;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OpenFlags, Row, params};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const COLUMNS: &str = "issuer, generation, serial, name, identity, not_before, not_after, issued_at, der, revoked_at, reason, invalid_since";

/// Which of the two kinds of authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The issuing intermediate.
    Issuing,
    /// The root.
    Root,
}

impl Level {
    /// `root` or `issuing`: how its files are called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Root => "root",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who issued it.
    pub issuer: AuthorityId,
    /// Its serial number.
    pub serial: Serial,
    /// Its common name: `SERVICE-HOST` for a service.
    pub name: String,
    /// Its identity; `None` for an authority.
    pub identity: Option<SpiffeId>,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// Its revocation, if it was revoked.
    pub revocation: Option<EntryRevocation>,
}

/// How a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRevocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
    /// Since when its key is not to be relied on, if that is earlier.
    pub invalid_since: Option<Timestamp>,
}

/// A certificate that is about to be given to somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry<'a> {
    pub(super) issuer: AuthorityId,
    pub(super) certificate: &'a Certificate,
    /// `None`: an authority's.
    pub(super) identity: Option<&'a SpiffeId>,
    pub(super) issued_at: Timestamp,
    /// SHA-256 of the request; `None`: the key was made here.
    pub(super) request: Option<[u8; 32]>,
    /// The files of the certificate and of its key that will be written next.
    pub(super) files: Option<(&'a Path, &'a Path)>,
}

/// What a command entered and may not have written.
#[derive(Clone, Debug)]
pub(super) enum Unfinished {
    Certificate {
        issuer: AuthorityId,
        serial: Serial,
        certificate_path: PathBuf,
        key_path: PathBuf,
    },
    /// The certificates of a level, and the lists that stay.
    Files {
        level: Level,
    },
    /// The key of an authority that was not entered.
    Key {
        path: PathBuf,
    },
    List {
        issuer: AuthorityId,
        number: u64,
    },
}

/// How a certificate stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its last day has passed.
    Expired,
    /// Two thirds of its life have passed: it is time for a new one.
    Expiring,
    /// Its issuer's list names it.
    Revoked,
    /// Nothing is wrong with it.
    Valid,
}

impl State {
    /// The state in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Revoked => "revoked",
            Self::Valid => "valid",
        }
    }
}

impl Entry {
    /// The certificate in PEM.
    ///
    /// # Errors
    /// [`CertificateError`], if what is in the index is no certificate.
    pub fn to_pem(&self) -> Result<String, CertificateError> {
        Ok(chain_to_pem(&Certificate::parse(&self.der)?, &[]))
    }

    /// How it stands at a time.
    pub fn state(&self, at: Timestamp) -> State {
        if self.revocation.is_some() {
            State::Revoked
        } else if at > self.not_after {
            State::Expired
        } else if at.is_past_two_thirds(self.not_before, self.not_after) {
            State::Expiring
        } else {
            State::Valid
        }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
    path: PathBuf,
    /// Who is written into the log.
    who: String,
}

impl Index {
    pub(super) fn create(path: &Path, trust_domain: &str) -> Result<Self, AuthorityStoreError> {
        let index = Self::connect(path, OpenFlags::default())?;
        schema::create(&index.connection).map_err(index.failed())?;
        index
            .connection
            .execute("INSERT INTO setting VALUES ('trust_domain', ?1)", [trust_domain])
            .map_err(index.failed())?;
        Ok(index)
    }

    pub(super) fn open(path: &Path) -> Result<Self, AuthorityStoreError> {
        let index = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version = index.connection.query_row("PRAGMA user_version", [], |row| row.get(0));
        let found: i64 = version.map_err(index.failed())?;
        match found {
            schema::VERSION => Ok(index),
            schema::MIGRATED => {
                schema::migrate(&index.connection).map_err(index.failed())?;
                Ok(index)
            }
            found => {
                let expected = schema::VERSION;
                Err(AuthorityStoreError::Schema { path: path.to_owned(), found, expected })
            }
        }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, AuthorityStoreError> {
        let failed = |cause| AuthorityStoreError::Index { path: path.to_owned(), cause };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(failed)?;
        // FULL: what was committed outlives a power cut. It is the default, and it matters too much to rely on that. With a
        // write-ahead log that costs one sync; SQLite takes it up again after a crash, and removes it when all is well.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), who: log::operator() })
    }

    pub(super) fn trust_domain(&self) -> Result<String, AuthorityStoreError> {
        self.connection
            .query_row("SELECT value FROM setting WHERE name = 'trust_domain'", [], |row| row.get(0))
            .map_err(self.failed())
    }

    /// Enters certificates, all or none. That an issuer gave a serial number before is an error.
    pub(super) fn add(&self, entries: &[NewEntry<'_>]) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| entries.iter().try_for_each(|entry| self.insert(connection, entry)))
    }

    fn insert(&self, connection: &Connection, entry: &NewEntry<'_>) -> rusqlite::Result<()> {
        let NewEntry { issuer, certificate, identity, issued_at, request, files } = *entry;
        let serial = Serial::from_bytes(certificate.serial())
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let sql = "INSERT INTO certificate
                   (issuer, generation, serial, name, identity, not_before, not_after, issued_at, der)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let identity = identity.map(SpiffeId::as_str);
        connection.prepare_cached(sql)?.execute(params![
            issuer.level.as_str(),
            issuer.generation,
            serial.as_bytes(),
            certificate.subject_cn().unwrap_or_default(),
            identity,
            certificate.not_before().as_unix(),
            certificate.not_after().as_unix(),
            issued_at.as_unix(),
            &certificate.der()[..],
        ])?;
        if let Some((certificate_path, key_path)) = files {
            let sql = "INSERT INTO unfinished (issuer, generation, serial, certificate_path, key_path) VALUES (?1, ?2, ?3, ?4, ?5)";
            let [certificate_path, key_path] = [certificate_path, key_path].map(absolute);
            connection.prepare_cached(sql)?.execute(params![
                issuer.level.as_str(),
                issuer.generation,
                serial.as_bytes(),
                certificate_path,
                key_path
            ])?;
        }
        let event = Event::Issue { issuer, certificate, identity, request };
        log::append(connection, event, &self.who, issued_at)
    }

    /// Everything, in the order of issuing.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("TRUE ORDER BY issued_at, identity IS NOT NULL, name, serial", [])
    }

    pub(super) fn by_serial(&self, serial: &Serial) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("serial = ?1", [serial.as_bytes()])
    }

    /// A certificate for one of these keys (each a SubjectPublicKeyInfo in DER) that was revoked because somebody else has it.
    pub(super) fn compromised(&self, keys: &HashSet<&[u8]>) -> Result<Option<Serial>, AuthorityStoreError> {
        let reason = RevocationReason::KeyCompromise.as_str();
        for entry in self.select("revoked_at IS NOT NULL AND reason = ?1", [reason])? {
            let certificate = Certificate::parse(&entry.der).map_err(AuthorityError::from)?;
            if keys.contains(certificate.spki_der()) {
                return Ok(Some(entry.serial));
            }
        }
        Ok(None)
    }

    pub(super) fn by_name(&self, name: &str) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("name = ?1 ORDER BY issued_at", [name])
    }

    pub(super) fn by_identity(&self, identity: &SpiffeId) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("identity = ?1 ORDER BY issued_at", [identity.as_str()])
    }

    /// What services got before a time, that is neither revoked nor expired.
    pub(super) fn issued_before(
        &self,
        time: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select(
            "identity IS NOT NULL AND issued_at < ?1 AND not_after >= ?2 AND revoked_at IS NULL
             ORDER BY issued_at, name, serial",
            [time.as_unix(), now.as_unix()],
        )
    }

    /// Marks as revoked, takes the numbers of the lists that will say so, and brings authorities to another stage by the way.
    /// An earlier revocation keeps its date; its reason gives way only to a compromise, which makes what was signed before
    /// doubtful. The authorities in `without` get no list any more.
    pub(super) fn retire(
        &self,
        entries: &[Entry],
        new: EntryRevocation,
        steps: &[Step],
        without: &[AuthorityId],
    ) -> Result<Vec<(AuthorityId, u64)>, AuthorityStoreError> {
        let mut issuers: Vec<AuthorityId> = entries.iter().map(|entry| entry.issuer).collect();
        issuers.sort_unstable();
        issuers.dedup();
        issuers.retain(|issuer| !without.contains(issuer));
        self.atomically(|connection| {
            for entry in entries.iter().filter(|entry| changes(entry, &new)) {
                let old = entry.revocation;
                let revocation = EntryRevocation {
                    at: old.map_or(new.at, |old| old.at),
                    reason: new.reason,
                    invalid_since: new.invalid_since.or_else(|| old?.invalid_since),
                };
                self.mark(connection, (entry.issuer, &entry.serial), &revocation)?;
                log::append(connection, Event::Revoke { entry, revocation }, &self.who, new.at)?;
            }
            self.moved(connection, steps, new.at)?;
            issuers.iter().map(|issuer| Ok((*issuer, self.number(connection, *issuer, new.at)?))).collect()
        })
    }

    fn mark(
        &self,
        connection: &Connection,
        (issuer, serial): (AuthorityId, &Serial),
        revocation: &EntryRevocation,
    ) -> rusqlite::Result<()> {
        let sql = "UPDATE certificate SET revoked_at = ?4, reason = ?5, invalid_since = ?6
                   WHERE issuer = ?1 AND generation = ?2 AND serial = ?3";
        let marked = connection.prepare_cached(sql)?.execute(params![
            issuer.level.as_str(),
            issuer.generation,
            serial.as_bytes(),
            revocation.at.as_unix(),
            revocation.reason.as_str(),
            revocation.invalid_since.map(Timestamp::as_unix),
        ]);
        marked.map(drop)
    }

    pub(super) fn revoked(&self, issuer: AuthorityId) -> Result<Vec<Revoked>, AuthorityStoreError> {
        let entries = self.select(
            "issuer = ?1 AND generation = ?2 AND revoked_at IS NOT NULL ORDER BY revoked_at, serial",
            params![issuer.level.as_str(), issuer.generation],
        )?;
        let revoked = entries.into_iter().filter_map(|entry| {
            let EntryRevocation { at, reason, invalid_since } = entry.revocation?;
            Some(Revoked { serial: entry.serial, at, reason, invalid_since })
        });
        Ok(revoked.collect())
    }

    /// What an authority issued.
    pub(super) fn issued_by(&self, issuer: AuthorityId) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select(
            "issuer = ?1 AND generation = ?2 ORDER BY issued_at, name, serial",
            params![issuer.level.as_str(), issuer.generation],
        )
    }

    /// Takes the next CRLNumber. It is kept before the list is signed: a number may be skipped, never used twice.
    pub(super) fn next_crl_number(
        &self,
        issuer: AuthorityId,
        at: Timestamp,
    ) -> Result<u64, AuthorityStoreError> {
        self.atomically(|connection| self.number(connection, issuer, at))
    }

    fn number(&self, connection: &Connection, issuer: AuthorityId, at: Timestamp) -> rusqlite::Result<u64> {
        let (level, generation) = (issuer.level.as_str(), issuer.generation);
        let sql = "UPDATE authority SET crl_number = crl_number + 1 WHERE level = ?1 AND generation = ?2
                   RETURNING crl_number";
        let number = connection.query_row(sql, params![level, generation], |row| row.get(0))?;
        let sql = "SELECT count(*) FROM certificate
                   WHERE issuer = ?1 AND generation = ?2 AND revoked_at IS NOT NULL";
        let revoked = connection.query_row(sql, params![level, generation], |row| row.get(0))?;
        let sql = "INSERT INTO unfinished (issuer, generation, crl_number) VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![level, generation, number])?;
        log::append(connection, Event::List { issuer, number, revoked }, &self.who, at)?;
        Ok(number)
    }

    /// The number that was last taken for a list.
    pub(super) fn crl_number(&self, issuer: AuthorityId) -> Result<u64, AuthorityStoreError> {
        let sql = "SELECT crl_number FROM authority WHERE level = ?1 AND generation = ?2";
        self.connection
            .query_row(sql, params![issuer.level.as_str(), issuer.generation], |row| row.get(0))
            .map_err(self.failed())
    }

    /// What was entered since the last command that finished, and may not be in its files.
    pub(super) fn unfinished(&self) -> Result<Vec<(i64, Unfinished)>, AuthorityStoreError> {
        let sql = "SELECT number, issuer, generation, serial, certificate_path, key_path, crl_number
                   FROM unfinished ORDER BY number";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, unfinished(row)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed())
    }

    /// Forgets what is in its files now.
    pub(super) fn finished(&self, numbers: &[i64]) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let mut statement = connection.prepare_cached("DELETE FROM unfinished WHERE number = ?1")?;
            numbers.iter().try_for_each(|number| statement.execute([number]).map(drop))
        })
    }

    /// The certificates and their keys are in their files.
    pub(super) fn files_written(
        &self,
        issuer: AuthorityId,
        serials: &[&Serial],
    ) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let sql = "DELETE FROM unfinished WHERE issuer = ?1 AND generation = ?2 AND serial = ?3";
            let mut statement = connection.prepare_cached(sql)?;
            serials.iter().try_for_each(|serial| {
                let values = params![issuer.level.as_str(), issuer.generation, serial.as_bytes()];
                statement.execute(values).map(drop)
            })
        })
    }

    /// A list of this number is in its file: what was to be written before it no longer is.
    pub(super) fn list_written(&self, issuer: AuthorityId, number: u64) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let sql = "DELETE FROM unfinished WHERE issuer = ?1 AND generation = ?2 AND crl_number <= ?3";
            let values = params![issuer.level.as_str(), issuer.generation, number];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    /// For what may be lost in a power cut: then the next command looks at the files once more.
    fn unsynced(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), AuthorityStoreError> {
        let run = || {
            self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
            let done = work(&self.connection);
            self.connection.execute_batch("PRAGMA synchronous = FULL").and(done)
        };
        run().map_err(self.failed())
    }

    /// The log, the first entry first.
    pub(super) fn log(&self) -> Result<Vec<LogEntry>, AuthorityStoreError> {
        log::entries(&self.connection).map_err(self.failed())
    }

    /// All of it, or none: on disk when it comes back, and not there after an error or a crash.
    fn atomically<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, AuthorityStoreError> {
        let run = || {
            // Immediate: what is read within is what is there when it is written.
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            match work(&self.connection) {
                Ok(done) => self.connection.execute_batch("COMMIT").map(|()| done),
                Err(error) => {
                    // The first error is the one to tell; closing the connection would undo it as well.
                    let _ = self.connection.execute_batch("ROLLBACK");
                    Err(error)
                }
            }
        };
        run().map_err(self.failed())
    }

    fn select(
        &self,
        condition: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<Entry>, AuthorityStoreError> {
        let sql = format!("SELECT {COLUMNS} FROM certificate WHERE {condition}");
        let mut statement = self.connection.prepare(&sql).map_err(self.failed())?;
        let rows = statement.query_map(values, entry).map_err(self.failed())?;
        rows.collect::<Result<_, _>>().map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> AuthorityStoreError + use<> {
        let path = self.path.clone();
        move |cause| AuthorityStoreError::Index { path: path.clone(), cause }
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let time = |column| parsed(row, column, Timestamp::from_unix);
    let revoked_at: Option<i64> = row.get(9)?;
    let revocation = match revoked_at {
        None => None,
        Some(_) => Some(EntryRevocation {
            at: time(9)?,
            reason: parsed(row, 10, |reason: String| reason.parse())?,
            invalid_since: parsed(row, 11, |since: Option<i64>| since.map(Timestamp::from_unix).transpose())?,
        }),
    };
    Ok(Entry {
        issuer: generations::id(row, 0)?,
        serial: parsed(row, 2, |serial: Vec<u8>| Serial::from_bytes(&serial))?,
        name: row.get(3)?,
        identity: parsed(row, 4, |identity: Option<String>| identity.map(|i| i.parse()).transpose())?,
        not_before: time(5)?,
        not_after: time(6)?,
        issued_at: time(7)?,
        der: row.get(8)?,
        revocation,
    })
}

fn unfinished(row: &Row<'_>) -> rusqlite::Result<Unfinished> {
    let issuer = generations::id(row, 1)?;
    if let Some(number) = row.get(6)? {
        return Ok(Unfinished::List { issuer, number });
    }
    let path = |column| Ok::<_, rusqlite::Error>(PathBuf::from(OsString::from_vec(row.get(column)?)));
    let (serial, key): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3)?, row.get(5)?);
    match (serial, key) {
        (Some(_), _) => {
            let serial = parsed(row, 3, |serial: Vec<u8>| Serial::from_bytes(&serial))?;
            Ok(Unfinished::Certificate { issuer, serial, certificate_path: path(4)?, key_path: path(5)? })
        }
        (None, Some(_)) => Ok(Unfinished::Key { path: path(5)? }),
        (None, None) => Ok(Unfinished::Files { level: issuer.level }),
    }
}

/// Whether a revocation says something that the entry does not have yet.
fn changes(entry: &Entry, new: &EntryRevocation) -> bool {
    let Some(old) = entry.revocation else { return true };
    let is_earlier = match (old.invalid_since, new.invalid_since) {
        (_, None) => false,
        (None, Some(since)) => since < old.at,
        (Some(before), Some(since)) => since < before,
    };
    new.reason.is_compromise() && (!old.reason.is_compromise() || is_earlier)
}

/// A path's bytes, from the root, so that another command finds it from wherever it runs.
fn absolute(path: &Path) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.into_os_string().into_vec()
}

/// A column in our own terms. What we did not write ourselves is an error that names the column.
fn parsed<S: FromSql, T, E>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(S) -> Result<T, E>,
) -> rusqlite::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let value = row.get(column)?;
    parse(value)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(error)))
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no authority")]
struct NoLevel(String);

fn level_named(text: &str) -> Result<Level, NoLevel> {
    let named = [Level::Issuing, Level::Root].into_iter().find(|level| level.as_str() == text);
    named.ok_or_else(|| NoLevel(text.to_owned()))
}
