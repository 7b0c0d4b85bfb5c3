//! What a configuration is read from, in the order of merging.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The name of the directory of files, below each directory that can hold one.
pub const DIRECTORY_NAME: &str = "fedmsg.d";

/// The variable that names the directory, where the command line does not.
pub const CONFIG_VARIABLE: &str = "FEDMSG_CONFIG";

/// The sources of a configuration: what is added later wins, key by key.
#[derive(Clone, Debug)]
pub struct Sources(pub(super) Vec<Source>);

#[derive(Clone, Debug)]
pub(super) enum Source {
    Directory { files: PathBuf, base: PathBuf, required_by: Option<&'static str> },
    Environment(Vec<(OsString, OsString)>),
    Flag { key: String, value: String, flag: String },
    Text { file: String, base: PathBuf, text: String },
}

impl Sources {
    /// The built-in values and nothing else: the start of a configuration of one's own.
    pub fn built_in() -> Self {
        Self(Vec::new())
    }

    /// What the command goes by: `/etc/fedmsg.d`, `~/.fedmsg.d`, `./fedmsg.d`, then `fedmsg.d` in `directory` (or, if that is
    /// `None`, in what `FEDMSG_CONFIG` names), then the environment. Flags are added with [`Sources::flag`].
    ///
    /// This is the one place that looks at the process's environment.
    pub fn machine(directory: Option<&Path>) -> Self {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let named = directory.map(|directory| (directory.to_owned(), "--config")).or_else(|| {
            let value = std::env::var_os(CONFIG_VARIABLE)?;
            Some((PathBuf::from(value), CONFIG_VARIABLE))
        });
        let mut sources = Self::built_in().with(optional("/etc", DIRECTORY_NAME));
        if let Some(home) = home {
            sources = sources.with(optional(&home, ".fedmsg.d"));
        }
        // The directory that is named and the current one may be the same: it is then read once, as the one named.
        let here = |directory: &Path| same_directory(directory, Path::new("."));
        if !named.as_ref().is_some_and(|(directory, _)| here(directory)) {
            sources = sources.with(optional("", DIRECTORY_NAME));
        }
        if let Some((directory, named_by)) = named {
            sources = sources.with(required(&directory, named_by));
        }
        sources.environment(std::env::vars_os())
    }

    /// Adds the files of `directory/fedmsg.d`, which has to be there. Relative paths in them are taken from `directory`.
    #[must_use]
    pub fn directory(self, directory: &Path) -> Self {
        self.with(required(directory, "--config"))
    }

    /// Adds variables. Those that do not begin with `FEDMSG_` are passed over.
    #[must_use]
    pub fn environment(self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.with(Source::Environment(variables.into_iter().collect()))
    }

    /// Adds one key (`bus.env`), in the same plain text as a variable's, with the name of the flag that gave it (`--env`).
    #[must_use]
    pub fn flag(self, key: &str, value: &str, flag: &str) -> Self {
        self.with(Source::Flag { key: key.to_owned(), value: value.to_owned(), flag: flag.to_owned() })
    }

    /// Adds the text of a file that is not on disk. Relative paths in it are taken from `base`.
    #[must_use]
    pub fn text(self, file: &str, base: &Path, text: &str) -> Self {
        self.with(Source::Text { file: file.to_owned(), base: base.to_owned(), text: text.to_owned() })
    }

    fn with(mut self, source: Source) -> Self {
        self.0.push(source);
        self
    }
}

fn optional(base: impl AsRef<Path>, name: &str) -> Source {
    let base = base.as_ref().to_owned();
    Source::Directory { files: base.join(name), base, required_by: None }
}

fn required(base: &Path, named_by: &'static str) -> Source {
    let (files, base) = (base.join(DIRECTORY_NAME), base.to_owned());
    Source::Directory { files, base, required_by: Some(named_by) }
}

fn same_directory(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        (Ok(_) | Err(_), _) => false,
    }
}
