//! Signing and verifying whole messages beside the bare signatures of ring, in one run: what is ours is the difference.

#![allow(clippy::unwrap_used, reason = "a benchmark says what failed by failing")]
#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fedmsg::development::Development;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, RawMessage, Sealed, Stamp, StreamId};
use fedmsg::policy::Policy;
use fedmsg::sign::Signer;
use fedmsg::time::Timestamp;
use fedmsg::topic::Topic;
use fedmsg::verify::{Legacy, Verifier};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use std::hint::black_box;
use std::sync::Arc;

const LIMITS: Limits = Limits::STANDARD;
const BATCH: usize = 64;

const POLICY: &str = r#"
version = 1
serial = 1
[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.example.{env}.{service}.#"]
publishers = ["spiffe://example.org/*/*/*"]
"#;

struct World {
    now: Timestamp,
    signer: Signer,
    verifier: Verifier,
    draft: Draft,
}

impl World {
    /// A body of about `bytes` bytes, of the kind that services send.
    fn new(bytes: usize) -> Self {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let development = Development::new("example.org", now).unwrap();
        let signer = development.signer("prod", "bodhi", "app01").unwrap();
        let policy = Arc::new(Policy::parse(POLICY, "policy.toml", &LIMITS).unwrap());
        let verifier = Verifier::new(Arc::new(development.trust().unwrap()), policy, Legacy::Refused, LIMITS);
        let topic = Topic::parse("org.example.prod.bodhi.update.comment", &LIMITS).unwrap();
        let comments: Vec<_> = (0..bytes.saturating_sub(60) / 64)
            .map(|n| serde_json::json!({"author": "tomasz", "karma": n % 3, "text": "works here, twice"}))
            .collect();
        let msg = serde_json::json!({"update": "EXAMPLE-2026-3f9a1c", "comments": comments});
        Self { now, signer, verifier, draft: Draft::new(topic, &msg, &LIMITS).unwrap() }
    }

    fn sealed(&self, seq: u64) -> Sealed {
        let (msg_id, stream) = (MessageId::new(2026, [7; 16]), StreamId::new([3; 16]));
        self.draft.clone().seal(&Stamp { timestamp: self.now, msg_id, i: seq, stream, seq })
    }
}

fn bare() -> (EcdsaKeyPair, SystemRandom) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    (pair, random)
}

fn sign(c: &mut Criterion) {
    let mut group = c.benchmark_group("sign");
    let (pair, random) = bare();
    group.bench_function("bare ring, 88 bytes", |b| {
        b.iter(|| pair.sign(&random, black_box(&[5; 88])).unwrap())
    });
    let world = World::new(1024);
    // From the draft to the frames: the envelope's text, its hash, the signature, the proof.
    group.bench_function("one message, 1 KiB", |b| b.iter(|| world.signer.sign(world.sealed(1)).unwrap()));
    group.throughput(Throughput::Elements(u64::try_from(BATCH).unwrap()));
    group.bench_function("a batch of 64, 1 KiB", |b| {
        b.iter_batched(
            || (1..=64).map(|seq| world.sealed(seq)).collect(),
            |sealed| world.signer.sign_batch(sealed).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify");
    let (pair, random) = bare();
    let message = [5; 88];
    let signature = pair.sign(&random, &message).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref().to_vec());
    group.bench_function("bare ring, 88 bytes", |b| {
        b.iter(|| public.verify(black_box(&message), signature.as_ref()).unwrap());
    });
    for (name, bytes) in
        [("one message, 200 B", 200), ("one message, 1 KiB", 1024), ("one message, 16 KiB", 16_384)]
    {
        let world = World::new(bytes);
        let raw = world.signer.sign(world.sealed(1)).unwrap().into_raw();
        // From the frames to a verified message, of a certificate that has been seen before.
        group.bench_function(name, |b| {
            b.iter(|| world.verifier.receive(black_box(raw.clone()), world.now).unwrap());
        });
    }
    let world = World::new(1024);
    group.throughput(Throughput::Elements(u64::try_from(BATCH).unwrap()));
    group.bench_function("batches of 64, 1 KiB", |b| {
        b.iter_batched(
            || -> Vec<RawMessage> {
                let sealed = (1..=64).map(|seq| world.sealed(seq)).collect();
                world.signer.sign_batch(sealed).unwrap().into_iter().map(|signed| signed.into_raw()).collect()
            },
            |batch| -> Vec<_> {
                batch.into_iter().map(|raw| world.verifier.receive(raw, world.now).unwrap()).collect()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, sign, verify);
criterion_main!(benches);
