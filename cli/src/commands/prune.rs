//! `countersign prune`: forgets accounts that the name service does not know any more, after showing and asking. The
//! daemon asks the name service, and asks it again before each removal; where it does not answer nothing is removed.

use dbus_api::{Account, AccountFilter, AdminProxy, Error};
use serde::Serialize;

use crate::{
    cli::Prune,
    client::{self, Client, LONG_PATIENCE},
    commands::accounts,
    failure::Failure,
    output::{self, Output},
    prompt,
    table::{Column, Table},
    wording::{self, many, printable},
};

/// From so many accounts on, most of all are suspiciously many.
const FEW: usize = 10;

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Report {
    pruned: Vec<String>,
    kept: Vec<String>,
    awaited: usize,
}

/// Runs the command.
///
/// # Errors
/// Where the question is answered with no or cannot be asked, and what the daemon refuses.
pub(super) async fn run(arguments: &Prune, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let admin = Client::connect_patiently(bus, LONG_PATIENCE).await?.admin().await?;
    let filter = AccountFilter { gone: Some(true), ..AccountFilter::default() };
    let gone = accounts::all(&admin, &filter, "prune").await?;
    let (gone, waiting): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|account| arguments.imported || !is_awaited(account));
    let mut report = Report { awaited: waiting.len(), ..Report::default() };
    if !gone.is_empty() {
        confirm(arguments, &gone, &admin, output).await?;
        remove(&gone, &admin, &mut report).await?;
    }
    if arguments.json { output.json(&report) } else { describe(&report, output) }
}

fn describe(report: &Report, output: &Output) -> Result<(), Failure> {
    for account in &report.kept {
        output.say(&format!("{} is known again: kept.", printable(account)))?;
    }
    if report.pruned.is_empty() && report.kept.is_empty() {
        output.say("There is nothing to prune: the name service knows every account that has been in use.")?;
    } else {
        output.say(&format!("{} forgotten.", many(report.pruned.len() as u64, "account")))?;
    }
    if report.awaited > 0 {
        output.say(&format!(
            "{} left alone: imported, and unknown to the name service so far. With --imported they are pruned too.",
            many(report.awaited as u64, "account")
        ))?;
    }
    Ok(())
}

/// Whether it was imported for somebody who may still come.
fn is_awaited(account: &Account) -> bool {
    account.uid.is_none() && account.authenticators > 0
}

/// Shows what would go, and asks. Nobody is asked with `--yes`, but then most of all accounts do not go: a directory that
/// is half configured looks just like that.
async fn confirm(arguments: &Prune, gone: &[Account], admin: &AdminProxy<'_>, output: &Output) -> Result<(), Failure> {
    let known = accounts::all(admin, &AccountFilter::default(), "prune").await?.len();
    let most = gone.len() >= FEW && gone.len() * 2 > known;
    let of = format!("{} of {}", wording::count(gone.len() as u64), many(known as u64, "account"));
    if arguments.yes {
        let refusal = || {
            Failure::refused(format!("{of} would go: the name service is hardly complete"))
                .with_help("Look whether it knows them: getent passwd USER")
                .with_help("If they are gone indeed, run it at a terminal without --yes.")
        };
        return if most { Err(refusal()) } else { Ok(()) };
    }
    if !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help("To prune without a question: sudo countersign prune --yes"));
    }
    output.print(&table(gone, output))?;
    output.print("\n")?;
    if most {
        output.say("These are most of all accounts. Is the directory (LDAP, AD) configured and reachable?")?;
    }
    let question = format!("The name service does not know {of}. Forget all that is stored for them?");
    if prompt::confirm(output, &question).await? { Ok(()) } else { Err(Failure::refused("nothing was changed")) }
}

async fn remove(gone: &[Account], admin: &AdminProxy<'_>, report: &mut Report) -> Result<(), Failure> {
    for account in gone {
        match admin.prune(&account.name).await {
            Ok(()) => report.pruned.push(account.name.clone()),
            // It came back, or somebody else was faster.
            Err(Error::InvalidArgument(_)) => report.kept.push(account.name.clone()),
            Err(Error::NotEnrolled(_)) => {}
            Err(error) => {
                let so_far = format!("{} forgotten before that.", many(report.pruned.len() as u64, "account"));
                return Err(client::explain(&error, &account.name, "prune").with_help(so_far));
            }
        }
    }
    Ok(())
}

fn table(gone: &[Account], output: &Output) -> String {
    let column = |heading, rank, right| Column { heading, rank, right };
    let columns = vec![
        column("ACCOUNT", 0, false),
        column("UID", 1, true),
        column("AUTHENTICATORS", 2, true),
        column("LAST LOGIN", 0, false),
    ];
    let now = output::now();
    let row = |account: &Account| {
        vec![
            printable(&account.name).into(),
            account.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()).into(),
            account.authenticators.to_string().into(),
            account.last_used.map_or_else(|| "never".to_owned(), |then| wording::ago(then, now)).into(),
        ]
    };
    Table::new(columns, output.columns(), output.color()).page(&gone.iter().map(row).collect::<Vec<_>>())
}
