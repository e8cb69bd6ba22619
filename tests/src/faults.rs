//! Faults at the nth call of a scratch host's daemon: of its file calls by a preloaded library
//! (`tests/native/faults.c`), of its system calls by strace(1).

use std::{
    fs::File,
    os::unix::fs::FileExt,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Host, HostBuilder, daemon::wait, programs};

/// Where the library lies on the host, and the page that it obeys.
const LIBRARY: &str = "/usr/lib/scratch/libfaults.so";
const PAGE: &str = "/etc/scratch-faults";
/// The bytes of the page, of which the first sixteen are four numbers.
const PAGE_LENGTH: usize = 4096;
/// Below this directory calls are counted.
const STATE: &str = "/var/lib/countersign";

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO, once.
    InputOutput = 1,
    /// ENOSPC, once.
    NoSpace = 2,
    /// Half of what was to be read or written, once.
    Short = 3,
    /// The daemon is killed before the call is done.
    KillBefore = 4,
    /// The daemon is killed after it.
    KillAfter = 5,
    /// Half is written, and the daemon is killed.
    Torn = 6,
    /// EIO from this call on, until the end of the operation.
    DeadDisk = 7,
    /// The nth allocation of memory fails.
    NoMemory = 8,
}

impl Fault {
    /// All faults of files.
    pub const OF_FILES: [Self; 7] =
        [Self::InputOutput, Self::NoSpace, Self::Short, Self::KillBefore, Self::KillAfter, Self::Torn, Self::DeadDisk];

    /// Whether the daemon dies of it.
    #[must_use]
    pub const fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter | Self::Torn | Self::NoMemory)
    }
}

/// What the library has seen since it was told to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many calls there were.
    pub calls: u32,
    /// The call that was hit, where one was.
    pub hit: Option<String>,
}

/// The page that the library obeys.
#[derive(Debug)]
pub struct Faults {
    page: File,
}

impl HostBuilder {
    /// Puts the library under the daemon; nothing fails until it is told to.
    ///
    /// # Errors
    /// The C compiler failed.
    pub fn faults(self) -> Result<Self> {
        let host = self.bind(programs::shared_library("tests/native/faults.c", "libfaults.so")?, LIBRARY);
        let host = host.daemon_preloads(LIBRARY).daemon_variable("COUNTERSIGN_FAULTS", PAGE);
        Ok(host.daemon_variable("COUNTERSIGN_FAULTS_BELOW", STATE).shared_page(PAGE, PAGE_LENGTH))
    }
}

impl Faults {
    /// The page of this host.
    ///
    /// # Errors
    /// The host was built without.
    pub fn of(host: &Host) -> Result<Self> {
        let page = File::options().read(true).write(true).open(host.outside(PAGE)).context("a host without faults")?;
        Ok(Self { page })
    }

    /// Counts calls from now on; the `nth` meets its fault.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn arm(&self, fault: Fault, nth: u32) -> Result<()> {
        let numbers = [0, fault as u32, 0, 0];
        let mut page: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        page.extend([0; 16]);
        self.page.write_all_at(&page, 0)?;
        self.page.write_all_at(&nth.to_ne_bytes(), 0)?;
        Ok(())
    }

    /// Ends the counting and the faults.
    ///
    /// # Errors
    /// The page cannot be read.
    pub fn disarm(&self) -> Result<Seen> {
        self.page.write_all_at(&0_u32.to_ne_bytes(), 0)?;
        let [calls, hits] = [8, 12].map(|at| {
            let mut number = [0; 4];
            self.page.read_exact_at(&mut number, at).map(|()| u32::from_ne_bytes(number))
        });
        let mut name = [0; 16];
        self.page.read_exact_at(&mut name, 16)?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        Ok(Seen { calls: calls?, hit: (hits? > 0).then_some(name) })
    }
}

/// strace(1) at the daemon, which lets the nth call of one kind fail.
#[derive(Debug)]
pub struct Injection {
    strace: Child,
    output: File,
}

impl Injection {
    /// Attaches to the running daemon. `call` and `error` are strace's names for them; 0 as `nth` only counts.
    ///
    /// # Errors
    /// strace could not attach.
    pub fn begin(host: &Host, call: &str, error: &str, nth: u32) -> Result<Self> {
        let (output, errors) = (host.outside("/run/scratch/strace"), host.outside("/run/scratch/strace-errors"));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "signal=none", "-e", &format!("trace={call}")]);
        if nth > 0 {
            command.args(["-e", &format!("inject={call}:error={error}:when={nth}")]);
        }
        command.arg("-o").arg(&output).args(["-p", &host.daemon().id()?.to_string()]);
        // strace(1) cuts the file that is there; it stays the same one.
        File::create(&output)?;
        let output = File::open(&output)?;
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?).spawn()?;
        let injection = Self { strace, output };
        let daemon = host.daemon().id()?;
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{daemon}/status"))?;
            let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap_or_default();
            Ok((tracer.trim() != "0").then_some(()))
        };
        wait("strace", traced)?;
        Ok(injection)
    }

    /// Detaches; how many calls there were, and whether one was hit.
    ///
    /// # Errors
    /// strace did not end.
    pub fn end(mut self) -> Result<(u32, bool)> {
        // It is gone already where the daemon died.
        let _ = kill(Pid::from_raw(i32::try_from(self.strace.id())?), Signal::SIGTERM);
        self.strace.wait()?;
        let text = std::io::read_to_string(&self.output)?;
        let calls = text.lines().filter(|line| !line.contains("resumed>")).count();
        Ok((u32::try_from(calls)?, text.contains("(INJECTED)")))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
