//! Enrolling within a login: only where a rule says so, bound at the last Enter, and nothing by any other end.

use std::time::Duration;

use daemon::store::Record;
use dbus_api::{Action, EnrollmentOptions, Error, Offer, Origin, Step};
use verifier::WallTime;

use crate::scene::{OWNER, Peer, Scene, code, steady_step, wrong_code};

const ENROLL: &str = "fail_delay = \"0s\"\n[[rule]]\nname = \"staff\"\nunenrolled = \"enroll\"\n";
const FILLER: &str = "\u{8}\n\r\u{7f}INCORRECT";

fn sshd() -> Origin {
    let item = |text: &str| Some(text.to_owned());
    Origin { service: item("sshd"), tty: item("ssh"), rhost: item("192.0.2.7"), ruser: None }
}

async fn begin(peer: &Peer) -> (u64, Step) {
    peer.verifier.begin(OWNER.0, &sshd()).await.unwrap()
}

/// What the app knows after it has read the key that a step shows.
fn scanned(step: &Step) -> Offer {
    assert_eq!(step.action(), Some(Action::AskHidden));
    assert!(step.details.enrols());
    let secret = step.messages.last().unwrap().text.strip_prefix("Key to type: ").unwrap().replace(' ', "");
    assert_eq!(secret.len(), 32);
    let mut offer = Offer::default();
    (offer.secret, offer.period, offer.digits) = (secret, 30, 6);
    offer
}

/// The recovery codes that a step shows.
fn stored(step: &Step) -> Vec<String> {
    assert_eq!(step.action(), Some(Action::AskVisible), "{step:?}");
    assert_eq!(step.text, "Press Enter when you have stored these codes: ");
    step.messages.iter().skip(2).map(|message| message.text.trim().to_owned()).collect()
}

/// A login that has come to the recovery codes.
async fn confirmed(peer: &Peer) -> (u64, Offer, Vec<String>) {
    let (id, step) = begin(peer).await;
    let offer = scanned(&step);
    steady_step().await;
    let step = peer.verifier.respond(id, &code(&offer, 0)).await.unwrap();
    (id, offer, stored(&step))
}

async fn record(scene: &Scene) -> Option<Record> {
    scene.store.read(OWNER.0).await.unwrap()
}

/// The first of these messages.
fn says(step: &Step) -> &str {
    step.messages.first().map_or("", |message| &message.text)
}

#[tokio::test]
async fn an_enter_binds_authenticator_and_recovery_codes_and_lets_in() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    let (id, offer, codes) = confirmed(&root).await;
    assert_eq!(codes.len(), 10);
    assert!(record(&scene).await.is_none(), "something was bound before the Enter");

    let step = root.verifier.respond(id, "").await.unwrap();
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    let bound = record(&scene).await.unwrap();
    assert_eq!((bound.uid, bound.account.authenticators.len()), (Some(OWNER.1), 1));
    assert_eq!(bound.account.recovery_codes_left(), 10);
    assert_eq!(
        scene.events(1).await,
        ["enrolment-begun granted", "enrolment-confirmed granted", "verification granted enrolled at this login",]
    );
    for record in scene.audit().await.iter().skip(1) {
        let line = record.line();
        assert!(line.contains("rule=\"staff\"") && line.contains("rhost=\"192.0.2.7\""), "{line}");
        assert!(!line.contains(&offer.secret) && !line.contains(&codes[0]), "{line}");
    }

    let again = root.verify(OWNER.0, &code(&offer, 0)).await;
    assert_eq!(again.action(), Some(Action::Denied), "the confirming code works twice");
    assert_eq!(root.verify(OWNER.0, &code(&offer, 1)).await.action(), Some(Action::Granted));
    assert_eq!(root.verify(OWNER.0, &codes[3]).await.action(), Some(Action::Granted));
    assert_eq!(root.verify(OWNER.0, &codes[3]).await.action(), Some(Action::Denied));
}

#[tokio::test]
async fn nobody_enrols_where_no_rule_says_so_nor_unknown_names_nor_by_a_claimed_origin_nor_with_the_tool() {
    let asked = |step: &Step| step.action() == Some(Action::AskHidden) && !step.details.enrols();
    let closed = Scene::new("fail_delay = \"0s\"");
    let (_, step) = begin(&closed.connect(0).await).await;
    assert!(asked(&step) && step.messages.is_empty(), "{step:?}");

    let scene = Scene::new(ENROLL);
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    let (_, step) = root.verifier.begin("nobody-here", &sshd()).await.unwrap();
    assert!(asked(&step), "{step:?}");
    let (_, step) = begin(&owner).await;
    assert!(asked(&step), "{step:?}");
    for service in [None, Some("countersign".to_owned())] {
        let (_, step) = root.verifier.begin(OWNER.0, &Origin { service, ..sshd() }).await.unwrap();
        assert!(asked(&step), "{step:?}");
    }
    scene.enrol(OWNER.0).await;
    let (_, step) = begin(&root).await;
    assert!(asked(&step), "{step:?}");
}

#[tokio::test]
async fn three_replies_that_are_no_right_code_refuse_and_nothing_is_charged() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    for _ in 0..4 {
        let (id, step) = begin(&root).await;
        let wrong = wrong_code(&scanned(&step));
        for reply in ["my password", &wrong] {
            let step = root.verifier.respond(id, reply).await.unwrap();
            assert_eq!(step.action(), Some(Action::AskHidden), "{step:?}");
            assert!(step.details.enrols());
        }
        let step = root.verifier.respond(id, &wrong).await.unwrap();
        assert_eq!((step.action(), says(&step)), (Some(Action::Denied), "Nothing was enrolled."));
    }
    assert!(record(&scene).await.is_none());
    assert_eq!(scene.events(2).await[..2], ["verification refused enrolment-failed", "enrolment-begun granted"]);
    let (id, step) = begin(&root).await;
    scanned(&step);
    let step = root.verifier.respond(id, FILLER).await.unwrap();
    assert_eq!(step.action(), Some(Action::Denied));
    assert_eq!(scene.events(0).await.last().unwrap(), "verification refused blocked-by-sshd");
}

#[tokio::test]
async fn only_an_enter_alone_says_that_the_recovery_codes_are_stored() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    let (id, ..) = confirmed(&root).await;
    for reply in ["no", FILLER] {
        let step = root.verifier.respond(id, reply).await.unwrap();
        assert_eq!(step.action(), Some(Action::AskVisible), "{step:?}");
    }
    let step = root.verifier.respond(id, "123456").await.unwrap();
    assert_eq!(step.action(), Some(Action::Denied), "{step:?}");
    assert!(record(&scene).await.is_none());
    let (id, ..) = confirmed(&root).await;
    root.verifier.respond(id, "what now?").await.unwrap();
    assert_eq!(root.verifier.respond(id, " ").await.unwrap().action(), Some(Action::Granted));
}

#[tokio::test]
async fn an_enrolment_that_is_abandoned_at_any_step_binds_nothing_and_the_next_login_can_enrol() {
    let scene = Scene::new(ENROLL);
    for at_the_codes in [false, true] {
        for end in ["cancel", "disconnect", "timeout"] {
            let root = scene.connect(0).await;
            let id = if at_the_codes { confirmed(&root).await.0 } else { begin(&root).await.0 };
            match end {
                "cancel" => root.verifier.cancel(id).await.unwrap(),
                "disconnect" => scene.service.connection_ended(&root.key).await,
                _ => {
                    tokio::time::pause();
                    tokio::time::advance(Duration::from_secs(121)).await;
                    tokio::time::resume();
                    scene.service.sweep().await;
                }
            }
            let late = root.verifier.respond(id, "").await;
            assert!(matches!(late, Err(Error::NotFound(_))), "{end}: {late:?}");
            assert!(record(&scene).await.is_none(), "{end}");
        }
    }
    let root = scene.connect(0).await;
    let (id, ..) = confirmed(&root).await;
    assert_eq!(root.verifier.respond(id, "").await.unwrap().action(), Some(Action::Granted));
}

#[tokio::test]
async fn of_two_that_enrol_at_once_one_does_and_the_other_is_told() {
    let scene = Scene::new(ENROLL);
    let (one, other) = (scene.connect(0).await, scene.connect(0).await);
    let (id, ..) = confirmed(&one).await;
    let (none, step) = begin(&other).await;
    assert_eq!((none, step.action()), (0, Some(Action::Denied)));
    assert!(says(&step).starts_with("Somebody is enrolling for this account right now:"), "{step:?}");
    let tool = other.enrollment.begin(OWNER.0, &EnrollmentOptions::default()).await;
    assert!(matches!(tool, Err(Error::Busy(_))), "{tool:?}");
    assert_eq!(one.verifier.respond(id, "").await.unwrap().action(), Some(Action::Granted));
    assert_eq!(record(&scene).await.unwrap().account.authenticators.len(), 1);
}

#[tokio::test]
async fn a_login_waits_for_nobody_who_enrols_with_the_tool() {
    let scene = Scene::new(ENROLL);
    let (admin, sshd) = (scene.connect(0).await, scene.connect(0).await);
    let (id, _) = admin.enrollment.begin(OWNER.0, &EnrollmentOptions::default()).await.unwrap();
    assert_eq!(begin(&sshd).await.1.action(), Some(Action::Denied));
    admin.enrollment.cancel(id).await.unwrap();
    scanned(&begin(&sshd).await.1);
}

#[tokio::test]
async fn whoever_was_enrolled_meanwhile_keeps_what_is_bound_and_the_login_is_refused() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    let (id, offer, codes) = confirmed(&root).await;
    let by_root = scene.enrol(OWNER.0).await;
    let step = root.verifier.respond(id, "").await.unwrap();
    assert_eq!(step.action(), Some(Action::Denied));
    assert!(says(&step).starts_with("Nothing was enrolled: somebody else"), "{step:?}");
    assert_eq!(scene.events(0).await.last().unwrap(), "verification refused enrolment-overtaken");
    assert_eq!(root.verify(OWNER.0, &code(&offer, 1)).await.action(), Some(Action::Denied));
    assert_eq!(root.verify(OWNER.0, &codes[0]).await.action(), Some(Action::Denied));
    assert_eq!(root.verify(OWNER.0, &code(&by_root, 0)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn after_a_reset_nobody_enrols_at_a_login_unless_the_administrator_allowed_it_for_a_time() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    scene.enrol(OWNER.0).await;
    root.admin.reset(OWNER.0, 0).await.unwrap();
    let (_, step) = begin(&root).await;
    assert!(!step.details.enrols(), "{step:?}");

    root.admin.reset(OWNER.0, 3600).await.unwrap();
    let (id, ..) = confirmed(&root).await;
    scene.change(OWNER.0, |record| record.enrolment_until = Some(WallTime(1))).await;
    let step = root.verifier.respond(id, "").await.unwrap();
    assert_eq!(step.action(), Some(Action::Denied), "the allowance ended before the Enter: {step:?}");

    root.admin.reset(OWNER.0, 3600).await.unwrap();
    let (id, ..) = confirmed(&root).await;
    assert_eq!(root.verifier.respond(id, "").await.unwrap().action(), Some(Action::Granted));
    assert_eq!(record(&scene).await.unwrap().enrolment_until, None, "it closes behind the one who enrolled");
}

#[tokio::test]
async fn a_name_that_went_to_another_uid_does_not_enrol() {
    let scene = Scene::new(ENROLL);
    let root = scene.connect(0).await;
    root.admin.reset(OWNER.0, 3600).await.unwrap();
    let (id, ..) = confirmed(&root).await;
    scene.change(OWNER.0, |record| record.uid = Some(1234)).await;
    assert_eq!(root.verifier.respond(id, "").await.unwrap().action(), Some(Action::Denied));
    assert!(!begin(&root).await.1.details.enrols());
}

#[tokio::test]
async fn a_lock_that_came_from_wrong_codes_before_refuses_an_enrolment_too() {
    let scene = Scene::new(ENROLL);
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    for _ in 0..3 {
        owner.verify(OWNER.0, "123456").await;
    }
    let (id, step) = begin(&root).await;
    assert_eq!((id, step.details.denial()), (0, dbus_api::Denial::Locked), "{step:?}");
}
