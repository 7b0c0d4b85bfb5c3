//! The one integration-test target: whatever needs the built command, files, sockets or peers.
//!
//! One target links once; a file here is one subject. What can be shown inside a module is tested there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test says what failed by failing"
)]

mod authority;
mod authority_kill;
mod bus;
mod commands;
mod compile_fail;
mod config_cli;
mod consumer;
mod hostile;
mod import;
mod init_cli;
mod judges;
mod keys;
mod layers;
mod operating;
mod outbox;
mod path;
mod peers;
mod pki_validation;
mod policy_cli;
mod policy_signed;
mod policy_traffic;
mod replay;
mod repository;
mod requests;
mod rollover;
mod support;
mod vectors;
mod verify;
mod verify_cli;
