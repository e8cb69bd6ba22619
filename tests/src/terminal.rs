//! Dialogues on a terminal, held by expect(1) as a person would hold them.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::{Host, Outcome};

/// How long a dialogue waits for what it expects, in seconds.
const PATIENCE: u32 = 30;

/// How much of what a terminal shows is kept, in bytes: a QR code is about 4,000.
const SCREEN: u32 = 100_000;

/// expect's own exit status where something expected did not come.
const DISAPPOINTED: i32 = 99;

/// Where a terminal can be: a host that runs programs.
pub(crate) trait Place: std::fmt::Debug {
    /// Runs a program as `user` with `input` on its standard input.
    fn converse(&self, user: &str, arguments: &[&str], input: &[u8]) -> Result<Outcome>;

    /// What the host logged, for messages.
    fn diagnosis(&self) -> String;
}

impl Place for Host {
    fn converse(&self, user: &str, arguments: &[&str], input: &[u8]) -> Result<Outcome> {
        self.feed_as(user, arguments, input)
    }

    fn diagnosis(&self) -> String {
        self.diagnosis()
    }
}

/// A program on a terminal, and what is said to it.
#[derive(Debug)]
pub struct Dialogue<'host> {
    host: &'host dyn Place,
    user: String,
    command: String,
    script: String,
}

impl<'host> Dialogue<'host> {
    pub(crate) fn new(host: &'host dyn Place, user: &str, arguments: &[&str]) -> Self {
        let mut script = format!(
            "log_user 1\nmatch_max {SCREEN}\nset timeout {PATIENCE}\nset stty_init {{rows 60 columns 100}}\nspawn -noecho"
        );
        for argument in arguments {
            script.push(' ');
            script.push_str(&word(argument));
        }
        script.push('\n');
        Self { host, user: user.to_owned(), command: arguments.join(" "), script }
    }

    /// Waits until the terminal shows `text`.
    #[must_use]
    pub fn expect(mut self, text: &str) -> Self {
        let text = word(text);
        let _ = writeln!(
            self.script,
            "expect {{\n -ex {text} {{}}\n timeout {{ puts stderr \"never seen: \"; puts stderr {text}; exit \
             {DISAPPOINTED} }}\n eof {{ puts stderr \"ended before: \"; puts stderr {text}; exit {DISAPPOINTED} }}\n}}"
        );
        self
    }

    /// Types `line` and presses Enter.
    #[must_use]
    pub fn send(mut self, line: &str) -> Self {
        let _ = writeln!(self.script, "send -- {}", word(&format!("{line}\r")));
        self
    }

    /// Waits for the prompt and answers it.
    #[must_use]
    pub fn answer(self, prompt: &str, reply: &str) -> Self {
        self.expect(prompt).send(reply)
    }

    /// Waits for the prompt, and until the terminal no longer shows what is typed, and answers it: pkttyagent switches
    /// that off after it has printed the prompt, and throws away what was typed before.
    #[must_use]
    pub fn answer_unseen(self, prompt: &str, reply: &str) -> Self {
        let mut dialogue = self.expect(prompt);
        let _ = writeln!(
            dialogue.script,
            "set end_of_patience [expr {{[clock seconds] + {PATIENCE}}}]\n\
             while {{![string match {{* -echo *}} [exec stty -a < $spawn_out(slave,name)]]}} {{\n \
             if {{[clock seconds] > $end_of_patience}} {{ puts stderr \"still shown: what is typed\"; exit {DISAPPOINTED} }}\n}}"
        );
        dialogue.send(reply)
    }

    /// Waits for the prompt and answers it with the first line that a program on the host prints then.
    #[must_use]
    pub fn answer_from(self, prompt: &str, program: &str) -> Self {
        let mut dialogue = self.expect(prompt);
        let _ = writeln!(dialogue.script, "send -- \"[exec {}]\\r\"", word(program));
        dialogue
    }

    /// Waits for the prompt and answers it with the first line that a program on the host prints then, which gets what
    /// the terminal has shown since the last prompt on its standard input: somebody who looks at it.
    #[must_use]
    pub fn answer_by_sight(self, prompt: &str, program: &str) -> Self {
        let mut dialogue = self.expect(prompt);
        let _ = writeln!(dialogue.script, "send -- \"[exec {{*}}{} << $expect_out(buffer)]\\r\"", word(program));
        dialogue
    }

    /// Presses Ctrl-C until the program ends: sudo misses a signal that comes after it has printed its prompt and
    /// before it reads.
    #[must_use]
    pub fn interrupt(mut self) -> Self {
        let _ = writeln!(
            self.script,
            "set timeout 1\nfor {{set presses 0}} {{$presses < {PATIENCE}}} {{incr presses}} {{\n send -- \\003\n \
             expect eof {{ set ended 1; break }} timeout {{}}\n}}\nset timeout {PATIENCE}"
        );
        self
    }

    /// Waits for the program's end. All that the terminal showed stands in the outcome's `stdout`.
    ///
    /// # Errors
    /// Something expected was never shown; the error holds the terminal and the host's log.
    pub fn end(mut self) -> Result<Outcome> {
        let _ = writeln!(
            self.script,
            "if {{![info exists ended]}} {{\n expect {{\n eof {{}}\n timeout {{ puts stderr \"it does not end\"; \
             exit {DISAPPOINTED} }}\n }}\n}}\nset end [wait]\n# A fifth element tells of a signal; ours is Ctrl-C alone.\n\
             if {{[llength $end] > 4}} {{ exit 130 }}\nexit [lindex $end 3]"
        );
        let mut outcome = self.host.converse(&self.user, &["expect", "-f", "-"], self.script.as_bytes())?;
        outcome.command = self.command;
        outcome.stdout = outcome.stdout.replace('\r', "");
        if outcome.status == DISAPPOINTED {
            bail!("{outcome}\n{}", self.host.diagnosis());
        }
        Ok(outcome)
    }
}

/// A word of Tcl that stands for exactly `text`.
fn word(text: &str) -> String {
    let mut hex = String::with_capacity(2 * text.len());
    for byte in text.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("[encoding convertfrom utf-8 [binary format H* {hex}]]")
}
