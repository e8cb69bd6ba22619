//! Single authenticators at the tool: resynchronised, shown once more, disabled and enabled, and what status says of them.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    service::{RIGHT, SECRET},
    stage::Stage,
    terminal::Terminal,
};

fn resyncs(stage: &Stage) -> Vec<String> {
    stage.asked().into_iter().filter(|asked| asked.contains("Resync")).collect()
}

#[test]
fn two_codes_are_asked_for_and_what_was_found_is_told() {
    for (id, told) in [
        ("3f9a2c01", "Its clock is right."),
        ("00000002", "Its clock is 3 hours behind, which is allowed for from now on."),
        ("00000007", "It was 60 codes ahead."),
    ] {
        let stage = Stage::new();
        let outcome = stage.run(&["resync", "various", id], "111 111\n222-222\n");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.out.contains(told), "{outcome:?}");
        assert!(outcome.out.contains("Both codes are used up"), "{outcome:?}");
        assert_eq!(resyncs(&stage), [format!("Enrollment.Resync various {id} 111111 222222")]);
    }
}

#[test]
fn slips_and_the_same_code_twice_cost_nothing() {
    let stage = Stage::new();
    let outcome = stage.run(&["resync", "alice", "3f9a2c01"], "\n12345\npassword\n111111\n111111\n1111 11\n222222\n");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.out.matches("A code of it has 6 digits.").count(), 3, "{outcome:?}");
    assert_eq!(outcome.out.matches("That is the same code again").count(), 2, "{outcome:?}");
    assert_eq!(resyncs(&stage), ["Enrollment.Resync alice 3f9a2c01 111111 222222"]);
}

#[test]
fn codes_that_are_not_found_say_what_is_needed() {
    let stage = Stage::new();
    let outcome = stage.run(&["resync", "far", "3f9a2c01"], "111111\n222222\n");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("these are no two codes of it"), "{outcome:?}");
    assert!(outcome.err.contains("directly one after the other"), "{outcome:?}");
    assert!(outcome.err.contains("countersign enroll far"), "{outcome:?}");
}

#[test]
fn an_owner_proves_another_factor_first() {
    let stage = Stage::new();
    let outcome = stage.run(&["resync", "careful", "3f9a2c01"], &format!("111111\n222222\n{RIGHT}\n333333\n444444\n"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("A code of another authenticator, or a recovery code, is needed first."));
    let asked = stage.asked();
    let respond = asked.iter().position(|one| one == &format!("Verifier.Respond 9 {RIGHT}")).unwrap();
    assert_eq!(asked[respond + 1..], ["Enrollment.Resync careful 3f9a2c01 333333 444444"], "on the same connection");
}

#[test]
fn an_unknown_authenticator_is_found_out_before_anything_is_asked() {
    let stage = Stage::new();
    let outcome = stage.run(&["resync", "alice", "ffffffff"], "111111\n222222\n");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("alice has no such authenticator"), "{outcome:?}");
    assert!(!outcome.err.contains("countersign enroll"), "{outcome:?}");
    assert!(resyncs(&stage).is_empty() && !outcome.out.contains("Code of"), "{outcome:?}");
}

#[test]
fn nothing_is_sent_where_the_second_code_does_not_come() {
    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["resync", "alice", "3f9a2c01"]), 60);
    terminal.expect("Code of \"phone\": ");
    terminal.press("111111\n");
    terminal.expect("Wait until it shows the next one.");
    terminal.expect("The code after it: ");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert!(resyncs(&stage).is_empty());
    let outcome = stage.run(&["resync", "alice", "3f9a2c01"], "111111\n");
    assert_eq!((outcome.code, resyncs(&stage).len()), (Some(1), 0), "{outcome:?}");
}

#[test]
fn codes_are_no_arguments() {
    let stage = Stage::new();
    let outcome = stage.run(&["resync", "alice", "3f9a2c01", "111111", "222222"], "");
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

#[test]
fn a_key_is_shown_on_a_terminal_after_a_yes_alone() {
    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["export", "alice", "3f9a2c01"]), 120);
    terminal.expect("Show the secret of authenticator 3f9a2c01 of alice? [y/N]");
    assert!(stage.asked().is_empty(), "not before the answer");
    terminal.press("y\n");
    terminal.expect("JBSW Y3DP EHPK 3PXP");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown}");
    for part in ["otpauth://totp/gate:alice?secret=", "█", "goes on working", "The account is told"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(stage.asked(), ["Admin.Export alice 3f9a2c01"]);

    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["export", "alice", "3f9a2c01"]), 80);
    terminal.expect("[y/N]");
    terminal.press("\n");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("nothing was shown") && !shown.contains("JBSW"), "{shown}");
    assert!(stage.asked().is_empty());
}

#[test]
fn a_fobs_key_comes_with_a_warning_of_two_counters() {
    let stage = Stage::new();
    let terminal = Terminal::start(&stage.tool(&["export", "alice", "00000007", "--yes"]), 80);
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("go on with one of them only"), "{shown}");
}

#[test]
fn into_a_pipe_goes_what_was_asked_for_by_name_and_nothing_else() {
    let stage = Stage::new();
    let arguments = ["export", "alice", "3f9a2c01"];
    for more in [&[][..], &["--yes"], &["--uri"]] {
        let outcome = stage.run(&[&arguments[..], more].concat(), "y\n");
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""), "{more:?}: {outcome:?}");
        assert!(outcome.err.contains("--yes"), "{outcome:?}");
    }
    assert!(stage.asked().is_empty());
    let outcome = stage.run(&[&arguments[..], &["--yes", "--uri"]].concat(), "");
    assert_eq!(outcome.out, format!("otpauth://totp/gate:alice?secret={SECRET}&issuer=gate\n"));
    let file = stage.directory.path().join("code.png");
    let path = file.display().to_string();
    let outcome = stage.run(&[&arguments[..], &["--yes", "--uri", "--qr-png", &path]].concat(), "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = stage.run(&["export", "denied", "3f9a2c01", "--yes", "--json"], "");
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("only root may do this"), "{refused:?}");
}

#[test]
fn one_authenticator_is_disabled_and_enabled_by_its_id() {
    let stage = Stage::new();
    let outcome = stage.run(&["disable", "alice", "3f9a2c01"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("sudo countersign enable alice 3f9a2c01"), "{outcome:?}");
    let outcome = stage.run(&["enable", "alice", "3f9a2c01"], "");
    assert!(outcome.out.contains("Authenticator 3f9a2c01 of alice is enabled"), "{outcome:?}");
    assert_eq!(
        stage.asked(),
        ["Admin.DisableAuthenticator alice 3f9a2c01", "Admin.EnableAuthenticator alice 3f9a2c01"]
    );
    let outcome = stage.run(&["disable", "fresh", "3f9a2c01"], "");
    assert_eq!(outcome.code, Some(1));
    assert!(!outcome.err.contains("countersign enroll"), "{outcome:?}");
}

#[test]
fn status_says_what_is_wrong_with_each_and_what_to_do() {
    let stage = Stage::new();
    let out = stage.run(&["status", "various"], "").out;
    for line in [
        "\"lost\" is disabled until: sudo countersign enable various 00000003",
        "\"restored\" waits since a restore: sudo countersign enable various",
        "\"ended\" ended at 2009-02-13T23:31:30Z: its codes are refused.",
        "The key of \"old\" is short, and accepted until 2100-01-01T00:00:00Z only.",
        "The clock of \"moved\" is off: sudo countersign resync various 00000006",
        "is 3 hours behind, which is allowed for.",
    ] {
        assert!(out.lines().any(|one| one.contains(line)) || out.replace("\n", " ").contains(line), "{line}:\n{out}");
    }
    let state = |label: &str| out.lines().find(|line| line.contains(label)).unwrap_or_default().to_owned();
    assert!(state("lost").ends_with("disabled"), "{out}");
    assert!(state("restored").ends_with("waits"), "{out}");
    assert!(state("ended").ends_with("ended"), "{out}");
    assert!(state("old").contains("ends in "), "{out}");
    assert!(state("moved").ends_with("needs resync"), "{out}");
    assert!(!out.contains('\x1b'), "{out}");

    for (columns, colours) in [(40, "never"), (120, "always")] {
        let command = stage.tool(&["status", "various", "--color", colours]);
        let (code, shown) = Terminal::start(&command, columns).finish();
        assert_eq!(code, Some(0));
        for id in ["00000003", "00000004", "00000005", "00000006"] {
            assert!(shown.contains(id), "{columns}: {shown}");
        }
        assert_eq!(shown.contains("\x1b["), colours == "always", "{shown}");
    }
}

#[test]
fn an_account_whose_only_authenticator_ended_is_not_enrolled() {
    let stage = Stage::new();
    let out = stage.run(&["status", "ended"], "").out;
    assert!(out.starts_with("ended: not enrolled"), "{out}");
    assert!(out.contains("sudo countersign enroll ended"), "{out}");
    let json: serde_json::Value = serde_json::from_str(&stage.run(&["status", "ended", "--json"], "").out).unwrap();
    assert_eq!(json["state"], "not-enrolled");
    assert_eq!(json["authenticators"][0]["expires"], "2009-02-13T23:31:30Z");
    assert_eq!(json["authenticators"][0]["weak"], true);
}

#[test]
fn the_list_tells_how_many_of_an_accounts_authenticators_count() {
    let stage = Stage::new();
    let out = stage.run(&["list"], "").out;
    assert!(out.lines().any(|line| line.starts_with("carol") && line.contains("1 of 3")), "{out}");
    assert!(out.lines().any(|line| line.starts_with("alice") && !line.contains(" of ")), "{out}");
}
