//! The asking for an administrator's password on this terminal, where polkit wants one: by polkit's own agent,
//! pkttyagent(1), so that no password ever passes through this tool.

use std::{
    io::{IsTerminal as _, Read as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

/// A fixed path: what asks for a password must not be somebody's choice of `PATH`.
const PROGRAM: &str = "/usr/bin/pkttyagent";
/// How long it may take to tell polkit of itself.
const STARTING: Duration = Duration::from_secs(5);

/// A running agent. It ends with this value, and with the process.
pub(crate) struct Agent(Child);

impl Agent {
    /// Starts the agent for questions about this process, where one can be needed: for anybody but root, who is never
    /// asked, on a terminal. `None` where it is not needed or not there; then polkit asks on the desktop or refuses.
    pub(crate) async fn start() -> Option<Self> {
        if geteuid().is_root() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let mut child = Command::new(PROGRAM)
            // Not `--fallback`: polkit 122 then finds no agent at all for a process that belongs to no session of
            // logind's, and who typed the command here expects the question here.
            .args(["--process", &std::process::id().to_string(), "--notify-fd", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut registered = child.stdout.take()?;
        let agent = Self(child);
        // The agent closes the descriptor when polkit knows it, and ends where there is no polkit.
        let waiting = tokio::task::spawn_blocking(move || registered.read(&mut [0; 1]));
        match tokio::time::timeout(STARTING, waiting).await {
            Ok(_) => Some(agent),
            Err(_elapsed) => None,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Asked to end, it leaves the terminal as it found it.
        let pid = i32::try_from(self.0.id()).map(Pid::from_raw);
        let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let _ = self.0.wait();
    }
}
