//! The daemon is killed at random moments, also while it starts, and people log in meanwhile by codes of every kind.
//! Afterwards each code must have worked once at most, no right one may have been charged or refused without a reason,
//! and store and audit must be whole.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{
    Play, Tally,
    gate::Gate,
    people::{self, People, Person},
};
use crate::{Host, Random, Stack};

/// The latest moment of a kill after the logins of its round began, in microseconds.
const LATEST_KILL: usize = 60_000;
/// One in so many starts is cut short by another kill, this many microseconds after it began at most.
const KILLED_STARTS: usize = 3;
const LATEST_KILL_OF_A_START: usize = 25_000;

/// 200 rounds with a kill at least in each.
pub(super) fn play(play: &mut Play) -> Result<Tally> {
    let rounds = play.rounds(200, 20);
    let host = People::invite(Host::build().pam(Stack::code_alone("door")).fake_clock()).start()?;
    let mut tally = Tally::default();
    people::log_in_during(&host, &mut tally, |gate, guests, tally| {
        let mut played = 0;
        // Where a time is given, the number of rounds is not what ends it.
        while played < rounds || play.end.is_some() {
            if !play.goes_on() {
                break;
            }
            round(&host, gate, guests, &mut play.random, tally)?;
            played += 1;
        }
        ensure!(played > 0, "no round was played");
        Ok(())
    })?;
    Ok(tally)
}

/// Everybody who is no load logs in once, and at some moment meanwhile the daemon dies.
fn round(host: &Host, gate: &Gate<'_>, guests: &mut [Person], random: &mut Random, tally: &mut Tally) -> Result<()> {
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
            gate.open_again()
        });
        logins
            .into_iter()
            .try_for_each(|login| login.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        killed
    })?;
    tally.count("rounds");
    tally.add("kills", 1 + u64::from(killed_start));
    tally.count_if("killed starts", killed_start);
    people::next_round(host, guests)
}
