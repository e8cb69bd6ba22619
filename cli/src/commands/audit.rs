//! `countersign audit`: reads the audit, record by record, checks its chain, and compares it with a syslog copy. What
//! the records hold was typed by anybody, and is escaped here.

use std::time::Duration;

use dbus_api::{AdminProxy, AuditEntry, AuditFilter, Error, MAX_RECORDS};
use serde::Serialize;

use crate::{
    cli::Audit,
    client::{self, LONG_PATIENCE},
    failure::{Failure, UNREACHABLE},
    output::{self, Output},
    prompt::Interrupts,
    table::{Cell, Column, Table, Tone},
    wording::{self, printable},
};

mod check;
mod copy;

/// How often `--follow` asks for more.
const POLL: Duration = Duration::from_secs(1);
/// How many times in a row `--follow` asks a daemon that is not there: a restart takes less.
const PATIENCE: u32 = 30;

/// One record as `--json` prints it.
#[derive(Serialize)]
struct ReportedEntry<'a> {
    seq: u64,
    at: String,
    event: &'a str,
    outcome: &'a str,
    account: Option<&'a str>,
    service: Option<&'a str>,
    tty: Option<&'a str>,
    rhost: Option<&'a str>,
    origin: Option<&'a str>,
    rule: Option<&'a str>,
    authenticator: Option<&'a str>,
    reason: Option<&'a str>,
    failures: Option<u32>,
    count: Option<u32>,
    caller_uid: Option<u32>,
    chain: &'a str,
    line: &'a str,
}

/// Runs the command.
///
/// # Errors
/// What the daemon refuses; with `--verify` a broken chain.
pub(super) async fn run(arguments: &Audit, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let since = arguments.since.as_deref().map(|text| read_moment(text, output::now())).transpose()?;
    let (admin, _agent) = client::administer_patiently(bus, LONG_PATIENCE).await?;
    if arguments.verify {
        return check::run(arguments, &admin, output).await;
    }
    let reader = Reader { admin, filter: AuditFilter { user: arguments.user.clone(), since } };
    let mut printer = Printer::new(arguments.json, output);
    if !arguments.follow {
        let printed = reader.read_on(0, &mut printer, output).await.map_err(|stop| stop.failure)?;
        return if printed.any || arguments.json { Ok(()) } else { output.say("No record matches.") };
    }
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        () = interrupts.wait() => Ok(()),
        failure = reader.follow(&mut printer, output) => failure,
    }
}

/// Reads `2h`, `3d`, `2026-11-20` or `2026-11-20T10:00` (UTC) as seconds since the epoch.
fn read_moment(text: &str, now: u64) -> Result<u64, Failure> {
    let ago = || wording::parse_duration(text).map(|length| now.saturating_sub(length));
    wording::parse_moment(text).or_else(ago).ok_or_else(|| {
        Failure::usage(format!("--since: {} is no moment", printable(text)))
            .with_help("Write it like 2h, 3d, 2026-11-20 or 2026-11-20T10:00 (UTC).")
    })
}

/// Whoever reads the audit.
struct Reader {
    admin: AdminProxy<'static>,
    filter: AuditFilter,
}

/// How far reading came.
struct Printed {
    next: u64,
    any: bool,
}

/// Why and where reading stopped early.
struct Stop {
    next: u64,
    failure: Failure,
}

impl Reader {
    /// Prints all that there is after record `after`. A page is printed before the next one is fetched.
    async fn read_on(&self, after: u64, printer: &mut Printer, output: &Output) -> Result<Printed, Stop> {
        let mut printed = Printed { next: after, any: false };
        let most = u32::try_from(MAX_RECORDS).unwrap_or(u32::MAX);
        loop {
            let next = printed.next;
            let stop = |failure| Stop { next, failure };
            let page = self.admin.audit(&self.filter, next, most).await.map_err(|error| stop(explain(&error)))?;
            printed.any |= !page.entries.is_empty();
            printer.page(&page.entries).and_then(|text| output.print(&text)).map_err(stop)?;
            // A number that does not grow is the end, and one that shrinks would make this run for ever.
            if page.next <= next {
                return Ok(printed);
            }
            printed.next = page.next;
        }
    }

    /// Prints what comes, until reading fails. Without `--since` it begins with the next record.
    async fn follow(&self, printer: &mut Printer, output: &Output) -> Result<(), Failure> {
        let mut after = 0;
        if self.filter.since.is_none() {
            let end = self.admin.compare_audit(&[]).await.map_err(|error| explain(&error))?;
            after = end.last.unwrap_or(0);
        }
        let mut absent = 0;
        loop {
            match self.read_on(after, printer, output).await {
                Ok(printed) => (after, absent) = (printed.next, 0),
                Err(stop) if stop.failure.exit() == UNREACHABLE && absent < PATIENCE => {
                    (after, absent) = (stop.next, absent + 1);
                }
                Err(stop) => return Err(stop.failure),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn explain(error: &Error) -> Failure {
    client::explain(error, "", "audit")
}

/// How records become text.
enum Printer {
    Json,
    Table(Table),
}

impl Printer {
    fn new(json: bool, output: &Output) -> Self {
        if json { Self::Json } else { Self::Table(table(output)) }
    }

    fn page(&mut self, entries: &[AuditEntry]) -> Result<String, Failure> {
        match self {
            Self::Table(_) if entries.is_empty() => Ok(String::new()),
            Self::Table(table) => Ok(table.page(&entries.iter().map(row).collect::<Vec<_>>())),
            Self::Json => {
                let mut text = String::new();
                for entry in entries {
                    text.push_str(&serde_json::to_string(&report(entry)).map_err(std::io::Error::from)?);
                    text.push('\n');
                }
                Ok(text)
            }
        }
    }
}

fn report(entry: &AuditEntry) -> ReportedEntry<'_> {
    ReportedEntry {
        seq: entry.seq,
        at: wording::iso8601(entry.at),
        event: &entry.event,
        outcome: &entry.outcome,
        account: entry.account.as_deref(),
        service: entry.service.as_deref(),
        tty: entry.tty.as_deref(),
        rhost: entry.rhost.as_deref(),
        origin: entry.origin.as_deref(),
        rule: entry.rule.as_deref(),
        authenticator: entry.authenticator.as_deref(),
        reason: entry.reason.as_deref(),
        failures: entry.failures,
        count: entry.count,
        caller_uid: entry.caller_uid,
        chain: &entry.chain,
        line: &entry.line,
    }
}

fn table(output: &Output) -> Table {
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![
        column("TIME (UTC)", 0),
        column("OUTCOME", 0),
        column("EVENT", 0),
        column("ACCOUNT", 0),
        column("DETAILS", 0),
    ];
    // No column may go: a record without its details is none. A narrow terminal breaks the lines.
    Table::new(columns, None, output.color())
}

fn row(entry: &AuditEntry) -> Vec<Cell> {
    let tone = match entry.outcome.as_str() {
        "granted" => Tone::Good,
        "refused" => Tone::Bad,
        _ if matches!(entry.event.as_str(), "lock" | "disable" | "store") => Tone::Warning,
        _ => Tone::Plain,
    };
    vec![
        wording::iso8601(entry.at).into(),
        Cell::toned(printable(&entry.outcome), tone),
        printable(&entry.event).into(),
        entry.account.as_deref().map_or_else(|| "-".to_owned(), printable).into(),
        printable(&details(entry)).into(),
    ]
}

/// What else a record says: `sshd from 192.0.2.7, wrong, 2 failures, by uid 0`.
fn details(entry: &AuditEntry) -> String {
    let mut details = Vec::new();
    let from = match (&entry.rhost, &entry.tty) {
        (Some(rhost), _) => format!(" from {rhost}"),
        (None, Some(tty)) => format!(" on {tty}"),
        (None, None) => String::new(),
    };
    let claimed = if entry.origin.as_deref() == Some("claimed") { " (claimed)" } else { "" };
    let place = format!("{}{from}", entry.service.as_deref().unwrap_or_default());
    if !place.is_empty() {
        details.push(format!("{}{claimed}", place.trim_start()));
    }
    details.extend(entry.reason.clone());
    details.extend(entry.authenticator.clone());
    details.extend(entry.rule.as_ref().map(|rule| format!("rule {rule}")));
    details.extend(entry.failures.filter(|number| *number > 0).map(|number| wording::many(number.into(), "failure")));
    details.extend(entry.count.map(|number| wording::many(number.into(), "time")));
    details.extend(entry.caller_uid.map(|uid| format!("by uid {uid}")));
    details.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_a_time_or_so_long_ago() {
        assert_eq!(read_moment("2h", 1_000_000), Ok(992_800));
        assert_eq!(read_moment("400d", 1_000_000), Ok(0));
        assert_eq!(read_moment("2009-02-13T23:31:30Z", 0), Ok(1_234_567_890));
        for wrong in ["", "yesterday", "2h ago", "-2h", "2026-13-01"] {
            assert_eq!(read_moment(wrong, 0).map_err(|failure| failure.exit()), Err(2), "{wrong}");
        }
    }

    #[test]
    fn details_name_place_reason_and_caller() {
        let mut entry = AuditEntry {
            service: Some("sshd".to_owned()),
            tty: Some("ssh".to_owned()),
            rhost: Some("192.0.2.7".to_owned()),
            origin: Some("trusted".to_owned()),
            reason: Some("wrong".to_owned()),
            failures: Some(2),
            caller_uid: Some(0),
            ..AuditEntry::default()
        };
        assert_eq!(details(&entry), "sshd from 192.0.2.7, wrong, 2 failures, by uid 0");
        (entry.rhost, entry.origin) = (None, Some("claimed".to_owned()));
        assert_eq!(details(&entry), "sshd on ssh (claimed), wrong, 2 failures, by uid 0");
        assert_eq!(details(&AuditEntry::default()), "");
    }
}
