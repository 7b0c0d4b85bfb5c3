//! There is no conversion that does without the verifier.

use fedmsg::Verified;
use fedmsg::message::{RawMessage, Unverified};

fn forge(unverified: Unverified, raw: RawMessage) -> [Verified; 2] {
    [unverified.into(), raw.try_into().unwrap()]
}

fn main() {}
