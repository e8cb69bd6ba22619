//! Throttling: counting failures, locking for a time, disabling (NIST SP 800-63B-4, section 3.2.2). The clocks
//! are not trusted to run forwards: no jump of theirs makes a lock longer than its own delay.

use std::time::Duration;

use crate::{BootTime, Now, WallTime};

/// The limits of throttling, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures within [`Limits::window`] that set the first lock; 1 to 100, default 3.
    pub failures: u32,
    /// Default 5 minutes.
    pub window: Duration,
    /// How long the first, second, … lock lasts; the last one repeats. Never empty. Default 30 s, 1 m, 2 m, 5 m.
    pub locks: Vec<Duration>,
    /// Consecutive failures that disable the account; 1 to 100, default 50.
    pub disable_after: u32,
}

/// What throttling knows of an account, over all its authenticators, recovery codes, services and callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Consecutive failures since the last success.
    pub failures: u32,
    /// The moments of the latest failures within the window, oldest first; at most [`Limits::failures`].
    pub recent: Vec<WallTime>,
    /// Locks since the last success or unlock.
    pub locks: u32,
    /// The lock that was set last, if any.
    pub lock: Option<Lock>,
    /// Why every authenticator and recovery code is disabled, if they are.
    pub disabled: Option<Disabled>,
}

/// A lock: it began then and lasts this long, whatever the clocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// By the wall clock.
    pub since: WallTime,
    /// By the clock of the boot.
    pub since_boot: BootTime,
    /// For how long.
    pub lasts: Duration,
}

/// Why an account is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// Too many consecutive failures.
    Failures,
    /// An administrator disabled it.
    Administrator,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Duration::from_secs(300),
            locks: [30, 60, 120, 300].map(Duration::from_secs).to_vec(),
            disable_after: 50,
        }
    }
}

impl Throttle {
    /// How long the lock still lasts; `None` where there is none. Never more than the lock's own delay.
    ///
    /// A lock is over as soon as one clock says so. On another boot than the lock's, the time since that boot
    /// began has surely passed since the lock was set; so a lock ends even where the wall clock stands before it.
    #[must_use]
    pub fn locked_for(&self, now: &Now) -> Option<Duration> {
        let lock = self.lock?;
        let by_wall = now.wall.since(lock.since).unwrap_or_default();
        let by_boot = now.boot.since(lock.since_boot).unwrap_or(Duration::from_millis(now.boot.elapsed));
        lock.lasts.checked_sub(by_wall.max(by_boot)).filter(|left| !left.is_zero())
    }

    /// Charges a failure; may lock or disable.
    ///
    /// The first lock needs [`Limits::failures`] within [`Limits::window`], both ends included. Each failure after
    /// a lock sets the next one at once, however long the last one is over. The failure that disables sets no lock.
    pub fn charge(&mut self, now: &Now, limits: &Limits) {
        self.failures = self.failures.saturating_add(1);
        self.note(now.wall, limits);
        if self.failures >= limits.disable_after {
            self.disabled.get_or_insert(Disabled::Failures);
            return;
        }
        if self.locks == 0 && self.recent.len() < number(limits.failures) {
            return;
        }
        let lasts = limits.locks.get(number(self.locks)).or(limits.locks.last()).copied().unwrap_or(LONGEST_USUAL);
        self.lock = Some(Lock { since: now.wall, since_boot: now.boot, lasts });
        self.locks = self.locks.saturating_add(1);
    }

    /// Clears failures and locks after a success.
    pub fn clear(&mut self) {
        *self = Self { disabled: self.disabled, ..Self::default() };
    }

    /// An administrator lifts the lock: the next one is a first one again, the consecutive failures stay.
    pub fn unlock(&mut self) {
        *self = Self { disabled: self.disabled, failures: self.failures, ..Self::default() };
    }

    /// An administrator disables the account.
    pub fn disable(&mut self) {
        self.disabled = Some(Disabled::Administrator);
    }

    /// An administrator enables the account: everything is cleared.
    pub fn enable(&mut self) {
        *self = Self::default();
    }

    /// Notes the moment of a failure and forgets those that are out of the window. Moments in the future were
    /// noted before the clock went back: they count as now, so that they leave the window in their turn.
    fn note(&mut self, now: WallTime, limits: &Limits) {
        self.recent.retain(|moment| now.since(*moment).is_none_or(|age| age <= limits.window));
        for moment in &mut self.recent {
            *moment = now.min(*moment);
        }
        self.recent.push(now);
        let surplus = self.recent.len().saturating_sub(number(limits.failures).max(1));
        self.recent.drain(..surplus);
    }
}

/// The lock that an empty list of locks would otherwise turn into none: the longest of the default ones.
const LONGEST_USUAL: Duration = Duration::from_secs(300);

/// A count as a length; they are the same on every machine that Linux-PAM runs on.
fn number(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
