//! What was answered is on the disk; what could not be written was refused (invariants 1, 2 and 3).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod store_fixture;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use daemon::audit::Syslog;
use daemon::store::{MasterKey, Record, Store, StoreError, Transaction, Urgency};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store_fixture::{Scratch, again, charge, child, failures, put, record};

fn open(state: &Path) -> Store {
    let syslog = Syslog::start(&state.join("no.socket")).unwrap();
    Store::open(state, MasterKey::load(None, state).unwrap().0, syslog).unwrap()
}

/// A decision under way, for which all others wait.
struct Busy {
    leave: mpsc::Sender<()>,
    decision: tokio::task::JoinHandle<Result<(), StoreError>>,
}

impl Busy {
    async fn release(self) {
        self.leave.send(()).unwrap();
        self.decision.await.unwrap().unwrap();
    }
}

/// Holds the store's thread in a decision about bob.
async fn hold(store: &Store) -> Busy {
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let wait = move |_: &mut Transaction| {
        entered.send(()).unwrap();
        may_leave.recv().unwrap();
    };
    let store = store.clone();
    let decision = tokio::spawn(async move { store.decide("bob", Urgency::Login, wait).await });
    tokio::task::yield_now().await;
    has_entered.recv().unwrap();
    Busy { leave, decision }
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    if let Some(state) = child() {
        let store = open(&state);
        put(&store, record("alice")).await;
        for answered in 1.. {
            store.decide("alice", Urgency::Login, charge).await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "\nanswered {answered}").unwrap();
        }
    }
    for round in 1..=5 {
        let scratch = Scratch::new();
        let mut child =
            again("what_was_answered_survives_kill_9", scratch.state(), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = format!("answered {}", round * 7);
        lines.find(|line| line.as_ref().unwrap() == &wanted).expect("the child answered").unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let store = scratch.open();
        assert!(failures(&store, "alice").await >= round * 7);
        store.verify_chain().await.unwrap();
    }
}

#[tokio::test]
async fn a_thousand_decisions_at_once_lose_no_update() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let decisions: Vec<_> = (0..1000)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.decide("alice", Urgency::Login, charge).await })
        })
        .collect();
    for decision in decisions {
        decision.await.unwrap().unwrap();
    }
    assert_eq!(failures(&store, "alice").await, 1000);
    assert_eq!(store.verify_chain().await.unwrap().last, 1001);
}

#[tokio::test]
async fn decisions_that_wait_share_one_commit_and_run_in_order() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let busy = hold(&store).await;
    let before = store.commits();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let charge_and_tell = |transaction: &mut Transaction| {
                    charge(transaction);
                    transaction.record.as_ref().unwrap().account.throttle.failures
                };
                store.decide("alice", Urgency::Login, charge_and_tell).await.unwrap()
            })
        })
        .collect();
    // Every task runs up to its wait for the answer.
    tokio::task::yield_now().await;
    busy.release().await;
    let mut seen = Vec::new();
    for decision in waiting {
        seen.push(decision.await.unwrap());
    }
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    assert_eq!(store.commits() - before, 2, "one commit for the busy one, one for the hundred that waited");
}

#[tokio::test]
async fn logins_go_before_background_work_that_waits_longer() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (order, ran) = mpsc::channel();
    let busy = hold(&store).await;
    let mut tasks = Vec::new();
    for urgency in [Urgency::Background, Urgency::Login].into_iter().flat_map(|urgency| [urgency; 20]) {
        let (store, order) = (store.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            store.decide("bob", urgency, move |_| order.send(urgency).unwrap()).await.unwrap();
        }));
    }
    tokio::task::yield_now().await;
    busy.release().await;
    for task in tasks {
        task.await.unwrap();
    }
    drop(order);
    let order: Vec<_> = ran.iter().collect();
    assert_eq!(order[..20], [Urgency::Login; 20]);
    assert_eq!(order[20..], [Urgency::Background; 20]);
}

#[tokio::test]
async fn background_work_goes_on_however_many_logins_wait() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (order, ran) = mpsc::channel();
    let busy = hold(&store).await;
    let mut tasks = Vec::new();
    for urgency in [Urgency::Login; 900].into_iter().chain([Urgency::Background]) {
        let (store, order) = (store.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            store.decide("bob", urgency, move |_| order.send(urgency).unwrap()).await.unwrap();
        }));
    }
    tokio::task::yield_now().await;
    busy.release().await;
    for task in tasks {
        task.await.unwrap();
    }
    drop(order);
    let turn = ran.iter().position(|urgency| urgency == Urgency::Background).unwrap();
    assert!(turn < 900, "it had to wait for all logins");
}

/// The frames that the log holds since it was begun anew: those that carry its salt (sqlite.org/fileformat2, section 4).
fn written_frames(log: &[u8]) -> usize {
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks_exact(24 + page).take_while(|frame| frame[8..16] == log[16..24]).count()
}

/// Else time would tell which accounts exist (invariant 7).
#[tokio::test]
async fn a_login_decision_writes_as_much_about_an_unknown_account_as_about_a_known_one() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let log = scratch.state().join("store.sqlite-wal");
    let size = || written_frames(&fs::read(&log).unwrap());
    let fail = |transaction: &mut Transaction| {
        if let Some(record) = &mut transaction.record {
            record.account.throttle.failures += 1;
        }
    };
    // The first one makes the decoy.
    store.decide("nobody", Urgency::Login, fail).await.unwrap();
    let mut written = Vec::new();
    for name in ["alice", "nobody", "alice", "nobody"] {
        let before = size();
        store.decide(name, Urgency::Login, fail).await.unwrap();
        written.push(size() - before);
    }
    assert!(written[0] > 0 && written.iter().all(|bytes| *bytes == written[0]), "{written:?}");
    let before = size();
    store.decide("alice", Urgency::Login, |_| ()).await.unwrap();
    assert_eq!(size() - before, written[0], "nothing changed, as while an account is locked");
    assert_eq!(store.page("", 10).await.unwrap().len(), 1, "the decoy stands in no list");
    assert!(store.decide("", Urgency::Login, |_| ()).await.is_err());
    store.close().await;
    scratch.tamper("UPDATE accounts SET failures = 0 WHERE name = ''");
    let store = scratch.open();
    store.decide("nobody", Urgency::Login, fail).await.unwrap();
}

#[tokio::test]
async fn a_decision_that_panics_ends_the_store_and_commits_nothing() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let panics = |transaction: &mut Transaction| {
        charge(transaction);
        panic!("a bug in a decision");
    };
    assert_eq!(store.decide::<(), _>("alice", Urgency::Login, panics).await, Err(StoreError::Closed));
    assert_eq!(store.decide("alice", Urgency::Login, charge).await, Err(StoreError::Closed));
    store.close().await;
    assert_eq!(failures(&scratch.open(), "alice").await, 0);
}

#[tokio::test]
async fn an_import_decides_on_many_accounts_in_one_commit() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let names: Vec<_> = (0..500).map(|number| format!("user{number:03}")).collect();
    store.ping().await.unwrap();
    let before = store.commits();
    let put = |name: &str, transaction: &mut Transaction| {
        let mut new = record(name);
        if name == "user007" {
            new.name = "other".to_owned();
        }
        transaction.record = Some(new);
    };
    let put = store.decide_each(names, put).await.unwrap();
    assert_eq!(store.commits() - before, 1);
    assert_eq!(put.iter().filter(|put| put.is_err()).count(), 1);
    assert!(matches!(put[7], Err(StoreError::Invalid { .. })));
    let first = store.page("", 250).await.unwrap();
    let rest = store.page(&first.last().unwrap().name, 500).await.unwrap();
    assert_eq!((first.len(), rest.len()), (250, 249));
    assert_eq!(rest.last().unwrap().name, "user499");
}

#[tokio::test]
async fn a_client_that_hangs_up_is_charged_all_the_same() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let busy = hold(&store).await;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.decide("alice", Urgency::Login, charge).await })
    };
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    busy.release().await;
    assert_eq!(failures(&store, "alice").await, 1);
}

#[tokio::test]
async fn closing_finishes_what_waits_and_lets_the_lock_go() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.decide("alice", Urgency::Login, charge).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    for decision in waiting {
        decision.await.unwrap().unwrap();
    }
    assert_eq!(store.ping().await, Err(StoreError::Closed));
    assert!(!scratch.state().join("store.sqlite-wal").exists(), "the write-ahead log was written back");
    assert_eq!(failures(&scratch.open(), "alice").await, 50);
}

#[tokio::test]
async fn only_a_row_that_changed_is_written() {
    let scratch = Scratch::new();
    let store = scratch.open();
    put(&store, record("alice")).await;
    store.close().await;
    let sealed = || -> Vec<Vec<u8>> {
        let connection = rusqlite::Connection::open(scratch.database()).unwrap();
        let mut statement = connection.prepare("SELECT sealed FROM authenticators ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let before = sealed();
    let store = scratch.open();
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    store.close().await;
    assert_eq!(sealed(), before);
    let store = scratch.open();
    let bind = |transaction: &mut Transaction| transaction.record.as_mut().unwrap().uid = Some(4711);
    store.decide("alice", Urgency::Login, bind).await.unwrap();
    store.close().await;
    assert!(sealed().iter().zip(&before).all(|(now, before)| now != before), "a secret is sealed for its uid");
    let Record { uid, account, .. } = scratch.open().read("alice").await.unwrap().unwrap();
    assert_eq!(uid, Some(4711));
    assert_eq!(account.authenticators[0].secret.bytes(), record("alice").account.authenticators[0].secret.bytes());
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_recovered_from() {
    if let Some(state) = child() {
        return fill_the_disk(&state).await;
    }
    let mount = tempfile::tempdir().unwrap();
    let unshare = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
    let script = format!("mount -t tmpfs -o size=1m,mode=0700 none {} && exec \"$0\" \"$@\"", mount.path().display());
    let status =
        again("a_full_disk_refuses_and_is_recovered_from", mount.path(), &["unshare", unshare, "sh", "-c", &script])
            .status();
    assert!(status.unwrap().success());
}

async fn fill_the_disk(state: &Path) {
    let store = open(state);
    put(&store, record("alice")).await;
    let mut filler = File::create(state.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    let mut charged = 0;
    let refusal = loop {
        match store.decide("alice", Urgency::Login, charge).await {
            Ok(()) => charged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, StoreError::DiskFull);
    assert_eq!(failures(&store, "alice").await, charged);
    assert_eq!(store.decide("alice", Urgency::Login, charge).await, Err(StoreError::DiskFull));
    drop(filler);
    fs::remove_file(state.join("filler")).unwrap();
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    assert_eq!(failures(&store, "alice").await, charged + 1);
    store.verify_chain().await.unwrap();
    store.close().await;
    assert_eq!(failures(&open(state), "alice").await, charged + 1);
}

#[tokio::test]
async fn an_io_error_refuses_the_whole_batch_until_a_clean_reopening() {
    if let Some(state) = child() {
        return meet_io_errors(&state).await;
    }
    let scratch = Scratch::new();
    // A file that grows beyond the limit fails with EFBIG, where SIGXFSZ is ignored (setrlimit(2)).
    let script = "trap '' XFSZ; ulimit -S -f 600; exec \"$0\" \"$@\"";
    let test = "an_io_error_refuses_the_whole_batch_until_a_clean_reopening";
    assert!(again(test, scratch.state(), &["sh", "-c", script]).status().unwrap().success());
}

async fn meet_io_errors(state: &Path) {
    let store = open(state);
    put(&store, record("alice")).await;
    let mut charged = 0;
    loop {
        let both =
            tokio::join!(store.decide("alice", Urgency::Login, charge), store.decide("alice", Urgency::Login, charge));
        match both {
            (Ok(()), Ok(())) => charged += 2,
            (Err(StoreError::Unavailable(_)), Err(StoreError::Unavailable(_))) => break,
            // The two were not in one batch, and the second may have been decided after a clean reopening.
            (Ok(()), Err(StoreError::Unavailable(_))) | (Err(StoreError::Unavailable(_)), Ok(())) => {
                charged += 1;
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    assert_eq!(failures(&store, "alice").await, charged);
    store.decide("alice", Urgency::Login, charge).await.unwrap();
    store.verify_chain().await.unwrap();
    store.close().await;
    assert_eq!(failures(&open(state), "alice").await, charged + 1);
}
