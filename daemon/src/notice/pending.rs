//! What happened to an account behind its owner's back, kept until the next login by a code is told of it, once. A label
//! and a host were typed by somebody, so they are escaped and capped.

use verifier::WallTime;

use super::{LONGEST_HOST, host_of, minute};
use crate::audit;
use crate::caller::Caller;
use crate::store::Record;

/// The most notices that wait for one account's next login. The earliest stay, those that follow are counted: nobody
/// hides a change behind many others.
pub const MOST: usize = 8;

/// The most bytes of a label that are shown, escapes included.
const LONGEST_LABEL: usize = 64;

/// One thing to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it happened, by the wall clock.
    pub at: WallTime,
    /// What.
    pub what: What,
    /// Who did it.
    pub by: By,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An authenticator of this label was bound to the account.
    Added(String),
    /// An authenticator of this label was removed.
    Removed(String),
    /// The authenticator of this label was disabled.
    DisabledOne(String),
    /// It was enabled again.
    EnabledOne(String),
    /// The authenticator of this label was resynchronised.
    Resynchronised(String),
    /// The key of the authenticator of this label was shown.
    Exported(String),
    /// A recovery code let somebody in.
    RecoveryCode,
    /// Every code was disabled.
    Disabled,
    /// The account was made to forget everything.
    Reset,
    /// So many further things, of which nothing else is kept.
    Further(u32),
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An administrator.
    Administrator,
    /// Somebody who acts as the account itself.
    Owner,
    /// Whoever answered a prompt, from this host where root's `PAM_RHOST` named one.
    Login(Option<String>),
}

impl By {
    /// Who a caller is to the account of this uid.
    #[must_use]
    pub fn caller(caller: &Caller, account_uid: Option<u32>) -> Self {
        if !caller.is_root() && account_uid == Some(caller.uid) { Self::Owner } else { Self::Administrator }
    }

    /// Whoever answered the prompt of a login from there.
    #[must_use]
    pub fn login(origin: &audit::Origin) -> Self {
        Self::Login(host_of(origin))
    }
}

impl Notice {
    /// The line that the person reads.
    #[must_use]
    pub fn line(&self) -> String {
        let at = minute(self.at);
        match (&self.what, &self.by) {
            (What::Further(1), _) => "1 further change of your authenticators is in the audit.".to_owned(),
            (What::Further(many), _) => format!("{many} further changes of your authenticators are in the audit."),
            (What::Disabled, By::Login(None)) => format!("Your codes were disabled after too many wrong ones at {at}."),
            (What::Disabled, By::Login(Some(host))) => {
                let host = audit::escape(host, LONGEST_HOST);
                format!("Your codes were disabled after too many wrong ones, the last from {host} at {at}.")
            }
            (What::Disabled, by) => format!("Your codes were disabled{} at {at}.", by.words()),
            (What::Added(label), by) => format!("An authenticator was added{} at {at}: {}", by.words(), shown(label)),
            (What::Removed(label), by) => {
                format!("An authenticator was removed{} at {at}: {}", by.words(), shown(label))
            }
            (What::DisabledOne(label), by) => {
                format!("An authenticator was disabled{} at {at}: {}", by.words(), shown(label))
            }
            (What::EnabledOne(label), by) => {
                format!("An authenticator was enabled again{} at {at}: {}", by.words(), shown(label))
            }
            (What::Resynchronised(label), by) => {
                format!("An authenticator was resynchronised{} at {at}: {}", by.words(), shown(label))
            }
            (What::Exported(label), By::Administrator) => {
                format!("The key of an authenticator was shown to an administrator at {at}: {}", shown(label))
            }
            (What::Exported(label), _) => format!("The key of an authenticator was shown at {at}: {}", shown(label)),
            (What::RecoveryCode, by) => format!("A recovery code was used{} at {at}.", by.words()),
            (What::Reset, by) => format!("All your authenticators were removed{} at {at}.", by.words()),
        }
    }
}

impl By {
    fn words(&self) -> String {
        match self {
            Self::Administrator => " by an administrator".to_owned(),
            Self::Owner => " by your own account".to_owned(),
            Self::Login(Some(host)) => format!(" from {}", audit::escape(host, LONGEST_HOST)),
            Self::Login(None) => String::new(),
        }
    }
}

/// Notes that what an account has was changed. Logins are remembered for what it had before: that ends.
pub fn change(record: &mut Record, notice: Notice) {
    record.account.forget_remembered();
    add(&mut record.notices, notice);
}

/// Adds a notice to those that wait.
pub fn add(waiting: &mut Vec<Notice>, notice: Notice) {
    if waiting.len() < MOST {
        waiting.push(notice);
        return;
    }
    match waiting.last_mut() {
        Some(Notice { at, what: What::Further(many), .. }) => {
            *at = notice.at;
            *many = many.saturating_add(1);
        }
        _ => waiting.push(Notice { what: What::Further(1), ..notice }),
    }
}

fn shown(label: &str) -> String {
    audit::escape(label, LONGEST_LABEL)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    /// 2026-11-22 10:15:42 UTC, by date(1).
    const THEN: WallTime = WallTime(1_795_342_542_999);

    fn line(what: What, by: By) -> String {
        Notice { at: THEN, what, by }.line()
    }

    #[test]
    fn each_line_says_what_happened_when_and_who_did_it() {
        let from = || By::Login(Some("192.0.2.7".to_owned()));
        for (what, by, expected) in [
            (
                What::Added("phone".into()),
                By::Administrator,
                "An authenticator was added by an administrator at 2026-11-22 10:15 UTC: phone",
            ),
            (
                What::Removed("key fob".into()),
                By::Owner,
                "An authenticator was removed by your own account at 2026-11-22 10:15 UTC: key fob",
            ),
            (
                What::DisabledOne("phone".into()),
                By::Administrator,
                "An authenticator was disabled by an administrator at 2026-11-22 10:15 UTC: phone",
            ),
            (
                What::EnabledOne("phone".into()),
                By::Administrator,
                "An authenticator was enabled again by an administrator at 2026-11-22 10:15 UTC: phone",
            ),
            (
                What::Resynchronised("phone".into()),
                By::Owner,
                "An authenticator was resynchronised by your own account at 2026-11-22 10:15 UTC: phone",
            ),
            (
                What::Exported("phone".into()),
                By::Administrator,
                "The key of an authenticator was shown to an administrator at 2026-11-22 10:15 UTC: phone",
            ),
            (What::RecoveryCode, from(), "A recovery code was used from 192.0.2.7 at 2026-11-22 10:15 UTC."),
            (What::RecoveryCode, By::Login(None), "A recovery code was used at 2026-11-22 10:15 UTC."),
            (
                What::Disabled,
                By::Administrator,
                "Your codes were disabled by an administrator at 2026-11-22 10:15 UTC.",
            ),
            (
                What::Disabled,
                from(),
                "Your codes were disabled after too many wrong ones, the last from 192.0.2.7 at 2026-11-22 10:15 UTC.",
            ),
            (
                What::Reset,
                By::Administrator,
                "All your authenticators were removed by an administrator at 2026-11-22 10:15 UTC.",
            ),
        ] {
            assert_eq!(line(what, by), expected);
        }
    }

    #[test]
    fn what_was_typed_steers_no_terminal_and_fits_a_message_of_pam() {
        let label = "\u{1b}[2J\n".repeat(64);
        let host = "\u{7}".repeat(5000);
        for line in [line(What::Added(label), By::Owner), line(What::Disabled, By::Login(Some(host)))] {
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
            assert!(line.len() < 400, "{line}");
        }
    }

    #[test]
    fn the_earliest_stay_and_the_rest_is_counted() {
        let mut waiting = Vec::new();
        for number in 0..20 {
            let what = What::Added(number.to_string());
            add(&mut waiting, Notice { at: WallTime(number), what, by: By::Owner });
        }
        assert_eq!(waiting.len(), MOST + 1);
        assert_eq!(waiting[0].what, What::Added("0".into()));
        assert_eq!(waiting[MOST - 1].what, What::Added("7".into()));
        assert_eq!((waiting[MOST].what.clone(), waiting[MOST].at), (What::Further(12), WallTime(19)));
    }
}
