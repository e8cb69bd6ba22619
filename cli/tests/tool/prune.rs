//! Pruning: shown, asked, and only what the daemon says is gone.

use dbus_api::Account;

use crate::{stage::Stage, terminal::Terminal};

fn account(name: &str, uid: Option<u32>, authenticators: u32) -> Account {
    Account { name: name.to_owned(), uid, authenticators, state: 1, ..Account::default() }
}

fn stage(gone: Vec<Account>) -> Stage {
    let stage = Stage::new();
    stage.held.lock().unwrap().gone = gone;
    stage
}

fn pruned(stage: &Stage) -> Vec<String> {
    let asked = stage.asked().into_iter();
    asked.filter_map(|asked| asked.strip_prefix("Admin.Prune ").map(str::to_owned)).collect()
}

#[test]
fn where_nobody_is_gone_nothing_is_asked() {
    let stage = stage(Vec::new());
    let outcome = stage.run(&["prune"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("nothing to prune"), "{outcome:?}");
}

#[test]
fn without_a_terminal_it_wants_yes() {
    let stage = stage(vec![account("old", Some(1001), 1)]);
    let outcome = stage.run(&["prune"], "y\n");
    assert!(outcome.code == Some(2) && outcome.err.contains("prune --yes"), "{outcome:?}");
    assert!(pruned(&stage).is_empty());
    assert!(stage.run(&["prune", "--yes"], "").out.contains("1 account forgotten."));
    assert_eq!(pruned(&stage), ["old"]);
}

#[test]
fn at_a_terminal_it_shows_who_is_gone_and_only_a_yes_is_one() {
    let stage = stage(vec![account("old", Some(1001), 1), account("o\x1b[2Jlder", Some(1002), 2)]);
    for (keys, code) in [("n\r", 1), ("\r", 1), ("\x03", 1), ("y\r", 0)] {
        assert!(pruned(&stage).is_empty(), "before {keys:?}");
        let mut terminal = Terminal::start(&stage.tool(&["prune"]), 100);
        terminal.expect("does not know 2 of 3 accounts. Forget all that is stored for");
        terminal.expect("them? [y/N] ");
        terminal.press(keys);
        let (ended, shown) = terminal.finish();
        assert_eq!(ended, Some(code), "{keys:?}: {shown}");
        assert!(shown.contains("1001") && shown.contains("o\\u{1b}[2Jlder") && shown.contains("never"), "{shown}");
    }
    assert_eq!(pruned(&stage).len(), 2);
}

#[test]
fn who_was_imported_and_has_not_come_yet_stays_unless_asked_for() {
    let gone = || vec![account("awaited", None, 1), account("was-reset", None, 0), account("old", Some(1001), 1)];
    let some = stage(gone());
    let outcome = some.run(&["prune", "--yes"], "");
    assert_eq!(pruned(&some), ["was-reset", "old"]);
    assert!(outcome.out.contains("1 account left alone"), "{outcome:?}");
    let all = stage(gone());
    all.run(&["prune", "--yes", "--imported"], "");
    assert_eq!(pruned(&all), ["awaited", "was-reset", "old"]);
}

#[test]
fn an_account_that_came_back_is_kept_and_told() {
    let stage = stage(vec![account("came-back", Some(1001), 1), account("old", Some(1002), 1)]);
    let outcome = stage.run(&["prune", "--yes"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("came-back is known again: kept.") && outcome.out.contains("1 account forgotten."));
}

#[test]
fn a_name_service_that_fails_midway_ends_it_and_says_how_far_it_came() {
    let stage = stage(["old", "broken", "older"].map(|name| account(name, Some(1001), 1)).into());
    let outcome = stage.run(&["prune", "--yes"], "");
    assert!(outcome.code == Some(1) && outcome.err.contains("1 account forgotten before that."), "{outcome:?}");
    assert_eq!(pruned(&stage), ["old", "broken"]);
}

#[test]
fn most_of_all_accounts_do_not_go_without_a_question() {
    let stage = stage((0..10).map(|number| account(&format!("user{number}"), Some(1000), 1)).collect());
    let outcome = stage.run(&["prune", "--yes"], "");
    assert!(outcome.code == Some(1) && outcome.err.contains("the name service is hardly complete"), "{outcome:?}");
    assert!(pruned(&stage).is_empty());
}
