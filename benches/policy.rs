//! A policy decision, by the number of rules, over real topics grown by services and hosts; the worst that policies can do to
//! it; and what a policy costs to build and to hold.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stderr, reason = "figures that are no times of a loop")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

#[path = "policies/mod.rs"]
mod policies;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fedmsg::identity::Identity;
use policies::{Question, at, parse, questions, rule, rules, topic};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

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
        let (took, takes) = (start.elapsed(), resident().saturating_sub(before));
        assert_eq!(policy.rule_count(), count);
        // What the parser had is free again and is used by the next ones, so that these grow by what they hold.
        let before = resident();
        let copies: Vec<_> = (0..if count > 100_000 { 0 } else { 4 }).map(|_| parse(&text)).collect();
        let holds = resident().saturating_sub(before).checked_div(copies.len() * count);
        drop(copies);
        eprintln!(
            "policy/build/{count}: {took:.2?}, {:.2?} a rule; takes {} bytes a rule, holds {holds:?}, of {} bytes of text",
            took / u32::try_from(count).unwrap(),
            takes / count,
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

/// All rules at one topic; exclusive ones as many as there may be.
fn crowded(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/crowded");
    let host = |n: usize| format!("spiffe://f.org/prod/bodhi/app{n:06}");
    let on = topic("org.fedoraproject.prod.bodhi.update.comment");
    let pattern = "org.fedoraproject.prod.bodhi.#";
    for count in [1_000, 100_000] {
        let head = "version = 1\nserial = 1\n[groups]\nrelays = [\"spiffe://f.org/prod/relay/*\"]\n";
        let [mut allows, mut exclusives, mut groups] = [(); 3].map(|()| head.to_owned());
        (0..count).for_each(|n| rule(&mut allows, n, "allow", &[pattern], &[&host(n)]));
        let most = count.min(2_000);
        (0..most).for_each(|n| rule(&mut exclusives, n, "exclusive", &[pattern], &["@relays", &host(n)]));
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
            ("exclusive rules, one names the signer", &exclusives, host(most / 2), false),
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

/// How a decision gets longer with the depth of its topic: among as many rules, one is about a topic of each depth.
fn depth(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/depth");
    let mut text = rules(100_000);
    let on = |depth: usize| format!("org.fedoraproject.prod.{}", vec!["deep"; depth - 3].join("."));
    const DEPTHS: [usize; 4] = [5, 8, 10, 16];
    for depth in DEPTHS {
        rule(&mut text, 200_000 + depth, "allow", &[&on(depth)], &["spiffe://f.org/prod/deep/*"]);
    }
    let (policy, signer) = (parse(&text), "spiffe://f.org/prod/deep/app01".parse::<Identity>().unwrap());
    for depth in DEPTHS {
        let on = topic(&on(depth));
        assert!(policy.decide(&on, &signer, at()).is_ok());
        group.bench_function(BenchmarkId::from_parameter(depth), |b| {
            b.iter(|| policy.decide(black_box(&on), black_box(&signer), at()));
        });
    }
    group.finish();
}

/// The worst that policies can be, each as far as the bound on the steps of a look-up lets it go.
fn adversarial(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/adversarial");
    let signer: Identity = "spiffe://f.org/a/a/a".parse().unwrap();
    let head = "version = 1\nserial = 1\n";
    // A pattern of each shape, all of which name the signer.
    let shapes: Vec<String> = (0..8)
        .map(|shape| {
            let part = |n: usize| if shape >> n & 1 == 0 { "a" } else { "*" };
            format!("spiffe://f.org/{}/{}/{}", part(0), part(1), part(2))
        })
        .collect();
    let groups = |count: usize| {
        let groups = (0..count).map(|n| format!("g{n} = {shapes:?}\n"));
        format!("{head}[groups]\n{}", groups.collect::<String>())
    };
    let named = |count: usize| (0..count).map(|n| format!("@g{n}")).collect::<Vec<_>>();

    // All patterns of up to sixteen fields and three `*` that select one topic.
    let (mut stars, mut count) = (head.to_owned(), 0);
    for length in 0..=16 {
        for places in (0_u32..1 << length).filter(|places| places.count_ones() <= 3) {
            let fields = (0..length).map(|n| if places >> n & 1 == 1 { "*." } else { "a." });
            let pattern = fields.collect::<String>() + "#";
            rule(&mut stars, count, "allow", &[&pattern], &["spiffe://f.org/*/*/*"]);
            count += 1;
        }
    }
    let mut templates = head.to_owned();
    for n in 0..3_usize.pow(7) {
        let fields = (0..7).map(|field| ["a", "{env}", "{host}"][n / 3_usize.pow(field) % 3]);
        let pattern = fields.collect::<Vec<_>>().join(".");
        rule(&mut templates, n, "allow", &[&pattern], &["spiffe://f.org/*/*/*"]);
    }
    // A signer that is in a thousand groups, all of which one rule names.
    let mut members = groups(1_249);
    let all = named(1_249);
    rule(&mut members, 0, "allow", &["a.b"], &all.iter().map(String::as_str).collect::<Vec<_>>());
    // Exclusive rules that name the signer in turns by another group, so that each is looked at.
    let mut exclusives = groups(2);
    for n in 0..400 {
        rule(&mut exclusives, n, "exclusive", &["a.b"], &[["@g0", "@g1"][n % 2], &format!("cn:x{n}")]);
    }
    // Rules that name the signer by each of its shapes, and exist no more.
    let mut expired = head.to_owned();
    for n in 0..1_249 {
        rule(&mut expired, n, "allow", &["a.b"], &shapes.iter().map(String::as_str).collect::<Vec<_>>());
        expired.push_str("until = 1990-01-01T00:00:00Z\n");
    }
    for (name, text, on, allowed) in [
        ("stars", stars, ["a"; 16].join("."), true),
        ("templates", templates, ["a"; 7].join("."), true),
        ("groups", members, "a.b".to_owned(), true),
        ("exclusive rules", exclusives, "a.b".to_owned(), true),
        ("expired rules", expired, "a.b".to_owned(), false),
    ] {
        let (policy, on) = (parse(&text), topic(&on));
        assert_eq!(policy.decide(&on, &signer, at()).is_ok(), allowed, "{name}");
        group.bench_function(BenchmarkId::new(name, policy.rule_count()), |b| {
            b.iter(|| policy.decide(black_box(&on), black_box(&signer), at()));
        });
    }
    group.finish();
}

criterion_group!(benches, decide, depth, crowded, adversarial);
criterion_main!(benches);
