//! A store that comes back from a backup: nothing that may have been spent since works again, and whatever is wrong with
//! the backup changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use daemon::audit::{Event, Kind, Outcome};
use daemon::store::restoration::{Alone, Manner, RestoreError, Restored, restore};
use daemon::store::{KeyRing, KeySource, Record, Store, StoreError, Urgency};
use store_fixture::{Scratch, attach, charge, failures, put, record, scratch_codes};
use verifier::{BootTime, Counter, Moving, Now, TimeStep, WallTime};

fn now() -> Now {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Now { wall: WallTime::from_seconds(seconds), boot: BootTime { boot: [1; 16], elapsed: 1 } }
}

/// What the daemon writes into the pipe.
async fn back_up(store: &Store) -> Vec<u8> {
    let still = store.still().await.unwrap();
    let mut backup = dbus_api::BACKUP_HEADER.to_vec();
    backup.extend_from_slice(still.key.as_slice());
    backup.extend_from_slice(&still.size.to_be_bytes());
    let mut database = vec![0; usize::try_from(still.size).unwrap()];
    still.read_at(&mut database, 0).unwrap();
    assert!(still.end().await.unwrap(), "it did not stand still");
    backup.extend(database);
    backup
}

/// What is kept of the log on the disk.
const LOG: u64 = 8 * 1024 * 1024;

/// When alice's key fob has to be renewed.
const END: WallTime = WallTime(4_000_000_000_000);

/// Alice, bob and carol, each with a TOTP and an HOTP authenticator, recovery codes, and scratch codes, one of them used.
async fn original() -> (Scratch, Store) {
    let scratch = Scratch::new();
    let store = scratch.open();
    for name in ["alice", "bob", "carol"] {
        let mut record = record(name);
        attach(&mut record);
        record.account.scratch_codes = scratch_codes(&store.recovery_key());
        record.account.authenticators[1].expires = (name == "alice").then_some(END);
        put(&store, record).await;
    }
    (scratch, store)
}

fn restore_to(scratch: &Scratch, backup: &[u8], manner: Manner) -> Result<Vec<Restored>, RestoreError> {
    restore(&Alone::at_once(scratch.state())?, None, &mut &backup[..], manner, &now())
}

const REPLACE: Manner = Manner { replace: true, trust_counters: false };
const TRUST: Manner = Manner { replace: false, trust_counters: true };

fn scratch_codes_left(record: &Record) -> u32 {
    record.account.scratch_codes_left(WallTime(1_700_000_000_000))
}

fn moving(record: &daemon::store::Record) -> (Option<TimeStep>, Counter) {
    let [Moving::Totp(totp), Moving::Hotp(hotp)] = [0, 1].map(|index| record.account.authenticators[index].moving)
    else {
        panic!("other kinds")
    };
    (totp.last, hotp.next)
}

#[tokio::test]
async fn what_may_have_been_spent_since_waits_for_an_administrator() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let step = now().wall.seconds() / 30;
    let restored = restore_to(&scratch, &backup, Manner::default()).unwrap();
    assert_eq!(restored.len(), 6);
    assert_eq!(restored.iter().filter(|one| one.kind == "hotp" && one.state == "waits").count(), 3);
    assert_eq!(restored.iter().filter(|one| one.kind == "totp" && one.state == "active").count(), 3);
    let store = scratch.open();
    let mut alice = store.read("alice").await.unwrap().unwrap();
    // One step around a drift of 10 at most: no code of these can have let in and be new again.
    assert!(moving(&alice).0.unwrap() >= TimeStep(step + 11));
    assert_eq!((alice.account.recovery_codes_left(), scratch_codes_left(&alice)), (0, 0));
    assert_eq!(alice.account.suspended_codes(), 14);
    assert_eq!(alice.account.authenticators[1].expires, Some(END));
    assert!(alice.account.remembered.is_empty() && alice.enrolment_until.is_none());
    assert!(!alice.notices.is_empty(), "what is to be told is told");
    alice.account.trust_again();
    assert_eq!((alice.account.recovery_codes_left(), scratch_codes_left(&alice)), (10, 4));
    assert!(alice.account.authenticators.iter().all(verifier::Authenticator::is_on));
    store.verify_chain().await.unwrap();
    let last = store.audit_page(0, 100).await.unwrap().pop().unwrap();
    assert!(last.line().contains("event=restore outcome=granted"), "{}", last.line());
}

/// Fills many pages of the audit, and goes on for longer than a look at the disk's room comes again.
async fn fill(store: &Store) {
    let begun = Instant::now();
    let mut events = 0;
    while events < 4000 || begun.elapsed() < Duration::from_secs(3) {
        let event = || Event {
            reason: Some("x".repeat(2000)),
            ..Event::new(WallTime(1_700_000_000_000), Kind::Store, Outcome::Note)
        };
        store.record((0..100).map(|_| event()).collect()).await.unwrap();
        events += 100;
    }
}

#[tokio::test]
async fn the_file_stands_still_however_much_is_written_and_the_log_is_cut_afterwards() {
    let (scratch, store) = original().await;
    let log = || fs::metadata(scratch.state().join("store.sqlite-wal")).unwrap().len();
    let still = store.still().await.unwrap();
    let database = fs::read(scratch.database()).unwrap();
    // More than the free pages that are kept for a full disk, so that new ones would be made.
    fill(&store).await;
    assert!(fs::read(scratch.database()).unwrap() == database, "it moved");
    assert!(log() > 2 * LOG, "{}", log());
    assert!(still.end().await.unwrap());
    store.ping().await.unwrap();
    store.record(vec![Event::new(WallTime(1_700_000_000_000), Kind::Store, Outcome::Note)]).await.unwrap();
    assert!(log() <= LOG, "{}", log());
    store.verify_chain().await.unwrap();
    assert!(fs::metadata(scratch.database()).unwrap().len() > database.len() as u64);
}

#[tokio::test]
async fn an_authenticator_that_was_disabled_by_itself_is_listed_so_and_waits_beside_it() {
    let (_original, store) = original().await;
    store
        .decide("bob", Urgency::Login, |tx| tx.record.as_mut().unwrap().account.authenticators[1].active = false)
        .await
        .unwrap();
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let restored = restore_to(&scratch, &backup, Manner::default()).unwrap();
    let of_bob: Vec<_> = restored.iter().filter(|one| one.account == "bob").map(|one| one.state).collect();
    assert_eq!(of_bob, ["active", "disabled"]);
    let store = scratch.open();
    store.decide("bob", Urgency::Login, |tx| tx.record.as_mut().unwrap().account.trust_again()).await.unwrap();
    store.close().await;
    drop(store);
    let bob = scratch.open().read("bob").await.unwrap().unwrap();
    assert!(!bob.account.authenticators[1].active && !bob.account.authenticators[1].suspended);
}

#[tokio::test]
async fn a_planned_move_keeps_every_counter() {
    let (_original, store) = original().await;
    let before = moving(&store.read("bob").await.unwrap().unwrap());
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let restored = restore_to(&scratch, &backup, TRUST).unwrap();
    assert!(restored.iter().all(|one| one.state == "active"), "{restored:?}");
    let bob = scratch.open().read("bob").await.unwrap().unwrap();
    assert_eq!((moving(&bob), bob.account.recovery_codes_left(), bob.account.remembered.len()), (before, 10, 2));
    assert_eq!(scratch_codes_left(&bob), 4);
}

#[tokio::test]
async fn accounts_that_are_kept_are_replaced_only_where_that_is_said() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let other = scratch.open();
    put(&other, record("zoe")).await;
    let key = fs::read(scratch.state().join("master.key")).unwrap();
    // While a daemon works there, nothing is even looked at.
    let refused = restore_to(&scratch, &backup, REPLACE).unwrap_err();
    assert!(matches!(refused, RestoreError::Store(StoreError::InUse { .. })), "{refused}");
    other.close().await;
    drop(other);
    let refused = restore_to(&scratch, &backup, Manner::default()).unwrap_err();
    assert!(matches!(refused, RestoreError::Kept), "{refused}");
    assert!(refused.to_string().contains("--replace"));
    let other = scratch.open();
    assert!(other.read("zoe").await.unwrap().is_some());
    other.close().await;
    drop(other);
    restore_to(&scratch, &backup, REPLACE).unwrap();
    let store = scratch.open();
    assert!(store.read("zoe").await.unwrap().is_none() && store.read("carol").await.unwrap().is_some());
    assert_ne!(fs::read(scratch.state().join("master.key")).unwrap(), key);
    assert!(!scratch.state().join("master.key.next").exists() && !scratch.state().join(".restore").exists());
}

#[tokio::test]
async fn whoever_waits_for_a_daemon_to_end_comes_before_the_next_one() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let store = scratch.open();
    let (state, (sender, told)) = (scratch.state().to_owned(), std::sync::mpsc::channel());
    let restoring = std::thread::spawn(move || {
        let told = |waits| sender.send(waits).unwrap();
        let alone = Alone::within(&state, std::time::Duration::from_secs(30), told).unwrap();
        restore(&alone, None, &mut &backup[..], Manner::default(), &now()).unwrap().len()
    });
    assert!(told.recv().unwrap());
    store.close().await;
    drop(store);
    assert_eq!(restoring.join().unwrap(), 6);
    // Nobody has to be waited for.
    let mut waited = None;
    Alone::within(scratch.state(), std::time::Duration::from_secs(30), |waits| waited = Some(waits)).unwrap();
    assert_eq!(waited, Some(false));
    // And one that does not end is not waited for without an end.
    let _store = scratch.open();
    let refused = Alone::within(scratch.state(), std::time::Duration::from_millis(1), |_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
}

#[tokio::test]
async fn an_installation_in_which_nobody_is_enrolled_yet_is_as_good_as_an_empty_directory() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let scratch = Scratch::new();
    let fresh = scratch.open();
    fresh.close().await;
    drop(fresh);
    restore_to(&scratch, &backup, Manner::default()).unwrap();
    assert_eq!(scratch.open().page("", 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn replacing_lowers_no_counter_and_revives_no_spent_code() {
    let (scratch, store) = original().await;
    let backup = back_up(&store).await;
    // Since the backup: codes were spent, wrong ones charged, bob disabled, carol's fob removed.
    store
        .decide("alice", Urgency::Login, |tx| {
            let account = &mut tx.record.as_mut().unwrap().account;
            for authenticator in &mut account.authenticators {
                match &mut authenticator.moving {
                    Moving::Totp(totp) => totp.last = Some(TimeStep(u64::MAX / 2)),
                    Moving::Hotp(hotp) => hotp.next = Counter(77),
                }
            }
            account.recovery_codes[3].used = Some(WallTime(5));
            account.scratch_codes[0].used = Some(WallTime(5));
            account.authenticators[0].expires = Some(END);
        })
        .await
        .unwrap();
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    store.decide("bob", Urgency::Login, |tx| tx.record.as_mut().unwrap().account.throttle.disable()).await.unwrap();
    store
        .decide("carol", Urgency::Login, |tx| drop(tx.record.as_mut().unwrap().account.authenticators.remove(1)))
        .await
        .unwrap();
    store.close().await;
    drop(store);
    let manner = Manner { replace: true, trust_counters: true };
    let restored = restore_to(&scratch, &backup, manner).unwrap();
    let of_carol: Vec<_> = restored.iter().filter(|one| one.account == "carol").map(|one| one.state).collect();
    assert_eq!(of_carol, ["active", "gone"]);
    let store = scratch.open();
    let alice = store.read("alice").await.unwrap().unwrap();
    assert_eq!(moving(&alice), (Some(TimeStep(u64::MAX / 2)), Counter(77)));
    assert_eq!((alice.account.recovery_codes_left(), scratch_codes_left(&alice)), (9, 3));
    assert_eq!(alice.account.authenticators[0].expires, Some(END));
    assert_eq!(failures(&store, "alice").await, 1);
    assert!(store.read("bob").await.unwrap().unwrap().account.throttle.disabled.is_some());
    assert!(store.read("carol").await.unwrap().unwrap().account.authenticators[1].suspended);
}

#[tokio::test]
async fn what_a_reset_ended_since_the_backup_waits_even_where_the_counters_are_trusted() {
    let (scratch, store) = original().await;
    let backup = back_up(&store).await;
    // As a reset leaves it: nothing bound, not even the uid.
    put(&store, Record::empty("alice", None)).await;
    store.close().await;
    drop(store);
    let restored = restore_to(&scratch, &backup, Manner { replace: true, trust_counters: true }).unwrap();
    let of_alice: Vec<_> = restored.iter().filter(|one| one.account == "alice").map(|one| one.state).collect();
    assert_eq!(of_alice, ["gone", "gone"]);
    let mut alice = scratch.open().read("alice").await.unwrap().unwrap();
    assert!(alice.account.authenticators.iter().all(|one| one.suspended), "a lost phone would let in again");
    assert_eq!((alice.account.recovery_codes_left(), scratch_codes_left(&alice)), (0, 0));
    alice.account.trust_again();
    assert_eq!((alice.account.recovery_codes_left(), scratch_codes_left(&alice)), (10, 4));
}

#[tokio::test]
async fn where_the_record_that_is_replaced_was_altered_nothing_is_trusted() {
    let (scratch, store) = original().await;
    let backup = back_up(&store).await;
    store.close().await;
    drop(store);
    scratch.tamper("UPDATE accounts SET failures = 9 WHERE name = 'bob'");
    restore_to(&scratch, &backup, Manner { replace: true, trust_counters: true }).unwrap();
    let store = scratch.open();
    let [bob, carol] = [store.read("bob").await.unwrap().unwrap(), store.read("carol").await.unwrap().unwrap()];
    assert_eq!((bob.account.suspended_codes(), carol.account.suspended_codes()), (14, 0));
    assert!(bob.account.authenticators[1].suspended && !carol.account.authenticators[1].suspended);
}

#[tokio::test]
async fn no_backup_is_made_that_would_need_two_keys() {
    let (_scratch, store) = original().await;
    let told = || Event::new(WallTime(1_700_000_000_000), Kind::Key, Outcome::Note);
    store.begin_rotation(None, told()).await.unwrap();
    assert_eq!(store.still().await.err(), Some(StoreError::Rotating));
    store.reseal_some(None).await.unwrap();
    store.end_rotation(told()).await.unwrap();
    let backup = back_up(&store).await;
    assert_eq!(restore_to(&Scratch::new(), &backup, TRUST).unwrap().len(), 6);
}

#[tokio::test]
async fn a_rotation_that_begins_while_the_file_stands_still_makes_the_backup_worthless_and_says_so() {
    let (_scratch, store) = original().await;
    let still = store.still().await.unwrap();
    let told = Event::new(WallTime(1_700_000_000_000), Kind::Key, Outcome::Note);
    store.begin_rotation(None, told).await.unwrap();
    assert!(!still.end().await.unwrap());
}

#[tokio::test]
async fn a_store_whose_key_is_lost_is_replaced_and_the_backups_key_is_found_again() {
    let (scratch, store) = original().await;
    let backup = back_up(&store).await;
    store.close().await;
    drop(store);
    fs::remove_file(scratch.state().join("master.key")).unwrap();
    assert!(matches!(restore_to(&scratch, &backup, Manner::default()), Err(RestoreError::Key(_))));
    restore_to(&scratch, &backup, REPLACE).unwrap();
    assert_eq!(scratch.open().page("", 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn beside_a_credential_the_backups_own_key_is_used_from_its_file() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let (scratch, credentials) = (Scratch::new(), tempfile::tempdir().unwrap());
    fs::write(credentials.path().join("countersign.key"), [7; 32]).unwrap();
    let credentials = Some(credentials.path());
    let alone = Alone::at_once(scratch.state()).unwrap();
    restore(&alone, credentials, &mut &backup[..], Manner::default(), &now()).unwrap();
    drop(alone);
    let ring = KeyRing::load(credentials, scratch.state()).unwrap().0;
    let store = Store::open(scratch.state(), ring, scratch.syslog.clone()).unwrap();
    assert_eq!(store.key_in_use().source, Some(KeySource::File(scratch.state().join("master.key"))));
    assert!(store.read("alice").await.unwrap().is_some());
}

#[tokio::test]
async fn a_backup_that_was_cut_altered_or_is_none_changes_nothing() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let (scratch, other) = original().await;
    other.close().await;
    drop(other);
    let files =
        |scratch: &Scratch| ["store.sqlite", "master.key"].map(|name| fs::read(scratch.state().join(name)).unwrap());
    let before = files(&scratch);
    let header = dbus_api::BACKUP_HEADER.len();
    let altered = |at: usize| {
        let mut altered = backup.clone();
        altered[at] ^= 0xff;
        altered
    };
    let newer = [b"countersign-backup 2\n", &backup[header..]].concat();
    let page = header + 40 + 4096;
    for (what, bad) in [
        ("empty", Vec::new()),
        ("the header alone", backup[..header].to_vec()),
        ("cut in the key", backup[..header + 20].to_vec()),
        ("cut in the database", backup[..backup.len() - 1].to_vec()),
        ("cut to one page", backup[..page].to_vec()),
        ("something behind it", [&backup[..], b"x"].concat()),
        ("another key", altered(header + 3)),
        ("a size of 2^64", altered(header + 32)),
        ("no database", altered(header + 40)),
        ("a damaged page", altered(page)),
        ("a newer form", newer),
        ("no backup", vec![0x41; 100_000]),
    ] {
        let refused = restore_to(&scratch, &bad, REPLACE);
        assert!(refused.is_err(), "{what}: {refused:?}");
        assert!(!scratch.state().join(".restore").exists(), "{what}");
        assert_eq!(files(&scratch), before, "{what}");
        let text = refused.unwrap_err().to_string();
        assert!(!text.is_empty() && !text.contains("AAAA"), "{text}");
    }
}

#[tokio::test]
async fn a_backup_of_a_newer_schema_is_refused_by_its_number() {
    let (original, store) = original().await;
    store.close().await;
    drop(store);
    let key = fs::read(original.state().join("master.key")).unwrap();
    original.downgrade("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)");
    let database = fs::read(original.database()).unwrap();
    let backup = [dbus_api::BACKUP_HEADER, &key, &(database.len() as u64).to_be_bytes()[..], &database].concat();
    let refused = restore_to(&Scratch::new(), &backup, Manner::default()).unwrap_err();
    assert!(matches!(refused, RestoreError::Store(StoreError::Newer { found: 99, .. })), "{refused}");
}

#[tokio::test]
async fn a_record_that_was_altered_before_the_backup_stays_refused_and_is_listed() {
    let (original, store) = original().await;
    store.close().await;
    drop(store);
    original.tamper("UPDATE accounts SET failures = 9 WHERE name = 'bob'");
    let backup = back_up(&original.open()).await;
    let scratch = Scratch::new();
    let restored = restore_to(&scratch, &backup, Manner::default()).unwrap();
    assert!(restored.iter().any(|one| one.account == "bob" && one.state == "altered"), "{restored:?}");
    assert!(matches!(scratch.open().read("bob").await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn decisions_go_on_while_the_file_stands_still_and_none_of_them_is_half_in_it() {
    let (scratch, store) = original().await;
    let deciding = store.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let decisions = tokio::spawn(async move {
        let mut count = 0_u32;
        while stopped.try_recv().is_err() {
            for name in ["alice", "bob"] {
                deciding.decide(name, Urgency::Login, charge).await.unwrap();
            }
            count += 1;
        }
        count
    });
    let mut last = 0;
    for _ in 0..5 {
        let backup = back_up(&store).await;
        let copy = Scratch::new();
        restore_to(&copy, &backup, TRUST).unwrap();
        let copy = copy.open();
        copy.verify_chain().await.unwrap();
        let (alice, bob) = (failures(&copy, "alice").await, failures(&copy, "bob").await);
        assert!(alice == bob || alice == bob + 1, "{alice} {bob}");
        assert!(alice >= last, "an older state came back");
        last = alice;
    }
    stop.send(()).unwrap();
    let count = decisions.await.unwrap();
    assert_eq!(failures(&store, "alice").await, count);
    store.close().await;
    drop(store);
    assert_eq!(failures(&scratch.open(), "bob").await, count, "what was committed meanwhile");
}

#[tokio::test]
async fn a_kill_at_any_step_of_a_restore_leaves_the_old_state_or_the_new_one() {
    let (_original, store) = original().await;
    let backup = back_up(&store).await;
    let new_key = &backup[dbus_api::BACKUP_HEADER.len()..][..32];
    // The steps of putting it in place: the key beside the old one, the database renamed, the key renamed.
    for renamed in [false, true] {
        let scratch = Scratch::new();
        let other = scratch.open();
        put(&other, record("zoe")).await;
        other.close().await;
        drop(other);
        let donor = Scratch::new();
        restore_to(&donor, &backup, Manner::default()).unwrap();
        let next = scratch.state().join("master.key.next");
        fs::write(&next, new_key).unwrap();
        fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        if renamed {
            fs::copy(donor.database(), scratch.database()).unwrap();
        }
        let store = scratch.open();
        assert_eq!(store.read("zoe").await.unwrap().is_some(), !renamed);
        assert_eq!(store.read("alice").await.unwrap().is_some(), renamed);
        assert!(!next.exists());
    }
}
