//! The `fedmsg` command.
fn main() {}
