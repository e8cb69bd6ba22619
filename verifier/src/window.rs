//! The window of moving factors in which a presented code is sought. Every factor of the window is generated and
//! compared, in constant time and without an early end, whether the code is right, wrong or of another length.

use subtle::{Choice, ConditionallySelectable};

use crate::otp::Generator;
use crate::resynchronisation::reach;
use crate::{Code, Counter, Hotp, Kind, Moving, Now, Parameters, Period, TimeStep, Totp};

/// Within how many steps around the drift a TOTP code is accepted (RFC 6238, section 5.2).
const STEPS_AROUND: i128 = 1;
/// How far a success may move the drift outwards, in steps.
const DRIFT_BY_ITSELF: i128 = 2;
/// How far successes are taken to have moved the drift outwards since it was known last, in steps.
const DRIFT_SINCE: i128 = 10;
/// The look-ahead parameter s of RFC 4226, section 7.4: the next counter and the 10 after it are accepted.
const LOOK_AHEAD: i128 = 10;
/// As far after the next counter a code is recognised as one that is far out.
const FAR: i128 = 100;

/// What a presented code is to one authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A right code that was never accepted; the authenticator's state once it is.
    Fresh(Moving),
    /// A right code of a step or counter that is spent.
    Spent,
    /// A right TOTP code, spent or not, at a time at which the clock cannot be believed.
    ClockBackwards,
    /// An HOTP code beyond the look-ahead window: as wrong as any, unless the next one follows.
    Far(Counter),
    /// No code of the window.
    Nothing,
}

/// The furthest step that a code can have been accepted for until now, where this was known some time ago. A
/// resynchronisation made since, which sets the drift to anything, is not allowed for.
pub(crate) fn furthest_step(period: Period, drift: Option<i16>, now: &Now) -> TimeStep {
    let drift = i128::from(drift.unwrap_or_default()).clamp(0, i128::from(reach(period)));
    let ahead = u64::try_from(drift + DRIFT_SINCE + STEPS_AROUND).unwrap_or_default();
    TimeStep((now.wall.seconds() / u64::from(period.seconds())).saturating_add(ahead))
}

/// Seeks a code in the window of one authenticator.
pub(crate) fn seek(secret: &[u8], parameters: Parameters, moving: Moving, code: Code, now: &Now) -> Found {
    let generator = Generator::new(secret, parameters);
    match (parameters.kind, moving) {
        (Kind::Totp(period), Moving::Totp(totp)) => seek_step(&generator, period, totp, code, now),
        (Kind::Hotp, Moving::Hotp(hotp)) => seek_counter(&generator, hotp, code),
        // A state of the other kind belongs to another authenticator.
        _ => Found::Nothing,
    }
}

/// Where several steps have the same code, the greatest is the one accepted: with a smaller one the same digits
/// would be accepted again.
fn seek_step(generator: &Generator, period: Period, totp: Totp, code: Code, now: &Now) -> Found {
    let reach = i128::from(reach(period));
    let drift = i128::from(totp.drift.unwrap_or_default()).clamp(-reach, reach);
    let centre = i128::from(now.wall.seconds() / u64::from(period.seconds())) + drift;
    let mut fresh = Hit::default();
    let mut spent = Hit::default();
    for step in centre - STEPS_AROUND..=centre + STEPS_AROUND {
        let (factor, exists) = factor(step);
        let hit = generator.matches(code, factor) & exists;
        let is_newer = choice(totp.last.is_none_or(|last| factor > last.0));
        fresh.note(factor, hit & is_newer);
        spent.note(factor, hit & !is_newer);
    }
    if let Some(step) = fresh.factor() {
        let drift = follow(drift, (i128::from(step) - centre).signum()).clamp(-reach, reach);
        let drift = Some(i16::try_from(drift).unwrap_or_default());
        return Found::Fresh(Moving::Totp(Totp { last: Some(TimeStep(step)), drift }));
    }
    spent.factor().map_or(Found::Nothing, |_| Found::Spent)
}

/// The last accepted counter, the look-ahead window, all that is far out and the one after it (which may complete
/// a pair) are always generated. The greatest acceptable counter is taken, as with steps; the last counter there is
/// (2^64 - 1) never, since none comes after it.
fn seek_counter(generator: &Generator, hotp: Hotp, code: Code) -> Found {
    let next = i128::from(hotp.next.0);
    let following = hotp.far.map(|(far, _)| i128::from(far.0) + 1);
    let mut fresh = Hit::default();
    let mut spent = Hit::default();
    let mut far = Hit::default();
    for counter in next - 1..=next + FAR + 1 {
        let (factor, exists) = factor(counter);
        let hit = generator.matches(code, factor) & exists & choice(factor < u64::MAX);
        let ahead = counter - next;
        let is_near = choice((0..=LOOK_AHEAD).contains(&ahead));
        let follows = choice(ahead > LOOK_AHEAD && following == Some(counter));
        fresh.note(factor, hit & (is_near | follows));
        spent.note(factor, hit & choice(ahead < 0));
        far.note(factor, hit & choice(ahead > LOOK_AHEAD && ahead <= FAR) & !far.any);
    }
    if let Some(counter) = fresh.factor() {
        return Found::Fresh(Moving::Hotp(Hotp { next: Counter(counter.saturating_add(1)), far: None }));
    }
    if spent.factor().is_some() {
        return Found::Spent;
    }
    far.factor().map_or(Found::Nothing, |counter| Found::Far(Counter(counter)))
}

/// A drift after a code that was one step behind (-1), as expected (0) or one step ahead (1). One that was set beyond what
/// successes reach by themselves follows both ways: if it went inwards alone, a code typed late would take it away from
/// where the clock is, for good.
fn follow(drift: i128, by: i128) -> i128 {
    let moved = drift + by;
    if moved.abs() <= DRIFT_BY_ITSELF || drift.abs() > DRIFT_BY_ITSELF { moved } else { drift }
}

/// A factor, and whether there is such a one: before 0 and after 2^64 - 1 another is generated in its place, but
/// nothing matches.
fn factor(number: i128) -> (u64, Choice) {
    u64::try_from(number).map_or((0, choice(false)), |factor| (factor, choice(true)))
}

fn choice(is: bool) -> Choice {
    Choice::from(u8::from(is))
}

/// The factor that was noted last, without a branch on whether one was.
struct Hit {
    factor: u64,
    any: Choice,
}

impl Default for Hit {
    fn default() -> Self {
        Self { factor: 0, any: choice(false) }
    }
}

impl Hit {
    fn note(&mut self, factor: u64, hit: Choice) {
        self.factor.conditional_assign(&factor, hit);
        self.any |= hit;
    }

    fn factor(&self) -> Option<u64> {
        bool::from(self.any).then_some(self.factor)
    }
}
