//! What the service in the daemon's place says would become of logins, and what the tool makes of it.

use dbus_api::{Explanation, LoginOutcome, PassedOver, Rehearsed};

use crate::stage::Stage;
use crate::terminal::Terminal;

/// By the names of accounts.
pub(crate) fn of(user: &str) -> Explanation {
    let passed = |rule: &str, condition: &str, why: &str| PassedOver {
        rule: rule.to_owned(),
        origin: "/etc/countersign/countersign.toml:3".to_owned(),
        condition: condition.to_owned(),
        why: why.to_owned(),
    };
    let asked = Explanation {
        account: user.to_owned(),
        uid: Some(1000),
        at: 1_234_567_890,
        outcome: LoginOutcome::Asked as u32,
        let_in: true,
        asked: true,
        rule: Some("staff".to_owned()),
        rule_origin: Some("/etc/countersign/countersign.toml:12".to_owned()),
        passed_over: vec![
            passed("deploy", "networks", "192.0.2.7 is in none of 10.20.0.0/16"),
            passed("a\x1b[2Jb", "groups", "alice is in contractors, which is excluded"),
        ],
        shown: vec!["Verification code: ".to_owned()],
        tries: Some(1),
        authenticators: Some(1),
        recovery_codes_left: Some(9),
        ..Explanation::default()
    };
    let refused = |reason: &str| Explanation {
        outcome: LoginOutcome::Refused as u32,
        let_in: false,
        reason: Some(reason.to_owned()),
        ..asked.clone()
    };
    match user {
        "fresh" => Explanation { authenticators: Some(0), recovery_codes_left: Some(0), ..refused("not-enrolled") },
        "held" => Explanation {
            asked: false,
            tries: None,
            retry_after: Some(27),
            shown: vec!["Too many wrong codes: try again in 27 s.".to_owned()],
            ..refused("locked")
        },
        "observed" => Explanation { observe: true, let_in: true, asked: false, shown: Vec::new(), ..refused("denied") },
        "away" => Explanation {
            outcome: LoginOutcome::Reminded as u32,
            asked: false,
            tries: None,
            shown: vec!["From 31 January 2027 a second factor is needed here: run countersign enroll".to_owned()],
            authenticators: Some(0),
            recovery_codes_left: Some(0),
            enroll_by: Some("2027-01-31".to_owned()),
            ..asked
        },
        "nobody-knows" => Explanation {
            account: user.to_owned(),
            outcome: LoginOutcome::Refused as u32,
            reason: Some("name-service".to_owned()),
            ..Explanation::default()
        },
        "many" => Explanation { passed_over: vec![passed("x", "services", "sshd is not among sudo"); 25], ..asked },
        _ => asked,
    }
}

/// The same for one of many.
pub(crate) fn in_short(user: &str) -> Rehearsed {
    let Explanation { account, outcome, let_in, observe, reason, rule, .. } = of(user);
    Rehearsed { account, outcome, let_in, observe, reason, rule }
}

fn explain(stage: &Stage, user: &str) -> (Option<i32>, String) {
    let outcome = stage.run(&["explain", user, "--service", "sshd", "--rhost", "192.0.2.7"], "");
    assert_eq!(outcome.err, "", "{user}");
    (outcome.code, outcome.out)
}

#[test]
fn a_login_is_explained_with_its_rule_those_before_it_and_what_is_seen() {
    let stage = Stage::new();
    let expected = "alice at sshd, from 192.0.2.7\n\
        A code is asked for, and a right one lets in.\n  Verification code: \n\
        Active authenticators: 1. Recovery codes left: 9\n\n\
        Decided by the rule \"staff\", /etc/countersign/countersign.toml:12\n\
        Rules before it that do not match:\n\
        \x20 deploy: networks: 192.0.2.7 is in none of 10.20.0.0/16\n\
        \x20 a\\u{1b}[2Jb: groups: alice is in contractors, which is excluded\n";
    assert_eq!(explain(&stage, "alice"), (Some(0), expected.to_owned()));
    let asked = stage.asked();
    assert!(asked[0].starts_with("Admin.Explain alice Origin { service: Some(\"sshd\"), tty: None"), "{asked:?}");
}

#[test]
fn a_refusal_ends_with_1_and_says_what_helps() {
    let stage = Stage::new();
    let (code, out) = explain(&stage, "fresh");
    assert_eq!(code, Some(1));
    let said = "Refused: has no authenticator. The question is asked all the same, and no answer\nis right.\n";
    assert!(out.contains(said), "{out}");
    assert!(out.ends_with("\nAdd an authenticator: sudo countersign enroll fresh\n"), "{out}");
    let (code, out) = explain(&stage, "held");
    assert_eq!(code, Some(1));
    assert!(out.contains("Refused: locked after wrong codes, for 27 s still.\n  Too many wrong codes"), "{out}");
    let (code, out) = explain(&stage, "nobody-knows");
    assert!(code == Some(1) && out.contains("No rule could be asked.\n"), "{out}");
}

#[test]
fn what_is_observed_or_reminded_is_let_in_and_said() {
    let stage = Stage::new();
    let (code, out) = explain(&stage, "observed");
    assert_eq!(code, Some(0));
    let said =
        "Let through: the policy observes, so that nobody is asked.\nIf it did not: refused: the rule denies it.\n";
    assert!(out.contains(said), "{out}");
    let (code, out) = explain(&stage, "away");
    assert_eq!(code, Some(0));
    assert!(out.contains("From 2027-01-31 on the rule wants an authenticator.\n"), "{out}");
    let (_, out) = explain(&stage, "many");
    assert_eq!(out.matches("  x: services: ").count(), 20);
    assert!(out.contains("\n  (5 further ones before these: --json shows all)\n"), "{out}");
}

#[test]
fn a_wrong_moment_is_wrong_usage_and_the_options_reach_the_daemon() {
    let stage = Stage::new();
    let wrong = stage.run(&["explain", "alice", "--service", "sshd", "--at", "soon"], "");
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""));
    assert!(wrong.err.starts_with("countersign: --at: a moment is written as"), "{wrong:?}");
    stage.run(&["explain", "alice", "--service", "su", "--ruser", "bob", "--tty", "tty1", "--claimed"], "");
    let asked = stage.asked().pop().unwrap();
    for part in ["ruser: Some(\"bob\")", "tty: Some(\"tty1\")", "claimed: Some(true)"] {
        assert!(asked.contains(part), "{asked}");
    }
    assert_eq!(stage.run(&["explain", "alice"], "").code, Some(2), "a service must be given");
    assert_eq!(stage.run(&["explain", "denied", "--service", "sshd"], "").code, Some(1));
    assert_eq!(Stage::without_service().run(&["explain", "alice", "--service", "sshd"], "").code, Some(3));
}

#[test]
fn a_rehearsal_of_a_list_shows_those_that_are_refused_last_and_the_sums() {
    let stage = Stage::new();
    let list = "# everybody\nfresh\n\nalice\nalice\n away \nheld\n";
    let outcome = stage.run(&["rehearse", "--service", "sshd", "--accounts", "-"], list);
    let expected = "ACCOUNT  OUTCOME   WHY                       RULE\n\
        alice    asked                               staff\n\
        away     reminded                            staff\n\
        fresh    refused   has no authenticator      staff\n\
        held     refused   locked after wrong codes  staff\n\n\
        4 accounts at sshd: 1 asked, 1 reminded, 2 refused\n";
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(0), expected, ""));
    assert!(stage.asked()[0].ends_with("at: None, claimed: None, each: Some(true) }"), "{:?}", stage.asked());
    let wrong = stage.run(&["rehearse", "--service", "sshd", "--accounts", "-"], "alice\n\x1b[2J\n");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("line 2 is no name of an account"), "{wrong:?}");
    let both = stage.run(&["rehearse", "--service", "sshd", "--accounts", "-", "--group", "staff"], "");
    assert_eq!(both.code, Some(2));
    let absent = stage.run(&["rehearse", "--service", "sshd", "--group", "no-such-group"], "");
    assert!(absent.code == Some(2) && absent.err.contains("knows no group no-such-group"), "{absent:?}");
}

#[test]
fn a_rehearsal_asks_for_five_hundred_accounts_at_a_time() {
    let stage = Stage::new();
    let list: String = (0..1201).map(|number| format!("user{number}\n")).collect();
    let outcome = stage.run(&["rehearse", "--service", "sshd", "--accounts", "-"], &list);
    assert!(outcome.out.ends_with("\n1,201 accounts at sshd: 1,201 asked\n"), "{outcome:?}");
    let asked: Vec<String> = stage.asked().iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(asked, ["500", "500", "201"]);
}

#[test]
fn on_a_narrow_terminal_an_explanation_and_a_rehearsal_fit_and_the_command_that_helps_stays_whole() {
    let stage = Stage::new();
    let list = stage.directory.path().join("names");
    std::fs::write(&list, "alice\nfresh\nheld\n").unwrap();
    for arguments in [
        &["explain", "fresh", "--service", "sshd", "--rhost", "192.0.2.7"][..],
        &["explain", "observed", "--service", "sshd"],
        &["rehearse", "--service", "sshd", "--accounts", list.to_str().unwrap()],
    ] {
        let arguments = [arguments, &["--color=never"]].concat();
        let (_, shown) = Terminal::start(&stage.tool(&arguments), 40).finish();
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{shown}");
        let command = "  sudo countersign enroll fresh";
        assert!(arguments[1] != "fresh" || lines.contains(&command), "{shown}");
    }
    let (_, shown) =
        Terminal::start(&stage.tool(&["explain", "fresh", "--service", "sshd", "--color=always"]), 80).finish();
    assert!(shown.contains("\x1b[31mRefused: has no authenticator."), "{shown}");
}
