//! A policy decision, by the number of rules: one that allows, one that denies, one that nothing lists; and the worst
//! case, every rule on the topic that is asked about.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fedmsg::identity::Identity;
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use std::fmt::Write;
use std::hint::black_box;

/// One rule for all services' own topics, and `rules` more for services and their hosts, of all effects.
fn policy(rules: usize) -> Policy {
    let mut text = String::from(
        "version = 1\nserial = 1\n[[rule]]\nid = \"own-subtree\"\neffect = \"allow\"\n\
         topics = [\"org.fedoraproject.{env}.{service}.#\"]\npublishers = [\"spiffe://fedoraproject.org/*/*/*\"]\n",
    );
    for n in 0..rules {
        let (effect, topic, publisher) = match n % 4 {
            0 => (
                "exclusive",
                format!("org.fedoraproject.*.service{n}.release.#"),
                format!("prod/service{n}/*"),
            ),
            1 => ("deny", "org.fedoraproject.prod.bodhi.#".to_owned(), format!("prod/bodhi/old{n:05}")),
            2 => (
                "allow",
                format!("org.fedoraproject.prod.service{n}.*.complete"),
                format!("prod/*/host{n:05}"),
            ),
            _ => ("allow", format!("org.fedoraproject.prod.koji.tag{n}"), "prod/relay/gateway".to_owned()),
        };
        // Most denials name somebody on topics of their own; one in a hundred shares the topic that is asked about.
        let topic =
            if n % 4 == 1 && n % 100 != 1 { format!("org.fedoraproject.prod.gone{n}.#") } else { topic };
        write!(
            text,
            "[[rule]]\nid = \"r{n:06}\"\neffect = \"{effect}\"\ntopics = [\"{topic}\"]\n\
             publishers = [\"spiffe://fedoraproject.org/{publisher}\"]\n"
        )
        .unwrap();
    }
    Policy::parse(&text, "bench.toml", &Limits::STANDARD).unwrap()
}

/// As many rules, all of one topic, each for another host.
fn crowded(rules: usize) -> Policy {
    let mut text = String::from("version = 1\nserial = 1\n");
    for n in 0..rules {
        write!(
            text,
            "[[rule]]\nid = \"r{n:06}\"\neffect = \"allow\"\ntopics = [\"org.fedoraproject.prod.bodhi.#\"]\n\
             publishers = [\"spiffe://fedoraproject.org/prod/bodhi/app{n:02}\"]\n"
        )
        .unwrap();
    }
    Policy::parse(&text, "bench.toml", &Limits::STANDARD).unwrap()
}

fn decide(c: &mut Criterion) {
    let at = Timestamp::from_unix(1_790_000_000).unwrap();
    let signer: Identity = "spiffe://fedoraproject.org/prod/bodhi/app01".parse().unwrap();
    let questions = [
        ("allowed", "org.fedoraproject.prod.bodhi.update.comment"),
        ("exclusive", "org.fedoraproject.prod.service0.release.start"),
        ("unlisted", "org.fedoraproject.prod.buildsys.build.state.change"),
    ];
    let mut group = c.benchmark_group("policy");
    for rules in [10, 1_000, 10_000] {
        let policy = policy(rules);
        for (name, topic) in questions {
            let topic = Topic::parse(topic, &Limits::STANDARD).unwrap();
            assert_eq!(policy.decide(&topic, &signer, at).is_ok(), name == "allowed");
            group.bench_with_input(BenchmarkId::new(name, rules), &topic, |b, topic| {
                b.iter(|| policy.decide(black_box(topic), black_box(&signer), at));
            });
        }
        let crowded = crowded(rules);
        let topic = Topic::parse("org.fedoraproject.prod.bodhi.update.comment", &Limits::STANDARD).unwrap();
        assert!(crowded.decide(&topic, &signer, at).is_ok());
        group.bench_with_input(BenchmarkId::new("crowded", rules), &topic, |b, topic| {
            b.iter(|| crowded.decide(black_box(topic), black_box(&signer), at));
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
