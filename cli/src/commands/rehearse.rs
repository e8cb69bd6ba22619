//! `countersign rehearse`: what would become of a login of everybody. This program says who there is, because it may read
//! more than the daemon; the daemon says what would become of each.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::Path,
};

use dbus_api::{LoginOutcome, MAX_RECORDS, Origin, Rehearsed, Supposition};
use serde::Serialize;

use super::{
    explain::explain_error,
    outcome::{self, Refusal},
    remark,
};
use crate::{
    cli::{ColorChoice, Rehearse},
    client::{self, LONG_PATIENCE},
    failure::Failure,
    host::{
        Host,
        accounts::{Password, People, unlisted},
        sudoers::Sudoers,
    },
    output::Output,
    table::{Cell, Column, Table, Tone, paint},
    wording::{count, many, printable, wrap},
};

/// The longest list of accounts, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;
/// The longest name of an account, in bytes.
const LONGEST_NAME: usize = 256;
/// Names that a sentence holds; of more, how many.
const NAMED: usize = 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    service: &'a str,
    rhost: Option<&'a str>,
    at: Option<&'a str>,
    accounts: Vec<ReportedAccount<'a>>,
    summary: Vec<ReportedSum>,
    administrators_refused: Vec<&'a str>,
    unlisted: &'a [String],
}

/// One account in [`Report`].
#[derive(Serialize)]
struct ReportedAccount<'a> {
    account: &'a str,
    outcome: &'static str,
    let_in: bool,
    observe: bool,
    reason: Option<&'a str>,
    rule: Option<&'a str>,
    administrator: bool,
    password: Option<&'static str>,
}

/// How many accounts come to one outcome, in [`Report`].
#[derive(Serialize)]
struct ReportedSum {
    outcome: &'static str,
    accounts: usize,
}

/// Who is looked at.
struct Cast {
    names: Vec<String>,
    administrators: BTreeSet<String>,
    people: People,
    /// Sources of accounts that list none.
    unlisted: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What the daemon refuses, or a list that cannot be read; silently where an administrator would be refused.
pub(super) async fn run(
    arguments: &Rehearse,
    bus: Option<&str>,
    output: &Output,
    color: ColorChoice,
) -> Result<(), Failure> {
    let cast = Cast::gather(&Host::here(), arguments)?;
    if !cast.unlisted.is_empty() {
        warn(&cast.unlisted, color);
    }
    let (admin, _agent) = client::administer_patiently(bus, LONG_PATIENCE).await?;
    let Rehearse { service, rhost, at, .. } = arguments;
    let origin = Origin { service: Some(service.clone()), rhost: rhost.clone(), ..Origin::default() };
    // Whoever gives a list does so because the name service lists nobody.
    let each = arguments.accounts.is_some().then_some(true);
    let supposition = Supposition { at: at.clone(), claimed: None, each };
    let command = format!("rehearse --service {service}");
    let mut rehearsed = Vec::with_capacity(cast.names.len());
    for some in cast.names.chunks(MAX_RECORDS) {
        let users: Vec<&str> = some.iter().map(String::as_str).collect();
        let told = admin.rehearse(&users, &origin, &supposition).await;
        rehearsed.extend(told.map_err(|error| explain_error(&error, "", &command))?);
    }
    // Whoever is refused stands last, right above the summary.
    rehearsed.sort_by(|one, other| (one.outcome, &one.account).cmp(&(other.outcome, &other.account)));
    let refused: Vec<&str> = rehearsed.iter().filter(|one| !one.let_in).map(|one| one.account.as_str()).collect();
    let refused: Vec<&str> = refused.into_iter().filter(|name| cast.administrators.contains(*name)).collect();
    if arguments.json {
        output.json(&report(arguments, &cast, &rehearsed, &refused))?;
    } else {
        show(arguments, &cast, &rehearsed, &refused, output)?;
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::silent()) }
}

impl Cast {
    fn gather(host: &Host, arguments: &Rehearse) -> Result<Self, Failure> {
        let mut people = People::read(host);
        let names: Vec<String> = match (&arguments.accounts, &arguments.group) {
            (Some(file), _) => {
                let listed = read(file)?;
                people.add_unlisted(host, listed.iter().map(String::as_str));
                listed
            }
            (None, Some(group)) => {
                if !people.add_group(host, group) {
                    let group = printable(group);
                    return Err(Failure::usage(format!("--group: this host knows no group {group}"))
                        .with_help(format!("Check the spelling: getent group {group}")));
                }
                let members: BTreeSet<&str> = people.members(group).into_iter().collect();
                members.into_iter().filter(|name| people.can_log_in(host, name)).map(str::to_owned).collect()
            }
            (None, None) => people.names().filter(|name| people.can_log_in(host, name)).map(str::to_owned).collect(),
        };
        let administrators = people.administrators(&Sudoers::read(host, &people));
        let unlisted = if arguments.accounts.is_none() { unlisted(host) } else { Vec::new() };
        Ok(Self { names, administrators, people, unlisted })
    }

    /// Accounts that a key alone can be the first factor of.
    fn without_password(&self) -> usize {
        self.names.iter().filter(|name| self.people.password(name) == Some(Password::Locked)).count()
    }
}

/// The names in a file: one a line; blank lines and comments are passed over.
fn read(file: &Path) -> Result<Vec<String>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::refused(format!("{} cannot be read: {error}", printable(&file.display().to_string())))
    };
    let source: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file).map_err(unreadable)?) };
    let mut text = String::new();
    source.take(LARGEST).read_to_string(&mut text).map_err(unreadable)?;
    let mut names = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(Failure::usage(format!("--accounts: line {} is no name of an account", number + 1))
                .with_help("Write one name a line."));
        }
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
}

/// Accounts that nobody listed are not looked at: that must not be overlooked.
fn warn(unlisted: &[String], color: ColorChoice) {
    let sources: Vec<_> = unlisted.iter().map(|source| printable(source)).collect();
    let sources = sources.join(", ");
    remark(
        &format!("the name service lists no accounts of {sources}: they are left out. Name them: --accounts FILE"),
        color,
    );
}

fn report<'a>(arguments: &'a Rehearse, cast: &'a Cast, rehearsed: &'a [Rehearsed], refused: &[&'a str]) -> Report<'a> {
    let account = |one: &'a Rehearsed| ReportedAccount {
        account: &one.account,
        outcome: outcome::name(LoginOutcome::from_number(one.outcome)),
        let_in: one.let_in,
        observe: one.observe,
        reason: one.reason.as_deref(),
        rule: one.rule.as_deref(),
        administrator: cast.administrators.contains(&one.account),
        password: cast.people.password(&one.account).map(|password| match password {
            Password::Set => "set",
            Password::Locked => "locked",
            Password::Empty => "empty",
        }),
    };
    Report {
        service: &arguments.service,
        rhost: arguments.rhost.as_deref(),
        at: arguments.at.as_deref(),
        accounts: rehearsed.iter().map(account).collect(),
        summary: summary(rehearsed).map(|(outcome, accounts)| ReportedSum { outcome, accounts }).collect(),
        administrators_refused: refused.to_vec(),
        unlisted: &cast.unlisted,
    }
}

/// How many come to what, in the order of the outcomes.
fn summary(rehearsed: &[Rehearsed]) -> impl Iterator<Item = (&'static str, usize)> {
    let come_to = |outcome| rehearsed.iter().filter(|one| one.outcome == outcome as u32).count();
    LoginOutcome::ALL.into_iter().map(move |outcome| (outcome.name(), come_to(outcome)))
}

fn show(
    arguments: &Rehearse,
    cast: &Cast,
    rehearsed: &[Rehearsed],
    refused: &[&str],
    output: &Output,
) -> Result<(), Failure> {
    if rehearsed.is_empty() {
        return output.say("No account can log in.");
    }
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![column("ACCOUNT", 0), column("OUTCOME", 0), column("WHY", 1), column("RULE", 2)];
    let mut table = Table::new(columns, output.columns(), output.color());
    // Widths follow all rows, so that columns stand in line from the first page to the last.
    output.print(&table.page(&rehearsed.iter().map(row).collect::<Vec<_>>()))?;
    output.print("\n")?;
    let came_to = summary(rehearsed).filter(|(_, number)| *number > 0);
    let came_to: Vec<_> = came_to.map(|(name, number)| format!("{} {name}", count(number_of(number)))).collect();
    let at = arguments.at.as_ref().map(|at| format!(" at {}", printable(at))).unwrap_or_default();
    output.say(&format!(
        "{} at {}{at}: {}",
        many(number_of(rehearsed.len()), "account"),
        printable(&arguments.service),
        came_to.join(", ")
    ))?;
    if rehearsed.iter().any(|one| one.observe) {
        output.say("The policy observes: whoever would be refused is let through as yet.")?;
    }
    match cast.without_password() {
        0 => {}
        some => {
            output.say(&format!("Without a password, so that a key must come first: {}", count(number_of(some))))?
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let text = format!("Root or who may use sudo would be refused: {}", some(refused));
    let wrapped = wrap(&text, output.width(), "  ");
    output.print(&format!("{}\n", paint(&wrapped, Tone::Bad, output.color())))?;
    output.say("See why: sudo countersign explain USER --service SERVICE")
}

fn row(one: &Rehearsed) -> Vec<Cell> {
    let outcome = LoginOutcome::from_number(one.outcome);
    let why = one.reason.as_deref().map(|reason| Refusal { reason, account: &one.account }.brief());
    let tone = if one.observe { Tone::Warning } else { outcome::tone(outcome) };
    let name = outcome::name(outcome);
    vec![
        printable(&one.account).into(),
        Cell::toned(if one.observe { format!("({name})") } else { name.to_owned() }, tone),
        why.unwrap_or_default().into(),
        one.rule.as_deref().map_or_else(|| "-".to_owned(), printable).into(),
    ]
}

fn some(names: &[&str]) -> String {
    let (first, others) = names.split_at(names.len().min(NAMED));
    let first: Vec<_> = first.iter().map(|name| printable(name)).collect();
    match others.len() {
        0 => first.join(", "),
        others => format!("{} and {} more", first.join(", "), count(number_of(others))),
    }
}

fn number_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
