//! A reply is decided about on the record as it is, whatever was kept since its question (docs/decisions/0092).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod store_fixture;

use daemon::audit::Kind;
use daemon::store::{Store, StoreError, Transaction, Urgency};
use store_fixture::{Scratch, failures, put, record};

/// Counts one more failure, as a wrong reply does; tells how many there are.
async fn charge(store: &Store, name: &str, urgency: Urgency) -> Option<u32> {
    let count = |tx: &mut Transaction| {
        let throttle = &mut tx.record.as_mut()?.account.throttle;
        throttle.failures += 1;
        Some(throttle.failures)
    };
    store.decide(name, urgency, count).await.unwrap()
}

#[tokio::test]
async fn a_reply_sees_what_was_changed_since_its_question() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let asked = store.read("alice").await.unwrap().unwrap();
    assert_eq!(asked.account.throttle.failures + 1, charge(&store, "alice", Urgency::Background).await.unwrap());
    let begun = asked.account.throttle.failures;
    for reply in 2..5 {
        assert_eq!(charge(&store, "alice", Urgency::Login).await, Some(begun + reply));
    }
    store.read("alice").await.unwrap();
    store.close().await;
    assert_eq!(failures(&scratch.open(), "alice").await, begun + 4);
}

#[tokio::test]
async fn a_reply_sees_that_the_account_was_removed_or_made_since_its_question() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    assert!(store.read("alice").await.unwrap().is_some());
    assert!(store.read("bob").await.unwrap().is_none());
    store.remove("alice", Vec::new()).await.unwrap();
    put(&store, record("bob")).await;
    assert_eq!(charge(&store, "alice", Urgency::Login).await, None);
    assert!(charge(&store, "bob", Urgency::Login).await.is_some());
}

#[tokio::test]
async fn nothing_is_kept_of_a_decision_that_was_undone() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let begun = store.read("alice").await.unwrap().unwrap().account.throttle.failures;
    let spoil = |tx: &mut Transaction| {
        let record = tx.record.as_mut().unwrap();
        record.account.throttle.failures += 9;
        record.name = "bob".to_owned();
    };
    assert!(matches!(store.decide("alice", Urgency::Login, spoil).await, Err(StoreError::Invalid { .. })));
    assert_eq!(charge(&store, "alice", Urgency::Login).await, Some(begun + 1));
}

#[tokio::test]
async fn a_hundred_questions_get_their_own_replies() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let names: Vec<String> = (0..100).map(|number| format!("person{number}")).collect();
    for (failures, name) in (0..).zip(&names) {
        let mut record = record(name);
        record.account.throttle.failures = failures;
        put(&store, record).await;
    }
    for name in &names {
        assert_eq!(store.read(name).await.unwrap().unwrap().name, *name);
    }
    for (failures, name) in (0..).zip(&names) {
        assert_eq!(charge(&store, name, Urgency::Login).await, Some(failures + 1), "{name}");
    }
}

#[tokio::test]
async fn the_decoy_stays_whole_when_replies_for_unknown_names_cross() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for _ in 0..3 {
        for name in ["nobody", "noone"] {
            assert!(store.read(name).await.unwrap().is_none());
        }
        for name in ["nobody", "noone", "neither"] {
            assert_eq!(charge(&store, name, Urgency::Login).await, None);
        }
    }
    store.close().await;
    let store = scratch.open();
    assert!(store.read("nobody").await.unwrap().is_none());
    assert_eq!(charge(&store, "nobody", Urgency::Login).await, None);
    let told = store.audit_page(0, 100).await.unwrap();
    let troubles: Vec<_> =
        told.iter().filter(|told| told.event.kind == Kind::Store).map(|told| &told.event.reason).collect();
    assert_eq!(troubles, [&Some("a new store was made".to_owned())]);
}
