//! What the services of the demo say: messages of our own writing, or those of a file.

use super::super::CliError;
use crate::identity::SpiffeId;
use crate::json::{self, Dialect, Value, canonical};
use crate::limits::Limits;
use crate::topic::Topic;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The messages, and who publishes them.
pub(super) struct Traffic {
    pub(super) messages: Vec<Message>,
    /// The prefixes of the topics, such as `org.example`.
    pub(super) prefixes: Vec<String>,
    /// Each (env, service) once.
    pub(super) services: Vec<(String, String)>,
}

/// One message to publish.
pub(super) struct Message {
    pub(super) topic: Topic,
    pub(super) env: String,
    pub(super) service: String,
    pub(super) msg: String,
}

/// The trust domain of the demo.
pub(super) const TRUST_DOMAIN: &str = "example.org";

/// What services of an infrastructure say, small and large.
const BUILT_IN: &str = r#"
{"topic":"org.example.prod.pkgdb.acl.update","msg":{"package":"python-requests","branch":"f44","user":"lena","acl":"commit","previous":"requested","status":"approved"}}
{"topic":"org.example.prod.git.push","msg":{"repo":"rpms/python-requests","branch":"f44","rev":"9f2c1c7e0d1b4a53a7d1f0d3c3a8f6a1b2c3d4e5","author":{"name":"Lena Ödegård","email":"lena@example.org"},"summary":"Update to 2.33.1 (rhbz#2400417)","stats":{"files":2,"additions":14,"deletions":9}}}
{"topic":"org.example.prod.koji.build.start","msg":{"build_id":2841007,"task_id":139204511,"name":"python-requests","version":"2.33.1","release":"1.fc44","owner":"lena","arches":["x86_64","aarch64","s390x","ppc64le"]}}
{"topic":"org.example.prod.koji.build.complete","msg":{"build_id":2841007,"name":"python-requests","version":"2.33.1","release":"1.fc44","seconds":412.5,"old":0,"new":1}}
{"topic":"org.example.prod.bodhi.update.request","msg":{"update":"EXAMPLE-2026-3f9a1c","builds":["python-requests-2.33.1-1.fc44"],"request":"testing","karma":0,"bugs":[2400417],"notes":"Fixes a redirect that dropped credentials. Drops support for Python 3.8."}}
{"topic":"org.example.prod.bodhi.update.comment","msg":{"update":"EXAMPLE-2026-3f9a1c","author":"tomasz","karma":1,"text":"Works here, with proxies and without. \u2713"}}
{"topic":"org.example.prod.wiki.article.edit","msg":{"title":"Packaging:Python","user":"amara","minor":false,"url":"https://wiki.example.org/Packaging:Python?diff=188213","length":{"old":48211,"new":48390}}}
{"topic":"org.example.prod.account.address.change","msg":{"user":"tomasz","fields":["mail"],"agent":"tomasz"}}
{"topic":"org.example.prod.compose.image.complete","msg":{"release":"44","variant":"Server","images":IMAGES}}
{"topic":"org.example.stg.bodhi.update.comment","msg":{"update":"EXAMPLE-2026-000001","author":"ci","karma":0,"text":"staging says hello"}}
"#;

impl Traffic {
    /// The demo's own messages.
    pub(super) fn built_in() -> Result<Self, CliError> {
        // One that is larger than the rest: a list of images, some 20 KiB.
        let image = |n: u32| {
            format!(
                r#"{{"arch":"x86_64","file":"Example-Server-44-{n:03}.raw.xz","size":{},"sha256":"{}"}}"#,
                1_400_000_000_u64 + u64::from(n),
                format!("{n:08x}").repeat(8)
            )
        };
        let images: Vec<String> = (0..120).map(image).collect();
        let text = BUILT_IN.replace("IMAGES", &format!("[{}]", images.join(",")));
        Self::parse("built-in messages", &text)
    }

    /// The messages of a file: JSON lines, of which `topic` and `msg` are taken.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| CliError::new(format_args!("{file}: {e}")))?;
        Self::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, CliError> {
        let mut messages = Vec::new();
        let (mut prefixes, mut services) = (BTreeMap::new(), BTreeMap::new());
        for (line, number) in text.lines().zip(1_usize..) {
            if line.trim().is_empty() {
                continue;
            }
            let message = Message::parse(line)
                .map_err(|fault| CliError::new(format_args!("{file}:{number}: {fault}")))?;
            let prefix: Vec<&str> = message.topic.fields().take(2).collect();
            prefixes.insert(prefix.join("."), ());
            services.insert((message.env.clone(), message.service.clone()), ());
            messages.push(message);
        }
        if messages.is_empty() {
            return Err(CliError::new(format_args!("{file}: no message in it")));
        }
        let (prefixes, services) = (prefixes.into_keys().collect(), services.into_keys().collect());
        Ok(Self { messages, prefixes, services })
    }
}

impl Message {
    fn parse(line: &str) -> Result<Self, String> {
        let limits = &Limits::STANDARD;
        let parsed = json::parse(line, Dialect::Strict, limits).map_err(|error| error.to_string())?;
        let Value::Object(fields) = parsed else { return Err("not an object".to_owned()) };
        let Some(Value::String(topic)) = fields.get("topic") else {
            return Err("no string `topic`".to_owned());
        };
        let msg = fields.get("msg").ok_or("no `msg`")?;
        let topic = Topic::parse(topic, limits).map_err(|error| error.to_string())?;
        let parts: Vec<&str> = topic.fields().collect();
        let [_, _, env, service, _, ..] = parts[..] else {
            return Err(format!("topic `{topic}` is not TLD.PROJECT.ENV.SERVICE.OBJECT…"));
        };
        // What makes no identity can have no certificate.
        SpiffeId::new(TRUST_DOMAIN, env, service, "app01").map_err(|error| error.to_string())?;
        let (env, service, msg) = (env.to_owned(), service.to_owned(), canonical::encode(msg));
        Ok(Self { topic, env, service, msg })
    }
}
