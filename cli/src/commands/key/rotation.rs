//! `countersign key rotate` and `key status`: the daemon seals everything under a new key while logins go on; the tool
//! begins it, and shows how far it is.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use dbus_api::{AdminProxy, Error, KeyStatus};
use serde::Serialize;

use crate::{
    cli, client,
    failure::Failure,
    output::Output,
    prompt::Interrupts,
    wording::{count, printable},
};

/// How often the daemon is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// What `key status --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    source: &'a str,
    path: Option<&'a str>,
    accounts: u64,
    previous: Option<&'a str>,
    resealed: Option<u64>,
    refused: Option<u64>,
    stopped: Option<bool>,
}

/// Runs `key rotate`.
///
/// # Errors
/// What the daemon refuses; that the store stopped the rotation.
pub(crate) async fn rotate(arguments: &cli::KeyRotate, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let (admin, _agent) = client::administer(bus).await?;
    match admin.rotate_key().await {
        Ok(()) => {}
        // One that was begun before is waited for like one's own.
        Err(Error::Busy(_)) => output.say("A rotation is under way already.")?,
        Err(Error::InvalidArgument(text)) => return Err(no_file(&text)),
        Err(error) => return Err(client::explain(&error, "", "key rotate")),
    }
    if arguments.no_wait {
        return output.say("The new key is in use; the rest goes on by itself. See how far: countersign key status");
    }
    let waited = tokio::select! {
        waited = wait(&admin) => waited,
        () = interrupts.wait() => Err(Failure::refused("it goes on without this command")
            .with_help("See how far: sudo countersign key status")),
    };
    clear();
    let status = waited?;
    output.say(&format!("Everything is sealed under the new master key, {}.", printable(&status.id)))?;
    output.say("Backups from before hold the old one. Make a new one: sudo countersign backup FILE")
}

/// Runs `key status`.
///
/// # Errors
/// What the daemon refuses.
pub(crate) async fn status(arguments: &cli::KeyStatus, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (admin, _agent) = client::administer(bus).await?;
    let status = admin.key_status().await.map_err(|error| client::explain(&error, "", "key status"))?;
    if arguments.json {
        return output.json(&report(&status));
    }
    let from = match (status.source.as_str(), &status.path) {
        ("credential", Some(path)) => format!(", from the systemd credential {}", printable(path)),
        (_, Some(path)) => format!(", from the file {}", printable(path)),
        (_, None) => String::new(),
    };
    output.say(&format!("Master key {}{from}.", printable(&status.id)))?;
    output.say(&format!("Accounts that are sealed under it: {}.", count(sealed(&status))))?;
    let Some(previous) = &status.previous else { return Ok(()) };
    output.say(&format!(
        "A rotation is under way: it has come to {} of {}. What is left is sealed under key {}.",
        count(status.resealed.unwrap_or_default()),
        count(status.accounts),
        printable(previous)
    ))?;
    if status.stopped == Some(true) {
        output.say("The store stopped it; it is tried again every 10 s. See why: journalctl -u countersignd")?;
    }
    Ok(())
}

/// Waits until nothing is under the old key any more.
async fn wait(admin: &AdminProxy<'static>) -> Result<KeyStatus, Failure> {
    loop {
        let status = admin.key_status().await.map_err(|error| client::explain(&error, "", "key status"))?;
        if status.previous.is_none() {
            return Ok(status);
        }
        if status.stopped == Some(true) {
            return Err(Failure::refused("the store stopped the rotation; the daemon tries again every 10 s")
                .with_help("Nothing is lost, and logins go on. See why: journalctl -u countersignd"));
        }
        show(&status);
        tokio::time::sleep(LOOK).await;
    }
}

/// How many accounts are under the key in use, as far as is known.
fn sealed(status: &KeyStatus) -> u64 {
    match status.resealed {
        Some(resealed) => resealed.saturating_sub(status.refused.unwrap_or_default()),
        None => status.accounts,
    }
}

fn report(status: &KeyStatus) -> Report<'_> {
    Report {
        id: &status.id,
        source: &status.source,
        path: status.path.as_deref(),
        accounts: status.accounts,
        previous: status.previous.as_deref(),
        resealed: status.resealed,
        refused: status.refused,
        stopped: status.stopped,
    }
}

/// A credential is systemd's to keep: it goes back into a file for the time of the rotation.
fn no_file(text: &str) -> Failure {
    Failure::refused(printable(text))
        .with_help("Put the key back into its file, rotate, and make a new credential of the new key.")
        .with_help("The commands: see \"The master key\" in countersignd(8).")
}

/// A line on the terminal; nothing where standard error is none.
fn show(status: &KeyStatus) {
    if io::stderr().is_terminal() {
        let done = count(status.resealed.unwrap_or_default());
        let _ = write!(io::stderr(), "\r\x1b[K{done} of {} accounts", count(status.accounts));
    }
}

fn clear() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
