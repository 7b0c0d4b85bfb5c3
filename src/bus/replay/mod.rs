//! Replay: what was missed is asked for, at an endpoint beside its publisher.
//!
//! `docs/delivery.md` has the protocol. What comes back is as untrusted as what comes live: it is verified before anything is
//! made of it.

pub mod source;

pub use source::{Found, NoReplay, ReplaySource, Reply};
