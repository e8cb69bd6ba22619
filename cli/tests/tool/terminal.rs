//! A person at a terminal: the tool as the leader of a session on a pseudo-terminal.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running tool and the terminal before it.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    side: OwnedFd,
}

impl Terminal {
    /// Starts `command` on a terminal of `columns` columns.
    pub(crate) fn start(command: &Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        // setsid(1) makes the terminal the controlling one, so that Ctrl-C becomes a signal.
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        leader.env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color");
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = leader.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails with EIO when the last program has left the terminal.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, seen: Vec::new(), side: pty.slave }
    }

    /// Waits until the screen has shown `text`, which must be ASCII.
    pub(crate) fn expect(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.shown().contains(text) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(error) => panic!("{text:?} was not shown ({error}), but:\n{}", self.shown()),
            }
        }
    }

    /// Forgets what was shown so far.
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
    }

    /// Types `keys`.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends a signal to the tool.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.side).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits for the end: the exit code and what was shown.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        assert!(self.echoes(), "the terminal is left as it was");
        drop(self.side);
        drop(self.keyboard);
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.seen.extend(bytes);
        }
        let shown = String::from_utf8_lossy(&self.seen).into_owned();
        (status.code(), shown)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}
