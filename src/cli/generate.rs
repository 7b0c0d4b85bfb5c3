//! `fedmsg generate`

use super::output::Output;
use super::{Cli, CliError, Global, Outcome};
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};

/// Make shell completions and manual pages.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the completions of a shell: `fedmsg generate completions bash > /etc/bash_completion.d/fedmsg`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, one a subcommand, into a directory.
    Man {
        /// The directory; it is made if it is not there, and pages in it are replaced.
        directory: PathBuf,
    },
}

pub(super) fn run(args: Args, _global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    match args.what {
        What::Completions { shell } => completions(shell, out),
        What::Man { directory } => man(&directory, out),
    }
}

fn completions(shell: Shell, out: &mut Output) -> Result<Outcome, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fedmsg", &mut script);
    let script = String::from_utf8_lossy(&script);
    if out.is_json() {
        out.object(&serde_json::json!({ "shell": shell.to_string(), "script": script }))?;
    } else {
        out.line(script.trim_end())?;
    }
    Ok(Outcome::Yes)
}

fn man(directory: &Path, out: &mut Output) -> Result<Outcome, CliError> {
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .and_then(|()| fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect());
    let mut pages: Vec<PathBuf> = written.map_err(|error: std::io::Error| {
        CliError::new(format_args!("cannot write manual pages to {}: {error}", directory.display()))
    })?;
    let page = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            name.to_string_lossy().starts_with("fedmsg") && name.to_string_lossy().ends_with(".1")
        })
    };
    pages.retain(page);
    pages.sort();
    for page in pages {
        if out.is_json() {
            out.object(&serde_json::json!({ "page": page.display().to_string() }))?;
        } else {
            out.line(page.display())?;
        }
    }
    Ok(Outcome::Yes)
}
