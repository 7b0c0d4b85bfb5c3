//! The Python programs of `tests/peers`, which speak to us as the deployed ones do.

use super::Child;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that has fedmsg and pyzmq: `TEST_PEERS_PYTHON`, or what `scripts/peers` makes.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = root.join("target").join("peers").join("bin").join("python");
    // A relative path is meant from the repository's top, where `cargo test` was called.
    at_hand(std::env::var_os("TEST_PEERS_PYTHON").map_or(made, |given| root.join(given)))
}

/// The path, if it is there. Where it is missing this fails the test if `TEST_REQUIRE_PEERS` is 1, as `scripts/test` sets it;
/// otherwise it says so, and `None`.
fn at_hand(python: PathBuf) -> Option<PathBuf> {
    if python.exists() {
        return Some(python);
    }
    let missing = format!("{} is not here; `scripts/peers` makes it", python.display());
    let required = std::env::var_os("TEST_REQUIRE_PEERS").is_some_and(|v| v == "1");
    assert!(!required, "{missing}");
    eprintln!("not tested: {missing}");
    None
}

/// `tests/peers/judge.py`, to be run by the Python whose cryptography validates certificates; `None` where there is none.
pub(crate) fn judge_command() -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(at_hand(root.join("target").join("judge").join("bin").join("python"))?);
    command.arg(root.join("tests").join("peers").join("judge.py"));
    Some(command)
}

/// `tests/peers/SCRIPT`, to be run; `None` where there are no peers.
pub(crate) fn peer_command(script: &str) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python()?);
    // Python fedmsg has a FEDMSG_CONFIG of its own; and nothing is to be left beside the scripts.
    command.env_remove("FEDMSG_CONFIG").env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(root.join("tests").join("peers").join(script));
    Some(command)
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
}

impl Peer {
    /// Starts `tests/peers/SCRIPT` and waits until it is ready; `None` where there are no peers.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Option<Self> {
        let mut peer = Self { child: Child::spawn(peer_command(script)?.args(arguments)) };
        peer.next("ready");
        Some(peer)
    }

    /// Waits for the next line that is a JSON object with the field `field`, and gives that object.
    pub(crate) fn next(&mut self, field: &str) -> serde_json::Value {
        let has = |line: &str| object(line).is_some_and(|o| o.get(field).is_some());
        let line = self.child.line(&format!("an object with `{field}`"), has);
        object(&line).expect("an object")
    }

    /// The next message of `subscribe.py`, its frames as text.
    pub(crate) fn next_frames(&mut self) -> Vec<String> {
        let message = self.next("frames");
        let frames = message["frames"].as_array().expect("frames").iter();
        frames.map(|f| f.as_str().expect("frames in UTF-8").to_owned()).collect()
    }

    /// Has `ask.py` send a request, and gives the answer's header and its other frames.
    pub(crate) fn ask(&mut self, request: &str) -> (serde_json::Value, Vec<Vec<u8>>) {
        use base64::Engine;
        use std::io::Write;
        writeln!(self.child.input(), "{request}").expect("a running asker");
        let answer = self.next("header");
        let frames = answer["frames"].as_array().expect("frames").iter();
        let frames = frames.map(|frame| {
            let text = frame.as_str().expect("a text");
            base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
        });
        (answer["header"].clone(), frames.collect())
    }

    /// Has `publish.py` send a message of these frames.
    pub(crate) fn send(&mut self, frames: &[&[u8]]) {
        use base64::Engine;
        use std::io::Write;
        let frames: Vec<String> =
            frames.iter().map(|f| base64::engine::general_purpose::STANDARD.encode(f)).collect();
        let line = serde_json::to_string(&frames).expect("a list of strings");
        writeln!(self.child.input(), "{line}").expect("a running publisher");
    }

    /// Has `publish.py` send a message of frames of these sizes.
    pub(crate) fn send_sizes(&mut self, sizes: &[usize]) {
        use std::io::Write;
        writeln!(self.child.input(), "{sizes:?}").expect("a running publisher");
    }

    /// Ends its input and waits for its end.
    pub(crate) fn finish(self) {
        self.child.finish().expect_code(0);
    }
}

fn object(line: &str) -> Option<serde_json::Value> {
    serde_json::from_str(line).ok().filter(serde_json::Value::is_object)
}
