//! Two builds of Countersign taking turns, so that the load of the machine disturbs both alike: how a change of the way
//! of a login is judged. Each has a host and a disk of its own; pam_google_authenticator and the empty module stand
//! beside the first.

use std::io::Write as _;

use anyhow::Result;

use crate::{
    contestant::Contestant,
    load::{self, Figures},
    population::Codes,
    sweep::{Cell, Stage},
};

/// Logins of one contestant before the next has its turn.
const LOGINS: usize = 300;

/// How much is compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Accounts of each build.
    pub accounts: u32,
    /// Logins at one instant.
    pub workers: Vec<u32>,
    /// Turns of each contestant, of which the median counts.
    pub turns: usize,
}

/// Prints the medians of right codes: this build, the other one, and who stands beside it.
///
/// # Errors
/// A host does not work.
pub fn run(this: &mut Stage<'_>, other: &mut Stage<'_>, comparison: &Comparison) -> Result<()> {
    this.grow(comparison.accounts, true)?;
    other.grow(comparison.accounts, false)?;
    for workers in comparison.workers.iter().copied() {
        let cell = |contestant| Cell {
            accounts: comparison.accounts,
            codes: Codes::Right,
            fresh_process: false,
            workers,
            contestant,
        };
        let mine = [Contestant::Countersign, Contestant::GoogleAuthenticator, Contestant::Empty].map(cell);
        let (mut others, mut figures) = (Vec::new(), mine.map(|_| Vec::new()));
        // The first turn warms up.
        for turn in 0..=comparison.turns {
            let measured = other.measure(cell(Contestant::Countersign), LOGINS)?;
            others.extend((turn > 0).then_some(measured));
            for (cell, figures) in mine.iter().zip(&mut figures) {
                let measured = this.measure(*cell, LOGINS)?;
                figures.extend((turn > 0).then_some(measured));
            }
        }
        tell(workers, "the other build", &others);
        tell(workers, "this build", figures.first().map_or(&[], Vec::as_slice));
        for (cell, figures) in mine.iter().zip(&figures).skip(1) {
            tell(workers, cell.contestant.name(), figures);
        }
    }
    Ok(())
}

fn tell(workers: u32, name: &str, runs: &[Figures]) {
    let figures = load::median(runs);
    let _ = writeln!(
        std::io::stderr(),
        "{workers:>3} at once: {name:<26} p50 {:>7.0} µs  p99 {:>7.0}  {:>6.0}/s  cpu {:>5.0} µs  written {:>6.0} B  let in {}/{}",
        figures.p50,
        figures.p99,
        figures.rate,
        figures.cpu,
        figures.written,
        figures.granted,
        figures.logins
    );
}
