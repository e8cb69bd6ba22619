//! Rules on a whole host: whom sshd lets through without a code, from where, and what the other end sees of it.

use anyhow::Result;
use scenarios::{Host, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack};

use crate::words::PROMPT;

/// What a command prints, every byte of which must arrive as it is.
const BYTES: &str = r"printf '\000\001\r\n\377no newline'";

/// The output of a command over ssh without a terminal, byte by byte: standard output and standard error.
fn over_ssh(host: &Host, from: &str, command: &str) -> Result<(bool, Vec<u8>, String)> {
    let output = host.command("root", &["ssh", "-T", "-b", from, "alice@scratch", command])?.output()?;
    Ok((output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn ssh_from_one_network_is_spared_the_code_and_its_bytes_arrive_clean() -> Result<()> {
    let rule = "[[rule]]\nname = \"deploy\"\naccounts = [\"alice\"]\nservices = [\"sshd\"]\n\
                networks = [\"127.0.0.2/32\"]\naction = \"skip\"\n";
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .configuration(rule)
        .start()?;
    let phone = host.enrol("alice")?;
    let (succeeded, out, err) = over_ssh(&host, "127.0.0.2", BYTES)?;
    assert!(succeeded && err.is_empty(), "{err}");
    assert_eq!(out, b"\0\x01\r\n\xffno newline");
    let skipped = [("event", "verification"), ("outcome", "note"), ("rule", "deploy"), ("reason", "skipped")];
    assert_eq!(host.logged(&skipped)?.field("rhost"), Some("127.0.0.2"));
    host.run(&["dd", "if=/dev/urandom", "of=/root/data", "bs=1k", "count=300"])?.success()?;
    let copy = ["scp", "-O", "-q", "-o", "BindAddress=127.0.0.2", "/root/data", "alice@scratch:data"];
    let copied = host.run(&copy)?.success()?;
    assert!(copied.stdout.is_empty() && copied.stderr.is_empty(), "{copied}");
    assert_eq!(host.read("/root/data")?, host.read("/home/alice/data")?);

    // From elsewhere there is nobody to answer, and then somebody.
    let (succeeded, out, _) = over_ssh(&host, "127.0.0.1", BYTES)?;
    assert!(!succeeded && out.is_empty());
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    Ok(())
}

#[test]
fn who_is_reminded_gets_in_and_the_line_stays_out_of_the_output() -> Result<()> {
    let rule = "[[rule]]\nname = \"staff\"\ngroups = [\"scratch-sudo\"]\nenroll_by = 2999-01-31\n";
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .pam(Stack::code_alone("door"))
        .sshd("publickey,keyboard-interactive")
        .configuration(rule)
        .start()?;
    let (succeeded, out, err) = over_ssh(&host, "127.0.0.1", BYTES)?;
    assert!(succeeded, "{err}");
    assert_eq!(out, b"\0\x01\r\n\xffno newline");
    host.logged(&[("account", "alice"), ("outcome", "note"), ("rule", "staff"), ("reason", "reminded")])?;
    let reminded = host.attempt("door", "alice", &[])?;
    assert_eq!(reminded.result, PAM_SUCCESS, "{reminded:?}");
    assert!(
        reminded.says("From 31 January 2999 a second factor is needed here: run countersign enroll"),
        "{reminded:?}"
    );
    // Who is in no group of the rule is refused as ever.
    assert_eq!(host.attempt("door", "daemon", &["123456"])?.result, PAM_AUTH_ERR);
    host.enrol("alice")?;
    assert_eq!(host.attempt("door", "alice", &["123456"])?.prompts(), 1);
    Ok(())
}

#[test]
fn a_stack_of_our_module_alone_lets_through_whom_the_policy_skips_or_only_observes() -> Result<()> {
    let rules = "[[rule]]\nname = \"skip\"\nservices = [\"skip\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"trial\"\nservices = [\"trial\"]\nmode = \"observe\"\n\
                 [[rule]]\nname = \"closed\"\nservices = [\"closed\"]\naction = \"deny\"\n";
    let mut host = Host::build().user_without_password("alice").configuration(rules);
    for service in ["skip", "trial", "closed"] {
        host = host.pam(Stack::code_alone(service));
    }
    let host = host.start()?;
    let phone = host.enrol("alice")?;
    for (service, reason) in [("skip", "skipped"), ("trial", "would-ask")] {
        let attempt = host.attempt(service, "alice", &[])?;
        assert_eq!((attempt.result, attempt.talk.len()), (PAM_SUCCESS, 0), "{attempt:?}");
        host.logged(&[("account", "alice"), ("rule", service), ("reason", reason), ("outcome", "note")])?;
        // Another caller than root only claims to be that service.
        let claimed = host.attempt_as("alice", service, "alice", &["123456"])?;
        assert_eq!(claimed.prompts(), usize::from(service == "skip"), "{claimed:?}");
    }
    assert_eq!(host.attempt("closed", "alice", &[&host.code(&phone, 0)?])?.result, PAM_AUTH_ERR);
    host.logged(&[("account", "alice"), ("rule", "closed"), ("reason", "denied"), ("outcome", "refused")])?;
    let started = host.logged(&[("event", "start"), ("outcome", "note")])?;
    assert!(started.text.contains("reason=\"OBSERVING: nobody is asked by rule \\\"trial\\\" (mode"), "{started:?}");
    Ok(())
}

#[test]
fn a_broken_rule_file_keeps_the_old_rules_at_a_reload_and_the_daemon_from_starting() -> Result<()> {
    let skip = "[[rule]]\nname = \"skip\"\nservices = [\"door\"]\naction = \"skip\"\n";
    let host =
        Host::build().user_without_password("alice").pam(Stack::code_alone("door")).configuration(skip).start()?;
    host.run(&["mkdir", "-m", "0755", "/etc/countersign/conf.d"])?.success()?;
    host.write("/etc/countersign/conf.d/10.toml", "[[rule]]\nname = \"x\"\ngroups = [\"no-such-group\"]\n")?;
    host.run(&["sh", "-c", "kill -HUP $(pidof countersignd)"])?.success()?;
    let refused = host.logged(&[("event", "reload"), ("outcome", "refused")])?;
    let why = "reason=\"/etc/countersign/conf.d/10.toml:3:11: rule \\\"x\\\": groups: the name service knows no group";
    assert!(refused.text.contains(why), "{refused:?}");
    assert_eq!(host.attempt("door", "alice", &[])?.result, PAM_SUCCESS);
    assert!(host.restart_daemon().is_err());
    let check = host.countersign(&["config", "check"])?;
    assert!(!check.succeeded() && check.stderr.contains("no-such-group"), "{check}");
    host.run(&["rm", "/etc/countersign/conf.d/10.toml"])?.success()?;
    host.start_daemon()?;
    assert_eq!(host.attempt("door", "alice", &[])?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn somebody_in_five_hundred_groups_is_found_in_the_last_one_and_not_outside_of_it() -> Result<()> {
    let rules = "[[rule]]\nname = \"last\"\nservices = [\"door\"]\ngroups = [\"team499\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"outside\"\nservices = [\"gate\"]\ngroups = [\"!team250\"]\naction = \"skip\"\n";
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .pam(Stack::code_alone("gate"))
        .configuration(rules)
        .daemon_waits()
        .start()?;
    let mut groups = String::from_utf8(host.read("/etc/group")?)?;
    (0..500).for_each(|number| groups.push_str(&format!("team{number}:x:{}:alice\n", 70_000 + number)));
    host.write("/etc/group", &groups)?;
    host.start_daemon()?;
    assert_eq!(host.attempt("door", "alice", &[])?.result, PAM_SUCCESS);
    assert_eq!(host.attempt("gate", "alice", &["123456"])?.result, PAM_AUTH_ERR);
    assert_eq!(host.attempt("gate", "daemon", &[])?.result, PAM_SUCCESS);

    // The group goes away while the daemon runs: nobody is believed to be outside of it.
    host.write("/etc/group", &groups.replace("team250:", "other250:").replace(":70250:", ":80250:"))?;
    let refused = || Ok((host.attempt("gate", "daemon", &["123456"])?.result == PAM_AUTHINFO_UNAVAIL).then_some(()));
    scenarios::wait("the end of what is remembered", refused)?;
    host.logged(&[("account", "daemon"), ("outcome", "refused"), ("reason", "name-service")])?;
    Ok(())
}
