//! One D-Bus connection to a UNIX socket, whose every wait ends at a deadline. zbus encodes and checks the messages;
//! the bytes are carried here with non-blocking system calls and poll(2), so that no runtime, thread, timer or second
//! descriptor comes into the host. The other end has been checked by its uid, and is believed nothing else: lengths
//! are bounded before anything is allocated.

#![allow(unsafe_code, reason = "zbus marks the parsing of bytes that came from elsewhere as unsafe")]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, recv, send, socket,
        sockopt::PeerCredentials,
    },
    unistd::geteuid,
};
use zbus::{
    Message,
    message::Type,
    wire::{
        Endian,
        serialized::{Context, Data},
    },
};
use zeroize::Zeroizing;

/// The largest answer that is read: a step with a QR code is under 16 KiB.
const ANSWER_BYTES: usize = 256 * 1024;

/// The longest line of the handshake that is read.
const LINE_BYTES: usize = 1024;

/// The fixed part of a message's header (D-Bus specification, "Message Format").
const FIXED_HEADER: usize = 16;

/// How long to wait before a socket whose queue is full is tried again: connect(2) gives no sign.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The time is up.
    Deadline,
    /// The connection could not be made, or broke.
    Broken(io::Error),
    /// The answer is an error, or none that can be read.
    Answer(zbus::Error),
}

/// What stands in a secret's place, a byte for a byte.
const BLANK: &str = "0";

/// Where a call goes.
pub(crate) struct Target<'a> {
    /// The unique or well-known name; `None` peer to peer.
    pub(crate) destination: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
}

/// A connection. Dropping it closes its one descriptor.
pub(crate) struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    greeting: Greeting,
}

/// How far the authentication is (D-Bus specification, "EXTERNAL").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// It goes out with the first call.
    Unsaid,
    /// It was sent, and its answer comes before that of the first call.
    Unanswered,
    /// The other end took it.
    Answered,
}

/// A call that is ready to be sent.
pub(crate) struct Prepared(Message);

impl Connection {
    /// Connects to the socket at `path` without ever blocking in connect(2); nothing is sent yet.
    pub(crate) fn open(path: &Path, deadline: Instant) -> Result<Self, Trouble> {
        let address = UnixAddr::new(path).map_err(broken)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        loop {
            let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(broken)?;
            match connect(stream.as_raw_fd(), &address) {
                Ok(()) => {
                    let stream = UnixStream::from(stream);
                    return Ok(Self { stream, received: Vec::new(), greeting: Greeting::Unsaid });
                }
                Err(Errno::EAGAIN | Errno::EINTR) => pause(QUEUE_PAUSE, deadline)?,
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// The uid of the other end when it began to listen (unix(7), `SO_PEERCRED`).
    pub(crate) fn peer_uid(&self) -> Result<u32, Trouble> {
        Ok(getsockopt(&self.stream, PeerCredentials).map_err(broken)?.uid())
    }

    /// Whether the other end has taken the authentication, and so may have taken a call.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeting == Greeting::Answered
    }

    /// Authenticates without waiting for a first call.
    pub(crate) fn authenticate(&mut self, deadline: Instant) -> Result<(), Trouble> {
        self.send(&[], deadline)?;
        self.read_greeting(deadline)
    }

    /// Waits for the answer to the authentication.
    fn read_greeting(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let end = loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            if self.received.len() > LINE_BYTES {
                return Err(invalid("the handshake's answer has no end"));
            }
            self.receive(deadline)?;
        };
        let line: Vec<u8> = self.received.drain(..end + 2).collect();
        if !line.starts_with(b"OK ") {
            return Err(invalid("the handshake was refused"));
        }
        self.greeting = Greeting::Answered;
        Ok(())
    }

    /// Calls a member and waits for its answer; whatever else arrives meanwhile is passed over.
    pub(crate) fn call<B, T>(
        &mut self,
        target: &Target<'_>,
        member: &str,
        body: &B,
        deadline: Instant,
    ) -> Result<T, Trouble>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        self.call_prepared(&prepare(target, member, body)?, deadline)
    }

    /// Makes a call that was prepared, and waits for its answer.
    pub(crate) fn call_prepared<T>(&mut self, call: &Prepared, deadline: Instant) -> Result<T, Trouble>
    where
        T: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        self.send(call.0.data(), deadline)?;
        self.answer(&call.0, deadline)
    }

    /// Calls a member that takes a number and a secret text. zbus frees what it builds messages in as it is, so it gets a
    /// blank of the same length, and the text is put in its place in memory that is wiped.
    pub(crate) fn call_with_secret<T>(
        &mut self,
        target: &Target<'_>,
        member: &str,
        number: u64,
        secret: &str,
        deadline: Instant,
    ) -> Result<T, Trouble>
    where
        T: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        let blank = BLANK.repeat(secret.len());
        let call = method_call(target, member, &(number, blank.as_str()))?;
        let mut bytes = Zeroizing::new(call.data().to_vec());
        // A string ends with a NUL (D-Bus specification, "Marshalling"), and this one ends the message.
        let place = bytes.split_last_mut().and_then(|(_nul, rest)| {
            let at = rest.len().checked_sub(secret.len())?;
            rest.get_mut(at..).filter(|place| *place == blank.as_bytes())
        });
        place.ok_or_else(|| invalid("a message with another end"))?.copy_from_slice(secret.as_bytes());
        self.send(&bytes, deadline)?;
        self.answer(&call, deadline)
    }

    fn answer<T>(&mut self, call: &Message, deadline: Instant) -> Result<T, Trouble>
    where
        T: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        let serial = call.primary_header().serial_num();
        loop {
            let message = self.message(deadline)?;
            if message.header().reply_serial() != Some(serial) {
                continue;
            }
            return match message.message_type() {
                Type::MethodReturn => message.body().deserialize().map_err(Trouble::Answer),
                _ => Err(Trouble::Answer(zbus::Error::from(message))),
            };
        }
    }

    /// The next whole message.
    fn message(&mut self, deadline: Instant) -> Result<Message, Trouble> {
        if self.greeting != Greeting::Answered {
            self.read_greeting(deadline)?;
        }
        let length = loop {
            if let Some(length) = message_length(&self.received)? {
                break length;
            }
            self.receive(deadline)?;
        };
        while self.received.len() < length {
            self.receive(deadline)?;
        }
        let bytes: Vec<u8> = self.received.drain(..length).collect();
        let endian = if bytes.first() == Some(&b'B') { Endian::Big } else { Endian::Little };
        // SAFETY: memory does not depend on what is in the bytes: zbus checks the header and its lengths here and the
        // body when it is read, exactly as for messages of its own sockets (zbus 6.2, connection/socket/mod.rs).
        let message = unsafe { Message::from_bytes(Data::new(bytes, Context::new(endian, 0))) };
        message.map_err(Trouble::Answer)
    }

    /// Sends a message, the first one behind the authentication as this process's effective uid: the other end was
    /// checked by the kernel's word before, and the answer to the greeting proves nothing more.
    fn send(&mut self, message: &[u8], deadline: Instant) -> Result<(), Trouble> {
        if self.greeting != Greeting::Unsaid {
            return self.send_all(message, deadline);
        }
        let uid: String = geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let mut bytes = Zeroizing::new(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").into_bytes());
        bytes.extend_from_slice(message);
        self.greeting = Greeting::Unanswered;
        self.send_all(&bytes, deadline)
    }

    fn send_all(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match send(self.stream.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, deadline)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// Adds at least one byte to what was received.
    fn receive(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let mut buffer = [0; 4096];
        loop {
            match recv(self.stream.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(Trouble::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    return Ok(());
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, deadline)?,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), Trouble> {
        poll_until(&mut [PollFd::new(self.stream.as_fd(), flags)], deadline)?;
        if deadline <= Instant::now() { Err(Trouble::Deadline) } else { Ok(()) }
    }
}

/// Writes a call without arguments that are secret.
pub(crate) fn prepare<B>(target: &Target<'_>, member: &str, body: &B) -> Result<Prepared, Trouble>
where
    B: serde::Serialize + zbus::DynamicType,
{
    method_call(target, member, body).map(Prepared)
}

fn method_call<B>(target: &Target<'_>, member: &str, body: &B) -> Result<Message, Trouble>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let call = Message::method_call(target.path, member).interface(target.interface);
    let call = match target.destination {
        Some(destination) => call.destination(destination),
        None => call,
    };
    call.build(body).map_err(Trouble::Answer)
}

/// Waits for `length`, or fails at the deadline.
pub(crate) fn pause(length: Duration, deadline: Instant) -> Result<(), Trouble> {
    let end = Instant::now() + length;
    while Instant::now() < end.min(deadline) {
        poll_until(&mut [], end.min(deadline))?;
    }
    if deadline <= Instant::now() { Err(Trouble::Deadline) } else { Ok(()) }
}

/// poll(2) until something is ready, the time is up or a signal of the host's arrives.
fn poll_until(descriptors: &mut [PollFd<'_>], until: Instant) -> Result<(), Trouble> {
    // Rounded up, so that the last millisecond is not spent spinning.
    let milliseconds = until.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    match poll(descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(broken(error)),
    }
}

/// The length of the message that `bytes` begin with, once its fixed header is there.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, Trouble> {
    let Some((header, _)) = bytes.split_first_chunk::<FIXED_HEADER>() else { return Ok(None) };
    let [endian, _, _, _, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = *header;
    let (body, fields) = match endian {
        b'l' => (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([f0, f1, f2, f3])),
        b'B' => (u32::from_be_bytes([b0, b1, b2, b3]), u32::from_be_bytes([f0, f1, f2, f3])),
        _ => return Err(invalid("an answer that is no D-Bus message")),
    };
    let fields = u64::from(fields).next_multiple_of(8);
    let length = u64::from(body).saturating_add(fields).saturating_add(FIXED_HEADER as u64);
    match usize::try_from(length) {
        Ok(length) if length <= ANSWER_BYTES => Ok(Some(length)),
        _ => Err(invalid("an answer that is too long")),
    }
}

fn broken(error: Errno) -> Trouble {
    Trouble::Broken(error.into())
}

fn invalid(what: &str) -> Trouble {
    Trouble::Answer(zbus::Error::Failure(what.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that stops here has failed, which is what it is for")]

    use super::*;

    #[test]
    fn a_giant_header_is_refused_before_anything_is_allocated() {
        let mut header = *b"l\x02\x00\x01\x00\x00\x80\x07\x01\x00\x00\x00\x08\x00\x00\x00";
        assert!(message_length(&header).is_err());
        header[4..8].copy_from_slice(&8_u32.to_le_bytes());
        assert_eq!(message_length(&header).unwrap(), Some(32));
        header[12..16].copy_from_slice(&9_u32.to_le_bytes());
        assert_eq!(message_length(&header).unwrap(), Some(40), "the fields are padded to 8");
        assert_eq!(message_length(&header[..15]).unwrap(), None);
        header[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(message_length(&header).is_err());
        header[0] = b'x';
        assert!(message_length(&header).is_err());
    }
}
