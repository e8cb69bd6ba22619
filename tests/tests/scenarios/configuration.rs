//! The configuration is absent, empty, wrong or cannot be read, when the daemon starts and when it is told to read
//! it again: nobody is let in by it, the reason names the file, and a running daemon goes on with what it had.

use anyhow::Result;
use scenarios::{Host, HotpKey, Line, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait};

const FILE: &str = "/etc/countersign/countersign.toml";

/// What may be in the file's place: how it comes there, and what the reason says beside the path. None of these is
/// the same as no file, which means the defaults.
const BAD: [(&str, &str); 6] = [
    ("echo 'tries = 99' >$0", ":1:9: tries: 99 is out of range"),
    ("echo 'disable_afer = 50' >$0", ":1:1: disable_afer: unknown field"),
    ("printf '\\377\\376' >$0", ": cannot be read: "),
    ("mkdir $0", ": cannot be read: it is no regular file"),
    ("ln -s /nonexistent/countersign.toml $0", ": cannot be read: "),
    ("echo 'tries = 3' >$0 && chmod 0600 $0", ": cannot be read: Permission denied"),
];

fn host() -> Result<(Host, Vec<String>)> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .configuration("prompt = \"Door code: \"\n")
        .start()?;
    let (fob, codes) = HotpKey::distinct(61, 40)?;
    host.import_hotp("alice", &fob)?;
    Ok((host, codes))
}

/// Puts what `script` makes in the place of the file, which is `$0`.
fn put(host: &Host, script: &str) -> Result<()> {
    host.run(&["sh", "-c", &format!("rm -rf $0 && {script}"), FILE])?.success()?;
    Ok(())
}

fn is_asked_and_let_in(host: &Host, prompt: &str, code: &str) -> Result<()> {
    let attempt = host.attempt("door", "alice", &[code])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}\n{}", host.diagnosis());
    assert!(attempt.says(prompt), "{attempt:?}");
    Ok(())
}

#[test]
fn a_daemon_whose_configuration_is_wrong_or_cannot_be_read_does_not_start_and_lets_nobody_in() -> Result<()> {
    let (host, codes) = host()?;
    host.daemon().stop()?;
    for (script, reason) in BAD {
        put(&host, script)?;
        let refused = host.run_daemon()?;
        assert_eq!(refused.status, 1, "{script}: {refused}");
        assert!(refused.stderr.contains(&format!("{FILE}{reason}")), "{script}: {refused}");
        let line = |line: &Line| line.program == "countersignd" && line.text.contains(&format!("{FILE}{reason}"));
        wait(&format!("a line for {script}"), || Ok(host.syslog().into_iter().find(line)))?;
        let attempt = host.attempt("door", "alice", &[&codes[0]])?;
        assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{script}: {attempt:?}");
    }
    put(&host, "chmod 0700 /etc/countersign")?;
    let refused = host.run_daemon()?;
    assert!(refused.status == 1 && refused.says(&format!("{FILE}: cannot be read: Permission denied")), "{refused}");
    put(&host, "chmod 0755 /etc/countersign")?;
    for (script, code) in ["true", "touch $0", "echo '# nothing' >$0"].into_iter().zip(&codes) {
        put(&host, script)?;
        host.start_daemon()?;
        is_asked_and_let_in(&host, "Verification code: ", code)?;
        host.daemon().stop()?;
    }
    Ok(())
}

#[test]
fn a_running_daemon_keeps_its_configuration_where_the_new_one_is_wrong_or_cannot_be_read() -> Result<()> {
    let (host, codes) = host()?;
    let mut codes = codes.iter();
    for (script, reason) in BAD {
        put(&host, script)?;
        host.daemon().reload()?;
        let reason = format!("{FILE}{reason}");
        let told = |line: &Line| {
            line.has(&[("event", "reload"), ("outcome", "refused")])
                && line.field("reason").is_some_and(|told| told.starts_with(&reason))
        };
        wait(&format!("a refusal for {script}"), || Ok(host.syslog().into_iter().find(told)))?;
        is_asked_and_let_in(&host, "Door code: ", codes.next().unwrap())?;
    }
    put(&host, "echo 'prompt = \"Gate code: \"' >$0")?;
    host.daemon().reload()?;
    host.logged(&[("event", "reload"), ("outcome", "granted")])?;
    is_asked_and_let_in(&host, "Gate code: ", codes.next().unwrap())?;
    put(&host, "true")?;
    host.daemon().reload()?;
    let defaults = || {
        let reloads =
            host.syslog().iter().filter(|line| line.has(&[("event", "reload"), ("outcome", "granted")])).count();
        Ok((reloads == 2).then_some(()))
    };
    wait("the defaults", defaults)?;
    is_asked_and_let_in(&host, "Verification code: ", codes.next().unwrap())
}
