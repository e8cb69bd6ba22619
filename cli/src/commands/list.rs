//! `countersign list`: the accounts that the daemon knows, page by page. The daemon decides whether the caller may know.

use dbus_api::{Account, AccountFilter, AccountState, MAX_RECORDS};
use serde::Serialize;

use crate::{
    cli::{ColorChoice, List, Order, State},
    client,
    commands::{accounts::Pages, observing, state_name, state_words},
    failure::Failure,
    output::{self, Output},
    table::{Cell, Column, Table},
    wording::{self, printable},
};

/// One account as `--json` prints it.
#[derive(Serialize)]
struct ReportedAccount<'a> {
    account: &'a str,
    uid: Option<u32>,
    state: &'static str,
    active_authenticators: u32,
    inactive_authenticators: u32,
    recovery_codes_left: u32,
    failures: u32,
    locked_for: Option<u64>,
    last_used: Option<String>,
    remembered: u32,
    enroll_by: Option<&'a str>,
}

/// Runs the command. In the order of names a page is printed before the next one is fetched: the list may be of any
/// length. Another order needs all of it first.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(
    arguments: &List,
    bus: Option<&str>,
    output: &Output,
    color: ColorChoice,
) -> Result<(), Failure> {
    let unused_for = arguments.unused_for.as_deref().map(read_duration).transpose()?;
    let (admin, _agent) = client::administer(bus).await?;
    let filter = AccountFilter { state: arguments.state.map(|state| number(state) as u32), ..AccountFilter::default() };
    let now = output::now();
    let mut printer = if arguments.json { Printer::Json { first: true } } else { Printer::Table(table(output)) };
    let mut pages = Pages::new(&admin, &filter, "list");
    let (mut sorted, mut printed) = (Vec::new(), false);
    let mut told = arguments.json;
    while let Some(mut page) = pages.next().await? {
        if let Some(remark) = observing(&pages.observe).filter(|_| !std::mem::replace(&mut told, true)) {
            super::remark(remark, color);
        }
        page.retain(|account| unused_for.is_none_or(|length| is_unused(account, now, length)));
        if arguments.sort == Order::Name {
            printed |= !page.is_empty();
            output.print(&printer.page(&page)?)?;
        } else {
            sorted.append(&mut page);
        }
    }
    sort(&mut sorted, arguments.sort);
    printed |= !sorted.is_empty();
    for page in sorted.chunks(MAX_RECORDS) {
        output.print(&printer.page(page)?)?;
    }
    match printer {
        Printer::Json { first: true } => output.print("[]\n"),
        Printer::Json { first: false } => output.print("\n]\n"),
        Printer::Table(_) if printed => Ok(()),
        Printer::Table(_) if arguments.state.is_some() || unused_for.is_some() => output.say("No account matches."),
        Printer::Table(_) => output.say("No account is enrolled. The first: sudo countersign enroll USER"),
    }
}

fn read_duration(text: &str) -> Result<u64, Failure> {
    wording::parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("--unused-for: {} is no length of time", printable(text)))
            .with_help("Write it like 12h, 30d or 90d.")
    })
}

const fn number(state: State) -> AccountState {
    match state {
        State::Active => AccountState::Active,
        State::Locked => AccountState::Locked,
        State::Disabled => AccountState::Disabled,
        State::NotEnrolled => AccountState::NotEnrolled,
        State::Altered => AccountState::Corrupt,
    }
}

/// Whether nobody has used it for `length` seconds; what was never used is unused.
fn is_unused(account: &Account, now: u64, length: u64) -> bool {
    account.last_used.is_none_or(|then| then.saturating_add(length) <= now)
}

/// Sorts; equal ones stay in the order of their names, in which they came.
fn sort(accounts: &mut [Account], order: Order) {
    match order {
        Order::Name => {}
        Order::LastUsed => accounts.sort_by_key(|account| account.last_used),
        Order::Failures => accounts.sort_by_key(|account| std::cmp::Reverse(account.failures)),
    }
}

/// How pages become text.
enum Printer {
    Json { first: bool },
    Table(Table),
}

impl Printer {
    fn page(&mut self, accounts: &[Account]) -> Result<String, Failure> {
        match self {
            Self::Table(_) if accounts.is_empty() => Ok(String::new()),
            Self::Table(table) => {
                let now = output::now();
                Ok(table.page(&accounts.iter().map(|account| row(account, now)).collect::<Vec<_>>()))
            }
            Self::Json { first } => {
                let mut text = String::new();
                for account in accounts {
                    text.push_str(if *first { "[\n  " } else { ",\n  " });
                    text.push_str(&serde_json::to_string(&report(account)).map_err(std::io::Error::from)?);
                    *first = false;
                }
                Ok(text)
            }
        }
    }
}

fn report(account: &Account) -> ReportedAccount<'_> {
    ReportedAccount {
        account: &account.name,
        uid: account.uid,
        state: state_name(AccountState::from_number(account.state)),
        active_authenticators: account.authenticators,
        inactive_authenticators: account.authenticators_off,
        recovery_codes_left: account.recovery_codes_left,
        failures: account.failures,
        locked_for: account.locked_for,
        last_used: account.last_used.map(wording::iso8601),
        remembered: account.remembered,
        enroll_by: account.enroll_by.as_deref(),
    }
}

fn table(output: &Output) -> Table {
    let column = |heading, rank, right| Column { heading, rank, right };
    let columns = vec![
        column("ACCOUNT", 0, false),
        column("UID", 5, true),
        column("STATE", 0, false),
        column("AUTHENTICATORS", 3, true),
        column("RECOVERY", 4, true),
        column("FAILURES", 2, true),
        column("LAST LOGIN", 1, false),
        column("REMEMBERED", 6, true),
    ];
    Table::new(columns, output.columns(), output.color())
}

fn row(account: &Account, now: u64) -> Vec<Cell> {
    let (mut state, tone) = state_words(AccountState::from_number(account.state), account.locked_for);
    if let Some(day) = &account.enroll_by {
        state.push_str(&format!(", due {}", printable(day)));
    }
    vec![
        printable(&account.name).into(),
        account.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()).into(),
        Cell::toned(state, tone),
        match account.authenticators_off {
            0 => account.authenticators.to_string().into(),
            off => format!("{} of {}", account.authenticators, account.authenticators.saturating_add(off)).into(),
        },
        account.recovery_codes_left.to_string().into(),
        account.failures.to_string().into(),
        account.last_used.map_or_else(|| "never".to_owned(), |then| wording::ago(then, now)).into(),
        account.remembered.to_string().into(),
    ]
}
