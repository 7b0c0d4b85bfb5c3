//! The configuration: `fedmsg.d/*.toml`, merged in order, each value with the place it came from.
//!
//! The order is: built-in values, `/etc/fedmsg.d`, `~/.fedmsg.d`, `./fedmsg.d`, the directory that `--config` names,
//! the environment, flags. Within a directory, files go by the byte order of their names. What comes later wins, key by
//! key: tables merge, lists replace. What is not known is an error, and so is a value that is overridden but wrong: the
//! configuration is data, and no part of it is silently without effect.
//!
//! ```
//! use fedmsg::config::{Config, Sources};
//!
//! let sources = Sources::built_in().flag("bus.env", "stg", "--env");
//! let config = Config::load(&sources)?;
//! assert_eq!(config.bus.env.as_str(), "stg");
//! assert_eq!(config.bus.env.origin().to_string(), "--env");
//! # Ok::<(), fedmsg::config::ConfigErrors>(())
//! ```

mod env;
mod error;
mod load;
mod provenance;
mod schema;
mod show;
mod sources;
mod suggest;
mod value;

#[cfg(test)]
mod tests;

pub use env::variable_name;
pub(crate) use error::one_a_line;
pub use error::{ConfigError, ConfigErrors};
pub use load::{MAX_FILE_BYTES, suggest};
pub use provenance::{Origin, Setting};
pub use schema::{
    BusConfig, BusLimitsConfig, Config, CredentialsConfig, EndpointsConfig, FreshnessConfig, HeartbeatConfig,
    KEYS, Key, LegacyConfig, LimitsConfig, OutboxConfig, PolicyConfig, PublisherConfig, TrustConfig,
};
pub use show::{Entry, reference};
pub use sources::{CONFIG_VARIABLE, DIRECTORY_NAME, Sources};
pub use value::{
    Count, Durability, FilePath, HostPart, LegacyRevocation, Name, NonEmpty, Seconds, Size, Transport,
    TrustDomain, ValueFault, WhenFull,
};
