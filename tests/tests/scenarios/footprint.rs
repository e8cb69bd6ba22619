//! How much of a host Countersign takes.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use scenarios::{Host, PAM_SUCCESS, Stack, staged};

/// What an idle daemon may have resident, in KiB.
const RESIDENT: u64 = 7 * 1024;

/// Two looks at what it does, and a little.
const IDLE: Duration = Duration::from_secs(40);

#[test]
fn an_idle_daemon_is_small_and_has_the_threads_of_the_design() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    // It is idle once nobody has logged in for half a minute.
    let began = Instant::now();
    let mut figures = host.daemon().figures()?;
    while figures.resident >= RESIDENT && began.elapsed() < IDLE {
        std::thread::sleep(Duration::from_millis(200));
        figures = host.daemon().figures()?;
    }
    println!("daemon after {:?}: {figures:?}", began.elapsed());
    assert!(figures.resident < RESIDENT, "{figures:?}");
    // The main thread, the store, syslog, and at most four for the name service.
    let lookups = figures.threads.iter().filter(|name| name.contains("nss")).count();
    assert!(lookups <= 4, "{figures:?}");
    assert_eq!(figures.threads.len() - lookups, 3, "{figures:?}");
    for name in ["countersignd", "store", "syslog"] {
        assert!(figures.threads.iter().any(|thread| thread.contains(name)), "no thread {name}: {figures:?}");
    }
    Ok(())
}

#[test]
fn the_stripped_module_is_smaller_than_a_megabyte() -> Result<()> {
    let stripped = std::env::temp_dir().join(format!("pam_countersign-{}.so", std::process::id()));
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(staged("pam_countersign.so")?).status()?;
    assert!(done.success());
    let size = std::fs::metadata(&stripped)?.len();
    std::fs::remove_file(&stripped)?;
    println!("module: {size} bytes");
    assert!(size < 1 << 20, "{size} bytes");
    Ok(())
}

#[test]
fn the_daemon_ends_in_order_and_is_logged_at_both_ends() -> Result<()> {
    let host = Host::build().start()?;
    host.logged(&[("event", "start")])?;
    host.daemon().stop()?;
    host.logged(&[("event", "stop")])?;
    Ok(())
}
