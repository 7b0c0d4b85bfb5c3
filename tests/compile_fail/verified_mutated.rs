//! What was verified does not change: there is no way to the message within.

use fedmsg::Verified;
use fedmsg::message::Unverified;

fn alter(mut verified: Verified, other: Unverified) -> Verified {
    verified.message = other;
    verified
}

fn main() {}
