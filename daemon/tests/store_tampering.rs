//! A record altered on the disk is refused and named; all other accounts go on (invariant 4, design section 6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use daemon::store::{Listed, StoreError, Transaction, Urgency};
use store_fixture::{Scratch, attach, charge, failures, put, record};
use verifier::{Moving, TimeStep, Totp};

/// Puts alice, bob and carol into a store, alters it by `sql`, and expects exactly `refused` to be refused.
async fn alter(sql: &str, refused: &[&str]) {
    let scratch = Scratch::new();
    let store = scratch.open();
    for name in ["alice", "bob", "carol"] {
        put(&store, record(name)).await;
        store.decide(name, Urgency::Login, charge).await.unwrap();
    }
    store.close().await;
    scratch.tamper(sql);
    let store = scratch.open();
    for name in ["alice", "bob", "carol"] {
        let decided = store.decide(name, Urgency::Login, charge).await;
        if !refused.contains(&name) {
            assert_eq!(decided, Ok(()), "{name} is not concerned by {sql}");
            assert_eq!(failures(&store, name).await, 2);
            continue;
        }
        match decided {
            Err(StoreError::Corrupt { account, .. }) => assert_eq!(account, name),
            other => panic!("{sql}: {name} was answered {other:?}"),
        }
        let line = scratch.line_with("event=store outcome=refused");
        assert!(line.contains(&format!("account=\"{name}\"")), "{line}");
    }
    let listed = store.list("", 10).await.unwrap();
    for listed in &listed {
        assert_eq!(matches!(listed, Listed::Corrupt { .. }), refused.contains(&listed.name()), "{listed:?}");
    }
    assert!(store.page("", 10).await.unwrap().iter().all(|record| !refused.contains(&record.name.as_str())));
    store.verify_chain().await.unwrap();
}

#[tokio::test]
async fn a_byte_of_a_sealed_secret() {
    alter(
        "UPDATE authenticators SET sealed =
         CAST(iif(substr(sealed, 1, 1) = x'00', x'01', x'00') || substr(sealed, 2) AS BLOB)
         WHERE account = 'alice' AND id = 1",
        &["alice"],
    )
    .await;
}

#[tokio::test]
async fn a_mutable_column_of_any_table() {
    for (table, column, value) in [
        ("accounts", "failures", "0"),
        ("accounts", "recent", "x'0000000000000001'"),
        ("accounts", "locks", "9"),
        ("accounts", "uid", "0"),
        ("accounts", "uid", "NULL"),
        ("accounts", "disabled", "'failures'"),
        ("accounts", "last_decision", "5"),
        ("accounts", "last_granted", "5"),
        ("accounts", "enrolment_until", "5"),
        ("accounts", "failed_at", "5"),
        ("accounts", "failed_at", "NULL"),
        ("accounts", "failed_from", "'192.0.2.1'"),
        ("accounts", "failed_from", "NULL"),
        ("accounts", "remembered", "x'00'"),
        ("accounts", "remembered", "zeroblob(32)"),
        ("accounts", "notices", "zeroblob(32)"),
        ("accounts", "mac", "x'00'"),
        ("authenticators", "active", "0"),
        ("authenticators", "suspended", "1"),
        ("authenticators", "label", "'other'"),
        ("authenticators", "created", "3"),
        ("authenticators", "digits", "8"),
        ("authenticators", "digits", "-1"),
        ("authenticators", "algorithm", "'SHA256'"),
        ("authenticators", "algorithm", "'none'"),
        ("authenticators", "key_id", "'0000000000000000'"),
        ("authenticators", "nonce", "x'00'"),
        ("recovery_codes", "codes", "zeroblob(length(codes))"),
        ("recovery_codes", "codes", "x''"),
    ] {
        let key = if table == "accounts" { "name" } else { "account" };
        alter(&format!("UPDATE {table} SET {column} = {value} WHERE {key} = 'alice'"), &["alice"]).await;
    }
}

#[tokio::test]
async fn the_mark_of_what_waits_since_a_restore() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut alice = record("alice");
    alice.account.authenticators[1].suspended = true;
    put(&store, alice).await;
    store.close().await;
    drop(store);
    let waits = scratch.open().read("alice").await.unwrap().unwrap().account.authenticators;
    assert_eq!(waits.iter().map(|one| one.suspended).collect::<Vec<_>>(), [false, true]);
    scratch.tamper("UPDATE authenticators SET suspended = NULL");
    assert!(matches!(scratch.open().read("alice").await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn the_moving_factor() {
    for change in [
        "last_step = 1, drift = 0 WHERE kind = 'totp'",
        "drift = 1 WHERE kind = 'totp'",
        "counter = 0 WHERE kind = 'hotp'",
    ] {
        alter(&format!("UPDATE authenticators SET {change} AND account = 'alice'"), &["alice"]).await;
    }
}

#[tokio::test]
async fn secrets_swapped_between_two_accounts() {
    alter(
        "CREATE TEMP TABLE old AS SELECT * FROM authenticators WHERE id = 1;
         UPDATE authenticators SET (nonce, sealed, mac) = (SELECT nonce, sealed, mac FROM old
             WHERE old.account = iif(authenticators.account = 'alice', 'bob', 'alice'))
         WHERE id = 1 AND account IN ('alice', 'bob')",
        &["alice", "bob"],
    )
    .await;
}

#[tokio::test]
async fn whole_rows_swapped_between_two_accounts() {
    for (table, key) in [("accounts", "name"), ("recovery_codes", "account")] {
        let swap = format!(
            "UPDATE {table} SET {key} = 'x' WHERE {key} = 'alice'; UPDATE {table} SET {key} = 'alice' WHERE {key} = 'bob';
             UPDATE {table} SET {key} = 'bob' WHERE {key} = 'x'"
        );
        alter(&swap, &["alice", "bob"]).await;
    }
}

#[tokio::test]
async fn a_deleted_row_of_any_table() {
    alter("DELETE FROM authenticators WHERE account = 'bob' AND id = 2", &["bob"]).await;
    alter("DELETE FROM authenticators WHERE account = 'bob'", &["bob"]).await;
    alter("DELETE FROM recovery_codes WHERE account = 'bob'", &["bob"]).await;
}

#[tokio::test]
async fn a_deleted_record_whose_authenticators_are_left() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    put(&store, record("bob")).await;
    store.close().await;
    scratch.tamper("DELETE FROM accounts WHERE name = 'alice'");
    let store = scratch.open();
    let refused = store.decide("alice", Urgency::Login, |transaction| transaction.record.is_none()).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { account, .. }) if account == "alice"));
    store.decide("bob", Urgency::Login, charge).await.unwrap();
}

#[tokio::test]
async fn an_older_row_put_back_in_its_place() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    scratch.tamper("CREATE TABLE old AS SELECT * FROM authenticators");
    let store = scratch.open();
    let spend = |transaction: &mut Transaction| {
        let moving = &mut transaction.record.as_mut().unwrap().account.authenticators[0].moving;
        *moving = Moving::Totp(Totp { last: Some(TimeStep(99)), drift: Some(1) });
    };
    store.decide("alice", Urgency::Login, spend).await.unwrap();
    store.close().await;
    scratch.tamper("INSERT OR REPLACE INTO authenticators SELECT * FROM old WHERE id = 1");
    assert!(matches!(scratch.open().read("alice").await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn an_altered_account_can_be_removed_and_begun_anew() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    scratch.tamper("UPDATE accounts SET failures = 7");
    let store = scratch.open();
    assert!(matches!(store.read("alice").await, Err(StoreError::Corrupt { .. })));
    assert_eq!(store.remove("alice", Vec::new()).await, Ok(true));
    assert_eq!(store.remove("alice", Vec::new()).await, Ok(false));
    put(&store, record("alice")).await;
    assert_eq!(failures(&store, "alice").await, 0);
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_put() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut full = record("alice");
    let throttle = &mut full.account.throttle;
    throttle.failures = 4;
    throttle.locks = 2;
    throttle.recent = vec![verifier::WallTime(1), verifier::WallTime(u64::MAX)];
    throttle.lock = Some(verifier::throttling::Lock {
        since: verifier::WallTime(3),
        since_boot: verifier::BootTime { boot: [7; 16], elapsed: 9 },
        lasts: std::time::Duration::from_millis(30_001),
    });
    throttle.disabled = Some(verifier::throttling::Disabled::Administrator);
    full.account.authenticators[0].moving = Moving::Totp(Totp { last: Some(TimeStep(5)), drift: Some(-2) });
    full.account.authenticators[1].moving = Moving::Hotp(verifier::Hotp {
        next: verifier::Counter(u64::MAX),
        far: Some((verifier::Counter(90), verifier::WallTime(8))),
    });
    full.account.authenticators[1].last_used = Some(verifier::WallTime(12));
    full.account.recovery_codes[3].used = Some(verifier::WallTime(0));
    full.account.last_decision = Some(verifier::WallTime(10));
    full.account.last_granted = Some(verifier::WallTime(11));
    full.enrolment_until = Some(verifier::WallTime(13));
    attach(&mut full);
    put(&store, full.clone()).await;
    let read = store.read("alice").await.unwrap().unwrap();
    assert_eq!(format!("{read:?}"), format!("{full:?}"));
    for (read, full) in read.account.authenticators.iter().zip(&full.account.authenticators) {
        assert_eq!(read.secret.bytes(), full.secret.bytes());
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_is_refused_alone() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut twice = record("alice");
    twice.account.authenticators[1].id = twice.account.authenticators[0].id;
    let refused = store.decide("alice", Urgency::Login, move |transaction| transaction.record = Some(twice)).await;
    assert!(matches!(refused, Err(StoreError::Invalid { .. })));
    let other = record("bob");
    let refused = store.decide("alice", Urgency::Login, move |transaction| transaction.record = Some(other)).await;
    assert!(matches!(refused, Err(StoreError::Invalid { .. })));
    assert!(store.page("", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_secret_lies_in_the_files_in_clear() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let secret = record("alice").account.authenticators[0].secret.bytes().to_vec();
    let recovery = store.recovery_key().0;
    let master = std::fs::read(scratch.state().join("master.key")).unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(scratch.state()).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if !name.starts_with("store.sqlite") {
            continue;
        }
        let content = std::fs::read(file.path()).unwrap();
        seen += content.len();
        for wanted in [&secret[..], &recovery[..], &master[..]] {
            assert!(!content.windows(wanted.len()).any(|window| window == wanted), "{name} holds a secret");
        }
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
    }
    assert!(seen > 4096);
}
