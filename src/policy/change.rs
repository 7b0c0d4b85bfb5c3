//! What would have to change for a denied message to be allowed.

use super::explain::{Considered, Explanation, Standing};
use super::rules::{Effect, RuleRef};
use crate::identity::Identity;
use crate::topic::Topic;

/// What would have to change. Nothing of it is advice: that it is denied may be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// All of these would have to come about …
    pub all_of: Vec<String>,
    /// … and one of these, if there are any.
    pub one_of: Vec<String>,
}

impl Explanation {
    /// What would have to change for it to be allowed; nothing, if it is.
    pub fn changes(&self, topic: &Topic, signer: &Identity) -> Changes {
        let mut changes = Changes::default();
        if self.decision.is_ok() {
            return changes;
        }
        let mut granted = false;
        for Considered { rule, standing } in &self.rules {
            match (rule.effect(), standing) {
                (Effect::Deny, Standing::Names { publisher, .. }) => {
                    changes
                        .all_of
                        .push(format!("{rule} would have to stop naming the signer by `{publisher}`"));
                }
                (Effect::Exclusive, Standing::NamesOthers { .. }) => {
                    // Named by it, the signer would be let in by it.
                    granted = true;
                    changes.all_of.push(format!("{rule} would have to name the signer"));
                }
                (Effect::Allow | Effect::Exclusive, Standing::Names { .. }) => granted = true,
                _ => {}
            }
        }
        if !granted {
            let near = self.rules.iter().filter(|considered| considered.rule.effect() != Effect::Deny);
            changes.one_of = near.filter_map(|c| nearly(&c.rule, &c.standing)).collect();
            changes.one_of.push(format!(
                "a new rule: effect = \"allow\", topics = [\"{topic}\"], publishers = [\"{signer}\"]"
            ));
        }
        changes
    }
}

/// How a rule that does not let the signer in could.
fn nearly(rule: &RuleRef, standing: &Standing) -> Option<String> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the other standings are no near miss")]
    match standing {
        Standing::NamesOthers { .. } => Some(format!("{rule} would have to name the signer")),
        Standing::OutsideItsTimes { window, .. } => {
            Some(format!("{rule} would have to exist at this time; it exists {window}"))
        }
        Standing::Template { template, filled: Some(filled), found, .. } => {
            Some(format!("for {rule}, the signer's {template} would have to be `{found}`; it is `{filled}`"))
        }
        _ => None,
    }
}
