//! `fedmsg policy import`

use crate::cli::output::Output;
use crate::cli::{CliError, Global, Outcome};
use crate::limits::Limits;
use crate::policy::import::{from_can_send, from_fedmsg};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Write a policy from what a fedmsg deployment had. It goes to stdout, with tests, for a person to read.
///
/// --fedmsg takes the JSON that `fedmsg-config` prints, and takes over its routing_policy. --can-send takes lists of what each
/// certificate can send, in YAML, as Fedora kept them: entries with a `name`, or a `service`, and `can_send`, or `topics`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// With --can-send: what stands before each topic, such as org.fedoraproject.prod.
    #[arg(long, value_name = "PREFIX", conflicts_with = "fedmsg")]
    prefix: Option<String>,
    /// With --can-send: the host behind an entry's `service` (its certificate is SERVICE-HOST). May be repeated.
    #[arg(long = "host", value_name = "HOST", conflicts_with = "fedmsg")]
    hosts: Vec<String>,
    /// The policy's serial.
    #[arg(long, value_name = "N", default_value_t = 1)]
    serial: u64,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// JSON, as `fedmsg-config` prints it; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    fedmsg: Option<PathBuf>,
    /// YAML; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    can_send: Option<PathBuf>,
}

/// The most bytes that are read: lists of topics are short, and YAML has ways of being long.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn run(args: &Args, _global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let limits = &Limits::STANDARD;
    let (path, imported) = match (&args.source.fedmsg, &args.source.can_send) {
        (Some(path), _) => (path, from_fedmsg(&read(path)?, args.serial, limits)),
        (None, Some(path)) => {
            let text = read(path)?;
            (path, from_can_send(&text, args.prefix.as_deref(), &args.hosts, args.serial, limits))
        }
        (None, None) => return Err(CliError::new("nothing to import: --fedmsg FILE or --can-send FILE")),
    };
    let imported = imported.map_err(|error| CliError::new(format_args!("{}: {error}", path.display())))?;
    if out.is_json() {
        out.object(&json!({"policy": imported.text, "notes": imported.notes}))?;
    } else {
        out.line(imported.text.trim_end())?;
    }
    for note in &imported.notes {
        out.warn(note);
    }
    Ok(Outcome::Yes)
}

fn read(path: &Path) -> Result<String, CliError> {
    let failed = |e: std::io::Error| CliError::new(format_args!("{}: {e}", path.display()));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_string(&mut text)
    };
    let read = read.map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        return Ok(text);
    }
    Err(CliError::new(format_args!("{}: more than {MAX_BYTES} bytes", path.display())))
}
