//! The scratch host: what runs on it, what it wrote, and its end.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::{
    Daemon, Dialogue, Enrolment, HostBuilder, HotpKey, Line, Outcome,
    account::{self, Person},
    builder::Setting,
    daemon::{self, wait},
    root::Root,
};

/// The seconds after which a program on the host is killed.
const PATIENCE: &str = "60";

/// The host's clock: seconds ahead of the machine's, in the notation of libfaketime.
pub(crate) const CLOCK: &str = "/run/scratch/clock";

/// A scratch host. Dropping it ends everything on it.
#[derive(Debug)]
pub struct Host {
    pub(crate) machine: Child,
    pub(crate) pid: i32,
    pub(crate) root: Root,
    pub(crate) people: Vec<Person>,
    pub(crate) daemon: Daemon,
    /// Seconds that the daemon's clock is ahead, where it is a false one; less than 0 where it is behind.
    pub(crate) ahead: Option<Mutex<i64>>,
    /// What surrounds the daemon.
    pub(crate) setting: Setting,
}

impl Host {
    /// A host with the daemon, the tool, the module, the system bus and syslog.
    pub fn build() -> HostBuilder {
        HostBuilder::default()
    }

    /// Runs a program as root.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        self.run_as("root", arguments)
    }

    /// Runs a program as `user`, without a terminal and with nothing on its standard input.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> Result<Outcome> {
        self.feed_as(user, arguments, b"")
    }

    /// Runs a program as `user`, without a terminal and with `input` on its standard input.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub fn feed_as(&self, user: &str, arguments: &[&str], input: &[u8]) -> Result<Outcome> {
        let mut command = self.command(user, arguments)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| arguments.join(" "))?;
        let mut stdin = child.stdin.take().context("a piped input")?;
        let output = std::thread::scope(|scope| {
            // A program that ends without reading everything breaks the pipe, which is its right.
            scope.spawn(move || stdin.write_all(input).ok());
            child.wait_with_output()
        })?;
        Ok(Outcome::of(arguments, &output))
    }

    /// The command that runs a program on the host as `user`: outside of any terminal's session, with a clean
    /// environment, and killed after a minute.
    ///
    /// # Errors
    /// The host has no such user.
    pub fn command(&self, user: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = self.enter();
        command.args(["setsid", "-w", "timeout", "-s", "KILL", PATIENCE]);
        let mut home = "/root".to_owned();
        if user != "root" {
            let person = self.people.iter().find(|person| person.name == user);
            let person = person.with_context(|| format!("the host has no user {user}"))?;
            home = person.home();
            let id = person.uid;
            command.args(["setpriv", "--reuid", &id.to_string(), "--regid", &id.to_string(), "--init-groups"]);
        }
        command.args(["env", "--chdir", &home, &format!("HOME={home}")]);
        command.args([&format!("USER={user}"), &format!("LOGNAME={user}")]).args(arguments);
        Ok(command)
    }

    /// A dialogue with a program on a terminal.
    #[must_use]
    pub fn terminal<'host>(&'host self, user: &str, arguments: &[&str]) -> Dialogue<'host> {
        Dialogue::new(self, user, arguments)
    }

    /// The tool, as root.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub fn countersign(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut all = vec!["countersign"];
        all.extend_from_slice(arguments);
        self.run(&all)
    }

    /// Gives `user` a TOTP authenticator without asking for a code.
    ///
    /// # Errors
    /// The tool refused.
    pub fn enrol(&self, user: &str) -> Result<Enrolment> {
        let outcome = self.countersign(&["enroll", user, "--no-confirm", "--json"])?.success()?;
        Enrolment::parse(&outcome.stdout)
    }

    /// Gives `user` an HOTP authenticator.
    ///
    /// # Errors
    /// The tool refused.
    pub fn import_hotp(&self, user: &str, key: &HotpKey) -> Result<()> {
        let arguments = ["countersign", "import", "otpauth", "-"];
        self.feed_as("root", &arguments, key.uri(user).as_bytes())?.success()?;
        Ok(())
    }

    /// The code that the authenticator shows, `steps` time steps from now.
    ///
    /// # Errors
    /// oathtool failed.
    pub fn code(&self, authenticator: &Enrolment, steps: i64) -> Result<String> {
        authenticator.shown(|| self.now(), steps)
    }

    /// The wrong codes in a row that are charged to `user`.
    ///
    /// # Errors
    /// The tool refused.
    pub fn failures(&self, user: &str) -> Result<u64> {
        let status = self.countersign(&["status", user, "--json"])?.success()?;
        let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
        status.get("failures").and_then(serde_json::Value::as_u64).with_context(|| status.to_string())
    }

    /// The lines of the log about codes that were charged, and about accounts that were locked.
    #[must_use]
    pub fn charged(&self) -> Vec<Line> {
        let charged = |line: &Line| line.has(&[("event", "lock")]) || line.has(&[("reason", "wrong")]);
        self.syslog().into_iter().filter(charged).collect()
    }

    /// A code that is certainly wrong.
    ///
    /// # Errors
    /// oathtool failed.
    pub fn wrong_code(&self, authenticator: &Enrolment) -> Result<String> {
        authenticator.wrong_code_at(self.now())
    }

    /// The time by the daemon's clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| *ahead.lock().unwrap_or_else(PoisonError::into_inner));
        let distance = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
    }

    /// Moves the daemon's clock forward.
    ///
    /// # Errors
    /// The host was built without a fake clock.
    pub fn advance(&self, by: Duration) -> Result<()> {
        self.move_clock(i64::try_from(by.as_secs())?)
    }

    /// Turns the daemon's clock back.
    ///
    /// # Errors
    /// The host was built without a fake clock.
    pub fn turn_back(&self, by: Duration) -> Result<()> {
        self.move_clock(-i64::try_from(by.as_secs())?)
    }

    fn move_clock(&self, seconds: i64) -> Result<()> {
        let ahead = self.ahead.as_ref().context("the host's clock is the machine's")?;
        let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead += seconds;
        self.root.write(CLOCK, format!("{:+}\n", *ahead).as_bytes(), 0o644, 0)
    }

    /// The daemon.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Errors
    /// It did not start; the error holds its output.
    pub fn start_daemon(&self) -> Result<()> {
        self.daemon.start(self.daemon_command()?).with_context(|| self.diagnosis())
    }

    /// Starts the daemon and kills it after so long, whether it is ready then or not.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_daemon_and_kill(&self, after: Duration) -> Result<()> {
        self.daemon.start_and_kill(self.daemon_command()?, after)
    }

    fn daemon_command(&self) -> Result<Command> {
        let output = File::options().append(true).create(true).open(self.outside(daemon::OUTPUT))?;
        let mut command = self.enter();
        let uid = account::DAEMON_UID.to_string();
        command.args(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--no-new-privs"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all", "env", &format!("NOTIFY_SOCKET={}", daemon::NOTIFY)]);
        let mut libraries = self.setting.preloads.clone();
        command.args(&self.setting.variables);
        if self.ahead.is_some() {
            libraries.push(format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH));
            command.arg(format!("FAKETIME_TIMESTAMP_FILE={CLOCK}"));
            command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"]);
        }
        if !libraries.is_empty() {
            command.arg(format!("LD_PRELOAD={}", libraries.join(":")));
        }
        if !self.setting.limits.is_empty() {
            command.arg("prlimit").args(&self.setting.limits).arg("--");
        }
        command.arg("/usr/libexec/countersignd").args(&self.setting.arguments);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    /// Runs a daemon that is expected to end by itself, as the account of the daemon.
    ///
    /// # Errors
    /// It could not be run. A bad exit status is no error.
    pub fn run_daemon(&self) -> Result<Outcome> {
        let own = ["setpriv", "--reuid", account::DAEMON, "--regid", account::DAEMON, "--clear-groups"];
        self.run(&[&own[..], &["/usr/libexec/countersignd"]].concat())
    }

    /// Stops the daemon in order and starts it again.
    ///
    /// # Errors
    /// It did not stop or did not start.
    pub fn restart_daemon(&self) -> Result<()> {
        self.daemon.stop()?;
        self.start_daemon()
    }

    /// Sends the host's system bus a signal, such as `STOP`.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_bus(&self, signal: &str) -> Result<()> {
        self.run(&["sh", "-c", "kill -$0 $(cat /run/dbus/pid)", signal])?.success()?;
        Ok(())
    }

    /// Ends the host's system bus.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop_bus(&self) -> Result<()> {
        let stop = "pid=$(cat /run/dbus/pid) && kill -KILL $pid && while kill -0 $pid 2>/dev/null; do :; done
            rm -f /run/dbus/pid /run/dbus/system_bus_socket";
        self.run(&["sh", "-c", stop])?.success()?;
        Ok(())
    }

    /// Starts the host's system bus and returns when it is ready.
    ///
    /// # Errors
    /// It does not start, such as when it runs already.
    pub fn start_bus(&self) -> Result<()> {
        self.run(&["dbus-daemon", "--system", "--fork"])?.success()?;
        Ok(())
    }

    /// All that rsyslog has written to `authpriv` so far.
    #[must_use]
    pub fn syslog(&self) -> Vec<Line> {
        let bytes = self.root.read("/var/log/auth.log").unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().filter_map(Line::parse).collect()
    }

    /// Waits until the daemon has logged a line with these fields, and returns the last such line.
    ///
    /// # Errors
    /// It never came; the error holds the log.
    pub fn logged(&self, fields: &[(&str, &str)]) -> Result<Line> {
        let look = || Ok(self.syslog().into_iter().rfind(|line| line.has(fields)));
        wait(&format!("a syslog line with {fields:?}"), look).with_context(|| self.diagnosis())
    }

    /// A file of the host.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.root.read(path)
    }

    /// Writes or replaces a file of root's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        self.root.write(path, content.as_bytes(), 0o644, 0)
    }

    /// Whether the host has this file.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.root.exists(path)
    }

    /// A copy of the state's disk as it is at this moment: what has not reached the disk is not in it.
    ///
    /// # Errors
    /// The host was built without one.
    pub fn disk(&self) -> Result<Vec<u8>> {
        self.root.read("/scratch-disk/image")
    }

    /// The path by which the machine reaches a file of the host. Only for directories that are root's and
    /// hold no links.
    #[must_use]
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// The host's log and the daemon's own output, for messages.
    #[must_use]
    pub fn diagnosis(&self) -> String {
        let mut text = String::from("--- auth.log\n");
        for line in self.syslog() {
            let _ = writeln!(text, "{}: {}", line.program, line.text);
        }
        let output = self.root.read(daemon::OUTPUT).unwrap_or_default();
        let _ = write!(text, "--- the daemon's output\n{}", String::from_utf8_lossy(&output));
        text
    }

    /// The command that enters all the host's namespaces.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-m", "-n", "-p", "-u", "-i", "--"]);
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.args(["env", "-i", path, "LANG=C.UTF-8", "TERM=xterm", "SHELL=/bin/bash"]);
        command
    }

    /// Each of them returns when it is ready.
    pub(crate) fn start_services(&self, sshd: &str) -> Result<()> {
        let mut script = "set -e\ndbus-uuidgen --ensure=/etc/machine-id\ndbus-daemon --system --fork\n\
             rsyslogd -f /etc/scratch-rsyslog.conf -i /run/rsyslogd.pid\n"
            .to_owned();
        script.push_str(sshd);
        self.run(&["sh", "-c", &script])?.success()?;
        wait("/dev/log", || Ok(self.root.exists("/dev/log").then_some(())))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.diagnosis().as_bytes());
        }
        // A host whose daemon is stopped cannot end.
        if self.daemon.runs() {
            let _ = self.daemon.kill();
        }
        // PID 1 of the host reads its standard input and ends when it closes; the kernel ends the rest.
        drop(self.machine.stdin.take());
        let _ = self.machine.wait();
    }
}
