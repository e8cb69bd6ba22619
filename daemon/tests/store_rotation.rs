//! A new master key while decisions go on: nothing is lost at any instant, and nothing is left under the old one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use daemon::audit::{Kind, Outcome};
use daemon::store::{KeyRing, KeySource, MachineId, MasterKey, RotationError, Store, StoreError, Urgency};
use store_fixture::{Scratch, again, attach, charge, child, failures, put, record, scratch_codes};
use verifier::WallTime;

const KEY: &str = "master.key";
const NEXT: &str = "master.key.next";
const PREVIOUS: &str = "master.key.previous";

fn told() -> daemon::audit::Event {
    daemon::audit::Event::new(WallTime(1_700_000_000_000), Kind::Key, Outcome::Note)
}

/// So many accounts with everything that an account can have.
async fn people(store: &Store, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("user{number:06}")).collect();
    for name in &names {
        let mut record = record(name);
        attach(&mut record);
        record.account.scratch_codes = scratch_codes(&store.recovery_key());
        record.account.authenticators.last_mut().unwrap().expires = Some(WallTime(1_800_000_000_000));
        put(store, record).await;
    }
    names
}

/// Begins, and waits until the new key is in use.
async fn begin(store: &Store) {
    store.begin_rotation(None, told()).await.unwrap();
    store.ping().await.unwrap();
    assert!(store.key_in_use().previous.is_some());
}

/// Comes to everything that is left, and ends; tells how many accounts are refused.
async fn finish(store: &Store) -> u64 {
    let (mut after, mut refused) = (None, 0);
    loop {
        let walked = store.reseal_some(after).await.unwrap();
        refused += walked.refused;
        match walked.last {
            Some(name) => after = Some(name),
            None => break,
        }
    }
    store.end_rotation(told()).await.unwrap();
    store.ping().await.unwrap();
    assert!(store.key_in_use().previous.is_none());
    refused
}

fn key(scratch: &Scratch, name: &str) -> Option<[u8; 32]> {
    Some(fs::read(scratch.state().join(name)).ok()?.try_into().unwrap())
}

#[tokio::test]
async fn everything_is_under_the_new_key_and_nothing_under_the_old_one() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let names = people(&store, 70).await;
    // The decoy too.
    store.decide("nobody", Urgency::Login, |_| ()).await.unwrap();
    let before: Vec<_> = store.page("", 100).await.unwrap();
    let (old, old_id, recovery) = (key(&scratch, KEY).unwrap(), store.key_id(), store.recovery_key().0);
    begin(&store).await;
    assert_eq!(key(&scratch, PREVIOUS), Some(old));
    assert_eq!(finish(&store).await, 0);
    assert_ne!(store.key_id(), old_id);
    assert_eq!(store.recovery_key().0, recovery, "recovery codes would be worth nothing");
    store.verify_chain().await.unwrap();
    store.close().await;
    drop(store);
    let new = key(&scratch, KEY).unwrap();
    assert_ne!(new, old);
    assert_eq!((key(&scratch, NEXT), key(&scratch, PREVIOUS)), (None, None));
    let error = Store::open(scratch.state(), MasterKey::from_bytes(&old), scratch.syslog.clone()).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    let store = Store::open(scratch.state(), MasterKey::from_bytes(&new), scratch.syslog.clone()).unwrap();
    let after = store.page("", 100).await.unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    for (before, after) in before.iter().zip(&after) {
        let secrets = |record: &daemon::store::Record| {
            record.account.authenticators.iter().map(|one| one.secret.bytes().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(secrets(before), secrets(after));
    }
    assert_eq!(after.len(), names.len());
    store.close().await;
    let connection = rusqlite::Connection::open(scratch.database()).unwrap();
    let left: i64 = connection
        .query_row("SELECT count(*) FROM authenticators WHERE key_id = ?1", [old_id.to_string()], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn decisions_go_on_before_behind_and_under_the_walk() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let names = people(&store, 70).await;
    begin(&store).await;
    let walked = store.reseal_some(None).await.unwrap();
    let reached = walked.last.unwrap();
    assert!(names.first() < Some(&reached) && Some(&reached) < names.last(), "{reached}");
    for name in [&names[0], &names[69]] {
        store.decide(name, Urgency::Login, charge).await.unwrap();
        assert_eq!(failures(&store, name).await, 1);
    }
    put(&store, record("zoe")).await;
    put(&store, record("anna")).await;
    assert_eq!(store.list("", 100).await.unwrap().len(), 72);
    finish(&store).await;
    for name in ["anna", "zoe", &names[33]] {
        store.decide(name, Urgency::Login, charge).await.unwrap();
    }
    assert_eq!((failures(&store, &names[69]).await, failures(&store, "zoe").await), (1, 1));
}

#[tokio::test]
async fn a_rotation_does_not_end_before_the_new_key_has_its_place() {
    let scratch = Scratch::new();
    let store = scratch.open();
    people(&store, 3).await;
    begin(&store).await;
    // As a disk that failed between the two left it: the new key has its first name, the old one the file's.
    let (file, next, previous) =
        (scratch.state().join(KEY), scratch.state().join(NEXT), scratch.state().join(PREVIOUS));
    let new = key(&scratch, KEY).unwrap();
    fs::rename(&file, scratch.state().join("aside")).unwrap();
    fs::hard_link(&previous, &file).unwrap();
    assert!(store.reseal_some(None).await.unwrap().last.is_some());
    let refused = store.end_rotation(told()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("master key")), "{refused}");
    assert!(store.key_in_use().previous.is_some() && previous.exists());
    fs::rename(scratch.state().join("aside"), &next).unwrap();
    finish(&store).await;
    assert_eq!((key(&scratch, KEY), key(&scratch, NEXT), key(&scratch, PREVIOUS)), (Some(new), None, None));
    store.close().await;
    Store::open(scratch.state(), KeyRing::load(None, scratch.state()).unwrap().0, scratch.syslog.clone()).unwrap();
}

#[tokio::test]
async fn a_second_rotation_is_refused_while_one_is_under_way_and_done_after_it() {
    let scratch = Scratch::new();
    let store = scratch.open();
    people(&store, 3).await;
    begin(&store).await;
    let (id, refused) = (store.key_id(), store.begin_rotation(None, told()).await);
    assert!(matches!(refused, Err(RotationError::UnderWay)), "{refused:?}");
    assert_eq!(store.key_id(), id);
    finish(&store).await;
    begin(&store).await;
    finish(&store).await;
    assert_ne!(store.key_id(), id);
    assert_eq!(store.list("", 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn every_state_of_the_files_that_a_kill_can_leave_is_gone_on_from() {
    // What lies in the directory after each step of the beginning; the store says `before` or `after` its commit.
    for (what, files, committed) in [
        ("the new key was made", [Some("old"), Some("new"), None], false),
        ("the commit was done", [Some("old"), Some("new"), None], true),
        ("the old key was linked", [Some("old"), Some("new"), Some("old")], true),
        ("the new key took its place", [Some("new"), None, Some("old")], true),
    ] {
        let scratch = Scratch::new();
        let store = scratch.open();
        let names = people(&store, 40).await;
        let old = fs::read(scratch.state().join(KEY)).unwrap();
        let (new, old_id) = if committed {
            begin(&store).await;
            (fs::read(scratch.state().join(KEY)).unwrap(), None)
        } else {
            (vec![7; 32], Some(store.key_id()))
        };
        store.close().await;
        drop(store);
        for (name, content) in [KEY, NEXT, PREVIOUS].into_iter().zip(files) {
            let path = scratch.state().join(name);
            let _ = fs::remove_file(&path);
            if let Some(content) = content {
                fs::write(&path, if content == "old" { &old } else { &new }).unwrap();
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
            }
        }
        let store = scratch.open();
        assert_eq!(store.key_in_use().source, Some(KeySource::File(scratch.state().join(KEY))), "{what}");
        assert_eq!(store.page("", 100).await.unwrap().len(), names.len(), "{what}");
        assert_eq!(store.key_in_use().previous.is_some(), committed, "{what}");
        assert_eq!(key(&scratch, NEXT), None, "{what}");
        if let Some(old_id) = old_id {
            assert_eq!(store.key_id(), old_id, "{what}");
            continue;
        }
        assert_eq!(finish(&store).await, 0, "{what}");
        assert_eq!(key(&scratch, PREVIOUS), None, "{what}");
        assert_eq!(store.page("", 100).await.unwrap().len(), names.len(), "{what}");
    }
}

#[tokio::test]
async fn a_rotation_under_decisions_survives_kill_9_again_and_again() {
    const TEST: &str = "a_rotation_under_decisions_survives_kill_9_again_and_again";
    if let Some(state) = child() {
        let syslog = daemon::audit::Syslog::start(&state.join("no.socket")).unwrap();
        let store = Store::open(&state, KeyRing::load(None, &state).unwrap().0, syslog).unwrap();
        let deciding = store.clone();
        tokio::spawn(async move {
            for number in (0..60).cycle() {
                let name = format!("user{number:06}");
                deciding.decide(&name, Urgency::Login, charge).await.unwrap();
                writeln!(std::io::stdout().lock(), "\nanswered {name}").unwrap();
            }
        });
        loop {
            if store.key_in_use().previous.is_none() {
                store.begin_rotation(None, told()).await.unwrap();
            }
            finish(&store).await;
        }
    }
    let scratch = Scratch::new();
    let store = scratch.open();
    let names = people(&store, 60).await;
    store.close().await;
    drop(store);
    let mut answered = vec![0_u32; names.len()];
    for round in 1..=5 {
        let mut child = again(TEST, scratch.state(), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 23 * round;
        for line in lines {
            let Ok(line) = line else { break };
            if let Some(name) = line.strip_prefix("answered ") {
                answered[names.iter().position(|known| known == name).unwrap()] += 1;
                left -= 1;
            }
            if left == 0 {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
    }
    let store = scratch.open();
    for (name, answered) in names.iter().zip(&answered) {
        assert!(failures(&store, name).await >= *answered, "{name}");
    }
    if store.key_in_use().previous.is_some() {
        assert_eq!(finish(&store).await, 0);
    }
    store.verify_chain().await.unwrap();
}

#[tokio::test]
async fn an_altered_record_stays_refused_and_stops_nothing() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let names = people(&store, 40).await;
    store.close().await;
    drop(store);
    scratch.tamper("UPDATE accounts SET failures = 9 WHERE name = 'user000007'");
    let store = scratch.open();
    begin(&store).await;
    assert_eq!(finish(&store).await, 1);
    assert!(matches!(store.read(&names[7]).await, Err(StoreError::Corrupt { .. })));
    assert!(store.read(&names[8]).await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_of_before_the_rotation_is_refused_after_it() {
    let scratch = Scratch::new();
    let store = scratch.open();
    people(&store, 2).await;
    store.close().await;
    drop(store);
    scratch.tamper("CREATE TABLE kept AS SELECT * FROM accounts WHERE name = 'user000000'");
    let store = scratch.open();
    begin(&store).await;
    finish(&store).await;
    store.close().await;
    drop(store);
    scratch.tamper("DELETE FROM accounts WHERE name = 'user000000'; INSERT INTO accounts SELECT * FROM kept");
    let refused = scratch.open().read("user000000").await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
}

#[tokio::test]
async fn without_the_key_that_it_moves_away_from_nothing_starts_and_nothing_changes() {
    let scratch = Scratch::new();
    let store = scratch.open();
    people(&store, 40).await;
    begin(&store).await;
    let previous = store.key_in_use().previous.unwrap().to_string();
    store.close().await;
    drop(store);
    let path = scratch.state().join(PREVIOUS);
    let kept = scratch.state().join("kept");
    fs::rename(&path, &kept).unwrap();
    let before = fs::read(scratch.database()).unwrap();
    let error = scratch.try_open().unwrap_err();
    assert_eq!(error, StoreError::PreviousKey(previous));
    assert!(error.to_string().contains("master.key.previous"), "{error}");
    assert_eq!(fs::read(scratch.database()).unwrap(), before);
    fs::rename(&kept, &path).unwrap();
    assert_eq!(finish(&scratch.open()).await, 0);
}

#[tokio::test]
async fn a_credential_is_not_replaced() {
    let scratch = Scratch::new();
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("countersign.key"), [7; 32]).unwrap();
    let ring = KeyRing::load(Some(credentials.path()), scratch.state()).unwrap().0;
    let store = Store::open(scratch.state(), ring, scratch.syslog.clone()).unwrap();
    let refused = store.begin_rotation(None, told()).await;
    assert!(matches!(refused, Err(RotationError::Credential)), "{refused:?}");
    assert_eq!(key(&scratch, NEXT), None);
}

#[tokio::test]
async fn a_store_that_is_at_home_stays_at_home_and_a_copy_a_copy() {
    let machine = |folder: &std::path::Path, digit: &str| {
        let path = folder.join("machine-id");
        fs::write(&path, format!("{}\n", digit.repeat(32))).unwrap();
        MachineId::read(&path).unwrap()
    };
    let scratch = Scratch::new();
    let store = scratch.open();
    let (here, elsewhere) = (machine(scratch.state(), "1"), machine(scratch.state(), "2"));
    assert!(store.is_at_home(here).await.unwrap());
    store.begin_rotation(Some(here), told()).await.unwrap();
    assert!(store.is_at_home(here).await.unwrap() && !store.is_at_home(elsewhere).await.unwrap());
    finish(&store).await;
    store.begin_rotation(Some(elsewhere), told()).await.unwrap();
    assert!(!store.is_at_home(elsewhere).await.unwrap());
}

/// With `COUNTERSIGN_ACCOUNTS=100000` and `--release` this tells the figure of docs/decisions/0064.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "a figure to be read")]
async fn a_login_waits_for_one_stride_at_most() {
    let count = std::env::var("COUNTERSIGN_ACCOUNTS").map_or(200, |count| count.parse().unwrap());
    let scratch = Scratch::new();
    let store = scratch.open();
    let names: Vec<_> = (0..count).map(|number| format!("user{number:06}")).collect();
    for some in names.chunks(500) {
        let made = store.decide_each(some.to_vec(), |name, tx| tx.record = Some(record(name))).await.unwrap();
        assert!(made.iter().all(Result::is_ok));
    }
    let began = std::time::Instant::now();
    begin(&store).await;
    let walking = store.clone();
    let mut walk = tokio::spawn(async move { finish(&walking).await });
    let (mut logins, mut longest) = (0_usize, std::time::Duration::ZERO);
    let refused = loop {
        let login = std::time::Instant::now();
        tokio::select! {
            refused = &mut walk => break refused.unwrap(),
            decided = store.decide(&names[(logins * 7919) % count], Urgency::Login, charge) => decided.unwrap(),
        }
        longest = longest.max(login.elapsed());
        logins += 1;
    };
    let took = began.elapsed();
    println!("{count} accounts in {took:?}, {logins} logins meanwhile, the longest took {longest:?}");
    assert_eq!(refused, 0);
    assert!(logins > 0 && longest < std::time::Duration::from_secs(2), "{logins} {longest:?}");
}
