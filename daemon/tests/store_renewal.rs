//! A new master key: only where nobody loses anything by it, or where that was asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod store_fixture;

use std::fs;

use daemon::store::renewal::{IfKept, RenewalError, renew};
use daemon::store::{KeyError, StoreError};
use store_fixture::{Scratch, put, record};

fn key(scratch: &Scratch) -> Vec<u8> {
    fs::read(scratch.state().join("master.key")).unwrap()
}

#[tokio::test]
async fn a_state_that_keeps_nobody_gets_a_new_key_and_a_new_store() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (old_id, old_recovery) = (store.key_id(), store.recovery_key().0);
    // A failed login of an account without a record leaves the decoy, which is nobody.
    store.decide("nobody", daemon::store::Urgency::Login, |_| ()).await.unwrap();
    store.close().await;
    let before = key(&scratch);
    let path = renew(scratch.state(), None, IfKept::Refuse).unwrap();
    assert_eq!(path, Some(scratch.state().join("master.key")));
    assert_ne!(key(&scratch), before);
    assert!(!scratch.database().exists());
    let store = scratch.open();
    assert!(store.key_id() != old_id && store.recovery_key().0 != old_recovery);
}

#[tokio::test]
async fn where_accounts_are_kept_nothing_changes_unless_they_are_to_be_forgotten() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    let before = key(&scratch);
    let refused = renew(scratch.state(), None, IfKept::Refuse).unwrap_err();
    assert!(matches!(refused, RenewalError::Accounts { count: 1, .. }), "{refused}");
    for way in ["key new --forget-accounts", "key accept"] {
        assert!(refused.to_string().contains(way), "{refused}");
    }
    assert_eq!(key(&scratch), before);
    let store = scratch.open();
    assert!(store.read("alice").await.unwrap().is_some());
    store.close().await;
    renew(scratch.state(), None, IfKept::Forget).unwrap().unwrap();
    assert_ne!(key(&scratch), before);
    assert!(scratch.open().read("alice").await.unwrap().is_none());
}

#[tokio::test]
async fn a_daemon_at_work_is_left_alone() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let before = key(&scratch);
    let refused = renew(scratch.state(), None, IfKept::Forget).unwrap_err();
    assert!(matches!(refused, RenewalError::Store(StoreError::InUse { .. })), "{refused}");
    assert_eq!(key(&scratch), before);
    store.ping().await.unwrap();
}

#[test]
fn where_nothing_is_kept_yet_nothing_is_made() {
    let scratch = Scratch::new();
    assert_eq!(renew(scratch.state(), None, IfKept::Refuse).unwrap(), None);
    assert_eq!(renew(&scratch.state().join("absent"), None, IfKept::Refuse).unwrap(), None);
    assert!(!scratch.state().join("master.key").exists());
}

#[tokio::test]
async fn a_credential_a_lost_key_and_another_key_are_not_replaced() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("countersign.key"), [9; 32]).unwrap();
    let refused = renew(scratch.state(), Some(credentials.path()), IfKept::Forget).unwrap_err();
    assert!(matches!(refused, RenewalError::Credential { .. }), "{refused}");
    assert!(scratch.database().exists());

    let path = scratch.state().join("master.key");
    fs::remove_file(&path).unwrap();
    let refused = renew(scratch.state(), None, IfKept::Forget).unwrap_err();
    assert!(matches!(refused, RenewalError::Key(KeyError::Lost { .. })), "{refused}");
    fs::write(&path, [9; 32]).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let refused = renew(scratch.state(), None, IfKept::Forget).unwrap_err();
    assert!(matches!(refused, RenewalError::Store(StoreError::WrongKey { .. })), "{refused}");
    assert!(scratch.database().exists(), "a store that is not this key's was removed");
}

/// What a daemon that was killed leaves, and a log that belongs to no store any more.
#[tokio::test]
async fn a_log_that_is_left_over_does_not_come_back_in_the_next_store() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let (database, log) = (fs::read(scratch.database()).unwrap(), scratch.state().join("store.sqlite-wal"));
    let commits = fs::read(&log).unwrap();
    assert!(!commits.is_empty());
    store.close().await;
    fs::write(scratch.database(), database).unwrap();
    fs::write(&log, commits).unwrap();
    renew(scratch.state(), None, IfKept::Forget).unwrap().unwrap();
    assert!(!log.exists());
    let store = scratch.open();
    assert!(store.read("alice").await.unwrap().is_none());
    assert_eq!(store.verify_chain().await.unwrap().first, 1);
}
