//! `countersign import oath` and `countersign import csv`: files of root's with a record a line.

use std::{fs::File, io, path::Path};

use jiff::tz::TimeZone;

use super::{
    file,
    lines::Lines,
    takeover::{self, Sink, Takeover},
};
use crate::{
    cli::ImportLines,
    failure::Failure,
    import::{Bad, Found, Place, csv::Columns, oath},
    output::{self, Output},
    wording::printable,
};

/// What the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `users.oath` of pam_oath.
    Oath,
    /// Comma-separated values.
    Csv,
}

/// Runs the command.
///
/// # Errors
/// Where the file cannot be read, the daemon refuses, or some lines were refused.
pub(super) async fn run(
    format: Format,
    arguments: &ImportLines,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let input = open(&arguments.file)?;
    let takeover = Takeover {
        command: if format == Format::Oath { "import oath FILE" } else { "import csv FILE" },
        apply: !arguments.dry_run,
        how_to_apply: "the same without --dry-run",
        json: arguments.json,
        renew_by: super::moment("--renew-within", arguments.renew_within.as_deref(), output::now())?,
        scratch_codes_until: None,
    };
    let parser = Parser::new(format)?;
    takeover::run(takeover, move |sink| read(input, parser, sink), bus, output).await?;
    if arguments.json || arguments.dry_run || arguments.file == Path::new("-") {
        return Ok(());
    }
    takeover::say_to_delete(&arguments.file, output)
}

fn open(path: &Path) -> Result<File, Failure> {
    if path == Path::new("-") {
        return super::open(path);
    }
    file::open_roots(path).map_err(|reason| {
        let shown = printable(&path.display().to_string());
        Failure::refused(format!("{shown} is not read: {reason}"))
            .with_help("It has to be root's own file that nobody else may write; - reads standard input.")
    })
}

/// What a line means.
enum Parser {
    Oath(TimeZone),
    Csv(Option<Columns>),
}

impl Parser {
    fn new(format: Format) -> Result<Self, Failure> {
        Ok(match format {
            Format::Oath => Self::Oath(host_zone()?),
            Format::Csv => Self::Csv(None),
        })
    }

    fn parse(&mut self, number: u64, line: &str) -> Result<Option<Found>, Bad> {
        match self {
            Self::Oath(zone) => oath::parse(number, line, zone),
            Self::Csv(Some(columns)) => columns.read(number, line),
            Self::Csv(None) if line.trim().is_empty() || line.starts_with('#') => Ok(None),
            Self::Csv(columns) => {
                *columns = Some(Columns::parse(number, line)?);
                Ok(None)
            }
        }
    }

    /// Whether nothing behind this line can be understood.
    fn is_lost(&self) -> bool {
        matches!(self, Self::Csv(None))
    }
}

/// The zone of `/etc/localtime`, in which pam_oath writes times; UTC where there is no such file (localtime(5)).
fn host_zone() -> Result<TimeZone, Failure> {
    let path = "/etc/localtime";
    let wrong = |why: String| Failure::refused(format!("{path} cannot be read: {why}"));
    match std::fs::read(path) {
        Ok(data) => TimeZone::tzif("", &data).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TimeZone::UTC),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn read(input: File, mut parser: Parser, sink: &mut Sink) {
    let whole = input.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |found| found.len());
    let mut lines = Lines::new(input);
    loop {
        let mut goes_on = true;
        let more = lines.next(|number, line| {
            let parsed = match line {
                Ok(line) => parser.parse(number, line),
                Err(reason) => Err(Bad { place: Place::Line(number), reason }),
            };
            goes_on = match parsed {
                Ok(None) => true,
                Ok(Some(found)) => sink.take(None, None, found),
                Err(bad) => sink.refuse(None, None, bad.place, bad.reason) && !parser.is_lost(),
            };
        });
        sink.reached(lines.bytes(), whole);
        match more {
            Ok(true) if goes_on => {}
            Ok(_) => return,
            Err(error) => return sink.break_off(error.to_string()),
        }
    }
}
