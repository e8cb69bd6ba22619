//! Processes of a scratch host, as the kernel accounts for them. Looked at from outside; nothing in the host is asked.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use crate::Host;

/// A running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
}

impl Process {
    /// Its number outside the host.
    #[must_use]
    pub const fn id(&self) -> i32 {
        self.pid
    }

    /// The processor time that all its threads used so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.pid))?;
        Ok(Duration::from(clock_gettime(clock)?))
    }

    /// The bytes that it caused to be written to a disk so far (proc(5), `/proc/pid/io`).
    ///
    /// # Errors
    /// It is gone.
    pub fn written(&self) -> Result<u64> {
        self.number("io", "write_bytes:")
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub fn resident(&self) -> Result<u64> {
        self.number("status", "VmRSS:")
    }

    fn number(&self, file: &str, key: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        line.split_whitespace().next().and_then(|number| number.parse().ok()).with_context(|| format!("no {key}"))
    }
}

impl Host {
    /// The host's only process of this name, as `comm` has it (proc(5)).
    ///
    /// # Errors
    /// It has none.
    pub fn process(&self, name: &str) -> Result<Process> {
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", self.pid))?;
        let ours = |pid: &i32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim_end() == name && fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|of| of == namespace)
        };
        let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let pid = pids.into_iter().find(ours).with_context(|| format!("no {name} runs on the host"))?;
        Ok(Process { pid })
    }
}
