//! Logins that nobody was asked a code for: refused without spending or charging anything, unless the policy wants none.

use dbus_api::{Action, Denial, Error, Origin};

use crate::scene::{OTHER, OWNER, Scene, code, steady_step};

fn sshd() -> Origin {
    Origin { service: Some("sshd".into()), rhost: Some("192.0.2.7".into()), ..Origin::default() }
}

#[tokio::test]
async fn it_is_refused_unless_the_policy_skips_passes_reminds_or_only_observes() {
    for (rule, result, record) in [
        ("", Action::Denied, "refused unasked"),
        ("unenrolled = \"enroll\"", Action::Denied, "refused unasked"),
        ("action = \"deny\"", Action::Denied, "refused unasked"),
        ("services = [\"sshd\"]\naction = \"skip\"", Action::Skipped, "note skipped"),
        ("unenrolled = \"remind\"", Action::Skipped, "note reminded"),
        ("services = [\"sshd\"]\nunenrolled = \"pass\"", Action::Skipped, "note passed"),
        ("mode = \"observe\"", Action::Skipped, "note would-refuse-unasked"),
    ] {
        let rule = if rule.is_empty() { String::new() } else { format!("[[rule]]\nname = \"one\"\n{rule}\n") };
        let scene = Scene::new(&format!("fail_delay = \"0s\"\n{rule}"));
        let step = scene.connect(0).await.verifier.unasked(OWNER.0, &sshd()).await.unwrap();
        assert_eq!(step.action(), Some(result), "{rule}: {step:?}");
        assert_eq!(scene.events(0).await.last().unwrap(), &format!("verification {record}"), "{rule}");
        assert!(scene.store.read(OWNER.0).await.unwrap().is_none(), "{rule}");
    }
}

#[tokio::test]
async fn it_spends_and_charges_nothing_and_nobody_may_ask_for_somebody_else() {
    let scene = Scene::new("fail_delay = \"0s\"");
    let phone = scene.enrol(OWNER.0).await;
    let (root, other) = (scene.connect(0).await, scene.connect(OTHER.1).await);
    for _ in 0..5 {
        let step = root.verifier.unasked(OWNER.0, &sshd()).await.unwrap();
        assert_eq!((step.action(), step.details.denial()), (Some(Action::Denied), Denial::Refused));
        assert!(step.messages[0].text.starts_with("A second factor is needed here"), "{step:?}");
    }
    steady_step().await;
    assert_eq!(root.verify(OWNER.0, &code(&phone, 0)).await.action(), Some(Action::Granted));
    let foreign = other.verifier.unasked(OWNER.0, &sshd()).await;
    assert!(matches!(foreign, Err(Error::AccessDenied(_))), "{foreign:?}");
    let skipping = "[[rule]]\nname = \"one\"\nservices = [\"sshd\"]\naction = \"skip\"\n";
    let claimed = Scene::new(skipping).connect(OWNER.1).await.verifier.unasked(OWNER.0, &sshd()).await.unwrap();
    assert_eq!(claimed.action(), Some(Action::Denied), "a claimed origin skipped");
}
