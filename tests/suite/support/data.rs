//! Data that is not in the repository: real messages, which their owners did not publish for copying.

use std::path::{Path, PathBuf};

/// Where `path` of the shared data is: under `TEST_SHARED_DATA`, or beside the checkout. `None`, with a line that
/// says so, where it is not: a plain clone has it nowhere, and its tests rely on the repository's own vectors.
pub(crate) fn shared_data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TEST_SHARED_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("shared").join("data"),
        PathBuf::from,
    );
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("not tested: {} is not here (TEST_SHARED_DATA names its directory)", found.display());
    None
}

/// The lines of a file of the shared data.
pub(crate) fn shared_lines(path: &str) -> Option<Vec<String>> {
    let found = shared_data(path)?;
    let text = std::fs::read_to_string(&found).unwrap_or_else(|e| panic!("{}: {e}", found.display()));
    Some(text.lines().map(str::to_owned).collect())
}
