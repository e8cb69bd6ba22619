//! The sweep: every size, every kind of code, every concurrency, the contestants taking turns.

use std::{
    collections::BTreeMap,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use scenarios::Host;
use serde::Serialize;

use crate::{
    contestant::{self, Contestant, Disk, StateOf},
    floors::{self, Floors},
    load::{self, Figures, Workers},
    population::{Codes, Ledger},
};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Accounts, ascending.
    pub sizes: Vec<u32>,
    /// Above this many, Countersign alone is measured.
    pub peers_up_to: u32,
    /// Logins at one instant.
    pub workers: Vec<u32>,
    /// Repetitions of each cell, of which the median counts.
    pub repetitions: usize,
    /// Logins of a repetition, at most.
    pub logins: usize,
    /// The time that a repetition of one contestant may take; a slow one does fewer logins.
    pub patience: Duration,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// How many accounts there are.
    pub accounts: u32,
    /// What is presented.
    pub codes: Codes,
    /// Whether each login has a process of its own.
    pub fresh_process: bool,
    /// Logins at one instant.
    pub workers: u32,
    /// Who.
    pub contestant: Contestant,
}

/// A size at which the store was filled, and what that took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// How many accounts.
    pub accounts: u32,
    /// Seconds that importing those that were missing took.
    pub import: f64,
    /// How many were missing.
    pub imported: u32,
    /// Bytes that Countersign's state occupies.
    pub countersign: u64,
    /// Bytes that the homes' files and directories occupy.
    pub google_authenticator: u64,
    /// Bytes that the file of all users occupies.
    pub oath: u64,
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// The median of each cell.
    pub cells: BTreeMap<Cell, Figures>,
    /// The sizes.
    pub sizes: Vec<Size>,
    /// The floors' medians.
    pub floors: Floors,
}

/// The host, its disk, and what its stores have been presented with.
pub struct Stage<'a> {
    /// Where the modules run.
    pub host: &'a Host,
    /// Where their state is.
    pub disk: &'a Disk,
    ledgers: BTreeMap<StateOf, Ledger>,
    accounts: u32,
}

impl<'a> Stage<'a> {
    /// A stage without accounts.
    #[must_use]
    pub fn new(host: &'a Host, disk: &'a Disk) -> Self {
        Self { host, disk, ledgers: BTreeMap::new(), accounts: 0 }
    }

    /// Gives every store this many accounts; the peers only where `peers` holds.
    ///
    /// # Errors
    /// Enrolling failed.
    pub fn grow(&mut self, accounts: u32, peers: bool) -> Result<Size> {
        let begin = Instant::now();
        contestant::enrol_countersign(self.host, self.accounts, accounts)?;
        let import = begin.elapsed().as_secs_f64();
        if peers {
            contestant::enrol_peers(self.disk, self.accounts, accounts)?;
        }
        let imported = accounts - self.accounts;
        self.accounts = accounts;
        for state in [StateOf::Countersign, StateOf::GoogleAuthenticator, StateOf::Oath, StateOf::Nobody] {
            self.ledgers.entry(state).or_default().grow(accounts);
        }
        Ok(Size {
            accounts,
            import,
            imported,
            countersign: self.disk.occupied("countersign")?,
            google_authenticator: self.disk.occupied("home")?,
            oath: self.disk.occupied("oath")?,
        })
    }

    /// One measurement of one contestant.
    ///
    /// # Errors
    /// It did not run to its end.
    pub fn measure(&mut self, cell: Cell, logins: usize) -> Result<Figures> {
        let ledger = self.ledgers.entry(cell.contestant.state()).or_default();
        let logins = ledger.logins(cell.codes, cell.workers, logins)?;
        let kind = if cell.fresh_process { Workers::Fresh } else { Workers::Lasting };
        let run = load::run(self.host, cell.contestant.service(cell.codes), cell.workers, kind, &logins)?;
        if cell.codes != Codes::Wrong {
            for (login, result) in logins.iter().zip(&run.results) {
                ledger.note(login, *result == Some(scenarios::PAM_SUCCESS));
            }
        }
        Ok(run.figures)
    }
}

/// Measures everything of the plan; `after` looks at the stage once a size is done.
///
/// # Errors
/// The host does not work.
pub fn run(
    stage: &mut Stage<'_>,
    plan: &Plan,
    after: &mut dyn FnMut(&Stage<'_>, u32) -> Result<()>,
) -> Result<Results> {
    let tell = &mut progress;
    let mut results = Results::default();
    let mut floors = Vec::new();
    for accounts in plan.sizes.iter().copied() {
        let peers = accounts <= plan.peers_up_to;
        let size = stage.grow(accounts, peers)?;
        tell(&format!("{accounts} accounts ({} imported in {:.1} s)", size.imported, size.import));
        results.sizes.push(size);
        for cells in groups(accounts, peers, plan) {
            floors.push(floors::measure(stage.host, stage.disk, 100)?);
            let medians = turns(stage, plan, &cells)?;
            for (cell, figures) in medians {
                tell(&line(&cell, &figures));
                results.cells.insert(cell, figures);
            }
        }
        after(stage, accounts)?;
    }
    results.floors = floors::median(&floors);
    Ok(results)
}

/// Logs in by HOTP until the time is up, one login after the other, and tells of each thousand.
///
/// # Errors
/// The host does not work.
pub fn hold_under_load(stage: &mut Stage<'_>, time: Duration) -> Result<()> {
    let tell = &mut progress;
    stage.grow(1_000, false)?;
    tell(&format!("countersignd is process {}", stage.host.process("countersignd")?.id()));
    let contestant = Contestant::Countersign;
    let cell = Cell { accounts: 1_000, codes: Codes::Hotp, fresh_process: false, workers: 1, contestant };
    let begin = Instant::now();
    while begin.elapsed() < time {
        let figures = stage.measure(cell, 1_000)?;
        tell(&line(&cell, &figures));
    }
    Ok(())
}

/// Cells that differ in their contestant alone, and so take turns.
fn groups(accounts: u32, peers: bool, plan: &Plan) -> Vec<Vec<Cell>> {
    let mut groups = Vec::new();
    for codes in [Codes::Right, Codes::Hotp, Codes::Wrong] {
        for workers in plan.workers.iter().copied() {
            for fresh_process in [false, true] {
                // One size and one kind of code tell what a process a login costs.
                if fresh_process && (codes != Codes::Right || accounts != 10_000) {
                    continue;
                }
                let all = Contestant::ALL.into_iter().filter(|contestant| {
                    contestant.plays(codes) && (peers || contestant.state() == StateOf::Countersign)
                });
                let cell = |contestant| Cell { accounts, codes, fresh_process, workers, contestant };
                groups.push(all.map(cell).collect());
            }
        }
    }
    groups.retain(|group: &Vec<Cell>| group.iter().all(has_enough));
    groups
}

/// Ten accounts have key fobs alone, and an account belongs to one worker.
fn has_enough(cell: &Cell) -> bool {
    cell.accounts > 10 || (cell.codes == Codes::Hotp && cell.workers <= cell.accounts)
}

/// Lets the contestants take turns, each time in another order.
fn turns(stage: &mut Stage<'_>, plan: &Plan, cells: &[Cell]) -> Result<Vec<(Cell, Figures)>> {
    let mut runs: Vec<Vec<Figures>> = cells.iter().map(|_| Vec::new()).collect();
    // The first turn warms up, and tells how many logins are affordable.
    let mut affordable = Vec::new();
    for cell in cells {
        let begin = Instant::now();
        let trial = stage.measure(*cell, 20.max(cell.workers as usize))?;
        let each = begin.elapsed().as_secs_f64().min(trial.max * trial.logins as f64 / 1e6) / trial.logins as f64;
        let most = (plan.patience.as_secs_f64() / each.max(1e-6)) as usize;
        // A fifth of the accounts: who logs in more often than that waits for new codes most of the time.
        let few = if cell.accounts == 10 { 80 } else { plan.logins.min(cell.accounts as usize / 5) };
        affordable.push(most.min(few).max(20.max(cell.workers as usize)));
    }
    for turn in 0..plan.repetitions {
        for place in 0..cells.len() {
            let place = (place + turn) % cells.len();
            let (Some(cell), Some(logins), Some(runs)) = (cells.get(place), affordable.get(place), runs.get_mut(place))
            else {
                continue;
            };
            runs.push(stage.measure(*cell, *logins)?);
        }
    }
    Ok(cells.iter().copied().zip(runs.iter().map(Vec::as_slice).map(load::median)).collect())
}

fn line(cell: &Cell, figures: &Figures) -> String {
    let fresh = if cell.fresh_process { ", a process each" } else { "" };
    format!(
        "  {:?}{fresh}, {} at once: {:<30} p50 {:>8.0} µs  p99 {:>8.0}  max {:>8.0}  {:>7.0}/s  cpu {:>6.0} µs  written {:>7.0} B  let in {}/{}",
        cell.codes,
        cell.workers,
        cell.contestant.name(),
        figures.p50,
        figures.p99,
        figures.max,
        figures.rate,
        figures.cpu,
        figures.written,
        figures.granted,
        figures.logins
    )
}

/// Says on standard error how far it is.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
