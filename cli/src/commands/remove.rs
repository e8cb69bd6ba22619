//! `countersign remove`: removes an authenticator, after asking. The daemon decides whether the caller may.

use crate::{
    cli::Remove, client::Client, commands::verify, failure::Failure, output::Output, prompt, wording::printable,
};

/// Runs the command.
///
/// # Errors
/// Where the question is answered with no or cannot be asked, and what the daemon refuses.
pub(super) async fn run(arguments: &Remove, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (user, id) = (&arguments.user, &arguments.id);
    let command = format!("remove {user} {id}");
    if !arguments.yes && !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help(format!("To remove it without a question: sudo countersign {} --yes", printable(&command))));
    }
    let question = format!("Remove authenticator {} of {} for good?", printable(id), printable(user));
    if !arguments.yes && !prompt::confirm(output, &question).await? {
        return Err(Failure::refused("nothing was changed"));
    }
    let client = Client::connect(bus).await?;
    let enrollment = client.enrollment().await?;
    verify::with_proof(&client, user, &command, output, || enrollment.remove(user, id)).await?;
    output.say(&format!("Authenticator {} of {} is removed; its codes are refused.", printable(id), printable(user)))
}
