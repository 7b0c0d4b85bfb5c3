//! fedmsg

// L0: words.
pub mod endpoint;
pub mod identity;
pub mod json;
pub mod limits;
pub mod position;
pub mod reason;
pub mod time;
pub mod topic;

// L1: messages.
pub mod message;

// L2: trust.
pub mod freshness;
pub mod merkle;
pub mod pki;
pub mod policy;
pub mod sign;
pub mod verify;

pub use verify::{Rejected, Verified, Verifier};

// L3: keeping.
pub mod config;
pub mod development;
pub mod store;

// L4: the bus.
pub mod bus;

// L6: the command.
#[doc(hidden)]
pub mod cli;
