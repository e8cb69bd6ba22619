//! What the daemon says of itself.

use crate::scene::{HERE, Scene};

#[tokio::test]
async fn the_daemon_tells_its_version_its_key_and_a_sound_store() {
    let scene = Scene::new("");
    let socket = scene.settle_on(HERE);
    let health = scene.connect(0).await.admin.health().await.unwrap();
    assert_eq!(health.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(health.key.as_deref(), Some("file"));
    assert_eq!(health.socket.as_deref(), socket.to_str());
    assert_eq!(health.store_integrity.as_deref(), Some("ok"));
    assert!(health.store_size.unwrap() >= 4096 && health.free.unwrap() > 0, "{health:?}");
    assert_eq!((health.clock_behind, health.warnings.len(), health.at_home), (None, 0, Some(true)));
}

#[tokio::test]
async fn a_clock_behind_the_audit_is_told() {
    let scene = Scene::new("");
    let root = scene.connect(0).await;
    root.admin.reload().await.unwrap();
    drop(root);
    let scene = scene.altered("UPDATE audit SET at = at + 3600000").await;
    let behind = scene.connect(0).await.admin.health().await.unwrap().clock_behind.unwrap();
    assert!((3500..=3600).contains(&behind), "{behind}");
}

#[tokio::test]
async fn a_store_that_is_damaged_is_told() {
    let scene = Scene::new("");
    let damaged = "PRAGMA writable_schema = ON; \
                   UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'accounts') \
                   WHERE name = 'recovery_codes'; PRAGMA writable_schema = OFF;";
    let health = scene.altered(damaged).await.connect(0).await.admin.health().await.unwrap();
    assert!(health.store_integrity.as_deref().is_some_and(|found| found != "ok"), "{health:?}");
}
