//! Taking over a large host: throughput, memory of the tool and the daemon, and a kill in the middle.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::host;
use crate::imports::there;

/// Names how many accounts; `make test-all` sets it to what the largest hosts have.
const VARIABLE: &str = "SCENARIO_ACCOUNTS";
/// As many as take no time to speak of.
const USUAL: usize = 10_000;
/// In KiB: what the tool and the daemon may take, however many records there are.
const MOST_MEMORY: u64 = 32 * 1024;
/// Records a second that are taken at least, on a machine that has other things to do.
const SLOWEST: usize = 500;

#[test]
fn a_hundred_thousand_accounts_are_taken_over_and_a_kill_in_the_middle_loses_and_doubles_nothing() -> Result<()> {
    let many = std::env::var(VARIABLE).ok().map_or(Ok(USUAL), |text| text.parse())?;
    let host = host(&["alice"], "pam_deny.so")?;
    let mut users = String::with_capacity(many * 72);
    for number in 0..many {
        writeln!(users, "HOTP/E/6\tuser{number:06}\t-\t{:040x}\t{number}", number + 1)?;
    }
    host.write("/etc/users.oath", &users)?;
    host.run(&["chmod", "0600", "/etc/users.oath"])?.success()?;
    // Killed as soon as some of it is in.
    let kill = "countersign import oath /etc/users.oath --json >/tmp/first & tool=$!
        until countersign status user000600 >/dev/null 2>&1; do :; done
        kill -9 $tool; wait $tool; test $? = 137";
    host.run(&["sh", "-c", kill])?.success()?;
    let before = there(&host)?;
    assert!((1..many).contains(&before), "{before}: the kill came too late");

    // A large import may take longer than a command of a scenario: it goes on by itself.
    let begun = Instant::now();
    let import =
        "(/usr/bin/time -f %M -o /tmp/peak countersign import oath /etc/users.oath --json >/tmp/second 2>/tmp/err
        echo $? >/tmp/status.new; mv /tmp/status.new /tmp/status) >/dev/null 2>&1 &";
    host.run(&["setsid", "sh", "-c", import])?.success()?;
    let longest = Duration::from_secs((many / SLOWEST) as u64);
    while !host.has("/tmp/status") {
        assert!(begun.elapsed() < longest, "more than {longest:?}");
        host.run(&["timeout", "30", "sh", "-c", "until [ -e /tmp/status ]; do sleep 0.1; done"])?;
    }
    let took = begun.elapsed();
    assert_eq!(host.read("/tmp/status")?, b"0\n", "{}", String::from_utf8_lossy(&host.read("/tmp/err")?));
    let second: Value = serde_json::from_slice(&host.read("/tmp/second")?)?;
    let number = |key: &str| second[key].as_u64().unwrap_or_default() as usize;
    assert_eq!((number("refused"), number("unbound") + number("present")), (0, many));
    // What was committed while the list was read is present as well.
    assert!(number("present") >= before, "{before} were there, {} are said to be", number("present"));
    assert_eq!(there(&host)?, many);

    let tool: u64 = String::from_utf8(host.read("/tmp/peak")?)?.trim().parse().context("no figure")?;
    let daemon = host.daemon().figures()?.peak;
    let rate = many as f64 / took.as_secs_f64();
    println!("{many} records in {took:.1?}, {rate:.0}/s; the tool took {tool} KiB, the daemon {daemon} KiB");
    assert!(tool < MOST_MEMORY && daemon < MOST_MEMORY, "the tool took {tool} KiB, the daemon {daemon} KiB");
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}
