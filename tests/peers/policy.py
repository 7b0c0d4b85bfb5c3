"""A second implementation of what docs/policy.md says of signatures, written from it: judges tests/vectors/policy.

    policy.py tests/vectors/policy/signatures.json

Prints one JSON object that counts what was checked; exits 1 and says what differs on stderr if anything does.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import re
import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

CONFIG_SIGNING = "1.3.6.1.5.5.7.3.41"
MALFORMED = "policy-signature-malformed"
TOO_LARGE = "policy-signature-too-large"


class Refused(Exception):
    """The signature is refused; the argument is the code."""


def require(condition, code):
    if not condition:
        raise Refused(code)


def seconds(text):
    require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text, re.ASCII), MALFORMED)
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused(MALFORMED)


def utc(naive):
    return naive.replace(tzinfo=datetime.timezone.utc)


def number(text, most):
    require(re.fullmatch(r"0|[1-9][0-9]*", text) and int(text) <= most, MALFORMED)
    return int(text)


def digest(text):
    require(re.fullmatch(r"[0-9a-f]{64}", text), MALFORMED)
    return bytes.fromhex(text)


def decoded(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(MALFORMED)
    require(data and base64.b64encode(data).decode() == text, MALFORMED)
    return data


def parse(data):
    require(len(data) <= 64 * 1024, TOO_LARGE)
    require(data.isascii() and data.endswith(b"\n"), MALFORMED)
    lines = data.decode("ascii")[:-1].split("\n")
    version = re.fullmatch(r"fedmsg policy signature v([0-9]+)", lines[0])
    require(version, MALFORMED)
    require(version[1] == "1", "policy-signature-version")
    at = 1

    def is_at(key):
        return at < len(lines) and lines[at].startswith(key + " ")

    def value(key):
        nonlocal at
        require(is_at(key), MALFORMED)
        at += 1
        return lines[at - 1][len(key) + 1 :]

    found = {"serial": number(value("serial"), 2**64 - 1)}
    found["from"], found["until"] = seconds(value("from")), seconds(value("until"))
    require(found["from"] < found["until"], MALFORMED)
    found["files"] = []
    while is_at("file-sha256"):
        require(len(found["files"]) < 64, TOO_LARGE)
        found["files"].append(digest(value("file-sha256")))
    require(found["files"] and found["files"] == sorted(found["files"]), MALFORMED)
    found["leaf"] = digest(value("certificate-sha256"))
    found["algorithm"] = number(value("algorithm"), 255)
    require(at < len(lines) and lines[at] == "", MALFORMED)
    at += 1
    found["certificates"] = []
    while is_at("certificate"):
        require(len(found["certificates"]) < 4, TOO_LARGE)
        found["certificates"].append(decoded(value("certificate")))
    require(found["certificates"], MALFORMED)
    found["signature"] = decoded(value("signature"))
    require(at == len(lines), MALFORMED)
    found["signed"] = data[: data.index(b"\n\n") + 1]
    return found


def verify(key, algorithm, signature, data):
    kinds = {1: ec.EllipticCurvePublicKey, 2: ed25519.Ed25519PublicKey, 3: rsa.RSAPublicKey, 4: rsa.RSAPublicKey}
    require(algorithm in kinds, "policy-signature-algorithm")
    require(isinstance(key, kinds[algorithm]), "signature-algorithm-mismatch")
    arguments = {
        1: lambda: (ec.ECDSA(hashes.SHA256()),),
        2: lambda: (),
        3: lambda: (padding.PKCS1v15(), hashes.SHA256()),
        4: lambda: (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    }[algorithm]()
    try:
        key.verify(signature, data, *arguments)
    except InvalidSignature:
        raise Refused("signature-invalid")


def chain(vectors, leaf, at):
    """A path of the length that the vectors have: leaf, issuing authority, root."""
    issuing = x509.load_pem_x509_certificate(vectors["intermediates"].encode())
    root = x509.load_pem_x509_certificate(vectors["anchors"].encode())
    try:
        usages = leaf.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
    except x509.ExtensionNotFound:
        usages = []
    require(CONFIG_SIGNING in [usage.dotted_string for usage in usages], "certificate-purpose")
    lists = [x509.load_pem_x509_crl(pem.encode()) for pem in vectors["crls"]]
    for subject, issuer in [(leaf, issuing), (issuing, root)]:
        try:
            subject.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            raise Refused("certificate-unknown-issuer")
        require(utc(subject.not_valid_before) <= at <= utc(subject.not_valid_after), "certificate-expired")
        own = [crl for crl in lists if crl.is_signature_valid(issuer.public_key())]
        require(own, "crl-missing")
        revoked = own[0].get_revoked_certificate_by_serial_number(subject.serial_number)
        require(revoked is None, "certificate-revoked")


def identity(leaf):
    names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri


def names(pattern, signer):
    pattern, signer = pattern.split("/"), signer.split("/")
    return len(pattern) == len(signer) and all(p in ("*", s) for p, s in zip(pattern, signer))


def judge(vectors, case):
    found = parse(case["signature"].encode())
    at = seconds(case["at"])
    files = [file.encode() for file in case["files"]]
    digests = sorted(hashlib.sha256(file).digest() for file in files)
    require(digests == found["files"], "policy-signature-files")
    require(at >= found["from"], "policy-signature-not-yet-valid")
    require(at < found["until"], "policy-signature-expired")
    require(hashlib.sha256(found["certificates"][0]).digest() == found["leaf"], "policy-signature-certificate")
    leaf = x509.load_der_x509_certificate(found["certificates"][0])
    require(leaf.public_bytes(Encoding.DER) == found["certificates"][0], "certificate-malformed")
    chain(vectors, leaf, at)
    verify(leaf.public_key(), found["algorithm"], found["signature"], found["signed"])
    signer = identity(leaf)
    require(any(names(pattern, signer) for pattern in case["signers"]), "policy-signature-signer")
    require(found["until"] <= utc(leaf.not_valid_after), "policy-signature-outlives-certificate")
    serial = max(int(re.search(rb"^serial = ([0-9]+)$", file, re.MULTILINE)[1]) for file in files)
    require(serial == found["serial"], "policy-signature-serial")


def main(path):
    vectors = json.loads(pathlib.Path(path).read_text("utf-8"))
    wrong = 0
    for name, case in vectors["cases"].items():
        try:
            judge(vectors, case)
            found = "ok"
        except Refused as refused:
            found = str(refused)
        if found != case["expect"]:
            print(f"{name}: expected {case['expect']}, found {found}", file=sys.stderr)
            wrong += 1
    print(json.dumps({"checked": len(vectors["cases"]), "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
