//! What the store is opened with: the right key, alone, in a private directory, in a file it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod store_fixture;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use daemon::store::{KeyError, KeySource, MasterKey, Store, StoreError};
use store_fixture::{Scratch, failures, put, record};

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
