//! An outbox in an SQLite file: what [`Outbox::append`] has kept outlives a kill, and a loss of power.
//!
//! The write-ahead log is flushed to the disk at each commit (`synchronous = FULL`), once for a whole batch. Readers have
//! connections of their own and hold nobody up. The publisher holds a lock on a file beside it: two that give out numbers
//! of one stream would each take the other's.

mod file;
mod reader;

pub use reader::SqliteOutboxReader;

use super::dropped::{Dropped, MAX_DROPPED_RANGES};
use super::error::OutboxError;
use super::{Extent, FellOut, Kept, Outbox, OutboxReader, Retention, check_order};
use crate::config::Durability;
use crate::identity::Identity;
use crate::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How many messages fall out in one transaction, so that a long list does not hold up what is to be kept.
const AT_ONCE: u64 = 10_000;

/// The outbox of one service on one host. There is one of a file at a time.
pub struct SqliteOutbox {
    connection: Connection,
    path: PathBuf,
    retention: Retention,
    state: State,
    /// Free again when this is closed, however the process ends.
    _lock: File,
}

/// What the file says, so that it need not be asked.
#[derive(Clone, Copy, Debug)]
struct State {
    extent: Extent,
    bytes: u64,
    /// The timestamp of the oldest message.
    front: Option<i64>,
    /// The latest timestamp of any message.
    high: i64,
    last_dropped: Option<Dropped>,
}

impl SqliteOutbox {
    /// Opens an outbox, or makes it with a new stream. It is the signer's alone: nobody else goes on with its stream.
    ///
    /// # Errors
    /// [`OutboxError`]: [`OutboxError::InUse`] if another publisher still has it after two seconds;
    /// [`OutboxError::Corrupt`] rather than a stream with a hole.
    pub fn open(
        path: &Path,
        signer: &Identity,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Self, OutboxError> {
        let (connection, lock) = file::open_alone(path, signer, now)?;
        let content = reader::content(&connection, path)?;
        if content.signer != signer.to_string() {
            let (expected, found) = (signer.to_string(), content.signer);
            return Err(OutboxError::Signer { path: path.to_owned(), expected, found });
        }
        let state = State {
            extent: content.extent,
            bytes: content.bytes,
            front: content.front.map(Timestamp::as_unix),
            high: content.high.as_unix(),
            last_dropped: content.last_dropped,
        };
        let mut outbox = Self { connection, path: path.to_owned(), retention, state, _lock: lock };
        while outbox.expire(now)?.count() > 0 {}
        Ok(outbox)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn write(&mut self, batch: &[Kept], now: Timestamp) -> Result<FellOut, OutboxError> {
        let written = write(&mut self.connection, self.state, &self.retention, batch, now);
        let (state, fell_out) = written.map_err(|source| OutboxError::sqlite(&self.path, source))?;
        self.state = state;
        Ok(fell_out)
    }
}

impl Outbox for SqliteOutbox {
    fn extent(&self) -> Extent {
        self.state.extent
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }

    fn append(&mut self, batch: &[Kept], now: Timestamp) -> Result<FellOut, OutboxError> {
        check_order(batch, self.state.extent.newest)?;
        if batch.is_empty() { self.expire(now) } else { self.write(batch, now) }
    }

    fn expire(&mut self, now: Timestamp) -> Result<FellOut, OutboxError> {
        if self.state.is_trimmed(&self.retention, now) {
            Ok(FellOut::default())
        } else {
            self.write(&[], now)
        }
    }

    fn reader(&self) -> Result<Box<dyn OutboxReader>, OutboxError> {
        Ok(Box::new(SqliteOutboxReader::open(&self.path)?))
    }
}

impl State {
    /// Whether nothing has to fall out.
    fn is_trimmed(&self, retention: &Retention, now: Timestamp) -> bool {
        let horizon = retention.horizon(now).as_unix();
        self.front.is_none_or(|front| front >= horizon)
            && (self.bytes <= retention.bytes || self.extent.count() <= 1)
    }
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteOutbox({}, {:?})", self.path.display(), self.state.extent)
    }
}

/// One transaction: the batch goes in, the oldest go out. The new state counts only if all of it was committed.
fn write(
    connection: &mut Connection,
    mut state: State,
    retention: &Retention,
    batch: &[Kept],
    now: Timestamp,
) -> Result<(State, FellOut), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO message (seq, timestamp, high, msg_id, topic, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for kept in batch {
            let timestamp = kept.timestamp.as_unix();
            state.high = state.high.max(timestamp);
            state.front = state.front.or(Some(timestamp));
            state.bytes = state.bytes.saturating_add(kept.cost());
            state.extent.newest = kept.seq;
            let msg_id = kept.msg_id.to_string();
            insert.execute(params![
                kept.seq,
                timestamp,
                state.high,
                msg_id,
                &kept.topic[..],
                &kept.body[..]
            ])?;
        }
    }
    // What was just kept does not fall out at once.
    let spared = batch.first().map_or(u64::MAX, |kept| kept.seq);
    let fell_out = trim(&transaction, &mut state, retention, spared, now)?;
    let mut update = transaction.prepare_cached("UPDATE stream SET newest = ?1, bytes = ?2")?;
    update.execute(params![state.extent.newest, state.bytes])?;
    drop(update);
    transaction.commit()?;
    Ok((state, fell_out))
}

fn trim(
    transaction: &Transaction<'_>,
    state: &mut State,
    retention: &Retention,
    spared: u64,
    now: Timestamp,
) -> Result<FellOut, rusqlite::Error> {
    let mut why = FellOut::default();
    if state.is_trimmed(retention, now) {
        return Ok(why);
    }
    let (horizon, first) = (retention.horizon(now).as_unix(), state.extent.oldest);
    let before = state.bytes;
    let mut select = transaction
        .prepare_cached("SELECT seq, timestamp, length(topic) + length(body) FROM message ORDER BY seq")?;
    let mut rows = select.query([])?;
    loop {
        let Some(row) = rows.next()? else {
            state.front = None;
            break;
        };
        let (seq, timestamp, frame_bytes): (u64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        state.front = Some(timestamp);
        if seq >= spared || why.count() >= AT_ONCE {
            break;
        } else if timestamp < horizon {
            why.too_old += 1;
        } else if state.bytes > retention.bytes && seq < state.extent.newest {
            why.over_bytes += 1;
        } else {
            break;
        }
        state.bytes = state.bytes.saturating_sub(frame_bytes.saturating_add(Kept::OVERHEAD_BYTES));
        state.extent.oldest = seq + 1;
    }
    drop(rows);
    if why.count() > 0 {
        let last = state.extent.oldest - 1;
        transaction.prepare_cached("DELETE FROM message WHERE seq <= ?1")?.execute([last])?;
        let bytes = before - state.bytes;
        note(transaction, state, Dropped { first, last, why, bytes, since: now, until: now })?;
    }
    Ok(why)
}

fn note(transaction: &Transaction<'_>, state: &mut State, next: Dropped) -> Result<(), rusqlite::Error> {
    let last = state.last_dropped.filter(|last| last.takes(&next));
    let row = last.map_or(next, |last| last.merged(next));
    put(transaction, &row)?;
    state.last_dropped = Some(row);
    if last.is_some() {
        return Ok(());
    }
    let count: usize =
        transaction.prepare_cached("SELECT count(*) FROM dropped")?.query_row([], |row| row.get(0))?;
    if count > MAX_DROPPED_RANGES {
        let two: Vec<Dropped> = transaction
            .prepare_cached(reader::OLDEST_DROPPED)?
            .query_map([2], reader::dropped)?
            .collect::<Result<_, _>>()?;
        if let [first, second] = two[..] {
            transaction.execute("DELETE FROM dropped WHERE first = ?1", [second.first])?;
            put(transaction, &first.merged(second))?;
        }
    }
    Ok(())
}

fn put(transaction: &Transaction<'_>, row: &Dropped) -> Result<(), rusqlite::Error> {
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO dropped VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let (too_old, over_bytes) = (row.why.too_old, row.why.over_bytes);
    let (since, until) = (row.since.as_unix(), row.until.as_unix());
    insert.execute(params![row.first, row.last, too_old, over_bytes, row.bytes, since, until])?;
    Ok(())
}
