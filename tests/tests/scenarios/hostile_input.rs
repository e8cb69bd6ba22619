//! Hostile input: whatever is typed, named or claimed, the refusal is clear, one printable line tells of it, and
//! nobody else pays for it.

use anyhow::{Context, Result};
use scenarios::{Host, HotpKey, Line, PAM_AUTH_ERR, PAM_SUCCESS, Stack, wait};

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

#[test]
fn a_code_is_read_kindly_and_full_width_digits_are_none() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let (fob, codes) = HotpKey::distinct(62, 16)?;
    host.import_hotp("alice", &fob)?;
    let halves = |code: &str, between: &str| format!("{}{between}{}", &code[..3], &code[3..]);
    let kind = [
        halves(&codes[0], " "),
        halves(&codes[1], "-"),
        format!("  {} ", codes[2]),
        codes[3].chars().flat_map(|digit| [digit, ' ']).collect(),
        format!("-{}-", codes[4]),
    ];
    for reply in kind {
        let attempt = host.attempt("door", "alice", &[&reply])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "{reply:?}: {attempt:?}");
        let again = host.attempt("door", "alice", &[&reply.replace([' ', '-'], "")])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "one code in another spelling let in twice: {again:?}");
    }
    let wide = |digit: char| char::from_u32(0xff10 + digit.to_digit(10).unwrap()).unwrap();
    let arabic = |digit: char| char::from_u32(0x0660 + digit.to_digit(10).unwrap()).unwrap();
    let unkind = [
        codes[5].chars().map(wide).collect::<String>(),
        codes[5].chars().map(arabic).collect(),
        halves(&codes[5], "\u{a0}"),
        halves(&codes[5], "_"),
        halves(&codes[5], "\t"),
        format!("+{}", codes[5]),
        format!("{}\u{0}", codes[5]).replace('\u{0}', "\u{200b}"),
        codes[5].repeat(2),
    ];
    for reply in unkind {
        let attempt = host.attempt("door", "alice", &[&reply])?;
        assert_eq!(attempt.result, PAM_AUTH_ERR, "{reply:?}: {attempt:?}");
    }
    assert_eq!((host.failures("alice")?, host.charged()), (0, Vec::new()));
    assert_eq!(host.attempt("door", "alice", &[&codes[5]])?.result, PAM_SUCCESS, "nothing was spent by them");
    Ok(())
}

#[test]
fn replies_of_any_bytes_are_refused_and_charged_to_nobody() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let (fob, codes) = HotpKey::distinct(63, 12)?;
    host.import_hotp("alice", &fob)?;
    let code = codes[0].as_bytes();
    let raw: [Vec<u8>; 8] = [
        [b"\xff\xfe", code].concat(),
        [code, b"\xc3"].concat(),
        b"\xed\xa0\x80\xed\xb0\x80".to_vec(),
        [b"\x1b[2J\x07", code].concat(),
        (1..=9).chain(11..=31).chain([127]).collect(),
        code.repeat(86),
        vec![b'1'; 1 << 20],
        vec![0xff; 1 << 20],
    ];
    for reply in raw {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(40)]).into_owned();
        let attempt = host.attempt_raw("door", "alice", &reply)?;
        assert_eq!(attempt.result, PAM_AUTH_ERR, "{shown:?}: {attempt:?}");
    }
    assert_eq!((host.failures("alice")?, host.charged()), (0, Vec::new()));
    assert!(host.syslog().iter().all(|line| line.text.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
    assert_eq!(host.attempt("door", "alice", &[&codes[0]])?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn sudo_that_reads_a_nul_or_bytes_that_are_no_text_refuses_and_lives() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).start()?;
    let (fob, codes) = HotpKey::distinct(64, 12)?;
    host.import_hotp("alice", &fob)?;
    let code = codes[0].as_bytes();
    for reply in [[&code[..3], b"\0", &code[3..]].concat(), [code, b"\xff"].concat(), vec![0; 600], vec![b'9'; 1 << 20]]
    {
        let input = [&reply, &b"\n"[..]].concat();
        let sudo = host.feed_as("alice", &["sudo", "-S", "id", "-u"], &input)?;
        assert_eq!((sudo.status, sudo.stdout.as_str()), (1, ""), "{sudo}");
    }
    assert_eq!(host.failures("alice")?, 0);
    let input = [code, b"\0 and what stands behind a NUL\n"].concat();
    let sudo = host.feed_as("alice", &["sudo", "-S", "id", "-u"], &input)?;
    assert_eq!(sudo.success()?.stdout, "0\n", "a C string ends at its NUL");
    Ok(())
}

/// A client that answers the prompt with any bytes; OpenSSH's own sends none of NUL.
const RAW_CLIENT: &str = r#"#!/usr/bin/python3
import paramiko, socket, sys
reply = sys.stdin.buffer.read()
transport = paramiko.Transport(socket.create_connection(("127.0.0.1", 22)))
transport.start_client(timeout=20)
try:
    key = paramiko.Ed25519Key.from_private_key_file("/root/laptop/key")
    if transport.auth_publickey("alice", key) != ["keyboard-interactive"]:
        sys.exit("no code was asked for")
    transport.auth_interactive("alice", lambda title, text, prompts: [reply for _ in prompts])
    print("in")
except paramiko.SSHException as error:
    print("out:", type(error).__name__)
except EOFError:
    print("out: EOFError")
transport.close()
"#;

#[test]
fn sshd_that_is_sent_any_bytes_lets_nobody_in_and_charges_nobody() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .script("/usr/local/bin/raw-client", RAW_CLIENT)
        .start()?;
    let (fob, codes) = HotpKey::distinct(65, 12)?;
    host.import_hotp("alice", &fob)?;
    let code = codes[0].as_bytes();
    // sshd itself ends the connection at a NUL inside of a reply.
    let raw: [Vec<u8>; 5] = [
        vec![],
        [&code[..3], b"\0", &code[3..]].concat(),
        [code, b"\xff"].concat(),
        b"\x1b]0;owned\x07\n\r123456".to_vec(),
        vec![b'7'; 200_000],
    ];
    for reply in raw {
        let login = host.feed_as("root", &["/usr/local/bin/raw-client"], &reply)?.success()?;
        assert!(
            login.stdout.starts_with("out: "),
            "{:?}: {login}",
            String::from_utf8_lossy(&reply[..reply.len().min(40)])
        );
    }
    assert_eq!((host.failures("alice")?, host.charged()), (0, Vec::new()));
    let login = host.feed_as("root", &["/usr/local/bin/raw-client"], code)?.success()?;
    assert_eq!(login.stdout, "in\n", "{login}");
    Ok(())
}
