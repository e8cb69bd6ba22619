//! The end of a verification and the PAM code it becomes. Anything that is not granted or skipped refuses.

use std::time::Duration;

use dbus_api::{Denial, Details};
use pamsm::PamError;

/// How a verification ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// A factor was verified now.
    Granted,
    /// Policy asks for no second factor here.
    Skipped,
    /// Everything else.
    Refused(Refusal),
}

/// The PAM service whose program makes `PAM_MAXTRIES` worse than another refusal, and whose logins may never run `auth`.
pub(crate) const SSHD: &str = "sshd";

impl Verdict {
    /// The code for libpam, as this service understands it.
    ///
    /// sshd answers `PAM_MAXTRIES` with an empty list of methods, upon which OpenSSH's client goes through all of its
    /// own and asks for a password that nobody wants (seen with OpenSSH 9.2). It counts tries by itself.
    pub(crate) fn code(&self, service: &str) -> PamError {
        match self {
            Self::Granted => PamError::SUCCESS,
            Self::Skipped => PamError::IGNORE,
            Self::Refused(refusal) => match refusal.code() {
                PamError::MAXTRIES if service == SSHD => PamError::AUTH_ERR,
                code => code,
            },
        }
    }
}

/// Why nobody is let in. The text is for the log and holds nothing that was typed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The daemon decided so, and has written its reason into the audit.
    #[error("denied by countersignd")]
    Denied {
        /// As far as the module may know.
        denial: Denial,
        /// The least delay before the refusal reaches the person.
        fail_delay: Option<Duration>,
    },
    /// The daemon answered with a typed error instead of a step.
    #[error("countersignd answered: {0}")]
    Answer(dbus_api::Error),
    /// Nobody was there to ask, or nobody who may be asked.
    #[error("countersignd cannot be reached: {0}")]
    Unreachable(String),
    /// The argument `timeout` ran out.
    #[error("countersignd or the bus did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The daemon speaks of something that this build does not know.
    #[error("countersignd answered with an unknown action ({0}): is it newer than this module?")]
    UnknownAction(u32),
    /// The daemon asked without an end.
    #[error("countersignd asked more than {0} times")]
    TooManyPrompts(u32),
    /// The host's conversation function failed or gave no answer.
    #[error("the conversation with the person failed: {0}")]
    Conversation(&'static str),
    /// The reply to the code's prompt was the password again.
    #[error("this service answers every prompt with the password: it cannot ask twice (forward_pass may help)")]
    CannotAskTwice,
    /// `use_first_pass`, and no earlier module left a password with a code at its end.
    #[error("use_first_pass: no earlier module left a password that ends in a code")]
    NothingForwarded,
    /// Policy wants an enrolment here, where our module stands before the first factor or nobody is asked.
    #[error("nobody can enrol at a line with forward_pass or use_first_pass")]
    CannotEnrol,
    /// The PAM user name is none that an account can have.
    #[error("the user name {0}")]
    BadUser(&'static str),
    /// A wrong line in the PAM file.
    #[error("{0}")]
    BadArgument(String),
}

impl Refusal {
    /// The refusal that a step's details speak of.
    pub(crate) fn denied(details: &Details) -> Self {
        let fail_delay = details.fail_delay.map(|milliseconds| Duration::from_millis(u64::from(milliseconds)));
        Self::Denied { denial: details.denial(), fail_delay }
    }

    /// The code for libpam: the table of the design, section 8.
    fn code(&self) -> PamError {
        match self {
            Self::Denied { denial: Denial::Refused, .. } => PamError::AUTH_ERR,
            Self::Denied { denial: Denial::Locked | Denial::Disabled | Denial::TriesUsedUp, .. } => PamError::MAXTRIES,
            Self::Denied { denial: Denial::Unavailable, .. } => PamError::AUTHINFO_UNAVAIL,
            Self::Answer(error) => answer_code(error),
            Self::Unreachable(_) | Self::Deadline(_) => PamError::AUTHINFO_UNAVAIL,
            Self::UnknownAction(_) | Self::TooManyPrompts(_) => PamError::AUTHINFO_UNAVAIL,
            Self::Conversation(_) => PamError::CONV_ERR,
            Self::CannotAskTwice | Self::NothingForwarded | Self::CannotEnrol | Self::BadUser(_) => PamError::AUTH_ERR,
            Self::BadArgument(_) => PamError::SERVICE_ERR,
        }
    }

    /// Whether the daemon has written the reason down, so that the module need not.
    pub(crate) fn is_audited(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// The least delay before the refusal reaches the person, where the daemon asks for one.
    pub(crate) fn fail_delay(&self) -> Option<Duration> {
        match self {
            Self::Denied { fail_delay, .. } => *fail_delay,
            _ => None,
        }
    }
}

/// The code for a typed error: a refusal of this person, a lock, or a daemon that could not decide.
fn answer_code(error: &dbus_api::Error) -> PamError {
    use dbus_api::Error;

    match error {
        Error::AccessDenied(_)
        | Error::InvalidArgument(_)
        | Error::UnknownAccount(_)
        | Error::NotEnrolled(_)
        | Error::WrongCode(_)
        | Error::VerificationRequired(_)
        | Error::LastAuthenticator(_) => PamError::AUTH_ERR,
        Error::Locked(_) | Error::Disabled(_) => PamError::MAXTRIES,
        Error::ZBus(_)
        | Error::NotFound(_)
        | Error::Busy(_)
        | Error::LimitExceeded(_)
        | Error::BadConfiguration(_)
        | Error::Unavailable(_) => PamError::AUTHINFO_UNAVAIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(denial: Option<u32>) -> PamError {
        Verdict::Refused(Refusal::denied(&Details { denial, ..Details::default() })).code("login")
    }

    #[test]
    fn every_verdict_has_the_code_of_the_design() {
        assert_eq!(Verdict::Granted.code("login"), PamError::SUCCESS);
        assert_eq!(Verdict::Skipped.code("login"), PamError::IGNORE);
        let refusals = [
            (Refusal::Unreachable(String::new()), PamError::AUTHINFO_UNAVAIL),
            (Refusal::Deadline(Duration::from_secs(10)), PamError::AUTHINFO_UNAVAIL),
            (Refusal::UnknownAction(77), PamError::AUTHINFO_UNAVAIL),
            (Refusal::TooManyPrompts(20), PamError::AUTHINFO_UNAVAIL),
            (Refusal::Conversation("no answer"), PamError::CONV_ERR),
            (Refusal::CannotAskTwice, PamError::AUTH_ERR),
            (Refusal::NothingForwarded, PamError::AUTH_ERR),
            (Refusal::BadUser("is empty"), PamError::AUTH_ERR),
            (Refusal::BadArgument(String::new()), PamError::SERVICE_ERR),
        ];
        for (refusal, code) in refusals {
            assert_eq!(Verdict::Refused(refusal).code("login"), code);
        }
    }

    #[test]
    fn sshd_is_never_told_that_the_tries_are_used_up() {
        let locked = Verdict::Refused(Refusal::Denied { denial: Denial::Locked, fail_delay: None });
        assert_eq!(locked.code("sshd"), PamError::AUTH_ERR);
        assert_eq!(locked.code("sudo"), PamError::MAXTRIES);
        assert_eq!(Verdict::Granted.code("sshd"), PamError::SUCCESS);
    }

    #[test]
    fn every_denial_has_its_code_and_an_unknown_one_refuses() {
        assert_eq!(denied(Some(Denial::Refused as u32)), PamError::AUTH_ERR);
        assert_eq!(denied(Some(Denial::Locked as u32)), PamError::MAXTRIES);
        assert_eq!(denied(Some(Denial::Disabled as u32)), PamError::MAXTRIES);
        assert_eq!(denied(Some(Denial::TriesUsedUp as u32)), PamError::MAXTRIES);
        assert_eq!(denied(Some(Denial::Unavailable as u32)), PamError::AUTHINFO_UNAVAIL);
        assert_eq!(denied(Some(99)), PamError::AUTH_ERR);
        assert_eq!(denied(None), PamError::AUTH_ERR);
    }

    #[test]
    fn a_typed_error_is_never_success_nor_ignored() {
        use dbus_api::Error;
        let text = String::new;
        assert_eq!(answer_code(&Error::AccessDenied(text())), PamError::AUTH_ERR);
        assert_eq!(answer_code(&Error::UnknownAccount(text())), PamError::AUTH_ERR);
        assert_eq!(answer_code(&Error::Locked(text())), PamError::MAXTRIES);
        assert_eq!(answer_code(&Error::LimitExceeded(text())), PamError::AUTHINFO_UNAVAIL);
        assert_eq!(answer_code(&Error::Unavailable(text())), PamError::AUTHINFO_UNAVAIL);
        assert_eq!(answer_code(&Error::ZBus(zbus::Error::InvalidReply)), PamError::AUTHINFO_UNAVAIL);
    }
}
