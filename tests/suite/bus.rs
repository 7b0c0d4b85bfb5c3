//! The bus over real sockets, and the bus in memory: one suite over both, then what only sockets can show.
//!
//! Everything waits for a condition. [`PATIENCE`] is only ever spent by a failure.

use crate::support::{PATIENCE, free_endpoints, free_ports, temp_dir};
use fedmsg::bus::transport::{
    BindError, Bounds, CloseError, LinkState, PublishSocket, SendError, SubscribeSocket, Transport,
};
use fedmsg::bus::{MemoryBus, Selection, Subscription, ZeroMq, Zmtp, zmtp};
use fedmsg::endpoint::Endpoint;
use fedmsg::limits::Limits;
use fedmsg::message::RawMessage;
use fedmsg::topic::TopicPattern;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Every engine.
fn engines() -> Vec<Box<dyn Transport>> {
    let mut engines = Vec::from(networks(Bounds::STANDARD));
    engines.push(Box::new(MemoryBus::new(Bounds::STANDARD)));
    engines
}

/// The engines with sockets.
fn networks(bounds: Bounds) -> [Box<dyn Transport>; 2] {
    let limits = zmtp::Limits { queue_bytes: bounds.queue_bytes, ..zmtp::Limits::STANDARD };
    [Box::new(Zmtp::new(limits)), Box::new(ZeroMq::new(bounds))]
}

/// `count` endpoints of which nobody knows.
fn endpoints(count: usize) -> Vec<Endpoint> {
    free_endpoints(count).iter().map(|e| e.parse().unwrap()).collect()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

async fn body(subscriber: &mut Box<dyn SubscribeSocket>) -> String {
    let received = soon("a message", subscriber.recv()).await.unwrap();
    String::from_utf8(received.message.parts[1].to_vec()).unwrap()
}

fn message(topic: &'static str, body: impl Into<String>) -> RawMessage {
    RawMessage::new(topic, body.into())
}

async fn connect(bus: &dyn Transport, to: &[Endpoint], prefix: &str) -> Box<dyn SubscribeSocket> {
    bus.connect(to, &[prefix.to_owned()]).await.unwrap()
}

async fn first(publisher: &dyn PublishSocket, topic: &'static str, body: &str) {
    publisher.send_to_subscriber(message(topic, body), PATIENCE).await.unwrap();
}

async fn close(publisher: &dyn PublishSocket) {
    publisher.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_first_message_needs_no_sleep() {
    for bus in engines() {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let mut subscriber = connect(&*bus, &at, "a.").await;
        let start = Instant::now();
        first(&*publisher, "a.b", "one").await;
        publisher.send(message("a.b", "two")).await.unwrap();
        assert_eq!(body(&mut subscriber).await, "one", "{bus:?}");
        eprintln!("measured: connect to first message {:?}", start.elapsed());
        let received = soon("a message", subscriber.recv()).await.unwrap();
        assert_eq!((&*received.endpoint, received.message), (&at[0], message("a.b", "two")));
        assert_eq!(*publisher.peers().borrow(), 1);
        let counts = publisher.counts();
        assert_eq!((counts.taken, counts.unwanted), (2, 0));
        close(&*publisher).await;
        assert_eq!(publisher.send(message("a.b", "three")).await, Err(SendError::Closed));
    }
}

#[tokio::test]
async fn a_busy_endpoint_gives_way_to_the_next() {
    for bus in engines() {
        let at = endpoints(2);
        let one = bus.bind(&at).await.unwrap();
        let two = bus.bind(&at).await.unwrap();
        assert_eq!((one.endpoint(), two.endpoint()), (&at[0], &at[1]));
        assert_eq!(bus.bind(&at).await.unwrap_err(), BindError::AllInUse(at.clone()));
        assert_eq!(bus.bind(&[]).await.unwrap_err(), BindError::NoEndpoint);
        let mut subscriber = connect(&*bus, &at, "").await;
        first(&*one, "a", "one").await;
        first(&*two, "a", "two").await;
        let mut bodies = [body(&mut subscriber).await, body(&mut subscriber).await];
        bodies.sort();
        assert_eq!(bodies, ["one", "two"]);
        close(&*one).await;
        // What was closed is free, but for a child of another test that began just then and has not run its program yet.
        let freed = async {
            while bus.bind(&at[..1]).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon("what was closed to be free", freed).await;
    }
}

#[tokio::test]
async fn a_subscriber_may_be_there_before_its_publisher_and_after() {
    for bus in engines() {
        let at = endpoints(1);
        let mut subscriber = connect(&*bus, &at, "a").await;
        for round in ["first", "second", "third"] {
            let publisher = bus.bind(&at).await.unwrap();
            let start = Instant::now();
            first(&*publisher, "a", round).await;
            assert_eq!(body(&mut subscriber).await, round);
            eprintln!("measured: {round} start of the publisher to its message {:?}", start.elapsed());
            assert!(start.elapsed() < Duration::from_millis(1500), "{bus:?} {round}: {:?}", start.elapsed());
            close(&*publisher).await;
        }
        assert!(subscriber.links().borrow()[0].connected >= 3);
    }
}

#[tokio::test]
async fn whom_nobody_asked_for_waits_in_vain() {
    for bus in engines() {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let mut subscriber = connect(&*bus, &at, "a.b").await;
        let patience = Duration::from_millis(50);
        let nobody = publisher.send_to_subscriber(message("a.c", "lost"), patience).await;
        assert_eq!(nobody, Err(SendError::NoSubscriber { waited: patience }));
        first(&*publisher, "a.b", "here").await;
        publisher.send(message("a.c", "unwanted")).await.unwrap();
        first(&*publisher, "a.b2", "the prefix is bytes").await;
        assert_eq!(body(&mut subscriber).await, "here");

        let wanted = Subscription::new([TopicPattern::parse_plain("a.b.#", &Limits::STANDARD).unwrap()]);
        let received = soon("a message", subscriber.recv()).await.unwrap();
        assert_eq!(wanted.select(&received.message.parts[0], &Limits::STANDARD), Selection::Unwanted);
        assert_eq!((publisher.counts().taken, publisher.counts().unwanted), (3, 1), "{bus:?}");
        assert_eq!(publisher.send(RawMessage::default()).await, Err(SendError::Empty));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_arrive_in_order_and_closing_waits_for_them() {
    const COUNT: usize = 10_000;
    for bus in engines() {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let mut subscriber = connect(&*bus, &at, "a").await;
        first(&*publisher, "a", "start").await;
        assert_eq!(body(&mut subscriber).await, "start");
        let start = Instant::now();
        let sending = tokio::spawn(async move {
            for n in 0..COUNT {
                publisher.send(message("a", format!("{n:01024}"))).await.unwrap();
            }
            close(&*publisher).await;
            publisher.counts()
        });
        for n in 0..COUNT {
            assert_eq!(body(&mut subscriber).await, format!("{n:01024}"));
        }
        let rate = f64::from(u32::try_from(COUNT).unwrap()) / start.elapsed().as_secs_f64();
        eprintln!("measured: {rate:.0} messages of 1 KiB a second");
        assert_eq!(sending.await.unwrap().unwanted, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_drains_what_nobody_has_read_yet() {
    for bus in networks(Bounds::STANDARD) {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let mut subscriber = connect(&*bus, &at, "a").await;
        first(&*publisher, "a", "start").await;
        for n in 0..2000 {
            publisher.send(message("a", format!("{n:08192}"))).await.unwrap();
        }
        close(&*publisher).await;
        drop(publisher);
        assert_eq!(body(&mut subscriber).await, "start");
        for n in 0..2000 {
            assert_eq!(body(&mut subscriber).await, format!("{n:08192}"));
        }
    }
}

#[tokio::test]
async fn unix_sockets_carry_messages_too() {
    for bus in networks(Bounds::STANDARD) {
        let directory = temp_dir();
        let at: Endpoint = format!("ipc://{}/bus", directory.path().display()).parse().unwrap();
        let mut subscriber = connect(&*bus, std::slice::from_ref(&at), "").await;
        let publisher = bus.bind(std::slice::from_ref(&at)).await.unwrap();
        first(&*publisher, "a", "one").await;
        assert_eq!(body(&mut subscriber).await, "one");
        close(&*publisher).await;
        assert!(!directory.path().join("bus").exists());
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_or_silent_holds_nobody_up() {
    for bus in networks(Bounds::STANDARD) {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let down = &endpoints(2)[..];
        let at = [
            format!("tcp://{}", silent.local_addr().unwrap()).parse().unwrap(),
            down[0].clone(),
            down[1].clone(),
        ];
        let mut subscriber = connect(&*bus, &at, "").await;
        let start = Instant::now();
        let publisher = bus.bind(&at[2..]).await.unwrap();
        first(&*publisher, "a", "here").await;
        assert_eq!(body(&mut subscriber).await, "here");
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
        let links = subscriber.links();
        let states: Vec<_> = links.borrow().iter().map(|link| link.state.clone()).collect();
        assert_eq!((&states[0], &states[2]), (&LinkState::Connecting, &LinkState::Connected));
        assert!(matches!(&states[1], LinkState::Down { fault } if fault.contains("refused")), "{states:?}");
    }
}

/// As much of ZMTP 3.0 (RFC 23) as a subscriber to everything has to say.
fn raw_subscriber(to: &Endpoint) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", to.tcp().unwrap().port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    stream.write_all(&greeting).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB").unwrap();
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    stream.read_exact(&mut vec![0; header[1].into()]).unwrap();
    stream.write_all(b"\0\x01\x01").unwrap();
    stream
}

#[tokio::test]
async fn garbage_stops_neither_a_publisher_nor_a_subscriber() {
    for bus in networks(Bounds::STANDARD) {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let liar = TcpListener::bind("127.0.0.1:0").unwrap();
        let liar_at: Endpoint = format!("tcp://{}", liar.local_addr().unwrap()).parse().unwrap();
        // Bytes that are no greeting; and, after a good handshake, short frames of an unknown kind.
        let mut noise = [0_u8; 4096];
        for (n, byte) in noise.iter_mut().enumerate() {
            *byte = u8::try_from(n * 37 % 251).unwrap();
        }
        let mut strangers: Vec<TcpStream> = (0..4).map(|_| raw_subscriber(&at[0])).collect();
        for stranger in &mut strangers {
            // A command that is none: its name is longer than the frame.
            stranger.write_all(b"\x04\x03\xff\xff\xff").unwrap();
        }
        for _ in 0..4 {
            let mut stream = TcpStream::connect(("127.0.0.1", at[0].tcp().unwrap().port())).unwrap();
            stream.write_all(&noise).unwrap();
            strangers.push(stream);
        }
        let lying = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = liar.accept().unwrap();
                // The other side may have hung up in disgust.
                let _ = stream.write_all(&noise);
            }
        });
        // Each is put out: its connection ends, well or badly.
        for stranger in &mut strangers {
            stranger.set_read_timeout(Some(PATIENCE)).unwrap();
            let end = stranger.read_to_end(&mut Vec::new());
            assert!(end.is_ok() || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
        }
        let mut subscriber = connect(&*bus, &[liar_at, at[0].clone()], "").await;
        first(&*publisher, "a", "one").await;
        assert_eq!(body(&mut subscriber).await, "one");
        soon("the liar's second try", tokio::task::spawn_blocking(|| lying.join())).await.unwrap().unwrap();
        first(&*publisher, "a", "two").await;
        assert_eq!(body(&mut subscriber).await, "two");
        let mut links = subscriber.links();
        soon("the liar to be down", links.wait_for(|l| matches!(l[0].state, LinkState::Down { .. })))
            .await
            .unwrap();
        assert_eq!((links.borrow()[0].connected, links.borrow()[1].faults), (0, 0));
        assert!(publisher.counts().handshakes_failed >= 4, "{:?}", publisher.counts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_reads_is_bounded_and_said() {
    for bus in networks(Bounds { queue_bytes: 8 * 1024 * 1024 }) {
        let at = endpoints(1);
        let publisher = bus.bind(&at).await.unwrap();
        let mut subscriber = connect(&*bus, &at, "a").await;
        first(&*publisher, "a", "start").await;
        let stuck = raw_subscriber(&at[0]);
        // Only the stuck one wants this: when it is taken, its subscription is known, and it gets all that follows.
        first(&*publisher, "b", "start").await;
        let received = tokio::sync::watch::Sender::new(0);
        let reading = tokio::spawn({
            let received = received.clone();
            async move {
                while let Ok(Ok(_)) = timeout(PATIENCE, subscriber.recv()).await {
                    received.send_modify(|count| *count += 1);
                }
            }
        });
        let big = "x".repeat(1024 * 1024);
        let mut sent = 1;
        while let Ok(done) = timeout(Duration::from_secs(1), publisher.send(message("a", big.clone()))).await
        {
            done.unwrap();
            sent += 1;
            // More than the system's buffers and the bound together.
            assert!(sent < 128, "there is no bound");
        }
        let mut others = received.subscribe();
        soon("the other one to get them all", others.wait_for(|count| *count == sent)).await.unwrap();
        let linger = Duration::from_millis(50);
        assert_eq!(publisher.close(linger).await, Err(CloseError::Unwritten { linger }));
        reading.abort();
        let huge = message("a", "x".repeat(9 * 1024 * 1024));
        assert!(matches!(publisher.send(huge).await, Err(SendError::TooLarge { .. })));
        drop(stuck);
    }
}

#[test]
fn a_dropped_publisher_frees_its_endpoint() {
    for bus in networks(Bounds::STANDARD) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let at: Endpoint = format!("tcp://127.0.0.1:{}", free_ports(1)[0]).parse().unwrap();
        drop(runtime.block_on(bus.bind(std::slice::from_ref(&at))).unwrap());
        crate::support::until("the endpoint to be free", || {
            runtime.block_on(bus.bind(std::slice::from_ref(&at))).ok()
        });
    }
}
