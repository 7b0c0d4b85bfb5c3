//! Passphrases of the authority's keys: from a file, a file descriptor, or a terminal.

use super::CliError;
use crate::pki::key::{Passphrase, PassphraseError};
use crate::store::authority::{Level, PassphraseSource, PassphraseUse};
use crate::store::passphrase::{self, PassphraseSourceError};
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Where the passphrases come from. Never an argument or the environment: others can read those.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Passphrases of the authority's keys (asked for on a terminal)")]
pub(super) struct PassphraseArgs {
    /// Read the passphrase from this file: one line, mode 0600.
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this file descriptor: one line.
    #[arg(long, global = true, value_name = "N", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u32>,
    /// That of the root's key, where it is another one.
    #[arg(long, global = true, value_name = "FILE")]
    root_passphrase_file: Option<PathBuf>,
    /// That of the root's key, where it is another one.
    #[arg(long, global = true, value_name = "N", conflicts_with = "root_passphrase_file")]
    root_passphrase_fd: Option<u32>,
}

/// Where one passphrase is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Descriptor(u32),
    File(PathBuf),
}

impl Place {
    pub(super) fn of(file: Option<&Path>, descriptor: Option<u32>) -> Option<Self> {
        file.map(|file| Self::File(file.to_owned())).or_else(|| descriptor.map(Self::Descriptor))
    }

    fn read(&self) -> Result<Passphrase, PassphraseSourceError> {
        match self {
            Self::Descriptor(number) => passphrase::from_descriptor(*number),
            Self::File(path) => passphrase::from_file(path),
        }
    }
}

/// Whoever is asked. What was read from a place is kept: a descriptor is read once.
#[derive(Debug)]
pub(super) struct Passphrases {
    everywhere: Option<Place>,
    root: Option<Place>,
    prompts: bool,
    read: Mutex<HashMap<Place, Passphrase>>,
}

impl Passphrases {
    /// As the arguments say. With `prompts`, the terminal is asked where they say nothing.
    pub(super) fn new(args: &PassphraseArgs, prompts: bool) -> Self {
        Self {
            everywhere: Place::of(args.passphrase_file.as_deref(), args.passphrase_fd),
            root: Place::of(args.root_passphrase_file.as_deref(), args.root_passphrase_fd),
            prompts,
            read: Mutex::default(),
        }
    }

    /// From one place for every key, and from the terminal if there is none.
    pub(super) fn only(place: Option<Place>) -> Self {
        Self { everywhere: place, root: None, prompts: true, read: Mutex::default() }
    }

    /// Whether a passphrase can be had at all.
    pub(super) fn can_answer(&self) -> bool {
        self.everywhere.is_some() || self.root.is_some() || self.has_terminal()
    }

    /// Whether the arguments name one.
    pub(super) fn is_named(&self) -> bool {
        self.everywhere.is_some() || self.root.is_some()
    }

    fn has_terminal(&self) -> bool {
        self.prompts && io::stdin().is_terminal()
    }
}

impl PassphraseSource for Passphrases {
    fn passphrase(
        &self,
        level: Level,
        key: &Path,
        use_: PassphraseUse,
    ) -> Result<Passphrase, PassphraseSourceError> {
        let place = match level {
            Level::Root => self.root.as_ref().or(self.everywhere.as_ref()),
            Level::Issuing => self.everywhere.as_ref(),
        };
        if let Some(place) = place {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(passphrase) = read.get(place) {
                return Ok(passphrase.clone());
            }
            let passphrase = place.read()?;
            read.insert(place.clone(), passphrase.clone());
            return Ok(passphrase);
        }
        if !self.has_terminal() {
            return Err(PassphraseSourceError::Unavailable);
        }
        match use_ {
            PassphraseUse::Existing => prompt(&format!("passphrase of {}: ", key.display())),
            PassphraseUse::New => {
                let first = prompt(&format!("new passphrase for the {level} authority's key: "))?;
                if prompt("the same again: ")? == first {
                    Ok(first)
                } else {
                    Err(PassphraseSourceError::Differ)
                }
            }
        }
    }
}

fn prompt(question: &str) -> Result<Passphrase, PassphraseSourceError> {
    let from = || "the terminal".to_owned();
    let typed = rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|cause| PassphraseSourceError::Read { from: from(), cause })?;
    let form = |cause: PassphraseError| PassphraseSourceError::Form { from: from(), cause };
    Passphrase::new(typed.as_bytes()).map_err(form)
}

/// What to say where a choice was to be made and was not.
pub(super) fn undecided(what: &str) -> CliError {
    CliError::new(format_args!(
        "whether {what} is encrypted has to be said, as there is no terminal to ask at"
    ))
    .hint("--passphrase-file FILE or --passphrase-fd N encrypts it: do so for anything but trying things out")
    .hint("--unencrypted leaves it readable for whoever can read its file")
}
