//! Any number of authenticators, each switched off by itself, ended at its second, bound and changed only by whoever may.

use std::process::Command;

use daemon::store::Record;
use dbus_api::{AccountFilter, AccountState, Action, EnrollmentOptions, Error, ImportRecord, Offer};
use verifier::WallTime;

use crate::scene::{OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const UNDELAYED: &str = "fail_delay = \"0s\"";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn labelled(label: &str) -> EnrollmentOptions {
    EnrollmentOptions { label: Some(label.into()), ..EnrollmentOptions::default() }
}

async fn enrol(root: &Peer, label: &str) -> Offer {
    let options = EnrollmentOptions { no_confirm: Some(true), ..labelled(label) };
    root.enrollment.begin(OWNER.0, &options).await.unwrap().1
}

async fn id_of(root: &Peer, label: &str) -> String {
    let list = root.enrollment.list(OWNER.0).await.unwrap().authenticators;
    list.into_iter().find(|one| one.label == label).unwrap().id
}

/// The code of a counter, or of the present time, by oathtool(1).
fn oathtool(offer: &Offer, counter: u64) -> String {
    let algorithm = offer.algorithm.to_lowercase();
    // Its --hotp knows SHA-1 alone; RFC 6238 makes TOTP of HOTP by the number of the time step.
    let (period, time) = match offer.kind.as_str() {
        "hotp" => (30, counter * 30),
        _ => (offer.period, now()),
    };
    let made = Command::new("oathtool")
        .args(["-b", &format!("--totp={algorithm}"), &format!("--time-step-size={period}s")])
        .args([&format!("--digits={}", offer.digits), &format!("--now=@{time}"), &offer.secret])
        .output()
        .expect("oathtool must be installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn every_combination_of_parameters_logs_in_with_the_codes_of_another_program() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let mut seen = 0;
    for algorithm in ["SHA1", "SHA256", "SHA512"] {
        for digits in [6, 7, 8] {
            for (kind, period) in [("totp", Some(15)), ("totp", Some(30)), ("totp", Some(60)), ("hotp", None)] {
                let options = EnrollmentOptions {
                    kind: Some(kind.into()),
                    algorithm: Some(algorithm.into()),
                    digits: Some(digits),
                    period,
                    no_confirm: Some(true),
                    ..labelled("one")
                };
                let (_, offer) = root.enrollment.begin(OWNER.0, &options).await.unwrap();
                let code = oathtool(&offer, 3);
                let what = format!("{kind} {algorithm} {digits} {period:?}");
                assert_eq!(code.len(), digits as usize, "{what}");
                assert_eq!(root.verify(OWNER.0, &code).await.action(), Some(Action::Granted), "{what}");
                assert_eq!(root.verify(OWNER.0, &code).await.action(), Some(Action::Denied), "once only: {what}");
                root.enrollment.remove(OWNER.0, &id_of(&root, "one").await).await.unwrap();
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 36);
}

#[tokio::test]
async fn sixteen_authenticators_are_the_most_and_the_last_of_them_logs_in() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let mut offers = Vec::new();
    for number in 0..16 {
        offers.push(enrol(&root, &format!("phone {number}")).await);
    }
    let full = root.enrollment.begin(OWNER.0, &labelled("one more")).await;
    assert!(matches!(&full, Err(Error::InvalidArgument(text)) if text.contains("at most 16")), "{full:?}");
    let imported = root.admin.import(&[ImportRecord::new(OWNER.0, vec![9; 20])]).await.unwrap();
    assert!(imported[0].remark.contains("at most 16"), "{imported:?}");
    steady_step().await;
    for number in [2, 15, 0] {
        assert_eq!(root.verify(OWNER.0, &code(&offers[number], 0)).await.action(), Some(Action::Granted), "{number}");
        let listed = root.enrollment.list(OWNER.0).await.unwrap().authenticators;
        let used = listed.iter().find(|one| one.label == format!("phone {number}")).unwrap();
        assert!(used.last_used.is_some());
    }
    let listed = root.enrollment.list(OWNER.0).await.unwrap().authenticators;
    assert_eq!(listed.iter().filter(|one| one.last_used.is_some()).count(), 3);
}

#[tokio::test]
async fn one_that_is_disabled_refuses_its_codes_and_the_others_go_on() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let (lost, kept) = (enrol(&root, "lost").await, enrol(&root, "kept").await);
    let id = id_of(&root, "lost").await;
    let before = scene.audit().await.len();
    root.admin.disable_authenticator(OWNER.0, &id).await.unwrap();
    steady_step().await;
    assert_eq!(root.verify(OWNER.0, &code(&lost, 0)).await.action(), Some(Action::Denied));
    let told = root.verify(OWNER.0, &code(&kept, 0)).await;
    assert_eq!(told.action(), Some(Action::Granted));
    assert!(told.messages.iter().any(|line| line.text.contains("was disabled by an administrator")), "{told:?}");
    let page = root.admin.accounts(&AccountFilter::default(), "").await.unwrap();
    assert_eq!((page.accounts[0].authenticators, page.accounts[0].authenticators_off), (1, 1));
    root.admin.enable_authenticator(OWNER.0, &id).await.unwrap();
    assert_eq!(root.verify(OWNER.0, &code(&lost, 0)).await.action(), Some(Action::Granted));
    let events = scene.events(before).await;
    assert_eq!(events[0], "authenticator-disabled granted");
    assert!(events.contains(&"authenticator-enabled granted".to_owned()), "{events:?}");
    for id in ["00000000", "lost"] {
        assert!(matches!(root.admin.disable_authenticator(OWNER.0, id).await, Err(Error::NotEnrolled(_))));
    }
}

#[tokio::test]
async fn what_waits_since_a_restore_is_enabled_with_the_account_or_by_itself_and_nothing_disabled_is() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let mut offers = Vec::new();
    for label in ["lost", "one", "two"] {
        offers.push(enrol(&root, label).await);
    }
    root.admin.disable_authenticator(OWNER.0, &id_of(&root, "lost").await).await.unwrap();
    scene.change(OWNER.0, |record| record.account.authenticators.iter_mut().for_each(|one| one.suspended = true)).await;
    steady_step().await;
    for offer in &offers {
        assert_eq!(root.verify(OWNER.0, &code(offer, 0)).await.action(), Some(Action::Denied));
    }
    root.admin.unlock(OWNER.0).await.unwrap();
    let refused = root.enrollment.resync(OWNER.0, &id_of(&root, "one").await, "111111", "222222").await;
    assert!(matches!(&refused, Err(Error::NotEnrolled(text)) if text.contains("waits since a restore")), "{refused:?}");
    let page = root.admin.accounts(&AccountFilter::default(), "").await.unwrap();
    assert_eq!((page.accounts[0].authenticators, page.accounts[0].authenticators_off), (0, 3));
    let marks = async || {
        let list = root.enrollment.list(OWNER.0).await.unwrap().authenticators;
        let mut marks: Vec<_> = list.into_iter().map(|one| (one.label, one.active, one.suspended)).collect();
        // Those of one millisecond are listed in no order.
        marks.sort();
        marks
    };
    root.admin.enable_authenticator(OWNER.0, &id_of(&root, "one").await).await.unwrap();
    let left = [("lost", false, true), ("one", true, false), ("two", true, true)];
    assert_eq!(marks().await, left.map(|(label, active, waits)| (label.to_owned(), active, waits)));
    root.admin.enable(OWNER.0).await.unwrap();
    let left = [("lost", false, false), ("one", true, false), ("two", true, false)];
    assert_eq!(marks().await, left.map(|(label, active, waits)| (label.to_owned(), active, waits)));
    let verdicts = [Action::Denied, Action::Granted, Action::Granted];
    for (offer, verdict) in offers.iter().zip(verdicts) {
        assert_eq!(root.verify(OWNER.0, &code(offer, 0)).await.action(), Some(verdict));
    }
}

#[tokio::test]
async fn an_account_whose_only_authenticator_is_disabled_is_neither_let_in_nor_open_to_enrolment() {
    let rule = "[[rule]]\nname = \"guests\"\nunenrolled = \"pass\"\n";
    let scene = Scene::new(&format!("self_enrolment = true\n{UNDELAYED}\n{rule}"));
    let root = scene.connect(0).await;
    let phone = enrol(&root, "phone").await;
    root.admin.disable_authenticator(OWNER.0, &id_of(&root, "phone").await).await.unwrap();
    assert_eq!(root.verify(OWNER.0, &code(&phone, 0)).await.action(), Some(Action::Denied));
    scene.change(OWNER.0, |record| record.account.recovery_codes.clear()).await;
    let step = root.verify(OWNER.0, &code(&phone, 0)).await;
    assert_eq!(step.action(), Some(Action::Denied), "a rule that lets in who has nothing: {step:?}");
    let owner = scene.connect(OWNER.1).await;
    let refused = owner.enrollment.begin(OWNER.0, &labelled("second")).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn an_authenticator_that_ended_is_told_everywhere_but_at_the_prompt() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let phone = enrol(&root, "phone").await;
    let end = WallTime::from_seconds(now());
    scene
        .change(OWNER.0, move |record| {
            record.account.authenticators[0].expires = Some(end);
            record.account.recovery_codes.clear();
        })
        .await;
    let ended = root.verify(OWNER.0, &code(&phone, 0)).await;
    assert_eq!(scene.events(0).await.last().unwrap(), "verification refused expired");
    let unknown = root.verify("nobody-here", "123456").await;
    assert_eq!(
        (ended.action, &ended.messages, ended.details.denial()),
        (unknown.action, &unknown.messages, unknown.details.denial())
    );
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().failures, 1, "it is charged");
    let page = root.admin.accounts(&AccountFilter::default(), "").await.unwrap();
    assert_eq!(AccountState::from_number(page.accounts[0].state), Some(AccountState::NotEnrolled));
    assert_eq!((page.accounts[0].authenticators, page.accounts[0].authenticators_off), (0, 1));
    let explained = root.admin.explain(OWNER.0, &dbus_api::Origin::default(), &dbus_api::Supposition::default()).await;
    assert_eq!(explained.unwrap().reason.as_deref(), Some("expired"));
}

#[tokio::test]
async fn a_last_authenticator_is_one_whose_codes_are_accepted() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let phone = enrol(&root, "phone").await;
    enrol(&root, "old").await;
    let (phone_id, old_id) = (id_of(&root, "phone").await, id_of(&root, "old").await);
    let end = |record: &mut Record| {
        let old = record.account.authenticators.iter_mut().find(|one| one.label == "old");
        old.unwrap().expires = Some(WallTime(1));
    };
    scene.change(OWNER.0, end).await;
    let owner = scene.connect(OWNER.1).await;
    steady_step().await;
    owner.verify_freshly(OWNER.0, &phone, 0).await;
    let last = owner.enrollment.remove(OWNER.0, &phone_id).await;
    assert!(matches!(last, Err(Error::LastAuthenticator(_))), "{last:?}");
    owner.enrollment.remove(OWNER.0, &old_id).await.unwrap();
}

/// What changes an account's authenticators, and what it answers to somebody who may not.
async fn changes(peer: &Peer, id: &str) -> Vec<Result<(), Error>> {
    vec![
        peer.enrollment.begin(OWNER.0, &labelled("another")).await.map(drop),
        peer.enrollment.rename(OWNER.0, id, "mine").await,
        peer.enrollment.remove(OWNER.0, id).await,
        peer.enrollment.new_recovery_codes(OWNER.0).await.map(drop),
        peer.enrollment.resync(OWNER.0, id, "123456", "234567").await.map(drop),
    ]
}

#[tokio::test]
async fn no_verification_of_another_account_of_another_connection_or_of_old_changes_anything() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let phone = enrol(&root, "phone").await;
    let id = id_of(&root, "phone").await;
    let theirs = scene.enrol(OTHER.0).await;
    let owner = scene.connect(OWNER.1).await;
    let required = |answers: Vec<Result<(), Error>>, why: &str| {
        for answer in answers {
            assert!(matches!(answer, Err(Error::VerificationRequired(_))), "{why}: {answer:?}");
        }
    };
    steady_step().await;
    required(changes(&owner, &id).await, "nothing was verified");
    assert_eq!(owner.verify(OWNER.0, &wrong_code(&phone)).await.action(), Some(Action::Denied));
    required(changes(&owner, &id).await, "a wrong code");
    root.verify_freshly(OWNER.0, &phone, 0).await;
    assert_eq!(owner.verify(OWNER.0, &code(&phone, 0)).await.action(), Some(Action::Denied));
    required(changes(&owner, &id).await, "a code that root used elsewhere, played again");

    let other = scene.connect(OTHER.1).await;
    other.verify_freshly(OTHER.0, &theirs, 0).await;
    for answer in changes(&other, &id).await {
        assert!(matches!(answer, Err(Error::AccessDenied(_))), "somebody else: {answer:?}");
    }
    // Root, who may verify for everybody, is not in need of it; what it verified opens nothing to others.
    required(changes(&owner, &id).await, "verified by root");

    owner.verify_freshly(OWNER.0, &phone, 1).await;
    owner.enrollment.rename(OWNER.0, &id, "phone").await.unwrap();
    let second = enrol(&root, "second").await;
    root.admin.disable_authenticator(OWNER.0, &id).await.unwrap();
    let theirs = id_of(&root, "second").await;
    required(changes(&owner, &theirs).await, "verified by an authenticator that was disabled since");
    owner.verify_freshly(OWNER.0, &second, 0).await;
    root.admin.enable_authenticator(OWNER.0, &id).await.unwrap();
    owner.enrollment.rename(OWNER.0, &id, "phone").await.unwrap();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    tokio::time::resume();
    required(changes(&owner, &id).await, "verified more than five minutes ago");
}
