//! The refusal cannot be passed over by mistake.

#![deny(warnings)]

use fedmsg::Verifier;
use fedmsg::message::Unverified;
use fedmsg::time::Timestamp;

fn deliver(verifier: &Verifier, message: Unverified, at: Timestamp) {
    verifier.verify(message, at);
}

fn main() {}
