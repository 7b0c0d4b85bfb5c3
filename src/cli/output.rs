//! Where the commands write: data to stdout, talk to stderr, colours where they are wanted.

use super::{Color, Global};
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
use std::io::{self, Write};

/// For what is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// For what was refused, and for errors.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// For what wants attention.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// For headings.
pub const STRONG: Style = Style::new().bold();
/// For what is beside the point.
pub const DIM: Style = Style::new().dimmed();

/// The two streams of a command.
#[derive(Debug)]
pub struct Output {
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    json: bool,
    quiet: bool,
    verbose: u8,
    reader_gone: bool,
}

impl Output {
    /// As the global options say.
    pub fn new(global: &Global) -> Self {
        let choice = match global.color {
            Color::Auto => None,
            Color::Always => Some(ColorChoice::Always),
            Color::Never => Some(ColorChoice::Never),
        };
        let stdout = io::stdout();
        let stderr = io::stderr();
        let out_choice = choice.unwrap_or_else(|| AutoStream::choice(&stdout));
        let err_choice = choice.unwrap_or_else(|| AutoStream::choice(&stderr));
        Self {
            stdout: AutoStream::new(stdout, out_choice),
            stderr: AutoStream::new(stderr, err_choice),
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            reader_gone: false,
        }
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether `-q` was given.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes one line of data to stdout.
    ///
    /// # Errors
    /// As stdout gives them; a reader that has gone is remembered (see [`Output::reader_gone`]).
    pub fn line(&mut self, line: impl Display) -> io::Result<()> {
        let written = writeln!(self.stdout, "{line}").and_then(|()| self.stdout.flush());
        if let Err(error) = &written {
            self.reader_gone |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        written
    }

    /// Writes one JSON object as a line of data to stdout.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn object(&mut self, object: &impl serde::Serialize) -> io::Result<()> {
        self.line(one_line(object)?)
    }

    /// Talk: one line to stderr, unless `-q`.
    pub fn say(&mut self, line: impl Display) {
        if !self.quiet {
            self.talk(line);
        }
    }

    /// Talk for `-v`.
    pub fn detail(&mut self, line: impl Display) {
        if self.verbose > 0 {
            self.talk(line);
        }
    }

    /// A line to stderr that `-q` does not silence: data of the second kind, such as a message that was refused.
    pub fn always(&mut self, line: impl Display) {
        self.talk(line);
    }

    /// The same, as a JSON object.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn always_object(&mut self, object: &impl serde::Serialize) -> io::Result<()> {
        self.talk(one_line(object)?);
        Ok(())
    }

    /// A warning, which `-q` does not silence.
    pub fn warn(&mut self, line: impl Display) {
        self.talk(format_args!("{WARN}warning:{WARN:#} {line}"));
    }

    /// A `hint:` line, which names the command that mends it.
    pub fn hint(&mut self, line: impl Display) {
        self.talk(format_args!("{STRONG}hint:{STRONG:#} {line}"));
    }

    /// An error, which `-q` does not silence.
    pub fn error(&mut self, line: impl Display) {
        self.talk(format_args!("{BAD}error:{BAD:#} {line}"));
    }

    /// Whether the reader of stdout has gone away.
    pub fn reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// stderr has nobody left to complain to, so its own errors are dropped.
    fn talk(&mut self, line: impl Display) {
        let _ = writeln!(self.stderr, "{line}");
    }
}

/// A value as JSON on one line, whatever its reader takes for the end of one, and without what speaks to a terminal.
///
/// JSON text that is passed on as it came may have line ends between its parts: a line within would read as an object
/// of ours. As a string has none unescaped, such a character is white space, and any other white space does as well.
fn one_line(object: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(object)?;
    let is_plain = |c: char| !c.is_control() && c != '\u{2028}' && c != '\u{2029}';
    if text.chars().all(is_plain) {
        return Ok(text);
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            plain if is_plain(plain) => line.push(plain),
            '\0'..' ' => line.push(' '),
            in_a_string => line.push_str(&format!("\\u{:04x}", u32::from(in_a_string))),
        }
    }
    Ok(line)
}
