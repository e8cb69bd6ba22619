//! Coalescing: refusals that anybody can cause at will are counted instead of filling the disk.
//!
//! The first one of a kind is recorded at once; those that follow within a minute are recorded as one, with
//! their number.

use std::collections::HashMap;
use std::time::Duration;

use verifier::WallTime;

use super::{Event, Kind, Outcome};

/// How long equal refusals are counted before they are recorded.
const WINDOW: Duration = Duration::from_secs(60);
/// Different refusals that are told apart; further ones are counted together by their reason.
const TOLD_APART: usize = 1024;
/// The reasons of refusals that cost their cause nothing. `unknown-account` is none of them: what is counted
/// instead of recorded is faster, and would tell by its time which names exist (docs/decisions/0011).
const COALESCED: [&str; 12] = [
    "locked",
    "disabled",
    "not-own-account",
    "not-administrator",
    "malformed",
    "source",
    "blocked-by-sshd",
    "cancelled",
    "timeout",
    "name-service",
    "enrolment-busy",
    "unasked",
];

/// What makes two refusals equal: event, account, reason and caller.
type Key = (Kind, Option<String>, String, Option<u32>);

/// Counts refusals that repeat.
#[derive(Debug, Default)]
pub struct Coalescer {
    counted: HashMap<Key, Counted>,
}

#[derive(Debug)]
struct Counted {
    since: WallTime,
    count: u32,
    last: Event,
}

impl Coalescer {
    /// The event, where it is to be recorded now; `None` where it was counted.
    pub fn pass(&mut self, event: Event, now: WallTime) -> Option<Event> {
        let Some(reason) = event.reason.clone().filter(|_| event.outcome == Outcome::Refused) else {
            return Some(event);
        };
        if !COALESCED.contains(&reason.as_str()) {
            return Some(event);
        }
        let mut key: Key = (event.kind, event.account.clone(), reason, event.caller_uid);
        if self.counted.len() >= TOLD_APART && !self.counted.contains_key(&key) {
            key = (key.0, None, key.2, None);
        }
        match self.counted.get_mut(&key) {
            None => {
                self.counted.insert(key, Counted { since: now, count: 0, last: event.clone() });
                Some(event)
            }
            Some(counted) => {
                counted.count = counted.count.saturating_add(1);
                counted.last = event;
                None
            }
        }
    }

    /// Takes out what was counted for long enough, as one event each. A clock that was turned back ends the
    /// counting too.
    pub fn due(&mut self, now: WallTime) -> Vec<Event> {
        let ended = |counted: &Counted| now.since(counted.since).is_none_or(|time| time >= WINDOW);
        self.take(ended)
    }

    /// Takes out everything that was counted, at the end.
    pub fn rest(&mut self) -> Vec<Event> {
        self.take(|_| true)
    }

    fn take(&mut self, ended: impl Fn(&Counted) -> bool) -> Vec<Event> {
        let taken = self.counted.extract_if(|_, counted| ended(counted));
        taken
            .filter(|(_, counted)| counted.count > 0)
            .map(|((_, account, ..), counted)| {
                let account = account.and(counted.last.account.clone());
                Event { account, count: Some(counted.count), ..counted.last }
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    fn refusal(account: &str, reason: &str) -> Event {
        let mut event = Event::new(WallTime(0), Kind::Verification, Outcome::Refused);
        event.account = Some(account.into());
        event.reason = Some(reason.into());
        event
    }

    #[test]
    fn the_first_refusal_while_locked_is_recorded_and_the_next_ones_are_counted() {
        let mut coalescer = Coalescer::default();
        let now = WallTime::from_seconds(1000);
        assert!(coalescer.pass(refusal("alice", "locked"), now).is_some());
        for _ in 0..41 {
            assert_eq!(coalescer.pass(refusal("alice", "locked"), now), None);
        }
        assert!(coalescer.pass(refusal("bob", "locked"), now).is_some());
        assert_eq!(coalescer.due(WallTime::from_seconds(1059)), []);

        let due = coalescer.due(WallTime::from_seconds(1060));
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].account.as_deref(), due[0].count), (Some("alice"), Some(41)));
        assert!(coalescer.pass(refusal("alice", "locked"), WallTime::from_seconds(1061)).is_some());
    }

    #[test]
    fn wrong_codes_and_grants_are_always_recorded() {
        let mut coalescer = Coalescer::default();
        for _ in 0..10 {
            assert!(coalescer.pass(refusal("alice", "wrong"), WallTime(0)).is_some());
            let mut granted = refusal("alice", "locked");
            granted.outcome = Outcome::Granted;
            assert!(coalescer.pass(granted, WallTime(0)).is_some());
        }
    }

    #[test]
    fn any_number_of_names_takes_bounded_memory_and_loses_no_count() {
        let mut coalescer = Coalescer::default();
        let recorded: usize =
            (0..10_000).filter(|n| coalescer.pass(refusal(&format!("u{n}"), "locked"), WallTime(0)).is_some()).count();
        assert!(coalescer.counted.len() <= TOLD_APART + 1);
        let counted: u32 = coalescer.rest().iter().filter_map(|event| event.count).sum();
        assert_eq!(recorded + counted as usize, 10_000);
    }
}
