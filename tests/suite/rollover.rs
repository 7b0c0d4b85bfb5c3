//! A running bus through a renewal and through whole rollovers: real sockets, two publishers, consumers that keep up with their
//! files, one of them elsewhere with copies of the four files. Nothing is refused at any step and no message is lost.

use crate::support::{Finished, PATIENCE, fedmsg, run, temp_dir, until};
use fedmsg::Config;
use fedmsg::bus::transport::{Bounds, Transport};
use fedmsg::bus::{Begin, Event, Publisher, Subscriber, ZeroMq};
use fedmsg::endpoint::Endpoint;
use fedmsg::limits::Limits;
use fedmsg::reason::ReasonCode;
use fedmsg::sign::Signer;
use fedmsg::store::credentials::{Credentials, SignerFiles};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const SERVICES: [&str; 2] = ["shell", "wiki"];
/// What everybody needs.
const FILES: [&str; 4] = ["root.crl", "issuing.crl", "issuing.crt", "root.crt"];
const PATTERN: &str = "org.fedoraproject.dev.*.log.message";

/// What a consumer saw of one service.
#[derive(Debug, Default)]
struct Seen {
    stream: String,
    first: u64,
    last: u64,
    /// SHA-256 of the certificate of the last message.
    certificate: [u8; 32],
}

/// What a consumer saw.
#[derive(Debug, Default)]
struct Account {
    seen: BTreeMap<String, Seen>,
    /// What must not be: a hole, another stream, a refusal.
    wrong: Vec<String>,
    refused: Vec<ReasonCode>,
}

struct Consumer {
    account: Arc<Mutex<Account>>,
    /// From now on refusals are what is waited for.
    expects_refusals: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Consumer {
    fn start(mut subscriber: Subscriber) -> Self {
        let account = Arc::new(Mutex::new(Account::default()));
        let expects_refusals = Arc::new(AtomicBool::new(false));
        let (shared, expected) = (Arc::clone(&account), Arc::clone(&expects_refusals));
        let task = tokio::spawn(async move {
            while let Ok(event) = subscriber.event().await {
                subscriber.acknowledge().unwrap();
                let mut account = shared.lock().unwrap();
                match event {
                    Event::Delivery(delivery) => {
                        let message = delivery.message();
                        let service = message.topic().as_str().split('.').nth(3).unwrap().to_owned();
                        let (stream, seq) = message.position().unwrap();
                        let (stream, certificate) = (stream.to_string(), message.certificate_sha256());
                        let is_refused = !account.refused.is_empty();
                        match account.seen.get_mut(&service) {
                            None => {
                                let seen = Seen { stream, first: seq, last: seq, certificate };
                                account.seen.insert(service, seen);
                            }
                            Some(seen) if seen.stream == stream && seq == seen.last + 1 => {
                                (seen.last, seen.certificate) = (seq, certificate);
                            }
                            // Until it has looked at its files, within a second or two, a consumer takes the old key for good.
                            Some(seen)
                                if seen.stream != stream
                                    && expected.load(Ordering::Relaxed)
                                    && !is_refused => {}
                            Some(seen) => {
                                let wrong = format!("{service}: {stream} {seq} after {seen:?}");
                                account.wrong.push(wrong);
                            }
                        }
                    }
                    Event::Gap(gap) => {
                        let stream = gap.key.stream.to_string();
                        if account.seen.values().any(|seen| seen.stream == stream) {
                            account.wrong.push(format!("{gap:?}"));
                        }
                    }
                    // Of somebody with an old key, say, who was there for a moment.
                    Event::Silent { .. } => {}
                    Event::Rejected(_, rejected) if expected.load(Ordering::Relaxed) => {
                        account.refused.push(rejected.code());
                    }
                    Event::Rejected(_, rejected) => {
                        account.wrong.push(format!("{}: {}", rejected.code(), rejected.reason()));
                    }
                }
            }
        });
        Self { account, expects_refusals, task }
    }

    /// The number of the last message of a service that was delivered, and the certificate that signed it.
    fn last(&self, service: &str) -> Option<(u64, [u8; 32])> {
        let account = self.account.lock().unwrap();
        account.seen.get(service).map(|seen| (seen.last, seen.certificate))
    }

    fn expect_well(&self) {
        let account = self.account.lock().unwrap();
        assert!(account.wrong.is_empty(), "{:#?}", account.wrong);
    }
}

/// A service that publishes all the time.
struct Traffic {
    publisher: Arc<Publisher>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Traffic {
    async fn start(config: &Config, service: &str) -> Self {
        let publisher = Arc::new(Publisher::open(config, service).await.unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&publisher), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut last = 0;
            while !stopped.load(Ordering::Relaxed) {
                let published = shared.publish("log.message", &json!({"after": last})).await.unwrap();
                assert_eq!(published.seq, last + 1, "no hole");
                last = published.seq;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            last
        });
        Self { publisher, stop, task }
    }
}

struct Bus {
    place: tempfile::TempDir,
    consumers: Vec<Consumer>,
    traffic: Vec<Traffic>,
}

impl Bus {
    async fn start() -> Self {
        let place = temp_dir();
        run(fedmsg().current_dir(&place).args(["init", "bus"])).expect_code(0);
        let config = Config::open(place.path().join("bus")).unwrap();
        // Elsewhere: the same configuration, and of the authority's directory what everybody may have.
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("pki/services")).unwrap();
        copy(&place.path().join("bus/fedmsg.d"), &elsewhere.join("fedmsg.d"));
        fs::copy(place.path().join("bus/policy.toml"), elsewhere.join("policy.toml")).unwrap();
        let mut bus = Self { place, consumers: Vec::new(), traffic: Vec::new() };
        bus.distribute();
        let far = Config::open(elsewhere).unwrap();
        bus.consumers = vec![
            Consumer::start(Subscriber::open(&config, &[PATTERN]).await.unwrap()),
            Consumer::start(Subscriber::open_as("named", &config, &[PATTERN], Begin::Last).await.unwrap()),
            Consumer::start(Subscriber::open_as("far", &far, &[PATTERN], Begin::Last).await.unwrap()),
        ];
        for service in SERVICES {
            bus.traffic.push(Traffic::start(&config, service).await);
        }
        bus.wait("every consumer to hear everybody", |consumer, service| consumer.last(service).is_some())
            .await;
        bus
    }

    fn ca(&self, arguments: &[&str]) -> Finished {
        run(fedmsg().current_dir(&self.place).args(["--config", "bus", "--json", "ca"]).args(arguments))
    }

    /// The four files, as whoever distributes them would do it: one after the other.
    fn distribute(&self) {
        for name in FILES {
            let at = |bus: &str| self.place.path().join(bus).join("pki").join(name);
            fs::copy(at("bus"), at("elsewhere")).unwrap();
        }
    }

    async fn wait(&self, what: &str, is_there: impl Fn(&Consumer, &str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let each = || self.consumers.iter().flat_map(|consumer| SERVICES.map(|service| (consumer, service)));
        while !each().all(|(consumer, service)| is_there(consumer, service)) {
            self.consumers.iter().for_each(Consumer::expect_well);
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until each consumer has had some more of everybody.
    async fn goes_on(&self) {
        let had: Vec<Vec<u64>> = self
            .consumers
            .iter()
            .map(|consumer| SERVICES.map(|service| consumer.last(service).unwrap().0).to_vec())
            .collect();
        let place = |of: &Consumer| self.consumers.iter().position(|one| std::ptr::eq(one, of)).unwrap();
        let service_at = |name: &str| SERVICES.iter().position(|one| *one == name).unwrap();
        self.wait("the traffic to go on", |consumer, service| {
            consumer.last(service).unwrap().0 >= had[place(consumer)][service_at(service)] + 20
        })
        .await;
    }

    /// Until every consumer hears each service by the certificate that is in its file now.
    async fn is_heard_by_what_is_in_the_files(&self) {
        let now = SERVICES.map(|service| (service, self.certificate(service)));
        self.wait("the new certificates to be used", |consumer, service| {
            now.iter().any(|(of, digest)| *of == service && consumer.last(service).unwrap().1 == *digest)
        })
        .await;
    }

    fn services(&self) -> PathBuf {
        self.place.path().join("bus/pki/services")
    }

    fn certificate(&self, service: &str) -> [u8; 32] {
        Credentials::load(&self.services(), service, "localhost").unwrap().certificate().sha256()
    }

    /// What a service signs with now.
    fn signer(&self, service: &str) -> Signer {
        let files = SignerFiles {
            directory: self.services(),
            service: service.to_owned(),
            host: "localhost".to_owned(),
            send_intermediates: true,
            limits: Limits::STANDARD,
        };
        files.load().unwrap()
    }

    /// A step of a rollover, as soon as it may follow the one before.
    async fn step(&self, arguments: &[&str]) -> Vec<Value> {
        let done = loop {
            let done = self.ca(arguments);
            if !done.stderr.contains("may not have seen that") {
                break done.expect_code(0);
            }
            self.goes_on().await;
        };
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The whole of it, and then somebody with an old key.
    async fn roll_over(&self, level: &str) {
        let old = self.signer("shell");
        self.step(&["rollover", "prepare", "--level", level]).await;
        self.distribute();
        self.goes_on().await;
        self.step(&["rollover", "activate", "--level", level]).await;
        self.goes_on().await;
        let early = self.ca(&["rollover", "retire", "--level", level]).expect_code(2);
        let refused = early.stderr.contains("may not have seen") || early.stderr.contains("2 services");
        assert!(refused, "{early:?}");
        let renewed = self.step(&["renew", "--due"]).await;
        assert_eq!(renewed.len(), SERVICES.len());
        self.is_heard_by_what_is_in_the_files().await;
        self.goes_on().await;
        let retired = self.step(&["rollover", "retire", "--level", level]).await;
        assert!(retired.iter().all(|one| one["is_refused"] == true), "{retired:?}");
        self.distribute();
        self.goes_on().await;
        self.consumers.iter().for_each(Consumer::expect_well);
        self.refuses(old).await;
    }

    /// Whoever kept the old key and certificate is refused by everybody.
    async fn refuses(&self, old: Signer) {
        for consumer in &self.consumers {
            consumer.expects_refusals.store(true, Ordering::Relaxed);
        }
        let config = Config::open(self.place.path().join("bus")).unwrap();
        let endpoints: Vec<Endpoint> = config.endpoints.of("shell").unwrap().iter().cloned().collect();
        let socket = ZeroMq::new(Bounds::STANDARD).bind(&endpoints).await.unwrap();
        let intruder = Publisher::builder(old, "org.fedoraproject.dev.shell", Limits::STANDARD);
        let intruder = intruder.subscriber_wait(PATIENCE).start(socket).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let refused = |consumer: &Consumer| consumer.account.lock().unwrap().refused.clone();
        while !self.consumers.iter().all(|consumer| !refused(consumer).is_empty()) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for refusals");
            intruder.publish("log.message", &json!("let me in")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for consumer in &self.consumers {
            consumer.expect_well();
            let expected =
                [ReasonCode::CertificateUnknownIssuer, ReasonCode::CrlMissing, ReasonCode::IssuerRevoked];
            assert!(refused(consumer).iter().all(|code| expected.contains(code)), "{:?}", refused(consumer));
        }
        intruder.close().await.unwrap();
        // The next rollover begins with a clean sheet, when all that the intruder sent was refused.
        self.goes_on().await;
        for consumer in &self.consumers {
            consumer.expects_refusals.store(false, Ordering::Relaxed);
            consumer.account.lock().unwrap().refused.clear();
        }
    }

    /// Ends the traffic, and sees that every message came to everybody.
    async fn finish(mut self) {
        let traffic = std::mem::take(&mut self.traffic);
        let mut last = BTreeMap::new();
        for (service, Traffic { publisher, stop, task }) in SERVICES.into_iter().zip(traffic) {
            stop.store(true, Ordering::Relaxed);
            last.insert(service, task.await.unwrap());
            Arc::into_inner(publisher).unwrap().close().await.unwrap();
        }
        self.wait("the last messages", |consumer, service| {
            consumer.last(service).unwrap().0 == last[service]
        })
        .await;
        for consumer in &self.consumers {
            consumer.expect_well();
            consumer.task.abort();
        }
        let firsts = self.consumers.iter().map(|c| c.account.lock().unwrap().seen["shell"].first);
        eprintln!("every message from {:?} to {last:?} was delivered", firsts.collect::<Vec<_>>());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_and_a_root_are_rolled_over_while_everything_runs() {
    let bus = Bus::start().await;
    bus.roll_over("issuing").await;
    bus.roll_over("root").await;
    bus.ca(&["log", "verify"]).expect_code(0);
    let left = bus.ca(&["check", "--faults"]).expect_code(1);
    let hints = left.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for finding in hints {
        assert!(finding["hint"].as_str().unwrap().starts_with("shred -u "), "{finding}");
    }
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_goes_on_with_a_renewed_certificate() {
    let bus = Bus::start().await;
    let publisher = &bus.traffic[0].publisher;
    for count in 1..=3 {
        bus.ca(&["renew", "shell-localhost", "--force"]).expect_code(0);
        bus.is_heard_by_what_is_in_the_files().await;
        until("the status", || (publisher.credentials_status().unwrap().replaced == count).then_some(()));
    }
    // Somebody else's certificate, and then half of one, by hand: the old one goes on.
    let services = bus.services();
    let (own, others) = (services.join("shell-localhost.crt"), services.join("wiki-localhost.crt"));
    let good = fs::read(&own).unwrap();
    for (number, bad) in [fs::read(others).unwrap(), good[..good.len() / 2].to_vec()].into_iter().enumerate()
    {
        fs::write(&own, bad).unwrap();
        publisher.reload_credentials();
        until("the refusal", || {
            let status = publisher.credentials_status().unwrap();
            (status.refusal.is_some() && status.refused > u64::try_from(number).unwrap()).then_some(())
        });
        bus.goes_on().await;
    }
    fs::write(&own, good).unwrap();
    publisher.reload_credentials();
    until("the refusal to be over", || {
        publisher.credentials_status().unwrap().refusal.is_none().then_some(())
    });
    bus.is_heard_by_what_is_in_the_files().await;
    bus.finish().await;
}
