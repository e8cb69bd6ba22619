//! Enrolling at a login, with a phone that reads the QR code from the terminal's text.

use std::thread;

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, HostBuilder, Outcome, PAM_AUTH_ERR, PAM_SUCCESS, Stack, wait};

use crate::words::PROMPT;

const ENROLL: &str = "[[rule]]\nname = \"staff\"\nunenrolled = \"enroll\"\n";

const CODE: &str = "Code that the app shows: ";
const STORED: &str = "Press Enter when you have stored these codes: ";
const PHONE: &str = "/usr/local/bin/phone /tmp/app";

fn key_and_code() -> HostBuilder {
    let host = Host::build().user_without_password("alice").configuration(ENROLL).phone();
    host.pam(Stack::sshd_key()).pam(Stack::code_alone("door")).sshd("publickey,keyboard-interactive")
}

/// What the phone and the sheet of paper know after an enrolment.
fn learned(host: &Host, login: &Outcome) -> Result<Enrolment> {
    let uri = String::from_utf8(host.read("/tmp/app")?)?.trim().to_owned();
    let secret = uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).context("no key")?.to_owned();
    let is_code = |line: &&str| line.len() == 29 && line.matches('-').count() == 4;
    let recovery_codes: Vec<String> = login.stdout.lines().map(str::trim).filter(is_code).map(str::to_owned).collect();
    assert_eq!(recovery_codes.len(), 10, "{login}");
    Ok(Enrolment { secret, uri, algorithm: "SHA1".into(), digits: 6, period: 30, recovery_codes })
}

fn is_enrolled(host: &Host, user: &str) -> Result<bool> {
    let status = host.countersign(&["status", user, "--json"])?;
    Ok(status.succeeded() && status.stdout.contains("\"id\""))
}

/// The confirming code is spent, the next one and each recovery code work once.
fn works_from_now_on(host: &Host, user: &str, phone: &Enrolment) -> Result<()> {
    assert_eq!(host.attempt("door", user, &[&host.code(phone, 1)?])?.result, PAM_SUCCESS);
    assert_eq!(host.attempt("door", user, &[&host.code(phone, 0)?])?.result, PAM_AUTH_ERR, "spent codes work");
    let [first, second] = [&phone.recovery_codes[0], &phone.recovery_codes[9]];
    for (code, result) in [(first, PAM_SUCCESS), (first, PAM_AUTH_ERR), (second, PAM_SUCCESS)] {
        assert_eq!(host.attempt("door", user, &[code])?.result, result, "{code}");
    }
    Ok(())
}

#[test]
fn over_ssh_a_phone_reads_the_qr_code_from_the_terminal_and_the_next_login_asks_for_its_code() -> Result<()> {
    let on_both = "#!/bin/sh\ncat >/tmp/screen\nphone --light /tmp/light </tmp/screen >/dev/null\n\
         exec phone /tmp/app </tmp/screen\n";
    let host = key_and_code().script("/usr/local/bin/phone-on-both", on_both).start()?;
    let login = host.ssh("alice", "id -un").answer_by_sight(CODE, "/usr/local/bin/phone-on-both").answer(STORED, "");
    let login = login.expect("alice").end()?.success()?;
    let phone = learned(&host, &login)?;
    let on_a_light_terminal = String::from_utf8(host.read("/tmp/light")?)?;
    assert_eq!(on_a_light_terminal.trim(), phone.uri, "the inverted code is another one");
    assert!(phone.uri.starts_with("otpauth://totp/scratch:alice?"), "{}", phone.uri);
    let confirmed = [("event", "enrolment-confirmed"), ("account", "alice"), ("service", "sshd"), ("rule", "staff")];
    host.logged(&confirmed)?;
    let next = host.ssh("alice", "id -un").answer(PROMPT, &host.code(&phone, 1)?).expect("alice").end()?.success()?;
    assert!(!next.says("▀"), "{next}");
    assert!(!host.syslog().iter().any(|line| line.text.contains(&phone.secret)), "{}", host.diagnosis());
    let again = host.attempt("door", "alice", &[&phone.recovery_codes[4]])?;
    assert_eq!(again.result, PAM_SUCCESS, "{again:?}");
    let spent = host.attempt("door", "alice", &[&phone.recovery_codes[4]])?;
    assert_eq!(spent.result, PAM_AUTH_ERR, "{spent:?}");
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn su_and_sudo_and_login_on_a_terminal_enrol_after_the_password() -> Result<()> {
    let host = Host::build()
        .user("alice", "correct horse")
        .user("bob", "battery staple")
        .user("carol", "zebra crossing")
        .configuration(ENROLL)
        .phone()
        .pam(Stack::su())
        .pam(Stack::sudo_password())
        .pam(Stack::new("login", "su-password-and-code"))
        .pam(Stack::code_alone("door"))
        .start()?;
    let su = host.terminal("alice", &["su", "bob", "-c", "id -un"]).answer("Password: ", "battery staple");
    let su = su.answer_by_sight(CODE, PHONE).answer(STORED, "").expect("bob").end()?.success()?;
    works_from_now_on(&host, "bob", &learned(&host, &su)?)?;
    host.run(&["rm", "-f", "/tmp/app", "/tmp/app.pbm"])?.success()?;
    // sudo asks PAM to be silent: what belongs to the question is shown nevertheless.
    let sudo = host.terminal("alice", &["sudo", "id", "-u"]).answer("password for alice: ", "correct horse");
    let sudo = sudo.answer_by_sight(CODE, PHONE).answer(STORED, "").expect("0").end()?.success()?;
    works_from_now_on(&host, "alice", &learned(&host, &sudo)?)?;
    host.run(&["rm", "-f", "/tmp/app", "/tmp/app.pbm"])?.success()?;
    let login = host.terminal("root", &["login", "carol"]).answer("Password: ", "zebra crossing");
    let login = login.answer_by_sight(CODE, PHONE).answer(STORED, "").answer("$", "exit").end()?;
    works_from_now_on(&host, "carol", &learned(&host, &login)?)?;
    host.logged(&[("event", "enrolment-confirmed"), ("account", "carol"), ("service", "login")])?;
    Ok(())
}

#[test]
fn an_enrolment_that_is_abandoned_at_any_step_leaves_nothing_and_the_next_login_enrols() -> Result<()> {
    let host = key_and_code().start()?;
    let at_the_key = host.ssh("alice", "id").expect(CODE).interrupt().end()?;
    assert!(!at_the_key.succeeded(), "{at_the_key}");
    host.logged(&[("event", "verification"), ("account", "alice"), ("reason", "cancelled")])?;
    assert!(!is_enrolled(&host, "alice")?);
    let at_the_codes = host.ssh("alice", "id").answer_by_sight(CODE, PHONE).expect(STORED).interrupt().end()?;
    let shown = learned(&host, &at_the_codes)?;
    assert!(!at_the_codes.succeeded() && !is_enrolled(&host, "alice")?, "{at_the_codes}");
    let wrong = host.ssh("alice", "id").answer(CODE, "000000").answer(CODE, "no code").answer(CODE, "111111");
    let wrong = wrong.expect("Nothing was enrolled.").interrupt().end()?;
    assert!(!wrong.succeeded() && !is_enrolled(&host, "alice")?, "{wrong}");

    let wait_for_place = || Ok((!host.attempt("door", "alice", &[])?.says("Somebody is enrolling")).then_some(()));
    wait("the end of the broken logins", wait_for_place)?;
    let login = host.ssh("alice", "id -un").answer_by_sight(CODE, PHONE).answer(STORED, "").expect("alice");
    let phone = learned(&host, &login.end()?.success()?)?;
    let old = host.attempt("door", "alice", &[&shown.recovery_codes[0]])?;
    assert_eq!(old.result, PAM_AUTH_ERR, "a recovery code of the abandoned enrolment works: {old:?}");
    works_from_now_on(&host, "alice", &phone)
}

#[test]
fn of_two_that_enrol_at_once_one_wins_and_the_other_is_told() -> Result<()> {
    let rivals = "#!/bin/sh\ncat >/tmp/screen\n\
         echo | /usr/lib/scratch/pam_client attempt door alice >/tmp/door 2>&1\n\
         countersign enroll alice </dev/null >/tmp/tool 2>&1\n\
         exec /usr/local/bin/phone /tmp/app </tmp/screen\n";
    let host = key_and_code().script("/usr/local/bin/rivals", rivals).start()?;
    let login = host.ssh("alice", "id -un").answer_by_sight(CODE, "/usr/local/bin/rivals").answer(STORED, "");
    let login = login.expect("alice").end()?.success()?;
    let read = |path| Ok::<_, anyhow::Error>(String::from_utf8_lossy(&host.read(path)?).into_owned());
    assert!(read("/tmp/door")?.contains("Somebody is enrolling for this account right now:"), "{}", read("/tmp/door")?);
    assert!(read("/tmp/tool")?.contains("somebody is enrolling"), "{}", read("/tmp/tool")?);
    host.logged(&[("event", "verification"), ("account", "alice"), ("reason", "enrolment-busy")])?;
    works_from_now_on(&host, "alice", &learned(&host, &login)?)
}

#[test]
fn a_daemon_that_restarts_in_the_middle_refuses_clearly_and_nothing_is_enrolled() -> Result<()> {
    let pause = "#!/bin/sh\ncat >/tmp/screen\n: >/tmp/asked\nuntil [ -e /tmp/restarted ]; do sleep 0.05; done\n\
         [ $# -eq 0 ] || exec \"$@\" </tmp/screen\n";
    let host = key_and_code().script("/usr/local/bin/pause", pause).start()?;
    let restart = || {
        wait("the question", || Ok(host.has("/tmp/asked").then_some(())))?;
        host.restart_daemon()?;
        host.write("/tmp/restarted", "")
    };
    for at_the_codes in [false, true] {
        host.run(&["rm", "-f", "/tmp/asked", "/tmp/restarted"])?.success()?;
        let login = host.ssh("alice", "id");
        let login = if at_the_codes {
            login.answer_by_sight(CODE, PHONE).answer_by_sight(STORED, "/usr/local/bin/pause")
        } else {
            login.answer_by_sight(CODE, &format!("/usr/local/bin/pause {PHONE}"))
        };
        let login = login.expect("The connection to countersignd broke off: log in again.").interrupt();
        let (login, restarted) = thread::scope(|scope| {
            let restarting = scope.spawn(restart);
            (login.end(), restarting.join().unwrap())
        });
        restarted?;
        let login = login?;
        assert!(!login.succeeded() && !is_enrolled(&host, "alice")?, "{login}");
    }
    Ok(())
}
