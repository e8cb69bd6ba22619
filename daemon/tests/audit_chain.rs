//! The audit: every event stands in the chained table and in syslog, and no record can be altered unseen
//! (invariant 8, design section 6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use std::time::Duration;

use daemon::audit::{Break, ChainReport, Event, Kind, Origin, Outcome, Witness};
use daemon::store::{Store, StoreError, Urgency};
use store_fixture::{Scratch, charge, event, put, record};
use verifier::WallTime;

/// A store whose audit has ten records.
async fn ten() -> (Scratch, Store) {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.record((0..9).map(|_| event("alice")).collect()).await.unwrap();
    assert_eq!(store.verify_chain().await, Ok(ChainReport { first: 1, last: 10 }));
    (scratch, store)
}

/// What the check says after `sql`.
async fn after(sql: &str) -> Result<ChainReport, StoreError> {
    let (scratch, store) = ten().await;
    store.close().await;
    scratch.tamper(sql);
    let store = scratch.open();
    store.verify_chain().await
}

#[tokio::test]
async fn a_changed_record_is_named() {
    for column in [
        "at = 1",
        "event = 'start'",
        "event = 'nothing'",
        "outcome = 'granted'",
        "account = 'bob'",
        "account = NULL",
        "service = 'sshd'",
        "claimed = 1",
        "rule = ''",
        "authenticator = 'x'",
        "reason = 'right'",
        "failures = 0",
        "caller_uid = 0",
        "count = 1",
        "total = 1",
        "mac = zeroblob(32)",
        "mac = x''",
    ] {
        let broken = after(&format!("UPDATE audit SET {column} WHERE seq = 4")).await;
        assert_eq!(broken, Err(StoreError::Audit(Break::Changed(4))), "{column}");
    }
}

#[tokio::test]
async fn a_removed_record_is_named() {
    assert_eq!(after("DELETE FROM audit WHERE seq = 4").await, Err(StoreError::Audit(Break::Missing(4))));
    assert_eq!(after("DELETE FROM audit WHERE seq <= 3").await, Err(StoreError::Audit(Break::Missing(1))));
    let closed = "DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = -seq WHERE seq > 4; UPDATE audit SET seq = -seq - 1 WHERE seq < 0";
    assert_eq!(after(closed).await, Err(StoreError::Audit(Break::Changed(4))));
}

#[tokio::test]
async fn reordered_records_are_named() {
    let swap = "UPDATE audit SET seq = 100 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 100";
    assert_eq!(after(swap).await, Err(StoreError::Audit(Break::Changed(4))));
}

#[tokio::test]
async fn records_cut_off_at_the_end_are_named() {
    assert_eq!(after("DELETE FROM audit WHERE seq > 8").await, Err(StoreError::Audit(Break::Missing(9))));
    assert_eq!(after("DELETE FROM audit").await, Err(StoreError::Audit(Break::Missing(1))));
}

#[tokio::test]
async fn a_forged_record_at_the_end_is_named() {
    let forge = "CREATE TEMP TABLE new AS SELECT * FROM audit WHERE seq = 10; UPDATE new SET seq = 11; INSERT INTO audit SELECT * FROM new";
    assert_eq!(after(forge).await, Err(StoreError::Audit(Break::Changed(11))));
}

#[tokio::test]
async fn altered_ends_are_seen() {
    assert_eq!(
        after("UPDATE audit_ends SET seq = 3 WHERE name = 'beginning'").await,
        Err(StoreError::Audit(Break::Ends))
    );
    let moved = "DELETE FROM audit WHERE seq <= 4; UPDATE audit_ends SET (seq, total, last, mac) = (SELECT seq, total, last, mac FROM audit_ends WHERE name = 'end') WHERE name = 'beginning'";
    assert_eq!(after(moved).await, Err(StoreError::Audit(Break::Ends)));
}

#[tokio::test]
async fn trouble_with_the_chain_is_told_at_the_next_start() {
    let (scratch, store) = ten().await;
    store.close().await;
    scratch.tamper("DELETE FROM audit WHERE seq > 8");
    scratch.open().ping().await.unwrap();
    let line = scratch.line_with("event=store outcome=note reason=\"the audit ends");
    assert!(line.contains("record 8, but record 10"), "{line}");
}

#[tokio::test]
async fn an_altered_mark_of_the_end_is_told_at_the_next_start() {
    let (scratch, store) = ten().await;
    store.close().await;
    scratch.tamper("DELETE FROM audit WHERE seq > 8; UPDATE audit_ends SET seq = 8 WHERE name = 'end'");
    scratch.open().ping().await.unwrap();
    scratch.line_with("event=store outcome=note reason=\"the mark of the audit's end was altered\" seq=9 ");
}

/// Whoever restores the end's mark together with an older table is found by the copy that syslog has.
#[tokio::test]
async fn a_syslog_copy_proves_a_cut_that_the_table_hides() {
    let (scratch, store) = ten().await;
    store.close().await;
    scratch.tamper("CREATE TABLE old AS SELECT * FROM audit_ends");
    let store = scratch.open();
    store.record(vec![event("mallory"), event("mallory")]).await.unwrap();
    store.close().await;
    let witness = Witness::parse(&scratch.line_with("seq=12")).unwrap();
    scratch.tamper("DELETE FROM audit WHERE seq > 10; INSERT OR REPLACE INTO audit_ends SELECT * FROM old");
    let store = scratch.open();
    assert_eq!(store.verify_chain().await, Ok(ChainReport { first: 1, last: 10 }));
    let cut = store.compare_audit(vec![witness]).await;
    assert_eq!(cut, Err(StoreError::Audit(Break::CutOff { last: 10, expected: 12 })));
    store.record(vec![event("alice"), event("alice")]).await.unwrap();
    assert_eq!(store.compare_audit(vec![witness]).await, Err(StoreError::Audit(Break::Contradicted(12))));
}

#[tokio::test]
async fn every_line_of_syslog_is_a_witness_of_its_record() {
    let (scratch, store) = ten().await;
    let lines: Vec<_> = (1..=10).map(|seq| scratch.line_with(&format!("seq={seq} "))).collect();
    let witnesses: Vec<_> = lines.iter().map(|line| Witness::parse(line).unwrap()).collect();
    assert_eq!(store.compare_audit(witnesses).await, Ok(ChainReport { first: 1, last: 10 }));
    let records = store.audit_page(0, 100).await.unwrap();
    for (record, line) in records.iter().zip(&lines) {
        assert!(line.ends_with(&record.line()), "{line}");
    }
    assert_eq!(store.audit_page(7, 2).await.unwrap().iter().map(|record| record.seq).collect::<Vec<_>>(), [8, 9]);
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_committed() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let whole = Event {
        origin: Some(Origin {
            service: "sshd".to_owned(),
            tty: "ssh".to_owned(),
            rhost: "2001:db8::1".to_owned(),
            ruser: "mallory\n".to_owned(),
            claimed: true,
        }),
        rule: Some("default".to_owned()),
        authenticator: Some("00000001 phone".to_owned()),
        failures: Some(3),
        caller_uid: Some(u32::MAX),
        count: Some(7),
        ..event("alice")
    };
    let bare = Event::new(WallTime(5), Kind::Start, Outcome::Note);
    store.record(vec![whole.clone(), bare.clone()]).await.unwrap();
    let events: Vec<_> = store.audit_page(1, 9).await.unwrap().into_iter().map(|record| record.event).collect();
    assert_eq!(events, [whole, bare]);
}

#[tokio::test]
async fn what_attackers_type_fills_neither_line_nor_disk() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let typed = "x\"\n event=verification outcome=granted ".repeat(30_000);
    store.record(vec![event(&typed)]).await.unwrap();
    let line = scratch.line_with("outcome=refused");
    assert!(line.len() < 1024 && !line.contains('\n'), "{line}");
    let begin = "]: event=verification outcome=refused account=\"x\\\"\\x0a event=verification outcome=granted x\\\"";
    assert!(line.contains(begin), "{line}");
    let kept = store.audit_page(1, 1).await.unwrap();
    assert!(kept[0].event.account.as_ref().unwrap().len() <= 257);
    assert!(line.ends_with(&kept[0].line()));
}

#[tokio::test]
async fn an_event_is_committed_with_its_change_or_not_at_all() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    let invalid = |transaction: &mut daemon::store::Transaction| {
        charge(transaction);
        transaction.record.as_mut().unwrap().name = "bob".to_owned();
    };
    store.decide("alice", Urgency::Login, invalid).await.unwrap_err();
    assert_eq!(store.verify_chain().await, Ok(ChainReport { first: 1, last: 2 }));
}

#[tokio::test]
async fn a_check_whose_last_records_are_of_its_own_commit_finds_no_break() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    for _ in 0..100 {
        // Of what comes at one instant, a login's decision stands before the check in the batch that both share.
        let check = tokio::spawn({
            let store = store.clone();
            async move { store.verify_chain().await }
        });
        let logins: Vec<_> = (0..20)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.decide("alice", Urgency::Login, charge).await })
            })
            .collect();
        for login in logins {
            login.await.unwrap().unwrap();
        }
        let report = check.await.unwrap().unwrap();
        assert_eq!(report.first, 1);
    }
}

#[tokio::test]
async fn pruning_by_age_keeps_the_chain_whole() {
    let (scratch, store) = ten().await;
    let hour = 3_600_000;
    let at = |hours: u64| Event { at: WallTime(1_800_000_000_000 + hours * hour), ..event("alice") };
    store.close().await;
    let store = {
        drop(store);
        scratch.open()
    };
    store.record((0..5).map(at).collect()).await.unwrap();
    let now = WallTime(1_800_000_000_000 + 5 * hour);
    // The store's own first record bears today's date, which lies after it all or before: it goes by its age.
    let removed = store.prune_audit(now, Duration::from_secs(4 * 3600), u64::MAX).await.unwrap();
    let report = store.verify_chain().await.unwrap();
    assert_eq!(report.last, 15);
    assert_eq!(report.first, removed as u64 + 1);
    let left = store.audit_page(0, 100).await.unwrap();
    assert_eq!(left.len(), 15 - removed);
    let early = Witness { seq: 1, mark: daemon::audit::ChainMark([0; 8]) };
    assert!(
        removed == 0 || store.compare_audit(vec![early]).await.is_ok(),
        "what was pruned has no witness against it"
    );
}

#[tokio::test]
async fn pruning_by_size_leaves_the_newest() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for _ in 0..12 {
        store.record((0..100).map(|_| event("alice")).collect()).await.unwrap();
    }
    let never = Duration::from_secs(u64::from(u32::MAX));
    assert_eq!(store.prune_audit(WallTime(0), never, u64::MAX).await, Ok(0));
    let removed = store.prune_audit(WallTime(0), never, 50_000).await.unwrap();
    let report = store.verify_chain().await.unwrap();
    assert_eq!((report.first, report.last), (removed as u64 + 1, 1201));
    assert!((300..500).contains(&(1201 - removed)), "{removed} removed");
    assert_eq!(store.prune_audit(WallTime(0), never, 50_000).await, Ok(0));
    assert_eq!(store.prune_audit(WallTime(0), never, 0).await, Ok(1201 - removed));
    assert_eq!(store.verify_chain().await, Ok(ChainReport { first: 1202, last: 1201 }));
    store.close().await;
    let store = scratch.open();
    store.record(vec![event("alice")]).await.unwrap();
    assert_eq!(store.verify_chain().await, Ok(ChainReport { first: 1202, last: 1202 }));
}
