//! Remembered logins over real ssh: who showed a code from an address is not asked there again for eight hours, and
//! what ends that.

use std::time::Duration;

use anyhow::Result;
use scenarios::{Dialogue, Enrolment, Host, HostBuilder, Outcome, PAM_AUTH_ERR, PAM_SUCCESS, Stack};

use crate::words::PROMPT;

const REMEMBERING: &str = "[[rule]]\nname = \"office\"\naction = \"require\"\nremember = \"8h\"\n";
const HOUR: u64 = 3600;

fn builder() -> HostBuilder {
    Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .pam(Stack::code_alone("door"))
        .configuration(REMEMBERING)
        .fake_clock()
}

/// A client that comes from `address`, which is the host's own as every one of 127.0.0.0/8 is.
fn ssh_from<'host>(host: &'host Host, address: &str, user: &str) -> Dialogue<'host> {
    host.terminal("root", &["ssh", "-b", address, &format!("{user}@scratch"), "echo in as $(id -un)"])
}

/// Logs in with a code.
fn log_in_from(host: &Host, address: &str, user: &str, phone: &Enrolment) -> Result<Outcome> {
    let code = host.code(phone, 0)?;
    ssh_from(host, address, user).answer(PROMPT, &code).expect(&format!("in as {user}")).end()?.success()
}

/// Logs in and is not asked.
fn walk_in_from(host: &Host, address: &str, user: &str) -> Result<()> {
    let login = ssh_from(host, address, user).expect(&format!("in as {user}")).end()?.success()?;
    assert!(!login.says(PROMPT), "{login}");
    Ok(())
}

/// Is asked, and goes away.
fn be_asked_from(host: &Host, address: &str, user: &str) -> Result<()> {
    ssh_from(host, address, user).expect(PROMPT).interrupt().end()?;
    Ok(())
}

/// A host on which alice showed a code from 127.0.0.1.
fn remembered() -> Result<(Host, Enrolment)> {
    let host = builder().start()?;
    let phone = host.enrol("alice")?;
    log_in_from(&host, "127.0.0.1", "alice", &phone)?;
    walk_in_from(&host, "127.0.0.1", "alice")?;
    Ok((host, phone))
}

#[test]
fn the_second_login_from_the_same_address_within_eight_hours_is_not_asked_even_after_a_restart() -> Result<()> {
    let (host, _) = remembered()?;
    let line = host.logged(&[("outcome", "note"), ("account", "alice"), ("rule", "office"), ("rhost", "127.0.0.1")])?;
    assert!(line.field("reason").is_some_and(|reason| reason.starts_with("remembered until 20")), "{line:?}");
    host.restart_daemon()?;
    walk_in_from(&host, "127.0.0.1", "alice")?;
    host.advance(Duration::from_secs(8 * HOUR - 600))?;
    walk_in_from(&host, "127.0.0.1", "alice")?;
    host.advance(Duration::from_secs(601))?;
    be_asked_from(&host, "127.0.0.1", "alice")
}

#[test]
fn another_address_another_account_and_another_service_are_asked() -> Result<()> {
    let (host, _) = remembered()?;
    host.enrol("bob")?;
    be_asked_from(&host, "127.0.0.2", "alice")?;
    be_asked_from(&host, "127.0.0.1", "bob")?;
    let door = host.attempt_from("127.0.0.1", "door", "alice", &["00000000"])?;
    assert_eq!((door.result, door.prompts()), (PAM_AUTH_ERR, 1), "{door:?}");
    walk_in_from(&host, "127.0.0.1", "alice")
}

#[test]
fn a_stack_of_our_module_alone_lets_a_remembered_login_in() -> Result<()> {
    let host = builder().start()?;
    let phone = host.enrol("alice")?;
    let first = host.attempt_from("192.0.2.7", "door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(first.result, PAM_SUCCESS, "{first:?}");
    let second = host.attempt_from("192.0.2.7", "door", "alice", &[])?;
    assert_eq!((second.result, second.prompts()), (PAM_SUCCESS, 0), "{second:?}");
    Ok(())
}

#[test]
fn forgetting_disabling_a_new_authenticator_and_a_reset_end_it() -> Result<()> {
    let (host, phone) = remembered()?;
    let forgotten = host.run_as("alice", &["countersign", "forget"])?.success()?;
    assert!(forgotten.stdout.contains("1 remembered login of alice forgotten"), "{forgotten}");
    be_asked_from(&host, "127.0.0.1", "alice")?;

    let again = |phone: &Enrolment| {
        host.advance(Duration::from_secs(60))?;
        log_in_from(&host, "127.0.0.1", "alice", phone)?;
        walk_in_from(&host, "127.0.0.1", "alice")
    };
    again(&phone)?;
    host.countersign(&["disable", "alice"])?.success()?;
    host.countersign(&["enable", "alice"])?.success()?;
    be_asked_from(&host, "127.0.0.1", "alice")?;

    again(&phone)?;
    host.enrol("alice")?;
    be_asked_from(&host, "127.0.0.1", "alice")?;

    again(&phone)?;
    host.countersign(&["reset", "alice", "--yes"])?.success()?;
    be_asked_from(&host, "127.0.0.1", "alice")
}

#[test]
fn a_clock_that_is_turned_back_ends_it_also_after_it_is_right_again() -> Result<()> {
    let (host, _) = remembered()?;
    host.turn_back(Duration::from_secs(HOUR))?;
    be_asked_from(&host, "127.0.0.1", "alice")?;
    host.advance(Duration::from_secs(HOUR))?;
    be_asked_from(&host, "127.0.0.1", "alice")
}

#[test]
fn a_recovery_code_is_not_remembered_and_the_next_login_is_told_of_it() -> Result<()> {
    let host = builder().start()?;
    let phone = host.enrol("alice")?;
    let recovery = phone.recovery_codes[0].clone();
    ssh_from(&host, "127.0.0.2", "alice").answer(PROMPT, &recovery).expect("in as alice").end()?.success()?;
    be_asked_from(&host, "127.0.0.2", "alice")?;
    let told = host.attempt_from("127.0.0.1", "door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(told.result, PAM_SUCCESS, "{told:?}");
    assert!(told.says("A recovery code was used from 127.0.0.2 at 20"), "{told:?}");
    Ok(())
}
