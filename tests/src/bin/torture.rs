//! `torture [--rounds N] [--seconds N]`: kills the daemon again and again under load, prints the seed first and one
//! line at the end. `SCENARIO_SEED` plays a plan again.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a report is printed")]

use std::{env, time::Duration};

use anyhow::{Result, bail};
use scenarios::{Plan, seed, torture};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seed = seed();
    let plan = match arguments[..] {
        ["--rounds", rounds] => Plan { seed, rounds: rounds.parse()?, time: None },
        ["--seconds", seconds] => Plan { seed, rounds: usize::MAX, time: Some(Duration::from_secs(seconds.parse()?)) },
        _ => bail!("usage: torture --rounds N | --seconds N"),
    };
    println!("torture: seed {seed}");
    println!("{}", torture(plan)?);
    Ok(())
}
