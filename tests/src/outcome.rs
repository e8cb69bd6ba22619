//! What a program that ran in the scratch host left behind.

use std::{fmt, process::Output};

use anyhow::{Result, bail};

/// Exit status and output of a program.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What ran, for messages.
    pub command: String,
    /// The exit status; 128 + N where signal N ended it.
    pub status: i32,
    /// Standard output; all that the terminal showed, for a dialogue.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    pub(crate) fn of(command: &[&str], output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().or_else(|| output.status.signal().map(|n| 128 + n)).unwrap_or(-1);
        Self {
            command: command.join(" "),
            status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether it ended with status 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == 0
    }

    /// Whether its output or its errors hold `text`.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Itself if it succeeded.
    ///
    /// # Errors
    /// Any other status, with the whole output.
    pub fn success(self) -> Result<Self> {
        if self.succeeded() {
            return Ok(self);
        }
        bail!("{self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` ended with status {}", self.command, self.status)?;
        writeln!(f, "--- stdout\n{}", self.stdout.trim_end())?;
        write!(f, "--- stderr\n{}", self.stderr.trim_end())
    }
}
