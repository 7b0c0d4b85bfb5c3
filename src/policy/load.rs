//! TOML in, rules out: all of a policy's files, or every error that they have.

use super::error::{Place, PolicyError, PolicyErrors, PolicyFault};
use super::index::MAX_PATTERN_FIELDS;
use super::publisher::PublisherPattern;
use super::rules::{
    Edition, Effect, Fallback, Group, LoadedFile, Publisher, Rule, RuleRef, Test, Verdict, Window,
};
use super::tree::{Reader, Table, Text};
use crate::identity::{CommonName, Identity};
use crate::limits::Limits;
use crate::position::Position;
use crate::topic::{PatternField, Topic, TopicPattern};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A policy file: its name, and its bytes as they were read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// What errors call it.
    pub file: &'t str,
    /// The whole of it.
    pub bytes: &'t [u8],
}

/// What the files of a policy say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) files: Vec<LoadedFile>,
    pub(super) edition: Edition,
    pub(super) fallback: Fallback,
    pub(super) groups: Vec<Group>,
    pub(super) rules: Vec<Rule>,
    pub(super) tests: Vec<Test>,
}

/// The id of the rule that stands for an unchecked policy (see `danger`), which no file may use.
pub(super) const UNCHECKED: &str = "unchecked";

const FILE_KEYS: &[&str] = &["default", "groups", "routing_policy", "rule", "serial", "test", "version"];
const RULE_KEYS: &[&str] = &["effect", "from", "id", "publishers", "shadow", "topics", "until"];
const TEST_KEYS: &[&str] = &["at", "expect", "signer", "topic"];

/// Reads all the files of a policy. Groups are read first, so that a rule may use another file's.
pub(super) fn load(sources: &[Source<'_>], limits: &Limits) -> Result<Loaded, PolicyErrors> {
    let mut files: Vec<File<'_>> = sources.iter().map(|source| File::parse(source, limits)).collect();
    let mut all = Everything::default();
    for file in &mut files {
        file.read_head(&mut all);
        file.read_groups(&mut all);
    }
    for file in &mut files {
        file.read_rules(&mut all);
        file.read_routing_policy(&mut all);
        file.read_tests(&mut all);
    }
    let mut errors = Vec::new();
    for mut file in files {
        file.reader.errors.sort_by_key(|error| (error.position.line, error.position.column));
        errors.append(&mut file.reader.errors);
    }
    if sources.is_empty() {
        let position = Position { file: "policy".into(), line: 1, column: 1 };
        errors.push(PolicyError { position, fault: PolicyFault::NoFile });
    }
    PolicyErrors::unless_none(errors)?;
    // Without an error every file has said its default, so that the safe one here is never needed.
    let fallback = all.fallback.map_or(Fallback::Deny, |(fallback, _)| fallback);
    let serial = all.files.iter().map(|file| file.serial).max().unwrap_or_default();
    let edition = Edition { serial, digest: digest_of(&all.files) };
    let Everything { files, groups, rules, tests, .. } = all;
    Ok(Loaded { files, edition, fallback, groups, rules, tests })
}

/// What was read so far, of all the files.
#[derive(Debug, Default)]
struct Everything {
    files: Vec<LoadedFile>,
    fallback: Option<(Fallback, Position)>,
    groups: Vec<Group>,
    /// Each group by name: its place in `groups`, and where it stands. A group with errors has no place.
    group_names: HashMap<String, (Option<usize>, Position)>,
    rules: Vec<Rule>,
    rule_ids: HashMap<String, Position>,
    tests: Vec<Test>,
}

/// One file, parsed. What has no syntax is not looked at further: half a tree would only give misleading errors.
#[derive(Debug)]
struct File<'t> {
    reader: Reader<'t>,
    root: DeTable<'t>,
    sha256: [u8; 32],
    name: &'t str,
}

impl<'t> File<'t> {
    fn parse(source: &Source<'t>, limits: &'t Limits) -> Self {
        let sha256 = sha256(source.bytes);
        let (text, valid) = match std::str::from_utf8(source.bytes) {
            Ok(text) => (text, true),
            // What precedes the fault is text, so that the fault has a line.
            Err(error) => {
                (std::str::from_utf8(&source.bytes[..error.valid_up_to()]).unwrap_or_default(), false)
            }
        };
        let mut reader = Reader::new(source.file, text, limits);
        let mut root = DeTable::new();
        if valid {
            let (tree, errors) = DeTable::parse_recoverable(text);
            if errors.is_empty() {
                root = tree.into_inner();
            }
            for error in errors {
                let offset = error.span().map_or(0, |span| span.start);
                reader.fault(offset, PolicyFault::Syntax(error.message().to_owned()));
            }
        } else {
            reader.fault(text.len(), PolicyFault::NotUtf8);
        }
        Self { reader, root, sha256, name: source.file }
    }

    /// Whether there is a tree to look at.
    fn is_readable(&self) -> bool {
        !self.reader.errors.iter().any(|e| matches!(e.fault, PolicyFault::Syntax(_) | PolicyFault::NotUtf8))
    }

    /// `version`, `serial`, `default`, and no key that is not known.
    fn read_head(&mut self, all: &mut Everything) {
        if !self.is_readable() {
            return;
        }
        let (reader, place) = (&mut self.reader, Place::File);
        let table = Table { entries: &self.root, offset: 0, place: place.clone() };
        reader.refuse_unknown(&table, FILE_KEYS);
        if let Some(value) = reader.required(&table, "version") {
            let found = reader.unsigned(&place, "version", value);
            if let Some(found) = found.filter(|version| *version != 1) {
                let fault = PolicyFault::Value {
                    place: place.clone(),
                    key: "version",
                    expected: "1",
                    found: found.to_string(),
                };
                reader.fault(value.span().start, fault);
            }
        }
        let serial =
            reader.required(&table, "serial").and_then(|value| reader.unsigned(&place, "serial", value));
        let (mut fallback, mut offset) = (Some(Fallback::Deny), 0);
        if let Some(value) = self.root.get("default") {
            offset = value.span().start;
            fallback = reader.string(&place, "default", value).and_then(|found| match found.text {
                "allow-unlisted" => Some(Fallback::AllowUnlisted),
                "deny" => Some(Fallback::Deny),
                other => {
                    let expected = "\"deny\" or \"allow-unlisted\"";
                    let (place, found) = (place.clone(), other.to_owned());
                    reader.fault(offset, PolicyFault::Value { place, key: "default", expected, found });
                    None
                }
            });
        }
        if let Some(here) = fallback {
            match &all.fallback {
                None => all.fallback = Some((here, reader.position(offset))),
                Some((there, _)) if *there == here => {}
                Some((there, first)) => {
                    let (there, first) = (*there, first.clone());
                    reader.fault(offset, PolicyFault::DefaultDiffers { here, there, first });
                }
            }
        }
        if let Some(serial) = serial {
            all.files.push(LoadedFile { file: self.name.into(), serial, sha256: self.sha256 });
        }
    }

    fn read_groups(&mut self, all: &mut Everything) {
        let reader = &mut self.reader;
        let Some(value) = self.root.get("groups") else { return };
        let Some(table) = reader.table(&Place::File, "groups", value) else { return };
        for (key, value) in table.entries {
            let (name, offset) = (&**key.get_ref(), key.span().start);
            if !is_name(name) {
                reader.fault(offset, PolicyFault::GroupName(name.to_owned()));
                continue;
            }
            let members = reader.strings(&Place::Groups, name, value).and_then(|texts| {
                let members: Vec<_> = texts.into_iter().map(|text| member(reader, name, text)).collect();
                members.into_iter().collect::<Option<Vec<_>>>()
            });
            if let Some((_, first)) = all.group_names.get(name) {
                let (name, first) = (name.to_owned(), first.clone());
                reader.fault(offset, PolicyFault::DuplicateGroup { name, first });
                continue;
            }
            let place = members.as_ref().map(|_| all.groups.len());
            let position = reader.position(offset);
            all.groups.extend(members.map(|members| Group { name: name.into(), members, position }));
            all.group_names.insert(name.to_owned(), (place, reader.position(offset)));
        }
    }

    fn read_rules(&mut self, all: &mut Everything) {
        let reader = &mut self.reader;
        let Some(value) = self.root.get("rule") else { return };
        for table in reader.tables(&Place::File, "rule", value, Place::RuleNumber) {
            read_rule(reader, table, all);
        }
    }

    /// fedmsg's own form: exclusive rules on exact topics, for certificates' plain names.
    fn read_routing_policy(&mut self, all: &mut Everything) {
        let (reader, place) = (&mut self.reader, Place::RoutingPolicy);
        let Some(value) = self.root.get("routing_policy") else { return };
        let Some(table) = reader.table(&Place::File, "routing_policy", value) else { return };
        for (key, value) in table.entries {
            let (name, offset) = (&**key.get_ref(), key.span().start);
            // Every topic without a wildcard is a pattern that selects exactly it.
            let topic = Topic::parse(name, reader.limits)
                .map(|topic| TopicPattern::parse(topic.as_str(), reader.limits));
            let pattern = match topic {
                Ok(pattern) => pattern.ok(),
                Err(error) => {
                    reader.fault(offset, PolicyFault::RoutingTopic { topic: name.to_owned(), error });
                    None
                }
            };
            let pattern = pattern.filter(|pattern| is_shallow(reader, &place, name, pattern, offset));
            let names = reader.strings(&place, name, value).and_then(|texts| {
                let names: Vec<_> = texts.into_iter().map(|text| routing_name(reader, name, text)).collect();
                names.into_iter().collect::<Option<Vec<_>>>()
            });
            let id = format!("routing_policy:{name}");
            if let (true, Some(pattern), Some(publishers)) =
                (is_new_id(reader, &id, offset, all), pattern, names)
            {
                let head = RuleRef::new(&id, Effect::Exclusive, reader.position(offset));
                let (topics, window) = (vec![pattern], Window::ALWAYS);
                all.rules.push(Rule { head, topics, publishers, window, shadow: false });
            }
        }
    }

    fn read_tests(&mut self, all: &mut Everything) {
        let reader = &mut self.reader;
        let Some(value) = self.root.get("test") else { return };
        for table in reader.tables(&Place::File, "test", value, Place::Test) {
            all.tests.extend(read_test(reader, &table));
        }
    }
}

fn read_rule(reader: &mut Reader<'_>, mut table: Table<'_>, all: &mut Everything) {
    let id = reader.required(&table, "id").and_then(|value| reader.string(&table.place, "id", value));
    let id = id.filter(|id| {
        let fault = match id.text {
            UNCHECKED => PolicyFault::RuleIdReserved(id.text.to_owned()),
            name if is_name(name) => return true,
            other => PolicyFault::RuleId(other.to_owned()),
        };
        reader.fault(id.offset, fault);
        false
    });
    if let Some(id) = id {
        table.place = Place::Rule(id.text.to_owned());
    }
    let place = table.place.clone();
    reader.refuse_unknown(&table, RULE_KEYS);
    let effect = reader.required(&table, "effect").and_then(|value| read_effect(reader, &place, value));
    let topics = reader.required(&table, "topics").and_then(|value| {
        let texts = reader.strings(&place, "topics", value)?;
        let patterns: Vec<_> =
            texts.into_iter().map(|text| topic_pattern(reader, &place, effect, text)).collect();
        patterns.into_iter().collect::<Option<Vec<_>>>()
    });
    let publishers = reader.required(&table, "publishers").and_then(|value| {
        let texts = reader.strings(&place, "publishers", value)?;
        let publishers: Vec<_> = texts.into_iter().map(|text| publisher(reader, &place, text, all)).collect();
        publishers.into_iter().collect::<Option<Vec<_>>>()
    });
    let mut time = |key| match table.entries.get(key) {
        None => Some(None),
        Some(value) => reader.time(&place, key, value).map(Some),
    };
    let window = time("from").zip(time("until")).map(|(from, until)| Window { from, until });
    if let Some(window @ Window { from: Some(from), until: Some(until) }) = window
        && from >= until
    {
        reader.fault(table.offset, PolicyFault::EmptyWindow { place, window });
    }
    let shadow = match table.entries.get("shadow") {
        None => Some(false),
        Some(value) => reader.boolean(&table.place, "shadow", value),
    };
    let Some(id) = id else { return };
    let is_new = is_new_id(reader, id.text, id.offset, all);
    if let (true, Some(effect), Some(topics), Some(publishers), Some(window), Some(shadow)) =
        (is_new, effect, topics, publishers, window, shadow)
    {
        let head = RuleRef::new(id.text, effect, reader.position(table.offset));
        all.rules.push(Rule { head, topics, publishers, window, shadow });
    }
}

pub(super) fn read_test(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Test> {
    let place = &table.place;
    reader.refuse_unknown(table, TEST_KEYS);
    let topic = reader.required(table, "topic").and_then(|value| {
        let Text { text, offset } = reader.string(place, "topic", value)?;
        Topic::parse(text, reader.limits)
            .map_err(|error| {
                // Refused, not counted as denied: a slip of the pen in a test must not make it pass.
                reader.fault(
                    offset,
                    PolicyFault::TestTopic { place: place.clone(), topic: text.to_owned(), error },
                );
            })
            .ok()
    });
    let signer = reader.required(table, "signer").and_then(|value| {
        let Text { text, offset } = reader.string(place, "signer", value)?;
        text.parse::<Identity>()
            .map_err(|error| reader.fault(offset, PolicyFault::TestSigner { place: place.clone(), error }))
            .ok()
    });
    let expect = reader.required(table, "expect").and_then(|value| {
        let Text { text, offset } = reader.string(place, "expect", value)?;
        match text {
            "allow" => Some(Verdict::Allowed),
            "deny" => Some(Verdict::Denied),
            other => {
                let (place, found) = (place.clone(), other.to_owned());
                let expected = "\"allow\" or \"deny\"";
                reader.fault(offset, PolicyFault::Value { place, key: "expect", expected, found });
                None
            }
        }
    });
    let at = match table.entries.get("at") {
        None => None,
        Some(value) => Some(reader.time(place, "at", value)?),
    };
    let position = reader.position(table.offset);
    Some(Test { position, topic: topic?, signer: signer?, expect: expect?, at })
}

fn read_effect(reader: &mut Reader<'_>, place: &Place, value: &Spanned<DeValue<'_>>) -> Option<Effect> {
    let Text { text, offset } = reader.string(place, "effect", value)?;
    match text {
        "allow" => Some(Effect::Allow),
        "deny" => Some(Effect::Deny),
        "exclusive" => Some(Effect::Exclusive),
        other => {
            let expected = "\"allow\", \"deny\" or \"exclusive\"";
            let (place, found) = (place.clone(), other.to_owned());
            reader.fault(offset, PolicyFault::Value { place, key: "effect", expected, found });
            None
        }
    }
}

fn topic_pattern(
    reader: &mut Reader<'_>,
    place: &Place,
    effect: Option<Effect>,
    Text { text, offset }: Text<'_>,
) -> Option<TopicPattern> {
    let pattern = match TopicPattern::parse(text, reader.limits) {
        Ok(pattern) => pattern,
        Err(error) => {
            let (place, pattern) = (place.clone(), text.to_owned());
            reader.fault(offset, PolicyFault::Pattern { place, pattern, error });
            return None;
        }
    };
    // `deny` and `exclusive` protect a topic from others, and a template would select it only for its own signer.
    let template = pattern.fields().iter().find(|field| matches!(field, PatternField::Template(_)));
    if let (Some(template), Some(effect @ (Effect::Deny | Effect::Exclusive))) = (template, effect) {
        let (place, template) = (place.clone(), template.to_string());
        reader.fault(
            offset,
            PolicyFault::TemplateNotAllowed { place, effect, pattern: text.to_owned(), template },
        );
        return None;
    }
    is_shallow(reader, place, text, &pattern, offset).then_some(pattern)
}

fn is_shallow(
    reader: &mut Reader<'_>,
    place: &Place,
    text: &str,
    pattern: &TopicPattern,
    offset: usize,
) -> bool {
    let (found, limit) = (pattern.fields().len(), MAX_PATTERN_FIELDS);
    if found > limit {
        let (place, pattern) = (place.clone(), text.to_owned());
        reader.fault(offset, PolicyFault::PatternTooDeep { place, pattern, limit, found });
    }
    found <= limit
}

fn publisher(reader: &mut Reader<'_>, place: &Place, text: Text<'_>, all: &Everything) -> Option<Publisher> {
    if let Some(name) = text.text.strip_prefix('@') {
        return match all.group_names.get(name) {
            Some((group, _)) => group.map(Publisher::Group),
            None => {
                let (place, name) = (place.clone(), name.to_owned());
                reader.fault(text.offset, PolicyFault::UnknownGroup { place, name });
                None
            }
        };
    }
    publisher_pattern(reader, place, text).map(Publisher::Pattern)
}

fn member(reader: &mut Reader<'_>, group: &str, text: Text<'_>) -> Option<PublisherPattern> {
    if text.text.starts_with('@') {
        let (group, member) = (group.to_owned(), text.text.to_owned());
        reader.fault(text.offset, PolicyFault::NestedGroup { group, member });
        return None;
    }
    publisher_pattern(reader, &Place::Groups, text)
}

fn publisher_pattern(
    reader: &mut Reader<'_>,
    place: &Place,
    Text { text, offset }: Text<'_>,
) -> Option<PublisherPattern> {
    text.parse()
        .map_err(|error| reader.fault(offset, PolicyFault::Publisher { place: place.clone(), error }))
        .ok()
}

/// A name in `[routing_policy]` is a certificate's common name, as fedmsg compares it, and never anything wider.
///
/// What looks like one of our own forms is refused: read as a common name it would silently name nobody.
fn routing_name(reader: &mut Reader<'_>, topic: &str, Text { text, offset }: Text<'_>) -> Option<Publisher> {
    let ours = text.starts_with("cn:") || text.contains("://") || text.starts_with('@') || text.contains('*');
    match CommonName::new(text) {
        Ok(name) if !ours => Some(Publisher::Pattern(PublisherPattern::CommonName(name))),
        _ => {
            let (topic, name) = (topic.to_owned(), text.to_owned());
            reader.fault(offset, PolicyFault::RoutingName { topic, name });
            None
        }
    }
}

fn is_new_id(reader: &mut Reader<'_>, id: &str, offset: usize, all: &mut Everything) -> bool {
    if let Some(first) = all.rule_ids.get(id) {
        let (id, first) = (id.to_owned(), first.clone());
        reader.fault(offset, PolicyFault::DuplicateRule { id, first });
        return false;
    }
    all.rule_ids.insert(id.to_owned(), reader.position(offset));
    true
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Of one file: what `sha256sum` prints. Of several: of their digests, sorted, as the files' order means nothing.
fn digest_of(files: &[LoadedFile]) -> [u8; 32] {
    if let [only] = files {
        return only.sha256;
    }
    let mut digests: Vec<[u8; 32]> = files.iter().map(|file| file.sha256).collect();
    digests.sort_unstable();
    sha256(&digests.concat())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}
