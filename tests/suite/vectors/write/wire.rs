//! `tests/vectors/wire/messages.json`: messages that verify, and what a verifier finds in them.

use super::world::{
    Frames, IDENTITY, OpensslKey, Service, World, body, envelope, frames, openssl, p256, signed, with,
};
use super::write_json;
use crate::pki_validation::forge::now;
use crate::support::temp_dir;
use crate::vectors::case::{TrustFiles, directory};
use crate::vectors::wire::{Found, Message, find};
use bytes::Bytes;
use fedmsg::limits::Limits;
use fedmsg::message::{Draft, MessageId, Sealed, Stamp, StreamId};
use fedmsg::pki::algorithm::Algorithm;
use fedmsg::pki::key::{KeyKind, PrivateKey};
use fedmsg::sign::Signer;
use fedmsg::topic::Topic;
use std::path::Path;
use std::sync::Arc;

const LIMITS: Limits = Limits::STANDARD;

pub(super) fn write(world: &mut World) {
    let files = TrustFiles {
        anchors: vec!["root.crt".to_owned()],
        intermediates: Vec::new(),
        crls: vec!["root.crl".to_owned(), "issuing.crl".to_owned()],
    };
    world.trust.insert("root-only".to_owned(), files);
    let mut messages = by_keys(world);
    messages.extend(by_place(world));
    messages.extend(unusual(world));
    // Where the trust is read from, for what the messages are found to be.
    super::write_trust(world);
    for message in &mut messages {
        message.found = find(message);
    }
    std::fs::create_dir_all(directory("wire")).unwrap();
    write_json(&directory("wire").join("messages.json"), &messages);
    write_seeds(&messages);
}

/// Seeds for `fuzz/fuzz_targets/{message,receive}.rs`, which cut frames at line ends.
fn write_seeds(messages: &[Message]) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("seeds");
    for target in ["message", "receive"] {
        std::fs::create_dir_all(fuzz.join(target)).unwrap();
        for message in messages {
            let seed = format!("{}\n{}", message.topic, message.body);
            std::fs::write(fuzz.join(target).join(format!("vector-{}", message.name)), seed).unwrap();
        }
    }
}

fn message(name: &str, what: &str, trust: &str, frames: &Frames) -> Message {
    let [topic, body] = [0, 1].map(|n| String::from_utf8(frames[n].clone()).unwrap());
    let (name, what, trust) = (name.to_owned(), what.to_owned(), trust.to_owned());
    Message { name, what, trust, at: now().to_string(), topic, body, found: Found::default() }
}

fn sealed(topic: &str, msg: &str, username: &str, seq: u64) -> Sealed {
    let topic = Topic::parse(topic, &LIMITS).unwrap();
    let mut random = *b"vectors of wire.";
    random[15] = u8::try_from(seq).unwrap();
    Draft::from_json(topic, msg, &LIMITS).unwrap().username(username).seal(&Stamp {
        timestamp: now(),
        msg_id: MessageId::new(2026, random),
        i: seq,
        stream: StreamId::new(*b"stream of a test"),
        seq,
    })
}

fn signer(service: &Service, more: &[&[u8]]) -> Signer {
    let chain = [&service.leaf[..]].iter().chain(more).map(|der| Bytes::copy_from_slice(der)).collect();
    Signer::new(Arc::clone(&service.key), chain, LIMITS).unwrap()
}

fn sign(signer: &Signer, sealed: Sealed) -> Frames {
    signer.sign(sealed).unwrap().into_raw().parts.iter().map(|part| part.to_vec()).collect()
}

const MSG: &str = r#"{"update": {"alias": "FEDORA-2026-0123456789", "karma": 1}, "text": "café ☕ 🎉"}"#;
const TOPIC: &str = "org.example.prod.bodhi.update.comment";

fn by_keys(world: &World) -> Vec<Message> {
    let directory = temp_dir();
    let rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let pss = OpensslKey::generate(directory.path(), "pss", &rsa, Algorithm::RsaPssSha256);
    let rsa = PrivateKey::from_pem(&openssl(&[&["genpkey"], &rsa[..]].concat(), b"")).unwrap();
    let services = [
        ("p256", "ECDSA on P-256", world.service(p256(), IDENTITY)),
        ("ed25519", "Ed25519", world.service(PrivateKey::generate(KeyKind::Ed25519).unwrap(), IDENTITY)),
        ("rsa-pkcs1", "RSA PKCS #1 v1.5, 2,048 bits", world.service(rsa, IDENTITY)),
        // A certificate holds an RSA key, not what it signs by.
        (
            "rsa-pss",
            "RSA PSS, 2,048 bits",
            Service { leaf: world.leaf(&world.issuing, &pss, |_| {}), key: Arc::new(pss) },
        ),
    ];
    let of = |(name, what, service): (&str, &str, Service)| {
        message(name, what, "standard", &sign(&signer(&service, &[]), sealed(TOPIC, MSG, "ada", 1)))
    };
    services.map(of).into()
}

fn by_place(world: &World) -> Vec<Message> {
    let service = world.service(p256(), IDENTITY);
    let (alone, with_issuer) = (signer(&service, &[]), signer(&service, &[&world.issuing.der]));
    let mut messages = vec![message(
        "intermediate",
        "the proof carries the issuing authority's certificate, which the verifier does not have",
        "root-only",
        &sign(&with_issuer, sealed(TOPIC, MSG, "", 1)),
    )];
    let batch = (1..=5).map(|seq| sealed(TOPIC, &seq.to_string(), "", seq)).collect();
    for (n, signed) in alone.sign_batch(batch).unwrap().into_iter().enumerate() {
        let frames = signed.into_raw().parts.iter().map(|part| part.to_vec()).collect();
        let what = "one of five that were signed together";
        messages.push(message(&format!("batch-{n}"), what, "standard", &frames));
    }
    let announce = world.service(p256(), ["prod", "announce", "box01"]);
    let announcement = sealed("org.example.prod.announce.outage.begin", "null", "", 1);
    let what = "by an exclusive rule";
    messages.push(message("exclusive", what, "standard", &sign(&signer(&announce, &[]), announcement)));
    messages
}

/// What a verifier has to take, though our signer would not write it.
fn unusual(world: &World) -> Vec<Message> {
    let service = world.service(p256(), IDENTITY);
    let of = |name: &str, what: &str, text: &str| {
        let proof = signed(&*service.key, &[&service.leaf], text.as_bytes());
        message(name, what, "standard", &frames(TOPIC, body(text.as_bytes(), &proof.to_base64().unwrap())))
    };
    let canonical = envelope(|_| {});
    vec![
        of("white-space", "white space, which is signed as it stands", &canonical.replace(",\"", " ,\n\t\"")),
        of("order", "keys in another order", &{
            let (first, rest) = canonical[1..canonical.len() - 1].split_once(',').unwrap();
            format!("{{{rest},{first}}}")
        }),
        of("raw-text", "letters that are not escaped", &with("username", "\"zoë ☕\"")),
        of(
            "numbers",
            "numbers that no double can hold, and that only their text is",
            &with("msg", "[18446744073709551617,-0,1.10,1E2,123456789012345678901234567890]"),
        ),
        of(
            "more-fields",
            "fields of other names, which are signed as well",
            &envelope(|fields| {
                fields.insert("zeta", "[true,null]".to_owned());
            }),
        ),
        of(
            "legacy-names",
            "the names of the legacy format, which mean nothing beside a proof",
            &envelope(|fields| {
                for name in ["certificate", "crypto", "signature"] {
                    fields.insert(name, "\"x509\"".to_owned());
                }
            }),
        ),
        of(
            "proof-within",
            "a key `proof` within `msg`, and the text of one",
            &with("msg", r#"{"proof":"AAAA","text":",\"proof\":\"AAAA\"}"}"#),
        ),
    ]
}
