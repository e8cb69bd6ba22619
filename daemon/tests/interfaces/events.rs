//! Every event with every reason as it happens. The examples in docs/events.md are the lines that this test saw.

use std::collections::HashSet;
use std::time::Duration;

use daemon::audit::{Event, Kind, Origin as AuditedOrigin, Outcome};
use daemon::store::{Record, Urgency};
use dbus_api::{EnrollmentOptions, ImportRecord, Offer, Origin};
use verifier::WallTime;

use crate::scene::{ELSEWHERE, HERE, OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const CONFIGURATION: &str = "fail_delay = \"0s\"\n[throttling]\ndisable_after = 4\n\
    [[rule]]\nname = \"newcomers\"\nservices = [\"login\"]\nunenrolled = \"enroll\"\n";
/// A rule for each way in which the policy decides without a code, by services of those names.
const RULES: &str = "[[rule]]\nname = \"deploy\"\nservices = [\"skip\"]\naction = \"skip\"\n\
    [[rule]]\nname = \"closed\"\nservices = [\"deny\"]\naction = \"deny\"\n\
    [[rule]]\nname = \"staff\"\nservices = [\"remind\"]\nunenrolled = \"remind\"\n\
    [[rule]]\nname = \"guests\"\nservices = [\"pass\"]\nunenrolled = \"pass\"\n\
    [[rule]]\nname = \"su\"\nservices = [\"su\"]\nfactor_of = \"ruser\"\n\
    [[rule]]\nname = \"office\"\nservices = [\"office\"]\nremember = \"8h\"\n";
const HOST: &str = "192.0.2.7";

fn sshd() -> Origin {
    let item = |text: &str| Some(text.to_owned());
    Origin { service: item("sshd"), tty: item("ssh"), rhost: item(HOST), ruser: None }
}

/// A login of `user` by root's sshd.
async fn login(peer: &Peer, user: &str, reply: &str) {
    let (id, _) = peer.verifier.begin(user, &sshd()).await.unwrap();
    if id != 0 {
        peer.verifier.respond(id, reply).await.unwrap();
    }
}

/// Changes a record behind the daemon's back, as time or a name service would.
async fn change(scene: &Scene, user: &str, change: impl FnOnce(&mut Record) + Send + 'static) {
    scene.store.decide(user, Urgency::Login, move |tx| change(tx.record.as_mut().unwrap())).await.unwrap();
}

async fn enrol(peer: &Peer, label: &str, later: u64) -> Offer {
    let options = EnrollmentOptions { label: Some(label.into()), ..EnrollmentOptions::default() };
    let (id, offer) = peer.enrollment.begin(OWNER.0, &options).await.unwrap();
    peer.enrollment.confirm(id, &code(&offer, later)).await.unwrap();
    offer
}

/// Logins and what becomes of them.
async fn log_in_in_every_way(scene: &Scene, root: &Peer) {
    steady_step().await;
    let phone = enrol(root, "phone", 0).await;
    let codes = root.enrollment.new_recovery_codes(OWNER.0).await.unwrap();
    let right = code(&phone, 1);
    login(root, OWNER.0, &right).await;
    login(root, OWNER.0, &right).await;
    change(scene, OWNER.0, |record| record.account.last_decision = Some(WallTime(u64::MAX >> 1))).await;
    login(root, OWNER.0, &right).await;
    change(scene, OWNER.0, |record| record.account.last_decision = None).await;
    login(root, OWNER.0, &codes[0]).await;
    login(root, OWNER.0, "my password").await;
    login(root, OWNER.0, "\u{8}\n\r\u{7f}INCORRECT").await;
    login(root, OTHER.0, "123456").await;
    login(root, "nobody-here", "123456").await;
    login_of_another_uid(scene, root).await;
    end_without_a_reply(scene, root).await;
    let other = scene.connect(OTHER.1).await;
    other.verifier.begin(OWNER.0, &sshd()).await.unwrap_err();
    other.admin.unlock(OWNER.0).await.unwrap_err();
    guess_over_many_accounts(root).await;
    lock_and_disable(root, &phone).await;
}

/// What rules do.
async fn follow_rules(scene: &Scene, root: &Peer) {
    let enforced = format!("{CONFIGURATION}{RULES}");
    std::fs::write(&scene.config, &enforced).unwrap();
    root.admin.reload().await.unwrap();
    let at = |service: &str| Origin { service: Some(service.to_owned()), ..sshd() };
    for service in ["skip", "remind", "pass"] {
        root.verifier.begin("proxy", &at(service)).await.unwrap();
    }
    let (id, _) = root.verifier.begin("proxy", &at("deny")).await.unwrap();
    root.verifier.respond(id, "123456").await.unwrap();
    root.verifier.begin("proxy", &at("su")).await.unwrap_err();
    let phone = scene.enrol("man").await;
    let (id, _) = root.verifier.begin("man", &at("office")).await.unwrap();
    root.verifier.respond(id, &code(&phone, 0)).await.unwrap();
    root.verifier.begin("man", &at("office")).await.unwrap();
    let wrong = wrong_code(&phone);
    for _ in 0..3 {
        login(root, "man", &wrong).await;
    }
    let enroll = "[[rule]]\nname = \"new\"\nservices = [\"enroll\"]\nunenrolled = \"enroll\"\n";
    std::fs::write(&scene.config, format!("mode = \"observe\"\n{enforced}{enroll}")).unwrap();
    root.admin.reload().await.unwrap();
    for service in ["sshd", "deny", "remind", "pass", "enroll"] {
        root.verifier.begin("proxy", &at(service)).await.unwrap();
    }
    root.verifier.unasked("proxy", &sshd()).await.unwrap();
    root.verifier.begin("man", &sshd()).await.unwrap();
    root.admin.unlock("man").await.unwrap();
    root.verifier.begin("man", &sshd()).await.unwrap();
    root.verifier.begin("man", &Origin { rhost: Some("198.51.100.7".into()), ..sshd() }).await.unwrap();
    root.admin.disable("man").await.unwrap();
    root.verifier.begin("man", &sshd()).await.unwrap();
    root.admin.enable("man").await.unwrap();
    std::fs::write(&scene.config, CONFIGURATION).unwrap();
    root.admin.reload().await.unwrap();
}

async fn login_of_another_uid(scene: &Scene, root: &Peer) {
    scene.enrol("games").await;
    change(scene, "games", |record| record.uid = Some(1234)).await;
    login(root, "games", "123456").await;
}

async fn end_without_a_reply(scene: &Scene, root: &Peer) {
    let (id, _) = root.verifier.begin(OWNER.0, &sshd()).await.unwrap();
    root.verifier.cancel(id).await.unwrap();
    root.verifier.begin(OWNER.0, &sshd()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(121)).await;
    tokio::time::resume();
    scene.service.sweep().await;
}

async fn guess_over_many_accounts(root: &Peer) {
    let from = Origin { rhost: Some("198.51.100.7".into()), ..sshd() };
    for number in 0..20 {
        let (id, _) = root.verifier.begin(&format!("guess{number}"), &from).await.unwrap();
        root.verifier.respond(id, "123456").await.unwrap();
    }
    root.verifier.begin(OWNER.0, &from).await.unwrap();
}

async fn lock_and_disable(root: &Peer, phone: &Offer) {
    let wrong = wrong_code(phone);
    for _ in 0..4 {
        login(root, OWNER.0, &wrong).await;
    }
    root.admin.unlock(OWNER.0).await.unwrap();
    for _ in 0..2 {
        login(root, OWNER.0, &wrong).await;
    }
    root.admin.enable(OWNER.0).await.unwrap();
}

/// A login at a service where a rule lets whoever has nothing enrol.
async fn enrol_at_logins(scene: &Scene, root: &Peer) {
    let console = Origin { service: Some("login".into()), tty: Some("tty1".into()), ..Origin::default() };
    let begin = || async { root.verifier.begin("mail", &console).await.unwrap() };
    let (id, _) = begin().await;
    begin().await;
    for _ in 0..3 {
        root.verifier.respond(id, "my password").await.unwrap();
    }
    for overtaken in [true, false] {
        let (id, step) = begin().await;
        let mut offer = Offer::default();
        offer.secret = step.messages.last().unwrap().text.replace("Key to type: ", "").replace(' ', "");
        offer.period = 30;
        root.verifier.respond(id, &code(&offer, 0)).await.unwrap();
        if overtaken {
            scene.enrol("mail").await;
        }
        root.verifier.respond(id, "").await.unwrap();
        if overtaken {
            root.admin.reset("mail", 3600).await.unwrap();
        }
    }
    root.verifier.unasked("mail", &sshd()).await.unwrap();
}

/// What administrators and owners change.
async fn change_everything(scene: &Scene, root: &Peer) {
    root.admin.forget(OWNER.0).await.unwrap();
    root.admin.disable(OWNER.0).await.unwrap();
    root.admin.enable(OWNER.0).await.unwrap();
    let codes = root.enrollment.new_recovery_codes(OWNER.0).await.unwrap();
    let owner = scene.connect(OWNER.1).await;
    let (id, _) = owner.verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    owner.verifier.respond(id, &codes[0]).await.unwrap();
    enrol(&owner, "new phone", 0).await;
    let id = root.enrollment.list(OWNER.0).await.unwrap().authenticators.last().unwrap().id.clone();
    root.enrollment.rename(OWNER.0, &id, "key fob").await.unwrap();
    root.enrollment.remove(OWNER.0, &id).await.unwrap();
    root.admin.reset(OWNER.0, 0).await.unwrap();
    root.admin.reset(OWNER.0, 86_400).await.unwrap();
    let record = |account: &str| {
        let mut record = ImportRecord::new(account, b"12345678901234567890".to_vec());
        (record.label, record.kind) = (Some("token".into()), "hotp".into());
        record
    };
    root.admin.import(&[record(OTHER.0), record("left-last-year")]).await.unwrap();
    root.admin.prune("left-last-year").await.unwrap();
    root.admin.reload().await.unwrap();
    std::fs::write(&scene.config, "tries = 99\n").unwrap();
    root.admin.reload().await.unwrap_err();
    std::fs::write(&scene.config, CONFIGURATION).unwrap();
}

/// What becomes of single authenticators.
async fn move_authenticators(scene: &Scene, root: &Peer) {
    let user = "uucp";
    let fob =
        EnrollmentOptions { kind: Some("hotp".into()), label: Some("fob".into()), ..EnrollmentOptions::default() };
    let fob = EnrollmentOptions { no_confirm: Some(true), ..fob };
    let offers = [scene.enrol(user).await, root.enrollment.begin(user, &fob).await.unwrap().1];
    // Those of one millisecond are listed in no order.
    let listed = root.enrollment.list(user).await.unwrap().authenticators;
    let [phone, fob] = ["totp", "hotp"].map(|kind| listed.iter().find(|one| one.kind == kind).unwrap().id.clone());
    let code_at = |offer: &Offer, factor: u64| {
        let secret = verifier::Secret::new(totp_rs::Secret::try_from_base32(&offer.secret).unwrap().to_vec()).unwrap();
        verifier::otp::code(&secret, verifier::Parameters::COMMON, factor).text().to_string()
    };
    let step = daemon::clock::wall().seconds() / 30 - 360;
    let resync = async |id: &str, offer: &Offer, first: u64| {
        let _ = root.enrollment.resync(user, id, &code_at(offer, first), &code_at(offer, first + 1)).await;
    };
    resync(&phone, &offers[0], step).await;
    resync(&phone, &offers[0], step).await;
    resync(&fob, &offers[1], 60).await;
    scene.change(user, |record| record.account.last_decision = Some(WallTime(u64::MAX >> 1))).await;
    let owner = scene.connect(10).await;
    owner.verifier.begin(user, &Origin::default()).await.unwrap();
    let (id, _) = owner.verifier.begin(user, &Origin::default()).await.unwrap();
    owner.verifier.respond(id, &code_at(&offers[1], 62)).await.unwrap();
    scene.change(user, |record| record.account.last_decision = Some(WallTime(u64::MAX >> 1))).await;
    let _ = owner.enrollment.resync(user, &phone, &code_at(&offers[0], step + 5), &code_at(&offers[0], step + 6)).await;
    scene.change(user, |record| record.account.last_decision = None).await;
    for _ in 0..4 {
        resync(&phone, &offers[0], step + 99_999).await;
    }
    root.admin.disable(user).await.unwrap();
    resync(&phone, &offers[0], step).await;
    root.admin.enable(user).await.unwrap();
    root.admin.disable_authenticator(user, &fob).await.unwrap();
    root.admin.enable_authenticator(user, &fob).await.unwrap();
    export_in_every_way(scene, root, user, &phone).await;
    let ended = |record: &mut Record| {
        record.account.recovery_codes.clear();
        record.account.authenticators.iter_mut().for_each(|one| one.expires = Some(WallTime(1)));
    };
    scene.change(user, ended).await;
    login(root, user, "123456").await;
}

async fn export_in_every_way(scene: &Scene, root: &Peer, user: &str, id: &str) {
    root.admin.export(user, id).await.unwrap_err();
    std::fs::write(&scene.config, format!("{CONFIGURATION}[admin]\nexport = true\n")).unwrap();
    root.admin.reload().await.unwrap();
    root.admin.export(user, id).await.unwrap();
    root.admin.export(user, "00000000").await.unwrap_err();
    std::fs::write(&scene.config, CONFIGURATION).unwrap();
    root.admin.reload().await.unwrap();
}

/// What needs a broken name service, a broken disk or the process itself, as the daemon writes it down.
async fn note_what_cannot_be_played(scene: &Scene) {
    for kind in [Kind::Start, Kind::Stop] {
        scene.service.record(Event::new(WallTime(0), kind, Outcome::Note)).await;
    }
    let mut event = Event::new(WallTime(0), Kind::Restore, Outcome::Granted);
    event.reason = Some("the store came from a backup; accounts: 118; its counters are trusted".into());
    event.caller_uid = Some(0);
    scene.service.record(event).await;
    for reason in ["name-service", "store"] {
        let mut event = Event::new(WallTime(0), Kind::Verification, Outcome::Refused);
        event.account = Some(OWNER.0.into());
        let text = |item: Option<String>| item.unwrap_or_default();
        let Origin { service, tty, rhost, ruser } = sshd();
        event.origin = Some(AuditedOrigin {
            service: text(service),
            tty: text(tty),
            rhost: text(rhost),
            ruser: text(ruser),
            claimed: false,
        });
        event.reason = Some(reason.into());
        event.caller_uid = Some(0);
        scene.service.record(event).await;
    }
}

/// The state on a host that is not its own, until that is accepted.
async fn copy_to_another_host(scene: &Scene, root: &Peer) {
    scene.settle_on(HERE);
    scene.service.tell_home().await;
    scene.settle_on(ELSEWHERE);
    scene.service.tell_home().await;
    root.admin.accept_host().await.unwrap();
}

/// A new master key, until everything is sealed under it.
async fn rotate_the_key(scene: &Scene, root: &Peer) {
    root.admin.rotate_key().await.unwrap();
    while scene.store.key_in_use().previous.is_some() {
        scene.store.ping().await.unwrap();
    }
}

/// A backup that somebody takes, and one that nobody does.
async fn back_up(root: &Peer) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let taking = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    root.admin.backup((&writer).into()).await.unwrap();
    drop(writer);
    assert!(taking.join().unwrap() > 4096);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    root.admin.backup((&writer).into()).await.unwrap_err();
}

/// A line with what differs from run to run, and the names of this machine, replaced by the same for all.
fn example(line: &str, scene: &Scene) -> String {
    let mut line = line.replace(&scene.config.display().to_string(), "/etc/countersign/countersign.toml");
    for ((name, uid), (shown, shown_uid)) in [(OWNER, ("alice", 1000)), (OTHER, ("bob", 1001))] {
        line = line.replace(&format!("account=\"{name}\""), &format!("account=\"{shown}\""));
        line = line.replace(&format!("caller_uid={uid} "), &format!("caller_uid={shown_uid} "));
    }
    if let Some((before, authenticator)) = line.split_once("authenticator=\"").filter(|(_, id)| !id.starts_with("rec"))
    {
        line = format!("{before}authenticator=\"1f2e3d4c{}", &authenticator[8..]);
    }
    if let Some((before, until)) = line.split_once("remembered until 2") {
        let (_, after) = until.split_once(" UTC").unwrap();
        line = format!("{before}remembered until 2026-11-22 18:00 UTC{after}");
    }
    // It may be a step more or less.
    line = line.replace("clock off by -10770 s", "clock off by -10800 s");
    let (line, _) = line.split_once(" seq=").unwrap();
    format!("{line} seq=118 chain=5c0a7be1930d44f2")
}

/// The first line of each event, outcome and reason, by event.
async fn examples(scene: &Scene) -> Vec<String> {
    let audit = scene.audit().await;
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        for record in audit.iter().filter(|record| record.event.kind == kind) {
            let Event { outcome, reason, .. } = &record.event;
            if seen.insert((kind, outcome.name(), reason.clone())) {
                lines.push(example(&record.line(), scene));
            }
        }
    }
    lines
}

#[tokio::test]
async fn the_examples_in_the_docs_are_what_happens() {
    let scene = Scene::new(CONFIGURATION);
    let root = scene.connect(0).await;
    log_in_in_every_way(&scene, &root).await;
    follow_rules(&scene, &root).await;
    change_everything(&scene, &root).await;
    enrol_at_logins(&scene, &root).await;
    move_authenticators(&scene, &root).await;
    note_what_cannot_be_played(&scene).await;
    scene.enrol("sys").await;
    let altered = "UPDATE accounts SET failures = 0, locks = 7 WHERE name = 'sys';
        UPDATE notices SET at = 0 WHERE account = 'games'";
    let scene = scene.altered(altered).await;
    let root = scene.connect(0).await;
    root.verifier.begin("sys", &sshd()).await.unwrap_err();
    root.verifier.begin("games", &sshd()).await.unwrap();
    copy_to_another_host(&scene, &root).await;
    rotate_the_key(&scene, &root).await;
    back_up(&root).await;

    let lines = examples(&scene).await;
    let examples = format!("```\n{}\n```\n", lines.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/events.md");
    let mut page = std::fs::read_to_string(path).unwrap();
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        let (before, rest) = page.split_once("## An example of each\n").unwrap();
        let (introduction, rest) = rest.split_once("```\n").unwrap();
        let (_, after) = rest.split_once("```\n").unwrap();
        page = format!("{before}## An example of each\n{introduction}{examples}{after}");
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        page.contains(&examples),
        "docs/events.md does not hold what was seen (COUNTERSIGN_WRITE_DOCS=1 writes it):\n{examples}"
    );
    every_row_has_its_example(&page, &lines);
}

/// The tables name every event and reason of the examples, and the examples show every one of the tables.
fn every_row_has_its_example(page: &str, lines: &[String]) {
    let rows = |heading: &str| {
        let table = page.split_once(heading).unwrap().1.split("\n\n").next().unwrap();
        let cells = table.lines().filter_map(|row| row.strip_prefix("| `")?.split(" |").next());
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect::<HashSet<_>>()
    };
    let events: HashSet<_> = Kind::ALL.map(|kind| kind.name().to_owned()).into();
    assert_eq!(rows("| `event` | when |"), events);
    for event in &events {
        assert!(lines.iter().any(|line| line.starts_with(&format!("event={event} "))), "no example of {event}");
    }
    let reason = |line: &String| Some(line.split_once("reason=\"")?.1.split_once('"')?.0.to_owned());
    let notes = lines.iter().filter(|line| line.starts_with("event=verification outcome=note"));
    assert_eq!(rows("| `reason` | what happens or would happen"), notes.filter_map(reason).collect());
    let refusals = lines.iter().filter(|line| line.starts_with("event=verification outcome=refused"));
    assert_eq!(rows("| `reason` | what happened"), refusals.filter_map(reason).collect());
}
