//! Its frames are lent to be read.

use fedmsg::Verified;
use fedmsg::message::RawMessage;

fn alter(verified: &mut Verified) {
    *verified.raw() = RawMessage::default();
    verified.raw().parts.clear();
}

fn main() {}
