//! Policies from what fedmsg's deployments had: the `routing_policy` of its configuration, and Fedora's lists of what each
//! certificate can send.
//!
//! What comes out is text for a person to read and to change. It has been read back as a policy, so that what cannot be one
//! is an error here.

use super::decide::Policy;
use super::error::PolicyErrors;
use crate::identity::CommonName;
use crate::limits::Limits;
use crate::topic::Topic;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use yaml_rust2::{Yaml, YamlLoader};

/// A policy as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file.
    pub text: String,
    /// What has to be looked at by a person.
    pub notes: Vec<String>,
}

/// Why there is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A topic with an empty list: in fedmsg nobody could publish it.
    #[error(
        "topic `{0}` has an empty list: nobody could publish it; leave it out (nobody can publish what no rule allows)"
    )]
    EmptyList(String),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// Something that must be there.
    #[error("{place} has no `{key}`")]
    Missing {
        /// Where.
        place: String,
        /// What.
        key: &'static str,
    },
    /// A certificate's name that is none.
    #[error("{place}: `{name}` is not a certificate's plain name")]
    Name {
        /// Where.
        place: String,
        /// The name.
        name: String,
    },
    /// The text that was made is no policy: a topic is malformed, for instance.
    #[error("{0}")]
    Policy(PolicyErrors),
    /// Of another type.
    #[error("{place} is not {expected}")]
    Type {
        /// Where.
        place: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Not YAML, or more than one document.
    #[error("not one YAML document: {0}")]
    Yaml(String),
}

/// Reads the JSON that `fedmsg-config` prints, and writes its `routing_policy` as a policy.
///
/// `routing_nitpicky` becomes the default: fedmsg without it let everybody publish a topic that had no entry.
///
/// # Errors
/// An [`ImportError`] that names the topic.
pub fn from_fedmsg(json: &str, serial: u64, limits: &Limits) -> Result<Imported, ImportError> {
    let config: Value = serde_json::from_str(json).map_err(|error| ImportError::Json(error.to_string()))?;
    let not = |place: &str, expected| ImportError::Type { place: place.to_owned(), expected };
    let config = config.as_object().ok_or_else(|| not("the configuration", "an object"))?;
    let missing = || ImportError::Missing { place: "the configuration".to_owned(), key: "routing_policy" };
    let table = config.get("routing_policy").ok_or_else(missing)?;
    let table = table.as_object().ok_or_else(|| not("`routing_policy`", "an object"))?;
    let nitpicky = match config.get("routing_nitpicky") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| not("`routing_nitpicky`", "true or false"))?,
    };
    let mut entries = BTreeMap::new();
    for (topic, names) in table {
        let place = format!("`routing_policy` of `{topic}`");
        let names = names.as_array().ok_or_else(|| not(&place, "a list"))?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        let names =
            names.collect::<Option<BTreeSet<String>>>().ok_or_else(|| not(&place, "a list of names"))?;
        if names.is_empty() {
            return Err(ImportError::EmptyList(topic.clone()));
        }
        entries.insert(topic.clone(), names);
    }
    let default = if nitpicky { "deny" } else { "allow-unlisted" };
    let mut text = head("fedmsg's routing_policy, verbatim.", serial, default);
    text += "\n[routing_policy]\n";
    for (topic, names) in &entries {
        let _ = writeln!(text, "{} = {}", quoted(topic), list(names));
    }
    let mut notes = Vec::new();
    if !nitpicky {
        notes.push(
            "routing_nitpicky is not set: a topic that is not listed stays open to every verified signer \
             (default = \"allow-unlisted\"); write rules, and then close it"
                .to_owned(),
        );
    }
    if entries.is_empty() {
        notes.push("the routing_policy has no entry".to_owned());
    }
    let tests = entries.iter().filter_map(|(topic, names)| Some((topic.clone(), names.first()?.clone())));
    finish(text, tests, notes, limits)
}

/// Reads Fedora's lists of what each certificate can send, and writes them as a policy: one `allow` a certificate.
///
/// The document is a list of entries, or a mapping that has such lists among its values (as `group_vars` of Ansible have under
/// `fedmsg_certs`). An entry has a `name`, which is the certificate's, or a `service`, to which each of `hosts` is added
/// (`SERVICE-HOST`, as Fedora named them); and topics under `can_send` or `topics`, to which `prefix` is added.
///
/// # Errors
/// An [`ImportError`] that names the entry.
pub fn from_can_send(
    yaml: &str,
    prefix: Option<&str>,
    hosts: &[String],
    serial: u64,
    limits: &Limits,
) -> Result<Imported, ImportError> {
    let documents = YamlLoader::load_from_str(yaml).map_err(|error| ImportError::Yaml(error.to_string()))?;
    let [document] = &documents[..] else {
        return Err(ImportError::Yaml(format!("{} documents", documents.len())));
    };
    let mut rights: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut notes = Vec::new();
    for (place, entry) in entries(document) {
        let topics = topics(&place, entry, prefix)?;
        if topics.is_empty() {
            notes.push(format!("{place} can send nothing, and has no rule"));
            continue;
        }
        for name in names(&place, entry, hosts)? {
            rights.entry(name).or_default().extend(topics.iter().cloned());
        }
    }
    if rights.is_empty() {
        return Err(ImportError::Missing { place: "the document".to_owned(), key: "can_send" });
    }
    let mut text = head("What each certificate can send.", serial, "deny");
    for (number, (name, topics)) in rights.iter().enumerate() {
        let id = rule_id(name, number + 1);
        let publisher = BTreeSet::from([format!("cn:{name}")]);
        let _ = write!(text, "\n[[rule]]\nid = \"{id}\"\neffect = \"allow\"\ntopics = [\n");
        for topic in topics {
            let _ = writeln!(text, "    {},", quoted(topic));
        }
        let _ = write!(text, "]\npublishers = {}\n", list(&publisher));
    }
    let first = |(name, topics): (&String, &BTreeSet<String>)| Some((topics.first()?.clone(), name.clone()));
    let tests: Vec<_> = rights.iter().filter_map(first).collect();
    finish(text, tests.into_iter(), notes, limits)
}

/// Each mapping of the document that has a list of topics, with what to call it.
fn entries(document: &Yaml) -> Vec<(String, &Yaml)> {
    let values: Vec<&Yaml> = document.as_hash().map_or_else(|| vec![document], |map| map.values().collect());
    let lists: Vec<&Vec<Yaml>> = values.into_iter().filter_map(Yaml::as_vec).collect();
    let all = lists.into_iter().flatten();
    let with_topics = all.filter(|entry| !entry["can_send"].is_badvalue() || !entry["topics"].is_badvalue());
    with_topics.enumerate().map(|(n, entry)| (format!("entry {}", n + 1), entry)).collect()
}

fn topics(place: &str, entry: &Yaml, prefix: Option<&str>) -> Result<BTreeSet<String>, ImportError> {
    let key = if entry["can_send"].is_badvalue() { "topics" } else { "can_send" };
    let not = || ImportError::Type { place: format!("`{key}` of {place}"), expected: "a list of topics" };
    // `can_send:` with nothing behind it.
    if entry[key].is_null() {
        return Ok(BTreeSet::new());
    }
    let topics = entry[key].as_vec().ok_or_else(not)?;
    let topic = |topic: &Yaml| {
        let topic = topic.as_str().ok_or_else(not)?;
        Ok(prefix.map_or_else(|| topic.to_owned(), |prefix| format!("{prefix}.{topic}")))
    };
    topics.iter().map(topic).collect()
}

fn names(place: &str, entry: &Yaml, hosts: &[String]) -> Result<Vec<String>, ImportError> {
    let names = match (entry["name"].as_str(), entry["service"].as_str()) {
        (Some(name), _) => vec![name.to_owned()],
        (None, Some(service)) if hosts.is_empty() => {
            let place = format!("{place} (service `{service}`, and no --host was named)");
            return Err(ImportError::Missing { place, key: "name" });
        }
        (None, Some(service)) => hosts.iter().map(|host| format!("{service}-{host}")).collect(),
        (None, None) => return Err(ImportError::Missing { place: place.to_owned(), key: "name" }),
    };
    for name in &names {
        // A `*` or a Jinja expression would be written down as a name that no certificate has.
        if CommonName::new(name).is_err() || name.contains(['*', '{', '}', '/', '@']) {
            return Err(ImportError::Name { place: place.to_owned(), name: name.clone() });
        }
    }
    Ok(names)
}

/// `can-send-NAME`, as far as it may be an id.
fn rule_id(name: &str, number: usize) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let id = format!("can-send-{plain}");
    if id.len() <= 64 && plain == name { id } else { format!("can-send-{number}") }
}

pub(super) fn head(what: &str, serial: u64, default: &str) -> String {
    format!(
        "# {what}\n# Read it, change it, raise the serial.\nversion = 1\nserial = {serial}\ndefault = \"{default}\"\n"
    )
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &BTreeSet<String>) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// With a test for each (topic, name), and read back.
fn finish(
    mut text: String,
    tests: impl Iterator<Item = (String, String)>,
    notes: Vec<String>,
    limits: &Limits,
) -> Result<Imported, ImportError> {
    for (topic, name) in tests.filter(|(topic, _)| Topic::parse(topic, limits).is_ok()) {
        text += &test(&topic, &format!("cn:{name}"));
    }
    Policy::parse(&text, "the imported policy", limits).map_err(ImportError::Policy)?;
    Ok(Imported { text, notes })
}

/// A `[[test]]` that lets the signer in.
pub(super) fn test(topic: &str, signer: &str) -> String {
    format!("\n[[test]]\ntopic = {}\nsigner = {}\nexpect = \"allow\"\n", quoted(topic), quoted(signer))
}

#[cfg(test)]
mod tests {
    use super::{from_can_send, from_fedmsg};
    use crate::limits::Limits;
    use crate::policy::{Fallback, Policy};
    use crate::time::Timestamp;
    use crate::topic::Topic;
    use proptest::prelude::*;

    const LIMITS: &Limits = &Limits::STANDARD;

    fn lets(text: &str, topic: &str, signer: &str) -> bool {
        let policy = Policy::parse(text, "p", LIMITS).unwrap();
        let topic = Topic::parse(topic, LIMITS).unwrap();
        policy.decide(&topic, &signer.parse().unwrap(), Timestamp::MIN).is_ok()
    }

    #[test]
    fn what_fedmsg_allowed_and_no_more() {
        let json = r#"{"environment": "prod", "routing_nitpicky": true, "routing_policy": {
            "org.fp.prod.a.b": ["a-h1", "a-h2"], "org.fp.prod.c": ["c-h1"]}}"#;
        let imported = from_fedmsg(json, 3, LIMITS).unwrap();
        assert!(imported.notes.is_empty());
        for (topic, signer, expected) in [
            ("org.fp.prod.a.b", "cn:a-h1", true),
            ("org.fp.prod.a.b", "cn:a-h2", true),
            ("org.fp.prod.a.b", "cn:c-h1", false),
            ("org.fp.prod.a.b", "spiffe://fp/prod/a/h1", false),
            ("org.fp.prod.other", "cn:a-h1", false),
        ] {
            assert_eq!(lets(&imported.text, topic, signer), expected, "{topic} {signer}");
        }
        let open = from_fedmsg(&json.replace("true", "false"), 3, LIMITS).unwrap();
        assert_eq!(Policy::parse(&open.text, "p", LIMITS).unwrap().fallback(), Fallback::AllowUnlisted);
        assert_eq!(open.notes.len(), 1);
    }

    #[test]
    fn what_is_no_routing_policy_is_refused() {
        for (json, expected) in [
            ("[]", "the configuration is not an object"),
            ("{}", "the configuration has no `routing_policy`"),
            (r#"{"routing_policy": {"a": "b"}}"#, "`routing_policy` of `a` is not a list"),
            (r#"{"routing_policy": {"a": [1]}}"#, "`routing_policy` of `a` is not a list of names"),
            (r#"{"routing_policy": {"a": []}}"#, "topic `a` has an empty list"),
            (
                r#"{"routing_policy": {"a.*": ["b"]}}"#,
                "the imported policy:8:1: `a.*` is not one exact topic",
            ),
            (
                r#"{"routing_policy": {"a": ["*"]}}"#,
                "the imported policy:8:8: topic `a`: `*` is not a certificate's plain name",
            ),
            ("{", "not JSON"),
        ] {
            let error = from_fedmsg(json, 1, LIMITS).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{json}: {error}");
        }
    }

    const CAN_SEND: &str = "
        wildcard_cert_name: other   # of the same file, and none of ours
        ipa: [one, two]
        fedmsg_certs:
        - service: bodhi
          owner: root
          can_send:
          - bodhi.update.comment
          - bodhi.update.edit
        - name: shell-app01.example.org
          can_send: [logger.log]
        - service: idle
          can_send:
    ";

    #[test]
    fn what_each_certificate_can_send() {
        let hosts = ["app01".to_owned(), "app02".to_owned()];
        let imported = from_can_send(CAN_SEND, Some("org.fp.prod"), &hosts, 1, LIMITS).unwrap();
        assert_eq!(imported.notes, ["entry 3 can send nothing, and has no rule"]);
        for (topic, signer, expected) in [
            ("org.fp.prod.bodhi.update.comment", "cn:bodhi-app01", true),
            ("org.fp.prod.bodhi.update.edit", "cn:bodhi-app02", true),
            ("org.fp.prod.logger.log", "cn:shell-app01.example.org", true),
            ("org.fp.prod.logger.log", "cn:bodhi-app01", false),
            ("bodhi.update.comment", "cn:bodhi-app01", false),
        ] {
            assert_eq!(lets(&imported.text, topic, signer), expected, "{topic} {signer}");
        }
        for (yaml, expected) in [
            (CAN_SEND, "entry 1 (service `bodhi`, and no --host was named) has no `name`"),
            ("- can_send: [a]", "entry 1 has no `name`"),
            ("- name: '{{ x }}'\n  can_send: [a]", "entry 1: `{{ x }}` is not a certificate's plain name"),
            ("- name: a b\n  can_send: [a]", "entry 1: `a b` is not a certificate's plain name"),
            ("- name: x\n  can_send: a", "`can_send` of entry 1 is not a list of topics"),
            ("- name: x\n  can_send: ['a..b']", "the imported policy:"),
            ("a: b", "the document has no `can_send`"),
            ("a: b\n---\nc: d", "not one YAML document"),
            ("[", "not one YAML document"),
        ] {
            let error = from_can_send(yaml, None, &[], 1, LIMITS).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_rule_has_its_certificates_name_where_that_is_an_id() {
        let long = "n".repeat(55);
        for (name, expected) in [
            ("a-h1.example_x", "can-send-a-h1.example_x"),
            ("a+h1", "can-send-1"),
            (&long, &format!("can-send-{long}")),
            (&format!("{long}n"), "can-send-1"),
        ] {
            let yaml = format!("- name: {name}\n  can_send: [a.b]");
            let text = from_can_send(&yaml, None, &[], 1, LIMITS).unwrap().text;
            assert!(text.contains(&format!("\nid = \"{expected}\"\n")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_policy_or_an_error(text in "\\PC{0,60}", pieces in "([-:a{}\\[\\]\" \n]|name|can_send){0,30}") {
            for text in [text, pieces] {
                let _ = from_fedmsg(&text, 1, LIMITS);
                let _ = from_can_send(&text, None, &[], 1, LIMITS);
            }
        }
    }
}
