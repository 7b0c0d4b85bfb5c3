//! A message is delivered once, so a `Verified` is not copied.

use fedmsg::Verified;

fn twice(verified: &Verified) -> (Verified, Verified) {
    (Verified::clone(verified), Verified::default())
}

fn main() {}
