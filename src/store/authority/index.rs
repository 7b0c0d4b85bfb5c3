//! The index: every certificate that an authority ever issued, in SQLite. A certificate is entered before anybody gets
//! it, so that there is none that could not be revoked.

use super::error::AuthorityStoreError;
use super::log::{self, Event, LogEntry};
use crate::identity::SpiffeId;
use crate::pki::authority::{AuthorityError, RevocationReason, Revoked, chain_to_pem};
use crate::pki::certificate::{Certificate, CertificateError};
use crate::pki::serial::Serial;
use crate::time::Timestamp;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `PRAGMA user_version` says of the tables below.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE authority (
    level       TEXT PRIMARY KEY CHECK (level IN ('root', 'issuing')),
    certificate BLOB NOT NULL,
    crl_number  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE certificate (
    issuer      TEXT NOT NULL REFERENCES authority (level),
    serial      BLOB NOT NULL,
    name        TEXT NOT NULL,
    identity    TEXT,               -- NULL: an authority's
    not_before  INTEGER NOT NULL,   -- seconds since 1970, as all times here
    not_after   INTEGER NOT NULL,
    issued_at   INTEGER NOT NULL,
    der         BLOB NOT NULL,
    revoked_at  INTEGER,
    reason      TEXT,
    invalid_since INTEGER,
    PRIMARY KEY (issuer, serial),
    CHECK ((revoked_at IS NULL) = (reason IS NULL)),
    CHECK (invalid_since IS NULL OR revoked_at IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_name ON certificate (name);
CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_revoked ON certificate (issuer, revoked_at) WHERE revoked_at IS NOT NULL;
-- What was entered above and may not be in its files yet: whoever comes next sees to it.
CREATE TABLE unfinished (
    number      INTEGER PRIMARY KEY,
    issuer      TEXT NOT NULL REFERENCES authority (level),
    serial      BLOB,               -- of a certificate, to be written to certificate_path
    certificate_path BLOB,
    key_path    BLOB,
    crl_number  INTEGER             -- of a list, to be written to the issuer's file
) STRICT;
CREATE TABLE log (number INTEGER PRIMARY KEY, record TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TRIGGER log_is_not_changed BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_not_cut BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
";

const COLUMNS: &str = "issuer, serial, name, identity, not_before, not_after, issued_at, der, revoked_at, reason, invalid_since";

/// Which of the two authorities.
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
    pub issuer: Level,
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
    pub(super) issuer: Level,
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
    Certificate { issuer: Level, serial: Serial, certificate_path: PathBuf, key_path: PathBuf },
    List { issuer: Level, number: u64 },
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
        let made = index
            .connection
            .execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"));
        made.map_err(index.failed())?;
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
        if found == SCHEMA_VERSION {
            return Ok(index);
        }
        Err(AuthorityStoreError::Schema { path: path.to_owned(), found, expected: SCHEMA_VERSION })
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

    pub(super) fn add_authority(
        &self,
        level: Level,
        certificate: &Certificate,
        at: Timestamp,
    ) -> Result<(), AuthorityStoreError> {
        self.atomically(|connection| {
            connection.execute(
                "INSERT INTO authority VALUES (?1, ?2, 0)",
                params![level.as_str(), &certificate.der()[..]],
            )?;
            log::append(connection, Event::Authority { level, certificate }, &self.who, at)
        })
    }

    pub(super) fn authority(&self, level: Level) -> Result<Option<Certificate>, AuthorityStoreError> {
        let found: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT certificate FROM authority WHERE level = ?1", [level.as_str()], |row| {
                row.get(0)
            })
            .optional()
            .map_err(self.failed())?;
        Ok(found.map(|der| Certificate::parse(&der)).transpose().map_err(AuthorityError::from)?)
    }

    /// Enters certificates, all or none. That an issuer gave a serial number before is an error.
    pub(super) fn add(&self, entries: &[NewEntry<'_>]) -> Result<(), AuthorityStoreError> {
        let mut serials = Vec::new();
        for entry in entries {
            serials.push(Serial::from_bytes(entry.certificate.serial()).map_err(AuthorityError::from)?);
        }
        self.atomically(|connection| {
            for (entry, serial) in entries.iter().zip(&serials) {
                self.insert(connection, entry, serial)?;
            }
            Ok(())
        })
    }

    fn insert(&self, connection: &Connection, entry: &NewEntry<'_>, serial: &Serial) -> rusqlite::Result<()> {
        let NewEntry { issuer, certificate, identity, issued_at, request, files } = *entry;
        let sql = "INSERT INTO certificate
                   (issuer, serial, name, identity, not_before, not_after, issued_at, der)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let identity = identity.map(SpiffeId::as_str);
        connection.prepare_cached(sql)?.execute(params![
            issuer.as_str(),
            serial.as_bytes(),
            certificate.subject_cn().unwrap_or_default(),
            identity,
            certificate.not_before().as_unix(),
            certificate.not_after().as_unix(),
            issued_at.as_unix(),
            &certificate.der()[..],
        ])?;
        if let Some((certificate_path, key_path)) = files {
            let sql =
                "INSERT INTO unfinished (issuer, serial, certificate_path, key_path) VALUES (?1, ?2, ?3, ?4)";
            let [certificate_path, key_path] = [certificate_path, key_path].map(absolute);
            connection.prepare_cached(sql)?.execute(params![
                issuer.as_str(),
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

    /// A certificate for this key (a SubjectPublicKeyInfo in DER) that was revoked because somebody else has it.
    pub(super) fn compromised(&self, spki: &[u8]) -> Result<Option<Serial>, AuthorityStoreError> {
        let reason = RevocationReason::KeyCompromise.as_str();
        let found = self
            .select("revoked_at IS NOT NULL AND reason = ?1 AND instr(der, ?2) > 0", params![reason, spki])?;
        Ok(found.into_iter().next().map(|entry| entry.serial))
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

    /// Marks as revoked, and takes the numbers of the lists that will say so. An earlier revocation keeps its date; its
    /// reason gives way only to a compromise, which makes what was signed before doubtful.
    pub(super) fn revoke(
        &self,
        entries: &[Entry],
        new: EntryRevocation,
    ) -> Result<Vec<(Level, u64)>, AuthorityStoreError> {
        let mut levels: Vec<Level> = entries.iter().map(|entry| entry.issuer).collect();
        levels.sort_unstable();
        levels.dedup();
        self.atomically(|connection| {
            for entry in entries.iter().filter(|entry| changes(entry, &new)) {
                let old = entry.revocation;
                let revocation = EntryRevocation {
                    at: old.map_or(new.at, |old| old.at),
                    reason: new.reason,
                    invalid_since: new.invalid_since.or_else(|| old?.invalid_since),
                };
                let sql = "UPDATE certificate SET revoked_at = ?3, reason = ?4, invalid_since = ?5
                           WHERE issuer = ?1 AND serial = ?2";
                connection.prepare_cached(sql)?.execute(params![
                    entry.issuer.as_str(),
                    entry.serial.as_bytes(),
                    revocation.at.as_unix(),
                    revocation.reason.as_str(),
                    revocation.invalid_since.map(Timestamp::as_unix),
                ])?;
                log::append(connection, Event::Revoke { entry, revocation }, &self.who, new.at)?;
            }
            levels.iter().map(|level| Ok((*level, self.number(connection, *level, new.at)?))).collect()
        })
    }

    pub(super) fn revoked(&self, issuer: Level) -> Result<Vec<Revoked>, AuthorityStoreError> {
        let entries = self.select(
            "issuer = ?1 AND revoked_at IS NOT NULL ORDER BY revoked_at, serial",
            [issuer.as_str()],
        )?;
        let revoked = entries.into_iter().filter_map(|entry| {
            let EntryRevocation { at, reason, invalid_since } = entry.revocation?;
            Some(Revoked { serial: entry.serial, at, reason, invalid_since })
        });
        Ok(revoked.collect())
    }

    /// Takes the next CRLNumber. It is kept before the list is signed: a number may be skipped, never used twice.
    pub(super) fn next_crl_number(&self, level: Level, at: Timestamp) -> Result<u64, AuthorityStoreError> {
        self.atomically(|connection| self.number(connection, level, at))
    }

    fn number(&self, connection: &Connection, level: Level, at: Timestamp) -> rusqlite::Result<u64> {
        let sql = "UPDATE authority SET crl_number = crl_number + 1 WHERE level = ?1 RETURNING crl_number";
        let number = connection.query_row(sql, [level.as_str()], |row| row.get(0))?;
        let sql = "SELECT count(*) FROM certificate WHERE issuer = ?1 AND revoked_at IS NOT NULL";
        let revoked = connection.query_row(sql, [level.as_str()], |row| row.get(0))?;
        let sql = "INSERT INTO unfinished (issuer, crl_number) VALUES (?1, ?2)";
        connection.execute(sql, params![level.as_str(), number])?;
        log::append(connection, Event::List { issuer: level, number, revoked }, &self.who, at)?;
        Ok(number)
    }

    /// The number that was last taken for a list.
    pub(super) fn crl_number(&self, level: Level) -> Result<u64, AuthorityStoreError> {
        self.connection
            .query_row("SELECT crl_number FROM authority WHERE level = ?1", [level.as_str()], |row| {
                row.get(0)
            })
            .map_err(self.failed())
    }

    /// What was entered since the last command that finished, and may not be in its files.
    pub(super) fn unfinished(&self) -> Result<Vec<(i64, Unfinished)>, AuthorityStoreError> {
        let sql = "SELECT number, issuer, serial, certificate_path, key_path, crl_number
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

    /// The certificate and its key are in their files.
    pub(super) fn files_written(&self, issuer: Level, serial: &Serial) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let sql = "DELETE FROM unfinished WHERE issuer = ?1 AND serial = ?2";
            connection.prepare_cached(sql)?.execute(params![issuer.as_str(), serial.as_bytes()]).map(drop)
        })
    }

    /// A list of this number is in its file: what was to be written before it no longer is.
    pub(super) fn list_written(&self, issuer: Level, number: u64) -> Result<(), AuthorityStoreError> {
        self.unsynced(|connection| {
            let sql = "DELETE FROM unfinished WHERE issuer = ?1 AND crl_number <= ?2";
            connection.prepare_cached(sql)?.execute(params![issuer.as_str(), number]).map(drop)
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
    let revoked_at: Option<i64> = row.get(8)?;
    let revocation = match revoked_at {
        None => None,
        Some(_) => Some(EntryRevocation {
            at: time(8)?,
            reason: parsed(row, 9, |reason: String| reason.parse())?,
            invalid_since: parsed(row, 10, |since: Option<i64>| since.map(Timestamp::from_unix).transpose())?,
        }),
    };
    Ok(Entry {
        issuer: parsed(row, 0, |level: String| level_named(&level))?,
        serial: parsed(row, 1, |serial: Vec<u8>| Serial::from_bytes(&serial))?,
        name: row.get(2)?,
        identity: parsed(row, 3, |identity: Option<String>| identity.map(|i| i.parse()).transpose())?,
        not_before: time(4)?,
        not_after: time(5)?,
        issued_at: time(6)?,
        der: row.get(7)?,
        revocation,
    })
}

fn unfinished(row: &Row<'_>) -> rusqlite::Result<Unfinished> {
    let issuer = parsed(row, 1, |level: String| level_named(&level))?;
    if let Some(number) = row.get(5)? {
        return Ok(Unfinished::List { issuer, number });
    }
    let path = |column| Ok::<_, rusqlite::Error>(PathBuf::from(OsString::from_vec(row.get(column)?)));
    let serial = parsed(row, 2, |serial: Vec<u8>| Serial::from_bytes(&serial))?;
    Ok(Unfinished::Certificate { issuer, serial, certificate_path: path(3)?, key_path: path(4)? })
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
