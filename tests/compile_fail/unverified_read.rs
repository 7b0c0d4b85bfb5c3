//! What is not verified has claims only, and a claim is asked for by that name. What is verified claims nothing.

use fedmsg::Verified;
use fedmsg::message::Unverified;

fn read(unverified: &Unverified) {
    unverified.msg();
    unverified.topic();
    unverified.signer();
    unverified.envelope();
}

fn ask(verified: &Verified) {
    verified.claimed_msg();
    verified.claimed_topic();
}

fn main() {}
