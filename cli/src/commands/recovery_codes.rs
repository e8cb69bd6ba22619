//! `countersign recovery-codes`: new recovery codes for an account, after asking. They pass through this process once.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    cli::RecoveryCodes,
    client::{self, Client},
    commands::verify,
    failure::Failure,
    output::Output,
    prompt,
    wording::printable,
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    account: &'a str,
    recovery_codes: &'a [String],
}

/// Runs the command.
///
/// # Errors
/// Where the question is answered with no or cannot be asked, and what the daemon refuses.
pub(super) async fn run(arguments: &RecoveryCodes, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = client::account(arguments.user.as_deref(), "recovery-codes")?;
    let command = format!("recovery-codes {user}");
    if !arguments.yes && !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help(format!("To do it without a question: countersign {} --yes", printable(&command))));
    }
    let question = format!("Make new recovery codes for {}? The old ones stop working.", printable(&user));
    if !arguments.yes && !prompt::confirm(output, &question).await? {
        return Err(Failure::refused("nothing was changed; the old recovery codes stay valid"));
    }
    let client = Client::connect(bus).await?;
    let enrollment = client.enrollment().await?;
    let call = || enrollment.new_recovery_codes(&user);
    let codes = if arguments.json {
        // Questions would spoil the JSON: whoever needs to prove something first is told so.
        call().await.map_err(|error| client::explain(&error, &user, &command))?
    } else {
        verify::with_proof(&client, &user, &command, output, call).await?
    };
    let codes = Zeroizing::new(codes);
    if arguments.json {
        return output.json(&Report { account: &user, recovery_codes: &codes });
    }
    show(&codes, output)
}

/// Prints recovery codes and what they are for.
///
/// # Errors
/// Where they cannot be printed.
pub(super) fn show(codes: &[String], output: &Output) -> Result<(), Failure> {
    output.head("Recovery codes")?;
    output.say(
        "Each lets you in once in place of a code, for instance when the phone is lost. They are shown only now: \
         print them or write them down, and keep them apart from the phone and from this computer.",
    )?;
    output.print("\n")?;
    for code in codes {
        output.print("  ")?;
        output.print(&Zeroizing::new(printable(code)))?;
        output.print("\n")?;
    }
    output.print("\n")
}
