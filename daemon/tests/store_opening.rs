//! What the store is opened with: the right key, alone, in a private directory, in a file it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod store_fixture;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use daemon::audit::{Event, Kind, Outcome};
use daemon::notice::LastFailure;
use daemon::store::{KeyError, KeySource, MachineId, MasterKey, Store, StoreError, Transaction, Urgency};
use store_fixture::{Scratch, attach, failures, put, record, scratch_codes};
use verifier::WallTime;
use verifier::throttling::Disabled;

/// The version of the tables that this program makes.
const NEWEST: i64 = 6;

fn load(scratch: &Scratch) -> Result<(MasterKey, KeySource), KeyError> {
    MasterKey::load(None, scratch.state())
}

#[test]
fn a_key_is_made_once_and_then_kept() {
    let scratch = Scratch::new();
    let path = scratch.state().join("master.key");
    assert_eq!(load(&scratch).unwrap().1, KeySource::Created(path.clone()));
    let made = fs::read(&path).unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(load(&scratch).unwrap().1, KeySource::File(path.clone()));
    assert_eq!(fs::read(&path).unwrap(), made);
    assert!(!format!("{:?}", load(&scratch).unwrap().0).contains(&format!("{}", made.first().unwrap())));
}

#[tokio::test]
async fn a_lost_key_is_named_and_none_is_made_in_its_place() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    fs::remove_file(scratch.state().join("master.key")).unwrap();
    let error = load(&scratch).unwrap_err();
    assert!(matches!(&error, KeyError::Lost { .. }));
    assert!(error.to_string().contains("master.key") && error.to_string().contains("backup"), "{error}");
    assert!(!scratch.state().join("master.key").exists());
}

#[tokio::test]
async fn a_wrong_key_is_named() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let right = store.key_id().to_string();
    store.close().await;
    let before = fs::read(scratch.database()).unwrap();
    let error = Store::open(scratch.state(), MasterKey::from_bytes(&[7; 32]), scratch.syslog.clone()).unwrap_err();
    let StoreError::WrongKey { made, given } = &error else { panic!("{error}") };
    assert_eq!(made, &right);
    assert_ne!(given, &right);
    assert!(error.to_string().contains(&right));
    assert_eq!(fs::read(scratch.database()).unwrap(), before, "the store was not touched");
    scratch.open().ping().await.unwrap();
}

#[tokio::test]
async fn a_credential_goes_before_the_file() {
    let scratch = Scratch::new();
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("countersign.key"), [9; 32]).unwrap();
    let (key, source) = MasterKey::load(Some(credentials.path()), scratch.state()).unwrap();
    assert_eq!(source, KeySource::Credential(credentials.path().join("countersign.key")));
    assert!(!scratch.state().join("master.key").exists(), "no file is made beside a credential");
    let store = Store::open(scratch.state(), key, scratch.syslog.clone()).unwrap();
    store.close().await;
    assert!(matches!(load(&scratch), Err(KeyError::Lost { .. })));
    fs::write(credentials.path().join("countersign.key"), [9; 31]).unwrap();
    assert!(matches!(MasterKey::load(Some(credentials.path()), scratch.state()), Err(KeyError::Unusable { .. })));
}

#[test]
fn a_key_that_others_could_read_or_that_is_no_key_is_refused() {
    let scratch = Scratch::new();
    load(&scratch).unwrap();
    let path = scratch.state().join("master.key");
    for mode in [0o440, 0o404, 0o600, 0o4400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = load(&scratch).unwrap_err().to_string();
        assert!(error.contains("chmod 0400"), "{error}");
    }
    for content in [&[1_u8; 31][..], &[1; 33], b""] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(matches!(load(&scratch), Err(KeyError::Unusable { .. })), "{} bytes", content.len());
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(load(&scratch).is_err());
    fs::remove_dir(&path).unwrap();
    let elsewhere = scratch.state().join("elsewhere");
    fs::write(&elsewhere, [1; 32]).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let error = load(&scratch).unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let scratch = Scratch::new();
    let store = scratch.open();
    assert!(matches!(scratch.try_open(), Err(StoreError::InUse { .. })));
    store.ping().await.unwrap();
    store.close().await;
    scratch.open().ping().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_refused() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    for mode in [0o750, 0o705, 0o777] {
        fs::set_permissions(scratch.state(), Permissions::from_mode(mode)).unwrap();
        let error = scratch.try_open().unwrap_err();
        assert!(matches!(error, StoreError::Directory { .. }), "{error}");
        assert!(error.to_string().contains("chmod 0700"));
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch("PRAGMA user_version = 99").unwrap();
    connection.close().unwrap();
    let before = fs::read(scratch.database()).unwrap();
    let error = scratch.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert_eq!(fs::read(scratch.database()).unwrap(), before);
}

/// Puts a store of version 1, as it was made by the program that knew no other, in place.
fn put_version_1(scratch: &Scratch) {
    put_version(scratch, include_str!("data/store-version-1.sql"));
}

/// The same of version 2.
fn put_version_2(scratch: &Scratch) {
    put_version(scratch, include_str!("data/store-version-2.sql"));
}

fn put_version(scratch: &Scratch, dump: &str) {
    let key = scratch.state().join("master.key");
    fs::write(&key, [1; 32]).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch(dump).unwrap();
    connection.close().unwrap();
}

fn version(scratch: &Scratch) -> i64 {
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_store_of_version_1_opens_with_everything_in_it_and_keeps_what_version_2_adds() {
    let scratch = Scratch::new();
    put_version_1(&scratch);
    assert_eq!(version(&scratch), 1);
    let store = scratch.open();
    let alice = store.read("alice").await.unwrap().unwrap();
    let lock = alice.account.throttle.lock.unwrap();
    assert_eq!((alice.uid, alice.account.throttle.failures, lock.lasts.as_secs()), (Some(1000), 4, 60));
    assert_eq!((alice.account.authenticators.len(), alice.account.recovery_codes.len()), (2, 10));
    assert_eq!(
        alice.account.authenticators.first().unwrap().secret.bytes(),
        (0..20).map(|byte| byte ^ 1).collect::<Vec<u8>>()
    );
    assert_eq!(alice.last_failure, None);
    let bob = store.read("bob").await.unwrap().unwrap();
    assert_eq!((bob.uid, bob.account.throttle.disabled), (None, Some(Disabled::Administrator)));
    assert_eq!(failures(&store, "carol").await, 0);
    let last = LastFailure { at: WallTime(1_700_000_002_000), from: Some("192.0.2.7".to_owned()) };
    let kept = last.clone();
    store
        .decide("alice", Urgency::Login, move |tx| tx.record.as_mut().unwrap().last_failure = Some(kept))
        .await
        .unwrap();
    store.decide("nobody", Urgency::Login, |_| ()).await.unwrap();
    assert_eq!(store.verify_chain().await.unwrap().last, 2);
    store.close().await;
    assert_eq!(version(&scratch), NEWEST);
    assert_eq!(scratch.open().read("alice").await.unwrap().unwrap().last_failure, Some(last));
}

#[tokio::test]
async fn a_store_of_version_2_opens_with_everything_in_it_and_keeps_what_version_3_adds() {
    let scratch = Scratch::new();
    put_version_2(&scratch);
    assert_eq!(version(&scratch), 2);
    let store = scratch.open();
    let alice = store.read("alice").await.unwrap().unwrap();
    let last = LastFailure { at: WallTime(7), from: Some("192.0.2.7".to_owned()) };
    assert_eq!((alice.account.throttle.failures, alice.last_failure), (4, Some(last)));
    assert_eq!((alice.account.remembered, alice.notices), (Vec::new(), Vec::new()));
    let bob = store.read("bob").await.unwrap().unwrap();
    assert_eq!((bob.uid, bob.account.throttle.disabled), (None, Some(Disabled::Administrator)));
    let change = |tx: &mut Transaction| attach(tx.record.as_mut().unwrap());
    store.decide("alice", Urgency::Login, change).await.unwrap();
    store.decide("nobody", Urgency::Login, |_| ()).await.unwrap();
    assert_eq!(store.verify_chain().await.unwrap().last, 2);
    store.close().await;
    assert_eq!(version(&scratch), NEWEST);
    let mut expected = record("alice");
    attach(&mut expected);
    let alice = scratch.open().read("alice").await.unwrap().unwrap();
    assert_eq!((alice.account.remembered, alice.notices), (expected.account.remembered, expected.notices));
}

#[tokio::test]
async fn a_store_of_version_3_opens_with_everything_in_it_and_is_at_home_where_it_is() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    put_version_4(&scratch);
    scratch.downgrade("ALTER TABLE store DROP COLUMN host; PRAGMA user_version = 3");
    assert_eq!(version(&scratch), 3);
    let store = scratch.open();
    assert_eq!(failures(&store, "alice").await, 0);
    let ids = ["0123456789abcdef0123456789abcdef\n", "fedcba9876543210fedcba9876543210\n"].map(|text| {
        let path = scratch.state().join("machine-id");
        fs::write(&path, text).unwrap();
        MachineId::read(&path).unwrap()
    });
    assert!(store.is_at_home(ids[0]).await.unwrap());
    store.close().await;
    assert_eq!(version(&scratch), NEWEST);
    let store = scratch.open();
    assert!(store.is_at_home(ids[0]).await.unwrap() && !store.is_at_home(ids[1]).await.unwrap());
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_version_2_as_it_was() {
    let scratch = Scratch::new();
    put_version_2(&scratch);
    // The second of the new tables is there already: the upgrade fails half-way.
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch("CREATE TABLE notices (x)").unwrap();
    connection.close().unwrap();
    assert!(matches!(scratch.try_open(), Err(StoreError::Unavailable(_))));
    assert_eq!(version(&scratch), 2);
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.prepare("SELECT remembered FROM accounts").unwrap_err();
    connection.prepare("SELECT * FROM remembered").unwrap_err();
}

/// Makes a store of version 4 out of a newer one that holds nothing but what version 4 knows.
fn put_version_4(scratch: &Scratch) {
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    let without_what_is_newer = "ALTER TABLE accounts DROP COLUMN scratch_codes; \
        ALTER TABLE authenticators DROP COLUMN expires; DROP TABLE scratch_codes; \
        ALTER TABLE store DROP COLUMN previous_key_id; ALTER TABLE authenticators DROP COLUMN suspended; \
        PRAGMA user_version = 4";
    connection.execute_batch(without_what_is_newer).unwrap();
    connection.close().unwrap();
}

#[tokio::test]
async fn a_store_of_version_4_opens_with_everything_in_it_and_keeps_what_version_5_adds() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut expected = record("alice");
    attach(&mut expected);
    put(&store, expected.clone()).await;
    store.close().await;
    put_version_4(&scratch);
    let store = scratch.open();
    let alice = store.read("alice").await.unwrap().unwrap();
    assert_eq!((&alice.account.remembered, &alice.notices), (&expected.account.remembered, &expected.notices));
    assert!(
        alice.account.scratch_codes.is_empty() && alice.account.authenticators.iter().all(|one| one.expires.is_none())
    );
    let codes = scratch_codes(&store.recovery_key());
    let kept = codes.clone();
    let change = move |tx: &mut Transaction| {
        let account = &mut tx.record.as_mut().unwrap().account;
        account.scratch_codes = kept;
        account.authenticators.last_mut().unwrap().expires = Some(WallTime(1_800_000_000_000));
    };
    store.decide("alice", Urgency::Login, change).await.unwrap();
    store.close().await;
    assert_eq!(version(&scratch), NEWEST);
    let alice = scratch.open().read("alice").await.unwrap().unwrap();
    assert_eq!(alice.account.scratch_codes, codes);
    let ends: Vec<_> = alice.account.authenticators.iter().map(|one| one.expires).collect();
    assert_eq!(ends, [None, Some(WallTime(1_800_000_000_000))]);
    assert_eq!(alice.account.remembered, expected.account.remembered);
}

#[tokio::test]
async fn a_store_of_version_5_opens_with_everything_in_it_and_its_key_can_be_rotated() {
    let scratch = Scratch::new();
    put_version(&scratch, include_str!("data/store-version-5.sql"));
    assert_eq!(version(&scratch), 5);
    let store = scratch.open();
    assert!(store.key_in_use().previous.is_none());
    let path = scratch.state().join("machine-id");
    fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    let here = MachineId::read(&path).unwrap();
    assert!(store.is_at_home(here).await.unwrap());
    let before = whole(&store).await;
    let alice = store.read("alice").await.unwrap().unwrap();
    let mut expected = record("alice");
    attach(&mut expected);
    assert_eq!((alice.account.throttle.failures, alice.account.throttle.locks), (4, 2));
    assert_eq!((&alice.account.remembered, &alice.notices), (&expected.account.remembered, &expected.notices));
    assert_eq!(alice.account.scratch_codes, scratch_codes(&store.recovery_key()));
    let ends: Vec<_> = alice.account.authenticators.iter().map(|one| one.expires).collect();
    assert_eq!(ends, [None, Some(WallTime(1_800_000_000_000))]);
    assert!(alice.account.authenticators.iter().all(|one| !one.suspended));
    let bob = store.read("bob").await.unwrap().unwrap();
    assert_eq!((bob.uid, bob.account.throttle.disabled), (None, Some(Disabled::Administrator)));
    let told = || Event::new(WallTime(1_800_000_000_000), Kind::Key, Outcome::Note);
    store.begin_rotation(Some(here), told()).await.unwrap();
    assert_eq!(store.reseal_some(None).await.unwrap().refused, 0);
    store.end_rotation(told()).await.unwrap();
    assert!(store.is_at_home(here).await.unwrap());
    store.close().await;
    drop(store);
    assert_eq!(version(&scratch), NEWEST);
    assert_ne!(fs::read(scratch.state().join("master.key")).unwrap(), [1; 32]);
    let store = scratch.open();
    assert_eq!(whole(&store).await, before);
    store.verify_chain().await.unwrap();
}

/// Everything that is kept of everybody, but the secrets.
async fn whole(store: &Store) -> String {
    format!("{:?}", store.page("", 100).await.unwrap())
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_version_5_as_it_was() {
    let scratch = Scratch::new();
    put_version(&scratch, include_str!("data/store-version-5.sql"));
    // The new column is there already: the upgrade fails.
    scratch.downgrade("ALTER TABLE store ADD COLUMN previous_key_id TEXT");
    assert!(matches!(scratch.try_open(), Err(StoreError::Unavailable(_))));
    assert_eq!(version(&scratch), 5);
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_version_4_as_it_was() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    put_version_4(&scratch);
    // The new table is there already: the upgrade fails at its end.
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch("CREATE TABLE scratch_codes (x)").unwrap();
    connection.close().unwrap();
    assert!(matches!(scratch.try_open(), Err(StoreError::Unavailable(_))));
    assert_eq!(version(&scratch), 4);
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.prepare("SELECT expires FROM authenticators").unwrap_err();
}

#[tokio::test]
async fn a_record_that_was_altered_under_version_1_is_still_refused_after_the_upgrade() {
    let scratch = Scratch::new();
    put_version_1(&scratch);
    scratch.tamper("UPDATE accounts SET failures = 0 WHERE name = 'alice'");
    let store = scratch.open();
    assert!(matches!(store.read("alice").await, Err(StoreError::Corrupt { .. })));
    assert_eq!(failures(&store, "carol").await, 0);
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_version_1_as_it_was() {
    let scratch = Scratch::new();
    put_version_1(&scratch);
    // The second of the two new columns is there already: the upgrade fails half-way.
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch("ALTER TABLE accounts ADD COLUMN failed_from TEXT").unwrap();
    connection.close().unwrap();
    assert!(matches!(scratch.try_open(), Err(StoreError::Unavailable(_))));
    assert_eq!(version(&scratch), 1);
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.prepare("SELECT failed_at FROM accounts").unwrap_err();
}

#[tokio::test]
async fn another_programs_database_and_no_database_are_refused() {
    let scratch = Scratch::new();
    load(&scratch).unwrap();
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    connection.close().unwrap();
    assert!(matches!(scratch.try_open(), Err(StoreError::Foreign { .. })));
    fs::write(scratch.database(), vec![b'x'; 8192]).unwrap();
    assert!(matches!(scratch.try_open(), Err(StoreError::Unavailable(_))));
    fs::write(scratch.database(), b"").unwrap();
    let error = scratch.try_open().unwrap_err().to_string();
    assert!(error.contains("empty"), "{error}");
}

#[tokio::test]
async fn a_truncated_store_is_refused() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    let file = fs::OpenOptions::new().write(true).open(scratch.database()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    if let Ok(store) = scratch.try_open() {
        store.read("alice").await.unwrap_err();
    }
}

#[tokio::test]
async fn an_altered_recovery_or_audit_key_is_refused() {
    for name in ["recovery", "audit"] {
        let scratch = Scratch::new();
        scratch.open().close().await;
        scratch.tamper(&format!("UPDATE keys SET sealed = zeroblob(48) WHERE name = '{name}'"));
        assert!(matches!(scratch.try_open(), Err(StoreError::SealedKey(_))));
    }
}

#[tokio::test]
async fn keys_and_records_stay_the_same_over_a_restart() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let recovery = store.recovery_key().0;
    put(&store, record("alice")).await;
    store.close().await;
    let store = scratch.open();
    assert_eq!(store.recovery_key().0, recovery);
    assert_ne!(recovery, [0; 32]);
    assert_eq!(failures(&store, "alice").await, 0);
}
