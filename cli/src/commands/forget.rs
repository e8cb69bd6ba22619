//! `countersign forget`: ends the remembered logins of an account. The daemon decides whether the caller may.

use crate::{
    cli::Forget,
    client,
    failure::Failure,
    output::Output,
    wording::{many, printable},
};

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Forget, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = client::account(arguments.user.as_deref(), "forget")?;
    let (admin, _agent) = client::administer(bus).await?;
    let forgotten = admin.forget(&user).await;
    let forgotten = forgotten.map_err(|error| client::explain(&error, &user, &format!("forget {user}")))?;
    let user = printable(&user);
    match forgotten {
        0 => output.say(&format!("No login of {user} was remembered.")),
        forgotten => {
            let logins = many(forgotten.into(), "remembered login");
            output.say(&format!("{logins} of {user} forgotten: a code is asked for everywhere again."))
        }
    }
}
