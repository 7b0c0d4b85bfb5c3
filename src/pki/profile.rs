//! Profiles: what an authority makes, how long it lives, with which keys and for whom (`certs/*.toml`).
//!
//! A profile says how long, with which keys, and which identities. What a certificate may be used for is not in it: that is
//! fixed in [`authority`](super::authority), because a mistake there would make every other check worthless.

use super::key::KeyKind;
use super::public_key::{self, KeyError, PublicKey};
use crate::identity::SpiffeId;
use crate::position::{Lines, Position};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The profiles that are built in.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("root.toml", include_str!("../../certs/root.toml")),
    ("issuing.toml", include_str!("../../certs/issuing.toml")),
    ("service.toml", include_str!("../../certs/service.toml")),
    ("gateway.toml", include_str!("../../certs/gateway.toml")),
    ("archive.toml", include_str!("../../certs/archive.toml")),
    ("operator.toml", include_str!("../../certs/operator.toml")),
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

/// The profiles of certificates that sign messages, in the order in which a renewal looks for the one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileName {
    /// A service on a host.
    Service,
    /// What takes in messages from outside the bus.
    Gateway,
    /// What keeps the messages.
    Archive,
    /// A person, who may sign policies besides.
    Operator,
}

impl ProfileName {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Service, Self::Gateway, Self::Archive, Self::Operator];

    /// The name of its file, without `.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::Archive => "archive",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProfileName {
    type Err = ProfileRefusal;

    fn from_str(text: &str) -> Result<Self, ProfileRefusal> {
        let named = Self::ALL.into_iter().find(|name| name.as_str() == text);
        named.ok_or_else(|| ProfileRefusal::Unknown { found: text.to_owned() })
    }
}

/// A certificate that signs messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProfile {
    /// Which profile it is.
    pub name: ProfileName,
    /// How long it lives unless the request says otherwise.
    pub lifetime: Duration,
    /// The longest life that a request may ask for.
    pub max_lifetime: Duration,
    /// The kind of key that is made unless the request says otherwise.
    pub default_key_kind: KeyKind,
    /// The kinds of key that are allowed, the default among them.
    pub key_kinds: Vec<KeyKind>,
    /// The identities that it may carry.
    pub identities: Vec<IdentityPattern>,
    /// Those among them that it may not.
    pub except: Vec<IdentityPattern>,
}

/// `ENV/SERVICE/HOST`, each a name or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern([Option<Box<str>>; 3]);

impl IdentityPattern {
    /// Whether it is the pattern of this identity, in whatever trust domain.
    pub fn matches(&self, identity: &SpiffeId) -> bool {
        let parts = [identity.env(), identity.service(), identity.host()];
        self.0.iter().zip(parts).all(|(wanted, part)| wanted.as_deref().is_none_or(|wanted| wanted == part))
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let [env, service, host] = parts[..] else { return None };
        // What no identity can be would match nothing, and is a slip of the pen.
        let or = |part, other| if part == "*" { other } else { part };
        SpiffeId::new("a.example", or(env, "dev"), or(service, "a"), or(host, "a")).ok()?;
        Some(Self([env, service, host].map(|part| (part != "*").then(|| part.into()))))
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [env, service, host] = self.0.each_ref().map(|part| part.as_deref().unwrap_or("*"));
        write!(f, "{env}/{service}/{host}")
    }
}

/// A certificate that a profile allows: only [`LeafProfile::approve`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    profile: ProfileName,
    identity: SpiffeId,
    spki: Box<[u8]>,
    lifetime: Duration,
}

impl Approved {
    /// By which profile.
    pub fn profile(&self) -> ProfileName {
        self.profile
    }

    /// Whom it is to name.
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// The key that it is for, as SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// How long it is to live.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// What a profile does not allow, and what it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileRefusal {
    /// An identity that its certificates may not carry.
    #[error("the profile {profile} does not allow {identity}: it may be {expected} (certs/{profile}.toml)")]
    Identity {
        /// The profile.
        profile: ProfileName,
        /// What was asked for.
        identity: SpiffeId,
        /// What is allowed.
        expected: String,
        /// Another profile that allows it.
        other: Option<ProfileName>,
    },
    /// A key that is none, or of a size that nobody accepts.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A kind of key that its certificates may not have.
    #[error("the key may not be {found}, the profile allows {expected} (certs/{profile}.toml)")]
    KeyKind {
        /// The profile.
        profile: ProfileName,
        /// What was asked for.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A longer life than it allows, or none.
    #[error("{found} days were asked for, the profile allows 1 to {most} (certs/{profile}.toml)")]
    Lifetime {
        /// The profile.
        profile: ProfileName,
        /// What was asked for, in days.
        found: u32,
        /// The most that is allowed, in days.
        most: u64,
    },
    /// There is no such profile.
    #[error("`{found}` is no profile; {} are", ProfileName::ALL.map(ProfileName::as_str).join(", "))]
    Unknown {
        /// What was asked for.
        found: String,
    },
}

/// The profiles of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    /// The root's.
    pub root: AuthorityProfile,
    /// The issuing authority's.
    pub issuing: AuthorityProfile,
    /// A service's.
    pub service: LeafProfile,
    /// A gateway's.
    pub gateway: LeafProfile,
    /// An archive's.
    pub archive: LeafProfile,
    /// A person's.
    pub operator: LeafProfile,
}

/// Why a profile cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// What is no identity, or no list of them.
    #[error("{at}: {found}; expected ENV/SERVICE/HOST, each a name or `*`")]
    Identity {
        /// Where it stands.
        at: Position,
        /// What was found.
        found: String,
    },
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
struct LeafTable {
    days: toml::Spanned<u32>,
    max_days: toml::Spanned<u32>,
    key_kinds: toml::Spanned<Vec<toml::Spanned<String>>>,
    identities: toml::Spanned<Vec<toml::Spanned<String>>>,
    except: Vec<toml::Spanned<String>>,
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
        let [root, issuing, service, gateway, archive, operator] = BUILT_IN.map(&mut source);
        let leaf = |name, (file, text): (String, String)| LeafProfile::parse(name, &file, &text);
        Ok(Self {
            root: AuthorityProfile::parse(&root.0, &root.1)?,
            issuing: AuthorityProfile::parse(&issuing.0, &issuing.1)?,
            service: leaf(ProfileName::Service, service)?,
            gateway: leaf(ProfileName::Gateway, gateway)?,
            archive: leaf(ProfileName::Archive, archive)?,
            operator: leaf(ProfileName::Operator, operator)?,
        })
    }

    /// The profile of a name.
    pub fn leaf(&self, name: ProfileName) -> &LeafProfile {
        match name {
            ProfileName::Service => &self.service,
            ProfileName::Gateway => &self.gateway,
            ProfileName::Archive => &self.archive,
            ProfileName::Operator => &self.operator,
        }
    }

    /// The first profile that allows an identity, if one does.
    pub fn leaf_for(&self, identity: &SpiffeId) -> Option<&LeafProfile> {
        ProfileName::ALL.map(|name| self.leaf(name)).into_iter().find(|profile| profile.allows(identity))
    }

    /// Approves a certificate by the profile of a name; a refusal names another profile that allows the identity.
    ///
    /// # Errors
    /// [`ProfileRefusal`].
    pub fn approve(
        &self,
        name: ProfileName,
        identity: &SpiffeId,
        spki: &[u8],
        days: Option<u32>,
    ) -> Result<Approved, ProfileRefusal> {
        self.leaf(name).approve(identity, spki, days).map_err(|mut refusal| {
            if let ProfileRefusal::Identity { other, .. } = &mut refusal {
                *other = self.leaf_for(identity).map(|profile| profile.name);
            }
            refusal
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

impl LeafProfile {
    /// Reads `service.toml` or one of its like.
    ///
    /// # Errors
    /// [`ProfileError`], with file and line.
    pub fn parse(name: ProfileName, file: &str, text: &str) -> Result<Self, ProfileError> {
        let lines = Lines::new(file, text);
        let table: LeafTable = table(&lines, text)?;
        let max_lifetime = days(&lines, "max_days", &table.max_days, MAX_DAYS)?;
        let lifetime = days(&lines, "days", &table.days, *table.max_days.get_ref())?;
        let kinds = table.key_kinds.get_ref().iter().map(|kind| key_kind(&lines, kind));
        let key_kinds = kinds.collect::<Result<Vec<_>, _>>()?;
        let Some(default_key_kind) = key_kinds.first().copied() else {
            let at = lines.position(table.key_kinds.span().start);
            return Err(ProfileError::KeyKind { at, found: "`key_kinds` is empty".to_owned() });
        };
        let identities = patterns(&lines, table.identities.get_ref())?;
        if identities.is_empty() {
            let at = lines.position(table.identities.span().start);
            return Err(ProfileError::Identity { at, found: "`identities` is empty".to_owned() });
        }
        let except = patterns(&lines, &table.except)?;
        Ok(Self { name, lifetime, max_lifetime, default_key_kind, key_kinds, identities, except })
    }

    /// Whether a certificate of this profile may carry the identity.
    pub fn allows(&self, identity: &SpiffeId) -> bool {
        let among = |patterns: &[IdentityPattern]| patterns.iter().any(|pattern| pattern.matches(identity));
        among(&self.identities) && !among(&self.except)
    }

    /// Approves a certificate: this identity, this key (a SubjectPublicKeyInfo in DER), `days` or as long as is usual.
    ///
    /// # Errors
    /// [`ProfileRefusal`], which says what is not allowed, and what is.
    pub fn approve(
        &self,
        identity: &SpiffeId,
        spki: &[u8],
        days: Option<u32>,
    ) -> Result<Approved, ProfileRefusal> {
        let lifetime = self.lifetime(days)?;
        if !self.allows(identity) {
            let (profile, identity) = (self.name, identity.clone());
            return Err(ProfileRefusal::Identity {
                profile,
                identity,
                expected: self.allowed(),
                other: None,
            });
        }
        let kind = match PublicKey::from_spki(spki)?.kind() {
            public_key::KeyKind::P256 => Ok(KeyKind::P256),
            public_key::KeyKind::Ed25519 => Ok(KeyKind::Ed25519),
            other @ (public_key::KeyKind::P384
            | public_key::KeyKind::Rsa { .. }
            | public_key::KeyKind::Other(_)) => Err(other.to_string()),
        };
        kind.map_or_else(|found| Err(self.refused_kind(found)), |kind| self.key_kind(Some(kind)))?;
        Ok(Approved { profile: self.name, identity: identity.clone(), spki: spki.into(), lifetime })
    }

    /// The kind of key to make: the one that is wanted, or the usual one.
    ///
    /// # Errors
    /// [`ProfileRefusal::KeyKind`].
    pub fn key_kind(&self, wanted: Option<KeyKind>) -> Result<KeyKind, ProfileRefusal> {
        match wanted {
            None => Ok(self.default_key_kind),
            Some(kind) if self.key_kinds.contains(&kind) => Ok(kind),
            Some(kind) => Err(self.refused_kind(kind.as_str().to_owned())),
        }
    }

    fn lifetime(&self, days: Option<u32>) -> Result<Duration, ProfileRefusal> {
        let most = self.max_lifetime.as_secs() / 86_400;
        match days {
            None => Ok(self.lifetime),
            Some(found) if (1..=most).contains(&found.into()) => {
                Ok(Duration::from_secs(u64::from(found) * 86_400))
            }
            Some(found) => Err(ProfileRefusal::Lifetime { profile: self.name, found, most }),
        }
    }

    fn refused_kind(&self, found: String) -> ProfileRefusal {
        let expected = self.key_kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
        ProfileRefusal::KeyKind { profile: self.name, found, expected }
    }

    /// The identities that it allows, in words.
    fn allowed(&self) -> String {
        let listed = |patterns: &[IdentityPattern]| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        };
        let except = if self.except.is_empty() {
            String::new()
        } else {
            format!(", but not {}", listed(&self.except))
        };
        listed(&self.identities) + &except
    }
}

fn patterns(
    lines: &Lines<'_>,
    values: &[toml::Spanned<String>],
) -> Result<Vec<IdentityPattern>, ProfileError> {
    let parse = |value: &toml::Spanned<String>| {
        IdentityPattern::parse(value.get_ref()).ok_or_else(|| ProfileError::Identity {
            at: lines.position(value.span().start),
            found: format!("`{}` is no pattern of identities", value.get_ref()),
        })
    };
    values.iter().map(parse).collect()
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
        let lives = ProfileName::ALL.map(|name| days(profiles.leaf(name).lifetime));
        assert_eq!(lives, [90, 30, 180, 7]);
        assert_eq!(profiles.service.key_kinds, [KeyKind::P256, KeyKind::Ed25519]);
        for (service, expected) in
            [("bodhi", "service"), ("gateway", "gateway"), ("archive", "archive"), ("operator", "operator")]
        {
            let identity = SpiffeId::new("a.example", "prod", service, "app01").unwrap();
            let fit = ProfileName::ALL.into_iter().filter(|name| profiles.leaf(*name).allows(&identity));
            assert_eq!(fit.map(ProfileName::as_str).collect::<Vec<_>>(), [expected], "one profile each");
            assert_eq!(expected.parse::<ProfileName>().map(ProfileName::as_str), Ok(expected));
        }
    }

    #[test]
    fn a_profile_says_what_it_does_not_allow() {
        use crate::pki::key::PrivateKey;
        let profiles = Profiles::built_in().unwrap();
        let identity = |service| SpiffeId::new("a.example", "prod", service, "app01").unwrap();
        let spki = PrivateKey::generate(KeyKind::P256).unwrap().public_spki().to_vec();
        let approve = |name, service, days| profiles.approve(name, &identity(service), &spki, days);
        let approved = approve(ProfileName::Service, "bodhi", Some(3)).unwrap();
        assert_eq!((approved.lifetime().as_secs(), approved.spki()), (3 * 86_400, &spki[..]));

        let error = approve(ProfileName::Service, "archive", None).unwrap_err();
        let expected = "the profile service does not allow spiffe://a.example/prod/archive/app01: it may be */*/*, but \
                        not */archive/* or */gateway/* or */operator/* (certs/service.toml)";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, ProfileRefusal::Identity { other: Some(ProfileName::Archive), .. }));
        let error = approve(ProfileName::Operator, "bodhi", None).unwrap_err();
        assert!(matches!(error, ProfileRefusal::Identity { other: Some(ProfileName::Service), .. }));
        let error = approve(ProfileName::Operator, "operator", Some(31)).unwrap_err();
        assert!(matches!(error, ProfileRefusal::Lifetime { most: 30, found: 31, .. }));
        let mut strict = profiles.service.clone();
        strict.key_kinds.retain(|kind| *kind == KeyKind::Ed25519);
        let error = strict.approve(&identity("bodhi"), &spki, None).unwrap_err();
        assert!(matches!(&error, ProfileRefusal::KeyKind { found, .. } if found == "p256"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        const REST: &str = "\nkey_kinds = [\"p256\"]\nidentities = [\"a/*/b\"]\nexcept = []";
        const DAYS: &str = "days = 1\nmax_days = 9\n";
        for (start, end, expected) in [
            ("days = 0\nmax_days = 9", REST, "s.toml:1:8: `days` is 0, expected 1 to 9"),
            ("days = 10\nmax_days = 9", REST, "s.toml:1:8: `days` is 10, expected 1 to 9"),
            ("days = 1\nmax_days = 40000", REST, "s.toml:2:12: `max_days` is 40000"),
            ("days = -1\n", REST, "s.toml:1:8: "),
            ("days = 1\nmax_dais = 9", REST, "s.toml:2:1: unknown field `max_dais`"),
            ("days = \n", REST, "s.toml:1:"),
            (
                DAYS,
                "key_kinds = []\nidentities = [\"*/*/*\"]\nexcept = []",
                "s.toml:3:13: `key_kinds` is empty",
            ),
            (
                DAYS,
                "key_kinds = [\"rsa\"]\nidentities = [\"*/*/*\"]\nexcept = []",
                "s.toml:3:14: `rsa` is not a kind of key",
            ),
            (DAYS, "identities = [\"*/*/*\"]\nexcept = []", "missing field `key_kinds`"),
            (DAYS, "key_kinds = [\"p256\"]\nexcept = []", "missing field `identities`"),
            (DAYS, "key_kinds = [\"p256\"]\nidentities = [\"*/*/*\"]", "missing field `except`"),
            (
                DAYS,
                "key_kinds = [\"p256\"]\nidentities = []\nexcept = []",
                "s.toml:4:14: `identities` is empty",
            ),
            (
                DAYS,
                "key_kinds = [\"p256\"]\nidentities = [\"*/*\"]\nexcept = []",
                "s.toml:4:15: `*/*` is no pattern",
            ),
            (
                DAYS,
                "key_kinds = [\"p256\"]\nidentities = [\"*/*/*\"]\nexcept = [\"*/a*/*\"]",
                "s.toml:5:11: `*/a*/*` is no pattern",
            ),
        ] {
            let text = format!("{start}{end}");
            let error = LeafProfile::parse(ProfileName::Service, "s.toml", &text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
