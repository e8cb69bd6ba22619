//! What would become of a login: `Admin.Explain` of one, `Admin.Rehearse` of many.

use zbus::{DeserializeDict, SerializeDict, Type};

/// Under what circumstances a login is looked at. Absent keys: now, and by a service of root's.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Supposition {
    /// When: `2027-01-31`, `2027-01-31T08:00` or `2027-01-31T08:00:30` in the host's time zone, or in UTC with a `Z` at
    /// its end. Times, days and deadlines of rules are judged at that moment; accounts, locks and remembered logins
    /// stand as they do now.
    pub at: Option<String>,
    /// With `true`: a program that runs as the account itself asks, such as a screen locker. What it says of the
    /// login's origin is a claim.
    pub claimed: Option<bool>,
    /// With `true`, for `Rehearse`: the name service is asked about each account by itself, as at a login, and not for
    /// its lists. Slow; right also where a directory lists neither accounts nor the members of groups.
    pub each: Option<bool>,
}

/// What would become of a login, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Explanation {
    /// The account, as the name service spells it; as it was given where the name service does not know it.
    pub account: String,
    /// Its uid; absent where the name service does not know it.
    pub uid: Option<u32>,
    /// The moment that was looked at, in seconds since the epoch.
    pub at: u64,
    /// A [`LoginOutcome`] as its number. Where `observe` is `true`: what it would be if nobody observed.
    pub outcome: u32,
    /// Whether the login goes on after a right code, or without one.
    pub let_in: bool,
    /// Whether the person sees a question, also where no answer is right.
    pub asked: bool,
    /// Whether the login is let through whatever the outcome, because the policy observes.
    pub observe: bool,
    /// Why it is refused, or not asked, in the words of the audit.
    pub reason: Option<String>,
    /// The rule that decides; absent where none matches, or where that could not be found out.
    pub rule: Option<String>,
    /// Where that rule stands: `FILE:LINE`.
    pub rule_origin: Option<String>,
    /// The rules before it, in their order.
    pub passed_over: Vec<PassedOver>,
    /// The lines that the person is shown, the question the last of them.
    pub shown: Vec<String>,
    /// Replies that the verification takes, where somebody is asked.
    pub tries: Option<u32>,
    /// Whose code is asked for, where it is another account's.
    pub code_of: Option<String>,
    /// How many active authenticators the account has whose code is asked for; absent where that was not looked at.
    pub authenticators: Option<u32>,
    /// How many recovery codes it has left; absent as above.
    pub recovery_codes_left: Option<u32>,
    /// Seconds for which the account or the source address is refused.
    pub retry_after: Option<u64>,
    /// Seconds for which this login is remembered still.
    pub remembered_for: Option<u64>,
    /// The day (`2027-01-31`) from which the rule that decides wants an authenticator, where it is to come.
    pub enroll_by: Option<String>,
}

/// A rule that does not match a login.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct PassedOver {
    /// Its name.
    pub rule: String,
    /// Where it stands: `FILE:LINE`.
    pub origin: String,
    /// The key of the first condition that is not met, such as `networks`.
    pub condition: String,
    /// Why it is not met, for people.
    pub why: String,
}

/// What would become of the login of one account of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Rehearsed {
    /// The account, as it was given.
    pub account: String,
    /// As [`Explanation::outcome`].
    pub outcome: u32,
    /// As [`Explanation::let_in`].
    pub let_in: bool,
    /// As [`Explanation::observe`].
    pub observe: bool,
    /// As [`Explanation::reason`].
    pub reason: Option<String>,
    /// As [`Explanation::rule`].
    pub rule: Option<String>,
}

/// What becomes of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum LoginOutcome {
    /// A code is asked for, and a right one lets in.
    Asked = 1,
    /// The rule wants no code.
    Skipped = 2,
    /// Nothing is enrolled: it is let in with a line that asks to enrol.
    Reminded = 3,
    /// Nothing is enrolled: it is let in without a word.
    Passed = 4,
    /// Nothing is enrolled: it enrols in this login.
    Enrols = 5,
    /// A login before it is remembered: no code is asked for.
    Remembered = 6,
    /// It is refused, whatever is replied.
    Refused = 7,
}

impl LoginOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Asked, Self::Skipped, Self::Reminded, Self::Passed, Self::Enrols, Self::Remembered, Self::Refused];

    /// The outcome with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| *outcome as u32 == number)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Skipped => "skipped",
            Self::Reminded => "reminded",
            Self::Passed => "passed",
            Self::Enrols => "enrols",
            Self::Remembered => "remembered",
            Self::Refused => "refused",
        }
    }
}
