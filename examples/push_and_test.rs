//! The proposal's second story. A git post-receive hook announces a push; a test runner, which the git server knows
//! nothing of, checks out the revision and tests it.
//!
//! `cargo run --example push_and_test`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use serde::{Deserialize, Serialize};

/// What the hook says of each updated reference.
#[derive(Debug, Serialize, Deserialize)]
struct Push {
    repo: String,
    reference: String,
    old: String,
    new: String,
}

/// What git gives a post-receive hook on standard input: a line a reference.
const HOOK_INPUT: &str = "\
4f1d2a90c7be3d55a1f0e6c2b8d7a4e3f2c1b0a9 9f2c1c7e0d1b4a53a7d1f0d3c3a8f6a1b2c3d4e5 refs/heads/main
0000000000000000000000000000000000000000 9f2c1c7e0d1b4a53a7d1f0d3c3a8f6a1b2c3d4e5 refs/tags/v2.33.1
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (git, mut runner) = common::bus("git", "org.example.*.git.push").await?;

    for line in HOOK_INPUT.lines() {
        let [old, new, reference] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err("git gives three words a line".into());
        };
        let (old, new, reference) = (old.into(), new.into(), reference.into());
        git.publish("push", &Push { repo: "python-requests".into(), reference, old, new }).await?;
    }

    for _ in 0..2 {
        let delivery = runner.next().await?;
        let push: Push = delivery.message().decode()?;
        // Only branches are tested.
        match push.reference.strip_prefix("refs/heads/") {
            Some(branch) => println!("runner: tests {} of {} ({})", &push.new[..12], push.repo, branch),
            None => println!("runner: leaves {} alone", push.reference),
        }
    }
    git.close().await?;
    Ok(())
}
