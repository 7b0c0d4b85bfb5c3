//! Looking on: a connection of its own, each answer from one snapshot.

use super::super::dropped::Dropped;
use super::super::error::OutboxError;
use super::super::{Extent, FellOut, Kept, Most, OutboxReader, Report, Slice};
use super::file;
use crate::message::id::{MessageId, StreamId};
use crate::time::Timestamp;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use std::fmt;
use std::path::{Path, PathBuf};

pub(super) const OLDEST_DROPPED: &str =
    "SELECT first, last, too_old, over_bytes, bytes, since, until FROM dropped ORDER BY first LIMIT ?1";
const NEWEST_DROPPED: &str =
    "SELECT first, last, too_old, over_bytes, bytes, since, until FROM dropped ORDER BY first DESC LIMIT 1";

/// Reads an outbox's file, whether or not a publisher has it.
pub struct SqliteOutboxReader {
    connection: Connection,
    path: PathBuf,
}

/// What the file says of itself.
pub(super) struct Content {
    pub(super) extent: Extent,
    pub(super) signer: String,
    pub(super) created: Timestamp,
    pub(super) bytes: u64,
    pub(super) front: Option<Timestamp>,
    pub(super) back: Option<Timestamp>,
    pub(super) high: Timestamp,
    pub(super) last_dropped: Option<Dropped>,
}

/// Why something was not read: SQLite's reason, or what is wrong with the content.
enum Fault {
    Content(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fault {
    fn at(self, path: &Path) -> OutboxError {
        match self {
            Self::Content(what) => OutboxError::Corrupt { path: path.to_owned(), what },
            // A value of another type, or out of its range: this program did not write it.
            Self::Sqlite(
                error @ (rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)),
            ) => OutboxError::Corrupt { path: path.to_owned(), what: error.to_string() },
            Self::Sqlite(error) => OutboxError::sqlite(path, error),
        }
    }
}

impl SqliteOutboxReader {
    /// Opens an outbox to look at it.
    ///
    /// # Errors
    /// [`OutboxError`]; [`OutboxError::Missing`] if there is none.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        Ok(Self { connection: file::open_to_read(path)?, path: path.to_owned() })
    }

    /// Everything that `read` reads is of one moment.
    fn snapshot<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>, &Content) -> Result<T, Fault>,
    ) -> Result<T, OutboxError> {
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            let content = read_content(&transaction)?;
            read(&transaction, &content)
        };
        read().map_err(|fault| fault.at(&self.path))
    }
}

impl OutboxReader for SqliteOutboxReader {
    fn extent(&self) -> Result<Extent, OutboxError> {
        self.snapshot(|_, content| Ok(content.extent))
    }

    fn range(&self, stream: StreamId, from: u64, to: u64, most: Most) -> Result<Option<Slice>, OutboxError> {
        self.snapshot(|transaction, content| {
            let known = content.extent.stream == stream;
            known.then(|| slice(transaction, content.extent, (from, to), most)).transpose()
        })
    }

    fn since(&self, time: Timestamp, most: Most) -> Result<Slice, OutboxError> {
        self.snapshot(|transaction, content| {
            let from = first_since(transaction, content.extent, time)?;
            slice(transaction, content.extent, (from, u64::MAX), most)
        })
    }

    fn by_msg_id(&self, msg_id: &MessageId) -> Result<Option<Kept>, OutboxError> {
        self.snapshot(|transaction, _| {
            let mut select = transaction.prepare_cached(
                "SELECT seq, timestamp, msg_id, topic, body FROM message WHERE msg_id = ?1",
            )?;
            let mut rows = select.query([msg_id.to_string()])?;
            rows.next()?.map(kept).transpose()
        })
    }

    fn report(&self) -> Result<Report, OutboxError> {
        self.snapshot(|transaction, content| {
            let mut select = transaction.prepare_cached(OLDEST_DROPPED)?;
            let dropped = select.query_map([i64::MAX], dropped)?.collect::<Result<_, _>>()?;
            Ok(Report {
                extent: content.extent,
                signer: content.signer.clone(),
                created: content.created,
                bytes: content.bytes,
                between: content.front.zip(content.back),
                dropped,
            })
        })
    }
}

impl fmt::Debug for SqliteOutboxReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteOutboxReader({})", self.path.display())
    }
}

/// What the file says of itself, if its parts agree.
pub(super) fn content(connection: &Connection, path: &Path) -> Result<Content, OutboxError> {
    read_content(connection).map_err(|fault| fault.at(path))
}

fn read_content(connection: &Connection) -> Result<Content, Fault> {
    let wrong = |what: String| Err(Fault::Content(what));
    let mut select = connection.prepare_cached("SELECT id, signer, created, newest, bytes FROM stream")?;
    let mut rows = select.query([])?;
    let Some(row) = rows.next()? else { return wrong("it has no stream".to_owned()) };
    let (id, signer, created): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (newest, bytes): (u64, u64) = (row.get(3)?, row.get(4)?);
    if rows.next()?.is_some() {
        return wrong("it has two streams".to_owned());
    }
    let Some(stream) = StreamId::parse(&id) else { return wrong(format!("`{id}` is no stream")) };
    let last_dropped = connection.prepare_cached(NEWEST_DROPPED)?.query_row([], dropped).optional()?;
    let oldest = last_dropped.map_or(1, |dropped| dropped.last.saturating_add(1));

    let end = |order: &str| -> Result<Option<(u64, i64, i64)>, Fault> {
        let text = format!("SELECT seq, timestamp, high FROM message ORDER BY seq {order} LIMIT 1");
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(connection.prepare_cached(&text)?.query_row([], row).optional()?)
    };
    let (front, back) = (end("ASC")?, end("DESC")?);
    let found = front.zip(back).map(|((first, ..), (last, ..))| (first, last));
    let expected = (oldest <= newest).then_some((oldest, newest));
    if found != expected || oldest > newest.saturating_add(1) {
        let said =
            |ends: Option<(u64, u64)>| ends.map_or_else(|| "none".to_owned(), |(a, b)| format!("{a} to {b}"));
        return wrong(format!("it has the messages {}, expected {}", said(found), said(expected)));
    }
    let front = front.map(|(_, timestamp, _)| time(timestamp)).transpose()?;
    Ok(Content {
        extent: Extent { stream, oldest, newest },
        signer,
        created: time(created)?,
        bytes,
        front,
        back: back.map(|(_, timestamp, _)| time(timestamp)).transpose()?,
        high: back.map_or(Ok(Timestamp::MIN), |(_, _, high)| time(high))?,
        last_dropped,
    })
}

fn slice(
    transaction: &Transaction<'_>,
    extent: Extent,
    (from, to): (u64, u64),
    most: Most,
) -> Result<Slice, Fault> {
    let (gone, there) = extent.split(from, to);
    let mut slice = Slice { extent, messages: Vec::new(), next: None, gone };
    if there.is_empty() {
        return Ok(slice);
    }
    let mut select = transaction.prepare_cached(
        "SELECT seq, timestamp, msg_id, topic, body FROM message WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
    )?;
    let mut rows = select.query([*there.start(), *there.end()])?;
    let mut bytes = 0_u64;
    for expected in there {
        let Some(row) = rows.next()? else {
            return Err(Fault::Content(format!("message {expected} is missing")));
        };
        let kept = kept(row)?;
        if kept.seq != expected {
            return Err(Fault::Content(format!("message {expected} is missing")));
        }
        bytes = bytes.saturating_add(kept.frame_bytes());
        let full = slice.messages.len() >= most.messages || bytes > most.bytes;
        if full && !slice.messages.is_empty() {
            slice.next = Some(kept.seq);
            break;
        }
        slice.messages.push(kept);
    }
    Ok(slice)
}

/// The number of the first message whose timestamp is `time` or later; one more than the newest if there is none.
fn first_since(transaction: &Transaction<'_>, extent: Extent, time: Timestamp) -> Result<u64, Fault> {
    let mut select = transaction.prepare_cached("SELECT high FROM message WHERE seq = ?1")?;
    let (mut low, mut end) = (extent.oldest, extent.newest + 1);
    while low < end {
        let middle = low + (end - low) / 2;
        let high: Option<i64> = select.query_row([middle], |row| row.get(0)).optional()?;
        let Some(high) = high else { return Err(Fault::Content(format!("message {middle} is missing"))) };
        if high < time.as_unix() {
            low = middle + 1;
        } else {
            end = middle;
        }
    }
    Ok(low)
}

fn kept(row: &Row<'_>) -> Result<Kept, Fault> {
    let (seq, timestamp, msg_id): (u64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (topic, body): (Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?);
    let Some(msg_id) = MessageId::parse(&msg_id) else {
        return Err(Fault::Content(format!("message {seq} has no name")));
    };
    Ok(Kept { seq, timestamp: time(timestamp)?, msg_id, topic: Bytes::from(topic), body: Bytes::from(body) })
}

pub(super) fn dropped(row: &Row<'_>) -> Result<Dropped, rusqlite::Error> {
    let at = |column: usize| {
        let seconds: i64 = row.get(column)?;
        Timestamp::from_unix(seconds).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, seconds))
    };
    Ok(Dropped {
        first: row.get(0)?,
        last: row.get(1)?,
        why: FellOut { too_old: row.get(2)?, over_bytes: row.get(3)? },
        bytes: row.get(4)?,
        since: at(5)?,
        until: at(6)?,
    })
}

fn time(seconds: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_unix(seconds).map_err(|error| Fault::Content(error.to_string()))
}
