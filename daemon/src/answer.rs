//! What a person and the module are told: the wording, the same for every account (invariant 7).

use std::time::Duration;

use dbus_api::{Action, Denial, Details, Message, MessageKind, Step};
use verifier::{Deadline, Decision, Factor, Reason, Standing, Verdict};

use crate::config::Config;

const WRONG: &str = "Wrong code, or one that was used already.";
const MALFORMED: &str = "That is no code: type the digits that your authenticator shows, or a recovery code.";
const DISABLED: &str = "Codes are disabled for this account: ask an administrator.";
const CLOCK: &str = "This host's clock ran backwards: use a recovery code, or ask an administrator.";
const UNASKED: &str = "A second factor is needed here, and this way to log in does not ask for it.";

/// The longest wait in the place of a lock: login(1) gives up 60 s after it began.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The replies that a verification still takes, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    left: u32,
    of: u32,
}

impl Tries {
    /// None used yet.
    #[must_use]
    pub fn of(tries: u32) -> Self {
        Self { left: tries, of: tries }
    }

    /// How many replies are left.
    #[must_use]
    pub fn left(self) -> u32 {
        self.left
    }

    /// After another reply.
    #[must_use]
    pub fn one_less(self) -> Self {
        Self { left: self.left.saturating_sub(1), ..self }
    }
}

/// Asks for a code.
#[must_use]
pub fn ask(config: &Config, messages: Vec<Message>) -> Step {
    Step { messages, action: Action::AskHidden as u32, text: config.prompt.0.clone(), details: Details::default() }
}

/// Whether this step waits for a reply.
#[must_use]
pub fn asks_again(step: &Step) -> bool {
    matches!(step.action(), Some(Action::AskHidden | Action::AskVisible))
}

/// Refuses without looking at anything, because of how the account stands.
#[must_use]
pub fn closed(standing: Standing, config: &Config) -> Step {
    let (denial, retry_after, text) = match standing {
        Standing::Locked(time) => (Denial::Locked, Some(whole_seconds(time)), locked(time)),
        Standing::Disabled => (Denial::Disabled, None, DISABLED.to_owned()),
        Standing::Open => (Denial::Refused, None, WRONG.to_owned()),
    };
    denied(denial, retry_after, vec![error(text)], config)
}

/// Refuses a source address that failed over many accounts.
#[must_use]
pub fn source_refused(time: Duration, config: &Config) -> Step {
    let seconds = whole_seconds(time);
    let text = format!("Too many wrong codes from your address: try again in {seconds} s.");
    denied(Denial::Locked, Some(seconds), vec![error(text)], config)
}

/// Nobody is asked: the policy wants no second factor.
#[must_use]
pub fn skipped(messages: Vec<Message>) -> Step {
    Step { messages, action: Action::Skipped as u32, text: String::new(), details: Details::default() }
}

/// Asks somebody who was let in without a second factor to enrol.
#[must_use]
pub fn remind(enroll_by: Option<Deadline>) -> Message {
    info(match enroll_by {
        Some(deadline) => format!("From {} a second factor is needed here: run countersign enroll", date(&deadline)),
        None => "A second factor will be needed here: run countersign enroll".to_owned(),
    })
}

/// Tells what was decided. Where tries are left and the account stands open, it asks again.
#[must_use]
pub fn decided(decision: &Decision, tries: Tries, config: &Config) -> Step {
    let reason = match decision.verdict {
        Verdict::Granted(factor) => return granted(factor),
        Verdict::Refused(reason) => reason,
    };
    let said = match reason {
        Reason::Wrong | Reason::Reused | Reason::NotEnrolled | Reason::Expired => Some(WRONG),
        Reason::Malformed => Some(MALFORMED),
        Reason::ClockBackwards => Some(CLOCK),
        Reason::BlockedBySshd | Reason::Locked | Reason::Disabled => None,
    };
    let mut messages: Vec<Message> = said.map(error).into_iter().collect();
    if let Some(delay) = decision.delay {
        return delayed(delay.min(LONGEST_DELAY), messages, config);
    }
    if decision.standing != Standing::Open {
        let mut step = closed(decision.standing, config);
        step.messages.splice(0..0, messages);
        return step;
    }
    match reason {
        Reason::BlockedBySshd => denied(Denial::Refused, None, messages, config),
        Reason::ClockBackwards => denied(Denial::Unavailable, None, messages, config),
        _ if tries.left > 0 => ask(config, std::mem::take(&mut messages)),
        _ if tries.of > 1 => denied(Denial::TriesUsedUp, None, messages, config),
        _ => denied(Denial::Refused, None, messages, config),
    }
}

/// Refuses somebody who is kept waiting instead of locked out. Nobody is asked again within this verification: the
/// delay comes with its end (pam_fail_delay(3), which makes it a quarter longer or shorter).
fn delayed(delay: Duration, mut messages: Vec<Message>, config: &Config) -> Step {
    messages.push(error(format!("Too many wrong codes: wait about {} s.", whole_seconds(delay))));
    let step = denied(Denial::Refused, None, messages, config);
    let fail_delay = delay.max(config.fail_delay.0).as_millis();
    Step { details: Details { fail_delay: u32::try_from(fail_delay).ok(), ..step.details }, ..step }
}

/// Refuses a login that nobody was asked a code for.
#[must_use]
pub fn unasked(config: &Config) -> Step {
    denied(Denial::Refused, None, vec![error(UNASKED)], config)
}

/// Tells something that is no refusal.
#[must_use]
pub fn info(text: String) -> Message {
    Message { kind: MessageKind::Info as u32, text }
}

/// Seconds to wait, rounded up, so that nobody comes back a moment too early.
#[must_use]
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn granted(factor: Factor) -> Step {
    let messages = match factor {
        Factor::Authenticator(_) => Vec::new(),
        Factor::RecoveryCode { left } => {
            vec![info(format!("A recovery code was used: {left} are left. New ones: countersign recovery-codes"))]
        }
    };
    Step { messages, action: Action::Granted as u32, text: String::new(), details: Details::default() }
}

/// Refuses, and delays that as configured.
pub(crate) fn denied(denial: Denial, retry_after: Option<u64>, messages: Vec<Message>, config: &Config) -> Step {
    let fail_delay = u32::try_from(config.fail_delay.0.as_millis()).ok().filter(|delay| *delay > 0);
    Step {
        messages,
        action: Action::Denied as u32,
        text: String::new(),
        details: Details { denial: Some(denial as u32), retry_after, fail_delay, ..Details::default() },
    }
}

/// A day as people write it: 31 January 2027.
fn date(deadline: &Deadline) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = MONTHS.get(usize::from(deadline.month.saturating_sub(1))).unwrap_or(&"");
    format!("{} {month} {}", deadline.day, deadline.year)
}

fn locked(time: Duration) -> String {
    format!("Too many wrong codes: try again in {} s.", whole_seconds(time))
}

/// Tells of a refusal or a mistake.
pub(crate) fn error(text: impl Into<String>) -> Message {
    Message { kind: MessageKind::Error as u32, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason, standing: Standing) -> Decision {
        Decision {
            verdict: Verdict::Refused(reason),
            lock_set: false,
            disabled_now: false,
            standing,
            failures: 1,
            delay: None,
        }
    }

    #[test]
    fn wrong_reused_and_not_enrolled_read_the_same() {
        let config = Config::default();
        let steps = [Reason::Wrong, Reason::Reused, Reason::NotEnrolled, Reason::Expired]
            .map(|reason| decided(&refused(reason, Standing::Open), Tries::of(1).one_less(), &config));
        assert_eq!(steps[0], steps[1]);
        assert_eq!(steps[0], steps[2]);
        assert_eq!(steps[0].action(), Some(Action::Denied));
        assert_eq!(steps[0].details.denial(), Denial::Refused);
        assert_eq!(steps[0].details.fail_delay, Some(1000));
    }

    #[test]
    fn a_lock_is_told_with_the_seconds_rounded_up() {
        let locked = Standing::Locked(Duration::from_millis(29_001));
        let step = decided(&refused(Reason::Wrong, locked), Tries::of(5), &Config::default());
        assert_eq!(step.details.denial(), Denial::Locked);
        assert_eq!(step.details.retry_after, Some(30));
        let texts: Vec<&str> = step.messages.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, [WRONG, "Too many wrong codes: try again in 30 s."]);
    }

    #[test]
    fn whoever_is_kept_waiting_is_told_for_how_long_and_not_asked_again_before() {
        for (lock, told) in [(20, 20), (30, 30), (300, 30)] {
            let decision =
                Decision { delay: Some(Duration::from_secs(lock)), ..refused(Reason::Wrong, Standing::Open) };
            let step = decided(&decision, Tries::of(5), &Config::default());
            assert_eq!((step.details.denial(), step.details.fail_delay), (Denial::Refused, Some(told * 1000)));
            let texts: Vec<&str> = step.messages.iter().map(|message| message.text.as_str()).collect();
            assert_eq!(texts, [WRONG, &format!("Too many wrong codes: wait about {told} s.")]);
        }
    }

    #[test]
    fn while_tries_are_left_it_asks_again_and_then_it_ends() {
        let (config, one_left) = (Config::default(), Tries { left: 1, of: 3 });
        let decision = refused(Reason::Malformed, Standing::Open);
        assert!(asks_again(&decided(&decision, one_left, &config)));
        assert_eq!(decided(&decision, one_left.one_less(), &config).details.denial(), Denial::TriesUsedUp);
        assert!(!asks_again(&decided(&refused(Reason::BlockedBySshd, Standing::Open), one_left, &config)));
    }
}
