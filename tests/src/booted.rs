//! A Debian that boots: systemd, the bus, journald, polkit, sshd and dpkg as they are, in a container of its own. The
//! packages are installed there as an administrator would.
//!
//! It needs root on the machine and trusts it. Commands run inside only after its first process was seen to be the
//! first of another pid namespace: else they would change the machine itself.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::{Dialogue, Enrolment, HotpKey, Outcome, Trace, daemon::wait, programs, root::Root, terminal::Place};

/// The seconds after which a program on the machine is killed.
const PATIENCE: &str = "120";

/// What sshd asks for: the key, then whatever PAM asks.
const SSHD: &str = "PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUseDNS no\nMaxStartups 100\n\
     AuthenticationMethods publickey,keyboard-interactive\n";

/// Answers the questions of ssh(1): the password where it is asked for, else the code.
const ASKPASS: &str = "#!/bin/sh\ncase $1 in *[Pp]assword*) echo \"$PASSWORD\" ;; *) echo \"$CODE\" ;; esac\n";

/// A booted Debian. Dropping it ends everything on it and removes what it wrote.
#[derive(Debug)]
pub struct Booted {
    /// unshare(1), whose child is the script that boots.
    machine: Child,
    name: String,
    work: PathBuf,
}

impl Booted {
    /// Boots a Debian of this suite, such as `bookworm`. Its root is made first, which takes a minute, where that was
    /// not done before.
    ///
    /// # Errors
    /// It could not be made or does not boot; the error holds its console.
    pub fn boot(suite: &str) -> Result<Self> {
        let rootfs = rootfs(suite)?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cs{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let work = programs::target_directory()?.join("booted").join(&name);
        fs::create_dir_all(&work)?;
        succeed(Command::new("ip").args(["netns", "add", &name]))?;
        succeed(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]))?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/booted.sh");
        let mut command = Command::new("setsid");
        command.args(["unshare", "-m", "-p", "-f", "--kill-child", "--propagation", "private", "sh", script]);
        command.arg(&rootfs).arg(&work).arg(&name);
        let errors = fs::File::create(work.join("errors"))?;
        let machine = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).spawn()?;
        let booted = Self { machine, name, work };
        booted.wait_until_up()?;
        booted.make_laptop()?;
        Ok(booted)
    }

    /// Runs a program as root, with a clean environment and nothing on its standard input.
    ///
    /// # Errors
    /// It could not be started. A bad exit status is no error.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        Self::run_below(self.leader()?.context("the machine has no first process")?, arguments)
    }

    fn run_below(leader: i32, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", PATIENCE, "nsenter", "-t", &leader.to_string()]);
        command.args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i", "--chdir=/"]);
        command.args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
        command.args(["LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().context("nsenter")?;
        Ok(Outcome::of(arguments, &output))
    }

    /// Runs a shell's script as root.
    ///
    /// # Errors
    /// It could not be started, or did not succeed.
    pub fn shell(&self, script: &str) -> Result<String> {
        Ok(self.run(&["sh", "-c", script])?.success()?.stdout)
    }

    /// Copies a file of this machine to a directory of the booted one, and returns its path there.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn bring(&self, file: &Path, directory: &str) -> Result<String> {
        let name = file.file_name().and_then(|name| name.to_str()).context("a file has a name")?;
        let path = format!("{directory}/{name}");
        let mode = fs::metadata(file)?.permissions().mode() & 0o777;
        self.root()?.write(&path, &fs::read(file)?, mode, 0)?;
        Ok(path)
    }

    /// Writes or replaces a file of root's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        self.root()?.write(path, content.as_bytes(), 0o644, 0)
    }

    /// A file's text.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.root()?.read(path)?)?)
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// The machine does not run.
    pub fn has(&self, path: &str) -> Result<bool> {
        Ok(self.root()?.exists(path))
    }

    /// Where this machine's programs find a path of the booted one.
    ///
    /// # Errors
    /// It does not run.
    pub fn path_of(&self, path: &str) -> Result<PathBuf> {
        let leader = self.leader()?.context("the machine has no first process")?;
        Ok(PathBuf::from(format!("/proc/{leader}/root{path}")))
    }

    /// Reboots, and returns once everything is up again.
    ///
    /// # Errors
    /// It does not come up.
    pub fn reboot(&self) -> Result<()> {
        let before = self.leader()?;
        // The machine may be gone before the command has ended.
        self.run(&["systemctl", "reboot"])?;
        wait("another first process", || Ok(self.leader()?.filter(|leader| Some(*leader) != before)))?;
        self.wait_until_up()
    }

    /// Looks at what is called from now on by whatever systemd starts.
    ///
    /// # Errors
    /// strace(1) cannot attach.
    pub fn trace(&self) -> Result<Trace> {
        Trace::attach(self.leader()?.context("the machine has no first process")?, &self.work)
    }

    /// Adds somebody with a password, a home and the laptop's key in it.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add_person(&self, name: &str, password: &str) -> Result<()> {
        let uid = self
            .shell(&format!("useradd -m -s /bin/bash {name} && echo '{name}:{password}' | chpasswd && id -u {name}"))?;
        self.give_home(name, uid.trim().parse()?)
    }

    /// Gives somebody a home with the laptop's key in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn give_home(&self, name: &str, uid: u32) -> Result<()> {
        let key = fs::read_to_string(self.work.join("key.pub"))?;
        self.shell(&format!(
            "install -d -m 0700 -o {uid} /home/{name} /home/{name}/.ssh && \
             echo '{}' >/home/{name}/.ssh/authorized_keys",
            key.trim()
        ))?;
        Ok(())
    }

    /// Gives `user` a TOTP authenticator without asking for a code.
    ///
    /// # Errors
    /// The tool refused.
    pub fn enrol(&self, user: &str) -> Result<Enrolment> {
        let outcome = self.run(&["countersign", "enroll", user, "--no-confirm", "--json"])?.success()?;
        Enrolment::parse(&outcome.stdout)
    }

    /// Gives `user` an HOTP authenticator.
    ///
    /// # Errors
    /// The tool refused.
    pub fn import_hotp(&self, user: &str, key: &HotpKey) -> Result<()> {
        self.write("/run/hotp.txt", &key.uri(user))?;
        self.shell("countersign import otpauth /run/hotp.txt && rm /run/hotp.txt")?;
        Ok(())
    }

    /// The code that the authenticator shows now, or will show `steps` time steps from now.
    ///
    /// # Errors
    /// oathtool failed.
    pub fn code(&self, authenticator: &Enrolment, steps: i64) -> Result<String> {
        authenticator.shown(SystemTime::now, steps)
    }

    /// Logs in with OpenSSH's client, the laptop's key, `password` and `code`, and runs `command`.
    ///
    /// # Errors
    /// ssh could not be started. A login that is refused is no error.
    pub fn login(&self, user: &str, password: &str, code: &str, command: &str) -> Result<Outcome> {
        let arguments = self.ssh_arguments(user, &["-o", "NumberOfPasswordPrompts=1"], command);
        let mut ssh = self.outside(&arguments);
        ssh.env("SSH_ASKPASS", self.work.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        ssh.env("PASSWORD", password).env("CODE", code);
        let output = ssh.stdin(Stdio::null()).output().context("ssh")?;
        Ok(Outcome::of(&["ssh", user, command], &output))
    }

    /// OpenSSH's client on a terminal, with a terminal on the machine too.
    #[must_use]
    pub fn ssh(&self, user: &str, command: &str) -> Dialogue<'_> {
        let arguments = self.ssh_arguments(user, &["-tt"], command);
        Dialogue::new(self, "root", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Everything that lies on the disk, with owner, mode and checksum of each file, except for what `without` names:
    /// an extended regular expression over whole paths.
    ///
    /// # Errors
    /// The machine does not run.
    pub fn inventory(&self, without: &str) -> Result<Vec<String>> {
        let text = self.shell(&format!(
            "find / -xdev -regextype posix-extended -regex '{without}' -prune -o \
             \\( -type f -printf '%u:%g %m %p ' -exec sh -c 'md5sum <\"$1\"' - {{}} \\; \\) -o \
             \\( ! -type d -printf '%u:%g %m %p %l\\n' -o -printf '%u:%g %m %p/\\n' \\) | sort"
        ))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The pid of the machine's systemd as this machine sees it. None while it reboots.
    fn leader(&self) -> Result<Option<i32>> {
        let mut below = vec![i32::try_from(self.machine.id())?];
        while let Some(pid) = below.pop() {
            // A process that has ended meanwhile has no files any more.
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            let ids: Vec<&str> = ids.split_whitespace().collect();
            // Its own number, that below the booting script, and 1 in its own namespace.
            if ids.len() >= 3 && ids.last() == Some(&"1") {
                return Ok(Some(pid));
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            below.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
        Ok(None)
    }

    fn root(&self) -> Result<Root> {
        Root::of(self.leader()?.context("the machine has no first process")?)
    }

    fn wait_until_up(&self) -> Result<()> {
        let up = || {
            // While it reboots, what was its first process a moment ago need not be there any more.
            let Some(leader) = self.leader()? else { return Ok(None) };
            let state = Self::run_below(leader, &["systemctl", "is-system-running"])?;
            Ok(["running", "degraded"].contains(&state.stdout.trim()).then_some(()))
        };
        wait("the machine to be up", up).with_context(|| self.diagnosis())
    }

    /// The key and the answers of whoever logs in from outside, and what sshd wants of them.
    fn make_laptop(&self) -> Result<()> {
        let key = self.work.join("key");
        succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let askpass = self.work.join("askpass");
        fs::write(&askpass, ASKPASS)?;
        succeed(Command::new("chmod").arg("0700").arg(&askpass))?;
        self.write("/etc/ssh/sshd_config.d/booted.conf", SSHD)?;
        // Newer ones shut out whoever is refused often, which here is everybody: all come from one address.
        let penalties = "/etc/ssh/sshd_config.d/penalties.conf";
        self.write(penalties, "PerSourcePenalties no\n")?;
        self.shell(&format!("sshd -t || rm {penalties}; systemctl restart ssh.service"))?;
        Ok(())
    }

    fn ssh_arguments(&self, user: &str, options: &[&str], command: &str) -> Vec<String> {
        let key = self.work.join("key").display().to_string();
        let known = format!("UserKnownHostsFile={}", self.work.join("known_hosts").display());
        let fixed = ["ssh", "-F", "none", "-i", &key, "-o", "IdentitiesOnly=yes", "-o", &known];
        let mut all: Vec<String> = fixed.iter().map(ToString::to_string).collect();
        all.extend(["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"].map(str::to_owned));
        all.extend(options.iter().map(ToString::to_string));
        all.extend([format!("{user}@127.0.0.1"), command.to_owned()]);
        all
    }

    /// A program of this machine in the booted one's network: what somebody's laptop runs.
    fn outside(&self, arguments: &[String]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["-w", "timeout", "-s", "KILL", PATIENCE, "ip", "netns", "exec", &self.name]).args(arguments);
        command
    }
}

impl Place for Booted {
    fn converse(&self, _user: &str, arguments: &[&str], input: &[u8]) -> Result<Outcome> {
        use std::io::Write as _;
        let words: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let mut command = self.outside(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| arguments.join(" "))?;
        child.stdin.take().context("a piped input")?.write_all(input)?;
        Ok(Outcome::of(arguments, &child.wait_with_output()?))
    }

    fn diagnosis(&self) -> String {
        let mut text = String::new();
        for file in ["errors", "console"] {
            let written = fs::read_to_string(self.work.join(file)).unwrap_or_default();
            text.push_str(&format!("--- {file}\n{written}\n"));
        }
        if let Ok(journal) = self.run(&["journalctl", "-b", "--no-pager", "-n", "80"]) {
            text.push_str(&format!("--- journal\n{}\n", journal.stdout));
        }
        text
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write as _;
            let _ = std::io::stderr().write_all(self.diagnosis().as_bytes());
        }
        let _ = self.machine.kill();
        let _ = self.machine.wait();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        // The group outlives the mount that showed it.
        let group = format!(
            "mount -t cgroup2 cgroup2 /mnt && until find /mnt/{} -depth -type d -exec rmdir {{}} + 2>/dev/null; do :; done",
            self.name
        );
        let _ = Command::new("timeout").args(["20", "unshare", "-m", "sh", "-c", &group]).output();
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// The root of a suite, which all machines share and none writes to.
///
/// # Errors
/// It could not be made.
pub fn rootfs(suite: &str) -> Result<PathBuf> {
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = programs::target_directory()?.join("rootfs").join(suite);
    succeed(Command::new(programs::shipped("packaging/dev/rootfs")).arg(suite).arg(&directory))?;
    Ok(directory)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
