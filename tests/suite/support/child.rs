//! Children: run to their end, or left running and awaited line by line.

use super::{PATIENCE, until};
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// How a child ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// This value, if the exit code is `code`; fails the test with all that the child said otherwise.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `command` to its end, without standard input; fails the test if it does not end.
pub(crate) fn run(command: &mut Command) -> Finished {
    let mut child = Child::spawn(command);
    child.close_input();
    child.finish()
}

/// A running child. Killed when the value goes, so that a failing test leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    input: Option<ChildStdin>,
    output: Lines,
    errors: Lines,
    name: String,
}

impl Child {
    /// Starts `command` with all three standard streams held here.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("starting {name}: {e}"));
        let output = Lines::read(child.stdout.take().expect("piped"));
        let errors = Lines::read(child.stderr.take().expect("piped"));
        Self { input: child.stdin.take(), child, output, errors, name }
    }

    /// Waits for the next line of standard output that `wanted` accepts; earlier lines are kept for [`Self::finish`].
    pub(crate) fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        match self.output.next(&wanted) {
            Some(line) => line,
            None => self.fail(what),
        }
    }

    /// As [`Self::line`]; `None` if it does not come, for a child that may have died.
    pub(crate) fn line_or_none(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.output.next(&wanted)
    }

    /// As [`Self::line`], of standard error.
    pub(crate) fn error_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        match self.errors.next(&wanted) {
            Some(line) => line,
            None => self.fail(what),
        }
    }

    /// The child's standard input, to write to.
    pub(crate) fn input(&mut self) -> &mut ChildStdin {
        self.input.as_mut().expect("input was closed")
    }

    /// The child's standard input, for a thread of its own; the child sees its end when that is dropped.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("input was closed")
    }

    /// Ends the child's standard input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_none()
    }

    /// Waits for its end and takes all that it said.
    pub(crate) fn finish(mut self) -> Finished {
        self.close_input();
        let name = self.name.clone();
        let status = until(&format!("{name} to end"), || self.child.try_wait().expect("a child's state"));
        Finished { code: status.code(), stdout: self.output.rest(), stderr: self.errors.rest() }
    }

    /// Kills it and takes all that it said.
    pub(crate) fn kill(mut self) -> Finished {
        self.child.kill().expect("killing a child");
        self.finish()
    }

    fn fail(&mut self, what: &str) -> ! {
        self.child.kill().expect("killing a child");
        let (output, errors) = (self.output.rest(), self.errors.rest());
        panic!("{} ended or waited {PATIENCE:?} for {what}; stdout:\n{output}\nstderr:\n{errors}", self.name);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, read on a thread of their own so that no wait blocks on a full pipe.
#[derive(Debug)]
struct Lines {
    coming: Receiver<String>,
    seen: String,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Self { coming, seen: String::new() }
    }

    /// The next line that is wanted; `None` at the end of the stream or of the patience.
    fn next(&mut self, wanted: &impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.coming.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            self.keep(&line);
            if wanted(&line) {
                return Some(line);
            }
        }
    }

    /// All that was said, from the start, once the stream has ended. A grandchild may hold the stream open, so this
    /// wait has an end as well.
    fn rest(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.coming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.keep(&line);
        }
        std::mem::take(&mut self.seen)
    }

    fn keep(&mut self, line: &str) {
        self.seen.push_str(line);
        self.seen.push('\n');
    }
}
