//! Calls every member that the daemon's object says it has, once, well-typed and with the uid under test, and prints
//! what each came to: `Interface.Member` and `done` or the error's name. It runs on scratch hosts.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the results are for a pipe")]

use std::{
    env,
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use anyhow::{Context, Result, bail};
use dbus_api::{BUS_NAME, OBJECT_PATH, PRIVATE_SOCKET, SYSTEM_BUS};
use scenarios::Member;
use zbus::{Array, Connection, Dict, Signature, Variant, connection, wire::StructureBuilder};

/// The id of no authenticator.
const NO_AUTHENTICATOR: &str = "00000000";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, account] = &arguments[..] else { bail!("usage: member_caller bus|private ACCOUNT") };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(call_all(way, account))
}

async fn call_all(way: &str, account: &str) -> Result<()> {
    let (builder, destination) = match way {
        "bus" => (connection::Builder::address(SYSTEM_BUS), Some(BUS_NAME)),
        "private" => (connection::Builder::unix_stream(UnixStream::connect(PRIVATE_SOCKET)?).p2p(), None),
        _ => bail!("no such way"),
    };
    let Ok(connection) = builder.build().await else {
        println!("hung-up");
        return Ok(());
    };
    let introspect = ("org.freedesktop.DBus.Introspectable", "Introspect");
    let told = connection.call_method(destination, OBJECT_PATH, Some(introspect.0), introspect.1, &()).await?;
    for member in Member::all_of(&told.body().deserialize::<String>()?) {
        println!("{} {}", member.short_name(), call(&connection, destination, &member, account).await?);
    }
    Ok(())
}

/// The first text is the account; the numbers are those of nothing.
async fn call(connection: &Connection, destination: Option<&str>, member: &Member, account: &str) -> Result<String> {
    let (interface, name) = (Some(member.interface.as_str()), member.name.as_str());
    let called = if member.takes.is_empty() {
        connection.call_method(destination, OBJECT_PATH, interface, name, &()).await
    } else {
        let mut texts = [account].into_iter().chain(std::iter::repeat(NO_AUTHENTICATOR));
        let mut body = StructureBuilder::new();
        for kind in &member.takes {
            body.push_value(argument(kind, &mut texts).with_context(|| format!("{member:?}"))?);
        }
        connection.call_method(destination, OBJECT_PATH, interface, name, &body.build()?).await
    };
    match called {
        Ok(_) => Ok("done".to_owned()),
        Err(zbus::Error::MethodError(name, _, _)) => Ok(name.to_string()),
        Err(zbus::Error::FDO(error)) => Ok(zbus::DBusError::name(&*error).to_string()),
        Err(other) => bail!("{member:?}: {other}"),
    }
}

fn argument<'text>(kind: &str, texts: &mut impl Iterator<Item = &'text str>) -> Result<Variant<'text>> {
    Ok(match Signature::try_from(kind).ok().context("a signature")? {
        Signature::Str => Variant::Str(texts.next().context("texts do not end")?.into()),
        Signature::U32 => Variant::U32(1),
        Signature::U64 => Variant::U64(u64::MAX),
        Signature::Bool => Variant::Bool(false),
        // No pipe: a backup is made into nothing else.
        Signature::Fd => Variant::Fd(OwnedFd::from(File::open("/dev/null")?).into()),
        Signature::Array(of) => Variant::Array(Array::new(of.signature())),
        Signature::Dict { key, value } => Variant::Dict(Dict::new(key.signature(), value.signature())),
        other => bail!("no value of type {other}"),
    })
}
