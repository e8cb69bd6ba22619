//! `countersign resync`: has an authenticator whose clock or counter is off found again by two codes that it shows. The codes
//! are typed here and go to the daemon, which decides whether the caller may and where the authenticator stands.

use dbus_api::{Authenticator, EnrollmentProxy, Error, Resynchronisation};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use crate::{
    cli::Resync,
    client::{self, Client},
    commands::verify,
    failure::Failure,
    output::Output,
    prompt::{self, Answer, Interrupts},
    wording::{self, printable},
};

/// What a clock may be off by, in seconds, before it is worth a word.
const HARDLY_OFF: u64 = 120;

/// Why a code is asked for that is none of the two.
const OTHER_FACTOR: &str = "A code of another authenticator, or a recovery code, is needed first.";

/// Runs the command.
///
/// # Errors
/// Where the codes are not found or not typed, and what the daemon refuses.
pub(super) async fn run(arguments: &Resync, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let id = &arguments.id;
    let user = client::account(arguments.user.as_deref(), "resync")?;
    let command = format!("resync {user} {id}");
    let client = Client::connect(bus).await?;
    let enrollment = client.enrollment().await?;
    let summary = enrollment.list(&user).await.map_err(|error| client::explain(&error, &user, &command))?;
    let Some(authenticator) = summary.authenticators.iter().find(|one| one.id == *id) else {
        return Err(client::explain(&Error::NotEnrolled(String::new()), &user, &command));
    };
    let dialogue = Dialogue { enrollment: &enrollment, user: &user, authenticator, output };
    // Before the two codes are asked for: they would be old ones by the time that another one is verified.
    if !geteuid().is_root() {
        verify::prove(&client, &user, OTHER_FACTOR, output).await?;
    }
    let found = match dialogue.ask_and_send().await? {
        Err(Error::VerificationRequired(_)) => {
            verify::prove(&client, &user, OTHER_FACTOR, output).await?;
            dialogue.ask_and_send().await?
        }
        answer => answer,
    };
    tell(&found.map_err(|error| explain(&error, &user, &command))?, authenticator, output)
}

/// What is needed to ask for two codes.
struct Dialogue<'a> {
    enrollment: &'a EnrollmentProxy<'a>,
    user: &'a str,
    authenticator: &'a Authenticator,
    output: &'a Output,
}

impl Dialogue<'_> {
    async fn ask_and_send(&self) -> Result<Result<Resynchronisation, Error>, Failure> {
        let mut interrupts = Interrupts::listen()?;
        let counts = self.authenticator.kind == "hotp";
        let label = printable(&self.authenticator.label);
        let first = self.ask(&format!("Code of \"{label}\": "), None, &mut interrupts).await?;
        self.output.say(match counts {
            true => "Press the button once more, and only once.",
            false => "Wait until it shows the next one.",
        })?;
        let second = self.ask("The code after it: ", Some(&first), &mut interrupts).await?;
        let answer = tokio::select! {
            answer = self.enrollment.resync(self.user, &self.authenticator.id, &first, &second) => answer,
            () = interrupts.wait() => return Err(left_in_doubt()),
        };
        Ok(answer)
    }

    /// Asks until something with the right number of digits comes that is not `before`: anything else is a slip, which
    /// costs nothing here and would be a wrong code there.
    async fn ask(
        &self,
        question: &str,
        before: Option<&Zeroizing<String>>,
        interrupts: &mut Interrupts,
    ) -> Result<Zeroizing<String>, Failure> {
        loop {
            let Answer::Line(reply) = prompt::ask(self.output, question, false, interrupts).await? else {
                return Err(Failure::refused("nothing was changed"));
            };
            let code: Zeroizing<String> =
                Zeroizing::new(reply.chars().filter(|character| !matches!(character, ' ' | '-')).collect());
            let digits = self.authenticator.digits;
            let has_digits = code.chars().all(|character| character.is_ascii_digit());
            if !has_digits || u32::try_from(code.len()).ok() != Some(digits) {
                self.output.say(&format!("A code of it has {digits} digits."))?;
            } else if before.is_some_and(|before| *before == code) {
                self.output.say("That is the same code again: the one after it is needed.")?;
            } else {
                return Ok(code);
            }
        }
    }
}

fn tell(found: &Resynchronisation, authenticator: &Authenticator, output: &Output) -> Result<(), Failure> {
    let label = printable(&authenticator.label);
    output.head(&format!("\"{label}\" is resynchronised."))?;
    match (found.clock_off, found.skipped) {
        (Some(off), _) if off.unsigned_abs() <= HARDLY_OFF => output.say("Its clock is right.")?,
        (Some(off), _) => {
            let side = if off < 0 { "behind" } else { "ahead" };
            output.say(&format!(
                "Its clock is {} {side}, which is allowed for from now on. Once somebody sets it right, it has to be \
                 resynchronised again.",
                wording::duration(off.unsigned_abs())
            ))?;
        }
        (None, skipped) => {
            output.say(&format!("It was {} ahead.", wording::many(skipped.unwrap_or_default(), "code")))?;
        }
    }
    output.say("Both codes are used up: the next login takes the next one.")
}

fn explain(error: &Error, user: &str, command: &str) -> Failure {
    match error {
        Error::WrongCode(text) => Failure::refused(printable(text))
            .with_help("Enter two codes that it shows directly one after the other and that nobody entered before. They count as a wrong code.")
            .with_help(format!("Too far off, or still not found? Enrol it anew: countersign enroll {}", printable(user))),
        error => client::explain(error, user, command),
    }
}

/// The person broke off while the daemon decided.
fn left_in_doubt() -> Failure {
    Failure::refused("broken off: both codes may be used up").with_help("Try the next code at a login.")
}
