//! `key rotate` and `key status`, against a service in the daemon's place.

use dbus_api::KeyStatus;

use crate::stage::Stage;

fn stage() -> Stage {
    let stage = Stage::new();
    stage.held.lock().unwrap().key = KeyStatus {
        id: "5c0a7be1930d44f2".to_owned(),
        source: "file".to_owned(),
        path: Some("/var/lib/countersign/master.key".to_owned()),
        accounts: 2,
        ..KeyStatus::default()
    };
    stage
}

#[test]
fn a_rotation_is_begun_and_waited_for() {
    let stage = stage();
    let outcome = stage.run(&["key", "rotate"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
    assert!(outcome.out.contains("sealed under the new master key, 5c0a7be1930d44f2"), "{outcome:?}");
    assert!(outcome.out.contains("countersign backup FILE"), "{outcome:?}");
    let asked = stage.asked();
    assert_eq!(asked.first().map(String::as_str), Some("Admin.RotateKey"));
    assert_eq!(asked.iter().filter(|call| *call == "Admin.KeyStatus").count(), 4);
}

#[test]
fn a_rotation_that_need_not_be_waited_for_is_not() {
    let stage = stage();
    let outcome = stage.run(&["key", "rotate", "--no-wait"], "");
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.out.contains("countersign key status"), "{outcome:?}");
    assert_eq!(stage.asked(), ["Admin.RotateKey"]);
}

#[test]
fn one_that_is_under_way_is_waited_for_and_one_that_stopped_is_told() {
    let stage = stage();
    {
        let mut held = stage.held.lock().unwrap();
        held.key.previous = Some("1111111111111111".to_owned());
        held.key.resealed = Some(0);
    }
    let shown = stage.run(&["key", "status"], "").out;
    assert!(shown.contains("come to 0 of 2") && shown.contains("1111111111111111"), "{shown}");
    let outcome = stage.run(&["key", "rotate"], "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains("under way already"), "{outcome:?}");
    {
        let mut held = stage.held.lock().unwrap();
        held.key.previous = Some("1111111111111111".to_owned());
        (held.key.resealed, held.key.stopped) = (Some(0), Some(true));
    }
    let outcome = stage.run(&["key", "rotate"], "");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.err.contains("journalctl -u countersignd"), "{outcome:?}");
}

#[test]
fn a_credential_is_refused_with_what_to_do_instead() {
    let stage = stage();
    stage.held.lock().unwrap().key.source = "credential".to_owned();
    let outcome = stage.run(&["key", "rotate"], "");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("back into its file") && outcome.err.contains("countersignd(8)"), "{outcome:?}");
}

#[test]
fn the_status_names_the_key_and_where_it_comes_from() {
    let stage = stage();
    let shown = stage.run(&["key", "status"], "").out;
    assert!(shown.contains("Master key 5c0a7be1930d44f2, from the file"), "{shown}");
    stage.held.lock().unwrap().key.source = "credential".to_owned();
    let shown = stage.run(&["key", "status"], "").out;
    assert!(shown.contains("from the systemd credential"), "{shown}");
}
