//! The private socket's transport: a UNIX stream whose peer is told by the kernel and trusted in nothing else.
//!
//! It differs from zbus's own in four ways. The peer's uid comes from `SO_PEERCRED` without a look-up of groups.
//! The authentication handshake is ours, bounded in bytes. A message that claims more than 64 KiB ends the
//! connection before anything is allocated for it. And a peer that does not read its replies is not read
//! from either, so that what it costs is bounded.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

use dbus_api::MAX_MESSAGE;

/// The most bytes that a handshake may have in all.
const LONGEST_HANDSHAKE: usize = 1024;
/// The bytes of a message's fixed header (D-Bus specification, "Message Format").
const FIXED_HEADER: usize = 16;
/// Method calls of one connection that may wait for their replies.
const CALLS_IN_FLIGHT: usize = 32;

/// Method calls of all connections that came in and were not answered yet.
#[derive(Clone, Debug, Default)]
pub struct Unanswered(Arc<AtomicUsize>);

impl Unanswered {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A stream that has done its handshake.
#[derive(Debug)]
pub struct Transport {
    stream: UnixStream,
    /// Bytes that came with the end of the handshake.
    early: Vec<u8>,
    unanswered: Unanswered,
}

/// The half that reads, message by message.
#[derive(Debug)]
pub struct Reader {
    stream: OwnedReadHalf,
    early: Vec<u8>,
    frame: Frame,
    calls: Arc<Calls>,
}

/// The half that writes.
#[derive(Debug)]
pub struct Writer {
    stream: OwnedWriteHalf,
    calls: Arc<Calls>,
}

/// Method calls of one connection that came in and were not answered yet.
#[derive(Debug)]
struct Calls {
    open: AtomicUsize,
    answered: Notify,
    all: Unanswered,
}

impl Drop for Calls {
    fn drop(&mut self) {
        // A connection that is gone gets no answers.
        self.all.0.fetch_sub(*self.open.get_mut(), Ordering::AcqRel);
    }
}

/// Where in the stream of messages the reader is.
#[derive(Debug)]
enum Frame {
    /// Within the fixed header, of which so many bytes are there.
    Header([u8; FIXED_HEADER], usize),
    /// Within the rest of a message, of which so many bytes are missing.
    Rest(usize),
}

impl Transport {
    /// Does the server's side of the authentication handshake (D-Bus specification, "Authentication
    /// Protocol"): `EXTERNAL` with the peer's own uid, or without any, and no descriptors.
    ///
    /// # Errors
    /// The peer is gone, speaks something else or claims another uid.
    pub async fn handshake(mut stream: UnixStream, uid: u32, guid: &str, unanswered: Unanswered) -> io::Result<Self> {
        let mut received = Vec::with_capacity(128);
        let mut dialogue = Dialogue { uid, guid, first: true, authenticated: false };
        loop {
            while let Some(end) = received.windows(2).position(|two| two == b"\r\n") {
                let rest = received.split_off(end + 2);
                received.truncate(end);
                let line = std::mem::replace(&mut received, rest);
                match dialogue.answer(&line)? {
                    Answer::Say(text) => stream.write_all(text.as_bytes()).await?,
                    Answer::Begin => return Ok(Self { stream, early: received, unanswered }),
                }
            }
            if received.len() >= LONGEST_HANDSHAKE {
                return Err(protocol("the handshake is too long"));
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The server's side of the handshake, line by line.
struct Dialogue<'a> {
    uid: u32,
    guid: &'a str,
    first: bool,
    authenticated: bool,
}

enum Answer {
    Say(String),
    Begin,
}

impl Dialogue<'_> {
    fn answer(&mut self, line: &[u8]) -> io::Result<Answer> {
        let line = match std::mem::take(&mut self.first) {
            true => line.strip_prefix(b"\0").ok_or_else(|| protocol("the first byte is not NUL"))?,
            false => line,
        };
        let line = std::str::from_utf8(line).map_err(|_| protocol("a line is not ASCII"))?;
        let mut words = line.split(' ');
        let said = match (words.next().unwrap_or_default(), self.authenticated) {
            ("AUTH", false) => self.authenticate(words.next(), words.next()),
            ("DATA", false) => self.identify(words.next().unwrap_or_default()),
            ("CANCEL" | "ERROR", _) => {
                self.authenticated = false;
                "REJECTED EXTERNAL\r\n".to_owned()
            }
            ("NEGOTIATE_UNIX_FD", true) => "ERROR no descriptors are passed here\r\n".to_owned(),
            ("BEGIN", true) => return Ok(Answer::Begin),
            ("BEGIN", false) => return Err(protocol("BEGIN without authentication")),
            _ => "ERROR unknown command\r\n".to_owned(),
        };
        Ok(Answer::Say(said))
    }

    fn authenticate(&mut self, mechanism: Option<&str>, identity: Option<&str>) -> String {
        match (mechanism, identity) {
            (Some("EXTERNAL"), Some(identity)) => self.identify(identity),
            (Some("EXTERNAL"), None) => "DATA\r\n".to_owned(),
            _ => "REJECTED EXTERNAL\r\n".to_owned(),
        }
    }

    /// Takes the identity that the peer claims, which must be empty or its own.
    fn identify(&mut self, identity: &str) -> String {
        let own: String = self.uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        if !identity.is_empty() && !identity.eq_ignore_ascii_case(&own) {
            return "REJECTED EXTERNAL\r\n".to_owned();
        }
        self.authenticated = true;
        format!("OK {}\r\n", self.guid)
    }
}

impl Socket for Transport {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = self.stream.into_split();
        let calls = Arc::new(Calls { open: AtomicUsize::new(0), answered: Notify::new(), all: self.unanswered });
        let frame = Frame::Header([0; FIXED_HEADER], 0);
        let reader = Reader { stream: read, early: self.early, frame, calls: Arc::clone(&calls) };
        Split::new(reader, Writer { stream: write, calls })
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        if matches!(self.frame, Frame::Header(_, 0)) {
            self.calls.below_limit().await;
        }
        let want = buffer.len().min(self.frame.missing());
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        let read = match self.early.is_empty() {
            true => self.stream.read(buffer).await?,
            false => take_early(&mut self.early, buffer),
        };
        self.frame = self.frame.advance(buffer.get(..read).unwrap_or_default(), &self.calls)?;
        // Only bytes are read: descriptors that a peer sends along are closed by the kernel.
        Ok((read, Vec::new()))
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &zbus::Message) -> zbus::Result<()> {
        self.stream.write_all(message.data()).await?;
        if matches!(message.message_type(), zbus::message::Type::MethodReturn | zbus::message::Type::Error) {
            self.calls.one_answered();
        }
        Ok(())
    }

    async fn sendmsg(&mut self, buffer: &[u8], _fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.stream.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

impl Calls {
    async fn below_limit(&self) {
        while self.open.load(Ordering::Acquire) >= CALLS_IN_FLIGHT {
            self.answered.notified().await;
        }
    }

    fn one_more(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.all.0.fetch_add(1, Ordering::AcqRel);
    }

    fn one_answered(&self) {
        // An answer without a call cannot be; were it so, the count stays at 0.
        let fewer = |open: usize| open.checked_sub(1);
        if self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).is_ok() {
            self.all.0.fetch_sub(1, Ordering::AcqRel);
        }
        self.answered.notify_one();
    }
}

impl Frame {
    /// Bytes missing until the end of this part of the message.
    fn missing(&self) -> usize {
        match self {
            Self::Header(_, have) => FIXED_HEADER - have,
            Self::Rest(missing) => *missing,
        }
    }

    /// The frame after these bytes, which are at most what was missing.
    fn advance(&self, bytes: &[u8], calls: &Calls) -> io::Result<Self> {
        match self {
            Self::Rest(missing) => Ok(Self::rest(missing - bytes.len())),
            Self::Header(header, have) => {
                let mut header = *header;
                let end = have + bytes.len();
                header.get_mut(*have..end).unwrap_or_default().copy_from_slice(bytes);
                if end < FIXED_HEADER {
                    return Ok(Self::Header(header, end));
                }
                let rest = message_rest(&header)?;
                calls.one_more();
                Ok(Self::rest(rest))
            }
        }
    }

    fn rest(missing: usize) -> Self {
        match missing {
            0 => Self::Header([0; FIXED_HEADER], 0),
            missing => Self::Rest(missing),
        }
    }
}

/// How many bytes of a message follow its fixed header, if it is a method call that wants a reply and is not
/// too long (D-Bus specification, "Message Format": endianness, type, flags, version, body length, serial,
/// length of the header fields).
fn message_rest(header: &[u8; FIXED_HEADER]) -> io::Result<usize> {
    let [endian, kind, flags, _, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = *header;
    let number = match endian {
        b'l' => u32::from_le_bytes,
        b'B' => u32::from_be_bytes,
        _ => return Err(protocol("no message begins like this")),
    };
    let (body, fields) = (u64::from(number([b0, b1, b2, b3])), u64::from(number([f0, f1, f2, f3])));
    let rest = fields.next_multiple_of(8) + body;
    if kind != 1 || flags & 1 != 0 {
        return Err(protocol("only method calls that want a reply are taken here"));
    }
    usize::try_from(rest)
        .ok()
        .filter(|rest| rest + FIXED_HEADER <= MAX_MESSAGE)
        .ok_or_else(|| protocol("a message is too long"))
}

/// Moves bytes that came early into `buffer`.
fn take_early(early: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = buffer.len().min(early.len());
    for (to, from) in buffer.iter_mut().zip(early.drain(..count)) {
        *to = from;
    }
    count
}

fn protocol(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    const GUID: &str = "0123456789abcdef0123456789abcdef";

    /// What the server says to these bytes of a client with uid 1000, and whether it let the client begin.
    async fn handshake(bytes: &[u8]) -> (String, bool) {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let begun = Transport::handshake(server, 1000, GUID, Unanswered::default()).await.is_ok();
        let mut said = String::new();
        // A connection that was ended with bytes unread ends with a reset.
        let _ = client.read_to_string(&mut said).await;
        (said, begun)
    }

    #[tokio::test]
    async fn a_peer_that_names_its_own_uid_or_none_may_begin() {
        let ok = format!("OK {GUID}\r\n");
        for hello in ["\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n", "\0AUTH EXTERNAL \r\nBEGIN\r\n"] {
            assert_eq!(handshake(hello.as_bytes()).await, (ok.clone(), true), "{hello:?}");
        }
        let asked = handshake(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").await;
        assert_eq!(asked, (format!("DATA\r\n{ok}"), true));
        let descriptors = handshake(b"\0AUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").await;
        assert_eq!(descriptors, (format!("{ok}ERROR no descriptors are passed here\r\n"), true));
    }

    #[tokio::test]
    async fn any_other_handshake_ends_the_connection() {
        for (hello, said) in [
            (&b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n"[..], "REJECTED EXTERNAL\r\n"),
            (b"\0AUTH ANONYMOUS\r\nBEGIN\r\n", "REJECTED EXTERNAL\r\n"),
            (b"\0BEGIN\r\n", ""),
            (b"AUTH EXTERNAL 31303030\r\nBEGIN\r\n", ""),
            (b"\n", ""),
            (b"\0\xff\xfe\r\n", ""),
            (b"", ""),
        ] {
            assert_eq!(handshake(hello).await, (said.to_owned(), false), "{hello:?}");
        }
        assert!(!handshake(&[b'A'; 4096]).await.1);
    }

    fn header(kind: u8, flags: u8, body: u32, fields: u32) -> [u8; FIXED_HEADER] {
        let mut header = [0; FIXED_HEADER];
        header[..4].copy_from_slice(&[b'l', kind, flags, 1]);
        header[4..8].copy_from_slice(&body.to_le_bytes());
        header[12..].copy_from_slice(&fields.to_le_bytes());
        header
    }

    #[test]
    fn a_message_is_measured_before_it_is_read() {
        assert_eq!(message_rest(&header(1, 0, 10, 9)).unwrap(), 26);
        let most = u32::try_from(MAX_MESSAGE - FIXED_HEADER).unwrap();
        assert_eq!(message_rest(&header(1, 0, most, 0)).unwrap(), most as usize);
        for bad in [
            header(1, 0, most + 1, 0),
            header(1, 0, 120 << 20, 0),
            header(1, 0, u32::MAX, u32::MAX),
            header(2, 0, 0, 0),
            header(4, 0, 0, 0),
            header(1, 1, 0, 0),
            [0; FIXED_HEADER],
        ] {
            assert!(message_rest(&bad).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_reads_no_replies_is_not_read_from() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let unanswered = Unanswered::default();
        let (mut reader, writer) =
            Transport { stream: server, early: Vec::new(), unanswered: unanswered.clone() }.split().take();
        for _ in 0..=CALLS_IN_FLIGHT {
            client.write_all(&header(1, 0, 0, 0)).await.unwrap();
        }
        let mut buffer = [0; FIXED_HEADER];
        for _ in 0..CALLS_IN_FLIGHT {
            assert_eq!(reader.recvmsg(&mut buffer).await.unwrap().0, FIXED_HEADER);
        }
        let calls = Arc::clone(&reader.calls);
        let mut blocked = Box::pin(reader.recvmsg(&mut buffer));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut blocked).await.is_err());
        assert_eq!(unanswered.count(), CALLS_IN_FLIGHT);
        calls.one_answered();
        assert_eq!(blocked.as_mut().await.unwrap().0, FIXED_HEADER);
        drop(blocked);
        drop((reader, writer, calls));
        assert_eq!(unanswered.count(), 0);
    }

    #[tokio::test]
    async fn early_bytes_and_split_headers_are_put_together() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let message = [&header(1, 0, 4, 3)[..], &[7; 12]].concat();
        let early = message[..5].to_vec();
        client.write_all(&message[5..]).await.unwrap();
        let (mut reader, _writer) =
            Transport { stream: server, early, unanswered: Unanswered::default() }.split().take();
        let mut got = Vec::new();
        while got.len() < message.len() {
            let mut buffer = [0; 9];
            let (read, _) = reader.recvmsg(&mut buffer).await.unwrap();
            got.extend_from_slice(&buffer[..read]);
        }
        assert_eq!(got, message);
        assert!(matches!(reader.frame, Frame::Header(_, 0)));
    }
}
