//! What is kept on disk, and read from it: the authority's directory, the services' credentials, trust, what publishers and
//! consumers keep.

pub mod authority;
pub mod consumer;
pub mod credentials;
pub mod expiry;
pub mod files;
pub mod outbox;
pub mod passphrase;
pub mod policy;
pub mod trust;
