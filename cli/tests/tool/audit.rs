//! Reading and checking the audit.

use dbus_api::{AuditEntry, AuditFinding, AuditReport};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    stage::{Outcome, Stage},
    terminal::Terminal,
};

fn entry(seq: u64, outcome: &str, account: &str) -> AuditEntry {
    AuditEntry {
        seq,
        at: 1_234_567_890 + seq,
        line: format!("event=verification seq={seq} chain=0123456789abcdef"),
        event: "verification".to_owned(),
        outcome: outcome.to_owned(),
        account: Some(account.to_owned()),
        service: Some("sshd".to_owned()),
        rhost: Some("192.0.2.7".to_owned()),
        origin: Some("trusted".to_owned()),
        reason: (outcome == "refused").then(|| "wrong".to_owned()),
        failures: Some(u32::from(outcome == "refused")),
        caller_uid: Some(0),
        chain: "0123456789abcdef".to_owned(),
        ..AuditEntry::default()
    }
}

fn stage() -> Stage {
    let stage = Stage::new();
    stage.held.lock().unwrap().audit =
        vec![entry(1, "granted", "alice"), entry(2, "refused", "al\x1b[2Jice"), entry(3, "note", "bob")];
    stage
}

fn against(stage: &Stage, text: &str, more: &[&str]) -> Outcome {
    let file = stage.directory.path().join("auth.log");
    std::fs::write(&file, text).unwrap();
    stage.run(&[&["audit", "--verify", "--against", file.to_str().unwrap()], more].concat(), "")
}

fn line(seq: u64, chain: &str) -> String {
    format!("Nov 22 01:46:50 gate countersignd[9]: event=unlock outcome=granted seq={seq} chain={chain}\n")
}

#[test]
fn records_are_printed_in_columns_page_by_page() {
    let stage = stage();
    let outcome = stage.run(&["audit"], "");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[0], "TIME (UTC)            OUTCOME  EVENT         ACCOUNT         DETAILS");
    assert_eq!(
        lines[2],
        "2009-02-13T23:31:32Z  refused  verification  al\\u{1b}[2Jice  sshd from 192.0.2.7, wrong, 1 failure, by uid 0"
    );
    assert_eq!(lines.len(), 4, "{}", outcome.out);
    let asked = stage.asked();
    assert!(asked.len() == 3 && asked[1].ends_with(" 2") && asked[2].ends_with(" 3"), "{asked:?}");
    assert!(Stage::new().run(&["audit"], "").out.contains("No record matches."));
}

#[test]
fn outcomes_are_coloured_on_a_terminal() {
    let (code, shown) = Terminal::start(&stage().tool(&["audit"]), 80).finish();
    assert_eq!(code, Some(0));
    assert!(shown.contains("\x1b[32mgranted\x1b[0m") && shown.contains("\x1b[31mrefused\x1b[0m"), "{shown}");
    assert!(!shown.contains("\x1b[2J"), "{shown}");
}

#[test]
fn json_is_one_object_a_line_of_the_documented_shape() {
    let outcome = stage().run(&["audit", "--json"], "");
    let lines: Vec<Value> = outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[1],
        json!({"seq": 2, "at": "2009-02-13T23:31:32Z", "event": "verification", "outcome": "refused",
               "account": "al\u{1b}[2Jice", "service": "sshd", "tty": null, "rhost": "192.0.2.7", "origin": "trusted",
               "rule": null, "authenticator": null, "reason": "wrong", "failures": 1, "count": null, "caller_uid": 0,
               "chain": "0123456789abcdef", "line": "event=verification seq=2 chain=0123456789abcdef"})
    );
    let none = Stage::new().run(&["audit", "--json"], "");
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));
}

#[test]
fn user_and_since_reach_the_daemon() {
    let stage = stage();
    stage.run(&["audit", "--user", "alice", "--since", "2009-02-13T23:31"], "");
    assert_eq!(stage.asked()[0], "Admin.Audit AuditFilter { user: Some(\"alice\"), since: Some(1234567860) } 0");
    let wrong = stage.run(&["audit", "--since", "yesterday"], "");
    assert!(wrong.code == Some(2) && wrong.err.contains("2026-11-20T10:00"), "{wrong:?}");
    let denied = stage.run(&["audit", "--user", "denied"], "");
    assert_eq!(denied.code, Some(1), "{denied:?}");
}

#[test]
fn follow_prints_what_comes_until_ctrl_c() {
    let stage = stage();
    let mut terminal = Terminal::start(&stage.tool(&["audit", "--follow"]), 120);
    while !stage.asked().iter().any(|asked| asked.starts_with("Admin.Audit ")) {
        std::thread::yield_now();
    }
    stage.held.lock().unwrap().audit.push(entry(4, "granted", "zoe"));
    terminal.expect("zoe");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("bob"), "what was there before is not printed without --since: {shown}");
}

#[test]
fn follow_with_since_prints_what_was_there_too_and_ends_on_sigterm() {
    let stage = stage();
    let mut terminal = Terminal::start(&stage.tool(&["audit", "--follow", "--since", "2009-01-01"]), 120);
    terminal.expect("bob");
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn a_whole_chain_is_said_to_be_whole() {
    let stage = stage();
    let outcome = stage.run(&["audit", "--verify"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let said = outcome.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("The audit is whole: records 1 to 3") && said.contains("--against FILE"), "{said}");
    let report: Value = serde_json::from_str(&stage.run(&["audit", "--verify", "--json"], "").out).unwrap();
    let expected = json!({"finding": "sound", "record": null, "text": "", "first": 1, "last": 3, "compared": null});
    assert_eq!(report, expected);
}

#[test]
fn a_broken_chain_names_the_record_and_is_a_refusal() {
    let stage = stage();
    stage.held.lock().unwrap().broken = Some(AuditReport {
        finding: AuditFinding::Missing as u32,
        record: Some(2),
        text: "audit record 2 is missing".to_owned(),
        ..AuditReport::default()
    });
    let outcome = stage.run(&["audit", "--verify"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""));
    assert!(outcome.err.contains("audit record 2 is missing"), "{outcome:?}");
    let json = stage.run(&["audit", "--verify", "--json"], "");
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &report["finding"], &report["record"]), (Some(1), &json!("missing"), &json!(2)));
    // What is not whole proves nothing about a copy.
    against(&stage, &line(1, "0123456789abcdef"), &[]);
    assert!(!stage.asked().iter().any(|asked| asked.starts_with("Admin.Compare")));
}

#[test]
fn a_copy_of_syslog_is_compared_in_batches() {
    let stage = stage();
    let text: String =
        (0..1200).map(|_| line(2, "0123456789abcdef") + "Nov 22 01:46:50 gate sshd[8]: hello\n").collect();
    let outcome = against(&stage, &text, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("1,200 lines of ") && outcome.out.contains("auth.log agree"), "{outcome:?}");
    let calls = ["Admin.VerifyAudit", "Admin.CompareAudit 500", "Admin.CompareAudit 500", "Admin.CompareAudit 200"];
    assert_eq!(stage.asked(), calls);
}

#[test]
fn a_line_that_the_audit_contradicts_is_named_and_is_a_refusal() {
    let stage = stage();
    let text = line(1, "0123456789abcdef") + &line(3, "ffffffffffffffff");
    let outcome = against(&stage, &text, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("audit record 3 is not the one that syslog was told of"), "{outcome:?}");
    let report: Value = serde_json::from_str(&against(&stage, &text, &["--json"]).out).unwrap();
    assert_eq!((&report["finding"], &report["compared"]), (&json!("contradicted"), &json!(2)));
}

#[test]
fn a_copy_without_a_line_of_ours_proves_nothing_and_is_no_success() {
    let stage = stage();
    stage.held.lock().unwrap().audit.remove(0);
    // Record 1 is not kept any more: its line does not count.
    for text in ["", "Nov 22 01:46:50 gate sshd[8]: hello\n", &line(1, "ffffffffffffffff")] {
        let outcome = against(&stage, text, &[]);
        assert!(outcome.code == Some(1) && outcome.err.contains("nothing was compared"), "{outcome:?}");
    }
    let absent = stage.run(&["audit", "--verify", "--against", "/nonexistent/log"], "");
    assert!(absent.code == Some(1) && absent.err.contains("cannot be read"), "{absent:?}");
}

#[test]
fn flags_that_make_no_sense_together_are_wrong_usage() {
    let stage = Stage::new();
    for arguments in
        [&["audit", "--against", "x"][..], &["audit", "--verify", "--follow"], &["audit", "--verify", "--user", "x"]]
    {
        assert_eq!(stage.run(arguments, "").code, Some(2), "{arguments:?}");
    }
    assert!(stage.asked().is_empty());
}
