//! Throttling on a whole host: counting, locking, disabling, and what an administrator does about it.

use std::time::Duration;

use anyhow::Result;
use scenarios::{Attempt, Enrolment, Host, PAM_AUTH_ERR, PAM_MAXTRIES, PAM_SUCCESS, Stack};

use crate::words::TRY_AGAIN;

fn host() -> Result<(Host, Enrolment)> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .pam(Stack::code_alone("front"))
        .pam(Stack::code_alone("back"))
        .fake_clock()
        .start()?;
    let phone = host.enrol("alice")?;
    Ok((host, phone))
}

fn wrong(host: &Host, phone: &Enrolment) -> Result<Attempt> {
    host.attempt("front", "alice", &[&host.wrong_code(phone)?])
}

fn right(host: &Host, phone: &Enrolment) -> Result<Attempt> {
    host.attempt("front", "alice", &[&host.code(phone, 0)?])
}

/// The seconds that a locked account is told to wait.
fn told_to_wait(attempt: &Attempt) -> u64 {
    let told = attempt.talk.iter().find_map(|line| line.split_once(TRY_AGAIN)?.1.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| panic!("it says nothing of waiting: {attempt:?}"))
}

#[test]
fn three_wrong_codes_lock_and_each_further_one_locks_longer() -> Result<()> {
    let (host, phone) = host()?;
    for _ in 0..2 {
        assert_eq!(wrong(&host, &phone)?.result, PAM_AUTH_ERR);
    }
    for length in [30, 60, 120, 300, 300] {
        let last = wrong(&host, &phone)?;
        assert_eq!(last.result, PAM_MAXTRIES, "{last:?}");
        assert_eq!(told_to_wait(&last), length);

        let locked = right(&host, &phone)?;
        assert_eq!((locked.result, locked.prompts()), (PAM_MAXTRIES, 0), "{locked:?}");
        host.advance(Duration::from_secs(length - 3))?;
        let nearly = right(&host, &phone)?;
        assert_eq!(nearly.result, PAM_MAXTRIES, "{nearly:?}");
        assert!(told_to_wait(&nearly) <= 3, "{nearly:?}");
        host.advance(Duration::from_secs(4))?;
    }
    let after = right(&host, &phone)?;
    assert_eq!(after.result, PAM_SUCCESS, "{after:?}");
    Ok(())
}

#[test]
fn a_right_code_while_locked_is_refused_and_not_consumed() -> Result<()> {
    let (host, phone) = host()?;
    let code = host.code(&phone, 1)?;
    for _ in 0..3 {
        wrong(&host, &phone)?;
    }
    assert_eq!(host.attempt("front", "alice", &[&code])?.result, PAM_MAXTRIES);
    // One that was asked before the lock and answers after it is refused in the same way.
    host.advance(Duration::from_secs(31))?;
    assert_eq!(host.attempt("front", "alice", &[&code])?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_login_that_was_asked_before_the_lock_is_refused_after_it() -> Result<()> {
    let (host, phone) = host()?;
    let early = host.private_socket()?;
    let (id, _) = early.begin("alice")?;
    for _ in 0..3 {
        wrong(&host, &phone)?;
    }
    let code = host.code(&phone, 1)?;
    let step = early.respond(id, &code)?;
    assert_eq!(step.action(), Some(dbus_api::Action::Denied), "{step:?}");
    assert_eq!(step.details.denial(), dbus_api::Denial::Locked, "{step:?}");
    host.advance(Duration::from_secs(31))?;
    assert_eq!(host.attempt("front", "alice", &[&code])?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn failures_count_over_services_callers_and_restarts_until_the_account_is_disabled() -> Result<()> {
    let (host, phone) = host()?;
    for failure in 1..=50 {
        let code = host.wrong_code(&phone)?;
        match failure % 4 {
            0 => host.attempt("front", "alice", &[&code])?,
            1 => host.attempt("back", "alice", &[&code])?,
            2 => host.attempt_as("alice", "front", "alice", &[&code])?,
            _ => host.attempt_as("alice", "back", "alice", &[&code])?,
        };
        if failure % 10 == 0 {
            host.restart_daemon()?;
        }
        host.advance(Duration::from_secs(301))?;
        if failure == 49 {
            let line = host.logged(&[("event", "verification"), ("outcome", "refused"), ("failures", "49")])?;
            assert_eq!(line.field("account"), Some("alice"));
        }
    }
    let line = host.logged(&[("event", "disable"), ("account", "alice")])?;
    assert_eq!(line.field("failures"), Some("50"), "{line:?}");
    host.advance(Duration::from_secs(86_400))?;
    host.restart_daemon()?;
    for caller in ["root", "alice"] {
        let disabled = host.attempt_as(caller, "front", "alice", &[&host.code(&phone, 0)?])?;
        assert_eq!(disabled.result, PAM_MAXTRIES, "{disabled:?}");
    }
    let recovery = host.attempt("front", "alice", &[&phone.recovery_codes[0]])?;
    assert_eq!(recovery.result, PAM_MAXTRIES, "{recovery:?}");

    host.countersign(&["unlock", "alice"])?;
    assert_eq!(right(&host, &phone)?.result, PAM_MAXTRIES, "unlock does not enable");
    host.countersign(&["enable", "alice"])?.success()?;
    host.logged(&[("event", "enable"), ("account", "alice"), ("caller_uid", "0")])?;
    assert_eq!(right(&host, &phone)?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn unlocking_lifts_the_lock_keeps_the_count_and_is_audited() -> Result<()> {
    let (host, phone) = host()?;
    for _ in 0..3 {
        wrong(&host, &phone)?;
    }
    host.countersign(&["unlock", "alice"])?.success()?;
    host.logged(&[("event", "unlock"), ("account", "alice"), ("caller_uid", "0")])?;
    assert_eq!(wrong(&host, &phone)?.result, PAM_AUTH_ERR, "the next lock needs three failures again");
    let line = host.logged(&[("event", "verification"), ("reason", "wrong"), ("failures", "4")])?;
    assert_eq!(line.field("account"), Some("alice"));
    assert_eq!(right(&host, &phone)?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_success_clears_the_failures() -> Result<()> {
    let (host, phone) = host()?;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(wrong(&host, &phone)?.result, PAM_AUTH_ERR);
        }
        assert_eq!(right(&host, &phone)?.result, PAM_SUCCESS);
        host.advance(Duration::from_secs(30))?;
    }
    let status = host.countersign(&["status", "alice", "--json"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
    assert_eq!(status.get("failures").and_then(serde_json::Value::as_u64), Some(0), "{status}");
    Ok(())
}

#[test]
fn an_administrator_disables_and_enables_an_account() -> Result<()> {
    let (host, phone) = host()?;
    host.countersign(&["disable", "alice"])?.success()?;
    assert_eq!(right(&host, &phone)?.result, PAM_MAXTRIES);
    host.countersign(&["enable", "alice"])?.success()?;
    assert_eq!(right(&host, &phone)?.result, PAM_SUCCESS);
    for event in ["disable", "enable"] {
        host.logged(&[("event", event), ("account", "alice"), ("caller_uid", "0")])?;
    }
    Ok(())
}

#[test]
fn another_user_may_not_unlock_enable_disable_or_reset() -> Result<()> {
    let (host, phone) = host()?;
    for _ in 0..3 {
        wrong(&host, &phone)?;
    }
    for command in ["unlock", "enable", "disable", "reset"] {
        let arguments = ["countersign", command, "alice", "--yes"];
        let arguments = if command == "reset" { &arguments[..] } else { &arguments[..3] };
        for caller in ["alice", "bob"] {
            let outcome = host.run_as(caller, arguments)?;
            assert_eq!(outcome.status, 1, "{outcome}");
        }
    }
    assert_eq!(right(&host, &phone)?.result, PAM_MAXTRIES, "still locked");
    Ok(())
}

#[test]
fn wrong_codes_of_one_account_lock_no_other() -> Result<()> {
    let (host, phone) = host()?;
    let of_bob = host.enrol("bob")?;
    for _ in 0..3 {
        wrong(&host, &phone)?;
    }
    assert_eq!(host.attempt("front", "bob", &[&host.code(&of_bob, 0)?])?.result, PAM_SUCCESS);
    Ok(())
}
