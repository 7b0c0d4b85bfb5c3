//! The issuance log: who did what, when, to which certificate, on which request. Entries are only ever added, each with a
//! hash over the one before it, so that whoever remembers one hash can tell whether anything up to it was changed.

use super::error::AuthorityStoreError;
use super::index::{AuthorityId, Entry, EntryRevocation, Generation, Index, Stage, Step};
use crate::pki::certificate::Certificate;
use crate::time::Timestamp;
use crate::{merkle, pki::serial::Serial};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What each hash is over, before the hash of the entry before (32 zero bytes for the first) and the record's text.
pub const LOG_DOMAIN: &[u8] = b"fedmsg authority log v1\0";

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number, from 1, without holes.
    pub number: u64,
    /// What happened, as one line of JSON: the text that is hashed.
    pub record: String,
    /// SHA-256 over [`LOG_DOMAIN`], the hash of the entry before, and the record.
    pub hash: [u8; 32],
}

/// A log that was verified: every hash, and every certificate and revocation of the index against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLog {
    entries: u64,
    certificates: u64,
    head: [u8; 32],
}

/// What is wrong with the log, or with the index beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// An authority has another certificate in the index than by the log, or stands at another stage of its life.
    #[error("the {authority} authority is in the index as the log does not have it")]
    Authority {
        /// Which.
        authority: AuthorityId,
    },
    /// An authority of the log is not in the index.
    #[error("the {authority} authority is in the log, and not in the index")]
    AuthorityMissing {
        /// Which.
        authority: String,
    },
    /// A certificate is in the index with other dates, names or bytes than it was issued with.
    #[error("certificate {serial} is in the index, and in entry {number} of the log it is another")]
    Differs {
        /// Its serial number.
        serial: Serial,
        /// The entry.
        number: u64,
    },
    /// A hash is not over what stands there: the entry, or one before it, was changed.
    #[error("entry {number}: its hash does not fit: it, or the one before it, was changed")]
    Hash {
        /// The entry.
        number: u64,
    },
    /// An entry is missing.
    #[error("entry {expected} is missing: {found} comes after the one before it")]
    Hole {
        /// The number that should be there.
        expected: u64,
        /// The number that is.
        found: u64,
    },
    /// A record that was never written here.
    #[error("entry {number} is no record of this log")]
    Malformed {
        /// The entry.
        number: u64,
    },
    /// The hash that was remembered is not in the log: its end was cut off, or it is another log.
    #[error("no entry has the hash {hash}: the end of the log is missing, or it is another log")]
    NotInLog {
        /// What was remembered.
        hash: String,
    },
    /// A certificate that was issued is not in the index.
    #[error("entry {number}: certificate {serial} was issued, and is not in the index")]
    NotInIndex {
        /// Its serial number.
        serial: String,
        /// The entry.
        number: u64,
    },
    /// A certificate that is in the index was never issued, by the log.
    #[error("certificate {serial} is in the index, and no entry of the log says that it was issued")]
    NotIssued {
        /// Its serial number.
        serial: Serial,
    },
    /// A certificate's revocation is not the one that the log has last.
    #[error("certificate {serial} is {found} in the index, and {expected} by the log")]
    Revocation {
        /// Its serial number.
        serial: Serial,
        /// What the index says.
        found: String,
        /// What the log says.
        expected: String,
    },
}

impl VerifiedLog {
    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// How many certificates it says were issued; all of them are in the index.
    pub fn certificates(&self) -> u64 {
        self.certificates
    }

    /// The last hash: to be remembered elsewhere, so that a log that is cut off or made anew is found out.
    pub fn head(&self) -> [u8; 32] {
        self.head
    }
}

/// What is written into the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    /// An authority was made or taken in.
    Authority { new: &'a Generation },
    /// A certificate was issued, on a request (SHA-256 of it) or, without one, for a key that was made here.
    Issue {
        issuer: AuthorityId,
        certificate: &'a Certificate,
        identity: Option<&'a str>,
        request: Option<[u8; 32]>,
    },
    /// A list was numbered, to be signed.
    List { issuer: AuthorityId, number: u64, revoked: u64 },
    /// A certificate was revoked.
    Revoke { entry: &'a Entry, revocation: EntryRevocation },
    /// An authority came to another stage of its life.
    Stage { step: Step },
}

impl Event<'_> {
    fn fields(&self) -> Value {
        match self {
            Self::Authority { new: Generation { id, stage, certificate, .. } } => json!({
                "what": "authority", "authority": id.level.as_str(), "generation": id.generation,
                "name": certificate.subject(), "stage": stage.as_str(),
                "serial": certificate.serial_hex(), "certificate": certificate.sha256_hex(),
            }),
            Self::Issue { issuer, certificate, identity, request } => json!({
                "what": "issue", "authority": issuer.level.as_str(), "generation": issuer.generation,
                "name": certificate.subject_cn(),
                "identity": identity, "serial": plain(certificate), "certificate": certificate.sha256_hex(),
                "not_after": certificate.not_after().to_string(),
                "request": request.map(|digest| hex(&digest)),
            }),
            Self::List { issuer, number, revoked } => json!({
                "what": "crl", "authority": issuer.level.as_str(), "generation": issuer.generation,
                "crl_number": number, "revoked": revoked,
            }),
            Self::Revoke { entry, revocation } => json!({
                "what": "revoke", "authority": entry.issuer.level.as_str(), "generation": entry.issuer.generation,
                "name": entry.name,
                "identity": entry.identity.as_ref().map(ToString::to_string),
                "serial": entry.serial.to_string(), "reason": revocation.reason.as_str(),
                "revoked_at": revocation.at.to_string(),
                "invalid_since": revocation.invalid_since.map(|since| since.to_string()),
            }),
            Self::Stage { step: Step { id, stage } } => json!({
                "what": "stage", "authority": id.level.as_str(), "generation": id.generation,
                "stage": stage.as_str(),
            }),
        }
    }
}

/// Adds an entry, within the transaction that does what it says.
pub(super) fn append(
    connection: &Connection,
    event: Event<'_>,
    who: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let last: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT number, hash FROM log ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (number, before) = last.map_or_else(|| (1, vec![0; 32]), |(number, hash)| (number + 1, hash));
    let mut fields = event.fields();
    fields["at"] = json!(at.to_string());
    fields["who"] = json!(who);
    let record = fields.to_string();
    let hash = merkle::sha256(&[LOG_DOMAIN, &before, record.as_bytes()]);
    connection
        .prepare_cached("INSERT INTO log (number, record, hash) VALUES (?1, ?2, ?3)")?
        .execute(params![number, record, hash])?;
    Ok(())
}

/// Every entry, the first one first.
pub(super) fn entries(connection: &Connection) -> rusqlite::Result<Vec<LogEntry>> {
    let mut statement = connection.prepare("SELECT number, record, hash FROM log ORDER BY number")?;
    let rows = statement
        .query_map([], |row| Ok(LogEntry { number: row.get(0)?, record: row.get(1)?, hash: row.get(2)? }))?;
    rows.collect()
}

/// Verifies the chain of hashes, and the index against the records. `remembered` is a hash from before that must be there.
pub(super) fn verify(
    index: &Index,
    remembered: Option<[u8; 32]>,
) -> Result<Result<VerifiedLog, LogFault>, AuthorityStoreError> {
    Ok(check(&index.log()?, &index.entries()?, &index.generations()?, remembered))
}

fn check(
    log: &[LogEntry],
    index: &[Entry],
    authorities: &[Generation],
    remembered: Option<[u8; 32]>,
) -> Result<VerifiedLog, LogFault> {
    let mut head = [0; 32];
    let mut issued: HashMap<(String, String), (u64, String)> = HashMap::new();
    let mut revoked: HashMap<(String, String), String> = HashMap::new();
    let mut stages: HashMap<String, (String, String)> = HashMap::new();
    let mut is_remembered = remembered.is_none();
    for (expected, entry) in (1..).zip(log) {
        let number = entry.number;
        if number != expected {
            return Err(LogFault::Hole { expected, found: number });
        }
        if merkle::sha256(&[LOG_DOMAIN, &head, entry.record.as_bytes()]) != entry.hash {
            return Err(LogFault::Hash { number });
        }
        head = entry.hash;
        is_remembered |= remembered == Some(head);
        let record: Value =
            serde_json::from_str(&entry.record).map_err(|_| LogFault::Malformed { number })?;
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        // Entries from before there were generations are about the first.
        let authority = match record["generation"].as_u64() {
            None | Some(1) => text("authority"),
            Some(generation) => format!("{}-{generation}", text("authority")),
        };
        let key = (authority.clone(), text("serial"));
        match record["what"].as_str() {
            Some("authority") => {
                let stage = record["stage"].as_str().unwrap_or(Stage::Active.as_str()).to_owned();
                drop(stages.insert(authority, (text("certificate"), stage)));
            }
            Some("stage") => drop(stages.entry(authority).and_modify(|(_, stage)| *stage = text("stage"))),
            Some("issue") => drop(issued.insert(key, (number, text("certificate")))),
            Some("revoke") => {
                let said = said(&text("revoked_at"), &text("reason"), &text("invalid_since"));
                revoked.insert(key, said);
            }
            Some(_) => {}
            None => return Err(LogFault::Malformed { number }),
        }
    }
    if let Some(hash) = remembered.filter(|_| !is_remembered) {
        return Err(LogFault::NotInLog { hash: hex(&hash) });
    }
    for authority in authorities {
        let found = (authority.certificate.sha256_hex(), authority.stage.to_string());
        let expected = stages.remove(&authority.id.to_string());
        if expected.as_ref() != Some(&found) {
            return Err(LogFault::Authority { authority: authority.id });
        }
    }
    if let Some(authority) = stages.into_keys().min() {
        return Err(LogFault::AuthorityMissing { authority });
    }
    let certificates = u64::try_from(issued.len()).unwrap_or(u64::MAX);
    for entry in index {
        let key = (entry.issuer.to_string(), entry.serial.to_string());
        let serial = entry.serial.clone();
        let Some((number, fingerprint)) = issued.remove(&key) else {
            return Err(LogFault::NotIssued { serial });
        };
        if hex(&merkle::sha256(&[&entry.der])) != fingerprint {
            return Err(LogFault::Differs { serial, number });
        }
        let found = entry.revocation.map(|revocation| {
            let since = revocation.invalid_since.map_or_else(String::new, |since| since.to_string());
            said(&revocation.at.to_string(), revocation.reason.as_str(), &since)
        });
        let expected = revoked.remove(&key);
        if found != expected {
            let word = |said: Option<String>| said.unwrap_or_else(|| "not revoked".to_owned());
            return Err(LogFault::Revocation { serial, found: word(found), expected: word(expected) });
        }
    }
    if let Some(((_, serial), (number, _))) = issued.into_iter().min_by_key(|(_, (number, _))| *number) {
        return Err(LogFault::NotInIndex { serial, number });
    }
    Ok(VerifiedLog { entries: u64::try_from(log.len()).unwrap_or(u64::MAX), certificates, head })
}

fn said(at: &str, reason: &str, invalid_since: &str) -> String {
    if invalid_since.is_empty() {
        format!("revoked at {at} ({reason})")
    } else {
        format!("revoked at {at} ({reason}, invalid since {invalid_since})")
    }
}

/// A serial number as [`Serial`] prints it.
fn plain(certificate: &Certificate) -> Option<String> {
    Serial::from_bytes(certificate.serial()).ok().map(|serial| serial.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whoever runs this, as the system knows them: `USER@HOST`, or `USER as root@HOST` under sudo.
pub(super) fn operator() -> String {
    let uid = fs::metadata("/proc/self").map(|metadata| metadata.uid()).ok();
    let named = uid.and_then(|uid| {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let number = uid.to_string();
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, found) = (fields.next()?, fields.next()?, fields.next()?);
            (found == number).then(|| name.to_owned())
        })
    });
    let name = named.or_else(|| uid.map(|uid| format!("uid {uid}"))).unwrap_or_else(|| "unknown".to_owned());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let sudo = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty() && *user != name);
    let who = sudo.map_or_else(|| name.clone(), |user| format!("{user} as {name}"));
    format!("{who}@{}", host.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(records: &[&str]) -> Vec<LogEntry> {
        let mut head = [0; 32];
        let numbered = (1..).zip(records);
        let made = numbered.map(|(number, record)| {
            head = merkle::sha256(&[LOG_DOMAIN, &head, record.as_bytes()]);
            LogEntry { number, record: (*record).to_owned(), hash: head }
        });
        made.collect()
    }

    #[test]
    fn nothing_can_be_changed_removed_or_added() {
        let entries = log(&[r#"{"what":"crl","n":0}"#, r#"{"what":"crl"}"#, r#"{"what":"crl","n":2}"#]);
        let good = check(&entries, &[], &[], None).unwrap();
        assert_eq!((good.entries(), good.head()), (3, entries[2].hash));

        let mut changed = entries.clone();
        changed[1].record.push(' ');
        assert_eq!(check(&changed, &[], &[], None), Err(LogFault::Hash { number: 2 }));
        let mut removed = entries.clone();
        removed.remove(1);
        assert_eq!(check(&removed, &[], &[], None), Err(LogFault::Hole { expected: 2, found: 3 }));
        // A log that was cut off is well in itself: only a hash from outside tells.
        assert!(check(&entries[..2], &[], &[], Some(entries[1].hash)).is_ok());
        let cut = check(&entries[..2], &[], &[], Some(entries[2].hash));
        assert_eq!(cut, Err(LogFault::NotInLog { hash: hex(&entries[2].hash) }));

        let unknown = log(&[r#"{"what":"issue","authority":"root","serial":"01"}"#]);
        let missing = LogFault::NotInIndex { serial: "01".to_owned(), number: 1 };
        assert_eq!(check(&unknown, &[], &[], None), Err(missing));
        let made = log(&[r#"{"what":"authority","authority":"root","generation":2}"#]);
        let missing = LogFault::AuthorityMissing { authority: "root-2".to_owned() };
        assert_eq!(check(&made, &[], &[], None), Err(missing));
        assert_eq!(check(&log(&["{}"]), &[], &[], None), Err(LogFault::Malformed { number: 1 }));
    }
}
