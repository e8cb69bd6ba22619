//! `countersign verify`: one verification as a login runs it, and the same as a proof before a change. The daemon asks
//! and decides; the answers go to it alone.

use dbus_api::{Action, Denial, Error, MessageKind, Origin, Step, VerifierProxy};

use crate::{
    cli::Verify,
    client::{self, Client},
    failure::Failure,
    output::Output,
    prompt::{self, Answer, Interrupts},
    wording::{self, printable},
};

/// What the daemon's records call the service.
const SERVICE: &str = "countersign";

/// Runs the command.
///
/// # Errors
/// Where the code was not accepted, and what the daemon refuses.
pub(super) async fn run(arguments: &Verify, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = client::account(arguments.user.as_deref(), "verify")?;
    let client = Client::connect(bus).await?;
    match verify(&client, &user, output).await? {
        Verdict::Granted => output.say("The code was accepted, and is thereby used up."),
        Verdict::Skipped => output.say(&format!("The policy asks {} for no code here.", printable(&user))),
    }
}

/// How a verification ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A code was accepted.
    Granted,
    /// The policy asks for none.
    Skipped,
}

/// Makes a call of the daemon; where that wants a code of an active authenticator first, on this very connection, asks
/// for it and makes the call once more.
///
/// # Errors
/// What the daemon refuses; `command` is what to type again with sudo.
pub(super) async fn with_proof<T, F>(
    client: &Client,
    user: &str,
    command: &str,
    output: &Output,
    call: impl Fn() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Error>>,
{
    let explain = |error: Error| client::explain(&error, user, command);
    match call().await {
        Err(Error::VerificationRequired(_)) => {
            prove(client, user, "This account has an authenticator already: a code of it is needed first.", output)
                .await?;
            call().await.map_err(explain)
        }
        outcome => outcome.map_err(explain),
    }
}

/// Asks for a code in proof of who it is, on this very connection, after `why` it is asked for.
///
/// # Errors
/// Where it is not accepted.
pub(super) async fn prove(client: &Client, user: &str, why: &str, output: &Output) -> Result<(), Failure> {
    output.say(why)?;
    verify(client, user, output).await.map(|_| ())
}

/// One verification from Begin to its verdict.
async fn verify(client: &Client, user: &str, output: &Output) -> Result<Verdict, Failure> {
    let verifier = client.verifier().await?;
    let origin = Origin { service: Some(SERVICE.to_owned()), ..Origin::default() };
    let explain = |error: Error| client::explain(&error, user, &format!("verify {user}"));
    let mut interrupts = Interrupts::listen()?;
    let (id, mut step) = verifier.begin(user, &origin).await.map_err(explain)?;
    loop {
        show_messages(&step, output)?;
        let hidden = match step.action() {
            Some(Action::AskHidden) => true,
            Some(Action::AskVisible) => false,
            Some(Action::Granted) => return Ok(Verdict::Granted),
            Some(Action::Skipped) => return Ok(Verdict::Skipped),
            Some(Action::Denied) => return Err(explain_denial(&step, user)),
            None => return Err(Failure::refused("the daemon's answer is not understood")),
        };
        let reply = match prompt::ask(output, &question(&step.text), hidden, &mut interrupts).await {
            Ok(Answer::Line(reply)) => reply,
            Ok(Answer::End | Answer::Interrupted) => return Err(give_up(&verifier, id).await),
            Err(failure) => return Err(failure),
        };
        step = verifier.respond(id, &reply).await.map_err(explain)?;
    }
}

fn show_messages(step: &Step, output: &Output) -> Result<(), Failure> {
    for message in &step.messages {
        let text = printable(&message.text);
        match MessageKind::from_number(message.kind) {
            Some(MessageKind::Error) => output.head(&text)?,
            Some(MessageKind::Info) | None => output.say(&text)?,
        }
    }
    Ok(())
}

fn question(text: &str) -> String {
    format!("{} ", printable(text).trim_end())
}

async fn give_up(verifier: &VerifierProxy<'_>, id: u64) -> Failure {
    // It ends with the connection in any case.
    let _ = verifier.cancel(id).await;
    Failure::refused("no code was tried")
}

fn explain_denial(step: &Step, user: &str) -> Failure {
    let user = printable(user);
    match step.details.denial() {
        Denial::Refused | Denial::TriesUsedUp => Failure::refused("the code was not accepted")
            .with_help("Wait for the next code, and check that the clocks of phone and host are right.")
            .with_help(format!("Is there an authenticator at all? countersign status {user}")),
        Denial::Locked => {
            let when = step
                .details
                .retry_after
                .map_or_else(String::new, |seconds| format!(" for {}", wording::duration(seconds)));
            Failure::refused(format!("{user} is locked{when} after too many wrong codes"))
                .with_help(format!("The lock lifts by itself. Sooner: sudo countersign unlock {user}"))
        }
        Denial::Disabled => Failure::refused(format!("{user} is disabled"))
            .with_help(format!("An administrator ends that: sudo countersign enable {user}")),
        Denial::Unavailable => {
            Failure::refused("the daemon could not decide").with_help("See why: journalctl -u countersignd")
        }
    }
}
