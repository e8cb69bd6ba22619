//! Resynchronisation on demand: by root, or by the account itself after another factor; charged and written down.

use dbus_api::{Action, EnrollmentOptions, Error, ImportRecord, Offer, Resynchronisation};
use verifier::{Moving, TimeStep, Totp, WallTime};

use crate::scene::{OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const UNDELAYED: &str = "fail_delay = \"0s\"";
/// Three hours, in steps of 30 seconds.
const HOURS: i64 = 360;

/// The code that an authenticator shows whose clock is off by so many steps.
fn code_off(offer: &Offer, steps: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(&offer.secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    totp.generate(now.saturating_add_signed(steps * 30)).to_string()
}

fn hotp_code(offer: &Offer, counter: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(&offer.secret).unwrap();
    let totp = totp_rs::Builder::new().with_step_duration(1).with_secret(secret).build_noncompliant();
    totp.generate(counter).to_string()
}

async fn enrol(scene: &Scene, label: &str, kind: &str) -> (String, Offer) {
    let root = scene.connect(0).await;
    let options = EnrollmentOptions {
        label: Some(label.into()),
        kind: Some(kind.into()),
        no_confirm: Some(true),
        ..EnrollmentOptions::default()
    };
    let (_, offer) = root.enrollment.begin(OWNER.0, &options).await.unwrap();
    let list = root.enrollment.list(OWNER.0).await.unwrap().authenticators;
    (list.into_iter().find(|one| one.label == label).unwrap().id, offer)
}

async fn resync(peer: &Peer, id: &str, first: &str, second: &str) -> Result<Resynchronisation, Error> {
    peer.enrollment.resync(OWNER.0, id, first, second).await
}

async fn moving_of(scene: &Scene, id: &str) -> Moving {
    let record = scene.store.read(OWNER.0).await.unwrap().unwrap();
    record.account.authenticators.iter().find(|one| one.id.to_string() == id).unwrap().moving
}

#[tokio::test]
async fn a_phone_three_hours_off_lets_in_after_root_resynchronised_it_and_its_codes_are_spent() {
    for off in [-HOURS, HOURS] {
        let scene = Scene::new(UNDELAYED);
        let (id, phone) = enrol(&scene, "phone", "totp").await;
        let root = scene.connect(0).await;
        steady_step().await;
        let codes: Vec<String> = (-1..=1).map(|step| code_off(&phone, off + step)).collect();
        assert_eq!(root.verify(OWNER.0, &codes[1]).await.action(), Some(Action::Denied));
        let found = resync(&root, &id, &codes[0], &codes[1]).await.unwrap();
        assert_eq!(found, Resynchronisation { clock_off: Some(off * 30), skipped: None });
        assert_eq!(scene.events(0).await.last().unwrap(), &format!("resync granted clock off by {} s", off * 30));
        for spent in &codes[..2] {
            assert_eq!(root.verify(OWNER.0, spent).await.action(), Some(Action::Denied));
        }
        assert_eq!(scene.events(0).await.last().unwrap(), "verification refused reused");
        let told = root.verify(OWNER.0, &codes[2]).await;
        assert_eq!(told.action(), Some(Action::Granted));
        assert!(
            told.messages.iter().any(|line| line.text.starts_with("An authenticator was resynchronised by an adm"))
        );
        let summary = root.enrollment.list(OWNER.0).await.unwrap().authenticators.remove(0);
        // The code of the next step let in, which the drift follows.
        assert_eq!((summary.clock_off, summary.needs_resync), (Some((off + 1) * 30), false));
    }
}

#[tokio::test]
async fn the_drift_is_still_there_after_the_daemon_began_anew() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    steady_step().await;
    let [first, second] = [-1, 0].map(|step| code_off(&phone, 2000 + step));
    resync(&scene.connect(0).await, &id, &first, &second).await.unwrap();
    let before = moving_of(&scene, &id).await;
    let scene = scene.altered("").await;
    assert_eq!(moving_of(&scene, &id).await, before);
    assert!(matches!(before, Moving::Totp(Totp { drift: Some(2000), .. })), "{before:?}");
}

#[tokio::test]
async fn a_fob_far_ahead_lets_in_after_two_codes_and_tells_how_many_were_passed_over() {
    let scene = Scene::new(UNDELAYED);
    let (id, fob) = enrol(&scene, "fob", "hotp").await;
    let root = scene.connect(0).await;
    let found = resync(&root, &id, &hotp_code(&fob, 600), &hotp_code(&fob, 601)).await.unwrap();
    assert_eq!(found, Resynchronisation { clock_off: None, skipped: Some(600) });
    assert_eq!(scene.events(0).await.last().unwrap(), "resync granted 600 codes passed over");
    assert_eq!(root.verify(OWNER.0, &hotp_code(&fob, 601)).await.action(), Some(Action::Denied));
    assert_eq!(root.verify(OWNER.0, &hotp_code(&fob, 602)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn an_owner_needs_another_factor_verified_on_this_very_connection() {
    let scene = Scene::new(UNDELAYED);
    let (broken, phone) = enrol(&scene, "phone", "totp").await;
    let (other, tablet) = enrol(&scene, "tablet", "totp").await;
    steady_step().await;
    let pair = [-1, 0].map(|step| code_off(&phone, -HOURS + step));
    let needs = |answer: Result<Resynchronisation, Error>| {
        assert!(matches!(answer, Err(Error::VerificationRequired(_))), "{answer:?}");
    };
    let owner = scene.connect(OWNER.1).await;
    needs(resync(&owner, &broken, &pair[0], &pair[1]).await);
    // A verification elsewhere, or of somebody else, counts for nothing.
    scene.connect(OWNER.1).await.verify_freshly(OWNER.0, &tablet, 0).await;
    needs(resync(&owner, &broken, &pair[0], &pair[1]).await);
    let stranger = scene.connect(OTHER.1).await;
    let refused = resync(&stranger, &broken, &pair[0], &pair[1]).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    // Nor does one of the authenticator itself.
    owner.verify_freshly(OWNER.0, &phone, 0).await;
    needs(resync(&owner, &broken, &pair[0], &pair[1]).await);
    assert_eq!(scene.store.read(OWNER.0).await.unwrap().unwrap().account.throttle.failures, 0);

    owner.verify_freshly(OWNER.0, &tablet, 1).await;
    needs(resync(&owner, &other, &pair[0], &pair[1]).await);
    let [first, second] = [0, 1].map(|step| code_off(&phone, HOURS + step));
    resync(&owner, &broken, &first, &second).await.unwrap();
    let line = scene.audit().await.last().unwrap().line();
    assert!(line.contains(&format!("caller_uid={}", OWNER.1)), "{line}");
}

#[tokio::test]
async fn an_owner_may_by_a_recovery_code_and_an_old_verification_counts_no_more() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let codes = phone.recovery_codes.clone().unwrap();
    let owner = scene.connect(OWNER.1).await;
    owner.verify(OWNER.0, &codes[0]).await;
    steady_step().await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    tokio::time::resume();
    let pair = [-1, 0].map(|step| code_off(&phone, -HOURS + step));
    let old = resync(&owner, &id, &pair[0], &pair[1]).await;
    assert!(matches!(old, Err(Error::VerificationRequired(_))), "{old:?}");
    assert_eq!(owner.verify(OWNER.0, &codes[1]).await.action(), Some(Action::Granted));
    resync(&owner, &id, &pair[0], &pair[1]).await.unwrap();
}

#[tokio::test]
async fn wrong_codes_are_charged_like_a_logins_and_lock_with_everything_that_a_lock_brings() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let root = scene.connect(0).await;
    steady_step().await;
    let before = scene.audit().await.len();
    let [first, second] = [-1, 0].map(|step| code_off(&phone, -HOURS + step));
    for (first, second) in [(&first, &wrong_code(&phone)), (&wrong_code(&phone), &second), (&second, &first)] {
        let wrong = resync(&root, &id, first, second).await;
        assert!(matches!(wrong, Err(Error::WrongCode(_))), "{wrong:?}");
    }
    let locked = resync(&root, &id, &first, &second).await;
    assert!(matches!(locked, Err(Error::Locked(_))), "root is throttled too: {locked:?}");
    let wrong = "resync refused wrong";
    assert_eq!(scene.events(before).await, [wrong, wrong, wrong, "lock note for 30 s", "resync refused locked"]);
    assert_eq!(root.verify(OWNER.0, &code(&phone, 0)).await.action(), Some(Action::Denied), "a lock is a lock");
    root.admin.unlock(OWNER.0).await.unwrap();
    resync(&root, &id, &first, &second).await.unwrap();
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().failures, 3, "it is no login");
}

#[tokio::test]
async fn many_at_once_are_charged_one_after_the_other() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let wrong = wrong_code(&phone);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..16 {
        let (peer, id, wrong) = (scene.connect(0).await, id.clone(), wrong.clone());
        calls.spawn(async move { resync(&peer, &id, &wrong, &format!("7{number:05}")).await });
    }
    let answers = calls.join_all().await;
    let wrong = answers.iter().filter(|answer| matches!(answer, Err(Error::WrongCode(_)))).count();
    let locked = answers.iter().filter(|answer| matches!(answer, Err(Error::Locked(_)))).count();
    assert_eq!((wrong, locked), (3, 13), "{answers:?}");
}

#[tokio::test]
async fn nobody_but_root_learns_what_the_codes_were() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let codes = phone.recovery_codes.clone().unwrap();
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    steady_step().await;
    let late = code_off(&phone, HOURS);
    let unlock = || async { root.admin.unlock(OWNER.0).await.unwrap() };
    let pairs = [(wrong_code(&phone), late.clone()), (late, code_off(&phone, HOURS + 3))];
    let mut texts = Vec::new();
    for peer in [&owner, &root] {
        for (number, (first, second)) in pairs.iter().enumerate() {
            owner.verify(OWNER.0, &codes[number + texts.len()]).await;
            texts.push(resync(peer, &id, first, second).await.unwrap_err().text());
            unlock().await;
        }
    }
    assert_eq!(texts[0], texts[1], "the owner");
    assert!(texts[0].contains("24 hours"), "{texts:?}");
    assert!(texts[3].contains("does not follow the first"), "{texts:?}");
}

#[tokio::test]
async fn what_is_no_pair_of_codes_is_told_so_and_charged_to_nobody() {
    let scene = Scene::new(UNDELAYED);
    let (id, _) = enrol(&scene, "phone", "totp").await;
    let root = scene.connect(0).await;
    for (first, second, says) in [("123456", "123-456", "the same"), ("123456", "phone", "6 to 8 digits")] {
        let refused = resync(&root, &id, first, second).await;
        assert!(matches!(&refused, Err(Error::InvalidArgument(text)) if text.contains(says)), "{refused:?}");
    }
    for id in ["00000000", "phone"] {
        assert!(matches!(resync(&root, id, "123456", "234567").await, Err(Error::NotEnrolled(_))));
    }
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().failures, 0);
}

#[tokio::test]
async fn neither_a_disabled_nor_an_ended_authenticator_is_resynchronised() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let root = scene.connect(0).await;
    steady_step().await;
    let [first, second] = [-1, 0].map(|step| code_off(&phone, HOURS + step));
    root.admin.disable_authenticator(OWNER.0, &id).await.unwrap();
    let off = resync(&root, &id, &first, &second).await;
    assert!(matches!(&off, Err(Error::NotEnrolled(text)) if text.contains("is disabled")), "{off:?}");
    root.admin.enable_authenticator(OWNER.0, &id).await.unwrap();
    scene.change(OWNER.0, |record| record.account.authenticators[0].expires = Some(WallTime(1))).await;
    let ended = resync(&root, &id, &first, &second).await;
    assert!(matches!(&ended, Err(Error::NotEnrolled(text)) if text.contains("has ended")), "{ended:?}");
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().failures, 0);
}

#[tokio::test]
async fn an_imported_authenticator_whose_clock_was_too_far_off_becomes_usable() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let secret = b"12345678901234567890".to_vec();
    let mut record = ImportRecord::new(OWNER.0, secret.clone());
    record.drift = Some(-HOURS);
    assert!(root.admin.import(&[record]).await.unwrap()[0].remark.contains("needs a resynchronisation"));
    let listed = root.enrollment.list(OWNER.0).await.unwrap().authenticators.remove(0);
    assert!(listed.needs_resync && listed.clock_off.is_none(), "{listed:?}");

    let mut offer = Offer::default();
    offer.secret = verifier::Secret::new(secret).unwrap().base32().to_string();
    steady_step().await;
    let [first, second, third] = [-1, 0, 1].map(|step| code_off(&offer, -HOURS + step));
    resync(&root, &listed.id, &first, &second).await.unwrap();
    let listed = root.enrollment.list(OWNER.0).await.unwrap().authenticators.remove(0);
    assert!(!listed.needs_resync && listed.clock_off == Some(-HOURS * 30), "{listed:?}");
    assert_eq!(root.verify(OWNER.0, &third).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn what_is_not_known_of_a_clock_is_kept_on_the_disk_too() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let mut record = ImportRecord::new(OWNER.0, b"12345678901234567890".to_vec());
    record.drift = Some(11);
    root.admin.import(&[record]).await.unwrap();
    let scene = scene.altered("").await;
    assert!(scene.connect(0).await.enrollment.list(OWNER.0).await.unwrap().authenticators[0].needs_resync);
    let scene = scene.altered("UPDATE authenticators SET drift = 0").await;
    let refused = scene.connect(0).await.enrollment.list(OWNER.0).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "an altered drift is refused: {refused:?}");
}

#[tokio::test]
async fn root_makes_the_clock_believed_again_and_nothing_that_was_spent_comes_back() {
    let scene = Scene::new(UNDELAYED);
    let (id, phone) = enrol(&scene, "phone", "totp").await;
    let (root, codes) = (scene.connect(0).await, phone.recovery_codes.clone().unwrap());
    steady_step().await;
    root.verify(OWNER.0, &code(&phone, 0)).await;
    let spent = moving_of(&scene, &id).await;
    let year = WallTime(u64::MAX >> 1);
    scene.change(OWNER.0, move |record| record.account.last_decision = Some(year)).await;
    for first in [-1, 0] {
        let [first, second] = [first, first + 1].map(|step| code_off(&phone, step));
        assert!(
            matches!(resync(&root, &id, &first, &second).await, Err(Error::WrongCode(text)) if text.contains("used"))
        );
        assert_eq!(moving_of(&scene, &id).await, spent);
    }
    let [first, second] = [1, 2].map(|step| code_off(&phone, step));
    resync(&root, &id, &first, &second).await.unwrap();
    let Moving::Totp(Totp { last: Some(TimeStep(last)), .. }) = moving_of(&scene, &id).await else {
        panic!("{spent:?}")
    };
    assert!(matches!(spent, Moving::Totp(Totp { last: Some(TimeStep(before)), .. }) if before < last));
    assert_eq!(root.verify(OWNER.0, &code_off(&phone, 3)).await.action(), Some(Action::Granted));

    // The account itself does not vouch for the host's clock.
    scene.change(OWNER.0, move |record| record.account.last_decision = None).await;
    let owner = scene.connect(OWNER.1).await;
    owner.verify(OWNER.0, &codes[0]).await;
    scene.change(OWNER.0, move |record| record.account.last_decision = Some(year)).await;
    let [first, second] = [4, 5].map(|step| code_off(&phone, step));
    let refused = resync(&owner, &id, &first, &second).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(scene.events(0).await.last().unwrap(), "resync refused clock-backwards");
}
