//! Remembered logins, notices and scratch codes altered on the disk are dropped and named; the account and all others go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use daemon::store::{Listed, Record, Store, Transaction, Urgency};
use store_fixture::{Scratch, attach, charge, failures, put, record, scratch_codes};

/// A store with alice and bob, who both have remembered logins, notices and scratch codes.
async fn filled(scratch: &Scratch) -> Store {
    let store = scratch.open();
    for name in ["alice", "bob"] {
        let mut record = record(name);
        attach(&mut record);
        record.account.scratch_codes = scratch_codes(&store.recovery_key());
        put(&store, record).await;
    }
    store
}

async fn read(store: &Store, name: &str) -> Record {
    store.read(name).await.unwrap().unwrap()
}

/// Whether anything is remembered, whether any notice waits, and whether there are scratch codes.
fn kept(record: &Record) -> (bool, bool, bool) {
    let account = &record.account;
    (!account.remembered.is_empty(), !record.notices.is_empty(), !account.scratch_codes.is_empty())
}

/// Alters the store by `sql`, and expects exactly alice's rows of this table to be dropped and named, once.
async fn alter(table: &str, sql: &str) {
    let scratch = Scratch::new();
    filled(&scratch).await.close().await;
    scratch.tamper(sql);
    let store = scratch.open();
    let alice = read(&store, "alice").await;
    let expected = (table != "remembered", table != "notices", table != "scratch_codes");
    assert_eq!(kept(&alice), expected, "{sql}");
    assert_eq!(alice.account.authenticators.len(), 2, "{sql}");
    let line = scratch.line_with("event=store outcome=refused");
    assert!(line.contains("account=\"alice\""), "{line}");
    let named = match table {
        "remembered" => "its remembered logins were altered",
        "notices" => "its notices were altered",
        _ => "its scratch codes were altered",
    };
    assert!(line.contains(named), "{line}");

    let records = store.verify_chain().await.unwrap().last;
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    assert_eq!(kept(&read(&store, "alice").await), kept(&alice), "{sql}");
    assert_eq!(kept(&read(&store, "bob").await), (true, true, true), "{sql}");
    assert_eq!(store.verify_chain().await.unwrap().last, records + 1, "it is named once: {sql}");
    store.close().await;
    assert_eq!(failures(&scratch.open(), "alice").await, 1);
}

#[tokio::test]
async fn a_remembered_login_that_was_made_longer_or_moved() {
    for change in [
        "lasts = lasts * 1000",
        "since = since + 1",
        "boot = zeroblob(16)",
        "elapsed = elapsed + 1",
        "service = 'su'",
        "address = '198.51.100.7'",
        "address = 'nowhere'",
        "boot = x'00'",
    ] {
        alter("remembered", &format!("UPDATE remembered SET {change} WHERE account = 'alice' AND number = 1")).await;
    }
}

#[tokio::test]
async fn a_remembered_login_that_was_deleted_added_or_put_in_another_order() {
    for sql in [
        "DELETE FROM remembered WHERE account = 'alice' AND number = 0",
        "DELETE FROM remembered WHERE account = 'alice'",
        "INSERT INTO remembered SELECT account, 9, 'login', address, since, boot, elapsed, lasts FROM remembered
             WHERE account = 'alice' AND number = 0",
        "UPDATE remembered SET number = 9 WHERE account = 'alice' AND number = 0",
    ] {
        alter("remembered", sql).await;
    }
}

#[tokio::test]
async fn a_remembered_login_of_somebody_else() {
    alter(
        "remembered",
        "DELETE FROM remembered WHERE account = 'alice';
         INSERT INTO remembered SELECT 'alice', number, service, address, since, boot, elapsed, lasts FROM remembered;
         UPDATE remembered SET lasts = lasts + 1 WHERE account = 'alice'",
    )
    .await;
    // The very same rows, signed for somebody else.
    let scratch = Scratch::new();
    filled(&scratch).await.close().await;
    scratch.tamper(
        "UPDATE accounts SET remembered = (SELECT remembered FROM accounts WHERE name = 'bob') WHERE name = 'alice'",
    );
    scratch.open().read("alice").await.unwrap_err();
}

#[tokio::test]
async fn a_notice_that_was_altered_deleted_or_cannot_be_read() {
    for change in [
        "what = 'reset', label = NULL",
        "what = 'nothing'",
        "label = 'my own phone'",
        "by = 'owner'",
        "by = 'nobody'",
        "at = 0",
        "host = '192.0.2.1'",
        "further = 3",
    ] {
        alter("notices", &format!("UPDATE notices SET {change} WHERE account = 'alice' AND number = 0")).await;
    }
    alter("notices", "DELETE FROM notices WHERE account = 'alice'").await;
}

#[tokio::test]
async fn a_scratch_code_that_was_made_longer_unused_another_or_somebody_elses() {
    for change in [
        "expires = expires + 1",
        "used = NULL",
        "digest = (SELECT digest FROM scratch_codes WHERE account = 'bob' AND number = 0)",
        "salt = zeroblob(16)",
        "salt = zeroblob(15)",
        "authenticator = 2",
    ] {
        let sql = format!("UPDATE scratch_codes SET {change} WHERE account = 'alice' AND number = 2");
        alter("scratch_codes", &sql).await;
    }
    alter("scratch_codes", "DELETE FROM scratch_codes WHERE account = 'alice' AND number = 2").await;
}

#[tokio::test]
async fn rows_of_which_the_record_does_not_know_let_nobody_in() {
    let scratch = Scratch::new();
    let store = filled(&scratch).await;
    put(&store, record("carol")).await;
    store.close().await;
    scratch.tamper(
        "INSERT INTO remembered SELECT 'carol', number, service, address, since, boot, elapsed, lasts FROM remembered
             WHERE account = 'alice'",
    );
    let store = scratch.open();
    assert_eq!(kept(&read(&store, "carol").await), (false, false, false));
    store.decide("carol", Urgency::Login, |tx| attach(tx.record.as_mut().unwrap())).await.unwrap();
    assert_eq!(kept(&read(&store, "carol").await), (true, true, false));
}

#[tokio::test]
async fn remembered_logins_from_before_they_were_forgotten_do_not_come_back() {
    let scratch = Scratch::new();
    filled(&scratch).await.close().await;
    scratch.tamper("CREATE TABLE old AS SELECT * FROM remembered");
    let store = scratch.open();
    let forget = |tx: &mut Transaction| tx.record.as_mut().unwrap().account.forget_remembered();
    assert_eq!(store.decide("alice", Urgency::Login, forget).await, Ok(2));
    store.close().await;
    scratch.tamper("INSERT INTO remembered SELECT * FROM old WHERE account = 'alice'");
    assert_eq!(kept(&read(&scratch.open(), "alice").await), (false, true, true));
}

#[tokio::test]
async fn a_list_goes_on_and_removing_an_account_leaves_no_row_of_it() {
    let scratch = Scratch::new();
    filled(&scratch).await.close().await;
    scratch.tamper("UPDATE remembered SET lasts = 0 WHERE account = 'alice'");
    let store = scratch.open();
    let listed = store.list("", 10).await.unwrap();
    assert!(listed.iter().all(|one| matches!(one, Listed::Record(_))), "{listed:?}");
    assert_eq!(store.remove("alice", Vec::new()).await, Ok(true));
    store.close().await;
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    for table in ["remembered", "notices", "scratch_codes"] {
        let count = |name: &str| {
            let sql = format!("SELECT count(*) FROM {table} WHERE account = '{name}'");
            connection.query_row::<i64, _, _>(&sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count("alice"), 0, "{table}");
        assert!(count("bob") > 0, "{table}");
    }
}
