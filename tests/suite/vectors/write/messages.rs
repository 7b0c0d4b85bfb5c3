//! Faults of the message itself: each is signed as it stands, by a good certificate, unless the signature is the fault.

use super::Sheet;
use super::world::{
    Fields, Frames, IDENTITY, Service, TOPIC, World, body, envelope, frames, p256, signed, signed_in, with,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use fedmsg::limits::Limits;
use fedmsg::message::Proof;
use fedmsg::pki::key::{KeyKind, PrivateKey};
use serde_json::json;

pub(super) fn write(world: &World, sheet: &mut Sheet) {
    let service = world.service(p256(), IDENTITY);
    frame(&service, sheet);
    topic(&service, sheet);
    json(&service, sheet);
    envelopes(&service, sheet);
    proof_text(&service, sheet);
    proof_fields(world, &service, sheet);
    signature(world, &service, sheet);
}

fn frame(service: &Service, sheet: &mut Sheet) {
    let good = service.frames(envelope(|_| {}));
    let three = [&good[..], &[b"more".to_vec()]].concat();
    sheet.frames("frame-count--three", "a third frame", &three, &good);
    sheet.frames("frame-count--one", "the body without its topic", &good[1..].to_vec(), &good);
    sheet.frames("frame-count--none", "no frame at all", &Vec::new(), &good);
    let length = good[1].len();
    let mended = json!({ "limits": { "body_bytes": length } });
    sheet.put("body-too-large", "one byte over the limit that is stated here", &good, mended, |case| {
        case.limits.insert("body_bytes".to_owned(), length - 1);
    });
}

fn topic(service: &Service, sheet: &mut Sheet) {
    let good = service.frames(envelope(|_| {}));
    let other = "org.example.prod.bodhi.update.delete";
    let both = |topic: &str| frames(topic, &service.frames(with("topic", &format!("\"{topic}\"")))[1]);
    sheet.frames(
        "topic-mismatch",
        "the frame has another topic than the body",
        &frames(other, &good[1]),
        &good,
    );
    for (what, fault, topic) in [
        ("empty-field", "two dots together, in the frame and in the body", "org.example.prod.bodhi..comment"),
        ("no-fields", "an empty topic, in the frame and in the body", ""),
        ("space", "a space, in the frame and in the body", "org.example.prod.bodhi.update comment"),
        ("wildcard", "a pattern, in the frame and in the body", "org.example.prod.bodhi.#"),
        ("final-dot", "a dot at the end, in the frame and in the body", "org.example.prod.bodhi.update."),
        ("not-ascii", "a letter that is not ASCII, in the frame and in the body", "org.example.prod.bodhi.é"),
    ] {
        sheet.frames(&format!("topic-malformed--{what}"), fault, &both(topic), &good);
    }
    let nul = frames(format!("{TOPIC}\0"), &good[1]);
    sheet.frames("topic-malformed--nul", "a NUL after the topic in the frame", &nul, &good);
    let long = |bytes: usize| format!("org.example.prod.bodhi.{}", "x".repeat(bytes - 23));
    let (most, over) = (both(&long(255)), both(&long(256)));
    sheet.frames("topic-too-long", "256 bytes", &over, &most);
    let wide = |fields: usize| format!("org.example.prod.bodhi{}", ".x".repeat(fields - 4));
    sheet.frames("topic-too-many-fields", "17 fields", &both(&wide(17)), &both(&wide(16)));
}

fn json(service: &Service, sheet: &mut Sheet) {
    let mut add = |name: &str, fault: &str, refused: &[u8], mended: &[u8]| {
        sheet.frames(name, fault, &service.frames(refused), &service.frames(mended));
    };
    let good = envelope(|_| {});
    let twice = format!("{},\"v\":2}}", &good[..good.len() - 1]);
    add("json-duplicate-key", "a key twice in the envelope", twice.as_bytes(), good.as_bytes());
    for (code, what, fault, refused, mended) in [
        ("duplicate-key", "in-msg", "a key twice in `msg`", r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
        ("duplicate-key", "escaped", "a key twice, once as an escape", r#"{"a":1,"\u0061":1}"#, r#"{"a":1}"#),
        ("lone-surrogate", "high", "the first half of a pair", r#""\ud83d""#, r#""\ud83d\ude00""#),
        ("lone-surrogate", "low", "the second half of a pair", r#""\ude00""#, r#""\ud83d\ude00""#),
        ("lone-surrogate", "key", "half a pair in a key", r#"{"\ud800":1}"#, r#"{"\ud83d\ude00":1}"#),
        ("number-out-of-range", "exponent", "a number without a finite value", "1e400", "1e+300"),
        ("number-out-of-range", "nan", "NaN, which is no JSON", "NaN", "null"),
        ("number-out-of-range", "infinity", "Infinity, which is no JSON", "-Infinity", "null"),
        ("malformed", "leading-zero", "a number that begins with a zero", "01", "1"),
        ("malformed", "final-comma", "a comma with nothing after it", "[1,]", "[1]"),
        ("malformed", "comment", "a comment", "1/* one */", "1"),
        ("malformed", "control-character", "a raw tab in a string", "\"\t\"", r#""\t""#),
    ] {
        let (refused, mended) = (with("msg", refused), with("msg", mended));
        add(&format!("json-{code}--{what}"), fault, refused.as_bytes(), mended.as_bytes());
    }
    let nested = |levels: usize| with("msg", &format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    add("json-too-deep", "65 levels, the envelope counted", nested(64).as_bytes(), nested(63).as_bytes());
    let digits = |count: usize| with("msg", &"7".repeat(count));
    add("json-number-too-long", "1,025 digits", digits(1025).as_bytes(), digits(1024).as_bytes());
    let bytes = |msg: &[u8]| {
        let text = with("msg", "\"?\"").into_bytes();
        let at = text.iter().position(|b| *b == b'?').unwrap();
        [&text[..at], msg, &text[at + 1..]].concat()
    };
    let e_acute = bytes("é".as_bytes());
    add("json-not-utf8--latin-1", "a letter in another encoding", &bytes(b"\xe9"), &e_acute);
    add("json-not-utf8--overlong", "a slash in two bytes", &bytes(b"\xc0\xaf"), &bytes(b"/"));
    add("json-not-utf8--surrogate", "half a pair in three bytes", &bytes(b"\xed\xa0\xbd"), &e_acute);

    let whole = service.frames(&good);
    let before = |bytes: &[u8]| frames(TOPIC, [bytes, &whole[1]].concat());
    sheet.frames("json-malformed--byte-order-mark", "a byte order mark", &before(b"\xef\xbb\xbf"), &whole);
    sheet.frames("json-malformed--empty-body", "an empty body", &frames(TOPIC, b""), &whole);
    sheet.frames("json-malformed--truncated", "half a body", &frames(TOPIC, &whole[1][..500]), &whole);
    let after = frames(TOPIC, [&whole[1][..], b"{}"].concat());
    sheet.frames("json-malformed--two-values", "a second object after the first", &after, &whole);
    let array = frames(TOPIC, [b"[", &whole[1][..], b"]"].concat());
    sheet.frames("json-malformed--array", "a list of one message", &array, &whole);
}

fn envelopes(service: &Service, sheet: &mut Sheet) {
    let good = service.frames(envelope(|_| {}));
    let fields = ["i", "msg", "msg_id", "seq", "stream", "timestamp", "topic", "username", "v"];
    for name in fields {
        let text = envelope(|fields: &mut Fields| drop(fields.remove(name)));
        let what = format!("envelope-field-missing--{}", name.replace('_', "-"));
        sheet.frames(&what, &format!("no `{name}`"), &service.frames(text), &good);
    }
    for (what, fault, name, value) in [
        ("i-negative", "`i` is below zero", "i", "-1"),
        (
            "msg-id-upper-case",
            "`msg_id` is in upper case",
            "msg_id",
            r#""2026-0F0E0D0C-0B0A-4908-8706-050403020100""#,
        ),
        (
            "msg-id-version-1",
            "`msg_id` is not of version 4",
            "msg_id",
            r#""2026-0f0e0d0c-0b0a-1908-8706-050403020100""#,
        ),
        (
            "msg-id-without-year",
            "`msg_id` has no year",
            "msg_id",
            r#""0f0e0d0c-0b0a-4908-8706-050403020100""#,
        ),
        ("seq-float", "`seq` has a fraction", "seq", "1.0"),
        ("seq-over-64-bits", "`seq` is 2^64", "seq", "18446744073709551616"),
        ("seq-zero", "`seq` is zero: streams begin at 1", "seq", "0"),
        ("stream-short", "`stream` has 31 digits", "stream", r#""0112233445566778899aabbccddeeff""#),
        ("stream-upper-case", "`stream` is in upper case", "stream", r#""00112233445566778899AABBCCDDEEFF""#),
        ("timestamp-fraction", "`timestamp` has a fraction", "timestamp", "1780272000.5"),
        ("timestamp-string", "`timestamp` is a string", "timestamp", r#""1780272000""#),
        ("timestamp-year-10000", "`timestamp` is past the year 9999", "timestamp", "253402300800"),
        ("topic-null", "`topic` is null", "topic", "null"),
        ("username-number", "`username` is a number", "username", "0"),
    ] {
        let refused = service.frames(with(name, value));
        sheet.frames(&format!("envelope-field-invalid--{what}"), fault, &refused, &good);
    }
    for (what, fault, value) in [
        ("3", "`v` is 3", "3"),
        ("string", "`v` is a string", "\"2\""),
        ("float", "`v` is not written as an integer", "2.0"),
    ] {
        let refused = service.frames(with("v", value));
        sheet.frames(&format!("envelope-version-unsupported--{what}"), fault, &refused, &good);
    }
}

/// How the proof stands in the body.
fn proof_text(service: &Service, sheet: &mut Sheet) {
    let text = envelope(|_| {});
    // A proof whose text has unused bits at its end, and both of the letters that are special to base64url.
    let proof = std::iter::repeat_with(|| signed(&*service.key, &[&service.leaf], text.as_bytes()))
        .map(|proof| proof.to_base64().unwrap())
        .find(|proof| proof.len() % 4 != 0 && proof.contains('-') && proof.contains('_'))
        .unwrap();
    let good = frames(TOPIC, body(text.as_bytes(), &proof));
    let mut add = |what: &str, fault: &str, proof: &str| {
        let refused = frames(TOPIC, body(text.as_bytes(), proof));
        sheet.frames(&format!("proof-malformed--{what}"), fault, &refused, &good);
    };
    let binary = URL_SAFE_NO_PAD.decode(&proof).unwrap();
    add("padding", "base64 with its padding", &URL_SAFE.encode(&binary));
    add("standard-alphabet", "base64 with + and /", &STANDARD_NO_PAD.encode(&binary));
    add(
        "newline",
        "base64 with a line break, escaped as JSON has it",
        &format!("{}\\n{}", &proof[..64], &proof[64..]),
    );
    add("space", "base64 with a space", &format!("{} {}", &proof[..64], &proof[64..]));
    add("empty", "an empty text", "");
    let first = proof.as_bytes()[0];
    add("escape", "a letter as an escape", &format!("\\u{first:04x}{}", &proof[1..]));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.iter().position(|b| Some(b) == proof.as_bytes().last()).unwrap();
    let other = char::from(alphabet[last + 1]);
    add(
        "unused-bits",
        "bits set that the last letter does not use",
        &format!("{}{other}", &proof[..proof.len() - 1]),
    );

    let head = &text[..text.len() - 1];
    for (what, fault, tail) in [
        ("space-after", "a space before the last bracket", format!(",\"proof\":\"{proof}\" }}")),
        ("space-before", "a space after the colon", format!(",\"proof\": \"{proof}\"}}")),
        ("line-end", "a line end after the body", format!(",\"proof\":\"{proof}\"}}\n")),
        ("not-a-string", "a number", ",\"proof\":1}".to_owned()),
        ("null", "null", ",\"proof\":null}".to_owned()),
        ("not-last", "a field after the proof", format!(",\"proof\":\"{proof}\",\"z\":1}}")),
    ] {
        let refused = frames(TOPIC, format!("{head}{tail}"));
        sheet.frames(&format!("proof-malformed--{what}"), fault, &refused, &good);
    }
    let first = frames(TOPIC, format!("{{\"proof\":\"{proof}\",{}", &text[1..]));
    sheet.frames("proof-malformed--first", "the proof before all else", &first, &good);
    sheet.frames("proof-missing", "the envelope without a proof", &frames(TOPIC, &text), &good);
    let nested = with("msg", &format!("{{\"proof\":\"{proof}\"}}"));
    sheet.frames("proof-missing--nested", "a proof within `msg`", &frames(TOPIC, nested), &good);
}

/// What the proof says.
fn proof_fields(world: &World, service: &Service, sheet: &mut Sheet) {
    let text = envelope(|_| {}).into_bytes();
    let good = service.frames(&text);
    // Bytes of the binary form, changed.
    let binary = signed(&*service.key, &[&service.leaf], &text).encode().unwrap();
    let tree = 5 + service.leaf.len();
    let of = |bytes: &[u8]| frames(TOPIC, body(&text, &URL_SAFE_NO_PAD.encode(bytes)));
    let changed = |at: usize, to: &[u8]| of(&[&binary[..at], to, &binary[at + to.len()..]].concat());
    sheet.frames("proof-version-unsupported", "version 2", &changed(0, &[2]), &good);
    sheet.frames("proof-algorithm-unknown", "algorithm 9", &changed(1, &[9]), &good);
    sheet.frames("proof-algorithm-unknown--zero", "algorithm 0", &changed(1, &[0]), &good);
    let without = [&binary[..2], &[0], &binary[tree..]].concat();
    sheet.frames("proof-malformed--no-certificate", "no certificate", &of(&without), &good);
    let cut = changed(3, &[0xff, 0xff]);
    sheet.frames("proof-malformed--certificate-cut", "a certificate longer than the proof", &cut, &good);
    sheet.frames("proof-malformed--empty-tree", "a tree of no messages", &changed(tree, &[0; 4]), &good);
    sheet.frames("proof-malformed--no-such-leaf", "leaf 1 of 1", &changed(tree + 4, &[0, 0, 0, 1]), &good);
    sheet.frames("proof-malformed--no-signature", "no signature", &of(&binary[..tree + 9]), &good);
    sheet.frames("proof-malformed--cut", "no audit path", &of(&binary[..tree + 8]), &good);

    let more = |copies: usize| {
        service.frames_with(&text, |proof| {
            proof.certificates.extend(vec![world.issuing.der.clone().into(); copies]);
        })
    };
    sheet.frames("proof-chain-too-long", "five certificates", &more(4), &more(3));
    let length = binary.len();
    let mended = json!({ "limits": { "proof_bytes": length } });
    sheet.put(
        "proof-too-large",
        "one byte over the limit that is stated here",
        &of(&binary),
        mended,
        |case| {
            case.limits.insert("proof_bytes".to_owned(), length - 1);
        },
    );
    let large = service.frames_with(&text, |proof| {
        proof.certificates.push(vec![0x30; Limits::STANDARD.proof_bytes].into());
    });
    sheet.frames("proof-too-large--standard", "a certificate of 16 KiB", &large, &good);

    let proof_of = |proof: &Proof| frames(TOPIC, body(&text, &proof.to_base64().unwrap()));
    let placed = |size, index, path| signed_in(&*service.key, &[&service.leaf], &text, size, index, path);
    let deep = placed(1 << 17, 5, vec![[7; 32]; 17]);
    let mended = json!({ "limits": { "path_hashes": 17 } });
    sheet.put("proof-path-too-long", "leaf 5 of 131,072", &proof_of(&deep), mended, |_| {});
    let batch = placed(5, 1, vec![[7; 32]; 3]);
    let with_path = |path: &[[u8; 32]]| proof_of(&Proof { path: path.to_vec(), ..batch.clone() });
    for (what, fault, path) in [
        ("short", "leaf 1 of 5 with a path of 2", &[[7; 32]; 2][..]),
        ("long", "leaf 1 of 5 with a path of 4", &[[7; 32]; 4]),
        ("none", "leaf 1 of 5 without a path", &[]),
    ] {
        let name = format!("proof-path-mismatch--{what}");
        sheet.frames(&name, fault, &with_path(path), &proof_of(&batch));
    }
    let lone = service.frames_with(&text, |proof| proof.path = vec![[7; 32]]);
    sheet.frames("proof-path-mismatch--single", "a path for a message signed alone", &lone, &good);
}

fn signature(world: &World, service: &Service, sheet: &mut Sheet) {
    let text = envelope(|_| {});
    let good = service.frames(&text);
    let proof = signed(&*service.key, &[&service.leaf], text.as_bytes());
    let proof_text = proof.to_base64().unwrap();
    // Another text under the same proof.
    let mut altered = |what: &str, fault: &str, text: &str| {
        let refused = frames(TOPIC, body(text.as_bytes(), &proof_text));
        sheet.frames(&format!("signature-invalid--{what}"), fault, &refused, &good);
    };
    altered("msg", "another `msg` than was signed", &with("msg", r#"{"karma":-1,"text":"caf\u00e9"}"#));
    altered("msg-id", "another `msg_id`", &with("msg_id", r#""2027-0f0e0d0c-0b0a-4908-8706-050403020100""#));
    altered("seq", "another `seq`", &with("seq", "2"));
    altered("timestamp", "a later `timestamp`", &with("timestamp", "1780272001"));
    altered("username", "another `username`", &with("username", "\"eve\""));
    altered("white-space", "a space that was not signed", &text.replacen(':', ": ", 1));
    altered("escape", "the same text, escaped in another way", &text.replace("\\u00e9", "\\u00E9"));
    altered("field-added", "a field that was not signed", &envelope(|f| drop(f.insert("z", "1".to_owned()))));
    let more = envelope(|fields| drop(fields.insert("z", "1".to_owned())));
    let mended = service.frames(&more);
    let stripped =
        [mended[1].clone()].map(|body| String::from_utf8(body).unwrap().replacen(",\"z\":1", "", 1));
    sheet.frames(
        "signature-invalid--field-removed",
        "without a field that was signed",
        &frames(TOPIC, &stripped[0]),
        &mended,
    );
    let other = "org.example.prod.bodhi.update.delete";
    let retopiced = body(with("topic", &format!("\"{other}\"")).as_bytes(), &proof_text);
    sheet.frames(
        "signature-invalid--topic",
        "another topic, in both frames",
        &frames(other, retopiced),
        &good,
    );

    let with_proof = |change: &dyn Fn(&mut Proof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        frames(TOPIC, body(text.as_bytes(), &proof.to_base64().unwrap()))
    };
    let mut add = |what: &str, fault: &str, refused: &Frames| {
        sheet.frames(&format!("signature-invalid--{what}"), fault, refused, &good);
    };
    let flipped = with_proof(&|proof| {
        let mut bytes = proof.signature.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        proof.signature = bytes.into();
    });
    add("bit", "one bit of the signature", &flipped);
    let longer = with_proof(&|proof| proof.signature = [&proof.signature[..], &[0]].concat().into());
    add("byte-after", "a byte after the signature", &longer);
    let bare = service.key.sign(text.as_bytes()).unwrap();
    add(
        "bare",
        "a signature over the text, not over the statement",
        &with_proof(&|p| p.signature = bare.clone().into()),
    );
    let impostor = signed(&p256(), &[&service.leaf], text.as_bytes()).signature;
    add("another-key", "another key's signature", &with_proof(&|p| p.signature = impostor.clone()));
    // The statement names the certificate: a second one for the same key does not do.
    let second = world.leaf(&world.issuing, &*service.key, |_| {});
    add(
        "certificate",
        "another certificate for the same key",
        &with_proof(&|p| p.certificates = vec![second.clone().into()]),
    );

    batches(service, sheet);
    algorithms(world, sheet);
}

/// Proofs of one message, used for another of the same batch.
fn batches(service: &Service, sheet: &mut Sheet) {
    let texts: Vec<String> = (1..=5).map(|seq| with("seq", &seq.to_string())).collect();
    let leaves: Vec<[u8; 32]> =
        texts.iter().map(|text| fedmsg::merkle::leaf_hash(&[text.as_bytes()])).collect();
    let proof = |n: usize| {
        let (index, path) = (u32::try_from(n).unwrap(), fedmsg::merkle::audit_path(n, &leaves));
        signed_in(&*service.key, &[&service.leaf], texts[n].as_bytes(), 5, index, path)
    };
    let of = |n: usize, proof: &Proof| frames(TOPIC, body(texts[n].as_bytes(), &proof.to_base64().unwrap()));
    let good = of(2, &proof(2));
    let mut add = |what: &str, fault: &str, proof: Proof| {
        sheet.frames(&format!("signature-invalid--{what}"), fault, &of(2, &proof), &good);
    };
    add("another-leaf", "the proof of another message of the batch", proof(1));
    add("leaf-index", "the right path at another place", Proof { leaf_index: 3, ..proof(2) });
    add("tree-size", "a tree of 6, with the same path", Proof { tree_size: 6, ..proof(2) });
    let mut swapped = proof(2);
    swapped.path.swap(0, 1);
    add("path-order", "the path with two hashes in each other's place", swapped);
    let mut bit = proof(2);
    bit.path[2][31] ^= 0x80;
    add("path-bit", "one bit of the path", bit);
    add(
        "alone",
        "out of its batch, without its path",
        Proof { tree_size: 1, leaf_index: 0, path: vec![], ..proof(2) },
    );
}

/// Keys and algorithms that do not belong together.
fn algorithms(world: &World, sheet: &mut Sheet) {
    let text = envelope(|_| {}).into_bytes();
    let rsa =
        super::world::openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
    let rsa = world.service(PrivateKey::from_pem(&rsa).unwrap(), IDENTITY);
    let ed25519 = world.service(PrivateKey::generate(KeyKind::Ed25519).unwrap(), IDENTITY);
    let p256 = world.service(p256(), IDENTITY);
    let claimed = |service: &Service, id: u8| service.frames_with(&text, |proof| proof.algorithm = id);
    for (what, fault, service, id, right) in [
        ("p256-as-ed25519", "a P-256 key, and algorithm 2", &p256, 2, 1),
        ("ed25519-as-p256", "an Ed25519 key, and algorithm 1", &ed25519, 1, 2),
        ("rsa-as-p256", "an RSA key, and algorithm 1", &rsa, 1, 3),
        ("p256-as-rsa", "a P-256 key, and algorithm 3", &p256, 3, 1),
    ] {
        let name = format!("signature-algorithm-mismatch--{what}");
        sheet.frames(&name, fault, &claimed(service, id), &claimed(service, right));
    }
    let fault = "an RSA signature of one kind, and the number of the other";
    sheet.frames("signature-invalid--pkcs1-as-pss", fault, &claimed(&rsa, 4), &claimed(&rsa, 3));
}
