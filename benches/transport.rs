//! How many messages a second go from one process to another over TCP on loopback, unsigned: our engine, the `zeromq` crate,
//! libzmq. Nothing may be lost. All in one run, in turns, since machines are noisy:
//!
//!     cargo bench --bench transport -- [--rounds 5] [--millions 1]
//!
//! libzmq is the one that pyzmq brings (`scripts/peers`), driven by `benches/libzmq.c`; where it or a C compiler is missing it is
//! left out. The crate is measured twice: as it is, on a multi-thread runtime, and as our engine `zeromq` runs it.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stdout, reason = "what a benchmark is for")]
#![allow(clippy::as_conversions, reason = "rates for people")]

use bytes::Bytes;
use fedmsg::bus::transport::{Bounds, Transport};
use fedmsg::bus::{ZeroMq, Zmtp, zmtp};
use fedmsg::endpoint::Endpoint;
use fedmsg::message::RawMessage;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zeromq::{Socket, SocketRecv, SocketSend};

const SIZES: [usize; 3] = [200, 1024, 4096];
const TOPIC: &str = "org.fedoraproject.prod.bodhi.update.comment";
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let Some((role, rest)) = arguments.split_first()
        && (role == "pub" || role == "sub")
    {
        return play(role, rest);
    }
    let option = |name: &str, otherwise: f64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    let (rounds, millions) = (option("--rounds", 5.0) as usize, option("--millions", 1.0));
    let mut engines: Vec<(&str, Command)> = ["zmtp", "zeromq", "crate"]
        .map(|name| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env("BENCH_ENGINE", name);
            (name, command)
        })
        .into();
    match libzmq() {
        Ok(program) => engines.push(("libzmq", Command::new(program))),
        Err(why) => println!("libzmq is left out: {why}"),
    }
    println!("thousand messages a second: median of {rounds} (least to most)");
    for size in SIZES {
        let count = (millions * 1e6) as usize * 1024 / size.max(512);
        let mut rates = vec![Vec::new(); engines.len()];
        for _ in 0..rounds {
            for ((_, command), rates) in engines.iter_mut().zip(&mut rates) {
                rates.push(measure(command, size, count));
            }
        }
        for ((name, _), rates) in engines.iter().zip(&mut rates) {
            rates.sort_by(f64::total_cmp);
            let (least, most) = (rates[0], rates[rates.len() - 1]);
            println!("{size:>5} B  {name:<8} {:>6.0}   ({least:.0} to {most:.0})", rates[rates.len() / 2]);
        }
    }
}

/// One run of a publisher and a subscriber, processes both; thousand messages a second, as the subscriber saw it.
fn measure(program: &mut Command, size: usize, count: usize) -> f64 {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rest = [format!("tcp://127.0.0.1:{port}"), size.to_string(), count.to_string()];
    let start = |role: &str| -> Child {
        let mut command = Command::new(program.get_program());
        command.envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.arg(role).args(&rest).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (publisher, subscriber) = (start("pub"), start("sub"));
    let seen = subscriber.wait_with_output().unwrap();
    assert!(publisher.wait_with_output().unwrap().status.success() && seen.status.success());
    let seconds: f64 = String::from_utf8(seen.stdout).unwrap().trim().parse().unwrap();
    count as f64 / seconds / 1000.0
}

/// What a child does.
fn play(role: &str, rest: &[String]) {
    let [endpoint, size, count] = rest else { panic!("an endpoint, a size and a count") };
    let (size, count) = (size.parse().unwrap(), count.parse().unwrap());
    let engine = std::env::var("BENCH_ENGINE").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bounds = Bounds { queue_bytes: 128 << 20 };
        match (role, &*engine) {
            ("pub", "crate") => publish_by_crate(endpoint, size, count).await,
            ("sub", "crate") => subscribe_by_crate(endpoint, count).await,
            (_, "zeromq") => by_transport(role, &ZeroMq::new(bounds), endpoint, size, count).await,
            _ => by_transport(role, &Zmtp::new(zmtp::Limits::STANDARD), endpoint, size, count).await,
        }
    });
}

async fn by_transport(role: &str, transport: &dyn Transport, endpoint: &str, size: usize, count: usize) {
    let endpoint: Endpoint = endpoint.parse().unwrap();
    if role == "pub" {
        let publisher = transport.bind(&[endpoint]).await.unwrap();
        publisher.send_to_subscriber(RawMessage::new(TOPIC, ""), PATIENCE).await.unwrap();
        let body = vec![b'x'; size - TOPIC.len()];
        for _ in 0..count {
            // A body of its own for each message, as in life.
            publisher.send(RawMessage::new(TOPIC, body.clone())).await.unwrap();
        }
        publisher.close(PATIENCE).await.unwrap();
        return;
    }
    let mut subscriber = transport.connect(&[endpoint], &["org.fedoraproject".to_owned()]).await.unwrap();
    subscriber.recv().await.unwrap();
    let begun = Instant::now();
    for _ in 0..count {
        let received = subscriber.recv().await.unwrap();
        assert_eq!(received.message.byte_len(), size);
    }
    println!("{}", begun.elapsed().as_secs_f64());
}

/// The last frame of a message: its end says that the crate has written it.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

async fn publish_by_crate(endpoint: &str, size: usize, count: usize) {
    let mut publisher = zeromq::PubSocket::new();
    publisher.bind(endpoint).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let body = vec![b'x'; size - TOPIC.len()];
    let message = |body: Vec<u8>| {
        let frames =
            vec![Bytes::from_static(TOPIC.as_bytes()), Bytes::from_owner(Counted(body, Arc::clone(&done)))];
        zeromq::ZmqMessage::try_from(frames).unwrap()
    };
    let mut events = publisher.monitor();
    while !matches!(events.recv().await, Ok(zeromq::SocketEvent::Accepted(..))) {}
    // It does not say when somebody has subscribed.
    tokio::time::sleep(Duration::from_millis(300)).await;
    publisher.send(message(Vec::new())).await.unwrap();
    for sent in 0..count {
        publisher.send(message(body.clone())).await.unwrap();
        // It drops what is over 100,000, in silence.
        while sent - done.load(Ordering::Relaxed).min(sent) > 50_000 {
            tokio::task::yield_now().await;
        }
    }
    while done.load(Ordering::Relaxed) <= count {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn subscribe_by_crate(endpoint: &str, count: usize) {
    let mut subscriber = zeromq::SubSocket::new();
    subscriber.connect(endpoint).await.unwrap();
    subscriber.subscribe("org.fedoraproject").await.unwrap();
    subscriber.recv().await.unwrap();
    let begun = Instant::now();
    for _ in 0..count {
        subscriber.recv().await.unwrap();
    }
    println!("{}", begun.elapsed().as_secs_f64());
}

/// Builds `benches/libzmq.c` against pyzmq's library.
fn libzmq() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = root.join("target/peers/lib");
    let find = |directory: PathBuf, part: &str| -> Option<PathBuf> {
        let entries = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        entries.into_iter().find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().contains(part)))
    };
    let python = find(libraries, "python").ok_or("`scripts/peers` was not run")?;
    let library = find(python.join("site-packages/pyzmq.libs"), "libzmq").ok_or("pyzmq has no libzmq")?;
    let program = root.join("target").join("libzmq-bench");
    let mut compiler = Command::new("cc");
    compiler.arg("-O2").arg("-o").arg(&program).arg(root.join("benches/libzmq.c")).arg(&library);
    compiler.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    // What the library needs lies beside it.
    compiler.arg("-Wl,--allow-shlib-undefined");
    match compiler.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("cc: {status}")),
        Err(error) => Err(format!("cc: {error}")),
    }
}
