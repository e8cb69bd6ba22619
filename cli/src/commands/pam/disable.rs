//! `countersign pam disable`: puts the files back as they were. What this tool did not write, it does not take out.

use super::{log, plan, show};
use crate::{
    cli::PamDisable,
    failure::Failure,
    host::{
        Host,
        pam::{
            module::{self, Role},
            stack::{Kind, Stack},
        },
    },
    output::Output,
    prompt,
    switch::{
        common::{self, Switch},
        ledger::{COMMON, Change, Changed, Ledger},
        undo::{self, Undone},
    },
};

/// Runs the command.
///
/// # Errors
/// Where the lines were written by hand or changed since, somebody says no, or a file cannot be changed.
pub(super) async fn run(arguments: &PamDisable, output: &Output) -> Result<(), Failure> {
    if !arguments.yes && !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help("To go on without a question: sudo countersign pam disable sshd --yes"));
    }
    let host = Host::here();
    let ledger = Ledger::of(&host);
    let mut names = Vec::new();
    if arguments.common {
        names.push(COMMON.to_owned());
    }
    for service in &arguments.service {
        names.push(plan::name(service)?);
    }
    for name in names {
        match ledger.change(&name)? {
            Some(change) => known(&host, &ledger, &change, arguments.yes, output).await?,
            None if name == COMMON => unknown_common(&host, arguments.yes, output).await?,
            None => unknown(&host, &name, output)?,
        }
    }
    Ok(())
}

async fn known(host: &Host, ledger: &Ledger, change: &Change, yes: bool, output: &Output) -> Result<(), Failure> {
    if undo::standing(host, change)? == undo::Standing::InForce {
        let back = |changed: &Changed| Changed {
            path: changed.path.clone(),
            before: changed.after.clone(),
            after: changed.before.clone(),
        };
        show(&change.files.iter().map(back).collect::<Vec<_>>(), output)?;
        agree(change.name(), yes, output).await?;
    }
    let lock = ledger.lock()?;
    let undone = undo::undo(host, ledger, change, &lock)?;
    let name = change.name();
    if undone != Undone::Already {
        log(host, &format!("switched off: {name}"));
    }
    output.say(&match undone {
        Undone::Restored => format!("No code is asked for in {name} any more; the files are as they were."),
        Undone::TakenOut => {
            format!("No code is asked for in {name} any more. Other profiles were changed since it was switched on.")
        }
        Undone::Already => format!("{name} was switched off by hand already; that is noted now."),
    })
}

/// Somebody ran pam-auth-update.
async fn unknown_common(host: &Host, yes: bool, output: &Output) -> Result<(), Failure> {
    if !common::names_ours(host) {
        return output.say("common-auth asks for no code: nothing to change.");
    }
    common::ruler(host)?;
    let files = common::preview(host, Switch::Off)?;
    if files.is_empty() {
        let failure =
            Failure::refused("pam-auth-update would change nothing: /etc/pam.d/common-auth was changed by hand");
        return Err(
            failure.with_help("Take the line with pam_countersign.so out by hand, with a root shell kept open.")
        );
    }
    show(&files, output)?;
    agree("everything that includes common-auth", yes, output).await?;
    common::disable(host)?;
    log(host, "switched off: everything that includes common-auth");
    output.say("No code is asked for in what includes common-auth any more.")
}

async fn agree(name: &str, yes: bool, output: &Output) -> Result<(), Failure> {
    if yes || prompt::confirm(output, &format!("Ask for no code in {name} any more?")).await? {
        return Ok(());
    }
    Err(Failure::refused("nothing was changed"))
}

fn unknown(host: &Host, service: &str, output: &Output) -> Result<(), Failure> {
    let stack = Stack::read(host, service, Kind::Auth).ok();
    let ours = stack
        .iter()
        .flat_map(|stack| &stack.entries)
        .find(|entry| entry.module().is_some() && module::role(entry) == Role::Countersign);
    let Some(line) = ours else {
        return output.say(&format!("{service} asks for no code: nothing to change."));
    };
    let failure = Failure::refused(format!(
        "{service} was not switched on by this tool, which does not know what stood there before"
    ));
    if line.place.file == std::path::Path::new(common::FILE) {
        return Err(failure.with_help("It asks because of common-auth: sudo countersign pam disable --common"));
    }
    Err(failure.with_help(format!("Take the line out by hand, with a root shell kept open: {}", line.place)).with_help(
        "Put back a first factor that it replaced, such as @include common-auth: without one anybody gets in.",
    ))
}
