//! A named consumer: what it missed is asked for, in order and marked; its place outlives it; and nothing comes in by that
//! door that would not come in by the other.

use crate::support::{PATIENCE, temp_dir};
use async_trait::async_trait;
use fedmsg::bus::replay::{Found, ReplaySource, Reply};
use fedmsg::bus::stream::{GapReason, StreamKey, StreamLimits};
use fedmsg::bus::transport::{Bounds, PublishSocket, Transport};
use fedmsg::bus::{Begin, Event, MemoryBus, Origin, Subscriber, Subscription};
use fedmsg::development::Development;
use fedmsg::endpoint::Endpoint;
use fedmsg::freshness::Window;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Stamp, StreamId};
use fedmsg::policy::Policy;
use fedmsg::sign::Signer;
use fedmsg::store::consumer::ConsumerStore;
use fedmsg::time::{Clock, Timestamp};
use fedmsg::topic::{Topic, TopicPattern};
use fedmsg::verify::{Legacy, Verifier};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

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

#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// Everything that was published, as an outbox has it; and what its replay endpoint makes of it.
#[derive(Debug, Default)]
struct Kept {
    /// By `seq`, from 1.
    messages: Mutex<Vec<RawMessage>>,
    /// Everything up to and with this was let go.
    gone: Mutex<u64>,
    /// What the endpoint hands out instead.
    instead: Mutex<Option<Vec<RawMessage>>>,
    asked: Mutex<Vec<(u64, Option<u64>)>>,
}

#[async_trait]
impl ReplaySource for Kept {
    async fn ask(&self, _key: &StreamKey, from: u64, to: Option<u64>) -> Reply {
        self.asked.lock().unwrap().push((from, to));
        let (messages, gone) = (self.messages.lock().unwrap(), *self.gone.lock().unwrap());
        let to = to.unwrap_or(u64::MAX).min(u64::try_from(messages.len()).unwrap());
        let at = |seq: u64| messages[usize::try_from(seq).unwrap() - 1].clone();
        let instead = self.instead.lock().unwrap().clone();
        Reply::Found(Found {
            endpoint: Arc::new("tcp://127.0.0.1:1".parse().unwrap()),
            messages: instead.unwrap_or_else(|| (from.max(gone + 1)..=to).map(at).collect()),
            gone: if from <= gone { vec![(from, gone)] } else { vec![] },
            next: None,
        })
    }
}

struct World {
    bus: MemoryBus,
    endpoint: Endpoint,
    socket: Box<dyn PublishSocket>,
    development: Development,
    signer: Signer,
    stream: StreamId,
    beats: u64,
    kept: Arc<Kept>,
    clock: Arc<SetClock>,
    directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(SetClock(AtomicI64::new(1_800_000_000)));
        let development = Development::new("example.org", clock.now()).unwrap();
        let signer = development.signer("prod", "bodhi", "app01").unwrap();
        let bus = MemoryBus::new(Bounds::STANDARD);
        let endpoint: Endpoint = "tcp://127.0.0.1:9".parse().unwrap();
        let socket = bus.bind(std::slice::from_ref(&endpoint)).await.unwrap();
        let (stream, beats) = (StreamId::new([7; 16]), 0);
        let (kept, directory) = (Arc::new(Kept::default()), temp_dir());
        Self { bus, endpoint, socket, development, signer, stream, beats, kept, clock, directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("consumer.sqlite")
    }

    fn verifier(&self) -> Arc<Verifier> {
        let policy = Policy::parse(POLICY, "policy.toml", &LIMITS).unwrap();
        let trust = Arc::new(self.development.trust().unwrap());
        Arc::new(Verifier::new(trust, Arc::new(policy), Legacy::Refused, LIMITS))
    }

    async fn consumer(&self, begin: Begin) -> Subscriber {
        let pattern = TopicPattern::parse_plain("org.example.prod.bodhi.update.#", &LIMITS).unwrap();
        let subscription = Subscription::new([pattern]);
        let prefixes = subscription.service_prefixes(4);
        let socket = self.bus.connect(std::slice::from_ref(&self.endpoint), &prefixes).await.unwrap();
        let store = ConsumerStore::open(&self.file()).unwrap();
        let limits = StreamLimits { first_wait: Duration::from_millis(1), ..StreamLimits::STANDARD };
        Subscriber::new(socket, subscription, self.verifier(), Window::STANDARD)
            .with_clock(self.clock.clone())
            .named(store, self.kept.clone(), begin, limits)
            .unwrap()
    }

    fn sign(&self, topic: &str, msg: &serde_json::Value, stream: StreamId, seq: u64) -> RawMessage {
        let topic = Topic::parse(format!("org.example.prod.bodhi.{topic}"), &LIMITS).unwrap();
        let mut random = [stream.to_string().as_bytes()[0]; 16];
        random[8..].copy_from_slice(&seq.to_be_bytes());
        let msg_id = MessageId::new(2027, random);
        let stamp = Stamp { timestamp: self.clock.now(), msg_id, i: seq, stream, seq };
        self.signer.sign(Draft::new(topic, msg, &LIMITS).unwrap().seal(&stamp)).unwrap().into_raw()
    }

    /// Publishes the next message into the outbox, and does not send it.
    fn keep(&self, topic: &str) -> RawMessage {
        let mut messages = self.kept.messages.lock().unwrap();
        let seq = u64::try_from(messages.len()).unwrap() + 1;
        let message = self.sign(topic, &seq.into(), self.stream, seq);
        messages.push(message.clone());
        message
    }

    async fn publish(&self, topic: &str) {
        self.send(self.keep(topic)).await;
    }

    async fn send(&self, message: RawMessage) {
        self.socket.send(message).await.unwrap();
    }

    async fn beat(&mut self) {
        let newest = self.kept.messages.lock().unwrap().len();
        let msg = serde_json::json!({
            "stream": self.stream.to_string(), "oldest": 1, "newest": newest, "interval": 5,
        });
        self.beats += 1;
        let message = self.sign("bus.heartbeat", &msg, StreamId::new([0xbe; 16]), self.beats);
        self.send(message).await;
    }

    fn later(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// What it hears next, in few words: `5` for a live message, `5r` for a replayed one.
async fn hear(consumer: &mut Subscriber) -> String {
    let event = timeout(PATIENCE, consumer.event()).await.expect("something to hear").unwrap();
    match event {
        Event::Delivery(delivery) => {
            let live = matches!(delivery.origin(), Origin::Live(_));
            format!("{}{}", delivery.message().msg(), if live { "" } else { "r" })
        }
        Event::Gap(gap) => format!("gap {}-{} {}", gap.from, gap.to, gap.reason.as_str()),
        Event::Rejected(_, rejected) => rejected.code().to_string(),
        Event::Silent { signer, .. } => format!("silent {signer}"),
    }
}

async fn hear_all(consumer: &mut Subscriber, expected: &[&str]) {
    for expected in expected {
        assert_eq!(hear(consumer).await, *expected);
    }
}

#[tokio::test]
async fn a_hole_is_filled_in_order_and_what_fills_it_is_marked() {
    let world = World::new().await;
    let mut consumer = world.consumer(Begin::Last).await;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["1"]).await;
    // Two are lost, one of them of a topic that nobody asked for.
    world.keep("update.comment");
    world.keep("build.done");
    world.publish("update.comment").await;
    world.publish("build.done").await;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["2r", "4", "6"]).await;
    assert_eq!(*world.kept.asked.lock().unwrap(), [(2, Some(3))]);
    assert_eq!((consumer.counts().delivered, consumer.counts().replayed), (4, 1));
}

#[tokio::test]
async fn a_consumer_goes_on_where_it_was_an_hour_later() {
    let mut world = World::new().await;
    let mut consumer = world.consumer(Begin::Last).await;
    for _ in 0..3 {
        world.publish("update.comment").await;
    }
    // The second `next` says that the first message is dealt with; of the second, nothing was said.
    for expected in ["1", "2"] {
        let delivery = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        assert_eq!(delivery.message().msg(), expected);
    }
    drop(consumer);
    world.keep("update.comment");
    world.later(3600);
    world.publish("update.comment").await;

    let mut consumer = world.consumer(Begin::Last).await;
    hear_all(&mut consumer, &["2r", "3r", "4r", "5r"]).await;
    consumer.acknowledge().unwrap();
    // What is live and delivered already is refused, whoever sends it.
    let seen = world.kept.messages.lock().unwrap()[4].clone();
    world.send(seen).await;
    hear_all(&mut consumer, &["replayed-seq"]).await;
    // The end that is lost shows by the heartbeat alone, which nobody is shown.
    world.keep("update.comment");
    world.beat().await;
    hear_all(&mut consumer, &["6r"]).await;
    assert_eq!(consumer.counts().heartbeats, 1);
    consumer.acknowledge().unwrap();
    drop(consumer);

    let mut consumer = world.consumer(Begin::Seq(5)).await;
    hear_all(&mut consumer, &["5r", "6r"]).await;
    drop(consumer);
    let hour = world.clock.now().plus_seconds(-1800);
    let mut consumer = world.consumer(Begin::Since(hour)).await;
    hear_all(&mut consumer, &["5r", "6r"]).await;
    drop(consumer);
    *world.kept.gone.lock().unwrap() = 3;
    let mut consumer = world.consumer(Begin::Oldest).await;
    hear_all(&mut consumer, &["4r", "5r", "6r"]).await;
}

#[tokio::test]
async fn what_its_publisher_no_longer_has_is_told_and_the_rest_follows() {
    let world = World::new().await;
    let mut consumer = world.consumer(Begin::Last).await;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["1"]).await;
    for _ in 0..4 {
        world.keep("update.comment");
    }
    *world.kept.gone.lock().unwrap() = 3;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["gap 2-3 gone", "4r", "5r", "6"]).await;
    assert_eq!(consumer.stream_counts().unwrap().gaps[&GapReason::Gone], 2);
}

/// Whoever answers in the endpoint's place can keep a message back, which is told; he cannot put one in.
#[tokio::test]
async fn a_lying_endpoint_brings_nothing_in() {
    let world = World::new().await;
    let mut consumer = world.consumer(Begin::Last).await;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["1"]).await;
    let right = world.keep("update.comment");
    let mut altered = right.clone();
    altered.parts[1] =
        String::from_utf8(right.parts[1].to_vec()).unwrap().replace("\"msg\":2", "\"msg\":9").into();
    let other_stream = world.sign("update.comment", &9.into(), StreamId::new([9; 16]), 2);
    let koji = world.development.signer("prod", "koji", "app01").unwrap();
    let topic = Topic::parse("org.example.prod.koji.build", &LIMITS).unwrap();
    let stamp = Stamp {
        timestamp: world.clock.now(),
        msg_id: MessageId::new(2027, [9; 16]),
        i: 2,
        stream: world.stream,
        seq: 2,
    };
    let other_signer = koji.sign(Draft::new(topic, &9, &LIMITS).unwrap().seal(&stamp)).unwrap().into_raw();
    let seen = world.kept.messages.lock().unwrap()[0].clone();
    *world.kept.instead.lock().unwrap() = Some(vec![altered, other_stream, other_signer, seen]);
    world.publish("update.comment").await;
    for _ in 0..3 {
        assert_eq!(hear(&mut consumer).await, "signature-invalid");
    }
    hear_all(&mut consumer, &["gap 2-2 unusable-answers", "3"]).await;
}

/// History is judged as of its time, but by the revocation lists of today.
#[tokio::test]
async fn what_was_signed_before_its_certificate_was_revoked_is_refused_all_the_same() {
    let mut world = World::new().await;
    world.development.set_lifetime(Duration::from_secs(7200));
    world.signer = world.development.signer("prod", "bodhi", "app01").unwrap();
    let mut consumer = world.consumer(Begin::Last).await;
    world.publish("update.comment").await;
    hear_all(&mut consumer, &["1"]).await;
    consumer.acknowledge().unwrap();
    drop(consumer);
    world.keep("update.comment");
    // Two days later the certificate has ended and the lists were made anew: it was valid when it signed.
    world.later(2 * 86_400);
    world.development.set_time(world.clock.now());
    let mut consumer = world.consumer(Begin::Last).await;
    hear_all(&mut consumer, &["2r"]).await;
    drop(consumer);
    world.development.revoke(&world.signer).unwrap();
    let mut consumer = world.consumer(Begin::Last).await;
    hear_all(&mut consumer, &["certificate-revoked"]).await;
}
