//! `fedmsg publish`

use super::output::{DIM, Output, STRONG};
use super::{CliError, Global, Outcome, config, runtime};
use crate::bus::{PublishError, Published, Publisher, Queued};
use crate::config::{Config, Durability};
use crate::limits::Limits;
use crate::message::Draft;
use crate::store::credentials::CredentialsError;
use crate::store::outbox::OutboxError;
use crate::topic::Topic;
use serde_json::json;
use std::collections::VecDeque;
use std::io::{BufRead, Read};
use tokio::sync::mpsc;

/// Sign a message and publish it.
///
/// The topic is PREFIX.ENV.SERVICE and the given end; the certificate and key are the service's. It waits for a subscriber
/// (--wait), and goes to those that are connected when the first of them has subscribed. With publisher.durability =
/// "disk" it is kept in the outbox as well, for those who missed it.
///
/// Exit 0 if it is kept on the disk, or a subscriber took it; 1 if the policy refuses it, or if it is kept in memory alone
/// and nobody subscribed in time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The end of the topic: OBJECT.EVENT, such as update.comment.
    #[arg(value_name = "TOPIC-SUFFIX")]
    suffix: String,
    /// Publish as this service. (Default: publisher.service of the configuration.)
    #[arg(long)]
    service: Option<String>,
    /// What it says: JSON text, or `-` for standard input.
    #[arg(long, value_name = "JSON|-", default_value = "{}")]
    body: String,
    /// Publish each line of standard input as a message of its own, until it ends; say of each when it is kept.
    #[arg(long, conflicts_with = "body")]
    lines: bool,
    /// The user on whose behalf it is published.
    #[arg(long, default_value = "", hide_default_value = true)]
    username: String,
    /// Wait this long for a subscriber, such as 500ms or 10s. (Default: publisher.subscriber_wait.)
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

/// How many lines are under way at once.
const LINES: usize = 256;

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let mut flags = Vec::new();
    if let Some(service) = &args.service {
        flags.push(("publisher.service", service.as_str(), "--service"));
    }
    if let Some(wait) = &args.wait {
        flags.push(("publisher.subscriber_wait", wait.as_str(), "--wait"));
    }
    let config = config::load(global, out, &flags)?;
    let said = if args.lines {
        Said::Lines
    } else if args.body == "-" {
        Said::Body(read_body(&config.limits.to_limits())?, "standard input")
    } else {
        Said::Body(args.body, "--body")
    };
    let service = config.publisher.service.as_ref().ok_or_else(|| {
        CliError::new("no service to publish as: neither --service nor publisher.service")
            .hint("`fedmsg init DIR` makes a bus with a service; `--config DIR` then uses it")
    })?;
    runtime()?.block_on(async {
        let publisher = match Publisher::open(&config, service.as_str()).await {
            Ok(publisher) => publisher,
            Err(error) => return Err(opening(error, service.as_str(), &config, global)),
        };
        out.detail(format_args!("bound to {}", publisher.endpoint()));
        let topic = publisher.topic(&args.suffix)?;
        let mut publishing =
            Publishing { publisher, topic, username: args.username, config: &config, global, out };
        match said {
            Said::Body(body, source) => publishing.one(&body, source).await?,
            Said::Lines => publishing.lines().await?,
        }
        .end(publishing.publisher)
        .await
    })
}

/// What is to be published.
enum Said {
    /// One body, and where it is from, for errors.
    Body(String, &'static str),
    /// Each line of standard input.
    Lines,
}

struct Publishing<'a> {
    publisher: Publisher,
    topic: Topic,
    username: String,
    config: &'a Config,
    global: &'a Global,
    out: &'a mut Output,
}

/// What came of it, when all that was published is out.
#[must_use]
struct Done(Outcome);

impl Done {
    async fn end(self, publisher: Publisher) -> Result<Outcome, CliError> {
        publisher.close().await?;
        Ok(self.0)
    }
}

impl Publishing<'_> {
    async fn one(&mut self, body: &str, source: &str) -> Result<Done, CliError> {
        let draft = self.draft(body).map_err(|error| CliError::new(format_args!("{source}: {error}")))?;
        match self.publisher.publish_draft(draft).await {
            Ok(published) => self.say(&published),
            Err(error) => self.refused(error),
        }
    }

    /// Publishes line by line, many at once. The first line that cannot be published is the last that is read; those
    /// before it are.
    async fn lines(&mut self) -> Result<Done, CliError> {
        let mut lines = read_lines(self.config.limits.to_limits());
        let (mut number, mut open, mut outcome) = (0_u64, true, Outcome::Yes);
        let mut failed = None;
        let mut under_way: VecDeque<Queued> = VecDeque::new();
        while open || !under_way.is_empty() {
            tokio::select! {
                biased;
                done = front(&mut under_way), if !under_way.is_empty() => {
                    under_way.pop_front();
                    let Done(said) = match done {
                        Ok(published) => self.say(&published)?,
                        Err(error) => self.refused(error)?,
                    };
                    outcome = if said == Outcome::No { said } else { outcome };
                }
                line = lines.recv(), if open && under_way.len() < LINES => {
                    number += 1;
                    let Some(line) = line else {
                        open = false;
                        continue;
                    };
                    let at = |error: &dyn std::fmt::Display| {
                        CliError::new(format_args!("standard input: line {number}: {error}"))
                    };
                    let draft = line.and_then(|text| self.draft(&text).map_err(|error| error.to_string()));
                    match draft {
                        Err(error) => (failed, open) = (Some(at(&error)), false),
                        Ok(draft) => match self.publisher.queue(draft).await {
                            Ok(queued) => under_way.push_back(queued),
                            Err(error) => (failed, open) = (Some(at(&error)), false),
                        },
                    }
                }
            }
        }
        failed.map_or(Ok(Done(outcome)), Err)
    }

    fn draft(&self, body: &str) -> Result<Draft, crate::message::draft::DraftError> {
        let limits = self.config.limits.to_limits();
        Ok(Draft::from_json(self.topic.clone(), body, &limits)?.username(self.username.clone()))
    }

    fn say(&mut self, published: &Published) -> Result<Done, CliError> {
        let (topic, msg_id, seq) = (&published.topic, &published.msg_id, published.seq);
        let seconds = self.config.publisher.subscriber_wait.as_secs_f64();
        let nobody = format!("nobody subscribed to {topic} within {seconds} s");
        let hint =
            format!("start a subscriber (`{}`), or wait longer with --wait", self.global.command("tail"));
        if published.heard == Some(false) {
            match published.durability {
                Durability::Disk => {
                    self.out.warn(format_args!("{nobody}: it is kept as number {seq} of the outbox"))
                }
                Durability::Memory => {
                    self.out.error(format_args!("{nobody}: it reached no one"));
                    self.out.hint(hint);
                    return Ok(Done(Outcome::No));
                }
            }
            self.out.hint(hint);
        }
        let signer = self.publisher.identity();
        if self.out.is_json() {
            self.out.object(&json!({
                "topic": topic.as_str(), "msg_id": msg_id.to_string(), "stream": published.stream.to_string(),
                "seq": seq, "signer": signer.to_string(), "durability": published.durability.as_str(),
                "heard": published.heard,
            }))?;
        } else {
            self.out
                .line(format_args!("{STRONG}{topic}{STRONG:#} {msg_id} {DIM}{seq} by {signer}{DIM:#}"))?;
        }
        Ok(Done(Outcome::Yes))
    }

    fn refused(&mut self, error: PublishError) -> Result<Done, CliError> {
        let PublishError::Policy { topic, signer, denial } = error else { return Err(error.into()) };
        self.out.error(format_args!("{signer} may not publish {topic}: {denial}"));
        let explain = format!("policy explain --topic {topic} --signer {signer}");
        self.out.hint(format_args!("`{}` says which rules there are", self.global.command(explain)));
        Ok(Done(Outcome::No))
    }
}

/// The end of the first, which stays where it is until then.
async fn front(under_way: &mut VecDeque<Queued>) -> Result<Published, PublishError> {
    match under_way.front_mut() {
        Some(queued) => queued.await,
        None => std::future::pending().await,
    }
}

fn opening(error: PublishError, service: &str, config: &Config, global: &Global) -> CliError {
    if let PublishError::PolicyFile(error) = error {
        return config::no_policy(error);
    }
    let hint = if let PublishError::Credentials(CredentialsError::Missing { .. }) = &error {
        let host = config.publisher.host.as_ref().map_or("HOST", |host| host.as_str());
        let issue = format!("ca issue {service} --host {host} --env {}", config.bus.env.as_str());
        Some(format!("`{}` makes a certificate and key", global.command(issue)))
    } else if let PublishError::Credentials(CredentialsError::File(fault)) = &error {
        fault.hint()
    } else if let PublishError::NotConfigured { key } = &error {
        Some(if key.starts_with("endpoints.") {
            format!("add `{service} = [\"tcp://HOST:PORT\"]` to [endpoints], in a file of fedmsg.d")
        } else if key == "outbox.directory" {
            "set `directory` in [outbox], in a file of fedmsg.d, or publisher.durability = \"memory\""
                .to_owned()
        } else {
            "`fedmsg init DIR` makes a bus with a service; `--config DIR` then uses it".to_owned()
        })
    } else if let PublishError::Outbox(fault) = &error
        && let OutboxError::InUse { .. } = &**fault
    {
        Some("one publisher of a service and host keeps on disk; set FEDMSG_PUBLISHER__DURABILITY=memory for another".into())
    } else {
        None
    };
    match hint {
        Some(hint) => CliError::from(error).hint(hint),
        None => error.into(),
    }
}

/// Reads a body from standard input, and no more of it than a message may have.
fn read_body(limits: &Limits) -> Result<String, CliError> {
    let most = u64::try_from(limits.body_bytes).unwrap_or(u64::MAX);
    let mut body = String::new();
    std::io::stdin()
        .take(most.saturating_add(1))
        .read_to_string(&mut body)
        .map_err(|error| CliError::new(format_args!("standard input: {error}")))?;
    if body.len() > limits.body_bytes {
        return Err(CliError::new(format_args!(
            "standard input: more than {} bytes, the limit of a message's body",
            limits.body_bytes
        )));
    }
    Ok(body)
}

/// Reads lines on a thread of its own, a few ahead, each no longer than a message may be. A line that is wrong is the last.
fn read_lines(limits: Limits) -> mpsc::Receiver<Result<String, String>> {
    let (sender, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let most = u64::try_from(limits.body_bytes).unwrap_or(u64::MAX);
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = Read::by_ref(&mut input).take(most.saturating_add(1)).read_line(&mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) if line.len() > limits.body_bytes => {
                    Err(format!("more than {} bytes, the limit of a message's body", limits.body_bytes))
                }
                Ok(_) => Ok(line),
                Err(error) => Err(error.to_string()),
            };
            let wrong = line.is_err();
            // Nobody listens any more once a line could not be published.
            if sender.blocking_send(line).is_err() || wrong {
                return;
            }
        }
    });
    lines
}
