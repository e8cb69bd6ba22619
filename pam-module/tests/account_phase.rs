//! The account phase of sshd under the real libpam: who was not let through by `auth` in the same transaction is the
//! daemon's to judge, and what it does not say refuses.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that stops here has failed, which is what it is for"
)]

mod support;

use dbus_api::{Action, Denial, Message, MessageKind, Step};
use support::{
    ask,
    daemon::{Daemon, Heard, Turn},
    denied, granted,
    host::{self, Host},
    step,
};

/// Our module in both phases; a module that permits stands behind, because what ignores alone is refused by libpam.
fn sshd(daemon: &Daemon, arguments: &str) -> Host {
    on("sshd", daemon, arguments)
}

fn on(service: &str, daemon: &Daemon, arguments: &str) -> Host {
    let line = format!("{} socket={} {arguments}", support::module().display(), daemon.socket.display());
    let permit = "required pam_permit.so";
    let stack = format!("auth requisite {line}\nauth {permit}\naccount requisite {line}\naccount {permit}");
    Host::of_service(service, &stack, "ann")
}

fn skipped() -> Step {
    step(Action::Skipped, "")
}

#[test]
fn whoever_was_let_through_passes_and_the_daemon_is_not_asked_again() {
    let by_code = vec![Turn::Step(ask()), Turn::Step(granted())];
    for turns in [by_code, vec![Turn::Step(skipped())]] {
        let daemon = Daemon::new(turns);
        let mut host = sshd(&daemon, "require_auth").typing(&["123456"]);
        assert_eq!(host.authenticate(), host::SUCCESS);
        assert_eq!(host.acct_mgmt(), host::SUCCESS);
        assert!(!daemon.heard().iter().any(|heard| matches!(heard, Heard::Unasked(..))), "{:?}", daemon.heard());
    }
}

#[test]
fn whoever_was_not_asked_is_judged_by_the_daemon() {
    let mut refused = denied(Denial::Refused);
    refused.messages.push(Message { kind: MessageKind::Error as u32, text: "A second factor is needed".to_owned() });
    for (turn, result) in [
        (Turn::Step(skipped()), host::SUCCESS),
        (Turn::Step(refused), host::PERM_DENIED),
        (Turn::Step(granted()), host::PERM_DENIED),
        (Turn::Step(ask()), host::PERM_DENIED),
        (Turn::Hangup, host::PERM_DENIED),
        (Turn::Error(dbus_api::Error::Unavailable("no store".to_owned())), host::PERM_DENIED),
    ] {
        let daemon = Daemon::new(vec![turn]);
        let mut host = sshd(&daemon, "require_auth timeout=2").with_item(host::PAM_RHOST, b"192.0.2.7");
        assert_eq!(host.acct_mgmt(), result);
        let Heard::Unasked(user, origin) = daemon.heard()[0].clone() else { unreachable!("{:?}", daemon.heard()) };
        assert_eq!((user.as_str(), origin.rhost.as_deref()), ("ann", Some("192.0.2.7")));
    }
}

#[test]
fn a_refusal_in_auth_and_another_users_name_are_nothing_to_pass_with() {
    let daemon =
        Daemon::new(vec![Turn::Step(ask()), Turn::Step(denied(Denial::Refused)), Turn::Step(denied(Denial::Refused))]);
    let mut host = sshd(&daemon, "require_auth").typing(&["123456"]);
    assert_eq!(host.authenticate(), host::AUTH_ERR);
    assert_eq!(host.acct_mgmt(), host::PERM_DENIED);

    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted()), Turn::Step(denied(Denial::Refused))]);
    let mut host = sshd(&daemon, "require_auth").typing(&["123456"]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    let mut host = host.with_item(host::PAM_USER, b"bob");
    assert_eq!(host.acct_mgmt(), host::PERM_DENIED);
    assert!(matches!(daemon.heard().last(), Some(Heard::Unasked(user, _)) if user == "bob"));
}

#[test]
fn without_the_argument_and_in_other_services_nothing_is_required() {
    for (service, arguments) in [("sshd", ""), ("cron", "require_auth"), ("systemd-user", "require_auth")] {
        let daemon = Daemon::new(vec![]);
        assert_eq!(on(service, &daemon, arguments).acct_mgmt(), host::SUCCESS);
        assert!(daemon.heard().is_empty());
    }
}

#[test]
fn without_a_daemon_whoever_was_not_asked_is_refused() {
    let daemon = Daemon::new(vec![]);
    let mut host = sshd(&daemon, "require_auth timeout=1 socket=/nonexistent/socket bus=unix:path=/nonexistent/bus");
    assert_eq!(host.acct_mgmt(), host::PERM_DENIED);
}
