//! What an account that came back from an old copy may be trusted with: nothing that may have been spent since the copy
//! was made.

use crate::window::furthest_step;
use crate::{Account, Authenticator, Kind, Moving, Now, StoredRecoveryCode, StoredScratchCode, Totp, WallTime};

/// Stands for the time at which a recovery or scratch code was used, where nobody knows whether it was.
const SUSPENDED: WallTime = WallTime(u64::MAX);

impl Account {
    /// Makes everything worthless that may have been spent since the copy was made. TOTP goes on with the first step that
    /// no code can have been accepted for yet; HOTP authenticators, recovery and scratch codes wait for
    /// [`Account::trust_again`]; no login is remembered.
    pub fn distrust(&mut self, now: &Now) {
        for authenticator in &mut self.authenticators {
            match (authenticator.parameters.kind, &mut authenticator.moving) {
                (Kind::Totp(period), Moving::Totp(totp)) => {
                    totp.last = totp.last.max(Some(furthest_step(period, totp.drift, now)));
                }
                _ => authenticator.suspended = true,
            }
        }
        for used in self.single_uses() {
            *used = used.or(Some(SUSPENDED));
        }
        self.forget_remembered();
    }

    /// Ends what [`Account::distrust`] did to HOTP authenticators, recovery and scratch codes. An authenticator that is
    /// disabled by itself stays so.
    pub fn trust_again(&mut self) {
        self.authenticators.iter_mut().for_each(|authenticator| authenticator.suspended = false);
        for used in self.single_uses().filter(|used| **used == Some(SUSPENDED)) {
            *used = None;
        }
    }

    /// Recovery and scratch codes that wait for [`Account::trust_again`].
    #[must_use]
    pub fn suspended_codes(&self) -> usize {
        let recovery_codes = self.recovery_codes.iter().map(|code| code.used);
        let scratch_codes = self.scratch_codes.iter().map(|code| code.used);
        recovery_codes.chain(scratch_codes).filter(|used| *used == Some(SUSPENDED)).count()
    }

    /// Takes over what `newer`, the same account as it was known otherwise, has spent, counted and ended: no step,
    /// counter, failure or used code is lowered or forgotten, and an authenticator that it does not have waits for
    /// [`Account::trust_again`].
    pub fn catch_up(&mut self, newer: &Self) {
        for authenticator in &mut self.authenticators {
            match newer.authenticators.iter().find(|one| is_same(one, authenticator)) {
                Some(one) => authenticator.catch_up(one),
                None => authenticator.suspended = true,
            }
        }
        // Where a code is not there any more, it stopped working when new ones were made.
        let spent = |code: &StoredRecoveryCode| {
            let known = newer.recovery_codes.iter().find(|one| one.digest == code.digest);
            known.map_or(Some(SUSPENDED), |one| one.used)
        };
        for code in &mut self.recovery_codes {
            code.used = code.used.or(spent(code));
        }
        // Each has a salt of its own, and so a digest.
        let spent = |code: &StoredScratchCode| {
            let known = newer.scratch_codes.iter().find(|one| one.digest == code.digest);
            known.map_or(Some(SUSPENDED), |one| one.used)
        };
        for code in &mut self.scratch_codes {
            code.used = code.used.or(spent(code));
        }
        self.throttle.failures = self.throttle.failures.max(newer.throttle.failures);
        self.throttle.locks = self.throttle.locks.max(newer.throttle.locks);
        self.throttle.disabled = self.throttle.disabled.or(newer.throttle.disabled);
        self.last_decision = self.last_decision.max(newer.last_decision);
        self.last_granted = self.last_granted.max(newer.last_granted);
    }

    /// When each of the codes that work once was used.
    fn single_uses(&mut self) -> impl Iterator<Item = &mut Option<WallTime>> {
        let recovery_codes = self.recovery_codes.iter_mut().map(|code| &mut code.used);
        recovery_codes.chain(self.scratch_codes.iter_mut().map(|code| &mut code.used))
    }
}

impl Authenticator {
    fn catch_up(&mut self, newer: &Self) {
        match (&mut self.moving, newer.moving) {
            (Moving::Totp(totp), Moving::Totp(Totp { last, drift })) => {
                // What came later knows better; where one of them does not know, the other does.
                totp.drift = if last > totp.last { drift.or(totp.drift) } else { totp.drift.or(drift) };
                totp.last = totp.last.max(last);
            }
            (Moving::Hotp(hotp), Moving::Hotp(newer)) => {
                hotp.next = hotp.next.max(newer.next);
                hotp.far = None;
            }
            _ => {}
        }
        self.active &= newer.active;
        self.suspended |= newer.suspended;
        self.last_used = self.last_used.max(newer.last_used);
        // The earlier end, where either has one.
        self.expires = self.expires.into_iter().chain(newer.expires).min();
    }
}

/// The same secret, used in the same way.
fn is_same(one: &Authenticator, other: &Authenticator) -> bool {
    one.parameters == other.parameters && one.secret == other.secret
}
