//! A run written down: as JSON for programs, as Markdown for docs/performance.md.

use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    breakage::Breakage,
    contestant::Contestant,
    extremes::Start,
    floors::{Floor, Floors},
    load::Figures,
    population::Codes,
    promise::{self, Promise},
    sweep::{Cell, Size},
};

/// Where the generated part of docs/performance.md begins and ends.
const MARKS: [&str; 2] = ["<!-- begin of what make bench wrote -->\n", "<!-- end of what make bench wrote -->\n"];

/// All of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The day.
    pub date: String,
    /// What it ran on.
    pub machine: String,
    /// The version of the daemon, and of each peer.
    pub versions: Vec<String>,
    /// The sweep.
    pub cells: BTreeMap<Cell, Figures>,
    /// The sizes of the sweep.
    pub sizes: Vec<Size>,
    /// The floors.
    pub floors: Floors,
    /// The storm.
    pub storm: Option<Figures>,
    /// Starts of the daemon.
    pub starts: Vec<Start>,
    /// Races and faults.
    pub breakage: BTreeMap<Contestant, Breakage>,
}

#[derive(Serialize)]
struct Json<'a> {
    date: &'a str,
    machine: &'a str,
    versions: &'a [String],
    promises: &'a [Promise],
    floors: &'a Floors,
    sizes: &'a [Size],
    storm: &'a Option<Figures>,
    starts: &'a [Start],
    breakage: &'a BTreeMap<Contestant, Breakage>,
    cells: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl Report {
    /// The figures of a cell, where it was measured.
    #[must_use]
    pub fn cell(&self, cell: &Cell) -> Option<&Figures> {
        self.cells.get(cell)
    }

    /// For programs. Times are in microseconds, but starts' in milliseconds; memory is in KiB.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn json(&self) -> Result<String> {
        let rows = self.cells.iter().map(|(cell, figures)| Row { cell, figures }).collect();
        let json = Json {
            date: &self.date,
            machine: &self.machine,
            versions: &self.versions,
            promises: &promise::all(self),
            floors: &self.floors,
            sizes: &self.sizes,
            storm: &self.storm,
            starts: &self.starts,
            breakage: &self.breakage,
            cells: rows,
        };
        Ok(serde_json::to_string_pretty(&json)? + "\n")
    }

    /// For people.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("Measured on {} on {}, with {}.\n", self.date, self.machine, self.versions.join(", "));
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n### Promises\n\n| promise | measured | |\n|---|---|---|")?;
        for promise in promise::all(self) {
            writeln!(text, "| {} | {} | {} |", promise.what, promise.measured, verdict(promise.kept))?;
        }
        self.write_floors(text)?;
        self.write_sizes(text)?;
        for codes in [Codes::Right, Codes::Hotp, Codes::Wrong] {
            self.write_cells(text, codes)?;
        }
        self.write_breakage(text)
    }

    fn write_floors(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n### Floors\n\n| | p50 µs | p99 µs |\n|---|---:|---:|")?;
        let floors = &self.floors;
        let rows: [(&str, &Floor); 6] = [
            ("16 KiB at places that the file has, `fsync`", &floors.fsync),
            ("the same, `fdatasync`", &floors.fdatasync),
            ("16 KiB behind the end of the file, `fsync`", &floors.fsync_growing),
            ("UNIX socket: connect and two round trips", &floors.socket),
            ("system bus: one round trip", &floors.bus),
            ("system bus: connect, handshake, greeting", &floors.bus_connect),
        ];
        for (name, floor) in rows {
            writeln!(text, "| {name} | {:.0} | {:.0} |", floor.p50, floor.p99)?;
        }
        Ok(())
    }

    fn write_sizes(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n### Sizes\n\n| accounts | Countersign: import | on disk | pam_google_authenticator on disk | pam_oath on \
             disk | daemon ready after | after `kill -9` | resident then |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
        )?;
        let peers = |size: &Size, bytes: u64| {
            let there = self
                .cells
                .keys()
                .any(|cell| cell.accounts == size.accounts && cell.contestant == Contestant::GoogleAuthenticator);
            if there { megabytes(bytes) } else { "—".to_owned() }
        };
        for size in &self.sizes {
            let start = self.starts.iter().find(|start| start.accounts == size.accounts);
            let start = start.map_or_else(
                || "— | — | —".to_owned(),
                |start| {
                    let resident = start.resident as f64 / 1000.0;
                    format!("{:.0} ms | {:.0} ms | {resident:.1} MB", start.after_stop, start.after_kill)
                },
            );
            writeln!(
                text,
                "| {} | {} in {:.1} s | {} | {} | {} | {start} |",
                grouped(size.accounts),
                grouped(size.imported),
                size.import,
                megabytes(size.countersign),
                peers(size, size.google_authenticator),
                peers(size, size.oath),
            )?;
        }
        Ok(())
    }

    fn write_cells(&self, text: &mut String, codes: Codes) -> std::fmt::Result {
        let title = match codes {
            Codes::Right => "Right TOTP codes",
            Codes::Hotp => "Right HOTP codes",
            Codes::Wrong => "Wrong codes",
        };
        writeln!(
            text,
            "\n### {title}\n\n| accounts | at once | | p50 µs | p99 µs | max µs | logins/s | CPU µs | bytes written | \
             host MB | daemon MB | let in |\n|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        )?;
        for (cell, figures) in self.cells.iter().filter(|(cell, _)| cell.codes == codes) {
            let fresh = if cell.fresh_process { ", a process a login" } else { "" };
            let daemon = if figures.daemon_resident == 0 || !is_ours(cell) {
                "—".to_owned()
            } else {
                format!("{:.1}", figures.daemon_resident as f64 / 1000.0)
            };
            let rate = if codes == Codes::Wrong { "—".to_owned() } else { format!("{:.0}", figures.rate) };
            writeln!(
                text,
                "| {} | {} | {}{fresh} | {:.0} | {:.0} | {:.0} | {rate} | {:.0} | {:.0} | {:.1} | {daemon} | {} of {} |",
                grouped(cell.accounts),
                cell.workers,
                cell.contestant.name(),
                figures.p50,
                figures.p99,
                figures.max,
                figures.cpu,
                figures.written,
                figures.worker_peak as f64 / 1000.0,
                figures.granted,
                figures.logins,
            )?;
        }
        Ok(())
    }

    /// Races and faults alone.
    ///
    /// # Errors
    /// None: a String takes everything.
    pub fn write_breakage(&self, text: &mut String) -> std::fmt::Result {
        if self.breakage.is_empty() {
            return Ok(());
        }
        let columns = [
            "one code let in twice, of 2 processes",
            "of 32",
            "most logins by one code",
            "right codes refused, 32 people at once",
            "wrong codes not counted, 32 at once",
            "nobody gets in after a killed login",
            "a used code works after a power cut",
            "nobody gets in after it",
            "a wrong code is forgotten by it",
        ];
        let line = "---:|".repeat(columns.len());
        writeln!(text, "\n### Races, kills, power cuts\n\n| | {} |\n|---|{line}", columns.join(" | "))?;
        for (contestant, found) in &self.breakage {
            let checked = |figure: String| if contestant.checks_codes() { figure } else { "—".to_owned() };
            let counted = |lost: Option<usize>, made: usize| {
                lost.map_or_else(|| "counts none".to_owned(), |lost| format!("{lost} of {made}"))
            };
            let forgotten = found.forgotten_by_power_cut.map(|rounds| rounds as usize);
            let cells = [
                checked(format!("{} of {}", found.twice_of_two, found.rounds)),
                checked(format!("{} of {}", found.twice_of_many, found.rounds)),
                checked(found.most_by_one_code.to_string()),
                format!("{} of {}", found.right_refused, found.right_presented),
                counted(found.failures_lost, found.failures_made),
                format!("{} of {}", found.locked_out_by_kill, found.rounds),
                checked(format!("{} of {}", found.replayed_after_power_cut, found.power_cuts)),
                checked(format!("{} of {}", found.locked_out_by_power_cut, found.power_cuts)),
                counted(forgotten, found.power_cuts as usize),
            ];
            writeln!(text, "| {} | {} |", contestant.name(), cells.join(" | "))?;
        }
        Ok(())
    }
}

/// Puts `generated` between the marks of a page.
///
/// # Errors
/// The page has no marks.
pub fn replace_generated(page: &str, generated: &str) -> Result<String> {
    let [begin, end] = MARKS;
    let (head, rest) = page.split_once(begin).context("the page does not say where the figures begin")?;
    let (_, tail) = rest.split_once(end).context("the page does not say where the figures end")?;
    Ok(format!("{head}{begin}\n{generated}\n{end}{tail}"))
}

/// Processors, memory, kernel and file system, and no name of the machine.
///
/// # Errors
/// The machine does not say.
pub fn machine() -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .context("no memory")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    Ok(format!(
        "a virtual machine with {processors} processors ({model}), {} GB of memory, Linux {kernel}, ext4",
        kibibytes / 1_000_000
    ))
}

/// The day, by the machine's clock.
///
/// # Errors
/// date(1) failed.
pub fn today() -> Result<String> {
    Ok(String::from_utf8(Command::new("date").args(["-u", "+%F"]).output()?.stdout)?.trim().to_owned())
}

/// The versions of the peers' packages.
///
/// # Errors
/// dpkg-query(1) failed.
pub fn versions() -> Result<Vec<String>> {
    let format = ["-W", "-f", "${Package} ${Version}\n"];
    let packages = ["libpam-google-authenticator", "libpam-oath", "libpam-modules"];
    let output = Command::new("dpkg-query").args(format).args(packages).output()?;
    let peers = String::from_utf8(output.stdout)?;
    let ours = concat!("countersign ", env!("CARGO_PKG_VERSION"));
    Ok(std::iter::once(ours).chain(peers.lines()).map(str::to_owned).collect())
}

/// "kept", "FALLS SHORT" or nothing known.
#[must_use]
pub const fn verdict(kept: Option<bool>) -> &'static str {
    match kept {
        Some(true) => "kept",
        Some(false) => "**falls short**",
        None => "—",
    }
}

fn is_ours(cell: &Cell) -> bool {
    matches!(cell.contestant, Contestant::Countersign | Contestant::CountersignBus)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A number with commas between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_part_of_a_page_is_replaced_and_nothing_else() -> Result<()> {
        let [begin, end] = MARKS;
        let page = format!("before\n{begin}old\n{end}after\n");
        assert_eq!(replace_generated(&page, "new")?, format!("before\n{begin}\nnew\n{end}after\n"));
        assert!(replace_generated("no marks", "new").is_err());
        Ok(())
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
