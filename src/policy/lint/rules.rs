//! Findings about rules: among themselves, against the authority's inventory, against what was seen.

use super::super::algebra::{Shape, Shapes};
use super::super::decide::Policy;
use super::super::publisher::PublisherPattern;
use super::super::rules::{Effect, Fallback, Publisher, Rule, Window};
use super::{Finding, Inventory, Issued, LintCode, LintContext};
use crate::identity::Identity;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::{PatternField, Topic};
use std::collections::BTreeSet;

/// A pattern is wide if it selects more than this part of what was seen, in percent …
const WIDE_PERCENT: usize = 50;
/// … and at least so many topics were seen.
const ENOUGH_SEEN: usize = 20;

pub(super) fn look(policy: &Policy, context: &LintContext<'_>, findings: &mut Vec<Finding>) {
    // A shadow decides nothing, so that nothing is in its way and it is in nothing's.
    let deciding = policy.rules.iter().filter(|rule| !rule.shadow);
    let rules: Vec<Flat<'_>> = deciding.map(|rule| Flat::new(rule, policy)).collect();
    let numbered = rules.iter().enumerate();
    let all = Shapes::new(numbered.flat_map(|(n, flat)| flat.rule.topics.iter().map(move |t| (n, t))));
    for (number, flat) in rules.iter().enumerate() {
        let near = flat.near(&all, &rules);
        if flat.rule.window.until.is_some_and(|until| until <= context.at) {
            findings.push(expired(flat, context.at, policy.fallback()));
            continue;
        }
        match never_applies(flat, &near) {
            Some(finding) => findings.push(finding),
            None => findings.extend(within_another(number, flat, &near, policy.fallback())),
        }
        findings.extend(exclusives_overlap(number, flat, &near));
        if let Some(inventory) = context.inventory {
            look_at_publishers(flat, inventory, findings);
        }
        if let Some(seen) = context.seen {
            look_at_seen(flat, seen, findings);
        }
    }
    look_at_groups(policy, findings);
    if policy.fallback() == Fallback::AllowUnlisted
        && let Some(file) = policy.files().first()
    {
        findings.push(Finding {
            code: LintCode::DefaultOpen,
            position: Position { file: file.file.clone(), line: 1, column: 1 },
            message: "the default is `allow-unlisted`: a topic that no rule lists is open to every verified signer"
                .to_owned(),
            fix: "write rules for what is published (`fedmsg policy learn` drafts them), then set default = \"deny\""
                .to_owned(),
        });
    }
}

/// A rule with its groups dissolved.
struct Flat<'p> {
    rule: &'p Rule,
    publishers: Vec<&'p PublisherPattern>,
    /// Each topic pattern for each publisher, with its templates filled; nothing where they cannot be.
    pairs: Vec<(Option<Shape>, &'p PublisherPattern)>,
}

impl<'p> Flat<'p> {
    fn new(rule: &'p Rule, policy: &'p Policy) -> Self {
        let publishers: Vec<&PublisherPattern> = policy.publishers_of(rule).collect();
        let pair = |t, p| (Shape::filled(t, p), p);
        let pairs = rule.topics.iter().flat_map(|t| publishers.iter().map(move |p| pair(t, *p))).collect();
        Self { rule, publishers, pairs }
    }

    fn effect(&self) -> Effect {
        self.rule.head.effect()
    }

    /// The rules, with their numbers, that may share a topic with this one; not itself.
    fn near<'r>(&self, all: &Shapes, rules: &'r [Self]) -> Vec<(usize, &'r Self)> {
        let near = self.rule.topics.iter().flat_map(|topic| all.near(&Shape::of(topic)));
        let numbers: BTreeSet<usize> = near.collect();
        let others = numbers.into_iter().map(|number| (number, &rules[number]));
        others.filter(|(_, other)| other.rule.head != self.rule.head).collect()
    }

    /// Whether it names all whom `publisher` names.
    fn names_all(&self, publisher: &PublisherPattern) -> bool {
        self.publishers.iter().any(|ours| ours.covers(publisher))
    }

    /// Whether one of its patterns selects all that `shape` selects, for signers whom `publisher` names.
    fn selects_all(&self, shape: &Shape, publisher: &PublisherPattern) -> bool {
        let patterns = self.rule.topics.iter().filter_map(|topic| Shape::filled(topic, publisher));
        patterns.into_iter().any(|pattern| pattern.covers(shape))
    }

    /// Whether it lists every topic that `other` lists, so that without `other` no topic is newly unlisted.
    fn lists_all_of(&self, other: &Self) -> bool {
        let wide = |topic| Shape::of(topic).widened();
        other
            .rule
            .topics
            .iter()
            .map(wide)
            .all(|theirs| self.rule.topics.iter().map(wide).any(|ours| ours.covers(&theirs)))
    }
}

/// Whether the first exists whenever the second does.
fn outlasts(first: &Window, second: &Window) -> bool {
    first.from.is_none_or(|from| second.from.is_some_and(|other| from <= other))
        && first.until.is_none_or(|until| second.until.is_some_and(|other| until >= other))
}

/// Whether there is a second at which both exist.
fn meet(first: &Window, second: &Window) -> bool {
    let before = |from: Option<Timestamp>, until: Option<Timestamp>| {
        from.zip(until).is_none_or(|(from, until)| from < until)
    };
    before(first.from, second.until) && before(second.from, first.until)
}

fn finding(code: LintCode, flat: &Flat<'_>, message: String, fix: impl Into<String>) -> Finding {
    let message = format!("rule `{}` {message}", flat.rule.head.id());
    Finding { code, position: flat.rule.head.position().clone(), message, fix: fix.into() }
}

fn expired(flat: &Flat<'_>, at: Timestamp, fallback: Fallback) -> Finding {
    let window = flat.rule.window;
    let message = format!("exists {window}, which has passed (it is {at})");
    let fix = match fallback {
        Fallback::Deny => "leave it out, or extend `until`",
        // What a rule lists it lists after its end as well.
        Fallback::AllowUnlisted => {
            "extend `until`, or leave it out: its topics are then open, as no rule lists them"
        }
    };
    finding(LintCode::RuleExpired, flat, message, fix)
}

/// A right that nobody can ever use, because of other rules.
fn never_applies(flat: &Flat<'_>, near: &[(usize, &Flat<'_>)]) -> Option<Finding> {
    if flat.effect() == Effect::Deny {
        return None;
    }
    let lasting = || near.iter().filter(|(_, other)| outlasts(&other.rule.window, &flat.rule.window));
    let mut reasons = BTreeSet::new();
    for (shape, publisher) in &flat.pairs {
        let Some(shape) = shape else {
            reasons.insert(format!("`{publisher}` cannot fill its templates"));
            continue;
        };
        let in_the_way = lasting().find(|(_, other)| {
            let selects = other.selects_all(shape, publisher);
            match other.effect() {
                Effect::Deny => selects && other.names_all(publisher),
                Effect::Exclusive => {
                    selects && !other.publishers.iter().any(|named| named.common(publisher).is_some())
                }
                Effect::Allow => false,
            }
        });
        // A pair that can apply: so can the rule.
        let (_, other) = in_the_way?;
        reasons.insert(format!("the {} {} is in the way", other.effect(), other.rule.head));
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    let message = format!("can never let anybody in: {}", reasons.join("; "));
    Some(finding(LintCode::NeverApplies, flat, message, "leave it out, or mend the one that is in the way"))
}

/// A rule that takes nothing away when it is left out.
fn within_another(
    number: usize,
    flat: &Flat<'_>,
    near: &[(usize, &Flat<'_>)],
    fallback: Fallback,
) -> Option<Finding> {
    let is_within = |inner: &Flat<'_>, outer: &Flat<'_>| {
        let publishers = match (inner.effect(), outer.effect()) {
            (Effect::Allow, Effect::Allow | Effect::Exclusive) | (Effect::Deny, Effect::Deny) => {
                inner.publishers.iter().all(|publisher| outer.names_all(publisher))
            }
            // The outer one keeps out whom the inner one keeps out, and lets in whom it can let in.
            (Effect::Exclusive, Effect::Exclusive) => {
                outer.publishers.iter().all(|publisher| inner.names_all(publisher))
            }
            (Effect::Allow, Effect::Deny)
            | (Effect::Deny, Effect::Allow | Effect::Exclusive)
            | (Effect::Exclusive, Effect::Allow | Effect::Deny) => false,
        };
        let mut pairs = inner.pairs.iter();
        publishers
            && (fallback == Fallback::Deny || outer.lists_all_of(inner))
            && outlasts(&outer.rule.window, &inner.rule.window)
            && pairs.all(|(shape, publisher)| {
                shape.as_ref().is_none_or(|shape| outer.selects_all(shape, publisher))
            })
    };
    let (_, outer) = near.iter().find(|(other_number, other)| {
        // Of two that say the same, the later by id is the one too many.
        is_within(flat, other) && (*other_number < number || !is_within(other, flat))
    })?;
    let message = format!("lies wholly within {}", outer.rule.head);
    Some(finding(LintCode::RuleWithinAnother, flat, message, "leave it out: nothing changes"))
}

/// Where two exclusives meet, only those may publish whom both name.
fn exclusives_overlap(number: usize, flat: &Flat<'_>, near: &[(usize, &Flat<'_>)]) -> Vec<Finding> {
    if flat.effect() != Effect::Exclusive {
        return Vec::new();
    }
    let later = near.iter().filter(|(other_number, other)| {
        other.effect() == Effect::Exclusive
            && *other_number > number
            && meet(&flat.rule.window, &other.rule.window)
    });
    let mut findings = Vec::new();
    for (_, other) in later {
        let same = flat.publishers.iter().all(|p| other.names_all(p))
            && other.publishers.iter().all(|p| flat.names_all(p));
        let patterns = flat.rule.topics.iter().flat_map(|a| {
            let common = move |b| Shape::of(a).common(&Shape::of(b)).map(|shape| shape.to_string());
            other.rule.topics.iter().filter_map(common)
        });
        let patterns: BTreeSet<String> = patterns.collect();
        if same || patterns.is_empty() {
            continue;
        }
        let both: BTreeSet<String> = flat
            .publishers
            .iter()
            .flat_map(|a| other.publishers.iter().filter_map(|b| a.common(b)).map(|p| p.to_string()))
            .collect();
        let who = if both.is_empty() { "nobody".to_owned() } else { listed(&both) };
        let message = format!(
            "and {} are exclusive on common topics: on {} only {who} may publish",
            other.rule.head,
            listed(&patterns)
        );
        let fix = "name the same publishers in both, or make one an `allow`, or narrow its topics";
        findings.push(finding(LintCode::ExclusivesOverlap, flat, message, fix));
    }
    findings
}

/// The first few, and how many there are besides.
fn listed(texts: &BTreeSet<String>) -> String {
    const FEW: usize = 3;
    let shown: Vec<String> = texts.iter().take(FEW).map(|text| format!("`{text}`")).collect();
    let rest = texts.len().saturating_sub(FEW);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

fn look_at_publishers(flat: &Flat<'_>, inventory: &Inventory, findings: &mut Vec<Finding>) {
    for publisher in &flat.publishers {
        let PublisherPattern::Spiffe { trust_domain, .. } = publisher else { continue };
        if **trust_domain != *inventory.trust_domain {
            continue;
        }
        let of_publisher =
            |(identity, issued): &(Identity, Issued)| publisher.names(identity).then_some(*issued);
        let best = inventory.issued.iter().filter_map(of_publisher).max();
        let (code, what, fix) = match best {
            Some(Issued::Valid) => continue,
            Some(Issued::Expired) => (
                LintCode::PublisherExpired,
                "whose certificates have all expired",
                "issue a new one (`fedmsg ca issue`), or leave the publisher out",
            ),
            Some(Issued::Revoked) => (
                LintCode::PublisherRevoked,
                "whose certificates are all revoked",
                "leave the publisher out, or issue a new certificate (`fedmsg ca issue`)",
            ),
            None => (
                LintCode::PublisherNeverIssued,
                "for whom the authority never issued a certificate",
                "mend the name, or issue a certificate (`fedmsg ca issue`)",
            ),
        };
        findings.push(finding(code, flat, format!("names `{publisher}`, {what}"), fix));
    }
}

fn look_at_seen(flat: &Flat<'_>, seen: &[Topic], findings: &mut Vec<Finding>) {
    for pattern in &flat.rule.topics {
        let shape = Shape::of(pattern);
        let count = seen.iter().filter(|topic| shape.lists(topic)).count();
        let of = seen.len();
        if count == 0 && of > 0 {
            let message =
                format!("has the topic `{pattern}`, and none of the {of} topics that were seen is of it");
            let fix = "mend the topic, or leave it out if nothing publishes it";
            findings.push(finding(LintCode::TopicNeverSeen, flat, message, fix));
        }
        // With a template it is narrow for each signer, however wide it looks.
        let narrow = pattern.fields().iter().any(|field| matches!(field, PatternField::Template(_)));
        if of >= ENOUGH_SEEN && !narrow && flat.effect() != Effect::Deny && count * 100 > of * WIDE_PERCENT {
            let message =
                format!("has the topic `{pattern}`, which is {count} of the {of} topics that were seen");
            let fix = "name the topics, or use templates, so that each signer is let in to its own only";
            findings.push(finding(LintCode::WidePattern, flat, message, fix));
        }
    }
}

fn look_at_groups(policy: &Policy, findings: &mut Vec<Finding>) {
    let publishers = policy.rules.iter().flat_map(|rule| &rule.publishers);
    let used: BTreeSet<usize> = publishers
        .filter_map(|publisher| match publisher {
            Publisher::Group(number) => Some(*number),
            Publisher::Pattern(_) => None,
        })
        .collect();
    for (_, group) in policy.groups.iter().enumerate().filter(|(number, _)| !used.contains(number)) {
        findings.push(Finding {
            code: LintCode::GroupUnused,
            position: group.position.clone(),
            message: format!("group `{}` is used by no rule", group.name),
            fix: "leave it out, or name it in a rule as \"@…\"".to_owned(),
        });
    }
}
