//! A caller of the private socket, honest or not, that runs on scratch hosts with the uid under test.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the results are for a pipe")]

use std::{
    env,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use dbus_api::{OBJECT_PATH, Origin, PRIVATE_SOCKET, SYSTEM_BUS, VERIFIER_INTERFACE, VerifierProxy};
use scenarios::VerifierClient;
use zbus::{Message, MessageStream, export::futures_core::Stream, message::Type};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["verify", user, code] => verify(user, code),
        ["forge", user, sender] => forge(user, sender),
        ["answer-another", id, code] => answer_another(id.parse()?, code),
        ["answer-another-over-the-bus", id, code] => answer_another_over_the_bus(id.parse()?, code),
        ["follow-environment", user] => follow_environment(user),
        ["hold", kind, count] => hold(kind, count.parse()?),
        ["flood", kind, count] => flood(kind, count.parse()?),
        _ => bail!("unknown arguments"),
    }
}

/// One verification, as an honest caller makes it.
fn verify(user: &str, code: &str) -> Result<()> {
    println!("{:?}", VerifierClient::connect(Path::new(PRIVATE_SOCKET))?.verify(user, code));
    Ok(())
}

/// `Begin` with a sender header that says what it likes.
fn forge(user: &str, sender: &str) -> Result<()> {
    let client = VerifierClient::connect(Path::new(PRIVATE_SOCKET))?;
    let origin = Origin { service: Some("scenario".to_owned()), ..Origin::default() };
    let message = Message::method_call(OBJECT_PATH, "Begin")
        .interface(VERIFIER_INTERFACE)
        .sender(sender)
        .build(&(user, origin))?;
    let reply = client.runtime().block_on(async {
        let mut stream = MessageStream::from(client.connection());
        client.connection().send(&message).await?;
        loop {
            let reply = next(&mut stream).await.context("the daemon hung up")??;
            if reply.header().reply_serial() == Some(message.primary_header().serial_num()) {
                return anyhow::Ok(reply);
            }
        }
    })?;
    match reply.message_type() {
        Type::Error => println!("error {}", reply.header().error_name().context("an error has a name")?),
        kind => println!("{kind:?}"),
    }
    Ok(())
}

/// Answers a verification that another connection began.
fn answer_another(id: u64, code: &str) -> Result<()> {
    let client = VerifierClient::connect(Path::new(PRIVATE_SOCKET))?;
    println!("{:?}", client.respond(id, code));
    Ok(())
}

/// The same, from a connection of the system bus.
fn answer_another_over_the_bus(id: u64, code: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let connection = zbus::connection::Builder::address(SYSTEM_BUS).build().await?;
        anyhow::Ok(VerifierProxy::new(&connection).await?.respond(id, code).await)
    })?;
    println!("{answer:?}");
    Ok(())
}

/// What the module must not do: asks whatever daemon is on the bus that the environment names.
fn follow_environment(user: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_, step) = runtime.block_on(async {
        let connection = zbus::Connection::system().await?;
        anyhow::Ok(VerifierProxy::new(&connection).await?.begin(user, &Origin::default()).await?)
    })?;
    println!("{:?}", step.action());
    Ok(())
}

/// Holds `count` connections until standard input closes, and says when they stand.
fn hold(kind: &str, count: usize) -> Result<()> {
    let mut held = Vec::new();
    let mut turned_away = 0;
    for _ in 0..count {
        let made = match kind {
            "silent" => UnixStream::connect(PRIVATE_SOCKET).map_err(Into::into),
            "half" => UnixStream::connect(PRIVATE_SOCKET).map_err(Into::into).and_then(half_a_handshake),
            "giant" => handshake().and_then(giant),
            "begun" => handshake(),
            _ => bail!("unknown kind"),
        };
        match made {
            Ok(stream) => held.push(stream),
            Err(_) => turned_away += 1,
        }
    }
    println!("holding {} turned away {turned_away}", held.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("still open {}", held.iter_mut().map(is_open).filter(|open| *open).count());
    Ok(())
}

/// Does its worst until it is killed, with so many connections at a time.
fn flood(kind: &str, count: usize) -> Result<()> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("an account")?.name;
    let origin = Origin { service: Some("scenario".to_owned()), ..Origin::default() };
    let begin =
        Message::method_call(OBJECT_PATH, "Begin").interface(VERIFIER_INTERFACE).build(&(user.as_str(), origin))?;
    loop {
        let mut open = Vec::new();
        for _ in 0..count {
            let made = match kind {
                "connections" => UnixStream::connect(PRIVATE_SOCKET).map_err(Into::into),
                _ => handshake(),
            };
            // Turned away, or out of descriptors of its own: with those that stand it goes on.
            if let Ok(stream) =
                made.and_then(|stream| stream.set_nonblocking(true).map(|()| stream).map_err(Into::into))
            {
                open.push(stream);
            }
        }
        for _ in 0..5000 {
            open.retain_mut(|stream| speak(stream, kind, begin.data()));
            if open.is_empty() {
                break;
            }
        }
    }
}

/// Whether the connection still stands after one more message, where there was room for it.
fn speak(stream: &mut UnixStream, kind: &str, message: &[u8]) -> bool {
    let full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    if kind == "connections" {
        return false;
    }
    if kind != "slow" {
        // Answers are thrown away unread; who is slow leaves them where they are.
        if let Ok(0) = stream.read(&mut [0_u8; 4096]) {
            return false;
        }
    }
    match stream.write(message) {
        Ok(length) => length == message.len(),
        Err(error) => full(&error),
    }
}

/// Authenticates by hand (D-Bus specification, "Authentication Protocol").
fn handshake() -> Result<UnixStream> {
    let mut stream = UnixStream::connect(PRIVATE_SOCKET)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let uid: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    write!(stream, "\0AUTH EXTERNAL {uid}\r\n")?;
    let mut reply = Vec::new();
    let mut byte = [0_u8];
    while !reply.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        reply.extend(byte);
    }
    if !reply.starts_with(b"OK ") {
        bail!("not welcome");
    }
    stream.write_all(b"BEGIN\r\n")?;
    Ok(stream)
}

fn half_a_handshake(mut stream: UnixStream) -> Result<UnixStream> {
    stream.write_all(b"\0AUTH EXTERNAL 3")?;
    Ok(stream)
}

/// The first 16 bytes of a message that claims a body of 120 MiB.
fn giant(mut stream: UnixStream) -> Result<UnixStream> {
    let mut header = vec![b'l', 1, 0, 1];
    header.extend((120_u32 << 20).to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    stream.write_all(&header)?;
    Ok(stream)
}

/// Whether the daemon has not hung up.
fn is_open(stream: &mut UnixStream) -> bool {
    let quiet = stream.set_nonblocking(true);
    match quiet.and_then(|()| stream.read(&mut [0_u8; 512])) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}
