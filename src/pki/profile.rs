//! Profiles: the lives and kinds of key of what an authority makes (`certs/*.toml`).
//!
//! A profile says how long and with which keys. What a certificate may be used for is not in it: that is fixed in
//! [`authority`](super::authority), because a mistake there would make every other check worthless.

use super::key::KeyKind;
use crate::position::{Lines, Position};
use serde::Deserialize;
use std::time::Duration;

/// The profiles that are built in.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("root.toml", include_str!("../../certs/root.toml")),
    ("issuing.toml", include_str!("../../certs/issuing.toml")),
    ("service.toml", include_str!("../../certs/service.toml")),
];

/// No profile may go over a hundred years: it would be a slip of the finger.
const MAX_DAYS: u32 = 36_500;

/// An authority's own certificate and its revocation lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityProfile {
    /// How long its certificate lives.
    pub lifetime: Duration,
    /// How long each of its revocation lists lives.
    pub crl_lifetime: Duration,
    /// The kind of its key.
    pub key_kind: KeyKind,
}

/// A service's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProfile {
    /// How long it lives unless the request says otherwise.
    pub lifetime: Duration,
    /// The longest life that a request may ask for.
    pub max_lifetime: Duration,
    /// The kind of key that is made unless the request says otherwise.
    pub default_key_kind: KeyKind,
    /// The kinds of key that are allowed, the default among them.
    pub key_kinds: Vec<KeyKind>,
}

/// The three profiles of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// The root's.
    pub root: AuthorityProfile,
    /// The issuing authority's.
    pub issuing: AuthorityProfile,
    /// The services'.
    pub service: ServiceProfile,
}

/// Why a profile cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A kind of key that is not known, or none at all.
    #[error("{at}: {found}; expected p256 or ed25519")]
    KeyKind {
        /// Where it stands.
        at: Position,
        /// What was found.
        found: String,
    },
    /// A number of days that is zero, too large, or contradicts another.
    #[error("{at}: `{key}` is {found}, expected 1 to {most}")]
    Days {
        /// Where it stands.
        at: Position,
        /// Its name.
        key: &'static str,
        /// What was found, in days.
        found: u32,
        /// The most that is allowed, in days.
        most: u32,
    },
    /// Not TOML, an unknown key, a missing key, or the wrong type.
    #[error("{at}: {message}")]
    Syntax {
        /// Where it stands.
        at: Position,
        /// What the TOML reader says.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityTable {
    days: toml::Spanned<u32>,
    crl_days: toml::Spanned<u32>,
    key_kind: toml::Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    days: toml::Spanned<u32>,
    max_days: toml::Spanned<u32>,
    key_kinds: toml::Spanned<Vec<toml::Spanned<String>>>,
}

impl Profiles {
    /// Reads the profiles; `text_of` gives the name and text of the file that replaces a built-in one, if there is one.
    ///
    /// # Errors
    /// [`ProfileError`], with file and line.
    pub fn parse<F>(mut text_of: F) -> Result<Self, ProfileError>
    where
        F: FnMut(&'static str) -> Option<(String, String)>,
    {
        let mut source = |(name, built_in): (&'static str, &str)| {
            text_of(name).unwrap_or_else(|| (format!("certs/{name}"), built_in.to_owned()))
        };
        let [root, issuing, service] = BUILT_IN.map(&mut source);
        Ok(Self {
            root: AuthorityProfile::parse(&root.0, &root.1)?,
            issuing: AuthorityProfile::parse(&issuing.0, &issuing.1)?,
            service: ServiceProfile::parse(&service.0, &service.1)?,
        })
    }

    /// The built-in profiles.
    ///
    /// # Errors
    /// None that a test has not seen; they are read as any other file is.
    pub fn built_in() -> Result<Self, ProfileError> {
        Self::parse(|_| None)
    }
}

impl AuthorityProfile {
    /// Reads `root.toml` or `issuing.toml`.
    ///
    /// # Errors
    /// [`ProfileError`], with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProfileError> {
        let lines = Lines::new(file, text);
        let table: AuthorityTable = table(&lines, text)?;
        let lifetime = days(&lines, "days", &table.days, MAX_DAYS)?;
        // A list that outlives its issuer's certificate says nothing in its last days.
        let crl_lifetime = days(&lines, "crl_days", &table.crl_days, *table.days.get_ref())?;
        Ok(Self { lifetime, crl_lifetime, key_kind: key_kind(&lines, &table.key_kind)? })
    }
}

impl ServiceProfile {
    /// Reads `service.toml`.
    ///
    /// # Errors
    /// [`ProfileError`], with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProfileError> {
        let lines = Lines::new(file, text);
        let table: ServiceTable = table(&lines, text)?;
        let max_lifetime = days(&lines, "max_days", &table.max_days, MAX_DAYS)?;
        let lifetime = days(&lines, "days", &table.days, *table.max_days.get_ref())?;
        let kinds = table.key_kinds.get_ref().iter().map(|kind| key_kind(&lines, kind));
        let key_kinds = kinds.collect::<Result<Vec<_>, _>>()?;
        let Some(default_key_kind) = key_kinds.first().copied() else {
            let at = lines.position(table.key_kinds.span().start);
            return Err(ProfileError::KeyKind { at, found: "`key_kinds` is empty".to_owned() });
        };
        Ok(Self { lifetime, max_lifetime, default_key_kind, key_kinds })
    }
}

fn table<'t, T: Deserialize<'t>>(lines: &Lines<'t>, text: &'t str) -> Result<T, ProfileError> {
    toml::from_str(text).map_err(|error| ProfileError::Syntax {
        at: lines.position(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', " "),
    })
}

fn days(
    lines: &Lines<'_>,
    key: &'static str,
    value: &toml::Spanned<u32>,
    most: u32,
) -> Result<Duration, ProfileError> {
    let found = *value.get_ref();
    if (1..=most).contains(&found) {
        return Ok(Duration::from_secs(u64::from(found) * 86_400));
    }
    Err(ProfileError::Days { at: lines.position(value.span().start), key, found, most })
}

fn key_kind(lines: &Lines<'_>, value: &toml::Spanned<String>) -> Result<KeyKind, ProfileError> {
    value.get_ref().parse().map_err(|_| ProfileError::KeyKind {
        at: lines.position(value.span().start),
        found: format!("`{}` is not a kind of key", value.get_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_the_documented_ones() {
        let profiles = Profiles::built_in().unwrap();
        let days = |d: Duration| d.as_secs() / 86_400;
        let lives = [profiles.root, profiles.issuing].map(|p| (days(p.lifetime), days(p.crl_lifetime)));
        assert_eq!(lives, [(3650, 180), (730, 7)]);
        assert_eq!(days(profiles.service.lifetime), 90);
        assert_eq!(profiles.service.key_kinds, [KeyKind::P256, KeyKind::Ed25519]);
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        for (text, expected) in [
            ("days = 0\nmax_days = 9\nkey_kinds = [\"p256\"]", "s.toml:1:8: `days` is 0, expected 1 to 9"),
            ("days = 10\nmax_days = 9\nkey_kinds = [\"p256\"]", "s.toml:1:8: `days` is 10, expected 1 to 9"),
            ("days = 1\nmax_days = 40000\nkey_kinds = [\"p256\"]", "s.toml:2:12: `max_days` is 40000"),
            ("days = 1\nmax_days = 9\nkey_kinds = []", "s.toml:3:13: `key_kinds` is empty"),
            ("days = 1\nmax_days = 9\nkey_kinds = [\"rsa\"]", "s.toml:3:14: `rsa` is not a kind of key"),
            ("days = 1\nmax_days = 9", "missing field `key_kinds`"),
            ("days = -1\n", "s.toml:1:8: "),
            ("days = 1\nmax_dais = 9\nkey_kinds = [\"p256\"]", "s.toml:2:1: unknown field `max_dais`"),
            ("days = \n", "s.toml:1:"),
        ] {
            let error = ServiceProfile::parse("s.toml", text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
