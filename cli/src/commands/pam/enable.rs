//! `countersign pam enable`: shows, judges, tries, asks, writes down the way back, sees to the end of a trial, and only
//! then changes the files.

use super::{log, plan::Plan, risk::Risks, show};
use crate::{
    cli::PamEnable,
    client::{self, Client},
    commands::doctor::show::show as show_finding,
    failure::Failure,
    host::Host,
    output::Output,
    prompt,
    switch::{
        boot::Moment,
        common, file,
        ledger::{By, Change, Ledger, Lock, OnTrial},
        login::{self, Login},
        timer,
        trial::Stage,
        undo,
    },
    wording::{self, printable},
};

/// How long a trial may be, in seconds: time to log in, and no state that somebody forgets.
const TRIAL: std::ops::RangeInclusive<u64> = 10..=86_400;

/// Runs the command.
///
/// # Errors
/// Where root or the caller would be locked out, the login fails, somebody says no, or a file cannot be changed. Then
/// nothing was changed.
pub(super) async fn run(arguments: &PamEnable, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let seconds = arguments.trial.as_deref().map(seconds).transpose()?;
    if !arguments.yes && !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at").with_help(
            "Without questions, for programs that set up hosts: countersign pam enable sshd --yes --no-try",
        ));
    }
    let host = Host::here();
    let ledger = Ledger::of(&host);
    let plan = Plan::of(&host, arguments)?;
    for service in &plan.already {
        output.say(&format!("{service} asks for a code already: nothing to change there."))?;
    }
    if plan.changes.is_empty() {
        return Ok(());
    }
    for change in &plan.changes {
        show(&change.files, output)?;
    }
    judge(&host, &plan, arguments, bus, output).await?;
    if !arguments.no_try && !arguments.force {
        try_it(&host, &plan, output)?;
    }
    if !arguments.yes && !prompt::confirm(output, &question(&plan, seconds)).await? {
        return Err(Failure::refused("nothing was changed"));
    }
    let on_trial = match seconds {
        Some(seconds) => Some(OnTrial {
            until: Moment::now().after(seconds),
            after_record: last_record(bus).await?,
            from: Login::here(),
        }),
        None => None,
    };
    let names = switch_on(&host, &ledger, plan, on_trial, seconds)?;
    tell(&host, &names, seconds, output)
}

/// Reads the time of `--for`.
fn seconds(text: &str) -> Result<u64, Failure> {
    wording::parse_duration(text).filter(|seconds| TRIAL.contains(seconds)).ok_or_else(|| {
        Failure::usage(format!("--for: {} is no time from 10s to 1d", printable(text)))
            .with_help("Ten minutes are enough to log in a second time: --for 10m")
    })
}

/// Says what would be wrong, and refuses where root or the caller would be locked out.
async fn judge(
    host: &Host,
    plan: &Plan,
    arguments: &PamEnable,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let risks = Risks::of(host, plan, bus).await?;
    for finding in risks.locking.iter().chain(&risks.others) {
        show_finding(finding, output)?;
    }
    if risks.locking.is_empty() || arguments.force {
        return Ok(());
    }
    Err(Failure::refused("root or you could be locked out: nothing was changed")
        .with_help("Put right what stands above, and run the command again.")
        .with_help(
            "--force goes on all the same: whoever is meant above then gets in no more until you undo it, which takes a root \
             shell that is open already.",
        ))
}

/// One login of the caller through libpam, with the files as they would be.
fn try_it(host: &Host, plan: &Plan, output: &Output) -> Result<(), Failure> {
    let services = plan.services();
    let usual = ["sshd", "sudo", "su", "login"];
    let service = usual.iter().find(|usual| services.iter().any(|service| service == *usual)).copied();
    let Some(service) = service.or_else(|| services.first().map(String::as_str)) else { return Ok(()) };
    let user = login::caller();
    let files: Vec<_> = plan.files().cloned().collect();
    let stage = Stage::make(host, service, &files)?;
    output.say(&format!("A login of {} at {service}, as it will be, before anything is changed:", printable(&user)))?;
    let status = stage.play(service, &user)?;
    if status.success() {
        return output.say("That worked. A code that was asked for is used up: the next login wants the next one.");
    }
    Err(Failure::refused("that login was refused: nothing was changed")
        .with_help("Try the code alone: countersign verify")
        .with_help("Where nobody is there to give a code, --no-try leaves this out."))
}

fn question(plan: &Plan, seconds: Option<u64>) -> String {
    let names: Vec<_> = plan.changes.iter().map(Change::name).collect();
    let time = seconds.map_or_else(String::new, |seconds| format!(" for {}", wording::duration(seconds)));
    format!("Ask for a code in {}{time}?", names.join(", "))
}

async fn last_record(bus: Option<&str>) -> Result<u64, Failure> {
    let admin = Client::connect(bus).await?.admin().await?;
    let end = admin.compare_audit(&[]).await.map_err(|error| client::explain(&error, "", "pam enable"))?;
    Ok(end.last.unwrap_or(0))
}

/// Changes the files, all or none.
fn switch_on(
    host: &Host,
    ledger: &Ledger,
    plan: Plan,
    on_trial: Option<OnTrial>,
    seconds: Option<u64>,
) -> Result<Vec<String>, Failure> {
    let lock = ledger.lock()?;
    let mut changes = plan.changes;
    for change in &mut changes {
        change.trial.clone_from(&on_trial);
        unchanged(host, change)?;
    }
    for change in &changes {
        ledger.put(change, &lock)?;
    }
    let done = seconds.map_or(Ok(()), |seconds| timer::start(host, seconds));
    let done = done.and_then(|()| changes.iter().try_for_each(|change| write(host, change)));
    if let Err(failure) = done {
        return Err(take_back(host, ledger, &changes, &lock, failure));
    }
    let names: Vec<String> = changes.iter().map(|change| change.name().to_owned()).collect();
    log(host, &format!("switched on: {}{}", names.join(", "), on_trial.map_or("", |_| ", on trial")));
    Ok(names)
}

/// Somebody else may have been faster while questions were asked.
fn unchanged(host: &Host, change: &Change) -> Result<(), Failure> {
    for changed in &change.files {
        if file::bytes(&host.at(&changed.path))? != changed.before {
            let failure = Failure::refused(format!("{} was changed meanwhile", changed.path.display()));
            return Err(failure.with_help("Nothing was changed by this command. See who did: countersign pam status"));
        }
    }
    Ok(())
}

fn write(host: &Host, change: &Change) -> Result<(), Failure> {
    if change.by == By::PamAuthUpdate {
        common::enable(host)?;
        return change.files.iter().try_for_each(|changed| {
            let found = file::bytes(&host.at(&changed.path))?;
            let what =
                || Failure::refused(format!("pam-auth-update wrote something else into {}", changed.path.display()));
            if found == changed.after { Ok(()) } else { Err(what()) }
        });
    }
    change.files.iter().try_for_each(|changed| {
        file::replace(&host.at(&changed.path), changed.before.as_deref(), changed.after.as_deref())
    })
}

fn take_back(host: &Host, ledger: &Ledger, changes: &[Change], lock: &Lock, failure: Failure) -> Failure {
    let mut failure = failure;
    for change in changes {
        if let Err(left) = undo::undo(host, ledger, change, lock) {
            failure = failure.with_help(format!("{} is half changed: {}", change.name(), left.what()));
        }
    }
    failure
}

fn tell(host: &Host, names: &[String], seconds: Option<u64>, output: &Output) -> Result<(), Failure> {
    let names = names.join(", ");
    let Some(seconds) = seconds else {
        output.say(&format!("From now on a code is asked for in {names}."))?;
        return output.say("Keep this shell open, and log in in a second window before you close it.");
    };
    let time = wording::duration(seconds);
    output.say(&format!("A code is asked for in {names}, for {time}."))?;
    output.say("Log in a second time now, with a code, and keep it with: sudo countersign pam confirm")?;
    if timer::survives_a_reboot(host) {
        return output.say("Otherwise it is taken back by itself then, and at a reboot before anybody can log in.");
    }
    output.say(&format!(
        "Otherwise it is taken back by itself then. After a reboot that waits for the next run of this tool by root: the unit \
         {} is not enabled here.",
        timer::AT_BOOT
    ))
}
