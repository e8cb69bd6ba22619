//! Torture: everything around the daemon breaks, by plans that have names. A seed brings the same plan back, not the same
//! moments: processes run as they like. Each plan has a scratch host of its own, and examines it afterwards.

mod disks;
mod disturbances;
mod finding;
mod fob;
mod gate;
mod hostile;
mod invariants;
mod kills;
mod nth_calls;
mod operations;
mod people;
mod scene;

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::Random;

use self::fob::Fob;

pub use self::finding::{Finding, Invariant};

/// What is played.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Of the random numbers.
    pub seed: u64,
    /// No plan goes on after its share of this time.
    pub time: Option<Duration>,
    /// This plan alone.
    pub plan: Option<String>,
    /// How much of each plan.
    pub effort: Effort,
}

/// How much of each plan is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Some of it, which the seed picks.
    Sample,
    /// All of it, unless the time ends before.
    Whole,
}

/// One way to break things.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its part of the time, beside those of the others.
    share: u32,
    play: fn(&mut Play) -> Result<Tally>,
}

/// All of them.
pub const PLANS: [Plan; 15] = [
    Plan { name: "promises", about: "nothing breaks but what each promise names", share: 1, play: invariants::play },
    Plan { name: "kills", about: "kill -9 at random under load", share: 3, play: kills::play },
    Plan {
        name: "file-calls",
        about: "every call on a file fails or kills, through every operation",
        share: 8,
        play: nth_calls::files,
    },
    Plan { name: "socket-calls", about: "every system call on a socket fails", share: 4, play: nth_calls::sockets },
    Plan { name: "no-memory", about: "an allocation fails", share: 2, play: nth_calls::allocations },
    Plan {
        name: "full-disk",
        about: "somebody fills the disk and takes every block that becomes free",
        share: 3,
        play: disks::full,
    },
    Plan {
        name: "power-cuts",
        about: "the disk is copied under load, and mounted again",
        share: 3,
        play: disks::power_cuts,
    },
    Plan { name: "hostile-users", about: "other users flood, hold and send nonsense", share: 3, play: hostile::play },
    Plan { name: "descriptors", about: "more connections than descriptors", share: 1, play: disturbances::descriptors },
    Plan { name: "bus-restarts", about: "the bus is killed and started", share: 2, play: disturbances::bus_restarts },
    Plan {
        name: "bad-messages",
        about: "the bus drops, delays, repeats and reorders messages",
        share: 3,
        play: disturbances::bad_messages,
    },
    Plan { name: "pauses", about: "the daemon is stopped for a while", share: 1, play: disturbances::pauses },
    Plan { name: "clock-jumps", about: "the clock jumps an hour and back", share: 2, play: disturbances::clock_jumps },
    Plan { name: "names-hang", about: "the name service hangs", share: 1, play: disturbances::hanging_names },
    Plan { name: "loggers", about: "syslog is killed, stopped, started", share: 1, play: disturbances::loggers },
];

/// A plan that is being played.
pub(crate) struct Play {
    random: Random,
    effort: Effort,
    end: Option<Instant>,
}

impl Play {
    /// Whether there is time for more.
    fn goes_on(&self) -> bool {
        self.end.is_none_or(|end| Instant::now() < end)
    }

    /// Whether there is so much time left.
    fn lasts(&self, time: Duration) -> bool {
        self.end.is_none_or(|end| Instant::now() + time < end)
    }

    /// The number of rounds.
    fn rounds(&self, whole: usize, sample: usize) -> usize {
        match self.effort {
            Effort::Whole => whole,
            Effort::Sample => sample,
        }
    }

    /// All cases, or so many of them; none after the end of the time.
    fn so_many<T>(&self, cases: Vec<T>, sample: usize) -> impl Iterator<Item = T> + use<T> {
        let rounds = self.rounds(usize::MAX, sample);
        let end = self.end;
        cases.into_iter().take(rounds).take_while(move |_| end.is_none_or(|end| Instant::now() < end))
    }
}

/// What a plan came to: words and their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    fn count_if(&mut self, what: &'static str, is: bool) {
        self.add(what, u64::from(is));
    }

    fn add(&mut self, what: &'static str, number: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, sum)) => *sum += number,
            None => self.0.push((what, number)),
        }
    }

    /// The number of this word; 0 where it was never counted.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.iter().find(|(known, _)| *known == what).map_or(0, |(_, number)| *number)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(what, number)| format!("{number} {what}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// How a plan ended.
#[derive(Debug)]
pub struct Played {
    /// Its name.
    pub plan: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What it came to, or the [`Finding`], or why it could not be played.
    pub result: Result<Tally>,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, took, result } = self;
        let seconds = took.as_secs_f32();
        match result {
            Ok(tally) => write!(f, "torture: {plan}: {tally} in {seconds:.0} s"),
            Err(error) => match error.downcast_ref::<Finding>() {
                Some(finding) => write!(f, "FINDING {finding} [plan {plan}, {}]", case(error)),
                None => write!(f, "torture: {plan}: cannot be played: {error:#}"),
            },
        }
    }
}

/// Plays what is ordered; `tell` hears of each plan when it has ended.
///
/// # Errors
/// No plan has the name.
pub fn torture(orders: &Orders, mut tell: impl FnMut(&Played)) -> Result<Vec<Played>> {
    let plans: Vec<Plan> =
        PLANS.into_iter().filter(|plan| orders.plan.as_ref().is_none_or(|name| name == plan.name)).collect();
    ensure!(!plans.is_empty(), "no such plan; there are: {}", PLANS.map(|plan| plan.name).join(" "));
    let begin = Instant::now();
    let mut shares: u32 = plans.iter().map(|plan| plan.share).sum();
    let mut all = Vec::new();
    for plan in plans {
        let left = orders.time.map(|time| time.saturating_sub(begin.elapsed()));
        let time = left.map(|left| left * plan.share / shares);
        shares = (shares - plan.share).max(1);
        let played = plan.play(orders, time);
        tell(&played);
        all.push(played);
    }
    Ok(all)
}

impl Plan {
    fn play(&self, orders: &Orders, time: Option<Duration>) -> Played {
        // Each plan has random numbers of its own, so that it plays the same alone.
        let salt = self.name.bytes().fold(0_u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let begin = Instant::now();
        let end = time.map(|time| begin + time);
        let mut play = Play { random: Random::new(orders.seed ^ salt), effort: orders.effort, end };
        let result = (self.play)(&mut play).with_context(|| format!("seed {}", orders.seed));
        Played { plan: self.name, took: begin.elapsed(), result }
    }
}

/// What was under way: the contexts of an error that are one line.
fn case(error: &anyhow::Error) -> String {
    let lines = error.chain().map(ToString::to_string).filter(|text| !text.contains('\n'));
    let lines: Vec<String> = lines.take_while(|line| !is_finding(line)).collect();
    lines.join(", ")
}

fn is_finding(line: &str) -> bool {
    Invariant::ALL.iter().any(|invariant| line.starts_with(&format!("{}: ", invariant.name())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Invariant, PLANS, Played};

    #[test]
    fn names_are_unique() {
        let plans: HashSet<_> = PLANS.iter().map(|plan| plan.name).collect();
        let invariants: HashSet<_> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
        assert_eq!((plans.len(), invariants.len()), (PLANS.len(), Invariant::ALL.len()));
    }

    #[test]
    fn the_documentation_names_every_plan_and_every_invariant() {
        let documentation = include_str!("../../docs/testing.md");
        for name in PLANS.iter().map(|plan| plan.name).chain(Invariant::ALL.iter().map(|invariant| invariant.name())) {
            assert!(documentation.contains(&format!("`{name}`")), "docs/testing.md does not say what {name} is");
        }
    }

    #[test]
    fn a_finding_is_one_line_with_its_plan_and_its_case() {
        let error =
            Invariant::CodeTwice.broken("a code\nlet in twice").context("auth.log\nlong").context("login, call 3");
        let played =
            Played { plan: "file-calls", took: std::time::Duration::ZERO, result: Err(error.context("seed 7")) };
        let line = "FINDING code-twice: a code | let in twice [plan file-calls, seed 7, login, call 3]";
        assert_eq!(played.to_string(), line);
    }
}
