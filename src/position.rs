//! Where in a file something stands: `file:line:column`, for errors that a person can act on.

use std::fmt;
use std::sync::Arc;

/// A place in a text file, counted as editors do. It prints as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file, as it was named to us.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The lines of a text, to turn the byte offsets that parsers give into positions.
#[derive(Clone, Debug)]
pub struct Lines<'t> {
    file: Arc<str>,
    text: &'t str,
    /// The byte offset at which each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Looks once through `text`, which was read from `file`. `\n` ends a line, and so does `\r\n`.
    pub fn new(file: &str, text: &'t str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1));
        Self { file: file.into(), text, starts }
    }

    /// The position of the byte `offset`. An offset past the end is the end; one within a character is that character.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        // The first line starts at 0, so at least one start is not past the offset.
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before =
            self.text[start..].char_indices().take_while(|(at, c)| start + at + c.len_utf8() <= offset);
        Position { file: Arc::clone(&self.file), line, column: before.count() + 1 }
    }

    /// The file's name, shared with every position made here.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn offsets_become_lines_and_columns() {
        let lines = Lines::new("policy.toml", "ab\né=1\r\n\nx");
        for (offset, expected) in [
            (0, "policy.toml:1:1"),
            (2, "policy.toml:1:3"),
            (3, "policy.toml:2:1"),
            (4, "policy.toml:2:1"),
            (5, "policy.toml:2:2"),
            (9, "policy.toml:3:1"),
            (10, "policy.toml:4:1"),
            (11, "policy.toml:4:2"),
            (99, "policy.toml:4:2"),
        ] {
            assert_eq!(lines.position(offset).to_string(), expected, "{offset}");
        }
        assert_eq!(Lines::new("empty", "").position(0).to_string(), "empty:1:1");
    }
}
