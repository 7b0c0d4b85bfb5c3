//! The naming of topics: singular fields, known verbs. Advice, and no more: English has exceptions, and so have services.

use super::super::decide::Policy;
use super::super::rules::Rule;
use super::{Finding, LintCode, LintContext};
use crate::topic::{PatternField, Template, TopicPattern};

/// The verbs of the original proposal and of Fedora's bus. Existing words are to be reused.
const VERBS: &[&str] = &[
    "accept",
    "add",
    "added",
    "approve",
    "assign",
    "assigned",
    "build",
    "cancel",
    "cancelled",
    "change",
    "changed",
    "clone",
    "close",
    "closed",
    "comment",
    "complete",
    "compose",
    "composing",
    "create",
    "created",
    "decline",
    "delete",
    "deleted",
    "deny",
    "denied",
    "drop",
    "dropped",
    "edit",
    "edited",
    "eject",
    "end",
    "expire",
    "fail",
    "failed",
    "finish",
    "fork",
    "forked",
    "grant",
    "ignore",
    "import",
    "init",
    "karma",
    "link",
    "login",
    "logout",
    "map",
    "merge",
    "merged",
    "move",
    "new",
    "obsolete",
    "open",
    "opened",
    "pull",
    "push",
    "queue",
    "queued",
    "rebase",
    "rebased",
    "receive",
    "reject",
    "rejected",
    "release",
    "released",
    "reminder",
    "remove",
    "removed",
    "rename",
    "reopen",
    "reopened",
    "request",
    "requested",
    "reset",
    "restart",
    "retire",
    "revoke",
    "revoked",
    "run",
    "running",
    "sign",
    "signed",
    "start",
    "started",
    "state-changed",
    "status",
    "stop",
    "stopped",
    "submit",
    "subscribe",
    "sync",
    "tag",
    "test",
    "testing",
    "toggle",
    "transition",
    "unpush",
    "unsubscribe",
    "untag",
    "update",
    "updated",
    "upload",
    "vote",
    "watch",
];

/// Words that end in `s` and are singular.
const SINGULARS: &[&str] = &[
    "access",
    "address",
    "alias",
    "analysis",
    "atlas",
    "basis",
    "bus",
    "class",
    "fas",
    "https",
    "kerberos",
    "news",
    "os",
    "pagure-tests",
    "process",
    "progress",
    "release-engineering-tools",
    "series",
    "status",
    "summershum",
    "taskotron-results",
];

pub(super) fn look(policy: &Policy, context: &LintContext<'_>, findings: &mut Vec<Finding>) {
    for rule in &policy.rules {
        for pattern in &rule.topics {
            look_at(rule, pattern, context, findings);
        }
    }
}

fn look_at(rule: &Rule, pattern: &TopicPattern, context: &LintContext<'_>, findings: &mut Vec<Finding>) {
    // What stands before the object is not the service's to name.
    let Some(env) = pattern.fields().iter().position(|field| is_env(field, context.envs)) else { return };
    let named = pattern.fields().get(env + 2..).unwrap_or_default();
    let mut say = |code, message: String, fix: String| {
        let message = format!("rule `{}` has the topic `{pattern}`: {message}", rule.head.id());
        findings.push(Finding { code, position: rule.head.position().clone(), message, fix });
    };
    for (place, field) in named.iter().enumerate() {
        let PatternField::Literal(word) = field else { continue };
        let is_event = place + 1 == named.len() && !pattern.is_open();
        if is_event && place > 0 {
            if !VERBS.contains(&&**word) {
                let fix = "use an existing word, such as `complete`, `create`, `update`, `delete`";
                say(LintCode::UnknownVerb, format!("`{word}` is no verb that is known"), fix.to_owned());
            }
        } else if is_plural(word) {
            let fix = format!("write the singular, such as `{}`", singular(word));
            say(LintCode::PluralField, format!("`{word}` looks like a plural"), fix);
        }
    }
}

fn is_env(field: &PatternField, envs: &[String]) -> bool {
    match field {
        PatternField::Any | PatternField::Template(Template::Env) => true,
        PatternField::Literal(text) => envs.iter().any(|env| **env == **text),
        PatternField::Template(Template::Host | Template::Service) => false,
    }
}

fn is_plural(word: &str) -> bool {
    let letters = word.bytes().all(|byte| byte.is_ascii_lowercase());
    let ending = ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    letters && word.len() > 3 && word.ends_with('s') && !ending && !SINGULARS.contains(&word)
}

fn singular(plural: &str) -> String {
    match plural.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => plural.strip_suffix('s').unwrap_or(plural).to_owned(),
    }
}
