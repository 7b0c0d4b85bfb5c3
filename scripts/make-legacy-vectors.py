#!/usr/bin/env python3
"""Makes the vectors of legacy messages: Python fedmsg signs them, under an authority made by OpenSSL, and judges them.

    make-legacy-vectors.py --into DIRECTORY     makes a set; the keys are thrown away
    make-legacy-vectors.py --check DIRECTORY    has Python fedmsg judge a set again

In the directory:
    ca.crt, crl.pem    the root, and its list (version 1)
    valid.jsonl        {"signer", "wire", "canonical"}: bodies that fedmsg accepts, and the bytes that were signed
    invalid.jsonl      {"fault", "wire"}: bodies that it refuses, each with its one fault
    stricter.jsonl     {"why", "wire"}: bodies that it accepts and that we refuse, on purpose
    canonical.jsonl    {"text", "canonical"}: JSON and its canonical form

Run it with the Python of `scripts/peers`. The set in tests/vectors/legacy is committed: make it anew only to add to it.
"""

import argparse
import base64
import copy
import json
import logging
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "peers"))

import fedmsg.crypto
import fedmsg.encoding
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from legacy_ca import LegacyCA

# Within the life of every certificate and of the list, so that "as of the message's time" is a fair question.
TIMESTAMP = 1718000000

SHELL = "shell-app01.example.org"
BODHI = "bodhi-app01.example.org"
WIKI = "wiki-web01.stg.example.org"
KOJI = "koji-hub01.example.org"
REVOKED = "fas-fas01.example.org"
EXPIRED = "pkgdb-db01.example.org"

# What is signed: the signer, the topic, the msg.
DRAFTS = [
    (SHELL, "prod.shell.log", {"log": "Hello world"}),
    (BODHI, "prod.bodhi.update.comment", {"comment": {"karma": -1, "text": "Breaks login.\nAlways."}, "user": "ada"}),
    (WIKI, "stg.wiki.article.edit", {"title": "Größe → 大きさ 😀", "minor": False, "summary": None}),
    (KOJI, "prod.buildsys.build.state.change", {"old": 0, "new": 1, "name": "kernel", "epoch": None}),
    (SHELL, "prod.shell.number", {"n": [0, -0.0, 0.0, 1.0, 0.1, 1e16, 1e15, 1e-5, 0.0001, 1.5e300, 5e-324, -2.5]}),
    (KOJI, "prod.buildsys.integer", {"n": [2**53 + 1, -(2**63), 2**64, 10**40, -(10**25)]}),
    (BODHI, "prod.bodhi.string", {"s": "\"\\/\b\f\n\r\t\u0000\u001f\u007f\u0080\u2028\u2029\ufeff\uffff\U0010ffff"}),
    (WIKI, "stg.wiki.order", {"é": 1, "z": 2, "😀": 3, "\uffff": 4, "A": 5, "a": 6, "": 7, "aa": 8, "\u0000": 9}),
    (SHELL, "prod.shell.empty", {"list": [], "object": {}, "string": "", "nested": [[], {}, [[]], [{}]]}),
    (KOJI, "prod.buildsys.nesting", {"deep": None}),
    (BODHI, "prod.bodhi.long", {"text": "lorem ipsum " * 400}),
    (WIKI, "stg.wiki.top-level.list", [1, "two", [3.0], {"four": 4}]),
    (SHELL, "prod.shell.top-level.string", "only a string"),
    (KOJI, "prod.buildsys.escape", {"html": "<a href='x'>&amp;</a>", "path": "C:\\new\\table", "slash": "a/b"}),
    (BODHI, "prod.bodhi.names", {"signature": "inner", "certificate": "inner", "crypto": ["inner"], "proof": ""}),
    (SHELL, "prod.shell.mixed", [True, False, None, 0, "", [], {}, 1e2, 100, 1E-7]),
]

CANONICAL = [
    '{"b":1,"a":{"d":[],"c":{}}}',
    ' [ 1 , 2 ,\t3 ]\r\n',
    '[0.10,1.0,1.50,10.0,100.0e-2,1e0]',
    '[1e15,1e16,1e17,123456789012345678.0,9007199254740993.0]',
    '[0.001,0.0001,0.00001,0.00012345,1.0e-10]',
    '[-0,-0.0,0e5,0.0e-5,-1E+2]',
    '[12345678901234567890123456789012345678901234567890,-18446744073709551616]',
    '[1.7976931348623157e308,2.2250738585072014e-308,5e-324,4.9406564584124654e-324,0.1,0.30000000000000004]',
    '[5e-1,2.675,1.005,8.41,6.02214076e23,299792458.0]',
    '"\\u0041\\/\\u00e9\\uD83D\\uDE00\\b\\f\\n\\r\\t\\u000b\\u001F"',
    '"\u007f\u0080\u00ff\u2028\ufffd\U0001f600"',
    '{"\u00e9":1,"e":2,"\U0001f600":3,"\uffee":4,"E":5,"":6}',
    '{"a.b":1,"a-b":2,"a":3,"aa":4,"B":5,"10":6,"9":7}',
    'true',
    'null',
    '""',
]


def envelope(number, topic, msg):
    return {
        "topic": "org.example." + topic,
        "msg": msg,
        "timestamp": TIMESTAMP + number,
        "msg_id": f"2024-{number:08x}-0000-4000-8000-{number:012x}",
        "i": number,
        "username": "apache",
    }


def make(into):
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        ca = LegacyCA(pathlib.Path(scratch) / "ca")
        ca.issue(SHELL)
        ca.issue(BODHI, bits=2048, digest="sha256")
        ca.issue(WIKI, digest="sha256")
        ca.issue(KOJI, bits=2048)
        ca.issue(REVOKED)
        ca.issue(EXPIRED, end="20210101000000Z")
        ca.revoke(REVOKED)
        ca.write_crl()
        impostor = LegacyCA(pathlib.Path(scratch) / "impostor")
        impostor.issue(SHELL)
        for name in ("ca.crt", "crl.pem"):
            (into / name).write_text((ca.dir / name).read_text())
        valid, signed = make_valid(ca)
        write(into / "valid.jsonl", valid)
        write(into / "invalid.jsonl", make_invalid(ca, impostor, signed))
        write(into / "stricter.jsonl", make_stricter(ca, signed))
        write(into / "canonical.jsonl", ({"text": t, "canonical": encode(json.loads(t))} for t in CANONICAL))


def make_valid(ca):
    lines, signed = [], []
    for number, (signer, topic, msg) in enumerate(DRAFTS, start=1):
        if topic.endswith("nesting"):
            for _ in range(28):
                msg = {"deep": [msg]}
        message = sign(ca, signer, envelope(number, topic, msg))
        signed.append(message)
        # fedmsg signs the decoded message again encoded, so that white space, order and escapes are free: every second
        # body is written in another way than fedmsg would.
        wire = encode(message)
        if number % 4 == 0:
            wire = json.dumps(message, indent=2)
        elif number % 2 == 0:
            wire = json.dumps(dict(reversed(message.items())), ensure_ascii=False)
        lines.append({"signer": signer, "wire": wire, "canonical": canonical(message)})
    # The line breaks within the base64 are free as well.
    message = copy.deepcopy(signed[0])
    message["signature"] = message["signature"].replace("\n", "")
    message["certificate"] = message["certificate"].replace("\n", "")
    lines.append({"signer": SHELL, "wire": encode(message), "canonical": canonical(message)})
    # Whatever else was there when it was signed is signed.
    message = sign(ca, BODHI, {**envelope(90, "prod.bodhi.header", {}), "headers": {"x": [1]}, "source": "ünïcode"})
    lines.append({"signer": BODHI, "wire": encode(message), "canonical": canonical(message)})
    return lines, signed


def make_invalid(ca, impostor, signed):
    hello, comment = signed[0], signed[1]

    def with_(original, **fields):
        return {**copy.deepcopy(original), **fields}

    def without(original, field):
        return {k: v for k, v in original.items() if k != field}

    def signed_over(text, digest=None):
        """A signature by the right key, of other bytes or with another digest."""
        key = serialization.load_pem_private_key((ca.dir / f"{SHELL}.key").read_bytes(), password=None)
        return base64.encodebytes(key.sign(text.encode(), padding.PKCS1v15(), digest or hashes.SHA1())).decode()

    flipped = bytearray(base64.b64decode(hello["signature"]))
    flipped[17] ^= 0x20
    plain = {**envelope(1, "prod.shell.log", {"log": "Hello world"}), "crypto": "x509"}
    faults = [
        ("altered topic", with_(hello, topic="org.example.prod.shell.logs")),
        ("altered msg", with_(hello, msg={"log": "Hello World"})),
        ("altered number's type", with_(comment, msg={**comment["msg"], "comment": {
            **comment["msg"]["comment"], "karma": -1.0}})),
        ("altered timestamp", with_(hello, timestamp=hello["timestamp"] + 1)),
        ("altered msg_id", with_(hello, msg_id="2024-ffffffff-0000-4000-8000-000000000001")),
        ("altered i", with_(hello, i=2)),
        ("altered username", with_(hello, username="root")),
        ("missing topic", without(hello, "topic")),
        ("missing msg", without(hello, "msg")),
        ("missing signature", without(hello, "signature")),
        ("missing certificate", without(hello, "certificate")),
        ("field added after signing", with_(hello, seq_id=7)),
        ("field removed after signing", without(hello, "username")),
        ("signature bit flipped", with_(hello, signature=base64.encodebytes(bytes(flipped)).decode())),
        ("signature cut short", with_(hello, signature=base64.encodebytes(bytes(flipped[:64])).decode())),
        ("signature empty", with_(hello, signature="")),
        ("signature a number", with_(hello, signature=42)),
        ("signature without padding", with_(hello, signature=hello["signature"].replace("=", ""))),
        ("signature with SHA-256", with_(hello, signature=signed_over(encode(plain), hashes.SHA256()))),
        ("signature of unsorted keys", with_(hello, signature=signed_over(
            json.dumps(dict(reversed(plain.items())), separators=(",", ":"))))),
        ("signature of text with spaces", with_(hello, signature=signed_over(json.dumps(plain, sort_keys=True)))),
        ("certificate of another signer", with_(hello, certificate=comment["certificate"])),
        ("certificate is junk", with_(hello, certificate=base64.encodebytes(b"no certificate at all\n").decode())),
        ("certificate without its last line", with_(hello, certificate=base64.encodebytes(
            base64.b64decode(hello["certificate"])[:-30]).decode())),
        ("other crypto backend", with_(hello, crypto="gpg")),
        ("unknown crypto backend", with_(hello, crypto="x510")),
        ("revoked signer", sign(ca, REVOKED, envelope(50, "prod.fas.user.create", {"user": "ada"}))),
        ("expired signer", sign(ca, EXPIRED, envelope(51, "prod.pkgdb.owner.update", {"package": "vim"}))),
        ("signer of another authority", sign(impostor, SHELL, envelope(52, "prod.shell.log", {"log": "hello"}))),
    ]
    lines = [{"fault": fault, "wire": encode(message)} for fault, message in faults]
    lines.append({"fault": "body cut short", "wire": encode(hello)[:-20]})
    lines.append({"fault": "body a list", "wire": encode([hello])})
    return lines


def make_stricter(ca, signed):
    wire = encode(signed[0])
    topic = '"topic":"org.example.prod.shell.log"'
    cases = [
        ("a key twice in the envelope", wire.replace(topic, '"topic":"org.example.prod.shell.other",' + topic)),
        ("a key twice in msg", wire.replace('{"log":', '{"log":"Goodbye","log":')),
    ]
    for _, body in cases:
        assert body != wire
    for number, (why, msg) in enumerate((("NaN", {"n": float("nan")}), ("a lone surrogate", {"s": "\ud800"})), start=60):
        cases.append((why, encode(sign(ca, SHELL, envelope(number, "prod.shell.log", msg)))))
    return [{"why": why, "wire": body} for why, body in cases]


def sign(ca, signer, message):
    return fedmsg.crypto.sign(message, ssldir=str(ca.dir), certname=signer, crypto_backend="x509")


def encode(value):
    return fedmsg.encoding.dumps(value)


def canonical(message):
    return encode(fedmsg.crypto.strip_credentials(message))


def accepts(directory, wire):
    """Python fedmsg's verdict. What it raises on is refused as well: it gives no message to anybody."""
    try:
        message = fedmsg.encoding.loads(wire)
        return fedmsg.crypto.validate(
            message, ssldir=str(directory), ca_cert_location=str(directory / "ca.crt"),
            crl_location=str(directory / "crl.pem"), crypto_backend="x509", crypto_validate_backends=["x509"],
            routing_policy={}, routing_nitpicky=False)
    except Exception:  # It has no error of its own for a malformed message.
        return False


def check(directory):
    expected = {"valid": (True, "signer"), "invalid": (False, "fault"), "stricter": (True, "why")}
    for name, (verdict, label) in expected.items():
        lines = read(directory / f"{name}.jsonl")
        for line in lines:
            if accepts(directory, line["wire"]) != verdict:
                sys.exit(f"{directory}/{name}.jsonl: Python fedmsg disagrees about {line[label]}: {line['wire'][-400:]}")
        print(f"{directory}/{name}.jsonl: {len(lines)} lines, {'accepted' if verdict else 'refused'} by fedmsg")
    for line in read(directory / "valid.jsonl"):
        if canonical(json.loads(line["wire"])) != line["canonical"]:
            sys.exit(f"{directory}/valid.jsonl: another canonical form: {line['canonical']}")
    for line in read(directory / "canonical.jsonl"):
        if encode(json.loads(line["text"])) != line["canonical"]:
            sys.exit(f"{directory}/canonical.jsonl: another canonical form: {line['text']}")


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path, lines):
    with open(path, "w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line) + "\n")


def main():
    logging.disable(logging.CRITICAL)
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = arguments.add_mutually_exclusive_group(required=True)
    what.add_argument("--into", type=pathlib.Path)
    what.add_argument("--check", type=pathlib.Path)
    given = arguments.parse_args()
    if given.into:
        make(given.into)
    check(given.into or given.check)


if __name__ == "__main__":
    main()
