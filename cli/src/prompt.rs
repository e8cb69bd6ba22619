//! Asking the person at standard input, so that Ctrl-C, SIGTERM and a closed input are answers as well and the terminal
//! is left as it was.

use std::io::{self, IsTerminal as _};

use nix::{
    errno::Errno,
    sys::termios::{self, LocalFlags, SetArg, Termios},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::{failure::Failure, output::Output, wording};

/// The longest reply, in bytes; what is longer is cut, and then no code of any kind.
const LONGEST: usize = 1024;

/// What came of a question.
pub(crate) enum Answer {
    /// A line, without its end and the spaces around it.
    Line(Zeroizing<String>),
    /// Standard input is closed.
    End,
    /// SIGINT (Ctrl-C), SIGTERM or SIGHUP.
    Interrupted,
}

/// The signals that end a conversation. From [`Interrupts::listen`] on they no longer end the process.
pub(crate) struct Interrupts {
    signals: [Signal; 3],
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the handlers cannot be installed.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = || -> io::Result<Self> {
            let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let [interrupt, terminate, hangup] = signals.map(signal);
            Ok(Self { signals: [interrupt?, terminate?, hangup?] })
        };
        listen().map_err(|error| Failure::refused(format!("signals cannot be handled: {error}")))
    }

    /// Waits for one of them.
    pub(crate) async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Whether somebody sits at standard input.
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal()
}

/// Prints `question` and reads a line; with `hidden` the terminal does not show it.
///
/// # Errors
/// Where the question cannot be printed, or standard input not be read.
pub(crate) async fn ask(
    output: &Output,
    question: &str,
    hidden: bool,
    interrupts: &mut Interrupts,
) -> Result<Answer, Failure> {
    // Before the question: what is typed once it stands there must not be thrown away.
    let echo = hidden.then(Echo::off).flatten();
    output.print(question)?;
    // The thread that reads cannot be stopped, but nothing waits for it: the process ends beneath it.
    let line = tokio::task::spawn_blocking(read_line);
    let answer = tokio::select! {
        biased;
        () = interrupts.wait() => Answer::Interrupted,
        line = line => match line.map_err(io::Error::from).and_then(|line| line) {
            Ok(Some(line)) => Answer::Line(line),
            Ok(None) => Answer::End,
            Err(error) => return Err(Failure::refused(format!("standard input cannot be read: {error}"))),
        },
    };
    // Nobody sees the end of a hidden line, of one that was broken off, nor of one that was not typed.
    let unfinished = !matches!(answer, Answer::Line(_));
    if echo.is_some() || unfinished || !somebody_is_there() {
        output.print("\n")?;
    }
    Ok(answer)
}

/// As [`ask`], in a program that does nothing else meanwhile and may be killed by a signal. `None` at the end of the input.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_at_once(output: &Output, question: &str, hidden: bool) -> Result<Option<Zeroizing<String>>, Failure> {
    let echo = hidden.then(Echo::off).flatten();
    output.print(question)?;
    let line = read_line().map_err(|error| Failure::refused(format!("standard input cannot be read: {error}")))?;
    if echo.is_some() || line.is_none() || !somebody_is_there() {
        output.print("\n")?;
    }
    Ok(line)
}

/// Asks for a yes; everything else, a closed input and a signal too, is a no.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn confirm(output: &Output, question: &str) -> Result<bool, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let question = wording::wrap(&format!("{question} [y/N]"), output.width(), "");
    let Answer::Line(line) = ask(output, &format!("{question} "), false, &mut interrupts).await? else {
        return Ok(false);
    };
    Ok(["y", "yes"].iter().any(|yes| line.eq_ignore_ascii_case(yes)))
}

/// A line of standard input, byte by byte, so that no buffer keeps a code and nothing after the line is taken.
fn read_line() -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = [0];
    loop {
        match nix::unistd::read(io::stdin(), &mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() < LONGEST => line.extend_from_slice(&byte),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// The terminal's echo, switched off until this is dropped.
struct Echo(Termios);

impl Echo {
    /// `None` where standard input is no terminal.
    fn off() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &silent).ok()?;
        Some(Self(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Nothing better can be done for a terminal that has gone.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
