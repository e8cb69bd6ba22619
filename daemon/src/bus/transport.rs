//! The private socket's transport: a UNIX stream whose peer is told by the kernel and trusted in nothing else.
//!
//! The authentication handshake is bounded in bytes. A message that claims more than 64 KiB ends the connection before
//! anything is allocated for it, and memory grows with the bytes that came, not with those that are claimed. Calls are taken
//! one after the other: a peer that does not read its answers is not read from either.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::wire::{Bytes, FIXED_HEADER};
use dbus_api::MAX_MESSAGE;

/// The most bytes that a handshake may have in all.
const LONGEST_HANDSHAKE: usize = 1024;
/// How much room there is for what a peer sends: a login's messages fit.
const ROOM: usize = 1024;

/// Method calls of all connections that came in and were not answered yet.
#[derive(Clone, Debug, Default)]
pub struct Unanswered(Arc<AtomicUsize>);

impl Unanswered {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// One more, for as long as what is returned is kept.
    pub(super) fn one_more(&self) -> Waiting {
        self.0.fetch_add(1, Ordering::AcqRel);
        Waiting(self.clone())
    }
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting(Unanswered);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream that has done its handshake.
#[derive(Debug)]
pub struct Transport {
    stream: UnixStream,
    /// What came and was not taken yet.
    received: Bytes,
    /// What the handshake still has to say: it goes out with the first answer where the first call came with it.
    unsaid: Vec<u8>,
}

impl Transport {
    /// Does the server's side of the authentication handshake (D-Bus specification, "Authentication
    /// Protocol"): `EXTERNAL` with the peer's own uid, or without any, and no descriptors.
    ///
    /// # Errors
    /// The peer is gone, speaks something else or claims another uid.
    pub async fn handshake(mut stream: UnixStream, uid: u32, guid: &str) -> io::Result<Self> {
        let mut received = Zeroizing::new(Vec::with_capacity(ROOM));
        let mut unsaid = Vec::new();
        let mut dialogue = Dialogue { uid, guid, first: true, authenticated: false };
        loop {
            while let Some(end) = received.windows(2).position(|two| two == b"\r\n") {
                let answer = dialogue.answer(received.get(..end).unwrap_or_default());
                received.drain(..end + 2);
                match answer {
                    Ok(Answer::Say(text)) => unsaid.extend_from_slice(text.as_bytes()),
                    Ok(Answer::Begin) => return Ok(Self { stream, received, unsaid }),
                    Err(error) => {
                        // What was answered before is said; the connection ends anyway.
                        let _ = stream.write_all(&unsaid).await;
                        return Err(error);
                    }
                }
            }
            stream.write_all(&std::mem::take(&mut unsaid)).await?;
            if received.len() >= LONGEST_HANDSHAKE {
                return Err(protocol("the handshake is too long"));
            }
            if stream.read_buf(&mut *received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next whole message.
    ///
    /// # Errors
    /// The peer is gone, or what it sends is no method call that wants a reply, or too long.
    pub async fn message(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        loop {
            if let Some(header) = self.received.first_chunk() {
                let length = FIXED_HEADER + message_rest(header)?;
                if self.received.len() >= length {
                    return Ok(Zeroizing::new(self.received.drain(..length).collect()));
                }
            }
            self.say().await?;
            self.make_room();
            if self.stream.read_buf(&mut *self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends an answer, however long the peer takes to read it.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.unsaid.is_empty() {
            return self.stream.write_all(message).await;
        }
        let mut unsaid = Zeroizing::new(Vec::with_capacity(self.unsaid.len() + message.len()));
        unsaid.append(&mut self.unsaid);
        unsaid.extend_from_slice(message);
        self.stream.write_all(&unsaid).await
    }

    /// Says what the handshake still has to say.
    async fn say(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.unsaid) {
            unsaid if unsaid.is_empty() => Ok(()),
            unsaid => self.stream.write_all(&unsaid).await,
        }
    }

    /// Doubles the room where none is left, and wipes the old one.
    fn make_room(&mut self) {
        if self.received.len() == self.received.capacity() {
            let mut larger = Vec::with_capacity(self.received.len().max(ROOM) * 2);
            larger.extend_from_slice(&self.received);
            self.received = Zeroizing::new(larger);
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
        let begun = match Transport::handshake(server, 1000, GUID).await {
            Ok(mut transport) => transport.say().await.is_ok(),
            Err(_) => false,
        };
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
    async fn early_bytes_split_headers_and_messages_in_a_row_are_told_apart() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let long = [&header(1, 0, 3000, 0)[..], &[7; 3000]].concat();
        let messages = [[&header(1, 0, 4, 3)[..], &[7; 12]].concat(), header(1, 0, 0, 0).to_vec(), long];
        let bytes = messages.concat();
        let received = Zeroizing::new(bytes[..5].to_vec());
        let mut transport = Transport { stream: server, received, unsaid: Vec::new() };
        let written = tokio::spawn(async move {
            for part in bytes[5..].chunks(9) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        for message in messages {
            assert_eq!(*transport.message().await.unwrap(), message);
        }
        drop(written.await.unwrap());
        assert!(transport.message().await.is_err(), "the peer is gone");
    }

    #[tokio::test]
    async fn memory_grows_with_what_came_and_not_with_what_is_claimed() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let most = u32::try_from(MAX_MESSAGE - FIXED_HEADER).unwrap();
        client.write_all(&header(1, 0, most, 0)).await.unwrap();
        let mut transport =
            Transport { stream: server, received: Zeroizing::new(Vec::with_capacity(ROOM)), unsaid: Vec::new() };
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), transport.message()).await;
        assert!(waits.is_err());
        assert_eq!(transport.received.capacity(), ROOM);
    }

    #[test]
    fn a_call_is_counted_until_it_was_answered() {
        let unanswered = Unanswered::default();
        let waiting = [unanswered.one_more(), unanswered.one_more()];
        assert_eq!(unanswered.count(), 2);
        drop(waiting);
        assert_eq!(unanswered.count(), 0);
    }
}
