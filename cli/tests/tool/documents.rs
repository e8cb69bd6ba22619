//! Importing what other programs wrote: seed files of key fobs and exports of apps, through the built tool. How the
//! formats are read is tested beside their readers; here it is whose a record becomes, what is said, and what is not.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    stage::{Outcome, Stage},
    terminal::Terminal,
};

const PASSPHRASE: &str = "correct horse é";

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What was said, as if there were no width.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file of the stage that nobody else may write.
fn file(stage: &Stage, name: &str, text: &str) -> String {
    let path = stage.directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A copy of test data in the stage, so that its mode is known.
fn copy(stage: &Stage, name: &str) -> String {
    file(
        stage,
        PathBuf::from(name).file_name().unwrap().to_str().unwrap(),
        &std::fs::read_to_string(data(name)).unwrap(),
    )
}

fn import(stage: &Stage, arguments: &[&str]) -> Outcome {
    stage.run(&[&["import"], arguments].concat(), "")
}

fn summary(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.out).unwrap()
}

/// Account and outcome of each record.
fn results(outcome: &Outcome) -> Vec<(String, String)> {
    let records = summary(outcome)["records"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    records.iter().map(|record| (text(&record["account"]), text(&record["outcome"]))).collect()
}

#[test]
fn fobs_go_to_whom_they_are_assigned_and_what_is_nobodys_is_left_out() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(data("pskc/rfc6030-figure-9.xml")).unwrap();
    let package = text[text.find("<KeyPackage>").unwrap()..text.find("<Signature>").unwrap()].to_owned();
    let more: String = ["11", "12", "13"].map(|serial| package.replace("0755225266", serial)).concat();
    let fobs = file(&stage, "fobs.xml", &text.replace("<Signature>", &format!("{more}<Signature>")));
    let people = file(&stage, "people.csv", "serial,user\n12,bob\n13,later\n");
    let arguments = ["pskc", &fobs, "--assign", "0755225266=alice", "--assign-from", &people];
    let outcome = import(&stage, &arguments);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
    for said in [
        "ACCOUNT  RESULT    AUTHENTICATOR                   FROM",
        "alice    added     Example-Issuer, hotp, 6 digits  FOBS, serial 0755225266",
        "-        left out  Example-Issuer, hotp, 6 digits  FOBS, serial 11",
        "later    unbound   Example-Issuer, hotp, 6 digits  FOBS, serial 13",
        "it is nobody's: say whose it is",
        "the file's signature is not checked",
        "3 authenticators added, 0 caught up, 0 present already, 0 refused, 1 left out.",
        "1 of them unknown to the name service so far",
        "shred -u",
    ] {
        assert!(outcome.out.contains(&said.replace("FOBS", &fobs)), "{said}: {}", outcome.out);
    }
    assert_eq!(stage.asked(), ["Admin.Import 3 alice 1"]);
    let json = import(&stage, &[&arguments[..], &["--json", "--assign", "99=erin", "--user", "known"]].concat());
    assert_eq!(json.code, Some(1));
    let named = |account: &str, result: &str| (account.to_owned(), result.to_owned());
    assert_eq!(
        results(&json),
        [
            named("alice", "added"),
            named("known", "present"),
            named("bob", "added"),
            named("later", "unbound"),
            (String::new(), "refused".to_owned()),
        ]
    );
    assert_eq!(summary(&json)["records"][4]["place"], json!("serial 99"));
}

#[test]
fn a_file_with_a_pre_shared_key_wants_the_file_of_the_key() {
    let stage = Stage::new();
    let fobs = copy(&stage, "pskc/rfc6030-figure-6.xml");
    let without = import(&stage, &["pskc", &fobs]);
    assert_eq!(without.code, Some(2));
    assert!(without.err.contains("a pre-shared key \"Pre-shared-key\"") && without.err.contains("--key-file FILE"));
    let key = file(&stage, "key", "12345678901234567890123456789012\n");
    let outcome = import(&stage, &["pskc", &fobs, "--user", "alice", "--key-file", &key]);
    assert!(outcome.code == Some(0) && outcome.out.contains("1 authenticator added"), "{outcome:?}");
    let wrong = file(&stage, "wrong", "00000000000000000000000000000000");
    let refused = import(&stage, &["pskc", &fobs, "--user", "alice", "--key-file", &wrong]);
    assert!(refused.code == Some(1) && flat(&refused.err).contains("the key or passphrase is not the right one"));
    assert_eq!(stage.asked().len(), 1);
}

#[test]
fn a_passphrase_is_asked_for_on_the_terminal_and_not_shown() {
    let stage = Stage::new();
    let (fobs, vault) = (copy(&stage, "pskc/rfc6030-figure-7.xml"), copy(&stage, "apps/aegis-encrypted.json"));
    for (format, path, passphrase, question) in [
        ("pskc", &fobs, "qwerty", "Passphrase of the file \"My Password 1\": "),
        ("aegis", &vault, "the backup's", "Passphrase of the file: "),
    ] {
        let mut terminal = Terminal::start(&stage.tool(&["import", format, path, "--user", "alice"]), 80);
        terminal.expect(question);
        assert!(!terminal.echoes());
        terminal.press(&format!("{passphrase}\n"));
        let (code, shown) = terminal.finish();
        assert!(shown.contains("added,") && !shown.contains(passphrase), "{shown}");
        assert_eq!(code, Some(i32::from(format == "aegis")), "{shown}");
    }
    let mut terminal = Terminal::start(&stage.tool(&["import", "aegis", &vault]), 80);
    terminal.expect("Passphrase");
    terminal.press("\x03");
    let (code, shown) = terminal.finish();
    assert!(code == Some(1) && shown.contains("no passphrase was given"), "{shown}");
}

#[test]
fn a_program_names_the_file_of_the_passphrase() {
    let stage = Stage::new();
    let vault = copy(&stage, "apps/aegis-encrypted.json");
    let asked = import(&stage, &["aegis", &vault, "--json"]);
    assert_eq!((asked.code, asked.out.as_str()), (Some(2), ""));
    assert!(asked.err.contains("--key-file FILE"), "{asked:?}");
    let key = file(&stage, "passphrase", &format!("{PASSPHRASE}\r\n"));
    let outcome = import(&stage, &["aegis", &vault, "--json", "--key-file", &key]);
    let named = |account: &str| (account.to_owned(), "added".to_owned());
    let refused = (String::new(), "refused".to_owned());
    assert_eq!(results(&outcome), [named("mason"), named("elijah"), named("mason"), refused], "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("horse"));
    let nobody = stage.run(&["import", "aegis", "-"], &std::fs::read_to_string(&vault).unwrap());
    assert!(nobody.code == Some(2) && nobody.err.contains("--key-file FILE"), "{nobody:?}");
}

#[test]
fn screenshots_and_texts_of_an_export_go_in_and_a_uri_is_no_argument() {
    let stage = Stage::new();
    let pictures = [data("apps/migration-1.png"), data("apps/migration-2.png")];
    let outcome = import(&stage, &["migration", &pictures[0], &pictures[1], "--user", "alice", "--issuer", "wwe"]);
    assert_eq!((outcome.code, stage.asked()), (Some(0), vec!["Admin.Import 1 alice 1".to_owned()]), "{outcome:?}");
    assert!(outcome.out.contains("  counts on behind the code that the app showed last"), "{outcome:?}");
    let half = import(&stage, &["migration", &pictures[0]]);
    assert!(half.code == Some(1) && flat(&half.out).contains("more QR codes than were given"), "{half:?}");
    let text = std::fs::read_to_string(data("apps/migration.txt")).unwrap();
    let piped = stage.run(&["import", "migration", "-", "--json"], &text);
    assert_eq!((piped.code, summary(&piped)["added"].as_u64()), (Some(0), Some(3)), "{piped:?}");
    let uri = text.lines().next().unwrap();
    let shown = import(&stage, &["migration", uri]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(2), ""));
    assert!(
        flat(&shown.err).contains("arguments are for everybody to see") && !shown.err.contains("data="),
        "{shown:?}"
    );
}

#[test]
fn only_the_entries_of_the_wanted_issuer_go_in() {
    let stage = Stage::new();
    for (format, name) in [("aegis", "aegis-plain.json"), ("andotp", "andotp.json"), ("freeotp", "freeotp.json")] {
        let path = copy(&stage, &format!("apps/{name}"));
        let outcome = import(&stage, &[format, &path, "--issuer", "DENO", "--user", "alice", "--json"]);
        // What could not be read at all has no issuer, and is told.
        let refused = summary(&outcome)["refused"].as_i64().unwrap();
        assert_eq!(outcome.code, Some(i32::from(refused > 0)), "{outcome:?}");
        assert_eq!(summary(&outcome)["added"], json!(1), "{outcome:?}");
    }
    assert_eq!(stage.asked(), ["Admin.Import 1 alice 1"; 3]);
}

#[test]
fn a_bad_file_is_named_and_nothing_is_asked_of_the_daemon() {
    let stage = Stage::new();
    let nothing = file(&stage, "empty", "");
    let large = file(&stage, "large", &" ".repeat(100 << 20));
    for format in ["pskc", "migration", "aegis", "andotp", "freeotp"] {
        for (path, why) in [(&nothing, "the file is empty"), (&large, "larger than")] {
            let outcome = import(&stage, &[format, path]);
            assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""), "{format}: {outcome:?}");
            assert!(flat(&outcome.err).contains(why), "{format}: {outcome:?}");
        }
        let missing = import(&stage, &[format, "/nonexistent"]);
        assert!(missing.code == Some(1) && missing.err.contains("cannot be opened"), "{missing:?}");
    }
    assert_eq!(stage.asked(), [""; 0]);
    let path = copy(&stage, "apps/andotp.json");
    assert_eq!(import(&Stage::without_service(), &["andotp", &path]).code, Some(3));
}

#[test]
fn what_the_daemon_refuses_is_told_of_its_record_or_ends_the_import() {
    let stage = Stage::new();
    let path = copy(&stage, "apps/freeotp.json");
    let refused = import(&stage, &["freeotp", &path, "--user", "refused"]);
    assert!(refused.code == Some(1) && flat(&refused.out).contains("entry 1: too \\u{1b}[2J short"), "{refused:?}");
    let denied = import(&stage, &["freeotp", &path, "--user", "denied"]);
    assert_eq!(denied.code, Some(1));
    assert!(denied.err.contains("root's alone") && denied.err.contains("changes nothing twice"), "{denied:?}");
}

#[test]
fn a_dry_run_says_what_would_be_and_imports_nothing() {
    let stage = Stage::new();
    let path = copy(&stage, "apps/freeotp.json");
    let outcome = import(&stage, &["freeotp", &path, "--user", "alice", "--dry-run"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        flat(&outcome.out).contains("2 authenticators to be added") && !outcome.out.contains("shred"),
        "{outcome:?}"
    );
    let json = import(&stage, &["freeotp", &path, "--user", "alice", "--dry-run", "--json"]);
    assert_eq!(summary(&json)["applied"], json!(false));
    assert!(stage.asked().iter().all(|asked| asked.starts_with("Admin.CheckImport")), "{:?}", stage.asked());
}
