//! Why a decision came out as it did: what every rule had to say, in words.
//!
//! It goes through the rules one by one and knows nothing of the index, so that the tests can hold one against the other.

use super::decide::{Denial, Grant, Policy};
use super::rules::{Publisher, Rule, RuleRef, Window, fill};
use crate::identity::Identity;
use crate::time::Timestamp;
use crate::topic::{PatternField, Topic, TopicPattern};
use std::fmt;

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::decide`] says.
    pub decision: Result<Grant, Denial>,
    /// Every rule, in the order of the ids.
    pub rules: Vec<Considered>,
}

/// One rule, and what it had to do with the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The rule.
    pub rule: RuleRef,
    /// How it stands to the topic and the signer.
    pub standing: Standing,
}

/// How a rule stands to a topic and a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It selects the topic and names the signer.
    Names {
        /// The pattern that selects the topic.
        pattern: String,
        /// The entry of `publishers` that names the signer.
        publisher: String,
    },
    /// It selects the topic and does not name the signer.
    NamesOthers {
        /// The pattern that selects the topic.
        pattern: String,
    },
    /// It would select the topic, but does not exist at this time.
    OutsideItsTimes {
        /// The pattern that would select the topic.
        pattern: String,
        /// When it exists.
        window: Window,
    },
    /// It selects the topic, but is a shadow, and decides nothing.
    Shadow {
        /// The pattern that selects the topic.
        pattern: String,
        /// The entry of `publishers` that names the signer, if one does.
        publisher: Option<String>,
    },
    /// It would select the topic if a template stood for something else.
    Template {
        /// The pattern.
        pattern: String,
        /// The first template that stands in the way.
        template: String,
        /// What it stands for; nothing, if the signer is a common name.
        filled: Option<String>,
        /// What the topic has there.
        found: String,
    },
    /// None of its patterns could select the topic.
    TopicDiffers,
}

impl Policy {
    /// Decides, and says of every rule what it had to do with it.
    pub fn explain(&self, topic: &Topic, signer: &Identity, at: Timestamp) -> Explanation {
        let standing = |rule: &Rule| self.standing(rule, topic, signer, at);
        Explanation {
            decision: self.decide(topic, signer, at),
            rules: self
                .rules
                .iter()
                .map(|rule| Considered { rule: rule.head.clone(), standing: standing(rule) })
                .collect(),
        }
    }

    fn standing(&self, rule: &Rule, topic: &Topic, signer: &Identity, at: Timestamp) -> Standing {
        let Some(pattern) = rule.topics.iter().find(|p| p.matches(topic, |t| fill(signer, t))) else {
            let near = rule.topics.iter().find_map(|pattern| template_in_the_way(pattern, topic, signer));
            return near.unwrap_or(Standing::TopicDiffers);
        };
        let pattern = pattern.to_string();
        if !rule.window.contains(at) {
            return Standing::OutsideItsTimes { pattern, window: rule.window };
        }
        let publisher = rule.publishers.iter().find_map(|publisher| self.naming(publisher, signer));
        if rule.shadow {
            return Standing::Shadow { pattern, publisher };
        }
        match publisher {
            Some(publisher) => Standing::Names { pattern, publisher },
            None => Standing::NamesOthers { pattern },
        }
    }

    /// The entry as it was written, if it names `signer`; of a group, the member as well.
    fn naming(&self, publisher: &Publisher, signer: &Identity) -> Option<String> {
        match publisher {
            Publisher::Pattern(pattern) => pattern.names(signer).then(|| pattern.to_string()),
            Publisher::Group(number) => {
                let group = &self.groups[*number];
                let member = group.members.iter().find(|member| member.names(signer))?;
                Some(format!("@{} ({member})", group.name))
            }
        }
    }
}

/// Whether only templates keep `pattern` from selecting `topic`, and the first of them.
fn template_in_the_way(pattern: &TopicPattern, topic: &Topic, signer: &Identity) -> Option<Standing> {
    let found: Vec<&str> = topic.fields().collect();
    let fields = pattern.fields();
    if found.len() < fields.len() || (found.len() > fields.len() && !pattern.is_open()) {
        return None;
    }
    let mut first = None;
    for (field, found) in fields.iter().zip(found) {
        match field {
            PatternField::Any => {}
            PatternField::Literal(text) if **text == *found => {}
            PatternField::Literal(_) => return None,
            PatternField::Template(template) => {
                let filled = fill(signer, *template);
                if filled != Some(found) && first.is_none() {
                    first = Some(Standing::Template {
                        pattern: pattern.to_string(),
                        template: field.to_string(),
                        filled: filled.map(str::to_owned),
                        found: found.to_owned(),
                    });
                }
            }
        }
    }
    first
}

impl Standing {
    /// Whether the rule took part in the decision: it selects the topic, and exists.
    pub fn is_match(&self) -> bool {
        match self {
            Self::Names { .. } | Self::NamesOthers { .. } => true,
            Self::OutsideItsTimes { .. }
            | Self::Shadow { .. }
            | Self::Template { .. }
            | Self::TopicDiffers => false,
        }
    }

    /// A stable word for it: `names`, `names-others`, `outside-its-times`, `shadow`, `template` or `topic-differs`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Names { .. } => "names",
            Self::NamesOthers { .. } => "names-others",
            Self::OutsideItsTimes { .. } => "outside-its-times",
            Self::Shadow { .. } => "shadow",
            Self::Template { .. } => "template",
            Self::TopicDiffers => "topic-differs",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names { pattern, publisher } => {
                write!(f, "selects it by `{pattern}`, names the signer by `{publisher}`")
            }
            Self::NamesOthers { pattern } => write!(f, "selects it by `{pattern}`, does not name the signer"),
            Self::OutsideItsTimes { pattern, window } => {
                write!(f, "would select it by `{pattern}`, exists {window}")
            }
            Self::Shadow { pattern, publisher: Some(publisher) } => {
                write!(f, "is a shadow: would select it by `{pattern}` and name the signer by `{publisher}`")
            }
            Self::Shadow { pattern, publisher: None } => {
                write!(f, "is a shadow: would select it by `{pattern}` and not name the signer")
            }
            Self::Template { pattern, template, filled: Some(filled), found } => {
                write!(f, "`{pattern}`: {template} is `{filled}` for this signer, the topic has `{found}`")
            }
            Self::Template { pattern, template, filled: None, found } => {
                write!(f, "`{pattern}`: a common name has no {template}, the topic has `{found}`")
            }
            Self::TopicDiffers => f.write_str("is about other topics"),
        }
    }
}
