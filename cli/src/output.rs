//! Standard output: text wrapped for the terminal, or JSON. It is written without a buffer of the standard library's,
//! because keys and recovery codes pass through here.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::{cli::ColorChoice, failure::Failure, wording};

/// The width of texts where there is no terminal, or a very wide one.
const USUAL_WIDTH: usize = 80;
/// Narrower than this nothing readable can be made.
const LEAST_WIDTH: usize = 20;

/// More than an object with a key and recovery codes takes, in bytes.
const JSON_ROOM: usize = 16 * 1024;

/// Where the results of a command go.
pub(crate) struct Output {
    out: File,
    columns: Option<usize>,
    color: bool,
}

impl Output {
    /// Standard output, with colours as asked for.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(crate) fn open(choice: ColorChoice) -> Result<Self, Failure> {
        let stdout = io::stdout();
        let columns = stdout.is_terminal().then(|| terminal_columns(stdout.as_fd()));
        let out = File::from(stdout.as_fd().try_clone_to_owned()?);
        Ok(Self { out, columns, color: colors(choice, columns.is_some()) })
    }

    /// The terminal's columns; `None` where standard output is no terminal.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// Whether to paint.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// The width for running text.
    pub(crate) fn width(&self) -> usize {
        text_width(self.columns)
    }

    /// Prints `text` as it stands.
    ///
    /// # Errors
    /// Where it cannot be written; silent where the reader has gone.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        Ok((&self.out).write_all(text.as_bytes())?)
    }

    /// Prints a paragraph, wrapped; a command at its end stays in one piece.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        let wrapped = Zeroizing::new(wording::wrap_before_command(text, self.width(), ""));
        self.print(&wrapped)?;
        self.print("\n")
    }

    /// Prints a heading: bold where colours are on.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn head(&self, text: &str) -> Result<(), Failure> {
        let wrapped = wording::wrap(text, self.width(), "");
        if self.color { self.print(&format!("\x1b[1m{wrapped}\x1b[0m\n")) } else { self.print(&format!("{wrapped}\n")) }
    }

    /// Prints `value` as JSON, indented, with a newline.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        // Sized beforehand, so that growing leaves no copies of a key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(JSON_ROOM));
        serde_json::to_writer_pretty(&mut *text, value).map_err(io::Error::from)?;
        text.push(b'\n');
        Ok((&self.out).write_all(&text)?)
    }
}

/// The width and colours of standard error, for failures and remarks.
pub(crate) fn stderr_style(choice: ColorChoice) -> (usize, bool) {
    let stderr = io::stderr();
    let columns = stderr.is_terminal().then(|| terminal_columns(stderr.as_fd()));
    (text_width(columns), colors(choice, columns.is_some()))
}

/// Seconds since the epoch, for "3 minutes ago" alone.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn text_width(columns: Option<usize>) -> usize {
    columns.unwrap_or(USUAL_WIDTH).clamp(LEAST_WIDTH, USUAL_WIDTH)
}

fn terminal_columns(terminal: std::os::fd::BorrowedFd<'_>) -> usize {
    let size = terminal_size::terminal_size_of(terminal);
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

fn colors(choice: ColorChoice, terminal: bool) -> bool {
    // https://no-color.org: any value but the empty one counts. A dumb terminal knows no escapes.
    let no_color = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !no_color() && !dumb(),
    }
}
