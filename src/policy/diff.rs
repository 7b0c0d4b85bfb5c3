//! Two policies asked the same questions: what would change.

use super::decide::{Denial, Grant, Policy, Step};
use super::rules::{RuleRef, Verdict};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::Topic;
use std::collections::BTreeMap;

/// An old policy beside a new one, and the traffic on which they differ.
#[derive(Debug)]
pub struct Comparison<'p> {
    old: &'p Policy,
    new: &'p Policy,
    messages: u64,
    changes: BTreeMap<Key, Seen>,
}

/// A topic from a signer that the two decide differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The topic.
    pub topic: Topic,
    /// The signer.
    pub signer: Identity,
    /// What the old policy said.
    pub old: Answer,
    /// What the new one says.
    pub new: Answer,
    /// How many messages.
    pub count: u64,
    /// The time of the first of them.
    pub first: Timestamp,
    /// The time of the last of them.
    pub last: Timestamp,
}

/// What a policy said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// Yes or no.
    pub verdict: Verdict,
    /// The step that decided.
    pub step: Step,
    /// The rule that decided; none if the default did.
    pub rule: Option<RuleRef>,
}

type Key = (Topic, Identity, Answer, Answer);
type Seen = (u64, Timestamp, Timestamp);

impl<'p> Comparison<'p> {
    /// Of two policies, before any traffic.
    pub fn new(old: &'p Policy, new: &'p Policy) -> Self {
        Self { old, new, messages: 0, changes: BTreeMap::new() }
    }

    /// A message: its topic, its signer, and the time as of which both are asked.
    pub fn see(&mut self, topic: &Topic, signer: &Identity, at: Timestamp) {
        self.messages += 1;
        let [old, new] = [self.old, self.new].map(|policy| Answer::of(&policy.decide(topic, signer, at)));
        if old.verdict == new.verdict {
            return;
        }
        let seen = self.changes.entry((topic.clone(), signer.clone(), old, new)).or_insert((0, at, at));
        *seen = (seen.0 + 1, seen.1.min(at), seen.2.max(at));
    }

    /// How many messages were looked at.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The differences, in the order of topics and signers. That another rule decides the same way is none.
    pub fn changes(self) -> Vec<Change> {
        let change = |((topic, signer, old, new), (count, first, last)): (Key, Seen)| Change {
            topic,
            signer,
            old,
            new,
            count,
            first,
            last,
        };
        self.changes.into_iter().map(change).collect()
    }
}

impl Answer {
    fn of(decision: &Result<Grant, Denial>) -> Self {
        match decision {
            Ok(grant) => Self { verdict: Verdict::Allowed, step: grant.step(), rule: grant.rule().cloned() },
            Err(denial) => {
                Self { verdict: Verdict::Denied, step: denial.step(), rule: denial.rule().cloned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Comparison;
    use crate::limits::Limits;
    use crate::policy::{Policy, Verdict};
    use crate::time::Timestamp;
    use crate::topic::Topic;

    #[test]
    fn what_is_decided_otherwise_is_counted() {
        let policy = |topics: &str| {
            let text = format!(
                "version = 1\nserial = 1\n[[rule]]\nid = \"r\"\neffect = \"allow\"\ntopics = [{topics}]\npublishers = [\"cn:a\"]\n"
            );
            Policy::parse(&text, "p", &Limits::STANDARD).unwrap()
        };
        let (old, new) = (policy("\"x\", \"y\""), policy("\"y\", \"z\""));
        let mut comparison = Comparison::new(&old, &new);
        for (n, topic) in ["x", "y", "z", "x", "w"].into_iter().enumerate() {
            let at = Timestamp::from_unix(i64::try_from(n).unwrap()).unwrap();
            comparison.see(&Topic::parse(topic, &Limits::STANDARD).unwrap(), &"cn:a".parse().unwrap(), at);
        }
        assert_eq!(comparison.messages(), 5);
        let changes = comparison.changes();
        let said: Vec<_> =
            changes.iter().map(|c| (c.topic.as_str(), c.new.verdict, c.count, c.last.as_unix())).collect();
        assert_eq!(said, [("x", Verdict::Denied, 2, 3), ("z", Verdict::Allowed, 1, 2)]);
    }
}
