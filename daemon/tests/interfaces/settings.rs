//! Which settings are in force, and whether a file may replace them.

use std::process::{Command, Output};

use crate::scene::Scene;

fn check(file: &std::path::Path) -> Output {
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_countersignd"));
    daemon.arg("--check-config").arg("--config").arg(file).env_clear().output().unwrap()
}

#[tokio::test]
async fn the_settings_in_force_are_told_with_their_origin_until_a_reload() {
    let scene = Scene::new("tries = 2\n\n[audit]\nkeep = \"30d\"\n");
    let root = scene.connect(0).await;
    let file = scene.config.display();
    let told = root.admin.settings().await.unwrap();
    let told = |key: &str| told.iter().find(|setting| setting.key == key).unwrap().clone();
    assert_eq!((told("tries").value, told("tries").origin), ("2".into(), format!("{file}:1")));
    assert_eq!((told("audit.keep").value, told("audit.keep").origin), ("\"30d\"".into(), format!("{file}:4")));
    assert_eq!((told("self_enrolment").value, told("self_enrolment").origin), ("false".into(), "default".into()));

    std::fs::write(&scene.config, "# moved\ntries = 3\n").unwrap();
    assert_eq!(root.admin.settings().await.unwrap()[1].value, "2");
    root.admin.reload().await.unwrap();
    let tries = root.admin.settings().await.unwrap()[1].clone();
    assert_eq!((tries.value, tries.origin), ("3".into(), format!("{file}:2")));
}

#[test]
fn a_file_is_checked_without_a_daemon_a_store_or_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countersign.toml");
    std::fs::write(&file, "tries = 2\n").unwrap();
    let good = check(&file);
    assert!(good.status.success() && good.stderr.is_empty() && good.stdout.is_empty(), "{good:?}");
    std::fs::write(&file, "\ntries = 99\n").unwrap();
    let wrong = check(&file);
    assert_eq!(wrong.status.code(), Some(1));
    let text = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(
        text,
        format!(
            "countersignd: {}:2:9: tries: 99 is out of range: allowed is a whole number from 1 to 10\n",
            file.display()
        )
    );
    assert_eq!(check(&folder.path().join("absent.toml")).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
