//! `countersign key new` and `key accept`: what becomes of a host that is the copy of another one. A new key is made by
//! the daemon's own program while the daemon is stopped, so that nobody but the daemon's account touches the state; that
//! the state is accepted, the daemon writes down, because it alone holds the key.

mod rotation;

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::unistd::geteuid;

use crate::{
    cli::KeyNew,
    client,
    commands::offline,
    failure::Failure,
    host::{Host, Ran},
    output::Output,
    prompt,
};

pub(super) use rotation::{rotate, status};

/// The master key as a credential (systemd.exec(5), `LoadCredentialEncrypted=`), and where systemd looks for it.
const CREDENTIAL: &str = "countersign.key";
const CREDENTIALS: [&str; 5] = [
    "/etc/credstore.encrypted",
    "/run/credstore.encrypted",
    "/usr/lib/credstore.encrypted",
    "/usr/local/lib/credstore.encrypted",
    "/run/credentials/@encrypted",
];

/// Runs `key new`.
///
/// # Errors
/// Not root, a key that is not the state's, accounts that are kept, a question answered with no, a daemon that does not
/// stop or start.
pub(super) async fn new(arguments: &KeyNew, output: &Output) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure::refused("only root can make a new key").with_help("Run: sudo countersign key new"));
    }
    let host = Host::here();
    if let Some(path) = credential(&host) {
        let refusal = Failure::refused(format!("the master key is the credential {}", path.display()));
        return Err(refusal.with_help("Put a new one in its place: see \"The master key\" in countersignd(8)."));
    }
    if arguments.forget_accounts && !arguments.yes {
        ask(output).await?;
    }
    // systemd's socket stays: whoever logs in meanwhile waits.
    let runs = offline::runs(&host)?;
    if runs {
        offline::stop(&host)?;
    }
    let made = make(arguments.forget_accounts);
    if runs {
        offline::start_again(&host).await?;
    }
    let ran = made.map_err(|error| {
        let what = format!("{} cannot be run: {error}", dbus_api::DAEMON);
        Failure::refused(what).with_help("Nothing was changed. Install the package again.")
    })?;
    let said = offline::said(&ran);
    if !ran.done {
        return Err(Failure::refused(said));
    }
    output.say(&said)?;
    if arguments.forget_accounts {
        output.say("Nobody is enrolled any more. Enrol everybody anew: sudo countersign enroll USER")?;
    }
    Ok(())
}

/// Runs `key accept`.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn accept(bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (admin, _agent) = client::administer(bus).await?;
    admin.accept_host().await.map_err(|error| client::explain(&error, "", "key accept"))?;
    output.say("The accounts and the key are this host's from now on. See to it that no other host uses them.")
}

async fn ask(output: &Output) -> Result<(), Failure> {
    if !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help("To do it without a question: sudo countersign key new --forget-accounts --yes"));
    }
    output.say("This forgets every account with its authenticators and recovery codes, and the audit's table.")?;
    output.say("Until they enrol anew, everybody who is asked for a code is refused. Keep a root shell open.")?;
    if prompt::confirm(output, "Forget all of it, and make a new key?").await? {
        return Ok(());
    }
    Err(Failure::refused("nothing was changed"))
}

/// The credential, if there is one: the daemon would take it before its file.
pub(super) fn credential(host: &Host) -> Option<PathBuf> {
    CREDENTIALS.iter().map(|folder| Path::new(folder).join(CREDENTIAL)).find(|path| host.has(path))
}

fn make(forget_accounts: bool) -> io::Result<Ran> {
    let mut command = offline::program()?;
    command.arg("--new-key").stdin(Stdio::null());
    if forget_accounts {
        command.arg("--forget-accounts");
    }
    let ended = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { done: ended.status.success(), out: text(&ended.stdout), err: text(&ended.stderr) })
}
