//! `countersign pam`: switches the second factor on and off in PAM, for root alone. What it may break is everybody's
//! login, so that it shows, judges, tries and asks before it changes anything, and keeps the way back.

mod attempt;
mod confirm;
mod disable;
mod enable;
mod plan;
mod revert;
mod risk;
mod status;

use nix::unistd::geteuid;

pub(super) use self::revert::take_back_what_is_due;
use crate::{
    cli::PamAction,
    failure::Failure,
    host::Host,
    output::Output,
    switch::{diff, ledger::Changed},
    wording::printable,
};

/// Runs the command.
///
/// # Errors
/// Where somebody would be locked out, somebody says no, or a file cannot be changed.
pub(super) async fn run(action: &PamAction, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    if !geteuid().is_root() && !matches!(action, PamAction::Status(_)) {
        return Err(
            Failure::refused("PAM is for root alone to change").with_help("Try again with: sudo countersign pam")
        );
    }
    match action {
        PamAction::Enable(arguments) => enable::run(arguments, bus, output).await,
        PamAction::Confirm(_) => confirm::run(bus, output).await,
        PamAction::Disable(arguments) => disable::run(arguments, output).await,
        PamAction::Status(arguments) => status::run(arguments, output),
        PamAction::Try(arguments) => attempt::run(arguments, output),
        PamAction::Revert(arguments) => revert::run(arguments, output),
    }
}

/// Prints what changes, as a diff.
fn show(changes: &[Changed], output: &Output) -> Result<(), Failure> {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for changed in changes {
        let (before, after) = (text(&changed.before), text(&changed.after));
        let path = changed.path.display().to_string();
        for line in diff::unified(&path, before.as_deref(), after.as_deref()).lines() {
            output.print(&format!("{}\n", line.split('\t').map(printable).collect::<Vec<_>>().join("\t")))?;
        }
    }
    output.print("\n")
}

/// A line in the log of who changed what. Where there is no logger(1), the change stands all the same.
fn log(host: &Host, text: &str) {
    let by = printable(&crate::switch::login::caller());
    let line = format!("{text}, by {by}");
    let _ = host.run("/usr/bin/logger", &["-p", "authpriv.notice", "-t", "countersign", "--", &line]);
}
