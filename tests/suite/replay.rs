//! Replay over real sockets: who asks, who answers, and who only takes up room; and consumers and publishers that are killed
//! at any moment.

use crate::support::{Child, Finished, PATIENCE, Peer, fedmsg, free_endpoints, run, temp_dir, until};
use fedmsg::bus::replay::{Found, ReplayClient, ReplayLimits, ReplayServer, ReplaySource, Reply};
use fedmsg::bus::stream::StreamKey;
use fedmsg::endpoint::Endpoint;
use fedmsg::message::{MessageId, StreamId};
use fedmsg::store::outbox::{
    self, Kept, MemoryOutbox, Most, Outbox, OutboxReader, Retention, SqliteOutboxReader,
};
use fedmsg::time::{Clock, SystemClock};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

const WEEK: Retention = Retention { age: Duration::from_secs(604_800), bytes: 1 << 30 };

fn stream() -> StreamId {
    StreamId::new([7; 16])
}

fn key() -> StreamKey {
    StreamKey { signer: "spiffe://example.org/prod/bodhi/app01".parse().unwrap(), stream: stream() }
}

/// An outbox of `count` messages, of which no more than `bytes` are kept.
fn outbox(count: u64, bytes: u64, body: usize) -> MemoryOutbox {
    let now = SystemClock.now();
    let mut outbox = MemoryOutbox::new(stream(), Retention { bytes, ..WEEK }, now);
    for seq in 1..=count {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&seq.to_be_bytes());
        let msg_id = MessageId::new(2027, id);
        let (topic, body) = (format!("a.{seq}").into(), vec![b'x'; body].into());
        outbox.append(&[Kept { seq, timestamp: now, msg_id, topic, body }], now).unwrap();
    }
    outbox
}

fn serve(outbox: &MemoryOutbox, limits: ReplayLimits) -> ReplayServer {
    let endpoints: Vec<Endpoint> = free_endpoints(1).iter().map(|e| e.parse().unwrap()).collect();
    ReplayServer::start(&endpoints, outbox.reader().unwrap(), limits).unwrap()
}

fn client(endpoints: &[&Endpoint]) -> ReplayClient {
    let endpoints = endpoints.iter().map(|e| (*e).clone()).collect();
    ReplayClient::to([("bodhi".to_owned(), endpoints)], 1 << 20)
}

async fn found(client: &ReplayClient, from: u64, to: Option<u64>) -> Found {
    let reply = client.ask(&key(), from, to).await;
    let Reply::Found(found) = reply else { panic!("{reply:?}") };
    found
}

fn topics(found: &Found) -> Vec<u64> {
    let number = |topic: &[u8]| std::str::from_utf8(&topic[2..]).unwrap().parse().unwrap();
    found.messages.iter().map(|message| number(&message.parts[0])).collect()
}

fn raw(server: &ReplayServer) -> TcpStream {
    let socket = TcpStream::connect(server.endpoint().to_string().strip_prefix("tcp://").unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Whether the other side ends it.
fn is_ended(socket: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // An end by force is an end too.
    let ended = socket.read_to_end(&mut rest);
    ended.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_answered_in_parts() {
    let server = serve(&outbox(2500, 1 << 30, 10), ReplayLimits::STANDARD);
    let client = client(&[server.endpoint()]);
    let mut next = Some(1);
    let mut seen = Vec::new();
    let mut parts = Vec::new();
    while let Some(from) = next {
        let found = found(&client, from, None).await;
        seen.extend(topics(&found));
        parts.push(found.messages.len());
        next = found.next;
    }
    assert_eq!(seen, (1..=2500).collect::<Vec<_>>());
    assert_eq!(parts, [1000, 1000, 500]);
    let some = found(&client, 2499, Some(9999)).await;
    assert_eq!((topics(&some), some.next, some.gone), (vec![2499, 2500], None, vec![]));
    // By bytes as well: 40 KiB each, 4 MiB in all.
    let server = serve(&outbox(300, 1 << 30, 40_960), ReplayLimits::STANDARD);
    let large = found(&self::client(&[server.endpoint()]), 1, None).await;
    assert!(
        large.messages.len() < 110 && large.next == Some(u64::try_from(large.messages.len()).unwrap() + 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_apart() {
    let full = outbox(100, 10_000, 100);
    let oldest = full.extent().oldest;
    assert!(oldest > 10);
    let server = serve(&full, ReplayLimits::STANDARD);
    let other = MemoryOutbox::new(StreamId::new([8; 16]), WEEK, SystemClock.now());
    let other = serve(&other, ReplayLimits::STANDARD);
    let nobody: Endpoint = free_endpoints(1)[0].parse().unwrap();
    let (here, there) = (server.endpoint(), other.endpoint());
    let asked = client(&[there, here]);
    let some = found(&asked, 5, Some(oldest)).await;
    assert_eq!((topics(&some), some.gone), (vec![oldest], vec![(5, oldest - 1)]));
    let none = found(&asked, 5, Some(8)).await;
    assert_eq!((topics(&none), none.gone, none.next), (vec![], vec![(5, 8)], None));
    assert_eq!(client(&[there]).ask(&key(), 1, None).await, Reply::UnknownStream);
    assert_eq!(client(&[]).ask(&key(), 1, None).await, Reply::NoEndpoint);
    // Whoever cannot be reached may be the one that has it.
    let reply = client(&[there, &nobody]).ask(&key(), 1, None).await;
    assert!(matches!(&reply, Reply::Failed { why } if why.contains(&nobody.to_string())), "{reply:?}");
    let mut common_name = key();
    common_name.signer = "cn:shell-box01.example.org".parse().unwrap();
    assert_eq!(asked.ask(&common_name, 1, None).await, Reply::NoEndpoint);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_takes_up_room_is_put_out_and_the_others_are_answered() {
    let limits = ReplayLimits {
        connections_per_address: 3,
        requests_per_second: 5,
        handshake: Duration::from_millis(200),
        idle: Duration::from_millis(400),
        ..ReplayLimits::STANDARD
    };
    let server = serve(&outbox(10, 1 << 30, 10), limits);
    let client = client(&[server.endpoint()]);
    let mut garbage = raw(&server);
    garbage.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(is_ended(&mut garbage));
    until("the fault to be counted", || (server.counts().faults == 1).then_some(()));
    // Three say nothing, and a fourth has to wait until they are put out for it.
    let mut silent = [raw(&server), raw(&server), raw(&server)];
    let mut fourth = raw(&server);
    assert!(is_ended(&mut fourth));
    until("it to be turned away", || (server.counts().turned_away >= 1).then_some(()));
    assert!(silent.iter_mut().all(is_ended));
    until("the late to be counted", || (server.counts().late >= 3).then_some(()));
    // A greeting, READY, and a frame larger than any request.
    let mut large = raw(&server);
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend_from_slice(b"NULL");
    greeting.resize(64, 0);
    large.write_all(&greeting).unwrap();
    large.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ").unwrap();
    large.write_all(b"\x01\x00\x02\x00\x00\x00\x00\x7f\xff\xff\xff").unwrap();
    assert!(is_ended(&mut large));
    until("the second fault to be counted", || (server.counts().faults == 2).then_some(()));
    assert_eq!(topics(&found(&client, 1, None).await).len(), 10);
    // Ten at once, and five a second: the rest is told to come later.
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(matches!(client.ask(&key(), 1, None).await, Reply::Failed { .. }));
    }
    let counts = server.counts();
    assert!(failed >= 10 && counts.busy >= 10, "{failed} of 30 failed: {counts:?}");
}

#[test]
fn pyzmq_asks_and_is_answered() {
    let kept = outbox(10, 2_200, 10);
    let oldest = kept.extent().oldest;
    let server = serve(&kept, ReplayLimits::STANDARD);
    let Some(mut peer) = Peer::start("ask.py", &[&server.endpoint().to_string()]) else { return };
    let stream = stream().to_string();
    let (header, frames) = peer.ask(&format!(r#"{{"v":1,"stream":"{stream}","from":9,"to":10}}"#));
    assert_eq!(
        (&header["status"], &header["count"], &header["next"]),
        (&"ok".into(), &2.into(), &Value::Null)
    );
    assert_eq!((&header["stream"], &header["newest"]), (&stream.clone().into(), &10.into()));
    assert_eq!(frames, [b"a.9".to_vec(), vec![b'x'; 10], b"a.10".to_vec(), vec![b'x'; 10]]);
    let (header, frames) = peer.ask(&format!(r#"{{"v":1,"stream":"{stream}","from":1,"limit":1}}"#));
    assert_eq!(header["gone"], serde_json::json!([[1, oldest - 1]]));
    assert_eq!((&header["next"], frames.len()), (&(oldest + 1).into(), 2));
    let (header, frames) = peer.ask(r#"{"v":1,"since":1}"#);
    assert_eq!(header["count"], 11 - oldest);
    assert_eq!(u64::try_from(frames.len()).unwrap(), 2 * (11 - oldest));
    let (header, frames) = peer.ask(r#"{"v":1,"msg_id":"2027-00000000-0000-4000-8000-00000000000a"}"#);
    assert_eq!((header["count"].as_u64(), &frames[0][..]), (Some(1), &b"a.10"[..]));
    for (request, status) in [
        (r#"{"v":1,"stream":"00000000000000000000000000000000","from":1}"#, "unknown-stream"),
        (r#"{"v":1,"what":1}"#, "bad-request"),
        ("nonsense", "bad-request"),
    ] {
        assert_eq!(peer.ask(request).0["status"], status, "{request}");
    }
    peer.finish();
}

fn within(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = fedmsg();
    command.arg("--config").arg(directory.join("bus")).arg("--json").args(arguments);
    command
}

/// A few bits that differ from run to run: where it is killed need not be the same twice.
fn random(below: u64) -> u64 {
    u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap()) % below
}

/// A publisher that is given lines by a thread of its own.
struct Publisher {
    child: Child,
    stop: Sender<()>,
}

impl Publisher {
    fn start(directory: &Path) -> Self {
        let arguments = ["publish", "log.message", "--lines", "--wait", "0s"];
        let mut child = Child::spawn(&mut within(directory, &arguments));
        let mut input = child.take_input();
        let (stop, stopped) = channel();
        std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                if writeln!(input, "{{}}").is_err() {
                    return;
                }
            }
            // As long as its input is open, it answers those who missed something.
            let _ = writeln!(input, "{{\"last\":true}}");
            let _ = stopped.recv();
        });
        Self { child, stop }
    }

    /// The names of what it said was published.
    fn killed(self) -> Vec<String> {
        names(&self.child.kill().stdout)
    }
}

fn names(stdout: &str) -> Vec<String> {
    // What was being written when it was killed is no JSON.
    let lines = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some(line["msg_id"].as_str()?.to_owned())).collect()
}

/// What one life of a consumer showed, in order.
fn shown(finished: &Finished) -> Vec<String> {
    let lost: Vec<&str> = finished.stderr.lines().filter(|line| line.contains("\"gap\"")).collect();
    assert!(lost.is_empty(), "{lost:?}");
    names(&finished.stdout)
}

/// Kills publisher and consumer at any moment, either or both. Whatever was said to be published has to be shown, in order; and
/// again only what a consumer was killed over.
fn kill(rounds: usize) {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    let often = "[heartbeat]\ninterval = \"1s\"\n";
    std::fs::write(directory.path().join("bus/fedmsg.d/often.toml"), often).unwrap();
    let tail = || Child::spawn(&mut within(directory.path(), &["tail", "--name", "one"]));
    let (mut consumer, mut publisher) = (tail(), Publisher::start(directory.path()));
    consumer.line("the first message", |line| line.contains("verified"));
    let (mut published, mut lives) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // The point of time is what is tested here: nothing is waited for.
        std::thread::sleep(Duration::from_millis(random(200)));
        let victim = random(3);
        if victim != 0 {
            published.extend(publisher.killed());
            publisher = Publisher::start(directory.path());
        }
        if victim != 1 {
            lives.push(shown(&consumer.kill()));
            consumer = tail();
        }
    }
    publisher.stop.send(()).unwrap();
    consumer.line("the last message", |line| line.contains("\"last\":true"));
    published.extend(publisher.killed());
    lives.push(shown(&consumer.kill()));

    let file = outbox::file(&directory.path().join("bus/outbox"), "shell", "localhost");
    let reader = SqliteOutboxReader::open(&file).unwrap();
    let extent = reader.extent().unwrap();
    let all = Most { messages: usize::MAX, bytes: u64::MAX };
    let kept = reader.range(extent.stream, 1, extent.newest, all).unwrap().unwrap().messages;
    let seqs: BTreeMap<String, u64> = kept.iter().map(|kept| (kept.msg_id.to_string(), kept.seq)).collect();
    let lives: Vec<Vec<u64>> =
        lives.iter().map(|life| life.iter().map(|name| seqs[name]).collect()).collect();
    let (mut next, mut again) = (lives[0][0], 0);
    for life in lives.iter().filter(|life| !life.is_empty()) {
        assert!(life[0] == next || life[0] + 1 == next, "{} after {next}", life[0]);
        again += u64::from(life[0] + 1 == next);
        assert!(life.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a hole, or out of order: {life:?}");
        next = life[life.len() - 1] + 1;
    }
    assert_eq!(next, extent.newest + 1);
    let said: Vec<u64> = published.iter().map(|name| seqs[name]).collect();
    assert!(said.iter().all(|seq| *seq < next));
    eprintln!(
        "measured: {rounds} kills, {} messages said to be published, {} kept, {again} shown again after a kill",
        said.len(),
        extent.newest
    );
}

#[test]
fn killed_consumers_and_publishers_lose_nothing_and_show_nothing_twice() {
    kill(25);
}

#[test]
#[ignore = "many minutes: cargo test --test suite -- --ignored a_thousand_killed"]
fn a_thousand_killed_consumers_and_publishers_lose_nothing_and_show_nothing_twice() {
    kill(1000);
}

/// Whoever publishes by a command that ends at once is answered for by another.
#[test]
fn an_outbox_is_served_when_its_publisher_has_gone() {
    let directory = temp_dir();
    run(fedmsg().arg("init").arg(directory.path().join("bus"))).expect_code(0);
    let publish = |wait: &str| {
        let arguments = ["publish", "log.message", "--wait", wait];
        let done = run(&mut within(directory.path(), &arguments)).expect_code(0);
        names(&done.stdout).remove(0)
    };
    let tail = |count: &str| {
        let arguments = ["tail", "--name", "one", "--since", "oldest", "--count", count];
        Child::spawn(&mut within(directory.path(), &arguments))
    };
    let missed = [publish("0s"), publish("0s")];
    let mut server = Child::spawn(&mut within(directory.path(), &["outbox", "serve"]));
    server.error_line("the endpoint", |line| line.contains("answering from"));
    let consumer = tail("3");
    let heard = publish("10s");
    let shown = consumer.finish().expect_code(0);
    assert_eq!(names(&shown.stdout), [missed[0].clone(), missed[1].clone(), heard]);
    let replayed: Vec<bool> =
        shown.stdout.lines().map(|line| line.contains("\"origin\":\"replayed\"")).collect();
    assert_eq!(replayed, [true, true, false]);
    server.kill();
}
