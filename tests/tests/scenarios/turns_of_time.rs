//! Rules at the turns of a host's own time: the midnight on which a deadline begins, and the nights on which the
//! clocks change. The host is in Berlin, whatever the machine's zone is.

use std::{
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use scenarios::{Host, HostBuilder, PAM_AUTH_ERR, PAM_SUCCESS, Stack};

/// A host in Berlin, whose daemon's clock can be moved.
pub(crate) fn in_berlin(host: HostBuilder) -> HostBuilder {
    host.bind("/usr/share/zoneinfo/Europe/Berlin".into(), "/etc/localtime").fake_clock()
}

/// What date(1) prints in Berlin of this time.
pub(crate) fn date(time: &str, format: &str) -> Result<String> {
    let output = Command::new("date").env("TZ", "Europe/Berlin").args(["-d", time, format]).output()?;
    ensure!(output.status.success(), "date -d '{time}': {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Moves the daemon's clock forward to this time, in seconds since 1970.
pub(crate) fn move_to(host: &Host, time: u64) -> Result<()> {
    let now = host.now().duration_since(UNIX_EPOCH)?.as_secs();
    host.advance(Duration::from_secs(time.checked_sub(now).context("a time that is over")?))
}

/// 01:00 UTC on the last Sunday of this month, on which the clocks of the European Union change: the next one.
fn next_change(host: &Host, month: u32) -> Result<u64> {
    let now = host.now().duration_since(UNIX_EPOCH)?.as_secs();
    let year: u32 = date(&format!("@{now}"), "+%Y")?.parse()?;
    for year in [year, year + 1] {
        for day in (25..=31).rev() {
            let change: u64 = date(&format!("{year}-{month}-{day} 01:00 UTC"), "+%s")?.parse()?;
            if date(&format!("@{change}"), "+%u")? == "7" {
                if change > now + 86_400 {
                    return Ok(change);
                }
                break;
            }
        }
    }
    anyhow::bail!("no change")
}

#[test]
fn a_deadline_begins_at_the_hosts_own_midnight() -> Result<()> {
    let day = date("now + 40 days", "+%Y-%m-%d")?;
    let midnight: u64 = date(&format!("{day} 00:00"), "+%s")?.parse()?;
    let rule = format!("[[rule]]\nname = \"staff\"\nenroll_by = {day}\n");
    let host = in_berlin(Host::build().user_without_password("alice").user_without_password("bob"));
    let host = host.pam(Stack::code_alone("door")).configuration(&rule).start()?;
    let phone = host.enrol("bob")?;
    let reminded = |host: &Host| -> Result<bool> {
        let attempt = host.attempt("door", "alice", &["x"])?;
        assert_eq!(attempt.prompts() == 0, attempt.result == PAM_SUCCESS, "{attempt:?}");
        Ok(attempt.result == PAM_SUCCESS)
    };
    assert!(reminded(&host)?);
    // An hour before midnight in Berlin, the same day has begun nowhere to the west of it; to the east it has.
    move_to(&host, midnight - 3600)?;
    assert!(reminded(&host)?);
    move_to(&host, midnight - 20)?;
    assert!(reminded(&host)?);
    move_to(&host, midnight)?;
    assert!(!reminded(&host)?);
    assert_eq!(host.attempt("door", "bob", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    host.restart_daemon()?;
    assert!(!reminded(&host)?);
    Ok(())
}

#[test]
fn the_nights_on_which_the_clocks_change_leave_out_an_hour_of_a_span_or_play_it_twice() -> Result<()> {
    let rules = "[[rule]]\nname = \"around\"\nservices = [\"around\"]\ntimes = [\"01:55-03:05\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"within\"\nservices = [\"within\"]\ntimes = [\"02:30-02:40\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"sunday\"\nservices = [\"sunday\"]\ndays = [\"sat\"]\ntimes = [\"22:00-04:00\"]\n\
                 action = \"skip\"\n";
    let mut host = in_berlin(Host::build().user_without_password("alice")).configuration(rules);
    for service in ["around", "within", "sunday"] {
        host = host.pam(Stack::code_alone(service));
    }
    let host = host.start()?;
    let skips = |service: &str, change: u64, minutes: i64, expected: bool| -> Result<()> {
        move_to(&host, change.checked_add_signed(60 * minutes).context("a time")?)?;
        let attempt = host.attempt(service, "alice", &["x"])?;
        let wanted = if expected { PAM_SUCCESS } else { PAM_AUTH_ERR };
        assert_eq!(attempt.result, wanted, "{service} {minutes} minutes after the change: {attempt:?}");
        Ok(())
    };
    let mut changes = [(next_change(&host, 3)?, true), (next_change(&host, 10)?, false)];
    changes.sort_unstable();
    for (change, forward) in changes {
        // Minutes from the change, 02:00 or 03:00 by the clock on the wall before it: no two alike, for time goes on.
        let plan: &[(&str, i64, bool)] = if forward {
            &[
                ("around", -6, false),
                ("around", -4, true),
                ("sunday", -2, true),
                ("within", -1, false),
                ("within", 1, false),
                ("around", 4, true),
                ("around", 6, false),
                ("within", 35, false),
                ("sunday", 59, true),
                ("sunday", 61, false),
            ]
        } else {
            &[
                ("around", -66, false),
                ("around", -64, true),
                ("within", -29, true),
                ("within", -15, false),
                ("around", -1, true),
                ("within", 1, false),
                ("within", 31, true),
                ("within", 41, false),
                ("around", 64, true),
                ("around", 66, false),
                ("sunday", 119, true),
                ("sunday", 121, false),
            ]
        };
        for (service, minutes, expected) in plan {
            skips(service, change, *minutes, *expected)?;
        }
    }
    Ok(())
}
