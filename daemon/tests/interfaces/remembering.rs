//! Remembered logins: who showed a code is not asked again at the same place for a time, and what ends that.

use std::time::Duration;

use dbus_api::{Action, Denial, EnrollmentOptions, Error, ImportRecord, Offer, Origin, Step};
use verifier::WallTime;

use crate::scene::{OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const REMEMBERING: &str = "fail_delay = \"0s\"\n[[rule]]\nname = \"office\"\naction = \"require\"\nremember = \"8h\"\n";
const OFFICE: &str = "192.0.2.7";

fn from(service: &str, rhost: &str) -> Origin {
    let item = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Origin { service: item(service), tty: item("ssh"), rhost: item(rhost), ruser: None }
}

fn office() -> Origin {
    from("sshd", OFFICE)
}

/// The first step of a login.
async fn begun(peer: &Peer, user: &str, origin: &Origin) -> Option<Action> {
    let (id, step) = peer.verifier.begin(user, origin).await.unwrap();
    if id != 0 {
        peer.verifier.cancel(id).await.unwrap();
    }
    step.action()
}

/// Whether a login of the owner from the office is let in without being asked.
async fn is_remembered(peer: &Peer) -> bool {
    begun(peer, OWNER.0, &office()).await == Some(Action::Skipped)
}

async fn log_in(peer: &Peer, user: &str, origin: &Origin, reply: &str) -> Step {
    let (id, step) = peer.verifier.begin(user, origin).await.unwrap();
    if id == 0 { step } else { peer.verifier.respond(id, reply).await.unwrap() }
}

/// A scene in which the owner has just logged in from the office by a code.
async fn remembered(config: &str) -> (Scene, Peer, Offer) {
    let scene = Scene::new(config);
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    let step = log_in(&root, OWNER.0, &office(), &code(&phone, 0)).await;
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    (scene, root, phone)
}

#[tokio::test]
async fn who_showed_a_code_is_not_asked_again_at_that_place_and_is_at_every_other() {
    let (scene, root, _) = remembered(REMEMBERING).await;
    scene.enrol(OTHER.0).await;
    assert_eq!(begun(&root, OWNER.0, &office()).await, Some(Action::Skipped));
    assert_eq!(begun(&root, OWNER.0, &from("sshd", "::ffff:192.0.2.7")).await, Some(Action::Skipped));
    for other in [
        from("sshd", "192.0.2.8"),
        from("sshd", "2001:db8::7"),
        from("sshd", "office.example"),
        from("sshd", ""),
        from("su", OFFICE),
        from("", OFFICE),
    ] {
        assert_eq!(begun(&root, OWNER.0, &other).await, Some(Action::AskHidden), "{other:?}");
    }
    assert_eq!(begun(&root, OTHER.0, &office()).await, Some(Action::AskHidden));
    let owner = scene.connect(OWNER.1).await;
    assert_eq!(begun(&owner, OWNER.0, &office()).await, Some(Action::AskHidden), "a claim uses nothing");
}

#[tokio::test]
async fn setting_and_using_are_audited_with_the_rule_and_the_end() {
    let (scene, root, _) = remembered(REMEMBERING).await;
    assert!(is_remembered(&root).await);
    let lines: Vec<String> = scene.audit().await.iter().map(daemon::audit::AuditRecord::line).collect();
    let (set, used) = (&lines[lines.len() - 2], &lines[lines.len() - 1]);
    assert!(set.contains("outcome=granted") && set.contains("reason=\"to be remembered until 20"), "{set}");
    assert!(used.contains("event=verification outcome=note"), "{used}");
    assert!(used.contains("rhost=\"192.0.2.7\" origin=trusted rule=\"office\" reason=\"remembered until 20"), "{used}");
}

#[tokio::test]
async fn a_recovery_code_a_claim_and_a_login_without_an_address_set_nothing() {
    let scene = Scene::new(REMEMBERING);
    let phone = scene.enrol(OWNER.0).await;
    let codes = phone.recovery_codes.clone().unwrap();
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    steady_step().await;
    let granted = [
        log_in(&root, OWNER.0, &office(), &codes[0]).await,
        log_in(&owner, OWNER.0, &office(), &code(&phone, 0)).await,
        log_in(&root, OWNER.0, &from("sshd", "office.example"), &code(&phone, 1)).await,
    ];
    assert!(granted.iter().all(|step| step.action() == Some(Action::Granted)), "{granted:?}");
    assert_eq!(scene.store.read(OWNER.0).await.unwrap().unwrap().account.remembered, []);
    assert!(!is_remembered(&root).await);
}

#[tokio::test]
async fn without_remember_or_with_fresh_or_while_observing_nothing_is_set_or_used() {
    let (scene, root, phone) = remembered(REMEMBERING).await;
    let without = REMEMBERING.replace("remember = \"8h\"\n", "");
    for config in [&without, &format!("{REMEMBERING}fresh = true\n")] {
        std::fs::write(&scene.config, config).unwrap();
        root.admin.reload().await.unwrap();
        assert!(!is_remembered(&root).await, "{config}");
    }
    log_in(&root, OWNER.0, &from("sshd", "192.0.2.8"), &code(&phone, 1)).await;
    assert_eq!(scene.store.read(OWNER.0).await.unwrap().unwrap().account.remembered.len(), 1);
    std::fs::write(&scene.config, format!("{REMEMBERING}mode = \"observe\"\n")).unwrap();
    root.admin.reload().await.unwrap();
    let from_here = scene.audit().await.len();
    root.verifier.begin(OWNER.0, &office()).await.unwrap();
    assert_eq!(scene.events(from_here).await, ["verification note would-ask"]);
}

#[tokio::test]
async fn it_survives_a_restart_and_ends_at_its_time() {
    let (scene, _, _) = remembered(REMEMBERING).await;
    let scene = scene.altered("UPDATE store SET unchanged = unchanged").await;
    let root = scene.connect(0).await;
    assert!(is_remembered(&root).await);
    scene
        .change(OWNER.0, |record| {
            let one = &mut record.account.remembered[0];
            one.since = WallTime(one.since.0 - 8 * 3_600_000);
        })
        .await;
    assert!(!is_remembered(&root).await);
    assert_eq!(scene.store.read(OWNER.0).await.unwrap().unwrap().account.remembered, []);
}

#[tokio::test]
async fn a_rule_that_remembers_for_a_shorter_time_now_shortens_what_was_granted() {
    let (scene, root, _) = remembered(REMEMBERING).await;
    scene
        .change(OWNER.0, |record| {
            let one = &mut record.account.remembered[0];
            one.since = WallTime(one.since.0 - 3_600_000);
        })
        .await;
    std::fs::write(&scene.config, REMEMBERING.replace("8h", "30m")).unwrap();
    root.admin.reload().await.unwrap();
    assert!(!is_remembered(&root).await);
}

#[tokio::test]
async fn a_clock_that_went_back_ends_it_for_good() {
    let hour = Duration::from_secs(3600).as_millis() as u64;
    for decided in [true, false] {
        let (scene, root, _) = remembered(REMEMBERING).await;
        scene
            .change(OWNER.0, move |record| {
                let moment = if decided {
                    record.account.last_decision.as_mut().unwrap()
                } else {
                    &mut record.account.remembered[0].since
                };
                *moment = WallTime(moment.0 + hour);
            })
            .await;
        assert!(!is_remembered(&root).await, "{decided}");
        scene.change(OWNER.0, |record| record.account.last_decision = None).await;
        assert!(!is_remembered(&root).await, "{decided}");
    }
}

#[tokio::test]
async fn while_locked_nobody_is_let_in_and_afterwards_it_counts_again() {
    let (_scene, root, phone) = remembered(REMEMBERING).await;
    for _ in 0..3 {
        log_in(&root, OWNER.0, &from("sshd", "198.51.100.7"), &wrong_code(&phone)).await;
    }
    let (_, step) = root.verifier.begin(OWNER.0, &office()).await.unwrap();
    assert_eq!((step.action(), step.details.denial()), (Some(Action::Denied), Denial::Locked));
    root.admin.unlock(OWNER.0).await.unwrap();
    assert!(is_remembered(&root).await);
}

#[tokio::test]
async fn a_change_of_what_the_account_has_ends_it() {
    for change in ["enrol", "remove", "import", "disable", "reset", "failures", "forget", "forget as the owner"] {
        let (scene, root, phone) = remembered(&format!("{REMEMBERING}[throttling]\ndisable_after = 2\n")).await;
        assert!(is_remembered(&root).await, "{change}");
        let owner = scene.connect(OWNER.1).await;
        match change {
            "enrol" => enrol_another(&root).await,
            "remove" => remove_the_first(&root).await,
            "import" => import_another(&root).await,
            "disable" => root.admin.disable(OWNER.0).await.unwrap(),
            "reset" => root.admin.reset(OWNER.0, 0).await.unwrap(),
            "failures" => {
                for _ in 0..2 {
                    log_in(&root, OWNER.0, &from("sshd", "198.51.100.7"), &wrong_code(&phone)).await;
                }
            }
            "forget" => assert_eq!(root.admin.forget(OWNER.0).await.unwrap(), 1),
            _ => assert_eq!(owner.admin.forget(OWNER.0).await.unwrap(), 1),
        }
        if matches!(change, "disable" | "failures") {
            root.admin.enable(OWNER.0).await.unwrap();
        }
        assert!(!is_remembered(&root).await, "{change}");
    }
}

async fn enrol_another(root: &Peer) {
    let options = EnrollmentOptions { no_confirm: Some(true), ..EnrollmentOptions::default() };
    root.enrollment.begin(OWNER.0, &options).await.unwrap();
}

async fn remove_the_first(root: &Peer) {
    let id = root.enrollment.list(OWNER.0).await.unwrap().authenticators[0].id.clone();
    root.enrollment.remove(OWNER.0, &id).await.unwrap();
}

async fn import_another(root: &Peer) {
    let mut record = ImportRecord::new(OWNER.0, b"12345678901234567890".to_vec());
    (record.label, record.kind) = (Some("token".into()), "hotp".into());
    root.admin.import(&[record]).await.unwrap();
}

#[tokio::test]
async fn only_administrators_and_the_owner_forget_and_it_is_written_down() {
    let (scene, root, _) = remembered(REMEMBERING).await;
    let other = scene.connect(OTHER.1).await;
    assert!(matches!(other.admin.forget(OWNER.0).await, Err(Error::AccessDenied(_))));
    assert!(is_remembered(&root).await);
    let from_here = scene.audit().await.len();
    assert_eq!(scene.connect(OWNER.1).await.admin.forget(OWNER.0).await.unwrap(), 1);
    assert_eq!(scene.connect(OWNER.1).await.admin.forget(OWNER.0).await.unwrap(), 0);
    let expected = ["forget granted remembered logins: 1", "forget granted remembered logins: 0"];
    assert_eq!(scene.events(from_here).await, expected);
}

#[tokio::test]
async fn an_altered_remembered_login_is_named_and_the_person_asked() {
    let (scene, _, _) = remembered(REMEMBERING).await;
    let scene = scene.altered("UPDATE remembered SET lasts = lasts * 100").await;
    let root = scene.connect(0).await;
    let from_here = scene.audit().await.len();
    assert!(!is_remembered(&root).await);
    let events = scene.events(from_here).await;
    assert_eq!(events[0], "store refused its remembered logins were altered: they are forgotten");
}

#[tokio::test]
async fn the_owner_and_administrators_see_what_is_remembered() {
    let (scene, root, _) = remembered(REMEMBERING).await;
    for peer in [&root, &scene.connect(OWNER.1).await] {
        let summary = peer.enrollment.list(OWNER.0).await.unwrap();
        let [login] = &summary.remembered[..] else { panic!("{summary:?}") };
        assert_eq!((login.service.as_str(), login.address.as_str()), ("sshd", OFFICE));
        assert!((28_700..=28_800).contains(&login.left), "{login:?}");
    }
    let page = root.admin.accounts(&dbus_api::AccountFilter::default(), "").await.unwrap();
    assert_eq!(page.accounts[0].remembered, 1);
}
