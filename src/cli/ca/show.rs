//! `fedmsg ca show`

use super::entry::{object, pem};
use super::revoke::target;
use super::{CliError, Outcome, Output, Place};
use crate::store::authority::AuthorityId;
use crate::time::{Clock, SystemClock};
use serde_json::{Value, json};

/// Show certificates that were issued: what the inventory and the log have of them, and the certificate.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A certificate's serial number or file, or an identity or SERVICE-HOST: then all that the service has on that host.
    #[arg(value_name = "SERIAL|FILE|IDENTITY|SERVICE-HOST")]
    target: String,
}

pub(super) fn run(args: &Args, place: &Place, out: &mut Output) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    let store = place.open_and_recover(now, out)?;
    let entries = store.find(&target(&args.target)?, now).map_err(|error| place.explain(error))?;
    let log = store.log().map_err(|error| place.explain(error))?;
    for entry in &entries {
        let serial = entry.serial.to_string();
        let history: Vec<Value> = log
            .iter()
            .filter_map(|entry| serde_json::from_str(&entry.record).ok())
            .filter(|record: &Value| record["serial"] == serial.as_str() && is_by(record, entry.issuer))
            .collect();
        if out.is_json() {
            let mut object = object(entry, now);
            object.insert("pem".to_owned(), json!(pem(entry)?));
            object.insert("log".to_owned(), json!(history));
            out.object(&object)?;
            continue;
        }
        for (name, value) in object(entry, now) {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => continue,
            };
            out.line(format_args!("{:18} {value}", name.replace('_', " ")))?;
        }
        for record in history {
            let word = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
            let request = record["request"].as_str().map_or_else(String::new, |r| format!(", request {r}"));
            out.line(format_args!(
                "{:18} {} at {} by {}{request}",
                "log",
                word("what"),
                word("at"),
                word("who")
            ))?;
        }
        out.line(pem(entry)?.trim_end())?;
    }
    Ok(Outcome::Yes)
}

/// Whether an entry of the log is about an authority. Those from before there were generations are about the first.
fn is_by(record: &Value, issuer: AuthorityId) -> bool {
    let generation = record["generation"].as_u64().unwrap_or(1);
    record["authority"] == issuer.level.as_str() && generation == u64::from(issuer.generation)
}
