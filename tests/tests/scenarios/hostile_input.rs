//! Hostile input: whatever is typed, named or claimed, the refusal is clear, one printable line tells of it, and
//! nobody else pays for it.

use anyhow::{Context, Result};
use scenarios::{Host, Line, PAM_AUTH_ERR, PAM_SUCCESS, Stack, wait};

/// The only line about a refusal that holds `text`; it is printable.
fn only_refusal(host: &Host, text: &str) -> Result<Line> {
    let about = || {
        host.syslog()
            .into_iter()
            .filter(|line| line.has(&[("outcome", "refused")]) || line.text.contains("pam_countersign("))
    };
    let line = wait(&format!("a line with {text}"), || Ok(about().find(|line| line.text.contains(text))))
        .with_context(|| host.diagnosis())?;
    assert_eq!(about().filter(|line| line.text.contains(text)).count(), 1, "{text}\n{}", host.diagnosis());
    assert!(line.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    Ok(line)
}

#[test]
fn strange_names_and_sources_are_refused_and_logged_in_one_printable_line() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let long = "x".repeat(300);
    let just = "y".repeat(255);
    let names = [
        ("al\"ice' OR 1=1 --", r#"account="al\"ice' OR 1=1 --""#),
        ("bob\nevent=verification outcome=granted", r#"account="bob\x0aevent=verification outcome=granted""#),
        ("\u{1b}[2Jcarol\r", r#"account="\x1b[2Jcarol\x0d""#),
        ("dàve", r#"account="d\u{e0}ve""#),
        (&long, "the user name is too long"),
        (&just, "account=\"yyyy"),
    ];
    for (name, logged) in names {
        let attempt = host.attempt("door", name, &["123456"])?;
        assert_eq!(attempt.result, PAM_AUTH_ERR, "{name:?}: {attempt:?}");
        only_refusal(&host, logged)?;
    }
    let rhost = "evil\n\u{1b}]0;owned\u{7}\" outcome=granted account=\"root";
    let attempt = host.attempt_from(rhost, "door", "alice", &["malformed"])?;
    assert_eq!(attempt.result, PAM_AUTH_ERR, "{attempt:?}");
    let line = only_refusal(&host, r#"rhost="evil\x0a\x1b]0;owned\x07\" outcome=granted account=\"root""#)?;
    assert!(line.text.contains(r#" account="alice" service="door""#), "{line:?}");
    let attempt = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}

#[test]
fn replies_that_are_no_codes_are_refused_logged_once_and_charged_to_nobody() -> Result<()> {
    let megabyte = "1".repeat(1 << 20);
    let replies = [
        ("empty", "", "malformed"),
        ("huge", megabyte.as_str(), "malformed"),
        ("control", "\u{1b}[2J\u{7}12\r3456", "malformed"),
        ("wide", "１２３４５６", "malformed"),
        ("filler", "\u{8}", "blocked-by-sshd"),
    ];
    let mut builder = Host::build().pam(Stack::code_alone("door"));
    for (user, ..) in replies {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    for (user, reply, reason) in replies {
        let phone = host.enrol(user)?;
        for _ in 0..4 {
            let attempt = host.attempt("door", user, &[reply])?;
            assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTH_ERR, 1), "{user}: {attempt:?}");
        }
        let line = only_refusal(&host, &format!("account=\"{user}\""))?;
        assert_eq!(line.field("reason"), Some(reason), "{line:?}");
        assert_eq!(host.failures(user)?, 0, "{user}");
        let attempt = host.attempt("door", user, &[&host.code(&phone, 0)?])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "{user}: {attempt:?}");
    }
    Ok(())
}
