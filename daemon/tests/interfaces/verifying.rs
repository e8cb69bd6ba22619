//! Verifications: bound to their connection, decided once, the same answer for everybody.

use std::time::Duration;

use daemon::audit::syslog::Severity;
use dbus_api::{Action, Denial, Error, Origin, Step};

use crate::scene::{OWNER, Scene, code, steady_step, wrong_code};

const UNDELAYED: &str = "fail_delay = \"0s\"";

fn denied(step: &Step) -> Denial {
    assert_eq!(step.action(), Some(Action::Denied), "{step:?}");
    step.details.denial()
}

#[tokio::test]
async fn a_right_code_is_granted_once_and_then_refused_as_reused() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let from = scene.audit().await.len();
    steady_step().await;
    let right = code(&offer, 0);
    assert_eq!(root.verify(OWNER.0, &right).await.action(), Some(Action::Granted));
    let spaced = format!("{} {}", &right[..3], &right[3..]);
    assert_eq!(denied(&root.verify(OWNER.0, &spaced).await), Denial::Refused);
    assert_eq!(scene.events(from).await, ["verification granted", "verification refused reused"]);
}

#[tokio::test]
async fn unknown_unenrolled_and_enrolled_accounts_get_the_same_answers_until_they_are_locked() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let wrong = wrong_code(&offer);
    let root = scene.connect(0).await;
    let mut dialogues = Vec::new();
    for user in [OWNER.0, "bin", "no-such-account"] {
        let mut dialogue = Vec::new();
        for reply in [wrong.as_str(), "hello", "", &wrong, &wrong, &wrong] {
            let (id, step) = root.verifier.begin(user, &Origin::default()).await.unwrap();
            dialogue.push(step);
            if id != 0 {
                dialogue.push(root.verifier.respond(id, reply).await.unwrap());
            }
        }
        dialogues.push(dialogue);
    }
    assert_eq!(dialogues[0], dialogues[1]);
    assert_eq!(dialogues[0], dialogues[2]);
    let last = dialogues[0].last().unwrap();
    assert_eq!(denied(last), Denial::Locked);
    assert!(last.messages[0].text.starts_with("Too many wrong codes: try again in "), "{last:?}");
}

#[tokio::test]
async fn a_verification_ends_two_minutes_after_its_prompt_and_spends_no_code() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let (id, _) = root.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    let from = scene.audit().await.len();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(121)).await;
    tokio::time::resume();
    steady_step().await;
    let right = code(&offer, 0);
    let late = root.verifier.respond(id, &right).await;
    assert!(matches!(late, Err(Error::NotFound(_))), "{late:?}");
    assert_eq!(scene.events(from).await, ["verification refused timeout"]);
    assert_eq!(root.verify(OWNER.0, &right).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn a_right_code_while_locked_is_refused_and_not_consumed() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    let (early, _) = root.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    for _ in 0..3 {
        root.verify(OWNER.0, &wrong_code(&offer)).await;
    }
    let right = code(&offer, 0);
    assert_eq!(denied(&root.verifier.respond(early, &right).await.unwrap()), Denial::Locked);
    root.admin.unlock(OWNER.0).await.unwrap();
    assert_eq!(root.verify(OWNER.0, &right).await.action(), Some(Action::Granted));
}

#[tokio::test]
async fn a_verification_answers_only_to_its_own_connection_and_ends_with_it() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let (first, second) = (scene.connect(0).await, scene.connect(0).await);
    let (id, _) = first.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    let stolen = second.verifier.respond(id, &code(&offer, 0)).await;
    assert!(matches!(stolen, Err(Error::NotFound(_))), "{stolen:?}");
    second.verifier.cancel(id).await.unwrap();
    scene.service.connection_ended(&second.key).await;
    assert_eq!(first.verifier.respond(id, "hello").await.unwrap().action(), Some(Action::Denied));

    let (id, _) = first.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    scene.service.connection_ended(&first.key).await;
    let late = first.verifier.respond(id, &code(&offer, 0)).await;
    assert!(matches!(late, Err(Error::NotFound(_))), "{late:?}");
    assert_eq!(scene.events(0).await.last().unwrap(), "verification refused cancelled");
}

#[tokio::test]
async fn a_verification_takes_as_many_replies_as_configured() {
    let scene = Scene::new("tries = 3\nfail_delay = \"0s\"\n[throttling]\nfailures = 50");
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let (id, _) = root.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    for reply in [wrong_code(&offer).as_str(), ""] {
        assert_eq!(root.verifier.respond(id, reply).await.unwrap().action(), Some(Action::AskHidden));
    }
    let last = root.verifier.respond(id, &wrong_code(&offer)).await.unwrap();
    assert_eq!(denied(&last), Denial::TriesUsedUp);
    assert!(matches!(root.verifier.respond(id, "1").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn one_of_thirty_two_simultaneous_logins_gets_in_with_one_code() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    steady_step().await;
    let right = code(&offer, 0);
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (peer, right) = (scene.connect(0).await, right.clone());
        logins.spawn(async move { peer.verify(OWNER.0, &right).await.action() });
    }
    let granted = logins.join_all().await.into_iter().filter(|action| *action == Some(Action::Granted)).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn recovery_codes_work_once_each_and_tell_how_many_are_left() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let codes = offer.recovery_codes.clone().unwrap();
    let root = scene.connect(0).await;
    let step = root.verify(OWNER.0, &codes[0].to_lowercase().replace('0', "o")).await;
    assert_eq!(step.action(), Some(Action::Granted));
    assert!(step.messages[0].text.contains("9 are left"), "{step:?}");
    assert_eq!(denied(&root.verify(OWNER.0, &codes[0]).await), Denial::Refused);
    assert_eq!(root.verify(OWNER.0, &codes[1]).await.action(), Some(Action::Granted));
}

/// The texts that a granted login shows, without the day and the minute.
fn shown(step: &Step) -> Vec<String> {
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    let text = |message: &dbus_api::Message| message.text.split(" at 20").next().unwrap().to_owned();
    let lines = step.messages.iter().map(text);
    lines.filter(|line| line.contains("wrong code") || line.starts_with("A recovery code was used:")).collect()
}

#[tokio::test]
async fn who_gets_in_is_told_once_of_the_wrong_codes_before_and_where_the_last_one_came_from() {
    let scene = Scene::new("fail_delay = \"0s\"\n[throttling]\nfailures = 50");
    let codes = scene.enrol(OWNER.0).await.recovery_codes.clone().unwrap();
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    let fail = async |peer: &crate::scene::Peer, rhost: &str, reply: &str| {
        let origin = Origin { rhost: Some(rhost.into()), ..Origin::default() };
        let (id, _) = peer.verifier.begin(OWNER.0, &origin).await.unwrap();
        assert_eq!(
            peer.verifier.respond(id, reply).await.unwrap().messages.len(),
            1,
            "a refusal says nothing of others"
        );
    };
    let used = |left: u32| format!("A recovery code was used: {left} are left. New ones: countersign recovery-codes");

    fail(&root, "198.51.100.7", "123456789 no code").await;
    assert_eq!(shown(&root.verify(OWNER.0, &codes[0]).await), [used(9)]);
    fail(&root, "198.51.100.7", "0000-0000").await;
    fail(&root, "198.51.100.8", "0000-0000").await;
    fail(&root, "198.51.100.9", "no code: not charged").await;
    let notice = "2 wrong codes since your last login, the last from 198.51.100.8".to_owned();
    assert_eq!(shown(&root.verify(OWNER.0, &codes[1]).await), [used(8), notice]);
    assert_eq!(scene.store.read(OWNER.0).await.unwrap().unwrap().last_failure, None, "nothing of it is kept");
    assert_eq!(shown(&root.verify(OWNER.0, &codes[2]).await), [used(7)]);

    fail(&owner, "198.51.100.7", "0000-0000").await;
    assert_eq!(
        shown(&root.verify(OWNER.0, &codes[3]).await),
        [used(6), "1 wrong code since your last login,".to_owned()]
    );
    fail(&root, "evil\n\x1b[2J", "0000-0000").await;
    let escaped = "1 wrong code since your last login, from evil\\x0a\\x1b[2J".to_owned();
    assert_eq!(shown(&root.verify(OWNER.0, &codes[4]).await), [used(5), escaped]);
}

#[tokio::test]
async fn nobody_is_told_of_wrong_codes_where_notices_are_off_or_an_administrator_cleared_them() {
    let scene = Scene::new("fail_delay = \"0s\"\nnotices = false");
    let codes = scene.enrol(OWNER.0).await.recovery_codes.clone().unwrap();
    let root = scene.connect(0).await;
    root.verify(OWNER.0, "0000-0000").await;
    assert_eq!(shown(&root.verify(OWNER.0, &codes[0]).await).len(), 1);
    std::fs::write(&scene.config, UNDELAYED).unwrap();
    root.admin.reload().await.unwrap();
    root.verify(OWNER.0, "0000-0000").await;
    root.admin.enable(OWNER.0).await.unwrap();
    assert_eq!(shown(&root.verify(OWNER.0, &codes[1]).await).len(), 1);
}

#[tokio::test]
async fn a_recovery_code_is_told_louder_than_a_code_of_an_authenticator_and_with_how_many_are_left() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    root.verify(OWNER.0, &offer.recovery_codes.clone().unwrap()[0]).await;
    steady_step().await;
    root.verify(OWNER.0, &code(&offer, 0)).await;
    let audit = scene.audit().await;
    let [recovery, authenticator] = audit.last_chunk().unwrap();
    assert_eq!(recovery.event.severity(), Severity::Notice);
    assert!(recovery.line().contains("authenticator=\"recovery-code\" reason=\"9 recovery codes left\""));
    assert_eq!(authenticator.event.severity(), Severity::Info);
}

#[tokio::test]
async fn a_user_has_sixteen_verifications_at_most_and_root_more() {
    let scene = Scene::new(UNDELAYED);
    let owner = scene.connect(OWNER.1).await;
    for _ in 0..16 {
        owner.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    }
    let one_more = owner.verifier.begin(OWNER.0, &Origin::default()).await;
    assert!(matches!(one_more, Err(Error::LimitExceeded(_))), "{one_more:?}");
    let root = scene.connect(0).await;
    for _ in 0..100 {
        root.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    }
    scene.service.connection_ended(&owner.key).await;
    owner.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
}

#[tokio::test]
async fn the_limit_of_a_user_holds_for_verifications_that_begin_at_one_instant() {
    let scene = Scene::new(UNDELAYED);
    let owner = scene.connect(OWNER.1).await;
    let mut begun = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let verifier = owner.verifier.clone();
        begun.spawn(async move { verifier.begin(OWNER.0, &Origin::default()).await.is_ok() });
    }
    assert_eq!(begun.join_all().await.into_iter().filter(|ok| *ok).count(), 16);
}

#[tokio::test]
async fn what_was_counted_is_recorded_before_the_daemon_ends() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    for _ in 0..5 {
        root.verify(OWNER.0, "no code").await;
    }
    scene.service.record_counted().await;
    let last = scene.audit().await.pop().unwrap().line();
    assert!(last.contains("reason=\"malformed\"") && last.contains(" count=4 "), "{last}");
}

#[tokio::test]
async fn a_name_that_got_another_uid_is_refused_like_a_stranger_until_it_is_reset() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    scene.change(OWNER.0, |record| record.uid = Some(4242)).await;
    let root = scene.connect(0).await;
    let from = scene.audit().await.len();
    steady_step().await;
    let right = code(&offer, 0);
    assert_eq!(denied(&root.verify(OWNER.0, &right).await), Denial::Refused);
    assert_eq!(scene.events(from).await, ["verification refused uid-changed"]);
    assert_eq!(root.admin.account(OWNER.0).await.unwrap().failures, 0);
    let options = dbus_api::EnrollmentOptions { no_confirm: Some(true), ..Default::default() };
    assert!(matches!(root.enrollment.begin(OWNER.0, &options).await, Err(Error::AccessDenied(_))));
    root.admin.reset(OWNER.0, 0).await.unwrap();
    root.enrollment.begin(OWNER.0, &options).await.unwrap();
}

#[tokio::test]
async fn while_the_clock_is_behind_the_last_decision_recovery_codes_alone_let_in() {
    let scene = Scene::new(UNDELAYED);
    let offer = scene.enrol(OWNER.0).await;
    let ahead = |record: &mut daemon::store::Record| {
        record.account.last_decision = Some(verifier::WallTime(daemon::clock::wall().0 + 180_000));
    };
    scene.change(OWNER.0, ahead).await;
    let root = scene.connect(0).await;
    let from = scene.audit().await.len();
    steady_step().await;
    let right = code(&offer, 0);
    assert_eq!(denied(&root.verify(OWNER.0, &right).await), Denial::Unavailable);
    let recovery = offer.recovery_codes.clone().unwrap();
    assert_eq!(root.verify(OWNER.0, &recovery[0]).await.action(), Some(Action::Granted));
    assert_eq!(root.verify(OWNER.0, &right).await.action(), Some(Action::Granted));
    let events = scene.events(from).await;
    assert_eq!(events[0], "verification refused clock-backwards");
}

#[tokio::test]
async fn a_host_that_fails_over_twenty_accounts_is_refused_and_a_claimed_one_is_not() {
    let scene = Scene::new(UNDELAYED);
    let from = |rhost: &str| Origin { rhost: Some(rhost.into()), ..Origin::default() };
    let root = scene.connect(0).await;
    for number in 0..20 {
        let (id, _) = root.verifier.begin(&format!("guess{number}"), &from("198.51.100.7")).await.unwrap();
        root.verifier.respond(id, "123456").await.unwrap();
    }
    let (id, step) = root.verifier.begin(OWNER.0, &from("198.51.100.7")).await.unwrap();
    assert_eq!((id, denied(&step)), (0, Denial::Locked));
    assert_ne!(root.verifier.begin(OWNER.0, &from("198.51.100.8")).await.unwrap().0, 0);
    let owner = scene.connect(OWNER.1).await;
    assert_ne!(owner.verifier.begin(OWNER.0, &from("198.51.100.7")).await.unwrap().0, 0);
}

#[tokio::test]
async fn a_login_without_an_address_belongs_to_no_host_and_a_terminal_proves_nothing() {
    let scene = Scene::new(UNDELAYED);
    // sudo inside ssh: no address, and a terminal that the next session gets again.
    let origin = || Origin { tty: Some("pts/3".into()), ..Origin::default() };
    let root = scene.connect(0).await;
    for number in 0..25 {
        let (id, _) = root.verifier.begin(&format!("guess{number}"), &origin()).await.unwrap();
        root.verifier.respond(id, "123456").await.unwrap();
    }
    let (id, step) = root.verifier.begin(OWNER.0, &origin()).await.unwrap();
    assert_eq!(step.action(), Some(Action::AskHidden), "{step:?}");
    assert_ne!(id, 0);
}

#[tokio::test]
async fn nothing_that_was_typed_reaches_the_audit_unescaped() {
    let scene = Scene::new(UNDELAYED);
    let root = scene.connect(0).await;
    let forged = "x\"\nevent=verification outcome=granted account=\"root";
    let origin = Origin { service: Some(forged.into()), rhost: Some(forged.into()), ..Origin::default() };
    let (id, _) = root.verifier.begin(forged, &origin).await.unwrap();
    root.verifier.respond(id, forged).await.unwrap();
    for record in scene.audit().await {
        let line = record.line();
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
        assert!(line.starts_with("event=") && !line.contains(" event="), "{line}");
        assert!(line.matches(" account=\"").count() <= 1, "{line}");
    }
}

#[tokio::test]
async fn a_host_that_fails_over_as_many_accounts_as_configured_is_refused_until_sources_are_switched_off() {
    let scene = Scene::new("fail_delay = \"0s\"\n[sources]\naccounts = 2\nwindow = \"1h\"\n");
    let root = scene.connect(0).await;
    let from = Origin { service: Some("sshd".into()), rhost: Some("198.51.100.7".into()), ..Origin::default() };
    for user in ["guess1", "guess2"] {
        let (id, _) = root.verifier.begin(user, &from).await.unwrap();
        root.verifier.respond(id, "123456").await.unwrap();
    }
    let (_, step) = root.verifier.begin(OWNER.0, &from).await.unwrap();
    assert_eq!(denied(&step), Denial::Locked);
    assert!(step.details.retry_after.is_some_and(|seconds| (3590..=3600).contains(&seconds)), "{step:?}");
    std::fs::write(&scene.config, "[sources]\nenabled = false\n").unwrap();
    root.admin.reload().await.unwrap();
    let (_, step) = root.verifier.begin(OWNER.0, &from).await.unwrap();
    assert_eq!(step.action(), Some(Action::AskHidden), "{step:?}");
}
