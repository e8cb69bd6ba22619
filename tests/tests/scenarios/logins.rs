//! People log in: ssh, sudo, su, and a program that is not root.

use anyhow::Result;
use scenarios::{Host, Line, PAM_SUCCESS, Stack, wait};

use crate::words::{PROMPT, TRY_AGAIN, WRONG};

#[test]
fn ssh_with_a_key_asks_for_a_code_and_lets_in() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    let code = host.code(&phone, 0)?;
    let login = host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    assert!(!login.says(&code), "the code was echoed: {login}");
    let line = host.logged(&[("event", "verification"), ("outcome", "granted"), ("caller_uid", "0")])?;
    let begins = r#"event=verification outcome=granted account="alice" service="sshd" tty="ssh" rhost="127.0.0.1""#;
    assert!(line.text.starts_with(begins) && line.program == "countersignd", "{line:?}");
    Ok(())
}

#[test]
fn ssh_with_a_password_asks_for_password_and_code() -> Result<()> {
    let host = Host::build()
        .user("alice", "correct horse")
        .pam(Stack::sshd_password())
        .sshd("keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    let code = host.code(&phone, 0)?;
    let dialogue = host.ssh("alice", "id -un").answer("Password: ", "correct horse").answer(PROMPT, &code);
    dialogue.expect("alice").end()?.success()?;
    host.logged(&[("event", "verification"), ("outcome", "granted"), ("account", "alice"), ("service", "sshd")])?;
    Ok(())
}

#[test]
fn ssh_with_a_wrong_password_never_reaches_the_code() -> Result<()> {
    let host = Host::build()
        .user("alice", "correct horse")
        .pam(Stack::sshd_password())
        .sshd("keyboard-interactive")
        .start()?;
    host.enrol("alice")?;
    let login = host
        .ssh("alice", "id -un")
        .answer("Password: ", "wrong horse")
        .answer("Password: ", "wrong horse")
        .answer("Password: ", "wrong horse")
        .end()?;
    assert!(!login.succeeded() && !login.says(PROMPT), "{login}");
    let last = |line: &Line| line.program == "sshd" && line.text.contains("Connection closed by authenticating user");
    wait("sshd's last line", || Ok(host.syslog().into_iter().find(last)))?;
    let verifications = host.syslog().iter().filter(|line| line.has(&[("event", "verification")])).count();
    assert_eq!(verifications, 0, "{}", host.diagnosis());
    Ok(())
}

#[test]
fn openssh_shows_the_wrong_code_and_then_how_long_to_wait() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    let wrong = host.wrong_code(&phone)?;
    let login = host
        .ssh("alice", "id -un")
        .answer(PROMPT, &wrong)
        .expect(WRONG)
        .answer(PROMPT, &wrong)
        .expect(WRONG)
        .answer(PROMPT, &wrong)
        .expect(TRY_AGAIN)
        .expect(" s.")
        .end()?;
    assert!(!login.succeeded(), "{login}");
    assert!(login.stdout.contains("Permission denied (keyboard-interactive)"), "{login}");
    assert!(!login.stdout.contains("assword"), "{login}");
    let refused = [("event", "verification"), ("outcome", "refused"), ("account", "alice"), ("reason", "wrong")];
    assert_eq!(host.logged(&refused)?.field("failures"), Some("3"));
    host.logged(&[("event", "lock"), ("account", "alice")])?;
    Ok(())
}

#[test]
fn a_code_opens_one_login_and_not_a_second_one() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .pam(Stack::sudo())
        .sshd("publickey,keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "true").answer(PROMPT, &code).end()?.success()?;
    let sudo = host.terminal("alice", &["sudo", "id", "-u"]).answer(PROMPT, &code).expect(WRONG).interrupt().end()?;
    assert!(!sudo.succeeded(), "{sudo}");
    host.logged(&[("outcome", "refused"), ("service", "sudo"), ("account", "alice"), ("reason", "reused")])?;
    Ok(())
}

#[test]
fn sudo_on_a_terminal_asks_for_a_code() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).start()?;
    let phone = host.enrol("alice")?;
    let sudo = host.terminal("alice", &["sudo", "id", "-u"]).answer(PROMPT, &host.code(&phone, 0)?);
    let sudo = sudo.expect("0").end()?.success()?;
    assert_eq!(sudo.stdout.trim_end().lines().last(), Some("0"), "{sudo}");
    let line =
        host.logged(&[("outcome", "granted"), ("account", "alice"), ("service", "sudo"), ("caller_uid", "0")])?;
    assert!(line.field("tty").is_some_and(|tty| tty.contains("pts/")), "{line:?}");
    Ok(())
}

#[test]
fn sudo_after_a_wrong_code_asks_again_and_lets_in() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).start()?;
    let phone = host.enrol("alice")?;
    let sudo = host.terminal("alice", &["sudo", "id", "-u"]).answer(PROMPT, &host.wrong_code(&phone)?).expect(WRONG);
    sudo.answer(PROMPT, &host.code(&phone, 0)?).end()?.success()?;
    Ok(())
}

#[test]
fn sudo_from_standard_input_takes_password_and_code() -> Result<()> {
    let host = Host::build().user("alice", "correct horse").pam(Stack::sudo_password()).start()?;
    let phone = host.enrol("alice")?;
    let input = format!("correct horse\n{}\n", host.code(&phone, 0)?);
    let sudo = host.feed_as("alice", &["sudo", "-S", "id", "-u"], input.as_bytes())?.success()?;
    assert_eq!(sudo.stdout, "0\n", "{sudo}");
    let again = host.feed_as("alice", &["sudo", "-S", "id", "-u"], input.as_bytes())?;
    assert!(!again.succeeded() && again.stdout.is_empty(), "the same code twice: {again}");
    Ok(())
}

#[test]
fn sudo_with_an_askpass_program_asks_it_for_the_code() -> Result<()> {
    let askpass = "#!/bin/sh\necho \"$1\" >>/tmp/prompts\ncat /tmp/code\n";
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sudo())
        .script("/usr/local/bin/askpass", askpass)
        .start()?;
    let phone = host.enrol("alice")?;
    host.write("/tmp/code", &format!("{}\n", host.code(&phone, 0)?))?;
    let sudo = host.run_as("alice", &["env", "SUDO_ASKPASS=/usr/local/bin/askpass", "sudo", "-A", "id", "-u"])?;
    assert_eq!(sudo.success()?.stdout, "0\n");
    assert_eq!(String::from_utf8(host.read("/tmp/prompts")?)?.trim_end(), PROMPT.trim_end());
    Ok(())
}

#[test]
fn su_asks_for_the_password_and_a_code_of_the_account_it_changes_to() -> Result<()> {
    let host = Host::build().user("alice", "correct horse").user("bob", "battery staple").pam(Stack::su()).start()?;
    let [of_alice, of_bob] = [host.enrol("alice")?, host.enrol("bob")?];
    let su = |code: &str| {
        let command = ["su", "bob", "-c", "id -un"];
        host.terminal("alice", &command).answer("Password: ", "battery staple").answer(PROMPT, code).end()
    };
    let refused = su(&host.code(&of_alice, 0)?)?;
    assert!(!refused.succeeded() && refused.says(WRONG), "{refused}");
    assert!(su(&host.code(&of_bob, 0)?)?.success()?.says("bob"));
    host.logged(&[("outcome", "granted"), ("account", "bob"), ("service", "su")])?;
    Ok(())
}

#[test]
fn a_screen_locker_verifies_its_own_user_and_nobody_else() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .pam(Stack::code_alone("locker"))
        .start()?;
    let [of_alice, of_bob] = [host.enrol("alice")?, host.enrol("bob")?];
    let unlock = |user: &str, code: &str| {
        host.terminal("alice", &["pamtester", "locker", user, "authenticate"]).answer(PROMPT, code).end()
    };
    unlock("alice", &host.code(&of_alice, 0)?)?.success()?;
    let line = host.logged(&[("outcome", "granted"), ("account", "alice"), ("service", "locker")])?;
    assert_eq!(line.field("origin"), Some("claimed"), "{line:?}");

    let foreign = host.terminal("alice", &["pamtester", "locker", "bob", "authenticate"]).end()?;
    assert!(!foreign.succeeded() && !foreign.says("successfully"), "{foreign}");
    host.logged(&[("event", "access"), ("outcome", "refused"), ("account", "bob"), ("reason", "not-own-account")])?;
    let own = host.attempt("locker", "bob", &[&host.code(&of_bob, 0)?])?;
    assert_eq!(own.result, PAM_SUCCESS, "bob's code was consumed: {own:?}");
    Ok(())
}

#[test]
fn root_changes_to_anybody_without_a_code() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::su()).start()?;
    host.enrol("alice")?;
    assert_eq!(host.run(&["su", "alice", "-c", "id -un"])?.success()?.stdout, "alice\n");
    Ok(())
}
