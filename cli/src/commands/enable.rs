//! `countersign enable`: accepts codes of a disabled account, or of one authenticator, again. The daemon decides whether the caller may.

use crate::{cli::Enable, client, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Enable, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = &arguments.user;
    let (admin, _agent) = client::administer(bus).await?;
    if let Some(id) = &arguments.id {
        let done = admin.enable_authenticator(user, id).await;
        done.map_err(|error| client::explain(&error, user, &format!("enable {user} {id}")))?;
        let (user, id) = (printable(user), printable(id));
        return output.say(&format!("Authenticator {id} of {user} is enabled: its codes are accepted again."));
    }
    admin.enable(user).await.map_err(|error| client::explain(&error, user, &format!("enable {user}")))?;
    let user = printable(user);
    output.say(&format!("{user} is enabled: its codes are accepted again."))
}
