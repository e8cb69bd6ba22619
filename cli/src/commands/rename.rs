//! `countersign rename`: gives an authenticator another label. The daemon decides whether the caller may.

use crate::{cli::Rename, client::Client, commands::verify, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Rename, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let Rename { user, id, label } = arguments;
    let client = Client::connect(bus).await?;
    let enrollment = client.enrollment().await?;
    let command = format!("rename {user} {id} '{label}'");
    verify::with_proof(&client, user, &command, output, || enrollment.rename(user, id, label)).await?;
    output.say(&format!("Authenticator {} of {} is now \"{}\".", printable(id), printable(user), printable(label)))
}
