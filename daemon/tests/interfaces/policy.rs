//! Rules: who is asked, who is let through, who is refused, and what the audit says of it.

use daemon::accounts::NssError;
use daemon::audit::AuditRecord;
use daemon::config::Config;
use daemon::service::Service;
use dbus_api::{Action, Denial, Error, Origin, Step};

use crate::scene::{OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const OFFICE: &str = "192.0.2.7";

/// A login as a service of root's or of somebody else describes it.
fn from(service: &str, rhost: &str) -> Origin {
    let item = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Origin { service: item(service), tty: None, rhost: item(rhost), ruser: None }
}

fn scene(rules: &str) -> Scene {
    Scene::new(&format!("fail_delay = \"0s\"\n{rules}"))
}

async fn begin(peer: &Peer, user: &str, origin: &Origin) -> Step {
    peer.verifier.begin(user, origin).await.unwrap().1
}

async fn action(peer: &Peer, user: &str, origin: &Origin) -> Action {
    begin(peer, user, origin).await.action().unwrap()
}

/// The last record's outcome, rule and reason.
async fn told(scene: &Scene) -> String {
    let AuditRecord { event, .. } = scene.audit().await.pop().unwrap();
    format!("{} {} {}", event.outcome.name(), event.rule.unwrap_or_default(), event.reason.unwrap_or_default())
}

#[tokio::test]
async fn a_rule_that_skips_asks_nobody_where_it_matches_and_is_named_in_the_audit() {
    let rules = "[[rule]]\nname = \"deploy\"\naccounts = [\"daemon\"]\nservices = [\"sshd\"]\n\
                 networks = [\"192.0.2.0/24\"]\naction = \"skip\"\n";
    let scene = scene(rules);
    let root = scene.connect(0).await;
    for rhost in [OFFICE, "::ffff:192.0.2.7"] {
        let step = begin(&root, OWNER.0, &from("sshd", rhost)).await;
        assert_eq!((step.action(), step.messages.len()), (Some(Action::Skipped), 0), "{rhost}");
        assert_eq!(told(&scene).await, "note deploy skipped");
    }
    let elsewhere =
        ["192.0.3.7", "", "office.example", "192.0.2.7.example", "192.0.2.07", "::192.0.2.7", "192.0.2.7/24"];
    for rhost in elsewhere {
        assert_eq!(action(&root, OWNER.0, &from("sshd", rhost)).await, Action::AskHidden, "{rhost}");
    }
    assert_eq!(action(&root, OWNER.0, &from("sudo", OFFICE)).await, Action::AskHidden);
    assert_eq!(action(&root, OTHER.0, &from("sshd", OFFICE)).await, Action::AskHidden);
}

#[tokio::test]
async fn an_origin_that_another_caller_than_root_claims_matches_no_rule_that_skips() {
    let rules = "[[rule]]\nname = \"all\"\naction = \"skip\"\n[[rule]]\nname = \"office\"\nservices = [\"locker\"]\n\
                 networks = [\"0.0.0.0/0\", \"::/0\"]\nremember = \"8h\"\nunenrolled = \"pass\"\n\
                 [[rule]]\nname = \"console\"\nconsole = true\nunenrolled = \"pass\"\n";
    let scene = scene(rules);
    let owner = scene.connect(OWNER.1).await;
    let console = Origin { tty: Some("tty1".into()), ..from("login", "") };
    for origin in [from("locker", OFFICE), from("sshd", OFFICE), console, Origin::default()] {
        assert_eq!(action(&owner, OWNER.0, &origin).await, Action::AskHidden, "{origin:?}");
    }
    let root = scene.connect(0).await;
    assert_eq!(action(&root, OWNER.0, &Origin::default()).await, Action::Skipped);
}

#[tokio::test]
async fn a_console_is_root_s_word_about_a_terminal_of_the_host() {
    let scene = scene("[[rule]]\nname = \"console\"\nconsole = true\naction = \"skip\"\n");
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    let at = |service: &str, tty: &str, rhost: &str| Origin { tty: Some(tty.into()), ..from(service, rhost) };
    assert_eq!(action(&root, OWNER.0, &at("login", "/dev/tty1", "")).await, Action::Skipped);
    assert_eq!(action(&owner, OWNER.0, &at("login", "/dev/tty1", "")).await, Action::AskHidden);
    for origin in [at("login", "/dev/pts/1", ""), at("sudo", "/dev/tty1", ""), at("login", "/dev/tty1", OFFICE)] {
        assert_eq!(action(&root, OWNER.0, &origin).await, Action::AskHidden, "{origin:?}");
    }
}

#[tokio::test]
async fn whom_a_rule_denies_gets_the_questions_and_answers_of_all_others_and_spends_no_code() {
    let rules = "[[rule]]\nname = \"closed\"\naccounts = [\"daemon\"]\nservices = [\"sshd\"]\naction = \"deny\"\n\
                 [throttling]\ndisable_after = 2\n";
    let scene = scene(rules);
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    let right = code(&offer, 0);
    let mut dialogues = Vec::new();
    for user in [OWNER.0, "no-such-account"] {
        let mut dialogue = Vec::new();
        for reply in [right.as_str(), "hello", &right, &right] {
            let (id, step) = root.verifier.begin(user, &from("sshd", OFFICE)).await.unwrap();
            dialogue.push(step);
            if id != 0 {
                dialogue.push(root.verifier.respond(id, reply).await.unwrap());
            }
        }
        dialogues.push(dialogue);
        if user == OWNER.0 {
            assert_eq!(scene.events(0).await.iter().filter(|event| event.ends_with("refused denied")).count(), 2);
        }
    }
    assert_eq!(dialogues[0], dialogues[1]);
    let (id, _) = root.verifier.begin(OWNER.0, &from("sudo", "")).await.unwrap();
    let step = root.verifier.respond(id, &right).await.unwrap();
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
}

#[tokio::test]
async fn who_has_nothing_enrolled_is_reminded_or_passed_and_whose_authenticators_are_off_is_not() {
    let rule = |service: &str, unenrolled: &str| {
        format!("[[rule]]\nname = \"{service}\"\nservices = [\"{service}\"]\nunenrolled = \"{unenrolled}\"\n")
    };
    let scene = scene(&[rule("pass", "pass"), rule("remind", "remind"), rule("enroll", "enroll")].concat());
    let root = scene.connect(0).await;
    for user in [OWNER.0, "no-such-account"] {
        let reminded = begin(&root, user, &from("remind", OFFICE)).await;
        assert_eq!(reminded.action(), Some(Action::Skipped));
        let texts: Vec<_> = reminded.messages.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["A second factor will be needed here: run countersign enroll"]);
        assert_eq!(told(&scene).await, "note remind reminded");
        let passed = begin(&root, user, &from("pass", OFFICE)).await;
        assert_eq!((passed.action(), passed.messages.len()), (Some(Action::Skipped), 0));
        assert_eq!(told(&scene).await, "note pass passed");
        assert_eq!(action(&root, user, &from("enroll", OFFICE)).await, Action::AskHidden);
        assert_eq!(action(&root, user, &from("sshd", OFFICE)).await, Action::AskHidden);
    }

    scene.enrol(OWNER.0).await;
    let services = ["pass", "remind"].map(|service| from(service, OFFICE));
    for origin in &services {
        assert_eq!(action(&root, OWNER.0, origin).await, Action::AskHidden);
    }
    root.admin.disable(OWNER.0).await.unwrap();
    for origin in &services {
        assert_eq!(begin(&root, OWNER.0, origin).await.details.denial(), Denial::Disabled);
    }
    root.admin.enable(OWNER.0).await.unwrap();
    scene.change(OWNER.0, |record| record.account.authenticators.iter_mut().for_each(|one| one.active = false)).await;
    for origin in &services {
        assert_eq!(action(&root, OWNER.0, origin).await, Action::AskHidden, "its authenticators are off");
    }
    scene.change(OWNER.0, |record| record.uid = Some(4321)).await;
    for origin in &services {
        assert_eq!(action(&root, OWNER.0, origin).await, Action::AskHidden, "the name belongs to another uid");
    }
    root.admin.reset(OWNER.0, 0).await.unwrap();
    for origin in &services {
        assert_eq!(action(&root, OWNER.0, origin).await, Action::Skipped, "an administrator reset it");
    }
    root.admin.disable(OWNER.0).await.unwrap();
    for origin in &services {
        assert_eq!(begin(&root, OWNER.0, origin).await.details.denial(), Denial::Disabled);
    }
}

#[tokio::test]
async fn until_the_deadline_who_has_nothing_enrolled_is_reminded_of_the_day_and_then_refused() {
    let rules = "[[rule]]\nname = \"later\"\nservices = [\"later\"]\nenroll_by = 2999-01-31\n\
                 [[rule]]\nname = \"past\"\nservices = [\"past\"]\nenroll_by = 2020-01-31\n";
    let scene = scene(rules);
    let root = scene.connect(0).await;
    let step = begin(&root, OWNER.0, &from("later", "")).await;
    assert_eq!(step.action(), Some(Action::Skipped));
    assert_eq!(step.messages[0].text, "From 31 January 2999 a second factor is needed here: run countersign enroll");
    assert_eq!(action(&root, OWNER.0, &from("past", "")).await, Action::AskHidden);
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().enroll_by.as_deref(), Some("2999-01-31"));
    scene.enrol(OWNER.0).await;
    assert_eq!(action(&root, OWNER.0, &from("later", "")).await, Action::AskHidden);
    assert_eq!(root.enrollment.list(OWNER.0).await.unwrap().enroll_by, None);
}

#[tokio::test]
async fn while_the_policy_observes_nobody_is_asked_and_the_audit_says_what_would_have_happened() {
    let rules = "mode = \"observe\"\n[[rule]]\nname = \"skip\"\nservices = [\"skip\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"deny\"\nservices = [\"deny\"]\naction = \"deny\"\n\
                 [[rule]]\nname = \"remind\"\nservices = [\"remind\"]\nunenrolled = \"remind\"\n\
                 [[rule]]\nname = \"enroll\"\nservices = [\"enroll\"]\nunenrolled = \"enroll\"\n";
    let scene = scene(rules);
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let would = async |user: &str, service: &str| {
        let step = begin(&root, user, &from(service, OFFICE)).await;
        assert_eq!((step.action(), step.messages.len()), (Some(Action::Skipped), 0), "{user} {service}");
        told(&scene).await
    };
    assert_eq!(would(OWNER.0, "sshd").await, "note  would-ask");
    assert_eq!(would(OTHER.0, "sshd").await, "note  would-refuse-not-enrolled");
    assert_eq!(would(OTHER.0, "skip").await, "note skip skipped");
    assert_eq!(would(OWNER.0, "deny").await, "note deny would-refuse-denied");
    assert_eq!(would(OTHER.0, "remind").await, "note remind would-remind");
    assert_eq!(would(OTHER.0, "enroll").await, "note enroll would-enroll");
    root.admin.disable(OWNER.0).await.unwrap();
    assert_eq!(would(OWNER.0, "sshd").await, "note  would-refuse-disabled");
    let owner = scene.connect(OWNER.1).await;
    assert_eq!(action(&owner, OWNER.0, &from("locker", "")).await, Action::Skipped);

    root.admin.reload().await.unwrap();
    let reloaded = scene.audit().await.pop().unwrap();
    let reason = reloaded.event.reason.clone().unwrap();
    assert!(reason.starts_with("OBSERVING: nobody is asked for a second factor"), "{reason}");
    assert_eq!(reloaded.event.severity(), daemon::audit::syslog::Severity::Warning);
}

#[tokio::test]
async fn one_rule_may_observe_while_others_are_enforced() {
    let scene = scene("[[rule]]\nname = \"trial\"\nservices = [\"sudo\"]\nmode = \"observe\"\n");
    let root = scene.connect(0).await;
    assert_eq!(action(&root, OWNER.0, &from("sudo", "")).await, Action::Skipped);
    assert_eq!(told(&scene).await, "note trial would-refuse-not-enrolled");
    assert_eq!(action(&root, OWNER.0, &from("sshd", "")).await, Action::AskHidden);
}

#[tokio::test]
async fn groups_are_primary_and_supplementary_and_may_exclude() {
    let rules = "[[rule]]\nname = \"in\"\nservices = [\"in\"]\ngroups = [\"daemon\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"out\"\nservices = [\"out\"]\ngroups = [\"!daemon\"]\naction = \"skip\"\n";
    let scene = scene(rules);
    let root = scene.connect(0).await;
    for (user, inside, outside) in [
        (OWNER.0, Action::Skipped, Action::AskHidden),
        (OTHER.0, Action::AskHidden, Action::Skipped),
        ("no-such-account", Action::AskHidden, Action::Skipped),
    ] {
        assert_eq!(action(&root, user, &from("in", "")).await, inside, "{user}");
        assert_eq!(action(&root, user, &from("out", "")).await, outside, "{user}");
    }
}

#[tokio::test]
async fn a_group_that_the_name_service_does_not_tell_of_refuses_and_charges_nothing() {
    let rules = "[[rule]]\nname = \"gone\"\nservices = [\"sshd\"]\ngroups = [\"!root\"]\naction = \"skip\"\n";
    let mut scene = scene(rules);
    let mut config = Config::load(&scene.config).unwrap();
    // Deleted from the directory after the configuration was read.
    let mut rule = config.policy.rules()[0].clone();
    rule.conditions.groups.none.push(4_000_000_000);
    config.policy = verifier::Policy::new(vec![rule], false);
    scene.service = Service::new(scene.config.clone(), config, scene.store.clone()).unwrap();
    let root = scene.connect(0).await;
    for _ in 0..5 {
        let refused = root.verifier.begin(OWNER.0, &from("sshd", OFFICE)).await;
        let Err(Error::Unavailable(text)) = refused else { panic!("{refused:?}") };
        assert_eq!(text, NssError::NoGroup(4_000_000_000).to_string());
    }
    assert_eq!(told(&scene).await, "refused  name-service");
    // No rule that depends on the group could match here.
    assert_eq!(action(&root, OWNER.0, &from("sudo", "")).await, Action::AskHidden);
}

#[tokio::test]
async fn a_rule_says_how_many_replies_it_takes() {
    let scene = scene("[[rule]]\nname = \"two\"\nservices = [\"su\"]\ntries = 2\n[throttling]\nfailures = 50\n");
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let (id, _) = root.verifier.begin(OWNER.0, &from("su", "")).await.unwrap();
    let wrong = wrong_code(&offer);
    assert_eq!(root.verifier.respond(id, &wrong).await.unwrap().action(), Some(Action::AskHidden));
    assert_eq!(root.verifier.respond(id, &wrong).await.unwrap().details.denial(), Denial::TriesUsedUp);
}

#[tokio::test]
async fn su_may_ask_for_the_code_of_whoever_calls_it() {
    let scene = scene("[[rule]]\nname = \"su\"\nservices = [\"su\"]\nfactor_of = \"ruser\"\n");
    let offer = scene.enrol(OWNER.0).await;
    let (root, other) = (scene.connect(0).await, scene.connect(OTHER.1).await);
    let su = |ruser: &str| Origin { ruser: Some(ruser.into()), ..from("su", "") };
    steady_step().await;
    let (id, _) = root.verifier.begin("root", &su(OWNER.0)).await.unwrap();
    let step = root.verifier.respond(id, &code(&offer, 0)).await.unwrap();
    assert_eq!(step.action(), Some(Action::Granted), "{step:?}");
    let AuditRecord { event, .. } = scene.audit().await.pop().unwrap();
    assert_eq!((event.account.as_deref(), event.rule.as_deref()), (Some(OWNER.0), Some("su")));
    assert_eq!(event.reason.as_deref(), Some("for the account root"));

    for origin in [su(""), Origin { ruser: Some(OWNER.0.into()), ..from("su", OFFICE) }] {
        let refused = root.verifier.begin("root", &origin).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        assert_eq!(told(&scene).await, "refused su no-ruser");
    }
    // Nobody but root names somebody else's factor.
    let (id, _) = other.verifier.begin(OTHER.0, &su(OWNER.0)).await.unwrap();
    let step = other.verifier.respond(id, &code(&offer, 1)).await.unwrap();
    assert_eq!(step.action(), Some(Action::Denied));
}

#[tokio::test]
async fn a_trusted_caller_verifies_others_for_its_service_alone_and_what_it_says_stays_a_claim() {
    let rules = "[[trusted_caller]]\naccount = \"bin\"\nservice = \"postgresql\"\n\
                 [[rule]]\nname = \"office\"\nnetworks = [\"192.0.2.0/24\"]\naction = \"skip\"\n\
                 [[rule]]\nname = \"all\"\naction = \"skip\"\n";
    let scene = scene(rules);
    let offer = scene.enrol(OWNER.0).await;
    let bin = scene.connect(OTHER.1).await;
    steady_step().await;
    let (id, step) = bin.verifier.begin(OWNER.0, &from("postgresql", OFFICE)).await.unwrap();
    assert_eq!(step.action(), Some(Action::AskHidden), "what it says of the network is a claim");
    assert_eq!(bin.verifier.respond(id, &code(&offer, 0)).await.unwrap().action(), Some(Action::Granted));
    assert_eq!(action(&bin, "no-such-account", &from("postgresql", OFFICE)).await, Action::AskHidden);
    for origin in [from("sshd", OFFICE), Origin::default()] {
        let refused = bin.verifier.begin(OWNER.0, &origin).await;
        assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    }
    let refused = bin.enrollment.list(OWNER.0).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    let games = scene.connect(5).await;
    let refused = games.verifier.begin(OWNER.0, &from("postgresql", OFFICE)).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_reload_takes_all_files_or_none() {
    let scene = scene("");
    let root = scene.connect(0).await;
    let folder = scene.config.with_file_name("conf.d");
    std::fs::create_dir(&folder).unwrap();
    let skip = "[[rule]]\nname = \"cron\"\nservices = [\"cron\"]\naction = \"skip\"\n";
    std::fs::write(folder.join("10-cron.toml"), skip).unwrap();
    assert_eq!(action(&root, OWNER.0, &from("cron", "")).await, Action::AskHidden);
    root.admin.reload().await.unwrap();
    assert_eq!(action(&root, OWNER.0, &from("cron", "")).await, Action::Skipped);
    let settings = root.admin.settings().await.unwrap();
    let shown = settings.iter().find(|setting| setting.key == "rule.cron.action").unwrap();
    assert_eq!(
        (shown.value.as_str(), shown.origin.as_str()),
        ("\"skip\"", &*format!("{}/10-cron.toml:2", folder.display()))
    );

    std::fs::write(folder.join("20-bad.toml"), "[[rule]]\nname = \"x\"\nnetworks = [\"10.0.0.0/33\"]\n").unwrap();
    let Err(Error::BadConfiguration(text)) = root.admin.reload().await else { panic!("a bad file was taken") };
    assert!(text.contains("20-bad.toml:3:12: rule \"x\": networks: \"10.0.0.0/33\" is no network"), "{text}");
    assert_eq!(action(&root, OWNER.0, &from("cron", "")).await, Action::Skipped);
    std::fs::write(folder.join("20-bad.toml"), skip).unwrap();
    let Err(Error::BadConfiguration(text)) = root.admin.reload().await else { panic!("a name was taken twice") };
    assert!(text.contains("this name is taken by"), "{text}");
}
