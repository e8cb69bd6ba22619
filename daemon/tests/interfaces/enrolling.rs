//! Enrolments: proved by a code, by whoever may, the secret handed out once.

use dbus_api::{Action, EnrollmentOptions, Error};

use crate::scene::{OTHER, OWNER, Scene, code, steady_step, wrong_code};

const OPEN: &str = "self_enrolment = true\nfail_delay = \"0s\"";

fn labelled(label: &str) -> EnrollmentOptions {
    EnrollmentOptions { label: Some(label.into()), ..EnrollmentOptions::default() }
}

#[tokio::test]
async fn an_authenticator_is_active_only_after_a_right_code_which_is_thereby_used() {
    let scene = Scene::new(OPEN);
    let owner = scene.connect(OWNER.1).await;
    let (id, offer) = owner.enrollment.begin(OWNER.0, &labelled("phone")).await.unwrap();
    let wrong = owner.enrollment.confirm(id, &wrong_code(&offer)).await;
    assert!(matches!(wrong, Err(Error::WrongCode(_))), "{wrong:?}");
    assert_eq!(owner.enrollment.list(OWNER.0).await.unwrap().authenticators, []);

    steady_step().await;
    let right = code(&offer, 0);
    let confirmation = owner.enrollment.confirm(id, &right).await.unwrap();
    assert_eq!(confirmation.recovery_codes.len(), 10);
    let list = owner.enrollment.list(OWNER.0).await.unwrap();
    assert_eq!((list.authenticators.len(), list.recovery_codes_left), (1, 10));
    assert_eq!(list.authenticators[0].id, confirmation.authenticator);
    assert_eq!(owner.verify(OWNER.0, &right).await.action(), Some(Action::Denied));
}

#[tokio::test]
async fn enrolling_by_oneself_is_off_by_default_and_open_for_a_time_after_a_reset_that_allows_it() {
    let scene = Scene::new("fail_delay = \"0s\"");
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    let refused = owner.enrollment.begin(OWNER.0, &labelled("phone")).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");

    root.admin.reset(OWNER.0, 3600).await.unwrap();
    let (id, offer) = owner.enrollment.begin(OWNER.0, &labelled("phone")).await.unwrap();
    owner.enrollment.confirm(id, &code(&offer, 0)).await.unwrap();

    root.admin.reset(OWNER.0, 0).await.unwrap();
    assert!(owner.enrollment.begin(OWNER.0, &labelled("phone")).await.is_err());
}

#[tokio::test]
async fn after_a_reset_self_enrolment_stays_closed_even_where_it_is_on() {
    let scene = Scene::new(OPEN);
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    scene.enrol(OWNER.0).await;
    root.admin.reset(OWNER.0, 0).await.unwrap();
    let refused = owner.enrollment.begin(OWNER.0, &labelled("phone")).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_first_enrolment_begun_early_cannot_be_confirmed_after_the_owners_own() {
    let scene = Scene::new(OPEN);
    let (thief, owner) = (scene.connect(OWNER.1).await, scene.connect(OWNER.1).await);
    let (id, offer) = thief.enrollment.begin(OWNER.0, &labelled("thief")).await.unwrap();
    let busy = owner.enrollment.begin(OWNER.0, &labelled("phone")).await;
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    scene.enrol(OWNER.0).await;
    let late = thief.enrollment.confirm(id, &code(&offer, 0)).await;
    assert!(matches!(late, Err(Error::VerificationRequired(_))), "{late:?}");
}

#[tokio::test]
async fn changes_ask_for_a_fresh_code_on_the_same_connection() {
    let scene = Scene::new(OPEN);
    let first = scene.enrol(OWNER.0).await;
    let owner = scene.connect(OWNER.1).await;
    let id = owner.enrollment.list(OWNER.0).await.unwrap().authenticators[0].id.clone();
    assert!(matches!(owner.enrollment.begin(OWNER.0, &labelled("b")).await, Err(Error::VerificationRequired(_))));
    assert!(matches!(owner.enrollment.rename(OWNER.0, &id, "b").await, Err(Error::VerificationRequired(_))));
    assert!(matches!(owner.enrollment.new_recovery_codes(OWNER.0).await, Err(Error::VerificationRequired(_))));
    assert!(matches!(owner.enrollment.remove(OWNER.0, &id).await, Err(Error::VerificationRequired(_))));

    steady_step().await;
    owner.verify_freshly(OWNER.0, &first, 0).await;
    owner.enrollment.rename(OWNER.0, &id, "old phone").await.unwrap();
    assert_eq!(owner.enrollment.new_recovery_codes(OWNER.0).await.unwrap().len(), 10);
    let last = owner.enrollment.remove(OWNER.0, &id).await;
    assert!(matches!(last, Err(Error::LastAuthenticator(_))), "{last:?}");
    let (pending, second) = owner.enrollment.begin(OWNER.0, &labelled("new phone")).await.unwrap();
    let confirmation = owner.enrollment.confirm(pending, &code(&second, 0)).await.unwrap();
    assert_eq!(confirmation.recovery_codes, Vec::<String>::new());
    owner.enrollment.remove(OWNER.0, &id).await.unwrap();

    let elsewhere = scene.connect(OWNER.1).await;
    assert!(elsewhere.enrollment.new_recovery_codes(OWNER.0).await.is_err());
}

#[tokio::test]
async fn a_recovery_code_allows_replacing_alone() {
    let scene = Scene::new(OPEN);
    let lost = scene.enrol(OWNER.0).await;
    let codes = lost.recovery_codes.clone().unwrap();
    let owner = scene.connect(OWNER.1).await;
    assert_eq!(owner.verify(OWNER.0, &codes[0]).await.action(), Some(Action::Granted));
    assert!(matches!(owner.enrollment.new_recovery_codes(OWNER.0).await, Err(Error::VerificationRequired(_))));
    let (id, offer) = owner.enrollment.begin(OWNER.0, &labelled("new phone")).await.unwrap();
    steady_step().await;
    owner.enrollment.confirm(id, &code(&offer, 0)).await.unwrap();
    let labels: Vec<String> =
        owner.enrollment.list(OWNER.0).await.unwrap().authenticators.into_iter().map(|one| one.label).collect();
    assert_eq!(labels, ["new phone"]);
    assert_eq!(owner.verify(OWNER.0, &code(&lost, 0)).await.action(), Some(Action::Denied));
}

#[tokio::test]
async fn a_pending_enrolment_is_its_connections_alone_and_five_wrong_codes_end_it() {
    let scene = Scene::new(OPEN);
    let (owner, elsewhere) = (scene.connect(OWNER.1).await, scene.connect(OWNER.1).await);
    let (id, offer) = owner.enrollment.begin(OWNER.0, &labelled("phone")).await.unwrap();
    assert!(matches!(elsewhere.enrollment.confirm(id, &code(&offer, 0)).await, Err(Error::NotFound(_))));
    elsewhere.enrollment.cancel(id).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(owner.enrollment.confirm(id, &wrong_code(&offer)).await, Err(Error::WrongCode(_))));
    }
    assert!(matches!(owner.enrollment.confirm(id, &code(&offer, 0)).await, Err(Error::NotFound(_))));

    let (id, offer) = owner.enrollment.begin(OWNER.0, &labelled("phone")).await.unwrap();
    scene.service.connection_ended(&owner.key).await;
    assert!(matches!(owner.enrollment.confirm(id, &code(&offer, 0)).await, Err(Error::NotFound(_))));
    assert_eq!(owner.enrollment.list(OWNER.0).await.unwrap().authenticators, []);
}

#[tokio::test]
async fn bad_options_are_refused_with_what_is_allowed() {
    let scene = Scene::new("");
    let root = scene.connect(0).await;
    let bad = [
        (EnrollmentOptions { kind: Some("sms".into()), ..labelled("x") }, "totp or hotp"),
        (EnrollmentOptions { algorithm: Some("MD5".into()), ..labelled("x") }, "SHA1, SHA256 or SHA512"),
        (EnrollmentOptions { digits: Some(9), ..labelled("x") }, "6 to 8"),
        (EnrollmentOptions { period: Some(5), ..labelled("x") }, "15 to 120"),
        (labelled(""), "1 to 64"),
        (labelled("a\nb"), "1 to 64"),
        (labelled(&"x".repeat(65)), "1 to 64"),
    ];
    for (options, allowed) in bad {
        let error = root.enrollment.begin(OTHER.0, &options).await.unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains(allowed)), "{error:?}");
    }
    let unknown = root.enrollment.begin("no-such-account", &labelled("x")).await;
    assert!(matches!(unknown, Err(Error::UnknownAccount(_))), "{unknown:?}");
}

#[tokio::test]
async fn every_kind_of_authenticator_can_be_enrolled_and_used() {
    let scene = Scene::new("fail_delay = \"0s\"");
    let root = scene.connect(0).await;
    for (kind, algorithm, digits, period) in
        [("totp", "SHA1", 6, 30), ("totp", "SHA256", 7, 60), ("totp", "sha512", 8, 120), ("hotp", "SHA1", 6, 0)]
    {
        let options = EnrollmentOptions {
            label: Some(format!("{kind} {algorithm}")),
            kind: Some(kind.into()),
            algorithm: Some(algorithm.into()),
            digits: Some(digits),
            period: (period > 0).then_some(period),
            no_confirm: Some(true),
        };
        let (_, offer) = root.enrollment.begin(OTHER.0, &options).await.unwrap();
        assert_eq!((offer.digits, offer.period), (digits, period));
        assert!(offer.uri.starts_with(&format!("otpauth://{kind}/")), "{offer:?}");
    }
    let list = root.enrollment.list(OTHER.0).await.unwrap();
    assert_eq!(list.authenticators.len(), 4);
    assert_eq!(list.authenticators.iter().filter(|one| one.kind == "hotp").count(), 1);
}
