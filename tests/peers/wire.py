"""A second implementation of docs/wire-format.md, written from it: judges every vector of tests/vectors.

    wire.py tests/vectors

Prints one JSON object that counts what was checked; exits 1 and says what differs on stderr if anything does. Of the
vectors of `refused` it judges those that the document describes: not the routing policy, whose place is docs/policy.md,
nor legacy messages, for which Python fedmsg itself is the other implementation.
"""

import base64
import datetime
import hashlib
import json
import math
import pathlib
import re
import sys
import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

# Some vectors are meant to have what it warns of.
warnings.simplefilter("ignore", CryptographyDeprecationWarning)

LIMITS = {"body_bytes": 1024 * 1024, "proof_bytes": 16 * 1024, "path_hashes": 16}
DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
ANY_PURPOSE = "2.5.29.37.0"


class Refused(Exception):
    """The message is refused; the argument is the code."""


def require(condition, code):
    if not condition:
        raise Refused(code)


# Section 2: topics.


def topic(data):
    require(len(data) <= 255, "topic-too-long")
    require(re.fullmatch(rb"[A-Za-z0-9_+~:@-]+(\.[A-Za-z0-9_+~:@-]+)*", data), "topic-malformed")
    require(data.count(b".") < 16, "topic-too-many-fields")
    return data.decode("ascii")


# Section 4: JSON.


def strict_json(data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("json-not-utf8") from None

    def members(pairs):
        value = dict(pairs)
        require(len(value) == len(pairs), "json-duplicate-key")
        return value

    def number(kind):
        def read(digits):
            require(len(digits) <= 1024, "json-number-too-long")
            value = kind(digits)
            require(kind is int or math.isfinite(value), "json-number-out-of-range")
            return value

        return read

    def constant(_):
        raise Refused("json-number-out-of-range")

    try:
        value = json.loads(
            text,
            object_pairs_hook=members,
            parse_int=number(int),
            parse_float=number(float),
            parse_constant=constant,
        )
    except ValueError:
        raise Refused("json-malformed") from None
    except RecursionError:
        raise Refused("json-too-deep") from None
    walk(value, 0)
    return text, value


def walk(value, depth):
    if isinstance(value, str):
        require(not re.search("[\ud800-\udfff]", value), "json-lone-surrogate")
    elif isinstance(value, (dict, list)):
        require(depth < 64, "json-too-deep")
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            walk(part, depth + 1)


# Section 3: the envelope.


def integer(value, least, end=2**64):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < end


def envelope(body):
    require("v" in body, "envelope-field-missing")
    require(body["v"] == 2 and isinstance(body["v"], int), "envelope-version-unsupported")
    text = lambda pattern: lambda value: isinstance(value, str) and re.fullmatch(pattern, value)
    uuid = r"[0-9]{4}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    forms = {
        "i": lambda value: integer(value, 0),
        "msg": lambda value: True,
        "msg_id": text(uuid),
        "seq": lambda value: integer(value, 1),
        "stream": text("[0-9a-f]{32}"),
        "timestamp": lambda value: integer(value, -62167219200, 253402300800),
        "topic": lambda value: isinstance(value, str),
        "username": lambda value: isinstance(value, str),
    }
    for name, good in forms.items():
        require(name in body, "envelope-field-missing")
        require(good(body[name]), "envelope-field-invalid")
    topic(body["topic"].encode("utf-8", "surrogatepass"))


# Sections 5 and 6: the body and the proof.


def split_body(text, body):
    require("proof" in body, "proof-missing")
    proof = body["proof"]
    require(isinstance(proof, str), "proof-malformed")
    tail = ',"proof":"' + proof + '"}'
    require(text.endswith(tail), "proof-malformed")
    return (text[: -len(tail)] + "}").encode("utf-8"), proof


def unbase64(text):
    require(re.fullmatch("[A-Za-z0-9_-]*", text), "proof-malformed")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("proof-malformed") from None
    again = base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
    require(again == text, "proof-malformed")
    return data


class Proof:
    def __init__(self, data, limits):
        require(len(data) <= limits["proof_bytes"], "proof-too-large")
        self.rest = data
        require(self.take(1) == b"\1", "proof-version-unsupported")
        self.algorithm = self.number(1)
        count = self.number(1)
        require(count <= 4, "proof-chain-too-long")
        require(count >= 1, "proof-malformed")
        self.certificates = [self.take(self.number(2)) for _ in range(count)]
        self.tree_size = self.number(4)
        self.leaf_index = self.number(4)
        require(self.leaf_index < self.tree_size, "proof-malformed")
        count = self.number(1)
        require(count <= limits["path_hashes"], "proof-path-too-long")
        require(count == path_length(self.leaf_index, self.tree_size), "proof-path-mismatch")
        self.path = [self.take(32) for _ in range(count)]
        self.signature = self.rest
        require(self.signature, "proof-malformed")

    def take(self, count):
        require(len(self.rest) >= count, "proof-malformed")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, count):
        return int.from_bytes(self.take(count), "big")


def path_length(index, size):
    """As RFC 6962, section 2.1.1, makes the path: by splitting the tree."""
    length = 0
    while size > 1:
        left = 1 << (size - 1).bit_length() - 1
        index, size = (index, left) if index < left else (index - left, size - left)
        length += 1
    return length


# Section 7: the signature.


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root_of(leaf, index, size, path):
    """RFC 6962, section 2.1.1, read backwards: the path's last hash is the other half of the whole tree."""
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1
    if index < left:
        return sha256(b"\1", root_of(leaf, index, left, path[:-1]), path[-1])
    return sha256(b"\1", path[-1], root_of(leaf, index - left, size - left, path[:-1]))


def statement(certificate_sha256, size, root):
    return b"fedmsg v2 batch\0" + certificate_sha256 + size.to_bytes(8, "big") + root


def check_signature(key, algorithm, signature, signed):
    kinds = {1: ec.EllipticCurvePublicKey, 2: ed25519.Ed25519PublicKey, 3: rsa.RSAPublicKey, 4: rsa.RSAPublicKey}
    require(isinstance(key, kinds[algorithm]), "signature-algorithm-mismatch")
    try:
        if algorithm == 1:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        elif algorithm == 2:
            key.verify(signature, signed)
        elif algorithm == 3:
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    except InvalidSignature:
        raise Refused("signature-invalid") from None


# Section 8: the certificate.


class Certificate:
    KNOWN = {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }

    def __init__(self, der):
        try:
            self.x509 = x509.load_der_x509_certificate(der)
            self.version = self.x509.version
            extensions = list(self.x509.extensions)
            self.serial = self.x509.serial_number
        except (ValueError, x509.DuplicateExtension, x509.InvalidVersion):
            raise Refused("certificate-malformed") from None
        require(self.version == x509.Version.v3, "certificate-malformed")
        require(0 < self.serial < 1 << 159, "certificate-serial")
        self.sha256 = sha256(der)
        self.extensions = {extension.oid: extension.value for extension in extensions}
        self.unknown_critical = any(e.critical and e.oid not in self.KNOWN for e in extensions)
        self.not_before, self.not_after = self.x509.not_valid_before, self.x509.not_valid_after

    def __eq__(self, other):
        return self.x509 == other.x509

    def may(self, use):
        usage = self.extensions.get(ExtensionOID.KEY_USAGE)
        return usage is not None and getattr(usage, use)

    def is_authority(self):
        constraints = self.extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
        return constraints is not None and constraints.ca

    def path_length(self):
        return self.extensions[ExtensionOID.BASIC_CONSTRAINTS].path_length

    def purposes(self):
        purposes = self.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
        return None if purposes is None else [oid.dotted_string for oid in purposes]

    def key(self):
        try:
            key = self.x509.public_key()
        except ValueError:
            raise Refused("certificate-algorithm") from None
        good = (
            isinstance(key, ed25519.Ed25519PublicKey)
            or isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
            or isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 8192
        )
        require(good, "certificate-algorithm")
        return key

    def identity(self):
        names = self.extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, [])
        uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
        require(uris, "identity-missing")
        require(len(uris) == 1, "identity-ambiguous")
        return identity(uris[0])


def identity(uri):
    part = r"[a-z0-9_-]([a-z0-9_.-]*[a-z0-9_-])?"
    require(len(uri) <= 2048 and re.fullmatch(f"spiffe://{part}/{part}/{part}/{part}", uri), "identity-malformed")
    return uri


class Trust:
    def __init__(self, directory, names):
        self.anchors = [self.certificate(directory / name) for name in names["anchors"]]
        self.intermediates = [self.certificate(directory / name) for name in names["intermediates"]]
        self.lists = [self.list(directory / name) for name in names["crls"]]

    @staticmethod
    def certificate(path):
        return Certificate(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))

    @staticmethod
    def list(path):
        found = x509.load_pem_x509_crl(path.read_bytes())
        known = {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER}
        require(all(e.oid in known for e in found.extensions), "crl-malformed")
        require(found.next_update is not None, "crl-malformed")
        return found

    def validate(self, chain, at):
        """The leaf's identity and key."""
        leaf, sent = Certificate(chain[0]), [Certificate(der) for der in chain[1:]]
        require(not leaf.is_authority(), "certificate-is-authority")
        require(not leaf.unknown_critical, "certificate-critical-extension")
        require(at >= leaf.not_before, "certificate-not-yet-valid")
        require(at <= leaf.not_after, "certificate-expired")
        require(leaf.may("digital_signature"), "certificate-key-usage")
        require(DOCUMENT_SIGNING in (leaf.purposes() or []), "certificate-purpose")
        key = leaf.key()
        self.climb([leaf], sent + self.intermediates, at)
        return leaf, leaf.identity(), key

    def climb(self, path, pool, at):
        """Finds an issuer for the last of `path`, and so on up to an anchor."""
        require(len(path) <= 4, "certificate-constraint")
        subject, first = path[-1], None
        for issuer in self.anchors + pool:
            if issuer.x509.subject != subject.x509.issuer or issuer in path:
                continue
            try:
                check_issuer(issuer, subject, len(path) - 1, issuer in self.anchors, at)
                if issuer not in self.anchors:
                    return self.climb([*path, issuer], pool, at)
                return self.check_lists([*path, issuer], at)
            except Refused as refused:
                first = first or refused
        raise first or Refused("certificate-unknown-issuer")

    def check_lists(self, path, at):
        for place, (subject, issuer) in enumerate(zip(path, path[1:])):
            lists = [found for found in self.lists if found.issuer == issuer.x509.subject]
            require(lists, "crl-missing")
            number = lambda found: found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            newest = max(lists, key=number)
            require(at >= newest.last_update, "crl-not-yet-valid")
            require(at < newest.next_update, "crl-stale")
            require(issuer.may("crl_sign"), "crl-signature")
            require(newest.is_signature_valid(issuer.x509.public_key()), "crl-signature")
            revoked = newest.get_revoked_certificate_by_serial_number(subject.serial)
            require(revoked is None, "issuer-revoked" if place else "certificate-revoked")


def check_issuer(issuer, subject, below, is_anchor, at):
    hash_algorithm = subject.x509.signature_hash_algorithm
    sha2 = hash_algorithm is None or hash_algorithm.name in ("sha256", "sha384", "sha512")
    require(sha2, "certificate-algorithm")
    try:
        subject.x509.verify_directly_issued_by(issuer.x509)
    except InvalidSignature:
        raise Refused("certificate-signature") from None
    except (TypeError, ValueError):
        raise Refused("certificate-malformed") from None
    require(issuer.is_authority(), "issuer-not-authority")
    unsaid = is_anchor and ExtensionOID.KEY_USAGE not in issuer.extensions
    require(unsaid or issuer.may("key_cert_sign"), "issuer-not-authority")
    require(not issuer.unknown_critical, "certificate-critical-extension")
    require(at >= issuer.not_before, "issuer-not-yet-valid")
    require(at <= issuer.not_after, "issuer-expired")
    limit = issuer.path_length()
    require(limit is None or below <= limit, "certificate-constraint")
    # What a small implementation does not understand, it refuses.
    require(ExtensionOID.NAME_CONSTRAINTS not in issuer.extensions, "certificate-constraint")
    purposes = issuer.purposes()
    good = purposes is None or {DOCUMENT_SIGNING, ANY_PURPOSE} & set(purposes)
    require(good, "certificate-purpose")


# Section 9: a message, and whether it is new.


def verify(frames, trust, at, limits):
    """What a message says, or Refused."""
    require(len(frames) == 2, "frame-count")
    frame_topic = topic(frames[0])
    require(len(frames[1]) <= limits["body_bytes"], "body-too-large")
    text, body = strict_json(frames[1])
    require(isinstance(body, dict), "json-malformed")
    signed, proof = split_body(text, body)
    proof = Proof(unbase64(proof), limits)
    envelope(body)
    require(body["topic"] == frame_topic, "topic-mismatch")
    require(1 <= proof.algorithm <= 4, "proof-algorithm-unknown")
    leaf, signer, key = trust.validate(proof.certificates, at)
    leaf_hash = sha256(b"\0", signed)
    root = root_of(leaf_hash, proof.leaf_index, proof.tree_size, proof.path)
    said = statement(leaf.sha256, proof.tree_size, root)
    check_signature(key, proof.algorithm, proof.signature, said)
    return {
        "signer": signer,
        "body": body,
        "algorithm": proof.algorithm,
        "tree_size": proof.tree_size,
        "leaf_index": proof.leaf_index,
        "certificate_sha256": leaf.sha256.hex(),
        "leaf_hash": leaf_hash.hex(),
        "root": root.hex(),
        "statement": said.hex(),
    }


class Fresh:
    def __init__(self):
        self.places, self.ids = {}, set()

    def admit(self, found, at):
        body = found["body"]
        age = (at - datetime.datetime(1970, 1, 1)).total_seconds() - body["timestamp"]
        require(age <= 600, "too-old")
        require(age >= -120, "from-the-future")
        seen = self.places.setdefault((found["signer"], body["stream"]), set())
        require(not seen or body["seq"] > max(seen) - 1024, "seq-too-old")
        require(body["seq"] not in seen, "replayed-seq")
        name = (found["signer"], body["msg_id"])
        require(name not in self.ids, "replayed-msg-id")
        seen.add(body["seq"])
        self.ids.add(name)


# The vectors.


def when(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def outcome(judge, *arguments):
    try:
        judge(*arguments)
    except Refused as refused:
        return refused.args[0]
    return "verified"


class Vectors:
    def __init__(self, directory):
        self.directory = directory
        self.trust = self.read("trust/trust.json")
        self.wrong = []
        self.checked = {}

    def read(self, name):
        return json.loads((self.directory / name).read_text("utf-8"))

    def expect(self, kind, what, found, expected):
        self.checked[kind] = self.checked.get(kind, 0) + 1
        if found != expected:
            self.wrong.append(f"{kind}: {what}: {found!r}, expected {expected!r}")

    def run(self):
        self.canonical()
        self.names()
        self.trees()
        self.proofs()
        self.messages()
        for path in sorted((self.directory / "refused").glob("*.json")):
            self.refused(path.stem, json.loads(path.read_text("utf-8")))

    def canonical(self):
        vectors = self.read("wire/canonical.json")
        for pair in vectors["pairs"]:
            value = strict_json(pair["text"].encode("utf-8"))[1]
            found = json.dumps(value, sort_keys=True, separators=(",", ":"))
            self.expect("canonical", pair["text"], found, pair["canonical"])
        for refused in vectors["refused"]:
            data = refused["text"].encode("utf-8")
            self.expect("refused JSON", refused["text"], outcome(strict_json, data), refused["code"])
        for refused in vectors["refused_bytes"]:
            data = bytes.fromhex(refused["hex"])
            self.expect("refused JSON", refused["hex"], outcome(strict_json, data), refused["code"])

    def names(self):
        vectors = self.read("wire/names.json")
        for text in vectors["topics"]["valid"]:
            self.expect("topics", text, outcome(topic, text.encode("utf-8")), "verified")
        for refused in vectors["topics"]["invalid"]:
            found = outcome(topic, refused["text"].encode("utf-8"))
            self.expect("topics", refused["text"], found, refused["code"])
        for parts in vectors["identities"]["valid"]:
            self.expect("identities", parts["identity"], outcome(identity, parts["identity"]), "verified")
        for text in vectors["identities"]["invalid"]:
            self.expect("identities", text, outcome(identity, text), "identity-malformed")

    def trees(self):
        vectors = self.read("wire/merkle.json")
        leaves = [sha256(b"\0", bytes.fromhex(leaf)) for leaf in vectors["leaves"]]
        self.expect("trees", "leaves", [leaf.hex() for leaf in leaves], vectors["leaf_hashes"])
        for of in vectors["paths"]:
            path = [bytes.fromhex(text) for text in of["path"]]
            root = root_of(leaves[of["index"]], of["index"], of["size"], path)
            self.expect("trees", of, root.hex(), vectors["roots"][of["size"]])
        for of in self.read("wire/statements.json"):
            parts = [bytes.fromhex(of["certificate_sha256"]), of["tree_size"], bytes.fromhex(of["root"])]
            self.expect("statements", of, statement(*parts).hex(), of["statement"])

    def proofs(self):
        vectors = self.read("wire/proofs.json")
        for of in vectors["valid"]:
            proof = Proof(unbase64(of["base64"]), LIMITS)
            found = {
                "hex": unbase64(of["base64"]).hex(),
                "base64": of["base64"],
                "algorithm": proof.algorithm,
                "certificates": [der.hex() for der in proof.certificates],
                "tree_size": proof.tree_size,
                "leaf_index": proof.leaf_index,
                "path": [node.hex() for node in proof.path],
                "signature": proof.signature.hex(),
            }
            self.expect("proofs", of["hex"], found, of)
        for of in vectors["invalid"]:
            self.expect("proofs", of["fault"], outcome(Proof, bytes.fromhex(of["hex"]), LIMITS), of["code"])

    def trusted(self, name):
        return Trust(self.directory / "trust", self.trust[name])

    def messages(self):
        for of in self.read("wire/messages.json"):
            frames = [of["topic"].encode("utf-8"), of["body"].encode("utf-8")]
            try:
                found = verify(frames, self.trusted(of["trust"]), when(of["at"]), LIMITS)
            except Refused as refused:
                self.expect("messages", of["name"], refused.args[0], "verified")
                continue
            body = found.pop("body")
            for name in ("msg_id", "timestamp", "username", "stream", "seq"):
                found[name] = body[name]
            expected = dict(of["found"])
            # The rule is the policy's, and `msg` is the text as it was received.
            del expected["rule"]
            self.expect("messages", of["name"], body["msg"], json.loads(expected.pop("msg")))
            self.expect("messages", of["name"], found, expected)

    def refused(self, name, case):
        passed_over = ("legacy-", "policy-", "too-many-remembered")
        if case["code"].startswith(passed_over) or case["trust"] is None:
            self.checked["passed over"] = self.checked.get("passed over", 0) + 1
            return
        mended = {**case, **case["mended"]}
        self.expect("refused", f"{name} ({case['fault']})", self.verdict(case), case["code"])
        self.expect("mended", f"{name} ({case['fault']})", self.verdict(mended), "verified")

    def verdict(self, case):
        return outcome(self.judge, case)

    def judge(self, case):
        trust, limits = self.trusted(case["trust"]), {**LIMITS, **case.get("limits", {})}

        def received(frames, at):
            return verify([base64.b64decode(frame) for frame in frames], trust, when(at), limits)

        if "window" not in case:
            received(case["frames"], case["at"])
            return
        fresh = Fresh()
        for arrival in case.get("before", []):
            fresh.admit(received(arrival["frames"], arrival["at"]), when(arrival["at"]))
        fresh.admit(received(case["frames"], case["at"]), when(case["at"]))


def main():
    vectors = Vectors(pathlib.Path(sys.argv[1]))
    vectors.run()
    for line in vectors.wrong:
        print(line, file=sys.stderr)
    print(json.dumps({"checked": vectors.checked, "wrong": len(vectors.wrong)}))
    return 1 if vectors.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
