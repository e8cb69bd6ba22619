//! System calls of a booted machine's daemon, as strace(1) sees them from outside: whatever systemd did to confine the
//! daemon stays as it is.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::daemon::wait;

/// What the daemon and its threads are called.
const DAEMON: [&str; 4] = ["countersignd", "store", "syslog", "nss-"];

/// strace(1), attached to a machine's first process and to all that it starts from then on.
#[derive(Debug)]
pub struct Trace {
    strace: Child,
    output: PathBuf,
}

impl Trace {
    /// Attaches to this process of the machine on which this runs.
    pub(crate) fn attach(pid: i32, directory: &Path) -> Result<Self> {
        let (output, errors) = (directory.join("strace"), directory.join("strace-errors"));
        let mut command = Command::new("strace");
        command.args(["-f", "--decode-pids=comm", "-s", "200", "-o"]).arg(&output).args(["-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors)?);
        let trace = Self { strace: command.spawn().context("strace")?, output };
        wait("strace", || Ok(fs::read_to_string(&errors)?.contains("attached").then_some(())))?;
        Ok(trace)
    }

    /// Detaches, and returns what the daemon called since it was started: a whole call a line, without its pid.
    ///
    /// # Errors
    /// strace did not end, or has seen no daemon.
    pub fn end(mut self) -> Result<Vec<String>> {
        kill(Pid::from_raw(i32::try_from(self.strace.id())?), Signal::SIGTERM)?;
        self.strace.wait()?;
        let calls = calls_of_the_daemon(&fs::read_to_string(&self.output)?);
        ensure!(!calls.is_empty(), "strace has seen no daemon");
        Ok(calls)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The daemon's lines, each call in one piece: strace breaks those off during which another thread calls.
fn calls_of_the_daemon(text: &str) -> Vec<String> {
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((who, call)) = line.split_once("> ") else { continue };
        let (pid, name) = who.split_once('<').unwrap_or((who, ""));
        if !DAEMON.iter().any(|daemon| name.starts_with(daemon)) {
            continue;
        }
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun);
        } else if let Some((_, rest)) = call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            calls.push(format!("{}{rest}", unfinished.remove(pid).unwrap_or_default()));
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::calls_of_the_daemon;

    #[test]
    fn calls_that_strace_breaks_off_are_put_together() {
        let text = "12<countersignd> read(3, <unfinished ...>\n13<store>        close(4) = 0\n14<sshd> close(9) = 0\n\
                    12<countersignd> <... read resumed>\"\", 1) = -1 EPERM (Operation not permitted)\n";
        assert_eq!(
            calls_of_the_daemon(text),
            ["close(4) = 0", "read(3, \"\", 1) = -1 EPERM (Operation not permitted)"]
        );
    }
}
