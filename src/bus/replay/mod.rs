//! Replay: what was missed is asked for, at an endpoint beside its publisher.
//!
//! `docs/delivery.md` has the protocol. What comes back is as untrusted as what comes live: it is verified before anything is
//! made of it.

pub mod answer;
pub mod client;
mod gate;
pub mod limits;
pub mod protocol;
pub mod server;
pub mod source;
mod wire;

pub use client::ReplayClient;
pub use limits::ReplayLimits;
pub use server::{ReplayCounts, ReplayServer};
pub use source::{Found, NoReplay, ReplaySource, Reply};
