//! Another implementation of `docs/wire-format.md`, in Python, judges our vectors as we do.

use super::case::directory;
use crate::support::{peer_command, run};

#[test]
fn a_second_implementation_agrees_with_every_vector() {
    let Some(mut command) = peer_command("wire.py") else { return };
    let finished = run(command.arg(directory(""))).expect_code(0);
    let counts: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    for (kind, least) in [("messages", 30), ("refused", 150), ("mended", 150), ("canonical", 30)] {
        assert!(counts["checked"][kind].as_u64() >= Some(least), "{kind}: {counts}");
    }
}
