//! What becomes of a login, in words: for one in full, for many in short.

use dbus_api::LoginOutcome;

use crate::{table::Tone, wording::printable};

/// What is known of a refusal beside its reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal<'a> {
    /// In the words of the audit.
    pub(super) reason: &'a str,
    /// Whose codes are refused.
    pub(super) account: &'a str,
}

/// How grave it is for who wants to log in.
pub(super) fn tone(outcome: Option<LoginOutcome>) -> Tone {
    match outcome {
        Some(LoginOutcome::Asked | LoginOutcome::Remembered) => Tone::Good,
        Some(LoginOutcome::Refused) | None => Tone::Bad,
        Some(_) => Tone::Warning,
    }
}

/// The name of an outcome.
pub(super) fn name(outcome: Option<LoginOutcome>) -> &'static str {
    outcome.map_or("unknown", LoginOutcome::name)
}

impl Refusal<'_> {
    /// Why, in a few words.
    pub(super) fn brief(self) -> String {
        match self.reason {
            "not-enrolled" => "has no authenticator",
            "expired" => "its authenticator has ended",
            "denied" => "the rule denies it",
            "locked" => "locked after wrong codes",
            "disabled" => "disabled",
            "unknown-account" => "unknown to the name service",
            "uid-changed" => "its name belonged to another uid",
            "clock-backwards" => "the clock ran backwards",
            "corrupt-record" => "its record was altered",
            "store" => "the store does not answer",
            "source" => "the address is refused",
            "name-service" => "the name service does not answer",
            "no-ruser" => "the service does not say who asks",
            "not-own-account" => "nobody can claim to be it",
            "enrolment-busy" => "somebody is enrolling",
            "limit" => "too many logins are under way",
            "unknown" => "the daemon does not say",
            other => return printable(other),
        }
        .to_owned()
    }

    /// What can be done about it; the last word of a sentence is a command.
    pub(super) fn help(self) -> Option<String> {
        let user = printable(self.account);
        Some(match self.reason {
            "not-enrolled" | "expired" => format!("Add an authenticator: sudo countersign enroll {user}"),
            "locked" => format!("The lock lifts by itself. Sooner: sudo countersign unlock {user}"),
            "disabled" => format!("Enable it again: sudo countersign enable {user}"),
            "uid-changed" | "corrupt-record" => {
                format!("Let it enrol anew: sudo countersign reset {user}")
            }
            "clock-backwards" => "Set the clock right; a recovery code lets in meanwhile. See: timedatectl".to_owned(),
            "unknown-account" => format!("Check the spelling: getent passwd {user}"),
            "name-service" => "Nobody is let in until it answers again. See why: journalctl -u countersignd".to_owned(),
            "store" => "Nobody is let in until it answers again. See why: journalctl -u countersignd".to_owned(),
            "no-ruser" => {
                "The rule asks for the code of whoever calls: name them by --ruser, without --rhost.".to_owned()
            }
            _ => return None,
        })
    }
}
