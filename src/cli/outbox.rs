//! `fedmsg outbox`

use super::output::{DIM, Output, STRONG};
use super::{CliError, Global, Outcome, config};
use crate::store::outbox::{self, Dropped, OutboxReader, Report, SqliteOutboxReader};
use serde_json::{Value, json};
use std::path::Path;

/// What this machine has published, and keeps for those who missed it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(ShowArgs),
}

/// Show the stream of an outbox, what it has, and what fell out.
///
/// It may be in use meanwhile. Exit 2 if there is none, or if it is damaged.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Of this service. (Default: publisher.service of the configuration.)
    #[arg(long)]
    service: Option<String>,
    /// On this host. (Default: publisher.host of the configuration.)
    #[arg(long)]
    host: Option<String>,
}

pub(super) fn run(args: Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.command {
        Command::Show(args) => show(&args, global, out),
    }
}

fn show(args: &ShowArgs, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
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
