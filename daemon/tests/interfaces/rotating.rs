//! A new master key over the bus: who may, what it says, and logins all the while.

use std::time::Duration;

use dbus_api::{Action, Error};

use crate::scene::{HERE, OTHER, OWNER, Scene, code};

/// Waits until nothing is sealed under the old key any more.
async fn ended(scene: &Scene) {
    let until_ended = async {
        while scene.store.key_in_use().previous.is_some() {
            scene.store.ping().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until_ended).await.unwrap();
}

#[tokio::test]
async fn a_rotation_is_told_in_the_status_and_in_the_audit() {
    let scene = Scene::new("");
    scene.settle_on(HERE);
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let before = root.admin.key_status().await.unwrap();
    assert_eq!((before.source.as_str(), before.accounts, &before.previous), ("file", 1, &None));
    assert_eq!((before.resealed, before.refused, before.stopped), (None, None, None));
    let from = scene.audit().await.len();
    root.admin.rotate_key().await.unwrap();
    ended(&scene).await;
    let after = root.admin.key_status().await.unwrap();
    assert_ne!(after.id, before.id);
    assert_eq!((after.accounts, after.previous), (1, None));
    assert_eq!(
        scene.events(from).await,
        [
            "key note a rotation of the master key was begun",
            "key note the rotation of the master key was ended; accounts sealed under the new one: 1",
        ]
    );
    assert_eq!(scene.audit().await[from].event.caller_uid, Some(0));
}

#[tokio::test]
async fn only_administrators_may_rotate_and_look() {
    let scene = Scene::new("");
    let (id, other) = (scene.store.key_id(), scene.connect(OTHER.1).await);
    let refused = other.admin.rotate_key().await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    let refused = other.admin.key_status().await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    assert_eq!(scene.store.key_id(), id);
}

#[tokio::test]
async fn codes_go_on_working_and_stay_spent() {
    let scene = Scene::new("fail_delay = \"0s\"");
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let recovery = offer.recovery_codes.clone().unwrap();
    let log_in = async |code: &str| root.verify(OWNER.0, code).await.action() == Some(Action::Granted);
    let now = code(&offer, 0);
    assert!(log_in(&now).await && log_in(&recovery[0]).await);
    root.admin.rotate_key().await.unwrap();
    assert!(!log_in(&now).await && !log_in(&recovery[0]).await, "a spent code is spent under any key");
    assert!(log_in(&recovery[1]).await);
    ended(&scene).await;
    assert!(!log_in(&now).await && !log_in(&recovery[1]).await);
    assert!(log_in(&recovery[2]).await);
}

#[tokio::test]
async fn a_rotation_that_was_interrupted_goes_on_at_the_next_start() {
    let scene = Scene::new("");
    scene.enrol(OWNER.0).await;
    let event =
        daemon::audit::Event::new(verifier::WallTime(0), daemon::audit::Kind::Key, daemon::audit::Outcome::Note);
    scene.store.begin_rotation(None, event).await.unwrap();
    let id = scene.store.key_id();
    let scene = scene.again().await;
    assert!(scene.store.key_in_use().previous.is_some());
    let second = scene.connect(0).await.admin.rotate_key().await;
    assert!(matches!(second, Err(Error::Busy(_))), "{second:?}");
    scene.service.carry_on_rotation();
    ended(&scene).await;
    assert_eq!(scene.store.key_id(), id);
}
