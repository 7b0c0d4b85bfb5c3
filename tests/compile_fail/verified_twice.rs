//! `verify` consumes what it verifies.

use fedmsg::message::Unverified;
use fedmsg::time::Timestamp;
use fedmsg::{Rejected, Verified, Verifier};

fn twice(verifier: &Verifier, message: Unverified, at: Timestamp) -> [Result<Verified, Box<Rejected>>; 2] {
    [verifier.verify(message, at), verifier.verify(message, at)]
}

fn main() {}
