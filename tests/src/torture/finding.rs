//! What torture finds: an invariant that did not hold, by a name that stays.

use std::fmt;

use anyhow::{Error, Result};

/// What must hold whatever breaks. docs/testing.md says of each what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// A code lets in once.
    CodeTwice,
    /// A code that is not right lets nobody in.
    WrongCodeLetIn,
    /// A code that was taken back lets nobody in.
    RevokedCodeLetIn,
    /// A lock ends by time, an administrator or nothing.
    LockLost,
    /// A wrong code that was answered is counted.
    ChargeLost,
    /// Who presents right codes alone is never charged.
    RightCodeCharged,
    /// A right code is let in where nothing is broken.
    RightCodeRefused,
    /// What was answered as done is there.
    ToldNotKept,
    /// What was refused is there as a whole or not at all.
    HalfDone,
    /// The audit's chain is whole, and tells what happened.
    AuditBroken,
    /// The database is whole.
    StoreBroken,
    /// The daemon starts as soon as nothing is broken any more, and ends when it is told to.
    NotOpening,
    /// The daemon lives on, where its memory lasts.
    Died,
    /// A refusal that something broken caused is told in the log.
    NotLogged,
    /// A refusal is "unavailable" and at once; nobody hangs.
    ClosedNotClear,
    /// Nobody waits longer than is promised because of somebody else.
    HeldUp,
    /// Memory and descriptors stay bounded.
    Unbounded,
    /// No secret stands in a log.
    SecretLeaked,
    /// Nothing that goes wrong opens the door.
    ErrorLetIn,
    /// Who calls is who the transport says, and acts for itself alone.
    CallerBelieved,
    /// Nobody learns which accounts are enrolled.
    AccountTold,
    /// A password stays in the module.
    PasswordSent,
    /// Nothing that is typed looks like a line of the log.
    LogForged,
    /// The module leaves nothing behind in its host.
    BadGuest,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::CodeTwice,
        Self::WrongCodeLetIn,
        Self::RevokedCodeLetIn,
        Self::LockLost,
        Self::ChargeLost,
        Self::RightCodeCharged,
        Self::RightCodeRefused,
        Self::ToldNotKept,
        Self::HalfDone,
        Self::AuditBroken,
        Self::StoreBroken,
        Self::NotOpening,
        Self::Died,
        Self::NotLogged,
        Self::ClosedNotClear,
        Self::HeldUp,
        Self::Unbounded,
        Self::SecretLeaked,
        Self::ErrorLetIn,
        Self::CallerBelieved,
        Self::AccountTold,
        Self::PasswordSent,
        Self::LogForged,
        Self::BadGuest,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodeTwice => "code-twice",
            Self::WrongCodeLetIn => "wrong-code-let-in",
            Self::RevokedCodeLetIn => "revoked-code-let-in",
            Self::LockLost => "lock-lost",
            Self::ChargeLost => "charge-lost",
            Self::RightCodeCharged => "right-code-charged",
            Self::RightCodeRefused => "right-code-refused",
            Self::ToldNotKept => "told-not-kept",
            Self::HalfDone => "half-done",
            Self::AuditBroken => "audit-broken",
            Self::StoreBroken => "store-broken",
            Self::NotOpening => "not-opening",
            Self::Died => "died",
            Self::NotLogged => "not-logged",
            Self::ClosedNotClear => "closed-not-clear",
            Self::HeldUp => "held-up",
            Self::Unbounded => "unbounded",
            Self::SecretLeaked => "secret-leaked",
            Self::ErrorLetIn => "error-let-in",
            Self::CallerBelieved => "caller-believed",
            Self::AccountTold => "account-told",
            Self::PasswordSent => "password-sent",
            Self::LogForged => "log-forged",
            Self::BadGuest => "bad-guest",
        }
    }

    /// It did not hold.
    pub(super) fn broken(self, what: impl Into<String>) -> Error {
        Finding { invariant: self, what: what.into() }.into()
    }

    /// Nothing where it holds; else `what` was seen.
    pub(super) fn holds(self, holds: bool, what: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { Err(self.broken(what())) }
    }
}

/// An invariant did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen, in one line.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.name(), self.what.replace('\n', " | "))
    }
}

impl std::error::Error for Finding {}
