//! What others shipped broken, played on a host: one test a mistake that no other scenario plays.

use std::process::Stdio;

use anyhow::{Context, Result};
use scenarios::{Host, HotpKey, PAM_SUCCESS, Stack, wait};

const DISABLE: [&str; 6] = [
    "dbus-send",
    "--system",
    "--type=method_call",
    "--dest=org.countersign.Countersign1",
    "/org/countersign/Countersign1",
    "org.countersign.Countersign1.Admin.Disable",
];

fn state(host: &Host, user: &str) -> Result<String> {
    let status = host.countersign(&["status", user, "--json"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
    Ok(status["state"].as_str().context("a state")?.to_owned())
}

/// CVE-2021-3560: polkit took somebody who had left the bus for root.
#[test]
fn a_caller_who_left_the_bus_before_it_was_looked_up_is_nobody_not_even_where_it_was_root() -> Result<()> {
    let host = Host::build().user_without_password("alice").user_without_password("mallory").start()?;
    host.enrol("alice")?;
    for caller in ["mallory", "root"] {
        // While the daemon stands still, the caller sends and goes: nobody can be looked up any more.
        host.daemon().pause()?;
        host.run_as(caller, &[&DISABLE[..], &["string:alice"]].concat())?.success()?;
        host.daemon().resume()?;
        // Calls are answered in their order: when this one is, the other has been.
        host.countersign(&["list"])?.success()?;
        assert_eq!(state(&host, "alice")?, "active", "disabled by {caller} who had left");
    }
    // The very same call of one who stays is carried out.
    host.run(&[&DISABLE[..3], &["--print-reply"], &DISABLE[3..], &["string:alice"]].concat())?.success()?;
    assert_eq!(state(&host, "alice")?, "disabled");
    Ok(())
}

/// What cannot be prevented shall be seen: docs/operations.md, "Restoring".
#[test]
fn a_restored_state_revives_a_spent_code_and_the_copy_in_syslog_shows_it() -> Result<()> {
    let build = || Host::build().user_without_password("alice").pam(Stack::code_alone("door"));
    let host = build().state_on_a_disk().start()?;
    let fob = HotpKey::numbered(5);
    host.import_hotp("alice", &fob)?;
    let backup = std::env::temp_dir().join(format!("countersign-backup-{}", std::process::id()));
    std::fs::write(&backup, host.disk()?)?;
    let code = fob.codes(0, 1)?.remove(0);
    assert_eq!(host.attempt("door", "alice", &[&code])?.result, PAM_SUCCESS);
    host.logged(&[("event", "verification"), ("outcome", "granted")])?;
    let copy: String = host.syslog().iter().map(|line| format!("{}: {}\n", line.program, line.text)).collect();

    let restored = build().state_on_this_disk(&backup).start();
    std::fs::remove_file(&backup)?;
    let restored = restored?;
    assert_eq!(restored.attempt("door", "alice", &[&code])?.result, PAM_SUCCESS, "the backup knows it as unspent");
    let lines = copy.lines().filter(|line| line.contains(" seq=")).map(|line| format!("Nov 22 01:46:50 gate {line}\n"));
    restored.write("/root/auth.log.before", &lines.collect::<String>())?;
    restored.countersign(&["audit", "--verify"])?.success()?;
    let compared = restored.countersign(&["audit", "--verify", "--against", "/root/auth.log.before"])?;
    assert_eq!(compared.status, 1, "{compared}");
    assert!(compared.says("is not the one that syslog was told of"), "{compared}");
    Ok(())
}

/// CVE-2024-47191: pam_oath wrote through a link below a user's home.
#[test]
fn the_daemon_touches_nothing_below_a_home() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let pid = host.run(&["pgrep", "-x", "countersignd"])?.success()?.stdout.trim().to_owned();
    let trace = ["strace", "-f", "-e", "trace=%file", "-o", "/run/scratch/trace", "-p", &pid];
    let mut strace = host.command("root", &trace)?;
    let mut strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let traced = || -> Result<Option<()>> {
        let status = host.run(&["grep", "TracerPid", &format!("/proc/{pid}/status")])?.success()?;
        Ok((!status.says("TracerPid:\t0")).then_some(()))
    };
    wait("strace to be there", traced)?;
    let phone = host.enrol("alice")?;
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    host.attempt("door", "alice", &["000000"])?;
    host.countersign(&["reset", "alice", "--yes"])?.success()?;
    host.run(&["pkill", "-INT", "-x", "strace"])?.success()?;
    strace.wait()?;
    let seen = String::from_utf8_lossy(&host.read("/run/scratch/trace")?).into_owned();
    assert!(seen.contains("/etc/passwd"), "what the name service opens is seen: {seen}");
    assert!(!seen.contains("\"/home") && !seen.contains("\"/root"), "{seen}");
    Ok(())
}
