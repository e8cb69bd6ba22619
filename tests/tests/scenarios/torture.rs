//! A sample of each plan of torture; `make torture` plays all of them (docs/testing.md).

use anyhow::{Context, Result};
use scenarios::{Effort, Orders, Played, Tally, seed, torture};

fn sample(plan: &str) -> Result<Tally> {
    let orders = Orders { seed: seed(), time: None, plan: Some(plan.to_owned()), effort: Effort::Sample };
    println!("SCENARIO_SEED={}", orders.seed);
    let played = torture(&orders, |played: &Played| println!("{played}"))?;
    played.into_iter().next().context("a plan was played")?.result
}

#[test]
fn every_promise_is_kept_by_a_daemon_that_is_killed_cheated_and_cut_off() -> Result<()> {
    assert!(sample("promises")?.of("logins") > 100);
    Ok(())
}

#[test]
fn kills_under_load_forget_no_spent_code_and_lock_nobody() -> Result<()> {
    assert!(sample("kills")?.of("kills") >= 20);
    Ok(())
}

#[test]
fn a_call_on_a_file_that_fails_or_kills_loses_nothing_that_was_answered() -> Result<()> {
    assert!(sample("file-calls")?.of("hit") >= 20);
    Ok(())
}

#[test]
fn a_system_call_on_a_socket_that_fails_loses_nothing_that_was_answered() -> Result<()> {
    assert!(sample("socket-calls")?.of("played") >= 20);
    Ok(())
}

#[test]
fn an_allocation_that_fails_loses_nothing_that_was_answered() -> Result<()> {
    assert!(sample("no-memory")?.of("hit") >= 1);
    Ok(())
}

#[test]
fn a_disk_that_somebody_keeps_full_stops_no_login_until_the_room_that_is_kept_is_used_up() -> Result<()> {
    assert!(sample("full-disk")?.of("logins on a full disk") >= 1500);
    Ok(())
}

#[test]
fn a_power_cut_under_load_forgets_no_spent_code() -> Result<()> {
    assert!(sample("power-cuts")?.of("spent codes refused") >= 2);
    Ok(())
}

#[test]
fn logins_stay_quick_beside_hostile_users() -> Result<()> {
    assert!(sample("hostile-users")?.of("waves") >= 1);
    Ok(())
}

#[test]
fn more_connections_than_descriptors_keep_nobody_from_logging_in_through_root() -> Result<()> {
    assert!(sample("descriptors")?.of("disturbances") >= 1);
    Ok(())
}

#[test]
fn a_bus_that_is_restarted_under_load_disturbs_no_login_over_the_private_socket() -> Result<()> {
    assert!(sample("bus-restarts")?.of("disturbances") >= 4);
    Ok(())
}

#[test]
fn a_bus_that_drops_delays_repeats_and_reorders_messages_lets_no_code_in_twice() -> Result<()> {
    assert!(sample("bad-messages")?.of("logins over a bad bus") >= 12);
    Ok(())
}

#[test]
fn a_daemon_that_was_stopped_for_a_while_goes_on_and_forgets_nothing() -> Result<()> {
    assert!(sample("pauses")?.of("disturbances") >= 1);
    Ok(())
}

#[test]
fn a_clock_that_jumps_an_hour_and_back_under_load_refuses_nobody() -> Result<()> {
    assert!(sample("clock-jumps")?.of("jumps") >= 8);
    Ok(())
}

#[test]
fn a_name_service_that_hangs_refuses_in_time_and_works_again_as_soon_as_it_answers() -> Result<()> {
    assert!(sample("names-hang")?.of("refused look-ups") >= 6);
    Ok(())
}

#[test]
fn a_logger_that_is_killed_or_stopped_under_load_disturbs_no_login() -> Result<()> {
    assert!(sample("loggers")?.of("disturbances") >= 3);
    Ok(())
}
