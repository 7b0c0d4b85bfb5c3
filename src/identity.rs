//! Who signed: the one identity of a certificate.
//!
//! `spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST`, in the strictest reading of the SPIFFE ID specification (sections 2.1 and 2.2):
//! what could be written in two ways is refused, so that two equal identities are equal byte for byte. Where a trust
//! anchor is configured so (legacy and foreign authorities), the identity is the common name instead: `cn:NAME`.

use std::fmt;
use std::str::FromStr;

/// The most bytes of an identity (SPIFFE ID, section 2.3).
pub const MAX_BYTES: usize = 2048;

/// A service on a host in an environment, or a legacy common name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// `cn:NAME`, from an anchor configured for common names.
    CommonName(CommonName),
    /// `spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST`.
    Spiffe(SpiffeId),
}

/// The name of a certificate that has no SPIFFE identity: printable ASCII without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommonName(Box<str>);

/// A SPIFFE identity of three path segments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    /// Where each part ends in `text`: trust domain, env, service (host runs to the end).
    ends: [usize; 3],
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A character that could be written in another way or means something else.
    #[error("identity `{identity}` has {character:?} in its {part}; a-z 0-9 - _ . are allowed")]
    Character {
        /// The whole text.
        identity: String,
        /// The character.
        character: char,
        /// Which part of the identity it stands in.
        part: &'static str,
    },
    /// A common name that is empty or has a character that is not printable ASCII.
    #[error("common name {0:?} is not 1 to 2048 printable ASCII characters without spaces")]
    CommonName(String),
    /// Neither `spiffe://` nor `cn:`.
    #[error("identity `{0}` begins with neither spiffe:// nor cn:")]
    Scheme(String),
    /// A part that is empty, `.`, `..`, or begins or ends with a dot.
    #[error("identity `{identity}` has `{found}` as its {part}")]
    Segment {
        /// The whole text.
        identity: String,
        /// Which part.
        part: &'static str,
        /// What stands there.
        found: String,
    },
    /// Not three path segments.
    #[error(
        "identity `{identity}` has {found} path segments, expected 3: spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST"
    )]
    Segments {
        /// The whole text.
        identity: String,
        /// How many were found.
        found: usize,
    },
    /// More bytes than [`MAX_BYTES`].
    #[error("identity has {found} bytes, the limit is {MAX_BYTES}")]
    TooLong {
        /// What was found, in bytes.
        found: usize,
    },
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// Makes an identity from its parts.
    ///
    /// # Errors
    /// An [`IdentityError`] that names the part.
    pub fn new(trust_domain: &str, env: &str, service: &str, host: &str) -> Result<Self, IdentityError> {
        let text = format!("{SCHEME}{trust_domain}/{env}/{service}/{host}");
        if text.len() > MAX_BYTES {
            return Err(IdentityError::TooLong { found: text.len() });
        }
        let parts = [("trust domain", trust_domain), ("env", env), ("service", service), ("host", host)];
        for (part, found) in parts {
            check_part(&text, part, found)?;
        }
        let domain_end = SCHEME.len() + trust_domain.len();
        let env_end = domain_end + 1 + env.len();
        Ok(Self { ends: [domain_end, env_end, env_end + 1 + service.len()], text: text.into_boxed_str() })
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain: whose authority it is.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.ends[0]]
    }

    /// The environment: `dev`, `stg`, `prod`.
    pub fn env(&self) -> &str {
        &self.text[self.ends[0] + 1..self.ends[1]]
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.text[self.ends[1] + 1..self.ends[2]]
    }

    /// The host.
    pub fn host(&self) -> &str {
        &self.text[self.ends[2] + 1..]
    }
}

fn check_part(identity: &str, part: &'static str, found: &str) -> Result<(), IdentityError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if let Some(character) = found.chars().find(|c| !allowed(*c)) {
        return Err(IdentityError::Character { identity: identity.to_owned(), character, part });
    }
    if found.is_empty() || found.starts_with('.') || found.ends_with('.') {
        let (identity, found) = (identity.to_owned(), found.to_owned());
        return Err(IdentityError::Segment { identity, part, found });
    }
    Ok(())
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.len() > MAX_BYTES {
            return Err(IdentityError::TooLong { found: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Scheme(text.to_owned()))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [domain, env, service, host] = parts[..] else {
            return Err(IdentityError::Segments { identity: text.to_owned(), found: parts.len() - 1 });
        };
        Self::new(domain, env, service, host)
    }
}

impl CommonName {
    /// Takes a certificate's common name.
    ///
    /// # Errors
    /// [`IdentityError::CommonName`] unless it is 1 to 2048 printable ASCII characters without spaces.
    pub fn new(name: &str) -> Result<Self, IdentityError> {
        if name.is_empty() || name.len() > MAX_BYTES || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdentityError::CommonName(name.chars().take(MAX_BYTES).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name, without `cn:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Identity {
    /// The SPIFFE identity, if it is one.
    pub fn spiffe(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(id) => Some(id),
            Self::CommonName(_) => None,
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        match text.strip_prefix("cn:") {
            Some(name) => CommonName::new(name).map(Self::CommonName),
            None => text.parse().map(Self::Spiffe),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommonName(name) => write!(f, "cn:{}", name.0),
            Self::Spiffe(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_found() {
        let id: SpiffeId = "spiffe://fedoraproject.org/prod/bodhi/app01.phx2".parse().unwrap();
        assert_eq!(
            (id.trust_domain(), id.env(), id.service(), id.host()),
            ("fedoraproject.org", "prod", "bodhi", "app01.phx2")
        );
        assert_eq!(Identity::from_str("cn:bodhi-app01").unwrap().to_string(), "cn:bodhi-app01");
    }

    #[test]
    fn what_could_be_written_twice_is_refused() {
        for (text, expected) in [
            ("spiffe://a.org/prod/bodhi/app01/", "4 path segments"),
            ("spiffe://a.org/prod/bodhi", "2 path segments"),
            ("spiffe://a.org/prod/bodhi/", "`` as its host"),
            ("spiffe://a.org/prod//app01", "`` as its service"),
            ("spiffe://A.org/prod/bodhi/app01", "'A' in its trust domain"),
            ("spiffe://a.org/prod/Bodhi/app01", "'B' in its service"),
            ("spiffe://a.org/prod/bodhi/app%301", "'%' in its host"),
            ("spiffe://a.org./prod/bodhi/app01", "`a.org.` as its trust domain"),
            ("spiffe://a.org/prod/../app01", "`..` as its service"),
            ("spiffe://a.org/prod/bodhi/app\0", "'\\0' in its host"),
            ("spiffe://u@a.org/prod/bodhi/app", "'@' in its trust domain"),
            ("spiffe://a.org:1/prod/bodhi/app", "':' in its trust domain"),
            ("spiffe://a.org/prod/bodhi/app?x", "'?' in its host"),
            ("SPIFFE://a.org/prod/bodhi/app", "neither spiffe:// nor cn:"),
            ("https://a.org/prod/bodhi/app", "neither spiffe:// nor cn:"),
            ("cn:", "common name"),
            ("cn:a b", "common name"),
            ("cn:\u{e9}", "common name"),
        ] {
            let error = text.parse::<Identity>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let long = format!("spiffe://a.org/prod/bodhi/{}", "a".repeat(2048));
        assert!(matches!(long.parse::<Identity>(), Err(IdentityError::TooLong { found: 2074 })));
    }

    proptest! {
        #[test]
        fn any_text_is_an_identity_or_an_error(text in "(spiffe://|cn:)?[a-zA-Z0-9/%._\\x00é-]{0,40}") {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
