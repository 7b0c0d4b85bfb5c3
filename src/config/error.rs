//! What can be wrong with a configuration: each error names the place, the key, the expected and the found.

use super::provenance::Origin;
use super::sources::DIRECTORY_NAME;
use super::value::ValueFault;
use crate::position::Position;
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong, in the order in which the sources are merged. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `None` where nothing is wrong.
    pub(super) fn new(errors: Vec<ConfigError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    pub(super) fn one(error: ConfigError) -> Self {
        Self(vec![error])
    }

    /// Each error.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_a_line(&self.0, f)
    }
}

/// Each error on a line of its own.
pub(crate) fn one_a_line(errors: &[impl fmt::Display], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (n, error) in errors.iter().enumerate() {
        f.write_str(if n > 0 { "\n" } else { "" })?;
        error.fmt(f)?;
    }
    Ok(())
}

impl std::error::Error for ConfigErrors {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The directory that was asked for has no `fedmsg.d`.
    #[error("{named_by}: {} has no fedmsg.d in it", directory.display())]
    DirectoryMissing {
        /// The directory that was named.
        directory: PathBuf,
        /// What named it: `--config` or `FEDMSG_CONFIG`.
        named_by: &'static str,
    },
    /// One endpoint was given to two, and only one of them can bind it.
    #[error("{origin}: {key} has {endpoint}, which {other} has too")]
    EndpointShared {
        /// Where the later of the two stands.
        origin: Origin,
        /// The later key.
        key: String,
        /// The endpoint.
        endpoint: String,
        /// The other key.
        other: String,
    },
    /// `bus.env` is not among `bus.envs`.
    #[error("{origin}: bus.env is `{env}`, which is not among bus.envs ({})", envs.join(", "))]
    EnvironmentUnlisted {
        /// Where `bus.env` stands.
        origin: Origin,
        /// Its value.
        env: String,
        /// What is accepted.
        envs: Vec<String>,
    },
    /// A key that has to be set because another is.
    #[error("{origin}: {because} needs `{missing}` to be set")]
    Incomplete {
        /// Where the other key stands.
        origin: Origin,
        /// The other key and its value.
        because: &'static str,
        /// The key that is not set.
        missing: &'static str,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}: {message}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// Not TOML 1.0.
    #[error("{at}: {message}")]
    Syntax {
        /// Where.
        at: Position,
        /// What the parser expected, on one line.
        message: String,
    },
    /// A file of more than [`super::MAX_FILE_BYTES`].
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A key that means nothing here.
    #[error("{origin}: unknown key `{key}`{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key, with its tables.
        key: String,
        /// A known key like it.
        suggestion: Option<String>,
    },
    /// A variable that begins with `FEDMSG_` and stands for no key.
    #[error("environment variable {name} stands for no key{}", did_you_mean(suggestion.as_deref()))]
    UnknownVariable {
        /// Its name.
        name: String,
        /// A known variable like it.
        suggestion: Option<String>,
    },
    /// The value of a key is not what it has to be.
    #[error("{origin}: {key}: {fault}")]
    Value {
        /// Where the value stands.
        origin: Origin,
        /// The key, with its tables.
        key: String,
        /// What is wrong with the value.
        fault: ValueFault,
    },
    /// The value of an environment variable is not UTF-8.
    #[error("environment variable {0} is not UTF-8")]
    VariableNotUtf8(String),
}

impl ConfigError {
    /// What mends it, where that is not already in the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DirectoryMissing { directory, .. } => Some(match inside(directory) {
                Some(above) => format!("name the directory that holds it: {}", above.display()),
                None => format!("make one with `fedmsg init {}`", directory.display()),
            }),
            Self::Incomplete { missing: "trust.legacy.revocation", .. } => Some(
                "revocation = \"crl\" checks the list in trust.legacy.crl, \"not-checked\" accepts stolen keys".to_owned(),
            ),
            Self::EndpointShared { .. }
            | Self::EnvironmentUnlisted { .. }
            | Self::Incomplete { .. }
            | Self::Read { .. }
            | Self::Syntax { .. }
            | Self::TooLarge { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownVariable { .. }
            | Self::Value { .. }
            | Self::VariableNotUtf8(_) => None,
        }
    }
}

/// The directory above, if `directory` is itself a `fedmsg.d`.
fn inside(directory: &Path) -> Option<&Path> {
    let named = directory.file_name().is_some_and(|name| name == DIRECTORY_NAME);
    let above = directory.parent().filter(|_| named)?;
    Some(if above.as_os_str().is_empty() { Path::new(".") } else { above })
}

pub(super) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}
