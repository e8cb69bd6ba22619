//! `backup` and `restore`, against a service in the daemon's place: what is in the file, and what is refused before
//! anything is touched. Everything else is played with the real daemon in the scenarios.

use std::os::unix::fs::PermissionsExt as _;

use crate::{service::SEALED_MARK, stage::Stage};

const PASSPHRASE: &str = "correct horse battery\n";

fn run(stage: &Stage, words: &str, input: &str) -> crate::stage::Outcome {
    let file = stage.directory.path().join("backup.age").display().to_string();
    let words: Vec<String> = words.split(' ').map(|word| word.replace("FILE", &file)).collect();
    stage.run(&words.iter().map(String::as_str).collect::<Vec<_>>(), input)
}

fn files(stage: &Stage) -> Vec<String> {
    let names = std::fs::read_dir(stage.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.contains("backup")).collect()
}

#[test]
fn a_backup_is_an_age_file_that_only_root_reads_and_shows_nothing() {
    let stage = Stage::new();
    let outcome = run(&stage, "backup FILE --passphrase-fd 0", PASSPHRASE);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
    assert!(outcome.out.contains("2 accounts and the master key"), "{outcome:?}");
    let path = stage.directory.path().join("backup.age");
    let content = std::fs::read(&path).unwrap();
    assert!(content.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    assert!(!content.windows(SEALED_MARK.len()).any(|window| window == SEALED_MARK));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(files(&stage), ["backup.age"]);
    // It replaces no file, and asks the daemon for nothing then.
    let again = run(&stage, "backup FILE --passphrase-fd 0", PASSPHRASE);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("exists already"), "{again:?}");
    assert_eq!(stage.asked(), ["Admin.Backup"]);
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

#[test]
fn a_backup_that_breaks_off_leaves_no_file() {
    let stage = Stage::new();
    stage.held.lock().unwrap().no_backup = Some("the backup is worth nothing: it broke off".to_owned());
    let outcome = run(&stage, "backup FILE --passphrase-fd 0", PASSPHRASE);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("worth nothing"), "{outcome:?}");
    assert!(files(&stage).is_empty(), "{:?}", files(&stage));
}

#[test]
fn a_passphrase_comes_from_a_terminal_or_a_descriptor_and_is_not_short() {
    let stage = Stage::new();
    let outcome = run(&stage, "backup FILE", PASSPHRASE);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.err.contains("--passphrase-fd"), "{outcome:?}");
    for (words, input) in [
        ("backup FILE --passphrase-fd 0", "short\n"),
        ("backup FILE --passphrase-fd 0", ""),
        ("backup FILE --passphrase-fd 0", &"x".repeat(2000)),
        ("backup FILE --passphrase-fd 99", PASSPHRASE),
    ] {
        let outcome = run(&stage, words, input);
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    }
    assert!(stage.asked().is_empty() && files(&stage).is_empty());
}

#[test]
fn restoring_what_is_no_backup_or_with_another_passphrase_is_refused_at_once() {
    let stage = Stage::new();
    let missing = run(&stage, "restore FILE --passphrase-fd 0", PASSPHRASE);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    run(&stage, "backup FILE --passphrase-fd 0", PASSPHRASE);
    let other = run(&stage, "restore FILE --passphrase-fd 0", "another passphrase\n");
    assert_eq!(other.code, Some(1), "{other:?}");
    let words = other.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the passphrase is wrong") && other.err.contains("Nothing was changed"), "{other:?}");
    let path = stage.directory.path().join("backup.age");
    for content in [&b""[..], b"SQLite format 3\0", &std::fs::read(&path).unwrap()[..70]] {
        std::fs::write(&path, content).unwrap();
        let refused = run(&stage, "restore FILE --passphrase-fd 0", PASSPHRASE);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("cannot be restored"), "{refused:?}");
    }
}

#[test]
fn replacing_asks_and_without_a_terminal_wants_the_flag_that_answers() {
    let stage = Stage::new();
    run(&stage, "backup FILE --passphrase-fd 0", PASSPHRASE);
    let refused = run(&stage, "restore FILE --replace --passphrase-fd 0", PASSPHRASE);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--yes"), "{refused:?}");
}
