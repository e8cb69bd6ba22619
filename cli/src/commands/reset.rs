//! `countersign reset`: forgets everything about an account, after asking. The daemon decides whether the caller may.

use crate::{
    cli::Reset,
    client,
    failure::Failure,
    output::Output,
    prompt,
    wording::{self, printable},
};

/// Runs the command.
///
/// # Errors
/// Where the question is answered with no or cannot be asked, and what the daemon refuses.
pub(super) async fn run(arguments: &Reset, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (user, shown) = (&arguments.user, printable(&arguments.user));
    let window = arguments.allow_enrolment.as_deref().map(read_window).transpose()?;
    if !arguments.yes {
        ask(&shown, output).await?;
    }
    let (admin, _agent) = client::administer(bus).await?;
    admin
        .reset(user, window.unwrap_or(0))
        .await
        .map_err(|error| client::explain(&error, user, &format!("reset {user}")))?;
    output.say(&format!("{shown} is reset: it has no authenticator and no recovery codes any more."))?;
    match window {
        Some(seconds) => {
            output.say(&format!("{shown} may enrol within {} by: countersign enroll", wording::duration(seconds)))
        }
        None => output.say(&format!("A new authenticator: sudo countersign enroll {shown}")),
    }
}

fn read_window(text: &str) -> Result<u64, Failure> {
    wording::parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("--allow-enrolment: {} is no length of time", printable(text)))
            .with_help("Write it like 30m, 24h or 2d.")
    })
}

async fn ask(user: &str, output: &Output) -> Result<(), Failure> {
    if !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help(format!("To reset without a question: sudo countersign reset {user} --yes")));
    }
    output
        .say(&format!("This forgets every authenticator, recovery code and failure of {user}. It cannot be undone."))?;
    if prompt::confirm(output, &format!("Reset {user}?")).await? {
        return Ok(());
    }
    Err(Failure::refused("nothing was changed"))
}
