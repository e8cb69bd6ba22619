//! Administration: what it does, that it is audited with who did it, and that it loses nothing.

use dbus_api::{AccountFilter, AccountState, Action, Denial, Error, ImportOutcome, ImportRecord};

use crate::scene::{OTHER, OWNER, Scene, code, steady_step, wrong_code};

const UNDELAYED: &str = "fail_delay = \"0s\"";

fn record(account: &str, secret: &[u8]) -> ImportRecord {
    ImportRecord::new(account, secret.to_vec())
}

/// A good record of another account, made bad.
fn with(change: impl FnOnce(&mut ImportRecord)) -> ImportRecord {
    let mut record = record(OTHER.0, b"12345678901234567890");
    change(&mut record);
    record
}

#[tokio::test]
async fn unlocking_disabling_enabling_and_resetting_work_and_are_audited_with_the_callers_uid() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    for _ in 0..3 {
        root.verify(OWNER.0, &wrong_code(&offer)).await;
    }
    assert!(root.admin.account(OWNER.0).await.unwrap().locked_for.is_some());
    let from = scene.audit().await.len();
    root.admin.unlock(OWNER.0).await.unwrap();
    let summary = root.admin.account(OWNER.0).await.unwrap();
    assert_eq!((summary.locked_for, summary.failures), (None, 3));

    root.admin.disable(OWNER.0).await.unwrap();
    steady_step().await;
    let right = code(&offer, 0);
    assert_eq!(root.verify(OWNER.0, &right).await.details.denial(), Denial::Disabled);
    root.admin.enable(OWNER.0).await.unwrap();
    assert_eq!(root.verify(OWNER.0, &right).await.action(), Some(Action::Granted));
    root.admin.reset(OWNER.0, 0).await.unwrap();
    let summary = root.admin.account(OWNER.0).await.unwrap();
    assert_eq!((summary.authenticators.len(), summary.recovery_codes_left, summary.failures), (0, 0, 0));
    assert!(matches!(root.admin.reset(OTHER.0, 0).await, Err(Error::NotEnrolled(_))));
    assert!(matches!(root.admin.reset("a\nb", 60).await, Err(Error::InvalidArgument(_))));
    assert_eq!(
        scene.events(from).await,
        [
            "unlock granted",
            "disable granted",
            "verification refused disabled",
            "enable granted",
            "verification granted",
            "reset granted"
        ]
    );
    for record in scene.audit().await.iter().skip(from) {
        assert!(record.line().contains(" caller_uid=0 "), "{}", record.line());
    }
}

#[tokio::test]
async fn accounts_are_listed_in_pages_and_filtered_by_state() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    for batch in 0..3 {
        let records: Vec<_> =
            (0..400).map(|n| record(&format!("user{:04}", batch * 400 + n), b"12345678901234567890")).collect();
        root.admin.import(&records).await.unwrap();
    }
    root.admin.disable("user0007").await.unwrap();
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = root.admin.accounts(&AccountFilter::default(), &after).await.unwrap();
        assert!(page.accounts.len() <= 500);
        names.extend(page.accounts.into_iter().map(|account| account.name));
        if page.next.is_empty() {
            break;
        }
        after = page.next;
    }
    let expected: Vec<_> = (0..1200).map(|n| format!("user{n:04}")).collect();
    assert_eq!(names, expected);
    let disabled = AccountFilter { state: Some(AccountState::Disabled as u32), ..AccountFilter::default() };
    let page = root.admin.accounts(&disabled, "").await.unwrap();
    assert_eq!(page.accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(), ["user0007"]);
    let nonsense = AccountFilter { state: Some(77), ..AccountFilter::default() };
    assert!(matches!(root.admin.accounts(&nonsense, "").await, Err(Error::InvalidArgument(_))));
}

#[tokio::test]
async fn accounts_that_are_gone_are_found_and_pruned_for_good() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let secret = b"12345678901234567890";
    root.admin.import(&[record(OWNER.0, secret), record("gone-1", secret), record("gone-2", secret)]).await.unwrap();
    let gone = AccountFilter { gone: Some(true), ..AccountFilter::default() };
    let names = |page: dbus_api::AccountPage| -> Vec<_> { page.accounts.into_iter().map(|one| one.name).collect() };
    assert_eq!(names(root.admin.accounts(&gone, "").await.unwrap()), ["gone-1", "gone-2"]);
    let from = scene.audit().await.len();
    root.admin.prune("gone-1").await.unwrap();
    assert_eq!(names(root.admin.accounts(&gone, "").await.unwrap()), ["gone-2"]);
    let all = names(root.admin.accounts(&AccountFilter::default(), "").await.unwrap());
    assert_eq!(all, [OWNER.0, "gone-2"], "nothing is left of it, not even a mark that it was reset");
    assert_eq!(scene.events(from).await, ["prune granted"]);
    assert!(scene.audit().await[from].line().contains(" caller_uid=0 "));
    assert!(matches!(root.admin.prune("gone-1").await, Err(Error::NotEnrolled(_))));
}

#[tokio::test]
async fn an_account_that_the_name_service_knows_is_never_pruned() {
    let scene = Scene::new(UNDELAYED);
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    assert!(matches!(root.admin.prune(OWNER.0).await, Err(Error::InvalidArgument(_))));
    assert_eq!(root.admin.account(OWNER.0).await.unwrap().authenticators.len(), 1);
}

#[tokio::test]
async fn a_record_that_was_altered_can_be_pruned() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    root.admin.import(&[record("gone", b"12345678901234567890")]).await.unwrap();
    drop(root);
    let scene = scene.altered("UPDATE accounts SET failures = 40 WHERE name = 'gone'").await;
    let root = scene.connect(0).await;
    let page = root.admin.accounts(&AccountFilter::default(), "").await.unwrap();
    assert_eq!(page.accounts[0].state, AccountState::Corrupt as u32);
    root.admin.prune("gone").await.unwrap();
    assert!(root.admin.accounts(&AccountFilter::default(), "").await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn importing_twice_changes_nothing_and_a_bad_record_stops_no_other() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let records = [
        record(OWNER.0, b"12345678901234567890"),
        record(OWNER.0, b"short"),
        record("", b"12345678901234567890"),
        with(|record| record.digits = 5),
        with(|record| record.period = 1),
        record("not-in-nss", b"12345678901234567890"),
        record(OWNER.0, b"09876543210987654321"),
    ];
    let outcomes = |results: Vec<dbus_api::ImportResult>| -> Vec<_> {
        results.iter().map(|result| ImportOutcome::from_number(result.outcome).unwrap()).collect()
    };
    use ImportOutcome::{Added, AddedUnbound, Present, Refused};
    let first = outcomes(root.admin.import(&records).await.unwrap());
    assert_eq!(first, [Added, Refused, Refused, Refused, Refused, AddedUnbound, Added]);
    let from = scene.audit().await.len();
    let second = outcomes(root.admin.import(&records).await.unwrap());
    assert_eq!(second, [Present, Refused, Refused, Refused, Refused, Present, Present]);
    assert_eq!(scene.audit().await.len(), from);
    let list = root.enrollment.list(OWNER.0).await.unwrap();
    let mut labels: Vec<_> = list.authenticators.iter().map(|one| one.label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["imported", "imported 2"]);
}

#[tokio::test]
async fn an_imported_authenticator_lets_in() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    root.admin.import(&[record(OWNER.0, b"12345678901234567890")]).await.unwrap();
    let mut offer = dbus_api::Offer::default();
    offer.secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into();
    offer.period = 30;
    assert_eq!(root.verify(OWNER.0, &code(&offer, 0)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_and_the_old_one_stays() {
    let scene = Scene::new("fail_delay = \"0s\"\nprompt = \"Old: \"");
    let root = scene.connect(0).await;
    std::fs::write(&scene.config, "prompt = \"New: \"\ntries = 99").unwrap();
    let error = root.admin.reload().await.unwrap_err();
    assert!(matches!(&error, Error::BadConfiguration(text) if text.contains(":2:9: tries: 99")), "{error:?}");
    let (_, step) = root.verifier.begin(OWNER.0, &dbus_api::Origin::default()).await.unwrap();
    assert_eq!(step.text, "Old: ");
    std::fs::write(&scene.config, "prompt = \"New: \"").unwrap();
    root.admin.reload().await.unwrap();
    let (_, step) = root.verifier.begin(OWNER.0, &dbus_api::Origin::default()).await.unwrap();
    assert_eq!(step.text, "New: ");
    let events = scene.events(0).await;
    assert!(events.iter().any(|event| event.starts_with("reload refused")), "{events:?}");
    assert!(events.contains(&"reload granted".to_owned()), "{events:?}");
}
