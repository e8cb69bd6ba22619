//! Resynchronisation on demand: two codes that an authenticator showed one after the other say where it stands (RFC 4226,
//! section 7.4; RFC 6238, section 6). The codes are typed by anybody who may ask for it.

use std::fmt;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::otp::Generator;
use crate::{
    Account, Authenticator, AuthenticatorId, Code, Counter, Decision, Factor, Hotp, Kind, Limits, Moving, Now, Period,
    Reason, Reply, Standing, TimeStep, Totp, Verdict,
};

/// By how much an authenticator's clock may be off, in seconds, for its codes to be found and its drift to be kept.
pub const CLOCK_OFF_AT_MOST: u64 = 86_400;

/// How far after the next counter the second of two HOTP codes is found. A login finds its own way over 100.
pub const AHEAD_AT_MOST: u64 = 1000;

/// Within how many factors two codes are seen to be of one authenticator, but not neighbours.
const APART: u32 = 10;

/// Two different codes, in the order in which they were shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    first: Code,
    second: Code,
}

/// Two texts are no pair of codes. Nothing was compared with any secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPair {
    /// One of them is no code.
    #[error("a code has 6 to 8 digits")]
    NoCode,
    /// The same code twice.
    #[error("the two codes are the same: wait until the next one is shown")]
    Same,
}

/// What two codes were found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Neighbours; the step or counter of the second one. Where several have these codes, the greatest.
    Pair(u64),
    /// Codes of this authenticator, 10 factors apart at most, but no neighbours in this order.
    Apart,
    /// Nothing within reach.
    Nothing,
}

/// A search for two codes through all factors within reach. It is the same work whatever the codes are, and is done in
/// parts, so that whoever searches can do other things between them.
pub struct Search {
    generator: Generator,
    pair: Pair,
    /// The factor that is looked at next, and the last one.
    next: u64,
    last: u64,
    /// Whether the factors before were the codes' own: the lowest bit is the factor just before.
    first_seen: u32,
    second_seen: u32,
    neighbours: u64,
    any: Choice,
    apart: Choice,
}

impl Pair {
    /// Parses two codes as [`Reply::parse`] does.
    ///
    /// # Errors
    /// [`NotAPair`].
    pub fn parse(first: &str, second: &str) -> Result<Self, NotAPair> {
        match (Reply::parse(first), Reply::parse(second)) {
            (Reply::Code(first), Reply::Code(second)) if first == second => Err(NotAPair::Same),
            (Reply::Code(first), Reply::Code(second)) => Ok(Self { first, second }),
            _ => Err(NotAPair::NoCode),
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair([REDACTED])")
    }
}

impl Search {
    /// Through what an authenticator may show at this moment: the steps of a day before and after now, or the counters
    /// from the last accepted one to [`AHEAD_AT_MOST`] after the next.
    #[must_use]
    pub fn new(authenticator: &Authenticator, pair: Pair, now: &Now) -> Self {
        let (next, last) = match (authenticator.parameters.kind, authenticator.moving) {
            (Kind::Hotp, Moving::Hotp(hotp)) => {
                (hotp.next.0.saturating_sub(2), hotp.next.0.saturating_add(AHEAD_AT_MOST))
            }
            (Kind::Totp(period), _) => {
                let (centre, reach) = (step(now, period), reach(period));
                (centre.saturating_sub(reach + 1), centre.saturating_add(reach))
            }
            // A state of the other kind belongs to another authenticator.
            (Kind::Hotp, Moving::Totp(_)) => (1, 0),
        };
        // After the greatest counter none comes, so that it is never accepted.
        let last = last.min(u64::MAX - 1);
        let generator = Generator::new(authenticator.secret.bytes(), authenticator.parameters);
        let none = Choice::from(0);
        Self { generator, pair, next, last, first_seen: 0, second_seen: 0, neighbours: 0, any: none, apart: none }
    }

    /// Looks at up to so many factors more. Tells whether all were looked at.
    pub fn advance(&mut self, factors: u32) -> bool {
        for _ in 0..factors {
            if self.next > self.last {
                return true;
            }
            self.look_at(self.next);
            self.next += 1;
        }
        self.next > self.last
    }

    /// What was found so far.
    #[must_use]
    pub fn found(&self) -> Found {
        if bool::from(self.any) {
            return Found::Pair(self.neighbours);
        }
        if bool::from(self.apart) { Found::Apart } else { Found::Nothing }
    }

    fn look_at(&mut self, factor: u64) {
        let code = self.generator.code(factor);
        let is = |presented: Code| code.value().ct_eq(&presented.value()) & code.digits().ct_eq(&presented.digits());
        let (first, second) = (is(self.pair.first), is(self.pair.second));
        let neighbours = second & Choice::from((self.first_seen & 1) as u8);
        self.neighbours.conditional_assign(&factor, neighbours);
        self.any |= neighbours;
        let lately = (1 << APART) - 1;
        self.apart |= second & !(self.first_seen & lately & !1).ct_eq(&0);
        self.apart |= first & !(self.second_seen & lately).ct_eq(&0);
        self.first_seen = self.first_seen << 1 | u32::from(first.unwrap_u8());
        self.second_seen = self.second_seen << 1 | u32::from(second.unwrap_u8());
    }
}

impl Account {
    /// Decides about two codes that were sought in one authenticator's reach, and changes the account's state
    /// accordingly: it stands at the second code then, and both are spent. The caller must have committed the new state
    /// before it answers. Failures stay as they are: this is no login.
    ///
    /// Whatever is not found is charged as a wrong code is. The last accepted step or counter never goes back: codes up to
    /// it are [`Reason::Reused`]. With `clock_is_right` the caller vouches for the host's clock, which is then believed
    /// again even where it ran backwards.
    pub fn resynchronise(
        &mut self,
        id: AuthenticatorId,
        found: Found,
        now: &Now,
        limits: &Limits,
        clock_is_right: bool,
    ) -> Decision {
        let refused = match self.standing(now) {
            Standing::Disabled => Some(Reason::Disabled),
            Standing::Locked(_) => Some(Reason::Locked),
            Standing::Open => None,
        };
        if let Some(reason) = refused {
            return self.conclude(Verdict::Refused(reason), now);
        }
        self.forget_far_codes();
        let behind = self.clock_is_behind(now) && !clock_is_right;
        let own = self.authenticators.iter_mut().find(|one| one.id == id && one.is_in_force(now.wall));
        let verdict = own.map_or(Verdict::Refused(Reason::Wrong), |own| own.resynchronise(found, now, behind));
        match verdict {
            Verdict::Refused(Reason::Wrong) => self.charge(verdict, now, limits),
            Verdict::Granted(_) => {
                self.last_decision = Some(now.wall);
                self.conclude(verdict, now)
            }
            Verdict::Refused(_) => self.conclude(verdict, now),
        }
    }
}

impl Authenticator {
    fn resynchronise(&mut self, found: Found, now: &Now, clock_is_behind: bool) -> Verdict {
        let Found::Pair(second) = found else { return Verdict::Refused(Reason::Wrong) };
        let Some(first) = second.checked_sub(1) else { return Verdict::Refused(Reason::Wrong) };
        let moving = match (self.parameters.kind, self.moving) {
            (Kind::Totp(_), Moving::Totp(_)) if clock_is_behind => return Verdict::Refused(Reason::ClockBackwards),
            (Kind::Totp(period), Moving::Totp(totp)) if totp.last.is_none_or(|last| first > last.0) => {
                Moving::Totp(Totp { last: Some(TimeStep(second)), drift: Some(drift(second, now, period)) })
            }
            (Kind::Hotp, Moving::Hotp(hotp)) if first >= hotp.next.0 => {
                Moving::Hotp(Hotp { next: Counter(second.saturating_add(1)), far: None })
            }
            _ => return Verdict::Refused(Reason::Reused),
        };
        self.moving = moving;
        Verdict::Granted(Factor::Authenticator(self.id))
    }
}

/// The greatest drift that is kept with this period, in steps: that of a clock that is off by a day.
pub(crate) fn reach(period: Period) -> u64 {
    CLOCK_OFF_AT_MOST / u64::from(period.seconds())
}

fn step(now: &Now, period: Period) -> u64 {
    now.wall.seconds() / u64::from(period.seconds())
}

/// By how many steps the clock runs ahead that showed the code of this step just now.
fn drift(shown: u64, now: &Now, period: Period) -> i16 {
    let off = i128::from(shown) - i128::from(step(now, period));
    let reach = i128::from(reach(period));
    i16::try_from(off.clamp(-reach, reach)).unwrap_or_default()
}
