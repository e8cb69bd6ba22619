//! A host without privileges, as a screen locker is: pamtester under pam_wrapper, with the real module, as a uid that
//! is not root. pam_wrapper shows what goes to syslog, too.

#![allow(clippy::unwrap_used, reason = "a test that stops here has failed, which is what it is for")]

mod support;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::Mutex,
};

use dbus_api::Denial;
use nix::unistd::geteuid;
use support::{
    ask,
    daemon::{Daemon, Turn, open_directory},
    denied, granted,
};

/// The uid and the name of the account `daemon`, which every Debian has (base-passwd).
const UID: u32 = 1;
const USER: &str = "daemon";

/// Logs in as [`USER`] with a process of that uid: whether it was let in, and what it wrote, the log included.
fn login(daemon: &Daemon, arguments: &str) -> (bool, String) {
    // Two pam_wrappers that start at one instant fight for a directory below /tmp.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let directory = open_directory();
    let module = directory.path().join("pam_countersign.so");
    fs::copy(support::module(), &module).unwrap();
    let socket = daemon.socket.display();
    let stack = format!("auth required {} socket={socket} bus=unix:path=/none {arguments}\n", module.display());
    fs::write(directory.path().join("locker"), &stack).unwrap();
    fs::write(directory.path().join("other"), &stack).unwrap();
    let mut pamtester = Command::new("setpriv")
        .args([&format!("--reuid={UID}"), &format!("--regid={UID}"), "--clear-groups"])
        .args(["env", "LD_PRELOAD=libpam_wrapper.so", "PAM_WRAPPER=1", "PAM_WRAPPER_DEBUGLEVEL=2"])
        .arg(format!("PAM_WRAPPER_SERVICE_DIR={}", directory.path().display()))
        .args(["pamtester", "locker", USER, "authenticate"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    pamtester.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    let output = pamtester.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_locker_that_is_not_root_is_let_in_and_refused_by_the_daemon_alone() {
    assert!(geteuid().is_root(), "these tests want root");
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let (granted, text) = login(&daemon, "");
    assert!(granted, "{text}");
    assert_eq!(daemon.replies(), ["123456"]);

    let daemon = Daemon::with_uid(vec![Turn::Step(ask()), Turn::Step(denied(Denial::Refused))], Some(4242));
    let (granted, text) = login(&daemon, "");
    assert!(!granted, "{text}");
    assert_eq!(daemon.replies(), ["123456"]);
}

#[test]
fn the_log_names_a_wrong_argument_and_never_holds_a_reply() {
    assert!(geteuid().is_root(), "these tests want root");
    let daemon = Daemon::new(vec![]);
    let (granted, text) = login(&daemon, "no\"such");
    assert!(!granted);
    assert!(text.contains("wrong argument 'no\\x22such' in the PAM file"), "{text}");
    assert!(text.contains("forward_digits=6..8"), "{text}");

    let unavailable = || Turn::Error(dbus_api::Error::Unavailable("disk\nfull".to_owned()));
    let daemon = Daemon::new(vec![Turn::Step(ask()), unavailable()]);
    let (granted, text) = login(&daemon, "debug");
    assert!(!granted);
    assert_eq!(daemon.replies(), ["123456"]);
    assert!(text.contains("outcome=refused account=\"daemon\" service=\"locker\""), "{text}");
    assert!(text.contains("disk\\x0afull"), "{text}");
    assert!(text.contains("step: action 1"), "{text}");
    assert!(!text.contains("123456"), "{text}");
}
