//! The report for people and as JSON. Everything in it may come from files and programs, and is escaped here.

use serde::Serialize;

use crate::{
    failure::Failure,
    host::finding::{Area, Finding, Level, Report},
    output::Output,
    table::{Tone, paint},
    wording::{self, printable},
};

const AREAS: [(Area, &str); 6] = [
    (Area::Pam, "PAM"),
    (Area::Sshd, "SSH server"),
    (Area::Daemon, "Daemon"),
    (Area::Files, "Files"),
    (Area::System, "System"),
    (Area::Accounts, "Accounts"),
];

/// Where texts begin, after the mark.
const INDENT: &str = "           ";

/// What `--json` prints.
#[derive(Serialize)]
struct Reported<'a> {
    verdict: &'static str,
    findings: Vec<ReportedFinding<'a>>,
    sound: Vec<ReportedSound<'a>>,
}

/// One finding in [`Reported`].
#[derive(Serialize)]
struct ReportedFinding<'a> {
    name: &'static str,
    area: &'static str,
    level: &'static str,
    what: &'a str,
    why: &'a str,
    file: Option<String>,
    line: Option<usize>,
    change: Option<&'a str>,
}

/// What was found right, in [`Reported`].
#[derive(Serialize)]
struct ReportedSound<'a> {
    area: &'static str,
    what: &'a str,
}

/// Prints one JSON object.
pub(super) fn json(report: &Report, output: &Output) -> Result<(), Failure> {
    let findings = report.findings().iter().map(reported).collect();
    let sound = report.all_sound().iter().map(|(area, what)| ReportedSound { area: area.name(), what }).collect();
    let verdict = match report.worst() {
        None | Some(Level::Note) => "fine",
        Some(level) => level_name(level),
    };
    output.json(&Reported { verdict, findings, sound })
}

fn reported(finding: &Finding) -> ReportedFinding<'_> {
    let place = finding.place.as_ref();
    ReportedFinding {
        name: finding.name,
        area: finding.area.name(),
        level: level_name(finding.level),
        what: &finding.what,
        why: &finding.why,
        file: place.map(|place| place.file.display().to_string()),
        line: place.map(|place| place.line).filter(|line| *line > 0),
        change: finding.change.as_deref(),
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Danger => "danger",
    }
}

/// Prints the report in groups, and the verdict at the end.
pub(super) fn text(report: &Report, output: &Output) -> Result<(), Failure> {
    for (area, title) in AREAS {
        let sound: Vec<_> = report.all_sound().iter().filter(|(found, _)| *found == area).collect();
        let mut findings: Vec<_> = report.findings().iter().filter(|finding| finding.area == area).collect();
        if sound.is_empty() && findings.is_empty() {
            continue;
        }
        output.head(title)?;
        for (_, what) in sound {
            paragraph(output, "ok", Tone::Good, what)?;
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        for finding in findings {
            show(finding, output)?;
        }
        output.print("\n")?;
    }
    output.say(&summary(report))
}

/// Prints one finding.
///
/// # Errors
/// As [`Output::print`].
pub(in crate::commands) fn show(finding: &Finding, output: &Output) -> Result<(), Failure> {
    let tone = match finding.level {
        Level::Note => Tone::Plain,
        Level::Warning => Tone::Warning,
        Level::Danger => Tone::Bad,
    };
    paragraph(output, level_name(finding.level), tone, &format!("{} [{}]", finding.what, finding.name))?;
    if !finding.why.is_empty() {
        indented(output, &finding.why)?;
    }
    if let Some(place) = &finding.place {
        indented(output, &place.to_string())?;
    }
    // Lines to copy stay as they are.
    for line in finding.change.iter().flat_map(|change| change.lines()) {
        output.print(&format!("{INDENT}> {}\n", printable(line)))?;
    }
    Ok(())
}

/// A mark, and a text that is wrapped beside it.
fn paragraph(output: &Output, mark: &str, tone: Tone, text: &str) -> Result<(), Failure> {
    let wrapped = wording::wrap(&printable(text), output.width().saturating_sub(INDENT.len()), "");
    let padding = " ".repeat(INDENT.len().saturating_sub(2 + mark.len()));
    let mark = paint(mark, tone, output.color());
    output.print(&format!("  {mark}{padding}{}\n", wrapped.replace('\n', &format!("\n{INDENT}"))))
}

fn indented(output: &Output, text: &str) -> Result<(), Failure> {
    let wrapped = wording::wrap(&printable(text), output.width().saturating_sub(INDENT.len()), "");
    output.print(&format!("{INDENT}{}\n", wrapped.replace('\n', &format!("\n{INDENT}"))))
}

fn summary(report: &Report) -> String {
    let count = |level| report.findings().iter().filter(|finding| finding.level == level).count() as u64;
    let (dangers, warnings) = (count(Level::Danger), count(Level::Warning));
    match (dangers, warnings) {
        (0, 0) => "All is well.".to_owned(),
        (0, _) => format!("{}; nobody is locked out or let in by them.", wording::many(warnings, "warning")),
        (_, 0) => format!("{}: somebody could be locked out or let in.", wording::many(dangers, "danger")),
        _ => format!(
            "{} and {}: somebody could be locked out or let in.",
            wording::many(dangers, "danger"),
            wording::many(warnings, "warning")
        ),
    }
}
