//! `make bench`: logins through libpam on a scratch host, Countersign beside the modules that people run, all in one
//! run. Needs root, and trusts the machine that it runs on.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the results are printed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use scenarios::{Host, HostBuilder};

use bench::{
    breakage::{self, Breakage},
    chart,
    comparison::{self, Comparison},
    contestant::{self, Contestant, Disk},
    extremes, promise,
    report::{self, Report},
    sweep::{self, Plan, Results, Stage},
};

/// Measures logins through PAM: Countersign beside pam_google_authenticator, pam_oath and pam_faillock.
#[derive(Debug, Parser)]
struct Options {
    /// Smaller sizes and fewer repetitions: three minutes instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// These numbers of accounts instead of the usual ones, ascending.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    sizes: Vec<u32>,
    /// These numbers of logins at one instant instead of the usual ones.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    workers: Vec<u32>,
    /// Instead of measuring: races, kills and power cuts alone.
    #[arg(long)]
    races: bool,
    /// Instead of measuring: HOTP logins at Countersign for so many seconds, for a profiler to look at.
    #[arg(long, value_name = "SECONDS")]
    profile: Option<u64>,
    /// Instead of measuring everything: right codes at this build and at the one staged in this directory, in turns.
    #[arg(long, value_name = "STAGE")]
    against: Option<PathBuf>,
    /// Where the compiled parts of bench/native are.
    #[arg(long)]
    native: PathBuf,
    /// A directory on the disk that is to be measured; it is made anew and removed at the end.
    #[arg(long)]
    disk: PathBuf,
    /// Where results.json, results.md and the charts go.
    #[arg(long)]
    out: PathBuf,
    /// The documentation whose figures are to be replaced.
    #[arg(long)]
    docs: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(other) = &options.against {
        return compare(&options, other);
    }
    let disk = Disk::make(&options.disk)?;
    let host = host(&options, &disk).start()?;
    let mut plan = plan(options.quick);
    if !options.sizes.is_empty() {
        plan.sizes.clone_from(&options.sizes);
    }
    if !options.workers.is_empty() {
        plan.workers.clone_from(&options.workers);
    }
    let mut stage = Stage::new(&host, &disk);
    if let Some(seconds) = options.profile {
        sweep::hold_under_load(&mut stage, Duration::from_secs(seconds))?;
        drop(host);
        return disk.remove();
    }
    if options.races {
        let breakage = races(&host, &disk, 1_000, options.quick)?;
        drop(host);
        let breakage = with_power_cuts(breakage, &options, options.quick)?;
        let mut text = String::new();
        Report { breakage, ..Report::default() }.write_breakage(&mut text)?;
        println!("{text}");
        return disk.remove();
    }
    let report = measure(&mut stage, &plan, options.quick)?;
    drop(host);
    let report = Report { breakage: with_power_cuts(report.breakage, &options, options.quick)?, ..report };
    disk.remove()?;
    for promise in promise::all(&report) {
        println!("{:<80} {:<60} {}", promise.what, promise.measured, report::verdict(promise.kept));
    }
    write(&report, &options)
}

/// Lets two builds take turns.
fn compare(options: &Options, other: &Path) -> Result<()> {
    let disks = [Disk::make(&options.disk.join("this"))?, Disk::make(&options.disk.join("other"))?];
    let [mine, theirs] = &disks;
    let modules = format!("/usr/lib/{}-linux-gnu/security", std::env::consts::ARCH);
    let hosts = [
        host(options, mine).start()?,
        host(options, theirs)
            .bind(other.join("countersignd"), "/usr/libexec/countersignd")
            .bind(other.join("countersign"), "/usr/bin/countersign")
            .bind(other.join("pam_countersign.so"), &format!("{modules}/pam_countersign.so"))
            .start()?,
    ];
    let [this, that] = &hosts;
    let comparison = Comparison {
        accounts: options.sizes.first().copied().unwrap_or(10_000),
        workers: if options.workers.is_empty() { vec![1, 2, 8, 32] } else { options.workers.clone() },
        turns: if options.quick { 3 } else { 7 },
    };
    comparison::run(&mut Stage::new(this, mine), &mut Stage::new(that, theirs), &comparison)?;
    drop(hosts);
    disks.iter().try_for_each(Disk::remove)
}

/// The sweep, then what it does not show.
fn measure(stage: &mut Stage<'_>, plan: &Plan, quick: bool) -> Result<Report> {
    let mut starts = Vec::new();
    let Results { cells, sizes, floors } = sweep::run(stage, plan, &mut |stage, accounts| {
        starts.push(extremes::start(stage, accounts, 3)?);
        Ok(())
    })?;
    let largest = plan.sizes.last().copied().unwrap_or_default();
    let storm = extremes::storm(stage, largest, Contestant::Countersign)?;
    let breakage = races(stage.host, stage.disk, largest, quick)?;
    Ok(Report {
        date: report::today()?,
        machine: report::machine()?,
        versions: report::versions()?,
        cells,
        sizes,
        floors,
        storm: Some(storm),
        starts,
        breakage,
    })
}

/// Races and kills among accounts from this one on, which are enrolled for it.
fn races(host: &Host, disk: &Disk, first: u32, quick: bool) -> Result<BTreeMap<Contestant, Breakage>> {
    let rounds = if quick { 5 } else { 20 };
    let reserved = first + rounds * 100;
    contestant::enrol_countersign(host, first, reserved)?;
    contestant::enrol_peers(disk, first, reserved)?;
    breakage::play(host, first, rounds)
}

fn with_power_cuts(
    mut breakage: BTreeMap<Contestant, Breakage>,
    options: &Options,
    quick: bool,
) -> Result<BTreeMap<Contestant, Breakage>> {
    let cuts = if quick { 2 } else { 10 };
    for (contestant, found) in &mut breakage {
        let scratch = options.out.as_path();
        fs::create_dir_all(scratch)?;
        breakage::cut_power(&|| builder(options), scratch, *contestant, cuts, found)?;
    }
    Ok(breakage)
}

/// JSON, Markdown and charts into the output directory, and into the documentation where that is asked for.
fn write(report: &Report, options: &Options) -> Result<()> {
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("results.json"), report.json()?)?;
    fs::write(options.out.join("results.md"), report.markdown())?;
    for chart in chart::all(report) {
        fs::write(options.out.join(chart.file), chart.svg)?;
    }
    println!("Written to {}.", options.out.display());
    let Some(docs) = &options.docs else { return Ok(()) };
    let page = docs.join("performance.md");
    fs::write(&page, report::replace_generated(&fs::read_to_string(&page)?, &report.markdown())?)?;
    fs::create_dir_all(docs.join("performance"))?;
    fs::write(docs.join("performance/results.json"), report.json()?)?;
    for chart in chart::all(report) {
        fs::write(docs.join("performance").join(chart.file), chart.svg)?;
    }
    Ok(())
}

fn plan(quick: bool) -> Plan {
    if quick {
        return Plan {
            sizes: vec![10, 1_000, 10_000],
            peers_up_to: 10_000,
            workers: vec![1, 8],
            repetitions: 3,
            logins: 400,
            patience: Duration::from_millis(500),
        };
    }
    Plan {
        sizes: vec![10, 1_000, 10_000, 100_000, 1_000_000],
        peers_up_to: 100_000,
        workers: vec![1, 2, 8, 32],
        repetitions: 3,
        logins: 600,
        patience: Duration::from_millis(500),
    }
}

/// A host with the state of all contestants on the machine's disk.
fn host(options: &Options, disk: &Disk) -> HostBuilder {
    builder(options)
        .bind(disk.part("home"), "/srv/home")
        .bind(disk.part("oath"), "/srv/oath")
        .bind(disk.part("faillock"), "/srv/faillock")
        .bind(disk.part("countersign"), "/var/lib/countersign")
}

/// A host with a service for each contestant and a name service that knows everybody.
fn builder(options: &Options) -> HostBuilder {
    let libraries = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut host = Host::build()
        .bind(options.native.join("pam_load"), "/usr/lib/scratch/pam_load")
        .bind(options.native.join("libnss_bench.so.2"), &format!("{libraries}/libnss_bench.so.2"))
        .file("/etc/nsswitch.conf", "passwd: bench files\ngroup: files\nshadow: files\nhosts: files\n")
        // Wrong codes are to be charged, not to lock the accounts out of the measurement.
        .configuration("[throttling]\nfailures = 100\ndisable_after = 100\n");
    for (service, lines) in contestant::services() {
        host = host.file(&format!("/etc/pam.d/{service}"), &format!("{lines}account required pam_permit.so\n"));
    }
    host
}
