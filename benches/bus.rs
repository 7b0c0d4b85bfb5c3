//! One publisher, one consumer, over TCP on loopback in one process: signed, verified and fresh, from `publish` to the
//! delivery.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg::bus::transport::{Bounds, LinkState, PublishSocket, Transport};
use fedmsg::bus::{Publisher, Subscriber, Subscription, ZeroMq};
use fedmsg::development::Development;
use fedmsg::freshness::Window;
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use fedmsg::time::{Clock, SystemClock};
use fedmsg::topic::TopicPattern;
use fedmsg::verify::{Legacy, Verifier};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

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

async fn bus() -> (Publisher, Subscriber) {
    let development = Development::new("example.org", SystemClock.now()).unwrap();
    let policy = Arc::new(Policy::parse(POLICY, "policy.toml", &LIMITS).unwrap());
    let transport = ZeroMq::new(Bounds::STANDARD);
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

fn end_to_end(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let msg = serde_json::json!({"update": "EXAMPLE-2026-3f9a1c", "text": "x".repeat(960)});
    let mut group = c.benchmark_group("end to end, 1 KiB");
    group.throughput(Throughput::Elements(1));
    let (publisher, mut subscriber) = runtime.block_on(bus());
    group.bench_function("one at a time", |b| {
        b.iter(|| {
            runtime.block_on(async {
                publisher.publish("update.comment", &msg).await.unwrap();
                subscriber.next().await.unwrap()
            })
        });
    });
    group.bench_function("as fast as it goes", |b| {
        b.iter_custom(|count| {
            runtime.block_on(async {
                let begun = Instant::now();
                let publish = async {
                    for _ in 0..count {
                        publisher.publish("update.comment", &msg).await.unwrap();
                    }
                };
                let consume = async {
                    for _ in 0..count {
                        subscriber.next().await.unwrap();
                    }
                };
                tokio::join!(publish, consume);
                begun.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
