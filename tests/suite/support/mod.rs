//! What the tests share: the built command, children whose output is awaited, ports, directories, data.

#![allow(dead_code, unused_imports, reason = "a tool box: not every build of the suite uses every tool")]

mod child;
mod data;
mod peers;

pub(crate) use child::{Child, Finished, run};
pub(crate) use data::{shared_data, shared_lines};
pub(crate) use peers::{Peer, judge_command, peer_command};

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it stuck. Generous, since it is only ever spent by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The built command, without the caller's `FEDMSG_…` variables and home, which would change what it does.
pub(crate) fn fedmsg() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fedmsg"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FEDMSG_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").env("NO_COLOR", "1");
    command
}

/// A directory that is removed with the value.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("fedmsg-test-").tempdir().expect("a temporary directory")
}

/// Asks `condition` until it gives a value; fails the test, naming `what`, after [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `count` ports of the loopback address on which nothing listens, and which no other caller in this process was given.
///
/// They lie below the ports that the system gives to outgoing connections: one of those could otherwise take a port
/// between its choice and its use, or even be connected to itself. They are tried by connecting: a socket that listened, if
/// only to see, would be held for a moment more by whatever child another test starts just then.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const PORTS: u16 = 9_000;
    // Two test runs at once begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(PORTS)).expect("below PORTS");
    let next = || FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
    let free = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    std::iter::repeat_with(next).filter(free).take(count).collect()
}

/// As [`free_ports`], written as endpoints.
pub(crate) fn free_endpoints(count: usize) -> Vec<String> {
    free_ports(count).into_iter().map(|port| format!("tcp://127.0.0.1:{port}")).collect()
}

#[test]
fn the_command_runs_and_exits_as_promised() {
    let version = run(fedmsg().arg("--version"));
    assert_eq!((version.code, version.stderr.as_str()), (Some(0), ""));
    assert!(version.stdout.starts_with("fedmsg "), "{version:?}");
    assert_eq!(run(fedmsg().arg("--no-such-flag")).code, Some(2));
}

#[test]
fn a_child_is_awaited_by_its_lines() {
    let mut child =
        Child::spawn(Command::new("sh").args(["-c", "echo one; echo two >&2; read line; exit 3"]));
    assert_eq!(child.line("one", |l| l.starts_with('o')), "one");
    assert_eq!(child.error_line("two", |_| true), "two");
    child.close_input();
    assert_eq!(child.finish().code, Some(3));
}
