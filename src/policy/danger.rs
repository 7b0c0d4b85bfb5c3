//! What is dangerous, and says so in its name.

use super::decide::Policy;
use super::load::UNCHECKED;
use super::rules::{Effect, RuleRef};
use crate::position::Position;

/// A policy that lets every verified signer publish every topic, for tests and for looking at foreign messages.
///
/// Its grants name the rule `unchecked`, which no policy file can have, so that what was let through by it can be told
/// from what a rule allowed.
pub fn allow_everything() -> Policy {
    let nowhere = Position { file: "no policy".into(), line: 1, column: 1 };
    Policy::unchecked(RuleRef::new(UNCHECKED, Effect::Allow, nowhere))
}
