//! `fedmsg publish`

use super::output::{DIM, Output, STRONG};
use super::{CliError, Global, Outcome, config, runtime};
use crate::bus::{PublishError, Publisher};
use crate::config::Config;
use crate::limits::Limits;
use crate::message::Draft;
use crate::store::credentials::CredentialsError;
use crate::topic::Topic;
use serde_json::json;
use std::io::Read;

/// Sign a message and publish it.
///
/// The topic is PREFIX.ENV.SERVICE and the given end; the certificate and key are the service's. It goes to the subscribers that
/// are connected when the first of them has subscribed: one that connects later does not get it. Exit 0 only if a
/// subscriber took it; 1 if the policy refuses it or nobody subscribed in time.
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
    /// The user on whose behalf it is published.
    #[arg(long, default_value = "", hide_default_value = true)]
    username: String,
    /// Wait this long for a subscriber, such as 500ms or 10s. (Default: publisher.subscriber_wait.)
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let mut flags = Vec::new();
    if let Some(service) = &args.service {
        flags.push(("publisher.service", service.as_str(), "--service"));
    }
    if let Some(wait) = &args.wait {
        flags.push(("publisher.subscriber_wait", wait.as_str(), "--wait"));
    }
    let config = config::load(global, out, &flags)?;
    let (body, source) = if args.body == "-" {
        (read_body(&config.limits.to_limits())?, "standard input")
    } else {
        (args.body, "--body")
    };
    let service = config.publisher.service.as_ref().ok_or_else(|| {
        CliError::new("no service to publish as: neither --service nor publisher.service")
            .hint("`fedmsg init DIR` makes a bus with a service; `--config DIR` then uses it")
    })?;
    let said = Said { suffix: &args.suffix, body: &body, source, username: args.username };
    runtime()?.block_on(publish(&config, service.as_str(), said, global, out))
}

/// What is to be published.
struct Said<'a> {
    suffix: &'a str,
    body: &'a str,
    /// Where the body is from, for errors.
    source: &'static str,
    username: String,
}

async fn publish(
    config: &Config,
    service: &str,
    said: Said<'_>,
    global: &Global,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let limits = config.limits.to_limits();
    let publisher = match Publisher::open(config, service).await {
        Ok(publisher) => publisher,
        Err(error) => return Err(opening(error, service, config, global)),
    };
    let draft = Draft::from_json(publisher.topic(said.suffix)?, said.body, &limits)
        .map_err(|error| CliError::new(format_args!("{}: {error}", said.source)))?
        .username(said.username);
    out.detail(format_args!("bound to {}", publisher.endpoint()));
    let published = match publisher.publish_draft(draft).await {
        Ok(published) => published,
        Err(PublishError::Policy { topic, signer, denial }) => {
            out.error(format_args!("{signer} may not publish {topic}: {denial}"));
            out.hint(explain_hint(&topic, &signer.to_string(), global));
            return Ok(Outcome::No);
        }
        Err(error) => return Err(error.into()),
    };
    let signer = publisher.identity().to_string();
    publisher.close().await?;
    if !published.heard {
        let seconds = config.publisher.subscriber_wait.as_secs_f64();
        out.error(format_args!(
            "nobody subscribed to {} within {seconds} s: it reached no one",
            published.topic
        ));
        let tail = global.command("tail");
        out.hint(format_args!("start a subscriber (`{tail}`), or wait longer with --wait"));
        return Ok(Outcome::No);
    }
    if out.is_json() {
        out.object(&json!({
            "topic": published.topic.as_str(), "msg_id": published.msg_id.to_string(), "seq": published.seq,
            "signer": signer,
        }))?;
    } else {
        out.line(format_args!(
            "{STRONG}{}{STRONG:#} {} {DIM}by {signer}{DIM:#}",
            published.topic, published.msg_id
        ))?;
    }
    Ok(Outcome::Yes)
}

fn opening(error: PublishError, service: &str, config: &Config, global: &Global) -> CliError {
    let hint = if let PublishError::Credentials(CredentialsError::Missing { .. }) = &error {
        let host = config.publisher.host.as_ref().map_or("HOST", |host| host.as_str());
        let issue = format!("ca issue {service} --host {host} --env {}", config.bus.env.as_str());
        Some(format!("`{}` makes a certificate and key", global.command(issue)))
    } else if let PublishError::Credentials(CredentialsError::File(fault)) = &error {
        fault.hint()
    } else if let PublishError::NotConfigured { key } = &error {
        Some(if key.starts_with("endpoints.") {
            format!("add `{service} = [\"tcp://HOST:PORT\"]` to [endpoints], in a file of fedmsg.d")
        } else {
            "`fedmsg init DIR` makes a bus with a service; `--config DIR` then uses it".to_owned()
        })
    } else {
        None
    };
    match hint {
        Some(hint) => CliError::from(error).hint(hint),
        None => error.into(),
    }
}

fn explain_hint(topic: &Topic, signer: &str, global: &Global) -> String {
    let explain = global.command(format_args!("policy explain --topic {topic} --signer {signer}"));
    format!("`{explain}` says which rules there are")
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
