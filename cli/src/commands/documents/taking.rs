//! Handing what was found to the daemon, a call for many records, and saying what became of each.

use std::io::{self, IsTerminal as _, Write as _};

use dbus_api::{AdminProxy, ImportOutcome, ImportRecord, ImportResult, MAX_RECORDS};
use serde::Serialize;

use crate::{
    client,
    failure::Failure,
    import::{Algorithm, Bad, Found, Moving},
    output::Output,
    table::{Cell, Column, Table, Tone},
    wording::{self, count, many, printable},
};

/// An import under way, and what became of its records so far.
#[derive(Serialize)]
pub(super) struct Taking {
    records: Vec<Row>,
    warnings: Vec<String>,
    applied: bool,
    added: u64,
    caught_up: u64,
    present: u64,
    unbound: u64,
    refused: u64,
    left_out: u64,
    #[serde(skip)]
    command: String,
}

/// What became of one record.
#[derive(Debug, Serialize)]
struct Row {
    account: String,
    authenticator: String,
    place: String,
    outcome: Outcome,
    remarks: Vec<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Added,
    CaughtUp,
    Present,
    Unbound,
    Refused,
    LeftOut,
}

impl Taking {
    /// An import of this format, which changes something where `applied`; `warnings` are of its files.
    pub(super) fn new(format: &str, applied: bool, warnings: Vec<String>) -> Self {
        Self {
            records: Vec::new(),
            warnings,
            applied,
            added: 0,
            caught_up: 0,
            present: 0,
            unbound: 0,
            refused: 0,
            left_out: 0,
            command: format!("import {format} FILE"),
        }
    }

    /// Hands the records on. What cannot be is told beside them and stops nothing.
    ///
    /// # Errors
    /// Where a call fails; what went in before stays.
    pub(super) async fn carry_out(
        &mut self,
        found: Vec<Result<Found, Bad>>,
        admin: &AdminProxy<'static>,
    ) -> Result<(), Failure> {
        let total = found.len();
        let mut waiting = Waiting::default();
        for one in found {
            match judge(one) {
                Ok((row, record)) => waiting.add(row, record),
                Err(row) => self.note(row),
            }
            if waiting.records.len() == MAX_RECORDS {
                self.send(&mut waiting, admin).await?;
                self.show_progress(total);
            }
        }
        self.send(&mut waiting, admin).await
    }

    async fn send(&mut self, waiting: &mut Waiting, admin: &AdminProxy<'static>) -> Result<(), Failure> {
        let Waiting { rows, records } = std::mem::take(waiting);
        if records.is_empty() {
            return Ok(());
        }
        let answer = if self.applied { admin.import(&records).await } else { admin.check_import(&records).await };
        let results = answer.map_err(|error| {
            let changed = self.applied && self.added + self.unbound + self.caught_up > 0;
            let stays = if changed { "What went in stays. " } else { "" };
            client::explain(&error, "", &self.command).with_help(format!(
                "{stays}Importing the same file again changes nothing twice, so it may be repeated."
            ))
        })?;
        if results.len() != rows.len() {
            return Err(Failure::refused("the daemon's answer is not understood"));
        }
        rows.into_iter().zip(results).for_each(|(row, result)| self.note(answered(row, result)));
        Ok(())
    }

    fn note(&mut self, row: Row) {
        *match row.outcome {
            Outcome::Added => &mut self.added,
            Outcome::CaughtUp => &mut self.caught_up,
            Outcome::Present => &mut self.present,
            Outcome::Unbound => &mut self.unbound,
            Outcome::Refused => &mut self.refused,
            Outcome::LeftOut => &mut self.left_out,
        } += 1;
        self.records.push(row);
    }

    fn show_progress(&self, total: usize) {
        if io::stderr().is_terminal() {
            let done = count(self.records.len() as u64);
            let _ = write!(io::stderr(), "\r\x1b[K{done} of {}\r", count(total as u64));
        }
    }

    /// Says what became of each record, on standard output.
    ///
    /// # Errors
    /// Where it cannot be printed.
    pub(super) fn report(&self, json: bool, output: &Output) -> Result<(), Failure> {
        if json {
            return output.json(self);
        }
        if !self.records.is_empty() {
            let rows: Vec<Vec<Cell>> = self.records.iter().map(Row::cells).collect();
            output.print(&table(output).page(&rows))?;
            output.print("\n")?;
        }
        for row in &self.records {
            for remark in &row.remarks {
                let text = format!("{}: {}", printable(&row.place), printable(remark));
                output.print(&format!("{}\n", wording::wrap(&text, output.width(), "  ")))?;
            }
        }
        for warning in &self.warnings {
            output.say(&format!("Warning: {warning}"))?;
        }
        let Self { added, caught_up, present, unbound, refused, left_out, .. } = self;
        let to_be = if self.applied { "" } else { "to be " };
        output.say(&format!(
            "{} {to_be}added, {} {to_be}caught up, {} present already, {} refused, {} left out.",
            many(added + unbound, "authenticator"),
            count(*caught_up),
            count(*present),
            count(*refused),
            count(*left_out)
        ))?;
        if *unbound > 0 {
            let unknown = count(*unbound);
            output.say(&format!("{unknown} of them unknown to the name service so far: bound at the first login."))?;
        }
        if !self.applied {
            output.say("This was a dry run: nothing was changed.")?;
        }
        Ok(())
    }

    /// The end of the command.
    ///
    /// # Errors
    /// Where a record was refused, which was told already.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.refused > 0 { Err(Failure::silent()) } else { Ok(()) }
    }
}

/// Records that wait for the next call.
#[derive(Default)]
struct Waiting {
    rows: Vec<Row>,
    records: Vec<ImportRecord>,
}

impl Waiting {
    fn add(&mut self, row: Row, record: ImportRecord) {
        self.rows.push(row);
        self.records.push(record);
    }
}

/// What is to be handed on; the error is the row of what is not.
fn judge(one: Result<Found, Bad>) -> Result<(Row, ImportRecord), Row> {
    let mut found = one.map_err(|bad| Row {
        account: String::new(),
        authenticator: String::new(),
        place: bad.place.to_string(),
        outcome: Outcome::Refused,
        remarks: vec![bad.reason.to_owned()],
    })?;
    let mut row = Row {
        account: found.account.clone().unwrap_or_default(),
        authenticator: describe(&found),
        place: found.place.to_string(),
        outcome: Outcome::LeftOut,
        remarks: Vec::new(),
    };
    if let Err(reason) = found.check() {
        row.outcome = Outcome::Refused;
        row.remarks.push(reason.to_owned());
        return Err(row);
    }
    let Some(account) = found.account.take() else {
        row.remarks.push("it is nobody's: say whose it is".to_owned());
        return Err(row);
    };
    row.remarks = found.remarks.drain(..).map(String::from).collect();
    Ok((row, record(account, &mut found)))
}

/// An authenticator in short: `Vendor, totp, 6 digits, 30 s`.
fn describe(found: &Found) -> String {
    let mut what = found.label.as_ref().map(|label| format!("{label}, ")).unwrap_or_default();
    what.push_str(&match found.moving {
        Moving::Totp { period, .. } => format!("totp, {} digits, {period} s", found.digits),
        Moving::Hotp { .. } => format!("hotp, {} digits", found.digits),
    });
    if found.algorithm != Algorithm::Sha1 {
        what.push_str(", ");
        what.push_str(found.algorithm.name());
    }
    what
}

fn record(account: String, found: &mut Found) -> ImportRecord {
    let mut record = ImportRecord::new(account, std::mem::take(&mut *found.secret));
    record.label = found.label.take();
    found.algorithm.name().clone_into(&mut record.algorithm);
    record.digits = found.digits;
    match found.moving {
        Moving::Totp { period, .. } => record.period = period,
        Moving::Hotp { next } => {
            "hotp".clone_into(&mut record.kind);
            record.counter = next;
        }
    }
    record
}

fn answered(mut row: Row, result: ImportResult) -> Row {
    row.outcome = match ImportOutcome::from_number(result.outcome) {
        Some(ImportOutcome::Added) => Outcome::Added,
        Some(ImportOutcome::CaughtUp) => Outcome::CaughtUp,
        Some(ImportOutcome::Present) => Outcome::Present,
        Some(ImportOutcome::AddedUnbound) => Outcome::Unbound,
        Some(ImportOutcome::Refused) | None => Outcome::Refused,
    };
    // What an earlier import changed, it said then; what was refused was not changed.
    if matches!(row.outcome, Outcome::Present | Outcome::Refused) {
        row.remarks.clear();
    }
    if !result.remark.is_empty() && row.outcome != Outcome::Present {
        row.remarks.push(result.remark);
    }
    row
}

impl Row {
    fn cells(&self) -> Vec<Cell> {
        let text = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
        let (outcome, tone) = match self.outcome {
            Outcome::Added => ("added", Tone::Good),
            Outcome::CaughtUp => ("caught-up", Tone::Good),
            Outcome::Unbound => ("unbound", Tone::Warning),
            Outcome::Present => ("present", Tone::Plain),
            Outcome::Refused => ("refused", Tone::Bad),
            Outcome::LeftOut => ("left out", Tone::Warning),
        };
        let outcome = Cell::toned(outcome, tone);
        vec![text(&self.account).into(), outcome, text(&self.authenticator).into(), text(&self.place).into()]
    }
}

fn table(output: &Output) -> Table {
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![column("ACCOUNT", 0), column("RESULT", 0), column("AUTHENTICATOR", 1), column("FROM", 0)];
    Table::new(columns, output.columns(), output.color())
}
