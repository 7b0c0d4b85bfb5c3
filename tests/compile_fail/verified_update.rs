//! Nor can another one be made from one that was verified.

use fedmsg::Verified;
use fedmsg::message::Unverified;

fn forge(verified: Verified, message: Unverified) -> Verified {
    Verified { message, ..verified }
}

fn main() {}
