//! What became of the records of an import: a table for people, one object for programs, and how far it is on a terminal.
//! What files and the daemon say is escaped here. It is printed batch by batch, so that it may be of any length.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
};

use dbus_api::{ImportOutcome, ImportResult};
use serde::Serialize;

use super::takeover::{Item, KeptBack, Takeover};
use crate::{
    failure::Failure,
    import::Place,
    output::Output,
    table::{Cell, Column, Table, Tone},
    wording::{self, count, many, printable},
};

/// How the object of `--json` begins.
const JSON_BEGINS: &str = "{\n  \"records\": [\n    ";
/// Why a record is left out.
const UNOWNED: &str = "it is nobody's: say whose it is";

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Added,
    Unbound,
    CaughtUp,
    Present,
    Refused,
    LeftOut,
}

/// One record as `--json` prints it.
#[derive(Serialize)]
struct Reported<'a> {
    account: &'a str,
    authenticator: &'a str,
    file: Option<&'a str>,
    place: String,
    outcome: Outcome,
    remarks: &'a [Cow<'static, str>],
}

/// The numbers of an import, as `--json` prints them behind the records.
#[derive(Default, Serialize)]
struct Numbers {
    applied: bool,
    added: u64,
    caught_up: u64,
    present: u64,
    unbound: u64,
    refused: u64,
    left_out: u64,
}

/// What became of everything.
pub(super) struct Report<'a> {
    takeover: &'a Takeover,
    output: &'a Output,
    numbers: Numbers,
    table: Table,
    first: bool,
    progress: Progress,
}

impl<'a> Report<'a> {
    /// Of an import in which nothing was found yet.
    pub(super) fn new(takeover: &'a Takeover, output: &'a Output) -> Self {
        let column = |heading, rank| Column { heading, rank, right: false };
        let columns = vec![column("ACCOUNT", 0), column("RESULT", 0), column("AUTHENTICATOR", 2), column("FROM", 1)];
        Self {
            takeover,
            output,
            numbers: Numbers { applied: takeover.apply, ..Numbers::default() },
            table: Table::new(columns, output.columns(), output.color()),
            first: true,
            progress: Progress::new(takeover.json),
        }
    }

    /// So much of the whole was read.
    pub(super) fn reached(&mut self, reached: (u64, u64)) {
        self.progress.reached = reached;
    }

    /// Tells of some records. The results are of those that were handed on.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(super) fn tell(&mut self, items: Vec<Item>, results: Vec<ImportResult>) -> Result<(), Failure> {
        let mut results = results.into_iter();
        let told: Vec<(Item, Outcome)> = items.into_iter().map(|item| judge(item, &mut results)).collect();
        told.iter().for_each(|(_, outcome)| self.numbers.add(*outcome));
        let text = if self.takeover.json { self.json(&told)? } else { self.rows(&told) };
        self.progress.clear();
        self.output.print(&text)?;
        self.progress.show(self.numbers.sum());
        Ok(())
    }

    /// Prints the numbers; says of a failure what it left.
    ///
    /// # Errors
    /// The failure, or as [`Output::print`].
    pub(super) fn finish(&mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.progress.clear();
        if self.takeover.json {
            let numbers = serde_json::to_string(&self.numbers).map_err(io::Error::from)?;
            let begins = if self.first { "{\n  \"records\": [" } else { "\n  " };
            self.output.print(&format!("{begins}],\n  {}\n", numbers.trim_start_matches('{')))?;
        } else {
            self.summarise()?;
        }
        let Numbers { added, caught_up, unbound, .. } = self.numbers;
        let stays = self.takeover.apply && added + caught_up + unbound > 0;
        outcome.map_err(|failure| if stays { failure.with_help("What went in stays.") } else { failure })
    }

    /// The end of the command.
    ///
    /// # Errors
    /// Some records were refused, which was told one by one.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.numbers.refused > 0 { Err(Failure::silent()) } else { Ok(()) }
    }

    fn json(&mut self, told: &[(Item, Outcome)]) -> Result<String, Failure> {
        let mut text = String::new();
        for (item, outcome) in told {
            let reported = Reported {
                account: &item.account,
                authenticator: &item.what,
                file: item.file.as_deref(),
                place: item.place.to_string(),
                outcome: *outcome,
                remarks: &item.remarks,
            };
            text.push_str(if std::mem::take(&mut self.first) { JSON_BEGINS } else { ",\n    " });
            text.push_str(&serde_json::to_string(&reported).map_err(io::Error::from)?);
        }
        Ok(text)
    }

    /// A row for each, and below it what there is to say about it.
    fn rows(&mut self, told: &[(Item, Outcome)]) -> String {
        let rows: Vec<Vec<Cell>> = told.iter().map(|(item, outcome)| row(item, *outcome)).collect();
        let page = self.table.page(&rows);
        let mut lines = page.lines();
        let mut text = String::new();
        if !told.is_empty() && std::mem::take(&mut self.first) {
            text.extend(lines.next().map(|headings| format!("{headings}\n")));
        }
        for (line, (item, outcome)) in lines.zip(told) {
            text.push_str(&format!("{line}\n"));
            for remark in &item.remarks {
                // A terminal may be too narrow for the column that says where it stands.
                let place = if *outcome == Outcome::Refused { format!("{}: ", origin(item)) } else { String::new() };
                let remark = format!("{place}{}", printable(remark));
                let remark = wording::wrap(&remark, self.output.width().saturating_sub(2), "  ");
                text.push_str(&format!("  {remark}\n"));
            }
        }
        text
    }

    fn summarise(&self) -> Result<(), Failure> {
        let Numbers { added, caught_up, present, unbound, refused, left_out, .. } = self.numbers;
        let to_be = if self.takeover.apply { "" } else { "to be " };
        self.output.say(&format!(
            "{} {to_be}added, {} {to_be}caught up, {} present already, {} refused, {} left out.",
            many(added + unbound, "authenticator"),
            count(caught_up),
            count(present),
            count(refused),
            count(left_out)
        ))?;
        if unbound > 0 {
            let bound = "of them unknown to the name service so far: bound at the first login.";
            self.output.say(&format!("{} {bound}", count(unbound)))?;
        }
        if self.takeover.apply {
            return Ok(());
        }
        self.output.say(&format!("Nothing was changed. To do it: {}", self.takeover.how_to_apply))
    }
}

impl Numbers {
    fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Added => &mut self.added,
            Outcome::Unbound => &mut self.unbound,
            Outcome::CaughtUp => &mut self.caught_up,
            Outcome::Present => &mut self.present,
            Outcome::Refused => &mut self.refused,
            Outcome::LeftOut => &mut self.left_out,
        } += 1;
    }

    fn sum(&self) -> u64 {
        self.added + self.caught_up + self.present + self.unbound + self.refused + self.left_out
    }
}

/// How the record ended, with all that there is to say about it as its remarks.
fn judge(mut item: Item, results: &mut impl Iterator<Item = ImportResult>) -> (Item, Outcome) {
    match item.kept_back.take() {
        Some(KeptBack::Refused(reason)) => {
            item.remarks = vec![reason];
            return (item, Outcome::Refused);
        }
        Some(KeptBack::Unowned) => {
            item.remarks = vec![UNOWNED.into()];
            return (item, Outcome::LeftOut);
        }
        None => {}
    }
    let Some(result) = results.next() else { return (item, Outcome::Refused) };
    let outcome = match ImportOutcome::from_number(result.outcome) {
        Some(ImportOutcome::Added) => Outcome::Added,
        Some(ImportOutcome::AddedUnbound) => Outcome::Unbound,
        Some(ImportOutcome::CaughtUp) => Outcome::CaughtUp,
        Some(ImportOutcome::Present) => Outcome::Present,
        Some(ImportOutcome::Refused) | None => Outcome::Refused,
    };
    // What is not kept was said when it was added; of what was refused nothing is.
    if !matches!(outcome, Outcome::Added | Outcome::Unbound) {
        item.remarks.clear();
    }
    if !result.remark.is_empty() && outcome != Outcome::Present {
        item.remarks.push(result.remark.into());
    }
    (item, outcome)
}

fn row(item: &Item, outcome: Outcome) -> Vec<Cell> {
    let (result, tone) = match outcome {
        Outcome::Added => ("added", Tone::Good),
        Outcome::CaughtUp => ("caught up", Tone::Good),
        Outcome::Unbound => ("unbound", Tone::Warning),
        Outcome::LeftOut => ("left out", Tone::Warning),
        Outcome::Present => ("present", Tone::Plain),
        Outcome::Refused => ("refused", Tone::Bad),
    };
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    vec![dash(&item.account).into(), Cell::toned(result, tone), dash(&item.what).into(), origin(item).into()]
}

/// Where a record comes from: `/etc/users.oath, line 3`.
fn origin(item: &Item) -> String {
    match (&item.file, &item.place) {
        (Some(file), Place::File) => printable(file),
        (Some(file), place) => printable(&format!("{file}, {place}")),
        (None, place) => printable(&place.to_string()),
    }
}

/// A line on the terminal that says how far it is, below the rows; nothing where standard error is none.
struct Progress {
    reached: (u64, u64),
    shown: bool,
    active: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { reached: (0, 0), shown: false, active: !quiet && io::stderr().is_terminal() }
    }

    fn show(&mut self, done: u64) {
        if !self.active {
            return;
        }
        let (read, whole) = self.reached;
        let percent = (read.min(whole) * 100).checked_div(whole).map(|percent| format!(", {percent} %"));
        let _ = write!(io::stderr(), "\r\x1b[K{} records{}", count(done), percent.unwrap_or_default());
        self.shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
