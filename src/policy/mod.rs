//! The routing policy: who may publish which topic. Default deny, no order, every rule with an id.
//!
//! 1. A malformed topic is refused before any rule ([`Topic::parse`](crate::topic::Topic::parse) does it).
//! 2. A matching `deny` that names the signer: denied.
//! 3. A matching `exclusive` that does not name the signer: denied.
//! 4. A matching `allow` or `exclusive` that names the signer: allowed.
//! 5. Otherwise the default: denied; or, with `default = "allow-unlisted"`, allowed if no rule lists the topic.
//!
//! `docs/policy.md` has the file's format, the reasons, and recipes. A [`Policy`] is made whole by [`Policy::parse`] or
//! not at all; [`Policy::decide`] gives a [`Grant`], which the verifier needs to make a verified message, or a
//! [`Denial`].

mod algebra;
mod change;
pub mod danger;
mod decide;
pub mod diff;
mod error;
mod explain;
pub mod import;
mod index;
pub mod learn;
pub mod lint;
mod live;
mod load;
mod publisher;
mod reach;
mod rules;
mod selftest;
pub mod signature;
mod suite;
mod tree;

#[cfg(test)]
mod tests;

pub use change::Changes;
pub use decide::{Cause, Denial, Grant, Policy, Step};
pub use error::{FailedTest, Moment, Place, PolicyError, PolicyErrors, PolicyFault};
pub use explain::{Considered, Explanation, Standing};
pub use live::{DIFFERENCE_PERIOD, Difference, LivePolicy, Superseded};
pub use load::Source;
pub use publisher::{PublisherError, PublisherPattern};
pub use reach::{Exception, Reach, Right};
pub use rules::{Edition, Effect, Fallback, LoadedFile, RuleRef, Verdict, Window};
pub use suite::{TestOutcome, TestReport};
