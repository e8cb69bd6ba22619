//! The system bus is absent, stopped or restarted: logins over the private socket do not notice, the others are
//! refused in time, and the daemon serves the new bus without a restart of its own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use scenarios::{Attempt, HeldLogin, Host, HotpKey, Line, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait};

/// The module's `timeout` where the bus is the only way, in seconds.
const TIMEOUT: u64 = 5;
/// How long a login over the private socket may take, whatever the bus does.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// `door` tries the private socket first, `bus-only` knows the bus alone.
fn host() -> Result<(Host, Vec<String>)> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .file("/etc/pam.d/bus-only", &format!("auth required pam_countersign.so socket=none timeout={TIMEOUT}\n"))
        .start()?;
    let (fob, codes) = HotpKey::distinct(60, 400)?;
    host.import_hotp("alice", &fob)?;
    Ok((host, codes))
}

fn is_let_in(host: &Host, service: &str, code: &str) -> Result<Attempt> {
    let attempt = host.attempt(service, "alice", &[code])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{service}: {attempt:?}\n{}", host.diagnosis());
    Ok(attempt)
}

fn does_not_notice(host: &Host, code: &str) -> Result<()> {
    let attempt = is_let_in(host, "door", code)?;
    assert!(attempt.took < UNDISTURBED, "{attempt:?}");
    Ok(())
}

fn is_refused_in_time(host: &Host, code: &str) -> Result<()> {
    let attempt = host.attempt("bus-only", "alice", &[code])?;
    assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTHINFO_UNAVAIL, 0), "{attempt:?}");
    assert!(attempt.took < Duration::from_secs(TIMEOUT + 1), "{attempt:?}");
    Ok(())
}

/// Waits until the daemon answers on the bus; the tool knows no other way.
fn served_on_the_bus(host: &Host) -> Result<()> {
    let status = || Ok(host.countersign(&["status", "alice"])?.succeeded().then_some(()));
    wait("the daemon to serve the bus", status)
}

#[test]
fn a_daemon_without_a_bus_serves_logins_and_takes_the_bus_when_it_comes() -> Result<()> {
    let (host, codes) = host()?;
    host.stop_bus()?;
    host.restart_daemon()?;
    let told = |line: &Line| line.program == "countersignd" && line.text.starts_with("no system bus yet");
    wait("a line about it", || Ok(host.syslog().into_iter().find(told)))?;
    does_not_notice(&host, &codes[0])?;
    is_refused_in_time(&host, &codes[1])?;
    let tool = host.countersign(&["status", "alice"])?;
    assert!(!tool.succeeded() && tool.stderr.contains("bus"), "{tool}");
    host.start_bus()?;
    served_on_the_bus(&host)?;
    is_let_in(&host, "bus-only", &codes[1])?;
    Ok(())
}

#[test]
fn a_bus_that_does_not_answer_keeps_no_daemon_from_starting_or_ending() -> Result<()> {
    let (host, codes) = host()?;
    host.signal_bus("STOP")?;
    host.daemon().stop()?;
    let start = Instant::now();
    host.start_daemon()?;
    assert!(start.elapsed() < Duration::from_secs(5), "it was ready after {:?} only", start.elapsed());
    does_not_notice(&host, &codes[0])?;
    is_refused_in_time(&host, &codes[1])?;
    let start = Instant::now();
    host.daemon().stop()?;
    assert!(start.elapsed() < Duration::from_secs(2), "it ended after {:?} only", start.elapsed());
    host.start_daemon()?;
    host.signal_bus("CONT")?;
    served_on_the_bus(&host)?;
    is_let_in(&host, "bus-only", &codes[1])?;
    Ok(())
}

#[test]
fn logins_that_were_asked_before_the_bus_was_restarted_are_answered_after_it() -> Result<()> {
    let (host, codes) = host()?;
    // In the order of their codes, which is the order of their answers.
    let mut logins = Vec::new();
    for (service, code) in ["door", "bus-only", "door", "bus-only"].into_iter().zip(&codes) {
        logins.push((service, HeldLogin::begin(&host, service, "alice", code)?));
    }
    logins.iter_mut().try_for_each(|(_, login)| login.wait_for_prompt())?;
    host.stop_bus()?;
    host.start_bus()?;
    served_on_the_bus(&host)?;
    for (service, login) in logins {
        assert_eq!(login.result()?, PAM_SUCCESS, "{service}\n{}", host.diagnosis());
    }
    let gone = |line: &Line| line.program == "countersignd" && line.text.starts_with("the system bus is gone");
    assert!(host.syslog().iter().any(gone), "{}", host.diagnosis());
    does_not_notice(&host, &codes[4])?;
    is_let_in(&host, "bus-only", &codes[5])?;
    Ok(())
}

#[test]
fn ten_restarts_of_the_bus_under_load_disturb_no_login_over_the_private_socket() -> Result<()> {
    let (host, codes) = host()?;
    let over = AtomicBool::new(false);
    let used = thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<usize> {
            for (used, code) in codes.iter().enumerate() {
                if over.load(Ordering::Relaxed) {
                    return Ok(used);
                }
                does_not_notice(&host, code)?;
            }
            Ok(codes.len())
        });
        let restarts = (0..10).try_for_each(|_| {
            host.stop_bus()?;
            host.start_bus()?;
            served_on_the_bus(&host)
        });
        over.store(true, Ordering::Relaxed);
        load.join().unwrap().and_then(|used| restarts.map(|()| used))
    })?;
    assert!(used >= 10, "only {used} logins ran meanwhile");
    let descriptors = host.daemon().figures()?.descriptors;
    assert!(descriptors < 40, "the daemon keeps {descriptors} descriptors");
    is_let_in(&host, "bus-only", &codes[used]).map(drop)
}
