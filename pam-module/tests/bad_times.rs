//! Daemon and bus absent, stopped, full, foreign, restarted: a refusal in time, or the right way around it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that stops here has failed, which is what it is for"
)]

mod support;

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dbus_api::Action;
use nix::{
    sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket},
    unistd::{Uid, chown, geteuid},
};
use support::{
    ask,
    daemon::{Daemon, Heard, Turn, on_bus, open_directory, script},
    granted,
    host::{self, Host},
    line, step,
};

/// A module line for a bus at `bus`.
fn bus_line(bus: &Path, arguments: &str) -> String {
    format!("auth required {} bus=unix:path={} {arguments}", support::module().display(), bus.display())
}

/// Logs in and says how long it took.
fn timed(stack: &str) -> (i32, Duration) {
    let begin = Instant::now();
    let code = Host::new(stack, "ann").typing(&["123456", "123456"]).authenticate();
    (code, begin.elapsed())
}

/// Unavailable, after the module's one second and at most one more.
fn refused_in_time((code, took): (i32, Duration)) {
    assert_eq!(code, host::AUTHINFO_UNAVAIL);
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(2), "{took:?}");
}

/// A message bus of its own that lets anybody own any name.
struct Bus {
    child: Child,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Bus {
    fn new() -> Self {
        let directory = open_directory();
        let socket = directory.path().join("bus");
        let configuration = directory.path().join("bus.conf");
        fs::write(
            &configuration,
            format!(
                "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
                 <allow eavesdrop=\"true\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>",
                socket.display()
            ),
        )
        .unwrap();
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its address is the sign that it listens.
        let mut address = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut address).unwrap();
        assert!(address.starts_with("unix:path="), "{address}");
        Self { child, socket, _directory: directory }
    }

    fn stop(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn without_a_daemon_the_refusal_comes_at_once() {
    let (code, took) = timed(&line(Path::new("/nonexistent/verifier.sock"), ""));
    assert_eq!(code, host::AUTHINFO_UNAVAIL);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn on_a_bus_without_the_daemon_the_refusal_comes_at_once() {
    let bus = Bus::new();
    let (code, took) = timed(&bus_line(&bus.socket, "socket=none"));
    assert_eq!(code, host::AUTHINFO_UNAVAIL);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_daemon_that_accepts_nothing_is_left_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("verifier.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    refused_in_time(timed(&line(&path, "timeout=1")));
}

#[test]
fn a_daemon_whose_queue_is_full_is_left_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("verifier.sock");
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The queue holds one; a blocking connect(2) would wait for ever from here on.
    let _waiting = UnixStream::connect(&path).unwrap();
    refused_in_time(timed(&line(&path, "timeout=1")));
}

#[test]
fn a_daemon_that_never_answers_is_left_in_time_at_every_step() {
    refused_in_time(timed(&line(&Daemon::new(vec![Turn::Silence]).socket, "timeout=1")));
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Silence]);
    refused_in_time(timed(&line(&daemon.socket, "timeout=1")));
}

#[test]
fn the_timeout_bounds_the_sum_of_all_waits() {
    let slow = Duration::from_millis(700);
    let daemon = Daemon::new(vec![Turn::Late(slow, ask()), Turn::Late(slow, granted())]);
    refused_in_time(timed(&line(&daemon.socket, "timeout=1")));
    let daemon = Daemon::new(vec![Turn::Late(slow, ask()), Turn::Late(slow, granted())]);
    assert_eq!(timed(&line(&daemon.socket, "timeout=2")).0, host::SUCCESS);
}

#[test]
fn a_stopped_bus_is_left_in_time() {
    let bus = Bus::new();
    on_bus(&bus.socket, None, script(vec![Turn::Step(granted())]));
    bus.stop();
    refused_in_time(timed(&bus_line(&bus.socket, "socket=none timeout=1")));
}

#[test]
fn the_bus_carries_a_login_where_no_private_socket_listens() {
    let bus = Bus::new();
    let script = script(vec![Turn::Step(ask()), Turn::Step(granted())]);
    on_bus(&bus.socket, None, script.clone());
    assert_eq!(timed(&bus_line(&bus.socket, "socket=/nonexistent/verifier.sock")).0, host::SUCCESS);
    assert!(matches!(&script.lock().unwrap().heard[1], Heard::Respond(7, reply) if reply == "123456"));
}

#[test]
fn the_bus_is_left_alone_once_a_begin_was_sent() {
    let bus = Bus::new();
    let imposter = script(vec![Turn::Step(granted())]);
    on_bus(&bus.socket, None, imposter.clone());
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Hangup]);
    let stack = bus_line(&bus.socket, &format!("socket={} timeout=1", daemon.socket.display()));
    let mut host = Host::new(&stack, "ann").typing(&["123456"]);
    // The second Begin meets the end of the script: an error, and no look at the bus.
    assert_eq!(host.authenticate(), host::AUTH_ERR);
    assert!(imposter.lock().unwrap().heard.is_empty());
}

#[test]
fn a_daemon_that_hangs_up_is_asked_once_more_with_the_same_reply() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Hangup, Turn::Step(ask()), Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, ""), "ann").typing(&["123456"]);
    assert_eq!(host.authenticate(), host::SUCCESS);
    assert_eq!(daemon.replies(), ["123456", "123456"]);
    assert_eq!(host.calls().len(), 1, "the person is asked once");

    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Hangup, Turn::Step(ask()), Turn::Hangup]);
    let code = Host::new(&line(&daemon.socket, ""), "ann").typing(&["123456"]).authenticate();
    assert_eq!(code, host::AUTHINFO_UNAVAIL);
    assert_eq!(daemon.heard().len(), 4);
}

#[test]
fn a_daemon_that_hangs_up_on_begin_is_asked_once_more() {
    let daemon = Daemon::new(vec![Turn::Hangup, Turn::Step(step(Action::Granted, ""))]);
    assert_eq!(timed(&line(&daemon.socket, "")).0, host::SUCCESS);
}

#[test]
fn a_daemon_that_went_for_good_is_waited_for_within_the_timeout() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Hangup]);
    let gone = daemon.socket.clone();
    let stack = line(&daemon.socket, "timeout=1");
    let mut host = Host::new(&stack, "ann").typing(&["123456"]);
    host.before_answering(move || fs::remove_file(&gone).unwrap());
    let begin = Instant::now();
    let code = host.authenticate();
    refused_in_time((code, begin.elapsed()));
}

#[test]
fn the_time_that_the_person_takes_is_not_counted() {
    let daemon = Daemon::new(vec![Turn::Step(ask()), Turn::Step(granted())]);
    let mut host = Host::new(&line(&daemon.socket, "timeout=1"), "ann").typing(&["123456"]);
    host.before_answering(|| {
        // The person is slow: a wait of that length is what is tested.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1500) {
            std::thread::yield_now();
        }
    });
    assert_eq!(host.authenticate(), host::SUCCESS);
}

#[test]
fn a_server_that_neither_root_nor_the_sockets_owner_runs_is_told_nothing() {
    assert!(geteuid().is_root(), "these tests want root");
    let daemon = Daemon::with_uid(vec![Turn::Step(granted())], Some(4242));
    chown(&daemon.socket, Some(Uid::from_raw(4343)), None).unwrap();
    assert_eq!(timed(&line(&daemon.socket, "")).0, host::AUTHINFO_UNAVAIL);
    assert!(daemon.heard().is_empty());

    // The same server behind its own socket may be asked, and so may root's behind anybody's.
    chown(&daemon.socket, Some(Uid::from_raw(4242)), None).unwrap();
    assert_eq!(timed(&line(&daemon.socket, "")).0, host::SUCCESS);
    let daemon = Daemon::new(vec![Turn::Step(granted())]);
    chown(&daemon.socket, Some(Uid::from_raw(4343)), None).unwrap();
    assert_eq!(timed(&line(&daemon.socket, "")).0, host::SUCCESS);
}

#[test]
fn a_link_to_a_socket_and_a_plain_file_are_no_socket() {
    let daemon = Daemon::new(vec![Turn::Step(granted())]);
    let directory = tempfile::tempdir().unwrap();
    let (link, file) = (directory.path().join("link"), directory.path().join("file"));
    std::os::unix::fs::symlink(&daemon.socket, &link).unwrap();
    fs::write(&file, "").unwrap();
    for path in [&link, &file] {
        assert_eq!(timed(&line(path, "")).0, host::AUTHINFO_UNAVAIL);
    }
    assert!(daemon.heard().is_empty());
}

#[test]
fn a_name_that_a_stranger_owns_on_the_bus_is_told_nothing() {
    assert!(geteuid().is_root(), "these tests want root");
    // A bus admits only uids that the name service knows: daemon and games of Debian's base-passwd.
    let bus = Bus::new();
    let script = script(vec![Turn::Step(granted())]);
    on_bus(&bus.socket, Some(1), script.clone());
    let directory = open_directory();
    let path = directory.path().join("verifier.sock");
    // The private socket is there, and nobody listens any more.
    drop(UnixListener::bind(&path).unwrap());
    let stack = bus_line(&bus.socket, &format!("socket={}", path.display()));

    chown(&path, Some(Uid::from_raw(5)), None).unwrap();
    assert_eq!(timed(&stack).0, host::AUTHINFO_UNAVAIL);
    assert!(script.lock().unwrap().heard.is_empty());

    chown(&path, Some(Uid::from_raw(1)), None).unwrap();
    assert_eq!(timed(&stack).0, host::SUCCESS);
}
