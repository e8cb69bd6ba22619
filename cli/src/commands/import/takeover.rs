//! Hands what a reader found to the daemon, in batches, several under way at a time, and tells people and programs what
//! became of each. Memory does not grow with the number of records.

use std::{
    borrow::Cow,
    collections::VecDeque,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use dbus_api::{AdminProxy, Error, ImportOutcome, ImportRecord, ImportResult, MAX_RECORDS};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    client::{self, Client, LONG_PATIENCE},
    failure::Failure,
    import::{Found, Moving, Place},
    output::Output,
    table::{Cell, Column, Table, Tone},
    wording::{self, count, many, printable},
};

/// How many calls are under way at a time.
const IN_FLIGHT: usize = 4;
/// How often the progress is shown anew, at most.
const PROGRESS: Duration = Duration::from_millis(100);

/// How an import is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takeover<'a> {
    /// The command as it is typed, for hints.
    pub(super) command: &'a str,
    /// Whether anything is to be changed.
    pub(super) apply: bool,
    /// What repeats the command so that it changes something, where it did not.
    pub(super) how_to_apply: &'a str,
    /// Whether to print JSON.
    pub(super) json: bool,
    /// Seconds since the epoch at which short secrets end; the daemon's choice where it is none.
    pub(super) renew_by: Option<u64>,
    /// The same of scratch codes.
    pub(super) scratch_codes_until: Option<u64>,
}

/// Where a reader puts what it finds.
pub(super) struct Sink {
    sender: mpsc::Sender<Batch>,
    batch: Batch,
    renew_by: Option<u64>,
    scratch_codes_until: Option<u64>,
}

/// Some records in the order in which they were found.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    /// Bytes or files that were read, of [`Sink::reached`]'s whole.
    reached: (u64, u64),
    /// Why the input broke off.
    broken: Option<String>,
}

/// One record, or why there is none.
struct Item {
    account: String,
    file: Option<String>,
    place: Place,
    what: String,
    remarks: Vec<Cow<'static, str>>,
    record: Option<ImportRecord>,
    bad: Option<String>,
}

impl Sink {
    /// Takes a record of this account. False where nobody takes records any more.
    pub(super) fn take(&mut self, file: Option<&str>, account: Option<&str>, mut found: Found) -> bool {
        let named = account.map(str::to_owned).or_else(|| found.account.take());
        let what = describe(&found);
        let checked = found.check().and(named.as_ref().map(|_| ()).ok_or("no account is named: say --user"));
        let account = named.unwrap_or_default();
        let (place, remarks) = (found.place.clone(), std::mem::take(&mut found.remarks));
        let record = checked.is_ok().then(|| self.convert(&account, found));
        let bad = checked.err().map(str::to_owned);
        self.put(Item { account, file: file.map(str::to_owned), place, what, remarks, record, bad })
    }

    /// Tells of something that cannot be taken. False where nobody takes records any more.
    pub(super) fn refuse(
        &mut self,
        file: Option<&str>,
        account: Option<&str>,
        place: Place,
        reason: impl Into<String>,
    ) -> bool {
        let account = account.unwrap_or_default().to_owned();
        let (file, bad) = (file.map(str::to_owned), Some(reason.into()));
        self.put(Item { account, file, place, what: String::new(), remarks: Vec::new(), record: None, bad })
    }

    /// So much of the whole was read.
    pub(super) fn reached(&mut self, read: u64, whole: u64) {
        self.batch.reached = (read, whole);
    }

    /// The input cannot be read to its end.
    pub(super) fn break_off(&mut self, why: String) {
        self.batch.broken = Some(why);
    }

    fn put(&mut self, item: Item) -> bool {
        self.batch.items.push(item);
        self.batch.items.len() < MAX_RECORDS || self.flush()
    }

    fn flush(&mut self) -> bool {
        let reached = self.batch.reached;
        let batch = std::mem::replace(&mut self.batch, Batch { reached, ..Batch::default() });
        self.sender.blocking_send(batch).is_ok()
    }

    fn convert(&self, account: &str, mut found: Found) -> ImportRecord {
        let mut record = ImportRecord::new(account, std::mem::take(&mut *found.secret));
        record.label = found.label.take();
        record.algorithm = found.algorithm.name().to_owned();
        record.digits = found.digits;
        match found.moving {
            Moving::Totp { period, last_step, drift } => {
                record.period = period;
                record.last_step = last_step;
                record.drift = (drift != 0).then_some(drift);
            }
            Moving::Hotp { next } => {
                record.kind = "hotp".to_owned();
                record.counter = next;
            }
        }
        record.last_code = found.last_code.map(|last| last.value);
        record.last_code_at = found.last_code.and_then(|last| last.at);
        record.scratch_codes = found.scratch_codes.codes().map(<[u32]>::to_vec);
        record.scratch_codes_until = self.scratch_codes_until;
        record.renew_by = self.renew_by;
        record
    }
}

/// An authenticator in short: `totp, 6 digits, 30 s`.
fn describe(found: &Found) -> String {
    let mut what = match found.moving {
        Moving::Totp { period, .. } => format!("totp, {} digits, {period} s", found.digits),
        Moving::Hotp { .. } => format!("hotp, {} digits", found.digits),
    };
    if found.algorithm != crate::import::Algorithm::Sha1 {
        what = format!("{what}, {}", found.algorithm.name());
    }
    match found.scratch_codes.codes().map_or(0, <[u32]>::len) {
        0 => what,
        codes => format!("{what}, {}", many(codes as u64, "scratch code")),
    }
}

/// Lets `read` find records on a thread of its own and hands them on until there are no more.
///
/// # Errors
/// The daemon refuses or cannot be reached, the input breaks off, or some records were refused.
pub(super) async fn run(
    takeover: Takeover<'_>,
    read: impl FnOnce(&mut Sink) + Send + 'static,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let admin = Client::connect_patiently(bus, LONG_PATIENCE).await?.admin().await?;
    let (sender, batches) = mpsc::channel(1);
    let (renew_by, scratch_codes_until) = (takeover.renew_by, takeover.scratch_codes_until);
    // A thread of its own, not one of a pool: it may take on another's rights for a moment.
    std::thread::spawn(move || {
        let mut sink = Sink { sender, batch: Batch::default(), renew_by, scratch_codes_until };
        read(&mut sink);
        sink.flush();
    });
    let mut report = Report::new(takeover, output);
    let outcome = hand_over(takeover, batches, &admin, &mut report).await;
    report.finish(outcome)
}

/// A batch's items and the call about those of them that are records.
type Call = (Vec<Item>, JoinHandle<Result<Vec<ImportResult>, Error>>);

async fn hand_over(
    takeover: Takeover<'_>,
    mut batches: mpsc::Receiver<Batch>,
    admin: &AdminProxy<'static>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let mut calls: VecDeque<Call> = VecDeque::new();
    let mut failed = None;
    while failed.is_none() {
        let batch = batches.recv().await;
        let room = if batch.is_some() { IN_FLIGHT - 1 } else { 0 };
        if let Some(mut batch) = batch {
            report.progress.reached = batch.reached;
            let records: Vec<ImportRecord> = batch.items.iter_mut().filter_map(|item| item.record.take()).collect();
            let admin = admin.clone();
            let call = async move {
                match (records.is_empty(), takeover.apply) {
                    (true, _) => Ok(Vec::new()),
                    (false, true) => admin.import(&records).await,
                    (false, false) => admin.check_import(&records).await,
                }
            };
            calls.push_back((batch.items, tokio::spawn(call)));
            failed = batch.broken.map(|why| Failure::refused(format!("the input cannot be read to its end: {why}")));
        } else if calls.is_empty() {
            return Ok(());
        }
        while calls.len() > room && failed.is_none() {
            failed = finish_one(takeover, &mut calls, report).await.err();
        }
    }
    // What was under way went in all the same, and is told.
    while !calls.is_empty() {
        let _ = finish_one(takeover, &mut calls, report).await;
    }
    failed.map_or(Ok(()), Err)
}

/// Waits for the oldest call and tells what it brought.
async fn finish_one(
    takeover: Takeover<'_>,
    calls: &mut VecDeque<Call>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let Some((items, call)) = calls.pop_front() else { return Ok(()) };
    let answered = call.await.map_err(|_| Failure::refused("the import broke off"))?;
    let results = answered.map_err(|error| client::explain(&error, "", takeover.command))?;
    if results.len() != items.iter().filter(|item| item.bad.is_none()).count() {
        return Err(Failure::refused("the daemon's answer is not understood"));
    }
    report.tell(items, results)
}

/// One record as `--json` prints it.
#[derive(Serialize)]
struct Reported<'a> {
    account: &'a str,
    authenticator: &'a str,
    file: Option<&'a str>,
    place: String,
    outcome: &'static str,
    remarks: Vec<String>,
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
}

/// What became of everything.
struct Report<'a> {
    takeover: Takeover<'a>,
    output: &'a Output,
    numbers: Numbers,
    table: Table,
    first: bool,
    progress: Progress,
}

impl<'a> Report<'a> {
    fn new(takeover: Takeover<'a>, output: &'a Output) -> Self {
        let column = |heading, rank| Column { heading, rank, right: false };
        let columns = vec![column("ACCOUNT", 0), column("RESULT", 0), column("AUTHENTICATOR", 1), column("FROM", 2)];
        Self {
            takeover,
            output,
            numbers: Numbers { applied: takeover.apply, ..Numbers::default() },
            table: Table::new(columns, output.columns(), output.color()),
            first: true,
            progress: Progress::new(takeover.json || output.columns().is_some()),
        }
    }

    fn tell(&mut self, items: Vec<Item>, results: Vec<ImportResult>) -> Result<(), Failure> {
        let mut results = results.into_iter();
        let mut told = Vec::with_capacity(items.len());
        for mut item in items {
            let result = if item.bad.is_none() { results.next() } else { None };
            let outcome = result
                .as_ref()
                .map_or(Some(ImportOutcome::Refused), |result| ImportOutcome::from_number(result.outcome));
            let outcome = outcome.unwrap_or(ImportOutcome::Refused);
            item.remarks.extend(item.bad.take().map(Cow::from));
            item.remarks.extend(result.map(|result| result.remark).filter(|remark| !remark.is_empty()).map(Cow::from));
            self.count(outcome);
            told.push((item, outcome));
        }
        self.progress.clear();
        let text = if self.takeover.json { self.json(&told)? } else { self.rows(&told) };
        self.output.print(&text)?;
        self.progress.show(self.numbers.sum());
        Ok(())
    }

    fn count(&mut self, outcome: ImportOutcome) {
        let numbers = &mut self.numbers;
        let number = match outcome {
            ImportOutcome::Added => &mut numbers.added,
            ImportOutcome::AddedUnbound => &mut numbers.unbound,
            ImportOutcome::CaughtUp => &mut numbers.caught_up,
            ImportOutcome::Present => &mut numbers.present,
            ImportOutcome::Refused => &mut numbers.refused,
        };
        *number += 1;
    }

    fn json(&mut self, told: &[(Item, ImportOutcome)]) -> Result<String, Failure> {
        let mut text = String::new();
        for (item, outcome) in told {
            let reported = Reported {
                account: &item.account,
                authenticator: &item.what,
                file: item.file.as_deref(),
                place: item.place.to_string(),
                outcome: outcome_name(*outcome),
                remarks: item.remarks.iter().map(|remark| remark.clone().into_owned()).collect(),
            };
            text.push_str(if std::mem::take(&mut self.first) { JSON_BEGINS } else { ",\n    " });
            text.push_str(&serde_json::to_string(&reported).map_err(io::Error::from)?);
        }
        Ok(text)
    }

    /// A row for each, and below it what there is to say about it.
    fn rows(&mut self, told: &[(Item, ImportOutcome)]) -> String {
        let rows: Vec<Vec<Cell>> = told.iter().map(|(item, outcome)| row(item, *outcome)).collect();
        let page = self.table.page(&rows);
        let mut lines = page.lines();
        let mut text = String::new();
        if std::mem::take(&mut self.first) {
            text.extend(lines.next().map(|headings| format!("{headings}\n")));
        }
        for (line, (item, _)) in lines.zip(told) {
            text.push_str(&format!("{line}\n"));
            for remark in &item.remarks {
                let remark = wording::wrap(&printable(remark), self.output.width().saturating_sub(2), "  ");
                text.push_str(&format!("  {remark}\n"));
            }
        }
        text
    }

    fn finish(mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.progress.clear();
        if self.takeover.json {
            let numbers = serde_json::to_string(&self.numbers).map_err(io::Error::from)?;
            let begins = if self.first { "{\n  \"records\": [" } else { "\n  " };
            self.output.print(&format!("{begins}],\n  {}\n", numbers.trim_start_matches('{')))?;
        } else {
            self.describe()?;
        }
        let changed = self.takeover.apply && self.numbers.sum() > self.numbers.refused + self.numbers.present;
        let stays = if changed { "What went in stays. " } else { "" };
        outcome.map_err(|failure| {
            failure.with_help(format!("{stays}Importing again changes nothing twice, so it may be repeated."))
        })?;
        // What was refused was told one by one.
        if self.numbers.refused > 0 { Err(Failure::silent()) } else { Ok(()) }
    }

    fn describe(&self) -> Result<(), Failure> {
        let Numbers { added, caught_up, present, unbound, refused, .. } = self.numbers;
        let to_be = if self.takeover.apply { "" } else { "to be " };
        self.output.say(&format!(
            "{} {to_be}added, {} {to_be}caught up, {} present already, {} refused.",
            many(added + unbound, "authenticator"),
            count(caught_up),
            count(present),
            count(refused)
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
    fn sum(&self) -> u64 {
        self.added + self.caught_up + self.present + self.unbound + self.refused
    }
}

const JSON_BEGINS: &str = "{\n  \"records\": [\n    ";

fn outcome_name(outcome: ImportOutcome) -> &'static str {
    match outcome {
        ImportOutcome::Added => "added",
        ImportOutcome::AddedUnbound => "unbound",
        ImportOutcome::CaughtUp => "caught-up",
        ImportOutcome::Present => "present",
        ImportOutcome::Refused => "refused",
    }
}

fn row(item: &Item, outcome: ImportOutcome) -> Vec<Cell> {
    let tone = match outcome {
        ImportOutcome::Added | ImportOutcome::CaughtUp => Tone::Good,
        ImportOutcome::AddedUnbound => Tone::Warning,
        ImportOutcome::Present => Tone::Plain,
        ImportOutcome::Refused => Tone::Bad,
    };
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let from = match (&item.file, &item.place) {
        (Some(file), Place::File) => printable(file),
        (Some(file), place) => printable(&format!("{file}, {place}")),
        (None, place) => printable(&place.to_string()),
    };
    vec![dash(&item.account).into(), Cell::toned(outcome_name(outcome), tone), dash(&item.what).into(), from.into()]
}

/// A line on the terminal that says how far it is; nothing where standard error is none, or where the rows say it.
struct Progress {
    reached: (u64, u64),
    shown: Option<Instant>,
    active: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { reached: (0, 0), shown: None, active: !quiet && io::stderr().is_terminal() }
    }

    fn show(&mut self, done: u64) {
        if !self.active || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS) {
            return;
        }
        let (read, whole) = self.reached;
        let percent = (read.min(whole) * 100).checked_div(whole).map(|percent| format!(", {percent} %"));
        let _ = write!(io::stderr(), "\r\x1b[K{} records{}", count(done), percent.unwrap_or_default());
        self.shown = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.active && self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Says how to get rid of a file whose secrets were taken over.
///
/// # Errors
/// As [`Output::print`].
pub(super) fn say_to_delete(path: &Path, output: &Output) -> Result<(), Failure> {
    output.say("The file holds secrets in clear. When it is no longer needed, delete it:")?;
    output.print(&format!("  shred -u {}\n", printable(&path.display().to_string())))
}
