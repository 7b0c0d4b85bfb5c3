//! What is not verified is not looked at for being new: it would push aside what was.

use fedmsg::freshness::{Freshness, Window};
use fedmsg::message::Unverified;
use fedmsg::time::Timestamp;

fn admit(unverified: Unverified, now: Timestamp) {
    let _ = Freshness::new(Window::STANDARD).admit(unverified, now);
}

fn main() {}
