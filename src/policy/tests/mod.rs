//! The semantics of design section 6, from three sides: a table, an obviously right evaluator, and malformed files.

mod live;
mod malformed;
mod oracle;
mod table;

use super::{Policy, PolicyErrors};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::topic::Topic;

const HEAD: &str = "version = 1\nserial = 1\n";

fn try_policy(body: &str) -> Result<Policy, PolicyErrors> {
    Policy::parse(&format!("{HEAD}{body}"), "p.toml", &Limits::STANDARD)
}

fn policy(body: &str) -> Policy {
    try_policy(body).unwrap_or_else(|errors| panic!("{errors}"))
}

fn topic(text: &str) -> Topic {
    Topic::parse(text, &Limits::STANDARD).unwrap()
}

fn signer(text: &str) -> Identity {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// `allow RULE`, `deny CODE RULE`, with `-` where the default decided.
fn decided(policy: &Policy, on: &str, by: &str, when: &str) -> String {
    match policy.decide(&topic(on), &signer(by), at(when)) {
        Ok(grant) => format!("allow {} {}", grant.step(), grant.rule().map_or("-", |rule| rule.id())),
        Err(denial) => {
            format!("{} {} {}", denial.code(), denial.step(), denial.rule().map_or("-", |rule| rule.id()))
        }
    }
}
