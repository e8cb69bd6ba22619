//! What an account that came back from an old copy may be trusted with: nothing that may have been spent since the copy
//! was made.

use crate::window::furthest_step;
use crate::{Account, Authenticator, Kind, Moving, Now, StoredRecoveryCode, Totp, WallTime};

/// Stands for the time at which a recovery code was used, where nobody knows whether it was.
const SUSPENDED: WallTime = WallTime(u64::MAX);

impl Account {
    /// Makes everything worthless that may have been spent since the copy was made. TOTP goes on with the first step that
    /// no code can have been accepted for yet; HOTP authenticators and recovery codes wait for [`Account::trust_again`];
    /// no login is remembered.
    pub fn distrust(&mut self, now: &Now) {
        for authenticator in &mut self.authenticators {
            match (authenticator.parameters.kind, &mut authenticator.moving) {
                (Kind::Totp(period), Moving::Totp(totp)) => totp.last = totp.last.max(Some(furthest_step(period, now))),
                _ => authenticator.active = false,
            }
        }
        for code in &mut self.recovery_codes {
            code.used = code.used.or(Some(SUSPENDED));
        }
        self.forget_remembered();
    }

    /// Ends what [`Account::distrust`] did to HOTP authenticators and recovery codes.
    pub fn trust_again(&mut self) {
        self.authenticators.iter_mut().for_each(|authenticator| authenticator.active = true);
        for code in self.recovery_codes.iter_mut().filter(|code| code.used == Some(SUSPENDED)) {
            code.used = None;
        }
    }

    /// Recovery codes that wait for [`Account::trust_again`].
    #[must_use]
    pub fn suspended_recovery_codes(&self) -> usize {
        self.recovery_codes.iter().filter(|code| code.used == Some(SUSPENDED)).count()
    }

    /// Takes over what `newer`, the same account as it was known otherwise, has spent, counted and ended: no step,
    /// counter, failure or used code is lowered or forgotten, and an authenticator that it does not have is off.
    pub fn catch_up(&mut self, newer: &Self) {
        for authenticator in &mut self.authenticators {
            match newer.authenticators.iter().find(|one| is_same(one, authenticator)) {
                Some(one) => authenticator.catch_up(one),
                None => authenticator.active = false,
            }
        }
        let spent = |code: &StoredRecoveryCode| newer.recovery_codes.iter().find(|one| one.digest == code.digest);
        for code in &mut self.recovery_codes {
            match spent(code) {
                Some(one) => code.used = code.used.or(one.used),
                // New ones were made since: these stopped working then.
                None => code.used = code.used.or(Some(SUSPENDED)),
            }
        }
        self.throttle.failures = self.throttle.failures.max(newer.throttle.failures);
        self.throttle.locks = self.throttle.locks.max(newer.throttle.locks);
        self.throttle.disabled = self.throttle.disabled.or(newer.throttle.disabled);
        self.last_decision = self.last_decision.max(newer.last_decision);
        self.last_granted = self.last_granted.max(newer.last_granted);
    }
}

impl Authenticator {
    fn catch_up(&mut self, newer: &Self) {
        match (&mut self.moving, newer.moving) {
            (Moving::Totp(totp), Moving::Totp(Totp { last, drift })) => {
                if last > totp.last {
                    totp.drift = drift;
                }
                totp.last = totp.last.max(last);
            }
            (Moving::Hotp(hotp), Moving::Hotp(newer)) => {
                hotp.next = hotp.next.max(newer.next);
                hotp.far = None;
            }
            _ => {}
        }
        self.active &= newer.active;
        self.last_used = self.last_used.max(newer.last_used);
    }
}

/// The same secret, used in the same way.
fn is_same(one: &Authenticator, other: &Authenticator) -> bool {
    one.parameters == other.parameters && one.secret == other.secret
}
