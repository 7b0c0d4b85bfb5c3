//! Messages as bytes and types, with no trust in them.

pub mod frame;
