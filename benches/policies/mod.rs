//! Policies of any size over real topics, grown by services and hosts, and questions about them.

#![allow(dead_code, reason = "a tool box: no benchmark uses every tool")]

use fedmsg::identity::Identity;
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use std::fmt::Write;

pub(crate) type Question = (Topic, Identity);

pub(crate) fn at() -> Timestamp {
    Timestamp::from_unix(1_790_000_000).unwrap()
}

pub(crate) fn topic(text: &str) -> Topic {
    Topic::parse(text, &Limits::STANDARD).unwrap()
}

pub(crate) fn parse(text: &str) -> Policy {
    Policy::parse(text, "bench.toml", &Limits::STANDARD).unwrap()
}

/// Prefix (three fields with the environment), service, the rest: of the real topics, or of made ones where there are none.
fn topics() -> Vec<(String, String, String)> {
    let real = std::fs::read_to_string("../shared/data/fedora/topics.txt").unwrap_or_else(|_| {
        (0..150)
            .map(|n| format!("org.fedoraproject.prod.service{}.object{}.event{}\n", n / 10, n / 2, n % 5))
            .collect()
    });
    let split = |line: &str| {
        let fields: Vec<&str> = line.split('.').collect();
        let [a, b, env, service, rest @ ..] = &fields[..] else { return None };
        Some((format!("{a}.{b}.{env}"), (*service).to_owned(), rest.join(".")))
    };
    real.lines().filter_map(split).filter(|(_, _, rest)| !rest.is_empty()).collect()
}

/// Whose service it is in a path, which has lower case only.
fn owner(service: &str, copy: usize) -> String {
    format!("{}{copy}", service.to_ascii_lowercase())
}

/// The text of `rules` rules over the real topics, of as many copies of each service as that takes.
pub(crate) fn rules(count: usize) -> String {
    let topics = topics();
    let mut text = String::from(
        "version = 1\nserial = 1\n[groups]\nrelays = [\"spiffe://f.org/prod/relay/box01\", \"spiffe://f.org/prod/relay/box02\"]\n\
         [[rule]]\nid = \"own\"\neffect = \"allow\"\ntopics = [\"org.fedoraproject.{env}.{service}.#\"]\n\
         publishers = [\"spiffe://f.org/*/*/*\"]\n",
    );
    for n in 1..count {
        let ((prefix, service, rest), copy) = (&topics[n % topics.len()], n / topics.len());
        let (own, host) = (owner(service, copy), n % 7);
        let object = rest.split('.').next().unwrap();
        let (effect, topic, publisher) = match n % 10 {
            0..4 => {
                ("allow", format!("{prefix}.{service}{copy}.{rest}"), format!("spiffe://f.org/*/{own}/*"))
            }
            4 | 5 => (
                "allow",
                format!("{prefix}.{service}{copy}.{object}.#"),
                format!("spiffe://f.org/prod/{own}/app{host:02}"),
            ),
            6 => (
                "exclusive",
                format!("{prefix}.{service}{copy}.release.#"),
                format!("spiffe://f.org/prod/{own}/app{host:02}"),
            ),
            7 => (
                "deny",
                format!("{prefix}.{service}{copy}.#"),
                format!("spiffe://f.org/*/{own}/old{host:02}"),
            ),
            8 => ("allow", format!("{prefix}.*.{object}.update{copy}"), "@relays".to_owned()),
            _ => ("allow", format!("{prefix}.{service}{copy}.*.complete"), "@relays".to_owned()),
        };
        rule(&mut text, n, effect, &[&topic], &[&publisher]);
    }
    text
}

pub(crate) fn rule(text: &mut String, n: usize, effect: &str, topics: &[&str], publishers: &[&str]) {
    writeln!(
        text,
        "[[rule]]\nid = \"r{n:07}\"\neffect = \"{effect}\"\ntopics = {topics:?}\npublishers = {publishers:?}"
    )
    .unwrap();
}

/// Four thousand messages from all over the policy, so that no cache of the processor holds the way of each.
pub(crate) fn questions(count: usize, own: bool) -> Vec<Question> {
    let topics = topics();
    let copies = (count / topics.len()).max(1);
    (0..4096_usize)
        .map(|n| {
            // Any odd step goes through all of them in an order that looks like none.
            let n = n.wrapping_mul(2_654_435_761) % (topics.len() * copies);
            let ((prefix, service, rest), copy) = (&topics[n % topics.len()], n / topics.len());
            let signer = if own { owner(service, copy) } else { owner("other", copy) };
            let signer = format!("spiffe://f.org/prod/{signer}/app{:02}", n % 7);
            (topic(&format!("{prefix}.{service}{copy}.{rest}")), signer.parse().unwrap())
        })
        .collect()
}
