//! What is kept on disk, and read from it.

pub mod files;
pub mod freshness;
pub mod policy;
pub mod trust;
