//! Root at the console is kept waiting and not locked out; root anywhere else, and anybody else there, is.

use dbus_api::{Action, Denial, Offer, Origin, Step};

use crate::scene::{OWNER, Peer, Scene, code, steady_step, wrong_code};

const STRICT: &str = "fail_delay = \"1s\"\n[throttling]\ndisable_after = 6\n";

fn origin(service: &str, tty: &str, rhost: Option<&str>) -> Origin {
    Origin { service: Some(service.into()), tty: Some(tty.into()), rhost: rhost.map(str::to_owned), ruser: None }
}

fn console() -> Origin {
    origin("login", "tty1", None)
}

fn ssh() -> Origin {
    origin("sshd", "ssh", Some("192.0.2.7"))
}

async fn log_in(peer: &Peer, user: &str, origin: &Origin, reply: &str) -> Step {
    let (id, step) = peer.verifier.begin(user, origin).await.unwrap();
    if id == 0 { step } else { peer.verifier.respond(id, reply).await.unwrap() }
}

/// A scene in which wrong codes over ssh have locked root, or disabled it.
async fn locked(config: &str, user: &str, failures: u32) -> (Scene, Peer, Offer) {
    let scene = Scene::new(config);
    let phone = scene.enrol(user).await;
    let root = scene.connect(0).await;
    for _ in 0..failures {
        log_in(&root, user, &ssh(), &wrong_code(&phone)).await;
        scene.change(user, |record| record.account.throttle.lock = None).await;
    }
    if failures < 6 {
        log_in(&root, user, &ssh(), &wrong_code(&phone)).await;
    }
    (scene, root, phone)
}

#[tokio::test]
async fn a_lock_from_elsewhere_does_not_keep_root_from_the_console() {
    let (_scene, root, phone) = locked(STRICT, "root", 2).await;
    steady_step().await;
    assert_eq!(log_in(&root, "root", &ssh(), &code(&phone, 0)).await.details.denial(), Denial::Locked);
    let wrong = log_in(&root, "root", &console(), &wrong_code(&phone)).await;
    assert_eq!((wrong.details.denial(), wrong.details.fail_delay), (Denial::Refused, Some(30_000)));
    assert!(wrong.messages.iter().any(|message| message.text.contains("wait about 30 s")), "{wrong:?}");
    assert_eq!(log_in(&root, "root", &console(), &code(&phone, 0)).await.action(), Some(Action::Granted));
    assert_eq!(log_in(&root, "root", &ssh(), &code(&phone, 1)).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn disabling_by_failures_spares_the_console_alone_and_an_administrators_spares_nothing() {
    let (_scene, root, phone) = locked(STRICT, "root", 6).await;
    steady_step().await;
    assert_eq!(log_in(&root, "root", &ssh(), &code(&phone, 0)).await.details.denial(), Denial::Disabled);
    assert_eq!(log_in(&root, "root", &console(), &code(&phone, 0)).await.action(), Some(Action::Granted));
    assert_eq!(log_in(&root, "root", &ssh(), &code(&phone, 1)).await.details.denial(), Denial::Disabled);
    root.admin.disable("root").await.unwrap();
    assert_eq!(log_in(&root, "root", &console(), &code(&phone, 1)).await.details.denial(), Denial::Disabled);
}

#[tokio::test]
async fn failures_at_the_console_are_counted_locked_elsewhere_and_audited() {
    let scene = Scene::new(STRICT);
    let phone = scene.enrol("root").await;
    let root = scene.connect(0).await;
    let from = scene.audit().await.len();
    for _ in 0..4 {
        log_in(&root, "root", &console(), &wrong_code(&phone)).await;
    }
    let refused = "verification refused wrong";
    let expected = [refused, refused, refused, "lock note for 30 s", refused, "lock note for 60 s"];
    assert_eq!(scene.events(from).await, expected);
    let (_, step) = root.verifier.begin("root", &ssh()).await.unwrap();
    assert_eq!((step.details.denial(), step.details.retry_after), (Denial::Locked, Some(60)));
}

#[tokio::test]
async fn nothing_but_root_s_login_on_a_terminal_of_the_host_is_the_console() {
    let (_scene, root, phone) = locked(STRICT, "root", 2).await;
    for other in [
        origin("sshd", "tty1", None),
        origin("sudo", "tty1", None),
        origin("gdm", ":0", None),
        origin("login", "pts/3", None),
        origin("login", "", None),
        origin("login", "tty1", Some("192.0.2.7")),
    ] {
        let step = log_in(&root, "root", &other, &code(&phone, 0)).await;
        assert_eq!(step.details.denial(), Denial::Locked, "{other:?}");
    }
}

#[tokio::test]
async fn other_accounts_and_other_callers_are_locked_at_the_console_too() {
    let (scene, root, phone) = locked(STRICT, OWNER.0, 2).await;
    let owner = scene.connect(OWNER.1).await;
    for peer in [&root, &owner] {
        let step = log_in(peer, OWNER.0, &console(), &code(&phone, 0)).await;
        assert_eq!(step.details.denial(), Denial::Locked);
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let (_scene, root, phone) = locked(&format!("{STRICT}root_console = \"lock\"\n"), "root", 2).await;
    assert_eq!(log_in(&root, "root", &console(), &code(&phone, 0)).await.details.denial(), Denial::Locked);
}
