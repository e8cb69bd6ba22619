//! Who gets in by a code is told, once, of what was changed behind his or her back.

use dbus_api::{Action, EnrollmentOptions, ImportRecord, Offer, Origin};

use crate::scene::{OWNER, Peer, Scene, code, steady_step, wrong_code};

const UNDELAYED: &str = "fail_delay = \"0s\"";

/// A login by root's sshd from this host, and what it was told.
async fn told_from(peer: &Peer, host: &str, reply: &str) -> Vec<String> {
    let item = |text: &str| Some(text.to_owned());
    let origin = Origin { service: item("sshd"), tty: item("ssh"), rhost: item(host), ruser: None };
    let (id, _) = peer.verifier.begin(OWNER.0, &origin).await.unwrap();
    let step = peer.verifier.respond(id, reply).await.unwrap();
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    step.messages.iter().map(|message| message.text.clone()).collect()
}

async fn told(peer: &Peer, reply: &str) -> Vec<String> {
    told_from(peer, "192.0.2.7", reply).await
}

/// Whether each line begins as it should.
fn assert_told(told: &[String], expected: &[&str]) {
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (line, beginning) in told.iter().zip(expected) {
        assert!(line.starts_with(beginning), "{told:?}");
    }
}

/// Lets a code be used again, as waiting for the next step would.
async fn wait_a_step(scene: &Scene) {
    scene
        .change(OWNER.0, |record| {
            for one in &mut record.account.authenticators {
                one.moving = one.parameters.kind.begin(verifier::Counter(0));
            }
        })
        .await;
}

async fn enrol(peer: &Peer, label: &str) -> Offer {
    let options = EnrollmentOptions { label: Some(label.into()), ..EnrollmentOptions::default() };
    let (id, offer) = peer.enrollment.begin(OWNER.0, &options).await.unwrap();
    peer.enrollment.confirm(id, &code(&offer, 0)).await.unwrap();
    offer
}

#[tokio::test]
async fn a_bound_and_a_removed_authenticator_are_told_at_the_next_login_and_only_there() {
    let scene = Scene::new(UNDELAYED);
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    let first = told(&root, &code(&phone, 0)).await;
    assert_told(&first, &["An authenticator was added by an administrator at 20"]);
    wait_a_step(&scene).await;
    assert_told(&told(&root, &code(&phone, 0)).await, &[]);

    let owner = scene.connect(OWNER.1).await;
    wait_a_step(&scene).await;
    owner.verify_freshly(OWNER.0, &phone, 0).await;
    enrol(&owner, "key fob").await;
    let id = root.enrollment.list(OWNER.0).await.unwrap().authenticators[1].id.clone();
    root.enrollment.remove(OWNER.0, &id).await.unwrap();
    wait_a_step(&scene).await;
    let second = told(&root, &code(&phone, 0)).await;
    let added = "An authenticator was added by your own account at 20";
    assert_told(&second, &[added, "An authenticator was removed by an administrator at 20"]);
    assert!(second.iter().all(|line| line.ends_with(": key fob")), "{second:?}");
}

#[tokio::test]
async fn a_used_recovery_code_is_told_with_its_host_to_the_login_after_it() {
    let scene = Scene::new(UNDELAYED);
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let codes = root.enrollment.new_recovery_codes(OWNER.0).await.unwrap();
    let used = "A recovery code was used: 9 are left.";
    let itself = told_from(&root, "198.51.100.7", &codes[0]).await;
    assert_told(&itself, &[used, "An authenticator was added by an administrator at 20"]);
    steady_step().await;
    let next = told(&root, &code(&phone, 0)).await;
    assert_told(&next, &["A recovery code was used from 198.51.100.7 at 20"]);
}

#[tokio::test]
async fn disabling_is_told_whoever_caused_it() {
    let scene = Scene::new("fail_delay = \"0s\"\n[throttling]\ndisable_after = 2\n");
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    root.admin.disable(OWNER.0).await.unwrap();
    root.admin.enable(OWNER.0).await.unwrap();
    for _ in 0..2 {
        root.verify(OWNER.0, &wrong_code(&phone)).await;
    }
    root.admin.enable(OWNER.0).await.unwrap();
    steady_step().await;
    let lines = told(&root, &code(&phone, 0)).await;
    let expected = [
        "An authenticator was added by an administrator at 20",
        "Your codes were disabled by an administrator at 20",
        "Your codes were disabled after too many wrong ones at 20",
    ];
    assert_told(&lines, &expected);
}

#[tokio::test]
async fn a_reset_and_an_import_are_told() {
    let scene = Scene::new(UNDELAYED);
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    root.admin.reset(OWNER.0, 0).await.unwrap();
    let secret = totp_rs::Secret::try_from_base32(&phone.secret).unwrap().as_bytes().to_vec();
    let mut record = ImportRecord::new(OWNER.0, secret);
    record.label = Some("token".into());
    root.admin.import(&[record]).await.unwrap();
    steady_step().await;
    let lines = told(&root, &code(&phone, 0)).await;
    let reset = "All your authenticators were removed by an administrator at 20";
    assert_told(&lines, &[reset, "An authenticator was added by an administrator at 20"]);
}

#[tokio::test]
async fn where_notices_are_switched_off_nothing_is_told_then_or_later() {
    let scene = Scene::new("notices = false");
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    assert_told(&told(&root, &code(&phone, 0)).await, &[]);
    std::fs::write(&scene.config, "notices = true").unwrap();
    root.admin.reload().await.unwrap();
    wait_a_step(&scene).await;
    assert_told(&told(&root, &code(&phone, 0)).await, &[]);
}

#[tokio::test]
async fn a_wrong_code_is_told_nothing_and_leaves_the_notices_for_the_right_person() {
    let scene = Scene::new(UNDELAYED);
    let phone = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let refused = root.verify(OWNER.0, &wrong_code(&phone)).await;
    assert!(!refused.messages.iter().any(|message| message.text.contains("authenticator was")), "{refused:?}");
    steady_step().await;
    let lines = told(&root, &code(&phone, 0)).await;
    assert_told(&lines, &["An authenticator was added", "1 wrong code since your last login"]);
}
