//! `countersign disable`: refuses every code of an account, or those of one authenticator. The daemon decides whether the caller may.

use crate::{cli::Disable, client, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Disable, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = &arguments.user;
    let (admin, _agent) = client::administer(bus).await?;
    if let Some(id) = &arguments.id {
        let done = admin.disable_authenticator(user, id).await;
        done.map_err(|error| client::explain(&error, user, &format!("disable {user} {id}")))?;
        let (user, id) = (printable(user), printable(id));
        return output.say(&format!(
            "Authenticator {id} of {user} is disabled: its codes are refused until: sudo countersign enable {user} {id}"
        ));
    }
    admin.disable(user).await.map_err(|error| client::explain(&error, user, &format!("disable {user}")))?;
    let user = printable(user);
    output.say(&format!("{user} is disabled: every code is refused until: sudo countersign enable {user}"))
}
