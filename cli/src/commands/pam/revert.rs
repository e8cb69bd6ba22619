//! `countersign pam revert`: takes back what was switched on for a time and nobody confirmed in it. The timer, the boot and
//! every run of the tool by root come here; it needs neither the daemon nor a terminal.

use std::{io::Write as _, time::Duration};

use nix::unistd::geteuid;

use super::log;
use crate::{
    cli::PamRevert,
    failure::Failure,
    host::Host,
    output::Output,
    switch::{
        ledger::{Change, Ledger},
        undo::{self, Undone},
    },
};

/// How often a process that waits looks whether there is still something to wait for.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// Where something cannot be taken back.
pub(super) fn run(arguments: &PamRevert, output: &Output) -> Result<(), Failure> {
    let host = Host::here();
    let ledger = Ledger::of(&host);
    // Suspended hosts and changed clocks do not matter to whoever looks every second.
    let tell = |text: &str| output.say(text);
    while arguments.wait && ledger.changes()?.iter().any(|change| change.trial.is_some() && !change.is_due()) {
        std::thread::sleep(LOOK);
        take_back(&host, &ledger, tell)?;
    }
    take_back(&host, &ledger, tell)
}

/// The same before any other command of root's: the process that waited may have been killed. Standard output is that
/// command's.
pub(in crate::commands) fn take_back_what_is_due() {
    if !geteuid().is_root() {
        return;
    }
    let host = Host::here();
    let ledger = Ledger::of(&host);
    let tell = |text: &str| Ok(writeln!(std::io::stderr(), "countersign: {text}")?);
    // A ledger that cannot be read is the business of the commands that need it, and what cannot be taken back stands in
    // the log and is explained by `pam disable`.
    if ledger.changes().is_ok_and(|changes| changes.iter().any(Change::is_due)) {
        let _ = take_back(&host, &ledger, tell);
    }
}

fn take_back(host: &Host, ledger: &Ledger, tell: impl Fn(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    if !ledger.changes()?.iter().any(Change::is_due) {
        return Ok(());
    }
    let lock = ledger.lock()?;
    let mut failure = None;
    for change in ledger.changes()?.iter().filter(|change| change.is_due()) {
        match undo::undo(host, ledger, change, &lock) {
            Ok(Undone::Already) => {}
            Ok(_) => {
                log(host, &format!("taken back, because nobody confirmed it: {}", change.name()));
                tell(&format!("Nobody confirmed in time that {} works: it was taken back.", change.name()))?;
            }
            Err(left) => {
                log(host, &format!("not taken back: {}: {}", change.name(), left.what()));
                failure = Some(left);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}
