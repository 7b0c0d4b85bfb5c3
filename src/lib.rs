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
pub mod pki;
pub mod policy;

// L3: keeping.
pub mod config;
pub mod store;

// L4: the bus.
pub mod bus;

// L6: the command.
#[doc(hidden)]
pub mod cli;
