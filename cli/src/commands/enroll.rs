//! `countersign enroll`: shows a new key, has a code of it confirmed, shows the recovery codes. The secrets go to standard
//! output and, where asked for, to a picture; the daemon decides whether the caller may and whether the code is right.

use dbus_api::{Confirmation, EnrollmentOptions, EnrollmentProxy, Error, Offer};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    cli::{Algorithm, Enroll, Kind},
    client::{self, Client},
    commands::{recovery_codes, status, verify},
    failure::Failure,
    output::Output,
    png::PictureFile,
    prompt::{self, Answer, Interrupts},
    qr::{self, Pattern},
    wording::printable,
};

/// How many codes may be tried before the enrolment is given up.
const TRIES: u32 = 3;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    account: &'a str,
    label: &'a str,
    kind: &'a str,
    algorithm: &'a str,
    digits: u32,
    period: Option<u32>,
    secret: &'a str,
    uri: &'a str,
    recovery_codes: &'a [String],
}

/// Runs the command.
///
/// # Errors
/// Where no right code came, the enrolment was broken off, or the daemon refuses.
pub(super) async fn run(arguments: &Enroll, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = client::account(arguments.user.as_deref(), "enroll")?;
    let options = read_options(arguments)?;
    // Before anything is begun: a file that cannot be written is found in time.
    let mut picture = arguments.qr_png.as_deref().map(PictureFile::create).transpose()?;
    let mut interrupts = Interrupts::listen()?;
    let client = Client::connect(bus).await?;
    let enrollment = client.enrollment().await?;
    let command = format!("enroll {user}");
    let begin = verify::with_proof(&client, &user, &command, output, || enrollment.begin(&user, &options));
    if arguments.no_confirm {
        let (_, offer) = begin.await?;
        return finish_at_once(&offer, arguments.json, picture, output);
    }
    let (id, offer) = tokio::select! {
        begun = begin => begun?,
        () = interrupts.wait() => return Err(nothing_enrolled()),
    };
    let pending = Pending { enrollment: &enrollment, id, user: &user, offer: &offer };
    let outcome = pending.show_and_confirm(picture.as_mut(), &mut interrupts, output).await;
    let confirmation = match outcome {
        Ok(confirmation) => confirmation,
        Err(failure) => {
            // It ends with the connection in any case.
            let _ = enrollment.cancel(id).await;
            return Err(failure);
        }
    };
    if let Some(picture) = picture {
        picture.keep();
    }
    output.print("\n")?;
    output.head(&format!("\"{}\" is active for {}.", printable(&offer.label), printable(&offer.account)))?;
    show_recovery_codes(&confirmation.recovery_codes, output)
}

/// An enrolment that was begun and not confirmed yet.
struct Pending<'a> {
    enrollment: &'a EnrollmentProxy<'a>,
    id: u64,
    user: &'a str,
    offer: &'a Offer,
}

impl Pending<'_> {
    async fn show_and_confirm(
        &self,
        picture: Option<&mut PictureFile>,
        interrupts: &mut Interrupts,
        output: &Output,
    ) -> Result<Confirmation, Failure> {
        show_offer(self.offer, picture, output)?;
        output.say("Enter a code that it shows now, to activate it. Ctrl-C gives up.")?;
        let mut left = TRIES;
        loop {
            let code = self.ask_for_code(interrupts, output).await?;
            left -= 1;
            match self.enrollment.confirm(self.id, &code).await {
                Ok(confirmation) => return Ok(confirmation),
                Err(Error::WrongCode(_)) if left > 0 => output.say(&format!(
                    "That code is not right. Wait for the next one, and check that the clocks of phone and host are \
                     right. {left} more {}.",
                    if left == 1 { "try" } else { "tries" }
                ))?,
                Err(Error::WrongCode(_)) => {
                    return Err(nothing_enrolled().with_help(format!(
                        "{TRIES} codes were not right. The clocks of phone and host may differ: timedatectl"
                    )));
                }
                Err(error @ Error::ZBus(_)) => return Err(self.left_in_doubt(&error)),
                Err(error) => return Err(client::explain(&error, self.user, &format!("enroll {}", self.user))),
            }
        }
    }

    /// Asks until something with the right number of digits comes: anything else is a slip and not worth a try.
    async fn ask_for_code(&self, interrupts: &mut Interrupts, output: &Output) -> Result<Zeroizing<String>, Failure> {
        loop {
            let question = "Code of the new authenticator: ";
            let Answer::Line(reply) = prompt::ask(output, question, false, interrupts).await? else {
                return Err(nothing_enrolled());
            };
            let code: Zeroizing<String> =
                Zeroizing::new(reply.chars().filter(|character| !matches!(character, ' ' | '-')).collect());
            let digits = code.chars().all(|character| character.is_ascii_digit());
            if digits && u32::try_from(code.len()).is_ok_and(|length| length == self.offer.digits) {
                return Ok(code);
            }
            output.say(&format!("A code of it has {} digits.", self.offer.digits))?;
        }
    }

    /// The connection broke while the daemon decided: the code may have been accepted.
    fn left_in_doubt(&self, error: &Error) -> Failure {
        let user = printable(self.user);
        client::explain(error, self.user, &format!("enroll {user}"))
            .with_help(format!("See whether it was activated: countersign status {user}"))
    }
}

/// An enrolment that `--no-confirm` made final: everything is shown, even if the picture fails.
fn finish_at_once(offer: &Offer, json: bool, mut picture: Option<PictureFile>, output: &Output) -> Result<(), Failure> {
    let codes = offer.recovery_codes.as_deref().unwrap_or_default();
    if json {
        let written = picture.as_mut().map_or(Ok(()), |picture| write_picture(offer, picture));
        output.json(&report(offer, codes))?;
        written?;
    } else {
        let written = show_offer(offer, picture.as_mut(), output);
        output.head(&format!("\"{}\" is active for {}.", printable(&offer.label), printable(&offer.account)))?;
        show_recovery_codes(codes, output)?;
        written?;
    }
    if let Some(picture) = picture {
        picture.keep();
    }
    Ok(())
}

fn report<'a>(offer: &'a Offer, recovery_codes: &'a [String]) -> Report<'a> {
    Report {
        account: &offer.account,
        label: &offer.label,
        kind: &offer.kind,
        algorithm: &offer.algorithm,
        digits: offer.digits,
        period: (offer.period > 0).then_some(offer.period),
        secret: &offer.secret,
        uri: &offer.uri,
        recovery_codes,
    }
}

fn read_options(arguments: &Enroll) -> Result<EnrollmentOptions, Failure> {
    if arguments.kind == Some(Kind::Hotp) && arguments.period.is_some() {
        return Err(Failure::usage("--period goes with --kind totp: hotp codes do not change with time"));
    }
    let kind = |kind| match kind {
        Kind::Totp => "totp".to_owned(),
        Kind::Hotp => "hotp".to_owned(),
    };
    let algorithm = |algorithm| match algorithm {
        Algorithm::Sha1 => "SHA1".to_owned(),
        Algorithm::Sha256 => "SHA256".to_owned(),
        Algorithm::Sha512 => "SHA512".to_owned(),
    };
    Ok(EnrollmentOptions {
        label: arguments.label.clone(),
        kind: arguments.kind.map(kind),
        algorithm: arguments.algorithm.map(algorithm),
        digits: arguments.digits,
        period: arguments.period,
        no_confirm: arguments.no_confirm.then_some(true),
    })
}

/// Shows the QR code, the key for typing and the URI. The picture comes last: its failure hides nothing.
fn show_offer(offer: &Offer, picture: Option<&mut PictureFile>, output: &Output) -> Result<(), Failure> {
    output.head(&format!("A new authenticator \"{}\" for {}", printable(&offer.label), printable(&offer.account)))?;
    show_key_material(offer, output)?;
    picture.map_or(Ok(()), |picture| write_picture(offer, picture))
}

/// Writes the QR code into a picture.
///
/// # Errors
/// Where it does not fit a QR code, and where it cannot be written.
pub(super) fn write_picture(offer: &Offer, picture: &mut PictureFile) -> Result<(), Failure> {
    picture.write(&qr::pattern(&offer.uri)?)
}

/// Shows how an authenticator makes its codes, its QR code, its key for typing and its URI.
///
/// # Errors
/// Where it cannot be printed.
pub(super) fn show_key_material(offer: &Offer, output: &Output) -> Result<(), Failure> {
    let made = status::codes(&offer.kind, &offer.algorithm, offer.digits, offer.period);
    output.say(&format!("It makes codes by {made}."))?;
    output.print("\n")?;
    let pattern = qr::pattern(&offer.uri);
    match &pattern {
        Ok(pattern) => show_pattern(pattern, output)?,
        Err(_too_long) => output.say("Its URI is too long for a QR code.")?,
    }
    output.say("Or type this key into it:")?;
    output.print("\n")?;
    show_key(&offer.secret, output)?;
    output.say("Or copy this address, which holds the key as well:")?;
    output.print("\n  ")?;
    output.print(&Zeroizing::new(printable(&offer.uri)))?;
    output.print("\n\n")
}

fn show_pattern(pattern: &Pattern, output: &Output) -> Result<(), Failure> {
    let columns = output.columns().filter(|columns| *columns < pattern.size());
    if let Some(columns) = columns {
        output.say(&format!(
            "The QR code does not fit: it needs {} columns, and the terminal has {columns}. Widen it and begin again, or \
             write the code to a file with --qr-png FILE.",
            pattern.size()
        ))?;
        return output.print("\n");
    }
    output.say("Scan this QR code with the authenticator app:")?;
    output.print("\n")?;
    output.print(&pattern.text(output.color()))?;
    output.print("\n")
}

/// The key in groups of four, as many a line as fit.
fn show_key(secret: &str, output: &Output) -> Result<(), Failure> {
    let shown = Zeroizing::new(printable(secret));
    let mut groups = Zeroizing::new(String::with_capacity(shown.len() * 2));
    for (index, character) in shown.chars().enumerate() {
        if index > 0 && index.is_multiple_of(4) {
            groups.push(' ');
        }
        groups.push(character);
    }
    output.print("  ")?;
    let wrapped = Zeroizing::new(crate::wording::wrap(&groups, output.width().saturating_sub(2), "  "));
    output.print(&wrapped)?;
    output.print("\n\n")
}

fn show_recovery_codes(codes: &[String], output: &Output) -> Result<(), Failure> {
    if codes.is_empty() {
        return output.say("The recovery codes that were given out before stay valid.");
    }
    output.print("\n")?;
    recovery_codes::show(codes, output)
}

fn nothing_enrolled() -> Failure {
    Failure::refused("nothing was enrolled")
}
