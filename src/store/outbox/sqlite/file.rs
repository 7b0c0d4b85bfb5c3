//! The file itself: its lock, its making, its form.

use super::super::error::OutboxError;
use crate::identity::Identity;
use crate::message::id::StreamId;
use crate::sign;
use crate::store::files;
use crate::time::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The number that says this file is one of these, in this form (`PRAGMA user_version`).
const SCHEMA: i64 = 1;

/// How long to wait for another publisher that has the file, and may be about to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const RETRY: Duration = Duration::from_millis(10);

/// After how many pages of 4 KiB the write-ahead log is taken over into the file. Each message touches a page of the index of
/// names somewhere: the longer the log, the more of these changes are written once.
const LOG_PAGES: i64 = 4096;

/// To how much the write-ahead log is cut after it has grown.
const LOG_BYTES: i64 = LOG_PAGES * 4096;

/// Opens the file for the one publisher that it has, and makes it where there is none.
pub(super) fn open_alone(
    path: &Path,
    signer: &Identity,
    now: Timestamp,
) -> Result<(Connection, File), OutboxError> {
    let directory = files::directory_of(path);
    std::fs::create_dir_all(directory).map_err(create(directory))?;
    let lock = lock(path)?;
    // Made here rather than by SQLite, so that it never exists with another mode; its log takes the same.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(made) => {
            made.sync_all().and_then(|()| File::open(directory)?.sync_all()).map_err(create(path))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(source) => return Err(create(path)(source)),
    }
    let sqlite = |source| OutboxError::sqlite(path, source);
    let mut connection = connect(path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(sqlite)?;
    if mode != "wal" {
        let what = format!("this file system has no write-ahead log (journal mode {mode})");
        return Err(create(path)(io::Error::other(what)));
    }
    // Each commit is on the disk when it returns.
    connection.pragma_update(None, "synchronous", "full").map_err(sqlite)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(sqlite)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(sqlite)?;
    if form(&connection, path)? == 0 {
        make(&mut connection, path, signer, now)?;
    }
    Ok((connection, lock))
}

/// Opens a file that is there and of the form that is known, to look at it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OutboxError> {
    if !path.exists() {
        return Err(OutboxError::Missing { path: path.to_owned() });
    }
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true).map_err(|e| OutboxError::sqlite(path, e))?;
    if form(&connection, path)? == 0 {
        return Err(OutboxError::Missing { path: path.to_owned() });
    }
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, OutboxError> {
    // A reader writes as well: it takes part in the shared index of the write-ahead log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = |source| OutboxError::sqlite(path, source);
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(PATIENCE).map_err(sqlite)?;
    Ok(connection)
}

/// The form of the file, 0 for one that is empty.
fn form(connection: &Connection, path: &Path) -> Result<i64, OutboxError> {
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| OutboxError::sqlite(path, source))?;
    match found {
        0 | SCHEMA => Ok(found),
        found => Err(OutboxError::Schema { path: path.to_owned(), found, known: SCHEMA }),
    }
}

fn make(
    connection: &mut Connection,
    path: &Path,
    signer: &Identity,
    now: Timestamp,
) -> Result<(), OutboxError> {
    let random = sign::random().map_err(|error| create(path)(io::Error::other(error)))?;
    let mut make = || {
        let transaction = connection.transaction()?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables > 0 {
            return Ok(false);
        }
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.execute(
            "INSERT INTO stream (id, signer, created, newest, bytes) VALUES (?1, ?2, ?3, 0, 0)",
            params![StreamId::new(random).to_string(), signer.to_string(), now.as_unix()],
        )?;
        transaction.commit()?;
        Ok(true)
    };
    match make() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let what = "it is a database of something else".to_owned();
            Err(OutboxError::Corrupt { path: path.to_owned(), what })
        }
        Err(source) => Err(OutboxError::sqlite(path, source)),
    }
}

/// Locks a file beside the database, not the database: closing any descriptor of that would give up SQLite's own locks.
fn lock(path: &Path) -> Result<File, OutboxError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let beside = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&beside);
    let file = file.map_err(create(&beside))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => return Err(OutboxError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(create(&beside)(source)),
        }
    }
}

fn create(path: &Path) -> impl FnOnce(io::Error) -> OutboxError + '_ {
    |source| OutboxError::Create { path: path.to_owned(), source }
}
