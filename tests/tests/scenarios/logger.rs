//! The system's logger is gone, stopped or restarted: logins do not wait for it, and what it was not told is counted.

use std::thread;

use anyhow::Result;
use scenarios::{Host, HotpKey, Line, PAM_SUCCESS, Stack, wait};

const STOP_SYSLOG: &str = "kill -KILL $(cat /run/rsyslogd.pid) && rm -f /dev/log /run/rsyslogd.pid";
const START_SYSLOG: &str = "rsyslogd -f /etc/scratch-rsyslog.conf -i /run/rsyslogd.pid";

#[test]
fn logins_go_on_without_syslog_and_lines_that_were_dropped_are_told_when_it_is_back() -> Result<()> {
    let fobs = [
        ("alice", HotpKey::distinct(24, 1401)?),
        ("bob", HotpKey::distinct(25, 1401)?),
        ("carol", HotpKey::distinct(26, 1401)?),
    ];
    let mut builder = Host::build().pam(Stack::code_alone("door"));
    for (user, _) in &fobs {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    for (user, (fob, _)) in &fobs {
        host.import_hotp(user, fob)?;
    }
    host.run(&["sh", "-c", STOP_SYSLOG])?.success()?;
    // More than the 4096 lines that wait in the daemon.
    let granted: Result<Vec<u64>> = thread::scope(|scope| {
        let log_in = |user, codes| Ok(host.cycles("door", user, codes)?.granted);
        let people: Vec<_> =
            fobs.iter().map(|(user, (_, codes))| scope.spawn(move || log_in(user, &codes[..1400]))).collect();
        people.into_iter().map(|person| person.join().unwrap()).collect()
    });
    assert_eq!(granted?, [1400; 3]);
    host.run(&["sh", "-c", START_SYSLOG])?.success()?;
    let told = |line: &Line| {
        line.program == "countersignd" && line.text.ends_with("lines were dropped while syslog took none")
    };
    wait("the dropped lines to be told", || Ok(host.syslog().into_iter().find(told)))?;
    let attempt = host.attempt("door", "alice", &[&fobs[0].1.1[1400]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_login_without_syslog_is_logged_when_it_is_back() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(27);
    host.import_hotp("alice", &fob)?;
    host.run(&["sh", "-c", STOP_SYSLOG])?.success()?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    host.run(&["sh", "-c", START_SYSLOG])?.success()?;
    host.logged(&[("event", "verification"), ("outcome", "granted"), ("account", "alice")])?;
    Ok(())
}
