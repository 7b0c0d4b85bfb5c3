//! A handler takes `&Verified`: what was not verified, or was refused, is something else.

use fedmsg::message::{RawMessage, Unverified};
use fedmsg::{Rejected, Verified};

fn handle(_: &Verified) {}

fn deliver(raw: &RawMessage, unverified: &Unverified, rejected: &Rejected) {
    handle(raw);
    handle(unverified);
    handle(rejected);
    handle(rejected.claimed().unwrap());
}

fn main() {}
