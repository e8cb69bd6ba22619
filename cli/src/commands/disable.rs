//! `countersign disable`: refuses every code of an account. The daemon decides whether the caller may.

use crate::{cli::Disable, client, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Disable, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = &arguments.user;
    let (admin, _agent) = client::administer(bus).await?;
    admin.disable(user).await.map_err(|error| client::explain(&error, user, &format!("disable {user}")))?;
    let user = printable(user);
    output.say(&format!("{user} is disabled: every code is refused until: sudo countersign enable {user}"))
}
