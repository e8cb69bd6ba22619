//! `countersign enable`: accepts codes of a disabled account again. The daemon decides whether the caller may.

use crate::{cli::Enable, client, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Enable, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = &arguments.user;
    let (admin, _agent) = client::administer(bus).await?;
    admin.enable(user).await.map_err(|error| client::explain(&error, user, &format!("enable {user}")))?;
    let user = printable(user);
    output.say(&format!("{user} is enabled: its codes are accepted again."))
}
