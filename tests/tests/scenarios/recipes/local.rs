//! Recipes for what happens on the host itself: sudo, su, login, cron.

use anyhow::Result;
use scenarios::{Host, document, wait};

use super::{PASSWORD, ROOT_PASSWORD, Recipe, ssh_from, start};
use crate::words::PROMPT;

/// Makes alice's time stamps of sudo so many seconds older: the time of the last use stands in each record
/// (sudoers_timestamp(5)), by a clock that nothing can move.
const AGE: &str = r#"#!/usr/bin/perl
my ($seconds) = @ARGV; local $/; open my $file, "+<:raw", "/run/sudo/ts/alice" or die "$!";
my $all = <$file>; my $at = 0;
while ($at < length $all) {
    my ($version, $size, $type) = unpack "SSS", substr $all, $at, 6;
    if ($version == 2 && $type != 4) {
        my $time = unpack "q", substr $all, $at + 32, 8;
        substr($all, $at + 32, 8) = pack "q", $time - $seconds;
    }
    $at += $size;
}
seek $file, 0, 0; print $file $all; close $file;"#;

/// A shell of alice's on one terminal, whose time goes by.
const SESSION: &str =
    "sudo echo first; sudo -n age 890; sudo -n echo second; sudo -n age 901; sudo -n echo third || echo end";

#[test]
fn sudo_asks_once_in_15_minutes() -> Result<()> {
    let recipe = Recipe::read("sudo asks once in 15 minutes")?;
    let host = start(recipe.host()?.script("/usr/local/bin/age", AGE))?;
    let phone = host.enrol("alice")?;
    let session = host.terminal("alice", &["sh", "-c", SESSION]).answer("password for alice: ", PASSWORD);
    let session = session.answer(PROMPT, &host.code(&phone, 0)?).expect("first").expect("second").expect("end");
    let session = session.end()?.success()?;
    assert!(session.stdout.matches(PROMPT).count() == 1 && !session.says("third"), "{session}");
    // Another terminal is asked.
    let other = host.terminal("alice", &["sudo", "-n", "echo", "in"]).end()?;
    assert!(!other.succeeded() && !other.says("in\n"), "{other}");
    recipe.is_sound(&host)
}

#[test]
fn a_break_glass_account() -> Result<()> {
    let recipe = Recipe::read("A break-glass account")?;
    let host = start(recipe.host()?.user("breakglass", "a long one from the safe"))?;
    let phone = host.enrol("alice")?;
    host.enrol("breakglass")?;
    host.daemon().stop()?;
    let password = "a long one from the safe";
    let console = host.terminal("root", &["login", "breakglass"]).answer("Password: ", password);
    let console = console.answer("$ ", "sudo id -un").answer("password for breakglass: ", password);
    console.expect("root").answer("$ ", "exit").end()?;
    let seen = recipe.section.only("sh")?;
    let found = || Ok(host.run(&["sh", "-c", seen])?.stdout.contains("login").then_some(()));
    wait("the line about its use", found)?;
    // Nobody else gets past a daemon that is gone, and this account not over ssh.
    let sudo = host.terminal("alice", &["sudo", "id", "-un"]).answer("password for alice: ", PASSWORD);
    let sudo = sudo.expect("password for alice: ").interrupt().end()?;
    assert!(!sudo.succeeded() && !sudo.says("root"), "{sudo}");
    host.start_daemon()?;
    let ssh = ssh_from(&host, "127.0.0.1", "breakglass").end()?;
    assert!(!ssh.succeeded() && !ssh.says("in as"), "{ssh}");
    let sudo = host.terminal("alice", &["sudo", "id", "-un"]).answer("password for alice: ", PASSWORD);
    sudo.answer(PROMPT, &host.code(&phone, 0)?).expect("root").end()?.success()?;
    recipe.is_sound(&host)
}

#[test]
fn su_and_login() -> Result<()> {
    let recipe = Recipe::read("su and login")?;
    let host = start(recipe.host()?.user("bob", "battery staple"))?;
    let [alice, bob, root] = ["alice", "bob", "root"].map(|user| host.enrol(user));
    let (alice, bob, root) = (alice?, bob?, root?);
    let to_bob = host.terminal("alice", &["su", "bob", "-c", "id -un"]).answer("Password: ", "battery staple");
    to_bob.answer(PROMPT, &host.code(&bob, 0)?).expect("bob").end()?.success()?;
    for (su, steps) in [("su", 0), ("su -", 1)] {
        let to_root = host.terminal("alice", &["sh", "-c", &format!("{su} -c 'id -un'")]);
        let to_root = to_root.answer("Password: ", ROOT_PASSWORD).answer(PROMPT, &host.code(&alice, steps)?);
        to_root.expect("root").end()?.success()?;
    }
    let with_roots_code = host.terminal("alice", &["su", "-c", "id -un"]).answer("Password: ", ROOT_PASSWORD);
    let refused = with_roots_code.answer(PROMPT, &host.code(&root, 0)?).end()?;
    assert!(!refused.succeeded() && !refused.stdout.lines().any(|line| line == "root"), "{refused}");
    assert_eq!(host.run(&["su", "alice", "-c", "id -un"])?.success()?.stdout, "alice\n");

    let console = host.terminal("root", &["login", "bob"]).answer("Password: ", "battery staple");
    console.answer(PROMPT, &host.code(&bob, 1)?).answer("$ ", "exit").end()?;
    host.logged(&[("account", "bob"), ("service", "login"), ("outcome", "granted")])?;
    let console = host.terminal("root", &["login", "root"]).answer("Password: ", ROOT_PASSWORD);
    console.answer(PROMPT, &host.code(&root, 0)?).answer("# ", "exit").end()?;
    host.logged(&[("account", "root"), ("service", "login"), ("outcome", "granted")])?;
    recipe.is_sound(&host)
}

/// alice's jobs, which cron runs as it starts.
const CRONTAB: &str = "@reboot id -un >/tmp/by-cron 2>&1\n";

fn runs_cron(host: &Host) -> Result<()> {
    host.feed_as("alice", &["crontab", "-"], CRONTAB.as_bytes())?.success()?;
    host.run(&["sh", "-ec", "rm -f /tmp/by-cron /run/crond.*; cron"])?.success()?;
    wait("the job", || Ok(host.read("/tmp/by-cron").is_ok_and(|by| by == b"alice\n").then_some(())))?;
    host.run(&["sh", "-ec", "kill $(cat /run/crond.pid)"])?.success()?;
    Ok(())
}

#[test]
fn cron_and_user_services_untouched() -> Result<()> {
    let recipe = Recipe::read("cron and user services, untouched")?;
    let profile = document::read("packaging/pam-configs/countersign")?;
    let host = start(recipe.host()?.file("/usr/share/pam-configs/countersign", &profile))?;
    let phone = host.enrol("alice")?;
    runs_cron(&host)?;
    host.run(&["sh", "-ec", recipe.section.only("sh")?])?.success()?;
    runs_cron(&host)?;
    let asked = host.syslog().into_iter().filter(|line| line.has(&[("event", "verification")])).count();
    assert_eq!(asked, 0, "{}", host.diagnosis());
    // The same file asks where somebody logs in.
    let sudo = host.terminal("alice", &["sudo", "id", "-un"]).answer("password for alice: ", PASSWORD);
    sudo.answer(PROMPT, &host.code(&phone, 0)?).expect("root").end()?.success()?;
    // With the daemon gone cron still asks nobody.
    host.daemon().stop()?;
    runs_cron(&host)?;
    host.start_daemon()?;
    host.enrol("root")?;
    recipe.is_sound(&host)
}
