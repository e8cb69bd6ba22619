//! One account and the decision about one reply. The account's state comes from the store, which vouches for
//! it; the reply comes from anybody who reaches a prompt.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use crate::recovery_code::{Found as FoundRecoveryCode, spend};
use crate::throttling::Disabled;
use crate::window::{Found, seek};
use crate::{Code, Kind, Limits, Moving, Now, Parameters, RecoveryCode, RecoveryKey, Reply, Secret};
use crate::{Remembered, StoredRecoveryCode, StoredScratchCode, Throttle, WallTime, scratch_code};

/// By how much the wall clock may have gone back since the last decision before TOTP codes are refused.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(120);

/// How long an HOTP code that was far out is remembered, for the next one to resynchronise. The lock that its own
/// charge set is added: until it is over nothing is looked at, and without that nobody could resynchronise once
/// locks have grown to these 5 minutes.
pub const FAR_KEPT: Duration = Duration::from_secs(300);

/// An authenticator's id, unique within its account, shown as 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthenticatorId(pub u32);

/// One thing bound to an account that makes codes.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// Its id.
    pub id: AuthenticatorId,
    /// Its name.
    pub label: String,
    /// Whether it is switched on; [`Authenticator::is_in_force`] tells whether its codes are accepted.
    pub active: bool,
    /// All that is fixed.
    pub parameters: Parameters,
    /// The shared secret.
    pub secret: Secret,
    /// All that changes.
    pub moving: Moving,
    /// When it was bound.
    pub created: WallTime,
    /// When it last let somebody in.
    pub last_used: Option<WallTime>,
    /// From when on its codes are refused: an imported secret that is shorter than new ones may be has to be renewed.
    pub expires: Option<WallTime>,
    /// Whether its codes are refused since a restore, until an administrator trusts them again
    /// ([`Account::distrust`]).
    pub suspended: bool,
}

/// All that decides about an account's replies.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Failures, locks, disabling.
    pub throttle: Throttle,
    /// Everything bound to it.
    pub authenticators: Vec<Authenticator>,
    /// Its recovery codes, used ones too. They belong to the account: they work whether or not an authenticator
    /// is active.
    pub recovery_codes: Vec<StoredRecoveryCode>,
    /// The scratch codes that came with imported authenticators, used ones too; [`scratch_code::MOST`] at most.
    pub scratch_codes: Vec<StoredScratchCode>,
    /// When a reply was last accepted or charged, by the wall clock: more than 2 minutes before it, TOTP is refused.
    /// A grant sets it; a charge only raises it, or a wrong code would switch that guard off.
    pub last_decision: Option<WallTime>,
    /// When a login was last granted.
    pub last_granted: Option<WallTime>,
    /// The logins that need not show a code again for a time.
    pub remembered: Vec<Remembered>,
}

/// What a decision needs beside the account and the reply.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of throttling.
    pub limits: Limits,
    /// Under which recovery codes are hashed.
    pub recovery_key: RecoveryKey,
}

/// Whether an account's replies are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are.
    Open,
    /// Not for this long.
    Locked(Duration),
    /// Not until an administrator enables the account.
    Disabled,
}

/// What was decided about a reply, and how the account stands afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Granted or not.
    pub verdict: Verdict,
    /// Whether this reply set a lock. The one that disables sets none.
    pub lock_set: bool,
    /// Whether this reply disabled the account.
    pub disabled_now: bool,
    /// How the account stands now.
    pub standing: Standing,
    /// Consecutive failures now (before they were cleared, where granted).
    pub failures: u32,
    /// How long the person is to be kept waiting instead of locked out ([`Account::decide_at_console`]).
    pub delay: Option<Duration>,
}

/// Granted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By this factor; its step, counter or code is spent in the account's state.
    Granted(Factor),
    /// For this reason.
    Refused(Reason),
}

/// What let somebody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// A code of this authenticator.
    Authenticator(AuthenticatorId),
    /// A recovery code; so many are left.
    RecoveryCode {
        /// Unused ones.
        left: u32,
    },
}

/// Why a reply was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such code; charged.
    Wrong,
    /// A right code that was accepted before; not charged.
    Reused,
    /// Nothing was looked at: locked.
    Locked,
    /// Nothing was looked at: disabled.
    Disabled,
    /// No code, and the account has neither an active authenticator nor an unused recovery code; charged.
    NotEnrolled,
    /// The same, but it has authenticators that were active until they ended; charged.
    Expired,
    /// Not a code at all; not charged.
    Malformed,
    /// sshd had refused the account already; not charged.
    BlockedBySshd,
    /// A right TOTP code, spent or not, but the clock ran backwards; not charged, not spent.
    ClockBackwards,
}

impl Reason {
    /// Whether a reply that is refused for it counts as a wrong code.
    #[must_use]
    pub const fn is_charged(self) -> bool {
        matches!(self, Self::Wrong | Self::NotEnrolled | Self::Expired)
    }
}

impl Account {
    /// Whether replies are looked at now.
    #[must_use]
    pub fn standing(&self, now: &Now) -> Standing {
        if self.throttle.disabled.is_some() {
            return Standing::Disabled;
        }
        self.throttle.locked_for(now).map_or(Standing::Open, Standing::Locked)
    }

    /// Decides about a reply and changes the account's state accordingly. The caller must have committed the
    /// new state before it answers (invariants 1 and 2).
    ///
    /// While the account is disabled or locked nothing is looked at, spent or charged; a reply that is no code
    /// changes nothing either. Where several authenticators know a code, a fresh one lets in before
    /// [`Reason::ClockBackwards`] refuses, and that before [`Reason::Reused`].
    pub fn decide(&mut self, reply: &Reply, now: &Now, rules: &Rules) -> Decision {
        let verdict = match (self.standing(now), reply) {
            (Standing::Disabled, _) => Verdict::Refused(Reason::Disabled),
            (Standing::Locked(_), _) => Verdict::Refused(Reason::Locked),
            (Standing::Open, Reply::BlockedBySshd) => Verdict::Refused(Reason::BlockedBySshd),
            (Standing::Open, Reply::Malformed) => Verdict::Refused(Reason::Malformed),
            (Standing::Open, Reply::Code(code)) => self.check_code(*code, now, &rules.recovery_key),
            (Standing::Open, Reply::RecoveryCode(code)) => self.check_recovery_code(code, now, &rules.recovery_key),
        };
        match verdict {
            Verdict::Granted(_) => self.clear_failures(verdict, now),
            Verdict::Refused(reason) if reason.is_charged() => self.charge(verdict, now, &rules.limits),
            Verdict::Refused(_) => self.conclude(verdict, now),
        }
    }

    /// Whether nothing is bound to it: no authenticator, not even one that is off, and no recovery code.
    #[must_use]
    pub fn has_nothing(&self) -> bool {
        self.authenticators.is_empty() && self.recovery_codes.is_empty()
    }

    /// Whether replies at the console are looked at, for an account that locks do not keep from it: an
    /// administrator's disabling alone does.
    #[must_use]
    pub fn standing_at_console(&self) -> Standing {
        match self.throttle.disabled {
            Some(Disabled::Administrator) => Standing::Disabled,
            Some(Disabled::Failures) | None => Standing::Open,
        }
    }

    /// Decides about a reply at the console, for an account that locks do not keep from it. A lock and the disabling
    /// by failures do not keep the reply from being looked at; they stay in force for everywhere else. A wrong code is
    /// charged as anywhere, sets its lock for everywhere else, and is told how long that lasts: whoever answers makes
    /// the person wait. A right code clears failures and lock, and leaves disabled what is disabled.
    pub fn decide_at_console(&mut self, reply: &Reply, now: &Now, rules: &Rules) -> Decision {
        if self.standing_at_console() == Standing::Disabled {
            return self.decide(reply, now, rules);
        }
        let (lock, disabled) = (self.throttle.lock.take(), self.throttle.disabled.take());
        let mut decision = self.decide(reply, now, rules);
        decision.disabled_now &= disabled.is_none();
        let charged = matches!(decision.verdict, Verdict::Refused(reason) if reason.is_charged());
        let delay = self.throttle.lock.map(|lock| lock.lasts);
        let delay = delay.or_else(|| rules.limits.locks.last().copied().filter(|_| self.throttle.disabled.is_some()));
        self.throttle.disabled = self.throttle.disabled.or(disabled);
        if !matches!(decision.verdict, Verdict::Granted(_)) {
            self.throttle.lock = self.throttle.lock.or(lock);
        }
        decision.standing = Standing::Open;
        decision.delay = delay.filter(|_| charged);
        decision
    }

    /// Why no reply at all can let in now, however the account stands; `None` where a right one can.
    #[must_use]
    pub fn hopeless(&self, now: &Now) -> Option<Reason> {
        if self.recovery_codes_left() > 0 || self.scratch_codes_left(now.wall) > 0 {
            return None;
        }
        let mut in_force = self.authenticators.iter().filter(|one| one.is_in_force(now.wall)).peekable();
        if in_force.peek().is_none() {
            return Some(self.without_authenticator());
        }
        let by_time = in_force.all(|one| matches!(one.parameters.kind, Kind::Totp(_)));
        (by_time && self.clock_is_behind(now)).then_some(Reason::ClockBackwards)
    }

    /// Why no authenticator lets in, where none is in force.
    fn without_authenticator(&self) -> Reason {
        if self.authenticators.iter().any(Authenticator::is_on) { Reason::Expired } else { Reason::NotEnrolled }
    }

    /// Unused recovery codes.
    #[must_use]
    pub fn recovery_codes_left(&self) -> u32 {
        let left = self.recovery_codes.iter().filter(|code| code.used.is_none()).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Scratch codes that were not used and have not ended.
    #[must_use]
    pub fn scratch_codes_left(&self, now: WallTime) -> u32 {
        // A clock that went back revives none.
        let now = self.last_decision.map_or(now, |last| last.max(now));
        let left = self.scratch_codes.iter().filter(|code| code.is_left(now)).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Forgets the scratch codes of authenticators that the account no longer has.
    pub fn forget_orphaned_scratch_codes(&mut self) {
        let authenticators = &self.authenticators;
        self.scratch_codes.retain(|code| authenticators.iter().any(|one| one.id == code.authenticator));
    }

    /// Tries a code on every active authenticator, in constant work; the first one in order that accepts it wins, and
    /// after them a scratch code. Where there is none, the work of the commonest one is done.
    fn check_code(&mut self, code: Code, now: &Now, key: &RecoveryKey) -> Verdict {
        self.forget_old_far_codes(now);
        let behind = self.clock_is_behind(now);
        let found: Vec<Found> = self.authenticators.iter().map(|one| one.seek(code, now, behind)).collect();
        let latest = self.last_decision.map_or(now.wall, |last| last.max(now.wall));
        let scratch = scratch_code::seek(&self.scratch_codes, code, latest, key);
        if !self.authenticators.iter().any(|authenticator| authenticator.is_in_force(now.wall)) {
            black_box(seek(&[0; Secret::USUAL], Parameters::COMMON, COMMON_STATE, black_box(code), now));
        }
        self.forget_far_codes();
        for (authenticator, found) in self.authenticators.iter_mut().zip(&found) {
            if let Found::Fresh(moving) = found {
                authenticator.moving = *moving;
                authenticator.last_used = Some(now.wall);
                return Verdict::Granted(Factor::Authenticator(authenticator.id));
            }
        }
        let unused = match scratch {
            scratch_code::Found::Unused(index) => self.scratch_codes.get_mut(index),
            _ => None,
        };
        // What is granted is what was spent.
        if let Some(code) = unused {
            code.used = Some(now.wall);
            let left = self.recovery_codes_left().saturating_add(self.scratch_codes_left(now.wall));
            return Verdict::Granted(Factor::RecoveryCode { left });
        }
        if found.contains(&Found::ClockBackwards) {
            return Verdict::Refused(Reason::ClockBackwards);
        }
        if found.contains(&Found::Spent) || scratch == scratch_code::Found::Used {
            return Verdict::Refused(Reason::Reused);
        }
        for (authenticator, found) in self.authenticators.iter_mut().zip(&found) {
            if let (Moving::Hotp(hotp), Found::Far(counter)) = (&mut authenticator.moving, found) {
                hotp.far = Some((*counter, now.wall));
            }
        }
        self.no_match(now)
    }

    fn check_recovery_code(&mut self, code: &RecoveryCode, now: &Now, key: &RecoveryKey) -> Verdict {
        self.forget_far_codes();
        match spend(&mut self.recovery_codes, &code.digest(key), now.wall) {
            FoundRecoveryCode::Unused => {
                let left = self.recovery_codes_left().saturating_add(self.scratch_codes_left(now.wall));
                Verdict::Granted(Factor::RecoveryCode { left })
            }
            FoundRecoveryCode::Used => Verdict::Refused(Reason::Reused),
            FoundRecoveryCode::Nothing => self.no_match(now),
        }
    }

    fn no_match(&self, now: &Now) -> Verdict {
        let in_force = self.authenticators.iter().any(|one| one.is_in_force(now.wall));
        let may_be = in_force || self.recovery_codes_left() > 0 || self.scratch_codes_left(now.wall) > 0;
        Verdict::Refused(if may_be { Reason::Wrong } else { self.without_authenticator() })
    }

    /// Whether the wall clock stands more than [`CLOCK_TOLERANCE`] before the last decision.
    pub(crate) fn clock_is_behind(&self, now: &Now) -> bool {
        self.last_decision.and_then(|last| last.since(now.wall)).is_some_and(|behind| behind > CLOCK_TOLERANCE)
    }

    /// Only the code presented directly after one that was far out resynchronises: whatever else is looked at,
    /// of whichever kind, ends that chance.
    pub(crate) fn forget_far_codes(&mut self) {
        for authenticator in &mut self.authenticators {
            if let Moving::Hotp(hotp) = &mut authenticator.moving {
                hotp.far = None;
            }
        }
    }

    fn forget_old_far_codes(&mut self, now: &Now) {
        let lock = self.throttle.lock;
        let is_kept = |since: WallTime| {
            let waiting = lock.filter(|lock| lock.since == since).map_or(Duration::ZERO, |lock| lock.lasts);
            now.wall.since(since).is_some_and(|age| age <= FAR_KEPT.saturating_add(waiting))
        };
        for authenticator in &mut self.authenticators {
            if let Moving::Hotp(hotp) = &mut authenticator.moving {
                hotp.far = hotp.far.filter(|(_, since)| is_kept(*since));
            }
        }
    }

    fn clear_failures(&mut self, verdict: Verdict, now: &Now) -> Decision {
        let failures = self.throttle.failures;
        self.throttle.clear();
        // Before the clock is believed again: what its going back ended stays ended.
        self.forget_ended(now);
        self.last_decision = Some(now.wall);
        self.last_granted = Some(now.wall);
        Decision { failures, ..self.conclude(verdict, now) }
    }

    pub(crate) fn charge(&mut self, verdict: Verdict, now: &Now, limits: &Limits) -> Decision {
        let locks = self.throttle.locks;
        self.throttle.charge(now, limits);
        self.last_decision = self.last_decision.max(Some(now.wall));
        if self.throttle.disabled.is_some() {
            self.forget_remembered();
        }
        Decision {
            lock_set: self.throttle.locks > locks,
            disabled_now: self.throttle.disabled.is_some(),
            ..self.conclude(verdict, now)
        }
    }

    pub(crate) fn conclude(&self, verdict: Verdict, now: &Now) -> Decision {
        Decision {
            verdict,
            lock_set: false,
            disabled_now: false,
            standing: self.standing(now),
            failures: self.throttle.failures,
            delay: None,
        }
    }
}

impl Authenticator {
    /// Whether its codes are accepted at this moment.
    #[must_use]
    pub fn is_in_force(&self, now: WallTime) -> bool {
        self.is_on() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether its codes are accepted until it ends: it is neither switched off nor suspended.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.active && !self.suspended
    }

    /// Whether the reply is a right code of this authenticator, which is spent thereby. For the end of an enrolment:
    /// the authenticator need not be active, and neither throttling nor the clock's last decision is looked at.
    #[must_use]
    pub fn confirm(&mut self, reply: &Reply, now: &Now) -> bool {
        let Reply::Code(code) = reply else { return false };
        let Found::Fresh(moving) = seek(self.secret.bytes(), self.parameters, self.moving, *code, now) else {
            return false;
        };
        self.moving = moving;
        true
    }

    /// What a code is to this authenticator; nothing where it is not in force.
    fn seek(&self, code: Code, now: &Now, clock_is_behind: bool) -> Found {
        if !self.is_in_force(now.wall) {
            return Found::Nothing;
        }
        match seek(self.secret.bytes(), self.parameters, self.moving, code, now) {
            Found::Fresh(_) | Found::Spent if clock_is_behind && matches!(self.parameters.kind, Kind::Totp(_)) => {
                Found::ClockBackwards
            }
            found => found,
        }
    }
}

impl fmt::Display for AuthenticatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A text is not 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an authenticator's id has 8 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for AuthenticatorId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAnId);
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
    }
}

/// The state of the authenticator whose work is done for accounts without one.
const COMMON_STATE: Moving = Parameters::COMMON.kind.begin(crate::Counter(0));
