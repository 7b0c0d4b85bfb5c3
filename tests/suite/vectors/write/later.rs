//! What is refused after the signature: by the policy, by freshness; and legacy messages.

use super::world::{Frames, IDENTITY, Service, World, body, encoded, envelope, frames, p256, signed, with};
use super::{LegacyMessages, Sheet};
use crate::pki_validation::forge::now;
use crate::vectors::case::{Arrival, Case, directory};
use fedmsg::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn write(world: &World, sheet: &mut Sheet) {
    policy(world, sheet);
    freshness(world, sheet);
    legacy(sheet);
}

fn on(service: &Service, topic: &str) -> Frames {
    let text = with("topic", &format!("\"{topic}\""));
    let proof = signed(&*service.key, &[&service.leaf], text.as_bytes());
    frames(topic, body(text.as_bytes(), &proof.to_base64().unwrap()))
}

fn policy(world: &World, sheet: &mut Sheet) {
    let service = |parts| world.service(p256(), parts);
    let (bodhi, test_host) = (service(IDENTITY), service(["prod", "bodhi", "test01"]));
    let stg = service(["stg", "bodhi", "app01"]);
    let (announce, pretender) =
        (service(["prod", "announce", "box01"]), service(["prod", "announce", "box02"]));
    let own = "org.example.prod.bodhi.update.comment";
    let announcement = "org.example.prod.announce.outage.begin";
    let good = on(&bodhi, own);
    for (name, fault, refused, mended) in [
        ("policy-denied", "a host that a rule denies", on(&test_host, own), good.clone()),
        (
            "policy-exclusive",
            "a topic that is one host's alone",
            on(&pretender, announcement),
            on(&announce, announcement),
        ),
        (
            "policy-unlisted--another-service",
            "another service's topic",
            on(&bodhi, "org.example.prod.koji.build.tag"),
            good.clone(),
        ),
        (
            "policy-unlisted--stg-on-prod",
            "a staging certificate on a production topic",
            on(&stg, own),
            good.clone(),
        ),
        (
            "policy-unlisted--prefix",
            "a service whose name only begins like its own",
            on(&bodhi, "org.example.prod.bodhi2.update.comment"),
            good,
        ),
    ] {
        sheet.frames(name, fault, &refused, &mended);
    }
}

/// What differs between the messages of one stream.
struct Place {
    seq: u64,
    id: u8,
    timestamp: i64,
}

fn freshness(world: &World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    let frames = |place: Place| {
        service.frames(envelope(|fields| {
            fields.insert("seq", place.seq.to_string());
            fields.insert("msg_id", format!("\"2026-0f0e0d0c-0b0a-4908-8706-0504030201{:02x}\"", place.id));
            fields.insert("timestamp", (now().as_unix() + place.timestamp).to_string());
        }))
    };
    let at = |seconds: i64| now().plus_seconds(seconds).to_string();
    let first = Place { seq: 1, id: 1, timestamp: 0 };
    let first = frames(first);
    let mut add = |name: &str, fault: &str, refused: &Frames, mended: Value, change: &dyn Fn(&mut Case)| {
        sheet.put(name, fault, refused, mended, |case| {
            case.window = Some(BTreeMap::new());
            change(case);
        });
    };
    let arrived =
        |frames: &Frames, time: Timestamp| Arrival { at: time.to_string(), frames: encoded(frames) };
    let alone = json!({ "before": [] });

    add("too-old", "601 seconds old", &first, json!({ "at": at(600) }), &|case| case.at = at(601));
    add("from-the-future", "121 seconds ahead", &first, json!({ "at": at(-120) }), &|case| {
        case.at = at(-121)
    });
    add("replayed-seq", "the same message again", &first, alone.clone(), &|case| {
        case.before = vec![arrived(&first, now())];
    });
    let same_seq = frames(Place { seq: 1, id: 2, timestamp: 0 });
    add(
        "replayed-seq--another-message",
        "another message of the same place",
        &same_seq,
        alone.clone(),
        &|case| {
            case.before = vec![arrived(&first, now())];
        },
    );
    let same_id = frames(Place { seq: 2, id: 1, timestamp: 0 });
    add("replayed-msg-id", "the next message, of the same name", &same_id, alone, &|case| {
        case.before = vec![arrived(&first, now())];
    });
    let newest = frames(Place { seq: 2000, id: 3, timestamp: 0 });
    let (behind, just) =
        (frames(Place { seq: 976, id: 4, timestamp: 0 }), frames(Place { seq: 977, id: 4, timestamp: 0 }));
    add("seq-too-old", "1,024 behind the newest", &behind, json!({ "frames": encoded(&just) }), &|case| {
        case.before = vec![arrived(&newest, now())];
    });
    let second = frames(Place { seq: 2, id: 2, timestamp: 1 });
    let third = frames(Place { seq: 3, id: 3, timestamp: 0 });
    let fault = "as old as one that had to be forgotten, where one message is remembered";
    add("too-many-remembered", fault, &third, json!({ "window": {} }), &|case| {
        case.window = Some(BTreeMap::from([("messages_per_signer".to_owned(), 1)]));
        case.at = at(1);
        case.before = vec![arrived(&first, now()), arrived(&second, now().plus_seconds(1))];
    });
}

/// Messages of `tests/vectors/legacy`, which Python fedmsg signed and judged.
fn legacy(sheet: &mut Sheet) {
    let lines = |file: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(directory("legacy").join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let framed = |line: &Value| -> (Frames, String) {
        let wire = line["wire"].as_str().unwrap();
        let body: Value = serde_json::from_str(wire).unwrap();
        let at = Timestamp::from_unix(body["timestamp"].as_i64().unwrap()).unwrap();
        (frames(body["topic"].as_str().unwrap(), wire), at.to_string())
    };
    let (good, at) = framed(&lines("valid.jsonl")[0]);
    let mut add = |name: &str, fault: &str, refused: &Frames, legacy, mended| {
        sheet.put(name, fault, refused, mended, |case| (case.at, case.legacy) = (at.clone(), legacy));
    };
    let fault = "a legacy message, where none is accepted";
    add("legacy-not-accepted", fault, &good, LegacyMessages::Refused, json!({ "legacy": "accepted" }));
    let invalid = lines("invalid.jsonl");
    for (name, fault) in [
        ("legacy-crypto-unsupported", "other crypto backend"),
        ("legacy-signature-malformed", "signature a number"),
    ] {
        let line = invalid.iter().find(|line| line["fault"] == fault).unwrap();
        let mended = json!({ "frames": encoded(&good) });
        add(name, fault, &framed(line).0, LegacyMessages::Accepted, mended);
    }
}
