//! Who a rule names: an identity, or whole path segments of one.

use crate::identity::{CommonName, Identity, IdentityError, SpiffeId};
use std::fmt;
use std::str::FromStr;

/// An identity, or a SPIFFE identity with `*` for whole path segments.
///
/// The trust domain is always written out: it says whose authority is believed. A `cn:NAME` is one exact name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublisherPattern {
    /// `cn:NAME`: exactly this common name, and no SPIFFE identity.
    CommonName(CommonName),
    /// `spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST`; `None` is `*`.
    Spiffe {
        /// The trust domain.
        trust_domain: Box<str>,
        /// Environment, service and host.
        path: [Option<Box<str>>; 3],
    },
}

/// Why a text names no publishers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublisherError {
    /// Not an identity, `*` set aside.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// `*` in a common name, which is always exact.
    #[error("`{0}` has a `*`, but a common name is always exact")]
    NameWildcard(String),
    /// `*` beside other characters in a path segment.
    #[error("`{pattern}` has `{segment}` as a path segment; `*` stands for a whole segment only")]
    PartialWildcard {
        /// The whole text.
        pattern: String,
        /// The segment.
        segment: String,
    },
    /// `*` in the trust domain.
    #[error("`{0}` has a `*` in its trust domain, which must be written out")]
    TrustDomainWildcard(String),
}

impl PublisherPattern {
    /// Whether it names `signer`.
    pub fn names(&self, signer: &Identity) -> bool {
        match (self, signer) {
            (Self::CommonName(name), Identity::CommonName(found)) => name == found,
            (Self::Spiffe { trust_domain, path }, Identity::Spiffe(id)) => {
                let found = [id.env(), id.service(), id.host()];
                **trust_domain == *id.trust_domain()
                    && path.iter().zip(found).all(|(p, f)| p.as_ref().is_none_or(|p| **p == *f))
            }
            (Self::CommonName(_), Identity::Spiffe(_)) | (Self::Spiffe { .. }, Identity::CommonName(_)) => {
                false
            }
        }
    }
}

impl FromStr for PublisherPattern {
    type Err = PublisherError;

    fn from_str(text: &str) -> Result<Self, PublisherError> {
        if let Some(name) = text.strip_prefix("cn:") {
            if name.contains('*') {
                return Err(PublisherError::NameWildcard(text.to_owned()));
            }
            return Ok(Self::CommonName(CommonName::new(name)?));
        }
        let parts: Vec<&str> =
            text.strip_prefix("spiffe://").map(|rest| rest.split('/').collect()).unwrap_or_default();
        let [trust_domain, path @ ..] = &parts[..] else {
            return Err(IdentityError::Scheme(text.to_owned()).into());
        };
        if trust_domain.contains('*') {
            return Err(PublisherError::TrustDomainWildcard(text.to_owned()));
        }
        if let Some(segment) = path.iter().find(|s| s.contains('*') && **s != "*") {
            return Err(PublisherError::PartialWildcard {
                pattern: text.to_owned(),
                segment: (*segment).to_owned(),
            });
        }
        let &[env, service, host] = path else {
            return Err(IdentityError::Segments { identity: text.to_owned(), found: path.len() }.into());
        };
        // Any valid segment does in the place of a `*`: what is left to check is the rest.
        let plain = |segment: &'static str, part| if part == "*" { segment } else { part };
        SpiffeId::new(trust_domain, plain("env", env), plain("service", service), plain("host", host))
            .map_err(|error| as_written(error, text))?;
        let path = [env, service, host].map(|part| (part != "*").then(|| part.into()));
        Ok(Self::Spiffe { trust_domain: (*trust_domain).into(), path })
    }
}

/// The error about the text that a person wrote, not about the one that was tried in its place.
fn as_written(error: IdentityError, text: &str) -> IdentityError {
    let identity = text.to_owned();
    match error {
        IdentityError::Character { character, part, .. } => {
            IdentityError::Character { identity, character, part }
        }
        IdentityError::Segment { part, found, .. } => IdentityError::Segment { identity, part, found },
        IdentityError::Segments { found, .. } => IdentityError::Segments { identity, found },
        IdentityError::Scheme(_) => IdentityError::Scheme(identity),
        other @ (IdentityError::CommonName(_) | IdentityError::TooLong { .. }) => other,
    }
}

impl fmt::Display for PublisherPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommonName(name) => write!(f, "cn:{}", name.as_str()),
            Self::Spiffe { trust_domain, path } => {
                write!(f, "spiffe://{trust_domain}")?;
                path.iter().try_for_each(|segment| write!(f, "/{}", segment.as_deref().unwrap_or("*")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PublisherPattern;
    use crate::identity::Identity;

    fn names(pattern: &str, signer: &str) -> bool {
        let pattern: PublisherPattern = pattern.parse().unwrap();
        pattern.names(&signer.parse::<Identity>().unwrap())
    }

    #[test]
    fn whole_segments_and_one_trust_domain() {
        let signer = "spiffe://a.org/prod/bodhi/app01";
        for (pattern, expected) in [
            ("spiffe://a.org/prod/bodhi/app01", true),
            ("spiffe://a.org/*/*/*", true),
            ("spiffe://a.org/prod/*/app01", true),
            ("spiffe://a.org/stg/*/*", false),
            ("spiffe://a.org/*/*/app0", false),
            ("spiffe://b.a.org/*/*/*", false),
            ("cn:bodhi-app01", false),
        ] {
            assert_eq!(names(pattern, signer), expected, "{pattern}");
            assert_eq!(pattern.parse::<PublisherPattern>().unwrap().to_string(), pattern);
        }
        assert!(names("cn:bodhi-app01", "cn:bodhi-app01"));
        assert!(!names("cn:bodhi-app01", "cn:bodhi-app01.example"));
        assert!(!names("spiffe://a.org/*/*/*", "cn:a"));
    }

    #[test]
    fn what_names_nobody_for_sure_is_refused() {
        for (text, expected) in [
            ("*", "`*` begins with neither spiffe:// nor cn:"),
            ("", "`` begins with neither spiffe:// nor cn:"),
            ("bodhi", "`bodhi` begins with neither"),
            ("cn:*", "`cn:*` has a `*`, but a common name is always exact"),
            ("cn:", "is not 1 to 2048 printable ASCII"),
            ("spiffe://*/prod/*/*", "has a `*` in its trust domain"),
            ("spiffe://a.org/*", "has 1 path segments, expected 3"),
            ("spiffe://a.org/*/*/*/*", "has 4 path segments, expected 3"),
            (
                "spiffe://a.org/prod/bodhi/app*",
                "`app*` as a path segment; `*` stands for a whole segment only",
            ),
            ("spiffe://a.org/**/*/*", "`**` as a path segment"),
            ("spiffe://a.org/*/*/", "`spiffe://a.org/*/*/` has `` as its host"),
            ("spiffe://A.org/*/*/*", "`spiffe://A.org/*/*/*` has 'A' in its trust domain"),
            ("spiffe://a.org/{env}/*/*", "has '{' in its env"),
        ] {
            let error = text.parse::<PublisherPattern>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
