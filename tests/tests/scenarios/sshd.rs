//! What sshd does to a login behind the back of the person: fillers, vanished clients, services that ask once.

use anyhow::Result;
use scenarios::{Host, Stack};

use crate::words::PROMPT;

/// Ends the process of sshd that runs PAM, and prints something to answer with.
const KILL_PAM_CHILD: &str = "#!/bin/sh\nset -e\npid=$(pgrep -f '^sshd: alice \\[pam\\]')\nkill -TERM $pid\n\
     while kill -0 $pid 2>/dev/null; do :; done\necho 123456\n";

#[test]
fn a_right_code_that_sshd_replaces_by_its_filler_is_logged_as_blocked_and_charged_to_nobody() -> Result<()> {
    // sshd refuses root by keyboard-interactive unless told otherwise, and hands PAM a filler of the code's length.
    let host = Host::build().pam(Stack::sshd_key()).sshd("keyboard-interactive").start()?;
    let phone = host.enrol("root")?;
    let code = host.code(&phone, 0)?;
    let login = host.ssh("root", "id").answer(PROMPT, &code).expect(PROMPT).interrupt().end()?;
    assert!(!login.succeeded(), "{login}");
    let blocked = [("account", "root"), ("outcome", "refused"), ("reason", "blocked-by-sshd")];
    assert_eq!(host.logged(&blocked)?.field("failures"), Some("0"));
    let status = host.countersign(&["status", "root", "--json"])?.success()?;
    assert!(status.stdout.replace(' ', "").contains("\"failures\":0"), "{status}");
    Ok(())
}

#[test]
fn a_client_that_goes_away_at_the_prompt_leaves_nothing_charged_and_nothing_behind() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .start()?;
    let phone = host.enrol("alice")?;
    let before = host.daemon().figures()?.descriptors;
    for _ in 0..3 {
        host.ssh("alice", "id").expect(PROMPT).interrupt().end()?;
    }
    host.logged(&[("account", "alice"), ("outcome", "refused"), ("reason", "cancelled")])?;
    scenarios::wait("the connections' end", || Ok((host.daemon().figures()?.descriptors == before).then_some(())))?;
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    let granted = host.logged(&[("account", "alice"), ("outcome", "granted"), ("service", "sshd")])?;
    assert_eq!(granted.field("failures"), Some("0"), "{granted:?}");
    Ok(())
}

#[test]
fn a_service_that_answers_every_prompt_with_the_password_keeps_it_and_locks_nobody() -> Result<()> {
    let host = Host::build().user("alice", "hunter22").pam(Stack::sudo_password()).start()?;
    let phone = host.enrol("alice")?;
    for _ in 0..4 {
        let mailer = host.attempt("sudo", "alice", &["hunter22", "hunter22"])?;
        assert_eq!(mailer.result, scenarios::PAM_AUTH_ERR, "{mailer:?}");
        assert!(mailer.says("cannot ask twice"), "{mailer:?}");
    }
    let code = host.code(&phone, 0)?;
    assert_eq!(host.attempt("sudo", "alice", &["hunter22", &code])?.result, scenarios::PAM_SUCCESS);
    assert!(!host.syslog().iter().any(|line| line.text.contains("hunter22")), "{}", host.diagnosis());
    Ok(())
}

#[test]
fn a_sigterm_to_sshds_child_between_prompt_and_answer_charges_nobody_and_leaves_nothing_behind() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .script("/usr/local/bin/kill-pam-child", KILL_PAM_CHILD)
        .start()?;
    let phone = host.enrol("alice")?;
    let before = host.daemon().figures()?.descriptors;
    let login = host.ssh("alice", "id -un").answer_from(PROMPT, "/usr/local/bin/kill-pam-child");
    let login = login.expect(PROMPT).interrupt().end()?;
    assert!(!login.succeeded() && !login.stdout.lines().any(|line| line == "alice"), "{login}");
    host.logged(&[("account", "alice"), ("outcome", "refused"), ("reason", "cancelled")])?;
    scenarios::wait("the connection's end", || Ok((host.daemon().figures()?.descriptors == before).then_some(())))?;
    assert_eq!(host.failures("alice")?, 0);
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    Ok(())
}
