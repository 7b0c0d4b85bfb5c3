//! A publisher on the bus in memory, with real signatures; its outbox in memory or in a file.

use super::*;
use crate::bus::transport::{Bounds, LinkState, Transport};
use crate::bus::{MemoryBus, Subscriber, Subscription};
use crate::config::WhenFull;
use crate::development::Development;
use crate::freshness::Window;
use crate::message::Unverified;
use crate::policy::Policy;
use crate::sign::Signer;
use crate::store::outbox::{Most, OutboxError, Retention, SqliteOutbox};
use crate::time::SystemClock;
use crate::topic::TopicPattern;
use crate::verify::{Legacy, Verifier};
use serde_json::{Value, json};
use std::path::Path;
use tokio::time::timeout;

const LIMITS: Limits = Limits::STANDARD;
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: Most = Most { messages: usize::MAX, bytes: u64::MAX };
const WEEK: Retention = Retention { age: Duration::from_secs(604_800), bytes: 1 << 30 };

const POLICY: &str = r#"
version = 1
serial = 1
[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.{env}.{service}.#"]
publishers = ["spiffe://example.org/*/*/*"]
"#;

const NO_HEARTBEATS: &str = r#"
version = 1
serial = 2
[[rule]]
id = "updates"
effect = "allow"
topics = ["org.*.*.update.*"]
publishers = ["spiffe://example.org/*/*/*"]
"#;

/// A bus, an authority, and a service on it.
struct World {
    bus: MemoryBus,
    development: Development,
    policy: LivePolicy,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let development = Development::new("example.org", SystemClock.now()).unwrap();
        Self { bus: MemoryBus::new(bounds), development, policy: policy(POLICY).into() }
    }

    async fn socket(&self) -> Box<dyn PublishSocket> {
        self.bus.bind(&["tcp://127.0.0.1:9".parse().unwrap()]).await.unwrap()
    }

    fn signer(&self) -> Signer {
        self.development.signer("prod", "bodhi", "app01").unwrap()
    }

    fn builder(&self) -> PublisherBuilder {
        Publisher::builder(self.signer(), "org.prod.bodhi", LIMITS).policy(self.policy.clone())
    }

    async fn subscriber(&self, pattern: &str) -> Subscriber {
        let subscription = Subscription::new([TopicPattern::parse_plain(pattern, &LIMITS).unwrap()]);
        let endpoints = ["tcp://127.0.0.1:9".parse().unwrap()];
        let socket = self.bus.connect(&endpoints, subscription.prefixes()).await.unwrap();
        let trust = Arc::new(self.development.trust().unwrap());
        let verifier = Verifier::new(trust, policy(POLICY), Legacy::Refused, LIMITS);
        Subscriber::new(socket, subscription, Arc::new(verifier), Window::STANDARD)
    }
}

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text, "policy.toml", &LIMITS).unwrap())
}

fn file(directory: &Path, signer: &Signer) -> SqliteOutbox {
    SqliteOutbox::open(&directory.join("o.sqlite"), signer.identity(), WEEK, SystemClock.now()).unwrap()
}

fn draft(publisher: &Publisher, msg: &Value) -> Draft {
    Draft::new(publisher.topic("update.comment").unwrap(), msg, &LIMITS).unwrap()
}

/// The next message: its place in its stream, and what it says.
async fn next(subscriber: &mut Subscriber) -> (StreamId, u64, Value) {
    let delivery = timeout(PATIENCE, subscriber.next()).await.expect("a message").unwrap();
    let (stream, seq) = delivery.message().position().unwrap();
    (stream, seq, serde_json::from_str(delivery.message().msg()).unwrap())
}

/// Whoever cannot be signed or kept is told so, and uses no number: the others are numbered without a hole, in order.
#[tokio::test]
async fn many_at_once_share_batches_and_keep_their_order() {
    let world = World::new(Bounds::STANDARD);
    let directory = tempfile::tempdir().unwrap();
    let outbox = file(directory.path(), &world.signer());
    let publisher = world.builder().outbox(Box::new(outbox)).start(world.socket().await).unwrap();
    let mut subscriber = world.subscriber("org.#").await;
    // Within the limit as it is, and over it with its envelope and proof.
    let large = json!("x".repeat(LIMITS.body_bytes - 64));
    let mut queued = Vec::new();
    for n in 0..400 {
        let msg = if n % 100 == 50 { large.clone() } else { json!(n) };
        queued.push(publisher.queue(draft(&publisher, &msg)).await.unwrap());
    }
    let (mut stream, mut kept) = (None, 0);
    for (n, queued) in queued.into_iter().enumerate() {
        let ended = timeout(PATIENCE, queued).await.unwrap();
        if n % 100 == 50 {
            assert!(matches!(ended, Err(PublishError::Sign(_))), "{ended:?}");
            continue;
        }
        let published = ended.unwrap();
        kept += 1;
        assert_eq!((published.seq, published.durability), (kept, Durability::Disk));
        assert_eq!(*stream.get_or_insert(published.stream), published.stream);
        assert_eq!(published.heard, (n == 0).then_some(true), "the first one only is waited for");
    }
    let counts = publisher.counts();
    assert_eq!((counts.published, counts.failed, counts.unsent), (396, 4, 0));
    assert!(counts.batches < 300, "{counts:?}");

    let slice = publisher.outbox().await.unwrap().range(stream.unwrap(), 1, u64::MAX, ALL).unwrap().unwrap();
    let mut expected = (0..400).filter(|n| n % 100 != 50);
    for (kept, seq) in slice.messages.iter().zip(1..) {
        assert_eq!(next(&mut subscriber).await, (stream.unwrap(), seq, json!(expected.next().unwrap())));
        let message = Unverified::parse(kept.raw(), &LIMITS).unwrap();
        assert_eq!(message.claimed_position(), Some((stream.unwrap(), seq)));
        assert_eq!(message.claimed_msg_id(), &kept.msg_id);
    }
    assert_eq!((slice.messages.len(), expected.next()), (396, None));
    publisher.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_on_disk_goes_on_and_one_in_memory_does_not() {
    let world = World::new(Bounds::STANDARD);
    let directory = tempfile::tempdir().unwrap();
    let mut streams = Vec::new();
    for round in 1..=3 {
        let outbox = file(directory.path(), &world.signer());
        let on_disk = world.builder().outbox(Box::new(outbox)).start(world.socket().await).unwrap();
        let published = on_disk.publish("update.comment", &json!({})).await.unwrap();
        // Nobody heard it, and it is there all the same.
        assert_eq!((published.seq, published.heard), (round, Some(false)));
        streams.push(published.stream);
        // The outbox is free when it is closed, and soon after it was dropped.
        if round == 2 {
            drop(on_disk)
        } else {
            on_disk.close().await.unwrap()
        }
        if round == 2 {
            let endpoint = "tcp://127.0.0.1:9".parse().unwrap();
            while world.bus.bind(std::slice::from_ref(&endpoint)).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(streams.iter().all(|stream| *stream == streams[0]));
    for _ in 0..2 {
        let in_memory = world.builder().start(world.socket().await).unwrap();
        let published = in_memory.publish("update.comment", &json!({})).await.unwrap();
        assert_eq!((published.seq, published.durability), (1, Durability::Memory));
        assert!(!streams.contains(&published.stream));
        streams.push(published.stream);
        in_memory.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_sent_and_uses_no_number() {
    let world = World::new(Bounds::STANDARD);
    let directory = tempfile::tempdir().unwrap();
    let outbox = file(directory.path(), &world.signer());
    let publisher = world.builder().outbox(Box::new(outbox)).start(world.socket().await).unwrap();
    let mut subscriber = world.subscriber("org.#").await;
    publisher.publish("update.comment", &json!("one")).await.unwrap();
    // Somebody else writes to the file, and takes too long.
    let other = rusqlite::Connection::open(directory.path().join("o.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let lost = publisher.publish("update.comment", &json!("lost")).await;
    let Err(PublishError::Outbox(fault)) = lost else { panic!("{lost:?}") };
    assert!(matches!(&*fault, OutboxError::Sqlite { .. }), "{fault}");
    other.execute_batch("ROLLBACK").unwrap();
    let two = publisher.publish("update.comment", &json!("two")).await.unwrap();
    assert_eq!(two.seq, 2);
    for (seq, msg) in [(1, "one"), (2, "two")] {
        assert_eq!(next(&mut subscriber).await, (two.stream, seq, json!(msg)));
    }
    assert_eq!(publisher.counts().failed, 1);
}

#[tokio::test]
async fn the_first_message_waits_for_its_subscriber_and_holds_up_nobody() {
    let world = World::new(Bounds::STANDARD);
    let publisher = world.builder().subscriber_wait(PATIENCE).start(world.socket().await).unwrap();
    let first = publisher.queue(draft(&publisher, &json!(1))).await.unwrap();
    let second = publisher.publish("update.comment", &json!(2)).await.unwrap();
    assert_eq!((second.seq, second.heard), (2, None), "it is kept, behind the first");
    let mut subscriber = world.subscriber("org.prod.bodhi.update.#").await;
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap().heard, Some(true));
    for seq in 1..=2 {
        assert_eq!(next(&mut subscriber).await, (second.stream, seq, json!(seq)));
    }
    let denied = publisher.publish_draft(
        Draft::new(Topic::parse("org.prod.wiki.page.edit", &LIMITS).unwrap(), &json!({}), &LIMITS).unwrap(),
    );
    assert!(matches!(denied.await, Err(PublishError::Policy { .. })));
    publisher.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_the_caller_wait_or_says_so() {
    const QUEUE: u32 = 64 * 1024;
    for when_full in [WhenFull::Refuse, WhenFull::Wait] {
        // A subscriber that reads nothing, with little room.
        let world = World::new(Bounds { queue_bytes: QUEUE });
        let patience = Duration::from_millis(50);
        let publisher =
            world.builder().queue(QUEUE, when_full, patience).start(world.socket().await).unwrap();
        let mut subscriber = world.subscriber("org.#").await;
        let mut published = 0;
        let refused = loop {
            match publisher.publish("update.comment", &json!("x".repeat(8_000))).await {
                Ok(_) => published += 1,
                Err(error) => break error,
            }
            assert!(published < 32, "there is no bound");
        };
        let PublishError::Full { limit: QUEUE, waited } = refused else { panic!("{refused}") };
        assert_eq!(waited, (when_full == WhenFull::Wait).then_some(patience));
        assert_eq!((publisher.counts().full, publisher.counts().published), (1, published));
        // Once it reads, there is room again, and nothing of what was published is missing.
        for seq in 1..=published {
            assert_eq!(next(&mut subscriber).await.1, seq);
        }
        let after = publisher.publish("update.comment", &json!("after")).await.unwrap();
        assert_eq!((after.seq, next(&mut subscriber).await.1), (published + 1, published + 1));
    }
}

#[tokio::test]
async fn heartbeats_tell_of_the_newest_and_the_policy_may_forbid_them() {
    let world = World::new(Bounds::STANDARD);
    let socket = world.socket().await;
    let mut all = world.subscriber("#").await;
    let mut subscriber = world.subscriber("org.prod.bodhi.bus.heartbeat").await;
    subscriber.links().wait_for(|links| links[0].state == LinkState::Connected).await.unwrap();
    let publisher = world.builder().heartbeat(Duration::from_millis(20)).start(socket).unwrap();
    let (beats, seq, first) = next(&mut subscriber).await;
    assert_eq!(
        (seq, &first["oldest"], &first["newest"], &first["interval"]),
        (1, &json!(1), &json!(0), &json!(1))
    );
    let published = publisher.publish("update.comment", &json!({})).await.unwrap();
    assert_ne!(published.stream, beats, "a stream of its own");
    let mut expected = 2;
    loop {
        let (stream, seq, beat) = next(&mut subscriber).await;
        assert_eq!((stream, seq, &beat["stream"]), (beats, expected, &json!(published.stream.to_string())));
        expected += 1;
        if beat["newest"] == json!(1) {
            break;
        }
    }
    // It goes by the policy of the moment.
    world.policy.replace(policy(NO_HEARTBEATS)).unwrap();
    publisher.publish("update.comment", &json!({})).await.unwrap();
    let slice = publisher.outbox().await.unwrap().range(published.stream, 1, 9, ALL).unwrap().unwrap();
    assert_eq!(slice.messages.len(), 2, "no heartbeat is kept");
    publisher.close().await.unwrap();
    // Whoever did not ask for heartbeats is not bothered, and they are counted.
    for seq in 1..=2 {
        assert_eq!(next(&mut all).await.1, seq);
    }
    assert!(all.counts().heartbeats >= 2 && all.counts().delivered == 2, "{:?}", all.counts());
}

#[tokio::test]
async fn the_last_heartbeat_says_how_far_it_got() {
    let world = World::new(Bounds::STANDARD);
    let socket = world.socket().await;
    let mut subscriber = world.subscriber("org.prod.bodhi.bus.heartbeat").await;
    let publisher = world.builder().heartbeat(Duration::from_secs(3_600)).start(socket).unwrap();
    publisher.publish("update.comment", &json!({})).await.unwrap();
    publisher.publish("update.comment", &json!({})).await.unwrap();
    publisher.close().await.unwrap();
    for newest in [0, 2] {
        let (_, _, beat) = next(&mut subscriber).await;
        assert_eq!((&beat["newest"], &beat["interval"]), (&json!(newest), &json!(3_600)));
    }
}
