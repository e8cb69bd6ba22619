//! Importing: what comes along with an authenticator is kept within the bounds of this daemon's own ones, and nothing
//! that was spent elsewhere is accepted here.

use std::time::{SystemTime, UNIX_EPOCH};

use dbus_api::{Action, Denial, ImportOutcome, ImportRecord, ImportResult, Step};
use verifier::{Algorithm, Digits, Kind, Parameters, Period, Secret};

use crate::scene::{OWNER, Peer, Scene, steady_step};

const UNDELAYED: &str = "fail_delay = \"0s\"";
const SECRET: &[u8] = b"12345678901234567890";
const DAY: u64 = 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn code_of(kind: Kind, factor: u64) -> u32 {
    let parameters = Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::COMMON };
    verifier::otp::code(&Secret::new(SECRET.to_vec()).unwrap(), parameters, factor).value()
}

fn totp() -> Kind {
    Kind::Totp(Period::COMMON)
}

fn with(change: impl FnOnce(&mut ImportRecord)) -> ImportRecord {
    let mut record = ImportRecord::new(OWNER.0, SECRET.to_vec());
    change(&mut record);
    record
}

fn hotp(counter: u64) -> ImportRecord {
    with(|record| {
        record.kind = "hotp".into();
        record.counter = counter;
    })
}

async fn import(root: &Peer, record: ImportRecord) -> ImportResult {
    root.admin.import(&[record]).await.unwrap().remove(0)
}

fn outcome(result: &ImportResult) -> ImportOutcome {
    ImportOutcome::from_number(result.outcome).unwrap()
}

async fn try_code(root: &Peer, value: u32) -> Step {
    root.verify(OWNER.0, &format!("{value:06}")).await
}

#[tokio::test]
async fn a_step_that_was_used_elsewhere_is_refused_here_and_the_next_one_is_accepted() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    steady_step().await;
    let step = now() / 30;
    assert_eq!(outcome(&import(&root, with(|record| record.last_step = Some(step))).await), ImportOutcome::Added);
    assert_eq!(try_code(&root, code_of(totp(), step)).await.details.denial(), Denial::Refused);
    assert_eq!(scene.events(0).await.last().unwrap(), "verification refused reused");
    assert_eq!(try_code(&root, code_of(totp(), step + 1)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn a_step_of_the_future_counts_as_nows_and_is_reported() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    steady_step().await;
    let result = import(&root, with(|record| record.last_step = Some(u64::MAX))).await;
    assert_eq!(outcome(&result), ImportOutcome::Added);
    assert!(result.remark.contains("of the future"), "{result:?}");
    let now = now() / 30;
    for step in [now, now + 1] {
        try_code(&root, code_of(totp(), step)).await;
        assert_eq!(scene.events(0).await.last().unwrap(), "verification refused reused");
    }
}

#[tokio::test]
async fn a_drift_is_kept_up_to_ten_steps_and_reported_beyond() {
    for (drift, kept) in [(9, true), (-10, true), (11, false), (i64::MIN, false)] {
        let scene = Scene::new(UNDELAYED);
        let root = scene.connect(0).await;
        steady_step().await;
        let result = import(&root, with(|record| record.drift = Some(drift))).await;
        assert_eq!(result.remark.contains("needs a resynchronisation"), !kept, "{result:?}");
        let step = (now() / 30).saturating_add_signed(if kept { drift } else { 0 });
        assert_eq!(try_code(&root, code_of(totp(), step)).await.action(), Some(Action::Granted), "{drift}");
    }
}

#[tokio::test]
async fn the_counter_goes_on_behind_the_last_code_where_that_is_its_own() {
    for (last_code, next) in [(Some(code_of(Kind::Hotp, 5)), 6), (Some(code_of(Kind::Hotp, 4)), 5), (None, 5)] {
        let scene = Scene::new(UNDELAYED);
        let root = scene.connect(0).await;
        let mut record = hotp(5);
        record.last_code = last_code;
        import(&root, record).await;
        assert_eq!(try_code(&root, code_of(Kind::Hotp, next - 1)).await.action(), Some(Action::Denied));
        assert_eq!(try_code(&root, code_of(Kind::Hotp, next)).await.action(), Some(Action::Granted));
    }
}

#[tokio::test]
async fn a_last_code_of_a_time_spends_the_step_that_it_is_of_or_that_of_the_time() {
    for ahead in [1_i64, 0, -1] {
        let scene = Scene::new(UNDELAYED);
        let root = scene.connect(0).await;
        steady_step().await;
        let used = (now() / 30).saturating_add_signed(ahead);
        let record = with(|record| {
            record.last_code = Some(code_of(totp(), used));
            record.last_code_at = Some(now());
        });
        import(&root, record).await;
        assert_eq!(try_code(&root, code_of(totp(), used)).await.action(), Some(Action::Denied), "{ahead}");
        if ahead < 1 {
            assert_eq!(try_code(&root, code_of(totp(), used + 1)).await.action(), Some(Action::Granted), "{ahead}");
        }
    }
}

#[tokio::test]
async fn scratch_codes_work_once_and_go_with_their_authenticator() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let record = || with(|record| record.scratch_codes = Some(vec![87_654_321, 12_345_678, 11_111_111]));
    import(&root, record()).await;
    assert_eq!(root.admin.account(OWNER.0).await.unwrap().scratch_codes_left, 3);
    let granted = root.verify(OWNER.0, "8765 4321").await;
    assert_eq!(granted.action(), Some(Action::Granted));
    assert!(granted.messages[0].text.starts_with("A recovery code was used: 2 are left."), "{granted:?}");
    assert_eq!(root.verify(OWNER.0, "87654321").await.action(), Some(Action::Denied));
    assert_eq!(outcome(&import(&root, record()).await), ImportOutcome::Present);
    assert_eq!(root.verify(OWNER.0, "87654321").await.action(), Some(Action::Denied));
    assert_eq!(root.admin.account(OWNER.0).await.unwrap().failures, 0);

    let id = root.enrollment.list(OWNER.0).await.unwrap().authenticators[0].id.clone();
    root.enrollment.remove(OWNER.0, &id).await.unwrap();
    assert_eq!(root.admin.account(OWNER.0).await.unwrap().scratch_codes_left, 0);
    assert_eq!(root.verify(OWNER.0, "12345678").await.action(), Some(Action::Denied));
}

#[tokio::test]
async fn new_recovery_codes_end_the_scratch_codes() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    import(&root, with(|record| record.scratch_codes = Some(vec![87_654_321]))).await;
    assert_eq!(root.enrollment.new_recovery_codes(OWNER.0).await.unwrap().len(), 10);
    assert_eq!(root.verify(OWNER.0, "87654321").await.action(), Some(Action::Denied));
}

#[tokio::test]
async fn importing_again_spends_what_was_used_elsewhere_in_between_and_gives_nothing_back() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let record = |counter, codes: &[u32]| {
        let mut record = hotp(counter);
        record.scratch_codes = Some(codes.to_vec());
        record
    };
    import(&root, record(5, &[87_654_321, 12_345_678])).await;
    let caught_up = import(&root, record(8, &[12_345_678, 22_222_222])).await;
    assert_eq!(outcome(&caught_up), ImportOutcome::CaughtUp);
    assert_eq!(outcome(&import(&root, record(5, &[12_345_678, 87_654_321])).await), ImportOutcome::Present);
    assert_eq!(try_code(&root, code_of(Kind::Hotp, 7)).await.action(), Some(Action::Denied));
    assert_eq!(try_code(&root, code_of(Kind::Hotp, 8)).await.action(), Some(Action::Granted));
    assert_eq!(root.verify(OWNER.0, "87654321").await.action(), Some(Action::Denied));
    assert_eq!(root.verify(OWNER.0, "22222222").await.action(), Some(Action::Denied), "no code is added later");
    assert_eq!(root.verify(OWNER.0, "12345678").await.action(), Some(Action::Granted));
    // An import that knows nothing of scratch codes leaves them alone.
    import(&root, hotp(20)).await;
    let events: Vec<_> = scene.events(0).await.into_iter().filter(|event| event.starts_with("import")).collect();
    assert_eq!(events, ["import granted scratch codes: 2", "import granted caught up", "import granted caught up"]);
}

#[tokio::test]
async fn a_short_secret_is_taken_until_its_deadline_and_its_owner_is_told() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let short = |days: Option<u64>| {
        let mut record = ImportRecord::new(OWNER.0, b"Hello!\xde\xad\xbe\xef".to_vec());
        record.renew_by = days.map(|days| now() + days * DAY);
        record
    };
    let result = import(&root, short(Some(733))).await;
    assert_eq!(outcome(&result), ImportOutcome::Refused);
    let result = import(&root, short(None)).await;
    assert_eq!(result.remark, "its secret has 80 bits only and has to be renewed within 365 days");
    let expires = root.admin.account(OWNER.0).await.unwrap().authenticators[0].expires.unwrap();
    assert!((now() + 364 * DAY..=now() + 366 * DAY).contains(&expires));

    root.admin.reset(OWNER.0, 0).await.unwrap();
    import(&root, short(Some(30))).await;
    steady_step().await;
    let parameters = Parameters::COMMON;
    let secret = Secret::new(b"Hello!\xde\xad\xbe\xef".to_vec()).unwrap();
    let code = verifier::otp::code(&secret, parameters, now() / 30);
    let step = root.verify(OWNER.0, &code.text()).await;
    assert_eq!(step.action(), Some(Action::Granted));
    let told = |message: &dbus_api::Message| message.text.starts_with("Your authenticator \"imported\" works until ");
    assert!(step.messages.iter().any(told), "{step:?}");
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_by_name() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    for (record, why) in [
        (with(|record| record.scratch_codes = Some(vec![100_000_000])), "8 digits"),
        (with(|record| record.scratch_codes_until = Some(now() - 1)), "scratch_codes_until"),
        (with(|record| record.scratch_codes_until = Some(now() + 367 * DAY)), "scratch_codes_until"),
        (hotp(u64::MAX), "counter"),
    ] {
        let result = import(&root, record).await;
        assert_eq!(outcome(&result), ImportOutcome::Refused, "{why}");
        assert!(result.remark.contains(why), "{result:?}");
    }
    let many = with(|record| record.scratch_codes = Some((0..12).map(|one| 20_000_000 + one).collect()));
    let result = import(&root, many).await;
    assert_eq!(outcome(&result), ImportOutcome::Added);
    assert!(result.remark.contains("2 scratch codes are left out"), "{result:?}");
}

#[tokio::test]
async fn checking_an_import_says_what_it_would_do_and_changes_nothing() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let from = scene.audit().await.len();
    let short = with(|record| record.secret = vec![7]);
    let records = [hotp(5), hotp(5), hotp(9), short];
    let outcomes: Vec<_> = root.admin.check_import(&records).await.unwrap().iter().map(outcome).collect();
    use ImportOutcome::{Added, CaughtUp, Present, Refused};
    assert_eq!(outcomes, [Added, Present, CaughtUp, Refused]);
    assert!(matches!(root.admin.account(OWNER.0).await, Err(dbus_api::Error::NotEnrolled(_))));
    assert_eq!(scene.audit().await.len(), from);
    let outcomes: Vec<_> = root.admin.import(&records).await.unwrap().iter().map(outcome).collect();
    assert_eq!(outcomes, [Added, Present, CaughtUp, Refused]);
}
