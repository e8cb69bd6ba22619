//! `countersign import`: one file below for each kind of input. All of them go one way: `source.rs` says what may be read,
//! the parsers of [`crate::import`] say what it means, `takeover.rs` hands it to the daemon, `report.rs` tells what became of
//! it.

use crate::{
    cli::ImportFormat,
    failure::Failure,
    output::Output,
    wording::{self, printable},
};

mod assignment;
mod credential;
mod documents;
mod google_authenticator;
mod lines;
mod report;
mod source;
mod tables;
mod takeover;

/// Runs the command.
///
/// # Errors
/// Where the input cannot be read, the daemon refuses, or some records were refused.
pub(super) async fn run(format: &ImportFormat, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    match format {
        ImportFormat::Otpauth(arguments) => tables::run(tables::Format::Otpauth, arguments, bus, output).await,
        ImportFormat::Oath(arguments) => tables::run(tables::Format::Oath, arguments, bus, output).await,
        ImportFormat::Csv(arguments) => tables::run(tables::Format::Csv, arguments, bus, output).await,
        ImportFormat::GoogleAuthenticator(arguments) => google_authenticator::run(arguments, bus, output).await,
        ImportFormat::Pskc(arguments) => documents::pskc(arguments, bus, output).await,
        ImportFormat::Migration(arguments) => documents::migration(arguments, bus, output).await,
        ImportFormat::Aegis(arguments) => documents::aegis(arguments, bus, output).await,
        ImportFormat::Andotp(arguments) => documents::andotp(arguments, bus, output).await,
        ImportFormat::Freeotp(arguments) => documents::freeotp(arguments, bus, output).await,
    }
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
