//! `countersign import otpauth`: hands a file of URIs to the daemon in batches, several under way at a time. Memory does
//! not grow with the file. Secrets are zeroised here, and neither they nor the lines ever stand in a message. The other
//! formats have a file each below.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use dbus_api::{AdminProxy, Error, ImportOutcome, ImportResult};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    cli::{ColorChoice, ImportFormat, ImportOtpauth},
    client::{self, Client, LONG_PATIENCE},
    commands::{documents, import::lines::Batch, stderr_width},
    failure::Failure,
    output::Output,
    wording::{self, count, many, printable},
};

mod file;
mod google_authenticator;
mod lines;
mod tables;
mod takeover;

/// How many calls are under way at a time.
const IN_FLIGHT: usize = 4;
/// How often the progress is shown anew, at most.
const PROGRESS: Duration = Duration::from_millis(100);

/// What became of the lines, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    added: u64,
    present: u64,
    unbound: u64,
    refused: u64,
    refused_lines: Vec<RefusedLine>,
}

/// A line that did not go in.
#[derive(Debug, Serialize)]
struct RefusedLine {
    line: u64,
    reason: String,
}

/// Runs the command.
///
/// # Errors
/// Where the input cannot be read, the daemon refuses, or some records were refused.
pub(super) async fn run(
    format: &ImportFormat,
    bus: Option<&str>,
    color: ColorChoice,
    output: &Output,
) -> Result<(), Failure> {
    match format {
        ImportFormat::Otpauth(arguments) => otpauth(arguments, bus, color, output).await,
        ImportFormat::GoogleAuthenticator(arguments) => google_authenticator::run(arguments, bus, output).await,
        ImportFormat::Oath(arguments) => tables::run(tables::Format::Oath, arguments, bus, output).await,
        ImportFormat::Csv(arguments) => tables::run(tables::Format::Csv, arguments, bus, output).await,
        ImportFormat::Pskc(arguments) => documents::pskc(arguments, bus, output).await,
        ImportFormat::Migration(arguments) => documents::migration(arguments, bus, output).await,
        ImportFormat::Aegis(arguments) => documents::aegis(arguments, bus, output).await,
        ImportFormat::Andotp(arguments) => documents::andotp(arguments, bus, output).await,
        ImportFormat::Freeotp(arguments) => documents::freeotp(arguments, bus, output).await,
    }
}

async fn otpauth(
    arguments: &ImportOtpauth,
    bus: Option<&str>,
    color: ColorChoice,
    output: &Output,
) -> Result<(), Failure> {
    let file = open(&arguments.file)?;
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    let admin = Client::connect_patiently(bus, LONG_PATIENCE).await?.admin().await?;
    let mut import = Import {
        summary: Summary::default(),
        calls: JoinSet::new(),
        json: arguments.json,
        width: stderr_width(color),
        progress: Progress::new(size, arguments.json),
    };
    let outcome = import.carry_out(file, &admin).await;
    import.count_the_rest().await;
    import.progress.clear();
    let mut summary = import.summary;
    summary.refused_lines.sort_by_key(|refused| refused.line);
    if arguments.json {
        output.json(&summary)?;
    } else {
        describe(&summary, output)?;
    }
    if let Err(failure) = outcome {
        let stays = if summary.added + summary.present + summary.unbound > 0 { "What went in stays. " } else { "" };
        return Err(failure
            .with_help(format!("{stays}Importing the same file again changes nothing twice, so it may be repeated.")));
    }
    if !arguments.json && arguments.file != Path::new("-") {
        takeover::say_to_delete(&arguments.file, output)?;
    }
    // The lines were reported one by one.
    if summary.refused > 0 { Err(Failure::silent()) } else { Ok(()) }
}

fn open(path: &Path) -> Result<File, Failure> {
    let opened = if path == Path::new("-") {
        // A descriptor of its own: the buffer of the standard library's `Stdin` would keep secrets.
        use std::os::fd::AsFd as _;
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    opened.map_err(|error| {
        Failure::refused(format!("{} cannot be read: {error}", printable(&path.display().to_string())))
    })
}

/// The moment this far from now that an option names, in seconds since the epoch.
fn moment(option: &str, text: Option<&str>, now: u64) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let length = wording::parse_duration(text).filter(|length| *length > 0).ok_or_else(|| {
        Failure::usage(format!("{option}: {} is no length of time", printable(text)))
            .with_help("Write it like 90d or 12h.")
    })?;
    Ok(Some(now.saturating_add(length)))
}

/// The lines of a batch and what the daemon says of them.
type Answer = (Vec<u64>, Result<Vec<ImportResult>, Error>);

/// An import under way.
struct Import {
    summary: Summary,
    calls: JoinSet<Answer>,
    json: bool,
    width: usize,
    progress: Progress,
}

impl Import {
    /// Takes batches from the reading thread, which a bounded channel keeps from running ahead, until the file ends.
    async fn carry_out(&mut self, file: File, admin: &AdminProxy<'static>) -> Result<(), Failure> {
        let (sender, mut batches) = mpsc::channel::<io::Result<Batch>>(1);
        tokio::task::spawn_blocking(move || lines::read(file, &sender));
        while let Some(batch) = batches.recv().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.finish_calls(0).await?;
                    return Err(Failure::refused(format!("the input cannot be read to its end: {error}")));
                }
            };
            for (line, reason) in batch.bad {
                self.refuse(line, reason);
            }
            self.progress.reached(batch.end);
            if !batch.records.is_empty() {
                let (admin, records) = (admin.clone(), batch.records);
                let lines = batch.lines;
                self.calls.spawn(async move { (lines, admin.import(&records).await) });
            }
            self.finish_calls(IN_FLIGHT - 1).await?;
        }
        self.finish_calls(0).await
    }

    /// Waits until at most `left` calls are under way.
    async fn finish_calls(&mut self, left: usize) -> Result<(), Failure> {
        while self.calls.len() > left {
            let Some(Ok((lines, outcome))) = self.calls.join_next().await else {
                return Err(Failure::refused("the import broke off"));
            };
            let results = outcome.map_err(|error| client::explain(&error, "", "import otpauth FILE"))?;
            if results.len() != lines.len() {
                return Err(Failure::refused("the daemon's answer is not understood"));
            }
            for (line, result) in lines.into_iter().zip(results) {
                self.record(line, &result);
            }
            self.progress.show(&self.summary);
        }
        Ok(())
    }

    /// After a failure: calls that were under way go in all the same, and are counted.
    async fn count_the_rest(&mut self) {
        while let Some(joined) = self.calls.join_next().await {
            let Ok((lines, Ok(results))) = joined else { continue };
            for (line, result) in lines.into_iter().zip(results) {
                self.record(line, &result);
            }
        }
    }

    fn record(&mut self, line: u64, result: &ImportResult) {
        match ImportOutcome::from_number(result.outcome) {
            Some(ImportOutcome::Added) => self.summary.added += 1,
            Some(ImportOutcome::Present | ImportOutcome::CaughtUp) => self.summary.present += 1,
            Some(ImportOutcome::AddedUnbound) => self.summary.unbound += 1,
            Some(ImportOutcome::Refused) => self.refuse(line, &result.remark),
            None => self.refuse(line, "the daemon's answer is not understood"),
        }
    }

    /// Reports a refused line: at once to people, in the summary to programs.
    fn refuse(&mut self, line: u64, reason: &str) {
        self.summary.refused += 1;
        if self.json {
            self.summary.refused_lines.push(RefusedLine { line, reason: reason.to_owned() });
            return;
        }
        self.progress.clear();
        let text = format!("line {}: {}", line, printable(reason));
        // There is nobody left to tell when standard error is closed; the exit code still says it.
        let _ = writeln!(io::stderr(), "{}", wording::wrap(&text, self.width, "  "));
    }
}

fn describe(summary: &Summary, output: &Output) -> Result<(), Failure> {
    let Summary { added, present, unbound, refused, .. } = summary;
    output.say(&format!(
        "{} added, {} present already, {} refused.",
        many(added + unbound, "authenticator"),
        count(*present),
        count(*refused)
    ))?;
    if *unbound > 0 {
        output.say(&format!(
            "{} of them unknown to the name service so far: bound at the first login.",
            count(*unbound)
        ))?;
    }
    Ok(())
}

/// A line on the terminal that says how far it is; nothing where standard error is none.
struct Progress {
    size: Option<u64>,
    reached: u64,
    shown: Option<Instant>,
    active: bool,
}

impl Progress {
    fn new(size: Option<u64>, json: bool) -> Self {
        Self {
            size: size.filter(|size| *size > 0),
            reached: 0,
            shown: None,
            active: !json && io::stderr().is_terminal(),
        }
    }

    fn reached(&mut self, bytes: u64) {
        self.reached = bytes;
    }

    fn show(&mut self, summary: &Summary) {
        if !self.active || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS) {
            return;
        }
        let done = count(summary.added + summary.present + summary.unbound + summary.refused);
        let percent = self.size.map(|size| format!(", {} %", (self.reached.min(size) * 100) / size));
        let _ = write!(io::stderr(), "\r\x1b[K{done} lines{}", percent.unwrap_or_default());
        self.shown = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.active && self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
