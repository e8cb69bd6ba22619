//! Torture: the daemon is killed at random moments, also while it starts, and people log in meanwhile by codes of
//! every kind. Afterwards each code must have worked once at most, no right one may have been charged or refused
//! without a reason, and store and audit must be whole.
//!
//! The seed brings the same plan back, not the same moments: processes run as they like.

mod gate;
mod people;

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{Host, Random, Stack};

use self::{gate::Gate, people::People};

/// The latest moment of a kill after the logins of its round began, in microseconds.
const LATEST_KILL: usize = 60_000;
/// One in so many starts is cut short by another kill, this many microseconds after it began at most.
const KILLED_STARTS: usize = 3;
const LATEST_KILL_OF_A_START: usize = 25_000;

/// How long and along which random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the random numbers.
    pub seed: u64,
    /// The number of rounds, each with a kill at least.
    pub rounds: usize,
    /// No round begins after this time, where it is given.
    pub time: Option<Duration>,
}

/// What it came to, where nothing was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of the random numbers.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// How many rounds were played.
    pub rounds: usize,
    /// How many times the daemon was killed.
    pub kills: usize,
    /// How many of these before it was ready.
    pub killed_starts: usize,
    /// How many codes let somebody in.
    pub granted: usize,
    /// How many codes were spent by a login whose answer was lost.
    pub lost: usize,
    /// How many times a spent code was presented again, and refused.
    pub replays: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, kills, killed_starts, granted, lost, replays, .. } = self;
        let seconds = self.took.as_secs_f32();
        write!(
            f,
            "torture: seed {seed}, {rounds} rounds in {seconds:.0} s, {kills} kills ({killed_starts} of a start): \
             {granted} codes let in, {lost} spent by a login whose answer was lost, {replays} presented again and \
             refused; nobody charged or locked, store and audit whole"
        )
    }
}

/// Plays the plan on a scratch host of its own.
///
/// # Errors
/// Something was wrong, which the error tells together with the seed.
pub fn torture(plan: Plan) -> Result<Report> {
    let start = Instant::now();
    let host = People::invite(Host::build().pam(Stack::code_alone("door")).fake_clock()).start()?;
    let played = play(&host, plan, start).with_context(|| format!("seed {}\n{}", plan.seed, host.diagnosis()))?;
    Ok(Report { seed: plan.seed, took: start.elapsed(), ..played })
}

fn play(host: &Host, plan: Plan, start: Instant) -> Result<Report> {
    let gate = Gate::new(host);
    let mut people = People::enrol(host)?;
    let over = AtomicBool::new(false);
    let mut random = Random::new(plan.seed);
    let mut report = Report::default();
    let (load, guests) = people.parted();
    thread::scope(|scope| {
        let load: Vec<_> = load.iter_mut().map(|person| scope.spawn(|| person.log_in_until(&gate, &over))).collect();
        let mut rounds = || -> Result<()> {
            while report.rounds < plan.rounds && plan.time.is_none_or(|time| start.elapsed() < time) {
                round(host, &gate, guests, &mut random, &mut report)?;
            }
            Ok(())
        };
        let played = rounds();
        over.store(true, Ordering::Relaxed);
        // What befell one of them says more than that the rounds did not end.
        load.into_iter()
            .try_for_each(|person| person.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        played
    })?;
    ensure!(report.rounds > 0, "no round was played");
    people.examine(&gate, &mut report)?;
    Ok(report)
}

/// Everybody who is no load logs in once, and at some moment meanwhile the daemon dies.
fn round(
    host: &Host,
    gate: &Gate<'_>,
    guests: &mut [people::Person],
    random: &mut Random,
    report: &mut Report,
) -> Result<()> {
    let mut at_random = |latest: usize| Duration::from_micros(random.below(latest) as u64);
    let moment = at_random(LATEST_KILL);
    let of_the_start = at_random(LATEST_KILL_OF_A_START);
    let killed_start = random.once_in(KILLED_STARTS);
    thread::scope(|scope| {
        let logins: Vec<_> = guests.iter_mut().map(|guest| scope.spawn(|| guest.log_in_once(gate))).collect();
        thread::park_timeout(moment);
        let killed = gate.closed_while(|| {
            host.daemon().kill()?;
            if killed_start {
                host.start_daemon_and_kill(of_the_start)?;
            }
            host.start_daemon()
        });
        logins
            .into_iter()
            .try_for_each(|login| login.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        killed
    })?;
    report.rounds += 1;
    report.kills += 1 + usize::from(killed_start);
    report.killed_starts += usize::from(killed_start);
    // The next code of a TOTP authenticator; and who has no recovery code left gets new ones.
    host.advance(people::PERIOD)?;
    guests.iter_mut().try_for_each(|guest| guest.prepare(host))
}
