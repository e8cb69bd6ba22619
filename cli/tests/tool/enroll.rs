//! Enrolling: what is shown, what is confirmed, and that every other end leaves nothing behind.

use std::{os::unix::fs::PermissionsExt as _, process::Command};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    service::{RIGHT, SECRET},
    stage::Stage,
    terminal::Terminal,
};

const QUESTION: &str = "Code of the new authenticator";

fn cancelled(stage: &Stage) -> bool {
    stage.asked().last().is_some_and(|asked| asked == "Enrollment.Cancel 7")
}

#[test]
fn a_right_code_activates_and_the_recovery_codes_are_shown() {
    let stage = Stage::new();
    let arguments = [
        "enroll",
        "alice",
        "--label",
        "my phone",
        "--kind",
        "TOTP",
        "--algorithm",
        "sha256",
        "--digits",
        "6",
        "--period",
        "30",
    ];
    let outcome = stage.run(&arguments, &format!("{RIGHT}\n"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("  JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP\n"), "{}", outcome.out);
    assert!(outcome.out.contains(&format!("  otpauth://totp/gate.example.org:alice?secret={SECRET}&")));
    assert!(outcome.out.contains("\"my phone\" is active for alice."));
    assert!(outcome.out.contains("  AAAAA-BBBBB-CCCCC-DDDDD-00000\n"));
    let asked = stage.asked();
    for option in [
        "label: Some(\"my phone\")",
        "kind: Some(\"totp\")",
        "algorithm: Some(\"SHA256\")",
        "digits: Some(6)",
        "period: Some(30)",
        "no_confirm: None",
    ] {
        assert!(asked[0].contains(option), "{}", asked[0]);
    }
    assert_eq!(asked[1..], [format!("Enrollment.Confirm 7 {RIGHT}")]);
}

#[test]
fn the_printed_code_is_read_by_a_scanner() {
    let stage = Stage::new();
    let out = stage.run(&["enroll", "alice"], &format!("{RIGHT}\n")).out;
    // Without colours the light modules are drawn, as on a dark terminal.
    let rows: Vec<&str> = out.lines().filter(|line| line.contains('█')).collect();
    let width = rows[0].chars().count();
    assert!(rows.iter().all(|row| row.chars().count() == width));
    let mut picture = format!("P1\n{} {}\n", width * 6, rows.len() * 12);
    for row in rows {
        for half in ['▀', '▄'] {
            let bits: String =
                row.chars().map(|c| if c == '█' || c == half { "0 0 0 0 0 0 " } else { "1 1 1 1 1 1 " }).collect();
            picture.push_str(&format!("{bits}\n").repeat(6));
        }
    }
    let file = stage.directory.path().join("screen.pbm");
    std::fs::write(&file, picture).unwrap();
    assert_eq!(
        scan(&file),
        format!(
            "otpauth://totp/gate.example.org:alice?secret={SECRET}&issuer=gate.example.org&algorithm=SHA1&digits=6&period=30"
        )
    );
}

fn scan(file: &std::path::Path) -> String {
    let output = Command::new("zbarimg").args(["-q", "--raw"]).arg(file).output();
    let output = output.expect("zbarimg must be installed (package zbar-tools)");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn three_wrong_codes_end_it_and_slips_cost_nothing() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "alice"], &format!("12\nabcdef\n\n000 000\n111-111\n222222\n{RIGHT}\n"));
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("nothing was enrolled"), "{outcome:?}");
    let confirms: Vec<String> = stage.asked().into_iter().filter(|asked| asked.contains("Confirm")).collect();
    assert_eq!(confirms, ["Enrollment.Confirm 7 000000", "Enrollment.Confirm 7 111111", "Enrollment.Confirm 7 222222"]);
    assert!(cancelled(&stage));
    assert!(!outcome.out.contains("is active"));
}

#[test]
fn a_right_code_after_a_wrong_one_is_taken() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "alice"], &format!("000000\n{RIGHT}\n"));
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.out.contains("2 more tries"), "{outcome:?}");
}

#[test]
fn recovery_codes_that_stay_valid_are_not_shown_again() {
    let outcome = Stage::new().run(&["enroll", "alice"], "654321\n");
    assert!(outcome.code == Some(0) && outcome.out.contains("stay valid"), "{outcome:?}");
}

#[test]
fn another_refusal_at_the_end_cancels_too() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "alice"], "999999\n");
    assert!(outcome.code == Some(1) && outcome.err.contains("sudo countersign unlock alice"), "{outcome:?}");
    assert!(cancelled(&stage));
}

#[test]
fn the_end_of_the_input_cancels() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "alice"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(1), "countersign: nothing was enrolled\n"));
    assert!(cancelled(&stage));
}

#[test]
fn ctrl_c_ctrl_d_and_signals_cancel_and_leave_the_terminal_as_it_was() {
    let stage = Stage::new();
    type End = fn(&mut Terminal);
    let ends: [End; 4] = [
        |terminal| terminal.press("\x03"),
        |terminal| terminal.press("\x04"),
        |terminal| terminal.signal(Signal::SIGTERM),
        |terminal| terminal.signal(Signal::SIGHUP),
    ];
    for end in ends {
        stage.log.lock().unwrap().clear();
        let picture = stage.directory.path().join("cancelled.png");
        let tool = stage.tool(&["enroll", "alice", "--qr-png", picture.to_str().unwrap()]);
        let mut terminal = Terminal::start(&tool, 80);
        terminal.expect(QUESTION);
        end(&mut terminal);
        let (code, shown) = terminal.finish();
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("nothing was enrolled"), "{shown}");
        assert!(cancelled(&stage), "{:?}", stage.asked());
        assert!(!picture.exists(), "the picture of a cancelled key is gone");
    }
}

#[test]
fn at_a_terminal_the_code_is_typed_and_the_colours_are_explicit() {
    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["enroll", "alice"]), 80);
    terminal.expect("\x1b[38;5;16;48;5;231m");
    terminal.expect(QUESTION);
    terminal.clear();
    terminal.press("000000\r");
    terminal.expect("2 more tries");
    terminal.press("123 456\r");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("AAAAA-BBBBB-CCCCC-DDDDD-00000"), "{shown}");
}

#[test]
fn on_a_narrow_terminal_the_code_is_not_torn() {
    let stage = Stage::new();
    let mut terminal = Terminal::start(&stage.tool(&["enroll", "alice"]), 40);
    terminal.expect("The QR code does not fit");
    terminal.expect(QUESTION);
    terminal.press("\x03");
    let (_, shown) = terminal.finish();
    assert!(!shown.contains('▀') && !shown.contains('▄'), "{shown}");
}

#[test]
fn the_picture_is_new_private_large_and_read_by_a_scanner() {
    let stage = Stage::new();
    let file = stage.directory.path().join("code.png");
    let arguments = ["enroll", "alice", "--qr-png", file.to_str().unwrap()];
    assert_eq!(stage.run(&arguments, &format!("{RIGHT}\n")).code, Some(0));
    assert!(scan(&file).contains(&format!("gate.example.org:alice?secret={SECRET}&")));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = stage.asked().len();
    let again = stage.run(&arguments, &format!("{RIGHT}\n"));
    assert!(again.code == Some(1) && again.err.contains("is not overwritten"), "{again:?}");
    assert_eq!(stage.asked().len(), before, "nothing is begun that cannot be shown");
}

#[test]
fn no_confirm_asks_nothing_and_prints_json_where_asked_for() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "alice", "--no-confirm", "--json", "--kind", "hotp"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(
        (&report["account"], &report["label"], &report["kind"], &report["algorithm"], &report["digits"]),
        (&json!("alice"), &json!("phone"), &json!("hotp"), &json!("SHA1"), &json!(6))
    );
    assert_eq!((&report["period"], &report["secret"]), (&json!(null), &json!(SECRET)));
    assert!(report["uri"].as_str().unwrap().starts_with("otpauth://hotp/"));
    assert_eq!(report["recovery_codes"].as_array().unwrap().len(), 10);
    let text = stage.run(&["enroll", "alice", "--no-confirm"], "");
    assert!(text.code == Some(0) && text.out.contains("is active for alice"), "{text:?}");
    assert!(stage.asked().iter().all(|asked| asked.contains("no_confirm: Some(true)")), "{:?}", stage.asked());
}

#[test]
fn a_code_of_the_first_authenticator_is_asked_for_on_the_same_connection() {
    let stage = Stage::new();
    let outcome = stage.run(&["enroll", "careful"], &format!("{RIGHT}\n{RIGHT}\n"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let members: Vec<String> =
        stage.asked().iter().filter_map(|asked| asked.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(
        members,
        ["Enrollment.Begin", "Verifier.Begin", "Verifier.Respond", "Enrollment.Begin", "Enrollment.Confirm"]
    );
}

#[test]
fn who_may_not_enrol_is_told_how_it_is_done() {
    let outcome = Stage::new().run(&["enroll", "denied"], "");
    assert!(outcome.code == Some(1) && outcome.err.contains("only root may do this"), "{outcome:?}");
}

#[test]
fn arguments_out_of_range_are_wrong_usage() {
    let stage = Stage::new();
    for arguments in [
        &["--digits", "5"][..],
        &["--digits", "9"],
        &["--period", "14"],
        &["--period", "121"],
        &["--kind", "push"],
        &["--algorithm", "md5"],
        &["--json"],
        &["--kind", "hotp", "--period", "30"],
    ] {
        assert_eq!(stage.run(&[&["enroll", "alice"], arguments].concat(), "").code, Some(2), "{arguments:?}");
    }
    assert!(stage.asked().is_empty());
}
