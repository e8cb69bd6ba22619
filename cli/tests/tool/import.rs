//! Importing: batches, summaries, bad lines, and secrets that stay out of every message.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::{service::TOGETHER, stage::Stage, terminal::Terminal};

const KEY: &str = "JBSWY3DPEHPK3PXP";
/// In KiB: what the program itself needs, and some batches. A hundred thousand records would need more.
const MOST_MEMORY: u64 = 24 * 1024;

/// The most memory that a running program has had so far, in KiB. (getrusage(2) would count what the process had that
/// started it.)
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.split_whitespace().next()?.parse().ok()
}

/// What was said, as if there were no width.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn uri(user: &str) -> String {
    format!("otpauth://totp/Example:{user}?secret={KEY}&issuer=Example\n")
}

fn import(stage: &Stage, text: &str, more: &[&str]) -> crate::stage::Outcome {
    let file = stage.directory.path().join("accounts.txt");
    std::fs::write(&file, text).unwrap();
    stage.run(&[&["import", "otpauth", file.to_str().unwrap()], more].concat(), "")
}

#[test]
fn a_good_file_goes_in_whole() {
    let stage = Stage::new();
    let outcome = import(&stage, &format!("# people\n\n{}{}{}", uri("alice"), uri("known"), uri("later")), &[]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
    assert!(outcome.out.contains("2 authenticators added, 0 caught up, 1 present already, 0 refused"), "{outcome:?}");
    assert!(outcome.out.contains("1 of them unknown to the name service") && outcome.out.contains("shred"));
    assert_eq!(stage.asked(), ["Admin.Import 3 alice 1"]);
}

#[test]
fn bad_lines_are_told_by_file_and_number_while_the_rest_goes_in() {
    let stage = Stage::new();
    let text = format!("{}otpauth://totp/x?secret={KEY}1\n{}{}", uri("alice"), uri("refused"), uri("bob"));
    let outcome = import(&stage, &text, &[]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(1), ""));
    for told in ["accounts.txt, line 2: the secret is not base32", "accounts.txt, line 3: too \\u{1b}[2J short"] {
        assert!(flat(&outcome.out).contains(told), "{told}: {outcome:?}");
    }
    assert!(outcome.out.contains("2 authenticators added, 0 caught up, 0 present already, 2 refused"), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains(KEY));
}

#[test]
fn standard_input_is_read_where_the_file_is_a_dash() {
    let stage = Stage::new();
    let outcome = stage.run(&["import", "otpauth", "-"], &(uri("alice") + uri("bob").trim_end()));
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.out.contains("2 authenticators added") && !outcome.out.contains("shred"), "{outcome:?}");
    let nothing = stage.run(&["import", "otpauth", "-"], "");
    assert_eq!(
        (nothing.code, nothing.err.as_str()),
        (Some(1), "countersign: the standard input: it holds no record\n")
    );
}

#[test]
fn several_calls_are_under_way_at_a_time_and_not_more_than_four() {
    let stage = Stage::new();
    // The service answers no call before the fourth one has come.
    let outcome = import(&stage, &uri("together").repeat(500 * 8), &["--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let asked = stage.asked();
    assert_eq!(asked.len(), 8);
    let most: usize = asked.iter().map(|asked| asked.rsplit(' ').next().unwrap().parse().unwrap()).max().unwrap();
    assert_eq!(most, TOGETHER);
}

#[test]
fn a_hundred_thousand_lines_go_in_with_flat_memory() {
    let stage = Stage::new();
    let file = stage.directory.path().join("many.txt");
    // The service keeps the first calls waiting, which is when a reader that runs ahead fills its memory.
    let user = |number| if number % 500 == 0 { "together".to_owned() } else { format!("user{number}") };
    let text: String = (0..100_000).map(|number| uri(&user(number))).collect();
    std::fs::write(&file, text).unwrap();
    let printed = stage.directory.path().join("printed");
    let mut tool = stage.tool(&["import", "otpauth", file.to_str().unwrap(), "--json"]);
    let mut tool = tool.stdin(Stdio::null()).stdout(std::fs::File::create(&printed).unwrap()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(tool.id()).unwrap_or(0));
        if let Some(status) = tool.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success(), "{status}");
    let out = std::fs::read(&printed).unwrap();
    let summary: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(summary["added"], json!(100_000));
    assert_eq!(stage.asked().len(), 200);
    assert!(peak > 0, "the memory was never seen");
    assert!(peak < MOST_MEMORY, "{peak} KiB");
}

#[test]
fn a_refused_call_ends_the_import_and_says_that_it_may_be_repeated() {
    let stage = Stage::new();
    let outcome = import(&stage, &uri("denied"), &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.err.contains("importing is root's alone") && outcome.err.contains("changes nothing twice"),
        "{outcome:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_a_missing_daemon_is_unreachable() {
    let stage = Stage::new();
    let missing = stage.run(&["import", "otpauth", "/nonexistent/accounts"], "");
    assert!(missing.code == Some(1) && missing.err.contains("cannot be opened"), "{missing:?}");
    let directory = stage.run(&["import", "otpauth", "/"], "");
    assert!(directory.code == Some(1) && directory.err.contains("it is no regular file"), "{directory:?}");
    assert_eq!(import(&Stage::without_service(), &uri("alice"), &[]).code, Some(3));
}

#[test]
fn the_progress_stands_on_a_terminal_alone() {
    let stage = Stage::new();
    let file = stage.directory.path().join("accounts.txt");
    std::fs::write(&file, uri("alice").repeat(1000)).unwrap();
    let tool = stage.tool(&["import", "otpauth", file.to_str().unwrap()]);
    let (code, shown) = Terminal::start(&tool, 80).finish();
    assert_eq!(code, Some(0));
    assert!(shown.contains(" records, ") && shown.contains("1,000 authenticators added"), "{shown}");
}

/// What an import of a file with a record a line prints, as JSON.
fn import_lines(stage: &Stage, format: &str, text: &[u8], more: &[&str]) -> (Option<i32>, Value) {
    let file = stage.directory.path().join("records");
    std::fs::write(&file, text).unwrap();
    let outcome = stage.run(&[&["import", format, file.to_str().unwrap(), "--json"], more].concat(), "");
    let printed = serde_json::from_str(&outcome.out).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    assert_eq!(outcome.err, "");
    (outcome.code, printed)
}

const HEX: &str = "3132333435363738393031323334353637383930";

#[test]
fn a_bad_line_of_a_users_file_is_told_and_stops_no_other() {
    let stage = Stage::new();
    let text =
        format!("HOTP alice - {HEX}\nHOTP/T30 bob 99 {HEX}\nnonsense\nHOTP known - {HEX} 5\nHOTP refused - {HEX}\n");
    let (code, printed) = import_lines(&stage, "oath", text.as_bytes(), &[]);
    assert_eq!(code, Some(1));
    let outcomes: Vec<_> = printed["records"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["added", "added", "refused", "present", "refused"]);
    assert_eq!(printed["records"][2]["place"], json!("line 3"));
    assert_eq!(
        printed["records"][1]["remarks"][0],
        json!("its PIN is left out: the password is the first factor here")
    );
    assert_eq!((&printed["added"], &printed["present"], &printed["refused"]), (&json!(2), &json!(1), &json!(2)));
    assert!(!printed.to_string().contains(HEX));
}

#[test]
fn a_dry_run_asks_and_changes_nothing() {
    let stage = Stage::new();
    let text = format!("account,secret_hex\nalice,{HEX}\nmoved,{HEX}\n");
    let (code, printed) = import_lines(&stage, "csv", text.as_bytes(), &["--dry-run"]);
    assert_eq!((code, &printed["applied"], &printed["caught_up"]), (Some(0), &json!(false), &json!(1)));
    let calls = stage.asked();
    assert!(calls.contains(&"Admin.CheckImport 2 alice".to_owned()), "{calls:?}");
    assert!(!calls.iter().any(|call| call.starts_with("Admin.Import")), "{calls:?}");
}

#[test]
fn files_that_are_no_such_files_are_refused_with_their_reason() {
    let stage = Stage::new();
    for (format, text, reason) in [
        ("csv", &b"name,secret\nalice,x\n"[..], "the first line names a column that is none of"),
        ("csv", b"\xff\xfe\x00a", "the line is not UTF-8"),
        ("oath", b"HOTP \0 -\n", "it holds NUL bytes"),
        ("oath", &vec![b'A'; 1 << 20], "the line is longer than 4096 bytes"),
    ] {
        let (code, printed) = import_lines(&stage, format, text, &[]);
        let remark = printed["records"][0]["remarks"][0].as_str().unwrap();
        assert!(code == Some(1) && remark.starts_with(reason), "{printed}");
        assert_eq!(printed["refused"], json!(1), "{printed}");
    }
    assert!(stage.run(&["import", "oath", "/dev/null"], "").err.contains("it is no regular file"));
}

#[test]
fn the_table_says_what_became_of_each_and_why() {
    let stage = Stage::new();
    let outcome = stage.run(&["import", "oath", "-"], &format!("HOTP/E/8 alice - {HEX}\nHOTP refused - {HEX}\n"));
    assert_eq!(outcome.code, Some(1));
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(
        lines[..],
        [
            "ACCOUNT  RESULT   AUTHENTICATOR   FROM",
            "alice    added    hotp, 8 digits  line 1",
            "refused  refused  hotp, 6 digits  line 2",
            "  line 2: too \\u{1b}[2J short",
            "1 authenticator added, 0 caught up, 0 present already, 1 refused, 0 left out.",
        ],
        "{outcome:?}"
    );
}
