//! syslog may be absent, full or restarted: nobody waits for it, and what was dropped is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use daemon::audit::Syslog;
use daemon::audit::syslog::Severity;

const MANY: u64 = 20_000;

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a line");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn send_many(syslog: &Syslog) {
    let begin = Instant::now();
    for number in 0..MANY {
        syslog.line(Severity::Warning, format!("line {number}"));
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "the sender waited");
}

/// Receives until the line that tells of dropped ones; every line must be received or told of.
fn account_for_all(socket: &UnixDatagram) {
    let (mut received, mut dropped) = (0, 0);
    while received + dropped < MANY {
        let line = receive(socket);
        match line.split_once("]: ").unwrap().1.split_once(" lines were dropped") {
            None => received += 1,
            Some((number, _)) => dropped += number.parse::<u64>().unwrap(),
        }
    }
    assert!(dropped > 0 && received >= 4096, "{received} received, {dropped} dropped");
    assert_eq!(received + dropped, MANY);
}

#[test]
fn an_absent_socket_stops_nobody_and_its_drops_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let syslog = Syslog::start(&path).unwrap();
    send_many(&syslog);
    account_for_all(&bind(&path));
}

#[test]
fn a_full_socket_stops_nobody_and_its_drops_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let socket = bind(&path);
    let syslog = Syslog::start(&path).unwrap();
    send_many(&syslog);
    account_for_all(&socket);
}

#[test]
fn a_restarted_logger_gets_the_next_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let first = bind(&path);
    let syslog = Syslog::start(&path).unwrap();
    syslog.line(Severity::Info, "before".to_owned());
    assert!(receive(&first).ends_with("]: before"));
    drop(first);
    std::fs::remove_file(&path).unwrap();
    let second = bind(&path);
    syslog.line(Severity::Info, "after".to_owned());
    assert!(receive(&second).ends_with("]: after"));
    drop(second);
    std::fs::remove_file(&path).unwrap();
    syslog.line(Severity::Info, "while it was away".to_owned());
    assert!(receive(&bind(&path)).ends_with("]: while it was away"));
}

#[test]
fn a_line_bears_facility_severity_and_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let socket = bind(&path);
    let syslog = Syslog::start(&path).unwrap();
    // LOG_AUTHPRIV is 10 (RFC 5424, table 1), and 10 * 8 + severity stands at the beginning.
    for (severity, number) in
        [(Severity::Error, 83), (Severity::Warning, 84), (Severity::Notice, 85), (Severity::Info, 86)]
    {
        syslog.note(severity, "two\nlines");
        let line = receive(&socket);
        assert!(line.starts_with(&format!("<{number}>")), "{line}");
        assert!(line.ends_with(&format!(" countersignd[{}]: two\\x0alines", std::process::id())), "{line}");
    }
}

#[test]
fn closing_writes_what_waits_and_waits_no_longer_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let socket = bind(&path);
    let syslog = Syslog::start(&path).unwrap();
    syslog.line(Severity::Info, "last".to_owned());
    assert!(syslog.close(Duration::from_secs(20)));
    assert!(receive(&socket).ends_with("]: last"));
    let absent = Syslog::start(&directory.path().join("absent")).unwrap();
    absent.line(Severity::Info, "never".to_owned());
    let begin = Instant::now();
    assert!(!absent.close(Duration::from_millis(100)));
    assert!(begin.elapsed() < Duration::from_secs(5));
}
