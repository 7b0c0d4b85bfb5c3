//! `fedmsg policy explain`

use super::{Files, Loaded, Signature, counted, hex};
use crate::cli::output::{BAD, DIM, GOOD, Output, STRONG};
use crate::cli::{CliError, Global, Outcome};
use crate::identity::Identity;
use crate::policy::{Changes, Considered, Effect, Explanation, Grant, Policy, RuleRef, Standing, Step};
use crate::reason::ReasonCode;
use crate::time::{Clock, SystemClock, Timestamp};
use crate::topic::Topic;
use serde_json::{Value, json};

/// Say whether a signer may publish a topic: which step and which rule decide, what every other rule has to do with
/// it, and what would have to change for it to be allowed.
///
/// Exit 0: allowed. Exit 1: denied. Exit 2: there is no policy to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The whole topic, such as org.fedoraproject.prod.bodhi.update.comment.
    #[arg(long)]
    topic: String,
    /// The signer: spiffe://TRUST_DOMAIN/ENV/SERVICE/HOST, or cn:NAME.
    #[arg(long, value_name = "ID")]
    signer: Identity,
    /// Decide as of this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(args: &Args, global: &Global, out: &mut Output) -> Result<Outcome, CliError> {
    let Loaded { policy, limits, signature } = args.files.load(global, out)?;
    let at = args.at.unwrap_or_else(|| SystemClock.now());
    let answer = match Topic::parse(&args.topic, &limits) {
        Ok(topic) => Answer::of(policy.explain(&topic, &args.signer, at), &topic, &args.signer),
        Err(error) => Answer {
            step: Step::Topic,
            rule: None,
            reason: Some(ReasonCode::from(&error)),
            text: error.to_string(),
            rules: Vec::new(),
            changes: Changes {
                all_of: vec!["the topic would have to be well formed".to_owned()],
                ..Changes::default()
            },
        },
    };
    if out.is_json() {
        out.object(&answer.object(args, at, &policy, &signature))?;
    } else {
        answer.print(args, at, (&policy, &signature), global.verbose > 0, out)?;
    }
    Ok(if answer.reason.is_none() { Outcome::Yes } else { Outcome::No })
}

/// What `explain` has to say.
struct Answer {
    step: Step,
    rule: Option<RuleRef>,
    /// Why not; none if it is allowed.
    reason: Option<ReasonCode>,
    text: String,
    rules: Vec<Considered>,
    /// For it to be allowed.
    changes: Changes,
}

impl Answer {
    fn of(explanation: Explanation, topic: &Topic, signer: &Identity) -> Self {
        let changes = explanation.changes(topic, signer);
        let Explanation { decision, rules } = explanation;
        let (step, rule, reason, text) = match decision {
            Ok(grant) => (grant.step(), grant.rule().cloned(), None, granted(&grant)),
            Err(denial) => (denial.step(), denial.rule().cloned(), Some(denial.code()), denial.to_string()),
        };
        Self { step, rule, reason, text, rules, changes }
    }

    fn verdict(&self) -> &'static str {
        if self.reason.is_none() { "allowed" } else { "denied" }
    }

    fn object(&self, args: &Args, at: Timestamp, policy: &Policy, signature: &Signature) -> Value {
        let place = |rule: &RuleRef| {
            let position = rule.position();
            json!({"id": rule.id(), "effect": rule.effect().to_string(), "file": &*position.file,
                "line": position.line, "column": position.column})
        };
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|Considered { rule, standing }| {
                let mut object = place(rule);
                object["matched"] = standing.is_match().into();
                object["standing"] = standing.code().into();
                object["text"] = standing.to_string().into();
                object
            })
            .collect();
        json!({
            "verdict": self.verdict(), "reason": self.reason.map(ReasonCode::as_str), "step": self.step.number(),
            "rule": self.rule.as_ref().map(place), "text": self.text, "topic": args.topic,
            "signer": args.signer.to_string(), "at": at.to_string(), "default": policy.fallback().to_string(),
            "digest": hex(policy.digest()), "signature": signature.object(), "rules": rules,
            "changes": {"all_of": self.changes.all_of, "one_of": self.changes.one_of},
        })
    }

    fn print(
        &self,
        args: &Args,
        at: Timestamp,
        (policy, signature): (&Policy, &Signature),
        all: bool,
        out: &mut Output,
    ) -> std::io::Result<()> {
        let style = if self.reason.is_none() { GOOD } else { BAD };
        out.line(format_args!("{style}{}{style:#} at step {}: {}", self.verdict(), self.step, self.text))?;
        out.line(format_args!("  topic   {}", args.topic))?;
        out.line(format_args!("  signer  {}", args.signer))?;
        out.line(format_args!("  at      {at}"))?;
        if let Some(reason) = self.reason {
            out.line(format_args!("  reason  {reason}"))?;
        }
        out.line(format_args!("{STRONG}steps{STRONG:#}"))?;
        for step in [Step::Topic, Step::Deny, Step::Exclusive, Step::Allow, Step::Default] {
            let found = self.found_at(step, policy);
            let style = if step == self.step { STRONG } else { DIM };
            out.line(format_args!("  {style}{step}  {:<44}  {found}{style:#}", question(step)))?;
        }
        if !matches!(signature, Signature::NotAsked) {
            out.line(format_args!("{STRONG}policy{STRONG:#}  {signature}"))?;
        }
        if self.step == Step::Topic {
            return self.print_changes(out);
        }
        out.line(format_args!("{STRONG}rules{STRONG:#}"))?;
        let (others, near): (Vec<_>, Vec<_>) =
            self.rules.iter().partition(|considered| considered.standing == Standing::TopicDiffers);
        let (matched, missed): (Vec<_>, Vec<_>) = near.into_iter().partition(|c| c.standing.is_match());
        let listed = if all || others.len() <= FEW { others.len() } else { 0 };
        let shown: Vec<&Considered> =
            matched.into_iter().chain(missed).chain(others[..listed].to_vec()).collect();
        let width = shown.iter().map(|c| c.rule.id().len()).max().unwrap_or(0);
        for Considered { rule, standing } in &shown {
            let (effect, id) = (rule.effect(), rule.id());
            let (mark, style) = if standing.is_match() { ("+", STRONG) } else { ("-", DIM) };
            out.line(format_args!(
                "  {style}{mark} {effect:<9} {id:<width$}  {}  {standing}{style:#}",
                rule.position()
            ))?;
        }
        if others.len() > listed {
            let count = counted(others.len(), "rule");
            out.line(format_args!("  {DIM}{count} more, about other topics (-v lists them){DIM:#}"))?;
        }
        if self.rules.is_empty() {
            out.line(format_args!("  {DIM}the policy has no rules{DIM:#}"))?;
        }
        self.print_changes(out)
    }

    fn print_changes(&self, out: &mut Output) -> std::io::Result<()> {
        let Changes { all_of, one_of } = &self.changes;
        for (title, changes) in [("to be allowed, all of", all_of), ("to be allowed, one of", one_of)] {
            // One alone is all there is to it.
            let title = if changes.len() == 1 { "to be allowed" } else { title };
            if !changes.is_empty() {
                out.line(format_args!("{STRONG}{title}{STRONG:#}"))?;
            }
            for change in changes {
                out.line(format_args!("  {change}"))?;
            }
        }
        Ok(())
    }

    /// What was found at a step: the rules, or that it was not reached.
    fn found_at(&self, step: Step, policy: &Policy) -> String {
        if step > self.step {
            return "not reached".to_owned();
        }
        let ids = |effects: &[Effect], named: bool| {
            let of_step = self.rules.iter().filter(|considered| {
                let names = matches!(considered.standing, Standing::Names { .. });
                effects.contains(&considered.rule.effect())
                    && considered.standing.is_match()
                    && names == named
            });
            let ids: Vec<&str> = of_step.map(|considered| considered.rule.id()).collect();
            if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
        };
        match step {
            Step::Topic if self.step == Step::Topic => self.text.clone(),
            Step::Topic => "yes".to_owned(),
            Step::Deny => ids(&[Effect::Deny], true),
            Step::Exclusive => ids(&[Effect::Exclusive], false),
            Step::Allow => ids(&[Effect::Allow, Effect::Exclusive], true),
            Step::Default => policy.fallback().to_string(),
        }
    }
}

/// How many rules about other topics are listed without being asked for.
const FEW: usize = 12;

fn question(step: Step) -> &'static str {
    match step {
        Step::Topic => "is the topic well formed?",
        Step::Deny => "does a deny name the signer?",
        Step::Exclusive => "does an exclusive not name the signer?",
        Step::Allow => "does an allow or exclusive name the signer?",
        Step::Default => "the default",
    }
}

fn granted(grant: &Grant) -> String {
    match grant.rule() {
        Some(rule) => format!("{rule} allows the topic to the signer"),
        None => "no rule lists the topic, and the default is allow-unlisted".to_owned(),
    }
}
