//! Both outboxes by one set of tests, then what only a file can show.

use super::*;
use crate::identity::Identity;
use proptest::prelude::*;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000;
const WEEK: Retention = Retention { age: Duration::from_secs(604_800), bytes: 1 << 30 };
const ALL: Most = Most { messages: usize::MAX, bytes: u64::MAX };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW + seconds).unwrap()
}

fn signer() -> Identity {
    "spiffe://example.org/prod/bodhi/app01".parse().unwrap()
}

fn id(seq: u64) -> MessageId {
    MessageId::new(2027, u128::from(seq).to_be_bytes())
}

/// A message whose frames have `bytes` bytes.
fn kept(seq: u64, timestamp: Timestamp, bytes: usize) -> Kept {
    let width = bytes - 3;
    let body = format!("{seq:0>width$}");
    Kept { seq, timestamp, msg_id: id(seq), topic: Bytes::from_static(b"a.b"), body: Bytes::from(body) }
}

fn batch(seqs: RangeInclusive<u64>, timestamp: Timestamp) -> Vec<Kept> {
    seqs.map(|seq| kept(seq, timestamp, 744)).collect()
}

fn seqs(slice: &Slice) -> Vec<u64> {
    slice.messages.iter().map(|kept| kept.seq).collect()
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("outbox/bodhi-app01.sqlite")
}

fn open(directory: &TempDir, retention: Retention) -> SqliteOutbox {
    SqliteOutbox::open(&path(directory), &signer(), retention, at(0)).unwrap()
}

/// A connection that nobody should make.
fn tamper(directory: &TempDir, sql: &str) {
    Connection::open(path(directory)).unwrap().execute_batch(sql).unwrap();
}

/// One of each kind.
fn both(directory: &TempDir, retention: Retention) -> [Box<dyn Outbox>; 2] {
    let memory = MemoryOutbox::new(StreamId::new([7; 16]), retention, at(0));
    [Box::new(open(directory, retention)), Box::new(memory)]
}

#[test]
fn what_is_kept_is_found_by_number_time_and_name() {
    for mut outbox in both(&tempfile::tempdir().unwrap(), WEEK) {
        let stream = outbox.extent().stream;
        assert_eq!(outbox.extent(), Extent { stream, oldest: 1, newest: 0 });
        let reader = outbox.reader().unwrap();
        // The clock is set back by a minute between 4 and 5.
        for (seqs, seconds) in [(1..=2, 0), (3..=4, 100), (5..=6, 40), (7..=7, 200)] {
            outbox.append(&batch(seqs, at(seconds)), at(seconds)).unwrap();
        }
        assert_eq!(outbox.extent(), Extent { stream, oldest: 1, newest: 7 });
        assert_eq!(reader.extent().unwrap(), outbox.extent());

        let ask = |from, to, most| reader.range(stream, from, to, most).unwrap().unwrap();
        let slice = ask(2, 5, ALL);
        assert_eq!((seqs(&slice), slice.next, slice.gone), (vec![2, 3, 4, 5], None, None));
        assert_eq!(slice.messages[0], kept(2, at(0), 744), "as it was");
        for most in [Most { messages: 2, ..ALL }, Most { bytes: 1_500, ..ALL }] {
            let slice = ask(2, 99, most);
            assert_eq!((seqs(&slice), slice.next), (vec![2, 3], Some(4)));
        }
        let least = ask(6, 7, Most { messages: 0, bytes: 0 });
        assert_eq!((seqs(&least), least.next), (vec![6], Some(7)), "whoever asks gets on");
        for (from, to) in [(8, 9), (5, 4), (u64::MAX, u64::MAX), (0, 0)] {
            let slice = ask(from, to, ALL);
            assert_eq!((seqs(&slice), slice.next, slice.gone), (vec![], None, None), "{from} to {to}");
        }
        assert_eq!(reader.range(StreamId::new([8; 16]), 1, 7, ALL).unwrap(), None);

        for (seconds, first) in [(-9, 1), (0, 1), (1, 3), (41, 3), (101, 7), (200, 7), (201, 8)] {
            let slice = reader.since(at(seconds), ALL).unwrap();
            assert_eq!(seqs(&slice), (first..=7).collect::<Vec<_>>(), "since {seconds}");
        }
        assert_eq!(reader.by_msg_id(&id(5)).unwrap(), Some(kept(5, at(40), 744)));
        assert_eq!(reader.by_msg_id(&id(8)).unwrap(), None);
        for wrong in
            [batch(7..=7, at(0)), batch(9..=9, at(0)), [batch(8..=8, at(0)), batch(8..=8, at(0))].concat()]
        {
            assert!(matches!(outbox.append(&wrong, at(0)), Err(OutboxError::Order { .. })));
        }
        assert_eq!(outbox.extent().newest, 7);
    }
}

#[test]
fn what_falls_out_is_the_oldest_and_is_told() {
    // A message of 744 bytes is counted 1000.
    let retention = Retention { age: Duration::from_secs(60), bytes: 5_000 };
    for mut outbox in both(&tempfile::tempdir().unwrap(), retention) {
        let stream = outbox.extent().stream;
        let reader = outbox.reader().unwrap();
        assert_eq!(outbox.append(&batch(1..=5, at(0)), at(0)).unwrap(), FellOut::default());
        assert_eq!(
            outbox.append(&batch(6..=7, at(30)), at(30)).unwrap(),
            FellOut { too_old: 0, over_bytes: 2 }
        );
        let slice = reader.range(stream, 1, 4, ALL).unwrap().unwrap();
        assert_eq!((seqs(&slice), slice.gone), (vec![3, 4], Some(1..=2)));
        assert_eq!(outbox.expire(at(60)).unwrap(), FellOut::default(), "the bound is included");
        assert_eq!(outbox.expire(at(61)).unwrap(), FellOut { too_old: 3, over_bytes: 0 });

        // What is kept now does not fall out at once, be it over the bound; the next time it does.
        assert_eq!(
            outbox.append(&batch(8..=13, at(62)), at(62)).unwrap(),
            FellOut { too_old: 0, over_bytes: 2 }
        );
        assert_eq!(outbox.extent(), Extent { stream, oldest: 8, newest: 13 });
        assert_eq!(outbox.expire(at(62)).unwrap().over_bytes, 1);
        assert_eq!(outbox.append(&[kept(14, at(63), 9_000)], at(63)).unwrap().over_bytes, 5);
        assert_eq!(outbox.expire(at(63)).unwrap(), FellOut::default(), "the newest stays, whatever it has");

        // Nothing is left, and the stream goes on. A day later it is another range.
        let later = at(90_000);
        assert_eq!(outbox.expire(later).unwrap().too_old, 1);
        assert_eq!(reader.extent().unwrap(), Extent { stream, oldest: 15, newest: 14 });
        let slice = reader.range(stream, 3, 20, ALL).unwrap().unwrap();
        assert_eq!((seqs(&slice), slice.gone), (vec![], Some(3..=14)));
        outbox.append(&batch(15..=15, later), later).unwrap();
        let report = reader.report().unwrap();
        assert_eq!((report.extent, report.bytes), (Extent { stream, oldest: 15, newest: 15 }, 1_000));
        assert_eq!(report.between, Some((later, later)));
        let [first, second] = report.dropped[..] else { panic!("{report:?}") };
        assert_eq!((first.range(), first.since, first.until), (1..=13, at(30), at(63)));
        assert_eq!((first.why, first.bytes), (FellOut { too_old: 3, over_bytes: 10 }, 13_000));
        assert_eq!((second.range(), second.why), (14..=14, FellOut { too_old: 1, over_bytes: 0 }));
    }
}

#[test]
fn the_ranges_that_fell_out_stay_few() {
    let retention = Retention { age: Duration::from_secs(60), bytes: 1 << 30 };
    for mut outbox in both(&tempfile::tempdir().unwrap(), retention) {
        let days = u64::try_from(MAX_DROPPED_RANGES).unwrap() + 3;
        for day in 1..=days {
            let now = at(i64::try_from(day).unwrap() * 86_400);
            outbox.append(&batch(day..=day, now), now).unwrap();
        }
        let report = outbox.reader().unwrap().report().unwrap();
        assert_eq!(report.dropped.len(), MAX_DROPPED_RANGES);
        assert_eq!(report.dropped[0].range(), 1..=3);
        assert_eq!(report.dropped[0].why.too_old, 3);
        assert!(report.dropped.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        assert_eq!(report.dropped.last().unwrap().last, days - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, the file and the memory give the same answers.
    #[test]
    fn the_file_and_the_memory_agree(
        steps in prop::collection::vec((0_u64..5, 100_usize..900, -30_i64..90), 1..40),
        asks in prop::collection::vec((0_u64..90, 0_u64..90, 1_usize..9, 0_u64..4_000, -50_i64..900), 8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let retention = Retention { age: Duration::from_secs(120), bytes: 9_000 };
        let mut file: Box<dyn Outbox> = Box::new(open(&directory, retention));
        let stream = file.extent().stream;
        let mut memory = MemoryOutbox::new(stream, retention, at(0));
        let mut now = 0;
        for (count, bytes, seconds) in steps {
            now += seconds;
            let from = memory.extent().newest + 1;
            let batch: Vec<Kept> = (from..from + count).map(|seq| kept(seq, at(now), bytes)).collect();
            if count == 4 {
                // The publisher starts again, without a word of farewell.
                drop(file);
                file = Box::new(SqliteOutbox::open(&path(&directory), &signer(), retention, at(now)).unwrap());
                memory.expire(at(now)).unwrap();
            }
            prop_assert_eq!(file.append(&batch, at(now)).unwrap(), memory.append(&batch, at(now)).unwrap());
            prop_assert_eq!(file.extent(), memory.extent());
        }
        let (file, memory) = (file.reader().unwrap(), memory.reader().unwrap());
        for (from, to, messages, bytes, seconds) in asks {
            let most = Most { messages, bytes };
            prop_assert_eq!(file.range(stream, from, to, most).unwrap(), memory.range(stream, from, to, most).unwrap());
            prop_assert_eq!(file.since(at(seconds), most).unwrap(), memory.since(at(seconds), most).unwrap());
            prop_assert_eq!(file.by_msg_id(&id(from)).unwrap(), memory.by_msg_id(&id(from)).unwrap());
        }
        let (mut one, two) = (file.report().unwrap(), memory.report().unwrap());
        prop_assert_eq!(std::mem::take(&mut one.signer), signer().to_string());
        prop_assert_eq!(one, two);
    }
}

#[test]
fn the_stream_goes_on_after_a_restart_and_is_one_publishers() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = open(&directory, WEEK);
    outbox.append(&batch(1..=3, at(0)), at(0)).unwrap();
    let extent = outbox.extent();
    let second = SqliteOutbox::open(&path(&directory), &signer(), WEEK, at(0)).unwrap_err();
    assert!(matches!(second, OutboxError::InUse { .. }), "{second}");
    for name in ["", "-wal", "-shm", "-lock"] {
        let file = format!("{}{name}", path(&directory).display());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let synchronous: i64 =
        outbox.connection().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2, "each commit is flushed to the disk");
    drop(outbox);

    let mut outbox = open(&directory, WEEK);
    assert_eq!(outbox.extent(), extent);
    outbox.append(&batch(4..=4, at(9)), at(9)).unwrap();
    drop(outbox);
    let other = "spiffe://example.org/stg/bodhi/app01".parse().unwrap();
    let error = SqliteOutbox::open(&path(&directory), &other, WEEK, at(0)).unwrap_err();
    assert!(matches!(error, OutboxError::Signer { .. }), "{error}");

    // A bound that was made narrower holds from the start on.
    let narrow = open(&directory, Retention { bytes: 2_500, ..WEEK });
    assert_eq!(narrow.extent(), Extent { oldest: 3, newest: 4, ..extent });
}

#[test]
fn what_fails_uses_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = open(&directory, WEEK);
    outbox.append(&batch(1..=2, at(0)), at(0)).unwrap();
    let before = outbox.extent();
    let mut twice = batch(3..=5, at(0));
    twice[2].msg_id = id(1);
    assert!(matches!(outbox.append(&twice, at(0)), Err(OutboxError::Sqlite { .. })));
    assert_eq!((outbox.extent(), outbox.reader().unwrap().extent().unwrap()), (before, before));

    // A disk without room, and then with some again.
    let pages: i64 = outbox.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    outbox.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let much: Vec<Kept> = (3..=40).map(|seq| kept(seq, at(0), 9_000)).collect();
    let error = outbox.append(&much, at(0)).unwrap_err();
    assert!(matches!(error, OutboxError::Full { .. }), "{error}");
    assert_eq!((outbox.extent(), outbox.reader().unwrap().extent().unwrap()), (before, before));
    outbox.connection().pragma_update_and_check(None, "max_page_count", 1 << 20, |_| Ok(())).unwrap();
    outbox.append(&much, at(0)).unwrap();
    assert_eq!(outbox.extent(), Extent { newest: 40, ..before });
}

/// What is done to a file.
type Damage = dyn Fn(&TempDir);

#[test]
fn a_damaged_file_is_named_never_gone_on_with() {
    let damages: [(&str, &Damage); 8] = [
        ("is damaged", &|d| fs::write(path(d), "this is no database".repeat(99)).unwrap()),
        ("is damaged", &|d| {
            // The first page's tree, behind the header.
            let mut bytes = fs::read(path(d)).unwrap();
            bytes[100..4_000].fill(0xff);
            fs::write(path(d), bytes).unwrap();
        }),
        ("it has no stream", &|d| tamper(d, "DELETE FROM stream")),
        ("`here` is no stream", &|d| tamper(d, "UPDATE stream SET id = 'here'")),
        ("it has the messages 1 to 3, expected 1 to 4", &|d| tamper(d, "DELETE FROM message WHERE seq = 4")),
        ("it has the messages 2 to 4, expected 1 to 4", &|d| tamper(d, "DELETE FROM message WHERE seq = 1")),
        ("it has the messages 1 to 4, expected 1 to 9", &|d| tamper(d, "UPDATE stream SET newest = 9")),
        ("has form 9, this program knows 1", &|d| tamper(d, "PRAGMA user_version = 9")),
    ];
    for (expected, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = open(&directory, WEEK);
        outbox.append(&batch(1..=4, at(0)), at(0)).unwrap();
        drop(outbox);
        damage(&directory);
        let error = SqliteOutbox::open(&path(&directory), &signer(), WEEK, at(0)).unwrap_err().to_string();
        assert!(error.contains("bodhi-app01.sqlite") && error.contains(expected), "{expected}: {error}");
    }

    // A hole within is found by whoever reads it.
    let directory = tempfile::tempdir().unwrap();
    let mut outbox = open(&directory, WEEK);
    outbox.append(&batch(1..=4, at(0)), at(0)).unwrap();
    tamper(&directory, "DELETE FROM message WHERE seq = 3");
    let error = outbox.reader().unwrap().range(outbox.extent().stream, 1, 4, ALL).unwrap_err();
    assert!(error.to_string().ends_with("the outbox is damaged: message 3 is missing"), "{error}");
    assert!(matches!(SqliteOutboxReader::open(Path::new("/none")), Err(OutboxError::Missing { .. })));
}

#[test]
fn readers_look_on_while_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { bytes: 200_000, ..WEEK };
    for mut outbox in both(&directory, retention) {
        let stream = outbox.extent().stream;
        let reader = outbox.reader().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut next, mut seen) = (1, 0_u64);
            while next <= 2_000 {
                let most = Most { messages: 50, ..ALL };
                let slice = reader.range(stream, next, u64::MAX, most).unwrap().unwrap();
                next = slice.gone.as_ref().map_or(next, |gone| gone.end() + 1);
                assert!(
                    seqs(&slice).into_iter().eq(next..next + u64::try_from(slice.messages.len()).unwrap())
                );
                next += u64::try_from(slice.messages.len()).unwrap();
                seen += u64::try_from(slice.messages.len()).unwrap();
            }
            seen
        });
        for seq in (1..=2_000).step_by(20) {
            outbox.append(&batch(seq..=seq + 19, at(0)), at(0)).unwrap();
        }
        assert!(reading.join().unwrap() > 0);
    }
}
