//! A state that is not on the host that it was made on: told, and accepted by an administrator alone.

use dbus_api::Error;

use crate::scene::{ELSEWHERE, HERE, OTHER, OWNER, Scene};

async fn at_home(scene: &Scene) -> Option<bool> {
    scene.connect(0).await.admin.health().await.unwrap().at_home
}

#[tokio::test]
async fn a_copy_is_told_until_it_is_accepted_and_then_the_original_is_the_copy() {
    let scene = Scene::new("");
    scene.enrol(OWNER.0).await;
    scene.settle_on(HERE);
    assert_eq!(at_home(&scene).await, Some(true));
    scene.settle_on(ELSEWHERE);
    assert_eq!(at_home(&scene).await, Some(false));
    assert_eq!(at_home(&scene).await, Some(false), "looking at it accepted it");
    let refused = scene.connect(OTHER.1).await.admin.accept_host().await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    assert_eq!(at_home(&scene).await, Some(false));
    let before = scene.audit().await.len();
    scene.connect(0).await.admin.accept_host().await.unwrap();
    assert_eq!(scene.events(before).await, ["store note the state was accepted on this host"]);
    assert_eq!(at_home(&scene).await, Some(true));
    scene.settle_on(HERE);
    assert_eq!(at_home(&scene).await, Some(false));
}

#[tokio::test]
async fn a_host_without_a_machine_id_is_no_copy_and_cannot_be_accepted() {
    let scene = Scene::new("");
    scene.settle_on(HERE);
    assert_eq!(at_home(&scene).await, Some(true));
    scene.settle_on("uninitialized\n");
    assert_eq!(at_home(&scene).await, None);
    let refused = scene.connect(0).await.admin.accept_host().await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_mark_that_was_altered_on_the_disk_is_that_of_another_host() {
    for mark in ["x'00'", "zeroblob(32)", "'text'"] {
        let scene = Scene::new("");
        scene.settle_on(HERE);
        assert_eq!(at_home(&scene).await, Some(true));
        let statement = format!("UPDATE store SET host = CAST({mark} AS BLOB)");
        let scene = scene.altered(&statement).await;
        scene.settle_on(HERE);
        assert_eq!(at_home(&scene).await, Some(false), "{mark}");
    }
}

#[tokio::test]
async fn the_machine_id_is_not_in_the_store() {
    let scene = Scene::new("");
    scene.settle_on(HERE);
    assert_eq!(at_home(&scene).await, Some(true));
    let scene = scene.altered("VACUUM").await;
    let bytes = std::fs::read(scene.database()).unwrap();
    let id: Vec<u8> = (0..16).map(|index| u8::from_str_radix(&HERE[2 * index..2 * index + 2], 16).unwrap()).collect();
    for needle in [HERE.trim().as_bytes(), &id] {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}
