//! A phone whose clock is hours off, a fob that was played with, a new phone: put right by the tool, over real ssh.

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, HotpKey, Stack};
use serde_json::Value;

use crate::words::PROMPT;

/// Three hours, in steps of 30 seconds.
const HOURS: i64 = 360;

fn host(configuration: &str) -> Result<Host> {
    Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .configuration(&format!("fail_delay = \"0s\"\n{configuration}"))
        .start()
}

/// The authenticator of alice with this label, as `status` tells of it.
fn authenticator(host: &Host, label: &str) -> Result<Value> {
    let status = host.countersign(&["status", "alice", "--json"])?.success()?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    let all = status["authenticators"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| label.is_empty() || one["label"] == label).context("no such authenticator")
}

fn id(host: &Host, label: &str) -> Result<String> {
    Ok(authenticator(host, label)?["id"].as_str().context("no id")?.to_owned())
}

fn is_let_in(host: &Host, code: &str) -> Result<()> {
    host.ssh("alice", "id -un").answer(PROMPT, code).expect("alice").end()?.success()?;
    Ok(())
}

fn is_refused(host: &Host, code: &str) -> Result<()> {
    let login = host.ssh("alice", "id").answer(PROMPT, code).expect(PROMPT).interrupt().end()?;
    assert!(!login.succeeded(), "{login}");
    Ok(())
}

/// The tool as somebody on a terminal, who types two codes.
fn resync(host: &Host, whom: &str, id: &str, codes: [&str; 2], told: &str) -> Result<()> {
    let mut command = vec!["countersign", "resync", id];
    if whom == "root" {
        command.insert(2, "alice");
    }
    let dialogue = host.terminal(whom, &command).answer("Code of \"", codes[0]);
    dialogue.answer("The code after it: ", codes[1]).expect(told).end()?.success()?;
    Ok(())
}

#[test]
fn a_phone_three_hours_behind_is_refused_and_let_in_after_root_resynchronised_it() -> Result<()> {
    let host = host("")?;
    let phone = host.enrol("alice")?;
    let id = id(&host, "")?;
    let codes = (-2..=1).map(|step| host.code(&phone, step - HOURS)).collect::<Result<Vec<_>>>()?;
    is_refused(&host, &codes[0])?;
    resync(&host, "root", &id, [&codes[1], &codes[2]], "3 hours behind")?;
    host.logged(&[("event", "resync"), ("outcome", "granted"), ("account", "alice"), ("caller_uid", "0")])?;
    is_refused(&host, &codes[1])?;
    host.logged(&[("account", "alice"), ("reason", "reused")])?;
    is_refused(&host, &codes[2])?;
    let login = host.ssh("alice", "id -un").answer(PROMPT, &codes[3]).expect("alice").end()?.success()?;
    assert!(login.says("An authenticator was resynchronised by an administrator"), "{login}");
    // What was found out about its clock outlives the daemon, and so does what was spent.
    host.daemon().kill()?;
    host.start_daemon()?;
    is_refused(&host, &codes[3])?;
    let off = authenticator(&host, "")?["clock_off"].as_i64().context("no drift")?;
    assert!((-10_860..=-10_740).contains(&off), "{off}");
    is_let_in(&host, &host.code(&phone, 2 - HOURS)?)
}

#[test]
fn a_fob_pressed_sixty_times_is_found_by_the_login_although_the_daemon_is_killed_between_its_two_codes() -> Result<()> {
    let host = host("")?;
    let (fob, codes) = HotpKey::distinct(70, 70)?;
    host.import_hotp("alice", &fob)?;
    is_let_in(&host, &codes[0])?;
    let login = host.ssh("alice", "id").answer(PROMPT, &codes[61]).expect(PROMPT).interrupt().end()?;
    assert!(!login.succeeded(), "{login}");
    host.daemon().kill()?;
    host.start_daemon()?;
    is_let_in(&host, &codes[62])?;
    for spent in [&codes[61], &codes[62]] {
        is_refused(&host, spent)?;
    }
    host.countersign(&["unlock", "alice"])?.success()?;
    is_let_in(&host, &codes[63])
}

#[test]
fn a_fob_pressed_six_hundred_times_is_found_by_root() -> Result<()> {
    let host = host("")?;
    let (fob, codes) = HotpKey::distinct(71, 12)?;
    host.import_hotp("alice", &fob)?;
    is_let_in(&host, &codes[0])?;
    let later = fob.codes(601, 4)?;
    is_refused(&host, &later[0])?;
    resync(&host, "root", &id(&host, "")?, [&later[1], &later[2]], "601 codes ahead")?;
    is_refused(&host, &later[2])?;
    is_let_in(&host, &later[3])
}

#[test]
fn its_owner_resynchronises_a_phone_by_a_recovery_code_and_not_by_its_own() -> Result<()> {
    let host = host("")?;
    let phone = host.enrol("alice")?;
    let id = id(&host, "")?;
    let codes = (-1..=1).map(|step| host.code(&phone, step + HOURS)).collect::<Result<Vec<_>>>()?;
    let tool = || host.terminal("alice", &["countersign", "resync", &id]).expect("or a recovery code, is needed first");
    let own = tool().answer_unseen(PROMPT, &host.code(&phone, 0)?);
    let own = own.answer("Code of \"", &codes[0]).answer("The code after it: ", &codes[1]);
    // Its own code proves nothing: it is asked again, and nobody answers.
    let own = own.expect("or a recovery code, is needed first").expect(PROMPT).interrupt().end()?;
    assert!(!own.succeeded(), "{own}");
    let by_recovery_code = tool().answer_unseen(PROMPT, &phone.recovery_codes[0]);
    let answered = by_recovery_code.answer("Code of \"", &codes[0]).answer("The code after it: ", &codes[1]);
    answered.expect("3 hours ahead").end()?.success()?;
    host.logged(&[("event", "resync"), ("outcome", "granted"), ("account", "alice")])?;
    is_let_in(&host, &codes[2])
}

#[test]
fn a_new_phone_gets_the_key_of_the_old_one_where_that_is_switched_on_and_both_work() -> Result<()> {
    let host = host("")?;
    let phone = host.enrol("alice")?;
    let id = id(&host, "")?;
    let export = ["export", "alice", &id, "--yes", "--json"];
    let off = host.countersign(&export)?;
    assert!(!off.succeeded() && off.says("export = true"), "{off}");
    host.logged(&[("event", "export"), ("outcome", "refused"), ("reason", "switched-off")])?;
    host.write("/etc/countersign/countersign.toml", "fail_delay = \"0s\"\n[admin]\nexport = true\n")?;
    host.daemon().reload()?;
    host.logged(&[("event", "reload"), ("outcome", "granted")])?;
    let exported: Value = serde_json::from_str(&host.countersign(&export)?.success()?.stdout)?;
    assert_eq!(exported["uri"], phone.uri.as_str());
    let new = Enrolment { secret: exported["secret"].as_str().context("no secret")?.to_owned(), ..phone.clone() };
    let login = host.ssh("alice", "id -un").answer(PROMPT, &host.code(&new, 0)?).expect("alice").end()?.success()?;
    assert!(login.says("The key of an authenticator was shown to an administrator"), "{login}");
    is_let_in(&host, &host.code(&phone, 1)?)?;
    let by_alice = host.run_as("alice", &["countersign", "export", "alice", &id, "--yes", "--uri"])?;
    assert!(!by_alice.succeeded() && !by_alice.says("otpauth"), "{by_alice}");
    assert!(!host.syslog().iter().any(|line| line.text.contains(&phone.secret)), "{}", host.diagnosis());
    Ok(())
}

#[test]
fn a_lost_phone_is_disabled_by_itself_and_the_other_one_goes_on() -> Result<()> {
    let host = host("")?;
    let lost = host.enrol("alice")?;
    let id = id(&host, "")?;
    let (fob, codes) = HotpKey::distinct(72, 12)?;
    host.import_hotp("alice", &fob)?;
    host.countersign(&["disable", "alice", &id])?.success()?;
    is_refused(&host, &host.code(&lost, 0)?)?;
    is_let_in(&host, &codes[0])?;
    let status = host.countersign(&["status", "alice"])?.success()?;
    assert!(status.says("is disabled until: sudo countersign enable alice"), "{status}");
    host.countersign(&["enable", "alice", &id])?.success()?;
    is_let_in(&host, &host.code(&lost, 1)?)
}
