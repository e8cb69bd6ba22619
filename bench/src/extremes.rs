//! What a sweep does not show: a storm of logins at one instant, and how a daemon with many accounts starts.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::{
    contestant::Contestant,
    load::Figures,
    population::Codes,
    sweep::{Cell, Stage},
};

/// Logins of a storm, each by a process of its own.
pub const STORM: u32 = 500;

/// How a start went.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Start {
    /// How many accounts the store held.
    pub accounts: u32,
    /// Milliseconds from the start of the process to `READY=1`, after an orderly end.
    pub after_stop: f64,
    /// The same after `kill -9`.
    pub after_kill: f64,
    /// Resident KiB when it was ready.
    pub resident: u64,
}

/// All right codes of as many accounts at one instant.
///
/// # Errors
/// The host does not work.
pub fn storm(stage: &mut Stage<'_>, accounts: u32, contestant: Contestant) -> Result<Figures> {
    let cell = Cell { accounts, codes: Codes::Right, fresh_process: false, workers: STORM, contestant };
    stage.measure(cell, STORM as usize)
}

/// Ends and starts the daemon, each time `repetitions` times; the medians.
///
/// # Errors
/// It did not start.
pub fn start(stage: &Stage<'_>, accounts: u32, repetitions: usize) -> Result<Start> {
    let daemon = stage.host.daemon();
    let (mut stops, mut kills) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        daemon.stop()?;
        stops.push(milliseconds(timed(stage)?));
        daemon.kill()?;
        kills.push(milliseconds(timed(stage)?));
    }
    let resident = daemon.figures()?.resident;
    let [after_stop, after_kill] = [stops, kills].map(crate::load::middle);
    Ok(Start { accounts, after_stop, after_kill, resident })
}

fn timed(stage: &Stage<'_>) -> Result<Duration> {
    let begin = Instant::now();
    stage.host.start_daemon()?;
    Ok(begin.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
