//! The account phase of the real sshd: whoever was not asked in `auth` is refused, unless the policy wants nothing of them.

use anyhow::Result;
use scenarios::{Host, HostBuilder, Stack};

use crate::words::PROMPT;

const UNASKED: &str = "A second factor is needed here, and this way to log in does not ask for it.";

/// alice and the deploy account have keys, bob a password; the deploy account needs no second factor.
fn host(methods: &str, stack: Stack) -> HostBuilder {
    let skip = "[[rule]]\nname = \"deploy\"\naccounts = [\"deploy\"]\nservices = [\"sshd\"]\naction = \"skip\"\n";
    let people = Host::build().user("alice", "correct horse").user_without_password("deploy");
    people.configuration(skip).pam(stack.account_phase()).pam(Stack::code_alone("door")).sshd(methods)
}

#[test]
fn a_key_alone_is_refused_and_told_why_and_a_key_of_an_account_that_policy_skips_lets_in() -> Result<()> {
    let host = host("publickey", Stack::sshd_key()).start()?;
    let phone = host.enrol("alice")?;
    let alone = host.ssh("alice", "id -un").end()?;
    assert!(!alone.succeeded() && alone.says(UNASKED), "{alone}");
    let line = host.logged(&[("event", "verification"), ("account", "alice"), ("reason", "unasked")])?;
    assert_eq!((line.field("service"), line.field("failures")), (Some("sshd"), None), "{line:?}");
    host.ssh("deploy", "id -un").expect("deploy").end()?.success()?;
    host.logged(&[("event", "verification"), ("account", "deploy"), ("reason", "skipped"), ("rule", "deploy")])?;
    // Nothing was spent or charged, and other services are none of this line's business.
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, scenarios::PAM_SUCCESS);

    host.daemon().stop()?;
    for user in ["alice", "deploy"] {
        let without = host.ssh(user, "id -un").end()?;
        assert!(!without.succeeded(), "{without}");
    }
    Ok(())
}

#[test]
fn key_and_code_let_in_and_so_do_password_and_code() -> Result<()> {
    let keys = host("publickey,keyboard-interactive", Stack::sshd_key()).start()?;
    let phone = keys.enrol("alice")?;
    let refused = keys.ssh("alice", "id -un").answer(PROMPT, &keys.wrong_code(&phone)?).expect(PROMPT).interrupt();
    assert!(!refused.end()?.succeeded());
    keys.ssh("alice", "id -un").answer(PROMPT, &keys.code(&phone, 0)?).expect("alice").end()?.success()?;
    keys.ssh("deploy", "id -un").expect("deploy").end()?.success()?;

    let passwords = host("keyboard-interactive", Stack::sshd_password()).start()?;
    let phone = passwords.enrol("alice")?;
    let login = passwords.ssh("alice", "id -un").answer("Password: ", "correct horse");
    login.answer(PROMPT, &passwords.code(&phone, 0)?).expect("alice").end()?.success()?;
    Ok(())
}

#[test]
fn where_either_way_is_allowed_the_code_lets_in_and_the_key_does_not() -> Result<()> {
    let host = host("publickey keyboard-interactive", Stack::sshd_password()).start()?;
    let phone = host.enrol("alice")?;
    let ssh = |method: &'static str| {
        let methods = format!("PreferredAuthentications={method}");
        host.terminal("root", &["ssh", "-o", &methods, "alice@scratch", "id -un"])
    };
    let key = ssh("publickey").end()?;
    assert!(!key.succeeded() && key.says(UNASKED), "{key}");
    let code = host.code(&phone, 0)?;
    let login = ssh("keyboard-interactive").answer("Password: ", "correct horse").answer(PROMPT, &code);
    login.expect("alice").end()?.success()?;
    Ok(())
}

#[test]
fn password_and_code_in_one_prompt_of_ssh_let_in() -> Result<()> {
    let sshd = "ListenAddress 127.0.0.1\nHostKey /etc/ssh/scratch_host_key\nUsePAM yes\nPasswordAuthentication yes\n\
         KbdInteractiveAuthentication no\nUseDNS no\nSyslogFacility AUTHPRIV\n";
    let stack = "auth requisite pam_countersign.so forward_pass\nauth requisite pam_unix.so use_first_pass\n\
         auth required pam_permit.so\naccount required pam_countersign.so require_auth\n\
         @include common-account\n@include common-session\n";
    let host = host("password", Stack::sshd_password()).file("/etc/ssh/scratch_config", sshd);
    let host = host.file("/etc/pam.d/sshd", stack).start()?;
    let phone = host.enrol("alice")?;
    let ssh = || {
        let methods = "PreferredAuthentications=password";
        host.terminal("root", &["ssh", "-o", methods, "alice@scratch", "id -un"])
    };
    let both = format!("correct horse{}", host.code(&phone, 0)?);
    ssh().answer("password: ", &both).expect("alice").end()?.success()?;
    let alone = ssh().answer("password: ", "correct horse").expect("password: ").interrupt().end()?;
    assert!(!alone.succeeded(), "{alone}");
    Ok(())
}
