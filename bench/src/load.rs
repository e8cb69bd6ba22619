//! One measurement: logins by several workers at one instant, what each took, and what the whole host spent.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use scenarios::{Host, PAM_SUCCESS, Process};
use serde::Serialize;

use crate::population::Login;

/// The daemons of the host whose processor time is part of a login.
const DAEMONS: [&str; 3] = ["countersignd", "dbus-daemon", "rsyslogd"];

/// What workers are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Each does its logins in one process, as a database does.
    Lasting,
    /// Each login has a process of its own, as sshd and sudo give it: loading the module is part of it.
    Fresh,
}

/// What came of one measurement.
#[derive(Clone, Debug)]
pub struct Run {
    /// What libpam returned for each login, in order; `None` where it did not end.
    pub results: Vec<Option<i32>>,
    /// The figures.
    pub figures: Figures,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// Logins that were tried.
    pub logins: usize,
    /// Those that were let in.
    pub granted: usize,
    /// Half of the logins took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// None took longer.
    pub max: f64,
    /// Logins that were let in, a second.
    pub rate: f64,
    /// Processor time a login, of the workers, the daemon, the bus and syslog.
    pub cpu: f64,
    /// Of that, what the bus used.
    pub cpu_bus: f64,
    /// Bytes that a login caused to be written to the disk.
    pub written: f64,
    /// The largest worker's memory, in KiB: the host application with the module in it.
    pub worker_peak: u64,
    /// The daemon's resident memory afterwards, in KiB.
    pub daemon_resident: u64,
}

/// Runs logins on the host.
///
/// # Errors
/// The program did not run to its end.
pub fn run(host: &Host, service: &str, workers: u32, kind: Workers, logins: &[Login]) -> Result<Run> {
    let lines: String =
        logins.iter().map(|login| format!("{} {} {}\n", login.worker, login.account.name(), login.code)).collect();
    let daemons = DAEMONS.map(|name| host.process(name).ok());
    let before = Spent::by(&daemons);
    let count = workers.to_string();
    let mut arguments = vec!["/usr/lib/scratch/pam_load", service, &count];
    if kind == Workers::Fresh {
        arguments.push("fresh");
    }
    let output = host.feed_as("root", &arguments, lines.as_bytes())?.success()?;
    let spent = Spent::by(&daemons).since(&before);
    let report = Report::parse(&output.stdout)?;
    if report.results.len() != logins.len() {
        bail!("{} of {} logins were told of", report.results.len(), logins.len());
    }
    let resident = daemons.first().copied().flatten().map_or(Ok(0), |daemon| daemon.resident())?;
    let figures = report.figures(&spent, resident)?;
    Ok(Run { results: report.results, figures })
}

/// What the host's daemons used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    cpu: Duration,
    bus: Duration,
    written: u64,
}

impl Spent {
    fn by(daemons: &[Option<Process>; 3]) -> Self {
        let cpu = |daemon: &Option<Process>| daemon.and_then(|daemon| daemon.cpu().ok()).unwrap_or_default();
        let written = |daemon: &Option<Process>| daemon.and_then(|daemon| daemon.written().ok()).unwrap_or_default();
        Self {
            cpu: daemons.iter().map(cpu).sum(),
            bus: daemons.get(1).map(cpu).unwrap_or_default(),
            written: daemons.iter().map(written).sum(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            bus: self.bus.saturating_sub(before.bus),
            written: self.written.saturating_sub(before.written),
        }
    }
}

/// What `native/pam_load.c` prints.
#[derive(Debug, Default)]
struct Report {
    results: Vec<Option<i32>>,
    /// In nanoseconds.
    took: Vec<u64>,
    cpu: u64,
    written: u64,
    peak: u64,
    wall: u64,
}

impl Report {
    fn parse(text: &str) -> Result<Self> {
        let mut report = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["login", result, took] => {
                    report.results.push(Some(result.parse()?).filter(|result: &i32| *result >= 0));
                    report.took.push(took.parse()?);
                }
                ["worker", cpu, written, peak] => {
                    report.cpu += cpu.parse::<u64>()?;
                    report.written += written.parse::<u64>()?;
                    report.peak = report.peak.max(peak.parse()?);
                }
                ["wall", wall] => report.wall = wall.parse()?,
                _ => bail!("pam_load said {line:?}"),
            }
        }
        Ok(report)
    }

    fn figures(&self, spent: &Spent, daemon_resident: u64) -> Result<Figures> {
        let mut took = self.took.clone();
        took.sort_unstable();
        let logins = took.len();
        let granted = self.results.iter().filter(|result| **result == Some(PAM_SUCCESS)).count();
        let each = |nanoseconds: f64| nanoseconds / 1000.0 / logins as f64;
        Ok(Figures {
            logins,
            granted,
            p50: microseconds(percentile(&took, 50)?),
            p99: microseconds(percentile(&took, 99)?),
            max: microseconds(percentile(&took, 100)?),
            rate: granted as f64 / (self.wall as f64 / 1e9),
            cpu: each(self.cpu as f64 + spent.cpu.as_nanos() as f64),
            cpu_bus: each(spent.bus.as_nanos() as f64),
            written: (self.written + spent.written) as f64 / logins as f64,
            worker_peak: self.peak,
            daemon_resident,
        })
    }
}

/// Nearest rank: the smallest value that `percent` of 100 values do not exceed.
///
/// # Errors
/// There are no values.
pub fn percentile(sorted: &[u64], percent: usize) -> Result<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().context("nothing was measured")
}

/// Nanoseconds as microseconds.
#[must_use]
pub fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// The median of each figure over repetitions.
#[must_use]
pub fn median(runs: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| middle(runs.iter().map(figure).collect());
    let whole = |figure: fn(&Figures) -> u64| of_whole(runs.iter().map(figure).collect());
    Figures {
        logins: runs.iter().map(|run| run.logins).sum(),
        granted: runs.iter().map(|run| run.granted).sum(),
        p50: of(|run| run.p50),
        p99: of(|run| run.p99),
        max: of(|run| run.max),
        rate: of(|run| run.rate),
        cpu: of(|run| run.cpu),
        cpu_bus: of(|run| run.cpu_bus),
        written: of(|run| run.written),
        worker_peak: whole(|run| run.worker_peak),
        daemon_resident: whole(|run| run.daemon_resident),
    }
}

/// The median; of an even number of values the upper one of the two in the middle.
#[must_use]
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn of_whole(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank_and_the_median_ignores_one_outlier() -> Result<()> {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!([percentile(&values, 50)?, percentile(&values, 99)?, percentile(&values, 100)?], [100, 198, 200]);
        assert_eq!(percentile(&[7], 1)?, 7);
        assert!(percentile(&[], 50).is_err());
        let figures = |p50| Figures { p50, logins: 10, ..Figures::default() };
        let median = median(&[figures(1.0), figures(900.0), figures(2.0)]);
        assert!((median.p50 - 2.0).abs() < f64::EPSILON);
        assert_eq!(median.logins, 30);
        Ok(())
    }

    #[test]
    fn the_programs_words_become_figures() -> Result<()> {
        let text = "login 0 1000000\nlogin 7 3000000\nworker 4000000 8192 2048\nworker 2000000 0 4096\nwall 4000000\n";
        let report = Report::parse(text)?;
        let spent = Spent { cpu: Duration::from_millis(2), bus: Duration::from_millis(1), written: 8192 };
        let figures = report.figures(&spent, 5)?;
        assert_eq!((figures.logins, figures.granted, figures.worker_peak), (2, 1, 4096));
        assert_eq!([figures.p50, figures.max, figures.rate], [1000.0, 3000.0, 250.0]);
        assert_eq!([figures.cpu, figures.cpu_bus, figures.written], [4000.0, 500.0, 8192.0]);
        assert!(Report::parse("nonsense\n").is_err());
        Ok(())
    }
}
