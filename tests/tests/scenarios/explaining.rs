//! `countersign explain` beside what a real sshd does, and `countersign rehearse` on a host of ten thousand accounts.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use scenarios::{Host, Stack};
use serde_json::Value;

use crate::words::PROMPT;

/// Accounts of the large host beside its own.
const MANY: usize = 10_000;
/// What a rehearsal of all of them may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is explained of alice's login at sshd from an address, and how the tool ended.
fn explained(host: &Host, rhost: &str) -> Result<(String, String, i32)> {
    let outcome = host.countersign(&["explain", "alice", "--service", "sshd", "--rhost", rhost, "--json"])?;
    let report: Value = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
    let text = |key: &str| report[key].as_str().unwrap_or_default().to_owned();
    Ok((text("outcome"), text("rule"), outcome.status))
}

/// Whether ssh from there gets in with nobody to answer.
fn gets_in_unasked(host: &Host, from: &str) -> Result<bool> {
    Ok(host.command("root", &["ssh", "-T", "-b", from, "alice@scratch", "true"])?.output()?.status.success())
}

#[test]
fn what_is_explained_is_what_sshd_then_does() -> Result<()> {
    let rules = "[[rule]]\nname = \"deploy\"\nnetworks = [\"127.0.0.2/32\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"closed\"\nnetworks = [\"127.0.0.3/32\"]\naction = \"deny\"\n\
                 [[rule]]\nname = \"staff\"\nservices = [\"sshd\"]\nenroll_by = 2999-01-31\nremember = \"8h\"\n";
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .sshd("publickey,keyboard-interactive")
        .configuration(rules)
        .start()?;
    let told = |outcome: &str, rule: &str, status| (outcome.to_owned(), rule.to_owned(), status);
    assert_eq!(explained(&host, "127.0.0.1")?, told("reminded", "staff", 0));
    assert!(gets_in_unasked(&host, "127.0.0.1")?);
    let phone = host.enrol("alice")?;
    for (from, outcome, rule, status, unasked) in [
        ("127.0.0.1", "asked", "staff", 0, false),
        ("127.0.0.2", "skipped", "deploy", 0, true),
        ("127.0.0.3", "refused", "closed", 1, false),
    ] {
        assert_eq!(explained(&host, from)?, told(outcome, rule, status), "{from}");
        assert_eq!(gets_in_unasked(&host, from)?, unasked, "{from}");
    }
    let code = host.code(&phone, 0)?;
    host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    assert_eq!(explained(&host, "127.0.0.1")?, told("remembered", "staff", 0));
    assert!(gets_in_unasked(&host, "127.0.0.1")?);
    host.countersign(&["disable", "alice"])?.success()?;
    assert_eq!(explained(&host, "127.0.0.1")?, told("refused", "staff", 1));
    assert!(!gets_in_unasked(&host, "127.0.0.1")?);
    // Nobody but administrators is told.
    let refused = host.run_as("alice", &["countersign", "explain", "alice", "--service", "sshd"])?;
    assert!(refused.status == 1 && refused.stdout.is_empty(), "{refused}");
    Ok(())
}

/// Adds accounts with groups of their own to the host's; every tenth cannot log in, and there is one whose time is over.
fn fill(host: &Host) -> Result<()> {
    let append = |path: &str, lines: &str| -> Result<()> {
        let text = String::from_utf8(host.read(path)?)?;
        host.write(path, &format!("{text}{lines}"))
    };
    let (mut passwd, mut group, mut shadow) = (String::new(), String::new(), String::new());
    for number in 0..MANY {
        let id = 100_000 + number;
        let shell = if number % 10 == 9 { "/usr/sbin/nologin" } else { "/bin/bash" };
        writeln!(passwd, "user{number}:x:{id}:{id}::/home/user{number}:{shell}")?;
        writeln!(group, "user{number}:x:{id}:")?;
        writeln!(shadow, "user{number}:!:20000:0:99999:7::{}:", if number == 10 { "1" } else { "" })?;
    }
    let half: Vec<_> = (0..MANY).filter(|number| number % 2 == 0).map(|number| format!("user{number}")).collect();
    writeln!(group, "halves:x:90000:{}\nrobots:x:90001:user2,user4", half.join(","))?;
    append("/etc/passwd", &passwd)?;
    append("/etc/group", &group)?;
    append("/etc/shadow", &shadow)
}

#[test]
fn ten_thousand_accounts_are_rehearsed_in_five_seconds_and_each_as_it_is_explained() -> Result<()> {
    let rules = "[[rule]]\nname = \"robots\"\ngroups = [\"robots\"]\nservices = [\"sshd\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"halves\"\ngroups = [\"halves\", \"!user6\"]\nenroll_by = 2999-01-31\n";
    let host = Host::build().user("alice", "correct horse").configuration(rules).daemon_waits().start()?;
    fill(&host)?;
    host.start_daemon()?;
    host.enrol("user1")?;
    let began = Instant::now();
    let outcome = host.countersign(&["rehearse", "--service", "sshd", "--json"])?;
    let took = began.elapsed();
    println!("{MANY} accounts rehearsed in {took:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
    let accounts = report["accounts"].as_array().context("accounts")?;
    let come_to = |outcome: &str| accounts.iter().filter(|account| account["outcome"] == outcome).count();
    // 9,000 with a shell; of the 5,000 in the group all have one, two are skipped, one is excluded and one has expired.
    assert_eq!((come_to("skipped"), come_to("reminded"), come_to("asked")), (2, 4996, 1), "{}", report["summary"]);
    assert!(accounts.iter().all(|account| account["account"] != "user9" && account["account"] != "user10"));
    let of = |name: &str| accounts.iter().find(|account| account["account"] == name).context("an account");
    assert_eq!((&of("user6")?["outcome"], &of("user6")?["password"]), (&"refused".into(), &"locked".into()));
    let administrators = report["administrators_refused"].as_array().context("administrators")?;
    assert!(administrators.contains(&"alice".into()) && administrators.contains(&"root".into()), "{administrators:?}");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (1, ""));
    assert!(took < PATIENCE, "{took:?}");

    // Asked about by itself, as a login does, each comes to the same.
    let names = ["user0", "user1", "user2", "user6", "user3", "alice", "root"];
    let list = "printf '%s\\n' \"$@\" | countersign rehearse --service sshd --accounts - --json";
    let listed = host.run(&[&["sh", "-c", list, "list"], &names[..]].concat())?;
    let listed: Value = serde_json::from_str(&listed.stdout).with_context(|| listed.to_string())?;
    for account in listed["accounts"].as_array().context("accounts")? {
        assert_eq!(account, of(account["account"].as_str().context("a name")?)?);
    }
    let robots = host.countersign(&["rehearse", "--service", "sshd", "--group", "robots"])?.success()?;
    assert!(robots.stdout.contains("2 accounts at sshd: 2 skipped\n"), "{robots}");
    Ok(())
}

#[test]
fn a_directory_that_lists_nobody_is_named_and_its_accounts_are_given_as_a_list() -> Result<()> {
    let host = Host::build().user_without_password("alice").start()?;
    let text = String::from_utf8(host.read("/etc/nsswitch.conf")?)?;
    let with_sss = text.lines().map(|line| if line.starts_with("passwd:") { "passwd: files sss" } else { line });
    host.write("/etc/nsswitch.conf", &(with_sss.collect::<Vec<_>>().join("\n") + "\n"))?;
    let outcome = host.countersign(&["rehearse", "--service", "sshd"])?;
    assert!(outcome.stderr.contains("the name service lists no accounts of sss: they are left out."), "{outcome}");
    Ok(())
}
