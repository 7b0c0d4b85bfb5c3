//! One publisher, one consumer, over TCP on loopback in one process: signed, verified and fresh, from `publish` to the
//! delivery; and what publishing alone costs, kept in memory and on the disk.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg::bus::transport::{Bounds, LinkState, PublishSocket, Transport};
use fedmsg::bus::{MemoryBus, Publisher, Subscriber, Subscription, Zmtp, zmtp};
use fedmsg::development::Development;
use fedmsg::freshness::Window;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, Stamp, StreamId};
use fedmsg::policy::Policy;
use fedmsg::sign::Signer;
use fedmsg::store::outbox::{Outbox, Retention, SqliteOutbox};
use fedmsg::time::{Clock, SystemClock};
use fedmsg::topic::{Topic, TopicPattern};
use fedmsg::verify::{Legacy, Verifier};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const LIMITS: Limits = Limits::STANDARD;

const POLICY: &str = r#"
version = 1
serial = 1
[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.example.{env}.{service}.#"]
publishers = ["spiffe://example.org/*/*/*"]
"#;

fn msg() -> Value {
    serde_json::json!({"update": "EXAMPLE-2026-3f9a1c", "text": "x".repeat(960)})
}

async fn bus() -> (Publisher, Subscriber) {
    let development = Development::new("example.org", SystemClock.now()).unwrap();
    let policy = Arc::new(Policy::parse(POLICY, "policy.toml", &LIMITS).unwrap());
    let transport = Zmtp::new(zmtp::Limits::STANDARD);
    let socket: Box<dyn PublishSocket> =
        transport.bind(&["tcp://127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let endpoint = socket.endpoint().clone();
    let signer = development.signer("prod", "bodhi", "app01").unwrap();
    let prefix = "org.example.prod.bodhi".to_owned();
    let publisher = Publisher::builder(signer, prefix, LIMITS)
        .policy(Arc::clone(&policy))
        .subscriber_wait(Duration::from_secs(5))
        .start(socket)
        .unwrap();
    let subscription = Subscription::new([TopicPattern::parse_plain("org.example.#", &LIMITS).unwrap()]);
    let socket = transport.connect(&[endpoint], subscription.prefixes()).await.unwrap();
    let trust = Arc::new(development.trust().unwrap());
    let verifier = Arc::new(Verifier::new(trust, policy, Legacy::Refused, LIMITS));
    let subscriber = Subscriber::new(socket, subscription, verifier, Window::STANDARD);
    subscriber.links().wait_for(|links| links[0].state == LinkState::Connected).await.unwrap();
    (publisher, subscriber)
}

/// How a publisher is asked.
enum Asked {
    /// For the next message when the last one is kept.
    One,
    /// By so many tasks, each for one at a time.
    AtOnce(u64),
    /// By one task, for as many as there is room for.
    Queued,
}

impl Asked {
    async fn measure(&self, publisher: &Arc<Publisher>, msg: &Value, count: u64) -> Duration {
        let begun = Instant::now();
        match *self {
            Self::One => publish(publisher, msg, count).await,
            Self::AtOnce(tasks) => {
                let (mut all, share) = (JoinSet::new(), count.div_ceil(tasks));
                for _ in 0..tasks {
                    let (publisher, msg) = (Arc::clone(publisher), msg.clone());
                    all.spawn(async move { publish(&publisher, &msg, share).await });
                }
                all.join_all().await;
                return of(begun.elapsed(), count, share * tasks);
            }
            Self::Queued => {
                let mut under_way = Vec::new();
                for _ in 0..count {
                    let draft = Draft::new(publisher.topic("update.comment").unwrap(), msg, &LIMITS).unwrap();
                    under_way.push(publisher.queue(draft).await.unwrap());
                }
                for queued in under_way {
                    queued.await.unwrap();
                }
            }
        }
        begun.elapsed()
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one at a time"),
            Self::AtOnce(tasks) => write!(f, "{tasks} at once"),
            Self::Queued => f.write_str("queued"),
        }
    }
}

async fn publish(publisher: &Publisher, msg: &Value, count: u64) {
    for _ in 0..count {
        publisher.publish("update.comment", msg).await.unwrap();
    }
}

fn end_to_end(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let msg = msg();
    let mut group = c.benchmark_group("end to end, 1 KiB");
    group.throughput(Throughput::Elements(1));
    let (publisher, mut subscriber) = runtime.block_on(bus());
    let publisher = Arc::new(publisher);
    group.bench_function("one at a time", |b| {
        b.iter(|| {
            runtime.block_on(async {
                publisher.publish("update.comment", &msg).await.unwrap();
                subscriber.next().await.unwrap()
            })
        });
    });
    for (name, asked) in [("as fast as it goes", Asked::One), ("as fast as it goes, queued", Asked::Queued)] {
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                runtime.block_on(async {
                    let begun = Instant::now();
                    let consume = async {
                        for _ in 0..count {
                            subscriber.next().await.unwrap();
                        }
                    };
                    tokio::join!(asked.measure(&publisher, &msg, count), consume);
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// The time of `count`, where `done` took `elapsed`.
fn of(elapsed: Duration, count: u64, done: u64) -> Duration {
    let number = |n: u64| f64::from(u32::try_from(n).unwrap());
    elapsed.mul_f64(number(count) / number(done))
}

/// A publisher that nobody listens to, so that what it costs is its own: signing, keeping, answering.
async fn unheard(outbox: Option<Box<dyn Outbox>>, signer: Signer) -> Publisher {
    let endpoint = ["tcp://127.0.0.1:9940".parse().unwrap()];
    let socket = MemoryBus::new(Bounds::STANDARD).bind(&endpoint).await.unwrap();
    let builder = Publisher::builder(signer, "org.example.prod.bodhi", LIMITS);
    match outbox {
        Some(outbox) => builder.outbox(outbox).start(socket).unwrap(),
        None => builder.start(socket).unwrap(),
    }
}

fn publishing(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let development = Development::new("example.org", SystemClock.now()).unwrap();
    let signer = || development.signer("prod", "bodhi", "app01").unwrap();
    let (msg, directory) = (msg(), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let mut group = c.benchmark_group("publish, 1 KiB");
    group.throughput(Throughput::Elements(1));

    // What it is measured beside: the signature alone, from draft to frames; and what the disk takes for as many bytes.
    let (alone, topic) = (signer(), Topic::parse("org.example.prod.bodhi.update.comment", &LIMITS).unwrap());
    group.bench_function("sign alone", |b| {
        let draft = Draft::new(topic.clone(), &msg, &LIMITS).unwrap();
        let msg_id = MessageId::new(2026, [7; 16]);
        let stamp =
            Stamp { timestamp: SystemClock.now(), msg_id, i: 1, stream: StreamId::new([7; 16]), seq: 1 };
        b.iter(|| alone.sign(draft.seal(&stamp)).unwrap());
    });
    let mut bare = File::create(directory.path().join("bare")).unwrap();
    for (name, messages) in [("bare flush of one", 1_u32), ("bare flush of 64, a message", 64)] {
        let bytes = [0x55; 2048].repeat(usize::try_from(messages).unwrap());
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let begun = Instant::now();
                let flushes = count.div_ceil(u64::from(messages));
                for _ in 0..flushes {
                    bare.write_all(&bytes).unwrap();
                    bare.sync_data().unwrap();
                }
                of(begun.elapsed(), count, flushes * u64::from(messages))
            });
        });
    }

    let on_disk = |name: &str, bytes: u64| -> Option<Box<dyn Outbox>> {
        let retention = Retention { age: Duration::from_secs(604_800), bytes };
        let path = directory.path().join(name);
        let opened = SqliteOutbox::open(&path, signer().identity(), retention, SystemClock.now());
        Some(Box::new(opened.unwrap()))
    };
    let all = [Asked::One, Asked::AtOnce(64), Asked::AtOnce(256), Asked::Queued];
    for (kept, outbox, asked) in [
        ("memory", None, &all[..]),
        ("disk", on_disk("large.sqlite", 64 << 30), &all[..]),
        ("disk, while as much falls out", on_disk("small.sqlite", 8 << 20), &[Asked::AtOnce(64)]),
    ] {
        let publisher = Arc::new(runtime.block_on(unheard(outbox, signer())));
        for asked in asked {
            group.bench_function(format!("{kept}, {asked}"), |b| {
                b.iter_custom(|count| runtime.block_on(asked.measure(&publisher, &msg, count)));
            });
        }
        runtime.block_on(Arc::into_inner(publisher).unwrap().close()).unwrap();
    }
    group.finish();
}

criterion_group!(benches, end_to_end, publishing);
criterion_main!(benches);
