"""Has Python cryptography judge certificates: one JSON object in, one out, a line each.

In: {"anchors": [PEM…], "intermediates": [PEM…], "lists": [PEM…], "leaf": PEM, "time": "2026-11-24T12:00:00+00:00"}.
Out: {"accepted": true, "uris": […]} or {"accepted": false, "detail": …}.

What is asked of its verifier (x509.verification): the path, signatures, dates, basic constraints and path lengths, and the CA
profile that it has by default. Its profile for leaves is the web's, which wants serverAuth or clientAuth, so it is replaced: a
leaf must have one URI, digitalSignature, documentSigning and CA:FALSE. It knows nothing of revocation, so that is done here with
its parser: a list from each issuer, signed by it and of that day, that does not name the certificate.
"""

import datetime
import json
import sys

from cryptography import x509
from cryptography.x509 import verification

DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")


class Refused(Exception):
    pass


def want(holds, detail):
    if not holds:
        raise ValueError(detail)


def one_uri(_policy, _certificate, names):
    want(len(list(names)) == 1, "not one name")
    want(len(names.get_values_for_type(x509.UniformResourceIdentifier)) == 1, "not one URI")


def signs_documents(_policy, _certificate, usages):
    want(DOCUMENT_SIGNING in list(usages), "no documentSigning")


def signs(_policy, _certificate, usage):
    want(usage.digital_signature, "no digitalSignature")


def is_no_authority(_policy, _certificate, constraints):
    want(not constraints.ca, "CA:TRUE")


def leaf_policy():
    any_criticality = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, any_criticality, one_uri)
        .require_present(x509.ExtendedKeyUsage, any_criticality, signs_documents)
        .require_present(x509.KeyUsage, verification.Criticality.CRITICAL, signs)
        .require_present(x509.BasicConstraints, any_criticality, is_no_authority)
    )


def judge(asked):
    def certificates(name):
        return [x509.load_pem_x509_certificate(pem.encode()) for pem in asked[name]]

    leaf = x509.load_pem_x509_certificate(asked["leaf"].encode())
    time = datetime.datetime.fromisoformat(asked["time"])
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(certificates("anchors")))
        .time(time)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy()
        )
        .build_client_verifier()
    )
    verified = verifier.verify(leaf, certificates("intermediates"))
    lists = [x509.load_pem_x509_crl(pem.encode()) for pem in asked["lists"]]
    for certificate, issuer in zip(verified.chain, verified.chain[1:]):
        check_revocation(certificate, issuer, lists, time)
    return [name.value for name in verified.subjects]


def check_revocation(certificate, issuer, lists, time):
    own = [found for found in lists if found.issuer == certificate.issuer]
    if not own:
        raise Refused("no list of the issuer")
    for found in own:
        if not found.is_signature_valid(issuer.public_key()):
            raise Refused("the list is signed by somebody else")
        if not found.last_update_utc <= time < found.next_update_utc:
            raise Refused("the list is not of this day")
        if found.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise Refused("revoked")


for line in sys.stdin:
    try:
        answer = {"accepted": True, "uris": judge(json.loads(line))}
    except (Refused, ValueError, verification.VerificationError) as error:
        answer = {"accepted": False, "detail": str(error)}
    print(json.dumps(answer), flush=True)
