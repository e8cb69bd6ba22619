//! A hostile caller of every member that the daemon's object says it has, on scratch hosts, with the uid under
//! test. What it sends is made from a seed alone, so that a run can be had again.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the results are for a pipe")]
#![allow(clippy::indexing_slicing, reason = "every index is a random number below the length")]

use std::{
    collections::BTreeSet,
    env,
    fs::File,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use dbus_api::{BUS_NAME, MAX_MESSAGE, OBJECT_PATH, Origin, PRIVATE_SOCKET, SYSTEM_BUS, VERIFIER_INTERFACE};
use scenarios::{Member, Random};
use tokio::runtime::Runtime;
use zbus::{
    Array, Connection, Dict, Message, Signature, Variant, connection, export::ordered_stream::OrderedStreamExt,
    message::Type, wire::StructureBuilder,
};

/// The longest that the daemon may leave a caller without an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lengths of texts and lists.
const SIZES: [usize; 5] = [0, 1, 1 << 10, 64 << 10, 1 << 20];

/// Bytes of large texts in one message: the system bus takes no message over 32 MiB.
const ROOM: usize = 2 << 20;

/// How many descriptors the variants of one message may have: the system bus hangs up on whoever sends more than 16.
const DESCRIPTORS: usize = 4;

/// Keys of the contract's dictionaries, and some of nobody's. `account` is not among them: without it no record
/// can be imported.
const KEYS: [&str; 14] = [
    "state",
    "gone",
    "user",
    "since",
    "label",
    "kind",
    "algorithm",
    "digits",
    "period",
    "no_confirm",
    "service",
    "rhost",
    "secret",
    "",
];

/// Types that no member takes in this place, or not alone.
const TYPES: [&str; 17] =
    ["y", "b", "n", "q", "i", "u", "x", "t", "d", "s", "g", "o", "h", "v", "as", "a{sv}", "aa{sv}"];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["calls", way, seed, milliseconds, ref names @ ..] => {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let way = Way::named(way)?;
            let length = Duration::from_millis(milliseconds.parse()?);
            Caller::new(way, Random::new(seed.parse()?), names)?.call_all(length)
        }
        ["bytes", seed, count] => throw_bytes(&mut Random::new(seed.parse()?), count.parse()?),
        _ => bail!("unknown arguments"),
    }
}

/// How the daemon is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bus,
    Private,
}

impl Way {
    fn named(name: &str) -> Result<Self> {
        match name {
            "bus" => Ok(Self::Bus),
            "private" => Ok(Self::Private),
            _ => bail!("no such way"),
        }
    }

    async fn connect(self) -> Result<Connection> {
        let builder = match self {
            Self::Bus => connection::Builder::address(SYSTEM_BUS),
            Self::Private => connection::Builder::unix_stream(UnixStream::connect(PRIVATE_SOCKET)?).p2p(),
        };
        Ok(builder.build().await?)
    }
}

/// What a call came to.
enum Answer {
    Result,
    Error,
    HungUp,
}

/// One hostile caller.
struct Caller {
    way: Way,
    random: Random,
    /// The accounts that well-typed calls speak of.
    names: Vec<String>,
    /// How many bytes the large texts of one message may still have.
    room: usize,
    /// How many descriptors its variants may still have.
    descriptors: usize,
    runtime: Runtime,
    connection: Connection,
}

impl Caller {
    fn new(way: Way, random: Random, names: Vec<String>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(way.connect())?;
        Ok(Self { way, random, names, room: ROOM, descriptors: DESCRIPTORS, runtime, connection })
    }

    /// Calls the members in turn for so long; says what came of it.
    fn call_all(mut self, length: Duration) -> Result<()> {
        let members = self.introspect()?;
        let (mut calls, mut results, mut errors, mut hung_up) = (0, 0, 0, 0);
        let mut called = BTreeSet::new();
        let began = Instant::now();
        while began.elapsed() < length || called.len() < members.len() {
            for member in &members {
                called.insert(member);
                let member = self.member_like(member);
                let Some(message) = self.message(&member) else { continue };
                calls += 1;
                match self.send(&message).with_context(|| format!("{member:?}, {} bytes", message.data().len()))? {
                    Answer::Result => results += 1,
                    Answer::Error => errors += 1,
                    Answer::HungUp => hung_up += 1,
                }
            }
        }
        println!("members {} calls {calls} results {results} errors {errors} hung-up {hung_up}", called.len());
        Ok(())
    }

    /// Asks the object itself, and keeps what is of the project's interfaces.
    fn introspect(&self) -> Result<Vec<Member>> {
        let call = Message::method_call(OBJECT_PATH, "Introspect").interface("org.freedesktop.DBus.Introspectable");
        let call = if self.way == Way::Bus { call.destination(BUS_NAME) } else { call };
        let message = call.build(&())?;
        let reply = self.runtime.block_on(self.reply(&message))?;
        let xml: String = reply.body().deserialize()?;
        let members = Member::all_of(&xml);
        if members.is_empty() {
            bail!("the object has no members: {xml}");
        }
        Ok(members)
    }

    /// The member, or now and then something that has another name.
    fn member_like(&mut self, member: &Member) -> Member {
        let mut like = member.clone();
        match self.random.below(24) {
            0 => like.name.push('X'),
            1 => like.name = "M".repeat(255),
            2 => like.interface.push('X'),
            3 => like.interface = "org.freedesktop.DBus.Properties".to_owned(),
            _ => {}
        }
        like
    }

    /// A call of it; `None` where D-Bus has no such message.
    fn message(&mut self, member: &Member) -> Option<Message> {
        self.room = ROOM;
        self.descriptors = DESCRIPTORS;
        let mut takes = member.takes.clone();
        match self.random.below(8) {
            0 => drop(takes.pop()),
            1 => takes.push(TYPES[self.random.below(TYPES.len())].to_owned()),
            2 => self.random.shuffle(&mut takes),
            3 | 4 => {
                for kind in &mut takes {
                    TYPES[self.random.below(TYPES.len())].clone_into(kind);
                }
            }
            _ => {}
        }
        // Root may let an account enrol that is not there yet: only a call of other types changes nothing.
        if takes == member.takes && member.name == "Reset" && nix::unistd::geteuid().is_root() {
            takes.pop();
        }
        let call = Message::method_call(OBJECT_PATH, member.name.as_str()).interface(member.interface.as_str());
        let call = if self.way == Way::Bus { call.destination(BUS_NAME) } else { call };
        if takes.is_empty() {
            return call.build(&()).ok();
        }
        let mut body = StructureBuilder::new();
        for kind in &takes {
            body.push_value(self.value(&Signature::try_from(kind.as_str()).ok()?, 0)?);
        }
        // Over the private socket no descriptor can be sent: the handshake does not offer it.
        let message = call.build(&body.build().ok()?).ok()?;
        (self.way == Way::Bus || message.header().unix_fds().is_none_or(|count| count == 0)).then_some(message)
    }

    /// A value of this type.
    fn value(&mut self, kind: &Signature, depth: usize) -> Option<Variant<'static>> {
        let number = self.integer();
        Some(match kind {
            Signature::U8 => Variant::U8(number as u8),
            Signature::Bool => Variant::Bool(number & 1 == 1),
            Signature::I16 => Variant::I16(number as i16),
            Signature::U16 => Variant::U16(number as u16),
            Signature::I32 => Variant::I32(number as i32),
            Signature::U32 => Variant::U32(number as u32),
            Signature::I64 => Variant::I64(number as i64),
            Signature::U64 => Variant::U64(number),
            Signature::F64 => Variant::F64(f64::from_bits(number)),
            Signature::Str => Variant::Str(self.text().into()),
            Signature::Signature => Variant::Signature(Signature::try_from("a{s(iv)}").ok()?),
            Signature::ObjectPath => Variant::ObjectPath(OBJECT_PATH.try_into().ok()?),
            Signature::Fd => Variant::Fd(self.descriptor().ok()?.into()),
            Signature::Variant => Variant::Variant(Box::new(self.variant(depth)?)),
            Signature::Array(of) => {
                let mut array = Array::new(of.signature());
                for _ in 0..self.length(of.signature(), depth) {
                    array.append(self.value(of.signature(), depth + 1)?).ok()?;
                }
                Variant::Array(array)
            }
            Signature::Dict { key, value } => {
                let mut dict = Dict::new(key.signature(), value.signature());
                for _ in 0..self.random.below(6) {
                    let name = KEYS[self.random.below(KEYS.len())];
                    dict.append(Variant::Str(name.into()), self.value(value.signature(), depth + 1)?).ok()?;
                }
                Variant::Dict(dict)
            }
            Signature::Structure(fields) => {
                let mut structure = StructureBuilder::new();
                for field in fields.iter() {
                    structure.push_value(self.value(field, depth + 1)?);
                }
                Variant::Structure(structure.build().ok()?)
            }
            _ => return None,
        })
    }

    /// Of a file, a device, a socket, or a pipe whose reader is gone: one that somebody could read would be waited for.
    fn descriptor(&mut self) -> Result<OwnedFd> {
        Ok(match self.random.below(5) {
            0 => File::open("/dev/null")?.into(),
            1 => File::options().write(true).open("/dev/full")?.into(),
            2 => File::open("/")?.into(),
            3 => UnixStream::pair()?.0.into(),
            _ => std::io::pipe()?.1.into(),
        })
    }

    /// What a variant holds: of any type, and now and then variants in variants.
    fn variant(&mut self, depth: usize) -> Option<Variant<'static>> {
        if depth == 0 && self.random.once_in(8) {
            let mut nested = Variant::U32(1);
            for _ in 0..self.random.below(60) {
                nested = Variant::Variant(Box::new(nested));
            }
            return Some(nested);
        }
        // No containers below the third level: they would grow without an end.
        let kinds = if depth < 3 { TYPES.len() } else { 13 };
        let mut kind = TYPES[self.random.below(kinds)];
        if kind == "h" {
            let left = self.descriptors.checked_sub(1);
            self.descriptors = left.unwrap_or_default();
            kind = if left.is_some() { kind } else { "u" };
        }
        self.value(&Signature::try_from(kind).ok()?, depth + 1)
    }

    /// How many elements a list has.
    fn length(&mut self, of: &Signature, depth: usize) -> usize {
        match of {
            _ if depth > 0 || !self.random.once_in(6) => self.random.below(4),
            Signature::U8 => SIZES[self.random.below(SIZES.len())],
            _ => [501, 5_000][self.random.below(2)],
        }
    }

    fn integer(&mut self) -> u64 {
        match self.random.below(6) {
            0 => 0,
            1 => self.random.below(8) as u64,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => u64::from(u32::MAX),
            _ => self.random.number(),
        }
    }

    fn text(&mut self) -> String {
        if !self.names.is_empty() && !self.random.once_in(3) {
            return self.names[self.random.below(self.names.len())].clone();
        }
        match self.random.below(8) {
            0 => "\u{1b}]0;x\u{7}\r\nevent=granted".to_owned(),
            1 => "\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}".to_owned(),
            2 => format!("{:06}", self.random.below(1_000_000)),
            3 => "'; DROP TABLE accounts; --".to_owned(),
            // Large ones seldom: the time is for many calls.
            4 => {
                let size = SIZES[self.random.below(SIZES.len())].min(self.room);
                self.room -= size;
                "x".repeat(size)
            }
            _ => self.random.bytes(12).iter().map(|byte| char::from(*byte)).filter(|letter| *letter != '\0').collect(),
        }
    }

    /// Sends it and waits for the answer. A private connection may be hung up upon a message that is too large.
    fn send(&mut self, message: &Message) -> Result<Answer> {
        match self.runtime.block_on(self.reply(message)) {
            Ok(reply) if reply.message_type() == Type::Error => Ok(Answer::Error),
            Ok(_) => Ok(Answer::Result),
            Err(error) if self.way == Way::Private && message.data().len() > MAX_MESSAGE => {
                if matches!(&error, zbus::Error::InputOutput(error) if error.kind() == ErrorKind::TimedOut) {
                    return Err(error.into());
                }
                self.connection = self.runtime.block_on(self.way.connect())?;
                Ok(Answer::HungUp)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn reply(&self, message: &Message) -> zbus::Result<Message> {
        let mut stream = zbus::MessageStream::from(&self.connection);
        self.connection.send(message).await?;
        let wanted = Some(message.primary_header().serial_num());
        let answer = async {
            loop {
                let reply = stream.next().await.ok_or_else(|| broken(ErrorKind::ConnectionReset))??;
                if reply.header().reply_serial() == wanted {
                    return zbus::Result::Ok(reply);
                }
            }
        };
        let reply = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| broken(ErrorKind::TimedOut))??;
        Ok(reply)
    }
}

fn broken(kind: ErrorKind) -> zbus::Error {
    zbus::Error::InputOutput(std::sync::Arc::new(kind.into()))
}

/// Throws `count` times bytes at the private socket, before the handshake, in it and after it, each time on a
/// connection of its own, and waits until the daemon hangs up.
fn throw_bytes(random: &mut Random, count: usize) -> Result<()> {
    let mut welcomed = 0;
    for number in 0..count {
        let mut stream = UnixStream::connect(PRIVATE_SOCKET)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let bytes = match number % 4 {
            0 => raw(random),
            1 => altered(random, greeting().as_bytes().to_vec()),
            _ if !shake_hands(&mut stream)? => bail!("connection {number} was not welcomed"),
            kind => {
                welcomed += 1;
                let begin = begin()?;
                if kind == 2 { raw(random) } else { altered(random, begin) }
            }
        };
        // The daemon may hang up before it has read everything.
        let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        match stream.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                return Err(error).with_context(|| format!("connection {number} was not hung up"));
            }
            _ => {}
        }
    }
    println!("connections {count} welcomed {welcomed}");
    Ok(())
}

fn raw(random: &mut Random) -> Vec<u8> {
    let length = [1, 16, 300, 5000, 100_000][random.below(5)];
    random.bytes(length)
}

/// A few bytes of it are others, or its end is missing.
fn altered(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len());
        bytes[place] = random.number().to_le_bytes()[0];
    }
    if random.once_in(3) {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

/// What a client says first (D-Bus specification, "Authentication Protocol").
fn greeting() -> String {
    let uid: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    format!("\0AUTH EXTERNAL {uid}\r\n")
}

fn shake_hands(stream: &mut UnixStream) -> Result<bool> {
    stream.write_all(greeting().as_bytes())?;
    let mut reply = Vec::new();
    let mut byte = [0];
    while !reply.ends_with(b"\r\n") && stream.read(&mut byte)? == 1 {
        reply.extend(byte);
    }
    stream.write_all(b"BEGIN\r\n")?;
    Ok(reply.starts_with(b"OK "))
}

/// The bytes of a call that is right, but for the account, which nobody has.
fn begin() -> Result<Vec<u8>> {
    let origin = Origin { service: Some("scenario".to_owned()), ..Origin::default() };
    let call = Message::method_call(OBJECT_PATH, "Begin").interface(VERIFIER_INTERFACE);
    Ok(call.build(&("nobody-at-all", origin))?.data().to_vec())
}
