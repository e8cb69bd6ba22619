//! `countersign audit --verify`: whether every record is whole and in its place, by the daemon's word, and whether a
//! syslog copy agrees.

use std::{fs::File, io, path::Path};

use dbus_api::{AdminProxy, AuditFinding, AuditReport, AuditWitness, MAX_RECORDS};
use serde::Serialize;

use crate::{
    cli::Audit,
    commands::audit::{copy, explain},
    failure::Failure,
    output::Output,
    wording::{count, many, printable},
};

/// What `--json` prints.
#[derive(Serialize)]
struct ReportedCheck<'a> {
    finding: &'static str,
    record: Option<u64>,
    text: &'a str,
    first: Option<u64>,
    last: Option<u64>,
    compared: Option<u64>,
}

/// Runs the check: first the chain, which makes the records worth comparing with, then the copy.
///
/// # Errors
/// Where something is broken or missing, the copy cannot be read or holds no line of ours, or the daemon refuses.
pub(super) async fn run(arguments: &Audit, admin: &AdminProxy<'_>, output: &Output) -> Result<(), Failure> {
    // A copy that cannot be opened is told before anybody waits for the chain.
    let file = arguments.against.as_deref().map(open).transpose()?;
    let mut report = admin.verify_audit().await.map_err(|error| explain(&error))?;
    let mut compared = None;
    if let (Some(file), true) = (file, is_sound(&report)) {
        let (outcome, lines) = compare(file, admin, &report).await?;
        (report, compared) = (outcome.unwrap_or(report), Some(lines));
    }
    if arguments.json {
        output.json(&ReportedCheck {
            finding: finding_name(&report),
            record: report.record,
            text: &report.text,
            first: report.first,
            last: report.last,
            compared,
        })?;
    }
    let name = arguments.against.as_deref().map(|path| printable(&path.display().to_string())).unwrap_or_default();
    if is_sound(&report) && compared == Some(0) {
        return Err(Failure::refused(format!(
            "nothing was compared: {name} holds no line of the records that are kept"
        ))
        .with_help("Look for event=… seq=… chain=… in the file to which syslog writes the facility authpriv."));
    }
    match (is_sound(&report), arguments.json) {
        (true, true) => Ok(()),
        (true, false) => describe(&report, compared, &name, output),
        (false, true) => Err(Failure::silent()),
        (false, false) => Err(broken(&report, &name)),
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let opened = if path == Path::new("-") {
        use std::os::fd::AsFd as _;
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    opened.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::refused(format!("{} cannot be read: {error}", printable(&path.display().to_string())))
}

/// Sends the copy's lines in batches; stops at the first that finds something wrong. Beside it stands how many lines of
/// records that are kept were compared.
async fn compare(
    file: File,
    admin: &AdminProxy<'_>,
    whole: &AuditReport,
) -> Result<(Option<AuditReport>, u64), Failure> {
    let first = whole.first.unwrap_or(0);
    let mut witnesses = copy::Witnesses::new(file);
    let mut compared = 0;
    loop {
        let batch: Vec<AuditWitness> = witnesses
            .by_ref()
            .filter(|witness| witness.as_ref().map_or(true, |witness| witness.seq >= first))
            .take(MAX_RECORDS)
            .collect::<io::Result<_>>()
            .map_err(|error| Failure::refused(format!("the syslog copy cannot be read to its end: {error}")))?;
        if batch.is_empty() {
            return Ok((None, compared));
        }
        let report = admin.compare_audit(&batch).await.map_err(|error| explain(&error))?;
        compared += batch.len() as u64;
        if !is_sound(&report) {
            return Ok((Some(report), compared));
        }
    }
}

fn describe(report: &AuditReport, compared: Option<u64>, name: &str, output: &Output) -> Result<(), Failure> {
    match (report.first, report.last) {
        (Some(first), Some(last)) if first <= last => output.say(&format!(
            "The audit is whole: records {} to {}, each in its place and as it was written.",
            count(first),
            count(last)
        ))?,
        _ => output.say("The audit is whole and holds no record.")?,
    }
    match compared {
        Some(lines) => output.say(&format!("{} of {name} agree with it.", many(lines, "line"))),
        None => output.say("That nothing was cut from its end is proved by a syslog copy: --verify --against FILE"),
    }
}

fn broken(report: &AuditReport, name: &str) -> Failure {
    let failure = Failure::refused(printable(&report.text));
    match AuditFinding::from_number(report.finding) {
        Some(AuditFinding::Contradicted) => failure.with_help(format!(
            "Either the store was put back to an older state and went on from there, or {name} is of another host or \
             holds a line that the daemon did not write."
        )),
        _ => failure
            .with_help("Somebody who could write to the store did so, or a disk failed.")
            .with_help("What stood there is in the copy of syslog, if it is kept elsewhere."),
    }
}

fn is_sound(report: &AuditReport) -> bool {
    AuditFinding::from_number(report.finding) == Some(AuditFinding::Sound)
}

fn finding_name(report: &AuditReport) -> &'static str {
    match AuditFinding::from_number(report.finding) {
        Some(AuditFinding::Sound) => "sound",
        Some(AuditFinding::Changed) => "changed",
        Some(AuditFinding::Missing) => "missing",
        Some(AuditFinding::CutOff) => "cut-off",
        Some(AuditFinding::Ends) => "ends",
        Some(AuditFinding::Contradicted) => "contradicted",
        None => "unknown",
    }
}
