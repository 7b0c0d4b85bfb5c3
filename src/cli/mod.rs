//! The command line: one file a subcommand, each with its `Args` (whose doc comments are the help) and one `run`.
//!
//! stdout is data and stderr is talk. A command ends with an [`Outcome`] (exit 0 or 1) or a [`CliError`] (exit 2).

mod ca;
mod cert;
mod config;
mod demo;
mod generate;
mod init;
mod outbox;
pub mod output;
mod policy;
mod publish;
mod tail;
mod verdict;
mod verify;

use clap::{Parser, Subcommand, ValueEnum};
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Signed publish, verified delivery: the messaging framework of an infrastructure.
#[derive(Debug, Parser)]
#[command(name = "fedmsg", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// A directory that `fedmsg init` made, or any with a `fedmsg.d` in it.
    #[arg(long, global = true, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// One JSON object a line on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on stderr (-vv: still more).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only warnings, errors and refused messages on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colours: `auto` (on a terminal), `always` or `never`.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN",
          hide_possible_values = true, hide_default_value = true)]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where stdout is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Ca(ca::Args),
    Cert(cert::Args),
    Publish(publish::Args),
    Outbox(outbox::Args),
    Tail(tail::Args),
    Verify(verify::Args),
    Policy(policy::Args),
    Config(config::Args),
    Generate(generate::Args),
}

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit 0: done, or yes.
    Yes,
    /// Exit 1: the answer is no (rejected, denied, revoked, tampered).
    No,
}

/// Why a command could not do its work: exit 2. One line, and hints that name the command that mends it.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hints: Vec<String>,
}

impl CliError {
    /// A one-line message, lower case, naming the file, line and thing.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), hints: Vec::new() }
    }

    /// Adds a `hint:` line.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl<E: std::error::Error> From<E> for CliError {
    /// The error and its sources on one line.
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

impl Global {
    /// A `fedmsg` command for a hint: with our own --config, so that it can be run as it stands.
    fn command(&self, rest: impl std::fmt::Display) -> String {
        match &self.config {
            Some(config) => format!("fedmsg --config {} {rest}", shell_quoted(&config.display().to_string())),
            None => format!("fedmsg {rest}"),
        }
    }
}

/// As a POSIX shell reads it back.
fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Sends the library's log to stderr: warnings, with `-v` what happens, with `-vv` everything. `RUST_LOG` says it more
/// exactly.
fn log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        // The engine's own log speaks of peers by random bytes.
        (false, 1) => "info,zeromq=warn",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let ansi = global.color == Color::Always
        || (global.color == Color::Auto && std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // A second subscriber cannot be set, and the first does as well.
    let _ = if global.json { log.json().try_init() } else { log.with_ansi(ansi).try_init() };
}

/// A runtime for a command that talks to the bus. One thread: what is heavy has its own.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::new(format_args!("cannot start: {error}")))
}

/// Runs the command line and says with which code to exit.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap exits 2 for usage errors and 0 for --help and --version: as we do.
            let code = if error.use_stderr() { 2 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(2) };
        }
    };
    log(&cli.global);
    let mut out = Output::new(&cli.global);
    let ended = match cli.command {
        Command::Demo(args) => demo::run(args, &cli.global, &mut out),
        Command::Init(args) => init::run(args, &cli.global, &mut out),
        Command::Ca(args) => ca::run(args, &cli.global, &mut out),
        Command::Cert(args) => cert::run(args, &cli.global, &mut out),
        Command::Publish(args) => publish::run(args, &cli.global, &mut out),
        Command::Outbox(args) => outbox::run(args, &cli.global, &mut out),
        Command::Tail(args) => tail::run(args, &cli.global, &mut out),
        Command::Verify(args) => verify::run(args, &cli.global, &mut out),
        Command::Policy(args) => policy::run(args, &cli.global, &mut out),
        Command::Config(args) => config::run(args, &cli.global, &mut out),
        Command::Generate(args) => generate::run(args, &cli.global, &mut out),
    };
    match ended {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        // Whoever read our output has gone (`fedmsg tail | head`): nothing is left to do, and nothing went wrong.
        Err(_) if out.reader_gone() => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error.message);
            for hint in &error.hints {
                out.hint(hint);
            }
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_directory_back() {
        for (text, expected) in
            [("a/b-1", "a/b-1"), ("my bus", "'my bus'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(shell_quoted(text), expected);
        }
    }
}
