//! What is done to the state while the daemon is stopped: by the daemon's own program, as the owner of the state, so that
//! nobody else touches it.

use std::{
    fs, io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{
    failure::Failure,
    host::{Host, Ran, files::STATE},
    wording::printable,
};

const UNIT: &str = "countersignd.service";

/// How often the daemon is started before it is given up, and how long after each time.
const STARTS: u32 = 5;
const BETWEEN: Duration = Duration::from_secs(1);

/// Whether systemd runs here (sd_booted(3)).
pub(super) fn is_managed(host: &Host) -> bool {
    host.has(Path::new("/run/systemd/system"))
}

/// Whether systemd runs the daemon.
///
/// # Errors
/// systemctl cannot be run.
pub(super) fn runs(host: &Host) -> Result<bool, Failure> {
    Ok(systemctl(host, "is-active")?.done)
}

/// Stops the daemon. systemd's socket stays: whoever logs in meanwhile waits.
///
/// # Errors
/// It does not stop.
pub(super) fn stop(host: &Host) -> Result<(), Failure> {
    if systemctl(host, "stop")?.done {
        return Ok(());
    }
    Err(Failure::refused("the daemon does not stop; nothing was changed"))
}

/// Starts the daemon again. Somebody's login may have had systemd start it a moment before the state was its own: that
/// start fails, and one that is asked for meanwhile is that same one. So it is asked for again.
///
/// # Errors
/// It does not start.
pub(super) async fn start_again(host: &Host) -> Result<(), Failure> {
    start_after(host, BETWEEN).await
}

async fn start_after(host: &Host, between: Duration) -> Result<(), Failure> {
    for start in 0..STARTS {
        if start > 0 {
            tokio::time::sleep(between).await;
        }
        if systemctl(host, "start")?.done {
            return Ok(());
        }
    }
    Err(Failure::refused("the daemon does not start again").with_help("See why: journalctl -u countersignd"))
}

/// Does this to the daemon's unit. Where no systemd runs, nothing is active.
fn systemctl(host: &Host, what: &str) -> Result<Ran, Failure> {
    if !is_managed(host) {
        return Ok(Ran::default());
    }
    let ran = host.run("systemctl", &[what, "--quiet", UNIT]);
    ran.map_err(|error| Failure::refused(format!("systemctl cannot be run: {error}")))
}

/// The daemon's program, to be run as the owner of the state, who is the only one to write there.
pub(super) fn program() -> io::Result<Command> {
    let mut command = Command::new(dbus_api::DAEMON);
    command.env_clear().env("LC_ALL", "C.UTF-8").current_dir("/");
    match fs::metadata(STATE) {
        // Its supplementary groups go too (CommandExt::uid).
        Ok(state) => command.gid(state.gid()).uid(state.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => &mut command,
        Err(error) => return Err(error),
    };
    Ok(command)
}

/// What the daemon's program said, without its name and what it could not do: that is known.
pub(super) fn said(ran: &Ran) -> String {
    let text = |line: &str| {
        let line = line.trim_start_matches("countersignd: ").trim_start_matches("no new key: ");
        line.trim_start_matches("nothing was restored: ").to_owned()
    };
    let lines = ran.err.lines().map(|line| printable(&text(line)));
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// A host whose daemon starts when it is asked to for the nth time, and how often it was asked.
    fn starting(root: &Path, nth: u32) -> (Host, Rc<Cell<u32>>) {
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        let asked = Rc::new(Cell::new(0));
        let counted = Rc::clone(&asked);
        let host = Host::below(root, move |program, arguments| {
            assert_eq!((program, arguments), ("systemctl", &["start", "--quiet", UNIT][..]));
            counted.set(counted.get() + 1);
            Ok(Ran { done: counted.get() >= nth, ..Ran::default() })
        });
        (host, asked)
    }

    #[tokio::test]
    async fn a_start_that_a_login_had_begun_too_early_is_asked_for_again() {
        let root = tempfile::tempdir().unwrap();
        let (host, asked) = starting(root.path(), 2);
        start_after(&host, Duration::ZERO).await.unwrap();
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test]
    async fn a_daemon_that_never_starts_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (host, asked) = starting(root.path(), u32::MAX);
        let error = start_after(&host, Duration::ZERO).await.unwrap_err();
        assert!(format!("{error:?}").contains("does not start again"), "{error:?}");
        assert_eq!(asked.get(), STARTS);
    }
}
