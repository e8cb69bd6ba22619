//! The way back: the bytes as they were, where the files still are what was written. What somebody has changed by hand
//! since then is left alone and explained.

use std::path::Path;

use super::{
    common, file,
    ledger::{By, Change, Changed, Ledger, Lock},
};
use crate::{
    failure::Failure,
    host::{
        Host,
        pam::{
            module::{self, Role},
            stack::{Kind, Stack},
        },
    },
};

/// How the files of a change stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As they were written.
    InForce,
    /// As they were before.
    Undone,
    /// This one is neither.
    Edited(std::path::PathBuf),
}

/// What taking back came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The files are as they were before the change, byte by byte.
    Restored,
    /// pam-auth-update took its lines out; other profiles were changed since, so that the file is not quite as it was.
    TakenOut,
    /// There was nothing to take back any more.
    Already,
}

/// Looks at the files of a change.
///
/// # Errors
/// One of them cannot be read.
pub(crate) fn standing(host: &Host, change: &Change) -> Result<Standing, Failure> {
    let mut in_force = 0;
    for changed in &change.files {
        let bytes = file::bytes(&host.at(&changed.path))?;
        if bytes == changed.after {
            in_force += 1;
        } else if bytes != changed.before {
            return Ok(Standing::Edited(changed.path.clone()));
        }
    }
    // Where a run was killed between two files, what it wrote is taken back.
    Ok(if in_force > 0 { Standing::InForce } else { Standing::Undone })
}

/// Takes a change back and forgets it.
///
/// # Errors
/// Somebody has changed a file since, or it cannot be written. The change is then still known.
pub(crate) fn undo(host: &Host, ledger: &Ledger, change: &Change, lock: &Lock) -> Result<Undone, Failure> {
    let standing = standing(host, change)?;
    let out = change.services.iter().all(|service| is_out(host, service));
    let undone = match (&standing, change.by) {
        (Standing::Undone, _) => Undone::Already,
        (Standing::Edited(_), _) if out => Undone::Already,
        (Standing::Edited(path), By::File) => return Err(edited(change, path)),
        (Standing::InForce, By::File) => {
            change.files.iter().try_for_each(|changed| restore(host, changed))?;
            Undone::Restored
        }
        (Standing::InForce, By::PamAuthUpdate) => {
            // Where it cannot, such as while apt holds debconf's lock, the bytes are put back all the same.
            let _ = common::disable(host);
            change.files.iter().try_for_each(|changed| settle(host, changed))?;
            Undone::Restored
        }
        (Standing::Edited(path), By::PamAuthUpdate) => {
            common::disable(host)?;
            if common::names_ours(host) {
                return Err(edited(change, path));
            }
            Undone::TakenOut
        }
    };
    ledger.forget(&change.what, lock)?;
    Ok(undone)
}

/// Puts a file back, unless it is back already.
fn restore(host: &Host, changed: &Changed) -> Result<(), Failure> {
    let path = host.at(&changed.path);
    if file::bytes(&path)? == changed.before {
        return Ok(());
    }
    file::replace(&path, changed.after.as_deref(), changed.before.as_deref())
}

/// The same after pam-auth-update has written what it thinks right.
fn settle(host: &Host, changed: &Changed) -> Result<(), Failure> {
    let path = host.at(&changed.path);
    let now = file::bytes(&path)?;
    if now == changed.before { Ok(()) } else { file::replace(&path, now.as_deref(), changed.before.as_deref()) }
}

/// Whether a service certainly asks for no code any more. A file that libpam cannot take is no proof.
fn is_out(host: &Host, service: &str) -> bool {
    Stack::read(host, service, Kind::Auth).is_ok() && !asks(host, service)
}

/// Whether a service asks for a code now.
pub(crate) fn asks(host: &Host, service: &str) -> bool {
    let stack = Stack::read(host, service, Kind::Auth);
    stack.is_ok_and(|stack| {
        stack.entries.iter().any(|entry| entry.module().is_some() && module::role(entry) == Role::Countersign)
    })
}

fn edited(change: &Change, path: &Path) -> Failure {
    let shown = path.display();
    let what = format!("{shown} was changed by hand since it was switched on, and is left as it is");
    Failure::refused(what)
        .with_help(format!("As it was before, it lies in {}.", Ledger::kept(change, path).display()))
        .with_help(format!(
            "Take the lines with pam_countersign.so out of {shown} by hand, and put back what they replaced."
        ))
        .with_help(format!("Then let the tool forget it: countersign pam disable {}", change.argument()))
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
