//! The process that is attacked, and what can be seen of it from outside.

use super::raw::PATIENCE;
use crate::support::{Child, until};
use fedmsg::bus::transport::{Bounds, Transport};
use fedmsg::bus::{ZeroMq, Zmtp, zmtp};
use fedmsg::endpoint::Endpoint;
use fedmsg::message::RawMessage;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    ZeroMq,
    Zmtp,
}

/// The limits of the victims: small, so that they are soon reached.
pub(super) const LIMITS: zmtp::Limits = zmtp::Limits {
    queue_bytes: 48 * 1024 * 1024,
    peer_bytes: 8 * 1024 * 1024,
    grace: Duration::from_millis(700),
    connections_per_address: 64,
    handshake: Duration::from_secs(1),
    ..zmtp::Limits::STANDARD
};

/// What a victim may take beside what it had at its beginning: its queue, and as much again for all the rest.
const MOST_MEMORY: u64 = 2 * 48 * 1024 * 1024;

/// How long an innocent peer may hear nothing. More than the grace; less than the crate waits for those that do not read.
const INNOCENT_PATIENCE: Duration = Duration::from_secs(8);

impl Engine {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ZeroMq => "zeromq",
            Self::Zmtp => "zmtp",
        }
    }

    fn transport(self) -> Box<dyn Transport> {
        match self {
            Self::ZeroMq => Box::new(ZeroMq::new(Bounds { queue_bytes: LIMITS.queue_bytes })),
            Self::Zmtp => Box::new(Zmtp::new(LIMITS)),
        }
    }
}

/// The test harness run again, for this one function: a process that can be harmed.
#[test]
#[ignore = "the process that the other tests attack"]
fn victim() {
    let Ok(what) = std::env::var("TEST_VICTIM") else { return };
    let words: Vec<&str> = what.split(' ').collect();
    let engine = if words[0] == "zmtp" { Engine::Zmtp } else { Engine::ZeroMq };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (asked, asks) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(_) = line.map(|line| asked.send(line)) else { return };
        }
    });
    match words[1] {
        "publish" => runtime.block_on(publish(engine, words[2].parse().unwrap(), &asks)),
        _ => runtime.block_on(subscribe(engine, &words[2..], &asks)),
    }
}

fn answer(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Should nobody listen, nobody misses it.
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

/// A message in a stream of them, of 1 KiB.
fn numbered(n: u64) -> RawMessage {
    RawMessage::new("a.b", format!("{n:01000}"))
}

fn number(message: &RawMessage) -> Option<u64> {
    std::str::from_utf8(message.parts.get(1)?).ok()?.parse().ok()
}

/// Publishes `rate` numbered messages a second, and answers what it is asked, to the end of its input.
async fn publish(engine: Engine, rate: u64, asks: &Receiver<String>) {
    let publisher = engine.transport().bind(&["tcp://127.0.0.1:0".parse().unwrap()]).await.unwrap();
    answer(&json!({"endpoint": publisher.endpoint().to_string()}));
    let begun = Instant::now();
    let mut sent: u64 = 0;
    loop {
        match asks.try_recv() {
            Ok(_) => answer(&json!({"sent": sent, "put_out": publisher.counts().put_out})),
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
        }
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * rate / 1_000_000;
        // What was missed while it waited for room is not made up for.
        let due = due.min(sent + rate / 10);
        while sent < due {
            publisher.send(numbered(sent)).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Counts the messages of a publisher, and the holes between them.
#[derive(Debug, Default)]
struct Heard {
    next: Option<u64>,
    count: u64,
    holes: u64,
}

impl Heard {
    fn hear(&mut self, message: &RawMessage) {
        let Some(number) = number(message) else { return };
        self.holes += u64::from(self.next.is_some_and(|next| next != number));
        (self.next, self.count) = (Some(number + 1), self.count + 1);
    }
}

async fn subscribe(engine: Engine, endpoints: &[&str], asks: &Receiver<String>) {
    let endpoints: Vec<Endpoint> = endpoints.iter().map(|e| e.parse().unwrap()).collect();
    let mut subscriber = engine.transport().connect(&endpoints, &["a".to_owned()]).await.unwrap();
    answer(&json!({"ready": true}));
    let mut heard = Heard::default();
    let links = subscriber.links();
    loop {
        match asks.try_recv() {
            Ok(_) => {
                let codes: Vec<_> = links.borrow().iter().map(|link| link.codes.clone()).collect();
                answer(&json!({"heard": heard.count, "holes": heard.holes, "codes": codes}));
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
        }
        if let Ok(received) = tokio::time::timeout(Duration::from_millis(20), subscriber.recv()).await {
            heard.hear(&received.unwrap().message);
        }
    }
}

/// A running victim.
#[derive(Debug)]
pub(super) struct Victim {
    child: Child,
    /// Its memory before it was attacked, in bytes.
    at_first: u64,
}

impl Victim {
    fn start(what: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test itself"));
        command.args(["--ignored", "--exact", "--nocapture", "hostile::victim::victim"]);
        let child = Child::spawn(command.env("TEST_VICTIM", what));
        Self { child, at_first: 0 }
    }

    /// A publisher, of so many messages a second, and where it is.
    pub(super) fn publisher(engine: Engine, rate: u64) -> (Self, Endpoint) {
        let mut victim = Self::start(&format!("{} publish {rate}", engine.name()));
        let endpoint =
            victim.answered("endpoint")["endpoint"].as_str().expect("a text").parse().expect("an endpoint");
        victim.at_first = victim.memory("VmRSS").expect("a running process");
        (victim, endpoint)
    }

    /// A subscriber to these.
    pub(super) fn subscriber(engine: Engine, endpoints: &[String]) -> Self {
        let mut victim = Self::start(&format!("{} subscribe {}", engine.name(), endpoints.join(" ")));
        victim.answered("ready");
        victim.at_first = victim.memory("VmRSS").expect("a running process");
        victim
    }

    fn answered(&mut self, field: &str) -> Value {
        self.answer(field).expect("an answer")
    }

    fn answer(&mut self, field: &str) -> Option<Value> {
        let object = |line: &str| serde_json::from_str::<Value>(line).ok().filter(|o| o.get(field).is_some());
        object(&self.child.line_or_none(|line| object(line).is_some())?)
    }

    /// What it says of itself, by an answer that has `field`.
    pub(super) fn status(&mut self, field: &str) -> Result<Value, String> {
        let asked = writeln!(self.child.input(), "status").is_ok();
        asked.then(|| self.answer(field)).flatten().ok_or_else(|| "the process has died".to_owned())
    }

    /// A line of its `/proc/PID/status`, in bytes.
    fn memory(&self, name: &str) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).map_err(|_| "the process has died".to_owned())?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| "the process has died".to_owned())
    }

    /// The most memory that it ever had beyond that of its beginning.
    pub(super) fn memory_taken(&self) -> Result<u64, String> {
        Ok(self.memory("VmHWM")?.saturating_sub(self.at_first))
    }

    pub(super) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Processor time that it has used, in clock ticks of a hundredth of a second (proc(5)).
    pub(super) fn ticks(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = text.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    /// Whether it lives, and took no more memory than it may.
    pub(super) fn is_whole(&mut self) -> Result<(), String> {
        if !self.child.is_running() {
            return Err("the process has died".to_owned());
        }
        let taken = self.memory_taken()?;
        if taken > MOST_MEMORY {
            return Err(format!("it took {} MiB of memory", taken >> 20));
        }
        Ok(())
    }
}

/// An honest subscriber of a publisher that is attacked, in a thread of the test's.
#[derive(Debug)]
pub(super) struct Innocent {
    heard: Arc<AtomicU64>,
    holes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Innocent {
    pub(super) fn subscribe(to: &Endpoint) -> Self {
        let (heard, holes, stop) = <(Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let (to, count, hole, end) = (to.clone(), Arc::clone(&heard), Arc::clone(&holes), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let transport = Zmtp::new(zmtp::Limits::STANDARD);
                let mut subscriber = transport.connect(&[to], &[String::new()]).await.unwrap();
                let mut so_far = Heard::default();
                while !end.load(Ordering::Relaxed) {
                    if let Ok(received) =
                        tokio::time::timeout(Duration::from_millis(50), subscriber.recv()).await
                    {
                        so_far.hear(&received.unwrap().message);
                        count.store(so_far.count, Ordering::Relaxed);
                        hole.store(so_far.holes, Ordering::Relaxed);
                    }
                }
            });
        });
        let innocent = Self { heard, holes, stop, thread: Some(thread) };
        until("the innocent to hear the publisher", || (innocent.heard() > 0).then_some(()));
        innocent
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether it still hears everything: `more` messages from now on, and no hole ever.
    pub(super) fn hears(&self, more: u64) -> Result<(), String> {
        let (goal, mut last, mut since) = (self.heard() + more, self.heard(), Instant::now());
        while self.heard() < goal {
            let now = self.heard();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > INNOCENT_PATIENCE {
                return Err(format!("an innocent subscriber heard nothing for {INNOCENT_PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        match self.holes.load(Ordering::Relaxed) {
            0 => Ok(()),
            holes => Err(format!("an innocent subscriber has {holes} holes in what it heard")),
        }
    }
}

impl Drop for Innocent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// An honest publisher beside one that lies, in a thread of the test's.
#[derive(Debug)]
pub(super) struct Honest {
    pub(super) endpoint: String,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Honest {
    pub(super) fn publish() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, (told, endpoint)) = (Arc::clone(&stop), channel());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let transport = Zmtp::new(zmtp::Limits::STANDARD);
                let publisher = transport.bind(&["tcp://127.0.0.1:0".parse().unwrap()]).await.unwrap();
                told.send(publisher.endpoint().to_string()).unwrap();
                let mut n = 0;
                while !end.load(Ordering::Relaxed) {
                    for _ in 0..4 {
                        publisher.send(numbered(n)).await.unwrap();
                        n += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        });
        Self { endpoint: endpoint.recv().unwrap(), stop, thread: Some(thread) }
    }

    /// Whether the victim still hears all of it.
    pub(super) fn is_heard_by(&self, victim: &mut Victim, more: u64) -> Result<(), String> {
        let count = |victim: &mut Victim| -> Result<u64, String> {
            let status = victim.status("heard")?;
            match status["holes"].as_u64() {
                Some(0) => Ok(status["heard"].as_u64().unwrap_or(0)),
                holes => Err(format!("{holes:?} holes in what it heard of an innocent publisher")),
            }
        };
        let goal = count(victim)? + more;
        let deadline = Instant::now() + PATIENCE;
        while count(victim)? < goal {
            if Instant::now() >= deadline {
                return Err("it hears no more of an innocent publisher".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// The address behind an endpoint on loopback.
pub(super) fn address(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], endpoint.tcp().expect("TCP").port()))
}
