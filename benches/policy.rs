//! A policy decision, by the number of rules, over real topics grown by services and hosts; the worst that policies can do to
//! it; and what a policy costs to build and to hold.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stderr, reason = "figures that are no times of a loop")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fedmsg::identity::Identity;
use fedmsg::limits::Limits;
use fedmsg::policy::Policy;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

type Question = (Topic, Identity);

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn at() -> Timestamp {
    Timestamp::from_unix(1_790_000_000).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::parse(text, &Limits::STANDARD).unwrap()
}

fn parse(text: &str) -> Policy {
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
fn rules(count: usize) -> String {
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

fn rule(text: &mut String, n: usize, effect: &str, topics: &[&str], publishers: &[&str]) {
    writeln!(
        text,
        "[[rule]]\nid = \"r{n:07}\"\neffect = \"{effect}\"\ntopics = {topics:?}\npublishers = {publishers:?}"
    )
    .unwrap();
}

/// Four thousand messages from all over the policy, so that no cache of the processor holds the way of each.
fn questions(count: usize, own: bool) -> Vec<Question> {
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

/// Resident memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy");
    for count in SIZES {
        let text = rules(count);
        let (before, start) = (resident(), Instant::now());
        let policy = parse(&text);
        let (took, holds) = (start.elapsed(), resident().saturating_sub(before));
        assert_eq!(policy.rule_count(), count);
        eprintln!(
            "policy/build/{count}: {took:.2?}, {:.2?} a rule; grown by {} bytes a rule, of {} bytes of text",
            took / u32::try_from(count).unwrap(),
            holds / count,
            text.len() / count,
        );
        for (name, own) in [("owner", true), ("other", false)] {
            let questions = questions(count, own);
            let allowed = questions.iter().filter(|(on, by)| policy.decide(on, by, at()).is_ok()).count();
            eprintln!("policy/{name}/{count}: {allowed} of {} allowed", questions.len());
            let mut next = questions.iter().cycle();
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    let (on, by) = next.next().unwrap();
                    policy.decide(black_box(on), black_box(by), at())
                });
            });
            // What a cache keyed by policy, topic and signer would take for a hit, with the cheapest of locks: none.
            let cached: HashMap<Question, bool> =
                questions.iter().map(|q| (q.clone(), policy.decide(&q.0, &q.1, at()).is_ok())).collect();
            let mut next = questions.iter().cycle();
            group.bench_function(BenchmarkId::new(format!("{name}-cached"), count), |b| {
                b.iter(|| cached.get(black_box(next.next().unwrap())).copied());
            });
        }
    }
    group.finish();
}

/// All rules at one topic.
fn crowded(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/crowded");
    let host = |n: usize| format!("spiffe://f.org/prod/bodhi/app{n:06}");
    let on = topic("org.fedoraproject.prod.bodhi.update.comment");
    let pattern = "org.fedoraproject.prod.bodhi.#";
    for count in [1_000, 100_000] {
        let head = "version = 1\nserial = 1\n[groups]\nrelays = [\"spiffe://f.org/prod/relay/*\"]\n";
        let [mut allows, mut exclusives, mut groups] = [(); 3].map(|()| head.to_owned());
        for n in 0..count {
            rule(&mut allows, n, "allow", &[pattern], &[&host(n)]);
            rule(&mut exclusives, n, "exclusive", &[pattern], &["@relays", &host(n)]);
        }
        let hosts: Vec<String> = (0..count).map(host).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        rule(&mut groups, 0, "exclusive", &[pattern, "org.fedoraproject.stg.bodhi.#"], &hosts);
        for (name, text, signer, allowed) in [
            ("a rule for each host", &allows, host(count / 2), true),
            (
                "exclusive rules that all name the signer",
                &exclusives,
                "spiffe://f.org/prod/relay/a".to_owned(),
                true,
            ),
            ("exclusive rules, one names the signer", &exclusives, host(count / 2), false),
            ("one exclusive rule for all hosts", &groups, host(count / 2), true),
        ] {
            let (policy, signer) = (parse(text), signer.parse::<Identity>().unwrap());
            assert_eq!(policy.decide(&on, &signer, at()).is_ok(), allowed, "{name}");
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| policy.decide(black_box(&on), black_box(&signer), at()));
            });
        }
    }
    group.finish();
}

/// Every pattern that the caps allow on one topic: of sixteen fields, up to three `*`, at each length with `#`.
fn adversarial(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/adversarial");
    let depth = 16;
    let on = topic(&["a"; 16].join("."));
    let signer: Identity = "spiffe://f.org/a/a/a".parse().unwrap();
    let mut starred = Vec::new();
    for length in 0..=depth {
        for stars in 0_u32..1 << length {
            if stars.count_ones() <= 3 {
                let fields = (0..length).map(|n| if stars >> n & 1 == 1 { "*." } else { "a." });
                starred.push(fields.collect::<String>() + "#");
            }
        }
    }
    // Templates have no cap, as each stands for one field: twelve of four kinds that all select the topic.
    let kinds = ["a", "{env}", "{service}", "{host}"];
    let templates = (0..100_000_usize)
        .map(|n| (0..depth).map(|field| kinds[n >> (2 * (field % 9)) & 3]).collect::<Vec<_>>().join("."));
    for (name, patterns) in [("stars", starred), ("templates", templates.collect())] {
        let mut text = String::from("version = 1\nserial = 1\n");
        for (n, pattern) in patterns.iter().enumerate() {
            rule(&mut text, n, "allow", &[pattern], &["spiffe://f.org/*/*/*"]);
        }
        let policy = parse(&text);
        assert!(policy.decide(&on, &signer, at()).is_ok());
        group.bench_function(BenchmarkId::new(name, patterns.len()), |b| {
            b.iter(|| policy.decide(black_box(&on), black_box(&signer), at()));
        });
    }
    group.finish();
}

criterion_group!(benches, decide, crowded, adversarial);
criterion_main!(benches);
