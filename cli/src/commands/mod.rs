//! The commands, a file each, and how one of them is run.

mod accounts;
mod audit;
mod backup;
mod completions;
mod config;
mod disable;
mod doctor;
mod enable;
mod enroll;
mod explain;
mod export;
mod forget;
mod import;
mod key;
mod list;
mod manual;
mod offline;
mod outcome;
mod pam;
mod prune;
mod recovery_codes;
mod rehearse;
mod remove;
mod rename;
mod reset;
mod restore;
mod resync;
mod status;
mod unlock;
mod verify;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _};
use dbus_api::AccountState;

use crate::{
    cli::{Cli, ColorChoice, Command, ConfigAction, KeyAction},
    failure::{DONE, Failure, USAGE},
    output::{self, Output},
    table::Tone,
};

/// Reads the command line, runs the command and says how it ended.
pub(crate) fn run() -> ExitCode {
    let cli = match read_arguments() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version too come this way. Nobody is left to tell where they cannot be printed.
            let _ = answer.print();
            return ExitCode::from(if answer.use_stderr() { USAGE } else { DONE });
        }
    };
    match carry_out(&cli) {
        Ok(()) => ExitCode::from(DONE),
        Err(failure) => {
            let (width, color) = output::stderr_style(cli.color);
            failure.tell(width, color);
            ExitCode::from(failure.exit())
        }
    }
}

/// Parses the arguments. clap decides on its own colours before it has read `--color`, so they are looked at here.
fn read_arguments() -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let asks_for = |choice: &str| {
        arguments.iter().any(|argument| *argument == *format!("--color={choice}"))
            || arguments.windows(2).any(|pair| pair.iter().eq(["--color", choice]))
    };
    let color = match (asks_for("never"), asks_for("always")) {
        (true, _) => clap::ColorChoice::Never,
        (false, true) => clap::ColorChoice::Always,
        (false, false) => clap::ColorChoice::Auto,
    };
    let matches = Cli::command().color(color).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn carry_out(cli: &Cli) -> Result<(), Failure> {
    let output = Output::open(cli.color)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::refused(format!("the program cannot start: {error}")))?;
    let outcome = runtime.block_on(dispatch(cli, &output));
    // A thread may still wait for a line on standard input that nobody will type.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(cli: &Cli, output: &Output) -> Result<(), Failure> {
    pam::take_back_what_is_due();
    let bus = cli.bus.as_deref();
    match &cli.command {
        Command::Enroll(arguments) => enroll::run(arguments, bus, output).await,
        Command::Status(arguments) => status::run(arguments, bus, output).await,
        Command::Verify(arguments) => verify::run(arguments, bus, output).await,
        Command::RecoveryCodes(arguments) => recovery_codes::run(arguments, bus, output).await,
        Command::Rename(arguments) => rename::run(arguments, bus, output).await,
        Command::Remove(arguments) => remove::run(arguments, bus, output).await,
        Command::List(arguments) => list::run(arguments, bus, output, cli.color).await,
        Command::Unlock(arguments) => unlock::run(arguments, bus, output).await,
        Command::Enable(arguments) => enable::run(arguments, bus, output).await,
        Command::Disable(arguments) => disable::run(arguments, bus, output).await,
        Command::Resync(arguments) => resync::run(arguments, bus, output).await,
        Command::Export(arguments) => export::run(arguments, bus, output).await,
        Command::Forget(arguments) => forget::run(arguments, bus, output).await,
        Command::Reset(arguments) => reset::run(arguments, bus, output).await,
        Command::Prune(arguments) => prune::run(arguments, bus, output).await,
        Command::Audit(arguments) => audit::run(arguments, bus, output).await,
        Command::Explain(arguments) => explain::run(arguments, bus, output).await,
        Command::Rehearse(arguments) => rehearse::run(arguments, bus, output, cli.color).await,
        Command::Doctor(arguments) => doctor::run(arguments, bus, output).await,
        Command::Pam(arguments) => pam::run(&arguments.action, bus, output).await,
        Command::Config(arguments) => match &arguments.action {
            ConfigAction::Check(arguments) => config::check(arguments, output),
            ConfigAction::Show(arguments) => config::show(arguments, bus, output).await,
        },
        Command::Key(arguments) => match &arguments.action {
            KeyAction::New(arguments) => key::new(arguments, output).await,
            KeyAction::Rotate(arguments) => key::rotate(arguments, bus, output).await,
            KeyAction::Status(arguments) => key::status(arguments, bus, output).await,
            KeyAction::Accept(_) => key::accept(bus, output).await,
        },
        Command::Backup(arguments) => backup::run(arguments, bus, output).await,
        Command::Restore(arguments) => restore::run(arguments, output).await,
        Command::Import(arguments) => import::run(&arguments.format, bus, output).await,
        Command::Completions(arguments) => completions::run(arguments, output),
        Command::Manual => manual::run(output),
    }
}

/// The name of a state in JSON.
fn state_name(state: Option<AccountState>) -> &'static str {
    match state {
        Some(AccountState::Active) => "active",
        Some(AccountState::Locked) => "locked",
        Some(AccountState::Disabled) => "disabled",
        Some(AccountState::NotEnrolled) => "not-enrolled",
        Some(AccountState::Corrupt) => "altered",
        None => "unknown",
    }
}

/// A state for people and its tone.
fn state_words(state: Option<AccountState>, locked_for: Option<u64>) -> (String, Tone) {
    match (state, locked_for) {
        (Some(AccountState::Active), _) => ("active".to_owned(), Tone::Good),
        (Some(AccountState::Locked), Some(seconds)) => {
            (format!("locked, {}", crate::wording::duration(seconds)), Tone::Warning)
        }
        (Some(AccountState::Locked), None) => ("locked".to_owned(), Tone::Warning),
        (Some(AccountState::Disabled), _) => ("disabled".to_owned(), Tone::Bad),
        (Some(AccountState::NotEnrolled), _) => ("not enrolled".to_owned(), Tone::Warning),
        (Some(AccountState::Corrupt), _) => ("altered".to_owned(), Tone::Bad),
        (None, _) => ("unknown".to_owned(), Tone::Bad),
    }
}

/// What nobody must overlook where the policy observes; `None` where it does not.
fn observing(observe: &str) -> Option<&'static str> {
    match observe {
        "all" => Some("OBSERVING: nobody is asked for a code, whatever is enrolled (mode = \"observe\")."),
        "some" => Some("OBSERVING: a rule asks nobody for a code, and only writes down what it would do."),
        _ => None,
    }
}

/// Tells on standard error what a person must not overlook; standard output is for what was asked for.
fn remark(text: &str, color: ColorChoice) {
    let wrapped = crate::wording::wrap(&format!("countersign: {text}"), stderr_width(color), "  ");
    // There is nobody left to tell when standard error is closed.
    let _ = std::io::stderr().write_all(format!("{wrapped}\n").as_bytes());
}

/// The width of remarks on standard error.
fn stderr_width(choice: ColorChoice) -> usize {
    output::stderr_style(choice).0
}
