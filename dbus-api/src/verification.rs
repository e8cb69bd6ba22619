//! `Verifier`: the types of one verification, from `Begin` to its verdict.

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::{DeserializeDict, SerializeDict, Type};
use zeroize::Zeroize;

use crate::Error;

/// Where a login comes from, as its PAM items say (pam_get_item(3)). A missing item is `None`.
///
/// From any caller but root it is a claim, and the daemon treats it as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Origin {
    /// `PAM_SERVICE`: the PAM service's name, such as `sshd`.
    pub service: Option<String>,
    /// `PAM_TTY`: the terminal, such as `/dev/pts/3`, `tty1`, `ssh` or an X display.
    pub tty: Option<String>,
    /// `PAM_RHOST`: the remote host, as an address or a name.
    pub rhost: Option<String>,
    /// `PAM_RUSER`: the user who asks for the login.
    pub ruser: Option<String>,
}

/// One answer of the daemon: messages to show, then what to do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Step {
    /// To be shown in this order, before anything else happens.
    pub messages: Vec<Message>,
    /// An [`Action`] as its number; one that is not known must be taken as a refusal.
    pub action: u32,
    /// The prompt, where the action asks; empty elsewhere.
    pub text: String,
    /// What a program may want to know beside it.
    pub details: Details,
}

impl Step {
    /// The action, or `None` where the daemon speaks of one that this build does not know.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        Action::from_number(self.action)
    }
}

/// The messages of an enrolment hold a key or recovery codes, which are never printed.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted: &dyn fmt::Debug = if self.details.enrols() { &"[REDACTED]" } else { &self.messages };
        let mut step = f.debug_struct("Step");
        step.field("messages", redacted).field("action", &self.action).field("text", &self.text);
        step.field("details", &self.details).finish()
    }
}

/// One message of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Message {
    /// A [`MessageKind`] as its number; one that is not known is shown as [`MessageKind::Info`].
    pub kind: u32,
    /// One line of printable text.
    pub text: String,
}

impl Drop for Message {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

/// How a message is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MessageKind {
    /// `PAM_TEXT_INFO`.
    Info = 1,
    /// `PAM_ERROR_MSG`.
    Error = 2,
}

impl MessageKind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Info, Self::Error].into_iter().find(|kind| *kind as u32 == number)
    }
}

/// What the module is to do after it has shown the messages of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Ask with `text` as the prompt, without echo, and answer with `Respond`.
    AskHidden = 1,
    /// Ask with `text` as the prompt, with echo, and answer with `Respond`.
    AskVisible = 2,
    /// A factor was verified: the accepted step, counter or code is on disk already.
    Granted = 3,
    /// Refused; [`Details::denial`] says how.
    Denied = 4,
    /// Policy asks for no second factor here.
    Skipped = 5,
}

impl Action {
    /// The action with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::AskHidden, Self::AskVisible, Self::Granted, Self::Denied, Self::Skipped]
            .into_iter()
            .find(|action| *action as u32 == number)
    }
}

/// The machine-readable part of a [`Step`].
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Details {
    /// A [`Denial`] as its number, where the action is [`Action::Denied`].
    pub denial: Option<u32>,
    /// Seconds to wait until a lock lifts, where there is one.
    pub retry_after: Option<u64>,
    /// The least delay before the refusal reaches the person, in milliseconds (pam_fail_delay(3)).
    pub fail_delay: Option<u32>,
    /// Whether the question belongs to an enrolment: its messages are a part of it, shown even where information is
    /// not wanted; the person alone answers it; and a new verification cannot ask it again.
    pub enrolment: Option<bool>,
}

impl Details {
    /// Whether the question belongs to an enrolment.
    #[must_use]
    pub fn enrols(&self) -> bool {
        self.enrolment == Some(true)
    }

    /// Why the verification was denied; an unknown number counts as [`Denial::Refused`].
    #[must_use]
    pub fn denial(&self) -> Denial {
        self.denial.and_then(Denial::from_number).unwrap_or(Denial::Refused)
    }
}

/// Why a verification was denied, as far as its caller may know. The full reason stands in the audit alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Denial {
    /// Wrong, reused, unknown, not enrolled, malformed: one answer for all, so that nobody learns which.
    Refused = 1,
    /// Locked for a time ([`Details::retry_after`]).
    Locked = 2,
    /// Disabled until an administrator enables the account's authenticators.
    Disabled = 3,
    /// The verification's tries are used up.
    TriesUsedUp = 4,
    /// The daemon could not decide: store, key, clock or name service.
    Unavailable = 5,
}

impl Denial {
    /// The denial with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Refused, Self::Locked, Self::Disabled, Self::TriesUsedUp, Self::Unavailable]
            .into_iter()
            .find(|denial| *denial as u32 == number)
    }
}

/// Verifies logins. Root may ask for any account, any other uid for its own.
#[zbus::proxy(
    interface = "org.countersign.Countersign1.Verifier",
    default_service = "org.countersign.Countersign1",
    default_path = "/org/countersign/Countersign1"
)]
pub trait Verifier {
    /// Begins a verification of `user`. The returned id is valid on this connection only, for 120 s after
    /// each step; it is 0 where the step is a verdict already.
    fn begin(&self, user: &str, origin: &Origin) -> Result<(u64, Step), Error>;

    /// Answers the prompt of the last step.
    fn respond(&self, id: u64, reply: &str) -> Result<Step, Error>;

    /// Ends a verification without an answer. Unknown ids are ignored.
    fn cancel(&self, id: u64) -> Result<(), Error>;

    /// What becomes of a login that nobody was asked a code for, as sshd's with a key alone: skipped where the policy
    /// wants no second factor, else denied. It asks nothing.
    fn unasked(&self, user: &str, origin: &Origin) -> Result<Step, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_an_enrolment_are_never_printed() {
        let mut step = Step {
            messages: vec![Message { kind: MessageKind::Info as u32, text: "JBSW Y3DP".into() }],
            action: Action::AskHidden as u32,
            text: "Code: ".into(),
            details: Details::default(),
        };
        assert!(format!("{step:?}").contains("JBSW"));
        step.details.enrolment = Some(true);
        assert!(!format!("{step:?}").contains("JBSW"));
    }
}
