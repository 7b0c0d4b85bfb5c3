//! `fedmsg ca check`

use super::{CliError, Outcome, Output, Place};
use crate::cli::output::{BAD, GOOD, WARN};
use crate::store::authority::Health;
use crate::time::{Clock, SystemClock};
use serde_json::json;

/// Check the authority: modes, keys and certificates, chains, lists, the log, and what ends when.
///
/// Exit 0 if all is well, 1 if anything is due or faulty. For a timer, and before and after anything is moved.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only what needs a hand.
    #[arg(long)]
    faults: bool,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let store = place.open_to_check(now, out)?;
    let findings = store.check(now).map_err(|error| place.explain(error))?;
    let mut outcome = Outcome::Yes;
    for finding in findings {
        if finding.health == Health::Good {
            if args.faults {
                continue;
            }
        } else {
            outcome = Outcome::No;
        }
        let hint = finding
            .hint
            .as_ref()
            .map(|hint| if hint.starts_with("ca ") { place.command(hint) } else { hint.clone() });
        let ends_in = finding.until.map(|until| until.seconds_since(now));
        let until = finding.until.map(|until| until.to_string());
        let (subject, health) = (finding.subject.as_str(), finding.health.as_str());
        if out.is_json() {
            out.object(&json!({
                "subject": subject, "name": finding.name, "health": health,
                "detail": finding.detail, "until": until, "ends_in": ends_in, "hint": hint,
            }))?;
            continue;
        }
        let style = match finding.health {
            Health::Due => WARN,
            Health::Faulty => BAD,
            Health::Good => GOOD,
        };
        let until = until.map_or_else(String::new, |until| format!(", until {until}"));
        let (name, detail) = (finding.name, finding.detail);
        out.line(format_args!("{style}{health:6}{style:#}  {subject:9}  {name}  {detail}{until}"))?;
        if let Some(hint) = hint {
            out.hint(hint);
        }
    }
    Ok(outcome)
}
