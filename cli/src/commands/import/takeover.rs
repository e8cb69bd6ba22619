//! Hands what a reader found to the daemon, in batches, several under way at a time. Every format goes this way, so that
//! each is resumed, checked and told of alike. Memory does not grow with the number of records.

use std::{borrow::Cow, collections::VecDeque, path::PathBuf};

use dbus_api::{AdminProxy, Error, ImportRecord, ImportResult, MAX_RECORDS};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{report::Report, source};
use crate::{
    cli::Manner,
    client::{self, Client, LONG_PATIENCE},
    failure::Failure,
    import::{Algorithm, Bad, Found, Moving, Place},
    output::{self, Output},
    wording::{many, printable},
};

/// How many calls are under way at a time.
const IN_FLIGHT: usize = 4;
/// After so many unreadable records and no readable one a file is not what it was said to be.
const HOPELESS: u64 = 1000;

/// How an import is to go.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    /// The command as it is typed, for hints.
    pub(super) command: &'static str,
    /// Whether anything is to be changed.
    pub(super) apply: bool,
    /// What repeats the command so that it changes something, where it did not.
    pub(super) how_to_apply: &'static str,
    /// Whether to print JSON.
    pub(super) json: bool,
    /// Seconds since the epoch at which short secrets end; the daemon's choice where it is none.
    pub(super) renew_by: Option<u64>,
    /// The same of scratch codes.
    pub(super) scratch_codes_until: Option<u64>,
    /// Files that are of no use once all is taken over, and better gone.
    pub(super) leftovers: Vec<PathBuf>,
}

impl Takeover {
    /// One that changes something unless a dry run is asked for.
    ///
    /// # Errors
    /// `--renew-within` is no length of time.
    pub(super) fn new(command: &'static str, manner: &Manner) -> Result<Self, Failure> {
        Ok(Self {
            command,
            apply: !manner.dry_run,
            how_to_apply: "the same without --dry-run",
            json: manner.json,
            renew_by: super::moment("--renew-within", manner.renew_within.as_deref(), output::now())?,
            scratch_codes_until: None,
            leftovers: Vec::new(),
        })
    }
}

/// Where a reader puts what it finds.
pub(super) struct Sink {
    sender: mpsc::Sender<Batch>,
    batch: Batch,
    renew_by: Option<u64>,
    scratch_codes_until: Option<u64>,
    readable: u64,
    unreadable: u64,
}

/// Some records in the order in which they were found.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    /// Bytes or files that were read, of [`Sink::reached`]'s whole.
    reached: (u64, u64),
    /// Why the rest is not read.
    failure: Option<Failure>,
}

/// One record as it was found, and why it goes no further where it does not.
pub(super) struct Item {
    /// Whose it is; empty where nobody is named.
    pub(super) account: String,
    /// The file; `None` for the standard input. To be escaped.
    pub(super) file: Option<String>,
    /// Where it stands in there.
    pub(super) place: Place,
    /// The authenticator in short; empty where there is none. To be escaped.
    pub(super) what: String,
    /// What is not kept, and the like.
    pub(super) remarks: Vec<Cow<'static, str>>,
    record: Option<ImportRecord>,
    /// Why it is not handed on.
    pub(super) kept_back: Option<KeptBack>,
}

/// Why a record is not handed on.
pub(super) enum KeptBack {
    /// It cannot be taken.
    Refused(Cow<'static, str>),
    /// It is nobody's.
    Unowned,
}

impl Sink {
    /// Takes what was read of a file, record or not. False where nobody takes records any more.
    pub(super) fn put(&mut self, file: Option<&str>, read: Result<Found, Bad>) -> bool {
        match read {
            Ok(found) => self.take(file, None, found),
            Err(bad) => self.refuse(file, None, bad.place, bad.reason),
        }
    }

    /// Takes a record of this account, or of the one that the record names. False where nobody takes records any more.
    pub(super) fn take(&mut self, file: Option<&str>, account: Option<&str>, mut found: Found) -> bool {
        self.readable += 1;
        let account = account.map(str::to_owned).or_else(|| found.account.take()).unwrap_or_default();
        let what = describe(&found);
        let kept_back = match found.check() {
            Err(reason) => Some(KeptBack::Refused(reason.into())),
            Ok(()) if account.is_empty() => Some(KeptBack::Unowned),
            Ok(()) => None,
        };
        let (place, remarks) = (found.place.clone(), std::mem::take(&mut found.remarks));
        let record = kept_back.is_none().then(|| self.convert(&account, found));
        self.add(Item { account, file: file.map(str::to_owned), place, what, remarks, record, kept_back })
    }

    /// Tells of something that cannot be taken. False where nobody takes records any more.
    pub(super) fn refuse(
        &mut self,
        file: Option<&str>,
        account: Option<&str>,
        place: Place,
        reason: impl Into<Cow<'static, str>>,
    ) -> bool {
        self.unreadable += 1;
        let account = account.unwrap_or_default().to_owned();
        let (file, kept_back) = (file.map(str::to_owned), Some(KeptBack::Refused(reason.into())));
        self.add(Item { account, file, place, what: String::new(), remarks: Vec::new(), record: None, kept_back })
    }

    /// Whether so much was unreadable, and nothing readable, that the rest is not worth a look: what is no such file
    /// at all does not fill the terminal.
    pub(super) fn is_hopeless(&self) -> bool {
        self.readable == 0 && self.unreadable >= HOPELESS
    }

    /// So much of the whole was read.
    pub(super) fn reached(&mut self, read: u64, whole: u64) {
        self.batch.reached = (read, whole);
    }

    /// The file is not read any further.
    pub(super) fn break_off(&mut self, file: Option<&str>, why: &str) {
        let file = printable(file.unwrap_or("the standard input"));
        self.batch.failure = Some(Failure::refused(format!("{file}: {why}")));
    }

    /// Whether nothing was found so far, readable or not.
    pub(super) fn is_empty(&self) -> bool {
        self.readable + self.unreadable == 0
    }

    fn add(&mut self, item: Item) -> bool {
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

/// An authenticator in short: `Example, totp, 6 digits, 30 s`.
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
    takeover: &Takeover,
    read: impl FnOnce(&mut Sink) + Send + 'static,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let admin = Client::connect_patiently(bus, LONG_PATIENCE).await?.admin().await?;
    let (sender, batches) = mpsc::channel(1);
    let (renew_by, scratch_codes_until) = (takeover.renew_by, takeover.scratch_codes_until);
    // A thread of its own, not one of a pool: it may take on another's rights for a moment.
    std::thread::spawn(move || {
        let batch = Batch::default();
        let mut sink = Sink { sender, batch, renew_by, scratch_codes_until, readable: 0, unreadable: 0 };
        read(&mut sink);
        sink.flush();
    });
    let mut report = Report::new(takeover, output);
    let outcome = hand_over(takeover, batches, &admin, &mut report).await;
    report.finish(outcome)?;
    if takeover.apply && !takeover.json {
        source::advise_deletion(&takeover.leftovers, output)?;
    }
    report.end()
}

/// A batch's items and the call about those of them that are records.
type Call = (Vec<Item>, JoinHandle<Result<Vec<ImportResult>, Error>>);

async fn hand_over(
    takeover: &Takeover,
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
            report.reached(batch.reached);
            let records = batch.items.iter_mut().filter_map(|item| item.record.take()).collect();
            calls.push_back((batch.items, tokio::spawn(call(admin.clone(), records, takeover.apply))));
            failed = batch.failure;
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

async fn call(admin: AdminProxy<'static>, records: Vec<ImportRecord>, apply: bool) -> Result<Vec<ImportResult>, Error> {
    match (records.is_empty(), apply) {
        (true, _) => Ok(Vec::new()),
        (false, true) => admin.import(&records).await,
        (false, false) => admin.check_import(&records).await,
    }
}

/// Waits for the oldest call and tells what it brought.
async fn finish_one(takeover: &Takeover, calls: &mut VecDeque<Call>, report: &mut Report<'_>) -> Result<(), Failure> {
    let Some((items, call)) = calls.pop_front() else { return Ok(()) };
    let answered = call.await.map_err(|_| Failure::refused("the import broke off"))?;
    let results = answered.map_err(|error| {
        let again = "Importing again changes nothing twice, so it may be repeated.";
        client::explain(&error, "", takeover.command).with_help(again)
    })?;
    if results.len() != items.iter().filter(|item| item.kept_back.is_none()).count() {
        return Err(Failure::refused("the daemon's answer is not understood"));
    }
    report.tell(items, results)
}
