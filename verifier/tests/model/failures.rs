//! The slow model of throttling: all that ever happened to an account, and what follows from it.

use std::time::Duration;

use verifier::throttling::Disabled;
use verifier::{Limits, Now};

/// What happened to an account's throttling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Failure(Now),
    Success,
    Unlock,
    Enable,
    Disable,
}

/// All that happened, in order.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    pub(crate) limits: Limits,
}

impl History {
    /// Consecutive failures.
    pub(crate) fn failures(&self) -> usize {
        self.failures_up_to(self.events.len())
    }

    /// Why the account is disabled.
    pub(crate) fn disabled(&self) -> Option<Disabled> {
        let since_enabled = self.after_last(&[Event::Enable]);
        if self.events[since_enabled..].contains(&Event::Disable) {
            return Some(Disabled::Administrator);
        }
        let disabling = |index: &usize| self.is_failure(*index) && self.disables(*index);
        (since_enabled..self.events.len()).find(disabling).map(|_| Disabled::Failures)
    }

    /// The lock that was set last and when, if nothing lifted it: its number decides how long it lasts.
    pub(crate) fn lock(&self) -> Option<(Now, Duration)> {
        let run: Vec<usize> = self.failures_of_run();
        let first = run.iter().position(|index| self.crowd(&run, *index) >= self.limits.failures as usize)?;
        let locking: Vec<usize> = run[first..].iter().copied().filter(|index| !self.disables(*index)).collect();
        let Event::Failure(since) = self.events[*locking.last()?] else { return None };
        let number = locking.len().min(self.limits.locks.len());
        Some((since, self.limits.locks[number - 1]))
    }

    /// How long the lock still lasts by the clock that says the least.
    pub(crate) fn locked_for(&self, now: &Now) -> Option<Duration> {
        let (since, lasts) = self.lock()?;
        let mut passed = vec![0];
        if now.wall >= since.wall {
            passed.push(now.wall.0 - since.wall.0);
        }
        if now.boot.boot == since.boot.boot {
            passed.push(now.boot.elapsed - since.boot.elapsed);
        } else {
            passed.push(now.boot.elapsed);
        }
        let left = passed.iter().map(|passed| lasts.saturating_sub(Duration::from_millis(*passed))).min().unwrap();
        (left > Duration::ZERO).then_some(left)
    }

    fn is_failure(&self, index: usize) -> bool {
        matches!(self.events[index], Event::Failure(_))
    }

    fn after_last(&self, ends: &[Event]) -> usize {
        self.events.iter().rposition(|event| ends.contains(event)).map_or(0, |index| index + 1)
    }

    fn failures_up_to(&self, end: usize) -> usize {
        let begins = |index: &usize| matches!(self.events[*index], Event::Success | Event::Enable);
        let begin = (0..end).rev().find(begins).unwrap_or(0);
        (begin..end).filter(|index| self.is_failure(*index)).count()
    }

    fn disables(&self, failure: usize) -> bool {
        self.failures_up_to(failure + 1) >= self.limits.disable_after as usize
    }

    /// The failures since locks last began anew.
    fn failures_of_run(&self) -> Vec<usize> {
        let begin = self.after_last(&[Event::Success, Event::Unlock, Event::Enable]);
        (begin..self.events.len()).filter(|index| self.is_failure(*index)).collect()
    }

    fn wall(&self, failure: usize) -> u64 {
        let Event::Failure(now) = self.events[failure] else { panic!("it is no failure") };
        now.wall.0
    }

    /// How many failures of the run up to this one (itself too) are within the window of each other.
    fn crowd(&self, run: &[usize], last: usize) -> usize {
        run.iter().filter(|failure| **failure <= last && self.is_fresh(run, **failure, last)).count()
    }

    /// Whether a failure never left the window, at none of the failures after it up to the last one. Its moment is
    /// the earliest that any of them shows: a later moment lies in the future of a clock that went back.
    fn is_fresh(&self, run: &[usize], failure: usize, last: usize) -> bool {
        let window = u64::try_from(self.limits.window.as_millis()).unwrap();
        run.iter().filter(|index| (failure..=last).contains(*index)).all(|until| {
            let seen = run.iter().filter(|index| (failure..=*until).contains(*index));
            self.wall(*until) - seen.map(|index| self.wall(*index)).min().unwrap() <= window
        })
    }
}
