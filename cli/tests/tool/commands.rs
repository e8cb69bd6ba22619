//! The commands of administrators and the smaller ones: exit codes, messages, JSON.

use dbus_api::{Account, AccountState};
use serde_json::{Value, json};

use crate::{
    service::RIGHT,
    stage::{Stage, finish, tool},
    terminal::Terminal,
};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn done_refused_usage_and_unreachable_have_their_exit_codes() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["unlock", "alice"], "").code, Some(0));
    assert_eq!(stage.run(&["unlock", "denied"], "").code, Some(1));
    assert_eq!(stage.run(&["unlock"], "").code, Some(2));
    assert_eq!(stage.run(&["nonsense"], "").code, Some(2));
    assert_eq!(Stage::without_service().run(&["unlock", "alice"], "").code, Some(3));
}

#[test]
fn an_absent_daemon_and_an_absent_bus_are_told_with_the_command_that_helps() {
    let daemon = Stage::without_service().run(&["list"], "");
    assert_eq!(daemon.code, Some(3));
    assert!(daemon.err.contains("systemctl status countersignd"), "{daemon:?}");
    let mut command = tool();
    command.args(["--bus", "unix:path=/nonexistent/bus", "status", "alice"]);
    let bus = finish(command, "");
    assert_eq!(bus.code, Some(3));
    assert!(bus.err.contains("systemctl status dbus countersignd") && bus.out.is_empty(), "{bus:?}");
}

#[test]
fn the_environment_does_not_choose_the_bus() {
    let stage = Stage::new();
    for name in ["DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS"] {
        let mut command = tool();
        command.env(name, &stage.address).args(["unlock", "alice"]);
        finish(command, "");
    }
    assert!(stage.asked().is_empty(), "{:?}", stage.asked());
}

#[test]
fn an_address_that_is_none_is_wrong_usage() {
    let mut command = tool();
    command.args(["--bus", "nonsense", "list"]);
    assert_eq!(finish(command, "").code, Some(2));
}

#[test]
fn a_bus_that_forbids_the_call_refuses_and_is_not_unreachable() {
    let stage = Stage::with_policy("<deny send_destination=\"org.countersign.Countersign1\"/>");
    let outcome = stage.run(&["list"], "");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("the system bus does not let you do this"), "{outcome:?}");
}

#[test]
fn unlock_enable_and_disable_reach_the_daemon_and_say_so() {
    let stage = Stage::new();
    assert!(stage.run(&["unlock", "alice"], "").out.contains("alice is no longer locked"));
    assert!(stage.run(&["disable", "alice"], "").out.contains("alice is disabled"));
    assert!(stage.run(&["enable", "alice"], "").out.contains("alice is enabled"));
    assert_eq!(stage.asked(), ["Admin.Unlock alice", "Admin.Disable alice", "Admin.Enable alice"]);
}

#[test]
fn forget_says_how_many_logins_were_forgotten() {
    let stage = Stage::new();
    let two = "2 remembered logins of alice forgotten: a code is asked for everywhere again.";
    assert!(stage.run(&["forget", "alice"], "").out.contains(two));
    assert!(stage.run(&["forget", "bob"], "").out.contains("No login of bob was remembered."));
    assert_eq!(stage.run(&["forget", "denied"], "").code, Some(1));
    assert_eq!(stage.asked(), ["Admin.Forget alice", "Admin.Forget bob", "Admin.Forget denied"]);
}

#[test]
fn refusals_name_the_command_that_helps() {
    let stage = Stage::new();
    for (user, help) in [
        ("unknown", "getent passwd unknown"),
        ("fresh", "sudo countersign enroll fresh"),
        ("locked", "sudo countersign unlock locked"),
        ("disabled", "sudo countersign enable disabled"),
        ("broken", "journalctl -u countersignd"),
    ] {
        let outcome = stage.run(&["disable", user], "");
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""));
        assert!(outcome.err.starts_with("countersign: ") && outcome.err.contains(help), "{outcome:?}");
    }
}

#[test]
fn the_daemon_s_texts_cannot_steer_the_terminal() {
    let stage = Stage::new();
    let outcome = stage.run(&["unlock", "hostile"], "");
    assert!(outcome.err.contains("\\u{1b}]0;owned\\u{7}") && !outcome.err.contains('\x1b'), "{outcome:?}");
    for arguments in [&["list"][..], &["status", "alice"], &["status", "al\x1b[2Jice"]] {
        let outcome = stage.run(arguments, "");
        assert!(outcome.out.contains("\\u{1b}[2J") && !outcome.out.contains('\x1b'), "{outcome:?}");
    }
}

#[test]
fn reset_without_a_terminal_wants_yes() {
    let stage = Stage::new();
    let outcome = stage.run(&["reset", "alice"], "y\n");
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("--yes"), "{outcome:?}");
    assert!(stage.asked().is_empty());
    assert_eq!(stage.run(&["reset", "alice", "--yes", "--allow-enrolment", "24h"], "").code, Some(0));
    assert_eq!(stage.asked(), ["Admin.Reset alice 86400"]);
    assert_eq!(stage.run(&["reset", "alice", "--yes", "--allow-enrolment", "soon"], "").code, Some(2));
}

#[test]
fn reset_at_a_terminal_asks_and_only_a_yes_is_one() {
    let stage = Stage::new();
    for (keys, code) in [("n\r", 1), ("\r", 1), ("\x04", 1), ("\x03", 1), ("y\r", 0)] {
        assert!(stage.asked().is_empty(), "before {keys:?}");
        let mut terminal = Terminal::start(&stage.tool(&["reset", "alice"]), 80);
        terminal.expect("Reset alice? [y/N]");
        terminal.press(keys);
        let (ended, shown) = terminal.finish();
        assert_eq!(ended, Some(code), "{keys:?}: {shown}");
        assert_eq!(shown.contains("nothing was changed"), code == 1, "{shown}");
    }
    assert_eq!(stage.asked(), ["Admin.Reset alice 0"]);
}

#[test]
fn list_prints_every_page_in_columns() {
    let stage = Stage::new();
    let outcome = stage.run(&["list"], "");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(
        lines[0],
        "ACCOUNT        UID  STATE         AUTHENTICATORS  RECOVERY  FAILURES  LAST LOGIN     REMEMBERED"
    );
    assert!(lines[1].starts_with("alice         1000  active"), "{}", outcome.out);
    assert!(lines[2].contains("locked, 27 s") && lines[2].contains("  never  "), "{}", outcome.out);
    assert!(lines[3].starts_with("carol            -  disabled"), "{}", outcome.out);
    assert_eq!(stage.asked().len(), 2);
}

#[test]
fn list_and_status_say_when_somebody_must_enrol_and_that_the_policy_observes() {
    let stage = Stage::new();
    let late = Account {
        name: "dora".to_owned(),
        state: AccountState::NotEnrolled as u32,
        enroll_by: Some("2027-01-31".to_owned()),
        ..Account::default()
    };
    let mut held = stage.held.lock().unwrap();
    (held.unenrolled, held.observe) = (vec![late], "some".to_owned());
    drop(held);
    let list = stage.run(&["list"], "");
    let dora = list.out.lines().last().unwrap();
    assert!(dora.starts_with("dora") && dora.contains("not enrolled, due 2027-01-31"), "{list:?}");
    let said = "countersign: OBSERVING: a rule asks nobody for a code, and only writes down what\n  it would do.\n";
    assert_eq!(list.err, said);
    let json = stage.run(&["list", "--json"], "");
    assert_eq!((json.err.as_str(), &parse(&json.out)[3]["enroll_by"]), ("", &json!("2027-01-31")));
    let status = stage.run(&["status", "observed"], "");
    let said = "OBSERVING: nobody is asked for a code, whatever is enrolled (mode = \"observe\").\nobserved: active\n";
    assert!(status.out.starts_with(said), "{status:?}");
    assert_eq!(parse(&stage.run(&["status", "observed", "--json"], "").out)["observe"], json!("all"));
}

#[test]
fn list_as_json_has_the_documented_shape() {
    let stage = Stage::new();
    let outcome = stage.run(&["list", "--json"], "");
    let list = parse(&outcome.out);
    assert_eq!(
        list[0],
        json!({"account": "alice", "uid": 1000, "state": "active", "active_authenticators": 1,
               "inactive_authenticators": 0, "recovery_codes_left": 10, "failures": 3, "locked_for": null, "last_used": "2009-02-13T23:31:30Z",
               "remembered": 2, "enroll_by": null})
    );
    assert_eq!((&list[1]["state"], &list[1]["locked_for"]), (&json!("locked"), &json!(27)));
    assert_eq!((&list[2]["uid"], &list[2]["state"]), (&json!(null), &json!("disabled")));
    assert_eq!(list.as_array().unwrap().len(), 3);
}

#[test]
fn list_filters_by_state_and_by_disuse() {
    let stage = Stage::new();
    stage.run(&["list", "--state", "altered"], "");
    assert_eq!(stage.asked()[0], "Admin.Accounts AccountFilter { state: Some(5), gone: None } \"\"");
    assert_eq!(stage.run(&["list", "--state", "strange"], "").code, Some(2));
    let names = |more: &[&str]| -> Vec<String> {
        let list = parse(&stage.run(&[&["list", "--json"], more].concat(), "").out);
        list.as_array().unwrap().iter().map(|account| account["account"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--unused-for", "90d"]), ["alice", "bo\u{1b}[2Jb", "carol"]);
    // Nobody's last login in 2009 is that long ago; whoever never logged in stays.
    assert_eq!(names(&["--unused-for", "36500d"]), ["bo\u{1b}[2Jb", "carol"]);
    assert_eq!(stage.run(&["list", "--unused-for", "long"], "").code, Some(2));
}

#[test]
fn list_sorts_by_name_last_use_or_failures() {
    let stage = Stage::new();
    let first = |order: &str| -> Vec<String> {
        let lines = stage.run(&["list", "--sort", order], "").out;
        lines.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    assert_eq!(first("name"), ["alice", "bo\\u{1b}[2Jb", "carol"]);
    assert_eq!(first("last-used"), ["bo\\u{1b}[2Jb", "carol", "alice"]);
    assert_eq!(first("failures"), ["carol", "alice", "bo\\u{1b}[2Jb"]);
}

#[test]
fn status_shows_what_is_stored_for_a_name_that_the_host_does_not_know() {
    let stage = Stage::new();
    let gone = stage.run(&["status", "gone"], "");
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert!(gone.out.contains("The name service does not know gone.") && gone.out.contains("reset gone"), "{gone:?}");
    assert_eq!(stage.asked(), ["Enrollment.List gone", "Admin.Account gone"]);
    let unknown = stage.run(&["status", "unknown"], "");
    assert!(unknown.code == Some(1) && unknown.err.contains("this host knows no account unknown"), "{unknown:?}");
}

#[test]
fn status_says_how_the_account_stands_and_what_helps() {
    let stage = Stage::new();
    let alice = stage.run(&["status", "alice"], "").out;
    assert!(alice.starts_with("alice: active\n") && alice.contains("TOTP, SHA1, 6 digits, 30 s"), "{alice}");
    assert!(alice.contains("Recovery codes left: 8"), "{alice}");
    assert!(alice.contains("No code is asked for 8 hours: ss\\u{1b}[2Jhd from 192.0.2.7"), "{alice}");
    assert!(stage.run(&["status", "locked"], "").out.contains("lifts in 27 s. Sooner: sudo countersign unlock locked"));
    assert!(stage.run(&["status", "disabled"], "").out.contains("sudo countersign enable disabled"));
    let empty = stage.run(&["status", "empty"], "").out;
    assert!(empty.starts_with("empty: not enrolled\nFrom 2027-01-31 on a second factor is needed."), "{empty}");
}

#[test]
fn status_as_json_has_the_documented_shape() {
    let stage = Stage::new();
    let status = parse(&stage.run(&["status", "locked", "--json"], "").out);
    let phone = json!({"id": "3f9a2c01", "label": "phone", "kind": "totp", "algorithm": "SHA1", "digits": 6,
                       "period": 30, "active": true, "suspended": false, "created": "2005-03-18T01:58:29Z",
                       "last_used": "2009-02-13T23:31:30Z", "expires": null,
                       "clock_off": 0, "needs_resync": false, "weak": false});
    assert_eq!(status["authenticators"][0], phone);
    assert_eq!(status["authenticators"][1]["last_used"], json!(null));
    assert_eq!(
        (&status["account"], &status["state"], &status["locked_for"], &status["failures"]),
        (&json!("locked"), &json!("locked"), &json!(27), &json!(2))
    );
    assert_eq!(status["recovery_codes_left"], json!(8));
    assert_eq!(status["enroll_by"], json!(null));
    let login =
        json!({"service": "ss\u{1b}[2Jhd", "address": "192.0.2.7", "since": "2009-02-13T23:31:30Z", "left": 27000});
    assert_eq!(status["remembered"], json!([login]));
}

#[test]
fn under_sudo_the_account_must_be_named() {
    let stage = Stage::new();
    for command in ["enroll", "status", "verify", "recovery-codes", "forget"] {
        let mut tool = stage.tool(&[command]);
        tool.env("SUDO_USER", "alice");
        let outcome = finish(tool, "");
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.err.contains(&format!("sudo countersign {command} alice")), "{outcome:?}");
    }
    assert!(stage.asked().is_empty());
}

#[test]
fn without_a_name_the_account_is_the_caller_s_own() {
    let stage = Stage::new();
    let own = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    assert_eq!(stage.run(&["status"], "").code, Some(0));
    assert_eq!(stage.asked(), [format!("Enrollment.List {own}")]);
}

#[test]
fn verify_takes_the_right_code_and_says_when_it_was_wrong() {
    let stage = Stage::new();
    let right = stage.run(&["verify", "alice"], &format!("{RIGHT}\n"));
    assert_eq!(right.code, Some(0), "{right:?}");
    assert!(right.out.contains("accepted") && right.out.contains("Hello\\u{1b}[2J"), "{right:?}");
    let wrong = stage.run(&["verify", "alice"], "000000\n");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("the code was not accepted"), "{wrong:?}");
    let locked = stage.run(&["verify", "locked"], "");
    assert!(locked.code == Some(1) && locked.err.contains("locked for 27 s"), "{locked:?}");
    assert_eq!(stage.run(&["verify", "disabled"], "").code, Some(1));
    assert_eq!(stage.run(&["verify", "free"], "").code, Some(0));
}

#[test]
fn an_answer_that_is_not_known_is_a_refusal() {
    assert_eq!(Stage::new().run(&["verify", "strange"], "").code, Some(1));
}

#[test]
fn a_hidden_code_is_not_shown_and_ctrl_c_gives_the_echo_back() {
    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["verify", "alice"]), 80);
    terminal.expect("Verification code:");
    // The echo goes right after the prompt: wait for it.
    while terminal.echoes() {
        std::thread::yield_now();
    }
    terminal.press("4711");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(1));
    assert!(!shown.contains("4711") && shown.contains("no code was tried"), "{shown}");
    assert_eq!(stage.asked().last().unwrap(), "Verifier.Cancel 9");
}

#[test]
fn rename_and_remove_reach_the_daemon() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["rename", "alice", "3f9a2c01", "old phone"], "").code, Some(0));
    assert_eq!(stage.run(&["remove", "alice", "3f9a2c01"], "").code, Some(2));
    assert_eq!(stage.run(&["remove", "alice", "3f9a2c01", "--yes"], "").code, Some(0));
    let last = stage.run(&["remove", "last", "3f9a2c01", "--yes"], "");
    assert!(last.code == Some(1) && last.err.contains("countersign enroll last"), "{last:?}");
    assert_eq!(stage.asked()[..2], ["Enrollment.Rename alice 3f9a2c01 old phone", "Enrollment.Remove alice 3f9a2c01"]);
}

#[test]
fn new_recovery_codes_are_shown_once_asked_for() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["recovery-codes", "alice"], "y\n").code, Some(2));
    assert!(stage.asked().is_empty());
    let codes = stage.run(&["recovery-codes", "alice", "--yes"], "");
    assert!(codes.code == Some(0) && codes.out.contains("  AAAAA-BBBBB-CCCCC-DDDDD-00009\n"), "{codes:?}");
    let report = parse(&stage.run(&["recovery-codes", "alice", "--yes", "--json"], "").out);
    assert_eq!((&report["account"], report["recovery_codes"].as_array().unwrap().len()), (&json!("alice"), 10));
}

#[test]
fn colours_stand_on_a_terminal_alone_and_as_asked_for() {
    let stage = Stage::new();
    let coloured = |mut command: std::process::Command, variables: &[(&str, &str)]| {
        command.envs(variables.iter().copied());
        finish(command, "").out.contains('\x1b')
    };
    let list = |choice: &[&str]| stage.tool(&[&["list"], choice].concat());
    assert!(!coloured(list(&[]), &[]));
    assert!(coloured(list(&["--color", "always"]), &[("NO_COLOR", "1")]));
    assert!(!coloured(list(&["--color=never"]), &[]));
    let on_terminal = |arguments: &[&str]| {
        let (code, shown) = Terminal::start(&stage.tool(arguments), 80).finish();
        assert_eq!(code, Some(0), "{shown}");
        shown.contains("\x1b[")
    };
    assert!(on_terminal(&["list"]));
    assert!(!on_terminal(&["list", "--color", "never"]));
    assert!(!on_terminal(&["--color=never", "--help"]));
}

#[test]
fn on_a_narrow_terminal_no_line_is_too_long_and_commands_stay_whole() {
    let stage = Stage::new();
    let command = "sudo countersign unlock locked";
    for arguments in [&["status", "locked"][..], &["verify", "locked"]] {
        let (_, shown) = Terminal::start(&stage.tool(arguments), 40).finish();
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert!(lines.iter().any(|line| line.trim_start() == command), "{shown}");
    }
    let wrong = Terminal::start(&stage.tool(&["rename", "fresh", "00000000", "x", "--color=never"]), 40).finish().1;
    assert!(wrong.lines().all(|line| line.trim_end().chars().count() <= 40), "{wrong}");
    assert!(wrong.contains("countersign status fresh") && !wrong.contains("enroll"), "{wrong}");
    let mut question = Terminal::start(&stage.tool(&["recovery-codes", "alice"]), 40);
    question.expect("[y/N] ");
    question.press("n\r");
    let (code, shown) = question.finish();
    assert_eq!(code, Some(1));
    assert!(shown.contains("Make new recovery codes for alice? The\r\nold ones stop working. [y/N]"), "{shown}");
}

#[test]
fn a_reader_that_has_gone_is_no_panic() {
    let stage = Stage::new();
    for arguments in [&["list"][..], &["--help"], &["status", "alice"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = stage.tool(arguments);
        let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {:?}", output.status);
    }
}

#[test]
fn completions_know_the_commands_and_hide_the_hidden_option() {
    for shell in ["bash", "fish", "zsh"] {
        let script = Stage::without_service().run(&["completions", shell], "");
        assert!(script.code == Some(0) && script.out.contains("recovery-codes"), "{shell}");
    }
}
