//! `countersign import otpauth`, `oath` and `csv`: files with a record a line, of any length.

use std::{
    io::{self, Read as _},
    path::Path,
};

use jiff::tz::TimeZone;

use super::{
    lines::Lines,
    source::{self, LARGEST_TABLE, Source},
    takeover::{self, Sink, Takeover},
};
use crate::{
    cli::ImportLines,
    failure::Failure,
    import::{Bad, Found, Place, csv::Columns, oath, otpauth},
    output::Output,
};

/// What the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `otpauth://` URIs.
    Otpauth,
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
    let command = match format {
        Format::Otpauth => "import otpauth FILE",
        Format::Oath => "import oath FILE",
        Format::Csv => "import csv FILE",
    };
    let mut takeover = Takeover::new(command, &arguments.manner)?;
    let source = Source::open(&arguments.file, LARGEST_TABLE)?;
    if arguments.file != Path::new("-") {
        takeover.leftovers.push(arguments.file.clone());
    }
    let parser = Parser::new(format)?;
    takeover::run(&takeover, move |sink| read(source, parser, sink), bus, output).await
}

/// What a line means.
enum Parser {
    Otpauth,
    Oath(TimeZone),
    Csv(Option<Columns>),
}

impl Parser {
    fn new(format: Format) -> Result<Self, Failure> {
        Ok(match format {
            Format::Otpauth => Self::Otpauth,
            Format::Oath => Self::Oath(host_zone()?),
            Format::Csv => Self::Csv(None),
        })
    }

    fn parse(&mut self, number: u64, line: &str) -> Result<Option<Found>, Bad> {
        match self {
            Self::Otpauth => otpauth::parse(number, line),
            Self::Oath(zone) => oath::parse(number, line, zone),
            Self::Csv(Some(columns)) => columns.read(number, line),
            Self::Csv(None) if line.trim().is_empty() || line.starts_with('#') => Ok(None),
            Self::Csv(columns) => {
                *columns = Some(Columns::parse(number, line)?);
                Ok(None)
            }
        }
    }

    /// Whether nothing behind a bad line can be understood.
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

fn read(source: Source, mut parser: Parser, sink: &mut Sink) {
    let (name, whole) = (source.name(), source.size().unwrap_or_default());
    let (stream, largest) = source.into_stream();
    // One byte more than the largest shows that there is more.
    let mut lines = Lines::new(stream.take(largest as u64 + 1));
    loop {
        let mut goes_on = true;
        let more = lines.next(|number, line| {
            let parsed = match line {
                Ok(line) => parser.parse(number, line),
                Err(reason) => Err(Bad { place: Place::Line(number), reason }),
            };
            goes_on = match parsed.transpose() {
                None => true,
                Some(read) => {
                    let is_lost = read.is_err() && parser.is_lost();
                    sink.put(name.as_deref(), read) && !is_lost
                }
            };
        });
        sink.reached(lines.bytes(), whole);
        let why = match more {
            Err(error) => format!("it cannot be read: {error}"),
            Ok(_) if lines.bytes() > largest as u64 => source::too_large(largest),
            Ok(_) if sink.is_hopeless() => "none of its lines is of this format so far".into(),
            Ok(true) if goes_on => continue,
            Ok(false) if sink.is_empty() => "it holds no record".into(),
            Ok(_) => return,
        };
        return sink.break_off(name.as_deref(), &why);
    }
}
