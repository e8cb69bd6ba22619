//! The end of a trial that nobody confirms. Where systemd runs, its first process keeps the time: no kill of ours, of a
//! terminal or of a session ends that. Elsewhere a process of ours waits, and every later run of the tool looks, too.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{failure::Failure, host::Host, wording::printable};

/// It is there where systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// The unit that takes back at the boot what was not confirmed before it.
pub(crate) const AT_BOOT: &str = "countersign-pam-revert.service";

/// Whether systemd is the first process.
pub(crate) fn systemd_runs(host: &Host) -> bool {
    host.has(Path::new(BOOTED))
}

/// Whether a reboot takes back what was not confirmed.
pub(crate) fn survives_a_reboot(host: &Host) -> bool {
    systemd_runs(host) && host.run("/usr/bin/systemctl", &["is-enabled", "--quiet", AT_BOOT]).is_ok_and(|ran| ran.done)
}

/// Sees to it that `countersign pam revert` runs in so many seconds.
///
/// # Errors
/// Nobody would: nothing may be changed then.
pub(crate) fn start(host: &Host, seconds: u64) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| cannot(&error.to_string()))?;
    if systemd_runs(host) {
        return by_systemd(host, &program, seconds);
    }
    detached(&program).map_err(|error| cannot(&error.to_string()))
}

fn by_systemd(host: &Host, program: &Path, seconds: u64) -> Result<(), Failure> {
    let after = format!("--on-active={seconds}s");
    let program = program.display().to_string();
    let fixed =
        ["--quiet", "--collect", "--timer-property=AccuracySec=100ms", "--description=Countersign: end of a trial"];
    let arguments = [&fixed[..], &[&after, "--", &program, "pam", "revert"]].concat();
    match host.run("/usr/bin/systemd-run", &arguments) {
        Ok(ran) if ran.done => Ok(()),
        Ok(ran) => Err(cannot(ran.err.trim())),
        Err(error) => Err(cannot(&error.to_string())),
    }
}

/// A process that no terminal and no session owns. It ends by itself.
fn detached(program: &Path) -> io::Result<()> {
    let mut command = Command::new("/usr/bin/setsid");
    command.arg("--fork").arg(program).args(["pam", "revert", "--wait"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command.current_dir("/").process_group(0);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("setsid ended with {status}"))) }
}

fn cannot(why: &str) -> Failure {
    Failure::refused(format!("nothing would take the change back in time: {}", printable(why)))
        .with_help("Nothing was changed. Without --for it is switched on for good, and you undo it yourself.")
}
