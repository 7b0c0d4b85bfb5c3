//! What is kept on disk, and read from it: the authority's directory, the services' credentials, trust, freshness, the outbox.

pub mod authority;
pub mod credentials;
pub mod expiry;
pub mod files;
pub mod freshness;
pub mod outbox;
pub mod passphrase;
pub mod policy;
pub mod trust;
