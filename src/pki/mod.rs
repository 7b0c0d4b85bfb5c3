//! Certificates: what issues them, what validates them, and the keys beneath.

pub mod algorithm;
pub mod key;
