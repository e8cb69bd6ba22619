//! The change of one PAM file: where the lines that ask go, and which lines they take the place of. Text in, text out;
//! whether the result is sound is judged elsewhere.

use std::{collections::BTreeSet, ops::Range, path::Path};

use crate::{
    cli::FirstFactor,
    failure::Failure,
    host::{
        Host,
        finding::Level,
        pam::{
            judge,
            line::{self, Line},
            module::{self, Role},
            stack::{Kind, Runs, Stack},
        },
    },
    wording::printable,
};

/// What stands above the lines that ask.
const REMARK: &str = "# A code of Countersign. Undo: countersign pam disable ";
/// What lets pass whom the policy asks for no code.
const PERMITTING: &str = "auth required  pam_permit.so";

/// A line of the service's own file.
struct Own {
    /// Its physical lines, counted from 0.
    span: Range<usize>,
    /// Whether it belongs to the `auth` stack.
    auth: bool,
    /// Whether it brings a first factor in.
    factor: bool,
    /// Whether it brings lines of other stacks in with it.
    mixed: bool,
}

/// The text of a service's file with the lines that ask, at the place where the stack is soundest.
///
/// # Errors
/// There is no place for them; the failure says what to write by hand.
pub(crate) fn asking(
    host: &Host,
    service: &str,
    path: &Path,
    text: &str,
    first: FirstFactor,
) -> Result<String, Failure> {
    let raw: Vec<&str> = text.lines().collect();
    let own = own_lines(host, service, path, text, &raw)?;
    let lines = format!("{REMARK}{service}\n{}\n{PERMITTING}\n", judge::ASKING);
    match first {
        FirstFactor::Password => after_the_factor(host, service, path, &raw, &own, &lines),
        FirstFactor::Key | FirstFactor::None => in_its_place(service, &raw, &own, &lines),
    }
}

/// Below the last line that brings a first factor in; further down where jumps count on the lines between.
fn after_the_factor(
    host: &Host,
    service: &str,
    path: &Path,
    raw: &[&str],
    own: &[Own],
    lines: &str,
) -> Result<String, Failure> {
    let Some(last) = own.iter().rposition(|line| line.factor) else {
        let failure = Failure::refused(format!("{} brings no first factor in, such as a password", path.display()));
        return Err(failure.with_help(format!(
            "If the code shall be the only one there: countersign pam enable {} --first-factor none",
            printable(service)
        )));
    };
    let places = own.iter().skip(last).filter(|line| line.auth).map(|line| line.span.end);
    let texts: Vec<String> = places.map(|at| spliced(raw, at..at, lines)).collect();
    let worst = |text: &String| {
        // A host of its own, so that each place is judged as if it were the one.
        let read = Stack::read(&host.imagined(path, text), service, Kind::Auth);
        judge::judge(&read, service).findings.iter().map(|finding| finding.level).max()
    };
    let soundest = texts.iter().min_by_key(|text| worst(text).unwrap_or(Level::Note));
    soundest.cloned().ok_or_else(|| Failure::refused(format!("{} has no auth line", path.display())))
}

/// In place of all lines that bring a first factor in; at the end where there is none.
fn in_its_place(service: &str, raw: &[&str], own: &[Own], lines: &str) -> Result<String, Failure> {
    if own.iter().any(|line| line.factor && line.mixed) {
        let what = format!("the line with the first factor of {} brings in more than that", printable(service));
        return Err(Failure::refused(what)
            .with_help(format!("Put this in place of its auth part by hand:\n{}\n{PERMITTING}", judge::ASKING)));
    }
    let mut dropped: Vec<&Range<usize>> = own.iter().filter(|line| line.factor).map(|line| &line.span).collect();
    let end = own.iter().rfind(|line| line.auth).map_or(raw.len(), |line| line.span.end);
    let Some(first) = (!dropped.is_empty()).then(|| dropped.remove(0)) else {
        return Ok(spliced(raw, end..end, lines));
    };
    let gone: BTreeSet<usize> = dropped.into_iter().cloned().flatten().collect();
    let mut text = String::new();
    for (number, line) in raw.iter().enumerate() {
        if number == first.start {
            text.push_str(lines);
        }
        if !first.contains(&number) && !gone.contains(&number) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

fn spliced(raw: &[&str], range: Range<usize>, lines: &str) -> String {
    let mut text = String::new();
    for (number, line) in raw.iter().enumerate() {
        if number == range.start {
            text.push_str(lines);
        }
        text.push_str(line);
        text.push('\n');
    }
    if range.start >= raw.len() {
        text.push_str(lines);
    }
    text
}

fn own_lines(host: &Host, service: &str, path: &Path, text: &str, raw: &[&str]) -> Result<Vec<Own>, Failure> {
    let parsed = line::parse(text)
        .map_err(|end| Failure::refused(format!("{}:{}: the file ends within this line", path.display(), end.line)))?;
    Ok(parsed.iter().map(|line| own_line(host, service, path, line, raw)).collect())
}

fn own_line(host: &Host, service: &str, path: &Path, line: &Line, raw: &[&str]) -> Own {
    let span = span(raw, line.number.saturating_sub(1));
    let alone: String = raw.iter().take(span.end).skip(span.start).map(|line| format!("{line}\n")).collect();
    let alone = host.imagined(path, &alone);
    let of = |kind| Stack::read(&alone, service, kind).ok().filter(|stack| !stack.borrowed);
    let auth = of(Kind::Auth);
    let factor = auth
        .iter()
        .flat_map(|stack| &stack.entries)
        .any(|entry| matches!(entry.runs, Runs::Module(..)) && module::role(entry) == Role::Factor);
    let mixed = [Kind::Account, Kind::Session, Kind::Password].into_iter().any(|kind| of(kind).is_some());
    Own { span, auth: auth.is_some(), factor, mixed }
}

/// The physical lines that a line goes over; comments and blank lines within belong to it (pam.conf(5)).
fn span(raw: &[&str], start: usize) -> Range<usize> {
    let mut end = start;
    while let Some(line) = raw.get(end) {
        end += 1;
        let line = line.trim_start_matches([' ', '\t']);
        let passed_over = line.is_empty() || line.starts_with('#');
        let goes_on = !line.contains('#') && line.trim_end().ends_with('\\');
        if !passed_over && !goes_on {
            break;
        }
    }
    start..end
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
