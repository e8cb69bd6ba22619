//! `countersign unlock`: lifts the lock of an account. The daemon decides whether the caller may.

use crate::{cli::Unlock, client, failure::Failure, output::Output, wording::printable};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Unlock, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = &arguments.user;
    let (admin, _agent) = client::administer(bus).await?;
    admin.unlock(user).await.map_err(|error| client::explain(&error, user, &format!("unlock {user}")))?;
    let user = printable(user);
    output.say(&format!("{user} is no longer locked. The count of wrong codes stays until the next login."))
}
