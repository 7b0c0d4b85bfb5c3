//! Only `Freshness::admit` makes a `Fresh`.

use fedmsg::Verified;
use fedmsg::freshness::Fresh;

fn forge(verified: Verified) -> Fresh {
    Fresh { verified }
}

fn main() {}
