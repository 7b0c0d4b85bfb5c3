//! Every value with its origin, and the reference of the keys: what people read.

use super::provenance::Origin;
use super::schema::{Config, KEYS, OPEN_TABLES, Slot};
use std::fmt::Write;
use std::path::PathBuf;

/// One key of a loaded configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'c> {
    /// The key with its table.
    pub key: String,
    /// The value; `None` where it is not set.
    pub value: Option<toml::Value>,
    /// Where it came from; `None` where it is not set.
    pub origin: Option<&'c Origin>,
}

impl Config {
    /// Every key, set or not, in the order of the reference.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let open = OPEN_TABLES.into_iter().flat_map(|section| {
            self.open_table(section).iter().map(move |(service, list)| {
                let slot: &dyn Slot = list;
                (format!("{section}.{service}"), slot)
            })
        });
        let closed =
            self.slots().into_iter().map(|(section, name, slot)| (format!("{section}.{name}"), slot));
        open.chain(closed)
            .map(|(key, slot)| {
                let (value, origin) = slot.entry().unzip();
                Entry { key, value, origin }
            })
            .collect()
    }

    /// The files that were read, in the order of merging.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What lies in the directories and was not read, because it is no `.toml` file.
    pub fn ignored(&self) -> &[PathBuf] {
        &self.ignored
    }
}

/// The reference of all keys, in Markdown, as `docs/configuration.md` has it.
pub fn reference() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let _ = write!(
                text,
                "\n### `[{section}]`\n\n| key | type | built-in value | meaning |\n| --- | --- | --- | --- |\n"
            );
        }
        let name = if key.name == "*" { "SERVICE" } else { key.name };
        let built_in = match key.built_in {
            None => "none".to_owned(),
            Some("") => "empty".to_owned(),
            Some(built_in) => format!("`{built_in}`"),
        };
        let _ = writeln!(text, "| `{name}` | {} | {built_in} | {} |", key.kind(), key.doc.trim());
    }
    text
}
