//! How a command fails: an exit code, what is wrong, and what helps. Every text from outside is escaped by whoever
//! builds the failure.

use std::{io, io::Write as _};

use crate::wording;

/// Everything was done.
pub(crate) const DONE: u8 = 0;
/// The daemon, the system or the person refused.
pub(crate) const REFUSED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// `doctor` found something by which somebody could be locked out or let in. Its codes are a scale of their own.
const GRAVE: u8 = 2;
/// The daemon cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// The end of a command that was not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: u8,
    what: String,
    help: Vec<String>,
}

impl Failure {
    /// Something was refused.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self { exit: REFUSED, what: what.into(), help: Vec::new() }
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { exit: USAGE, what: what.into(), help: Vec::new() }
    }

    /// The daemon cannot be reached, or does not answer.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self { exit: UNREACHABLE, what: what.into(), help: Vec::new() }
    }

    /// Everything was said already; only the exit code is left to give.
    pub(crate) fn silent() -> Self {
        Self::refused("")
    }

    /// Everything was said already, and it is grave: the exit code says that somebody could be locked out or let in.
    pub(crate) fn grave() -> Self {
        Self { exit: GRAVE, what: String::new(), help: Vec::new() }
    }

    /// What is wrong.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Adds a line that says what helps.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The exit code of the process.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }

    /// Tells the person on standard error, wrapped at `width` columns.
    pub(crate) fn tell(&self, width: usize, color: bool) {
        if self.what.is_empty() {
            return;
        }
        let name = if color { "\x1b[1;31mcountersign:\x1b[0m" } else { "countersign:" };
        let what = wording::wrap(&format!("countersign: {}", self.what), width, "  ").replacen("countersign:", name, 1);
        let mut text = format!("{what}\n");
        for help in &self.help {
            text.push_str(&wording::wrap_before_command(help, width, "  "));
            text.push('\n');
        }
        // There is nobody left to tell when standard error is closed.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Failing to print: quiet where the reader has gone, as `countersign list | head` leaves it.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent();
        }
        Self::refused(format!("the output cannot be written: {error}"))
    }
}
