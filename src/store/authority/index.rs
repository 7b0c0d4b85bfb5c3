//! The index: every certificate that an authority ever issued, in SQLite. A certificate is entered before anybody gets
//! it, so that there is none that could not be revoked.

use super::error::AuthorityStoreError;
use crate::identity::SpiffeId;
use crate::pki::authority::{RevocationReason, Revoked};
use crate::pki::certificate::Certificate;
use crate::pki::serial::Serial;
use crate::time::Timestamp;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `PRAGMA user_version` says of the tables below.
const SCHEMA_VERSION: i64 = 1;

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
    PRIMARY KEY (issuer, serial),
    CHECK ((revoked_at IS NULL) = (reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_name ON certificate (name);
";

const COLUMNS: &str =
    "issuer, serial, name, identity, not_before, not_after, issued_at, der, revoked_at, reason";

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
    /// When it was revoked and why, if it was.
    pub revocation: Option<(Timestamp, RevocationReason)>,
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
    /// How it stands at a time.
    pub fn state(&self, at: Timestamp) -> State {
        let life = self.not_after.seconds_since(self.not_before);
        if self.revocation.is_some() {
            State::Revoked
        } else if at > self.not_after {
            State::Expired
        } else if at.seconds_since(self.not_before) > life / 3 * 2 {
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
        // FULL: what was committed outlives a power cut. It is the default, and it matters too much to rely on that.
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;").map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
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
    ) -> Result<(), AuthorityStoreError> {
        self.connection
            .execute(
                "INSERT INTO authority VALUES (?1, ?2, 0)",
                params![level.as_str(), &certificate.der()[..]],
            )
            .map_err(self.failed())?;
        Ok(())
    }

    pub(super) fn authority(&self, level: Level) -> Result<Option<Certificate>, AuthorityStoreError> {
        let found: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT certificate FROM authority WHERE level = ?1", [level.as_str()], |row| {
                row.get(0)
            })
            .optional()
            .map_err(self.failed())?;
        Ok(found
            .map(|der| Certificate::parse(&der))
            .transpose()
            .map_err(crate::pki::authority::AuthorityError::from)?)
    }

    /// Enters a certificate. That its issuer gave this serial number before is an error.
    pub(super) fn add(
        &self,
        issuer: Level,
        certificate: &Certificate,
        identity: Option<&SpiffeId>,
        issued_at: Timestamp,
    ) -> Result<(), AuthorityStoreError> {
        let serial =
            Serial::from_bytes(certificate.serial()).map_err(crate::pki::authority::AuthorityError::from)?;
        self.connection
            .execute(
                &format!(
                    "INSERT INTO certificate ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, NULL)"
                ),
                params![
                    issuer.as_str(),
                    serial.as_bytes(),
                    certificate.subject_cn().unwrap_or_default(),
                    identity.map(SpiffeId::as_str),
                    certificate.not_before().as_unix(),
                    certificate.not_after().as_unix(),
                    issued_at.as_unix(),
                    &certificate.der()[..],
                ],
            )
            .map_err(self.failed())?;
        Ok(())
    }

    /// Everything, in the order of issuing.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("TRUE ORDER BY issued_at, identity IS NOT NULL, name, serial", [])
    }

    pub(super) fn by_serial(&self, serial: &Serial) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("serial = ?1", [serial.as_bytes()])
    }

    pub(super) fn by_name(&self, name: &str) -> Result<Vec<Entry>, AuthorityStoreError> {
        self.select("name = ?1 ORDER BY issued_at", [name])
    }

    /// Marks as revoked what is not revoked yet; an earlier revocation keeps its date and reason.
    pub(super) fn revoke(
        &mut self,
        entries: &[Entry],
        at: Timestamp,
        reason: RevocationReason,
    ) -> Result<(), AuthorityStoreError> {
        let failed = self.failed();
        let transaction = self.connection.transaction().map_err(&failed)?;
        for entry in entries {
            let sql = "UPDATE certificate SET revoked_at = ?3, reason = ?4
                       WHERE issuer = ?1 AND serial = ?2 AND revoked_at IS NULL";
            let row = params![entry.issuer.as_str(), entry.serial.as_bytes(), at.as_unix(), reason.as_str()];
            transaction.execute(sql, row).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)
    }

    pub(super) fn revoked(&self, issuer: Level) -> Result<Vec<Revoked>, AuthorityStoreError> {
        let entries = self.select(
            "issuer = ?1 AND revoked_at IS NOT NULL ORDER BY revoked_at, serial",
            [issuer.as_str()],
        )?;
        let revoked = entries.into_iter().filter_map(|entry| {
            entry.revocation.map(|(at, reason)| Revoked { serial: entry.serial, at, reason })
        });
        Ok(revoked.collect())
    }

    /// Takes the next CRLNumber. It is kept before the list is signed: a number may be skipped, never used twice.
    pub(super) fn next_crl_number(&self, level: Level) -> Result<u64, AuthorityStoreError> {
        let sql = "UPDATE authority SET crl_number = crl_number + 1 WHERE level = ?1 RETURNING crl_number";
        self.connection
            .query_row(sql, [level.as_str()], |row| parsed(row, 0, |n: i64| u64::try_from(n)))
            .map_err(self.failed())
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
        Some(_) => Some((time(8)?, parsed(row, 9, |reason: String| reason.parse())?)),
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
