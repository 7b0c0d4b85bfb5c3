//! `fedmsg outbox`

use super::output::{DIM, Output, STRONG};
use super::{CliError, Global, Outcome, config, runtime};
use crate::bus::replay::{ReplayLimits, ReplayServer};
use crate::config::Config;
use crate::store::outbox::{self, Dropped, OutboxReader, Report, SqliteOutboxReader};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// What this machine has published, and keeps for those who missed it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(ServeArgs),
    Show(ShowArgs),
}

/// Answer those who missed something, from an outbox on disk.
///
/// A running publisher does so itself. This is for services that publish by `fedmsg publish`, which is gone before anybody can
/// ask: at an endpoint of `[replay]`, from the file, which publishers use meanwhile. Ends on Ctrl-C.
#[derive(Debug, clap::Args)]
struct ServeArgs {
    #[command(flatten)]
    of: OfArgs,
}

/// Show the stream of an outbox, what it has, and what fell out.
///
/// It may be in use meanwhile. Exit 2 if there is none, or if it is damaged.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    of: OfArgs,
}

#[derive(Debug, clap::Args)]
struct OfArgs {
    /// Of this service. (Default: publisher.service of the configuration.)
    #[arg(long)]
    service: Option<String>,
    /// On this host. (Default: publisher.host of the configuration.)
    #[arg(long)]
    host: Option<String>,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.command {
        Command::Serve(args) => serve(&args.of, global, out),
        Command::Show(args) => show(&args.of, global, out),
    }
}

/// The configuration, and which file it is.
fn of(args: &OfArgs, global: &Global, out: &mut Output) -> Result<(Config, PathBuf, String), CliError> {
    let mut flags = Vec::new();
    if let Some(service) = &args.service {
        flags.push(("publisher.service", service.as_str(), "--service"));
    }
    if let Some(host) = &args.host {
        flags.push(("publisher.host", host.as_str(), "--host"));
    }
    let config = config::load(global, out, &flags)?;
    let missing = |key: &str| {
        CliError::new(format_args!("`{key}` is not configured"))
            .hint("`fedmsg init DIR` makes a bus with an outbox; `--config DIR` then uses it")
    };
    let directory = config.outbox.directory.as_ref().ok_or_else(|| missing("outbox.directory"))?;
    let service = config.publisher.service.as_ref().ok_or_else(|| missing("publisher.service"))?;
    let host = config.publisher.host.as_ref().ok_or_else(|| missing("publisher.host"))?;
    let file = outbox::file(directory.path(), service.as_str(), host.as_str());
    let service = service.to_string();
    Ok((config, file, service))
}

fn serve(args: &OfArgs, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (config, file, service) = of(args, global, out)?;
    let endpoints = config.replay.of(&service).ok_or_else(|| {
        CliError::new(format_args!("`replay.{service}` is not configured"))
            .hint(format!("write `{service} = [\"tcp://HOST:PORT\"]` under [replay], in a file of fedmsg.d"))
    })?;
    let endpoints: Vec<_> = endpoints.iter().cloned().collect();
    let reader = Box::new(SqliteOutboxReader::open(&file)?);
    runtime()?.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let server = ReplayServer::start(&endpoints, reader, ReplayLimits::STANDARD)?;
        let (file, at) = (file.display(), server.endpoint());
        out.say(format_args!("{DIM}answering from {file} at {at}; Ctrl-C ends it{DIM:#}"));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let counts = server.counts();
        let (answered, messages) = (counts.answered, counts.messages);
        out.say(format_args!("{answered} requests answered, with {messages} messages"));
        Ok(Outcome::Yes)
    })
}

fn show(args: &OfArgs, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let (_, file, _) = of(args, global, out)?;
    let report = SqliteOutboxReader::open(&file)?.report()?;
    if out.is_json() {
        out.object(&object(&file, &report))?;
    } else {
        text(&file, &report, out)?;
    }
    Ok(Outcome::Yes)
}

fn object(file: &Path, report: &Report) -> Value {
    let extent = report.extent;
    let dropped: Vec<Value> = report.dropped.iter().map(dropped_object).collect();
    json!({
        "file": file.display().to_string(),
        "signer": report.signer,
        "stream": extent.stream.to_string(),
        "created": report.created.to_string(),
        "oldest": extent.oldest,
        "newest": extent.newest,
        "messages": extent.count(),
        "bytes": report.bytes,
        "from": report.between.map(|(from, _)| from.to_string()),
        "until": report.between.map(|(_, until)| until.to_string()),
        "dropped": dropped,
    })
}

fn dropped_object(dropped: &Dropped) -> Value {
    json!({
        "first": dropped.first,
        "last": dropped.last,
        "too_old": dropped.why.too_old,
        "over_bytes": dropped.why.over_bytes,
        "bytes": dropped.bytes,
        "since": dropped.since.to_string(),
        "until": dropped.until.to_string(),
    })
}

fn text(file: &Path, report: &Report, out: &mut Output) -> std::io::Result<()> {
    let extent = report.extent;
    out.line(format_args!("{STRONG}{}{STRONG:#}", file.display()))?;
    out.line(format_args!("stream    {} {DIM}by {}{DIM:#}", extent.stream, report.signer))?;
    out.line(format_args!("begun     {}", report.created))?;
    match report.between {
        None => out.line(format_args!("messages  none, of {} published", extent.newest))?,
        Some((from, until)) => out.line(format_args!(
            "messages  {} to {} {DIM}({}, {} bytes, {from} to {until}){DIM:#}",
            extent.oldest,
            extent.newest,
            extent.count(),
            report.bytes
        ))?,
    }
    for dropped in &report.dropped {
        let why = dropped.why;
        out.line(format_args!(
            "fell out  {} to {} {DIM}({} too old, {} for room; {} to {}){DIM:#}",
            dropped.first, dropped.last, why.too_old, why.over_bytes, dropped.since, dropped.until
        ))?;
    }
    Ok(())
}
