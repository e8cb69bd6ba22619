//! The module is a good guest: over 1,000 logins no thread, descriptor, memory, signal handler or mask of its host
//! changes, and no environment variable is read.
//!
//! The daemon runs in a process of its own (this program, called with the argument `serve`), so that what is counted
//! is the module's alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that stops here has failed, and this one has its own main"
)]
#![allow(unsafe_code, reason = "it plays libc's getenv")]

mod support;

use std::{
    ffi::{CStr, c_char},
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

use dbus_api::Denial;
use support::{
    ask,
    daemon::{Daemon, Turn},
    denied, granted,
    host::{self, Host},
    line,
};

/// The names that anybody in this process asked the environment for.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Stands before libc's own, for the module too: a dynamic symbol of the program comes first (ld.so(8)).
#[unsafe(no_mangle)]
extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: getenv(3) gets a C string.
    let name = unsafe { CStr::from_ptr(name) };
    ASKED.lock().unwrap().push(name.to_string_lossy().into_owned());
    std::ptr::null_mut()
}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn secure_getenv(name: *const c_char) -> *mut c_char {
    getenv(name)
}

const LOGINS: usize = 1_000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut socket = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut socket).unwrap();
    let socket = Path::new(socket.trim_end());

    a_thousand_logins_leave_nothing_behind(socket);
    no_environment_variable_is_read(socket);

    // The daemon ends with its standard input.
    drop(daemon.stdin.take());
    daemon.wait().unwrap();
}

fn serve() {
    let turns = (0..2 * LOGINS).flat_map(|login| {
        let verdict = if login % 3 == 0 { denied(Denial::Refused) } else { granted() };
        [Turn::Step(ask()), Turn::Step(verdict)]
    });
    let daemon = Daemon::new(turns.collect());
    println!("{}", daemon.socket.display());
    std::io::stdout().flush().unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// One login from pam_start to pam_end, every third with a wrong code and every seventh with no daemon at all.
fn login(socket: &Path, number: usize) {
    // What the spy keeps is not to count as the module's memory.
    ASKED.lock().unwrap().clear();
    if number % 7 == 6 {
        let code = Host::new(&line(Path::new("/nonexistent/socket"), ""), "ann").authenticate();
        assert_eq!(code, host::AUTHINFO_UNAVAIL);
        return;
    }
    let code = Host::new(&line(socket, ""), "ann").typing(&["123456"]).authenticate();
    assert!([host::SUCCESS, host::AUTH_ERR].contains(&code), "{code}");
}

/// What a host would notice.
#[derive(Debug, PartialEq)]
struct State {
    threads: usize,
    descriptors: usize,
    signals: Vec<String>,
}

impl State {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let kept = |line: &&str| ["SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|name| line.starts_with(name));
        let signals = status.lines().filter(kept).map(str::to_owned).collect();
        Self {
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            signals,
        }
    }
}

/// Bytes that malloc has handed out and not got back, to this program and to the module alike (mallinfo(3)).
fn allocated() -> usize {
    // SAFETY: reads the allocator's own counters.
    unsafe { libc::mallinfo2() }.uordblks
}

fn a_thousand_logins_leave_nothing_behind(socket: &Path) {
    let before = State::now();
    assert_eq!(before.threads, 1);
    // The first ones warm up the allocator and libpam.
    for number in 0..500 {
        login(socket, number);
        assert_eq!(State::now(), before, "after login {number}");
    }
    let memory = allocated();
    for number in 0..LOGINS {
        login(socket, number);
    }
    assert_eq!(State::now(), before);
    let grown = allocated().saturating_sub(memory);
    // Less than the smallest leak there can be, a C string or a response a login; libpam and the spy keep a little.
    assert!(grown < 8 * LOGINS, "{grown} bytes more after {LOGINS} logins");
    println!("test a_thousand_logins_leave_nothing_behind ... ok ({grown} bytes more)");
}

fn no_environment_variable_is_read(socket: &Path) {
    // The files of the host itself are made first: only PAM runs while it is listened for.
    let mut hosts: Vec<Host> = (0..3).map(|_| Host::new(&line(socket, "debug"), "ann").typing(&["123456"])).collect();
    hosts.push(Host::new(&line(Path::new("/nonexistent/socket"), "debug"), "ann"));
    hosts.push(Host::new(&line(socket, "no_such_argument"), "ann"));
    // syslog(3) itself reads TZ, once a process and more: not the module's doing, and the same for every module.
    let libc_own = |name: &String| name == "TZ" || name == "TZDIR";
    ASKED.lock().unwrap().clear();
    for host in &mut hosts {
        host.authenticate();
    }
    let asked: Vec<String> = ASKED.lock().unwrap().iter().filter(|name| !libc_own(name)).cloned().collect();
    assert_eq!(asked, Vec::<String>::new());
    // The spy is in place: who does ask is heard.
    assert_eq!(std::env::var_os("PATH"), None);
    assert_eq!(*ASKED.lock().unwrap().last().unwrap(), "PATH");
    println!("test no_environment_variable_is_read ... ok");
}
