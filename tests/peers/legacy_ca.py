"""An authority as Python fedmsg's deployments have one, made by OpenSSL: one RSA-1024 root that signs leaf certificates
directly, SHA-1 among them, and a CRL of version 1. For tests only; whoever makes one throws its keys away."""

import pathlib
import subprocess

# What RFC 5280 can write as UTCTime. Certificates of thirty years, so that no test ends with them.
FROM, UNTIL = "20200101000000Z", "20491231235959Z"
CRL_FROM = "20240101000000Z"
# Before the list's date, as it would be; OpenSSL itself only writes the date of today.
REVOKED_AT = "230601000000Z"

CONFIG = """
[ca]
default_ca = authority
[authority]
dir = {dir}
database = {dir}/index.txt
serial = {dir}/serial
new_certs_dir = {dir}
certificate = {dir}/ca.crt
private_key = {dir}/ca.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
x509_extensions = leaf
[any]
organizationName = optional
commonName = supplied
[req]
prompt = no
distinguished_name = name
[name]
O = Example Project
CN = {name}
[root]
basicConstraints = CA:TRUE
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class LegacyCA:
    """The root, in a directory of its own. `ca.crt` and `crl.pem` there are what a verifier is configured with."""

    def __init__(self, directory, name="Legacy fedmsg CA"):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.config = self.dir / "openssl.cnf"
        self.config.write_text(CONFIG.format(dir=self.dir, name=name))
        (self.dir / "index.txt").write_text("")
        (self.dir / "serial").write_text("01\n")
        self._openssl("req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", "ca.key", "-out", "ca.csr",
                      "-config", self.config)
        self._ca("-selfsign", "-in", "ca.csr", "-out", "ca.crt", "-extensions", "root", "-md", "sha1")

    def issue(self, name, bits=1024, digest="sha1", start=FROM, end=UNTIL):
        """Makes NAME.key and NAME.crt, as fedmsg's `ssldir` has them."""
        self._openssl("req", "-new", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", f"{name}.key",
                      "-out", f"{name}.csr", "-subj", f"/O=Example Project/CN={name}", "-config", self.config)
        self._ca("-in", f"{name}.csr", "-out", f"{name}.crt", "-md", digest, start=start, end=end)

    def revoke(self, name):
        """Marks NAME revoked, for the next list."""
        self._openssl("ca", "-config", self.config, "-revoke", f"{name}.crt")
        index = self.dir / "index.txt"
        entries = [line.split("\t") for line in index.read_text().splitlines()]
        for entry in entries:
            if entry[0] == "R":
                entry[2] = REVOKED_AT
        index.write_text("".join("\t".join(entry) + "\n" for entry in entries))

    def write_crl(self):
        """Makes crl.pem: version 1, since nothing is said about extensions, and signed with SHA-1."""
        self._openssl("ca", "-config", self.config, "-gencrl", "-md", "sha1", "-crl_lastupdate", CRL_FROM,
                      "-crl_nextupdate", UNTIL, "-out", "crl.pem")

    def _ca(self, *arguments, start=FROM, end=UNTIL):
        self._openssl("ca", "-batch", "-notext", "-config", self.config, "-startdate", start, "-enddate", end,
                      *arguments)

    def _openssl(self, *arguments):
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
