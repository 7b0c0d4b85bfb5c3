//! The files of a new development bus, as text.

use super::Ports;
use crate::config::DIRECTORY_NAME;

pub(super) const TRUST_DOMAIN: &str = "dev.example";
pub(super) const ENV: &str = "dev";
pub(super) const HOST: &str = "localhost";
/// The first is what `fedmsg publish` publishes as; the second shows that the policy keeps them apart.
pub(super) const SERVICES: [&str; 2] = ["shell", "wiki"];

/// Each file's path below the directory, and its text.
pub(super) fn all(ports: &Ports) -> Vec<(String, String)> {
    let within = |name: &str| format!("{DIRECTORY_NAME}/{name}");
    vec![
        (within("base.toml"), base()),
        (within("endpoints.toml"), endpoints(ports)),
        (within("trust.toml"), TRUST.to_owned()),
        ("policy.toml".to_owned(), policy()),
        (".gitignore".to_owned(), GITIGNORE.to_owned()),
    ]
}

fn base() -> String {
    let shell = SERVICES[0];
    format!(
        r#"# Made by `fedmsg init`. `fedmsg config show` prints every key, its value and where it came from.

[bus]
prefix = "org.fedoraproject"
env = "{ENV}"

# As whom `fedmsg publish` publishes, where --service says no other.
[publisher]
service = "{shell}"
host = "{HOST}"
# A message is published when it is on the disk; "memory" is faster, and loses with the process what nobody has heard.
durability = "disk"

# What has been published, kept for those who missed it: for how long, and how much.
[outbox]
directory = "outbox"
keep_age = "7d"
keep_bytes = "1GiB"

[credentials]
directory = "pki/services"

[policy]
files = ["policy.toml"]

# Where named consumers (`fedmsg tail --name NAME`) keep their places over a restart.
[freshness]
state = "state"
"#
    )
}

fn endpoints(ports: &Ports) -> String {
    let mut text = String::from(
        "# Where each service publishes: a publisher binds the first that is free, consumers connect to all.\n\n\
         [endpoints]\n",
    );
    for (place, service) in SERVICES.iter().enumerate() {
        let list: Vec<String> = ports.of(place).map(|port| format!("\"tcp://127.0.0.1:{port}\"")).collect();
        text.push_str(&format!("{service} = [{}]\n", list.join(", ")));
    }
    text.push_str("\n# Where a publisher, or `fedmsg outbox serve`, answers named consumers who missed something.\n[replay]\n");
    for (place, service) in SERVICES.iter().enumerate() {
        text.push_str(&format!("{service} = [\"tcp://127.0.0.1:{}\"]\n", ports.replay(place)));
    }
    text
}

const TRUST: &str = r#"# Whose signatures count. `fedmsg ca issue SERVICE` makes another service's certificate, `fedmsg ca revoke` ends
# one, and `fedmsg ca crl` writes the revocation lists anew before they are stale.

[trust]
trust_domain = "dev.example"
anchors = ["pki/root.crt"]
intermediates = ["pki/issuing.crt"]
crls = ["pki/root.crl", "pki/issuing.crl"]
"#;

fn policy() -> String {
    let [shell, wiki] = SERVICES;
    format!(
        r#"# Who may publish what: docs/policy.md says how to write it, `fedmsg policy explain` says what it decides.
version = 1
serial = 1
default = "deny"

# Every service publishes below its own name, in its own environment, and nowhere else.
[[rule]]
id = "own-subtree"
effect = "allow"
topics = ["org.fedoraproject.{{env}}.{{service}}.#"]
publishers = ["spiffe://{TRUST_DOMAIN}/*/*/*"]

# These run whenever the policy is read; one that fails refuses the file.
[[test]]
topic = "org.fedoraproject.{ENV}.{shell}.log.message"
signer = "spiffe://{TRUST_DOMAIN}/{ENV}/{shell}/{HOST}"
expect = "allow"

[[test]]
topic = "org.fedoraproject.{ENV}.{shell}.log.message"
signer = "spiffe://{TRUST_DOMAIN}/{ENV}/{wiki}/{HOST}"
expect = "deny"

[[test]]
topic = "org.fedoraproject.prod.{shell}.log.message"
signer = "spiffe://{TRUST_DOMAIN}/{ENV}/{shell}/{HOST}"
expect = "deny"
"#
    )
}

const GITIGNORE: &str = "# Private keys and what is remembered at run time are not for version control.\n*.key\n*.sqlite\n*.sqlite-*\n/state/\n/outbox/\n";
