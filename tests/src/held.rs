//! A login that was asked for its code and answers when it is let go.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::Host;

/// A login between question and answer.
#[derive(Debug)]
pub struct HeldLogin {
    login: Child,
    hand: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl HeldLogin {
    /// Begins a login of `user` at `service`, which will answer with `code`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn begin(host: &Host, service: &str, user: &str, code: &str) -> Result<Self> {
        let mut login = host.command("root", &["/usr/lib/scratch/pam_client", "hold", service, user, code])?;
        let mut login = login.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let hand = login.stdin.take();
        let said = BufReader::new(login.stdout.take().context("a piped output")?).lines();
        Ok(Self { login, hand, said })
    }

    /// Waits until it is asked.
    ///
    /// # Errors
    /// It was not.
    pub fn wait_for_prompt(&mut self) -> Result<()> {
        let line = self.said.next().context("it ended before it was asked")??;
        ensure!(line.starts_with("prompt: "), "{line}");
        Ok(())
    }

    /// Lets it answer.
    pub fn let_go(&mut self) {
        drop(self.hand.take());
    }

    /// Lets it answer, waits for its end, and returns what it got.
    ///
    /// # Errors
    /// It did not run to its end.
    pub fn result(mut self) -> Result<i32> {
        self.let_go();
        let last = self.said.by_ref().map_while(Result::ok).last().context("it said nothing")?;
        self.login.wait()?;
        let number = last.strip_prefix("result ").with_context(|| last.clone())?;
        Ok(number.parse()?)
    }
}
