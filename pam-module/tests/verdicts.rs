//! The real module under the real libpam, against a daemon that speaks the contract: every verdict becomes its PAM
//! code, and every reply leaves as it should, or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that stops here has failed, which is what it is for"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use dbus_api::{Action, Denial, Error, Message, MessageKind};
use support::{
    ask,
    daemon::{Daemon, Heard, Turn},
    denied, granted,
    host::{self, Answer, Host},
    line, step,
};

/// One login of ann with this reply; what libpam answered.
fn login(daemon: &Daemon, reply: &str) -> i32 {
    Host::new(&line(&daemon.socket, ""), "ann").typing(&[reply]).authenticate()
}

#[test]
fn a_granted_code_is_success_and_setcred_follows() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, ""), "ann").typing(&["123456"]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    assert_eq!(host.setcred(), host::SUCCESS);
    assert_eq!(host.calls(), [[(1, "Code: ".to_owned())]]);
    assert_eq!(daemon.replies(), ["123456"]);
}

#[test]
fn the_origin_is_what_the_items_say() {
    let daemon = Daemon::new(vec![Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, ""), "ann")
        .with_item(host::PAM_TTY, b"/dev/pts/3")
        .with_item(host::PAM_RHOST, b"2001:db8::1\xff")
        .with_item(host::PAM_RUSER, &[b'x'; 300]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    let Heard::Begin(user, origin) = daemon.heard()[0].clone() else { unreachable!("Begin comes first") };
    assert_eq!(user, "ann");
    assert_eq!(origin.service.unwrap(), "test-login");
    assert_eq!(origin.tty.unwrap(), "/dev/pts/3");
    assert_eq!(origin.rhost.unwrap(), "2001:db8::1\\xff");
    assert_eq!(origin.ruser.unwrap(), "x".repeat(256));
}

#[test]
fn every_denial_is_its_code() {
    let table = [
        (Denial::Refused, host::AUTH_ERR),
        (Denial::Locked, host::MAXTRIES),
        (Denial::Disabled, host::MAXTRIES),
        (Denial::TriesUsedUp, host::MAXTRIES),
        (Denial::Unavailable, host::AUTHINFO_UNAVAIL),
    ];
    for (denial, code) in table {
        let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(denied(denial))]);
        assert_eq!(login(&daemon, "000000"), code, "{denial:?}");
        let daemon = Daemon::new(vec![Turn::Step(denied(denial))]);
        assert_eq!(login(&daemon, "000000"), code, "{denial:?} at once");
    }
}

#[test]
fn every_typed_error_refuses() {
    let text = || "because".to_owned();
    let table = [
        (Error::AccessDenied(text()), host::AUTH_ERR),
        (Error::InvalidArgument(text()), host::AUTH_ERR),
        (Error::UnknownAccount(text()), host::AUTH_ERR),
        (Error::LimitExceeded(text()), host::AUTHINFO_UNAVAIL),
        (Error::Unavailable(text()), host::AUTHINFO_UNAVAIL),
        (Error::NotFound(text()), host::AUTHINFO_UNAVAIL),
    ];
    for (error, code) in table {
        let name = format!("{error:?}");
        assert_eq!(login(&Daemon::new(vec![Turn::Error(error)]), "123456"), code, "{name}");
    }
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Error(Error::NotFound(text()))]);
    assert_eq!(login(&daemon, "123456"), host::AUTHINFO_UNAVAIL, "it expired while the person was typing");
}

#[test]
fn a_skip_is_ignored_and_needs_a_module_that_decides() {
    let skipped = || Daemon::new(vec![Turn::Step(step(Action::Skipped, ""))]);
    let daemon = skipped();
    assert_eq!(Host::new(&line(&daemon.socket, ""), "ann").authenticate(), host::PERM_DENIED);
    let daemon = skipped();
    let stack = format!("{}\nauth required pam_permit.so", line(&daemon.socket, ""));
    assert_eq!(Host::new(&stack, "ann").authenticate(), host::SUCCESS);
}

#[test]
fn an_action_of_the_future_refuses() {
    let mut unknown = granted();
    unknown.action = 99;
    assert_eq!(login(&Daemon::new(vec![Turn::Step(unknown)]), "123456"), host::AUTHINFO_UNAVAIL);
}

#[test]
fn the_messages_of_a_step_come_before_its_prompt_in_one_call() {
    let mut asked = step(Action::AskVisible, "Code\x1b[2J: ");
    asked.messages = vec![
        Message { kind: MessageKind::Info as u32, text: "Welcome\n".to_owned() },
        Message { kind: MessageKind::Error as u32, text: "ü".repeat(400) },
    ];
    let daemon = Daemon::new(vec![Turn::Step(asked), Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, ""), "ann").typing(&["123456"]);
    assert_eq!(host.authenticate_with(0), host::SUCCESS);
    let expected = [(4, "Welcome ".to_owned()), (3, "ü".repeat(255)), (2, "Code[2J: ".to_owned())];
    assert_eq!(host.calls(), [expected]);
}

#[test]
fn a_silent_host_sees_prompts_and_errors_alone() {
    let mut asked = ask();
    asked.messages = vec![
        Message { kind: MessageKind::Info as u32, text: "Welcome".to_owned() },
        Message { kind: MessageKind::Error as u32, text: "Wrong code".to_owned() },
    ];
    let daemon = Daemon::new(vec![Turn::Step(asked), Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, ""), "ann").typing(&["123456"]);
    assert_eq!(host.authenticate_with(host::PAM_SILENT), host::SUCCESS);
    assert_eq!(host.calls(), [[(3, "Wrong code".to_owned()), (1, "Code: ".to_owned())]]);
}

#[test]
fn a_reply_that_is_no_text_or_huge_leaves_as_the_empty_one() {
    for reply in [vec![b'1'; 1 << 20], b"\xff\xfe123456".to_vec(), vec![b'1'; 513]] {
        let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(denied(Denial::Refused))]);
        let mut host = Host::new(&line(&daemon.socket, ""), "ann").answering(&[Answer::Text(reply)]);
        assert_eq!(host.authenticate(), host::AUTH_ERR);
        assert_eq!(daemon.replies(), [""]);
    }
    let filler = "\x08\n\r\x7fINCORRECT";
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(denied(Denial::Refused))]);
    assert_eq!(login(&daemon, filler), host::AUTH_ERR);
    assert_eq!(daemon.replies(), [filler], "the daemon knows it");
}

#[test]
fn a_conversation_that_fails_or_gives_nothing_refuses_and_cancels() {
    for answer in [Answer::NullText, Answer::NullArray, Answer::Fail] {
        let daemon = Daemon::new(vec![Turn::Step(ask())]);
        let mut host = Host::new(&line(&daemon.socket, ""), "ann").answering(&[answer]);
        assert_eq!(host.authenticate(), host::CONV_ERR);
        assert_eq!(daemon.heard()[1..], [Heard::Cancel(7)]);
    }
}

#[test]
fn a_reply_equal_to_the_password_never_leaves_the_module() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let stack = format!("auth optional pam_unix.so nodelay\n{}", line(&daemon.socket, ""));
    let mut host = Host::new(&stack, "root").typing(&["not the password 1", "not the password 1"]);
    assert_eq!(host.authenticate(), host::AUTH_ERR);
    assert_eq!(daemon.replies(), Vec::<String>::new());
    let calls = host.calls();
    assert!(calls.last().unwrap()[0].1.contains("cannot ask twice"), "{calls:?}");
}

#[test]
fn password_and_code_in_one_prompt_reach_the_next_module_and_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let keep = directory.path().join("keep");
    fs::write(&keep, "#!/bin/sh\nexec cat > \"${0%/*}/password\"\n").unwrap();
    fs::set_permissions(&keep, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let next = format!("auth required pam_exec.so expose_authtok quiet {}", keep.display());
    let stack = format!("{}\n{next}", line(&daemon.socket, "forward_pass forward_digits=8"));
    let mut host = Host::new(&stack, "ann").typing(&["hunter212345678"]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    assert_eq!(host.calls(), [[(1, "Password and code: ".to_owned())]]);
    assert_eq!(daemon.replies(), ["12345678"]);
    let password = fs::read(directory.path().join("password")).unwrap();
    assert_eq!(password.strip_suffix(b"\0").unwrap_or(&password), b"hunter2");
}

#[test]
fn the_code_at_the_end_of_an_earlier_modules_password_is_used() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let stack = format!("auth optional pam_unix.so nodelay\n{}", line(&daemon.socket, "use_first_pass"));
    let mut host = Host::new(&stack, "root").typing(&["some password123456"]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    assert_eq!(daemon.replies(), ["123456"]);

    let daemon = Daemon::new(vec![Turn::Step(ask())]);
    let mut host = Host::new(&line(&daemon.socket, "use_first_pass"), "ann").typing(&["123456"]);
    assert_eq!(host.authenticate(), host::AUTH_ERR);
    assert!(host.calls().is_empty());
}

#[test]
fn a_wrong_argument_is_a_service_error_and_the_daemon_never_hears_of_it() {
    for argument in ["nullok", "timeout=0", "socket=relative", "forward_digits=9"] {
        let daemon = Daemon::new(vec![Turn::Step(granted())]);
        assert_eq!(Host::new(&line(&daemon.socket, argument), "ann").authenticate(), host::SERVICE_ERR);
        assert!(daemon.heard().is_empty());
    }
}

#[test]
fn a_name_that_no_account_has_is_refused_and_other_names_pass_as_they_are() {
    for name in ["", &"x".repeat(300)] {
        let daemon = Daemon::new(vec![Turn::Step(granted())]);
        let code = Host::new(&line(&daemon.socket, ""), name).authenticate();
        assert!([host::AUTH_ERR, host::CONV_ERR].contains(&code), "{code}");
        assert!(daemon.heard().is_empty());
    }
    for name in ["an\"n\nroot", "ünï"] {
        let daemon = Daemon::new(vec![Turn::Step(granted())]);
        assert_eq!(Host::new(&line(&daemon.socket, ""), name).authenticate(), host::SUCCESS);
        assert!(matches!(&daemon.heard()[0], Heard::Begin(user, _) if user == name));
    }
}

#[test]
fn the_other_hooks_grant_nothing() {
    let module = support::module();
    let stack = format!(
        "account required {0}\naccount required pam_deny.so\npassword required {0}\nsession required {0}",
        module.display()
    );
    let mut host = Host::new(&stack, "ann");
    assert_eq!(host.acct_mgmt(), host::AUTH_ERR, "pam_deny alone decides");
    assert_eq!(host.chauthtok(), host::SERVICE_ERR);
    assert_ne!(host.open_session(), host::SUCCESS);
}

#[test]
fn the_account_and_every_other_item_of_the_host_stay_as_they_were() {
    let items = [host::PAM_SERVICE, host::PAM_USER, host::PAM_TTY, host::PAM_RHOST, host::PAM_RUSER];
    // What the daemon says of names and items is no order to the module.
    let talkative = Message { kind: MessageKind::Info as u32, text: "user=root\nPAM_USER=root".to_owned() };
    let ends = [granted(), denied(Denial::Refused), denied(Denial::Locked), step(Action::Skipped, "root")];
    for mut end in ends {
        end.messages.push(talkative.clone());
        let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(end)]);
        let mut host = Host::new(&line(&daemon.socket, "try_first_pass"), "ann")
            .typing(&["root"])
            .with_item(host::PAM_TTY, b"pts/3")
            .with_item(host::PAM_RHOST, b"192.0.2.7")
            .with_item(host::PAM_RUSER, b"bob");
        let before = items.map(|item| host.item(item));
        assert_eq!(before[1].as_deref(), Some("ann"));
        host.authenticate();
        assert_eq!(items.map(|item| host.item(item)), before);
    }
}
