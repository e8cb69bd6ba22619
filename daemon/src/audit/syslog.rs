//! syslog: a thread that hands lines to /dev/log and never makes anybody wait for it.
//!
//! The `syslog` crate formats (RFC 3164); its own backend would block for ever on a full queue and never
//! reconnect, so the writing is ours. Lines are expected to be printable already.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ::syslog::{Facility, Formatter3164, LogFormat};

/// Where the system's logger listens.
pub const DEV_LOG: &str = "/dev/log";

/// The most lines that wait; more are dropped and counted.
const QUEUE: usize = 4096;

/// How long one line waits for room in the logger's queue before the connection is made anew.
const PATIENCE: Duration = Duration::from_millis(500);

/// The first and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How urgent a line is (RFC 5424, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something was refused.
    Warning,
    /// Something was changed.
    Notice,
    /// Something happened as it should.
    Info,
}

/// A handle on the thread; clones share it.
#[derive(Clone, Debug)]
pub struct Syslog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<(Severity, String)>,
    dropped: u64,
    /// Whether a line was taken that is not written yet.
    writing: bool,
    closed: bool,
    /// Whether nobody waits any longer for what is not written.
    abandoned: bool,
}

impl Syslog {
    /// Starts the thread, which writes to the datagram socket at `path` (normally [`DEV_LOG`]). A missing
    /// socket is no error: lines wait for it.
    ///
    /// # Errors
    /// The thread could not be made.
    pub fn start(path: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let writer = Writer {
            shared: Arc::clone(&shared),
            path: path.to_owned(),
            socket: None,
            formatter: Formatter3164 {
                facility: Facility::LOG_AUTHPRIV,
                hostname: None,
                process: "countersignd".to_owned(),
                pid: std::process::id(),
            },
        };
        thread::Builder::new().name("syslog".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Queues a line of the audit. Never waits; where the queue is full the line is dropped and counted.
    pub fn line(&self, severity: Severity, line: String) {
        let mut queue = self.shared.lock();
        if queue.lines.len() >= QUEUE || queue.closed {
            queue.dropped = queue.dropped.saturating_add(1);
            return;
        }
        queue.lines.push_back((severity, line));
        self.shared.changed.notify_all();
    }

    /// Queues a line that is no event of the audit. Whatever is not printable ASCII in it is escaped.
    pub fn note(&self, severity: Severity, text: &str) {
        self.line(severity, super::line::escape(text, 1024));
    }

    /// Waits until every queued line was written, for at most `bound`; then ends the thread. Tells whether
    /// all were written.
    #[must_use]
    pub fn close(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        let mut queue = self.shared.lock();
        queue.closed = true;
        self.shared.changed.notify_all();
        while !queue.lines.is_empty() || queue.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.lines.clear();
                queue.abandoned = true;
                self.shared.changed.notify_all();
                return false;
            }
            queue = self.shared.wait(queue, left);
        }
        true
    }
}

impl Shared {
    /// A poisoned queue is still a queue: nothing in it can be half done.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, at_most: Duration) -> MutexGuard<'a, Queue> {
        self.changed.wait_timeout(queue, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the thread owns.
struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    socket: Option<UnixDatagram>,
    formatter: Formatter3164,
}

impl Writer {
    fn run(mut self) {
        while let Some((severity, line)) = self.take() {
            self.write(severity, &line);
            let dropped = std::mem::take(&mut self.shared.lock().dropped);
            if dropped > 0 {
                self.write(Severity::Warning, &format!("{dropped} lines were dropped while syslog took none"));
            }
            self.shared.lock().writing = false;
            self.shared.changed.notify_all();
        }
    }

    /// The next line; `None` at the end.
    fn take(&self) -> Option<(Severity, String)> {
        let mut queue = self.shared.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.writing = true;
                return Some(line);
            }
            if queue.closed {
                return None;
            }
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes one line, however long it takes, unless the end has come and nobody waits for it any more.
    fn write(&mut self, severity: Severity, line: &str) {
        let mut datagram = Vec::new();
        if format(&self.formatter, &mut datagram, severity, line).is_err() {
            return;
        }
        let mut pause = PAUSES.0;
        loop {
            let error = match self.send(&datagram) {
                Ok(()) => return,
                Err(error) => error,
            };
            // Too long for the socket: it will never pass.
            if error.raw_os_error() == Some(libc::EMSGSIZE) {
                let mut queue = self.shared.lock();
                queue.dropped = queue.dropped.saturating_add(1);
                return;
            }
            self.socket = None;
            if !self.pause(pause) {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Sends a datagram, which waits [`PATIENCE`] for room at most.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        // The logger may have gone and another come since the last line: one attempt with the old connection,
        // one with a new one.
        if let Some(socket) = &self.socket {
            match socket.send(datagram) {
                Ok(_) => return Ok(()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => return Err(error),
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(&self.path)?;
        socket.send(datagram)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Waits before the next attempt; false where the end has come and nobody waits for the lines.
    fn pause(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut queue = self.shared.lock();
        loop {
            if queue.abandoned {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            queue = self.shared.wait(queue, left);
        }
    }
}

fn format(
    formatter: &Formatter3164,
    datagram: &mut Vec<u8>,
    severity: Severity,
    line: &str,
) -> Result<(), ::syslog::Error> {
    let severity = match severity {
        Severity::Error => ::syslog::Severity::LOG_ERR,
        Severity::Warning => ::syslog::Severity::LOG_WARNING,
        Severity::Notice => ::syslog::Severity::LOG_NOTICE,
        Severity::Info => ::syslog::Severity::LOG_INFO,
    };
    formatter.format(datagram, severity, line)
}
