//! What somebody who enrols at a login reads: steps of plain lines, which fit into 80 columns, and with a usual name into
//! 24 rows. The module shows no control character, so the code has no colours: its light modules are drawn, which is
//! right on a dark terminal and inverted on a light one.

use std::fmt::Write as _;

use dbus_api::{Action, Denial, Details, Message, Step};
use qr::Pattern;
use verifier::{Authenticator, Kind, Parameters};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::{answer, otpauth};

const OFFER: &str = "A second factor is needed. Scan this code with an app:";
const OFFER_OF_KEY: &str = "A second factor is needed. Type this key into an app:";
const CODE: &str = "Code that the app shows: ";
const NOT_RIGHT: &str = "Not the code that the app shows now. Is its clock right?";
const STORE: [&str; 2] = ["Recovery codes: each lets you in once, without the app.", "They are shown only now:"];
const STORED: &str = "Press Enter when you have stored these codes: ";
const ENTER_ALONE: &str = "Nothing is saved yet. Press Enter alone, or Ctrl-C to give up.";
const NOTHING: &str = "Nothing was enrolled.";
const BUSY: &str = "Somebody is enrolling for this account right now: try again in two minutes.";
const OVERTAKEN: &str = "Nothing was enrolled: somebody else has enrolled for this account.";
const NOT_YOU: &str = "If it is not you, tell an administrator.";
const ACTIVE: &str = "Your second factor is active from now on.";

/// The most rows of a QR code that leave room for the rest on 24.
const SMALL: usize = 21;
/// The most rows of a QR code.
const MOST: usize = 29;
/// The least light modules around a QR code with which cameras manage.
const NARROWEST: usize = 2;

/// The key, as a QR code and for typing, and the question for a code of it. The key stands right above the question:
/// where a terminal does not know the blocks, what it shows in their place is long.
pub(super) fn offer(issuer: &str, account: &str, authenticator: &Authenticator) -> Step {
    let pattern = pattern(&otpauth::short_uri(issuer, account, authenticator));
    let offer = if pattern.is_some() { OFFER } else { OFFER_OF_KEY };
    let mut messages = vec![answer::info(offer.to_owned())];
    if let Some(pattern) = pattern {
        messages.extend(pattern.text(false).lines().map(|row| answer::info(row.to_owned())));
    }
    messages.push(answer::info(key(authenticator)));
    asking(messages, Action::AskHidden, CODE)
}

/// After a reply that was no right code.
pub(super) fn confirm_again() -> Step {
    asking(vec![answer::error(NOT_RIGHT)], Action::AskHidden, CODE)
}

/// The recovery codes, and the question whether they are stored.
pub(super) fn recovery_codes(codes: &[String]) -> Step {
    let mut messages: Vec<Message> = STORE.map(|line| answer::info(line.to_owned())).into();
    messages.extend(codes.iter().map(|code| answer::info(format!("  {code}"))));
    asking(messages, Action::AskVisible, STORED)
}

/// After something else than Enter.
pub(super) fn store_again() -> Step {
    asking(vec![answer::error(ENTER_ALONE)], Action::AskVisible, STORED)
}

/// The end of the tries.
pub(super) fn refused(config: &Config) -> Step {
    answer::denied(Denial::Refused, None, vec![answer::error(NOTHING)], config)
}

/// Another enrolment is under way.
pub(super) fn busy(config: &Config) -> Step {
    answer::denied(Denial::Refused, None, vec![answer::error(BUSY), answer::error(NOT_YOU)], config)
}

/// Another enrolment was faster.
pub(super) fn overtaken(config: &Config) -> Step {
    answer::denied(Denial::Refused, None, vec![answer::error(OVERTAKEN), answer::error(NOT_YOU)], config)
}

/// The end.
pub(super) fn granted() -> Step {
    let messages = vec![answer::info(ACTIVE.to_owned())];
    Step { messages, action: Action::Granted as u32, text: String::new(), details: Details::default() }
}

fn asking(messages: Vec<Message>, action: Action, question: &str) -> Step {
    let details = Details { enrolment: Some(true), ..Details::default() };
    Step { messages, action: action as u32, text: question.to_owned(), details }
}

/// The key in groups of four, and what an app would not guess.
fn key(authenticator: &Authenticator) -> String {
    let secret = authenticator.secret.base32();
    let mut key = String::with_capacity(96);
    key.push_str("Key to type: ");
    for (index, character) in secret.chars().enumerate() {
        if index > 0 && index.is_multiple_of(4) {
            key.push(' ');
        }
        key.push(character);
    }
    let Parameters { kind, algorithm, digits } = authenticator.parameters;
    if let (Kind::Totp(period), true) = (kind, authenticator.parameters != Parameters::COMMON) {
        // Writing to a String cannot fail.
        let _ = write!(key, "  ({}, {} digits, {} s)", algorithm.name(), digits.number(), period.seconds());
    }
    key
}

/// The QR code with as much light around it as a small terminal has room for. `None` where it is too large for any:
/// the key is there for typing.
fn pattern(uri: &Zeroizing<String>) -> Option<Pattern> {
    let with = |quiet| Pattern::with_quiet_zone(uri, quiet).ok();
    let fitting = (NARROWEST..=qr::QUIET_ZONE).rev().find_map(|quiet| with(quiet).filter(|it| it.rows() <= SMALL));
    fitting.or_else(|| with(NARROWEST).filter(|pattern| pattern.rows() <= MOST))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use dbus_api::EnrollmentOptions;

    use super::*;
    use crate::authenticator;
    use crate::config::Enrolment;

    fn offered(issuer: &str, account: &str) -> Step {
        let one = authenticator::make(&[], &EnrollmentOptions::default(), &Enrolment::default()).unwrap();
        offer(issuer, account, &one)
    }

    fn rows(step: &Step) -> usize {
        step.messages.iter().filter(|message| message.text.contains('█')).count()
    }

    #[test]
    fn every_line_fits_into_80_columns_and_into_a_pam_message() {
        let codes = vec!["AAAAA-BBBBB-CCCCC-DDDDD-00000".to_owned(); 10];
        let host = "a-host-with-a-long-name.department.example.org";
        for step in [offered("gate", "alice"), offered(host, "long.name@example.org"), recovery_codes(&codes)] {
            assert!(step.messages.iter().all(|message| message.text.chars().count() <= 80), "too wide");
            assert!(step.messages.iter().all(|message| message.text.len() <= 511), "too long");
            assert!(rows(&step) < 30);
        }
    }

    #[test]
    fn with_usual_names_everything_stands_on_a_terminal_of_24_rows() {
        for (issuer, account) in [("gate", "al"), ("gate.example", "alice"), ("web01.example.org", "bob")] {
            let step = offered(issuer, account);
            assert!(rows(&step) > 18, "{issuer}");
            assert!(step.messages.len() < 24, "{issuer}: {}", step.messages.len());
        }
    }

    #[test]
    fn a_code_that_is_too_large_for_a_terminal_is_left_out_and_the_key_is_not() {
        let step = offered(&"x".repeat(48), &"y".repeat(32));
        assert!((1..30).contains(&rows(&step)));
        let step = offered(&"ü".repeat(64), "alice");
        assert_eq!((rows(&step), step.messages.len()), (0, 2));
        let groups = step.messages[1].text.strip_prefix("Key to type: ").unwrap().split(' ');
        assert!(groups.clone().count() == 8 && groups.clone().all(|group| group.len() == 4));
    }

    #[test]
    fn what_an_app_would_not_guess_stands_beside_the_key() {
        let mut one = authenticator::make(&[], &EnrollmentOptions::default(), &Enrolment::default()).unwrap();
        assert_eq!(key(&one).len(), 13 + 39);
        one.parameters.digits = verifier::Digits::new(8).unwrap();
        assert!(key(&one).ends_with("  (SHA1, 8 digits, 30 s)") && key(&one).len() <= 80);
    }
}
