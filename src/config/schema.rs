//! Every key, described once: its type, its built-in value and its meaning.
//!
//! The description makes the typed sections of [`Config`], the table [`KEYS`] that the loader goes by, what
//! `fedmsg config show` prints and the reference in `docs/configuration.md`. A new key is one line here.

use super::provenance::{Origin, Setting};
use super::value::{
    Count, Durability, Fault, FilePath, HostPart, LegacyRevocation, Name, NonEmpty, Raw, Seconds, Size,
    Transport, TrustDomain, Value, WhenFull,
};
use crate::endpoint::Endpoint;
use crate::limits::Limits;
use crate::policy::PublisherPattern;
use crate::topic::Topic;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One key, as the schema describes it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table it stands in: `bus`, `trust.legacy`.
    pub section: &'static str,
    /// Its name within the table; `*` where the names are the reader's own.
    pub name: &'static str,
    /// The built-in value, in the plain text that the environment takes; `None` where there is none.
    pub built_in: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
    describe: fn() -> String,
    plain: fn(&str) -> super::value::Node,
}

impl Key {
    /// The key with its table: `bus.env`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its type in words.
    pub fn kind(&self) -> String {
        (self.describe)()
    }

    /// A value written as plain text, outside a file.
    pub(super) fn plain(&self, text: &str) -> Raw {
        Raw { node: (self.plain)(text), at: 0 }
    }
}

/// What a key's value is kept in, whatever its type.
pub(super) trait Slot {
    fn put(&mut self, raw: &Raw, base: &Path, origin: Origin) -> Result<(), Fault>;
    fn entry(&self) -> Option<(toml::Value, &Origin)>;
}

impl<T: Value> Slot for Setting<T> {
    fn put(&mut self, raw: &Raw, base: &Path, origin: Origin) -> Result<(), Fault> {
        *self = Self::new(T::read(raw, base)?, origin);
        Ok(())
    }

    fn entry(&self) -> Option<(toml::Value, &Origin)> {
        Some((self.value().to_toml(), self.origin()))
    }
}

impl<T: Value> Slot for Option<Setting<T>> {
    fn put(&mut self, raw: &Raw, base: &Path, origin: Origin) -> Result<(), Fault> {
        *self = Some(Setting::new(T::read(raw, base)?, origin));
        Ok(())
    }

    fn entry(&self) -> Option<(toml::Value, &Origin)> {
        self.as_ref().and_then(Slot::entry)
    }
}

/// The tables whose keys are the services' names, and whose values are lists of endpoints.
pub(super) const OPEN_TABLES: [&str; 2] = ["endpoints", "replay"];

/// The endpoints of every service, in the order of the services' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsConfig(pub(super) BTreeMap<Name, Setting<NonEmpty<Endpoint>>>);

impl EndpointsConfig {
    /// The endpoints of one service, where it has any.
    pub fn of(&self, service: &str) -> Option<&Setting<NonEmpty<Endpoint>>> {
        self.0.iter().find(|(name, _)| name.as_str() == service).map(|(_, endpoints)| endpoints)
    }

    /// Each service and its endpoints.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Setting<NonEmpty<Endpoint>>)> {
        self.0.iter()
    }
}

macro_rules! field_type {
    ($Type:ty) => { Option<Setting<$Type>> };
    ($Type:ty, $built_in:literal) => { Setting<$Type> };
}

macro_rules! first_value {
    ($Type:ty) => {
        None
    };
    ($Type:ty, $built_in:literal) => {
        built_in::<$Type>($built_in)?
    };
}

macro_rules! first_text {
    () => {
        None
    };
    ($built_in:literal) => {
        Some($built_in)
    };
}

/// The program's own value of a key, read as any other value is.
fn built_in<T: Value>(text: &str) -> Result<Setting<T>, Fault> {
    let raw = Raw { node: T::from_plain_text(text), at: 0 };
    Ok(Setting::new(T::read(&raw, Path::new(""))?, Origin::BuiltIn))
}

macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:literal $field:ident $Struct:ident {
            $($(#[doc = $doc:literal])+ $key:ident: $Type:ty $(= $built_in:literal)?;)+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Struct { $($(#[doc = $doc])+ pub $key: field_type!($Type $(, $built_in)?),)+ }
        )+

        /// The whole configuration: one field a table.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $field: $Struct,)+
            /// `[endpoints]`: where each service publishes.
            pub endpoints: EndpointsConfig,
            /// `[replay]`: where each service's publishers answer who missed something.
            pub replay: EndpointsConfig,
            pub(super) files: Vec<PathBuf>,
            pub(super) ignored: Vec<PathBuf>,
        }

        /// Every key, in the order of the reference.
        pub const KEYS: &[Key] = &[
            Key {
                section: "endpoints",
                name: "*",
                built_in: None,
                doc: " Where a service publishes, by the service's name: its publishers bind the first endpoint that is \
                      free, its consumers connect to all.",
                describe: <NonEmpty<Endpoint> as Value>::describe,
                plain: <NonEmpty<Endpoint> as Value>::from_plain_text,
            },
            Key {
                section: "replay",
                name: "*",
                built_in: None,
                doc: " Where a service's publishers answer named consumers who missed something, by the service's name: each \
                      publisher binds the first endpoint that is free, its consumers ask all. Without it what is missed is \
                      lost, and told.",
                describe: <NonEmpty<Endpoint> as Value>::describe,
                plain: <NonEmpty<Endpoint> as Value>::from_plain_text,
            },
            $($(Key {
                section: $section,
                name: stringify!($key),
                built_in: first_text!($($built_in)?),
                doc: concat!($($doc),+),
                describe: <$Type as Value>::describe,
                plain: <$Type as Value>::from_plain_text,
            },)+)+
        ];

        impl Config {
            /// What holds where nothing was written.
            pub(super) fn first() -> Result<Self, Fault> {
                Ok(Self {
                    $($field: $Struct { $($key: first_value!($Type $(, $built_in)?),)+ },)+
                    endpoints: EndpointsConfig(BTreeMap::new()),
                    replay: EndpointsConfig(BTreeMap::new()),
                    files: Vec::new(),
                    ignored: Vec::new(),
                })
            }

            pub(super) fn slot(&mut self, section: &str, name: &str) -> Option<&mut dyn Slot> {
                match (section, name) {
                    $($(($section, stringify!($key)) => Some(&mut self.$field.$key),)+)+
                    _ => None,
                }
            }

            /// An open table.
            pub(super) fn open_table(&self, section: &str) -> &EndpointsConfig {
                if section == "replay" { &self.replay } else { &self.endpoints }
            }

            pub(super) fn open_table_mut(&mut self, section: &str) -> &mut EndpointsConfig {
                if section == "replay" { &mut self.replay } else { &mut self.endpoints }
            }

            pub(super) fn slots(&self) -> Vec<(&'static str, &'static str, &dyn Slot)> {
                vec![$($(($section, stringify!($key), &self.$field.$key as &dyn Slot),)+)+]
            }
        }
    };
}

sections! {
    /// `[bus]`: how topics begin, and what carries messages.
    "bus" bus BusConfig {
        /// What every topic begins with.
        prefix: Topic = "org.fedoraproject";
        /// The environment that this machine publishes in and listens to, by default.
        env: Name = "dev";
        /// The environments that there are.
        envs: NonEmpty<Name> = "dev,stg,prod,production";
        /// What moves frames between processes.
        transport: Transport = "zmtp";
    }
    /// `[bus.limits]`: how much a peer may have of each thing, for the `zmtp` engine; over it, the peer is put out.
    "bus.limits" bus_limits BusLimitsConfig {
        /// Bytes on their way between a program and its connections, in each direction. At the limit a publisher waits, and
        /// a consumer reads no more.
        queue_bytes: Size<65_536, 4_294_967_295> = "256MiB";
        /// Bytes that may be pending for one subscriber. One with more pending has to take as many within each `grace`.
        peer_bytes: Size<65_536, 4_294_967_295> = "64MiB";
        /// How long a slow subscriber may hold up the others.
        grace: Duration = "10s";
        /// Bytes of one frame. Larger than `limits.body_bytes`, or such bodies cannot be sent.
        frame_bytes: Size<1_024, 1_073_741_824> = "16MiB";
        /// Bytes of all frames of a message together.
        message_bytes: Size<1_024, 1_073_741_824> = "16MiB";
        /// Frames of a message. A message of fedmsg has two.
        message_parts: Count<2, 1024> = "64";
        /// Bytes of a command, and of whatever a subscriber sends to a publisher: so of a prefix, too.
        command_bytes: Size<256, 65_536> = "4KiB";
        /// Subscriptions of one subscriber, one that is made twice counted twice.
        subscriptions: Count<1, 1_000_000> = "10000";
        /// Bytes of all prefixes of one subscriber.
        subscription_bytes: Size<1, 1_073_741_824> = "1MiB";
        /// Bytes of all prefixes of all subscribers of a publisher, each prefix counted with 256 more.
        all_subscription_bytes: Size<257, 1_073_741_824> = "64MiB";
        /// Connections of a publisher; never more than a third of the file descriptors that the process may have.
        connections: Count<1, 1_000_000> = "1024";
        /// Connections of a publisher from one IPv4 address, one IPv6 network of 64 bits, or by a Unix socket.
        connections_per_address: Count<1, 1_000_000> = "256";
        /// How long a peer may take over the handshake.
        handshake: Duration = "5s";
    }
    /// `[publisher]`: as whom this machine publishes.
    "publisher" publisher PublisherConfig {
        /// The service that is published as, where the command line names none.
        service: Name;
        /// The host in the certificate's identity. The service and the host name the files in
        /// `credentials.directory`.
        host: HostPart;
        /// How long a publisher waits for a subscriber before its first message.
        subscriber_wait: Duration = "5s";
        /// Whether each message carries its issuing authorities' certificates too, for consumers that do not have them. It
        /// makes every message larger by half a kilobyte or more.
        send_intermediates: bool = "false";
        /// Where a publisher keeps what it has published: a message is published when it is kept there. In memory
        /// it is lost with the process; on disk `outbox.directory` is needed.
        durability: Durability = "memory";
        /// Bytes of messages that may be under way within a publisher, from its callers to the bus.
        queue_bytes: Size<65_536, 1_073_741_824> = "16MiB";
        /// What happens at that bound: the caller waits, or its message is refused.
        when_full: WhenFull = "wait";
        /// How long a caller waits at that bound, before its message is refused.
        full_wait: Duration = "30s";
    }
    /// `[outbox]`: what has been published, kept for those who missed it.
    "outbox" outbox OutboxConfig {
        /// The directory of `SERVICE-HOST.sqlite`, for publishers with `durability = "disk"`. Only its owner can read it.
        directory: FilePath;
        /// For how long a message is kept.
        keep_age: Seconds = "7d";
        /// Bytes of messages that are kept on disk, the oldest giving way. The file may be twice as large.
        keep_bytes: Size<8_388_608, 1_099_511_627_776> = "1GiB";
        /// Bytes of messages that are kept in memory.
        memory_bytes: Size<1_048_576, 17_179_869_184> = "64MiB";
    }
    /// `[heartbeat]`: what an idle publisher says, so that consumers notice what they have missed, and that it is there.
    "heartbeat" heartbeat HeartbeatConfig {
        /// After how long without a message a publisher sends a heartbeat. `0s` is never.
        interval: Seconds = "5s";
    }
    /// `[trust]`: whose signatures count. Revocation is always checked: each authority of a chain needs its list.
    "trust" trust TrustConfig {
        /// The trust domain of our own identities, `spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST`.
        trust_domain: TrustDomain;
        /// Certificates of the authorities that are trusted (PEM), whose leaves are known by their SPIFFE URI. Without
        /// any anchor, nothing can be verified.
        anchors: Vec<FilePath> = "";
        /// The same, but leaves are known by their common name (`cn:NAME`): for foreign authorities.
        common_name_anchors: Vec<FilePath> = "";
        /// Certificates of issuing authorities (PEM) that messages need not carry.
        intermediates: Vec<FilePath> = "";
        /// Revocation lists (PEM or DER), one for each authority.
        crls: Vec<FilePath> = "";
    }
    /// `[trust.legacy]`: whether messages of Python fedmsg count (RSA with SHA-1, no policy on key usage).
    "trust.legacy" legacy LegacyConfig {
        /// Whether such messages are accepted at all.
        accept: bool = "false";
        /// The certificate of the legacy authority (PEM).
        ca: FilePath;
        /// Its revocation list (PEM).
        crl: FilePath;
        /// Whether the list is looked at: has to be stated where `accept` is true.
        revocation: LegacyRevocation;
    }
    /// `[credentials]`: what a publisher signs with.
    "credentials" credentials CredentialsConfig {
        /// The directory of `SERVICE-HOST.crt` (the leaf, then its intermediates, PEM) and `SERVICE-HOST.key` (mode
        /// 0600).
        directory: FilePath;
    }
    /// `[policy]`: who may publish what.
    "policy" policy PolicyConfig {
        /// The routing policy's files. Without any, every message is refused.
        files: Vec<FilePath> = "";
        /// Whether the policy has to be signed by an operator: at the start, and whenever it changes. Needs `signers` and
        /// `freshness.state`, where the serial in force is remembered.
        require_signature: bool = "false";
        /// The operators who may sign it. Where there are any, `require_signature` has to be stated.
        signers: Vec<PublisherPattern> = "";
        /// The signature's file. Without it, that is the policy's file with `.sig` after its name; where there are several
        /// files, it has to be stated.
        signature: FilePath;
        /// The files of a policy that runs beside the one in force and decides nothing: what it would decide otherwise is
        /// counted and logged.
        candidate: Vec<FilePath> = "";
    }
    /// `[freshness]`: which messages are too old, too new, or have been seen.
    "freshness" freshness FreshnessConfig {
        /// How far back a message's timestamp may lie.
        past: Seconds = "10m";
        /// How far ahead a message's timestamp may lie.
        future: Seconds = "2m";
        /// The directory in which each named consumer keeps, over a restart, its place in each publisher's stream, and says how it
        /// is doing. A consumer without a name remembers what it was delivered for as long as it runs. The serial of a signed
        /// policy is kept there too.
        state: FilePath;
    }
    /// `[limits]`: how much of each thing a message may have; over it, the message is refused.
    "limits" limits LimitsConfig {
        /// Bytes of a message's body.
        body_bytes: Size<1, 1_073_741_824> = "1MiB";
        /// Bytes of a topic.
        topic_bytes: Count<1, 65_535> = "255";
        /// Fields of a topic.
        topic_fields: Count<1, 1024> = "16";
        /// Levels of JSON arrays and objects, the outermost counted.
        json_depth: Count<1, 512> = "64";
        /// Characters of one JSON number.
        json_number_chars: Count<1, 1_048_576> = "1024";
        /// Bytes of a proof, decoded.
        proof_bytes: Size<256, 1_048_576> = "16KiB";
        /// Certificates in a proof: the leaf and its intermediates.
        chain_certificates: Count<1, 16> = "4";
        /// Hashes in a proof's path: a batch has at most two to this power messages.
        path_hashes: Count<0, 63> = "16";
    }
}

impl LimitsConfig {
    /// In the form that parsers take.
    pub fn to_limits(&self) -> Limits {
        Limits {
            body_bytes: self.body_bytes.bytes(),
            topic_bytes: self.topic_bytes.count(),
            topic_fields: self.topic_fields.count(),
            json_depth: self.json_depth.count(),
            json_number_chars: self.json_number_chars.count(),
            proof_bytes: self.proof_bytes.bytes(),
            chain_certificates: self.chain_certificates.count(),
            path_hashes: self.path_hashes.count(),
        }
    }
}

/// The key of that name in that table, an own-named one of an open table included.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && (key.name == name || key.name == "*"))
}

/// Whether `path` is a table, or begins one.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| {
        key.section == path || key.section.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_values_can_be_read_and_are_the_wire_formats() {
        let config = Config::first().unwrap();
        assert_eq!(config.limits.to_limits(), Limits::STANDARD);
        assert!(!*config.legacy.accept);
        assert_eq!(config.freshness.past.duration(), Duration::from_secs(600));
        let open = OPEN_TABLES.len();
        assert_eq!(config.slots().len(), KEYS.len() - open, "the open tables have no slots of their own");
    }

    #[test]
    fn no_name_can_be_confused_in_the_environment() {
        for key in KEYS {
            assert!(!key.path().contains("__"), "{} would be ambiguous as a variable", key.path());
        }
    }
}
