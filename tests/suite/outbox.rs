//! The outbox by the command: what was acknowledged is there, whatever became of the process.

use crate::support::{fedmsg, run, temp_dir};
use fedmsg::limits::Limits;
use fedmsg::message::Unverified;
use fedmsg::message::id::StreamId;
use fedmsg::store::outbox::{Most, OutboxReader, SqliteOutboxReader};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The messages that `publish` said were kept: their numbers and their names.
type Acknowledged = BTreeMap<u64, String>;

const ALL: Most = Most { messages: usize::MAX, bytes: u64::MAX };

#[test]
fn killed_publishers_lose_nothing_that_was_acknowledged() {
    kill(25);
}

#[test]
#[ignore = "two minutes: cargo test --test suite -- --ignored killed"]
fn five_hundred_killed_publishers_lose_nothing_that_was_acknowledged() {
    kill(500);
}

fn within(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = fedmsg();
    command.arg("--config").arg(directory.join("bus")).arg("--json").args(arguments);
    command
}

fn publish_lines(directory: &Path) -> Command {
    let mut command = within(directory, &["publish", "log.message", "--lines", "--wait", "0s"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A few bits that differ from run to run: where it is killed need not be the same twice.
fn random() -> u32 {
    u32::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..4].try_into().unwrap())
}

/// What one killed publisher said.
struct Said {
    /// The line that it was given first.
    first_line: u64,
    published: Vec<Value>,
}

/// Publishes lines until it is killed. What it had not said whole counts for nothing.
fn publish_and_kill(directory: &Path, after: Duration, next_line: &mut u64) -> Said {
    let begun = Instant::now();
    let mut child = publish_lines(directory).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let first_line = *next_line;
    // Sometimes one at a time, sometimes as many as there is room for; until the other end has gone.
    let slowly = random().is_multiple_of(2);
    let writing = std::thread::spawn(move || {
        let mut line = first_line;
        while writeln!(input, "{{\"line\":{line}}}").is_ok() {
            line += 1;
            if slowly {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        line + 1
    });
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        said
    });
    // The point of time is what is tested here: nothing is waited for.
    std::thread::sleep(after.saturating_sub(begun.elapsed()));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it ended by itself");
    *next_line = writing.join().unwrap();
    let said = reading.join().unwrap();
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    Said { first_line, published: whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
}

fn kill(rounds: usize) {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    let publish = || run(&mut within(directory.path(), &["publish", "log.message", "--wait", "0s"]));
    let begun = Instant::now();
    let first: Value = serde_json::from_str(&publish().expect_code(0).stdout).unwrap();
    let usual = begun.elapsed();
    let file = directory.path().join("bus/outbox/shell-localhost.sqlite");
    let mut acknowledged = Acknowledged::new();
    let (mut next_line, mut newest, mut spoke) = (0, 1, 0);
    for _ in 0..rounds {
        let after = usual.mul_f64(f64::from(random() % 4_000) / 1_000.0);
        let said = publish_and_kill(directory.path(), after, &mut next_line);
        spoke += usize::from(!said.published.is_empty());
        for published in &said.published {
            let (seq, msg_id) = (published["seq"].as_u64().unwrap(), published["msg_id"].as_str().unwrap());
            assert_eq!(
                (&published["durability"], &published["stream"]),
                (&Value::from("disk"), &first["stream"])
            );
            let twice = acknowledged.insert(seq, msg_id.to_owned());
            assert!(seq > newest && twice.is_none(), "number {seq} was given twice");
        }
        newest = check(&file, &acknowledged, newest, Some(said.first_line));
    }
    assert_eq!(check(&file, &acknowledged, 0, None), newest);
    // The next one goes on.
    let next: Value = serde_json::from_str(&publish().expect_code(0).stdout).unwrap();
    assert_eq!((next["seq"].as_u64(), &next["stream"]), (Some(newest + 1), &first["stream"]));
    assert!(spoke > 0, "none was killed at work");
    eprintln!("{spoke} of {rounds} were killed at work; {} acknowledged, {newest} kept", acknowledged.len());
}

/// Looks at what came after `before`; says how far the stream has got.
fn check(file: &Path, acknowledged: &Acknowledged, before: u64, first_line: Option<u64>) -> u64 {
    let outbox = SqliteOutboxReader::open(file).unwrap();
    let extent = outbox.extent().unwrap();
    assert!(extent.oldest == 1 && extent.newest >= before, "nothing that was there has gone");
    // The reader itself refuses a hole.
    let slice = outbox.range(extent.stream, before + 1, u64::MAX, ALL).unwrap().unwrap();
    assert_eq!(u64::try_from(slice.messages.len()).unwrap(), extent.newest - before);
    let mut found = 0;
    for (kept, place) in slice.messages.iter().zip(0..) {
        if let Some(msg_id) = acknowledged.get(&kept.seq) {
            found += 1;
            assert_eq!(kept.msg_id.to_string(), *msg_id, "number {} is another message", kept.seq);
        }
        let message = Unverified::parse(kept.raw(), &Limits::STANDARD).unwrap();
        assert_eq!(message.claimed_position(), Some((extent.stream, kept.seq)));
        assert_eq!(message.claimed_msg_id(), &kept.msg_id);
        if let Some(first_line) = first_line {
            assert_eq!(message.claimed_msg(), format!("{{\"line\":{}}}", first_line + place), "in order");
        }
    }
    assert_eq!(found, acknowledged.range(before + 1..).count(), "whatever was acknowledged is there");
    extent.newest
}

#[test]
fn each_line_is_a_message_and_the_first_wrong_one_ends_it() {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    let feed = |text: &str| {
        let mut child = publish_lines(directory.path()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ended = child.wait_with_output().unwrap();
        let (said, talk) =
            (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
        let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (ended.status.code(), said, talk)
    };
    let many: String = (0..600).map(|n| format!("{{\"line\":{n}}}\n")).collect();
    let (code, said, _) = feed(&many);
    assert_eq!(code, Some(0));
    assert!(said.iter().map(|published| published["seq"].as_u64().unwrap()).eq(1..=600));
    let (code, said, talk) = feed("1\n{\"a\":\n3\n");
    assert_eq!((code, said.len()), (Some(2), 1), "{talk}");
    assert!(talk.contains("error: standard input: line 2: body is not JSON"), "{talk}");

    // What is in the outbox are these lines, in their order.
    let file = directory.path().join("bus/outbox/shell-localhost.sqlite");
    let outbox = SqliteOutboxReader::open(&file).unwrap();
    let slice = outbox.range(outbox.extent().unwrap().stream, 1, 600, ALL).unwrap().unwrap();
    for (n, kept) in slice.messages.iter().enumerate() {
        let message = Unverified::parse(kept.raw(), &Limits::STANDARD).unwrap();
        assert_eq!(message.claimed_msg(), format!("{{\"line\":{n}}}"));
    }
}

#[test]
fn the_outbox_is_shown_and_what_is_wrong_with_it_is_said() {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    let show =
        |arguments: &[&str]| run(&mut within(directory.path(), &[&["outbox", "show"], arguments].concat()));
    let none = show(&[]).expect_code(2);
    assert!(none.stderr.contains("shell-localhost.sqlite: there is no outbox"), "{}", none.stderr);
    let publish = || run(&mut within(directory.path(), &["publish", "log.message", "--wait", "0s"]));
    let published: Value = serde_json::from_str(&publish().expect_code(0).stdout).unwrap();
    assert_eq!((&published["durability"], &published["heard"]), (&Value::from("disk"), &Value::from(false)));
    let shown: Value = serde_json::from_str(&show(&[]).expect_code(0).stdout).unwrap();
    for (key, expected) in [
        ("signer", Value::from("spiffe://dev.example/dev/shell/localhost")),
        ("stream", published["stream"].clone()),
        ("oldest", Value::from(1)),
        ("newest", Value::from(1)),
        ("messages", Value::from(1)),
        ("dropped", Value::Array(Vec::new())),
    ] {
        assert_eq!(shown[key], expected, "{key}");
    }
    assert!(StreamId::parse(shown["stream"].as_str().unwrap()).is_some());

    // Two at once: the second says who is in the way, and what can be done.
    let mut first = publish_lines(directory.path()).spawn().unwrap();
    let mut said = std::io::BufReader::new(first.stdout.take().unwrap());
    writeln!(first.stdin.as_ref().unwrap(), "{{}}").unwrap();
    std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
    let second = publish().expect_code(2);
    assert!(second.stderr.contains("in use by another publisher"), "{}", second.stderr);
    assert!(
        second.stderr.contains("hint: ") && second.stderr.contains("DURABILITY=memory"),
        "{}",
        second.stderr
    );
    show(&[]).expect_code(0);
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());

    let file = directory.path().join("bus/outbox/shell-localhost.sqlite");
    std::fs::write(&file, "nonsense".repeat(999)).unwrap();
    for ended in [show(&[]), publish()] {
        let ended = ended.expect_code(2);
        assert!(ended.stderr.contains("shell-localhost.sqlite: the outbox is damaged"), "{}", ended.stderr);
    }
}
