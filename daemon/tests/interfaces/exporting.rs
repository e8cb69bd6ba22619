//! An export: the one way out for a secret beside an enrolment. Off by default, root's alone, written down and told.

use dbus_api::{Action, EnrollmentOptions, Error};

use crate::scene::{OTHER, OWNER, Scene, code, steady_step};

const ON: &str = "fail_delay = \"0s\"\nissuer = \"Example\"\n[admin]\nexport = true\n";

async fn id_of(scene: &Scene) -> String {
    scene.connect(0).await.enrollment.list(OWNER.0).await.unwrap().authenticators[0].id.clone()
}

#[tokio::test]
async fn it_is_off_by_default_says_how_to_switch_it_on_and_is_written_down() {
    let scene = Scene::new("");
    scene.enrol(OWNER.0).await;
    let id = id_of(&scene).await;
    let before = scene.audit().await.len();
    let refused = scene.connect(0).await.admin.export(OWNER.0, &id).await.unwrap_err();
    assert!(matches!(&refused, Error::AccessDenied(text) if text.contains("export = true")), "{refused:?}");
    assert_eq!(scene.events(before).await, ["export refused switched-off"]);
    assert!(scene.audit().await.last().unwrap().line().contains(&format!("account=\"{}\"", OWNER.0)));
}

#[tokio::test]
async fn it_is_roots_alone() {
    let scene = Scene::new(ON);
    scene.enrol(OWNER.0).await;
    let id = id_of(&scene).await;
    let before = scene.audit().await.len();
    for uid in [OWNER.1, OTHER.1] {
        let refused = scene.connect(uid).await.admin.export(OWNER.0, &id).await;
        assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    }
    assert_eq!(scene.events(before).await, ["access refused not-administrator"; 2]);
}

#[tokio::test]
async fn root_is_handed_the_very_secret_and_both_phones_work() {
    let scene = Scene::new(ON);
    let phone = scene.enrol(OWNER.0).await;
    let (root, id) = (scene.connect(0).await, id_of(&scene).await);
    let before = scene.audit().await.len();
    let again = root.admin.export(OWNER.0, &id).await.unwrap();
    assert_eq!((&again.secret, &again.uri, &again.label), (&phone.secret, &phone.uri, &phone.label));
    assert_eq!((again.digits, again.period, again.recovery_codes.clone()), (6, 30, None));
    assert_eq!(scene.events(before).await, ["export granted"]);
    let line = scene.audit().await.last().unwrap().line();
    assert!(line.contains(&format!("authenticator=\"{id} ")) && !line.contains(&phone.secret), "{line}");

    steady_step().await;
    let told = root.verify(OWNER.0, &code(&again, 0)).await;
    assert_eq!(told.action(), Some(Action::Granted));
    let told: Vec<&str> = told.messages.iter().map(|message| message.text.as_str()).collect();
    assert!(told.iter().any(|line| line.starts_with("The key of an authenticator was shown to an administrator")));
    assert_eq!(root.verify(OWNER.0, &code(&phone, 1)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn a_fob_comes_with_its_current_counter() {
    let scene = Scene::new(ON);
    let root = scene.connect(0).await;
    let options =
        EnrollmentOptions { kind: Some("hotp".into()), no_confirm: Some(true), ..EnrollmentOptions::default() };
    root.enrollment.begin(OWNER.0, &options).await.unwrap();
    let id = id_of(&scene).await;
    scene
        .change(OWNER.0, |record| {
            let one = &mut record.account.authenticators[0];
            one.moving = one.parameters.kind.begin(verifier::Counter(41));
        })
        .await;
    let uri = root.admin.export(OWNER.0, &id).await.unwrap().uri.clone();
    assert!(uri.starts_with("otpauth://hotp/Example:") && uri.ends_with("&counter=41"), "{uri}");
}

#[tokio::test]
async fn an_unknown_account_or_authenticator_is_told_and_written_down() {
    let scene = Scene::new(ON);
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let before = scene.audit().await.len();
    for (user, id) in [(OWNER.0, "00000000"), (OWNER.0, "nonsense"), (OTHER.0, "00000000"), ("nobody-here", "00000000")]
    {
        let refused = root.admin.export(user, id).await;
        assert!(matches!(refused, Err(Error::NotEnrolled(_))), "{refused:?}");
    }
    assert_eq!(scene.events(before).await, ["export refused no-such-authenticator"; 4]);
}
