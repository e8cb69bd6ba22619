//! The daemon is killed at random under load; `make torture` plays more of it.

use anyhow::Result;
use scenarios::{Plan, seed, torture};

#[test]
fn a_daemon_that_is_killed_twenty_times_under_load_forgets_no_spent_code_and_locks_nobody() -> Result<()> {
    let report = torture(Plan { seed: seed(), rounds: 20, time: None })?;
    println!("{report}");
    assert!(report.kills >= 20, "{report}");
    Ok(())
}
