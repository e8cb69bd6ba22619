//! Bad times: the daemon is restarted under load or started twice, and the clock jumps. The refusal is clear and
//! nothing is lost.

use std::{
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::Result;
use scenarios::{
    Attempt, Enrolment, HeldLogin, Host, HotpKey, Line, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_restart_under_fifty_logins_lets_each_right_code_in_or_calls_it_used_and_holds_nobody() -> Result<()> {
    let timeout = Duration::from_secs(10);
    let mut builder = Host::build().pam(Stack::code_alone("door")).module_arguments("timeout=10");
    let users = ["alice", "bob", "carol", "dave", "erin"];
    for user in users {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    let mut entries = Vec::new();
    for user in users {
        entries.extend(host.enrol(user)?.recovery_codes.into_iter().map(|code| (user, code)));
    }
    assert_eq!(entries.len(), 50);
    let begun: Result<Vec<HeldLogin>> =
        entries.iter().map(|(user, code)| HeldLogin::begin(&host, "door", user, code)).collect();
    let mut logins = begun?;
    logins.iter_mut().try_for_each(HeldLogin::wait_for_prompt)?;

    let start = Instant::now();
    thread::scope(|scope| {
        let restart = scope.spawn(|| host.restart_daemon());
        logins.iter_mut().take(25).for_each(HeldLogin::let_go);
        restart.join().unwrap()
    })?;
    // Of these the daemon that asked them is gone for certain.
    logins.iter_mut().skip(25).for_each(HeldLogin::let_go);
    let results: Result<Vec<i32>> = logins.into_iter().map(HeldLogin::result).collect();
    let (results, took) = (results?, start.elapsed());
    assert!(took < timeout + Duration::from_secs(2), "somebody was held: {took:?}");
    let known = |result: &i32| [PAM_SUCCESS, PAM_AUTH_ERR].contains(result);
    assert!(results.iter().all(known), "{results:?}\n{}", host.diagnosis());
    assert_eq!(host.charged(), []);
    for (user, code) in &entries {
        let again = host.attempt("door", user, &[code])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "a code of {user} is not spent: {again:?}");
    }
    assert_eq!(host.charged(), []);
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(28);
    host.import_hotp("alice", &fob)?;
    let second = host.run_daemon()?;
    assert_eq!(second.status, 1, "{second}");
    let reason = "/var/lib/countersign: another countersignd works with this state; stop it first";
    assert!(second.stderr.contains(reason), "{second}");
    let line = |line: &Line| line.program == "countersignd" && line.text.contains(reason);
    wait("its line in the log", || Ok(host.syslog().into_iter().find(line)))?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}

fn host_with_a_clock() -> Result<(Host, Enrolment)> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).fake_clock().start()?;
    let phone = host.enrol("alice")?;
    Ok((host, phone))
}

fn by_phone(host: &Host, phone: &Enrolment) -> Result<Attempt> {
    host.attempt("door", "alice", &[&host.code(phone, 0)?])
}

#[test]
fn a_clock_that_went_back_an_hour_refuses_totp_charges_nothing_and_takes_a_recovery_code() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.turn_back(HOUR)?;
    for _ in 0..5 {
        let refused = by_phone(&host, &phone)?;
        assert_eq!(refused.result, PAM_AUTHINFO_UNAVAIL, "{refused:?}");
        assert!(refused.says("This host's clock ran backwards"), "{refused:?}");
    }
    host.logged(&[("event", "verification"), ("outcome", "refused"), ("reason", "clock-backwards")])?;
    assert_eq!(host.failures("alice")?, 0);
    let recovered = host.attempt("door", "alice", &[&phone.recovery_codes[0]])?;
    assert_eq!(recovered.result, PAM_SUCCESS, "{recovered:?}");
    // The clock is believed again, but the steps up to the last accepted one stay spent.
    assert_eq!(by_phone(&host, &phone)?.result, PAM_AUTH_ERR);
    host.advance(HOUR + Duration::from_secs(2 * phone.period))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    assert_eq!(host.charged(), []);
    Ok(())
}

#[test]
fn a_clock_that_went_back_a_second_is_no_reason_to_refuse() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    // To the sixth second of a time step, so that a second earlier is the same step.
    let into_step = host.now().duration_since(UNIX_EPOCH)?.as_secs() % phone.period;
    host.advance(Duration::from_secs(phone.period - into_step + 5))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.turn_back(Duration::from_secs(1))?;
    let next = host.attempt("door", "alice", &[&host.code(&phone, 1)?])?;
    assert_eq!(next.result, PAM_SUCCESS, "{next:?}");
    Ok(())
}

#[test]
fn a_clock_that_went_forward_a_day_and_back_locks_nobody_out_who_did_not_log_in_meanwhile() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.advance(DAY)?;
    host.restart_daemon()?;
    host.turn_back(DAY)?;
    host.restart_daemon()?;
    let next = host.attempt("door", "alice", &[&host.code(&phone, 1)?])?;
    assert_eq!(next.result, PAM_SUCCESS, "{next:?}\n{}", host.diagnosis());
    Ok(())
}

#[test]
fn a_code_of_a_day_ahead_stays_spent_and_a_recovery_code_helps_when_the_clock_is_right_again() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    host.advance(DAY)?;
    let ahead = host.code(&phone, 0)?;
    assert_eq!(host.attempt("door", "alice", &[&ahead])?.result, PAM_SUCCESS);
    host.turn_back(DAY)?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_AUTHINFO_UNAVAIL);
    let recovered = host.attempt("door", "alice", &[&phone.recovery_codes[0]])?;
    assert_eq!(recovered.result, PAM_SUCCESS, "{recovered:?}");
    host.advance(DAY)?;
    let again = host.attempt("door", "alice", &[&ahead])?;
    assert_eq!(again.result, PAM_AUTH_ERR, "a code of the day ahead works twice: {again:?}");
    host.advance(Duration::from_secs(2 * phone.period))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    Ok(())
}
