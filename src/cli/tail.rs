//! `fedmsg tail`

use super::output::{BAD, DIM, GOOD, Output};
use super::verdict::Verdict;
use super::{CliError, Global, Outcome, config, runtime};
use crate::bus::stream::Gap;
use crate::bus::subscriber::{all_endpoints, parse_patterns};
use crate::bus::transport::{Link, LinkState};
use crate::bus::{self, Begin, Counts, Event, Origin, Selection, Subscriber, Subscription};
use crate::config::Config;
use crate::limits::Limits;
use crate::message::{Malformed, RawMessage, Unverified};
use serde_json::json;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// Watch the bus: every message is verified before it is shown.
///
/// Verified messages go to stdout. Messages that are refused go to stderr with their reason, and are counted; with -v,
/// publishers that come and go are named there too.
///
/// Publishers' heartbeats are shown where a --topic names them: '*.*.*.*.bus.heartbeat'.
///
/// Ends on Ctrl-C or SIGTERM, after --count messages (exit 0), or after --timeout (exit 1 if --count messages were asked for and
/// did not come), and says then how many came. On SIGHUP it reads the policy and the trust again, and goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Topics to watch: whole fields, `*` is one field, a final `#` any number. May be repeated.
    #[arg(long, value_name = "PATTERN", default_value = "#")]
    topic: Vec<String>,
    /// End after this many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this many seconds.
    #[arg(long, value_name = "S")]
    timeout: Option<f64>,
    /// Keep the place by this name, over a restart: what was published meanwhile is asked for, and shown in order (needs
    /// freshness.state, and replay endpoints of the services).
    #[arg(long, value_name = "NAME", conflicts_with = "unverified")]
    name: Option<String>,
    /// Where to begin: `last` (where it was), `oldest`, a time (2026-11-24T12:00:00Z), or a number in each stream.
    #[arg(long, value_name = "WHERE", default_value = "last", value_parser = begin, requires = "name")]
    since: Begin,
    /// Show what comes without verifying any of it; each line is marked.
    #[arg(long)]
    unverified: bool,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let config = config::load(global, out, &[])?;
    let limit = match args.timeout.map(Duration::try_from_secs_f64) {
        None => Duration::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Err(CliError::new("--timeout: not a number of seconds from 0 on")),
    };
    runtime()?.block_on(async {
        if args.unverified {
            unverified(&args, limit, &config, out).await
        } else {
            verified(&args, limit, &config, out).await
        }
    })
}

async fn verified(
    args: &Args,
    limit: Duration,
    config: &Config,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let (asked, mut hangup) = (Asked::new()?, Hangup::new()?);
    let patterns: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    let opened = match &args.name {
        None => Subscriber::open(config, &patterns).await,
        Some(name) => Subscriber::open_as(name, config, &patterns, args.since).await,
    };
    let mut subscriber = opened.map_err(config::subscribing)?;
    let mut links = Links::new(subscriber.links());
    watching(args, &links, out);
    let mut shown = 0;
    let ended = until(limit, asked, async {
        while args.count.is_none_or(|count| shown < count) {
            tokio::select! {
                () = links.changed() => links.say(out),
                heard = hangup.heard() => match heard {
                    Heard::Gone => break,
                    Heard::Reload => {
                        subscriber.reload_policy();
                        subscriber.reload_trust();
                        out.say("SIGHUP: the policy and the trust are read again");
                    }
                },
                event = subscriber.event() => match event? {
                    Event::Delivery(delivery) => {
                        shown += 1;
                        let verdict = Verdict::verified(delivery.message());
                        let live = matches!(delivery.origin(), Origin::Live(_));
                        show(out, &if live { verdict } else { verdict.replayed() })?;
                        // It has been shown: it need not be shown again.
                        subscriber.acknowledge()?;
                    }
                    Event::Gap(gap) => lost(out, &gap)?,
                    Event::Rejected(endpoint, rejected) => {
                        refused(out, &Verdict::rejected(&rejected).from(&endpoint))?;
                    }
                    Event::Silent { signer, quiet } => {
                        let seconds = quiet.as_secs();
                        out.warn(format_args!("nothing was heard of {signer} for {seconds} s, not even a heartbeat"));
                    }
                },
            }
        }
        Ok(())
    })
    .await?;
    summary(out, subscriber.counts());
    Ok(if ended == End::Timeout && args.count.is_some() { Outcome::No } else { Outcome::Yes })
}

async fn unverified(
    args: &Args,
    limit: Duration,
    config: &Config,
    out: &mut Output,
) -> Result<Outcome, CliError> {
    let limits = config.limits.to_limits();
    let (asked, mut hangup) = (Asked::new()?, Hangup::new()?);
    let patterns: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    let subscription = Subscription::new(parse_patterns(&patterns, &limits)?);
    let endpoints = all_endpoints(config).map_err(config::subscribing)?;
    let mut socket = bus::engine(config).connect(&endpoints, subscription.prefixes()).await?;
    let mut links = Links::new(socket.links());
    watching(args, &links, out);
    out.warn("nothing is verified (--unverified): whatever is shown, anybody may have sent");
    let mut shown = 0;
    let ended = until(limit, asked, async {
        while args.count.is_none_or(|count| shown < count) {
            tokio::select! {
                () = links.changed() => links.say(out),
                heard = hangup.heard() => match heard {
                    Heard::Gone => break,
                    Heard::Reload => out.say("SIGHUP: nothing is verified, so that there is nothing to read again"),
                },
                received = socket.recv() => {
                    let received = received?;
                    match look(received.message, &subscription, &limits) {
                        Look::Malformed(malformed) => refused(out, &Verdict::malformed(&malformed).from(&received.endpoint))?,
                        Look::Message(message) => {
                            shown += 1;
                            show(out, &Verdict::unverified(&message))?;
                        }
                        Look::Unwanted => {}
                    }
                },
            }
        }
        Ok(())
    })
    .await?;
    Ok(if ended == End::Timeout && args.count.is_some() { Outcome::No } else { Outcome::Yes })
}

/// What a message is to one who verifies nothing.
enum Look {
    Malformed(Malformed),
    Message(Box<Unverified>),
    Unwanted,
}

fn look(raw: RawMessage, subscription: &Subscription, limits: &Limits) -> Look {
    let unwanted = |frame: &bytes::Bytes| subscription.select(frame, limits) == Selection::Unwanted;
    if raw.parts.first().is_some_and(unwanted) {
        return Look::Unwanted;
    }
    match Unverified::parse(raw, limits) {
        Ok(message) if subscription.hides(message.claimed_topic()) => Look::Unwanted,
        Ok(message) => Look::Message(Box::new(message)),
        Err(malformed) => Look::Malformed(malformed),
    }
}

#[derive(PartialEq)]
enum End {
    Asked,
    Timeout,
}

/// Listens for the signals that ask for the end, from before anything is said.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Listens for SIGHUP, which asks for what is in the files, or says that the terminal has gone.
struct Hangup {
    signal: Signal,
    /// Whether there was a terminal at the start.
    terminal: bool,
}

enum Heard {
    Gone,
    Reload,
}

impl Hangup {
    fn new() -> io::Result<Self> {
        Ok(Self { signal: signal(SignalKind::hangup())?, terminal: has_terminal() })
    }

    async fn heard(&mut self) -> Heard {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        if self.terminal && !has_terminal() { Heard::Gone } else { Heard::Reload }
    }
}

fn has_terminal() -> bool {
    io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Runs `work` until it is done, the time is up, or somebody asks for the end.
async fn until(
    limit: Duration,
    mut asked: Asked,
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<End, CliError> {
    let mut work = pin!(work);
    tokio::select! {
        done = timeout(limit, &mut work) => match done {
            Ok(done) => done.map(|()| End::Asked),
            Err(_) => Ok(End::Timeout),
        },
        _ = asked.terminate.recv() => Ok(End::Asked),
        _ = asked.interrupt.recv() => Ok(End::Asked),
    }
}

/// Whoever watches an empty screen is to know that it is at work.
fn watching(args: &Args, links: &Links, out: &mut Output) {
    let endpoints = links.watched.borrow().len();
    let topics = args.topic.join(" ");
    out.say(format_args!("{DIM}watching {topics} at {endpoints} endpoints; Ctrl-C ends it{DIM:#}"));
}

/// The endpoints, of which each change is said once, with -v: a publisher's spare endpoints are down most of the time, and a
/// command that publishes one message comes and goes.
struct Links {
    watched: watch::Receiver<Vec<Link>>,
    said: Vec<LinkState>,
}

impl Links {
    fn new(mut watched: watch::Receiver<Vec<Link>>) -> Self {
        watched.mark_changed();
        Self { watched, said: Vec::new() }
    }

    /// Waits for a change; for ever, if the engine has ended: then the messages' own end says so.
    async fn changed(&mut self) {
        if self.watched.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn say(&mut self, out: &mut Output) {
        let links = self.watched.borrow_and_update().clone();
        for (n, link) in links.iter().enumerate() {
            let endpoint = &link.endpoint;
            match (&link.state, self.said.get(n)) {
                (LinkState::Connected, said) if said != Some(&link.state) => {
                    out.detail(format_args!("{DIM}connected to {endpoint}{DIM:#}"));
                }
                (LinkState::Down { fault }, Some(LinkState::Connected)) => {
                    out.detail(format_args!("{DIM}lost {endpoint}: {fault}{DIM:#}"));
                }
                (LinkState::Down { fault }, _) => out.detail(format_args!("{DIM}{endpoint}: {fault}{DIM:#}")),
                (LinkState::Connected | LinkState::Connecting, _) => {}
            }
        }
        self.said = links.into_iter().map(|link| link.state).collect();
    }
}

fn show(out: &mut Output, verdict: &Verdict<'_>) -> io::Result<()> {
    if out.is_json() { out.object(verdict) } else { out.line(verdict) }
}

/// What was refused goes to stderr: nobody who reads stdout can take it for a message.
fn refused(out: &mut Output, verdict: &Verdict<'_>) -> io::Result<()> {
    if out.is_json() {
        out.always_object(verdict)?;
    } else {
        out.always(verdict);
    }
    Ok(())
}

/// What will not be shown goes to stderr too.
fn lost(out: &mut Output, gap: &Gap) -> io::Result<()> {
    let (signer, stream, reason) = (&gap.key.signer, gap.key.stream.to_string(), gap.reason.as_str());
    let (from, to) = (gap.from, gap.to);
    if out.is_json() {
        let gap =
            json!({"signer": signer.to_string(), "stream": stream, "from": from, "to": to, "reason": reason});
        return out.always_object(&json!({"gap": gap}));
    }
    out.always(format_args!(
        "{BAD}lost{BAD:#} {from} to {to} of {signer} {DIM}({reason}; stream {stream}){DIM:#}"
    ));
    Ok(())
}

/// Reads `--since`.
fn begin(text: &str) -> Result<Begin, String> {
    match text {
        "last" => Ok(Begin::Last),
        "oldest" => Ok(Begin::Oldest),
        number if number.bytes().all(|b| b.is_ascii_digit()) => {
            number.parse().map(Begin::Seq).map_err(|error| error.to_string())
        }
        time => time.parse().map(Begin::Since).map_err(|_| {
            "expected `last`, `oldest`, a time such as 2026-11-24T12:00:00Z, or a number".to_owned()
        }),
    }
}

fn summary(out: &mut Output, counts: &Counts) {
    let refused: u64 = counts.rejected.values().sum();
    if out.is_json() {
        let reasons: serde_json::Map<_, _> =
            counts.rejected.iter().map(|(code, n)| (code.to_string(), json!(n))).collect();
        out.say(json!({
            "delivered": counts.delivered,
            "replayed": counts.replayed,
            "rejected": reasons,
            "unwanted": counts.unwanted,
        }));
        return;
    }
    let mut line = format!("{GOOD}{} delivered{GOOD:#}, {BAD}{refused} refused{BAD:#}", counts.delivered);
    for (code, count) in &counts.rejected {
        line.push_str(&format!("{DIM}, {code} {count}{DIM:#}"));
    }
    out.say(line);
}
