//! The environment: `FEDMSG_TABLE__KEY`.
//!
//! Two underscores stand where a dot stands in a file (`FEDMSG_TRUST__LEGACY__ACCEPT` is `trust.legacy.accept`), because one
//! underscore is part of many names. Everything after `FEDMSG_` is in capitals. A variable that begins so and stands
//! for no key is an error, so that a misspelt one is not silently without effect.

use super::schema::{self, KEYS, Key};
use super::sources::CONFIG_VARIABLE;
use super::suggest::nearest;

const PREFIX: &str = "FEDMSG_";

/// What a variable stands for.
#[derive(Debug)]
pub(super) enum Variable {
    /// Not ours.
    Foreign,
    /// A key: the schema's description, and the name within the table.
    Key(&'static Key, String),
    /// Not a value: the variable that names the directory.
    Reserved,
    /// Begins as ours do, and stands for nothing.
    Unknown { suggestion: Option<String> },
}

/// What the variable `name` stands for.
pub(super) fn variable(name: &str) -> Variable {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Variable::Foreign };
    if name == CONFIG_VARIABLE {
        return Variable::Reserved;
    }
    let capitals = rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let path = rest.to_ascii_lowercase().replace("__", ".");
    match path.rsplit_once('.') {
        Some((section, name)) if capitals && !name.is_empty() => match schema::find(section, name) {
            Some(key) => Variable::Key(key, name.to_owned()),
            None => unknown(rest),
        },
        Some(_) | None => unknown(rest),
    }
}

fn unknown(rest: &str) -> Variable {
    let upper = rest.to_ascii_uppercase();
    let names: Vec<String> = KEYS.iter().map(variable_name).collect();
    // One underscore for two is the likeliest slip.
    let squeezed = upper.replace("__", "_");
    let same = names.iter().find(|name| name[PREFIX.len()..].replace("__", "_") == squeezed);
    let whole = format!("{PREFIX}{upper}");
    let suggestion = same.cloned().or_else(|| {
        let closed = names.iter().filter(|name| !name.ends_with('*')).map(String::as_str);
        nearest(&whole, closed.chain([CONFIG_VARIABLE])).map(str::to_owned)
    });
    let service = upper.strip_prefix("ENDPOINTS_").filter(|service| !service.starts_with('_'));
    let endpoint = service.map(|service| format!("{PREFIX}ENDPOINTS__{service}"));
    Variable::Unknown { suggestion: suggestion.or(endpoint) }
}

/// The variable that stands for `key`: `FEDMSG_BUS__ENV`; of an open table, `FEDMSG_ENDPOINTS__*`.
pub fn variable_name(key: &Key) -> String {
    format!("{PREFIX}{}__{}", key.section.replace('.', "__"), key.name).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_variable() {
        for key in KEYS {
            let name = variable_name(key).replace('*', "SHELL");
            let Variable::Key(found, _) = variable(&name) else { panic!("{name} stands for no key") };
            assert_eq!(found.path(), key.path());
        }
        assert!(
            matches!(variable("FEDMSG_TRUST__LEGACY__ACCEPT"), Variable::Key(k, _) if k.section == "trust.legacy")
        );
        assert!(matches!(variable("FEDMSG_ENDPOINTS__BOX_1"), Variable::Key(_, name) if name == "box_1"));
        assert!(matches!(variable("FEDMSG_CONFIG"), Variable::Reserved));
        assert!(matches!(variable("PATH"), Variable::Foreign));
    }

    #[test]
    fn a_misspelt_variable_is_unknown_and_the_right_one_is_named() {
        for (name, expected) in [
            ("FEDMSG_BUS_ENV", Some("FEDMSG_BUS__ENV")),
            ("FEDMSG_TRUST__LEGACY_ACCEPT", Some("FEDMSG_TRUST__LEGACY__ACCEPT")),
            ("FEDMSG_bus__env", Some("FEDMSG_BUS__ENV")),
            ("FEDMSG_BUS__PREFX", Some("FEDMSG_BUS__PREFIX")),
            ("FEDMSG_CONFG", Some("FEDMSG_CONFIG")),
            ("FEDMSG_ENDPOINTS_SHELL", Some("FEDMSG_ENDPOINTS__SHELL")),
            ("FEDMSG_NOTHING_LIKE_IT_AT_ALL", None),
            ("FEDMSG_", None),
            ("FEDMSG_ENDPOINTS__", None),
        ] {
            let Variable::Unknown { suggestion } = variable(name) else { panic!("{name} is known") };
            assert_eq!(suggestion.as_deref(), expected, "{name}");
        }
    }
}
