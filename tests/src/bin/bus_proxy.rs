//! `bus_proxy PATH sound|bad SEED`: stands between the daemon and the system bus of a scratch host. A bad one drops, delays,
//! repeats and reorders whole messages; what comes before the first message it passes on.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use scenarios::Random;

const BUS: &str = "/run/dbus/system_bus_socket";
/// One message in so many meets each mischief.
const SELDOM: usize = 12;
/// The end of the handshake (D-Bus specification, "Authentication Protocol").
const BEGIN: &[u8] = b"BEGIN\r\n";
/// The first messages set the connection up, without which there is nothing to disturb.
const SPARED: usize = 12;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let path = arguments.get(1).context("a path")?;
    let bad = arguments.get(2).is_some_and(|mode| mode == "bad");
    let mut random = Random::new(arguments.get(3).context("a seed")?.parse()?);
    let listener = UnixListener::bind(path)?;
    for client in listener.incoming() {
        let (client, bus) = (client?, UnixStream::connect(BUS)?);
        let [up, down] = [Random::new(random.number()), Random::new(random.number())];
        let (from, to) = (client.try_clone()?, bus.try_clone()?);
        thread::spawn(move || carry(from, to, true, bad.then_some(up)));
        thread::spawn(move || carry(bus, client, false, bad.then_some(down)));
    }
    Ok(())
}

/// Carries messages one way until one side goes; then the other goes too.
fn carry(mut from: UnixStream, mut to: UnixStream, client: bool, mischief: Option<Random>) {
    let carried = pass_handshake(&mut from, &mut to, client)
        .and_then(|early| pass_messages(&mut Source { stream: &mut from, early }, &mut to, mischief));
    let _ = carried;
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Passes everything on until the messages begin; returns what came of them already.
fn pass_handshake(from: &mut UnixStream, to: &mut UnixStream, client: bool) -> Result<Vec<u8>> {
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let length = from.read(&mut bytes)?;
        let fresh = bytes.get(..length).filter(|fresh| !fresh.is_empty()).context("the end")?;
        let before = seen.len();
        seen.extend_from_slice(fresh);
        // The bus's first message begins with its byte order; no line of its handshake does.
        let begin = match client {
            true => seen.windows(BEGIN.len()).position(|window| window == BEGIN).map(|at| at + BEGIN.len()),
            false => seen.get(before).filter(|first| **first == b'l').map(|_| before),
        };
        let end = begin.unwrap_or(seen.len());
        to.write_all(seen.get(before..end).unwrap_or_default())?;
        if begin.is_some() {
            return Ok(seen.split_off(end));
        }
    }
}

fn pass_messages(from: &mut Source<'_>, to: &mut UnixStream, mut mischief: Option<Random>) -> Result<()> {
    let mut kept: Option<Vec<u8>> = None;
    for number in 0_usize.. {
        let message = from.message()?;
        let Some(random) = mischief.as_mut().filter(|_| number >= SPARED) else {
            to.write_all(&message)?;
            continue;
        };
        if random.once_in(SELDOM) {
            continue;
        }
        if random.once_in(SELDOM) {
            thread::park_timeout(Duration::from_millis(random.below(300) as u64));
        }
        if random.once_in(SELDOM) && kept.is_none() {
            kept = Some(message);
            continue;
        }
        to.write_all(&message)?;
        if random.once_in(SELDOM) {
            to.write_all(&message)?;
        }
        if let Some(late) = kept.take() {
            to.write_all(&late)?;
        }
    }
    Ok(())
}

/// Messages, one after the other (D-Bus specification, "Message Format").
struct Source<'s> {
    stream: &'s mut UnixStream,
    early: Vec<u8>,
}

impl Source<'_> {
    fn message(&mut self) -> Result<Vec<u8>> {
        let mut message = vec![0; 16];
        self.fill(&mut message)?;
        let number = |at: usize| -> Result<usize> {
            let bytes: [u8; 4] = message.get(at..at + 4).context("a header")?.try_into()?;
            let little = message.first() == Some(&b'l');
            Ok(usize::try_from(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })?)
        };
        let rest = number(12)?.next_multiple_of(8) + number(4)?;
        let mut body = vec![0; rest];
        self.fill(&mut body)?;
        message.append(&mut body);
        Ok(message)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        let early = self.early.len().min(bytes.len());
        let (first, rest) = bytes.split_at_mut(early);
        first.copy_from_slice(&self.early.drain(..early).collect::<Vec<u8>>());
        self.stream.read_exact(rest)?;
        Ok(())
    }
}
