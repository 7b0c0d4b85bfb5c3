//! The steps before a `Verified` cannot be forged either: a leaf that was validated, and a policy's grant.

use fedmsg::pki::chain::ValidatedLeaf;
use fedmsg::policy::{Edition, Grant};

fn leaf(other: ValidatedLeaf, identity: fedmsg::identity::Identity) -> ValidatedLeaf {
    ValidatedLeaf { identity, ..other }
}

fn grant(other: Grant, edition: Edition) -> Grant {
    Grant { edition, ..other }
}

fn main() {}
