//! Merging: each source in turn puts its values over what is there, and everything that is wrong is said at once.

use super::env::{self, Variable};
use super::error::{ConfigError, ConfigErrors};
use super::provenance::{Origin, Setting};
use super::schema::{self, Config, KEYS, Key, OPEN_TABLES, Slot};
use super::sources::{Source, Sources};
use super::suggest::nearest;
use super::value::{Fault, LegacyRevocation, Name, Node, Raw, ValueFault};
use crate::position::Lines;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most bytes of one configuration file.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Config {
    /// The configuration of this machine with that of `directory`: what the command reads with `--config directory`.
    ///
    /// # Errors
    /// [`ConfigErrors`]: all that is wrong, in all sources.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        Self::load(&Sources::machine(Some(directory.as_ref())))
    }

    /// Reads and merges all `sources`, the built-in values first.
    ///
    /// # Errors
    /// [`ConfigErrors`]: all that is wrong, in all sources.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut loader = Loader::new()?;
        for source in &sources.0 {
            loader.source(source);
        }
        loader.relations();
        match ConfigErrors::new(loader.errors) {
            None => Ok(loader.config),
            Some(errors) => Err(errors),
        }
    }
}

struct Loader {
    config: Config,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn new() -> Result<Self, ConfigErrors> {
        let broken = |fault: Fault| {
            let (origin, key) = (Origin::BuiltIn, "built-in value".to_owned());
            ConfigErrors::one(ConfigError::Value { origin, key, fault: fault.fault })
        };
        Ok(Self { config: Config::first().map_err(broken)?, errors: Vec::new() })
    }

    fn source(&mut self, source: &Source) {
        match source {
            Source::Directory { files, base, required_by } => self.directory(files, base, *required_by),
            Source::Environment(variables) => self.environment(variables),
            Source::Flag { key, value, flag } => self.flag(key, value, flag),
            Source::Text { file, base, text } => self.text(file, base, text),
        }
    }

    fn directory(&mut self, files: &Path, base: &Path, required_by: Option<&'static str>) {
        let listed = fs::read_dir(files).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>()
        });
        let mut paths = match (listed, required_by) {
            (Ok(paths), _) => paths,
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => return,
            (Err(error), Some(named_by)) if error.kind() == io::ErrorKind::NotFound => {
                let directory = base.to_owned();
                return self.errors.push(ConfigError::DirectoryMissing { directory, named_by });
            }
            (Err(error), _) => return self.unreadable(files, &error),
        };
        paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        for path in paths {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
                self.file(&path, base);
            } else {
                self.config.ignored.push(path);
            }
        }
    }

    fn file(&mut self, path: &Path, base: &Path) {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
        let read = fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return self.unreadable(path, &error);
        }
        if bytes.len() > MAX_FILE_BYTES {
            return self.errors.push(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.text(&path.display().to_string(), base, &text),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes());
                // Up to the first bad byte the lossy text is the same as the file.
                let at =
                    Lines::new(&path.display().to_string(), &text).position(error.utf8_error().valid_up_to());
                self.errors.push(ConfigError::Syntax { at, message: "not UTF-8".to_owned() });
            }
        }
        self.config.files.push(path.to_owned());
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.errors.push(ConfigError::Read { path: path.to_owned(), message: error.to_string() });
    }

    fn text(&mut self, file: &str, base: &Path, text: &str) {
        let lines = Lines::new(file, text);
        let (table, faults) = DeTable::parse_recoverable(text);
        if !faults.is_empty() {
            // What a parser makes of the rest of a broken file is guesswork: nothing of it is used.
            self.errors.extend(faults.iter().map(|fault| ConfigError::Syntax {
                at: lines.position(fault.span().map_or(0, |span| span.start)),
                message: fault.message().lines().collect::<Vec<_>>().join(", "),
            }));
            return;
        }
        let mut file = File { lines: &lines, base, found: Vec::new() };
        file.table(self, "", table.get_ref());
        file.found.sort_by_key(|(at, _)| *at);
        self.errors.extend(file.found.into_iter().map(|(_, error)| error));
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut variables: Vec<_> = variables.iter().collect();
        variables.sort();
        for (name, value) in variables {
            // A name of ours is ASCII; one that is not UTF-8 is checked in its lossy form, so that it is refused too.
            let name = name.to_string_lossy();
            match (env::variable(&name), value.to_str()) {
                (Variable::Foreign | Variable::Reserved, _) => {}
                (Variable::Unknown { suggestion }, _) => {
                    self.errors.push(ConfigError::UnknownVariable { name: name.into_owned(), suggestion });
                }
                (Variable::Key(..), None) => {
                    self.errors.push(ConfigError::VariableNotUtf8(name.into_owned()));
                }
                (Variable::Key(key, own), Some(value)) => {
                    self.plain(key, &own, value, Origin::Environment(name.into_owned()));
                }
            }
        }
    }

    fn flag(&mut self, path: &str, value: &str, flag: &str) {
        let origin = Origin::Flag(flag.to_owned());
        match path.rsplit_once('.').and_then(|(section, name)| Some((schema::find(section, name)?, name))) {
            Some((key, name)) => self.plain(key, name, value, origin),
            None => {
                let (key, suggestion) = (path.to_owned(), suggest(path));
                self.errors.push(ConfigError::UnknownKey { origin, key, suggestion });
            }
        }
    }

    fn plain(&mut self, key: &Key, name: &str, value: &str, origin: Origin) {
        // Relative to the current directory, as in any other argument.
        if let Err(fault) = self.put(key, name, &key.plain(value), Path::new(""), origin.clone()) {
            let key = format!("{}.{name}", key.section);
            self.errors.push(ConfigError::Value { origin, key, fault: fault.fault });
        }
    }

    fn put(&mut self, key: &Key, name: &str, raw: &Raw, base: &Path, origin: Origin) -> Result<(), Fault> {
        if OPEN_TABLES.contains(&key.section) {
            let service = Name::new(name).map_err(|fault| Fault { at: raw.at, fault })?;
            let mut slot: Option<Setting<_>> = None;
            slot.put(raw, base, origin)?;
            let table = self.config.open_table_mut(key.section);
            table.0.extend(slot.map(|endpoints| (service, endpoints)));
            return Ok(());
        }
        match self.config.slot(key.section, name) {
            Some(slot) => slot.put(raw, base, origin),
            None => Ok(()),
        }
    }

    /// What keys demand of each other, once all are merged.
    fn relations(&mut self) {
        let Config { bus, legacy, policy, freshness, .. } = &self.config;
        if !bus.envs.contains(&bus.env) {
            self.errors.push(ConfigError::EnvironmentUnlisted {
                origin: bus.env.origin().clone(),
                env: bus.env.to_string(),
                envs: bus.envs.iter().map(Name::to_string).collect(),
            });
        }
        if *legacy.accept {
            let origin = legacy.accept.origin();
            let mut needs = |because, missing| {
                self.errors.push(ConfigError::Incomplete { origin: origin.clone(), because, missing });
            };
            if legacy.ca.is_none() {
                needs("trust.legacy.accept = true", "trust.legacy.ca");
            }
            match legacy.revocation.as_deref() {
                None => needs("trust.legacy.accept = true", "trust.legacy.revocation"),
                Some(LegacyRevocation::Crl) if legacy.crl.is_none() => {
                    needs("trust.legacy.revocation = \"crl\"", "trust.legacy.crl");
                }
                Some(LegacyRevocation::Crl | LegacyRevocation::NotChecked) => {}
            }
        }
        let signature = &policy.require_signature;
        let mut needs = |origin: &Origin, because, missing| {
            self.errors.push(ConfigError::Incomplete { origin: origin.clone(), because, missing });
        };
        if **signature {
            let origin = signature.origin();
            if policy.signers.is_empty() {
                needs(origin, "policy.require_signature = true", "policy.signers");
            }
            if policy.files.is_empty() {
                needs(origin, "policy.require_signature = true", "policy.files");
            }
            if freshness.state.is_none() {
                needs(origin, "policy.require_signature = true", "freshness.state");
            }
            if policy.files.len() > 1 && policy.signature.is_none() {
                needs(
                    policy.files.origin(),
                    "policy.require_signature = true, with several policy.files,",
                    "policy.signature",
                );
            }
        } else if !policy.signers.is_empty() && *signature.origin() == Origin::BuiltIn {
            // Whoever names signers may think that this is enough.
            needs(policy.signers.origin(), "policy.signers", "policy.require_signature");
        }
        let mut bound = BTreeMap::new();
        for section in OPEN_TABLES {
            for (service, list) in self.config.open_table(section).iter() {
                let key = format!("{section}.{service}");
                for endpoint in list.iter() {
                    if let Some(other) = bound.insert(endpoint, key.clone()) {
                        let (origin, endpoint) = (list.origin().clone(), endpoint.to_string());
                        let key = key.clone();
                        self.errors.push(ConfigError::EndpointShared { origin, key, endpoint, other });
                    }
                }
            }
        }
    }
}

/// One file while its tables are walked, and the faults found in it with their places.
struct File<'f> {
    lines: &'f Lines<'f>,
    base: &'f Path,
    found: Vec<(usize, ConfigError)>,
}

impl File<'_> {
    fn table(&mut self, loader: &mut Loader, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let at = name.span().start;
            let (origin, name) = (self.origin(at), name.get_ref().as_ref());
            let path = if section.is_empty() { quoted(name) } else { format!("{section}.{}", quoted(name)) };
            if schema::is_section(&path) {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(loader, &path, inner),
                    None => self.fault(&path, value.span().start, not_a_table(value.get_ref())),
                }
            } else if let Some(key) = schema::find(section, name) {
                if let Err(fault) = loader.put(key, name, &raw(value), self.base, origin) {
                    self.fault(&path, fault.at, fault.fault);
                }
            } else {
                let suggestion = suggest(&path);
                self.found.push((at, ConfigError::UnknownKey { origin, key: path, suggestion }));
            }
        }
    }

    fn fault(&mut self, path: &str, at: usize, fault: ValueFault) {
        let (origin, key) = (self.origin(at), path.to_owned());
        self.found.push((at, ConfigError::Value { origin, key, fault }));
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File(self.lines.position(at))
    }
}

fn not_a_table(value: &DeValue<'_>) -> ValueFault {
    ValueFault::Type { expected: "a table".to_owned(), found: kind(value) }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Float(_) => "a fraction",
        DeValue::Integer(_) => "an integer",
        DeValue::String(_) => "a text",
        DeValue::Table(_) => "a table",
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    let node = match value.get_ref() {
        DeValue::Array(items) => Node::List(items.iter().map(raw).collect()),
        DeValue::Boolean(value) => Node::Boolean(*value),
        DeValue::Integer(integer) => {
            Node::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
        }
        DeValue::String(text) => Node::Text(text.clone().into_owned()),
        other @ (DeValue::Datetime(_) | DeValue::Float(_) | DeValue::Table(_)) => Node::Other(kind(other)),
    };
    Raw { node, at: value.span().start }
}

/// A key as TOML writes it: in quotes unless it is bare.
fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

/// The known key or table that `path` may have been meant to be.
pub fn suggest(path: &str) -> Option<String> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let closed = || KEYS.iter().filter(|key| key.name != "*");
    let siblings = closed().filter(|key| key.section == section).map(|key| key.name);
    if let Some(near) = nearest(name, siblings) {
        return Some(format!("{section}.{near}"));
    }
    if let Some(key) = closed().find(|key| key.name == name) {
        return Some(key.path());
    }
    let sections = KEYS.iter().map(|key| key.section);
    if let Some(near) = nearest(path, sections) {
        return Some(near.to_owned());
    }
    let paths: Vec<String> = closed().map(Key::path).collect();
    nearest(path, paths.iter().map(String::as_str)).map(str::to_owned)
}
