//! Reading the audit, checking it, comparing it with a syslog copy.

use daemon::audit::{Event, Kind, Outcome};
use dbus_api::{AuditEntry, AuditFilter, AuditFinding, AuditWitness, Error};
use verifier::WallTime;

use crate::scene::{OWNER, Peer, Scene};

const FIRST: u64 = 1_800_000_000;

/// Records of these accounts, a second apart, from [`FIRST`] on; numbered from 2: the store noted its own making.
async fn record(scene: &Scene, accounts: impl Iterator<Item = &str>) {
    let event = |(second, account): (u64, &str)| {
        let mut event = Event::new(WallTime::from_seconds(FIRST + second), Kind::Unlock, Outcome::Granted);
        event.account = Some(account.into());
        event
    };
    scene.store.record((0..).zip(accounts).map(event).collect()).await.unwrap();
}

/// All that the filter lets through, by pages of `limit`.
async fn read(peer: &Peer, filter: &AuditFilter, limit: u32) -> Vec<AuditEntry> {
    let (mut entries, mut after) = (Vec::new(), 0);
    loop {
        let page = peer.admin.audit(filter, after, limit).await.unwrap();
        assert!(page.entries.len() <= limit as usize);
        entries.extend(page.entries);
        if page.next == after {
            return entries;
        }
        after = page.next;
    }
}

fn witness(entry: &AuditEntry) -> AuditWitness {
    AuditWitness { seq: entry.seq, chain: entry.chain.clone() }
}

#[tokio::test]
async fn the_audit_is_read_in_pages_and_each_record_once() {
    let scene = Scene::new("");
    record(&scene, (0..1200).map(|_| "alice")).await;
    let root = scene.connect(0).await;
    for limit in [7, 500] {
        let entries = read(&root, &AuditFilter::default(), limit).await;
        let numbers: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, (1..=1201).collect::<Vec<_>>());
    }
    let next = root.admin.audit(&AuditFilter::default(), 1201, 500).await.unwrap();
    assert_eq!((next.entries.len(), next.next), (0, 1201));
    record(&scene, ["bob"].into_iter()).await;
    let next = root.admin.audit(&AuditFilter::default(), 1201, 500).await.unwrap();
    assert_eq!((next.entries[0].account.as_deref(), next.next), (Some("bob"), 1202));
}

#[tokio::test]
async fn a_record_says_what_its_line_in_syslog_says() {
    let scene = Scene::new("");
    let root = scene.connect(0).await;
    scene.enrol(OWNER.0).await;
    root.verify(OWNER.0, "000000").await;
    let entries = read(&root, &AuditFilter::default(), 500).await;
    let records = scene.audit().await;
    assert_eq!(entries.len(), records.len());
    for (entry, record) in entries.iter().zip(&records) {
        assert_eq!((&entry.line, entry.at), (&record.line(), record.event.at.seconds()));
    }
    let refused = entries.iter().find(|entry| entry.outcome == "refused").unwrap();
    assert_eq!((refused.event.as_str(), refused.account.as_deref()), ("verification", Some(OWNER.0)));
    assert_eq!((refused.reason.as_deref(), refused.failures, refused.caller_uid), (Some("wrong"), Some(1), Some(0)));
    assert!(refused.line.ends_with(&format!("chain={}", refused.chain)), "{}", refused.line);
}

#[tokio::test]
async fn records_are_found_by_account_and_time_however_far_apart() {
    let scene = Scene::new("");
    // More than one call looks at: pages without a hit lie between.
    record(&scene, (0..25_001).map(|n| if n % 25_000 == 0 { "bob" } else { "alice" })).await;
    let root = scene.connect(0).await;
    let of = |user: Option<&str>, since| AuditFilter { user: user.map(Into::into), since };
    let bob = read(&root, &of(Some("bob"), None), 500).await;
    assert_eq!(bob.iter().map(|entry| entry.at).collect::<Vec<_>>(), [FIRST, FIRST + 25_000]);
    assert_eq!(read(&root, &of(None, Some(FIRST + 24_000)), 500).await.len(), 1001);
    assert_eq!(read(&root, &of(Some("bob"), Some(FIRST + 1)), 500).await.len(), 1);
    for (user, since) in [(Some("Bob"), None), (Some(""), None), (None, Some(u64::MAX)), (None, Some(FIRST + 25_001))] {
        assert!(read(&root, &of(user, since), 500).await.is_empty(), "{user:?} {since:?}");
    }
}

#[tokio::test]
async fn what_was_pruned_is_not_looked_for() {
    let scene = Scene::new("");
    record(&scene, (0..25_000).map(|_| "alice")).await;
    scene.store.prune_audit(WallTime(0), std::time::Duration::MAX, 10_000).await.unwrap();
    let page = scene.connect(0).await.admin.audit(&AuditFilter::default(), 0, 1).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert!(page.entries[0].seq > 24_000, "{page:?}");
}

#[tokio::test]
async fn limits_and_numbers_out_of_range_are_refused_or_find_nothing() {
    let scene = Scene::new("");
    let root = scene.connect(0).await;
    for limit in [0, 501, u32::MAX] {
        let refused = root.admin.audit(&AuditFilter::default(), 0, limit).await;
        assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{limit}");
    }
    for after in [1 << 40, u64::MAX] {
        let page = root.admin.audit(&AuditFilter::default(), after, 500).await.unwrap();
        assert_eq!((page.entries.len(), page.next), (0, after));
    }
    let good = witness(&read(&root, &AuditFilter::default(), 500).await[0]);
    for bad in [AuditWitness { chain: "x".into(), ..good.clone() }, AuditWitness { seq: u64::MAX, ..good.clone() }] {
        assert!(matches!(root.admin.compare_audit(&[bad]).await, Err(Error::InvalidArgument(_))));
    }
    let many = vec![good; 501];
    assert!(matches!(root.admin.compare_audit(&many).await, Err(Error::InvalidArgument(_))));
}

#[tokio::test]
async fn a_whole_chain_is_found_sound_and_its_own_lines_agree_with_it() {
    let scene = Scene::new("");
    record(&scene, (0..600).map(|_| "alice")).await;
    let root = scene.connect(0).await;
    let report = root.admin.verify_audit().await.unwrap();
    assert_eq!((report.finding, report.first, report.last), (AuditFinding::Sound as u32, Some(1), Some(601)));
    let entries = read(&root, &AuditFilter::default(), 500).await;
    for some in entries.chunks(500) {
        let witnesses: Vec<_> = some.iter().map(witness).collect();
        assert_eq!(root.admin.compare_audit(&witnesses).await.unwrap().finding, AuditFinding::Sound as u32);
    }
}

#[tokio::test]
async fn the_earliest_line_that_the_audit_contradicts_or_lacks_is_named() {
    let scene = Scene::new("");
    record(&scene, (0..10).map(|_| "alice")).await;
    let root = scene.connect(0).await;
    let mut witnesses: Vec<_> = read(&root, &AuditFilter::default(), 500).await.iter().map(witness).collect();
    witnesses.push(AuditWitness { seq: 14, ..witnesses[0].clone() });
    let cut = root.admin.compare_audit(&witnesses).await.unwrap();
    assert_eq!((cut.finding, cut.record), (AuditFinding::CutOff as u32, Some(12)), "{cut:?}");
    witnesses[7].chain = witnesses[6].chain.clone();
    witnesses.reverse();
    let other = root.admin.compare_audit(&witnesses).await.unwrap();
    assert_eq!((other.finding, other.record), (AuditFinding::Contradicted as u32, Some(8)), "{other:?}");
    assert!(other.text.contains("record 8"), "{other:?}");
}

#[tokio::test]
async fn a_row_that_was_altered_on_the_disk_is_named_by_the_check() {
    let scene = Scene::new("");
    record(&scene, (0..10).map(|_| "alice")).await;
    let scene = scene.altered("UPDATE audit SET account = 'bob' WHERE seq = 5").await;
    let report = scene.connect(0).await.admin.verify_audit().await.unwrap();
    assert_eq!((report.finding, report.record), (AuditFinding::Changed as u32, Some(5)), "{report:?}");
    let scene = scene.altered("DELETE FROM audit WHERE seq = 4").await;
    let report = scene.connect(0).await.admin.verify_audit().await.unwrap();
    assert_eq!((report.finding, report.record), (AuditFinding::Missing as u32, Some(4)), "{report:?}");
    let scene = scene.altered("UPDATE audit SET event = 'nonsense' WHERE seq = 6").await;
    let unread = scene.connect(0).await.admin.audit(&AuditFilter::default(), 0, 500).await.unwrap_err();
    assert!(matches!(&unread, Error::Unavailable(text) if text.contains("record 6")), "{unread:?}");
}
