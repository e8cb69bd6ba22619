//! Throttling against its slow model, and against true time.

use std::time::Duration;

use proptest::prelude::*;
use verifier::{Limits, Throttle};

use crate::clocks::{Clocks, Tick, ticks};
use crate::failures::{Event, History};

#[derive(Clone, Copy, Debug)]
enum Action {
    Tick(Tick),
    Fail,
    Succeed,
    Unlock,
    Enable,
    Disable,
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => ticks().prop_map(Action::Tick),
        20 => Just(Action::Fail),
        1 => Just(Action::Succeed),
        1 => Just(Action::Unlock),
        1 => Just(Action::Enable),
        1 => Just(Action::Disable),
    ]
}

pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let locks = prop::collection::vec(1..400_u64, 1..5);
    (1..5_u32, 1..600_u64, locks, 1..20_u32).prop_map(|(failures, window, locks, disable_after)| Limits {
        failures,
        window: Duration::from_secs(window),
        locks: locks.into_iter().map(Duration::from_secs).collect(),
        disable_after,
    })
}

/// Does to the throttle what is done, and writes it down.
fn act(action: Action, throttle: &mut Throttle, history: &mut History, clocks: &mut Clocks) {
    match action {
        Action::Tick(tick) => clocks.tick(tick),
        Action::Fail => {
            throttle.charge(&clocks.now(), &history.limits);
            history.events.push(Event::Failure(clocks.now()));
        }
        Action::Succeed => {
            throttle.clear();
            history.events.push(Event::Success);
        }
        Action::Unlock => {
            throttle.unlock();
            history.events.push(Event::Unlock);
        }
        Action::Enable => {
            throttle.enable();
            history.events.push(Event::Enable);
        }
        Action::Disable => {
            throttle.disable();
            history.events.push(Event::Disable);
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(1024, 80_063))]

    #[test]
    fn throttling_does_what_its_model_says(
        limits in limits(),
        actions in prop::collection::vec(actions(), 1..60),
    ) {
        let mut clocks = Clocks::new();
        let mut throttle = Throttle::default();
        let mut history = History { events: Vec::new(), limits };
        for action in actions {
            act(action, &mut throttle, &mut history, &mut clocks);
            let now = clocks.now();
            prop_assert_eq!(throttle.failures as usize, history.failures());
            prop_assert_eq!(throttle.disabled, history.disabled());
            prop_assert_eq!(throttle.locked_for(&now), history.locked_for(&now));
            prop_assert!(throttle.recent.len() <= history.limits.failures as usize);
        }
    }

    /// Of a lock whose wall clock went back before a reboot nobody knows how old it is: it lasts its own delay from
    /// that boot at most.
    #[test]
    fn a_lock_never_lasts_longer_than_its_own_delay_whatever_the_clocks_do(
        limits in limits(),
        ticks in prop::collection::vec(ticks(), 1..60),
    ) {
        let mut clocks = Clocks::new();
        let mut throttle = Throttle::default();
        for _ in 0..limits.failures {
            throttle.charge(&clocks.now(), &Limits { disable_after: 100, ..limits.clone() });
        }
        let mut wall_clock_was_set = false;
        for tick in ticks {
            clocks.tick(tick);
            wall_clock_was_set |= matches!(tick, Tick::Set(_));
            let left = throttle.locked_for(&clocks.now());
            let due = |passed| limits.locks[0].checked_sub(Duration::from_millis(passed)).filter(|left| !left.is_zero());
            prop_assert!(left <= due(clocks.truth - clocks.booted), "{left:?} left");
            prop_assert!(wall_clock_was_set || left == due(clocks.truth), "{left:?} left");
        }
    }
}
