//! What makes them is private.

use fedmsg::message::Unverified;

fn make(unverified: &Unverified) {
    fedmsg::verify::Authentic::new;
    fedmsg::verify::CheckedRoots::default();
    fedmsg::pki::chain::validate::validate;
    fedmsg::Verified::new(unverified);
    unverified.envelope().clone();
}

fn main() {}
