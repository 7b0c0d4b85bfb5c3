//! Where a consumer is in each stream.

use super::{ConsumerStore, ConsumerStoreError};
use crate::identity::Identity;
use crate::message::id::StreamId;
use crate::time::Timestamp;
use rusqlite::{Connection, params};

/// Where a consumer is in one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who signs the stream.
    pub signer: Identity,
    /// The stream.
    pub stream: StreamId,
    /// The first message of it that was not acknowledged.
    pub next: u64,
}

impl ConsumerStore {
    /// Every place that is kept.
    ///
    /// # Errors
    /// [`ConsumerStoreError`]; a row that cannot be read is one, rather than a stream of which messages are lost.
    pub fn places(&self) -> Result<Vec<Place>, ConsumerStoreError> {
        let read = |connection: &Connection| -> rusqlite::Result<Vec<(String, String, i64)>> {
            let mut statement =
                connection.prepare("SELECT signer, stream, next FROM place ORDER BY signer, stream")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        };
        let rows = read(&self.connection).map_err(|source| self.sqlite(source))?;
        let place = |(signer, stream, next): (String, String, i64)| {
            let (signer, stream) = (signer.parse().ok()?, StreamId::parse(&stream)?);
            Some(Place { signer, stream, next: u64::from_ne_bytes(next.to_ne_bytes()) })
        };
        let places: Option<Vec<Place>> = rows.into_iter().map(place).collect();
        places.ok_or_else(|| self.content("a row of `place` is not of this program's making"))
    }

    /// Writes down where the consumer is now, and drops the places of streams that were forgotten: all of it, or nothing.
    ///
    /// # Errors
    /// [`ConsumerStoreError`]; what was dealt with may be delivered again then.
    pub fn move_places(
        &mut self,
        moved: &[Place],
        forgotten: &[(Identity, StreamId)],
        now: Timestamp,
    ) -> Result<(), ConsumerStoreError> {
        if moved.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        write(&mut self.connection, moved, forgotten, now).map_err(|source| self.sqlite(source))
    }

    /// Drops the places that have not moved since `before`, but for the one of each signer that moved last: of a publisher that
    /// names its stream anew at each start, the old ones would stay for ever.
    ///
    /// # Errors
    /// [`ConsumerStoreError`]; all of them stay then.
    pub fn forget_places(&mut self, before: Timestamp) -> Result<usize, ConsumerStoreError> {
        let forget = "DELETE FROM place WHERE moved < ?1
             AND EXISTS (SELECT 1 FROM place AS later WHERE later.signer = place.signer
                         AND (later.moved, later.stream) > (place.moved, place.stream))";
        self.connection.execute(forget, [before.as_unix()]).map_err(|source| self.sqlite(source))
    }
}

fn write(
    connection: &mut Connection,
    moved: &[Place],
    forgotten: &[(Identity, StreamId)],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut put = transaction
            .prepare_cached("REPLACE INTO place (signer, stream, next, moved) VALUES (?1, ?2, ?3, ?4)")?;
        for place in moved {
            // A number beyond i64 is written as its bits: it is only read back, never compared.
            let next = i64::from_ne_bytes(place.next.to_ne_bytes());
            put.execute(params![place.signer.to_string(), place.stream.to_string(), next, now.as_unix()])?;
        }
        let mut drop = transaction.prepare_cached("DELETE FROM place WHERE signer = ?1 AND stream = ?2")?;
        for (signer, stream) in forgotten {
            drop.execute(params![signer.to_string(), stream.to_string()])?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(signer: &str, stream: u8, next: u64) -> Place {
        let signer = format!("spiffe://example.org/prod/{signer}/app01").parse().unwrap();
        Place { signer, stream: StreamId::new([stream; 16]), next }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_place_is_where_it_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.sqlite");
        let mut store = ConsumerStore::open(&path).unwrap();
        let first = [place("bodhi", 1, 7), place("bodhi", 2, u64::MAX), place("koji", 3, 1)];
        store.move_places(&first, &[], at(0)).unwrap();
        let gone = (first[1].signer.clone(), first[1].stream);
        store.move_places(&[place("bodhi", 1, 8)], &[gone], at(9)).unwrap();
        store.move_places(&[place("bodhi", 4, 1), place("bodhi", 5, 1)], &[], at(5)).unwrap();
        drop(store);
        let mut store = ConsumerStore::open(&path).unwrap();
        let kept =
            vec![place("bodhi", 1, 8), place("bodhi", 4, 1), place("bodhi", 5, 1), place("koji", 3, 1)];
        assert_eq!(store.places().unwrap(), kept);
        // The last of each signer stays, however old.
        assert_eq!(store.forget_places(at(100)).unwrap(), 2);
        assert_eq!(store.places().unwrap(), [place("bodhi", 1, 8), place("koji", 3, 1)]);
    }

    #[test]
    fn a_file_of_the_first_form_gets_places() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.sqlite");
        drop(ConsumerStore::open(&path).unwrap());
        let old = Connection::open(&path).unwrap();
        old.execute_batch("DROP TABLE place; PRAGMA user_version = 1;").unwrap();
        drop(old);
        let mut store = ConsumerStore::open(&path).unwrap();
        store.move_places(&[place("bodhi", 1, 7)], &[], at(0)).unwrap();
        assert_eq!(store.places().unwrap(), [place("bodhi", 1, 7)]);
        store.connection.execute("UPDATE place SET stream = 'no stream'", []).unwrap();
        let error = store.places().unwrap_err().to_string();
        assert!(error.contains("one.sqlite: a row of `place` is not"), "{error}");
    }
}
