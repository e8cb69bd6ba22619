//! `make bench`: logins through libpam on a scratch host, Countersign beside the modules that people run, all in one
//! run. Needs root, and trusts the machine that it runs on.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the results are printed")]

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Parser;
use scenarios::Host;

use bench::{
    contestant::{self, Disk},
    sweep::{self, Plan, Stage},
};

/// Measures logins through PAM: Countersign beside pam_google_authenticator, pam_oath and pam_faillock.
#[derive(Debug, Parser)]
struct Options {
    /// Smaller sizes and fewer repetitions: two minutes instead of half an hour.
    #[arg(long)]
    quick: bool,
    /// Instead of measuring: HOTP logins at Countersign for so many seconds, for a profiler to look at.
    #[arg(long, value_name = "SECONDS")]
    profile: Option<u64>,
    /// Where the compiled parts of bench/native are.
    #[arg(long)]
    native: PathBuf,
    /// A directory on the disk that is to be measured; it is made anew and removed at the end.
    #[arg(long)]
    disk: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let disk = Disk::make(&options.disk)?;
    let host = host(&options, &disk)?;
    let plan = plan(options.quick);
    let mut stage = Stage::new(&host, &disk);
    if let Some(seconds) = options.profile {
        sweep::hold_under_load(&mut stage, Duration::from_secs(seconds), &mut sweep::progress)?;
        drop(host);
        return disk.remove();
    }
    let results = sweep::run(&mut stage, &plan, &mut sweep::progress)?;
    println!("{:#?}", results.floors);
    drop(host);
    disk.remove()
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
        repetitions: 5,
        logins: 1_500,
        patience: Duration::from_millis(1_000),
    }
}

/// A host with the state of all contestants on the machine's disk, and a name service that knows everybody.
fn host(options: &Options, disk: &Disk) -> Result<Host> {
    let libraries = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut host = Host::build()
        .bind(disk.part("home"), "/srv/home")
        .bind(disk.part("oath"), "/srv/oath")
        .bind(disk.part("faillock"), "/srv/faillock")
        .bind(disk.part("countersign"), "/var/lib/countersign")
        .bind(options.native.join("pam_load"), "/usr/lib/scratch/pam_load")
        .bind(options.native.join("libnss_bench.so.2"), &format!("{libraries}/libnss_bench.so.2"))
        .file("/etc/nsswitch.conf", "passwd: bench files\ngroup: files\nshadow: files\nhosts: files\n")
        // Wrong codes are to be charged, not to lock the accounts out of the measurement.
        .configuration("[throttling]\nfailures = 100\ndisable_after = 100\n");
    for (service, lines) in contestant::services() {
        host = host.file(&format!("/etc/pam.d/{service}"), &format!("{lines}account required pam_permit.so\n"));
    }
    host.start()
}
