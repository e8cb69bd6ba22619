//! The system's logger is gone, stopped or restarted: logins do not wait for it, and what it was not told is counted.

use std::{thread, time::Duration};

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

/// Signals the logger and waits until its state in /proc is as it shall be.
fn signal_logger(host: &Host, signal: &str, state: &str) -> Result<()> {
    let script =
        "pid=$(cat /run/rsyslogd.pid) && kill -$0 $pid && until grep -q \"^State:.*$1\" /proc/$pid/status; do :; done";
    host.run(&["sh", "-c", script, signal, state])?.success()?;
    Ok(())
}

#[test]
fn logins_are_as_quick_as_ever_while_the_logger_is_stopped_and_what_it_missed_is_counted() -> Result<()> {
    let (fob, codes) = HotpKey::distinct(28, 4600)?;
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    host.import_hotp("alice", &fob)?;
    assert_eq!(host.cycles("door", "alice", &codes[..100])?.granted, 100);
    signal_logger(&host, "STOP", "stopped")?;
    // Its own queue takes a few lines, the daemon's 4096, and there are more.
    let start = std::time::Instant::now();
    assert_eq!(host.cycles("door", "alice", &codes[100..4500])?.granted, 4400);
    let each = start.elapsed() / 4400;
    assert!(each < Duration::from_millis(20), "a login took {each:?}");
    signal_logger(&host, "CONT", "sleeping")?;
    let dropped = |line: &Line| {
        let count = line.text.strip_suffix(" lines were dropped while syslog took none")?;
        count.parse::<u64>().ok().filter(|_| line.program == "countersignd")
    };
    wait("the dropped lines to be told", || Ok(host.syslog().iter().find_map(dropped)))?;
    let attempt = host.attempt("door", "alice", &[&codes[4500]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    // Every line of the 4501 is either there or counted.
    let accounted = || {
        let lines = host.syslog();
        let told: u64 = lines.iter().filter_map(dropped).sum();
        let there = lines.iter().filter(|line| line.has(&[("outcome", "granted"), ("event", "verification")])).count();
        Ok((told + there as u64 == 4501).then_some(()))
    };
    wait("all lines to be there or counted", accounted)?;
    Ok(())
}

#[test]
fn a_logger_that_was_restarted_gets_the_lines_from_then_on() -> Result<()> {
    let (fob, codes) = HotpKey::distinct(29, 12)?;
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    host.import_hotp("alice", &fob)?;
    for (round, code) in codes.iter().enumerate().take(6) {
        let attempt = host.attempt("door", "alice", &[code])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
        let granted = || {
            let lines = host.syslog();
            let lines = lines.iter().filter(|line| line.has(&[("outcome", "granted"), ("event", "verification")]));
            Ok((lines.count() == round + 1).then_some(()))
        };
        wait("the line", granted)?;
        host.run(&["sh", "-c", STOP_SYSLOG])?.success()?;
        host.run(&["sh", "-c", START_SYSLOG])?.success()?;
    }
    Ok(())
}
