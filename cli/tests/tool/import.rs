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
    assert!(outcome.out.contains("2 authenticators added, 1 present already, 0 refused."), "{outcome:?}");
    assert!(outcome.out.contains("1 of them unknown to the name service") && outcome.out.contains("shred"));
    assert_eq!(stage.asked(), ["Admin.Import 3 alice 1"]);
}

#[test]
fn bad_lines_are_told_by_their_number_while_the_rest_goes_in() {
    let stage = Stage::new();
    let text = format!("{}otpauth://totp/x?secret={KEY}1\n{}{}", uri("alice"), uri("refused"), uri("bob"));
    let outcome = import(&stage, &text, &[]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.err, "line 2: the secret is not base32\nline 3: too \\u{1b}[2J short\n");
    assert!(outcome.out.contains("2 authenticators added, 0 present already, 2 refused."), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains(KEY));
}

#[test]
fn the_summary_as_json_has_the_documented_shape() {
    let stage = Stage::new();
    let text = format!("{}nonsense\n{}{}{}", uri("alice"), uri("known"), uri("later"), uri("refused"));
    let outcome = import(&stage, &text, &["--json"]);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(1), ""));
    let summary: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(
        summary,
        json!({"added": 1, "present": 1, "unbound": 1, "refused": 2, "refused_lines": [
            {"line": 2, "reason": "this is no URI"}, {"line": 5, "reason": "too \u{1b}[2J short"}]})
    );
}

#[test]
fn standard_input_is_read_where_the_file_is_a_dash() {
    let stage = Stage::new();
    let outcome = stage.run(&["import", "otpauth", "-"], &(uri("alice") + uri("bob").trim_end()));
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.out.contains("2 authenticators added") && !outcome.out.contains("shred"), "{outcome:?}");
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
    let mut tool = stage.tool(&["import", "otpauth", file.to_str().unwrap(), "--json"]);
    let mut tool = tool.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(tool.id()).unwrap_or(0));
        if let Some(status) = tool.try_wait().unwrap() {
            break status;
        }
    };
    let out = tool.wait_with_output().unwrap().stdout;
    assert!(status.success(), "{status}");
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
    assert!(missing.code == Some(1) && missing.err.contains("cannot be read"), "{missing:?}");
    let directory = stage.run(&["import", "otpauth", "/"], "");
    assert!(directory.code == Some(1) && directory.err.contains("cannot be read"), "{directory:?}");
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
    assert!(shown.contains(" lines, ") && shown.contains("1,000 authenticators added"), "{shown}");
}
