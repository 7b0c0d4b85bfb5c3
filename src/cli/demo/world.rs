//! The demo's infrastructure: an authority on disk, publishers and a consumer on sockets, and an attacker.

use super::super::CliError;
use super::traffic::{Message, TRUST_DOMAIN, Traffic};
use crate::bus::transport::{LinkState, PublishSocket, Transport};
use crate::bus::zmtp::{self, Zmtp};
use crate::bus::{Event, Published, Publisher, Subscriber, Subscription};
use crate::development::Development;
use crate::endpoint::Endpoint;
use crate::freshness::Window;
use crate::limits::Limits;
use crate::message::{Draft, MessageId, RawMessage, Stamp, StreamId};
use crate::pki::authority::RevocationReason;
use crate::pki::profile::ProfileName;
use crate::pki::profile::Profiles;
use crate::policy::Policy;
use crate::sign::{self, Signer};
use crate::store::authority::{AuthorityStore, IssueRequest, KeyProtection, Target};
use crate::store::credentials::Credentials;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::{Topic, TopicPattern};
use crate::verify::{Legacy, Verifier};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes: what has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long ago the authority was made, so that a certificate of it can have expired.
const AUTHORITY_AGE_DAYS: i64 = 30;

pub(super) const LIMITS: Limits = Limits::STANDARD;

/// All that runs in the demo.
pub(super) struct World {
    directory: TempDir,
    publishers: BTreeMap<(String, String), Publisher>,
    consumer: Subscriber,
    /// An endpoint that anybody may send from.
    attacker: Box<dyn PublishSocket>,
    /// The service that the attacker would like to be.
    pub(super) victim: Signer,
    pub(super) victim_topic: Topic,
    /// A topic of another service.
    pub(super) other_topic: Topic,
    pub(super) expired: Signer,
    pub(super) revoked: Signer,
    pub(super) staging: Signer,
    /// Of an authority that the attacker made.
    pub(super) impostor: Signer,
    /// The victim's key and certificate in a program without limits.
    pub(super) unlimited: Signer,
    pub(super) authority_directory: String,
    pub(super) certificates: usize,
    /// The stream and the place in it of the victim's captured messages.
    stream: StreamId,
    seq: u64,
    deliveries_to_pass: usize,
}

/// What the consumer heard.
pub(super) enum Heard {
    Delivered { msg_id: String, topic: String, signer: String },
    Nothing,
    Refused { code: &'static str, detail: String },
}

impl World {
    pub(super) async fn start(traffic: &Traffic) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new().prefix("fedmsg-demo-").tempdir()?;
        let pki = directory.path().join("pki");
        let now = SystemClock.now();
        let then = now.plus_seconds(-AUTHORITY_AGE_DAYS * 86_400);
        let mut authority = AuthorityStore::create(
            &pki,
            TRUST_DOMAIN,
            false,
            Profiles::built_in()?,
            &KeyProtection::Unencrypted,
            then,
        )?;
        let services = authority.services();
        let mut issue = |env: &str, service: &str, host: &str, days, at| -> Result<Signer, CliError> {
            authority.issue(&request(env, service, host, days), at)?;
            signer(&services, service, host, LIMITS)
        };
        let victim_of =
            traffic.messages.iter().find(|m| m.env == "prod").or_else(|| traffic.messages.first());
        let Some(message) = victim_of else { return Err(CliError::new("there is no message to publish")) };
        let (env, service, topic) = (message.env.clone(), message.service.clone(), message.topic.clone());
        let mut signers = BTreeMap::new();
        for (env, service) in &traffic.services {
            let signer = issue(env, service, &host_of(env), None, now)?;
            signers.insert((env.clone(), service.clone()), signer);
        }
        let victim_host = host_of(&env);
        let victim = signer(&services, &service, &victim_host, LIMITS)?;
        let wide = Limits { body_bytes: usize::MAX, ..LIMITS };
        let unlimited = signer(&services, &service, &victim_host, wide)?;
        let expired = issue(&env, &service, "old01", Some(1), then)?;
        let revoked = issue(&env, &service, "lost01", None, now)?;
        let other_env = if env == "stg" { "dev" } else { "stg" };
        let staging = issue(other_env, &service, "trial01", None, now)?;
        let certificates = signers.len() + 3;
        let lost = Target::Name(format!("{service}-lost01"));
        authority.revoke(&lost, RevocationReason::KeyCompromise, None, now)?;
        for level in authority.levels() {
            authority.rewrite_crl(level, None, now)?;
        }
        let impostor = Development::new(TRUST_DOMAIN, now)?.signer(&env, &service, &victim_host)?;

        let policy = Arc::new(Policy::parse(
            &policy_text(traffic, (&env, other_env), &topic),
            "policy.toml",
            &LIMITS,
        )?);
        let trust = Arc::new(authority.trust_store()?);
        let verifier = Verifier::new(trust, Arc::clone(&policy), Legacy::Refused, LIMITS);
        let (transport, any_port) = (Zmtp::new(zmtp::Limits::STANDARD), ["tcp://127.0.0.1:0".parse()?]);
        let attacker = transport.bind(&any_port).await?;
        let mut endpoints = vec![attacker.endpoint().clone()];
        let mut publishers = BTreeMap::new();
        for ((env, service), signer) in signers {
            let socket = transport.bind(&any_port).await?;
            endpoints.push(socket.endpoint().clone());
            // The demo names whole topics; a program would name their ends.
            let publisher = Publisher::builder(signer, String::new(), LIMITS)
                .policy(Arc::clone(&policy))
                .subscriber_wait(PATIENCE)
                .start(socket)?;
            publishers.insert((env, service), publisher);
        }
        let consumer = consume(transport, &endpoints, verifier).await?;
        let other_topic = sibling(&topic, "elsewhere")?;
        Ok(Self {
            authority_directory: pki.display().to_string(),
            directory,
            publishers,
            consumer,
            attacker,
            victim,
            victim_topic: topic,
            other_topic,
            expired,
            revoked,
            staging,
            impostor,
            unlimited,
            certificates,
            stream: StreamId::new(sign::random()?),
            seq: 0,
            deliveries_to_pass: 0,
        })
    }

    /// How many endpoints the consumer is connected to.
    pub(super) fn endpoints(&self) -> usize {
        self.publishers.len() + 1
    }

    /// Publishes a message as its own service.
    pub(super) async fn publish(&self, message: &Message) -> Result<Published, CliError> {
        let service = (message.env.clone(), message.service.clone());
        let publisher = self.publishers.get(&service);
        let publisher =
            publisher.ok_or_else(|| CliError::new(format_args!("no publisher of {}", message.service)))?;
        let draft = Draft::from_json(message.topic.clone(), &message.msg, &LIMITS)?;
        Ok(publisher.publish_draft(draft).await?)
    }

    /// Sends frames from the attacker's endpoint.
    pub(super) async fn send(&self, raw: RawMessage) -> Result<(), CliError> {
        Ok(self.attacker.send_to_subscriber(raw, PATIENCE).await?)
    }

    /// What the consumer hears next.
    pub(super) async fn hear(&mut self) -> Heard {
        match timeout(PATIENCE, self.consumer.event()).await {
            Ok(Ok(Event::Delivery(delivery))) => {
                let message = delivery.message();
                let (msg_id, topic) = (message.msg_id().to_string(), message.topic().to_string());
                Heard::Delivered { msg_id, topic, signer: message.signer().to_string() }
            }
            Ok(Ok(Event::Rejected(_, rejected))) => {
                Heard::Refused { code: rejected.code().as_str(), detail: rejected.reason().to_string() }
            }
            Ok(Err(error)) => Heard::Refused { code: "the consumer ended", detail: error.to_string() },
            // It has no name, and knows of no gaps.
            Ok(Ok(Event::Gap(_) | Event::Silent { .. })) | Err(_) => Heard::Nothing,
        }
    }

    /// A stamp for the next message of the victim's captured stream.
    pub(super) fn stamp(&mut self, timestamp: Timestamp) -> Result<Stamp, CliError> {
        self.seq += 1;
        let year = u16::try_from(timestamp.year()).unwrap_or(0);
        let msg_id = MessageId::new(year, sign::random()?);
        Ok(Stamp { timestamp, msg_id, i: self.seq, stream: self.stream, seq: self.seq })
    }

    /// Says that the next `count` deliveries are part of an attack.
    pub(super) fn expect_deliveries(&mut self, count: usize) {
        self.deliveries_to_pass = count;
    }

    /// Whether a delivery was the expected part of an attack.
    pub(super) fn take_expected_delivery(&mut self) -> bool {
        let expected = self.deliveries_to_pass > 0;
        self.deliveries_to_pass = self.deliveries_to_pass.saturating_sub(1);
        expected
    }

    /// Ends everything and leaves nothing behind.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        drop(self.consumer);
        for publisher in self.publishers.into_values() {
            publisher.close().await?;
        }
        Ok(self.directory.close()?)
    }
}

fn request(env: &str, service: &str, host: &str, days: Option<u32>) -> IssueRequest {
    let (env, service, host) = (env.to_owned(), service.to_owned(), host.to_owned());
    IssueRequest {
        env,
        service,
        host,
        days,
        profile: ProfileName::Service,
        key_kind: None,
        directory: None,
        replace: false,
    }
}

/// The same service in two environments runs on two hosts.
fn host_of(env: &str) -> String {
    format!("{env}01")
}

fn signer(directory: &Path, service: &str, host: &str, limits: Limits) -> Result<Signer, CliError> {
    let (key, leaf, _) = Credentials::load(directory, service, host)?.into_parts();
    Ok(Signer::new(Arc::new(key), vec![leaf.der().clone()], limits)?)
}

/// `topic` with another service, which is nobody's.
fn sibling(topic: &Topic, service: &str) -> Result<Topic, CliError> {
    let fields: Vec<&str> =
        topic.fields().enumerate().map(|(n, field)| if n == 3 { service } else { field }).collect();
    Ok(Topic::parse(fields.join("."), &LIMITS)?)
}

/// Each service has its own topics; and whatever else may come to be allowed, one environment stays out of the other.
fn policy_text(traffic: &Traffic, (env, other_env): (&str, &str), victim_topic: &Topic) -> String {
    let own: Vec<String> =
        traffic.prefixes.iter().map(|prefix| format!("\"{prefix}.{{env}}.{{service}}.#\"")).collect();
    let prefix: Vec<&str> = victim_topic.fields().take(2).collect();
    format!(
        r#"version = 1
serial = 1

[[rule]]
id = "own-topics"
effect = "allow"
topics = [{}]
publishers = ["spiffe://{TRUST_DOMAIN}/*/*/*"]

[[rule]]
id = "{other_env}-stays-out-of-{env}"
effect = "deny"
topics = ["{}.{env}.#"]
publishers = ["spiffe://{TRUST_DOMAIN}/{other_env}/*/*"]
"#,
        own.join(", "),
        prefix.join(".")
    )
}

/// A consumer of everything, connected to every endpoint.
async fn consume(
    transport: Zmtp,
    endpoints: &[Endpoint],
    verifier: Verifier,
) -> Result<Subscriber, CliError> {
    let subscription = Subscription::new([TopicPattern::parse_plain("#", &LIMITS)?]);
    let socket = transport.connect(endpoints, subscription.prefixes()).await?;
    let consumer = Subscriber::new(socket, subscription, Arc::new(verifier), Window::STANDARD);
    let mut links = consumer.links();
    let all_up = links.wait_for(|links| links.iter().all(|link| link.state == LinkState::Connected));
    match timeout(PATIENCE, all_up).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(CliError::new("the bus has stopped")),
        Err(_) => return Err(CliError::new("the publishers cannot be reached on loopback")),
    }
    Ok(consumer)
}
