//! What a named consumer keeps over a restart, in an SQLite file: its place in each stream, and what it was delivered lately.
//!
//! * Of a message with a place in a stream, the place tells whether it was dealt with ([`ConsumerStore::move_places`]): it
//!   moves when the consumer has acknowledged. What it was handed and did not acknowledge it is handed again.
//! * A legacy message has no place: it is written down before it is handed on ([`ConsumerStore::keep`]), so that it cannot be
//!   delivered again as new.
//!
//! What is written outlives a kill at any point. (After a loss of power the last instant may be missing: the write-ahead
//! log is not flushed to the disk for each message. Then the last messages are delivered again.)

mod places;

pub use places::Place;

use crate::freshness::{Freshness, Seen};
use crate::identity::Identity;
use crate::message::id::{MessageId, StreamId};
use crate::time::{TimeError, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number that says this file is one of these, in this form (`PRAGMA user_version`).
const SCHEMA: i64 = 2;

/// How long to wait for another process that has the file, and may be about to end.
const BUSY: Duration = Duration::from_secs(2);

/// The file of one named consumer.
pub struct ConsumerStore {
    connection: Connection,
    path: PathBuf,
    pruned: Timestamp,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerStoreError {
    /// A row that this program did not write.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file or the directory for it cannot be made.
    #[error("{}: {source}", path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another consumer of the same name is running.
    #[error("{}: in use by another consumer of this name", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// SQLite's own errors: not a database, disk full.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl ConsumerStore {
    /// Opens the file, or makes it. Only its owner can read it: it tells who published what and when.
    ///
    /// # Errors
    /// [`ConsumerStoreError`], with the file's name.
    pub fn open(path: &Path) -> Result<Self, ConsumerStoreError> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)
                .map_err(|source| ConsumerStoreError::Create { path: directory.to_owned(), source })?;
        }
        // Made here rather than by SQLite, so that it never exists with another mode; its log takes the same.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(ConsumerStoreError::Create { path: path.to_owned(), source }),
        }
        let sqlite = |source| sqlite_error(path, source);
        let connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        // Held for as long as it is open: two consumers of one name would each take the other's messages for new.
        connection.pragma_update(None, "locking_mode", "exclusive").map_err(sqlite)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(sqlite)?;
        connection.pragma_update(None, "synchronous", "normal").map_err(sqlite)?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sqlite)?;
        if found == 0 {
            connection.execute_batch(include_str!("consumer.sql")).map_err(sqlite)?;
        } else if found == 1 {
            // The first form knew of no places.
            connection.execute_batch(include_str!("places.sql")).map_err(sqlite)?;
        } else if found != SCHEMA {
            let what = format!("the file has form {found}, this program knows {SCHEMA}");
            return Err(ConsumerStoreError::Content { path: path.to_owned(), what });
        }
        let mut store = Self { connection, path: path.to_owned(), pruned: Timestamp::MIN };
        store.pruned = store.stored_pruned()?;
        Ok(store)
    }

    /// Takes up in `freshness` what was delivered before.
    ///
    /// # Errors
    /// [`ConsumerStoreError`]; a row that cannot be read is one, rather than a message that may be replayed.
    pub fn restore(&self, freshness: &mut Freshness) -> Result<(), ConsumerStoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT signer, timestamp, msg_id, stream, seq FROM seen ORDER BY rowid")
            .map_err(|e| self.sqlite(e))?;
        let rows = statement.query_map([], |row| Ok(read_seen(row))).map_err(|e| self.sqlite(e))?;
        let mut kept = Vec::new();
        for row in rows {
            let seen = row.and_then(|seen| seen).map_err(|e| self.sqlite(e))?;
            kept.push(seen.ok_or_else(|| self.content("a row of `seen` is not of this program's making"))?);
        }
        freshness.restore(&kept, self.pruned);
        Ok(())
    }

    /// Writes down what is about to be delivered and has no place in a stream, all of it or nothing, and drops what `freshness` has forgotten.
    ///
    /// # Errors
    /// [`ConsumerStoreError`]; the messages must not be delivered then.
    pub fn keep(&mut self, delivered: &[Seen], forgotten: Timestamp) -> Result<(), ConsumerStoreError> {
        let prune = forgotten > self.pruned;
        match write(&mut self.connection, delivered, prune.then_some(forgotten)) {
            Ok(()) => {
                self.pruned = self.pruned.max(forgotten);
                Ok(())
            }
            Err(source) => Err(self.sqlite(source)),
        }
    }

    fn stored_pruned(&self) -> Result<Timestamp, ConsumerStoreError> {
        let seconds: Option<i64> = self
            .connection
            .query_row("SELECT before FROM pruned", [], |row| row.get(0))
            .optional()
            .map_err(|e| self.sqlite(e))?;
        seconds
            .map_or(Ok(Timestamp::MIN), Timestamp::from_unix)
            .map_err(|error: TimeError| self.content(&format!("table `pruned`: {error}")))
    }

    fn sqlite(&self, source: rusqlite::Error) -> ConsumerStoreError {
        sqlite_error(&self.path, source)
    }

    fn content(&self, what: &str) -> ConsumerStoreError {
        ConsumerStoreError::Content { path: self.path.clone(), what: what.to_owned() }
    }
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> ConsumerStoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            ConsumerStoreError::InUse { path }
        }
        _ => ConsumerStoreError::Sqlite { path, source },
    }
}

impl fmt::Debug for ConsumerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsumerStore({})", self.path.display())
    }
}

fn write(
    connection: &mut Connection,
    delivered: &[Seen],
    prune: Option<Timestamp>,
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO seen (signer, timestamp, msg_id, stream, seq) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for seen in delivered {
            let (stream, seq) = seen.position.map_or((None, None), |(stream, seq)| {
                // A seq beyond i64 is written as its bits: it is only read back, never compared.
                (Some(stream.to_string()), Some(i64::from_ne_bytes(seq.to_ne_bytes())))
            });
            insert.execute(params![
                seen.signer.to_string(),
                seen.timestamp.as_unix(),
                seen.msg_id.to_string(),
                stream,
                seq
            ])?;
        }
    }
    if let Some(before) = prune {
        transaction.execute("DELETE FROM seen WHERE timestamp < ?1", [before.as_unix()])?;
        transaction.execute("DELETE FROM pruned", [])?;
        transaction.execute("INSERT INTO pruned (before) VALUES (?1)", [before.as_unix()])?;
    }
    transaction.commit()
}

/// `Ok(None)` for values that this program does not write.
fn read_seen(row: &Row<'_>) -> Result<Option<Seen>, rusqlite::Error> {
    let (signer, timestamp, msg_id): (String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (stream, seq): (Option<String>, Option<i64>) = (row.get(3)?, row.get(4)?);
    let position = match (stream, seq) {
        (Some(stream), Some(seq)) => {
            let Some(stream) = StreamId::parse(&stream) else { return Ok(None) };
            Some((stream, u64::from_ne_bytes(seq.to_ne_bytes())))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Ok(None),
    };
    let signer = signer.parse::<Identity>().ok();
    let (timestamp, msg_id) = (Timestamp::from_unix(timestamp).ok(), MessageId::parse_legacy(&msg_id));
    Ok(signer.zip(timestamp).zip(msg_id).map(|((signer, timestamp), msg_id)| Seen {
        signer,
        timestamp,
        msg_id,
        position,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::Window;

    fn seen(n: u8, timestamp: i64) -> Seen {
        Seen {
            signer: "spiffe://example.org/prod/bodhi/app01".parse().unwrap(),
            timestamp: Timestamp::from_unix(timestamp).unwrap(),
            msg_id: MessageId::new(2026, [n; 16]),
            position: n.is_multiple_of(2).then(|| (StreamId::new([7; 16]), u64::MAX - u64::from(n))),
        }
    }

    #[test]
    fn what_was_kept_is_remembered_and_what_was_forgotten_stays_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/freshness.sqlite");
        let now = Timestamp::from_unix(1_800_000_000).unwrap();
        let messages = [seen(1, 1_799_999_000), seen(2, 1_799_999_900), seen(3, 1_799_999_990)];
        let mut store = ConsumerStore::open(&path).unwrap();
        store.keep(&messages, Timestamp::MIN).unwrap();
        store.keep(&[], now.plus_seconds(-600)).unwrap();
        let second = ConsumerStore::open(&path).unwrap_err();
        assert!(matches!(second, ConsumerStoreError::InUse { .. }), "{second}");
        drop(store);

        let store = ConsumerStore::open(&path).unwrap();
        let mut freshness = Freshness::new(Window::STANDARD);
        store.restore(&mut freshness).unwrap();
        assert_eq!(freshness.forgotten(), now.plus_seconds(-600));
        let rows: i64 =
            store.connection.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_file_that_is_something_else_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        std::fs::write(&path, "this is no database, and longer than a header would be".repeat(4)).unwrap();
        let error = ConsumerStore::open(&path).unwrap_err().to_string();
        assert!(error.contains("state: file is not a database"), "{error}");
    }
}
