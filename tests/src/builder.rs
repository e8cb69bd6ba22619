//! The builder of a scratch host: what it shall have, its boot, its files.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail};

use crate::{
    Daemon, Host, Stack,
    account::{self, Person},
    daemon::child_of,
    host::CLOCK,
    pam, programs,
    root::Root,
    secure_shell,
};

/// The configuration file of the daemon.
const CONFIGURATION: &str = "/etc/countersign/countersign.toml";

const RSYSLOG: &str = r#"module(load="imuxsock" SysSock.UsePIDFromSystem="on")
template(name="plain" type="string" string="%syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\n")
authpriv.* action(type="omfile" file="/var/log/auth.log" template="plain")
"#;

const SUDOERS: &str = "Defaults env_reset, timestamp_timeout=0, lecture=never\n\
     Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
     root ALL=(ALL:ALL) ALL\n%scratch-sudo ALL=(ALL:ALL) ALL\n";

/// What surrounds the daemon of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// Libraries.
    pub(crate) preloads: Vec<String>,
    /// `NAME=VALUE`.
    pub(crate) variables: Vec<String>,
    /// Arguments of prlimit(1).
    pub(crate) limits: Vec<String>,
    /// The daemon's own arguments.
    pub(crate) arguments: Vec<String>,
}

/// What a [`Host`] shall be. Every step has a usual value.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HostBuilder {
    people: Vec<Person>,
    files: Vec<(String, Vec<u8>, u32)>,
    binds: Vec<(PathBuf, String)>,
    stacks: Vec<Stack>,
    module_arguments: String,
    configuration: String,
    ssh_methods: Option<String>,
    own_sshd: bool,
    sudoers: String,
    fake_clock: bool,
    disk: Option<String>,
    disk_size: Option<String>,
    daemon_waits: bool,
    daemon_setting: Setting,
}

impl HostBuilder {
    /// An account that logs in with this password. Everybody may use sudo.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.people.push(Person::new(self.people.len(), name, Some(password)));
        self
    }

    /// An account without a password.
    pub fn user_without_password(mut self, name: &str) -> Self {
        self.people.push(Person::new(self.people.len(), name, None));
        self
    }

    /// An account without a password that may not use sudo, as services have it.
    pub fn service_account(mut self, name: &str) -> Self {
        let mut person = Person::new(self.people.len(), name, None);
        person.sudo = false;
        self.people.push(person);
        self
    }

    /// A file of root's with mode 0644.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.into(), 0o644));
        self
    }

    /// A script of root's with mode 0755.
    pub fn script(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.into(), 0o755));
        self
    }

    /// `/usr/local/bin/phone`, which scans the QR code on a terminal and makes codes of it
    /// ([`crate::Dialogue::answer_by_sight`]).
    pub fn phone(self) -> Self {
        self.script("/usr/local/bin/phone", include_str!("phone.pl"))
    }

    /// A file or directory of the machine at another place of the host, which may write to it.
    pub fn bind(mut self, source: PathBuf, path: &str) -> Self {
        self.binds.push((source, path.to_owned()));
        self
    }

    /// Asks for a code in this PAM service.
    pub fn pam(mut self, stack: Stack) -> Self {
        self.stacks.push(stack);
        self
    }

    /// Arguments of the module in every [`Stack`], such as `timeout=2`.
    pub fn module_arguments(mut self, arguments: &str) -> Self {
        arguments.clone_into(&mut self.module_arguments);
        self
    }

    /// Starts sshd; `methods` is its `AuthenticationMethods`.
    pub fn sshd(mut self, methods: &str) -> Self {
        self.ssh_methods = Some(methods.to_owned());
        self
    }

    /// Starts sshd as the host's own `/etc/ssh/sshd_config` says.
    pub fn own_sshd(mut self) -> Self {
        self.own_sshd = true;
        self
    }

    /// A further line of sudoers(5).
    pub fn sudoers(mut self, line: &str) -> Self {
        self.sudoers.push_str(line);
        self.sudoers.push('\n');
        self
    }

    /// The content of the daemon's configuration file, which is empty otherwise.
    pub fn configuration(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.configuration);
        self
    }

    /// The daemon's clock is [`Host::advance`]d by hand.
    pub fn fake_clock(mut self) -> Self {
        self.fake_clock = true;
        self
    }

    /// The daemon's state lies on a disk of its own, which [`Host::disk`] copies.
    pub fn state_on_a_disk(mut self) -> Self {
        self.disk = Some("new".to_owned());
        self
    }

    /// The size of that disk, as truncate(1) takes it; 16 MiB otherwise.
    pub fn disk_size(mut self, size: &str) -> Self {
        self.disk_size = Some(size.to_owned());
        self
    }

    /// The daemon's state lies on a copy of this disk.
    pub fn state_on_this_disk(mut self, image: &Path) -> Self {
        self.disk = Some(image.display().to_string());
        self
    }

    /// A library of the host that is loaded into the daemon before all others.
    pub(crate) fn daemon_preloads(mut self, library: &str) -> Self {
        self.daemon_setting.preloads.push(library.to_owned());
        self
    }

    /// A variable of the daemon's environment.
    pub(crate) fn daemon_variable(mut self, name: &str, value: &str) -> Self {
        self.daemon_setting.variables.push(format!("{name}={value}"));
        self
    }

    /// One more argument of the daemon.
    pub(crate) fn daemon_argument(mut self, argument: &str) -> Self {
        self.daemon_setting.arguments.push(argument.to_owned());
        self
    }

    /// A file of zeros that everybody may write to and map, and that stays the same file.
    pub(crate) fn shared_page(mut self, path: &str, length: usize) -> Self {
        self.files.push((path.to_owned(), vec![0; length], 0o666));
        self
    }

    /// Limits of the daemon, as prlimit(1) takes them, such as `--nofile=64`.
    pub fn daemon_limit(mut self, limit: &str) -> Self {
        self.daemon_setting.limits.push(limit.to_owned());
        self
    }

    /// The daemon is not started: [`Host::start_daemon`] does.
    pub fn daemon_waits(mut self) -> Self {
        self.daemon_waits = true;
        self
    }

    /// Boots the host and waits until all of it is ready.
    ///
    /// # Errors
    /// The machine's user is not root, something is missing on the machine, or something did not start.
    pub fn start(self) -> Result<Host> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a scratch host needs namespaces and mounts: run this as root");
        }
        let (machine, pid) = self.boot()?;
        let root = Root::of(pid)?;
        self.write_files(&root)?;
        let daemon = Daemon::new(pid)?;
        let ahead = self.fake_clock.then(|| Mutex::new(0));
        let sshd = self.sshd_start();
        let host = Host { machine, pid, root, people: self.people, daemon, ahead, setting: self.daemon_setting };
        host.start_services(sshd)?;
        if !self.daemon_waits {
            host.start_daemon()?;
        }
        Ok(host)
    }

    /// The content of a file as it was given so far.
    pub(crate) fn planned(&self, path: &str) -> Option<String> {
        let (_, content, _) = self.files.iter().rfind(|(planned, ..)| planned == path)?;
        Some(String::from_utf8_lossy(content).into_owned())
    }

    /// The commands that start sshd.
    fn sshd_start(&self) -> &'static str {
        match (self.own_sshd, &self.ssh_methods) {
            (true, _) => secure_shell::START_OWN,
            (false, Some(_)) => secure_shell::START,
            (false, None) => "",
        }
    }

    fn boot(&self) -> Result<(Child, i32)> {
        let mut command = Command::new("unshare");
        command.args(["-m", "-n", "-p", "-u", "-i", "-f", "--propagation", "private", "--kill-child=KILL"]);
        command.args(["--", "bash", "-c", include_str!("boot.sh"), "boot"]);
        for (source, path) in self.binds()? {
            command.arg(source).arg(path);
        }
        if let Some(disk) = &self.disk {
            command.env("SCRATCH_DISK", disk).env("SCRATCH_DISK_SIZE", self.disk_size.as_deref().unwrap_or("16M"));
        }
        let mut machine = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("unshare")?;
        let mut line = String::new();
        let output = machine.stdout.take().context("a piped output")?;
        BufReader::new(output).read_line(&mut line)?;
        if line != "ready\n" {
            let status = machine.wait()?;
            bail!("the scratch host does not boot ({status}); its reason stands above");
        }
        let pid = child_of(machine.id())?.as_raw();
        Ok((machine, pid))
    }

    fn binds(&self) -> Result<Vec<(PathBuf, String)>> {
        let modules = programs::module_directory();
        let mut binds = vec![
            (programs::staged("countersignd")?, "/usr/libexec/countersignd".to_owned()),
            (programs::staged("countersign")?, "/usr/bin/countersign".to_owned()),
            (programs::staged("pam_countersign.so")?, format!("{modules}/pam_countersign.so")),
        ];
        for driver in ["pam_client", "socket_client", "fake_daemon", "bus_fuzzer", "member_caller", "bus_proxy"] {
            binds.push((programs::driver(driver)?, format!("/usr/lib/scratch/{driver}")));
        }
        let policy = "org.countersign.Countersign1.conf";
        let shipped = programs::shipped(&format!("packaging/dbus/{policy}"));
        binds.push((shipped, format!("/usr/share/dbus-1/system.d/{policy}")));
        // What is given explicitly stands in the place of what was staged.
        binds.retain(|(_, path)| !self.binds.iter().any(|(_, given)| given == path));
        binds.extend(self.binds.iter().cloned());
        Ok(binds)
    }

    fn write_files(&self, root: &Root) -> Result<()> {
        let mut databases = ["/etc/passwd", "/etc/shadow", "/etc/group"].map(|path| (path, Vec::new()));
        let mut all_lines = vec![account::daemon_lines()];
        for person in &self.people {
            all_lines.push(person.lines()?);
            root.make_directory(&person.home(), 0o755, person.uid)?;
        }
        let names: Vec<&str> =
            self.people.iter().filter(|person| person.sudo).map(|person| person.name.as_str()).collect();
        let sudo = format!("scratch-sudo:x:60999:{}\n", names.join(","));
        for (index, (path, content)) in databases.iter_mut().enumerate() {
            *content = root.read(path)?;
            content.extend(all_lines.iter().filter_map(|lines| lines.get(index)).flat_map(|line| line.bytes()));
            if *path == "/etc/group" {
                content.extend(sudo.bytes());
            }
            root.write(path, content, if *path == "/etc/shadow" { 0o600 } else { 0o644 }, 0)?;
        }
        root.write("/etc/hosts", b"127.0.0.1 localhost scratch\n", 0o644, 0)?;
        root.write("/etc/sudoers", format!("{SUDOERS}{}", self.sudoers).as_bytes(), 0o440, 0)?;
        root.write("/etc/scratch-rsyslog.conf", RSYSLOG.as_bytes(), 0o644, 0)?;
        root.write("/var/log/auth.log", b"", 0o640, 0)?;
        root.write(CONFIGURATION, self.configuration.as_bytes(), 0o644, 0)?;
        root.make_directory("/var/lib/countersign", 0o700, account::DAEMON_UID)?;
        root.make_directory("/run/countersign", 0o755, account::DAEMON_UID)?;
        root.make_directory("/run/scratch", 0o755, 0)?;
        root.make_directory("/run/dbus", 0o755, 0)?;
        root.write(CLOCK, b"+0\n", 0o644, 0)?;
        for stack in &self.stacks {
            let lines = pam::lines(stack, &self.module_arguments)?;
            root.write(&format!("/etc/pam.d/{}", stack.service), lines.as_bytes(), 0o644, 0)?;
        }
        if let Some(methods) = &self.ssh_methods {
            secure_shell::prepare_server(root, methods)?;
        }
        if self.own_sshd || self.ssh_methods.is_some() {
            secure_shell::prepare_clients(root, &self.people)?;
        }
        for (path, content, mode) in &self.files {
            root.write(path, content, *mode, 0)?;
        }
        Ok(())
    }
}
