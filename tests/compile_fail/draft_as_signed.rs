//! What goes out was signed: a draft is not, nor is what was sealed. What is signed was sealed.

use fedmsg::message::{Draft, Sealed};
use fedmsg::sign::{Signed, Signer};

fn send(_: Signed) {}

fn publish(signer: &Signer, draft: Draft, sealed: Sealed) {
    let _ = signer.sign(draft.clone());
    send(draft);
    send(sealed);
}

fn main() {}
