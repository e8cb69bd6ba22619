//! `torture [--whole | --seconds N] [--plan NAME]`: breaks what is around the daemon, by every plan or one. Prints the seed
//! first, a line for each plan, and one line at the end. `SCENARIO_SEED` plays a plan again.
//!
//! Ends with 0 where every invariant held, with 1 where one did not (a line begins with `FINDING`), with 2 where a plan
//! could not be played.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a report is printed")]

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use scenarios::{Effort, Finding, Orders, PLANS, Played, seed, torture};

fn main() -> ExitCode {
    match play() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn play() -> Result<ExitCode> {
    let orders = orders()?;
    println!("torture: seed {}", orders.seed);
    let played = torture(&orders, |played| {
        println!("{played}");
        if let Err(error) = &played.result {
            error.chain().for_each(|cause| eprintln!("{cause}"));
        }
    })?;
    let found = |played: &&Played| played.result.as_ref().is_err_and(|error| error.downcast_ref::<Finding>().is_some());
    let findings = played.iter().filter(found).count();
    let unplayed = played.iter().filter(|played| played.result.is_err()).count() - findings;
    let (plans, seconds) = (played.len(), played.iter().map(|played| played.took).sum::<Duration>().as_secs());
    println!(
        "torture: seed {}, {plans} plans in {seconds} s: {findings} findings, {unplayed} plans could not be played",
        orders.seed
    );
    Ok(ExitCode::from(match (findings, unplayed) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    }))
}

fn orders() -> Result<Orders> {
    let mut orders = Orders { seed: seed(), time: None, plan: None, effort: Effort::Sample };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--whole", None) => orders.effort = Effort::Whole,
            ("--seconds", Some(seconds)) => {
                orders.effort = Effort::Whole;
                orders.time = Some(Duration::from_secs(seconds.parse()?));
            }
            ("--plan", Some(name)) => orders.plan = Some(name),
            _ => {
                let plans: Vec<String> =
                    PLANS.iter().map(|plan| format!("  {:14} {}", plan.name, plan.about)).collect();
                bail!("usage: torture [--plan NAME] [--seconds N | --whole]\n{}", plans.join("\n"));
            }
        }
    }
    Ok(orders)
}
