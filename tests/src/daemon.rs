//! The daemon of a scratch host: started as its own account, watched and ended from outside.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::PathBuf,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long the daemon may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the daemon's own output goes, as the host sees it.
pub(crate) const OUTPUT: &str = "/run/scratch/daemon.log";

/// Where it says that it is ready (sd_notify(3)).
pub(crate) const NOTIFY: &str = "/run/scratch/notify";

/// A running or stopped `countersignd`.
#[derive(Debug)]
pub struct Daemon {
    notifications: UnixDatagram,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    /// nsenter(1), whose only child is the daemon and which ends as it does.
    entrance: Child,
    daemon: Pid,
}

/// What the kernel says of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Resident memory in KiB.
    pub resident: u64,
    /// What of it is not mapped from a file, in KiB.
    pub anonymous: u64,
    /// Most resident memory it ever had, in KiB.
    pub peak: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// The names of its threads, sorted.
    pub threads: Vec<String>,
}

impl Daemon {
    /// `host` is the pid of the host's first process.
    pub(crate) fn new(host: i32) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{host}/root{NOTIFY}"));
        let notifications = UnixDatagram::bind(&path).context("the notification socket")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        notifications.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { notifications, process: Mutex::new(None) })
    }

    /// Runs `command` and returns once the daemon said that it is ready.
    pub(crate) fn start(&self, mut command: Command) -> Result<()> {
        let mut process = self.process();
        if process.as_mut().is_some_and(|process| matches!(process.entrance.try_wait(), Ok(None))) {
            bail!("the daemon runs already");
        }
        self.forget_notifications()?;
        let mut entrance = command.spawn().context("starting the daemon")?;
        match self.ready(&mut entrance) {
            Ok(daemon) => {
                *process = Some(Process { entrance, daemon });
                Ok(())
            }
            Err(error) => {
                let _ = entrance.kill();
                let _ = entrance.wait();
                Err(error)
            }
        }
    }

    /// Runs `command` and sends SIGKILL `after` so long, whether the daemon is ready then or not.
    pub(crate) fn start_and_kill(&self, mut command: Command, after: Duration) -> Result<()> {
        let mut entrance = command.spawn().context("starting the daemon")?;
        std::thread::park_timeout(after);
        let daemon = wait("the daemon's process", || Ok(child_of(entrance.id()).ok()))?;
        kill(daemon, Signal::SIGKILL)?;
        entrance.wait()?;
        Ok(())
    }

    /// Whether it was started and not ended since.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process().as_mut().is_some_and(|process| matches!(process.entrance.try_wait(), Ok(None)))
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// It does not run, does not end, or does not end with status 0.
    pub fn stop(&self) -> Result<()> {
        let status = self.end(Signal::SIGTERM)?;
        if !status.success() {
            bail!("the daemon ended with {status} upon SIGTERM");
        }
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::SIGKILL)?;
        Ok(())
    }

    /// Its number outside the host.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn id(&self) -> Result<Pid> {
        Ok(self.process().as_ref().context("the daemon does not run")?.daemon)
    }

    /// SIGSTOP: it neither answers nor ends.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let entrance = self.process().as_ref().context("the daemon does not run")?.entrance.id();
        let stopped = |stat: &str| anyhow::Ok(fs::read_to_string(stat)?.contains(") T "));
        let [daemon, entrance] = [self.proc("stat")?, format!("/proc/{entrance}/stat")];
        wait("the daemon to stop", || Ok((stopped(&daemon)? && stopped(&entrance)?).then_some(())))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        let process = self.process();
        process.as_ref().context("the daemon does not run")?.resume_entrance()
    }

    /// SIGHUP: it reads its configuration again.
    ///
    /// # Errors
    /// It does not run.
    pub fn reload(&self) -> Result<()> {
        // It tells of each reload, and waits where nobody reads that.
        self.forget_notifications()?;
        self.signal(Signal::SIGHUP)
    }

    /// Memory, descriptors and threads.
    ///
    /// # Errors
    /// It does not run.
    pub fn figures(&self) -> Result<Figures> {
        let status = fs::read_to_string(self.proc("status")?)?;
        let kibibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().with_context(|| format!("no {key} in its status"))
        };
        let mut threads = Vec::new();
        for task in fs::read_dir(self.proc("task")?)? {
            threads.push(fs::read_to_string(task?.path().join("comm"))?.trim().to_owned());
        }
        threads.sort();
        let descriptors = fs::read_dir(self.proc("fd")?)?.count();
        let (resident, anonymous, peak) = (kibibytes("VmRSS:")?, kibibytes("RssAnon:")?, kibibytes("VmHWM:")?);
        Ok(Figures { resident, anonymous, peak, descriptors, threads })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process();
        kill(process.as_ref().context("the daemon does not run")?.daemon, signal)?;
        Ok(())
    }

    fn end(&self, signal: Signal) -> Result<std::process::ExitStatus> {
        let mut process = self.process().take().context("the daemon does not run")?;
        kill(process.daemon, signal)?;
        process.resume_entrance()?;
        let end = wait("the daemon to end", || Ok(process.entrance.try_wait()?));
        if end.is_err() {
            let _ = kill(process.daemon, Signal::SIGKILL);
        }
        end
    }

    fn proc(&self, file: &str) -> Result<String> {
        let process = self.process();
        let daemon = process.as_ref().context("the daemon does not run")?.daemon;
        Ok(format!("/proc/{daemon}/{file}"))
    }

    /// Waits for `READY=1`; returns the daemon's pid, as seen from outside.
    fn ready(&self, entrance: &mut Child) -> Result<Pid> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0_u8; 4096];
        loop {
            if let Some(status) = entrance.try_wait()? {
                bail!("the daemon ended with {status} before it was ready");
            }
            if Instant::now() > deadline {
                bail!("the daemon is not ready after {} s", PATIENCE.as_secs());
            }
            let length = self.notifications.recv(&mut buffer).unwrap_or(0);
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            if text.lines().any(|line| line == "READY=1") {
                return child_of(entrance.id());
            }
        }
    }

    /// Takes what the daemon said since it was ready, or before it was killed. Where nobody does, it waits at about the
    /// tenth message.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn forget_notifications(&self) -> Result<()> {
        self.notifications.set_nonblocking(true)?;
        while self.notifications.recv(&mut [0_u8; 4096]).is_ok() {}
        self.notifications.set_nonblocking(false)?;
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// nsenter(1) stops itself when its child stops, continues the child when it is continued, and has to go
    /// on before it can see the child's end.
    fn resume_entrance(&self) -> Result<()> {
        kill(Pid::from_raw(self.entrance.id().try_into()?), Signal::SIGCONT)?;
        Ok(())
    }
}

/// The only child of a process.
pub(crate) fn child_of(parent: u32) -> Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let child = children.split_whitespace().next().context("it has no child")?;
    Ok(Pid::from_raw(child.parse()?))
}

/// Waits until `look` finds something.
///
/// # Errors
/// It found nothing in 20 s, or failed; `what` stands in the message.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
