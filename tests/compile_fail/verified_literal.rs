//! A `Verified` cannot be written down: its fields are private.

use fedmsg::message::Unverified;
use fedmsg::policy::Grant;
use fedmsg::{Verified, identity::Identity, time::Timestamp};

fn forge(message: Unverified, signer: Identity, grant: Grant) -> Verified {
    Verified { message, signer, certificate: [0; 32], grant, as_of: Timestamp::EPOCH, legacy: false }
}

fn main() {}
