//! Issuing, with the inventory and the log, beside bare key generation and signing; and revocation lists of one entry and of a
//! million: loading, looking up, and what a verdict under them costs.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(clippy::print_stderr, reason = "criterion has no word for bytes of memory")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fedmsg::identity::SpiffeId;
use fedmsg::pki::authority::{Authority, RevocationReason, Revoked};
use fedmsg::pki::certificate::IdentityRule;
use fedmsg::pki::chain::{Purpose, RevocationPolicy, TrustStore};
use fedmsg::pki::crl::Crl;
use fedmsg::pki::key::{KeyKind, PrivateKey};
use fedmsg::pki::profile::{ProfileName, Profiles};
use fedmsg::pki::serial::Serial;
use fedmsg::store::authority::{AuthorityStore, CertifyRequest, IssueRequest, KeyProtection, RenewRequest};
use fedmsg::time::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LENGTHS: [u32; 3] = [1, 1_000, 1_000_000];

/// A root, an issuing authority, one service's certificate, and the lists.
struct World {
    now: Timestamp,
    root: Authority,
    issuing: Authority,
    leaf: Vec<u8>,
    root_list: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let key = || Arc::new(PrivateKey::generate(KeyKind::P256).unwrap());
        let profiles = Profiles::built_in().unwrap();
        let root = Authority::new_root("example.org", &profiles.root, 1, key(), now).unwrap();
        let issuing = root.new_intermediate("example.org", &profiles.issuing, key(), now).unwrap();
        let identity = "spiffe://example.org/prod/bodhi/app01".parse().unwrap();
        let leaf = issuing.issue(&identity, key().public_spki(), Duration::from_secs(86_400), now).unwrap();
        let root_list = root.crl(1, &[], Duration::from_secs(86_400), now).unwrap().crl().der().to_vec();
        Self { now, root, issuing, leaf: leaf.certificate().der().to_vec(), root_list }
    }

    /// A list that revokes so many certificates, none of which is the leaf.
    fn list(&self, length: u32) -> Vec<u8> {
        let entry = |n: u32| Revoked {
            serial: serial(n),
            at: self.now.plus_seconds(-i64::from(n % 86_400)),
            reason: RevocationReason::Superseded,
            invalid_since: None,
        };
        let revoked: Vec<Revoked> = (0..length).map(entry).collect();
        let list = self.issuing.crl(2, &revoked, Duration::from_secs(86_400), self.now).unwrap();
        list.crl().der().to_vec()
    }

    fn store(&self, list: Crl) -> TrustStore {
        TrustStore::builder(RevocationPolicy::Required)
            .anchor("root.crt", self.root.certificate().clone(), IdentityRule::SpiffeUri)
            .unwrap()
            .intermediate("issuing.crt", self.issuing.certificate().clone())
            .unwrap()
            .crl("root.crl", Crl::parse(&self.root_list).unwrap())
            .unwrap()
            .crl("issuing.crl", list)
            .unwrap()
            .build()
            .unwrap()
    }
}

/// 128 bits that look random, as those of a certificate.
fn serial(n: u32) -> Serial {
    let mixed = u128::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Serial::from_bytes(&(mixed | 1 << 120).to_be_bytes()).unwrap()
}

/// Kilobytes in memory, now.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Milliseconds for which this process has had a processor, to ten.
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn lists(c: &mut Criterion) {
    let world = World::new();
    let mut group = c.benchmark_group("list");
    group.sample_size(10);
    for length in LENGTHS {
        let der = world.list(length);
        let (memory, time) = (resident(), processor());
        let list = Crl::parse(&der).unwrap();
        let (kilobytes, time) = (resident().saturating_sub(memory), processor() - time);
        eprintln!(
            "{length} entries, {} bytes: loaded in {time} ms of processor time, {kilobytes} KiB held",
            der.len()
        );
        group.bench_function(format!("load, {length} entries"), |b| {
            b.iter_with_large_drop(|| Crl::parse(black_box(&der)).unwrap());
        });
        let asked: Vec<Serial> = (0..4_096).map(|n| serial(length + 1 + n)).collect();
        let mut turn = asked.iter().cycle();
        group.bench_function(format!("look up what is not in {length}"), |b| {
            b.iter(|| black_box(list.revocation(turn.next().unwrap().as_bytes()).is_some()));
        });
        let asked: Vec<Serial> = (0..4_096_u32).map(|n| serial(n.wrapping_mul(40_503) % length)).collect();
        let mut turn = asked.iter().cycle();
        group.bench_function(format!("look up what is in {length}"), |b| {
            b.iter(|| black_box(list.revocation(turn.next().unwrap().as_bytes()).is_some()));
        });
    }
    group.finish();
}

fn verdicts(c: &mut Criterion) {
    let world = World::new();
    let mut group = c.benchmark_group("verdict");
    group.sample_size(10);
    for length in LENGTHS {
        let der = world.list(length);
        let fresh = || world.store(Crl::parse(&der).unwrap());
        let purpose = Purpose::DocumentSigning;
        group.bench_function(format!("build the store, {length} entries"), |b| {
            let parsed = || Crl::parse(&der).unwrap();
            b.iter_batched(parsed, |list| world.store(list), BatchSize::PerIteration);
        });
        group.bench_function(format!("the first, {length} entries"), |b| {
            b.iter_batched(
                fresh,
                |store| {
                    store.validate(&world.leaf, &[], &purpose, world.now).unwrap();
                    store
                },
                BatchSize::PerIteration,
            );
        });
        let store = fresh();
        group.bench_function(format!("of a new certificate, {length} entries"), |b| {
            b.iter(|| store.validate(black_box(&world.leaf), &[], &purpose, world.now).unwrap());
        });
        group.bench_function(format!("remembered, {length} entries"), |b| {
            b.iter(|| store.validate_cached(black_box(&world.leaf), &[], &purpose, world.now).unwrap());
        });
    }
    group.finish();
}

/// Of ring, what no certificate can do without: a key, and a signature over about as many bytes as are signed of one.
fn bare(count: usize) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    for _ in 0..count {
        black_box(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap());
        black_box(pair.sign(&random, black_box(&[5; 500])).unwrap());
    }
}

/// Once, for it takes seconds: wall and processor time of so many certificates, side by side with the bare operations.
fn issue(_: &mut Criterion) {
    const COUNT: usize = 10_000;
    if std::env::args().any(|argument| argument.starts_with("list") || argument.starts_with("verdict")) {
        return;
    }
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let (directory, profiles) = (temp.path().join("pki"), Profiles::built_in().unwrap());
    let keys = KeyProtection::Unencrypted;
    let mut store = AuthorityStore::create(&directory, "example.org", false, profiles, &keys, now).unwrap();
    let say = |what: &str, count: usize, work: &mut dyn FnMut()| {
        let (cpu, begun) = (processor(), Instant::now());
        work();
        let (wall, cpu) = (begun.elapsed().as_micros(), u128::from(processor() - cpu) * 1_000);
        let count = u128::try_from(count).unwrap();
        eprintln!(
            "{what}: {count} in {} ms; {} us each, {} us of processor time",
            wall / 1_000,
            wall / count,
            cpu / count
        );
    };
    say("bare key generation and signing", COUNT, &mut || bare(COUNT));
    let identity =
        |n: usize| -> SpiffeId { format!("spiffe://example.org/prod/bodhi/app{n:05}").parse().unwrap() };
    say("keys made by the caller, certificates with inventory and log", COUNT, &mut || {
        let request = |n| CertifyRequest {
            identity: identity(n),
            spki: PrivateKey::generate(KeyKind::P256).unwrap().public_spki().to_vec(),
            profile: ProfileName::Service,
            days: None,
        };
        let requests: Vec<CertifyRequest> = (0..COUNT).map(request).collect();
        assert_eq!(store.certify_many(&requests, now).unwrap().len(), COUNT);
    });
    let request = |n: usize| IssueRequest {
        env: "prod".to_owned(),
        service: "koji".to_owned(),
        host: format!("app{n:05}"),
        profile: ProfileName::Service,
        days: None,
        key_kind: None,
        directory: None,
        replace: false,
    };
    say("pairs written to files, many at once", 1_000, &mut || {
        let requests: Vec<IssueRequest> = (0..1_000).map(request).collect();
        assert_eq!(store.issue_many(&requests, now).unwrap().len(), 1_000);
    });
    say("pairs written to files, one at a time", 200, &mut || {
        (0..200).for_each(|n| drop(store.issue(&request(50_000 + n), now).unwrap()));
    });
    say("renewed, one at a time", 200, &mut || {
        for n in 0..200 {
            let request = RenewRequest {
                name: format!("koji-app{n:05}"),
                directory: None,
                profile: None,
                days: None,
                key_kind: None,
                keep_key: false,
                force: true,
            };
            store.renew(&request, now).unwrap();
        }
    });
}

criterion_group!(benches, issue, lists, verdicts);
criterion_main!(benches);
